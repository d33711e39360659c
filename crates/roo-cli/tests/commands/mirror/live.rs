//! Mirrors that follow: one host's files reach the others.

use std::fs;
use std::path::{Path, PathBuf};

use roo_client::{Client, Multi, MultiRead, Options, ReadResult, Version};

use super::{files, host, save};
use crate::support::{Running, Stage};

/// Files of one set, at depths that are read one after another.
const SET: [&str; 2] = ["a", "p/q/r/s/t/u/b"];

/// Three hosts: one pushes, two pull.
struct Hosts {
    first: PathBuf,
    others: [PathBuf; 2],
    _push: Running,
    pulls: [Running; 2],
}

impl Hosts {
    fn start(stage: &Stage) -> Self {
        let first = host(stage, "one");
        save(&first, "app.conf", "0");
        let follow = |words: &[&str]| {
            let rest = ["--follow", "--delete", "--session-timeout=8s"];
            Running::start(stage.command(&[&["mirror"], words, &rest].concat()))
        };
        let push = follow(&["push", "one", "/app"]);
        push.says("equal");
        let pulls = [
            follow(&["pull", "/app", "two"]),
            follow(&["pull", "/app", "three", "--plain"]),
        ];
        for pull in &pulls {
            pull.says("equal");
        }
        Self {
            first,
            others: [host(stage, "two"), host(stage, "three")],
            _push: push,
            pulls,
        }
    }

    /// All three are equal as soon as both have told of what is the last change.
    fn await_change(&self, line: &str) {
        for pull in &self.pulls {
            pull.says(line);
            pull.says("equal");
        }
        for other in &self.others {
            assert_eq!(files(other), files(&self.first));
        }
    }
}

#[test]
fn a_file_saved_on_one_host_reaches_the_others_while_the_server_restarts() {
    let mut stage = Stage::new("");
    let hosts = Hosts::start(&stage);
    save(&hosts.first, "app.conf", "10");
    hosts.await_change("change  app.conf  2 bytes");
    save(&hosts.first, "sub/new", "1");
    hosts.await_change("create  sub/new");

    stage.stop();
    save(&hosts.first, "app.conf", "200");
    stage.start();
    hosts.await_change("change  app.conf  3 bytes");

    fs::remove_file(hosts.first.join("sub/new")).unwrap();
    hosts.await_change("delete  sub/new");
    assert!(!hosts.others[1].join("sub").exists());
}

#[test]
fn a_reader_never_sees_half_of_a_set() {
    const ROUNDS: usize = 200;
    let stage = Stage::new("");
    let here = host(&stage, "here");
    for name in SET {
        save(&here, name, "0");
    }
    stage.good(&["mirror", "push", "here", "/app"]);
    let words = ["mirror", "pull", "/app", "there", "--follow"];
    let pull = Running::start(stage.command(&words));
    pull.says("equal");
    let there = host(&stage, "there");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let reader = std::thread::spawn(move || {
        let mut seen = std::collections::BTreeSet::new();
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            if let Some(set) = read_set(&there) {
                assert!(
                    set.iter().all(|text| *text == set[0]),
                    "half of a set: {set:?}"
                );
                seen.insert(set[0].clone());
            }
        }
        seen.len()
    });
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let client = Client::connect(&stage.hosts, Options::default());
        let client = client.await.unwrap();
        for round in 1..=ROUNDS {
            let set = SET.iter().fold(Multi::new(), |multi, name| {
                multi.set(&format!("/app/{name}"), round.to_string(), Version::Any)
            });
            client.multi(set).await.unwrap();
        }
    });
    let there = host(&stage, "there");
    while files(&there)["a"] != ROUNDS.to_string() {
        pull.says("equal");
    }
    stop.send(()).unwrap();
    assert!(reader.join().unwrap() > 1);
}

