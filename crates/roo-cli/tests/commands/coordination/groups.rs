use super::stage;
use crate::support::{Running, Stage};

/// Says who it is, and runs until its input ends.
fn candidate(stage: &Stage, id: &str, more: &[&str]) -> Running {
    let script = format!("echo {id} leads $TERM_NUMBER; exec cat");
    let words = [
        "elect",
        "/leader",
        "--id",
        id,
        "--fencing-env",
        "TERM_NUMBER",
    ];
    let soon = ["--session-timeout", "2s", "--pause", "10ms"];
    let program = ["--", "sh", "-c", &script];
    stage.run(&[&words, &soon as &[&str], more, &program].concat())
}

fn term(running: &Running, id: &str) -> i64 {
    let line = running.line();
    let term = line.strip_prefix(&format!("{id} leads "));
    term.unwrap_or_else(|| panic!("{line}")).parse().unwrap()
}

fn candidates(stage: &Stage) -> String {
    stage.good(&["elect", "/leader", "--list"]).out
}

#[test]
fn the_next_one_leads_when_the_leader_is_killed() {
    let stage = stage();
    let first = candidate(&stage, "first", &[]);
    let before = term(&first, "first");
    let second = candidate(&stage, "second", &[]);
    while candidates(&stage) != "first\nsecond\n" {}
    first.signal("KILL");
    first.output_ends(&[]);
    assert!(term(&second, "second") > before);
    assert_eq!(candidates(&stage), "second\n");
}

#[test]
fn a_leader_hands_over_when_it_is_asked_and_stands_again() {
    let stage = stage();
    let first = candidate(&stage, "first", &["--again"]);
    let before = term(&first, "first");
    let mut second = candidate(&stage, "second", &[]);
    while candidates(&stage) != "first\nsecond\n" {}
    stage.good(&["elect", "/leader", "--hand-over"]);
    let between = term(&second, "second");
    assert!(between > before);
    while candidates(&stage) != "second\nfirst\n" {}
    // The second one has done its work.
    drop(second.stdin.take());
    assert_eq!(second.ended().code, Some(0));
    assert!(term(&first, "first") > between);
    first.signal("TERM");
    assert_eq!(first.ended().code, Some(143));
    stage
        .roo(&["elect", "/leader", "--hand-over"])
        .refused(1, "nobody leads");
}

#[test]
fn all_begin_together_and_end_together() {
    let stage = stage();
    let words = ["barrier", "/barriers/b", "--size", "3"];
    stage
        .roo(&[&words, &["--timeout", "100ms"] as &[&str]].concat())
        .refused(124, "barrier /barriers/b");
    // It may be used again and again.
    for _ in 0..2 {
        let script = "echo in; exec cat";
        let program = [&words, &["--", "sh", "-c", script] as &[&str]].concat();
        let mut first = stage.run(&program);
        let mut second = stage.run(&program);
        let third = stage.run(&words);
        assert_eq!((first.line(), second.line()), ("in".into(), "in".into()));
        drop(first.stdin.take());
        drop(second.stdin.take());
        for one in [first, second, third] {
            let said = one.ended();
            assert_eq!(said.code, Some(0), "{said:?}");
        }
    }
}

#[test]
fn a_member_is_listed_while_its_program_runs() {
    let stage = stage();
    assert_eq!(stage.good(&["member", "/group"]).out, "");
    let program = ["--", "sh", "-c", "echo there; exec cat"];
    let words = ["member", "/group", "one", "--data", "10.0.0.1:80"];
    let mut one = stage.run(&[&words, &program as &[&str]].concat());
    assert_eq!(one.line(), "there");
    assert_eq!(stage.good(&["member", "/group"]).out, "one\t10.0.0.1:80\n");
    let json = stage.good(&["member", "/group", "--json"]).out;
    assert!(json.contains("\"id\":\"one\""), "{json}");
    stage
        .roo(&["member", "/group", "one", "--", "true"])
        .refused(1, "the node exists");
    let next = stage.run(&["member", "/group", "one", "--wait", "--", "echo", "next"]);
    drop(one.stdin.take());
    assert_eq!(one.ended().code, Some(0));
    assert_eq!(next.line(), "next");
    assert_eq!(next.ended().code, Some(0));
    assert_eq!(stage.good(&["member", "/group"]).out, "");
}

#[test]
fn a_leader_that_lost_its_session_stands_again_in_a_new_one() {
    let stage = stage();
    let first = candidate(&stage, "first", &["--again"]);
    let before = term(&first, "first");
    let mut second = candidate(&stage, "second", &[]);
    first.signal("STOP");
    let between = term(&second, "second");
    assert!(between > before);
    first.signal("CONT");
    while candidates(&stage) != "second\nfirst\n" {}
    drop(second.stdin.take());
    assert_eq!(second.ended().code, Some(0));
    assert!(term(&first, "first") > between);
}
