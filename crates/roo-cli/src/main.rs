//! The `roo` command. Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration, 3 trouble
//! with the data directory.
#![allow(clippy::print_stdout)]

mod bench;
mod ensemble;
mod files;
mod server;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// RooKeeper: a coordination service that speaks ZooKeeper.
#[derive(Debug, Parser)]
#[command(name = "roo", version, about, long_about = None)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs a server. Without arguments: on 127.0.0.1:2181, with its data in ./data.
    Server(server::ServerArguments),
    /// Runs an ensemble on this machine for development, and looks after any.
    Ensemble(ensemble::EnsembleArguments),
    /// Shows or checks transaction logs, ours and Apache's.
    Log(files::LogArguments),
    /// Shows or checks snapshots, ours and Apache's.
    Snapshot(files::SnapshotArguments),
    /// Measures a server.
    Bench(bench::BenchArgs),
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let done = match arguments.command {
        None => return server::run(&server::ServerArguments::default()),
        Some(Command::Server(arguments)) => return server::run(&arguments),
        Some(Command::Ensemble(arguments)) => ensemble::run(arguments),
        Some(Command::Log(arguments)) => files::logs(&arguments),
        Some(Command::Snapshot(arguments)) => files::snapshots(&arguments),
        Some(Command::Bench(arguments)) => bench::run(arguments),
    };
    done.unwrap_or_else(|error| {
        eprintln!("roo: {error:#}");
        ExitCode::FAILURE
    })
}
