//! `roo server` as a process of ours.

use std::ffi::OsStr;
use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::Duration;

/// Nothing that is waited for takes nearly as long.
const LIMIT: Duration = Duration::from_secs(60);

pub(crate) fn roo() -> Command {
    Command::new(env!("CARGO_BIN_EXE_roo"))
}

/// Writes `zoo.cfg` beside the data directory `data` in `dir`.
pub(crate) fn configure(dir: &Path, lines: &str) {
    let data = dir.join("data");
    let text = format!(
        "dataDir={}\nclientPort=0\nclientPortAddress=127.0.0.1\ntickTime=3000\n{lines}",
        data.display()
    );
    fs::write(dir.join("zoo.cfg"), text).unwrap();
}

/// A running server; it ends when this is dropped.
pub(crate) struct Server {
    child: Child,
    pub(crate) address: SocketAddr,
    errors: Receiver<String>,
}

/// How a server ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) status: ExitStatus,
    pub(crate) errors: String,
}

impl Server {
    /// Starts `command`, which becomes a server, and waits until it listens.
    pub(crate) fn start(mut command: Command) -> Self {
        command.stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stderr = child.stderr.take().unwrap();
        let (sender, errors) = mpsc::channel();
        thread::spawn(move || {
            let mut text = String::new();
            let _ = stderr.read_to_string(&mut text);
            let _ = sender.send(text);
        });
        let mut stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let address =
            stdout.find_map(|line| line.unwrap().split_once("listening")?.1.trim().parse().ok());
        let Some(address) = address else {
            let status = child.wait().unwrap();
            panic!(
                "ended with {status}: {}",
                errors.recv_timeout(LIMIT).unwrap()
            );
        };
        // Its further lines must go somewhere.
        thread::spawn(move || stdout.for_each(drop));
        Self {
            child,
            address,
            errors,
        }
    }

    /// Starts the server of a directory made by [`configure`].
    pub(crate) fn of(dir: &Path) -> Self {
        let mut command = roo();
        command.arg("server").arg(dir.join("zoo.cfg"));
        Self::start(command)
    }

    /// Waits until it ends by itself: its output ends then.
    pub(crate) fn ended(mut self) -> Ended {
        let errors = self.errors.recv_timeout(LIMIT).expect("it does not end");
        let status = self.child.wait().unwrap();
        Ended { status, errors }
    }

    /// Asks it to end, and waits.
    pub(crate) fn stop(self) -> Ended {
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").arg(pid).status().unwrap();
        assert!(asked.success());
        self.ended()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `roo` with arguments to its end.
pub(crate) fn run<A: AsRef<OsStr>>(arguments: &[A]) -> (ExitStatus, String) {
    let output = roo().args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status, String::from_utf8(text).unwrap())
}