#[test]
fn a_set_is_delivered_whole_while_its_writers_never_rest() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    for name in SET {
        save(&here, name, "0");
    }
    stage.good(&["mirror", "push", "here", "/app"]);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .unwrap();
    let client = runtime.block_on(Client::connect(&stage.hosts, Options::default()));
    let client = client.unwrap();
    // Several at once, so that there is always one under way.
    for writer in 0..4 {
        let client = client.clone();
        runtime.spawn(async move {
            for round in 0.. {
                let value = format!("{writer}-{round}");
                let set = SET.iter().fold(Multi::new(), |multi, name| {
                    multi.set(&format!("/app/{name}"), &value, Version::Any)
                });
                if client.multi(set).await.is_err() {
                    return;
                }
            }
        });
    }
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..5 {
        stage.good(&["mirror", "pull", "/app", "there"]);
        let set = read_set(&stage.path().join("there")).unwrap();
        assert!(set.iter().all(|text| *text == set[0]), "{set:?}");
        seen.insert(set[0].clone());
    }
    assert!(seen.len() > 1, "{seen:?}");
}

#[test]
fn a_reader_of_the_subtree_never_sees_half_of_a_set() {
    const ROUNDS: usize = 10;
    let stage = Stage::new("");
    let here = host(&stage, "here");
    let push = |round: usize| {
        for name in ["a", "b", "c/d"] {
            save(&here, name, &round.to_string());
        }
        stage.good(&["mirror", "push", "here", "/app"]);
    };
    push(0);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .unwrap();
    let hosts = stage.hosts.clone();
    let reader = runtime.spawn(async move {
        let client = Client::connect(&hosts, Options::default()).await.unwrap();
        let mut sets = 0;
        loop {
            let nodes = MultiRead::new().get("/app/a").get("/app/b").get("/app/c/d");
            let read = client.multi_read(nodes).await.unwrap();
            let data = read.into_iter().map(|node| match node.unwrap() {
                ReadResult::Node(node) => node.data,
                other => panic!("{other:?}"),
            });
            let set: Vec<_> = data.collect();
            assert!(set.iter().all(|data| *data == set[0]), "{set:?}");
            sets += 1;
            if *set[0] == *ROUNDS.to_string().as_bytes() {
                return sets;
            }
        }
    });
    for round in 1..=ROUNDS {
        push(round);
    }
    assert!(runtime.block_on(reader).unwrap() > 1);
}

/// Reads as a careful program does: in the set that is shown now. Nothing if it was gone already
/// because two newer ones came meanwhile.
fn read_set(dir: &Path) -> Option<Vec<String>> {
    let set = fs::canonicalize(dir.join("..data")).ok()?;
    let names = SET.iter();
    names
        .map(|name| fs::read_to_string(set.join(name)).ok())
        .collect()
}

#[test]
fn two_hosts_that_push_and_pull_agree_and_a_conflict_is_told() {
    let stage = Stage::new("");
    let (one, two) = (host(&stage, "one"), host(&stage, "two"));
    save(&one, "a", "1");
    let follow = |words: &[&str]| {
        let command = stage.command(&[&["mirror"], words, &["--follow"]].concat());
        Running::start(command)
    };
    let push_one = follow(&["push", "one", "/app"]);
    push_one.says("equal");
    let pull_two = follow(&["pull", "/app", "two", "--plain"]);
    pull_two.says("equal");
    let push_two = follow(&["push", "two", "/app"]);
    push_two.says("equal");
    let pull_one = follow(&["pull", "/app", "one", "--plain"]);
    pull_one.says("equal");
    save(&two, "a", "22");
    pull_one.says("change  a  2 bytes");
    save(&one, "b", "from one");
    pull_two.says("create  b");
    assert_eq!(fs::read_to_string(one.join("a")).unwrap(), "22");
    assert_eq!(fs::read_to_string(two.join("b")).unwrap(), "from one");
    drop((push_one, pull_one));

    save(&one, "a", "one's");
    save(&two, "a", "two's");
    push_two.says("change  a  5 bytes");
    let said = stage.roo(&["mirror", "push", "one", "/app"]);
    said.refused(1, "nothing was done, 1 file in conflict");
    assert_eq!(stage.good(&["get", "/app/a"]).out.trim(), "two's");
}

#[test]
fn a_pull_waits_for_a_subtree_that_comes_later() {
    let stage = Stage::new("");
    let words = [
        "mirror", "pull", "/late", "there", "--follow", "--exec", "echo ran",
    ];
    let pull = Running::start(stage.command(&words));
    pull.complains("roo: /late does not exist yet");
    stage.good(&["create", "/late", ""]);
    stage.good(&["create", "/late/a", "1"]);
    pull.says("create  a");
    pull.says("ran");
}
