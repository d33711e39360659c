//! A disk that is full, or fails: nothing is acknowledged that is not safe, the process ends with
//! a message, and the next one finds everything that was acknowledged.
//!
//! A limit on the size of files makes the system's own writes fail, in the middle of a record. What
//! no unprivileged process can have of the system (no space, a sync that fails) comes from a
//! library that stands before the C library and fails once a file exists.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Barrier;
use std::thread;

use super::client::Client;
use crate::support::library;
use crate::support::process::{Ended, Server, configure, roo, run};

const CLIENTS: usize = 3;
/// Requests that a client sends before it waits for a reply.
const AT_ONCE: i32 = 8;

/// Paths that were acknowledged, with their data.
type Acknowledged = BTreeMap<String, Vec<u8>>;

fn node(client: usize, xid: i32) -> (String, Vec<u8>) {
    let byte = u8::try_from(xid % 251).unwrap();
    (format!("/c{client}-{xid}"), vec![byte; 1500])
}

/// Creates nodes until the connection ends or `limit` are acknowledged; `from` is the first xid.
fn create_nodes(
    connection: &mut Client,
    client: usize,
    from: i32,
    limit: i32,
    acknowledged: &mut Acknowledged,
) -> std::io::Result<()> {
    let mut next = from;
    for waiting_for in from..from.saturating_add(limit) {
        while next < waiting_for + AT_ONCE && next < from.saturating_add(limit) {
            let (path, data) = node(client, next);
            connection.ask_create(next, &path, &data)?;
            next += 1;
        }
        let reply = connection.reply()?;
        assert_eq!((reply.xid, reply.code), (waiting_for, 0));
        let (path, data) = node(client, waiting_for);
        acknowledged.insert(path, data);
    }
    Ok(())
}

/// Several clients write until the server ends. With `between`, each gets 20 acknowledgements
/// first, then `between` breaks the disk, and nothing that is asked for behind it may be
/// acknowledged.
fn write_until_it_ends(address: SocketAddr, between: Option<&(dyn Fn() + Sync)>) -> Acknowledged {
    let barrier = Barrier::new(CLIENTS);
    let barrier = &barrier;
    let mut all = Acknowledged::new();
    thread::scope(|scope| {
        let clients: Vec<_> = (0..CLIENTS)
            .map(|client| {
                scope.spawn(move || {
                    let mut acknowledged = Acknowledged::new();
                    let mut connection = Client::connect(address).unwrap();
                    let Some(between) = between else {
                        let _ =
                            create_nodes(&mut connection, client, 1, i32::MAX, &mut acknowledged);
                        return acknowledged;
                    };
                    create_nodes(&mut connection, client, 1, 20, &mut acknowledged).unwrap();
                    if barrier.wait().is_leader() {
                        between();
                    }
                    barrier.wait();
                    let mut falsely = Acknowledged::new();
                    let _ = create_nodes(&mut connection, client, 21, 20, &mut falsely);
                    assert_eq!(falsely.len(), 0, "acknowledged though the disk fails");
                    acknowledged
                })
            })
            .collect();
        for client in clients {
            all.append(&mut client.join().unwrap());
        }
    });
    all
}

fn assert_clear_end(ended: &Ended, words: &[&str]) {
    assert_eq!(ended.status.code(), Some(1), "{ended:?}");
    let line = ended
        .errors
        .lines()
        .find(|line| line.contains("cannot write the transaction log"));
    let line = line.unwrap_or_else(|| panic!("no clear message: {}", ended.errors));
    for word in ["log.", "make room or mend the disk"].iter().chain(words) {
        assert!(line.contains(word), "{word:?} is not in {line}");
    }
    assert!(!ended.errors.contains("panic"), "{}", ended.errors);
}

/// With room again the server finds everything that was acknowledged, and goes on.
fn assert_nothing_is_missing(dir: &Path, acknowledged: &Acknowledged) {
    let server = Server::of(dir);
    let mut client = Client::connect(server.address).unwrap();
    for (path, data) in acknowledged {
        let found = client.data(path).unwrap();
        assert_eq!(found.as_ref(), Some(data), "{path} was acknowledged");
    }
    let mut more = Acknowledged::new();
    create_nodes(&mut client, CLIENTS, 1, 10, &mut more).unwrap();
    assert_eq!(more.len(), 10);
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{ended:?}");
    let logs = dir.join("data/version-2");
    let (status, text) = run(&["log", "check", "--json", logs.to_str().unwrap()]);
    assert!(status.success(), "{text}");
    assert!(!text.contains("\"torn\""), "a torn record was left: {text}");
}

/// Writes until the log meets the limit of a file's size: the end names `step`, and nothing is lost.
fn meets_the_limit_of_a_file(preallocate: &str, step: &str) {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), preallocate);
    let mut command = Command::new("sh");
    // POSIX counts blocks of 512 bytes, some shells 1024: either way the end is inside a record.
    let script = "ulimit -f 601; exec \"$0\" \"$@\"";
    command.args(["-c", script, env!("CARGO_BIN_EXE_roo"), "server"]);
    command.arg(dir.path().join("zoo.cfg"));
    let server = Server::start(command);
    let acknowledged = write_until_it_ends(server.address, None);
    assert_clear_end(&server.ended(), &[step, "File too large"]);
    assert!(acknowledged.len() > 100, "{}", acknowledged.len());
    assert_nothing_is_missing(dir.path(), &acknowledged);
}

#[test]
fn a_write_that_fails_in_the_middle_of_a_record_loses_nothing_that_was_acknowledged() {
    meets_the_limit_of_a_file("preAllocSize=0\n", "write");
}

#[test]
fn a_log_that_cannot_grow_loses_nothing_that_was_acknowledged() {
    meets_the_limit_of_a_file("preAllocSize=64\n", "preallocate");
}

/// The library that does what `FAULT` names once the file `FAULT_FROM` exists.
pub(crate) fn failing_library(dir: &Path) -> PathBuf {
    library(dir, "server/failing_disk.c")
}

fn fails(fault: &str, preallocate: u32, words: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), &format!("preAllocSize={preallocate}\n"));
    let from = dir.path().join("broken");
    let mut command = roo();
    command.arg("server").arg(dir.path().join("zoo.cfg"));
    command.env("LD_PRELOAD", failing_library(dir.path()));
    command.env("FAULT", fault).env("FAULT_FROM", &from);
    let server = Server::start(command);
    let breaks = || fs::write(&from, "").unwrap();
    let acknowledged = write_until_it_ends(server.address, Some(&breaks));
    assert_clear_end(&server.ended(), words);
    assert_eq!(acknowledged.len(), CLIENTS * 20);
    assert_nothing_is_missing(dir.path(), &acknowledged);
}

#[test]
fn a_sync_that_fails_acknowledges_nothing_and_ends_the_server() {
    fails("sync", 64, &["sync", "Input/output error"]);
}

#[test]
fn a_full_disk_acknowledges_nothing_and_ends_the_server() {
    fails("space", 0, &["write", "No space left on device"]);
}

#[test]
fn a_full_disk_that_is_written_in_blocks_acknowledges_nothing_and_ends_the_server() {
    fails("space", 65536, &["write", "No space left on device"]);
}

#[test]
fn a_full_disk_that_refuses_to_preallocate_acknowledges_nothing_and_ends_the_server() {
    fails("space", 1, &["No space left on device"]);
}
