//! The suites of Apache ZooKeeper's own client and of Curator, from the jars of their tests.
//!
//! Those tests start a server in their own process. `ExternalServer`, named by a property, starts
//! another process in its place; a class whose tests set that property themselves says nothing.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Bench, Kind, Verdict, Verdicts, succeed};
use crate::apache;
use crate::servers::root;

/// For the tests of one class. Machines that run this may be busy with something else.
const LIMIT: Duration = Duration::from_secs(3600);

const ZOOKEEPER: &[&str] = &[
    "GetAllChildrenNumberTest",
    "GetEphemeralsTest",
    "RemoveWatchesTest",
    "ZooKeeperTest",
    "server.CreateContainerTest",
    "server.CreateTTLTest",
    "test.ACLCountTest",
    "test.ACLRootTest",
    "test.AsyncOpsTest",
    "test.AuthTest",
    "test.ChrootAsyncTest",
    "test.ChrootClientTest",
    "test.ChrootTest",
    "test.ClientRetryTest",
    "test.ClientSkipACLTest",
    "test.ClientTest",
    "test.CreateTest",
    "test.DigestAuthDisabledTest",
    "test.DisconnectedWatcherTest",
    "test.EnforceQuotaTest",
    "test.FourLetterWordsTest",
    "test.GetChildren2Test",
    "test.KeyAuthClientTest",
    "test.MaxCnxnsTest",
    "test.MultiAsyncTransactionTest",
    "test.MultiOperationTest",
    "test.NullDataTest",
    "test.PersistentRecursiveWatcherTest",
    "test.PersistentWatcherACLTest",
    "test.PersistentWatcherTest",
    "test.SessionInvalidationTest",
    "test.SessionTest",
    "test.SessionTimeoutTest",
    "test.StandaloneTest",
    "test.StatTest",
    "test.SyncCallTest",
    "test.UnsupportedAddWatcherTest",
    "test.WatcherFuncTest",
    "test.WatcherTest",
    "test.ZooKeeperQuotaTest",
];

/// Those of one server that end within minutes.
const CURATOR: &[&str] = &[
    "framework.imps.TestBlockUntilConnected",
    "framework.imps.TestCleanState",
    "framework.imps.TestCompression",
    "framework.imps.TestCreate",
    "framework.imps.TestDelete",
    "framework.imps.TestExistsBuilder",
    "framework.imps.TestSetData",
    "framework.imps.TestTransactionsNew",
    "framework.imps.TestTtlNodes",
    "framework.imps.TestWatchesBuilder",
    "framework.recipes.atomic.TestDistributedAtomicLong",
    "framework.recipes.barriers.TestDistributedBarrier",
    "framework.recipes.cache.TestCuratorCache",
    "framework.recipes.leader.TestLeaderSelector",
    "framework.recipes.locks.TestInterProcessMutex",
    "framework.recipes.nodes.TestPersistentTtlNode",
    "framework.recipes.queue.TestSimpleDistributedQueue",
    "framework.recipes.shared.TestSharedCount",
    "framework.recipes.watch.TestPersistentWatcher",
];

/// Apache's own tests of client and server.
pub(super) fn zookeeper(bench: &Bench) -> Result<Verdicts> {
    let pom = fs::read_to_string(sources().join("pom-zookeeper.xml"))?;
    let both = ["ExternalServer.java", "JMXEnv.java"];
    run(bench, &pom, &both, "org.apache.zookeeper", ZOOKEEPER)
}

/// Curator's tests of its framework and recipes.
pub(super) fn curator(bench: &Bench) -> Result<Verdicts> {
    let pom = fs::read_to_string(sources().join("pom-curator.xml"))?;
    run(
        bench,
        &pom,
        &["ExternalServer.java"],
        "org.apache.curator",
        CURATOR,
    )
}

fn sources() -> PathBuf {
    root().join("interop/suites")
}

