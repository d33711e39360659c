//! What all tests of the binary use: [`process`] a server, [`Stage`] a server with a directory for
//! the commands, [`Said`] and [`Running`] commands that end and such that go on, [`ensemble`] three
//! servers, [`library`] what makes the system fail.

pub(crate) mod ensemble;
pub(crate) mod process;

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use process::{Server, configure, roo};
use tempfile::TempDir;

/// Nothing that is waited for takes nearly as long.
pub(crate) const LIMIT: Duration = Duration::from_secs(90);

/// `roo` with servers named in front of the command.
pub(crate) fn command(hosts: &str, dir: &Path, words: &[&str]) -> Command {
    let mut command = roo();
    command.args(["-s", hosts]).args(words).current_dir(dir);
    command.env_remove("ROO_SERVERS").stdin(Stdio::null());
    command
}

/// Compiles a library that stands before the C library.
pub(crate) fn library(dir: &Path, source: &str) -> PathBuf {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/commands");
    let library = dir.join("library.so");
    let compiler = std::env::var_os("CC").unwrap_or_else(|| "cc".into());
    let status = Command::new(compiler)
        .args(["-shared", "-fPIC", "-O1", "-o"])
        .args([&library, &sources.join(source)])
        .args(["-ldl"])
        .status()
        .expect("a C compiler");
    assert!(status.success());
    library
}

/// A server with a directory of its own.
pub(crate) struct Stage {
    server: Option<Server>,
    dir: TempDir,
    pub(crate) hosts: String,
}

impl Stage {
    /// With these lines in zoo.cfg.
    pub(crate) fn new(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path(), lines);
        let server = Server::of(dir.path());
        Self {
            hosts: server.address.to_string(),
            server: Some(server),
            dir,
        }
    }

    /// Stops the server.
    pub(crate) fn stop(&mut self) {
        self.server.take().unwrap().stop();
    }

    /// Ends the server as a power failure does.
    pub(crate) fn kill(&mut self) {
        self.server = None;
    }

    /// Starts it again, at the same port and with its data.
    pub(crate) fn start(&mut self) {
        let file = self.path().join("zoo.cfg");
        let port = self.hosts.rsplit(':').next().unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        let text = text.replace("clientPort=0", &format!("clientPort={port}"));
        std::fs::write(&file, text).unwrap();
        self.server = Some(Server::of(self.path()));
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        command(&self.hosts, self.path(), words)
    }

    /// Runs `roo` to its end.
    pub(crate) fn roo(&self, words: &[&str]) -> Said {
        Said::of(&mut self.command(words))
    }

    /// The same; it must succeed.
    pub(crate) fn good(&self, words: &[&str]) -> Said {
        let said = self.roo(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        said
    }

    /// Starts `roo`, which goes on.
    pub(crate) fn run(&self, words: &[&str]) -> Running {
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
    /// Runs a command to its end.
    pub(crate) fn of(command: &mut Command) -> Self {
        (&command.output().unwrap()).into()
    }

    /// Checks that it failed so, with one line that says this.
    pub(crate) fn refused(&self, code: i32, line: &str) {
        assert_eq!(self.code, Some(code), "{self:?}");
        assert!(self.err.contains(line), "{line:?} is not in {self:?}");
        assert_eq!(self.err.trim_end().lines().count(), 1, "{self:?}");
    }
}

impl From<&Output> for Said {
    fn from(output: &Output) -> Self {
        Self {
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
            code: output.status.code(),
        }
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
        let (line, lines) = mpsc::channel();
        let (error, errors) = mpsc::channel();
        tell(child.stdout.take().unwrap(), line);
        tell(child.stderr.take().unwrap(), error);
        Self {
            stdin: child.stdin.take(),
            child,
            lines,
            errors,
        }
    }

    /// The next line of its output.
    pub(crate) fn line(&self) -> String {
        self.lines.recv_timeout(LIMIT).expect("no line")
    }

    /// Waits until its output has a line that begins so.
    pub(crate) fn says(&self, what: &str) -> String {
        await_line(&self.lines, what)
    }

    /// The same for standard error.
    pub(crate) fn complains(&self, what: &str) -> String {
        await_line(&self.errors, what)
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
        let rest = |lines: &Receiver<String>| {
            let mut all = Vec::new();
            loop {
                match lines.recv_timeout(LIMIT) {
                    Ok(line) => all.push(line),
                    Err(mpsc::RecvTimeoutError::Disconnected) => return all.join("\n"),
                    Err(error) => panic!("it does not end: {error}: {all:?}"),
                }
            }
        };
        let (err, out) = (rest(&self.errors), rest(&self.lines));
        let code = self.child.wait().unwrap().code();
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

fn tell(from: impl std::io::Read + Send + 'static, to: Sender<String>) {
    thread::spawn(move || {
        for line in BufReader::new(from).lines().map_while(Result::ok) {
            if to.send(line).is_err() {
                return;
            }
        }
    });
}

fn await_line(lines: &Receiver<String>, what: &str) -> String {
    let mut heard = Vec::new();
    loop {
        match lines.recv_timeout(LIMIT) {
            Ok(line) if line.starts_with(what) => return line,
            Ok(line) => heard.push(line),
            Err(error) => panic!("{error}: {what:?} is not in {heard:#?}"),
        }
    }
}
