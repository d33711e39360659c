//! What a run counts: latencies of reads and writes, errors, bytes, and single samples on request.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;

use super::timeline::Timeline;

/// Latencies are kept to one per cent, from a microsecond to a hundred seconds.
const LATENCY_NS_MIN: u64 = 1_000;
const LATENCY_NS_MAX: u64 = 100_000_000_000;

/// An empty histogram of latencies in nanoseconds.
pub(super) fn latencies() -> Result<Histogram<u64>> {
    Histogram::new_with_bounds(LATENCY_NS_MIN, LATENCY_NS_MAX, 2).context("make a histogram")
}

/// One reply, for the sample file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sample {
    pub(super) received_ns: u64,
    pub(super) latency_ns: u64,
}

/// What one worker counted inside the measured time.
#[derive(Debug)]
pub(super) struct Tally {
    pub(super) reads: Histogram<u64>,
    pub(super) writes: Histogram<u64>,
    pub(super) errors: BTreeMap<i32, u64>,
    pub(super) bytes_received: u64,
    pub(super) last_reply_ns: u64,
    /// Open loop: requests that were due and for which no connection had room until the end.
    pub(super) overdue: u64,
    pub(super) samples: Option<Vec<Sample>>,
    pub(super) timeline: Option<Timeline>,
}

/// What is kept besides the histograms.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kept {
    pub(super) samples: bool,
    pub(super) timeline: bool,
}

impl Tally {
    pub(super) fn new(kept: Kept, from_ns: u64) -> Result<Self> {
        Ok(Self {
            reads: latencies()?,
            writes: latencies()?,
            errors: BTreeMap::new(),
            bytes_received: 0,
            last_reply_ns: 0,
            overdue: 0,
            samples: kept.samples.then(Vec::new),
            timeline: if kept.timeline {
                Some(Timeline::new(from_ns)?)
            } else {
                None
            },
        })
    }

    /// Adds what another worker counted.
    pub(super) fn add(&mut self, other: Self) -> Result<()> {
        self.reads.add(&other.reads).context("add histograms")?;
        self.writes.add(&other.writes).context("add histograms")?;
        for (code, count) in other.errors {
            *self.errors.entry(code).or_default() += count;
        }
        self.bytes_received += other.bytes_received;
        self.overdue += other.overdue;
        self.last_reply_ns = self.last_reply_ns.max(other.last_reply_ns);
        if let (Some(samples), Some(others)) = (&mut self.samples, other.samples) {
            samples.extend(others);
        }
        if let (Some(timeline), Some(others)) = (&mut self.timeline, other.timeline) {
            timeline.add(others)?;
        }
        Ok(())
    }
}
