//! A whole server behind a socket: what its configuration changes and what it counts.
#![allow(missing_docs, clippy::unwrap_used)]

mod client;

use std::fs;
use std::time::Duration;

use client::{Client, metric, start, wait_for, word};
use roo_server::client::settings::RequestThrottle;
use roo_server::client::throttle::ThrottleSettings;
use roo_server::group_commit::GroupCommit;

/// Nothing is synced, and so nothing answered, before two writes are there.
const PAIRS: GroupCommit = GroupCommit {
    flush_delay: Duration::from_secs(3600),
    poll_time: Duration::from_secs(3600),
    max_batch: 2,
};

/// Two clients whose sessions are made by one sync.
fn two_clients(address: std::net::SocketAddr) -> (Client, Client) {
    let (mut a, mut b) = (Client::connect(address), Client::connect(address));
    a.ask_for_session();
    b.ask_for_session();
    assert!(a.receive().is_some() && b.receive().is_some());
    (a, b)
}

#[test]
fn a_write_waits_for_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |config| config.group_commit = PAIRS).unwrap();
    let (mut a, mut b) = two_clients(address);
    a.ask_for_create(1, "/a");
    wait_for(address, "outstanding_requests", |n| n >= 1.0);
    assert!(a.is_silent(), "the batch is not full");
    b.ask_for_create(1, "/b");
    assert_eq!((a.reply(), b.reply()), ((1, 0), (1, 0)));
    node.stop();
}

#[test]
fn a_write_whose_client_hangs_up_while_it_waits_for_others_is_dropped() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |config| {
        config.group_commit = PAIRS;
        config.request_throttle = RequestThrottle {
            max_requests: 1,
            stall_time_ms: 1,
            ..RequestThrottle::default()
        };
    })
    .unwrap();
    let (mut a, mut b) = two_clients(address);
    a.ask_for_create(1, "/a");
    wait_for(address, "outstanding_requests", |n| n >= 1.0);
    b.ask_for_create(1, "/b");
    wait_for(address, "request_throttle_wait_count", |n| n >= 1.0);
    assert!(b.is_silent(), "it waits");
    b.hang_up();
    assert_eq!(b.receive(), None);
    assert!((metric(address, "stale_requests_dropped") - 1.0).abs() < f64::EPSILON);
    assert!(a.is_silent(), "the batch is not full");
    // The record of another session fills it.
    let mut c = Client::connect(address);
    c.ask_for_session();
    assert_eq!(a.reply(), (1, 0));
    assert!(c.receive().is_some());
    c.ask_for_exists(1, "/b", false);
    assert_eq!(c.reply(), (1, -101), "what was dropped is not there");
    node.stop();
}

#[test]
fn a_write_that_waits_for_others_is_served_in_its_turn() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |config| {
        config.group_commit = PAIRS;
        config.request_throttle = RequestThrottle {
            max_requests: 1,
            stall_time_ms: 3_600_000,
            drop_stale: false,
            ..RequestThrottle::default()
        };
    })
    .unwrap();
    let (mut a, mut b) = two_clients(address);
    a.ask_for_create(1, "/a");
    wait_for(address, "outstanding_requests", |n| n >= 1.0);
    b.ask_for_create(1, "/b");
    wait_for(address, "request_throttle_wait_count", |n| n >= 1.0);
    // Each handshake fills a batch.
    Client::connect(address).ask_for_session();
    assert_eq!(a.reply(), (1, 0));
    Client::connect(address).ask_for_session();
    assert_eq!(b.reply(), (1, 0));
    node.stop();
}

#[test]
fn handshakes_without_a_token_are_refused_by_all_threads_together() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |config| {
        config.io_threads = 2;
        config.connection_throttle = ThrottleSettings {
            tokens: 2,
            fill_time_ms: 3_600_000,
            fill_count: 1,
            ..ThrottleSettings::default()
        };
    })
    .unwrap();
    let answered = (0..4).filter(|_| {
        let mut client = Client::connect(address);
        client.ask_for_session();
        client.receive().is_some()
    });
    assert_eq!(answered.count(), 2);
    let mntr = word(address, "mntr");
    for line in [
        "zk_connection_rejected\t2",
        "zk_cnt_connection_token_deficit\t4",
        "zk_sum_connection_token_deficit\t5",
        "zk_max_connection_token_deficit\t2",
    ] {
        assert!(mntr.lines().any(|shown| shown == line), "{line} in {mntr}");
    }
    node.stop();
}

#[test]
fn an_empty_directory_needs_a_word_where_data_is_expected() {
    let dir = tempfile::tempdir().unwrap();
    let expects_data = |config: &mut roo_server::config::ServerConfig| {
        config.db_autocreate = false;
    };
    let refused = start(dir.path(), expects_data).err().unwrap();
    assert_eq!(refused.exit_code(), 3);
    let text = refused.to_string();
    assert!(text.contains("db.autocreate=false"), "{text}");
    let initialize = dir.path().join("initialize");
    fs::write(&initialize, "").unwrap();
    let (node, _) = start(dir.path(), expects_data).unwrap();
    node.stop();
    assert!(!initialize.exists(), "it counts for one start");
    let (node, _) = start(dir.path(), expects_data).unwrap();
    node.stop();
}
