use std::process::Stdio;

use super::script;
use crate::support::process::roo;
use crate::support::{Said, Stage};

#[test]
fn commands_of_zkcli_answer_as_zkcli_does() {
    let stage = Stage::new("");
    let made = stage.good(&["create", "/a", "one"]);
    assert_eq!((made.out.as_str(), made.err.as_str()), ("", "Created /a\n"));
    assert_eq!(stage.good(&["get", "/a"]).out, "one\n");
    assert_eq!(stage.good(&["ls", "/"]).out, "[a, zookeeper]\n");
    stage.good(&["create", "/a/none"]);
    assert_eq!(stage.good(&["get", "/a/none"]).out, "null\n");
    assert_eq!(stage.good(&["get", "-b", "/a"]).out, "b25l\n");
    let stat = stage.good(&["get", "-s", "/a"]).out;
    assert!(stat.starts_with("one\ncZxid = 0x"), "{stat}");
    assert!(
        stat.ends_with("dataLength = 3\nnumChildren = 1\n"),
        "{stat}"
    );
    stage.good(&["set", "-v", "0", "/a", "two"]);
    let said = stage.roo(&["set", "-v", "0", "/a", "three"]);
    said.refused(1, "version No is not valid : /a");
    let said = stage.roo(&["create", "/a"]);
    said.refused(1, "Node already exists: /a");
    assert_eq!(
        stage.good(&["getAcl", "/a"]).out,
        "'world,'anyone\n: cdrwa\n"
    );
    assert_eq!(stage.good(&["sync", "/a"]).out, "Sync is OK\n");
    assert_eq!(stage.good(&["getAllChildrenNumber", "/a"]).out, "1\n");
    assert_eq!(stage.good(&["ls", "-R", "/a"]).out, "/a\n/a/none\n");
    stage.good(&["deleteall", "/a"]);
    assert_eq!(stage.good(&["ls", "/"]).out, "[zookeeper]\n");
}

#[test]
fn servers_are_named_before_behind_or_by_the_environment() {
    let stage = Stage::new("");
    let hosts = &stage.hosts;
    let all: [&[&str]; 4] = [
        &["-s", hosts, "ls", "/"],
        &["ls", "/", "--server", hosts],
        &["tree", "-s", hosts],
        &["shell", "-server", hosts, "-timeout", "5000", "ls", "/"],
    ];
    for words in all {
        let said = Said::of(roo().args(words).env_remove("ROO_SERVERS"));
        assert_eq!(said.code, Some(0), "{words:?} {said:?}");
        assert!(said.out.contains("zookeeper"), "{words:?} {said:?}");
    }
    let said = Said::of(roo().args(["ls", "/"]).env("ROO_SERVERS", hosts));
    assert_eq!(said.out, "[zookeeper]\n");
}

#[test]
fn a_script_prints_what_zkcli_prints() {
    let stage = Stage::new("");
    let said = script(
        &stage,
        "create /a \"some data\"\nget -w /a\nset /a 'it\"s'\nget /a\nredo 3\nls /none\n\
         addWatch /a\ncreate /a/b\nhistory\nclose\nls /\nfrobnicate\n",
    );
    let host = &stage.hosts;
    let parts: Vec<&str> = said.out.split("[zk: ").skip(1).collect();
    let answers: Vec<&str> = parts
        .iter()
        .map(|part| part.split_once("] ").unwrap().1)
        .collect();
    assert!(
        parts[0].starts_with(&format!("{host}(CONNECTED) 0] ")),
        "{said:?}"
    );
    assert_eq!(answers[1], "some data\n");
    assert!(
        answers[2].contains("WatchedEvent state:SyncConnected type:NodeDataChanged path:/a zxid: "),
        "{said:?}"
    );
    assert_eq!(answers[3], "it\"s\n");
    assert_eq!(answers[4], "it\"s\n");
    assert!(
        answers[7].contains("type:NodeCreated path:/a/b"),
        "{said:?}"
    );
    assert!(
        answers[8].starts_with("0 - create /a \"some data\"\n"),
        "{said:?}"
    );
    assert!(answers[8].contains("4 - get /a\n"), "{said:?}");
    assert!(
        answers[9].contains("state:Closed type:None path:null zxid: -1"),
        "{said:?}"
    );
    assert_eq!(answers[10], "Not connected\n");
    assert!(said.err.contains("Created /a\n"), "{said:?}");
    assert!(
        said.err.contains("Node does not exist: /none\n"),
        "{said:?}"
    );
    assert!(
        said.err
            .ends_with("Command not found: Command not found frobnicate\n"),
        "{said:?}"
    );
    assert_eq!(said.code, Some(127));
}

