//! Apache's own shell (zkCli): one script against each server, the transcripts compared.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Outcome, Setting, Stage};
use crate::apache;
use crate::servers::root;

const SCRIPT: &str = include_str!("../../clients/shell/script.txt");

/// Runs the script against each server. With both, every command's output must be the same; with
/// one there is nothing to compare, and each command counts once it has been answered.
pub(super) fn run(settings: &[Setting], outcomes: &mut Vec<Outcome>) -> Result<()> {
    let mut transcripts = Vec::new();
    for setting in settings {
        let stage = Stage::set(*setting, "shell")?;
        let name = setting.name();
        println!("\n== shell against {name} at {}", stage.all());
        transcripts.push((*setting, converse(&stage, name)?));
    }
    let Some((_, expected)) = transcripts.first() else {
        return Ok(());
    };
    for (setting, transcript) in &transcripts {
        let mut passed = 0;
        let mut failed = 0;
        let count = expected.len().max(transcript.len());
        for at in 0..count {
            let (wanted, said) = (expected.get(at), transcript.get(at));
            if wanted == said {
                passed += 1;
            } else {
                failed += 1;
                let name = setting.name();
                println!("FAIL command {at}:\n--- expected\n{wanted:#?}\n--- {name}\n{said:#?}");
            }
        }
        let commands = SCRIPT.lines().filter(|line| !line.is_empty()).count();
        let failed = if count < commands {
            Err(format!("only {count} of {commands} commands were answered"))
        } else {
            Ok(failed)
        };
        outcomes.push(Outcome {
            client: "shell",
            setting: *setting,
            passed,
            failed,
        });
    }
    Ok(())
}

/// Each command with its output, less what differs from run to run.
fn converse(stage: &Stage, name: &str) -> Result<Vec<String>> {
    let work = root().join("target/interop/clients/shell");
    fs::create_dir_all(&work)?;
    let script = work.join("script.txt");
    fs::write(&script, SCRIPT)?;
    let transcript = work.join(format!("{name}.txt"));
    let status = shell(stage, &script, &transcript)?;
    ensure!(status.code().is_some(), "the shell was killed: {status}");
    let said = fs::read_to_string(&transcript)?;
    Ok(split(&said).iter().map(|part| normalise(part)).collect())
}

fn shell(stage: &Stage, script: &Path, transcript: &Path) -> Result<std::process::ExitStatus> {
    let output = File::create(transcript)?;
    Command::new("java")
        .arg("-cp")
        .arg(apache::class_path()?)
        .arg("org.apache.zookeeper.ZooKeeperMain")
        .args(["-server", &stage.all()])
        .args(["-timeout", "10000"])
        .stdin(File::open(script)?)
        .stdout(output.try_clone()?)
        .stderr(Stdio::from(output))
        .status()
        .context("start the shell")
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

/// What differs from run to run is taken out: times, session ids, epochs, the order of children,
/// and events, which come when they come.
fn normalise(part: &str) -> String {
    let mut lines: Vec<String> = part
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.contains("WatchedEvent"))
        .filter(|line| !line.contains("WATCHER::") && !line.contains("reconfig enabled"))
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
