//! Rows about many clients: idle sessions, watches, and one change that many wait for.
//!
//! Memory is what a fresh server grows by. It gets no load before: what that leaves of a Java heap
//! would take in the sessions without a byte more resident. So Apache's figure has in it what its
//! machine takes for compiling, which at these numbers is the smaller part.

use anyhow::{Context as _, Result};

use super::figures::Figures;
use super::goals::{CPU_OF_PINGS, CPU_PER_CHANGE, P50, P99, RSS_PER_SESSION, RSS_PER_WATCH};
use super::servers::{Kind, Server};
use super::{Run, load, streams};

/// Each has ports for some 28,000 connections.
pub(super) const LOCAL_ADDRESSES: &str = "127.0.0.2,127.0.0.3,127.0.0.4,127.0.0.5,127.0.0.6";
/// Sessions ping after a third of their timeout: so long there are pings of every one.
const TIMEOUT_MS: &str = "15000";
/// Three rounds of pings.
const HOLD_SECONDS: f64 = 15.0;
/// Files that a server has open besides.
const OTHER_FILES: u64 = 500;
const WATCHERS: u32 = 100;

/// Idle sessions.
pub(super) fn sessions_10k(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    sessions(run, "sessions-10k", 10_000, kind, figures)
}

/// Ten times as many.
pub(super) fn sessions_100k(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    sessions(run, "sessions-100k", 100_000, kind, figures)
}

fn sessions(
    run: &Run<'_>,
    row: &'static str,
    count: u32,
    kind: Kind,
    figures: &mut Figures,
) -> Result<()> {
    let wanted = run.scaled(count);
    let allowed = run.file_limit.saturating_sub(OTHER_FILES);
    let count = wanted.min(u32::try_from(allowed).unwrap_or(u32::MAX));
    if count < wanted {
        figures.note(format!(
            "{row}: {count} sessions, as a process may have no more than {} files open here.",
            run.file_limit
        ));
    }
    let server = Server::start(run.args, kind, 1, &[])?;
    let (count, hold) = (count.to_string(), HOLD_SECONDS.to_string());
    let options = [
        "sessions",
        "-n",
        &count,
        "-t",
        &hold,
        "--session-timeout-ms",
        TIMEOUT_MS,
        "--from",
        LOCAL_ADDRESSES,
    ];
    let outcome = load::run(run.args, &server, &options)?;
    let bytes = outcome.field("/extra/rss_bytes_per_session")?;
    let percent = outcome.field("/extra/server_cpu_percent_while_idle")?;
    figures.add(row, kind, RSS_PER_SESSION, bytes);
    figures.add(row, kind, CPU_OF_PINGS, percent);
    Ok(())
}

/// Watches of 100 sessions.
pub(super) fn watches(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let server = Server::start(run.args, kind, 1, &[])?;
    let keys = (run.scaled(1_000_000) / WATCHERS).to_string();
    let watchers = WATCHERS.to_string();
    let options = [
        "watches",
        "-c",
        &watchers,
        "-d",
        "10",
        "--keys",
        &keys,
        "--value-size",
        "10",
    ];
    let outcome = load::run(run.args, &server, &options)?;
    let bytes = outcome.field("/extra/rss_bytes_per_watch")?;
    figures.add("watches", kind, RSS_PER_WATCH, bytes);
    Ok(())
}

/// One change at a time that 1,000 sessions hear of.
pub(super) fn fanout(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let server = Server::start(run.args, kind, 1, &[])?;
    streams::warm_up(run, &server)?;
    let seconds = run.args.seconds.to_string();
    let options = ["watch-fanout", "-c", "1000", "-t", &seconds];
    let outcome = load::run(run.args, &server, &options).context("fanout")?;
    figures.add("fanout", kind, P50, outcome.field("/latency/p50_us")?);
    figures.add("fanout", kind, P99, outcome.field("/latency/p99_us")?);
    figures.add("fanout", kind, CPU_PER_CHANGE, 1e6 / outcome.per_cpu()?);
    Ok(())
}
