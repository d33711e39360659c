//! The suites of go-zookeeper/zk (its Go module) and of kazoo (its Python package).

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::{Bench, Verdict, Verdicts, succeed, write_script};

const LIMIT: Duration = Duration::from_secs(1200);

/// Tests of the Go client that want a server.
const GO_TESTS: &str = "Integration";
/// Those of them that want an ensemble.
const GO_ENSEMBLES: &str = "BasicCluster|ClientClusterFailover|NoQuorum|RecurringReAuthHang|\
                            DNSHostProviderReconnect|IncrementalReconfig|_Reconfig";

/// The tests start `zkServer.sh start-foreground ZOO.CFG`.
pub(super) fn go(bench: &Bench) -> Result<Verdicts> {
    write_script(
        &bench.bin().join("zkServer.sh"),
        &format!(
            "config=$2\nset -- $SERVER_JVMFLAGS\nexec '{}' \"$config\" \"$@\"\n",
            bench.serve.display()
        ),
    )?;
    let module = module(bench)?;
    let mut command = Command::new("go");
    command
        .args(["test", "-count=1", "-v", "-timeout=15m", "-run", GO_TESTS])
        .args(["-skip", GO_ENSEMBLES, "."])
        .env("ZOOKEEPER_BIN_PATH", bench.bin())
        .current_dir(&module);
    let said = bench.converse(&mut command, "go", LIMIT)?;
    Ok(said.lines().filter_map(go_verdict).collect())
}

/// A copy of the module. One thing in it is changed: its parser of `srvr`, by which the tests wait
/// for their server, knows the dates of servers before 3.6 only.
fn module(bench: &Bench) -> Result<PathBuf> {
    let output = Command::new("go")
        .args([
            "mod",
            "download",
            "-json",
            "github.com/go-zookeeper/zk@v1.0.4",
        ])
        .current_dir(&bench.work)
        .output()?;
    let described: serde_json::Value =
        serde_json::from_slice(&output.stdout).context("go mod download")?;
    let original = described["Dir"]
        .as_str()
        .context("go mod download gives no Dir")?;
    let copy = bench.work.join("module");
    fs::create_dir_all(&copy)?;
    for entry in fs::read_dir(original)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let mut text = fs::read_to_string(entry.path())?;
            if entry.file_name() == "flw.go" {
                text = with_dates_of_today(&text)?;
            }
            fs::write(copy.join(entry.file_name()), text)?;
        }
    }
    Ok(copy)
}

fn with_dates_of_today(flw: &str) -> Result<String> {
    let pattern = flw.replace(r"\d\d/\d\d/\d\d\d\d", r"\d\d\d\d-\d\d-\d\d");
    let both = pattern.replace("01/02/2006", "2006-01-02");
    ensure!(
        pattern != flw && both != pattern,
        "flw.go is not as expected"
    );
    Ok(both)
}

/// Reads `--- PASS: TestName (0.00s)`; the parts of a test are not counted beside it.
fn go_verdict(line: &str) -> Option<(String, Verdict)> {
    let (verdict, rest) = line.strip_prefix("--- ")?.split_once(": ")?;
    let verdict = match verdict {
        "PASS" => Verdict::Passed,
        "FAIL" => Verdict::Failed,
        "SKIP" => Verdict::Skipped,
        _ => return None,
    };
    Some((rest.split_whitespace().next()?.to_owned(), verdict))
}

/// The tests start `java ... ZOO.CFG`. Those of SASL and TLS are left out: they wait for minutes
/// each on a server that has neither.
pub(super) fn kazoo(bench: &Bench) -> Result<Verdicts> {
    write_script(
        &bench.bin().join("java"),
        &format!(
            "flags=\nfor word; do\n  case \"$word\" in -Dzookeeper.*) flags=\"$flags $word\";; \
             esac\n  config=$word\ndone\nexec '{}' \"$config\" $flags\n",
            bench.serve.display()
        ),
    )?;
    let venv = bench.work.join("venv");
    if !venv.join("bin/pip").exists() {
        succeed(Command::new("python3").args(["-m", "venv"]).arg(&venv))?;
    }
    succeed(
        Command::new(venv.join("bin/python3"))
            .args([
                "-m",
                "pip",
                "install",
                "--quiet",
                "kazoo==2.11.0",
                "pytest==8.4.2",
            ])
            .args([
                "pytest-timeout==2.4.0",
                "pyjks==20.0.0",
                "pyopenssl==23.3.0",
            ])
            .args(["gevent", "eventlet", "objgraph"]),
    )?;
    // Each server has a port of its own; the next ones are those of TLS and of an ensemble.
    let port = std::net::TcpListener::bind("127.0.0.1:0")?
        .local_addr()?
        .port();
    let mut command = Command::new(venv.join("bin/python3"));
    command
        .args(["-m", "pytest", "-v", "--tb=short", "-p", "no:cacheprovider"])
        .args(["--timeout=180", "--pyargs", "kazoo.tests"])
        .args(["-k", "not SASL and not SSL"])
        .env("PATH", bench.path()?)
        .env("ZOOKEEPER_VERSION", "3.9.5")
        .env("ZOOKEEPER_CLASSPATH", "unused")
        .env("ZOOKEEPER_CLUSTER_SIZE", "1")
        .env("ZOOKEEPER_PORT_OFFSET", port.to_string())
        .current_dir(&bench.work);
    let said = bench.converse(&mut command, "kazoo", LIMIT)?;
    Ok(said.lines().filter_map(pytest_verdict).collect())
}

/// Reads `path/test_file.py::Class::test PASSED [ 1%]`.
fn pytest_verdict(line: &str) -> Option<(String, Verdict)> {
    let (test, rest) = line.split_once(' ')?;
    let (_, test) = test.rsplit_once("/test_")?;
    let (_, test) = test.split_once("::")?;
    let verdict = match rest.split_whitespace().next()? {
        "PASSED" => Verdict::Passed,
        "FAILED" | "ERROR" => Verdict::Failed,
        "SKIPPED" => Verdict::Skipped,
        _ => return None,
    };
    Some((test.to_owned(), verdict))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_runners_are_verdicts() {
        let passed = |name: &str| Some((name.to_owned(), Verdict::Passed));
        assert_eq!(go_verdict("--- PASS: TestA (0.10s)"), passed("TestA"));
        assert_eq!(go_verdict("    --- PASS: TestA/part (0.10s)"), None);
        assert_eq!(go_verdict("=== RUN   TestA"), None);
        assert_eq!(
            pytest_verdict("lib/kazoo/tests/test_a.py::B::test_c PASSED [  1%]"),
            passed("B::test_c")
        );
        assert_eq!(
            pytest_verdict("lib/kazoo/tests/test_a.py::B::test_c SKIPPED (why) [  1%]"),
            Some(("B::test_c".to_owned(), Verdict::Skipped))
        );
        assert_eq!(pytest_verdict("collected 5 items"), None);
    }
}
