use super::stage;
use crate::support::Running;

#[test]
fn many_processes_count_exactly() {
    let stage = stage();
    let words = ["counter", "/counters/a", "+1"];
    let all: Vec<_> = (0..10).map(|_| stage.run(&words)).collect();
    let mut printed: Vec<i64> = all
        .into_iter()
        .map(|one| {
            let said = one.ended();
            assert_eq!(said.code, Some(0), "{said:?}");
            said.out.parse().unwrap()
        })
        .collect();
    printed.sort_unstable();
    assert_eq!(printed, (1..=10).collect::<Vec<i64>>());
    assert_eq!(stage.good(&["counter", "/counters/a"]).out, "10\n");
}

#[test]
fn a_counter_is_added_to_and_set_and_read() {
    let stage = stage();
    assert_eq!(stage.good(&["counter", "/c"]).out, "0\n");
    assert_eq!(stage.good(&["counter", "/c", "=100"]).out, "100\n");
    assert_eq!(stage.good(&["counter", "/c", "-130"]).out, "-30\n");
    let json = stage.good(&["counter", "/c", "+1", "--json"]).out;
    assert_eq!(json, "{\"path\":\"/c\",\"value\":-29}\n");
    for _ in 0..2 {
        let once = [
            "counter", "/c", "+9", "--writer", "me", "--change", "order-1",
        ];
        assert_eq!(stage.good(&once).out, "-20\n");
    }
    stage.good(&["counter", "/c", "=9223372036854775807"]);
    stage
        .roo(&["counter", "/c", "+1"])
        .refused(1, "no longer fit");
    stage.good(&["create", "/text", "abc"]);
    stage
        .roo(&["counter", "/text", "+1"])
        .refused(1, "no counter");
    let words = ["counter", "/d", "+5", "--encoding", "decimal"];
    stage.good(&words);
    assert_eq!(stage.good(&["get", "/d"]).out, "5\n");
}

#[test]
fn a_node_is_waited_for_until_it_comes_has_a_value_or_goes() {
    let stage = stage();
    let comes = stage.run(&["wait-for", "/w"]);
    let green = stage.run(&["wait-for", "/w", "--value", "green", "--json"]);
    stage.good(&["create", "/w", "red"]);
    assert_eq!(comes.ended().code, Some(0));
    let goes = stage.run(&["wait-for", "/w", "--gone"]);
    stage.good(&["set", "/w", "green"]);
    let said = green.ended();
    assert_eq!(said.code, Some(0), "{said:?}");
    assert_eq!(said.out, "{\"path\":\"/w\",\"version\":1}");
    // What is so already is not waited for.
    stage.good(&["wait-for", "/w", "--value", "green", "--timeout", "0"]);
    stage.good(&["delete", "/w"]);
    assert_eq!(goes.ended().code, Some(0));
    stage.good(&["wait-for", "/w", "--gone"]);
    for time in ["0", "50ms"] {
        for more in [&[] as &[&str], &["--value", "x"]] {
            let said = stage.roo(&[&["wait-for", "/w", "--timeout", time], more].concat());
            said.refused(124, "wait-for /w: ");
        }
    }
    let said = stage.roo(&["wait-for", "/", "--gone", "--timeout", "0", "--json"]);
    said.refused(124, "\"exit\":124");
}

#[test]
fn waiting_ends_with_the_session() {
    let mut stage = stage();
    stage.good(&["create", "/w"]);
    let script = "echo waits; exec \"$ROO\" -s \"$AT\" wait-for /w --gone --session-timeout 1s";
    let mut command = std::process::Command::new("sh");
    command
        .args(["-c", script])
        .env("ROO", env!("CARGO_BIN_EXE_roo"));
    command.env("AT", &stage.hosts);
    let waits = Running::start(command);
    assert_eq!(waits.line(), "waits");
    stage.kill();
    let said = waits.ended();
    // It may not have been connected yet.
    assert!(matches!(said.code, Some(3 | 4)), "{said:?}");
    assert_eq!(said.err.trim_end().lines().count(), 1, "{said:?}");
}
