//! An observer whose disk stands still while its leader goes on: what waits to be written there is
//! bounded, and when the disk works again nothing is missing.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::time::{Duration, Instant};

use super::client::{Client, ask_word};
use super::failing_disk::failing_library;
use crate::support::process::{Server, configure, roo};

/// More than may wait to be written, with all that is under way.
const WRITES: i32 = 120;
const VALUE_BYTES: usize = 1_000_000;

/// Nothing that is waited for takes nearly as long.
const LIMIT: Duration = Duration::from_secs(120);

fn prepare(dir: &Path, id: usize, list: &str) {
    let lines = "initLimit=20\nsyncLimit=20\nstandaloneEnabled=false\n4lw.commands.whitelist=*\n";
    fs::create_dir_all(dir.join("data")).unwrap();
    fs::write(dir.join("data/myid"), id.to_string()).unwrap();
    configure(dir, &format!("{lines}{list}"));
}

fn await_true(what: &str, is_true: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_true() {
        assert!(began.elapsed() < LIMIT, "never: {what}");
    }
}

fn says(address: SocketAddr, word: &str, text: &str) -> bool {
    ask_word(address, word).unwrap().contains(text)
}

fn holds(address: SocketAddr, path: &str) -> bool {
    let found = Client::connect(address).and_then(|mut client| client.data(path));
    found.is_ok_and(|data| data.is_some_and(|data| data.len() == VALUE_BYTES))
}

#[test]
fn a_disk_that_holds_up_writes_and_not_syncs_is_complained_about() {
    let dir = tempfile::tempdir().unwrap();
    let lines = "fsync.warningthresholdms=50\n4lw.commands.whitelist=*\n";
    configure(dir.path(), lines);
    let stall = dir.path().join("stall");
    let mut command = roo();
    command.arg("server").arg(dir.path().join("zoo.cfg"));
    command.env("LD_PRELOAD", failing_library(dir.path()));
    command.env("FAULT", "stall writes");
    let met = dir.path().join("met");
    command.env("FAULT_FROM", &stall).env("FAULT_MET", &met);
    let server = Server::start(command);
    let mut client = Client::connect(server.address).unwrap();
    let complaints = "zk_roo_fsync_threshold_exceed_count\t";
    let none = format!("{complaints}0\n");
    assert!(says(server.address, "mntr", &none));

    fs::write(&stall, "").unwrap();
    client.ask_create(1, "/n", b"").unwrap();
    await_true("the write is held up", || met.exists());
    let began = Instant::now();
    await_true("it is for more than 50 ms", || {
        began.elapsed() > Duration::from_millis(100)
    });
    fs::remove_file(&stall).unwrap();
    assert_eq!(client.reply().unwrap().code, 0);
    await_true("it is counted", || {
        let told = ask_word(server.address, "mntr").unwrap();
        told.contains(complaints) && !told.contains(&none)
    });
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
}

#[test]
fn a_leader_waits_for_an_observer_whose_disk_stands_still() {
    let dir = tempfile::tempdir().unwrap();
    let held = [(); 4].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    let [p1, e1, p2, e2] = held.each_ref().map(|port| port.local_addr().unwrap());
    let list = format!(
        "server.1={p1}:{}:participant\nserver.2={p2}:{}:observer\n",
        e1.port(),
        e2.port()
    );
    drop(held);
    let [one, two] = ["1", "2"].map(|id| dir.path().join(id));
    prepare(&one, 1, &list);
    prepare(&two, 2, &list);
    let leader = Server::of(&one);
    let stall = dir.path().join("stall");
    let mut command = roo();
    command.arg("server").arg(two.join("zoo.cfg"));
    command.env("LD_PRELOAD", failing_library(dir.path()));
    command.env("FAULT", "stall").env("FAULT_FROM", &stall);
    let observer = Server::start(command);
    await_true("it observes", || {
        says(observer.address, "srvr", "Mode: observer")
    });

    fs::write(&stall, "").unwrap();
    let mut client = Client::connect(leader.address).unwrap();
    for xid in 1..=WRITES {
        let path = format!("/n{xid}");
        client
            .ask_create(xid, &path, &vec![7; VALUE_BYTES])
            .unwrap();
        let reply = client.reply().unwrap();
        assert_eq!((reply.xid, reply.code), (xid, 0));
    }
    await_true("the leader waits", || {
        !says(observer.address, "mntr", "zk_roo_storage_queue\t0\n")
    });

    fs::remove_file(&stall).unwrap();
    let last = format!("/n{WRITES}");
    await_true("nothing is missing", || holds(observer.address, &last));
    for server in [observer, leader] {
        let ended = server.stop();
        assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    }
}
