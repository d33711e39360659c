//! Rows about a million znodes: what they take, how long a start with them takes, from the log and
//! from a snapshot, and what a snapshot of them does to writes meanwhile.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::figures::Figures;
use super::goals::{RSS_PER_ZNODE, SNAPSHOT_RATIO, START_SECONDS, TREE_PER_ZNODE};
use super::servers::{Kind, Server};
use super::{Run, load, snapshot};

/// So far apart that none is written while the server is filled.
const NO_SNAPSHOTS: &str = "snapCount=100000000";
/// So near that the next few writes bring one.
const SNAPSHOT_SOON: &str = "snapCount=1000";
/// Within so many writes it comes: both servers wait for at most their snapCount.
const SOON_WRITES: &str = "1100";
/// A file that has not grown for so long is finished.
const SETTLED: Duration = Duration::from_secs(1);
const PATIENCE: Duration = Duration::from_secs(180);

pub(super) const ROWS: &[&str] = &["million", "replay", "restart", "snapshot"];

/// One server's life: filled, killed, started on its log, and started on its snapshot.
pub(super) fn measure(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let args = run.args;
    let mut server = Server::start(args, kind, 1, &[NO_SNAPSHOTS])?;
    let empty = server.resident_bytes()?;
    let znodes = run.scaled(1_000_000);
    fill(run, &server, znodes)?;
    let grown = server.resident_bytes()? - empty;
    figures.add("million", kind, RSS_PER_ZNODE, grown / f64::from(znodes));
    let took = server.restart(&[SNAPSHOT_SOON])?;
    figures.add("replay", kind, START_SECONDS, took.as_secs_f64());
    let soon = ["write", "-c", "10", "-n", SOON_WRITES, "--value-size", "10"];
    load::run(args, &server, &soon)?;
    await_snapshot(&server)?;
    let took = server.restart(&[snapshot::SNAP_COUNT])?;
    figures.add("restart", kind, START_SECONDS, took.as_secs_f64());
    let tree = server.resident_bytes()? - empty;
    figures.add("million", kind, TREE_PER_ZNODE, tree / f64::from(znodes));
    if run.wants("snapshot") {
        let ratio = snapshot::measure(run, kind, &server)?;
        figures.add("snapshot", kind, SNAPSHOT_RATIO, ratio);
    }
    Ok(())
}

/// Znodes of 100 bytes that stay, in 50 directories.
pub(super) fn fill(run: &Run<'_>, server: &Server, znodes: u32) -> Result<load::Outcome> {
    let count = znodes.to_string();
    let options = [
        "fill",
        "-c",
        "50",
        "-d",
        "10",
        "--value-size",
        "100",
        "-n",
        &count,
    ];
    load::run(run.args, server, &options)
}

/// Waits until a snapshot is there besides the one of the empty server, and finished.
fn await_snapshot(server: &Server) -> Result<()> {
    let dir = server.files_dir()?;
    let began = Instant::now();
    let mut seen = snapshot::sizes(&dir)?;
    let mut since = Instant::now();
    loop {
        crate::servers::pause(Duration::from_millis(50));
        let now = snapshot::sizes(&dir)?;
        let is_large = now.values().any(|size| *size > 100_000);
        if now != seen {
            seen = now;
            since = Instant::now();
        } else if is_large && since.elapsed() > SETTLED {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "no snapshot is written");
    }
}
