//! Real clients, unmodified, from their registries, and our own: each runs a program of ours (see
//! `interop/clients/`) against the genuine server, which proves the program, against ours, and
//! against an ensemble of ours, where it has a follower and a list of all servers.
//! The shell's transcript is compared between them.

mod programs;
mod shell;
pub mod versions;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::ensemble::Ensemble;
use crate::proxy::Proxy;
use crate::servers::{Kind, Server, pause, root};
use programs::PROGRAMS;
pub(crate) use programs::python_with_kazoo;
pub(crate) use programs::recipes as recipe_program;

/// Lines of zoo.cfg that the programs count on: sessions that expire soon, TTL nodes, and a
/// reaper that comes often.
const LINES: &[&str] = &[
    "tickTime=500",
    "minSessionTimeout=1000",
    "extendedTypesEnabled=true",
    "znode.container.checkIntervalMs=500",
];

/// How long one client's program may take.
const LIMIT: Duration = Duration::from_secs(600);

/// Which servers to run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The genuine server first, then RooKeeper, then an ensemble of it.
    All,
    /// The genuine server.
    Apache,
    /// RooKeeper.
    Roo,
    /// Three servers of RooKeeper.
    Ensemble,
}

/// What a client has before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Setting {
    Alone(Kind),
    Ensemble,
}

impl Setting {
    const fn name(self) -> &'static str {
        match self {
            Self::Alone(Kind::Apache) => "apache",
            Self::Alone(Kind::Older(release)) => release.version,
            Self::Alone(Kind::Roo) => "roo",
            Self::Ensemble => "ensemble",
        }
    }
}

impl Setting {
    /// What the servers do not know, in the words of our program.
    const fn lacks(self) -> &'static [&'static str] {
        match self {
            Self::Alone(Kind::Older(release)) => release.lacks,
            _ => &[],
        }
    }
}

/// Servers of an ensemble.
const SERVERS: u16 = 3;

/// Running servers.
enum Stage {
    Alone(Server),
    Ensemble(Ensemble),
}

impl Stage {
    /// Fresh servers with empty directories.
    fn set(setting: Setting, client: &str) -> Result<Self> {
        let work = root().join("target/interop/clients/servers");
        let data = work.join(format!("{client}-{}", setting.name()));
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        fs::create_dir_all(&work)?;
        Ok(match setting {
            Setting::Alone(kind) => Self::Alone(Server::start(kind, &data, LINES)?),
            Setting::Ensemble => {
                Self::Ensemble(Ensemble::start(Kind::Roo, SERVERS, 0, &data, LINES)?)
            }
        })
    }

    /// Where all of a client's sessions are: what one of them has written, the others see.
    fn one(&self) -> Result<SocketAddr> {
        match self {
            Self::Alone(server) => Ok(server.address),
            Self::Ensemble(ensemble) => {
                let follower = ensemble.find("follower").context("nobody follows")?;
                Ok(ensemble.addresses()[follower])
            }
        }
    }

    /// A list of all servers, as clients take it.
    fn all(&self) -> String {
        let addresses = match self {
            Self::Alone(server) => vec![server.address],
            Self::Ensemble(ensemble) => ensemble.addresses(),
        };
        let texts: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
        texts.join(",")
    }
}

/// Arguments of `interop clients`.
#[derive(Args, Debug)]
pub struct ClientsArgs {
    /// Which servers to run against.
    #[arg(long, value_enum, default_value_t = Against::All)]
    server: Against,
    /// Only this client: java, shell, curator, kazoo, c, go, node, rust, roo.
    #[arg(long)]
    only: Option<String>,
}

/// What one client's program said of one server.
#[derive(Debug)]
struct Outcome {
    /// The client.
    client: &'static str,
    /// The servers.
    setting: Setting,
    /// Cases that held.
    passed: u32,
    /// Cases that did not, or why nothing was counted.
    failed: std::result::Result<u32, String>,
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
    let (apache, roo) = (Setting::Alone(Kind::Apache), Setting::Alone(Kind::Roo));
    let settings: &[Setting] = match arguments.server {
        Against::All => &[apache, roo, Setting::Ensemble],
        Against::Apache => &[apache],
        Against::Roo => &[roo],
        Against::Ensemble => &[Setting::Ensemble],
    };
    let only = arguments.only.as_deref();
    let mut outcomes = Vec::new();
    for setting in settings {
        main_matrix(*setting, only, &mut outcomes)?;
    }
    if only.is_none_or(|only| only == "shell") {
        shell::run(settings, &mut outcomes)?;
    }
    ensure!(
        !outcomes.is_empty(),
        "no client is called {}",
        only.unwrap_or_default()
    );
    Ok(print_table(&outcomes))
}

fn print_table(outcomes: &[Outcome]) -> ExitCode {
    println!("\nclient    server    passed  failed");
    for outcome in outcomes {
        let failed = match &outcome.failed {
            Ok(count) => count.to_string(),
            Err(why) => why.clone(),
        };
        let server = outcome.setting.name();
        println!(
            "{:<9} {server:<9} {:>6}  {failed}",
            outcome.client, outcome.passed
        );
    }
    if outcomes.iter().all(Outcome::is_good) {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// Runs the programs of all clients, or of one.
fn main_matrix(setting: Setting, only: Option<&str>, outcomes: &mut Vec<Outcome>) -> Result<()> {
    for program in PROGRAMS
        .iter()
        .filter(|known| only.is_none_or(|only| only == known.client))
    {
        let stage = Stage::set(setting, program.client)?;
        let name = setting.name();
        println!("\n== {} against {name} at {}", program.client, stage.all());
        let work = root().join("target/interop/clients").join(program.client);
        fs::create_dir_all(&work)?;
        let source = root().join("interop/clients").join(program.client);
        let said = (program.prepare)(&source, &work).and_then(|mut command| {
            let transcript = work.join(format!("{name}.txt"));
            command.env("LACKS", setting.lacks().join(","));
            converse(command, &stage, &transcript)
        });
        let (passed, failed) = match said {
            Ok((passed, failed)) => (passed, Ok(failed)),
            Err(error) => {
                println!("{error:#}");
                (0, Err(first_line(&format!("{error:#}"))))
            }
        };
        outcomes.push(Outcome {
            client: program.client,
            setting,
            passed,
            failed,
        });
    }
    Ok(())
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

/// Runs a program to its end and reads the counts of its last line.
fn converse(mut command: Command, stage: &Stage, transcript: &Path) -> Result<(u32, u32)> {
    let one = stage.one()?;
    let proxy = Proxy::start(one)?;
    let output = File::create(transcript)?;
    let mut child = command
        .arg(one.to_string())
        .arg(proxy.address.to_string())
        .arg(proxy.control.to_string())
        .arg(stage.all())
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
