//! `interop suites`: the test suites that clients' packages carry, unmodified, against both
//! servers. They start their servers themselves; what they start is replaced from outside: by a
//! `java` or `zkServer.sh` in front of the path, or by `interop/suites/ExternalServer.java`.
//!
//! A test that holds with the genuine server and not with ours is a failure, unless
//! `interop/suites/known.txt` says why it cannot hold. A test that does not hold with the genuine
//! server as another process says nothing about ours.

mod java;
mod packages;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};

use crate::apache;
use crate::servers::{Kind, pause, roo_binary, root};

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

/// Arguments of `interop suites`.
#[derive(Args, Debug)]
pub struct SuitesArgs {
    /// Which servers to run against.
    #[arg(long, value_enum, default_value_t = Against::Both)]
    server: Against,
    /// Only this suite: go, kazoo, zookeeper, curator.
    #[arg(long)]
    only: Option<String>,
    /// Of the Java suites, only classes whose name contains this.
    #[arg(long)]
    class: Option<String>,
}

/// What became of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Passed,
    Failed,
    Skipped,
}

/// By the name of the test.
type Verdicts = BTreeMap<String, Verdict>;

/// Where a suite runs, and against what.
struct Bench {
    kind: Kind,
    /// A directory of the suite's own.
    work: PathBuf,
    /// A program that serves: `serve ZOO.CFG -DKEY=VALUE...`.
    serve: PathBuf,
    /// Part of the names of classes.
    class: Option<String>,
}

/// A suite by name; runs it and gives what became of each test.
type Suite = (&'static str, fn(&Bench) -> Result<Verdicts>);

const SUITES: &[Suite] = &[
    ("go", packages::go),
    ("kazoo", packages::kazoo),
    ("zookeeper", java::zookeeper),
    ("curator", java::curator),
];

/// Tests that hold with the genuine server only: suite, test, and why.
const KNOWN: &str = include_str!("../suites/known.txt");

/// Runs the suites and prints what became of them.
///
/// # Errors
/// When a suite cannot be fetched or started.
pub fn run(args: &SuitesArgs) -> Result<ExitCode> {
    let kinds: &[Kind] = match args.server {
        Against::Both => &[Kind::Apache, Kind::Roo],
        Against::Apache => &[Kind::Apache],
        Against::Roo => &[Kind::Roo],
    };
    let mut failures = 0;
    let mut table = String::from("\nsuite      server    passed  failed  skipped\n");
    for (name, suite) in SUITES
        .iter()
        .filter(|(name, _)| args.only.as_deref().is_none_or(|only| only == *name))
    {
        let mut both = Vec::new();
        for kind in kinds {
            let bench = Bench::new(name, *kind, args.class.clone())?;
            let verdicts = suite(&bench).with_context(|| format!("{name} against {kind:?}"))?;
            ensure!(!verdicts.is_empty(), "{name} against {kind:?} ran no test");
            let count = |verdict| verdicts.values().filter(|v| **v == verdict).count();
            table.push_str(&format!(
                "{name:<10} {:<8} {:>7} {:>7} {:>8}\n",
                format!("{kind:?}").to_lowercase(),
                count(Verdict::Passed),
                count(Verdict::Failed),
                count(Verdict::Skipped)
            ));
            both.push(verdicts);
        }
        if let [apache, roo] = both.as_slice() {
            failures += compare(name, apache, roo);
        }
    }
    println!("{table}");
    println!("{} passed, {failures} failed", usize::from(failures == 0));
    Ok(ExitCode::from(u8::from(failures > 0)))
}

/// Prints every difference; how many of them are not known.
fn compare(suite: &str, apache: &Verdicts, roo: &Verdicts) -> usize {
    let known: BTreeSet<&str> = KNOWN
        .lines()
        .filter_map(|line| known_test(suite, line))
        .collect();
    let mut failures = 0;
    for (test, theirs) in apache {
        let ours = roo.get(test).copied();
        let is_known = known.contains(test.as_str());
        match (theirs, ours) {
            (Verdict::Passed, Some(Verdict::Passed)) if is_known => {
                println!("{suite} {test}: holds, although it is known not to");
            }
            (Verdict::Passed, Some(Verdict::Passed)) | (Verdict::Skipped, _) => {}
            (Verdict::Passed, _) if is_known => println!("{suite} {test}: known"),
            (Verdict::Passed, _) => {
                failures += 1;
                println!("{suite} {test}: FAILED, and holds with the genuine server");
            }
            (Verdict::Failed, _) => {
                println!("{suite} {test}: does not hold with the genuine server; ours: {ours:?}");
            }
        }
    }
    failures
}

/// The test that a line of the list names, if it is of this suite.
fn known_test<'a>(suite: &str, line: &'a str) -> Option<&'a str> {
    let (test, _why) = line
        .strip_prefix(suite)?
        .strip_prefix(' ')?
        .split_once(": ")?;
    Some(test)
}

