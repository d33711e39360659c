//! `--curves`: how throughput and the 99th percentile change with one thing at a time, and what
//! `model` makes of it for larger machines.

use std::io::Write as _;
use std::process::ExitCode;

use anyhow::{Context as _, Result};
use roo_chart::{Chart, Line, Scale};

use super::crowds::LOCAL_ADDRESSES;
use super::figures::Spread;
use super::load::{self, Background};
use super::servers::{Kind, Server};
use super::table::number;
use super::{Run, machine, model, page, progress, streams};

/// What a curve changes from point to point.
#[derive(Clone, Copy)]
enum Varies {
    /// Options of the load; all points are measured on one server.
    Load(fn(u32) -> Vec<String>),
    /// The number of servers and a line of their zoo.cfg; a server of its own for each point.
    Servers(fn(u32) -> (usize, String)),
    /// So many of something that others hold meanwhile: options of their load, and the figure of
    /// mntr that says when all of it is there.
    Crowd(fn(u32) -> Vec<String>, &'static str),
}

struct Curve {
    name: &'static str,
    /// What is on the horizontal axis.
    of: &'static str,
    at: &'static [u32],
    /// Workloads of `roo bench`.
    workloads: &'static [&'static str],
    kinds: &'static [Kind],
    varies: Varies,
}

/// One load at one place of a curve; a figure per round.
#[derive(Clone, Default)]
struct Point {
    rate: Vec<f64>,
    p99_us: Vec<f64>,
}

