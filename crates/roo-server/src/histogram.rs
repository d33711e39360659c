//! How often each value came: small values exactly, larger ones to a sixteenth of themselves, so
//! that percentiles come from everything that was measured and not from a sample.
//!
//! Adding is one relaxed addition. The reads of a round of an I/O thread are added in one go.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::stats::Latency;

/// Parts of each doubling.
const PARTS: usize = 16;
const PART_BITS: u32 = PARTS.trailing_zeros();
/// Larger values count as this one.
const LARGEST: u64 = u32::MAX as u64;
const BUCKETS: usize = (33 - PART_BITS as usize) * PARTS;

/// See the module.
#[derive(Debug)]
pub struct Histogram([AtomicU64; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([const { AtomicU64::new(0) }; BUCKETS])
    }
}

/// The bucket of a value.
#[allow(clippy::cast_possible_truncation)] // The value has 32 bits.
const fn bucket(value: u64) -> usize {
    let value = if value > LARGEST { LARGEST } else { value };
    let Some(shift) = (value | 1).ilog2().checked_sub(PART_BITS) else {
        return value as usize;
    };
    (shift as usize) * PARTS + (value >> shift) as usize
}

/// The largest value of a bucket.
const fn largest_of(bucket: usize) -> u64 {
    if bucket < PARTS {
        return bucket as u64;
    }
    let shift = bucket / PARTS - 1;
    ((((bucket % PARTS + PARTS) as u64) + 1) << shift) - 1
}

impl Histogram {
    /// Counts `n` of a value.
    pub fn add_many(&self, value: u64, n: u64) {
        if let Some(count) = self.0.get(bucket(value)) {
            count.fetch_add(n, Ordering::Relaxed);
        }
    }

    /// The value below or at which `per_mille` of all lie; 0 when there is none.
    #[must_use]
    pub fn percentile(&self, per_mille: u64) -> u64 {
        let counts = self.0.iter().map(|count| count.load(Ordering::Relaxed));
        let counts: Vec<u64> = counts.collect();
        let all: u64 = counts.iter().sum();
        let rank = all.saturating_mul(per_mille).div_ceil(1000).max(1);
        let mut below = 0;
        for (bucket, count) in counts.into_iter().enumerate() {
            below += count;
            if below >= rank {
                return largest_of(bucket);
            }
        }
        0
    }
}

/// A summary with percentiles. Java: `AvgMinMaxPercentileCounter`.
#[derive(Debug, Default)]
pub struct Percentiles {
    /// Average, smallest, largest.
    pub summary: Latency,
    histogram: Histogram,
}

impl Percentiles {
    /// Counts one.
    pub fn add(&self, value: u64) {
        self.add_many(value, 1);
    }

    /// Counts `n` of the same value.
    pub fn add_many(&self, value: u64, n: u64) {
        self.summary.add_many(value, n);
        self.histogram.add_many(value, n);
    }

    /// The value below or at which `per_mille` of all lie.
    #[must_use]
    pub fn percentile(&self, per_mille: u64) -> u64 {
        self.histogram.percentile(per_mille).min(self.summary.max())
    }
}

/// Counts for a [`Percentiles`] what one thread adds in one go: equal values that come one after
/// the other, as the times of requests of one batch do, cost one addition that others must see.
#[derive(Debug)]
pub struct Runs<'a> {
    all: &'a Percentiles,
    value: u64,
    count: u64,
}

impl<'a> Runs<'a> {
    /// Nothing yet; what is added is shown when this is dropped.
    #[must_use]
    pub const fn of(all: &'a Percentiles) -> Self {
        Self {
            all,
            value: 0,
            count: 0,
        }
    }

    /// Counts one.
    pub fn add(&mut self, value: u64) {
        if value != self.value {
            self.show();
            self.value = value;
        }
        self.count += 1;
    }

    fn show(&mut self) {
        let count = std::mem::take(&mut self.count);
        if count > 0 {
            self.all.add_many(self.value, count);
        }
    }
}

impl Drop for Runs<'_> {
    fn drop(&mut self) {
        self.show();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_count_what_single_additions_do() {
        let (one_by_one, in_runs) = (Percentiles::default(), Percentiles::default());
        let values = [0, 0, 7, 7, 7, 3, 0];
        let mut runs = Runs::of(&in_runs);
        for value in values {
            one_by_one.add(value);
            runs.add(value);
        }
        drop(runs);
        let told = |of: &Percentiles| {
            let Percentiles { summary, .. } = of;
            let shares = [500, 900, 999].map(|per_mille| of.percentile(per_mille));
            (
                summary.count(),
                summary.total(),
                summary.min(),
                summary.max(),
                shares,
            )
        };
        assert_eq!(told(&in_runs), told(&one_by_one));
    }

    #[test]
    fn buckets_are_exact_below_their_parts_and_a_sixteenth_wide_above() {
        for value in (0..100_000).chain([LARGEST - 1, LARGEST]) {
            let largest = largest_of(bucket(value));
            assert!(largest >= value, "{value} is not above its bucket");
            assert!(
                largest - value <= value / 16,
                "{value} is far below {largest}"
            );
            assert!(
                bucket(largest) == bucket(value) && bucket(largest + 1) != bucket(value)
                    || largest == LARGEST
            );
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn percentiles_are_those_of_all_values() {
        let measured = Percentiles::default();
        assert_eq!(measured.percentile(500), 0);
        for value in 1..=1000 {
            measured.add(value);
        }
        let shown = [500, 950, 990, 999].map(|p| measured.percentile(p));
        for (shown, exact) in shown.into_iter().zip([500, 950, 990, 999]) {
            assert!(
                (exact..=exact + exact / 16).contains(&shown),
                "{shown}, not {exact}"
            );
        }
        measured.add_many(5_000_000, 10_000);
        assert_eq!(
            measured.percentile(500),
            5_000_000,
            "never above the largest"
        );
    }

    #[test]
    fn small_values_are_exact() {
        let measured = Percentiles::default();
        measured.add_many(0, 95);
        measured.add_many(7, 5);
        assert_eq!([500, 950, 951].map(|p| measured.percentile(p)), [0, 0, 7]);
    }
}
