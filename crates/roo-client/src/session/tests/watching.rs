use super::*;

fn exists(path: &str) -> Request<'_> {
    Request::Exists {
        path: path.into(),
        watch: true,
    }
}

fn get(path: &str) -> Request<'_> {
    Request::GetData {
        path: path.into(),
        watch: true,
    }
}

fn children(path: &str) -> Request<'_> {
    Request::GetChildren {
        path: path.into(),
        watch: true,
        with_stat: true,
    }
}

fn add(path: &str, mode: i32) -> Request<'_> {
    Request::AddWatch {
        path: Some(path.into()),
        mode,
    }
}

/// A session that watches in every way: 10 data, 11 absent, 12 children, 13 persistent, 14
/// recursive.
fn watching() -> Script {
    let mut script = Script::connected(options());
    script
        .submit(1, &get("/d"), Some((10, WatchedBy::GetData)))
        .submit(2, &exists("/x"), Some((11, WatchedBy::Exists)))
        .submit(3, &children("/c"), Some((12, WatchedBy::GetChildren)))
        .submit(4, &add("/p", 0), Some((13, WatchedBy::Persistent)))
        .submit(5, &add("/t", 1), Some((14, WatchedBy::PersistentRecursive)))
        .ok(1, 0x20)
        .answer(2, 0x20, ErrorCode::NO_NODE)
        .ok(3, 0x20)
        .ok(4, 0x20)
        .ok(5, 0x20);
    script.said();
    script
}

#[test]
fn a_watch_is_set_when_the_server_says_so() {
    let mut script = Script::connected(options());
    script
        .submit(1, &get("/a"), Some((10, WatchedBy::GetData)))
        .submit(2, &exists("/a"), Some((11, WatchedBy::Exists)))
        .answer(1, 1, ErrorCode::NO_NODE)
        .answer(2, 1, ErrorCode::NO_NODE);
    assert_eq!(
        script.said()[2..],
        ["failed 1 NO_NODE", "failed 2 NO_NODE, watching"]
    );
}

#[test]
fn events_go_to_those_who_watch_that_way() {
    let mut script = watching();
    script
        .event(0x21, EventType::NodeDataChanged, "/d")
        .event(0x22, EventType::NodeCreated, "/x")
        .event(0x23, EventType::NodeChildrenChanged, "/c")
        .event(0x24, EventType::NodeChildrenChanged, "/p")
        .event(0x25, EventType::NodeDeleted, "/p")
        .event(0x26, EventType::NodeCreated, "/t/a/b")
        .event(0x27, EventType::NodeDataChanged, "/t")
        .event(0x28, EventType::NodeCreated, "/tt")
        .event(0x29, EventType::NodeDataChanged, "/d");
    assert_eq!(
        script.said(),
        [
            "watch 10: DataChanged /d at 0x21, last",
            "watch 11: Created /x at 0x22, last",
            "watch 12: ChildrenChanged /c at 0x23, last",
            "watch 13: ChildrenChanged /p at 0x24",
            "watch 13: Deleted /p at 0x25",
            "watch 14: Created /t/a/b at 0x26",
            "watch 14: DataChanged /t at 0x27",
        ]
    );
}

#[test]
fn watches_are_set_again_on_the_next_connection_and_streams_are_told_of_the_gap() {
    let mut script = watching();
    // An event's number says nothing of the others of its transaction.
    script.event(0x30, EventType::NodeDataChanged, "/t/a");
    script.broke("reset").pass(200).resolved(&[1]).opened();
    assert!(
        script
            .said()
            .contains(&"send connect 0x51 after 0x30".to_owned())
    );
    script.read(6).accept(0x51, 30_000);
    assert_eq!(
        script.said(),
        [
            "Connected 0x51",
            "send -8: setWatches [\"/d\"] [\"/x\"] [\"/c\"] [\"/p\"] [\"/t\"] after 0x20",
            "send 6: read",
        ]
    );
    // What is found in hindsight goes to those who asked for one event; streams are told all by
    // the gap.
    script
        .event(-1, EventType::NodeDeleted, "/d")
        .event(-1, EventType::NodeDataChanged, "/p")
        .ok(-8, 0x31)
        .ok(6, 0x31);
    assert_eq!(
        script.said(),
        [
            "watch 10: Deleted /d, last",
            "watch 13: Gap /p",
            "watch 14: Gap /t",
            "done 6",
        ]
    );
}