/// Both servers' lines: the kind, the workload, and a point for each place.
type Lines = Vec<(Kind, &'static str, Vec<Point>)>;

const READ_WRITE: &[&str] = &["read", "write"];
const BOTH: &[Kind] = &[Kind::Apache, Kind::Roo];

const CURVES: &[Curve] = &[
    Curve {
        name: "connections",
        of: "connections, one request at a time each",
        at: &[1, 2, 5, 10, 50, 100, 500, 1_000, 5_000, 10_000],
        workloads: READ_WRITE,
        kinds: BOTH,
        varies: Varies::Load(|x| words(&["-d", "1", "-c", &x.to_string()])),
    },
    Curve {
        name: "depth",
        of: "requests under way on each of 50 connections",
        at: &[1, 2, 5, 10, 20, 50, 100],
        workloads: READ_WRITE,
        kinds: BOTH,
        varies: Varies::Load(|x| words(&["-c", "50", "-d", &x.to_string()])),
    },
    Curve {
        name: "value-size",
        of: "bytes of a value, 8 connections x depth 1",
        at: &[0, 100, 1_000, 10_000, 100_000, 524_288],
        workloads: READ_WRITE,
        kinds: BOTH,
        varies: Varies::Load(|x| {
            let size = x.to_string();
            words(&["-c", "8", "-d", "1", "--keys", "100", "--value-size", &size])
        }),
    },
    Curve {
        name: "znodes",
        of: "znodes that are read and set at random, 50 connections x depth 10",
        at: &[1_000, 10_000, 100_000, 1_000_000],
        workloads: READ_WRITE,
        kinds: BOTH,
        varies: Varies::Load(|x| {
            let keys = x.to_string();
            let fixed = ["-c", "50", "-d", "10", "--value-size", "100"];
            words(&[&fixed[..], &["--root", "/znodes", "--keys", &keys]].concat())
        }),
    },
    Curve {
        name: "watches",
        of: "watches on other znodes, of 100 sessions",
        at: &[0, 10_000, 100_000, 1_000_000],
        workloads: READ_WRITE,
        kinds: BOTH,
        varies: Varies::Crowd(
            |x| {
                let keys = (x / 100).to_string();
                let fixed = ["watches", "-c", "100", "-d", "10", "-t", "3600"];
                let root = ["--root", "/watched", "--value-size", "10", "--keys", &keys];
                words(&[&fixed[..], &root].concat())
            },
            "zk_watch_count",
        ),
    },
    Curve {
        name: "sessions",
        of: "idle sessions besides",
        at: &[0, 1_000, 10_000, 100_000],
        workloads: READ_WRITE,
        kinds: BOTH,
        varies: Varies::Crowd(
            |x| words(&["sessions", "-t", "3600", "-n", &x.to_string()]),
            "zk_num_alive_connections",
        ),
    },
    Curve {
        name: "servers",
        of: "servers of an ensemble, all on this machine",
        at: &[1, 3, 5],
        workloads: READ_WRITE,
        kinds: BOTH,
        varies: Varies::Servers(|x| (x as usize, String::new())),
    },
    Curve {
        name: "io-threads",
        of: "I/O threads (ioThreads)",
        at: &[1, 2, 3, 4],
        workloads: READ_WRITE,
        kinds: &[Kind::Roo],
        varies: Varies::Servers(|x| (1, format!("ioThreads={x}"))),
    },
];

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// Measures every curve, then the model.
pub(super) fn run(run: &Run<'_>) -> Result<ExitCode> {
    let fsync = machine::fsync_us(&run.args.out)?;
    let fsync = Spread::of(&[fsync]).context("a figure")?;
    let only = run.args.only.as_deref().unwrap_or_default();
    let mut text = String::new();
    for curve in CURVES.iter().filter(|curve| curve.name.contains(only)) {
        let lines = measure(run, curve).with_context(|| curve.name)?;
        text += &as_markdown(run, curve, &lines);
        if run.args.write {
            let name = page::draw(curve.name, &charts(run, curve, &lines))?;
            text += &format!("\n![{}]({name})\n", curve.name);
        }
    }
    let made = page::circumstances(run.args, fsync)?.join("\n");
    let model = if "model".contains(only) {
        model::run(run, fsync.median)?
    } else {
        String::new()
    };
    writeln!(std::io::stdout(), "{made}\n{text}\n{model}")?;
    if run.args.write && only.is_empty() {
        page::put("curves", &format!("{made}\n{text}"))?;
        page::put("model", &format!("{made}\n\n{model}"))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn measure(run: &Run<'_>, curve: &Curve) -> Result<Lines> {
    let kinds = curve
        .kinds
        .iter()
        .filter(|kind| run.args.servers.contains(kind));
    let mut lines: Lines = kinds
        .flat_map(|kind| curve.workloads.iter().map(|workload| (*kind, *workload)))
        .map(|(kind, workload)| (kind, workload, vec![Point::default(); curve.at.len()]))
        .collect();
    for _ in 0..run.args.rounds() {
        for lines in lines.chunks_mut(curve.workloads.len()) {
            measure_kind(run, curve, lines)?;
        }
    }
    Ok(lines)
}

/// One round of one kind of server.
fn measure_kind(
    run: &Run<'_>,
    curve: &Curve,
    lines: &mut [(Kind, &'static str, Vec<Point>)],
) -> Result<()> {
    let kind = lines.first().context("no workloads")?.0;
    let mut shared = None;
    for (index, &at) in curve.at.iter().enumerate() {
        let at = placed(run, curve, at);
        progress(&format!("{}: {kind}: {at}", curve.name))?;
        let server = match curve.varies {
            Varies::Servers(of) => {
                drop(shared.take());
                let (count, line) = of(at);
                shared.insert(start(run, kind, count, &line)?)
            }
            _ => match &mut shared {
                Some(server) => server,
                none => none.insert(start(run, kind, 1, "")?),
            },
        };
        let _crowd = match curve.varies {
            Varies::Crowd(options, figure) if at > 0 => {
                Some(gather(run, server, &options(at), figure, at)?)
            }
            _ => None,
        };
        for (_, workload, points) in &mut *lines {
            let options = options(run, curve, workload, at);
            let options: Vec<&str> = options.iter().map(String::as_str).collect();
            let outcome = load::run(run.args, server, &options)?;
            points[index].rate.push(outcome.field("/per_second")?);
            points[index].p99_us.push(outcome.field("/latency/p99_us")?);
        }
    }
    Ok(())
}

/// What stands on the axis: less than planned where this is a try, or the machine sets a limit.
fn placed(run: &Run<'_>, curve: &Curve, at: u32) -> u32 {
    match curve.varies {
        Varies::Crowd(..) if at > 0 => {
            let allowed = u32::try_from(run.file_limit.saturating_sub(500)).unwrap_or(u32::MAX);
            let scaled = run.scaled(at);
            if curve.name == "sessions" {
                scaled.min(allowed)
            } else {
                scaled
            }
        }
        Varies::Load(_) if curve.name == "znodes" => run.scaled(at),
        _ => at,
    }
}

fn start(run: &Run<'_>, kind: Kind, count: usize, line: &str) -> Result<Server> {
    let server = Server::start(run.args, kind, count, &[line])?;
    streams::warm_up(run, &server)?;
    Ok(server)
}

/// Starts those who hold something, and waits until they have all of it.
fn gather(
    run: &Run<'_>,
    server: &Server,
    options: &[String],
    figure: &str,
    count: u32,
) -> Result<Background> {
    let mut all: Vec<&str> = options.iter().map(String::as_str).collect();
    all.extend(["--from", LOCAL_ADDRESSES, "--session-timeout-ms", "30000"]);
    let crowd = Background::start(run.args, server, &all)?;
    // The watches are counted by keys, which are a hundredth of them, rounded down.
    server.await_at_least(figure, u64::from(count / 100 * 100))?;
    Ok(crowd)
}

fn options(run: &Run<'_>, curve: &Curve, workload: &str, at: u32) -> Vec<String> {
    let seconds = run.args.seconds.to_string();
    let mut options = words(&[workload, "-t", &seconds, "--from", LOCAL_ADDRESSES]);
    options.extend(match curve.varies {
        Varies::Load(of) => of(at),
        _ => words(&["-c", "50", "-d", "10"]),
    });
    options
}

fn median(figures: &[f64]) -> f64 {
    Spread::of(figures).map_or(0.0, |spread| spread.median)
}

fn as_markdown(run: &Run<'_>, curve: &Curve, lines: &Lines) -> String {
    let mut text = format!("\n### By {}\n\n| {} |", curve.name, curve.of);
    for (kind, workload, _) in lines {
        text += &format!(" {kind} {workload}/s | p99 us |");
    }
    text += &format!("\n|---|{}\n", "---|---|".repeat(lines.len()));
    for (index, &at) in curve.at.iter().enumerate() {
        text += &format!("| {} |", placed(run, curve, at));
        for (_, _, points) in lines {
            let point = &points[index];
            let (rate, p99) = (median(&point.rate), median(&point.p99_us));
            text += &format!(" {} | {} |", number(rate), number(p99));
        }
        text.push('\n');
    }
    text
}

fn charts(run: &Run<'_>, curve: &Curve, lines: &Lines) -> [Chart; 2] {
    let chart = |title: &str, label: &str, of: fn(&Point) -> &[f64]| {
        let line = |(kind, workload, points): &(Kind, &str, Vec<Point>)| -> Line {
            let places = curve.at.iter().map(|at| f64::from(placed(run, curve, *at)));
            let medians = points.iter().map(|point| median(of(point)));
            page::line(format!("{kind} {workload}"), places.zip(medians).collect())
        };
        let few = matches!(curve.varies, Varies::Servers(_));
        let scale = if few { Scale::Linear } else { Scale::Log };
        Chart {
            title: title.to_owned(),
            x: page::axis(curve.of, scale),
            y: page::axis(label, Scale::Log),
            lines: lines.iter().map(line).collect(),
        }
    };
    [
        chart("throughput", "requests/s", |point| &point.rate),
        chart("99th percentile", "us", |point| &point.p99_us),
    ]
}
