use super::*;

#[test]
fn a_session_begins_with_a_handshake_and_identities() {
    let mut script = Script::new(Options {
        auth: vec![("digest".into(), b"a:b".to_vec())],
        ..options()
    });
    script.resolved(&[1]).opened().accept(0x51, 30_000);
    assert_eq!(
        script.said(),
        [
            "resolve",
            "open",
            "send connect 0x0 after 0x0",
            "Connected 0x51",
            "send -4: auth digest",
        ]
    );
    script.ok(-4, 0);
    assert_eq!(script.said(), [""; 0]);
}

#[test]
fn a_refused_identity_ends_the_session() {
    let mut script = Script::connected(options());
    script.read(1).tell(Event::Authenticate {
        call: Some(CallId(2)),
        scheme: "nonsense".into(),
        data: Secret(Vec::new()),
    });
    script.answer(-4, 0, ErrorCode::AUTH_FAILED);
    assert_eq!(
        script.said(),
        [
            "send 1: read",
            "send -4: auth nonsense",
            "close",
            "AuthFailed 0x51",
            "failed 1 AuthFailed",
            "failed 2 AuthFailed",
        ]
    );
    script.read(3);
    assert_eq!(script.said(), ["failed 3 AuthFailed, not sent"]);
    assert_eq!(script.session.next_deadline(), None);
}

#[test]
fn every_address_is_tried_once_before_a_pause_and_names_are_looked_up_again() {
    let mut script = Script::new(options());
    script.resolved(&[1, 2, 3]);
    for _ in 0..3 {
        script.broke("refused");
    }
    let mut tried = std::mem::take(&mut script.tried);
    tried.sort_unstable();
    assert_eq!(tried, [1, 2, 3]);
    assert_eq!(script.said(), ["resolve", "open", "open", "open"]);
    let pauses: Vec<_> = (0..6)
        .map(|_| {
            let pause = script.wait();
            assert_eq!(script.said(), ["resolve"]);
            script.resolved(&[9]).broke("refused");
            assert_eq!(script.said(), ["open"]);
            pause
        })
        .collect();
    assert_eq!(script.tried, [9; 6]);
    for (at, pause) in pauses.iter().enumerate() {
        let whole = (100 << at).min(1000);
        assert!((whole / 2..=whole).contains(pause), "{pauses:?}");
    }
}

#[test]
fn the_order_of_servers_comes_from_the_seed() {
    let order = |seed| {
        let mut effects = Vec::new();
        let mut session = Session::new(options(), seed, Time(0), &mut effects);
        let places = (1..=9).map(|server| address(server).into()).collect();
        let resolved = Event::Resolved {
            places,
            failures: Vec::new(),
        };
        session.handle(Time(0), resolved, &mut effects);
        let first = effects.iter().find_map(|effect| match effect {
            Effect::OpenLink { address, .. } => Some(server(*address)),
            _ => None,
        });
        first.expect("an attempt")
    };
    assert_eq!(order(3), order(3));
    let firsts: std::collections::BTreeSet<u8> = (0..50).map(order).collect();
    assert!(firsts.len() > 5, "{firsts:?}");
}

#[test]
fn servers_of_a_lower_priority_number_are_tried_before_others() {
    let order = |seed| {
        let mut script = Script::with_seed(options(), seed);
        let place = |server: u8, priority| Place {
            address: address(server),
            priority,
        };
        // The third is named twice.
        let places = vec![place(1, 9), place(2, 1), place(3, 1), place(3, 9)];
        script.tell(Event::Resolved {
            places,
            failures: Vec::new(),
        });
        script.broke("refused").broke("refused");
        script.tried.clone()
    };
    let orders: std::collections::BTreeSet<Vec<u8>> = (0..50).map(order).collect();
    assert_eq!(
        orders.into_iter().collect::<Vec<_>>(),
        [[2, 3, 1], [3, 2, 1]]
    );
}

