//! `interop bench`: RooKeeper, Apache ZooKeeper and the null server under the same load on the same
//! machine, in alternation and for several rounds, so that what the machine does meanwhile hits all
//! three. Prints ratios and writes every single figure as JSON.
//!
//! The load generator is `roo bench` for all of them and shares the cores with the server.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};

use servers::{Kind, Server};

mod servers;
mod snapshot;
mod table;

/// Compare with Apache ZooKeeper and the null server
#[derive(Clone, Debug, clap::Args)]
pub struct BenchArgs {
    /// get and set at depth 1 and 10 with 50 connections (the default)
    #[arg(long, conflicts_with = "full")]
    quick: bool,
    /// Every workload
    #[arg(long)]
    full: bool,
    /// Latency of setData with and without a snapshot of a million znodes under way
    #[arg(long)]
    snapshot: bool,
    /// This many servers of each kind as an ensemble, the load spread over them
    #[arg(
        long,
        value_name = "SERVERS",
        default_value_t = 1,
        conflicts_with = "snapshot"
    )]
    #[arg(value_parser = clap::value_parser!(u8).range(1..=7))]
    ensemble: u8,
    /// How many times each server is started and measured [default: 2, 5 with --full]
    #[arg(long)]
    rounds: Option<u32>,
    /// Only the scenarios whose name contains this
    #[arg(long, value_name = "NAME")]
    only: Option<String>,
    /// Measured seconds of a scenario
    #[arg(long, default_value_t = 2.5)]
    seconds: f64,
    /// Seconds of reads and of writes that each server gets before the first scenario
    #[arg(long, default_value_t = 3.0)]
    warm_up: f64,
    /// Only these servers
    #[arg(long, value_delimiter = ',', default_values_t = Kind::ALL)]
    servers: Vec<Kind>,
    /// The `roo` to measure, and to measure with
    #[arg(long, default_value = "target/release/roo")]
    roo: PathBuf,
    /// The `roo` to generate load with, if not the one that is measured
    #[arg(long, value_name = "ROO")]
    generator: Option<PathBuf>,
    /// Znodes of the snapshot scenario
    #[arg(long, default_value_t = 1_000_000)]
    znodes: u32,
    /// Where data directories and results go
    #[arg(long, default_value = "target/bench")]
    out: PathBuf,
}

/// A load by name, as options of `roo bench`.
#[derive(Clone, Copy, Debug)]
struct Scenario {
    name: &'static str,
    options: &'static [&'static str],
    /// `quick` has only these.
    quick: bool,
}

const fn quick(name: &'static str, options: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        options,
        quick: true,
    }
}

