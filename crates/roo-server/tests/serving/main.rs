//! A whole server behind a socket: what its configuration changes and what it counts.
#![allow(missing_docs, clippy::unwrap_used)]

mod client;
mod few_clients;
mod relay;
mod stricter_reads;

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
    wait_for(address, "outstanding_requests", |n| n >= 1.0);
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
    assert_shown(
        &word(address, "mntr"),
        &[
            ("connection_rejected", 2),
            ("cnt_connection_token_deficit", 4),
            ("sum_connection_token_deficit", 5),
            ("max_connection_token_deficit", 2),
        ],
    );
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

/// Each of these lines of `mntr`.
fn assert_shown(mntr: &str, lines: &[(&str, u64)]) {
    for (name, value) in lines {
        let prefix = format!("zk_{name}\t");
        let shown = mntr.lines().find_map(|line| line.strip_prefix(&prefix));
        assert_eq!(shown, Some(value.to_string().as_str()), "{name}");
    }
}

#[test]
fn a_reset_forgets_the_word_that_asked_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |_| {}).unwrap();
    for _ in 0..50 {
        assert_eq!(word(address, "srst"), "Server stats reset.\n");
        let shown = word(address, "srvr");
        assert!(shown.contains("\nReceived: 1\nSent: 1\n"), "{shown}");
    }
    node.stop();
}

#[test]
fn mntr_counts_the_way_of_every_request() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |_| {}).unwrap();
    let (mut a, mut b) = two_clients(address);
    for client in [&mut a, &mut b] {
        client.ask_for_exists(1, "/app", true);
        assert_eq!(client.reply(), (1, -101));
    }
    a.ask_for_create(2, "/app");
    b.receive().expect("the watch event");
    a.receive().expect("the watch event");
    assert_eq!(a.reply(), (2, 0));
    let mntr = word(address, "mntr");
    assert_shown(
        &mntr,
        &[
            ("cnt_readlatency", 2),
            // Two sessions and a node.
            ("cnt_updatelatency", 3),
            ("cnt_prep_processor_queue_time_ms", 1),
            ("cnt_request_throttle_queue_time_ms", 1),
            ("cnt_propagation_latency", 3),
            ("cnt_sync_processor_queue_time_ms", 3),
            ("cnt_sync_processor_queue_and_flush_time_ms", 3),
            ("sum_sync_processor_batch_size", 3),
            ("outstanding_changes_queued", 3),
            ("outstanding_changes_removed", 3),
            ("cnt_node_created_watch_count", 1),
            ("sum_node_created_watch_count", 2),
            ("cnt_node_deleted_watch_count", 0),
            // The path and its data.
            ("cnt_app_write_per_namespace", 1),
            ("sum_app_write_per_namespace", 8),
            ("cnt_dbinittime", 1),
            ("cnt_snapshottime", 1),
            ("cnt_startup_txns_loaded", 0),
            ("min_client_response_size", 16),
        ],
    );
    for name in ["fsynctime", "prep_process_time", "sync_process_time"] {
        assert!(metric(address, &format!("cnt_{name}")) >= 1.0, "{name}");
    }
    node.stop();
    let (node, address) = start(dir.path(), |_| {}).unwrap();
    assert_shown(
        &word(address, "mntr"),
        &[
            ("sum_startup_txns_loaded", 3),
            ("cnt_startup_snap_load_time", 1),
        ],
    );
    node.stop();
}

#[test]
fn sessions_that_expire_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |config| {
        config.tick_time_ms = 10;
        config.max_session_timeout_ms = 20;
        config.min_session_timeout_ms = 20;
    })
    .unwrap();
    let mut client = Client::connect(address);
    client.ask_for_session();
    assert!(client.receive().is_some());
    assert_eq!(client.receive(), None, "it says nothing until it is closed");
    wait_for(address, "stale_sessions_expired", |n| n >= 1.0);
    node.stop();
}

#[test]
fn a_connection_may_not_be_too_many() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |_| {}).unwrap();
    let mut client = Client::connect(address);
    client.ask_for_session();
    client.receive().unwrap();
    let name = |n: u8| [vec![b'a' + n; 30_000], b":secret".to_vec()].concat();
    for (n, code) in [(0, 0), (1, 0), (2, -115)] {
        client.ask_for_auth(&name(n));
        assert_eq!(client.reply(), (-4, code));
    }
    assert_eq!(client.receive(), None);
    node.stop();
}

#[test]
fn percentiles_are_in_order_and_never_above_the_largest() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |config| config.group_commit = PAIRS).unwrap();
    let (mut a, mut b) = two_clients(address);
    for round in 0..20 {
        a.ask_for_create(round, &format!("/a{round}"));
        b.ask_for_create(round, &format!("/b{round}"));
        assert_eq!((a.reply(), b.reply()), ((round, 0), (round, 0)));
    }
    let shown = ["min", "p50", "p95", "p99", "p999", "max"]
        .map(|of| metric(address, &format!("{of}_updatelatency")));
    assert!(shown.is_sorted(), "{shown:?}");
    node.stop();
}

#[test]
fn whoever_cannot_start_is_told_why_and_what_to_do() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let refused = |data_dir: &std::path::Path, port: u16| {
        let error = start(data_dir, |config| {
            config.client_address.as_mut().unwrap().set_port(port);
        });
        let error = error.err().unwrap();
        (error.to_string(), error.exit_code())
    };
    let (node, address) = start(&path("used"), |_| {}).unwrap();
    fs::write(path("file"), "").unwrap();
    fs::create_dir_all(path("odd/myid")).unwrap();
    fs::create_dir(path("nameless")).unwrap();
    fs::write(path("nameless/myid"), "me").unwrap();
    let cases = [
        (
            path("other"),
            address.port(),
            "choose another clientPort",
            1,
        ),
        (path("used"), 0, "stop that server first", 3),
        (path("file"), 0, "a directory that it may write", 3),
        (path("odd"), 0, "a file is expected there", 3),
        (path("nameless"), 0, "its first line is \"me\"", 3),
    ];
    for (data_dir, port, advice, code) in cases {
        let (text, exit_code) = refused(&data_dir, port);
        assert!(text.contains(advice), "{advice} in {text}");
        assert_eq!(exit_code, code, "{text}");
        assert_eq!(text.lines().count(), 1, "{text}");
    }
    node.stop();
}
