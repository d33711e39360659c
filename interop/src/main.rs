//! The peers, one subcommand each. Called by `cargo xtask interop`.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use interop::{abuse, bench, clients, diff, exchange, ops, suites};

#[derive(Debug, Parser)]
#[command(name = "interop")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Clients that misbehave, in great numbers, beside one that must be served.
    Abuse(abuse::AbuseArgs),
    /// RooKeeper beside Apache ZooKeeper and a null server.
    Bench(bench::BenchArgs),
    /// Real clients from their registries, each with a program of ours.
    Clients(clients::ClientsArgs),
    /// Random operations against both servers, every answer compared.
    Diff(diff::DiffArgs),
    /// One data directory, opened by both servers in turn.
    Exchange(exchange::ExchangeArgs),
    /// Four-letter words of the servers of an ensemble, compared with genuine ones.
    Ops,
    /// The test suites of the clients' own packages.
    Suites(suites::SuitesArgs),
}

fn main() -> ExitCode {
    let run = || -> Result<ExitCode> {
        match Arguments::parse().command {
            Command::Abuse(arguments) => abuse::run(&arguments),
            Command::Bench(arguments) => bench::run(&arguments),
            Command::Clients(arguments) => clients::run(&arguments),
            Command::Diff(arguments) => diff::run(&arguments),
            Command::Exchange(arguments) => exchange::run(&arguments),
            Command::Ops => ops::run(),
            Command::Suites(arguments) => suites::run(&arguments),
        }
    };
    run().unwrap_or_else(|error| {
        eprintln!("interop: {error:#}");
        ExitCode::FAILURE
    })
}
