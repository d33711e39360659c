//! Bugs of ZooKeeper, and one that is only ours to make, put into our code one at a time: what the simulator does not see, it
//! does not prove. The table is in docs/internals/simulation.md.

use roo_zab::rebreak::Bug;

use crate::options::Options;
use crate::run::{Verdict, run};

/// Where a bug is put back.
#[derive(Clone, Copy, Debug)]
pub enum Place {
    /// In roo-zab.
    Zab(Bug),
    /// In how snapshots are taken.
    Snapshots,
    /// In how answers of the leader are taken.
    Answers,
}

/// Each with its number in ZooKeeper's tracker, if it has one.
pub const BUGS: &[(&str, Place)] = &[
    ("ZOOKEEPER-2355", Place::Zab(Bug::Zk2355)),
    ("ZOOKEEPER-3023", Place::Zab(Bug::Zk3023)),
    ("ZOOKEEPER-3104", Place::Zab(Bug::Zk3104)),
    ("ZOOKEEPER-3144", Place::Snapshots),
    ("ZOOKEEPER-3642", Place::Zab(Bug::Zk3642)),
    ("ZOOKEEPER-3911", Place::Zab(Bug::Zk3911)),
    ("ZOOKEEPER-4394", Place::Zab(Bug::Zk4394)),
    ("ZOOKEEPER-4643", Place::Zab(Bug::Zk4643)),
    ("ZOOKEEPER-4646", Place::Zab(Bug::Zk4646)),
    ("ZOOKEEPER-4685", Place::Zab(Bug::Zk4685)),
    ("ZOOKEEPER-4712", Place::Zab(Bug::Zk4712)),
    ("ZOOKEEPER-4785", Place::Zab(Bug::Zk4785)),
    ("ZOOKEEPER-4925", Place::Zab(Bug::Zk4925)),
    ("ZOOKEEPER-5094", Place::Zab(Bug::Zk5094)),
    ("late reads", Place::Answers),
];

/// Runs seeds, beginning with 1, until one of them sees the bug and holds without it; which one,
/// and what was seen.
#[must_use]
pub fn hunt(place: Place, limit: u64) -> Option<(u64, Verdict)> {
    (1..=limit).find_map(|seed| {
        let mut sound = Options::draw(seed).plain();
        let mut broken = sound.clone();
        match place {
            Place::Zab(bug) => {
                sound.clients = 0;
                broken.clients = 0;
                broken.bug = Some(bug);
            }
            Place::Snapshots => {
                sound.clients = 3;
                sound.snap_count = 10;
                broken = sound.clone();
                broken.are_snapshots_fuzzy = true;
            }
            Place::Answers => {
                sound.clients = 3;
                sound.quorum_reads = true;
                broken = sound.clone();
                broken.answers_are_for_all = true;
            }
        }
        let verdict = run(broken, false);
        let is_seen = verdict.violation.is_some() && run(sound, false).violation.is_none();
        is_seen.then_some((seed, verdict))
    })
}
