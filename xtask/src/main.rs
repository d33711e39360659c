//! The automation of this repository: `cargo xtask ci` proves the tree.
#![allow(clippy::print_stdout)]

mod book;
mod ci;
mod documents;
mod fuzz;
mod gen_code;
mod tidy;

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};

const HELP: &str = "cargo xtask COMMAND

  ci [STEP ...]         everything that must hold: format, lints, docs, tests, foreign peers
  fix                   changes files: format, lints that mend themselves
  gen [--check]         the code made from .proto files; checked by tidy too
  tidy                  the rules of the house that are no lints
  fuzz [--minutes N] [TARGET]
                        random bytes for every decoder (docs/internals/fuzzing.md)
  interop [ARGUMENTS]   foreign peers: abuse, bench, chaos, clients, diff, ensemble-errors, exchange, instructions, ops, suites, versions (see `interop --help`)
  sim [--seeds N] [--seed S] [--minutes M] [--rebreak] [--exhaustive]
                        ensembles that are simulated under seeds (docs/internals/simulation.md)
  chaos [--minutes N] [--servers N] [--seed S]
                        an ensemble of real processes under load and faults (docs/internals/chaos.md)
  book [--only PAGE]    the book, and what it and README.md show, tried against real servers
  bench [--quick] [--rows ROW,...] [--rounds N] [--curves] [--write]
                        RooKeeper beside Apache ZooKeeper and a null server, goal by goal (docs/performance.md)
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let (command, rest) = match arguments.split_first() {
        Some((command, rest)) => (command.as_str(), rest),
        None => ("help", &[][..]),
    };
    let done = match command {
        "ci" => ci::run(rest),
        // What `ci` starts for each step.
        "ci-step" => ci::step(&rest.concat()),
        "fix" => fix(),
        "gen" => gen_code::run(rest),
        "tidy" => tidy::run(),
        "interop" => interop(rest),
        "fuzz" => fuzz::run(rest),
        "bench" => peers("bench", rest),
        "book" => book::run(rest),
        "chaos" => peers("chaos", rest),
        "sim" => sim(rest),
        _ => {
            print!("{HELP}");
            Ok(())
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The root of the repository. Cargo says where it is now; where it was built is another place if
/// the tree has moved since.
pub(crate) fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// Runs a command in the root; its failure is ours.
pub(crate) fn run(program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
    println!("\n$ {program} {}", arguments.join(" "));
    let status = Command::new(program)
        .args(arguments)
        .envs(variables.iter().copied())
        .current_dir(root())
        .status()
        .with_context(|| format!("start {program}"))?;
    if !status.success() {
        bail!("{program} {} failed: {status}", arguments.join(" "));
    }
    Ok(())
}

fn fix() -> Result<()> {
    run(
        "cargo",
        &[
            "clippy",
            "--fix",
            "--allow-dirty",
            "--workspace",
            "--all-targets",
        ],
        &[],
    )?;
    run("cargo", &["fmt", "--all"], &[])
}

/// Builds the server as it is shipped, then runs the peers against it.
pub(crate) fn interop(arguments: &[String]) -> Result<()> {
    run(
        "cargo",
        &["build", "--release", "--package", "roo-cli"],
        &[],
    )?;
    let mut call = vec!["run", "--quiet", "--package", "interop", "--"];
    call.extend(arguments.iter().map(String::as_str));
    run("cargo", &call, &[])
}

/// Builds the simulator with every assertion on, and the known bugs where they are asked for.
pub(crate) fn sim(arguments: &[String]) -> Result<()> {
    let mut call = vec!["run", "--quiet", "--profile", "sim", "--package", "roo-sim"];
    if arguments.iter().any(|argument| argument == "--rebreak") {
        call.extend(["--features", "rebreak"]);
    }
    call.push("--");
    call.extend(arguments.iter().map(String::as_str));
    run("cargo", &call, &[])
}

/// One kind of peer.
fn peers(kind: &str, arguments: &[String]) -> Result<()> {
    let mut all = vec![kind.to_owned()];
    all.extend_from_slice(arguments);
    interop(&all)
}
