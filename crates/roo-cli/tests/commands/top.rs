//! `roo top` as people use it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, Command, Output, Stdio};

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, tcgetattr};

use crate::support::Stage;
use crate::support::process::{Server, configure, roo};
use serde_json::Value;

fn top(hosts: &str, words: &[&str]) -> Output {
    let mut command = roo();
    command.args(["-s", hosts, "top"]).args(words);
    command.env_remove("ROO_SERVERS").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_server_is_shown_and_one_that_is_down_too() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "4lw.commands.whitelist=srvr,mntr\n");
    let server = Server::of(dir.path());
    // The port of a socket that does not listen.
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let hosts = format!("{},{}", server.address, held.local_addr().unwrap());
    let once = top(&hosts, &["--once"]);
    let shown = text(&once.stdout);
    assert!(once.status.success(), "{once:?}");
    assert!(shown.contains("1 of 2 servers answer"), "{shown}");
    assert!(
        shown.contains("standalone") && shown.contains("down"),
        "{shown}"
    );
    assert!(
        shown.contains("not reachable") && !shown.contains('\x1b'),
        "{shown}"
    );

    let once = top(&hosts, &["--once", "--json", "--only-given"]);
    let object: Value = serde_json::from_slice(&once.stdout).unwrap();
    assert_eq!(object["servers"][0]["role"], "standalone");
    assert_eq!(object["servers"][0]["lag"], 0);
    assert!(object["servers"][0]["sessions"].is_u64(), "{object}");
    assert_eq!(object["servers"][1]["role"], "down");
}

#[test]
fn the_second_look_has_rates() {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), "");
    let server = Server::of(dir.path());
    let mut command = roo();
    command.args([
        "-s",
        &server.address.to_string(),
        "top",
        "--json",
        "--interval=100ms",
    ]);
    let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut look = || -> Value { serde_json::from_str(&lines.next().unwrap().unwrap()).unwrap() };
    assert!(look()["servers"][0]["received_per_second"].is_null());
    let second = look();
    assert!(
        second["servers"][0]["received_per_second"].is_f64(),
        "{second}"
    );
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn what_cannot_be_shown_is_said_in_a_line() {
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let hosts = held.local_addr().unwrap().to_string();
    let cases: [(&str, &[&str], i32, &str); 4] = [
        (
            &hosts,
            &["--once", "--only-given"],
            3,
            "none of these servers answers",
        ),
        ("a:b", &["--once"], 2, "is no port"),
        ("", &["--once"], 2, "no servers are named"),
        (&hosts, &["--interval=1ms"], 2, "at least 100ms"),
    ];
    for (hosts, words, code, line) in cases {
        let said = top(hosts, words);
        assert_eq!(said.status.code(), Some(code), "{said:?}");
        assert!(text(&said.stderr).contains(line), "{said:?}");
    }
}

/// A terminal with a program on it.
struct Terminal {
    ours: File,
    theirs: File,
    child: Child,
    shown: String,
}

impl Terminal {
    fn start(mut command: Command) -> Self {
        let ours = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
        grantpt(&ours).unwrap();
        unlockpt(&ours).unwrap();
        let name = ptsname(&ours, Vec::new()).unwrap();
        let theirs = rustix::fs::open(name, OFlags::RDWR | OFlags::NOCTTY, Mode::empty());
        let theirs = File::from(theirs.unwrap());
        command.stdin(theirs.try_clone().unwrap());
        command.stdout(theirs.try_clone().unwrap());
        Self {
            child: command.stderr(Stdio::null()).spawn().unwrap(),
            ours: ours.into(),
            theirs,
            shown: String::new(),
        }
    }

    /// Waits until something is shown that was not shown before.
    fn shows(&mut self, what: &str) {
        let mut bytes = [0; 4096];
        loop {
            if let Some(at) = self.shown.find(what) {
                self.shown.drain(..at + what.len());
                return;
            }
            let count = self.ours.read(&mut bytes).unwrap();
            let text = String::from_utf8_lossy(&bytes[..count]);
            self.shown.push_str(&text);
        }
    }

    fn types(&mut self, keys: &str) {
        self.ours.write_all(keys.as_bytes()).unwrap();
    }

    /// Whether it waits for whole lines and shows what is typed, as shells want it.
    fn is_as_before(&self) -> bool {
        let modes = tcgetattr(&self.theirs).unwrap().local_modes;
        modes.contains(LocalModes::ICANON | LocalModes::ECHO)
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn keys_sort_stop_and_end_it_and_the_terminal_is_as_before() {
    let stage = Stage::new("");
    let mut terminal = Terminal::start(stage.command(&["top", "--interval=100ms"]));
    terminal.shows("1 of 1 servers answer");
    assert!(!terminal.is_as_before());
    terminal.types("xh");
    terminal.shows("q ends, s sorts");
    terminal.types("s");
    terminal.shows("(by lag)");
    terminal.types("p");
    terminal.shows("(by lag, stopped");
    terminal.types("p");
    terminal.shows("(by lag)");
    terminal.types("q");
    terminal.shows("\x1b[?1049l");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(0));
    assert!(terminal.is_as_before());
}

#[test]
fn a_signal_that_ends_it_leaves_the_terminal_as_before() {
    let stage = Stage::new("");
    let mut terminal = Terminal::start(stage.command(&["top", "--interval=100ms"]));
    terminal.shows("1 of 1 servers answer");
    let pid = terminal.child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    terminal.shows("\x1b[?1049l");
    assert_eq!(terminal.child.wait().unwrap().code(), Some(143));
    assert!(terminal.is_as_before());
}
