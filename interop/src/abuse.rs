//! `interop abuse`: clients that misbehave, in great numbers, each kind against a server of its
//! own. Meanwhile another client reads, writes and connects, and must be served within a bound;
//! the server's peak of resident memory must stay below one, and it must not complain of itself.
//!
//! Not a benchmark: the bounds are generous, for machines that are busy with something else.

mod bystander;
mod crowds;
mod frames;
mod readers;

use std::fs;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::servers::{Kind, Server, pause, root};
use crate::wire::Hello;
use bystander::Bystander;

/// Arguments of `interop abuse`.
#[derive(Args, Debug)]
pub struct AbuseArgs {
    /// Connections of the crowds, as far as the system lets one process open them.
    #[arg(long, default_value_t = 10_000)]
    connections: usize,
    /// Only the kinds of abuse whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

/// Within this time the bystander has each of its replies and handshakes.
const LATENCY_LIMIT: Duration = Duration::from_secs(30);

/// Fewer connections than this prove nothing; where `CI` is set they fail.
const LEAST_CONNECTIONS: usize = 4_000;

/// Files that this process has open besides the crowd's.
const OTHER_FILES: u64 = 200;

/// How long a state may take to come about that will come about.
const PATIENCE: Duration = Duration::from_secs(90);

/// Lines of zoo.cfg: sessions outlive the making of a crowd, as they do not ping.
const LINES: &[&str] = &["maxSessionTimeout=600000", "logLevel=warn"];

/// How long a connection may take for its handshake. Only half ones are waited for; the bytes of
/// the others may take their time.
const HANDSHAKE_LIMIT: &str = "nio.sessionlessCnxnTimeout=600000";
const SHORT_HANDSHAKE_LIMIT: &str = "nio.sessionlessCnxnTimeout=5000";

/// How a session without pings begins.
fn patient() -> Hello {
    Hello {
        timeout: 600_000,
        ..Hello::default()
    }
}

/// What an abuse works with.
struct Scene<'a> {
    server: &'a Server,
    address: SocketAddr,
    /// Size of a crowd.
    connections: usize,
    bystander: &'a Bystander,
}

impl Scene<'_> {
    /// Waits until the server's answer to `word` has a line `key` whose value is `expected`.
    fn await_figure(&self, word: &str, key: &str, expected: impl Fn(u64) -> bool) -> Result<()> {
        let began = Instant::now();
        loop {
            let answer = self.server.word(word)?;
            let value = answer
                .lines()
                .find_map(|line| line.strip_prefix(key)?.trim().parse().ok())
                .with_context(|| format!("{word} does not tell {key}: {answer}"))?;
            if expected(value) {
                return Ok(());
            }
            ensure!(began.elapsed() < PATIENCE, "{key} stays at {value}");
            pause(Duration::from_millis(20));
        }
    }
}

