//! `roo ensemble` as people use it: one terminal that runs the servers, and another.
#![allow(missing_docs, clippy::unwrap_used)]

use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// Nothing that is waited for takes so long.
const LIMIT: Duration = Duration::from_secs(60);

/// Ends the servers, whatever becomes of the test.
struct Up<'a>(Child, &'a Path);

impl Drop for Up<'_> {
    fn drop(&mut self) {
        roo(self.1, &["stop"]);
        // It has ended if all is well.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn roo(dir: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_roo"))
        .arg("ensemble")
        .args(arguments)
        .arg("--dir")
        .arg(dir)
        .output()
        .unwrap()
}

fn text(output: &Output) -> String {
    let (out, err) = (&output.stdout, &output.stderr);
    String::from_utf8_lossy(out).into_owned() + &String::from_utf8_lossy(err)
}

/// Asks for the status until it fits.
fn await_status(dir: &Path, fits: impl Fn(&Output) -> bool) -> String {
    let began = Instant::now();
    loop {
        let status = roo(dir, &["status"]);
        if fits(&status) {
            return text(&status);
        }
        assert!(began.elapsed() < LIMIT, "{}", text(&status));
    }
}

/// The file of an earlier run, whose ports are free.
fn plan(dir: &Path) {
    let held: Vec<TcpListener> = (0..6)
        .map(|_| TcpListener::bind("127.0.0.1:0").unwrap())
        .collect();
    let port = |n: usize| held[n].local_addr().unwrap().port();
    let servers: Vec<String> = (0..3)
        .map(|n| {
            format!(
                r#"{{"id":{},"client_port":{},"peer_port":{},"process":null}}"#,
                n + 1,
                port(n),
                port(n + 3)
            )
        })
        .collect();
    let servers = servers.join(",");
    let state = format!(r#"{{"runner":null,"servers":[{servers}]}}"#);
    std::fs::write(dir.join("ensemble.json"), state).unwrap();
}

#[test]
fn servers_fail_and_come_back_from_another_terminal() {
    let dir = std::env::temp_dir().join(format!("roo-up-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    plan(&dir);
    let five = roo(&dir, &["up", "5"]);
    assert!(text(&five).contains("has 3 servers"), "{}", text(&five));
    let child = Command::new(env!("CARGO_BIN_EXE_roo"))
        .args(["ensemble", "up", "--dir"])
        .arg(&dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut up = Up(child, &dir);
    let all = |status: &Output| status.status.success() && !text(status).contains(" down ");
    await_status(&dir, all);

    let again = roo(&dir, &["up"]);
    assert!(!again.status.success() && text(&again).contains("runs already"));
    let running = roo(&dir, &["start", "1"]);
    assert!(
        text(&running).contains("runs already"),
        "{}",
        text(&running)
    );

    for id in ["1", "2"] {
        let killed = roo(&dir, &["kill", id]);
        assert!(killed.status.success(), "{}", text(&killed));
    }
    let status = await_status(&dir, |status| text(status).contains("none leads"));
    assert!(status.contains("server 1: not running"), "{status}");
    assert_eq!(roo(&dir, &["status"]).status.code(), Some(1));
    for id in ["1", "2"] {
        let started = roo(&dir, &["start", id]);
        assert!(started.status.success(), "{}", text(&started));
    }
    await_status(&dir, all);

    let stopped = roo(&dir, &["stop"]);
    assert!(stopped.status.success(), "{}", text(&stopped));
    assert!(up.0.wait().unwrap().success());
    assert_eq!(roo(&dir, &["status"]).status.code(), Some(1));
    drop(up);
    std::fs::remove_dir_all(&dir).unwrap();
}
