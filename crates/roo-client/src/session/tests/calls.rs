use super::*;

#[test]
fn calls_are_numbered_and_answered_in_their_order() {
    let mut script = Script::connected(options());
    script.read(1).write(2).read(3);
    assert_eq!(
        script.said(),
        ["send 1: read", "send 2: write", "send 3: read"]
    );
    script
        .ok(1, 5)
        .answer(2, 6, ErrorCode::BAD_VERSION)
        .ok(3, 6);
    assert_eq!(script.said(), ["done 1", "failed 2 BAD_VERSION", "done 3"]);
}

#[test]
fn an_answer_out_of_order_drops_the_connection() {
    let mut script = Script::connected(options());
    script.read(1).write(2);
    script.said();
    script.ok(2, 5);
    assert_eq!(
        script.said(),
        ["close", "Disconnected 0x51", "failed 2 ConnectionLoss"]
    );
}

#[test]
fn reads_are_made_again_and_writes_fail_when_the_connection_is_lost() {
    let mut script = Script::connected(options());
    script.read(1).write(2).read(3);
    script.said();
    script.broke("reset").write(4).read(5);
    assert_eq!(
        script.said(),
        ["Disconnected 0x51", "failed 2 ConnectionLoss"]
    );
    script.pass(200).resolved(&[1]).opened();
    script.said();
    script.accept(0x51, 30_000);
    assert_eq!(
        script.said(),
        [
            "Connected 0x51",
            "send 4: read",
            "send 5: read",
            "send 6: write",
            "send 7: read",
        ]
    );
    script.ok(4, 7).ok(5, 7).ok(6, 8).ok(7, 8);
    assert_eq!(script.said(), ["done 1", "done 3", "done 4", "done 5"]);
}

#[test]
fn a_session_moved_to_another_server_is_found_there_again() {
    // The former server closes the connection without a word.
    let mut script = Script::connected(options());
    script.write(1).broke("the server closed the connection");
    script
        .pass(200)
        .resolved(&[1])
        .opened()
        .accept(0x51, 30_000);
    let said = script.said();
    assert!(said.contains(&"failed 1 ConnectionLoss".to_owned()));
    assert_eq!(said.last().map(String::as_str), Some("Connected 0x51"));
}

#[test]
fn the_refusal_of_an_unknown_operation_may_overtake() {
    let mut script = Script::connected(options());
    script.write(1).submit(2, &Request::WhoAmI, None).read(3);
    script.said();
    script.answer(2, -1, ErrorCode::UNIMPLEMENTED);
    // The server closes the connection: what comes now waits for the next.
    script.write(4);
    assert_eq!(
        script.said(),
        [
            "failed 2 UNIMPLEMENTED",
            "close",
            "Disconnected 0x51",
            "failed 1 ConnectionLoss"
        ]
    );
    script.wait();
    script.resolved(&[1]).opened().accept(0x51, 30_000);
    let said = script.said();
    let last = said.iter().rev().take(2).rev();
    assert_eq!(last.collect::<Vec<_>>(), ["send 4: read", "send 5: write"]);
}

#[test]
fn what_a_server_has_switched_off_costs_no_connection() {
    let mut script = Script::connected(options());
    script.write(1).answer(1, 5, ErrorCode::UNIMPLEMENTED);
    let said = script.said();
    assert_eq!(said, ["send 1: write", "failed 1 UNIMPLEMENTED"]);
}

#[test]
fn a_call_whose_time_is_over_fails_and_keeps_its_place() {
    let mut script = Script::connected(Options {
        request_timeout: Some(Duration::from_secs(2)),
        ..options()
    });
    script.write(1).pass(1_000);
    script.write(2).pass(1_500);
    assert_eq!(
        script.said(),
        ["send 1: write", "send 2: write", "failed 1 TimedOut"]
    );
    script.ok(1, 5).ok(2, 6);
    let said = script.said();
    assert_eq!(said.last().map(String::as_str), Some("done 2"));
}

