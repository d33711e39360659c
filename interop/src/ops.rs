//! Four-letter words of the servers of an ensemble, compared with those that genuine servers
//! answered in the same state (`interop/ops/`, made with Apache ZooKeeper 3.9.5): a leader, a
//! follower, an observer, one that looks for a leader, one that is read-only.
//!
//! The comparison itself is `interop/ops/check.py`; here is which differences are meant.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::ensemble::Ensemble;
use crate::servers::{Kind, root};

/// Metrics that mean something else here, or nothing: see docs/compat.md.
const OTHER_METRICS: &[&str] = &[
    // The membership in /zookeeper/config counts, and the ports in it have four or five digits.
    "approximate_data_size",
    // Reads do not queue.
    "prep_processor_request_queued",
    "request_commit_queued",
    "response_packet_cache_hits",
    "response_packet_cache_misses",
    "response_packet_get_children_cache_hits",
    "response_packet_get_children_cache_misses",
];

/// Sets of metrics that are not kept here.
const ABSENT_METRICS: &[&str] = &[
    "_read_per_namespace",
    "_learner_handler_qp_",
    // Genuine servers count what they write into /zookeeper/config by themselves.
    "_zookeeper_write_per_namespace",
];

/// What is measured more than once has one of these before its name; C-21 says what differs.
const SUMMARIES: &[&str] = &[
    "avg_", "min_", "max_", "cnt_", "sum_", "p50_", "p95_", "p99_", "p999_",
];

/// These only look like it.
const GAUGES: &[&str] = &[
    "min_proposal_size",
    "max_proposal_size",
    "min_client_response_size",
    "max_client_response_size",
];

/// Starts an ensemble and asks its servers every word.
///
/// # Errors
/// When a server does not come into its role.
pub fn run() -> Result<ExitCode> {
    let dir = root().join("target/interop/ops");
    let mut ensemble = Ensemble::prepare(Kind::Roo, VOTERS + 1, &dir)?;
    let mut differences = serving(&mut ensemble)?;
    start(&mut ensemble, 2, &[])?;
    ensemble.members[1]
        .server()?
        .await_word("srvr", "not currently serving")?;
    differences.extend(compare(&ensemble, &[("looking", 2)])?);
    ensemble.members[1].kill()?;
    start(&mut ensemble, 1, &["readonlymode.enabled=true"])?;
    ensemble.members[0].await_mode("read-only")?;
    differences.extend(compare(&ensemble, &[("readonly", 1)])?);
    for difference in &differences {
        println!("{difference}");
    }
    println!("{} differences that are not meant", differences.len());
    Ok(if differences.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// How many of the servers vote; the last one observes.
const VOTERS: u16 = 3;

/// As the genuine servers were configured.
const LINES: &[&str] = &[
    "initLimit=10",
    "syncLimit=5",
    "maxClientCnxns=60",
    "extendedTypesEnabled=true",
];

/// Starts the server of this number.
fn start(ensemble: &mut Ensemble, id: u16, extra: &[&str]) -> Result<()> {
    let list = ensemble.whole_lines(VOTERS);
    let list = list.iter().map(String::as_str);
    let lines: Vec<&str> = LINES.iter().chain(extra).copied().chain(list).collect();
    ensemble.members[usize::from(id) - 1].launch(&lines)
}

/// The three roles that serve; afterwards the directories of 1 and 2 are empty again.
fn serving(ensemble: &mut Ensemble) -> Result<Vec<String>> {
    start(ensemble, 3, &[])?;
    start(ensemble, 1, &[])?;
    ensemble.members[2].await_mode("leader")?;
    ensemble.members[0].await_mode("follower")?;
    start(ensemble, 2, &[])?;
    start(ensemble, 4, &[])?;
    ensemble.members[1].await_mode("follower")?;
    ensemble.members[3].await_mode("observer")?;
    let leader = ensemble.members[2].server()?;
    leader.await_word("mntr", "zk_synced_followers\t2")?;
    leader.await_word("mntr", "zk_synced_observers\t1")?;
    let found = compare(ensemble, &[("leader", 3), ("follower", 1), ("observer", 4)])?;
    for member in &mut ensemble.members {
        member.kill()?;
    }
    for id in [0, 1] {
        std::fs::remove_dir_all(ensemble.members[id].data_dir())?;
    }
    Ok(found)
}

/// The differences that are not meant, as the script shows them.
fn compare(ensemble: &Ensemble, servers: &[(&str, usize)]) -> Result<Vec<String>> {
    let output = Command::new("python3")
        .arg(root().join("interop/ops/check.py"))
        .arg("--words-only")
        .args(servers.iter().map(|(role, id)| {
            let address = ensemble.members[*id - 1].address();
            format!("{role}={address}")
        }))
        .output()
        .context("start python3")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = text.lines().last().unwrap_or_default();
    ensure!(
        last.starts_with("OPS: "),
        "check.py has failed:\n{text}{errors}"
    );
    println!("{last}");
    Ok(unmeant(&text))
}

/// Reads `ROLE/WORD.txt` and below it `  - expected` and `  + found`.
fn unmeant(report: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut lines = report.lines().peekable();
    while let Some(file) = lines.next() {
        let mut block = Vec::new();
        while let Some(line) = lines.peek().and_then(|line| line.strip_prefix("  ")) {
            block.push(line);
            lines.next();
        }
        let wrong = block.iter().filter(|line| !is_meant(file, line, &block));
        found.extend(wrong.map(|line| format!("{file}: {line}")));
    }
    found
}

/// Whether a line of a word's differences is one that docs/compat.md tells of.
fn is_meant(file: &str, line: &str, block: &[&str]) -> bool {
    let Some((sign, text)) = line.split_once(' ') else {
        return false;
    };
    // C-01.
    if ["Zookeeper version: ", "zookeeper.version=", "zk_version\t"]
        .iter()
        .any(|name| text.starts_with(name))
    {
        return true;
    }
    let name = text.split('\t').next().unwrap_or_default();
    let Some(name) = name
        .strip_prefix("zk_")
        .filter(|_| file.ends_with("/mntr.txt"))
    else {
        return false;
    };
    let is_summary =
        SUMMARIES.iter().any(|prefix| name.starts_with(prefix)) && !GAUGES.contains(&name);
    let shown = format!("+ zk_{name}\t");
    let is_shown = block.iter().any(|line| line.starts_with(&shown));
    (is_shown && (is_summary || OTHER_METRICS.contains(&name)))
        || (sign == "-" && ABSENT_METRICS.iter().any(|set| name.contains(set)))
        || (sign == "+" && name.starts_with("roo_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_differences_that_are_documented_are_meant() {
        let report = "leader/srvr.txt\n  - Zookeeper version: a\n  + Zookeeper version: b\n  \
                      - Mode: leader\n  + Mode: follower\nleader/mntr.txt\n  + zk_roo_queue\t0\n  \
                      + zk_learners\t3\n  - zk_sum_app_read_per_namespace\t1\n  \
                      - zk_sum_fsynctime\t1\n  + zk_sum_fsynctime\t2\n  \
                      - zk_sum_election_time\t1\nOPS: 1 same";
        assert_eq!(
            unmeant(report),
            [
                "leader/srvr.txt: - Mode: leader",
                "leader/srvr.txt: + Mode: follower",
                "leader/mntr.txt: + zk_learners\t3",
                "leader/mntr.txt: - zk_sum_election_time\t1"
            ]
        );
    }
}
