//! Four-letter words of the servers of an ensemble, compared with those that genuine servers
//! answered in the same state (`interop/ops/`, made with Apache ZooKeeper 3.9.5): a leader, a
//! follower, an observer, one that looks for a leader, one that is read-only.
//!
//! The comparison itself is `interop/ops/check.py`; here is which differences are meant.

use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::members::{Member, Plan};
use crate::servers::root;

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
    let plan = Plan::new(root().join("target/interop/ops"), 3, 1)?;
    let mut differences = serving(&plan)?;
    let looking = plan.start(2, "")?;
    differences.extend(compare(&[("looking", &looking)])?);
    drop(looking);
    let mut read_only = plan.start(1, "readonlymode.enabled=true\n")?;
    read_only.await_word("srvr", "Mode: read-only")?;
    differences.extend(compare(&[("readonly", &read_only)])?);
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

/// The three roles that serve; afterwards the directories of 1 and 2 are empty again.
fn serving(plan: &Plan) -> Result<Vec<String>> {
    let (mut leader, mut follower) = (plan.start(3, "")?, plan.start(1, "")?);
    leader.await_word("srvr", "Mode: leader")?;
    follower.await_word("srvr", "Mode: follower")?;
    let (mut second, mut observer) = (plan.start(2, "")?, plan.start(4, "")?);
    second.await_word("srvr", "Mode: follower")?;
    observer.await_word("srvr", "Mode: observer")?;
    leader.await_word("mntr", "zk_synced_followers\t2")?;
    leader.await_word("mntr", "zk_synced_observers\t1")?;
    let found = compare(&[
        ("leader", &leader),
        ("follower", &follower),
        ("observer", &observer),
    ])?;
    drop((leader, follower, second, observer));
    for id in [1, 2] {
        std::fs::remove_dir_all(plan.dir(id))?;
    }
    Ok(found)
}

/// The differences that are not meant, as the script shows them.
fn compare(servers: &[(&str, &Member)]) -> Result<Vec<String>> {
    let output = Command::new("python3")
        .arg(root().join("interop/ops/check.py"))
        .arg("--words-only")
        .args(
            servers
                .iter()
                .map(|(role, server)| format!("{role}={}", server.client)),
        )
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
