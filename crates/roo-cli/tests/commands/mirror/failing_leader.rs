//! Mirrors go on while the leader of an ensemble fails.

use super::{files, save};
use crate::support::ensemble::Ensemble;
use crate::support::{Running, Said, command};

#[test]
fn a_file_reaches_all_hosts_while_the_leader_dies() {
    let dir = tempfile::tempdir().unwrap();
    let servers = dir.path().join("servers");
    let ensemble = Ensemble::start(&servers);
    let hosts = ensemble.hosts.as_str();
    let one = dir.path().join("one");
    save(&one, "a", "1");
    let follow = |words: &[&str]| {
        let words = [&["mirror"], words, &["--follow"]].concat();
        let follower = Running::start(command(hosts, dir.path(), &words));
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
    let top = Said::of(&mut command(hosts, dir.path(), &["top", "--once"]));
    assert_eq!(top.code, Some(0), "{top:?}");
    assert!(top.out.contains("2 of 3 servers answer"), "{top:?}");
    assert!(
        top.out.contains("down") && top.out.contains("follower"),
        "{top:?}"
    );
}
