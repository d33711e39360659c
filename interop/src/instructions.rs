//! `interop instructions`: how many instructions the server spends on a request of each kind, as
//! callgrind counts them. Unlike times they are the same on a busy machine, so that a change that
//! costs something shows where it is made; `interop/instructions.tsv` holds what they were.
//!
//! A server runs under callgrind with one I/O thread; `roo bench` sends few requests of a kind and
//! then many, ten at a time on one connection. The difference of the two counts, by the difference
//! of the two numbers, is free of what starting, laying out and clearing up cost. What the kernel
//! does is not in it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use anyhow::{Context, Result, bail, ensure};

use crate::servers::{Kind, Server, roo_binary, root};

/// The kinds: their names in the file, and how `roo bench` knows them.
const KINDS: &[(&str, &str)] = &[
    ("get", "read"),
    ("exists", "exists"),
    ("children", "list"),
    ("set", "write"),
    ("create and delete", "churn"),
    ("ephemeral", "create-ephemeral"),
    ("sequential", "create-seq"),
    ("multi", "multi5"),
];

/// Requests of the two measurements of a kind.
const FEW: u64 = 500;
const MANY: u64 = 3_500;

/// A change beyond this fails, in percent of what the file says.
const TOLERANCE: f64 = 5.0;

/// Arguments of `interop instructions`.
#[derive(Clone, Debug, clap::Args)]
pub struct InstructionsArgs {
    /// Write what is measured to interop/instructions.tsv instead of comparing with it
    #[arg(long)]
    update: bool,
}

