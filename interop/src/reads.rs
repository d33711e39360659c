//! `interop reads`: what a read at one server shows of a write that another has acknowledged, in
//! each `readMode`, with real processes.
//!
//! With `quorum` and `leader` it must always be there. With `local` it may be missing, but not
//! behind a `sync`, and not at the server that acknowledged it. One follower has slow links, so
//! that it is behind whenever it may be.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::ensemble::{Ensemble, Part};
use crate::proxy::Proxy;
use crate::servers::{Kind, root};
use crate::session::Session;

/// Arguments of `interop reads`.
#[derive(Args, Debug)]
pub struct ReadsArgs {
    /// Writes in each mode, each read at every server
    #[arg(long, default_value_t = 300)]
    rounds: u32,
    /// How long each piece waits on the links of the slow follower, ms
    #[arg(long, default_value_t = 5)]
    delay: u64,
}

/// The node that is written.
const PATH: &str = "/read";

/// How a read is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Plainly,
    BehindSync,
}

/// A mode, and what a plain read must show.
struct Mode {
    line: &'static str,
    must_see: bool,
}

const MODES: &[Mode] = &[
    Mode {
        line: "readMode=quorum",
        must_see: true,
    },
    Mode {
        line: "readMode=leader",
        must_see: true,
    },
    Mode {
        line: "readMode=local",
        must_see: false,
    },
];

/// Runs the test.
///
/// # Errors
/// When a server cannot be started, or a read shows what it must not.
pub fn run(arguments: &ReadsArgs) -> Result<ExitCode> {
    let dir = root().join(format!("target/interop/reads-{}", std::process::id()));
    for mode in MODES {
        let began = Instant::now();
        let stale = in_mode(mode, arguments, &dir)
            .with_context(|| format!("{}; logs and data are in {}", mode.line, dir.display()))?;
        println!(
            "ok {}: {} writes, each read at 3 servers plainly and behind a sync; {stale} plain \
             reads did not see one of another server; {} ms",
            mode.line,
            arguments.rounds,
            began.elapsed().as_millis()
        );
    }
    fs::remove_dir_all(&dir)?;
    println!("{} passed, 0 failed", MODES.len());
    Ok(ExitCode::SUCCESS)
}

/// How many reads have missed a write of another server.
fn in_mode(mode: &Mode, arguments: &ReadsArgs, dir: &Path) -> Result<u32> {
    let delay = Duration::from_millis(arguments.delay);
    let mut ensemble = Ensemble::prepare(Kind::Roo, 3, dir)?;
    let relays = slow_down(&mut ensemble, delay, mode.line)?;
    ensemble.await_whole()?;
    let addresses = ensemble.addresses();
    let mut sessions = addresses
        .iter()
        .map(|address| Session::open(*address))
        .collect::<Result<Vec<_>>>()?;
    sessions[0].create(PATH, b"")?;
    for session in &mut sessions {
        session.sync()?;
    }
    let mut stale = 0;
    for round in 0..arguments.rounds {
        let value = round.to_string();
        let writer = usize::try_from(round)? % sessions.len();
        sessions[writer].set(PATH, value.as_bytes())?;
        for asked in [Asked::Plainly, Asked::BehindSync] {
            for (reader, session) in sessions.iter_mut().enumerate() {
                if asked == Asked::BehindSync {
                    session.sync()?;
                }
                let seen = session.get(PATH)? == value.as_bytes();
                let must_see = mode.must_see || asked == Asked::BehindSync || reader == writer;
                ensure!(
                    seen || !must_see,
                    "round {round}: what server {} has acknowledged is not there at server {}, \
                     asked for {asked:?}",
                    writer + 1,
                    reader + 1
                );
                stale += u32::from(!seen);
            }
        }
    }
    if !mode.must_see {
        stale += left_behind(&mut sessions, &relays)?;
    }
    ensemble.examine()?;
    Ok(stale)
}

/// Nothing passes the links of server 1, whose readers are told what it has; how many reads that
/// were. The test would see nothing if no server were ever behind.
fn left_behind(sessions: &mut [Session], relays: &[Proxy]) -> Result<u32> {
    relays.iter().for_each(Proxy::stall);
    sessions[1].set(PATH, b"unseen")?;
    let seen = sessions[0].get(PATH)?;
    relays.iter().for_each(Proxy::open);
    ensure!(
        seen != b"unseen",
        "server 1 shows what it cannot have heard of"
    );
    sessions[0].sync()?;
    let seen = sessions[0].get(PATH)?;
    ensure!(
        seen == b"unseen",
        "server 1 does not show it behind a sync: {seen:?}"
    );
    Ok(1)
}

/// Starts the servers so that all links of server 1 are slow: the others reach it, and it reaches
/// them, through relays.
fn slow_down(ensemble: &mut Ensemble, delay: Duration, line: &str) -> Result<Vec<Proxy>> {
    let mut relays = Vec::new();
    let mut relayed = |to: SocketAddr| -> Result<SocketAddr> {
        let relay = Proxy::start(to)?;
        relay.slow(delay);
        let address = relay.address;
        relays.push(relay);
        Ok(address)
    };
    let own: Vec<SocketAddr> = ensemble.members.iter().map(|one| one.peers()).collect();
    let slow = relayed(own[0])?;
    let fast = [relayed(own[1])?, relayed(own[2])?];
    let lists = [
        [own[0], fast[0], fast[1]],
        [slow, own[1], own[2]],
        [slow, own[1], own[2]],
    ];
    for (member, list) in ensemble.members.iter_mut().zip(lists) {
        let servers: Vec<String> = (1..)
            .zip(list)
            // Nobody uses the ports for elections.
            .map(|(id, at)| {
                format!(
                    "server.{id}={at}:{}:{}",
                    at.port() ^ 1,
                    Part::Participant.name()
                )
            })
            .collect();
        let mut lines = vec![line];
        lines.extend(crate::ensemble::LIMITS);
        lines.extend(servers.iter().map(String::as_str));
        member.launch(&lines)?;
    }
    Ok(relays)
}
