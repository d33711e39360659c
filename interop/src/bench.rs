//! `interop bench`: RooKeeper, Apache ZooKeeper and the null server under the same load on the same
//! machine, in alternation and for several rounds, so that what the machine does meanwhile hits all
//! of them. Prints every goal beside what was reached, and writes every single figure as JSON.
//!
//! The load generator is `roo bench` for all of them and shares the cores with the server.
//!
//! Reading order: `goals` (what is measured and why), `servers` and `load` (with what), the modules
//! of the rows, `figures` (what came of it), `table` and `page` (how it is shown); `curves` and
//! `model` are runs of their own.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context as _, Result, ensure};
use serde_json::json;

use figures::{Figures, Spread};
use goals::{GOALS, QUICK};
use servers::Kind;

mod crowds;
mod curves;
mod directory;
mod failover;
mod figures;
mod goals;
mod load;
mod machine;
mod million;
mod model;
mod page;
mod quorum_reads;
mod servers;
mod snapshot;
mod start;
mod streams;
mod table;

/// Compare with Apache ZooKeeper and the null server, goal by goal
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// A few rows that take a few minutes
    #[arg(long, conflicts_with = "rows")]
    quick: bool,
    /// Only these rows [default: all]; a wrong name lists them
    #[arg(long, value_name = "ROW,...", value_delimiter = ',')]
    rows: Vec<String>,
    /// How figures grow with connections, depth, sizes and servers, and what follows for larger
    /// machines, instead of the goals
    #[arg(long, conflicts_with_all = ["quick", "rows"])]
    curves: bool,
    /// Only the curves or parts of the model whose name contains this
    #[arg(long, value_name = "NAME", requires = "curves")]
    only: Option<String>,
    /// Write tables and pictures into docs/performance.md and docs/performance/
    #[arg(long)]
    write: bool,
    /// How many times each server is started and measured [default: 3, 2 with --quick, 1 for curves]
    #[arg(long, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: Option<u32>,
    /// Measured seconds of a load
    #[arg(long, default_value_t = 2.5)]
    seconds: f64,
    /// Seconds of reads and of writes that each server gets before the first load
    #[arg(long, default_value_t = 3.0)]
    warm_up: f64,
    /// A part of the great numbers of znodes, children, sessions and watches, to try a row
    #[arg(long, default_value_t = 1.0)]
    scale: f64,
    /// Only these servers
    #[arg(long, value_delimiter = ',', default_values_t = Kind::ALL)]
    servers: Vec<Kind>,
    /// The `roo` to measure, and to measure with
    #[arg(long, default_value = "target/release/roo")]
    roo: PathBuf,
    /// The `roo` to generate load with, if not the one that is measured
    #[arg(long, value_name = "ROO")]
    generator: Option<PathBuf>,
    /// Where data directories and results go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

impl BenchArgs {
    fn generator(&self) -> &Path {
        self.generator.as_deref().unwrap_or(&self.roo)
    }

    fn rounds(&self) -> u32 {
        let default = match (self.curves, self.quick) {
            (true, _) => 1,
            (_, true) => 2,
            _ => 3,
        };
        self.rounds.unwrap_or(default)
    }
}

/// What all rows of a run share.
struct Run<'a> {
    args: &'a BenchArgs,
    /// How many files a process may have open here.
    file_limit: u64,
}

impl Run<'_> {
    /// Whether a row is to be measured.
    fn wants(&self, row: &str) -> bool {
        let named = |name: &String| name == row;
        match (self.args.quick, self.args.rows.is_empty()) {
            (true, _) => QUICK.contains(&row),
            (false, true) => true,
            (false, false) => self.args.rows.iter().any(named),
        }
    }

    /// A great number, or a part of it for a try.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "float casts saturate"
    )]
    fn scaled(&self, number: u32) -> u32 {
        ((f64::from(number) * self.args.scale) as u32).max(100)
    }
}

/// Rows that are measured together, and how.
struct Stage {
    rows: &'static [&'static str],
    kinds: &'static [Kind],
    measure: fn(&Run<'_>, Kind, &mut Figures) -> Result<()>,
}

const BOTH: &[Kind] = &[Kind::Apache, Kind::Roo];

const fn both(
    rows: &'static [&'static str],
    measure: fn(&Run<'_>, Kind, &mut Figures) -> Result<()>,
) -> Stage {
    Stage {
        rows,
        kinds: BOTH,
        measure,
    }
}

