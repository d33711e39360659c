//! The peers, one subcommand each. Called by `cargo xtask interop`.
#![allow(clippy::print_stdout)]

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};
use interop::{
    abuse, bench, book, chaos, clients, diff, ensemble_errors, exchange, instructions, ops,
    quorums, reads, recipes, reconfig, suites,
};

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
    /// The commands and programs that the documentation shows, and what they print.
    Book(book::BookArgs),
    /// An ensemble of real processes under load and faults, and what fail-over costs.
    Chaos(chaos::ChaosArgs),
    /// Real clients from their registries, each with a program of ours.
    Clients(clients::ClientsArgs),
    /// Random operations against both servers, every answer compared.
    Diff(diff::DiffArgs),
    /// Ensembles whose operator errs: who is wrong says so, the others go on.
    EnsembleErrors(ensemble_errors::ErrorsArgs),
    /// One data directory, opened by both servers in turn.
    Exchange(exchange::ExchangeArgs),
    /// Instructions of the server per request, compared with what they were.
    Instructions(instructions::InstructionsArgs),
    /// Four-letter words of the servers of an ensemble, compared with genuine ones.
    Ops,
    /// Who votes, leads and serves, and how many it takes.
    Quorums(quorums::QuorumsArgs),
    /// What a read shows of another server's writes, in each readMode.
    Reads(reads::ReadsArgs),
    /// Our recipes beside Curator's and kazoo's, on the same nodes.
    Recipes(recipes::RecipesArgs),
    /// An ensemble that grows, shrinks and changes roles while clients write.
    Reconfig(reconfig::ReconfigArgs),
    /// The test suites of the clients' own packages.
    Suites(suites::SuitesArgs),
    /// Our client and our commands with older releases of Apache ZooKeeper.
    Versions(clients::versions::VersionsArgs),
}

fn main() -> ExitCode {
    let run = || -> Result<ExitCode> {
        match Arguments::parse().command {
            Command::Abuse(arguments) => abuse::run(&arguments),
            Command::Bench(arguments) => bench::run(&arguments),
            Command::Book(arguments) => book::run(&arguments),
            Command::Chaos(arguments) => chaos::run(&arguments),
            Command::Clients(arguments) => clients::run(&arguments),
            Command::Diff(arguments) => diff::run(&arguments),
            Command::EnsembleErrors(arguments) => ensemble_errors::run(&arguments),
            Command::Exchange(arguments) => exchange::run(&arguments),
            Command::Instructions(arguments) => instructions::run(&arguments),
            Command::Ops => ops::run(),
            Command::Quorums(arguments) => quorums::run(&arguments),
            Command::Reads(arguments) => reads::run(&arguments),
            Command::Recipes(arguments) => recipes::run(&arguments),
            Command::Reconfig(arguments) => reconfig::run(&arguments),
            Command::Suites(arguments) => suites::run(&arguments),
            Command::Versions(arguments) => clients::versions::run(&arguments),
        }
    };
    run().unwrap_or_else(|error| {
        eprintln!("interop: {error:#}");
        ExitCode::FAILURE
    })
}
