//! Locks, elections and the like as scripts use them: the real binary against a real server.
#![allow(missing_docs, clippy::unwrap_used)]

mod bad_input;
mod groups;
mod locks;
#[path = "../server/process.rs"]
#[allow(dead_code)]
mod process;
mod waiting;

use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use process::{Server, configure, roo};
use tempfile::TempDir;

/// Nothing that is waited for takes nearly as long.
const LIMIT: Duration = Duration::from_secs(60);

/// A server with a directory of its own. Its sessions end soon.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) dir: TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path(), "minSessionTimeout=1000\n");
        let server = Server::of(dir.path());
        Self { server, dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = roo();
        command.args(["-s", &self.server.address.to_string()]);
        command.args(words).current_dir(self.path());
        command.env_remove("ROO_SERVERS").stdin(Stdio::null());
        command
    }

    /// Runs `roo` to its end.
    pub(crate) fn roo(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().unwrap())
    }

    /// The same; it must succeed.
    pub(crate) fn good(&self, words: &[&str]) -> Said {
        let said = self.roo(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        said
    }

    /// Starts `roo`, which goes on.
    pub(crate) fn start(&self, words: &[&str]) -> Running {
        Running::start(self.command(words))
    }
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: Option<i32>,
}

impl Said {
    pub(crate) fn of(output: &Output) -> Self {
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
    }

    /// Checks that it failed so, with one line that says this.
    pub(crate) fn refused(&self, code: i32, line: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(line), "{line:?} is not in {self:?}");
        assert_eq!(self.err.trim_end().lines().count(), 1, "{self:?}");
    }
}

/// A process that goes on; it is killed when this is dropped.
pub(crate) struct Running {
    child: Child,
    lines: Receiver<String>,
    errors: Receiver<String>,
    /// What a `cat` or `read` in it waits for.
    pub(crate) stdin: Option<ChildStdin>,
}

impl Running {
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let stdin = child.stdin.take();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut stderr = child.stderr.take().unwrap();
        let (line, lines) = mpsc::channel();
        thread::spawn(move || {
            for text in stdout.lines() {
                let _ = line.send(text.unwrap());
            }
        });
        let (error, errors) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            let _ = error.send(text);
        });
        Self {
            child,
            lines,
            errors,
            stdin,
        }
    }

    /// The next line of its output.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("no line")
    }

    /// Checks that all that could write to its output has ended, with these last lines.
    pub(crate) fn output_ends(&self, last: &[&str]) {
        let mut rest = Vec::new();
        let end = loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) => rest.push(line),
                Err(end) => break end,
            }
        };
        assert_eq!(end, mpsc::RecvTimeoutError::Disconnected, "{rest:?}");
        assert_eq!(rest, last);
    }

    /// Sends a signal to the process alone.
    pub(crate) fn signal(&self, name: &str) {
        let words = [format!("-{name}"), self.child.id().to_string()];
        assert!(Command::new("kill").args(words).status().unwrap().success());
    }

    /// Waits for its end, which comes by itself: what it said that was not read, and the code.
    pub(crate) fn ended(mut self) -> Said {
        // Its output ends with all that has it.
        let err = self.errors.recv_timeout(LIMIT).expect("it does not end");
        let out: Vec<String> = self.lines.iter().collect();
        let code = self.child.wait().unwrap().code();
        let out = out.join("\n");
        Said { out, err, code }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
