//! `directory`: one directory that gets a great number of children, is listed, counted and emptied.

use anyhow::Result;

use super::figures::Figures;
use super::goals::{COUNT, CREATE, CREATE_STEP, DELETE, DELETE_STEP, LIST};
use super::load::{self, Outcome};
use super::servers::{Kind, Server};
use super::{Run, streams};

const ROOT: &str = "/bench-directory";

/// Fills it by tenths, so that the first and the last can be compared.
pub(super) fn measure(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let row = "directory";
    let server = Server::start(run.args, kind, 1, &[])?;
    streams::warm_up(run, &server)?;
    let tenth = run.scaled(1_000_000) / 10;
    let parts = [(0, tenth), (tenth, 8 * tenth), (9 * tenth, tenth)];
    let step = |workload, (first, count)| part(run, &server, workload, first, count);
    let created = parts.map(|part| step("fill", part));
    let (first, last) = record(row, kind, CREATE, created, figures)?;
    figures.add(row, kind, CREATE_STEP, last / first);
    for (workload, figure) in [("list", LIST), ("count", COUNT)] {
        let seconds = run.args.seconds.to_string();
        let options = [
            workload,
            "-c",
            "1",
            "-d",
            "1",
            "--root",
            ROOT,
            "--children",
            "0",
            "-t",
            &seconds,
        ];
        let outcome = load::run(run.args, &server, &options)?;
        figures.add(row, kind, figure, outcome.per_cpu()?);
    }
    let deleted = parts.map(|part| step("drain", part));
    let (first, last) = record(row, kind, DELETE, deleted, figures)?;
    figures.add(row, kind, DELETE_STEP, first / last);
    Ok(())
}

fn part(run: &Run<'_>, server: &Server, workload: &str, first: u32, count: u32) -> Result<Outcome> {
    let (first, count) = (first.to_string(), count.to_string());
    let options = [
        workload,
        "--flat",
        "--root",
        ROOT,
        "-c",
        "50",
        "-d",
        "10",
        "--value-size",
        "0",
        "--first",
        &first,
        "-n",
        &count,
    ];
    load::run(run.args, server, &options)
}

/// Requests per CPU-second of all parts; the CPU time of a request in the first and in the last.
fn record(
    row: &'static str,
    kind: Kind,
    figure: &'static str,
    parts: [Result<Outcome>; 3],
    figures: &mut Figures,
) -> Result<(f64, f64)> {
    let [first, middle, last] = parts;
    let (first, middle, last) = (first?, middle?, last?);
    let (mut requests, mut cpu) = (0.0, 0.0);
    for part in [&first, &middle, &last] {
        requests += part.field("/requests")?;
        cpu += part.cpu_seconds()?;
    }
    figures.add(row, kind, figure, requests / cpu.max(0.01));
    Ok((1.0 / first.per_cpu()?, 1.0 / last.per_cpu()?))
}
