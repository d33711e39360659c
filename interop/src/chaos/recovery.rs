//! A large ensemble whose follower returns: from what it missed, and from nothing. What does that
//! cost whoever writes at the leader?

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::dice::Dice;
use super::ensemble::{Ensemble, Links};
use super::session::{Answer, Session};
use super::workers::TIMEOUT_MS;
use crate::servers::{pause, roo_binary};

/// Lines of zoo.cfg: ZooKeeper's sample file, but with time for a large snapshot.
const LINES: &[&str] = &["tickTime=2000", "initLimit=60", "syncLimit=5"];

/// Writes that the follower misses.
const MISSED: u64 = 10_000;

/// Sessions that write at the leader, one request at a time each.
const WRITERS: usize = 4;

/// How long writes are measured while nothing happens, and at least while something does.
const WINDOW: Duration = Duration::from_secs(10);

const NODE: &str = "/recovery";

/// Measures and prints the figures.
pub(super) fn measure(dir: &Path, nodes: u64, seed: u64) -> Result<()> {
    let mut dice = Dice::new(seed);
    let mut ensemble = Ensemble::prepare(dir, 3, Links::Direct, LINES)?;
    ensemble.start_all()?;
    let view = ensemble.await_whole()?;
    let leader = view.leader.context("no leader")?;
    let follower = view.followers.first().copied().context("no follower")?;
    let address = ensemble.client(leader);
    fill(address, nodes)?;
    Session::new(vec![address], TIMEOUT_MS, dice.branch()).ensure_node(NODE)?;
    println!("{nodes} znodes of 100 bytes; {}", memory(&ensemble)?);
    let normal = Load::start(address, &mut dice);
    pause(WINDOW);
    let usual = normal.stop()?;
    println!("normal: {usual}");

    ensemble.kill(follower)?;
    let missing = Load::start(address, &mut dice);
    while missing.count.load(Ordering::SeqCst) < MISSED {
        pause(Duration::from_millis(10));
    }
    missing.stop()?;
    recover(&mut ensemble, follower, &mut dice, &usual, "restarted")?;

    ensemble.kill(follower)?;
    ensemble.wipe(follower)?;
    recover(&mut ensemble, follower, &mut dice, &usual, "emptied")
}

fn fill(address: SocketAddr, nodes: u64) -> Result<()> {
    let status = Command::new(roo_binary())
        .args(["bench", "fill", "--servers", &address.to_string()])
        .args(["-n", &nodes.to_string(), "--value-size", "100"])
        .args(["--connections", "8", "--depth", "64"])
        .status()?;
    ensure!(status.success(), "roo bench fill: {status}");
    Ok(())
}

/// Starts a server and measures writes until it serves, and a while after.
fn recover(
    ensemble: &mut Ensemble,
    server: usize,
    dice: &mut Dice,
    usual: &Latencies,
    what: &str,
) -> Result<()> {
    let leader = ensemble.await_leader()?;
    let before = ensemble.log(server).len();
    let load = Load::start(ensemble.client(leader), dice);
    let began = Instant::now();
    ensemble.start(server)?;
    ensemble.await_whole()?;
    let back = began.elapsed();
    pause(WINDOW.saturating_sub(back));
    let found = load.stop()?;
    let log = ensemble.log(server);
    let by = if log[before..].contains("the leader's snapshot is installed") {
        "SNAP"
    } else {
        "DIFF"
    };
    println!(
        "{what}: back by {by} after {:.1} s; meanwhile {found}: p99 {:.1} times the normal one; {}",
        back.as_secs_f64(),
        found.p99.as_secs_f64() / usual.p99.as_secs_f64(),
        memory(ensemble)?
    );
    Ok(())
}

/// What the servers have in memory, in 2^20 bytes.
fn memory(ensemble: &Ensemble) -> Result<String> {
    let mut text = "RSS (peak) MB:".to_owned();
    for server in 0..ensemble.size() {
        let pid = ensemble.pid(server).context("a server does not run")?;
        let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
        let figure = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            let kilobytes: u64 = line.trim().strip_suffix(" kB")?.parse().ok()?;
            Some(kilobytes / 1024)
        };
        let (now, peak) = (figure("VmRSS:"), figure("VmHWM:"));
        text.push_str(&format!(
            " {} ({})",
            now.unwrap_or_default(),
            peak.unwrap_or_default()
        ));
    }
    Ok(text)
}

/// Times of acknowledged writes.
struct Latencies {
    count: usize,
    seconds: f64,
    median: Duration,
    p99: Duration,
    max: Duration,
}

impl std::fmt::Display for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.0} writes/s, median {:.2?}, p99 {:.2?}, max {:.1?}",
            self.count as f64 / self.seconds,
            self.median,
            self.p99,
            self.max
        )
    }
}

/// Sessions that write at one server.
struct Load {
    over: Arc<AtomicBool>,
    count: Arc<AtomicU64>,
    began: Instant,
    threads: Vec<thread::JoinHandle<Result<Vec<Duration>>>>,
}

impl Load {
    fn start(address: SocketAddr, dice: &mut Dice) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let count = Arc::new(AtomicU64::new(0));
        let threads = (0..WRITERS)
            .map(|_| {
                let mut session = Session::new(vec![address], TIMEOUT_MS, dice.branch());
                let (over, count) = (Arc::clone(&over), Arc::clone(&count));
                thread::spawn(move || {
                    let mut times = Vec::new();
                    while !over.load(Ordering::SeqCst) {
                        let began = Instant::now();
                        match session.set(NODE, "x")? {
                            Answer::Reply(reply) if reply.error == 0 => {}
                            other => return Err(anyhow!("a write is answered with {other:?}")),
                        }
                        times.push(began.elapsed());
                        count.fetch_add(1, Ordering::SeqCst);
                    }
                    session.close()?;
                    Ok(times)
                })
            })
            .collect();
        Self {
            over,
            count,
            began: Instant::now(),
            threads,
        }
    }

    fn stop(self) -> Result<Latencies> {
        self.over.store(true, Ordering::SeqCst);
        let mut times = Vec::new();
        for thread in self.threads {
            let ended = thread
                .join()
                .map_err(|_| anyhow!("a writer has panicked"))?;
            times.extend(ended?);
        }
        times.sort();
        let at = |percent: usize| times.get((times.len() * percent / 100).min(times.len() - 1));
        ensure!(!times.is_empty(), "nothing was written");
        Ok(Latencies {
            count: times.len(),
            seconds: self.began.elapsed().as_secs_f64(),
            median: at(50).copied().unwrap_or_default(),
            p99: at(99).copied().unwrap_or_default(),
            max: times.last().copied().unwrap_or_default(),
        })
    }
}
