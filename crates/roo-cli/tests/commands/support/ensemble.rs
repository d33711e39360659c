//! Three servers by `roo ensemble up`.

use std::fs;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::Instant;

use super::process::roo;
use super::{LIMIT, Said};

/// See the module. They end whatever becomes of the test.
pub(crate) struct Ensemble<'a> {
    pub(crate) up: Child,
    dir: &'a Path,
    /// How clients reach them.
    pub(crate) hosts: String,
}

impl<'a> Ensemble<'a> {
    /// Starts them, and waits until all serve.
    pub(crate) fn start(dir: &'a Path) -> Self {
        let hosts = plan(dir);
        let mut up = roo();
        up.args(["ensemble", "up", "--dir"]).arg(dir);
        up.stdout(Stdio::null()).stderr(Stdio::null());
        let up = up.spawn().unwrap();
        let ensemble = Self { up, dir, hosts };
        ensemble.await_all();
        ensemble
    }

    /// `roo ensemble` of another terminal.
    pub(crate) fn roo(&self, words: &[&str]) -> Said {
        let mut command = roo();
        command
            .arg("ensemble")
            .args(words)
            .arg("--dir")
            .arg(self.dir);
        Said::of(&mut command)
    }

    /// Asks for the status until it fits.
    pub(crate) fn await_status(&self, fits: impl Fn(&Said) -> bool) -> Said {
        let began = Instant::now();
        loop {
            let said = self.roo(&["status"]);
            if fits(&said) {
                return said;
            }
            assert!(began.elapsed() < LIMIT, "{said:?}");
        }
    }

    /// Waits until all are in step.
    pub(crate) fn await_all(&self) -> Said {
        self.await_status(|said| {
            said.code == Some(0) && said.out.contains("3 of 3 voting servers are with it")
        })
    }

    /// Who leads, once all serve.
    pub(crate) fn leader(&self) -> String {
        let said = self.await_all();
        let mut lines = said.out.lines().map(str::split_whitespace);
        let leader = lines.find_map(|mut words| {
            let name = words.next()?;
            (words.next()? == "leader").then(|| name.to_owned())
        });
        leader.unwrap()
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
