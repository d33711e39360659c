//! Reads that must see what other servers have acknowledged (`readMode=quorum`).

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Instant;

use roo_proto::op_code;
use roo_server::config::parse::Settings;
use roo_server::node::Node;
use tempfile::TempDir;

use crate::client::{Client, DEADLINE, start, word};
use crate::relay::Gate;

const NO_NODE: i32 = -101;
const PING: i32 = -2;

/// Servers 1 to 3. Server 3 leads, and the way between it and server 1 has a gate.
struct Ensemble {
    nodes: Vec<Node>,
    addresses: Vec<SocketAddr>,
    gate: Gate,
    dir: TempDir,
}

impl Ensemble {
    fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let own = own_address();
        let held = [(); 3].map(|()| TcpListener::bind((own, 0)).unwrap());
        let ports = held.each_ref().map(|port| port.local_addr().unwrap());
        drop(held);
        let gate = Gate::default();
        let mut seen_by_first = ports;
        seen_by_first[2] = gate.before(ports[2]);
        let mut seen_by_third = ports;
        seen_by_third[0] = gate.before(ports[0]);
        let mut this = Self {
            nodes: Vec::new(),
            addresses: Vec::new(),
            gate,
            dir,
        };
        // Without server 1 the others elect the one with the higher number.
        this.add(3, &seen_by_third);
        this.add(2, &ports);
        await_mode(this.addresses[0], "leader");
        await_mode(this.addresses[1], "follower");
        this.add(1, &seen_by_first);
        await_mode(this.addresses[2], "follower");
        this
    }

    fn add(&mut self, id: usize, peers: &[SocketAddr]) {
        let mut settings = Settings::default();
        let peers = (1..).zip(peers).map(|(id, peer)| format!("{id}={peer}"));
        let peers = peers.collect::<Vec<_>>().join(",");
        settings.option("--peers", "peers", &peers);
        settings.option("--id", "id", &id.to_string());
        settings.argument("readMode=quorum").unwrap();
        let ensemble = settings.config().unwrap().ensemble;
        let dir = self.dir.path().join(id.to_string());
        let (node, address) = start(&dir, |config| config.ensemble = ensemble).unwrap();
        self.nodes.push(node);
        self.addresses.push(address);
    }

    /// A session at the leader.
    fn at_leader(&self) -> Client {
        session(self.addresses[0])
    }

    /// A session at server 1, whose way to the leader has the gate.
    fn at_follower(&self) -> Client {
        session(self.addresses[2])
    }

    fn stop(self) {
        self.gate.cut();
        self.nodes.into_iter().for_each(Node::stop);
    }
}

/// A loopback address where nobody else takes the ports that the servers are about to listen on.
fn own_address() -> Ipv4Addr {
    static USED: AtomicU8 = AtomicU8::new(1);
    let [.., high, low] = std::process::id().to_be_bytes();
    Ipv4Addr::new(127, high | 1, low, USED.fetch_add(1, Ordering::Relaxed))
}

fn session(address: SocketAddr) -> Client {
    let mut client = Client::connect(address);
    client.ask_for_session();
    client.receive().expect("a session");
    client
}

/// Asks for a server's part until it is this one.
fn await_mode(address: SocketAddr, mode: &str) {
    let until = Instant::now() + DEADLINE;
    let line = format!("Mode: {mode}\n");
    while !word(address, "srvr").contains(&line) {
        assert!(Instant::now() < until, "no {mode}");
    }
}

/// Everything that was sent before to a server with one I/O thread is read.
fn await_round(other: &mut Client) {
    other.ask(PING, op_code::PING);
    assert_eq!(other.reply(), (PING, 0));
}

#[test]
fn a_read_waits_for_what_another_server_has_acknowledged() {
    let ensemble = Ensemble::start();
    let (mut writer, mut reader) = (ensemble.at_leader(), ensemble.at_follower());
    let (mut leaving, mut other) = (ensemble.at_follower(), ensemble.at_follower());
    ensemble.gate.hold();
    writer.ask_for_create(1, "/a");
    assert_eq!(writer.reply(), (1, 0));
    reader.ask_for_exists(1, "/a", false);
    // One that sends no more is answered all the same.
    leaving.ask_for_exists(1, "/a", false);
    leaving.hang_up();
    await_round(&mut other);
    assert!(reader.is_silent() && leaving.is_silent());
    // What comes behind waits, too.
    reader.ask(PING, op_code::PING);
    reader.ask_for_exists(2, "/b", false);
    await_round(&mut other);
    assert!(reader.is_silent());
    ensemble.gate.release();
    assert_eq!(reader.reply(), (1, 0));
    assert_eq!(reader.reply(), (PING, 0));
    assert_eq!(reader.reply(), (2, NO_NODE));
    assert_eq!(leaving.reply(), (1, 0));
    assert_eq!(leaving.receive(), None);
    ensemble.stop();
}

#[test]
fn replies_keep_the_order_of_their_requests() {
    let ensemble = Ensemble::start();
    for mut client in [ensemble.at_follower(), ensemble.at_leader()] {
        for round in 0..30 {
            let path = format!("/a{round}");
            client.ask_for_exists(1, &path, false);
            client.ask_for_create(2, &path);
            client.ask_for_exists(3, &path, false);
            client.ask(PING, op_code::PING);
            client.ask_for_sync(4, &path);
            client.ask_for_exists(5, &path, false);
            client.ask_for_delete(6, &path);
            assert_eq!(client.reply(), (1, NO_NODE));
            assert_eq!(client.reply(), (2, 0));
            assert_eq!(client.reply(), (3, 0));
            assert_eq!(client.reply(), (PING, 0));
            assert_eq!(client.reply(), (4, 0));
            assert_eq!(client.reply(), (5, 0));
            assert_eq!(client.reply(), (6, 0));
        }
    }
    ensemble.stop();
}

#[test]
fn whoever_waits_for_the_word_of_a_leader_that_is_lost_is_told() {
    let ensemble = Ensemble::start();
    let (mut reader, mut other) = (ensemble.at_follower(), ensemble.at_follower());
    ensemble.gate.hold();
    reader.ask_for_exists(1, "/a", false);
    await_round(&mut other);
    assert!(reader.is_silent());
    ensemble.gate.cut();
    assert_eq!(reader.receive(), None);
    assert_eq!(other.receive(), None);
    ensemble.stop();
}
