//! Apache's own shell (zkCli): one script against each server, the transcripts compared.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Outcome, start};
use crate::apache;
use crate::servers::{Kind, Server, root};

const SCRIPT: &str = include_str!("../../clients/shell/script.txt");

/// Runs the script against each server. With both, every command's output must be the same; with
/// one there is nothing to compare, and each command counts once it has been answered.
pub(super) fn run(kinds: &[Kind], outcomes: &mut Vec<Outcome>) -> Result<()> {
    let mut transcripts = Vec::new();
    for kind in kinds {
        let server = start(*kind, "shell")?;
        println!("\n== shell against {kind:?} at {}", server.address);
        transcripts.push((*kind, converse(&server)?));
    }
    let Some((_, expected)) = transcripts.first() else {
        return Ok(());
    };
    for (kind, transcript) in &transcripts {
        let mut passed = 0;
        let mut failed = 0;
        let count = expected.len().max(transcript.len());
        for at in 0..count {
            let (wanted, said) = (expected.get(at), transcript.get(at));
            if wanted == said {
                passed += 1;
            } else {
                failed += 1;
                println!("FAIL command {at}:\n--- genuine\n{wanted:#?}\n--- {kind:?}\n{said:#?}");
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
            server: *kind,
            passed,
            failed,
        });
    }
    Ok(())
}

/// Each command with its output, less what differs from run to run.
fn converse(server: &Server) -> Result<Vec<String>> {
    let work = root().join("target/interop/clients/shell");
    fs::create_dir_all(&work)?;
    let script = work.join("script.txt");
    fs::write(&script, SCRIPT)?;
    let transcript = work.join(format!("{:?}.txt", server.kind));
    let status = shell(server, &script, &transcript)?;
    ensure!(status.code().is_some(), "the shell was killed: {status}");
    let said = fs::read_to_string(&transcript)?;
    Ok(split(&said).iter().map(|part| normalise(part)).collect())
}

fn shell(server: &Server, script: &Path, transcript: &Path) -> Result<std::process::ExitStatus> {
    let output = File::create(transcript)?;
    Command::new("java")
        .arg("-cp")
        .arg(apache::class_path()?)
        .arg("org.apache.zookeeper.ZooKeeperMain")
        .args(["-server", &server.address.to_string()])
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

/// What differs from run to run is taken out: times, session ids, the order of children, and
/// events, which come when they come.
fn normalise(part: &str) -> String {
    let mut lines: Vec<String> = part
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.contains("WatchedEvent"))
        .filter(|line| !line.contains("WATCHER::") && !line.contains("reconfig enabled"))
        .map(|line| match line.split_once(" = ") {
            Some((key @ ("ctime" | "mtime"), _)) => format!("{key} = TIME"),
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
