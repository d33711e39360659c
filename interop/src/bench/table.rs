//! The table: one line per scenario and server, ratios of medians behind RooKeeper's.

use std::io::{self, Write};

use serde_json::Value;

use super::Results;
use super::servers::Kind;

/// Smallest, middle and largest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Spread {
    /// Zeros if there are no figures.
    pub(super) fn of(figures: &mut [f64]) -> Self {
        figures.sort_by(f64::total_cmp);
        let at = |index: usize| figures.get(index).copied().unwrap_or(0.0);
        let last = figures.len().saturating_sub(1);
        let median = f64::midpoint(at(last / 2), at(last.div_ceil(2)));
        Self {
            min: at(0),
            median,
            max: at(last),
        }
    }

    fn of_field(rounds: &[Value], pointer: &str) -> Self {
        let mut figures: Vec<f64> = rounds
            .iter()
            .filter_map(|round| round.pointer(pointer)?.as_f64())
            .collect();
        Self::of(&mut figures)
    }
}

/// One server's figures in one scenario.
struct Row {
    rate: Spread,
    per_cpu: Spread,
    p50: Spread,
    p99: Spread,
    rss_mb: f64,
}

impl Row {
    fn of(rounds: &[Value]) -> Self {
        Self {
            rate: Spread::of_field(rounds, "/per_second"),
            per_cpu: Spread::of_field(rounds, "/server/requests_per_cpu_second"),
            p50: Spread::of_field(rounds, "/latency/p50_us"),
            p99: Spread::of_field(rounds, "/latency/p99_us"),
            rss_mb: Spread::of_field(rounds, "/server/rss_bytes").median / 1e6,
        }
    }
}

pub(super) fn write(out: &mut impl Write, names: &[&str], results: &Results) -> io::Result<()> {
    writeln!(
        out,
        "{:<18} {:<7} {:>26} {:>26} {:>18} {:>20} {:>8}",
        "scenario", "server", "req/s", "req per cpu-second", "p50 us", "p99 us", "rss MB"
    )?;
    writeln!(
        out,
        "{:<18} {:<7} {:>26} {:>26} {:>18} {:>20}",
        "", "", "min - median - max", "min - median - max", "min-med-max", "min-med-max"
    )?;
    for (index, name) in names.iter().enumerate() {
        let row = |kind| results.get(&(index, kind)).map(|rounds| Row::of(rounds));
        for kind in Kind::ALL {
            if let Some(row) = row(kind) {
                write_row(out, name, kind.name(), &row)?;
            }
        }
        if let (Some(roo), Some(apache)) = (row(Kind::Roo), row(Kind::Apache)) {
            write_ratio(out, "apache", &roo, &apache)?;
        }
        if let (Some(roo), Some(null)) = (row(Kind::Roo), row(Kind::Null)) {
            write_ratio(out, "null", &roo, &null)?;
        }
    }
    Ok(())
}

fn write_row(out: &mut impl Write, name: &str, server: &str, row: &Row) -> io::Result<()> {
    let text = |spread: Spread| {
        format!(
            "{:.0} - {:.0} - {:.0}",
            spread.min, spread.median, spread.max
        )
    };
    writeln!(
        out,
        "{:<18} {:<7} {:>26} {:>26} {:>18} {:>20} {:>8.1}",
        name,
        server,
        text(row.rate),
        text(row.per_cpu),
        text(row.p50),
        text(row.p99),
        row.rss_mb
    )
}

/// RooKeeper's medians by another's: above 1 is better for rates, below 1 for latencies.
fn write_ratio(out: &mut impl Write, other: &str, roo: &Row, base: &Row) -> io::Result<()> {
    let ratio = |of: fn(&Row) -> f64| {
        let base = of(base);
        if base > 0.0 {
            format!("{:.2}x", of(roo) / base)
        } else {
            "-".to_owned()
        }
    };
    writeln!(
        out,
        "{:<18} {:<7} {:>26} {:>26} {:>18} {:>20} {:>8}",
        "",
        format!("/{other}"),
        ratio(|row| row.rate.median),
        ratio(|row| row.per_cpu.median),
        ratio(|row| row.p50.median),
        ratio(|row| row.p99.median),
        ratio(|row| row.rss_mb)
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        let expected = Spread {
            min: 1.0,
            median: 2.5,
            max: 4.0,
        };
        assert_eq!(Spread::of(&mut [4.0, 1.0, 3.0, 2.0]), expected);
        assert_eq!(
            Spread::of(&mut [3.0, 1.0, 2.0]).median.to_bits(),
            2.0_f64.to_bits()
        );
    }

    #[test]
    fn the_ratio_to_apache_stands_below() {
        let figures = |rate: f64| {
            vec![json!({
                "per_second": rate,
                "latency": {"p50_us": 10.0, "p99_us": 20.0},
                "server": {"requests_per_cpu_second": 2.0 * rate, "rss_bytes": 1e6}
            })]
        };
        let mut results = Results::new();
        results.insert((0, Kind::Apache), figures(100.0));
        results.insert((0, Kind::Roo), figures(350.0));
        let mut text = Vec::new();
        write(&mut text, &["get"], &results).unwrap();
        let text = String::from_utf8(text).unwrap();
        let ratios = text.lines().find(|line| line.contains("/apache")).unwrap();
        assert_eq!(ratios.matches("3.50x").count(), 2, "{text}");
        assert!(!text.contains("/null"), "{text}");
    }
}