fn run(
    bench: &Bench,
    pom: &str,
    replaced: &[&str],
    package: &str,
    names: &[&str],
) -> Result<Verdicts> {
    let lib = apache::libraries(&bench.work.join("maven"), pom)?;
    let compiled = bench.work.join("classes");
    succeed(
        Command::new("javac")
            .arg("-cp")
            .arg(lib.join("*"))
            .arg("-d")
            .arg(&compiled)
            .args(replaced.iter().map(|file| sources().join(file))),
    )?;
    fs::copy(
        root().join("interop/clients/curator/logback.xml"),
        compiled.join("logback-test.xml"),
    )?;
    let mut class_path = OsString::from(&compiled);
    class_path.push(":");
    class_path.push(lib.join("*"));
    let mut verdicts = Verdicts::new();
    let chosen = |name: &&&str| {
        bench
            .class
            .as_ref()
            .is_none_or(|part| name.contains(&**part))
    };
    for name in names.iter().filter(chosen) {
        let said = run_class(bench, &class_path, &format!("{package}.{name}"))?;
        verdicts.extend(said.lines().filter_map(verdict));
    }
    Ok(verdicts)
}

/// In a process of its own, as the build of either does.
fn run_class(bench: &Bench, class_path: &OsString, class: &str) -> Result<String> {
    let data = bench.bin().join("data");
    // Left by the class before, or not there.
    let _ = fs::remove_dir_all(&data);
    fs::create_dir_all(&data)?;
    let servers = bench.bin().join(format!("{class}.servers.txt"));
    fs::write(&servers, "")?;
    let property = |key: &str, value: &Path| format!("-D{key}={}", value.display());
    // Ports are dealt out by the number of the process among those that run at once.
    let number = match bench.kind {
        Kind::Apache | Kind::Older(_) => 5,
        Kind::Roo => 2,
    };
    let mut command = Command::new("java");
    command
        .arg("-Xmx512m")
        .arg("-cp")
        .arg(class_path)
        .arg("-Dzookeeper.serverCnxnFactory=ExternalServer")
        .arg("-Dzookeeper.admin.enableServer=false")
        .arg("-Dzookeeper.4lw.commands.whitelist=*")
        .arg("-Dtest.junit.threads=8")
        .arg(format!("-Dzookeeper.junit.threadid={number}"))
        .arg(property("interop.serve", &bench.serve))
        .arg(property("interop.log", &servers))
        .arg(property("build.test.dir", &data))
        .arg(property("java.io.tmpdir", &data))
        .args(["org.junit.platform.console.ConsoleLauncher", "execute"])
        .args([
            "--disable-banner",
            "--disable-ansi-colors",
            "--details=testfeed",
        ])
        .args(["--select-class", class]);
    let said = bench.converse(&mut command, class, LIMIT)?;
    ensure!(said.contains(" :: "), "{class} ran no test:\n{said}");
    let started = fs::metadata(&servers).context("the servers' output")?.len();
    ensure!(
        bench.kind == Kind::Apache || started > 0,
        "{class} did not use the server that is tested"
    );
    Ok(said)
}

/// Reads `JUnit Jupiter > Class > test() :: SUCCESSFUL`.
fn verdict(line: &str) -> Option<(String, Verdict)> {
    let (test, outcome) = line.strip_prefix("JUnit ")?.split_once(" :: ")?;
    let (_, test) = test.split_once(" > ")?;
    let verdict = match outcome {
        "SUCCESSFUL" => Verdict::Passed,
        "FAILED" => Verdict::Failed,
        _ if outcome.starts_with("SKIPPED") || outcome.starts_with("ABORTED") => Verdict::Skipped,
        _ => return None,
    };
    Some((test.to_owned(), verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_console_is_a_verdict() {
        assert_eq!(
            verdict("JUnit Jupiter > ATest > testB() :: FAILED"),
            Some(("ATest > testB()".to_owned(), Verdict::Failed))
        );
        assert_eq!(verdict("JUnit Jupiter > ATest > testB() :: STARTED"), None);
        assert_eq!(verdict("\tat org.example :: FAILED"), None);
    }
}