#[test]
fn a_call_that_never_was_sent_is_known_not_to_have_happened() {
    let mut script = Script::connected(Options {
        request_timeout: Some(Duration::from_secs(2)),
        ..options()
    });
    script.broke("reset").write(1);
    script.said();
    script.pass(2_000);
    let said = script.said();
    assert!(
        said.contains(&"failed 1 TimedOut, not sent".to_owned()),
        "{said:?}"
    );
    script.resolved(&[1]).opened().accept(0x51, 30_000);
    assert!(!script.said().iter().any(|line| line.contains("write")));
}

#[test]
fn a_call_taken_back_before_it_was_sent_is_never_sent() {
    let mut script = Script::connected(options());
    script.read(1).broke("reset").write(2).write(3);
    script.tell(Event::Cancel(CallId(2)));
    script.pass(200).resolved(&[1]).opened();
    script.said();
    script.accept(0x51, 30_000);
    assert_eq!(
        script.said(),
        ["Connected 0x51", "send 2: read", "send 3: write"]
    );
    script.ok(2, 5).ok(3, 6);
    assert_eq!(script.said(), ["done 1", "done 3"]);
}

#[test]
fn a_call_taken_back_after_it_was_sent_keeps_its_place() {
    let mut script = Script::connected(options());
    script.write(1).write(2).tell(Event::Cancel(CallId(1)));
    script.said();
    script.ok(1, 5).ok(2, 6);
    assert_eq!(script.said().last().map(String::as_str), Some("done 2"));
}

#[test]
fn nobody_repeats_a_read_that_was_taken_back() {
    let mut script = Script::connected(options());
    script.read(1).read(2).tell(Event::Cancel(CallId(1)));
    script.broke("reset").pass(200).resolved(&[1]).opened();
    script.said();
    script.accept(0x51, 30_000);
    assert_eq!(script.said(), ["Connected 0x51", "send 3: read"]);
}

#[test]
fn a_reply_too_large_fails_its_call_only() {
    let mut script = Script::connected(options());
    script.read(1).read(2);
    script.said();
    let mut frame = Vec::new();
    reply::header_only(&mut frame, 1, Zxid(5), ErrorCode::OK);
    script.tell(Event::ReceivedTooLarge {
        link: script.link,
        head: Bytes::copy_from_slice(&frame[4..]),
        bytes: 1 << 30,
    });
    script.ok(2, 5);
    let limit = 64 << 20;
    let failed = format!("failed 1 TooLarge {{ bytes: {}, limit: {limit} }}", 1 << 30);
    assert_eq!(script.said(), [failed, "done 2".into()]);
}

#[test]
fn an_identity_under_way_is_proved_on_the_next_connection() {
    let mut script = Script::connected(options());
    script.tell(Event::Authenticate {
        call: Some(CallId(1)),
        scheme: "digest".into(),
        data: Secret(b"a:b".to_vec()),
    });
    script
        .broke("reset")
        .write(2)
        .pass(200)
        .resolved(&[1])
        .opened();
    script.said();
    script.accept(0x51, 30_000).ok(-4, 0).ok(1, 9);
    assert_eq!(
        script.said(),
        [
            "Connected 0x51",
            "send -4: auth digest",
            "send 1: write",
            "done 1",
            "done 2",
        ]
    );
}

#[test]
fn numbers_wrap_to_one() {
    let mut script = Script::connected(options());
    script.session.next_xid = i32::MAX;
    script.read(1).read(2);
    assert_eq!(
        script.said(),
        ["send 2147483647: read".to_owned(), "send 1: read".into()]
    );
}

#[test]
fn what_is_no_reply_drops_the_connection() {
    let mut script = Script::connected(options());
    script.read(1);
    script.said();
    script.packet(&[0, 0, 0, 3, 1, 2, 3]);
    assert_eq!(script.said(), ["close", "Disconnected 0x51"]);
}

#[test]
fn no_more_calls_than_allowed_are_under_way_and_their_order_stays() {
    let mut script = Script::connected(Options {
        in_flight_max: 2,
        ..options()
    });
    script.write(1).write(2).write(3).write(4);
    script.tell(Event::Close {
        call: Some(CallId(5)),
    });
    script.ok(1, 5).ok(2, 6);
    assert_eq!(
        script.said(),
        [
            "send 1: write",
            "send 2: write",
            "done 1",
            "send 3: write",
            "done 2",
            "send 4: write",
            "send 5: closeSession",
        ]
    );
}
