//! One data directory, opened by both servers in turn, each ended by kill -9 after some random
//! work: what one leaves is what the other finds.

use std::process::ExitCode;

use anyhow::{Result, bail, ensure};
use clap::Args;

use crate::diff::generate::{Generator, Step};
use crate::servers::{Kind, Server, root};
use crate::wire::{Client, Hello, In, Out};

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
    let _ = std::fs::remove_dir_all(&dir);
    let _ = std::fs::remove_file(dir.with_extension("log"));
    let mut left: Option<Vec<String>> = None;
    for round in 0..args.rounds {
        let kind = if round % 2 == 0 {
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
            compression,
        ];
        let server = Server::start(kind, &dir, &lines)?;
        let found = dump(&server)?;
        if let Some(left) = &left {
            compare(kind, left, &found)?;
        }
        work(&server, args.seed + u64::from(round))?;
        let now = dump(&server)?;
        println!("{kind:?}: {} nodes found, {} left", found.len(), now.len());
        let said = server.output().to_lowercase();
        ensure!(
            !said.contains("digest mismatch") && !said.contains("digests are not matching"),
            "digests do not match:\n{}",
            server.output()
        );
        left = Some(now);
        server.kill()?;
    }
    println!("{} passed, 0 failed", args.rounds);
    Ok(ExitCode::SUCCESS)
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

/// Random requests of one session that stays open, so that its ephemerals are found too.
fn work(server: &Server, seed: u64) -> Result<()> {
    let hello = Hello {
        timeout: 40_000,
        ..Hello::default()
    };
    let mut client = Client::connect(server.address, &hello)?;
    let mut generator = Generator::new(seed, "exchange");
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

/// Every node with its data, list and whole Stat.
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
