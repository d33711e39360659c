//! Our client and our commands with older releases of Apache ZooKeeper. What a release does not
//! know must be refused clearly. How the answers of the shell and of single commands differ from
//! those of the newest release stands in `interop/clients/shell/versions`; with `UPDATE_EXPECT=1`
//! it is written there anew.

use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use clap::Args;

use super::shell::{self, SCRIPT, Shell};
use super::{Outcome, Setting, Stage, main_matrix, print_table};
use crate::apache::{self, OLDER, Release};
use crate::servers::{Kind, await_child, roo_binary, root};

/// Commands in the order in which they are run, each a process, in a fresh directory that has a
/// directory `texts` with one file.
const COMMANDS: &str = include_str!("../../clients/shell/commands.txt");

/// No command may take so long, whatever the server does not know.
const LIMIT: Duration = Duration::from_secs(60);

/// Arguments of `interop versions`.
#[derive(Args, Debug)]
pub struct VersionsArgs {
    /// Only this release, such as 3.5.10.
    #[arg(long)]
    only: Option<String>,
}

/// Runs client, shell and commands with each release, and prints a table.
///
/// # Errors
/// When a release cannot be fetched or started.
pub fn run(arguments: &VersionsArgs) -> Result<ExitCode> {
    let releases: Vec<Release> = match &arguments.only {
        Some(version) => vec![apache::older(version)?],
        None => OLDER.to_vec(),
    };
    // All before the first is tried: what cannot be fetched ends it at once.
    for release in &releases {
        apache::class_path_of(*release)
            .with_context(|| format!("Apache ZooKeeper {} cannot be had", release.version))?;
    }
    let newest = answers(Setting::Alone(Kind::Apache))?;
    let mut outcomes = Vec::new();
    for release in releases {
        let setting = Setting::Alone(Kind::Older(release));
        main_matrix(setting, Some("roo"), &mut outcomes)?;
        let older = answers(setting)?;
        outcomes.push(compare(setting, &newest, &older)?);
    }
    Ok(print_table(&outcomes))
}

/// A command and what came of it.
type Answer = (String, String);

/// What our shell and our commands say with a server.
fn answers(setting: Setting) -> Result<Vec<Answer>> {
    let stage = Stage::set(setting, "versions")?;
    println!("\n== roo against {} at {}", setting.name(), stage.all());
    let said = shell::converse(Shell::Roo, &stage, setting.name())?;
    let commands = SCRIPT.lines().filter(|line| !line.is_empty());
    let commands = commands.chain(["the events of all"]);
    let said = said.iter().map(|said| without_zxids(said));
    let mut answers: Vec<Answer> = commands.map(str::to_owned).zip(said).collect();
    let work = root().join("target/interop/clients/versions");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(work.join("texts"))?;
    fs::write(work.join("texts/one"), "1\n")?;
    for line in COMMANDS.lines().filter(|line| !line.is_empty()) {
        let said = one(&stage, &work, line)?;
        answers.push((format!("roo {line}"), said));
    }
    Ok(answers)
}

/// Runs one command, and gives what it wrote and how it ended.
fn one(stage: &Stage, work: &Path, line: &str) -> Result<String> {
    let (out, err) = (work.join("out.log"), work.join("err.log"));
    let mut child = Command::new("sh")
        .args(["-c", &format!("\"$ROO\" {line}")])
        .env("ROO", roo_binary())
        .env("ROO_SERVERS", stage.all())
        .current_dir(work)
        .stdin(Stdio::null())
        .stdout(fs::File::create(&out)?)
        .stderr(fs::File::create(&err)?)
        .spawn()
        .with_context(|| format!("start {line:?}"))?;
    let status = match await_child(&mut child, LIMIT)? {
        Some(status) => status,
        None => child.wait()?,
    };
    let read = |path: &Path| -> Result<String> {
        let text = String::from_utf8_lossy(&fs::read(path)?).into_owned();
        let text = shell::normalise(&text.replace(&stage.all(), "HOST"));
        Ok(without_zxids(&text))
    };
    let ended = match status.code() {
        Some(0) => String::new(),
        Some(code) => format!("\nexit code {code}"),
        None => "\ndid not end".to_owned(),
    };
    let parts = [read(&out)?, read(&err)?, ended];
    Ok(parts.join("\n").trim().to_owned())
}

/// Releases count other things as transactions, and collect empty containers when they come to it.
fn without_zxids(said: &str) -> String {
    let lines = said.lines().map(|line| match line.split_once(" = ") {
        Some((key, _)) if key.ends_with("Zxid") => format!("{key} = ZXID"),
        _ => line.to_owned(),
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Compares the differences with those that are expected.
fn compare(setting: Setting, newest: &[Answer], older: &[Answer]) -> Result<Outcome> {
    ensure!(newest.len() == older.len(), "a shell ended early");
    let mut differences = String::new();
    for ((command, new), (_, old)) in newest.iter().zip(older) {
        if new != old {
            differences.push_str(&format!("> {command}\n{}\n", indent(old)));
        }
    }
    let file = root().join(format!(
        "interop/clients/shell/versions/{}.txt",
        setting.name()
    ));
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&file, &differences)?;
    }
    let expected = fs::read_to_string(&file).unwrap_or_default();
    let failed = differing(&expected, &differences);
    for line in &failed {
        println!("FAIL {line}");
    }
    let failed = u32::try_from(failed.len())?;
    Ok(Outcome {
        client: "commands",
        setting,
        passed: u32::try_from(older.len())?.saturating_sub(failed),
        failed: Ok(failed),
    })
}

fn indent(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(|line| format!("    {line}")).collect();
    lines.join("\n")
}

/// The entries that only one of two files has.
fn differing<'a>(expected: &'a str, found: &'a str) -> Vec<String> {
    let entries = |text: &'a str| -> Vec<&'a str> {
        let entries = text.split("> ").map(str::trim_end);
        entries.filter(|entry| !entry.is_empty()).collect()
    };
    let (expected, found) = (entries(expected), entries(found));
    let missing = expected.iter().filter(|entry| !found.contains(entry));
    let new = found.iter().filter(|entry| !expected.contains(entry));
    missing
        .map(|entry| format!("expected, and not so: {entry}"))
        .chain(new.map(|entry| format!("not expected: {entry}")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_difference_that_is_not_expected_is_named() {
        let expected = "> a\n    1\n> b\n    2\n";
        assert!(differing(expected, expected).is_empty());
        let found = differing(expected, "> b\n    3\n> a\n    1\n");
        let named = ["expected, and not so: b\n    2", "not expected: b\n    3"];
        assert_eq!(found, named);
    }
}
