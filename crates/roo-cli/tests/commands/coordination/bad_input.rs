use std::net::TcpListener;

use super::stage;
use crate::support::Said;
use crate::support::process::roo;

/// Every command, at a path.
fn commands(path: &str) -> [Vec<&str>; 6] {
    [
        vec!["lock", path, "--", "true"],
        vec!["elect", path, "--", "true"],
        vec!["counter", path, "+1"],
        vec!["barrier", path, "--size", "1", "--", "true"],
        vec!["member", path, "me", "--", "true"],
        vec!["wait-for", path, "--value", "x", "--timeout", "1m"],
    ]
}

#[test]
fn servers_that_are_not_there_are_named() {
    let held = TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = held.local_addr().unwrap().to_string();
    drop(held);
    for words in commands("/a") {
        let mut command = roo();
        command.args(["-s", &nobody, "--connect-timeout", "300ms"]);
        Said::of(command.args(&words)).refused(3, &format!("roo: cannot connect to {nobody}"));
        let mut command = roo();
        let command = command.args(["-s", "host:port"]).args(&words);
        Said::of(command).refused(2, "bad connect string");
    }
}

#[test]
fn paths_that_are_none_are_refused() {
    let stage = stage();
    for path in ["no/slash", "", "/a//b", "/a/../b", "/a/"] {
        for words in commands(path) {
            let said = stage.roo(&words);
            assert_eq!(said.code, Some(1), "{words:?}: {said:?}");
            assert_eq!(said.err.lines().count(), 1, "{words:?}: {said:?}");
            assert!(said.err.starts_with("roo: "), "{words:?}: {said:?}");
        }
    }
    let name = ["member", "/group", "a/b", "--", "true"];
    stage.roo(&name).refused(1, "has no slash");
}

#[test]
fn what_is_not_permitted_is_said() {
    let stage = stage();
    let acl = "digest:u:0wCmr0RBxYx5xkdtlWtHRqvOEVM=:cdrwa";
    stage.good(&["create", "/locked", "x", acl]);
    for words in commands("/locked") {
        stage.roo(&words).refused(1, "permission denied");
    }
}

#[test]
fn wrong_words_are_refused_before_anything_is_done() {
    for words in [
        &["lock"] as &[&str],
        &["lock", "/a", "--signal", "NONE", "--", "true"],
        &["lock", "/a", "--fencing-env", "A=B", "--", "true"],
        &["lock", "/a", "--timeout", "soon", "--", "true"],
        &["lock", "/a", "--list", "--", "true"],
        &["elect", "/a"],
        &["elect", "/a", "--again", "--list"],
        &["counter", "/a", "5"],
        &["counter", "/a", "+1", "--change", "x"],
        &["barrier", "/a"],
        &["barrier", "/a", "--size", "0"],
        &["member", "/a", "me"],
        &["wait-for", "/a", "--gone", "--value", "x"],
    ] {
        let said = Said::of(roo().args(["-s", "127.0.0.1:1"]).args(words));
        assert_eq!(said.code, Some(2), "{words:?}: {said:?}");
    }
}
