//! `cargo xtask ci`: one command that proves the tree, for developers and for CI alike.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, IsTerminal, PipeReader};
use std::path::Path;
use std::process::Command;
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};

use crate::{interop, tidy};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("format", || {
        crate::run("cargo", &["fmt", "--all", "--check"], &[])
    }),
    ("tidy", tidy::run),
    ("lints", || {
        crate::run(
            "cargo",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ],
            &[],
        )
    }),
    ("docs", || {
        let strict = [("RUSTDOCFLAGS", "--deny warnings")];
        crate::run("cargo", &["doc", "--workspace", "--no-deps"], &strict)
    }),
    ("tests", || {
        crate::run("cargo", &["test", "--workspace", "--no-fail-fast"], &[])
    }),
    // Rounds so short that each configuration has one.
    ("simulation", || {
        // The same seeds each time, then fresh ones, which are printed.
        sim(&["--seed", "1", "--seeds", "300"])?;
        sim(&["--seeds", "300", "--minutes", "1"])?;
        sim(&["--recipes", "--seed", "1", "--seeds", "60"])?;
        sim(&["--exhaustive", "--disruptions", "1"])
    }),
    ("differential", || {
        peers(&["diff", "--ops", "11000", "--round", "1000", "--seed", "1"])
    }),
    ("fresh seed", || {
        peers(&["diff", "--ops", "4000", "--round", "350"])
    }),
    ("ensembles", || {
        let servers = ["--ensemble", "3", "--ours", "3"];
        let arguments = ["diff", "--ops", "2000", "--round", "250", "--seed", "1"];
        peers(&[&arguments[..], &servers[..]].concat())
    }),
    ("directories", || peers(&["exchange"])),
    ("clients", || peers(&["clients"])),
    ("versions", || peers(&["versions"])),
    ("recipes", || peers(&["recipes"])),
    ("reconfig", || peers(&["reconfig"])),
    ("quorums", || peers(&["quorums"])),
    ("reads", || peers(&["reads", "--rounds", "50"])),
    ("words", || peers(&["ops"])),
    ("book", || crate::book::run(&[])),
    ("wrong ensembles", || peers(&["ensemble-errors"])),
    ("chaos", || peers(&["chaos", "--minutes", "2"])),
    ("abuse", || peers(&["abuse"])),
    ("instructions", || peers(&["instructions"])),
];

fn sim(arguments: &[&str]) -> Result<()> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    crate::sim(&arguments)
}

fn peers(arguments: &[&str]) -> Result<()> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    interop(&arguments)
}

/// How much of a failed step's output is repeated at the end.
const LAST_LINES: usize = 40;

/// Runs the named steps, or all of them: each even behind one that failed. Says what each took,
/// and once more how the failed ones ended: a log of thousands of lines is read from its end.
pub(crate) fn run(names: &[String]) -> Result<()> {
    let known = |name: &&String| !STEPS.iter().any(|(step, _)| step == name);
    if let Some(unknown) = names.iter().find(known) {
        let all: Vec<_> = STEPS.iter().map(|(name, _)| *name).collect();
        bail!(
            "there is no step {unknown:?}; the steps are: {}",
            all.join(", ")
        );
    }
    let chosen = |name: &str| names.is_empty() || names.iter().any(|chosen| chosen == name);
    // Its file may be replaced by what the steps build.
    let xtask = std::env::current_exe()?;
    let mut passed = 0;
    let mut failed = Vec::new();
    let mut ends = String::new();
    let mut table = String::from("\nstep            seconds\n");
    for (name, _) in STEPS.iter().filter(|(name, _)| chosen(name)) {
        let began = Instant::now();
        let end = apart(&xtask, name)?;
        let mark = if end.is_none() { "ok" } else { "FAILED" };
        table.push_str(&format!(
            "{name:<14} {:>8.1}  {mark}\n",
            began.elapsed().as_secs_f64()
        ));
        match end {
            None => passed += 1,
            Some(lines) => {
                failed.push(*name);
                ends.push_str(&format!("\n{name} failed; its last lines:\n{lines}"));
            }
        }
    }
    println!("{ends}{table}");
    println!("{passed} passed, {} failed", failed.len());
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}

/// Runs one step in this process.
pub(crate) fn step(name: &str) -> Result<()> {
    let step = STEPS.iter().find(|(step, _)| *step == name);
    let (_, step) = step.with_context(|| format!("there is no step {name:?}"))?;
    step()
}

/// Runs a step in a process of its own, whose output goes through here; its last lines if it
/// failed.
fn apart(xtask: &Path, name: &str) -> Result<Option<String>> {
    let (output, input) = std::io::pipe()?;
    let color = if std::io::stdout().is_terminal() {
        "always"
    } else {
        "never"
    };
    let mut command = Command::new(xtask);
    command
        .args(["ci-step", name])
        .env("CARGO_TERM_COLOR", color)
        .stdout(input.try_clone()?)
        .stderr(input);
    let mut child = command.spawn().context("start a step")?;
    // With it go the ends of the pipe which belong to the child.
    drop(command);
    let last = Arc::new(Mutex::new(VecDeque::new()));
    let (ended, end) = channel();
    let kept = Arc::clone(&last);
    thread::spawn(move || {
        pass_on(output, &kept);
        ended.send(())
    });
    let status = child.wait()?;
    // What a process that was left behind may still say is not waited for.
    let _ = end.recv_timeout(Duration::from_secs(5));
    let last = last.lock().map_err(|_| anyhow!("the output is lost"))?;
    Ok((!status.success()).then(|| last.iter().cloned().collect()))
}

/// Prints what comes, and keeps the last lines.
fn pass_on(output: PipeReader, last: &Mutex<VecDeque<String>>) {
    for line in BufReader::new(output).split(b'\n') {
        let Ok(line) = line else { return };
        let line = String::from_utf8_lossy(&line).into_owned() + "\n";
        print!("{line}");
        let Ok(mut last) = last.lock() else { return };
        if last.len() == LAST_LINES {
            last.pop_front();
        }
        last.push_back(line);
    }
}
