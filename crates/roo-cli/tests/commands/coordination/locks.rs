use std::fs;
use std::time::{Duration, Instant};

use super::stage;

/// Says that it runs, and runs until its input ends.
const HOLD: &[&str] = &["--", "sh", "-c", "echo held; exec cat"];

fn lock<'a>(before: &[&'a str], behind: &[&'a str]) -> Vec<&'a str> {
    [&["lock", "/locks/a"], before, behind].concat()
}

#[test]
fn what_runs_under_a_lock_runs_alone() {
    let stage = stage();
    fs::write(stage.path().join("count"), "0").unwrap();
    let script = "mkdir busy || exit 9; n=$(cat count); echo $((n + 1)) > count; rmdir busy";
    let words = lock(&[], &["--", "sh", "-c", script]);
    let all: Vec<_> = (0..8).map(|_| stage.run(&words)).collect();
    for one in all {
        let said = one.ended();
        assert_eq!(said.code, Some(0), "{said:?}");
    }
    let count = fs::read_to_string(stage.path().join("count")).unwrap();
    assert_eq!(count.trim(), "8");
    assert_eq!(stage.good(&lock(&["--list"], &[])).out, "");
}

#[test]
fn the_exit_code_is_the_program_s() {
    let stage = stage();
    for (script, code) in [("exit 0", 0), ("exit 7", 7), ("kill -9 $$", 137)] {
        let said = stage.roo(&lock(&[], &["--", "sh", "-c", script]));
        assert_eq!((said.code, said.err.as_str()), (Some(code), ""), "{script}");
    }
    let said = stage.roo(&lock(&[], &["--", "no-such-program"]));
    said.refused(127, "cannot run \"no-such-program\"");
    fs::write(stage.path().join("text"), "").unwrap();
    let said = stage.roo(&lock(&[], &["--", "./text"]));
    said.refused(126, "cannot run \"./text\"");
    stage.roo(&lock(&[], &[])).refused(2, "there is no CMD");
}

#[test]
fn a_lock_that_is_held_is_waited_for_so_long_as_was_said() {
    let stage = stage();
    let holder = stage.run(&lock(&["--id", "first"], HOLD));
    assert_eq!(holder.line(), "held");
    for time in ["0", "100ms"] {
        let said = stage.roo(&lock(&["--timeout", time], &["--", "true"]));
        said.refused(124, "lock /locks/a: ");
    }
    let own = lock(&["--timeout", "0", "--failure-code", "99"], &["--", "true"]);
    stage.roo(&own).refused(99, "somebody else holds it");
    assert_eq!(stage.good(&lock(&["--list"], &[])).out, "first\n");
    drop(holder);
}

#[test]
fn signals_go_to_the_program_and_end_the_waiting() {
    let stage = stage();
    let script = "trap 'exit 5' TERM; echo held; sleep 1000 & wait";
    let holder = stage.run(&lock(&[], &["--", "sh", "-c", script]));
    assert_eq!(holder.line(), "held");
    let waiter = stage.run(&lock(&["--id", "waiter"], HOLD));
    // It stands in line, so it listens to signals.
    while !stage.good(&lock(&["--list"], &[])).out.contains("waiter\n") {}
    // Not INT, which whoever runs the tests behind something else may have told to ignore.
    waiter.signal("TERM");
    let said = waiter.ended();
    assert_eq!((said.code, said.err.as_str()), (Some(143), ""));
    holder.signal("TERM");
    let said = holder.ended();
    assert_eq!((said.code, said.err.as_str()), (Some(5), ""));
    stage.good(&lock(&["--timeout", "0"], &["--", "true"]));
}

#[test]
fn a_holder_that_is_killed_takes_its_program_along_and_the_lock_is_free() {
    let stage = stage();
    let soon = &["--session-timeout", "2s"];
    // The signal ends what says "held", whatever it has come to: a shell with a trap may have just
    // made the process that it waits for, which then has the trap, too, and forgets the signal.
    let script =
        "trap '' USR1; (trap - USR1; echo held; exec sleep 1000); echo told; exec sleep 1000";
    let holder = stage.run(&lock(soon, &["--", "sh", "-c", script]));
    assert_eq!(holder.line(), "held");
    // Whoever passes a signal on has also said whom to stop.
    holder.signal("USR1");
    assert_eq!(holder.line(), "told");
    let mut next = stage.run(&lock(&[], HOLD));
    holder.signal("KILL");
    // The program and what it started have ended: nobody has the output any more.
    holder.output_ends(&[]);
    assert_eq!(next.line(), "held");
    drop(next.stdin.take());
    assert_eq!(next.ended().code, Some(0));
}

#[test]
fn a_program_is_stopped_before_the_session_of_its_lock_can_be_over() {
    let timeout = Duration::from_secs(4);
    let words = ["--session-timeout", "4s", "--grace", "1s"];
    let gentle = "trap 'echo stopped; exit 0' TERM; echo held; sleep 1000 & wait";
    let deaf = "trap '' TERM; echo held; sleep 1000";
    for (script, last) in [(gentle, "stopped"), (deaf, "")] {
        let mut stage = stage();
        let holder = stage.run(&lock(&words, &["--", "sh", "-c", script]));
        assert_eq!(holder.line(), "held");
        let killed = Instant::now();
        stage.kill();
        let said = holder.ended();
        let took = killed.elapsed();
        said.refused(4, "lock /locks/a: no server answers");
        assert_eq!(said.out, last);
        // Half a second for a busy machine: the clock runs from the last answer of the server.
        assert!(took < timeout + Duration::from_millis(500), "{took:?}");
    }
}

#[test]
fn a_program_whose_lock_somebody_takes_away_is_stopped_by_the_chosen_signal() {
    let stage = stage();
    let script = "trap 'echo told; exit 0' USR1; echo held; sleep 1000 & wait";
    let holder = stage.run(&lock(&["--signal", "USR1"], &["--", "sh", "-c", script]));
    assert_eq!(holder.line(), "held");
    stage.good(&["deleteall", "/locks/a"]);
    let said = holder.ended();
    said.refused(4, "somebody else deleted the node");
    assert_eq!(said.out, "told");
}

#[test]
fn the_fencing_token_grows() {
    let stage = stage();
    let script = &["--", "sh", "-c", "echo $TOKEN"];
    let mut last = 0_i64;
    for _ in 0..3 {
        let said = stage.good(&lock(&["--fencing-env", "TOKEN"], script));
        let token: i64 = said.out.trim().parse().unwrap();
        assert!(token > last, "{token} is not after {last}");
        last = token;
    }
}

#[test]
fn a_holder_that_stood_still_for_too_long_stops_its_program_when_it_goes_on() {
    let stage = stage();
    let first = stage.run(&lock(&["--session-timeout", "1s"], HOLD));
    assert_eq!(first.line(), "held");
    let second = stage.run(&lock(&[], HOLD));
    first.signal("STOP");
    assert_eq!(second.line(), "held");
    first.signal("CONT");
    let said = first.ended();
    said.refused(4, "lock /locks/a: ");
    assert!(said.err.contains("CMD was stopped"), "{said:?}");
}
