//! The result of a run, as one line of a table and as JSON.

use std::collections::BTreeMap;
use std::io::{self, Write};

use hdrhistogram::Histogram;
use serde::Serialize;

use super::clock::seconds;
use super::process::Usage;
use super::tally::Tally;
use super::timeline::{Slice, Timeline};

/// One run's figures. The names are those of the JSON output.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Report {
    pub(super) workload: String,
    pub(super) connections: u32,
    pub(super) depth: usize,
    pub(super) value_size: usize,
    pub(super) rate: Option<f64>,
    pub(super) seconds: f64,
    pub(super) requests: u64,
    pub(super) per_second: f64,
    pub(super) latency: Latency,
    pub(super) reads: Option<Latency>,
    pub(super) writes: Option<Latency>,
    /// Count of replies by error code.
    pub(super) errors: BTreeMap<i32, u64>,
    /// Requests of an open loop that were due and never sent.
    pub(super) overdue: u64,
    pub(super) megabytes_received_per_second: f64,
    pub(super) generator_cpu_seconds: f64,
    pub(super) server: Option<Server>,
    /// What only some workloads have.
    pub(super) extra: BTreeMap<&'static str, f64>,
    /// Latency over the time of the run, if it is asked for.
    pub(super) timeline: Option<Vec<Slice>>,
    pub(super) null: Option<BesideNull>,
}

/// How far a run is from the limit of sockets and load generator.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct BesideNull {
    /// What the null server answered under the same load.
    pub(super) per_second: f64,
    /// The measured server's requests per second as a part of that.
    pub(super) part: f64,
    /// How busy the load generator's threads were, 1 being one core.
    pub(super) generator_cores: f64,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Latency {
    pub(super) mean_us: f64,
    pub(super) p50_us: f64,
    pub(super) p90_us: f64,
    pub(super) p99_us: f64,
    pub(super) p99_9_us: f64,
    pub(super) max_us: f64,
}

/// What the server used during the measured time.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Server {
    pub(super) cpu_seconds: f64,
    pub(super) requests_per_cpu_second: f64,
    pub(super) rss_bytes: u64,
    pub(super) rss_bytes_peak: u64,
}

/// Resources used between two moments.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spent {
    pub(super) elapsed_ns: u64,
    pub(super) generator_cpu_ns: u64,
    /// The server's CPU time in between and its memory at the end, if it runs here.
    pub(super) server: Option<Usage>,
}

/// The settings that a report repeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Settings {
    pub(super) connections: u32,
    pub(super) depth: usize,
    pub(super) value_size: usize,
    pub(super) rate: Option<f64>,
}

impl Report {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub(super) fn new(workload: String, settings: Settings, tally: &Tally, spent: Spent) -> Self {
        let mut all = tally.reads.clone();
        // Both histograms have the same bounds, so that adding cannot fail.
        let _ = all.add(&tally.writes);
        let requests = all.len();
        let elapsed = seconds(spent.elapsed_ns).max(1e-9);
        let server = spent.server.map(|usage| Server {
            cpu_seconds: seconds(usage.cpu_ns),
            requests_per_cpu_second: requests as f64 / seconds(usage.cpu_ns).max(0.01),
            rss_bytes: usage.rss_bytes,
            rss_bytes_peak: usage.rss_bytes_peak,
        });
        Self {
            workload,
            connections: settings.connections,
            depth: settings.depth,
            value_size: settings.value_size,
            rate: settings.rate,
            seconds: elapsed,
            requests,
            per_second: requests as f64 / elapsed,
            latency: Latency::of(&all),
            reads: (!tally.reads.is_empty()).then(|| Latency::of(&tally.reads)),
            writes: (!tally.writes.is_empty()).then(|| Latency::of(&tally.writes)),
            errors: tally.errors.clone(),
            overdue: tally.overdue,
            megabytes_received_per_second: tally.bytes_received as f64 / 1e6 / elapsed,
            generator_cpu_seconds: seconds(spent.generator_cpu_ns),
            server,
            extra: BTreeMap::new(),
            timeline: tally.timeline.as_ref().map(Timeline::slices),
            null: None,
        }
    }

    /// This run as a null server's, beside that of another server under the same load.
    pub(super) fn beside(&self, measured: &Self) -> BesideNull {
        BesideNull {
            per_second: self.per_second,
            part: measured.per_second / self.per_second.max(1e-9),
            generator_cores: measured.generator_cpu_seconds / measured.seconds,
        }
    }

    /// The head of the table.
    pub(super) fn write_table_head(out: &mut impl Write) -> io::Result<()> {
        writeln!(
            out,
            "{:<17} {:>12} {:>10} {:>9} {:>9} {:>9} {:>9} {:>9} {:>7} {:>10} {:>8} {:>7}",
            "workload",
            "conn x depth",
            "req/s",
            "p50 us",
            "p90 us",
            "p99 us",
            "p99.9 us",
            "max us",
            "errors",
            "req/cpu-s",
            "rss MB",
            "gen cpu"
        )
    }

    /// One line, and lines below it for what does not fit.
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub(super) fn write_table_line(&self, out: &mut impl Write) -> io::Result<()> {
        let latency = self.latency;
        let errors: u64 = self.errors.values().sum();
        let (efficiency, rss) = match self.server {
            Some(server) => (
                format!("{:.0}", server.requests_per_cpu_second),
                format!("{:.1}", server.rss_bytes as f64 / 1e6),
            ),
            None => ("-".to_owned(), "-".to_owned()),
        };
        writeln!(
            out,
            "{:<17} {:>12} {:>10.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>9.0} {:>7} {:>10} {:>8} {:>6.0}%",
            self.workload,
            format!("{} x {}", self.connections, self.depth),
            self.per_second,
            latency.p50_us,
            latency.p90_us,
            latency.p99_us,
            latency.p99_9_us,
            latency.max_us,
            errors,
            efficiency,
            rss,
            100.0 * self.generator_cpu_seconds / self.seconds,
        )?;
        for (code, count) in &self.errors {
            writeln!(out, "    {count} replies with error {code}")?;
        }
        if self.overdue > 0 {
            writeln!(
                out,
                "    {} requests were due and never sent: the rate is too high",
                self.overdue
            )?;
        }
        for (name, value) in &self.extra {
            writeln!(out, "    {name}: {value:.1}")?;
        }
        if let Some(null) = self.null {
            writeln!(
                out,
                "    null server: {:.0} req/s; this is {:.0} % of what sockets and generator reach, \
                 with {:.1} cores of the generator in use",
                null.per_second,
                100.0 * null.part,
                null.generator_cores
            )?;
        }
        Ok(())
    }
}

impl Latency {
    #[expect(clippy::cast_precision_loss, reason = "for people to read")]
    pub(super) fn of(histogram: &Histogram<u64>) -> Self {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1e3;
        Self {
            mean_us: histogram.mean() / 1e3,
            p50_us: at(0.5),
            p90_us: at(0.9),
            p99_us: at(0.99),
            p99_9_us: at(0.999),
            max_us: histogram.max() as f64 / 1e3,
        }
    }
}