#[test]
fn many_watches_are_set_again_in_packets_of_their_limit() {
    let mut script = Script::connected(options());
    let name = "n".repeat(1000);
    for at in 0..300u64 {
        let path = format!("/{at:03}{name}");
        script.submit(at, &get(&path), Some((1000 + at, WatchedBy::GetData)));
        script.ok(i32::try_from(at + 1).unwrap(), 5);
    }
    script.broke("reset").pass(200).resolved(&[1]).opened();
    script.said();
    script.accept(0x51, 30_000);
    let packets: Vec<_> = script
        .said()
        .into_iter()
        .filter(|line| line.contains("setWatches"))
        .collect();
    assert_eq!(packets.len(), 3);
    let watched: usize = packets.iter().map(|line| line.matches("n\"").count()).sum();
    assert_eq!(watched, 300);
    assert!(packets.iter().all(|line| line.len() < 140 * 1024));
    script.ok(-8, 6).ok(-8, 6).ok(-8, 6).read(9).ok(301, 6);
    assert_eq!(script.said().last().map(String::as_str), Some("done 9"));
}

#[test]
fn a_watch_that_nobody_waits_for_is_taken_back_from_the_server() {
    let mut script = watching();
    for watcher in 10..15 {
        script.tell(Event::Unwatch(WatcherId(watcher)));
    }
    assert_eq!(
        script.said(),
        [
            "send 6: removeWatches 2 /d",
            "send 7: removeWatches 2 /x",
            "send 8: removeWatches 1 /c",
            "send 9: removeWatches 3 /p",
            "send 10: removeWatches 3 /t",
        ]
    );
    script
        .answer(6, 0x20, ErrorCode::NO_WATCHER)
        .event(0x33, EventType::NodeDeleted, "/c");
    assert_eq!(script.said(), [""; 0]);
}

#[test]
fn a_watch_stays_at_the_server_while_another_waits_for_the_same() {
    let mut script = watching();
    script
        .submit(6, &exists("/d"), Some((20, WatchedBy::Exists)))
        .ok(6, 0x20);
    script.said();
    script.tell(Event::Unwatch(WatcherId(10)));
    assert_eq!(script.said(), [""; 0]);
    script.tell(Event::Unwatch(WatcherId(20)));
    assert_eq!(script.said(), ["send 7: removeWatches 2 /d"]);
}

#[test]
fn taking_a_watch_back_does_not_take_one_that_is_being_set() {
    let mut script = watching();
    script.submit(6, &get("/d"), Some((20, WatchedBy::GetData)));
    script.said();
    script.tell(Event::Unwatch(WatcherId(10)));
    assert_eq!(script.said(), [""; 0]);
    script
        .ok(6, 0x20)
        .event(0x40, EventType::NodeDataChanged, "/d");
    assert_eq!(
        script.said(),
        ["done 6, watching", "watch 20: DataChanged /d at 0x40, last"]
    );
}

#[test]
fn a_watch_whose_call_was_dropped_is_taken_back_when_it_is_set() {
    let mut script = Script::connected(options());
    script.submit(1, &get("/a"), Some((10, WatchedBy::GetData)));
    script.tell(Event::Unwatch(WatcherId(10)));
    script.tell(Event::Cancel(CallId(1)));
    script.said();
    script.ok(1, 5);
    assert_eq!(script.said(), ["send 2: removeWatches 2 /a", "done 1"]);
}

#[test]
fn removed_watches_are_told_so() {
    let mut script = watching();
    let request = Request::RemoveWatches {
        path: Some("/p".into()),
        kind: 3,
    };
    let mut frame = Vec::new();
    request.encode_frame(&mut frame, 0);
    script.tell(Event::Submit(Call {
        id: CallId(6),
        frame: frame.into(),
        was_sent: false,
        on_loss: OnLoss::Repeat,
        watch: None,
        unwatch: Some(Box::new((watches::Unwatching::Any, "/p".into()))),
        is_patient: false,
    }));
    script.ok(6, 0x20);
    assert_eq!(
        script.said(),
        [
            "send 6: removeWatches 3 /p",
            "watch 13 ended: Removed",
            "done 6",
        ]
    );
}

#[test]
fn all_watches_end_with_the_session() {
    let mut script = watching();
    script.broke("reset").pass(200).resolved(&[1]).opened();
    script.said();
    script.handshake(0, 0, false);
    let said = script.said();
    let ended: Vec<_> = said.iter().filter(|line| line.contains("ended")).collect();
    assert_eq!(ended.len(), 5);
    assert!(ended.iter().all(|line| line.ends_with("SessionExpired")));
}