const fn full(name: &'static str, options: &'static [&'static str]) -> Scenario {
    Scenario {
        name,
        options,
        quick: false,
    }
}

const SCENARIOS: &[Scenario] = &[
    quick("get 50x10", &["read", "-c", "50", "-d", "10"]),
    quick("get 50x1", &["read", "-c", "50", "-d", "1"]),
    quick("set 50x10", &["write", "-c", "50", "-d", "10"]),
    quick("set 50x1", &["write", "-c", "50", "-d", "1"]),
    full("get 8x1", &["read", "-c", "8", "-d", "1"]),
    full("exists 50x10", &["exists", "-c", "50", "-d", "10"]),
    full("list 50x10", &["list", "-c", "50", "-d", "10"]),
    full("set 8x1", &["write", "-c", "8", "-d", "1"]),
    full("set 1x1", &["write", "-c", "1", "-d", "1"]),
    full("create 8x1", &["create", "-c", "8", "-d", "1"]),
    full(
        "create 100B 50x10",
        &["create", "-c", "50", "-d", "10", "--value-size", "100"],
    ),
    full(
        "ephemeral 50x10",
        &[
            "create-ephemeral",
            "-c",
            "50",
            "-d",
            "10",
            "--value-size",
            "100",
        ],
    ),
    full(
        "sequential 50x10",
        &["create-seq", "-c", "50", "-d", "10", "--value-size", "100"],
    ),
    full(
        "churn 50x10",
        &["churn", "-c", "50", "-d", "10", "--value-size", "100"],
    ),
    full(
        "multi5 50x10",
        &["multi5", "-c", "50", "-d", "10", "--value-size", "100"],
    ),
    full(
        "mixed 50x10",
        &["mixed", "-c", "50", "-d", "10", "--value-size", "100"],
    ),
    full("prod-mix 50x10", &["prod-mix", "-c", "50", "-d", "10"]),
    full("read90 50x10", &["read90", "-c", "50", "-d", "10"]),
    full(
        "set 5000/s",
        &["write", "-c", "50", "-d", "10", "--rate", "5000"],
    ),
    full("watch-fanout 1000", &["watch-fanout", "-c", "1000"]),
    full("sessions 1000", &["sessions", "-n", "1000"]),
    full(
        "fill 200k",
        &[
            "fill",
            "-c",
            "50",
            "-d",
            "10",
            "-n",
            "200000",
            "--value-size",
            "100",
        ],
    ),
];

/// What an ensemble is measured with.
const IN_ENSEMBLE: &[&str] = &[
    "get 50x10",
    "set 50x10",
    "set 8x1",
    "create 100B 50x10",
    "read90 50x10",
];

/// Every figure of a scenario on one kind of server, one per round.
type Results = BTreeMap<(usize, Kind), Vec<Value>>;

/// Runs the comparison. Fails only where something did not run: slow is no failure here.
///
/// # Errors
/// When a server or the generator does not start, or the load meets errors.
pub fn run(args: &BenchArgs) -> Result<ExitCode> {
    std::fs::create_dir_all(&args.out).with_context(|| format!("create {}", args.out.display()))?;
    if args.snapshot {
        return snapshot::run(args);
    }
    let is_asked_for = |scenario: &&Scenario| match args.ensemble {
        1 => args.full || args.only.is_some() || scenario.quick,
        _ => args.full || IN_ENSEMBLE.contains(&scenario.name),
    };
    let chosen: Vec<Scenario> = SCENARIOS
        .iter()
        .filter(is_asked_for)
        .filter(|scenario| {
            args.only
                .as_ref()
                .is_none_or(|part| scenario.name.contains(part))
        })
        .copied()
        .collect();
    ensure!(!chosen.is_empty(), "no scenario has that name");
    let rounds = args.rounds.unwrap_or(if args.full { 5 } else { 2 });
    let mut results = Results::new();
    for round in 1..=rounds {
        for &kind in &args.servers {
            progress(&format!("round {round} of {rounds}: {kind}"))?;
            measure_server(args, kind, &chosen, &mut results)?;
        }
    }
    let fsync_us = fsync_latency_us(&args.out)?;
    let names: Vec<&str> = chosen.iter().map(|scenario| scenario.name).collect();
    let mut out = std::io::stdout().lock();
    table::write(&mut out, &names, &results)?;
    writeln!(
        out,
        "\n{} cores; one fsync of a 1 KB append here: {fsync_us:.0} us; {rounds} rounds of {} s",
        std::thread::available_parallelism()?,
        args.seconds
    )?;
    let path = args.out.join("results.json");
    let file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    serde_json::to_writer_pretty(file, &as_json(&names, &results, fsync_us))?;
    writeln!(out, "every figure: {}", path.display())?;
    Ok(ExitCode::SUCCESS)
}

fn measure_server(
    args: &BenchArgs,
    kind: Kind,
    scenarios: &[Scenario],
    results: &mut Results,
) -> Result<()> {
    let server = Server::start(args, kind, &[])?;
    // A server on a virtual machine compiles itself while it runs: no figure is taken cold.
    let warm_up = args.warm_up.to_string();
    for workload in ["read", "write"] {
        generate(
            args,
            &server,
            &[workload, "-c", "50", "-d", "10", "-t", &warm_up],
        )?;
    }
    for (index, scenario) in scenarios.iter().enumerate() {
        let seconds = args.seconds.to_string();
        let fills = scenario.options.contains(&"fill");
        let mut options = scenario.options.to_vec();
        if !fills {
            options.extend(["-t", &seconds]);
        }
        let figures = generate(args, &server, &options)
            .with_context(|| format!("{} on {kind}", scenario.name))?;
        results.entry((index, kind)).or_default().push(figures);
    }
    Ok(())
}

/// Runs `roo bench` against `server` and returns its JSON.
fn generate(args: &BenchArgs, server: &Server, options: &[&str]) -> Result<Value> {
    let output = generator(args, server)
        .args(options)
        .output()
        .with_context(|| format!("run {}", args.generator().display()))?;
    ensure!(
        output.status.success(),
        "roo bench {}: {}{}",
        options.join(" "),
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    serde_json::from_slice(&output.stdout).context("read the generator's JSON")
}

/// `roo bench --json` against `server`, the workload still to be named.
fn generator(args: &BenchArgs, server: &Server) -> Command {
    let mut command = Command::new(args.generator());
    let pids = server.pids();
    command.args([
        "bench",
        "--json",
        "-s",
        &server.address(),
        "--server-pid",
        &pids,
    ]);
    command
}

impl BenchArgs {
    fn generator(&self) -> &Path {
        self.generator.as_deref().unwrap_or(&self.roo)
    }
}

fn as_json(names: &[&str], results: &Results, fsync_us: f64) -> Value {
    let rows: Vec<Value> = results
        .iter()
        .map(|(&(scenario, kind), figures)| {
            json!({"scenario": names[scenario], "server": kind.name(), "rounds": figures})
        })
        .collect();
    json!({"fsync_us": fsync_us, "results": rows})
}

/// The median time of an append of 1 KB and its fdatasync: the floor of a durable write.
fn fsync_latency_us(dir: &Path) -> Result<f64> {
    const APPENDS: usize = 300;
    let path = dir.join("fsync-probe");
    let mut file = std::fs::File::create(&path).with_context(|| path.display().to_string())?;
    // As a preallocated log: the file's size does not change with an append.
    file.set_len(1 << 20)?;
    let mut times = Vec::with_capacity(APPENDS);
    for _ in 0..APPENDS {
        let start = std::time::Instant::now();
        file.write_all(&[7; 1024])?;
        file.sync_data()?;
        times.push(start.elapsed().as_secs_f64() * 1e6);
    }
    std::fs::remove_file(&path)?;
    Ok(table::Spread::of(&mut times).median)
}

fn progress(text: &str) -> Result<()> {
    writeln!(std::io::stderr(), "{text}").context("write to stderr")
}
