//! Latencies over the time of a run, in slices of equal length that grow with the run: a run of any
//! length has at most [`SLICES_MAX`], so that nobody has to say beforehand how long it will take.

use anyhow::{Context as _, Result};
use hdrhistogram::Histogram;
use roo_chart::{Axis, Chart, Line, Scale};
use serde::Serialize;

use super::clock::seconds;
use super::tally::latencies;

const SLICES_MAX: usize = 256;
/// How long a slice is at first.
const SLICE_NS: u64 = 10_000_000;

/// The slices so far.
#[derive(Debug)]
pub(super) struct Timeline {
    from_ns: u64,
    slice_ns: u64,
    slices: Vec<Histogram<u64>>,
    empty: Histogram<u64>,
}

/// One slice, for people and programs.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Slice {
    /// Its middle, in seconds of the measured time.
    pub(super) second: f64,
    pub(super) per_second: f64,
    pub(super) p50_us: f64,
    pub(super) p99_us: f64,
    pub(super) max_us: f64,
}

impl Timeline {
    pub(super) fn new(from_ns: u64) -> Result<Self> {
        Ok(Self {
            from_ns,
            slice_ns: SLICE_NS,
            slices: Vec::new(),
            empty: latencies()?,
        })
    }

    /// Counts a reply that came, or in an open loop was due, at this moment.
    pub(super) fn record(&mut self, moment_ns: u64, latency_ns: u64) {
        let after_ns = moment_ns.saturating_sub(self.from_ns);
        while after_ns / self.slice_ns >= SLICES_MAX as u64 {
            self.coarsen();
        }
        let index = usize::try_from(after_ns / self.slice_ns).unwrap_or(SLICES_MAX);
        while self.slices.len() <= index {
            self.slices.push(self.empty.clone());
        }
        self.slices[index].saturating_record(latency_ns);
    }

    /// Adds what another worker counted in the same run.
    pub(super) fn add(&mut self, mut other: Self) -> Result<()> {
        while self.slice_ns < other.slice_ns {
            self.coarsen();
        }
        while other.slice_ns < self.slice_ns {
            other.coarsen();
        }
        while self.slices.len() < other.slices.len() {
            self.slices.push(self.empty.clone());
        }
        for (slice, more) in self.slices.iter_mut().zip(&other.slices) {
            slice.add(more).context("add histograms")?;
        }
        Ok(())
    }

    /// Makes one slice of two.
    fn coarsen(&mut self) {
        self.slice_ns *= 2;
        let halves = std::mem::take(&mut self.slices);
        self.slices = halves
            .chunks(2)
            .map(|pair| {
                let mut sum = pair[0].clone();
                // All have the same bounds, so that adding cannot fail.
                let _ = pair[1..].iter().try_for_each(|half| sum.add(half));
                sum
            })
            .collect();
    }

    /// The slices in which something came.
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub(super) fn slices(&self) -> Vec<Slice> {
        let length = seconds(self.slice_ns);
        self.slices
            .iter()
            .enumerate()
            .filter(|(_, slice)| !slice.is_empty())
            .map(|(index, slice)| Slice {
                second: (index as f64 + 0.5) * length,
                per_second: slice.len() as f64 / length,
                p50_us: slice.value_at_quantile(0.5) as f64 / 1e3,
                p99_us: slice.value_at_quantile(0.99) as f64 / 1e3,
                max_us: slice.max() as f64 / 1e3,
            })
            .collect()
    }
}

/// Latency over time, and below it the rate.
pub(super) fn picture(title: &str, slices: &[Slice]) -> String {
    let line = |name: &str, of: fn(&Slice) -> f64| Line {
        name: name.to_owned(),
        points: slices
            .iter()
            .map(|slice| (slice.second, of(slice)))
            .collect(),
    };
    let chart = |title: &str, label: &str, scale, lines| Chart {
        title: title.to_owned(),
        x: Axis {
            label: "seconds".to_owned(),
            scale: Scale::Linear,
        },
        y: Axis {
            label: label.to_owned(),
            scale,
        },
        lines,
    };
    let latency = vec![
        line("p50", |slice| slice.p50_us),
        line("p99", |slice| slice.p99_us),
        line("max", |slice| slice.max_us),
    ];
    let rate = vec![line("requests/s", |slice| slice.per_second)];
    roo_chart::svg(&[
        chart(title, "latency, us", Scale::Log, latency),
        chart("", "requests/s", Scale::Linear, rate),
    ])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_grow_with_the_run_and_lose_nothing() {
        let mut long = Timeline::new(1_000).unwrap();
        for i in 0..5_000_u64 {
            long.record(1_000 + i * SLICE_NS, 2_000 + i);
        }
        let mut short = Timeline::new(1_000).unwrap();
        short.record(1_000, 5_000_000);
        short.add(long).unwrap();
        let slices = short.slices();
        assert!(slices.len() <= SLICES_MAX, "{}", slices.len());
        let count: u64 = short.slices.iter().map(Histogram::len).sum();
        assert_eq!(count, 5_001);
        assert!(slices[0].max_us > 4_900.0, "{:?}", slices[0]);
        assert!(picture("x", &slices).contains("max"));
    }
}
