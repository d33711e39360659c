//! What cannot be done says so in one line.

use std::fs;

use super::{host, save};
use crate::support::{Said, Stage, command};

#[test]
fn wrong_arguments_are_named() {
    let stage = Stage::new("");
    host(&stage, "here");
    fs::write(stage.path().join("file"), "").unwrap();
    let cases: [(&[&str], i32, &str); 8] = [
        (&["push", "none", "/app"], 2, "none is no directory"),
        (&["push", "file", "/app"], 2, "file is no directory"),
        (&["push", "here", "app"], 2, "is no path of a node"),
        (&["push", "here", "/app/"], 2, "is no path of a node"),
        (
            &["push", "here", "/zookeeper/x"],
            2,
            "belongs to the server",
        ),
        (&["pull", "/none", "there"], 1, "/none does not exist"),
        (&["pull", "/none", "file"], 1, "cannot make file"),
        (
            &["pull", "/none", "new", "--dry-run"],
            1,
            "/none does not exist",
        ),
    ];
    for (words, code, line) in cases {
        let words: Vec<&str> = ["mirror"].iter().chain(words).copied().collect();
        stage.roo(&words).refused(code, line);
    }
    for words in [
        ["push", "here", "/app", "--acl=world"],
        ["pull", "/app", "there", "--mode=9"],
    ] {
        let said = stage.roo(&[&["mirror"], words.as_slice()].concat());
        assert_eq!(said.code, Some(2), "{said:?}");
    }
}

#[test]
fn a_server_that_is_not_there_is_named_and_nothing_done() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    save(&here, "a", "1");
    // The port of a socket that does not listen.
    let held = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let hosts = held.local_addr().unwrap().to_string();
    let words = ["mirror", "push", "here", "/app", "--connect-timeout=300ms"];
    let said = Said::of(&mut command(&hosts, stage.path(), &words));
    said.refused(3, "cannot connect to");
    assert!(!here.join(".roo-mirror.json").exists());
}

#[test]
fn files_that_are_too_big_are_named() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    save(&here, "fine", "1");
    save(&here, "sub/big", &"x".repeat(1 << 20));
    let said = stage.roo(&["mirror", "push", "here", "/app"]);
    said.refused(1, "sub/big: 1048576 bytes are too many");
    stage.good(&["mirror", "push", "here", "/app", "--ignore", "b?g"]);
}

#[test]
fn a_directory_belongs_to_one_subtree_and_one_layout() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    save(&here, "a", "1");
    stage.good(&["mirror", "push", "here", "/app"]);
    let said = stage.roo(&["mirror", "push", "here", "/other"]);
    said.refused(1, "is a mirror of /app, not of /other");
    let said = stage.roo(&["mirror", "pull", "/app", "here"]);
    said.refused(1, "a: was not put there by this command");
    stage.good(&["mirror", "pull", "/app", "sets"]);
    let said = stage.roo(&["mirror", "pull", "/app", "sets", "--plain"]);
    said.refused(1, "shows whole sets");
    fs::write(here.join(".roo-mirror.json"), "{").unwrap();
    stage
        .roo(&["mirror", "push", "here", "/app"])
        .refused(1, "is damaged");
}

#[test]
fn permissions_of_the_subtree_are_kept_to() {
    let stage = Stage::new("");
    let here = host(&stage, "here");
    save(&here, "a", "1");
    let auth = "--auth=digest:u:p";
    let acl = "--acl=auth::cdrwa";
    stage.good(&["mirror", "push", "here", "/app", auth, acl]);
    stage
        .roo(&["mirror", "pull", "/app", "there"])
        .refused(1, "permission denied");
    stage.good(&["mirror", "pull", "/app", "there", auth]);
}
