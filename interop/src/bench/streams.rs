//! Rows that are streams of requests: one server, or three with the load spread over them.

use anyhow::{Context as _, Result};

use super::figures::{Figures, Spread};
use super::goals::ABOVE_FSYNC;
use super::servers::{Kind, Server};
use super::{Run, load, machine};

/// A row and its load, as options of `roo bench`.
type Stream = (&'static str, &'static [&'static str]);

const SMALL: &str = "100";

#[rustfmt::skip]
const SINGLE: &[Stream] = &[
    ("get-50x10", &["read", "-c", "50", "-d", "10"]),
    ("get-8x1", &["read", "-c", "8", "-d", "1"]),
    ("exists-50x10", &["exists", "-c", "50", "-d", "10"]),
    ("list-50x10", &["list", "-c", "50", "-d", "10"]),
    ("set-50x10", &["write", "-c", "50", "-d", "10", "--timeline"]),
    ("set-8x1", &["write", "-c", "8", "-d", "1"]),
    ("create-8x1", &["create", "-c", "8", "-d", "1"]),
    ("set-1x1", &["write", "-c", "1", "-d", "1"]),
    ("create-50x10", &["create", "-c", "50", "-d", "10", "--value-size", SMALL]),
    ("ephemeral-50x10", &["create-ephemeral", "-c", "50", "-d", "10", "--value-size", SMALL]),
    ("sequential-50x10", &["create-seq", "-c", "50", "-d", "10", "--value-size", SMALL]),
    ("multi5-50x10", &["multi5", "-c", "50", "-d", "10", "--value-size", SMALL]),
    ("prod-mix-50x10", &["prod-mix", "-c", "50", "-d", "10"]),
    ("mixed-50x10", &["mixed", "-c", "50", "-d", "10", "--value-size", SMALL]),
];

#[rustfmt::skip]
const ENSEMBLE: &[Stream] = &[
    ("ensemble-set-50x10", &["write", "-c", "50", "-d", "10"]),
    ("ensemble-set-8x1", &["write", "-c", "8", "-d", "1"]),
    ("ensemble-create-50x10", &["create", "-c", "50", "-d", "10", "--value-size", SMALL]),
    ("ensemble-read90-50x10", &["read90", "-c", "50", "-d", "10"]),
    ("ensemble-get-50x10", &["read", "-c", "50", "-d", "10"]),
];

pub(super) const SINGLE_ROWS: &[&str] = &names::<{ SINGLE.len() }>(SINGLE);
pub(super) const ENSEMBLE_ROWS: &[&str] = &names::<{ ENSEMBLE.len() }>(ENSEMBLE);

const fn names<const N: usize>(streams: &[Stream]) -> [&'static str; N] {
    let mut names = [""; N];
    let mut index = 0;
    while index < N {
        names[index] = streams[index].0;
        index += 1;
    }
    names
}

/// The one row of the null server: the others are not held against it.
const BESIDE_NULL: &str = "get-50x10";

/// Rows of one server.
pub(super) fn single(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let fits = |row: &str| kind != Kind::Null || row == BESIDE_NULL;
    let streams: Vec<Stream> = chosen(run, SINGLE).filter(|(row, _)| fits(row)).collect();
    if streams.is_empty() {
        return Ok(());
    }
    measure(run, kind, 1, &streams, figures)
}

/// Rows of three servers.
pub(super) fn ensemble(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let streams: Vec<Stream> = chosen(run, ENSEMBLE).collect();
    measure(run, kind, 3, &streams, figures)
}

fn chosen(run: &Run<'_>, all: &'static [Stream]) -> impl Iterator<Item = Stream> {
    all.iter().copied().filter(|(row, _)| run.wants(row))
}

fn measure(
    run: &Run<'_>,
    kind: Kind,
    count: usize,
    streams: &[Stream],
    figures: &mut Figures,
) -> Result<()> {
    let args = run.args;
    let server = Server::start(args, kind, count, &[])?;
    warm_up(run, &server)?;
    let seconds = args.seconds.to_string();
    for (row, options) in streams {
        if *row == "set-1x1" {
            figures.add(row, kind, ABOVE_FSYNC, above_fsync(run, &server, options)?);
        }
        let options = [options, &["-t", &seconds][..]].concat();
        let outcome =
            load::run(args, &server, &options).with_context(|| format!("{row} on {kind}"))?;
        outcome.record(row, kind, figures)?;
        if *row == "set-50x10" {
            figures.keep_line(format!("{kind} p50"), outcome.over_time("p50_us"));
            figures.keep_line(format!("{kind} p99"), outcome.over_time("p99_us"));
        }
    }
    Ok(())
}

/// How much the median of writes lies above that of syncs. A disk that others use changes within
/// seconds, so short loads and syncs take turns; the median of the differences counts.
fn above_fsync(run: &Run<'_>, server: &Server, options: &[&str]) -> Result<f64> {
    const TURNS: usize = 9;
    let seconds = (run.args.seconds / 5.0).to_string();
    let options = [options, &["-t", &seconds, "--warm-up", "0.1"][..]].concat();
    let mut differences = Vec::with_capacity(TURNS);
    for _ in 0..TURNS {
        let outcome = load::run(run.args, server, &options).context("set-1x1 beside fsync")?;
        let fsync = machine::fsync_us(&run.args.out)?;
        differences.push(outcome.field("/latency/p50_us")? - fsync);
    }
    Ok(Spread::of(&differences).context("no turns")?.median)
}

/// A server on a virtual machine compiles itself while it runs: no figure is taken cold.
pub(super) fn warm_up(run: &Run<'_>, server: &Server) -> Result<()> {
    let seconds = run.args.warm_up.to_string();
    for workload in ["read", "write"] {
        let options = [workload, "-c", "50", "-d", "10", "-t", &seconds];
        load::run(run.args, server, &options).context("warm-up")?;
    }
    Ok(())
}
