//! One data directory, opened by both servers in turn, each ended by kill -9 after some random
//! work and in the middle of further writes: what one leaves is what the other finds, and no
//! acknowledged write is missing. The tools of both judge the files in between.

mod ledger;
mod tools;

use std::path::Path;
use std::process::ExitCode;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::diff::exclusions::Purpose;
use crate::diff::generate::Generator;
use crate::diff::steps::Step;
use crate::servers::{Kind, Server, root};
use crate::wire::{Client, Hello, In, Out};
use ledger::Ledger;

/// Arguments of `interop exchange`.
#[derive(Args, Debug)]
pub struct ExchangeArgs {
    /// How often the directory changes hands.
    #[arg(long, default_value_t = 8)]
    rounds: u32,
    /// Of the random numbers.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Logs roll and snapshots are taken often, in every compression.
const COMPRESSIONS: &[&str] = &[
    "",
    "snapshot.compression.method=gz",
    "snapshot.compression.method=snappy",
];

/// Steps of random work before a server is killed.
const STEPS: u64 = 400;

/// Runs the test.
///
/// # Errors
/// When a server cannot be started or reached, or finds something else than was left.
pub fn run(args: &ExchangeArgs) -> Result<ExitCode> {
    let dir = root().join("target/interop/exchange/data");
    // Left by an earlier run, or not there.
    let _ = std::fs::remove_dir_all(&dir);
    let _ = std::fs::remove_file(dir.with_extension("log"));
    let mut ledger = Ledger::default();
    let mut left: Option<Vec<String>> = None;
    for round in 0..args.rounds {
        let server = open(&dir, round)?;
        let found = judge(&server, left.as_deref(), &mut ledger)?;
        work(&server, args.seed + u64::from(round))?;
        ledger::prepare(server.address)?;
        let now = dump(&server)?;
        let kind = server.kind;
        let in_flight = ledger.write_and_kill(server, round)?;
        println!(
            "{kind:?}: {found} nodes found, {} left; {} writes acknowledged so far, killed with \
             {in_flight} in flight",
            now.len(),
            ledger.acknowledged()
        );
        // Once on what each of them has left: Apache's tools take their time.
        if round + 2 >= args.rounds {
            tools::agree(&dir.join("version-2"))?;
        }
        left = Some(now);
    }
    // What the last one left is found by the other, and by the one that left it.
    for round in [args.rounds, args.rounds + 1] {
        let server = open(&dir, round)?;
        let found = judge(&server, left.as_deref(), &mut ledger)?;
        println!("{:?}: {found} nodes found at the end", server.kind);
        server.kill()?;
    }
    println!("{} passed, 0 failed", args.rounds + 2);
    Ok(ExitCode::SUCCESS)
}

/// Apache in the even rounds, RooKeeper in the odd ones.
fn open(dir: &Path, round: u32) -> Result<Server> {
    let kind = if round.is_multiple_of(2) {
        Kind::Apache
    } else {
        Kind::Roo
    };
    let compression = COMPRESSIONS[round as usize % COMPRESSIONS.len()];
    let lines = [
        "snapCount=60",
        "skipACL=yes",
        "extendedTypesEnabled=true",
        "znode.container.checkIntervalMs=3600000",
        "maxSessionTimeout=600000",
        compression,
    ];
    Server::start(kind, dir, &lines)
}

/// Compares what a server has found with what was left; the number of nodes.
fn judge(server: &Server, left: Option<&[String]>, ledger: &mut Ledger) -> Result<usize> {
    let kind = server.kind;
    let zxid = figure(server, "srvr", "Zxid: 0x", 16)?;
    ensure!(
        zxid >= ledger.last_zxid(),
        "{kind:?} is at 0x{zxid:x}, before 0x{:x}, which was acknowledged",
        ledger.last_zxid()
    );
    // Both compare the digest of every record they replay.
    let mismatches = figure(server, "mntr", "zk_digest_mismatches_count", 10)?;
    ensure!(
        mismatches == 0,
        "{kind:?} finds {mismatches} wrong digests:\n{}",
        server.output()
    );
    let found = dump(server)?;
    if let Some(left) = left {
        compare(kind, left, &found)?;
    }
    ledger
        .verify(server.address)
        .with_context(|| format!("{kind:?}"))?;
    Ok(found.len())
}

/// The number behind `key` in the answer to a four-letter word.
fn figure(server: &Server, word: &str, key: &str, radix: u32) -> Result<i64> {
    let answer = server.word(word)?;
    answer
        .lines()
        .find_map(|line| i64::from_str_radix(line.strip_prefix(key)?.trim(), radix).ok())
        .with_context(|| format!("{word} does not tell {key}: {answer}"))
}

fn compare(kind: Kind, left: &[String], found: &[String]) -> Result<()> {
    if let Some(line) = left.iter().find(|line| !found.contains(line)) {
        bail!(
            "{kind:?} does not find: {line}\nit finds:\n{}",
            found.join("\n")
        );
    }
    if let Some(line) = found.iter().find(|line| !left.contains(line)) {
        bail!("{kind:?} finds what was not left: {line}");
    }
    Ok(())
}

/// Random requests of one session, which outlives the round, so that its ephemerals are found too.
fn work(server: &Server, seed: u64) -> Result<()> {
    let hello = Hello {
        timeout: 600_000,
        ..Hello::default()
    };
    let mut client = Client::connect(server.address, &hello)?;
    let mut generator = Generator::new(seed, Purpose::Exchange);
    let mut xid = 0;
    for _ in 0..STEPS {
        let Step::Requests {
            requests,
            ends: false,
            ..
        } = generator.next_step(1)
        else {
            continue;
        };
        for (op, body) in requests {
            xid += 1;
            client.send(xid, op, &body)?;
            client.receive_until(if op == 11 { -2 } else { xid })?;
            ensure!(!client.closed, "the server has closed the connection");
        }
    }
    Ok(())
}

/// Every node with its data, list and whole Stat, but what is in flight when a server is killed.
fn dump(server: &Server) -> Result<Vec<String>> {
    let mut client = Client::connect(server.address, &Hello::default())?;
    let mut lines = Vec::new();
    let mut paths = vec!["/".to_owned()];
    let mut xid = 0;
    while let Some(path) = paths.pop() {
        let mut replies = Vec::new();
        for (op, body) in [
            (4, Out::default().text(&path).flag(false).0),
            (6, Out::default().text(&path).0),
            (8, Out::default().text(&path).flag(false).0),
        ] {
            xid += 1;
            client.send(xid, op, &body)?;
            replies.extend(client.receive_until(xid)?);
        }
        let [data, list, children] = replies.as_slice() else {
            bail!("no answer about {path}");
        };
        let mut r = In(children.get(16..).unwrap_or_default());
        for _ in 0..r.int()? {
            let name = r.text()?;
            if path == "/" && name == ledger::NAME {
                continue;
            }
            paths.push(if path == "/" {
                format!("/{name}")
            } else {
                format!("{path}/{name}")
            });
        }
        let body = |frame: &[u8]| {
            frame
                .get(16..)
                .unwrap_or_default()
                .escape_ascii()
                .to_string()
        };
        lines.push(format!("{path} data {} list {}", body(data), body(list)));
    }
    client.send(1, -11, &[])?;
    client.receive_until(1)?;
    lines.sort();
    Ok(lines)
}