/// Counts, and compares with the file or writes it.
///
/// # Errors
/// When valgrind is missing, or the server does not run under it.
pub fn run(arguments: &InstructionsArgs) -> Result<ExitCode> {
    ensure!(
        Command::new("valgrind").arg("--version").output().is_ok(),
        "valgrind is needed to count instructions: install it (Debian: valgrind)"
    );
    let compiler = compiler()?;
    let counts = count_all()?;
    let file = root().join("interop/instructions.tsv");
    if arguments.update {
        fs::write(&file, text_of(&compiler, &counts))?;
        println!("written: {}", file.display());
        return Ok(ExitCode::SUCCESS);
    }
    let text = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    let (compiled_by, before) = parse(&text)?;
    let worse = compare(&before, &counts);
    if compiled_by != compiler {
        println!(
            "NOT COMPARED: the file was made with {compiled_by}, this is {compiler}; \
             `cargo xtask interop instructions --update` on the commit before the change, then compare"
        );
        return Ok(ExitCode::SUCCESS);
    }
    println!("{} passed, {worse} failed", counts.len() - worse);
    Ok(if worse == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

type Counts = BTreeMap<String, u64>;

/// Prints both, and says how many kinds became dearer than is tolerated.
fn compare(before: &Counts, now: &Counts) -> usize {
    println!("request            instructions   before   change");
    let mut worse = 0;
    for (name, count) in now {
        let Some(base) = before.get(name) else {
            println!("{name:<18} {count:>12}        -");
            continue;
        };
        let change = percent(*base, *count);
        let mark = if change > TOLERANCE {
            worse += 1;
            "  MORE"
        } else if change < -TOLERANCE {
            "  less: write it down with `cargo xtask interop instructions --update`"
        } else {
            ""
        };
        println!("{name:<18} {count:>12} {base:>8} {change:>+7.1} %{mark}");
    }
    worse
}

#[allow(clippy::cast_precision_loss)] // Counts are far below 2^52.
fn percent(base: u64, now: u64) -> f64 {
    (now as f64 / base.max(1) as f64 - 1.0) * 100.0
}

fn compiler() -> Result<String> {
    let output = Command::new("rustc").arg("--version").output()?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let version = text.split_whitespace().nth(1).unwrap_or_default();
    Ok(format!("rustc {version} {}", std::env::consts::ARCH))
}

fn text_of(compiler: &str, counts: &Counts) -> String {
    let mut text = format!(
        "# Instructions of the server per request, without the kernel's, counted by callgrind.\n\
         # 100 bytes of data, 10 requests at a time. `cargo xtask interop instructions --update`\n\
         # {compiler}\n"
    );
    for (name, count) in counts {
        let _ = writeln!(text, "{name}\t{count}");
    }
    text
}

/// The compiler, and the counts.
fn parse(text: &str) -> Result<(String, Counts)> {
    let mut compiler = String::new();
    let mut counts = Counts::new();
    for (number, line) in text.lines().enumerate() {
        if let Some(comment) = line.strip_prefix("# ") {
            comment.clone_into(&mut compiler);
            continue;
        }
        let read = |line: &str| -> Option<(String, u64)> {
            let (name, count) = line.split_once('\t')?;
            Some((name.to_owned(), count.parse().ok()?))
        };
        let Some((name, count)) = read(line) else {
            bail!(
                "interop/instructions.tsv, line {}: a name, a tab and a number are expected",
                number + 1
            );
        };
        counts.insert(name, count);
    }
    Ok((compiler, counts))
}

fn count_all() -> Result<Counts> {
    let work = root().join("target/interop/instructions");
    if work.exists() {
        fs::remove_dir_all(&work)?;
    }
    fs::create_dir_all(&work)?;
    let mut server = Server::launch_under(
        &callgrind(&work),
        Kind::Roo,
        &work.join("data"),
        &["ioThreads=1"],
    )?;
    server.await_service()?;
    let mut dumps = 0;
    let mut counts = Counts::new();
    for (name, workload) in KINDS {
        let mut totals = [0; 2];
        for (total, requests) in totals.iter_mut().zip([FEW, MANY]) {
            control(&server, "--zero")?;
            load(&server, workload, requests)?;
            control(&server, "--dump")?;
            dumps += 1;
            *total = total_of(&work, dumps)?;
        }
        let [few, many] = totals;
        counts.insert((*name).to_owned(), many.saturating_sub(few) / (MANY - FEW));
    }
    Ok(counts)
}

fn callgrind(work: &Path) -> Vec<String> {
    vec![
        "valgrind".to_owned(),
        "--tool=callgrind".to_owned(),
        format!("--callgrind-out-file={}", work.join("counts").display()),
    ]
}

fn load(server: &Server, workload: &str, requests: u64) -> Result<()> {
    let output = Command::new(roo_binary())
        .args(["bench", workload, "-s", &server.address.to_string()])
        .args([
            "-c",
            "1",
            "-d",
            "10",
            "--keys",
            "100",
            "--value-size",
            "100",
        ])
        .args(["-n", &requests.to_string()])
        .output()
        .context("run roo bench")?;
    ensure!(
        output.status.success(),
        "roo bench {workload}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

fn control(server: &Server, order: &str) -> Result<()> {
    let output = Command::new("callgrind_control")
        .args([order, &server.pid().to_string()])
        .stdin(Stdio::null())
        .output()
        .context("run callgrind_control")?;
    ensure!(
        output.status.success(),
        "callgrind_control {order}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(())
}

/// What the dump of this number counted.
fn total_of(work: &Path, dump: u32) -> Result<u64> {
    let path: PathBuf = work.join(format!("counts.{dump}"));
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let total = text.lines().find_map(|line| line.strip_prefix("summary: "));
    total
        .and_then(|total| total.trim().parse().ok())
        .with_context(|| format!("{}: no line 'summary: NUMBER'", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let counts = Counts::from([("get".to_owned(), 1_200), ("set".to_owned(), 11_000)]);
        let (compiler, read) = parse(&text_of("rustc 1.95.0 x86_64", &counts)).unwrap();
        assert_eq!((compiler.as_str(), read), ("rustc 1.95.0 x86_64", counts));
        assert!(parse("get 12").is_err());
    }

    #[test]
    fn only_what_became_dearer_by_more_than_a_twentieth_fails() {
        let before = Counts::from([("get".to_owned(), 1_000), ("set".to_owned(), 10_000)]);
        let now = |get, set| Counts::from([("get".to_owned(), get), ("set".to_owned(), set)]);
        assert_eq!(compare(&before, &now(1_049, 9_000)), 0);
        assert_eq!(compare(&before, &now(1_051, 10_000)), 1);
    }
}
