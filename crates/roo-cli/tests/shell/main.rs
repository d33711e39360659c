//! The shell and its commands as people and scripts use them: the real binary against a real
//! server.
#![allow(missing_docs, clippy::unwrap_used)]

mod bad_input;
mod commands;
#[path = "../server/process.rs"]
#[allow(dead_code)]
mod process;
mod trees;

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use process::{Server, configure, roo};
use tempfile::TempDir;

/// A server with a directory of its own.
pub(crate) struct Stage {
    pub(crate) server: Server,
    pub(crate) dir: TempDir,
}

impl Stage {
    pub(crate) fn new(lines: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path(), lines);
        let server = Server::of(dir.path());
        Self { server, dir }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn hosts(&self) -> String {
        self.server.address.to_string()
    }

    /// `roo` with the server named in front of the command.
    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = roo();
        command.args(["-s", &self.hosts()]).args(words);
        command.current_dir(self.path());
        command.env_remove("ROO_SERVERS").stdin(Stdio::null());
        command
    }

    pub(crate) fn roo(&self, words: &[&str]) -> Said {
        Said::of(&self.command(words).output().unwrap())
    }

    /// The same; it must succeed.
    pub(crate) fn good(&self, words: &[&str]) -> Said {
        let said = self.roo(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        said
    }

    /// A script through `roo shell`.
    pub(crate) fn script(&self, lines: &str) -> Said {
        let mut command = self.command(&["shell"]);
        command.stdin(Stdio::piped());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        stdin.write_all(lines.as_bytes()).unwrap();
        drop(stdin);
        Said::of(&child.wait_with_output().unwrap())
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
