use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::*;

fn created(path: &str) -> Change {
    Change::Created {
        path: path.to_string(),
        bytes: 0,
        acl: AclId::OPEN,
        parent_acl: AclId::OPEN,
    }
}

fn deleted(path: &str) -> Change {
    Change::Deleted {
        path: path.to_string(),
        acl: AclId::OPEN,
        parent_acl: AclId::OPEN,
    }
}

fn changed(path: &str) -> Change {
    Change::DataChanged {
        path: path.to_string(),
        bytes: 0,
        acl: AclId::OPEN,
    }
}

fn fired(table: &mut WatchTable, change: &Change) -> Vec<String> {
    let mut events = Vec::new();
    table.fire(change, &mut |watcher, event, path, _| {
        events.push(format!("{} {event:?} {path}", watcher.0));
    });
    events
}

#[test]
fn one_shot_watches_fire_once() {
    let mut table = WatchTable::new();
    table.add(WatcherId(1), "/a", Modes::DATA);
    assert_eq!(fired(&mut table, &created("/a")), ["1 NodeCreated /a"]);
    assert!(fired(&mut table, &changed("/a")).is_empty());
    assert!(table.is_empty() && table.by_watcher.is_empty());
}

#[test]
fn child_watches_hear_of_children_and_of_the_end_of_the_node() {
    let mut table = WatchTable::new();
    table.add(WatcherId(1), "/a", Modes::CHILD);
    assert!(fired(&mut table, &changed("/a")).is_empty());
    assert_eq!(
        fired(&mut table, &created("/a/b")),
        ["1 NodeChildrenChanged /a"]
    );
    table.add(WatcherId(1), "/a", Modes::CHILD);
    table.add(WatcherId(1), "/", Modes::CHILD);
    assert_eq!(
        fired(&mut table, &deleted("/a")),
        ["1 NodeDeleted /a", "1 NodeChildrenChanged /"]
    );
}

#[test]
fn a_deletion_is_told_once_to_whoever_watches_twice() {
    let mut table = WatchTable::new();
    table.add(WatcherId(1), "/a", Modes::DATA);
    table.add(WatcherId(1), "/a", Modes::CHILD);
    table.add(WatcherId(1), "/", Modes::RECURSIVE);
    assert_eq!(fired(&mut table, &deleted("/a")), ["1 NodeDeleted /a"]);
    assert_eq!(fired(&mut table, &changed("/a")), ["1 NodeDataChanged /a"]);
}

#[test]
fn persistent_watches_stay_and_recursive_ones_see_no_child_lists() {
    let mut table = WatchTable::new();
    table.add(WatcherId(1), "/a", Modes::PERSISTENT);
    table.add(WatcherId(2), "/a", Modes::RECURSIVE);
    for _ in 0..2 {
        assert_eq!(
            fired(&mut table, &created("/a/b")),
            ["2 NodeCreated /a/b", "1 NodeChildrenChanged /a"]
        );
    }
    assert!(fired(&mut table, &created("/ab")).is_empty());
    assert_eq!(table.node_watches(), 2);
    assert_eq!(table.child_watches(), 1);
}

#[test]
fn removal_names_modes_and_tells_whether_there_was_one() {
    let mut table = WatchTable::new();
    let watcher = WatcherId(3);
    table.add(watcher, "/a", Modes::DATA);
    table.add(watcher, "/a", Modes::PERSISTENT);
    assert!(!table.remove(watcher, "/a", Modes::CHILD));
    assert!(!table.remove(WatcherId(4), "/a", Modes::DATA));
    assert!(table.remove(watcher, "/a", Modes::DATA));
    assert!(!table.contains(watcher, "/a", Modes::DATA));
    assert!(table.remove(watcher, "/a", Modes::of_watcher_type(3).unwrap()));
    assert!(table.is_empty());
}

#[test]
fn a_path_that_many_watch_keeps_every_watcher() {
    let mut table = WatchTable::new();
    for id in 0..10_000 {
        table.add(WatcherId(id), "/hot", Modes::DATA);
    }
    for id in 0..10_000 {
        if id % 2 == 0 {
            table.remove_watcher(WatcherId(id));
        }
    }
    assert_eq!(table.node_watches(), 5_000);
    assert_eq!(fired(&mut table, &changed("/hot")).len(), 5_000);
    assert!(table.is_empty());
}

#[test]
fn slots_are_used_again() {
    let mut table = WatchTable::new();
    for round in 0..100 {
        table.add(WatcherId(1), &format!("/n{round}"), Modes::DATA);
        table.remove_watcher(WatcherId(1));
    }
    assert_eq!(table.slots.len(), 1);
    assert!(table.paths_of(WatcherId(1)).is_empty());
}
