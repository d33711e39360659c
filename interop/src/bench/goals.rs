//! What is measured and what it has to reach: the rows of the table, in its order.

/// What RooKeeper's figure is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Base {
    /// Apache's figure of the same round: the ratio counts.
    Apache,
    /// The null server's, likewise.
    Null,
    /// The figure itself counts; Apache's stands beside it where there is one.
    Itself,
}

/// What has to be reached.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Bound {
    AtLeast(f64),
    AtMost(f64),
}

impl Bound {
    /// Whether a median reaches it.
    pub(super) fn is_reached(self, median: f64) -> bool {
        match self {
            Self::AtLeast(bound) => median >= bound,
            Self::AtMost(bound) => median <= bound,
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy, Debug)]
pub(super) struct Goal {
    /// What `--rows` calls it; several goals may be of one row.
    pub(super) row: &'static str,
    /// What is done, for people.
    pub(super) work: &'static str,
    /// What of it is compared, with its unit: the name under which it is measured.
    pub(super) figure: &'static str,
    pub(super) base: Base,
    pub(super) bound: Bound,
}

/// The figures of a load.
pub(super) const PER_CPU: &str = "per server-CPU-second";
pub(super) const RATE: &str = "per second";
pub(super) const P50: &str = "p50, us";
pub(super) const P99: &str = "p99, us";
/// Above one fsync of the disk; both measured in turn.
pub(super) const ABOVE_FSYNC: &str = "p50 above one fsync, us";

/// Other figures; the modules that measure them say how.
pub(super) const BINARY: &str = "program without debug symbols, MB";
pub(super) const RSS_EMPTY: &str = "resident, MB";
pub(super) const FIRST_ANSWER: &str = "start to first answer, ms";
pub(super) const RSS_PER_ZNODE: &str = "resident bytes per znode";
pub(super) const TREE_PER_ZNODE: &str = "the same after a start from a snapshot";
pub(super) const START_SECONDS: &str = "seconds until it serves";
pub(super) const SNAPSHOT_RATIO: &str = "p99 during snapshots / p99 otherwise";
pub(super) const CREATE: &str = "create, per server-CPU-second";
pub(super) const LIST: &str = "list, per server-CPU-second";
pub(super) const COUNT: &str = "count, per server-CPU-second";
pub(super) const DELETE: &str = "delete, per server-CPU-second";
pub(super) const CREATE_STEP: &str = "CPU of a create in the last tenth / in the first";
pub(super) const DELETE_STEP: &str = "CPU of a delete in the first tenth / in the last";
pub(super) const RSS_PER_SESSION: &str = "resident bytes per session";
pub(super) const CPU_OF_PINGS: &str = "CPU of the pings, % of a core";
pub(super) const RSS_PER_WATCH: &str = "resident bytes per watch";
pub(super) const CPU_PER_CHANGE: &str = "server-CPU of a change, us";
pub(super) const QUORUM_PART: &str = "reads per second, readMode=quorum / local";
pub(super) const WRITE_GAP_MEDIAN: &str = "ms without an acknowledged write, median";
pub(super) const WRITE_GAP_MAX: &str = "ms without an acknowledged write, longest";

use Base::{Apache, Itself, Null};
use Bound::{AtLeast, AtMost};

const fn goal(
    row: &'static str,
    work: &'static str,
    figure: &'static str,
    base: Base,
    bound: Bound,
) -> Goal {
    Goal {
        row,
        work,
        figure,
        base,
        bound,
    }
}

/// The rows of `--quick`.
pub(super) const QUICK: &[&str] = &["get-50x10", "get-8x1", "set-50x10", "set-8x1", "start"];

/// Every goal.
#[rustfmt::skip]
pub(super) const GOALS: &[Goal] = &[
    goal("get-50x10", "get, 50 connections x depth 10", PER_CPU, Apache, AtLeast(8.0)),
    goal("get-50x10", "get, 50 x 10, beside the null server", PER_CPU, Null, AtLeast(0.5)),
    goal("get-8x1", "get, 8 x 1", PER_CPU, Apache, AtLeast(4.0)),
    goal("get-8x1", "get, 8 x 1", P50, Apache, AtMost(0.5)),
    goal("exists-50x10", "exists, 50 x 10", PER_CPU, Apache, AtLeast(8.0)),
    goal("list-50x10", "getChildren (10 children), 50 x 10", PER_CPU, Apache, AtLeast(8.0)),
    goal("set-50x10", "set, 50 x 10", PER_CPU, Apache, AtLeast(5.0)),
    goal("set-50x10", "set, 50 x 10", RATE, Apache, AtLeast(2.0)),
    goal("set-8x1", "set, 8 x 1", P50, Apache, AtMost(0.5)),
    goal("set-8x1", "set, 8 x 1", P99, Apache, AtMost(0.5)),
    goal("create-8x1", "create, 8 x 1", P50, Apache, AtMost(0.5)),
    goal("create-8x1", "create, 8 x 1", P99, Apache, AtMost(0.5)),
    goal("set-1x1", "set, 1 x 1", P50, Apache, AtMost(1.0)),
    goal("set-1x1", "set, 1 x 1", ABOVE_FSYNC, Itself, AtMost(60.0)),
    goal("create-50x10", "create of 100 B, 50 x 10", PER_CPU, Apache, AtLeast(4.0)),
    goal("ephemeral-50x10", "create of ephemerals of 100 B, 50 x 10", PER_CPU, Apache, AtLeast(4.0)),
    goal("sequential-50x10", "create of sequentials of 100 B, 50 x 10", PER_CPU, Apache, AtLeast(4.0)),
    goal("multi5-50x10", "multi of 5, 50 x 10", PER_CPU, Apache, AtLeast(4.0)),
    goal("prod-mix-50x10", "prod-mix, 50 x 10", PER_CPU, Apache, AtLeast(5.0)),
    goal("mixed-50x10", "mixed, 50 x 10", PER_CPU, Apache, AtLeast(5.0)),
    goal("million", "1,000,000 znodes of 100 B", RSS_PER_ZNODE, Itself, AtMost(230.0)),
    goal("million", "1,000,000 znodes of 100 B", TREE_PER_ZNODE, Itself, AtMost(190.0)),
    goal("directory", "a directory of 1,000,000 children", CREATE, Apache, AtLeast(3.0)),
    goal("directory", "a directory of 1,000,000 children", LIST, Apache, AtLeast(3.0)),
    goal("directory", "a directory of 1,000,000 children", COUNT, Apache, AtLeast(3.0)),
    goal("directory", "a directory of 1,000,000 children", DELETE, Apache, AtLeast(3.0)),
    // The logarithm of the size grows by a fifth from 100,000 to 1,000,000; the rest is caches.
    goal("directory", "a directory of 1,000,000 children", CREATE_STEP, Itself, AtMost(1.5)),
    goal("directory", "a directory of 1,000,000 children", DELETE_STEP, Itself, AtMost(1.5)),
    goal("sessions-10k", "10,000 idle sessions", RSS_PER_SESSION, Apache, AtMost(0.2)),
    goal("sessions-10k", "10,000 idle sessions", CPU_OF_PINGS, Apache, AtMost(0.2)),
    goal("sessions-100k", "100,000 idle sessions", RSS_PER_SESSION, Apache, AtMost(0.2)),
    goal("sessions-100k", "100,000 idle sessions", CPU_OF_PINGS, Apache, AtMost(0.2)),
    goal("watches", "1,000,000 watches", RSS_PER_WATCH, Apache, AtMost(0.2)),
    goal("fanout", "one change, 1,000 watchers, up to the last event", P50, Apache, AtMost(0.2)),
    goal("fanout", "one change, 1,000 watchers, which watch again", CPU_PER_CHANGE, Apache, AtMost(0.2)),
    goal("restart", "start with 1,000,000 znodes from a snapshot", START_SECONDS, Apache, AtMost(0.25)),
    goal("replay", "start with 1,000,000 log records to replay", START_SECONDS, Apache, AtMost(0.25)),
    goal("snapshot", "5,000 sets per second while 1,000,000 znodes are written", SNAPSHOT_RATIO, Itself, AtMost(2.0)),
    goal("ensemble-set-50x10", "three servers: set, 50 x 10", PER_CPU, Apache, AtLeast(4.0)),
    goal("ensemble-set-50x10", "three servers: set, 50 x 10", RATE, Apache, AtLeast(3.0)),
    goal("ensemble-set-8x1", "three servers: set, 8 x 1", P50, Apache, AtMost(0.4)),
    goal("ensemble-set-8x1", "three servers: set, 8 x 1", P99, Apache, AtMost(0.4)),
    goal("ensemble-create-50x10", "three servers: create of 100 B, 50 x 10", PER_CPU, Apache, AtLeast(4.0)),
    goal("ensemble-read90-50x10", "three servers: 90 % get, 10 % set, 50 x 10", PER_CPU, Apache, AtLeast(5.0)),
    goal("ensemble-get-50x10", "three servers: get, 50 x 10", PER_CPU, Apache, AtLeast(8.0)),
    goal("quorum-reads", "linearizable get at a follower, 50 x 10", QUORUM_PART, Itself, AtLeast(0.6)),
    goal("failover", "kill -9 of the leader of three", WRITE_GAP_MEDIAN, Itself, AtMost(200.0)),
    goal("failover", "kill -9 of the leader of three", WRITE_GAP_MAX, Itself, AtMost(500.0)),
    goal("start", "the program", BINARY, Itself, AtMost(15.0)),
    goal("start", "an empty server", RSS_EMPTY, Itself, AtMost(15.0)),
    goal("start", "an empty server", FIRST_ANSWER, Itself, AtMost(50.0)),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bound_is_reached_from_its_side() {
        assert!(AtLeast(2.0).is_reached(2.0) && !AtLeast(2.0).is_reached(1.9));
        assert!(AtMost(2.0).is_reached(2.0) && !AtMost(2.0).is_reached(2.1));
    }

    #[test]
    fn quick_rows_are_rows() {
        for quick in QUICK {
            assert!(GOALS.iter().any(|goal| goal.row == *quick), "{quick}");
        }
    }
}
