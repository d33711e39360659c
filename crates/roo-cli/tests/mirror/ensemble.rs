//! Mirrors go on while the leader of an ensemble fails.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use crate::process::roo;
use crate::{Follower, LIMIT, Said, command, files, save};

/// Three servers; they end whatever becomes of the test.
struct Ensemble<'a> {
    up: Child,
    dir: &'a Path,
}

impl<'a> Ensemble<'a> {
    /// Starts them; how clients reach them.
    fn start(dir: &'a Path) -> (Self, String) {
        let hosts = plan(dir);
        let mut up = roo();
        up.args(["ensemble", "up", "--dir"]).arg(dir);
        up.stdout(Stdio::null()).stderr(Stdio::null());
        let up = up.spawn().unwrap();
        let ensemble = Self { up, dir };
        ensemble.leader();
        (ensemble, hosts)
    }

    fn roo(&self, words: &[&str]) -> Said {
        let mut command = roo();
        command
            .arg("ensemble")
            .args(words)
            .arg("--dir")
            .arg(self.dir);
        Said::of(&mut command)
    }

    /// Asks until all serve; who leads.
    fn leader(&self) -> String {
        let began = Instant::now();
        loop {
            let said = self.roo(&["status"]);
            if said.code == Some(0) && !said.out.contains(" down ") {
                let mut lines = said.out.lines().map(str::split_whitespace);
                let leader = lines.find_map(|mut words| {
                    let name = words.next()?;
                    (words.next()? == "leader").then(|| name.to_owned())
                });
                return leader.unwrap();
            }
            assert!(began.elapsed() < LIMIT, "{said:?}");
        }
    }
}

impl Drop for Ensemble<'_> {
    fn drop(&mut self) {
        self.roo(&["stop"]);
        // It has ended if all is well.
        let _ = self.up.kill();
        let _ = self.up.wait();
    }
}

/// The file of an earlier run, whose ports are free.
fn plan(dir: &Path) -> String {
    let held = (0..6).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    let held: Vec<TcpListener> = held.collect();
    let port = |n: usize| held[n].local_addr().unwrap().port();
    let server = |n: usize| {
        let (client, peer) = (port(n), port(n + 3));
        format!(
            r#"{{"id":{},"client_port":{client},"peer_port":{peer},"process":null}}"#,
            n + 1
        )
    };
    let servers: Vec<String> = (0..3).map(server).collect();
    let servers = servers.join(",");
    fs::create_dir_all(dir).unwrap();
    let state = format!(r#"{{"runner":null,"servers":[{servers}]}}"#);
    fs::write(dir.join("ensemble.json"), state).unwrap();
    let hosts: Vec<String> = (0..3).map(|n| format!("127.0.0.1:{}", port(n))).collect();
    hosts.join(",")
}

#[test]
fn a_file_reaches_all_hosts_while_the_leader_dies() {
    let dir = tempfile::tempdir().unwrap();
    let servers = dir.path().join("servers");
    let (ensemble, hosts) = Ensemble::start(&servers);
    let one = dir.path().join("one");
    save(&one, "a", "1");
    let follow = |words: &[&str]| {
        let words = [&["mirror"], words, &["--follow"]].concat();
        let follower = Follower::start(command(&hosts, dir.path(), &words));
        follower.says("equal");
        follower
    };
    let _push = follow(&["push", "one", "/app"]);
    let pulls = [
        follow(&["pull", "/app", "two"]),
        follow(&["pull", "/app", "three"]),
    ];
    let leader = ensemble.leader();
    assert_eq!(ensemble.roo(&["kill", &leader]).code, Some(0));
    save(&one, "a", "22");
    for pull in &pulls {
        pull.says("change  a  2 bytes");
    }
    for name in ["two", "three"] {
        assert_eq!(files(&dir.path().join(name)), files(&one));
    }
    let top = Said::of(&mut command(&hosts, dir.path(), &["top", "--once"]));
    assert_eq!(top.code, Some(0), "{top:?}");
    assert!(top.out.contains("2 of 3 servers answer"), "{top:?}");
    assert!(
        top.out.contains("down") && top.out.contains("follower"),
        "{top:?}"
    );
}