#[test]
fn json_is_printed_by_every_command() {
    let stage = Stage::new("");
    stage.good(&["create", "/a", "caf\u{e9}"]);
    stage.good(&["set", "-b", "/a", "/wA="]);
    let json = |words: &[&str]| -> serde_json::Value {
        let said = stage.good(words);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{words:?} {said:?} {error}"))
    };
    assert_eq!(json(&["get", "--json", "/a"])["base64"], "/wA=");
    assert_eq!(json(&["ls", "/", "--json"])["children"][0], "a");
    assert_eq!(json(&["--json", "stat", "/a"])["stat"]["version"], 1);
    assert_eq!(
        json(&["getAcl", "/a", "--json"])["acl"][0],
        "world:anyone:cdrwa"
    );
    assert_eq!(json(&["tree", "--json", "/a"])["path"], "/a");
    assert_eq!(json(&["du", "--json", "/a"])["bytes"], 2);
    assert_eq!(json(&["find", "--json", "/a"])["stat"]["data_length"], 2);
    assert_eq!(json(&["whoami", "--json"])[0]["scheme"], "ip");
    let said = stage.roo(&["get", "--json", "/none"]);
    let error: serde_json::Value = serde_json::from_str(&said.err).unwrap();
    assert_eq!(error["error"], "Node does not exist: /none");
    assert_eq!(error["exit"], 1);
}

#[test]
fn raw_data_comes_out_as_it_is() {
    let stage = Stage::new("");
    stage.good(&["create", "--base64", "/a", "AP8KDQ=="]);
    let output = stage.command(&["get", "--raw", "/a"]).output().unwrap();
    assert_eq!(output.stdout, [0, 0xFF, b'\n', b'\r']);
}

#[test]
fn a_watch_prints_changes_until_it_has_seen_enough() {
    let stage = Stage::new("");
    stage.good(&["create", "/a"]);
    let mut command = stage.command(&["watch", "--json", "--value", "--count", "2", "/a"]);
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // When it watches is known only by what it sees, so there is something to see all the time.
    let mut number = 0;
    let mut child = child;
    while child.try_wait().unwrap().is_none() {
        stage.good(&["set", "/a", &number.to_string()]);
        number += 1;
    }
    let said = Said::from(&child.wait_with_output().unwrap());
    assert_eq!(said.code, Some(0), "{said:?}");
    let events: Vec<serde_json::Value> = said
        .out
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(events.len(), 2, "{said:?}");
    for event in &events {
        assert_eq!(event["event"], "NodeDataChanged");
        assert_eq!(event["path"], "/a");
        assert!(event["zxid"].as_str().unwrap().starts_with("0x"));
        assert!(event["text"].is_string());
    }
}

#[test]
fn help_and_completions_know_every_command() {
    for words in [
        &["ls", "--help"] as &[&str],
        &["shell", "--help"],
        &["export", "--help"],
        &["help", "reconfig"],
    ] {
        let said = Said::of(roo().args(words));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.contains("Examples:"), "{words:?}: {said:?}");
    }
    let said = Said::of(roo().args(["--help"]));
    assert!(said.out.contains("Lists a node's children"), "{said:?}");
    assert!(said.out.contains("Draws a subtree"), "{said:?}");
    for shell in ["bash", "zsh", "fish"] {
        let said = Said::of(roo().args(["completions", shell]));
        assert_eq!(said.code, Some(0), "{said:?}");
        assert!(said.out.contains("deleteall") && said.out.contains("export"));
    }
}
