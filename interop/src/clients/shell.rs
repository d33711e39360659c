//! Two shells, Apache's own (zkCli) and ours: one script by each against each server, and single
//! commands; the transcripts must be those of zkCli against the genuine server. What differs on
//! purpose is in docs/shell.md, and is taken out by [`normalise`].

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Outcome, Setting, Stage};
use crate::apache;
use crate::servers::{roo_binary, root};

pub(super) const SCRIPT: &str = include_str!("../../clients/shell/script.txt");

/// Commands that are run one by one: standard output, standard error and exit code are compared.
const ONE_BY_ONE: &[&[&str]] = &[
    &["create", "/one", "some data"],
    &["create", "/one"],
    &["get", "-s", "/one"],
    &["get", "/absent"],
    &["set", "/one", "-q"],
    &["setAcl", "/one", "nonsense"],
    &["frobnicate"],
    &["delete", "/one"],
];

/// Whose shell.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shell {
    ZkCli,
    Roo,
}

impl Shell {
    const fn client(self) -> &'static str {
        match self {
            Self::ZkCli => "zkCli",
            Self::Roo => "shell",
        }
    }

    fn command(self, stage: &Stage) -> Result<Command> {
        let mut command = match self {
            Self::ZkCli => {
                let mut java = Command::new("java");
                java.arg("-cp").arg(apache::class_path()?);
                // Its own check of a time to live.
                java.arg("-Dzookeeper.extendedTypesEnabled=true");
                java.arg("org.apache.zookeeper.ZooKeeperMain");
                java
            }
            Self::Roo => {
                let mut roo = Command::new(roo_binary());
                roo.arg("shell");
                roo
            }
        };
        command.args(["-server", &stage.all(), "-timeout", "10000"]);
        Ok(command)
    }
}

/// Runs the script in each shell against each server, and compares with the first run.
pub(super) fn run(settings: &[Setting], outcomes: &mut Vec<Outcome>) -> Result<()> {
    let mut expected: Option<Vec<String>> = None;
    for setting in settings {
        for shell in [Shell::ZkCli, Shell::Roo] {
            let client = shell.client();
            let stage = Stage::set(*setting, client)?;
            let name = setting.name();
            println!("\n== {client} against {name} at {}", stage.all());
            let mut said = converse(shell, &stage, name)?;
            said.extend(one_by_one(shell, &stage)?);
            let wanted = expected.get_or_insert_with(|| said.clone());
            let failed = differences(wanted, &said, &format!("{client} against {name}"));
            let commands = SCRIPT.lines().filter(|line| !line.is_empty()).count();
            let enough = said.len() >= commands + ONE_BY_ONE.len();
            let failed_count = u32::try_from(failed)?;
            outcomes.push(Outcome {
                client,
                setting: *setting,
                passed: u32::try_from(said.len())?.saturating_sub(failed_count),
                failed: if enough {
                    Ok(failed_count)
                } else {
                    Err(format!(
                        "only {} of {commands} commands were answered",
                        said.len()
                    ))
                },
            });
        }
    }
    Ok(())
}

fn differences(expected: &[String], said: &[String], who: &str) -> usize {
    let mut failed = 0;
    for at in 0..expected.len().max(said.len()) {
        let (wanted, got) = (expected.get(at), said.get(at));
        if wanted != got {
            failed += 1;
            let command = SCRIPT.lines().nth(at).unwrap_or("(not in the script)");
            println!("FAIL {command}\n--- expected\n{wanted:#?}\n--- {who}\n{got:#?}");
        }
    }
    failed
}

/// Each command with its output, less what differs from run to run; then all events.
pub(super) fn converse(shell: Shell, stage: &Stage, name: &str) -> Result<Vec<String>> {
    let work = root().join("target/interop/clients/shell");
    fs::create_dir_all(&work)?;
    let script = work.join("script.txt");
    fs::write(&script, SCRIPT)?;
    let transcript = work.join(format!("{}-{name}.txt", shell.client()));
    let status = run_script(shell, stage, &script, &transcript)?;
    ensure!(status.code().is_some(), "the shell was killed: {status}");
    let said = fs::read_to_string(&transcript)?;
    let mut parts: Vec<String> = split(&said).iter().map(|part| normalise(part)).collect();
    parts.push(events(&said));
    Ok(parts)
}