impl Bench {
    fn new(suite: &str, kind: Kind, class: Option<String>) -> Result<Self> {
        let work = root().join("target/interop/suites").join(suite);
        let bin = work.join(format!("{kind:?}").to_lowercase());
        fs::create_dir_all(&bin)?;
        let serve = bin.join("serve");
        let script = match kind {
            Kind::Roo => format!("exec '{}' server \"$@\"\n", roo_binary().display()),
            Kind::Apache | Kind::Older(_) => format!(
                "config=$1\nshift\n\
                 exec '{}' -cp '{}' -Xmx512m -Dzookeeper.forceSync=no \
                 -Dzookeeper.admin.enableServer=false \"$@\" \
                 org.apache.zookeeper.server.quorum.QuorumPeerMain \"$config\"\n",
                on_path("java")?.display(),
                apache::class_path()?.display(),
            ),
        };
        write_script(&serve, &script)?;
        Ok(Self {
            kind,
            work,
            serve,
            class,
        })
    }

    /// The directory of `serve`, for programs in front of the path.
    fn bin(&self) -> &Path {
        self.serve.parent().unwrap_or(&self.work)
    }

    /// `PATH` with our programs first.
    fn path(&self) -> Result<OsString> {
        let old = std::env::var_os("PATH").unwrap_or_default();
        let dirs = std::iter::once(self.bin().to_path_buf()).chain(std::env::split_paths(&old));
        Ok(std::env::join_paths(dirs)?)
    }

    /// Runs a program to its end, or for as long as it may; what it said.
    fn converse(&self, command: &mut Command, name: &str, limit: Duration) -> Result<String> {
        let transcript = self.bin().join(format!("{name}.txt"));
        let output = File::create(&transcript)?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {command:?}"))?;
        let began = Instant::now();
        while child.try_wait()?.is_none() {
            if began.elapsed() > limit {
                println!("{name} does not end: stopped after {limit:?}");
                child.kill()?;
                child.wait()?;
            }
            pause(Duration::from_millis(50));
        }
        Ok(String::from_utf8_lossy(&fs::read(&transcript)?).into_owned())
    }
}

fn write_script(path: &Path, body: &str) -> Result<()> {
    fs::write(path, format!("#!/bin/sh\n{body}"))?;
    fs::set_permissions(path, Permissions::from_mode(0o755))?;
    Ok(())
}

/// Where a program is, as our own directory comes first on the path of a suite.
fn on_path(program: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .map(|dir| dir.join(program))
        .find(|file| file.is_file())
        .with_context(|| format!("{program} is not installed"))
}

fn succeed(command: &mut Command) -> Result<()> {
    let status = command
        .status()
        .with_context(|| format!("start {command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_test_is_of_its_suite_and_has_a_reason() {
        assert_eq!(known_test("go", "go TestX: because"), Some("TestX"));
        assert_eq!(known_test("go", "kazoo TestX: because"), None);
        assert_eq!(known_test("go", "go TestX"), None);
        for line in KNOWN.lines().filter(|line| !line.starts_with('#')) {
            assert!(
                SUITES
                    .iter()
                    .any(|(suite, _)| known_test(suite, line).is_some()),
                "{line}"
            );
        }
    }

    #[test]
    fn only_what_holds_with_the_genuine_server_can_fail() {
        let verdicts = |pairs: &[(&str, Verdict)]| -> Verdicts {
            pairs
                .iter()
                .map(|(name, v)| ((*name).to_owned(), *v))
                .collect()
        };
        let apache = verdicts(&[
            ("a", Verdict::Passed),
            ("b", Verdict::Passed),
            ("c", Verdict::Failed),
            ("d", Verdict::Skipped),
            ("e", Verdict::Passed),
        ]);
        let roo = verdicts(&[
            ("a", Verdict::Passed),
            ("b", Verdict::Failed),
            ("c", Verdict::Failed),
        ]);
        assert_eq!(compare("no such suite", &apache, &roo), 2);
    }
}
