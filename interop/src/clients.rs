//! Real clients, unmodified, from their registries: each runs a program of ours (see
//! `interop/clients/`) against the genuine server, which proves the program, and against ours.
//! The shell's transcript is compared between the two.

mod programs;
mod shell;

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::proxy::Proxy;
use crate::servers::{Kind, Server, pause, root};
use programs::PROGRAMS;

/// Lines of zoo.cfg that the programs count on: sessions that expire soon, TTL nodes, and a
/// reaper that comes often.
const LINES: &[&str] = &[
    "tickTime=500",
    "minSessionTimeout=1000",
    "extendedTypesEnabled=true",
    "znode.container.checkIntervalMs=500",
];

/// How long one client's program may take.
const LIMIT: Duration = Duration::from_secs(180);

/// Which servers to run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The genuine server first, then RooKeeper.
    Both,
    /// The genuine server.
    Apache,
    /// RooKeeper.
    Roo,
}

/// Arguments of `interop clients`.
#[derive(Args, Debug)]
pub struct ClientsArgs {
    /// Which servers to run against.
    #[arg(long, value_enum, default_value_t = Against::Both)]
    server: Against,
    /// Only this client: java, shell, curator, kazoo, c, go, node, rust.
    #[arg(long)]
    only: Option<String>,
}

/// What one client's program said of one server.
#[derive(Debug)]
pub struct Outcome {
    /// The client.
    pub client: &'static str,
    /// The server.
    pub server: Kind,
    /// Cases that held.
    pub passed: u32,
    /// Cases that did not, or why nothing was counted.
    pub failed: std::result::Result<u32, String>,
}

impl Outcome {
    fn is_good(&self) -> bool {
        self.passed > 0 && self.failed == Ok(0)
    }
}

/// Runs every client against every server asked for, and prints a table.
///
/// # Errors
/// When a server cannot be started.
pub fn run(arguments: &ClientsArgs) -> Result<ExitCode> {
    let kinds: &[Kind] = match arguments.server {
        Against::Both => &[Kind::Apache, Kind::Roo],
        Against::Apache => &[Kind::Apache],
        Against::Roo => &[Kind::Roo],
    };
    let only = arguments.only.as_deref();
    let mut outcomes = Vec::new();
    for kind in kinds {
        main_matrix(*kind, only, &mut outcomes)?;
    }
    if only.is_none_or(|only| only == "shell") {
        shell::run(kinds, &mut outcomes)?;
    }
    ensure!(
        !outcomes.is_empty(),
        "no client is called {}",
        only.unwrap_or_default()
    );
    println!("\nclient    server    passed  failed");
    for outcome in &outcomes {
        let failed = match &outcome.failed {
            Ok(count) => count.to_string(),
            Err(why) => why.clone(),
        };
        let server = format!("{:?}", outcome.server).to_lowercase();
        println!(
            "{:<9} {server:<9} {:>6}  {failed}",
            outcome.client, outcome.passed
        );
    }
    let good = outcomes.iter().all(Outcome::is_good);
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Runs the programs of all clients, or of one, against one server.
///
/// # Errors
/// When the server cannot be started.
pub fn main_matrix(kind: Kind, only: Option<&str>, outcomes: &mut Vec<Outcome>) -> Result<()> {
    for program in PROGRAMS
        .iter()
        .filter(|known| only.is_none_or(|only| only == known.client))
    {
        let server = start(kind, program.client)?;
        println!(
            "\n== {} against {kind:?} at {}",
            program.client, server.address
        );
        let work = root().join("target/interop/clients").join(program.client);
        fs::create_dir_all(&work)?;
        let source = root().join("interop/clients").join(program.client);
        let said = (program.prepare)(&source, &work)
            .and_then(|command| converse(command, &server, &work.join(format!("{kind:?}.txt"))));
        let (passed, failed) = match said {
            Ok((passed, failed)) => (passed, Ok(failed)),
            Err(error) => {
                println!("{error:#}");
                (0, Err(first_line(&format!("{error:#}"))))
            }
        };
        outcomes.push(Outcome {
            client: program.client,
            server: kind,
            passed,
            failed,
        });
    }
    Ok(())
}

/// A fresh server with an empty directory.
fn start(kind: Kind, client: &str) -> Result<Server> {
    let work = root().join("target/interop/clients/servers");
    let data = work.join(format!("{client}-{kind:?}").to_lowercase());
    if data.exists() {
        fs::remove_dir_all(&data)?;
    }
    fs::create_dir_all(&work)?;
    Server::start(kind, &data, LINES)
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Runs a program to its end and reads the counts of its last line.
fn converse(mut command: Command, server: &Server, transcript: &Path) -> Result<(u32, u32)> {
    let proxy = Proxy::start(server.address)?;
    let output = File::create(transcript)?;
    let mut child = command
        .arg(server.address.to_string())
        .arg(proxy.address.to_string())
        .arg(proxy.control.to_string())
        .stdin(Stdio::null())
        .stdout(output.try_clone()?)
        .stderr(output)
        .spawn()
        .with_context(|| format!("start {command:?}"))?;
    let began = Instant::now();
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break Some(status);
        }
        if began.elapsed() > LIMIT {
            child.kill()?;
            child.wait()?;
            break None;
        }
        pause(Duration::from_millis(50));
    };
    let said = String::from_utf8_lossy(&fs::read(transcript)?).into_owned();
    let counts = said.lines().rev().find_map(counts);
    let good = status.is_some_and(|status| status.success());
    for line in said.lines() {
        // What clients log is of interest only beside a failure.
        if !good || line.starts_with("FAIL ") || line.ends_with(" failed") {
            println!("{line}");
        }
    }
    match (status, counts) {
        (None, _) => bail!("the program did not end within {LIMIT:?}"),
        (Some(_), Some((passed, failed))) if good || failed > 0 => Ok((passed, failed)),
        (Some(status), _) => bail!("the program ended with {status} without its counts"),
    }
}

/// Reads `N passed, N failed`.
fn counts(line: &str) -> Option<(u32, u32)> {
    let (passed, failed) = line.split_once(" passed, ")?;
    Some((
        passed.parse().ok()?,
        failed.strip_suffix(" failed")?.parse().ok()?,
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_line_of_counts_is_read_as_one() {
        assert_eq!(counts("12 passed, 3 failed"), Some((12, 3)));
        assert_eq!(counts("ok create"), None);
        assert_eq!(counts("all passed, none failed"), None);
    }
}