#[test]
fn a_first_connection_that_does_not_come_about_says_what_each_address_said() {
    let mut script = Script::new(options());
    let until = Time(script.now.0 + 30_000);
    while script.session.status.end.is_none() {
        if script.lines.contains(&"resolve".to_owned()) {
            script.said();
            script.resolved(&[4]).broke("connection refused");
        }
        script.wait();
    }
    assert!(script.now >= until && script.now.0 < until.0 + 1000);
    let end = script.session.status.end.clone();
    let expected = "10.0.0.4:2181: connection refused".to_owned();
    assert_eq!(end, Some(Why::Unreachable(expected)));
}

#[test]
fn who_speaks_something_else_is_named_at_once_when_nobody_else_is_there() {
    let mut script = Script::new(options());
    script.resolved(&[1, 2]).opened();
    let garbage = |script: &mut Script| {
        script.tell(Event::ReceivedGarbage {
            link: script.link,
            head: Bytes::from_static(b"HTTP/1.1 400 Bad Request"),
        });
    };
    garbage(&mut script);
    assert_eq!(script.session.status.end, None);
    script.opened();
    garbage(&mut script);
    match &script.session.status.end {
        Some(Why::NotZooKeeper(what)) => assert!(what.contains("HTTP/1.1 400"), "{what}"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_silent_server_is_left_in_time_and_the_session_is_found_again() {
    let mut script = Script::connected(options());
    script.ok(-2, 0x77).pass(19_000);
    // Pings when idle for a third of the timeout, at most every ten seconds.
    assert_eq!(script.said(), ["send -2: ping"]);
    script.pass(1_200);
    assert_eq!(script.said(), ["close", "Disconnected 0x51", "resolve"]);
    script.resolved(&[1]).opened().accept(0x51, 20_000);
    assert_eq!(
        script.said(),
        ["open", "send connect 0x51 after 0x77", "Connected 0x51"]
    );
    assert_eq!(script.session.status.timeout, Duration::from_secs(20));
}

#[test]
fn the_server_just_lost_is_tried_last() {
    for seed_step in 0..20 {
        let mut script = Script::new(options());
        script.session.rng = Rng(seed_step);
        script.resolved(&[1, 2, 3]).opened().accept(0x51, 30_000);
        let lost = script.tried[0];
        script.broke("reset").pass(200).resolved(&[1, 2, 3]);
        script.broke("refused").broke("refused");
        assert_eq!(script.tried.last(), Some(&lost));
        assert_eq!(script.tried.len(), 4);
    }
}

#[test]
fn a_session_that_finds_no_server_expires_by_the_clock() {
    let mut script = Script::connected(options());
    let heard = script.now;
    script.write(1).broke("reset").read(2).write(3);
    script.said();
    while script.session.status.end.is_none() {
        script.wait();
        if script.said().contains(&"resolve".to_owned()) {
            script.resolved(&[1]).broke("refused");
        }
    }
    assert_eq!(script.now.millis_since(heard), 40_000);
    assert_eq!(script.session.status.state, SessionState::Expired);
}

#[test]
fn a_refused_handshake_is_the_end_of_the_session() {
    let mut script = Script::connected(options());
    script.write(1).broke("reset").read(2);
    script.pass(200).resolved(&[1]).opened();
    script.said();
    script.handshake(0, 0, false);
    assert_eq!(
        script.said(),
        ["close", "Expired 0x51", "failed 2 SessionExpired, not sent"]
    );
}

#[test]
fn a_session_of_earlier_is_gone_on_with() {
    let credentials = Some(Credentials {
        session: SessionId(0x99),
        password: [4; 16],
    });
    let mut script = Script::new(Options {
        credentials,
        ..options()
    });
    script.resolved(&[1]).opened();
    assert_eq!(
        script.said(),
        ["resolve", "open", "send connect 0x99 after 0x0"]
    );
    script.handshake(0, 0, false);
    assert_eq!(script.said(), ["close", "Expired 0x99"]);
}

#[test]
fn a_slow_handshake_is_given_up_for_the_next_address() {
    let mut script = Script::new(options());
    script.resolved(&[1, 2]).opened();
    script.said();
    assert_eq!(script.wait(), 5_000);
    assert_eq!(script.said(), ["close", "open"]);
    // What comes late from the link given up goes nowhere.
    let late = LinkId(script.link.0 - 1);
    script.tell(Event::LinkOpened { link: late });
    assert_eq!(script.said(), ["give up probe"]);
}

#[test]
fn attempts_of_a_session_take_no_more_than_their_share_of_its_time() {
    let mut script = Script::new(options());
    script.resolved(&[1]).opened().accept(0x51, 3_000);
    script.broke("reset").pass(200).resolved(&[1, 2, 3]);
    assert_eq!(script.wait(), 1_000);
}

#[test]
fn a_server_without_a_quorum_will_do_only_if_the_caller_says_so() {
    let mut script = Script::new(options());
    script.resolved(&[1, 2]).opened();
    script.said();
    script.handshake(0x51, 30_000, true);
    assert_eq!(script.said(), ["close", "open"]);
}

#[test]
fn while_a_server_without_a_quorum_serves_a_better_one_is_looked_for() {
    let mut script = Script::new(Options {
        read_only: true,
        ..options()
    });
    script.resolved(&[1, 2]).opened();
    script.said();
    script.handshake(0x61, 30_000, true);
    assert_eq!(script.said(), ["ConnectedReadOnly 0x61"]);
    let other = 3 - script.tried[0];
    script.pass(100);
    assert_eq!(script.said(), [format!("probe {other}")]);
    let probe = script.probe;
    script.tell(Event::Probed {
        probe,
        read_write: false,
    });
    script.pass(200);
    assert_eq!(script.said(), [format!("probe {other}")]);
    let probe = script.probe;
    script.tell(Event::Probed {
        probe,
        read_write: true,
    });
    script
        .pass(200)
        .resolved(&[1, 2])
        .opened()
        .accept(0x71, 30_000);
    // The session was known to nobody else, so another begins.
    assert_eq!(
        script.said(),
        [
            "close",
            "Disconnected 0x61",
            "resolve",
            "open",
            "send connect 0x0 after 0x0",
            "Connected 0x71",
        ]
    );
    assert_eq!(script.tried.last(), Some(&other));
}

#[test]
fn closing_waits_for_the_answer() {
    let mut script = Script::connected(options());
    script.write(1).tell(Event::Close {
        call: Some(CallId(2)),
    });
    script.write(3).ok(1, 5).ok(2, 6);
    assert_eq!(
        script.said(),
        [
            "send 1: write",
            "send 2: closeSession",
            "failed 3 Closed, not sent",
            "done 1",
            "done 2",
            "close",
            "Closed 0x51",
        ]
    );
    script.tell(Event::Close {
        call: Some(CallId(4)),
    });
    assert_eq!(script.said(), ["done 4"]);
}

#[test]
fn closing_without_a_server_gives_up_after_a_while_and_says_so() {
    let mut script = Script::connected(options());
    script.broke("reset").tell(Event::Close {
        call: Some(CallId(2)),
    });
    script.said();
    script.pass(6_000);
    let said = script.said();
    assert!(
        said.contains(&"failed 2 ConnectionLoss".to_owned()),
        "{said:?}"
    );
    assert_eq!(script.session.status.state, SessionState::Closed);
}

#[test]
fn closing_finds_another_server_to_say_it_to() {
    let mut script = Script::connected(options());
    script.broke("reset").tell(Event::Close {
        call: Some(CallId(2)),
    });
    script.pass(200).resolved(&[1]).opened();
    script.said();
    script.accept(0x51, 30_000).ok(1, 9);
    assert_eq!(
        script.said(),
        [
            "Connected 0x51",
            "send 1: closeSession",
            "done 2",
            "close",
            "Closed 0x51"
        ]
    );
}
