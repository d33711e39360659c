//! Bugs of ZooKeeper, put back into our code one at a time: what the simulator does not see, it
//! does not prove. The table is in docs/internals/simulation.md.

use roo_zab::rebreak::Bug;

use crate::options::Options;
use crate::run::{Verdict, run};

/// Each with its number in ZooKeeper's tracker.
pub const BUGS: &[(&str, Bug)] = &[
    ("ZOOKEEPER-2355", Bug::Zk2355),
    ("ZOOKEEPER-3023", Bug::Zk3023),
    ("ZOOKEEPER-3104", Bug::Zk3104),
    ("ZOOKEEPER-3642", Bug::Zk3642),
    ("ZOOKEEPER-3911", Bug::Zk3911),
    ("ZOOKEEPER-4394", Bug::Zk4394),
    ("ZOOKEEPER-4643", Bug::Zk4643),
    ("ZOOKEEPER-4646", Bug::Zk4646),
    ("ZOOKEEPER-4685", Bug::Zk4685),
    ("ZOOKEEPER-4712", Bug::Zk4712),
    ("ZOOKEEPER-4785", Bug::Zk4785),
    ("ZOOKEEPER-4925", Bug::Zk4925),
    ("ZOOKEEPER-5094", Bug::Zk5094),
];

/// Runs seeds, beginning with 1, until one of them sees the bug; how many it took, and what was
/// seen.
#[must_use]
pub fn hunt(bug: Bug, limit: u64) -> Option<(u64, Verdict)> {
    (1..=limit).find_map(|seed| {
        let mut options = Options::draw(seed);
        options.bug = Some(bug);
        let verdict = run(options, false);
        verdict.violation.is_some().then_some((seed, verdict))
    })
}
