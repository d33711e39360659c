use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::ids::Zxid;

use super::{Plan, Window, diverged, follows, plan};
use crate::message::Proposal;

fn zxid(text: &str) -> Zxid {
    let (epoch, counter) = text.split_once('.').unwrap();
    Zxid::new(epoch.parse().unwrap(), counter.parse().unwrap())
}

/// Behind `base`, what `records` name; each has three bytes.
fn window(base: &str, records: &str) -> Window {
    let mut window = Window::new(zxid(base));
    for record in records.split_whitespace() {
        window.push(Proposal {
            zxid: zxid(record),
            txn: Bytes::from_static(b"txn"),
            ensemble: None,
        });
    }
    window
}

#[track_caller]
fn check(window: &Window, end: &str, learner: &str, expected: Plan) {
    let (end, learner) = (zxid(end), zxid(learner));
    assert_eq!(plan(window, end, end, learner, false), expected);
}

fn diff(after: &str) -> Plan {
    Plan::Diff { after: zxid(after) }
}

fn trunc(to: &str) -> Plan {
    Plan::Trunc { to: zxid(to) }
}

#[test]
fn a_record_follows_the_one_before_or_begins_an_epoch() {
    for (last, next, expected) in [
        ("1.1", "1.2", true),
        ("1.0", "1.1", true),
        ("1.1", "1.3", false),
        ("1.1", "1.1", false),
        ("1.2", "1.1", false),
        ("1.7", "2.1", true),
        ("1.7", "5.1", true),
        ("1.7", "2.2", false),
        ("1.7", "2.0", false),
        ("2.1", "1.1", false),
        ("1.4294967295", "2.1", true),
        ("1.4294967295", "2.0", false),
    ] {
        assert_eq!(follows(zxid(last), zxid(next)), expected, "{last} {next}");
    }
}

#[test]
fn the_plan_depends_on_where_the_learner_ends() {
    let window = window("1.3", "1.4 1.5 2.1 2.2");
    // Up to date; within memory; at the record before memory; before that.
    check(&window, "2.2", "2.2", diff("2.2"));
    check(&window, "2.2", "1.4", diff("1.4"));
    check(&window, "2.2", "1.3", diff("1.3"));
    check(&window, "2.2", "1.2", Plan::ReadLog);
    // Ahead of what is committed.
    check(&window, "2.2", "2.3", trunc("2.2"));
    check(&window, "2.1", "2.2", trunc("2.1"));
    // The tail of an old epoch that nobody else has.
    check(&window, "2.2", "1.6", Plan::Snapshot);
    // The beginning of an epoch stands for what was before it.
    check(&window, "2.2", "2.0", diff("2.0"));
    check(&window, "2.2", "3.0", diff("3.0"));
    // Nothing at all.
    check(&window, "2.2", "0.0", Plan::Snapshot);
}

#[test]
fn an_empty_leader_keeps_nobody_waiting() {
    let window = window("0.0", "");
    check(&window, "0.0", "0.0", diff("0.0"));
    check(&window, "0.0", "1.1", Plan::Snapshot);
    // It leads epoch 1: its state is at the beginning of that.
    check(&window, "1.0", "0.0", Plan::Snapshot);
    check(&window, "1.0", "1.0", diff("1.0"));
}

#[test]
fn a_forced_snapshot_takes_nothing_from_the_learner() {
    let window = window("1.3", "1.4 1.5");
    let end = zxid("1.5");
    let forced = |delivered: &str| plan(&window, end, zxid(delivered), zxid("1.4"), true);
    assert_eq!(forced("1.5"), Plan::Snapshot);
    assert_eq!(forced("1.4"), Plan::Snapshot);
    assert_eq!(forced("1.3"), diff("1.4"));
}

#[test]
fn a_learner_between_two_records_has_diverged() {
    assert_eq!(
        diverged(zxid("1.4"), zxid("1.3"), zxid("1.5")),
        trunc("1.3")
    );
    assert_eq!(
        diverged(zxid("1.4"), zxid("1.3"), zxid("2.1")),
        Plan::Snapshot
    );
    assert_eq!(diverged(zxid("2.0"), zxid("1.3"), zxid("2.1")), diff("2.0"));
}

#[test]
fn old_records_are_forgotten_but_not_what_is_needed() {
    let mut window = window("1.0", "1.1 1.2 1.3 1.4 1.5");
    let held = |window: &Window| window.after(Zxid::ZERO).count();
    window.trim(3, usize::MAX, zxid("1.1"));
    assert_eq!((window.base(), held(&window)), (zxid("1.1"), 4));
    window.trim(3, usize::MAX, zxid("1.5"));
    assert_eq!((window.base(), held(&window)), (zxid("1.2"), 3));
    window.trim(100, 6, zxid("1.5"));
    assert_eq!((window.base(), held(&window)), (zxid("1.3"), 2));
    window.trim(0, 0, zxid("1.5"));
    assert_eq!((window.base(), window.last()), (zxid("1.5"), zxid("1.5")));
}

#[test]
fn truncating_ends_the_window_where_the_log_ends() {
    let mut within = window("1.1", "1.2 1.3 2.1");
    within.truncate(zxid("1.2"));
    assert_eq!(within.last(), zxid("1.2"));
    let zxids: Vec<_> = within.after(Zxid::ZERO).map(|record| record.zxid).collect();
    assert_eq!(zxids, [zxid("1.2")]);
    let mut below = window("1.3", "1.4");
    below.truncate(zxid("1.2"));
    assert_eq!((below.base(), below.last()), (zxid("1.2"), zxid("1.2")));
}
