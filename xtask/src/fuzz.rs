//! `cargo xtask fuzz`: builds the targets of `fuzz/` with libFuzzer and runs them, one at a time.
//!
//! The instrumentation is LLVM's, which every stable compiler has; libFuzzer itself is C++ and
//! comes with the crate libfuzzer-sys. cargo-fuzz works on `fuzz/` too, where it is installed.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};

use crate::root;

/// Flags of the compiler that make code tell libFuzzer where it has been and what it compared.
const INSTRUMENTATION: &str = "-Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Ccodegen-units=1 --cfg fuzzing";

/// An input that takes longer is a defect; long enough for a machine that does other things too.
const TIMEOUT_SECONDS: u32 = 60;
/// A target that takes more memory is a defect.
const MEMORY_MB: u32 = 2048;

struct Wish {
    seconds: u64,
    targets: Vec<String>,
}

/// Runs every target, or the one that is named, for so many minutes.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let wish = wish(arguments)?;
    let programs = build()?;
    let mut failed = Vec::new();
    let mut table = String::from(
        "\ntarget              executions    per second  edges  features  inputs  verdict\n",
    );
    for target in &wish.targets {
        let log = root().join(format!("fuzz/target/{target}.log"));
        let sound = run_one(&programs.join(target), target, wish.seconds, &log)?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        table.push_str(&line(target, &text, sound));
        if !sound {
            failed.push(target.as_str());
            eprintln!("{target}: see {}", log.display());
        }
    }
    println!("{table}");
    if !failed.is_empty() {
        bail!(
            "{} failed; the inputs are in fuzz/artifacts. Mend the defect and put the input into \
             fuzz/corpus, where cargo test runs it",
            failed.join(", ")
        );
    }
    Ok(())
}

fn known() -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(root().join("fuzz/fuzz_targets"))? {
        let path = entry?.path();
        names.extend(
            path.file_stem()
                .map(|name| name.to_string_lossy().into_owned()),
        );
    }
    names.sort();
    Ok(names)
}

fn wish(arguments: &[String]) -> Result<Wish> {
    let known = known()?;
    let mut seconds = 600;
    let mut targets = Vec::new();
    let mut arguments = arguments.iter();
    while let Some(argument) = arguments.next() {
        if argument == "--minutes" {
            let minutes = arguments.next().and_then(|text| text.parse::<u64>().ok());
            let minutes = minutes.filter(|n| (1..=100_000).contains(n));
            seconds = minutes.context("--minutes takes a whole number from 1 on")? * 60;
        } else {
            ensure!(
                known.contains(argument),
                "no target {argument}; there are: {}",
                known.join(", ")
            );
            targets.push(argument.clone());
        }
    }
    if targets.is_empty() {
        targets = known;
    }
    Ok(Wish { seconds, targets })
}

/// Builds every target; where the programs are.
fn build() -> Result<PathBuf> {
    let version = Command::new("rustc").arg("-vV").output()?.stdout;
    let version = String::from_utf8_lossy(&version).into_owned();
    let host = version
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .context("rustc -vV names no host")?;
    // Naming the target keeps build scripts and macros free of instrumentation.
    let arguments = [
        "build",
        "--release",
        "--manifest-path",
        "fuzz/Cargo.toml",
        "--target-dir",
        "fuzz/target",
        "--target",
        host,
    ];
    crate::run("cargo", &arguments, &[("RUSTFLAGS", INSTRUMENTATION)])?;
    Ok(root().join("fuzz/target").join(host).join("release"))
}

/// Whether the target found no defect.
fn run_one(program: &Path, target: &str, seconds: u64, log: &Path) -> Result<bool> {
    let found = root().join("fuzz/target/corpus").join(target);
    let seeds = root().join("fuzz/corpus").join(target);
    let artifacts = root().join("fuzz/artifacts").join(target);
    for dir in [&found, &artifacts] {
        fs::create_dir_all(dir)?;
    }
    println!("{target}: {seconds} s");
    // What is found goes to the first folder; the seeds stay as they are.
    let status = Command::new(program)
        .args([&found, &seeds])
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-timeout={TIMEOUT_SECONDS}"))
        .arg(format!("-rss_limit_mb={MEMORY_MB}"))
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .stderr(File::create(log)?)
        .status()
        .with_context(|| format!("start {}", program.display()))?;
    Ok(status.success())
}

/// A line of the table, from what libFuzzer printed last.
fn line(target: &str, log: &str, sound: bool) -> String {
    let stat = |name: &str| {
        let line = log.lines().rfind(|line| line.contains(name));
        let value = line.and_then(|line| line.rsplit(' ').next());
        value.unwrap_or("?").to_owned()
    };
    let last = log.lines().rfind(|line| line.contains(" cov: "));
    let field = |name: &str| {
        let mut words = last.unwrap_or_default().split(' ');
        words
            .find(|word| *word == name)
            .and_then(|_| words.next())
            .unwrap_or("?")
            .to_owned()
    };
    let corpus = field("corp:");
    format!(
        "{target:<18} {:>11} {:>13} {:>6} {:>9} {:>7}  {}\n",
        stat("stat::number_of_executed_units"),
        stat("stat::average_exec_per_sec"),
        field("cov:"),
        field("ft:"),
        corpus.split('/').next().unwrap_or("?"),
        if sound { "no defect" } else { "DEFECT" }
    )
}
