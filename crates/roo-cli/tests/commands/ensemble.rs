//! `roo ensemble`: one terminal that runs the servers, and another.

use crate::support::ensemble::Ensemble;

#[test]
fn servers_fail_and_come_back_from_another_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let mut ensemble = Ensemble::start(dir.path());

    let again = ensemble.roo(&["up"]);
    assert!(
        again.code != Some(0) && again.err.contains("runs already"),
        "{again:?}"
    );
    let running = ensemble.roo(&["start", "1"]);
    assert!(running.err.contains("runs already"), "{running:?}");

    for id in ["1", "2"] {
        let killed = ensemble.roo(&["kill", id]);
        assert_eq!(killed.code, Some(0), "{killed:?}");
    }
    let status = ensemble.await_status(|said| said.out.contains("none leads"));
    assert!(status.out.contains("server 1: not running"), "{status:?}");
    assert_eq!(ensemble.roo(&["status"]).code, Some(1));
    for id in ["1", "2"] {
        let started = ensemble.roo(&["start", id]);
        assert_eq!(started.code, Some(0), "{started:?}");
    }
    ensemble.await_all();

    let stopped = ensemble.roo(&["stop"]);
    assert_eq!(stopped.code, Some(0), "{stopped:?}");
    assert!(ensemble.up.wait().unwrap().success());
    assert_eq!(ensemble.roo(&["status"]).code, Some(1));
    let five = ensemble.roo(&["up", "5"]);
    assert!(five.err.contains("has 3 servers"), "{five:?}");
}
