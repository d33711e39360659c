//! `roo ensemble`: an ensemble for development, its servers as processes of this program, and a
//! look at any ensemble. What it knows of its servers stands in a small file beside their data,
//! so that every terminal can speak to them.

mod screen;
mod state_file;
mod up;
mod view;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, Subcommand};
use rustix::process::Signal;

use state_file::{Folder, Server};

/// Arguments of `roo ensemble`.
#[derive(Args, Debug)]
pub(crate) struct EnsembleArguments {
    #[command(subcommand)]
    command: Command,
    /// Where the servers keep their data, each in a folder of its number.
    #[arg(long, global = true, value_name = "DIR", default_value = "ensemble")]
    dir: PathBuf,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Runs servers until ctrl-C, and shows what they log.
    #[command(after_help = "Examples:
  roo ensemble up                 three servers, clients at 127.0.0.1:2181 to 2183
  roo ensemble up 5 --dir five    five of them, in another folder
  roo ensemble kill 2             from another terminal: server 2 fails
  roo ensemble start 2            and comes back")]
    Up {
        /// How many servers; all of them vote. 3 if nothing was there before.
        servers: Option<u16>,
    },
    /// Shows each server and what is wrong. Exit code 1 if no quorum serves.
    Status {
        /// Servers that `up` has not started, at their ports for clients. They must allow the word
        /// peer, or at least srvr (4lw.commands.whitelist).
        #[arg(long, value_name = "HOST:PORT,...", value_delimiter = ',')]
        servers: Vec<String>,
    },
    /// Stops all servers as ctrl-C does.
    Stop,
    /// Ends a server as a power failure does.
    Kill {
        /// Its number.
        id: u16,
    },
    /// Starts a server that has ended.
    Start {
        /// Its number.
        id: u16,
    },
}

/// How long servers may take to stop or to start.
const PATIENCE: Duration = Duration::from_secs(20);

/// Does what was asked.
///
/// # Errors
/// With what is wrong and what to do, in one line.
pub(crate) fn run(arguments: EnsembleArguments) -> Result<ExitCode> {
    let folder = Folder::new(&arguments.dir)?;
    match arguments.command {
        Command::Up { servers } => up::run(&folder, servers),
        Command::Status { servers } => view::run(&folder, &servers),
        Command::Stop => stop(&folder),
        Command::Kill { id } => kill(&folder, id),
        Command::Start { id } => start(&folder, id),
    }
}

fn stop(folder: &Folder) -> Result<ExitCode> {
    let state = folder.load()?;
    if let Some(runner) = state.runner.filter(|runner| folder.is_runner(*runner)) {
        state_file::signal(runner.pid, Signal::TERM)?;
        wait("the servers do not stop", || !folder.is_runner(runner))?;
        println!("stopped");
        return Ok(ExitCode::SUCCESS);
    }
    // The one who watched over them is gone.
    let left = |server: &&Server| folder.is_running(server);
    let orphans: Vec<Server> = state.servers.iter().filter(left).cloned().collect();
    if orphans.is_empty() {
        println!("nothing runs");
    }
    for server in &orphans {
        if let Some(process) = server.process {
            state_file::signal(process.pid, Signal::TERM)?;
        }
    }
    for server in &orphans {
        wait("a server does not stop", || !folder.is_running(server))?;
        println!("server {} stopped", server.id);
    }
    Ok(ExitCode::SUCCESS)
}

fn kill(folder: &Folder, id: u16) -> Result<ExitCode> {
    let state = folder.load()?;
    let server = state.server(id)?;
    let Some(process) = server.process.filter(|_| folder.is_running(server)) else {
        bail!("server {id} does not run");
    };
    state_file::signal(process.pid, Signal::KILL)?;
    wait("the server does not end", || !folder.is_running(server))?;
    println!("server {id} killed; roo ensemble start {id} brings it back");
    Ok(ExitCode::SUCCESS)
}

/// Whoever watches over the servers starts it, so that its lines come with those of the others.
fn start(folder: &Folder, id: u16) -> Result<ExitCode> {
    let state = folder.load()?;
    ensure!(
        !folder.is_running(state.server(id)?),
        "server {id} runs already"
    );
    let runner = state.runner.filter(|runner| folder.is_runner(*runner));
    let runner = runner.context(
        "no `roo ensemble up` runs in this folder: begin with that, it starts all servers",
    )?;
    folder.ask_to_start(id)?;
    state_file::signal(runner.pid, Signal::USR1)?;
    wait(
        "the server does not start: see the terminal of `roo ensemble up`",
        || {
            let state = folder.load();
            state.is_ok_and(|state| {
                state
                    .server(id)
                    .is_ok_and(|server| folder.is_running(server))
            })
        },
    )?;
    println!("server {id} started");
    Ok(ExitCode::SUCCESS)
}

/// Asks until something holds.
fn wait(otherwise: &str, mut holds: impl FnMut() -> bool) -> Result<()> {
    let began = Instant::now();
    while !holds() {
        ensure!(began.elapsed() < PATIENCE, "{otherwise}");
        pause(Duration::from_millis(20));
    }
    Ok(())
}

/// Lets time pass between two looks at another process, which nothing announces.
fn pause(time: Duration) {
    let (_sender, receiver) = std::sync::mpsc::channel::<()>();
    // Nobody ever sends.
    let _ = receiver.recv_timeout(time);
}
