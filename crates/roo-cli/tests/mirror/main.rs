//! `roo mirror` as people use it: the real binary, directories, and a real server.
#![allow(missing_docs, clippy::unwrap_used)]

mod bad_input;
mod ensemble;
mod live;
mod once;
#[path = "../server/process.rs"]
#[allow(dead_code)]
mod process;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

use process::{Server, configure, roo};
use tempfile::TempDir;

/// Nothing that is waited for takes nearly as long.
const LIMIT: Duration = Duration::from_secs(90);

/// A server, and room for directories.
pub(crate) struct Stage {
    pub(crate) server: Option<Server>,
    pub(crate) dir: TempDir,
    hosts: String,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        configure(dir.path(), "");
        let server = Server::of(dir.path());
        let hosts = server.address.to_string();
        Self {
            server: Some(server),
            dir,
            hosts,
        }
    }

    /// Stops the server.
    pub(crate) fn stop(&mut self) {
        self.server.take().unwrap().stop();
    }

    /// Starts it again, at the same port and with its data.
    pub(crate) fn start(&mut self) {
        let file = self.dir.path().join("zoo.cfg");
        let port = self.hosts.rsplit(':').next().unwrap();
        let text = fs::read_to_string(&file).unwrap();
        let text = text.replace("clientPort=0", &format!("clientPort={port}"));
        fs::write(&file, text).unwrap();
        self.server = Some(Server::of(self.dir.path()));
    }

    pub(crate) fn host(&self, name: &str) -> PathBuf {
        let dir = self.dir.path().join(name);
        fs::create_dir_all(&dir).unwrap();
        dir
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        command(&self.hosts, self.dir.path(), words)
    }

    pub(crate) fn roo(&self, words: &[&str]) -> Said {
        Said::of(&mut self.command(words))
    }

    /// The same; it must succeed.
    pub(crate) fn good(&self, words: &[&str]) -> String {
        let said = self.roo(words);
        assert_eq!(said.code, Some(0), "{words:?}: {said:?}");
        said.out
    }
}

pub(crate) fn command(hosts: &str, dir: &Path, words: &[&str]) -> Command {
    let mut command = roo();
    command.args(["-s", hosts]).args(words);
    command.current_dir(dir);
    command.env_remove("ROO_SERVERS").stdin(Stdio::null());
    command
}

/// What a command said and how it ended.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) code: Option<i32>,
}

impl Said {
    pub(crate) fn of(command: &mut Command) -> Self {
        let output = command.output().unwrap();
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

/// A mirror that follows; it ends when this is dropped.
pub(crate) struct Follower {
    child: Child,
    lines: Receiver<String>,
}

impl Follower {
    /// Starts it, and waits until both sides are equal.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let output = BufReader::new(child.stdout.take().unwrap());
        let teller = sender.clone();
        thread::spawn(move || tell(output, &sender));
        thread::spawn(move || tell(errors, &teller));
        Self { child, lines }
    }

    /// Waits until it says something that begins so.
    pub(crate) fn says(&self, what: &str) -> String {
        let mut heard = Vec::new();
        loop {
            match self.lines.recv_timeout(LIMIT) {
                Ok(line) if line.starts_with(what) => return line,
                Ok(line) => heard.push(line),
                Err(error) => panic!("{error}: {what:?} is not in {heard:#?}"),
            }
        }
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn tell(lines: impl BufRead, to: &mpsc::Sender<String>) {
    for line in lines.lines().map_while(Result::ok) {
        if to.send(line).is_err() {
            return;
        }
    }
}

/// The files that a directory shows, by what is read through its names.
pub(crate) fn files(dir: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(at) = pending.pop() {
        for entry in fs::read_dir(at).unwrap() {
            let path = entry.unwrap().path();
            if path.file_name().unwrap().to_string_lossy().starts_with('.') {
                continue;
            }
            if path.is_dir() {
                pending.push(path);
                continue;
            }
            let name = path.strip_prefix(dir).unwrap().display().to_string();
            found.insert(name, fs::read_to_string(&path).unwrap());
        }
    }
    found
}

/// Saves a file as editors do: beside it, then in its place.
pub(crate) fn save(dir: &Path, name: &str, text: &str) {
    let path = dir.join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let beside = path.with_extension("tmp");
    fs::write(&beside, text).unwrap();
    fs::rename(beside, path).unwrap();
}