/// A kind of abuse.
struct Abuse {
    name: &'static str,
    /// Bound on the server's peak of resident memory, in 2^20 bytes.
    memory_limit: u64,
    /// A line of zoo.cfg.
    handshake_limit: &'static str,
    /// Does it, checks that the server answers as it should, and tells what was measured.
    commit: fn(&Scene<'_>) -> Result<String>,
}

const ABUSES: &[Abuse] = &[
    Abuse {
        name: "idle crowd",
        memory_limit: 128,
        handshake_limit: HANDSHAKE_LIMIT,
        commit: crowds::idle,
    },
    Abuse {
        name: "one node watched",
        memory_limit: 128,
        handshake_limit: HANDSHAKE_LIMIT,
        commit: crowds::one_node_watched,
    },
    Abuse {
        name: "100,000 watches",
        memory_limit: 128,
        handshake_limit: HANDSHAKE_LIMIT,
        commit: crowds::many_nodes_watched,
    },
    Abuse {
        name: "half a frame",
        memory_limit: 64,
        handshake_limit: SHORT_HANDSHAKE_LIMIT,
        commit: frames::halves,
    },
    Abuse {
        name: "huge lengths",
        memory_limit: 64,
        handshake_limit: HANDSHAKE_LIMIT,
        commit: frames::huge_lengths,
    },
    Abuse {
        name: "byte by byte",
        memory_limit: 64,
        handshake_limit: HANDSHAKE_LIMIT,
        commit: frames::byte_by_byte,
    },
    Abuse {
        name: "never reading",
        memory_limit: 640,
        handshake_limit: HANDSHAKE_LIMIT,
        commit: readers::never_reading,
    },
    Abuse {
        name: "100,000 pipelined",
        memory_limit: 128,
        handshake_limit: HANDSHAKE_LIMIT,
        commit: readers::pipelined,
    },
];

/// Commits every abuse and prints a table.
///
/// # Errors
/// When a server cannot be started, or too few connections are allowed.
pub fn run(args: &AbuseArgs) -> Result<ExitCode> {
    let connections = allowed_connections(args.connections)?;
    let (mut passed, mut failed) = (0, 0);
    println!("abuse              seconds  slowest reply ms  handshake ms   peak MB  (limit)");
    for abuse in ABUSES.iter().filter(|abuse| {
        args.only
            .as_deref()
            .is_none_or(|only| abuse.name.contains(only))
    }) {
        match endure(abuse, connections) {
            Ok(line) => {
                passed += 1;
                println!("{line}");
            }
            Err(error) => {
                failed += 1;
                println!("{:<18} FAILED: {error:#}", abuse.name);
            }
        }
    }
    ensure!(passed + failed > 0, "no abuse has that name");
    println!("{passed} passed, {failed} failed");
    Ok(ExitCode::from(u8::from(failed > 0)))
}

/// Raises the limit of open files; fewer connections than wanted are said loudly.
fn allowed_connections(wanted: usize) -> Result<usize> {
    let needed = wanted as u64 + OTHER_FILES;
    let maximum = getrlimit(Resource::Nofile).maximum;
    let target = maximum.map_or(needed, |maximum| maximum.min(needed));
    let limit = Rlimit {
        current: Some(target),
        maximum,
    };
    setrlimit(Resource::Nofile, limit).context("raise the limit of open files")?;
    if target == needed {
        return Ok(wanted);
    }
    let allowed = usize::try_from(target.saturating_sub(OTHER_FILES))?;
    println!(
        "WARNING: the hard limit of open files allows {allowed} connections instead of {wanted}"
    );
    ensure!(
        allowed >= LEAST_CONNECTIONS || std::env::var_os("CI").is_none(),
        "at least {LEAST_CONNECTIONS} connections are needed: raise the hard limit (ulimit -Hn)"
    );
    Ok(allowed)
}

/// One kind of abuse against a fresh server; the line of the table.
fn endure(abuse: &Abuse, connections: usize) -> Result<String> {
    let work = root().join("target/interop/abuse");
    // Left by an earlier run, or not there.
    let _ = fs::remove_dir_all(&work);
    fs::create_dir_all(&work)?;
    let lines = [LINES, &[abuse.handshake_limit]].concat();
    let server = Server::start(Kind::Roo, &work.join("data"), &lines)?;
    let began = Instant::now();
    let bystander = Bystander::start(server.address)?;
    let scene = Scene {
        server: &server,
        address: server.address,
        connections,
        bystander: &bystander,
    };
    let measured = (abuse.commit)(&scene);
    let account = bystander.stop();
    let said = server.output();
    let measured = measured.with_context(|| format!("the server says: {said}"))?;
    let account = account.context("the bystander")?;
    let peak = peak_memory(server.pid())?;
    ensure!(
        !said.contains("ERROR") && !said.contains("panicked"),
        "the server complains:\n{said}"
    );
    for (what, took) in [
        ("reply", account.slowest_reply),
        ("handshake", account.slowest_handshake),
    ] {
        ensure!(
            took < LATENCY_LIMIT,
            "the bystander waited {took:?} for a {what}"
        );
    }
    ensure!(
        peak < abuse.memory_limit,
        "{peak} MB of memory, more than {}",
        abuse.memory_limit
    );
    Ok(format!(
        "{:<18} {:>7.1}  {:>16}  {:>12}  {peak:>8}  ({})  {measured}",
        abuse.name,
        began.elapsed().as_secs_f64(),
        account.slowest_reply.as_millis(),
        account.slowest_handshake.as_millis(),
        abuse.memory_limit
    ))
}

/// The most that a process has had in memory, in 2^20 bytes.
fn peak_memory(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let kilobytes: u64 = status
        .lines()
        .find_map(|line| {
            line.strip_prefix("VmHWM:")?
                .trim()
                .strip_suffix(" kB")?
                .parse()
                .ok()
        })
        .context("no VmHWM in /proc/PID/status")?;
    Ok(kilobytes / 1024)
}