const STAGES: &[Stage] = &[
    Stage {
        rows: streams::SINGLE_ROWS,
        kinds: &Kind::ALL,
        measure: streams::single,
    },
    both(million::ROWS, million::measure),
    both(&["directory"], directory::measure),
    both(&["sessions-10k"], crowds::sessions_10k),
    both(&["sessions-100k"], crowds::sessions_100k),
    both(&["watches"], crowds::watches),
    both(&["fanout"], crowds::fanout),
    both(streams::ENSEMBLE_ROWS, streams::ensemble),
    Stage {
        rows: &["quorum-reads"],
        kinds: &[Kind::Roo],
        measure: quorum_reads::measure,
    },
    both(&["failover"], failover::measure),
    both(&["start"], start::measure),
];

/// Runs the comparison. Slow is no failure here: only what could not be measured is.
///
/// # Errors
/// When the arguments name no row, or a result cannot be written.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("create {}", args.out.display()))?;
    let run = Run {
        args,
        file_limit: machine::file_limit(),
    };
    if args.curves {
        return curves::run(&run);
    }
    let known = |name: &str| GOALS.iter().any(|goal| goal.row == name);
    if let Some(unknown) = args.rows.iter().find(|name| !known(name)) {
        let mut rows: Vec<&str> = GOALS.iter().map(|goal| goal.row).collect();
        rows.dedup();
        anyhow::bail!(
            "there is no row {unknown}; the rows are {}",
            rows.join(", ")
        );
    }
    let mut figures = Figures::default();
    let mut fsyncs = Vec::new();
    let mut failures = 0;
    for round in 0..args.rounds() {
        fsyncs.push(machine::fsync_us(&args.out)?);
        failures += measure_round(&run, round, &mut figures)?;
        let path = args.out.join("results.json");
        let file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
        let results = json!({"fsync_us": fsyncs, "results": figures.as_json()});
        serde_json::to_writer_pretty(file, &results)?;
    }
    let fsync = Spread::of(&fsyncs).context("no rounds")?;
    let mut out = std::io::stdout().lock();
    table::write_text(&mut out, &run, &figures)?;
    for line in page::circumstances(args, fsync)? {
        writeln!(out, "{line}")?;
    }
    writeln!(
        out,
        "Every figure: {}",
        args.out.join("results.json").display()
    )?;
    if args.write {
        page::write_goals(&run, &figures, fsync)?;
    }
    ensure!(failures == 0, "{failures} times rows could not be measured");
    Ok(ExitCode::SUCCESS)
}

/// Measures every server once; how many times that did not succeed. A run takes an hour: what one
/// row meets must not cost the others.
fn measure_round(run: &Run<'_>, round: u32, figures: &mut Figures) -> Result<u32> {
    let mut failures = 0;
    for stage in STAGES {
        let rows: Vec<&str> = stage
            .rows
            .iter()
            .copied()
            .filter(|row| run.wants(row))
            .collect();
        if rows.is_empty() {
            continue;
        }
        let chosen = |kind: &&Kind| run.args.servers.contains(kind);
        let mut kinds: Vec<Kind> = stage.kinds.iter().filter(chosen).copied().collect();
        // Who comes second finds warm caches, and a disk with work left over.
        if round % 2 == 1 {
            kinds.reverse();
        }
        for kind in kinds {
            let (round, rounds) = (round + 1, run.args.rounds());
            progress(&format!(
                "round {round} of {rounds}: {kind}: {}",
                rows.join(" ")
            ))?;
            if let Err(error) = (stage.measure)(run, kind, figures) {
                progress(&format!("{kind}: {}: {error:#}", rows.join(" ")))?;
                failures += 1;
            }
        }
    }
    Ok(failures)
}

fn progress(text: &str) -> Result<()> {
    writeln!(std::io::stderr(), "{text}").context("write to stderr")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_row_of_the_goals_is_measured_by_one_stage() {
        for goal in GOALS {
            let stages = STAGES.iter().filter(|stage| stage.rows.contains(&goal.row));
            assert_eq!(stages.count(), 1, "{}", goal.row);
        }
        for row in STAGES.iter().flat_map(|stage| stage.rows) {
            assert!(GOALS.iter().any(|goal| goal.row == *row), "{row}");
        }
    }
}
