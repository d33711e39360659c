//! The `roo` command. Exit codes: 0 done, 1 failed, 2 wrong arguments or configuration, 3 trouble
//! with the data directory, or for a command that speaks to a server: no server; such commands
//! have more, see [`connect::Exit`].
#![allow(clippy::print_stdout)]

mod bench;
mod connect;
mod coordination;
mod ensemble;
mod files;
mod mirror;
mod server;
mod shell;
mod top;

use std::process::ExitCode;
use std::sync::Arc;

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
use signal_hook::consts::SIGXFSZ;

use connect::{ConnectArguments, Exit};

/// RooKeeper: a coordination service that speaks ZooKeeper.
#[derive(Debug, Parser)]
#[command(name = "roo", version, about, long_about = None)]
struct Arguments {
    #[command(flatten)]
    connect: ConnectArguments,
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
    /// Keeps a directory of files and a subtree equal, once or live.
    Mirror(mirror::MirrorArguments),
    /// Shows the servers of an ensemble: roles, zxids, lag, rates, latencies.
    Top(top::TopArguments),
    /// Prints what makes a shell complete this command.
    #[command(after_help = "Examples:
  roo completions bash > /etc/bash_completion.d/roo
  roo completions zsh > \"${fpath[1]}/_roo\"
  roo completions fish > ~/.config/fish/completions/roo.fish")]
    Completions {
        /// Which one.
        shell: Shell,
    },
    #[command(flatten)]
    Coordination(coordination::Coordination),
    #[command(flatten)]
    Extra(shell::Extra),
}

/// A file that may not grow (`ulimit -f`) is to be a failed write with a message, like a full disk;
/// without a handler the system ends the process without a word.
fn survive_file_size_limit() {
    // Where that cannot be, the system's way remains.
    let _ = signal_hook::flag::register(SIGXFSZ, Arc::default());
}

fn main() -> ExitCode {
    survive_file_size_limit();
    let words: Vec<_> = std::env::args_os().skip(1).collect();
    let words: Option<Vec<String>> = words
        .into_iter()
        .map(|word| word.into_string().ok())
        .collect();
    if let Some(request) = words.as_deref().and_then(shell::recognise) {
        return request.run();
    }
    let matches = shell::augment(Arguments::command()).get_matches();
    let arguments = match Arguments::from_arg_matches(&matches) {
        Ok(arguments) => arguments,
        Err(error) => error.exit(),
    };
    let before = arguments.connect;
    let done = match arguments.command {
        Some(Command::Extra(extra)) => {
            let (connect, json) = matches
                .subcommand()
                .map_or_else(Default::default, |(_, own)| {
                    let connect = ConnectArguments::from_arg_matches(own);
                    (connect.unwrap_or_default(), own.get_flag("json"))
                });
            return shell::run_extra(extra, connect.or(&before), json);
        }
        Some(Command::Coordination(command)) => return coordination::run(command, &before),
        Some(Command::Mirror(arguments)) => return mirror::run(arguments, &before),
        Some(Command::Top(arguments)) => return top::run(arguments, &before),
        _ if before.is_given() => {
            eprintln!("roo: -s and the like are for commands that speak to a server");
            return ExitCode::from(Exit::Usage.code());
        }
        None => return server::run(&server::ServerArguments::default()),
        Some(Command::Server(arguments)) => return server::run(&arguments),
        Some(Command::Ensemble(arguments)) => ensemble::run(arguments),
        Some(Command::Log(arguments)) => files::logs(&arguments),
        Some(Command::Snapshot(arguments)) => files::snapshots(&arguments),
        Some(Command::Bench(arguments)) => bench::run(arguments),
        Some(Command::Completions { shell }) => {
            let mut command = shell::augment(Arguments::command());
            clap_complete::generate(shell, &mut command, "roo", &mut std::io::stdout());
            Ok(ExitCode::SUCCESS)
        }
    };
    done.unwrap_or_else(|error| {
        eprintln!("roo: {error:#}");
        ExitCode::FAILURE
    })
}