fn run_script(
    shell: Shell,
    stage: &Stage,
    script: &Path,
    transcript: &Path,
) -> Result<std::process::ExitStatus> {
    let output = File::create(transcript)?;
    shell
        .command(stage)?
        .stdin(File::open(script)?)
        .stdout(output.try_clone()?)
        .stderr(Stdio::from(output))
        .status()
        .context("start the shell")
}

/// Single commands, with what each of them writes where and how it ends.
fn one_by_one(shell: Shell, stage: &Stage) -> Result<Vec<String>> {
    ONE_BY_ONE
        .iter()
        .map(|words| {
            let mut command = shell.command(stage)?;
            let output = command.args(*words).stdin(Stdio::null()).output()?;
            let out = normalise(&String::from_utf8_lossy(&output.stdout));
            let err = normalise(&String::from_utf8_lossy(&output.stderr));
            let code = output.status.code();
            Ok(format!(
                "{words:?}\n{out}\n--- error\n{err}\n--- code {code:?}"
            ))
        })
        .collect()
}

/// What watches told, whenever they told it, each once.
fn events(said: &str) -> String {
    let lines = said.lines().filter(|line| line.starts_with("WatchedEvent"));
    let lines = lines.filter(|line| !line.contains("type:None"));
    let events: BTreeSet<&str> = lines
        .map(|line| line.split(" zxid:").next().unwrap_or(line))
        .collect();
    events.into_iter().collect::<Vec<_>>().join("\n")
}

/// Cuts a transcript at its prompts, `[zk: HOST(STATE) N] `: one part for each command.
fn split(said: &str) -> Vec<String> {
    let parts = said.split("[zk: ").skip(1);
    parts
        .filter_map(|part| part.split_once("] ").map(|(_, output)| output.to_owned()))
        .collect()
}

/// A zxid's count within its epoch; a lone server has only one.
fn without_epoch(value: &str) -> String {
    let digits = value.strip_prefix("0x").unwrap_or(value);
    let zxid = u64::from_str_radix(digits, 16).unwrap_or(u64::MAX);
    format!("{:#x}", zxid & 0xFFFF_FFFF)
}

/// Whether Java's logger wrote it.
fn is_logged(line: &str) -> bool {
    line.starts_with("WARN ") || line.starts_with("ERROR ")
}

/// What differs from run to run is taken out: times, session ids, epochs, the order of children,
/// and events, which come when they come.
pub(super) fn normalise(part: &str) -> String {
    let mut lines: Vec<String> = part
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.contains("WatchedEvent"))
        .filter(|line| !line.contains("WATCHER::") && !line.contains("reconfig enabled"))
        .filter(|line| !line.starts_with("Connecting to ") && !is_logged(line))
        // Ours says how many, too.
        .map(|line| match line.split_once("in the subtree! ") {
            Some((before, _)) => line
                .get(..before.len() + "in the subtree!".len())
                .unwrap_or(line),
            None => line,
        })
        // /zookeeper/config shows the servers of an ensemble, and nothing on a lone server.
        .filter(|line| !line.starts_with("server.") && !line.starts_with("version="))
        .map(|line| match line.split_once(" = ") {
            Some((key @ ("ctime" | "mtime"), _)) => format!("{key} = TIME"),
            Some((key, value)) if key.ends_with("Zxid") => {
                format!("{key} = {}", without_epoch(value))
            }
            Some((key @ "ephemeralOwner", value)) if value != "0x0" => format!("{key} = SESSION"),
            _ => match line
                .strip_prefix('[')
                .and_then(|rest| rest.strip_suffix(']'))
            {
                Some(names) => {
                    let mut names: Vec<&str> = names.split(", ").collect();
                    names.sort_unstable();
                    format!("{names:?}")
                }
                None => line.to_owned(),
            },
        })
        .collect();
    if lines.iter().all(|line| line.starts_with('/')) {
        lines.sort();
    }
    lines.join("\n")
}
