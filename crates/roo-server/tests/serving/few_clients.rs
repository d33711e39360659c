//! A few clients at once: their writes share a sync, and the thread that decides the order may send
//! to them itself.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::thread;

use roo_proto::op_code;

use crate::client::{Client, start, wait_for};

const NO_NODE: i32 = -101;
const CLIENTS: usize = 4;
const ROUNDS: i32 = 150;

/// Each watches for what its neighbour makes, makes a node of its own, and reads all behind it.
fn make_and_watch(address: SocketAddr, own: usize) {
    let mut client = Client::connect(address);
    client.ask_for_session();
    assert!(client.receive().is_some());
    let neighbour = (own + 1) % CLIENTS;
    let mut expected = VecDeque::new();
    let (mut watched, mut events, mut last_zxid) = (0, 0, 0);
    for round in 0..ROUNDS {
        let xid = 3 * round + 1;
        client.ask_for_exists(xid, &format!("/{neighbour}-{round}"), true);
        client.ask_for_create(xid + 1, &format!("/{own}-{round}"));
        client.ask_for_exists(xid + 2, &format!("/{own}-{round}"), false);
        expected.extend([xid, xid + 1, xid + 2]);
        while !expected.is_empty() {
            let (came, zxid, code) = next(&mut client);
            assert!(zxid >= last_zxid, "{zxid} behind {last_zxid}");
            last_zxid = zxid;
            if came == -1 {
                events += 1;
                continue;
            }
            assert_eq!(Some(came), expected.pop_front());
            match came - xid {
                0 => watched += i32::from(code == NO_NODE),
                _ => assert_eq!(code, 0),
            }
        }
    }
    while events < watched {
        assert_eq!(next(&mut client).0, -1, "only events are left");
        events += 1;
    }
    client.ask(1_000_000, op_code::CLOSE_SESSION);
    assert_eq!(client.reply(), (1_000_000, 0));
    assert_eq!(client.receive(), None, "no event came twice");
}

/// xid, zxid and code of the next packet.
fn next(client: &mut Client) -> (i32, i64, i32) {
    let packet = client.receive().expect("a reply or an event");
    let number = |at: usize| i32::from_be_bytes(packet[at..at + 4].try_into().unwrap());
    let zxid = i64::from_be_bytes(packet[4..12].try_into().unwrap());
    (number(0), zxid, number(12))
}

#[test]
fn each_of_a_few_clients_at_once_is_told_everything_in_order() {
    let dir = tempfile::tempdir().unwrap();
    let (node, address) = start(dir.path(), |config| config.io_threads = 2).unwrap();
    thread::scope(|scope| {
        for own in 0..CLIENTS {
            scope.spawn(move || make_and_watch(address, own));
        }
    });
    // That of the word itself is left.
    wait_for(address, "num_alive_connections", |n| n <= 1.0);
    node.stop();
}
