//! `snapshot`: a great number of znodes, setData at a steady rate, and snapshots under way for part
//! of the time. Compares the latency of replies during a snapshot with that of the others.
//!
//! A snapshot is under way while a file in the data directory that is no log grows or appears.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use rustix::time::{ClockId, clock_gettime};

use super::load::Background;
use super::servers::{Kind, Server};
use super::{Run, progress};

/// Requests per second, well below what either server can do.
const RATE: &str = "5000";
const SECONDS: f64 = 60.0;
/// At this rate a snapshot starts about every 15 s.
pub(super) const SNAP_COUNT: &str = "snapCount=100000";
const LOOK_INTERVAL: Duration = Duration::from_millis(20);
/// Growth that is seen again within this time is the same snapshot: files grow in bursts.
const BURST_GAP_NS: u64 = 300_000_000;

/// A time in which a snapshot was written, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Window {
    from_ns: u64,
    to_ns: u64,
}

/// The 99th percentile during snapshots by that of the other times.
pub(super) fn measure(run: &Run<'_>, kind: Kind, server: &Server) -> Result<f64> {
    let samples_path = run.args.out.join(format!("samples-{kind}.csv"));
    let windows = load_and_look(run, server, &samples_path)?;
    let samples = read_samples(&samples_path)?;
    let (during, quiet) = split(&samples, &windows);
    ensure!(
        !during.is_empty(),
        "no snapshot was written while {kind} was under load"
    );
    progress(&format!(
        "{kind}: p99 {:.2} ms during {} snapshots ({} replies), {:.2} ms otherwise ({}); max {:.2} \
         ms and {:.2} ms",
        p99_ms(&during),
        windows.len(),
        during.len(),
        p99_ms(&quiet),
        quiet.len(),
        quantile_ms(&during, 1.0),
        quantile_ms(&quiet, 1.0),
    ))?;
    Ok(p99_ms(&during) / p99_ms(&quiet))
}

/// Runs the load and watches the data directory meanwhile.
fn load_and_look(run: &Run<'_>, server: &Server, samples: &Path) -> Result<Vec<Window>> {
    let seconds = SECONDS.to_string();
    let samples = samples.to_string_lossy();
    let options = [
        "write",
        "-c",
        "50",
        "-d",
        "10",
        "--rate",
        RATE,
        "-t",
        &seconds,
        "--samples",
        &samples,
    ];
    let mut load = Background::start(run.args, server, &options)?;
    let mut windows: Vec<Window> = Vec::new();
    let mut seen = sizes(&server.files_dir()?)?;
    let mut looked_ns = now_ns();
    while !load.is_over()? {
        std::thread::park_timeout(LOOK_INTERVAL);
        let now = sizes(&server.files_dir()?)?;
        let moment_ns = now_ns();
        if grown(&seen, &now) {
            match windows
                .last_mut()
                .filter(|last| looked_ns < last.to_ns + BURST_GAP_NS)
            {
                Some(last) => last.to_ns = moment_ns,
                None => windows.push(Window {
                    from_ns: looked_ns,
                    to_ns: moment_ns,
                }),
            }
        }
        seen = now;
        looked_ns = moment_ns;
    }
    Ok(windows)
}

/// The files that are no logs, with their sizes.
pub(super) fn sizes(dir: &Path) -> Result<BTreeMap<String, u64>> {
    let mut sizes = BTreeMap::new();
    for entry in std::fs::read_dir(dir).with_context(|| dir.display().to_string())? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("log.") {
            continue;
        }
        // A temporary file may have been renamed since the directory was read.
        if let Ok(metadata) = entry.metadata() {
            sizes.insert(name, metadata.len());
        }
    }
    Ok(sizes)
}

/// A file that vanished was purged or renamed: that is no growth.
fn grown(before: &BTreeMap<String, u64>, now: &BTreeMap<String, u64>) -> bool {
    now.iter()
        .any(|(name, size)| before.get(name) != Some(size))
}

/// A reply's arrival and latency.
type Sample = (u64, u64);

fn read_samples(path: &Path) -> Result<Vec<Sample>> {
    let text = std::fs::read_to_string(path).with_context(|| path.display().to_string())?;
    text.lines()
        .skip(1)
        .map(|line| {
            let (received, latency) = line.split_once(',').context("a line without a comma")?;
            Ok((received.parse()?, latency.parse()?))
        })
        .collect()
}

/// Latencies of requests that overlap a window, and of all others; sorted.
fn split(samples: &[Sample], windows: &[Window]) -> (Vec<u64>, Vec<u64>) {
    let overlaps = |received: u64, latency: u64| {
        windows
            .iter()
            .any(|window| received >= window.from_ns && received - latency <= window.to_ns)
    };
    let (during, quiet): (Vec<Sample>, Vec<Sample>) = samples
        .iter()
        .copied()
        .partition(|&(received, latency)| overlaps(received, latency));
    let sorted = |samples: Vec<Sample>| {
        let mut latencies: Vec<u64> = samples.into_iter().map(|(_, latency)| latency).collect();
        latencies.sort_unstable();
        latencies
    };
    (sorted(during), sorted(quiet))
}

fn p99_ms(sorted: &[u64]) -> f64 {
    quantile_ms(sorted, 0.99)
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "an index below the length, and milliseconds for people to read"
)]
fn quantile_ms(sorted: &[u64], quantile: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    let index = (last as f64 * quantile).round() as usize;
    sorted.get(index).copied().unwrap_or(0) as f64 / 1e6
}

fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let part = |value: i64| u64::try_from(value).unwrap_or(0);
    part(now.tv_sec) * 1_000_000_000 + part(now.tv_nsec)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_waited_for_a_snapshot_counts_as_during() {
        let windows = [Window {
            from_ns: 100,
            to_ns: 200,
        }];
        let samples = [(50, 10), (99, 5), (100, 5), (250, 60), (250, 40)];
        assert_eq!(split(&samples, &windows), (vec![5, 60], vec![5, 10, 40]));
    }

    #[test]
    fn growth_is_a_new_file_or_a_larger_one() {
        let files = |pairs: &[(&str, u64)]| -> BTreeMap<String, u64> {
            pairs
                .iter()
                .map(|(name, size)| ((*name).to_owned(), *size))
                .collect()
        };
        let before = files(&[("snapshot.1", 10), ("snapshot.2", 20)]);
        assert!(grown(
            &before,
            &files(&[("snapshot.1", 10), ("snapshot.2", 21)])
        ));
        assert!(grown(&before, &files(&[("snapshot.3", 0)])));
        assert!(!grown(&before, &files(&[("snapshot.2", 20)])));
    }

    #[test]
    fn quantiles_are_taken_from_the_sorted_list() {
        let sorted: Vec<u64> = (0..=100).map(|i| i * 1_000_000).collect();
        assert_eq!(p99_ms(&sorted).to_bits(), 99.0_f64.to_bits());
        assert_eq!(quantile_ms(&[], 1.0).to_bits(), 0.0_f64.to_bits());
    }
}
