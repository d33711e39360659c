//! The end of the history that is kept in memory, and how a learner is brought up to it.

use alloc::collections::VecDeque;

use roo_proto::ids::Zxid;

use crate::message::Proposal;

/// Whether `next` may stand right behind `last` in a history: the next of the same epoch, or the
/// first of a later one. Anything else means that a proposal is missing (ZOOKEEPER-4925).
pub(crate) fn follows(last: Zxid, next: Zxid) -> bool {
    if next.epoch() == last.epoch() {
        last.counter() < u32::MAX && next == last.next()
    } else {
        next > last && next.counter() == 1
    }
}

/// All records behind `base`, in order and without holes.
#[derive(Clone, Debug)]
pub(crate) struct Window {
    base: Zxid,
    records: VecDeque<Proposal>,
    bytes: usize,
}

impl Window {
    /// Nothing but the knowledge that the history ends at `base`.
    pub(crate) const fn new(base: Zxid) -> Self {
        Self {
            base,
            records: VecDeque::new(),
            bytes: 0,
        }
    }

    /// The record before the first one that is held.
    pub(crate) const fn base(&self) -> Zxid {
        self.base
    }

    /// The end of the history.
    pub(crate) fn last(&self) -> Zxid {
        self.records.back().map_or(self.base, |record| record.zxid)
    }

    /// What stands behind `zxid`.
    pub(crate) fn after(&self, zxid: Zxid) -> impl Iterator<Item = &Proposal> {
        let start = self.records.partition_point(|record| record.zxid <= zxid);
        self.records.range(start..)
    }

    /// The last zxid before `zxid`, if it is still known.
    fn before(&self, zxid: Zxid) -> Option<Zxid> {
        let end = self.records.partition_point(|record| record.zxid < zxid);
        match end.checked_sub(1) {
            Some(at) => self.records.get(at).map(|record| record.zxid),
            None => (self.base < zxid).then_some(self.base),
        }
    }

    fn contains(&self, zxid: Zxid) -> bool {
        zxid == self.base
            || self
                .records
                .binary_search_by_key(&zxid, |record| record.zxid)
                .is_ok()
    }

    pub(crate) fn push(&mut self, record: Proposal) {
        self.bytes = self.bytes.saturating_add(record.txn.len());
        self.records.push_back(record);
    }

    /// Drops what lies behind `last`, the new end of the log.
    pub(crate) fn truncate(&mut self, last: Zxid) {
        if last < self.base {
            *self = Self::new(last);
            return;
        }
        while self.records.back().is_some_and(|record| record.zxid > last) {
            let dropped = self.records.pop_back().map_or(0, |record| record.txn.len());
            self.bytes = self.bytes.saturating_sub(dropped);
        }
    }

    /// A bug (`Bug::Zk4925`): makes holes, but not at the end.
    pub(crate) fn punch(&mut self, holes: &[Zxid]) {
        let last = self.last();
        self.records
            .retain(|record| record.zxid == last || !holes.contains(&record.zxid));
    }

    /// Drops the oldest records while there are too many, but none behind `keep`.
    pub(crate) fn trim(&mut self, count: usize, bytes: usize, keep: Zxid) {
        while self.records.len() > count || self.bytes > bytes {
            if self.records.front().is_none_or(|oldest| oldest.zxid > keep) {
                return;
            }
            if let Some(oldest) = self.records.pop_front() {
                self.bytes = self.bytes.saturating_sub(oldest.txn.len());
                self.base = oldest.zxid;
            }
        }
    }
}

/// How a learner is brought up to date.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Plan {
    /// Its history is a prefix: send what lies behind `after`.
    Diff { after: Zxid },
    /// It has records that nobody committed: drop those behind `to`, then send the rest.
    Trunc { to: Zxid },
    /// It is behind what memory holds: look into the log.
    ReadLog,
    /// Send the whole state.
    Snapshot,
}

/// The decision. `end` is the end of what is committed, or of the initial history while it is
/// being adopted; `delivered` where a snapshot would be; `learner` the end of the learner's
/// history. Java: `LearnerHandler.syncFollower`.
pub(crate) fn plan(
    window: &Window,
    end: Zxid,
    delivered: Zxid,
    learner: Zxid,
    force_snapshot: bool,
) -> Plan {
    // A snapshot that lies behind the learner would take records from it that may be committed.
    if force_snapshot && delivered >= learner {
        return Plan::Snapshot;
    }
    if learner == end {
        return Plan::Diff { after: learner };
    }
    if learner == Zxid::ZERO || end == Zxid::ZERO {
        return Plan::Snapshot;
    }
    if learner > end {
        return if learner.counter() == 0 {
            // The beginning of an epoch stands for everything before the epoch.
            Plan::Diff { after: learner }
        } else {
            Plan::Trunc { to: end }
        };
    }
    if learner < window.base() {
        return Plan::ReadLog;
    }
    if window.contains(learner) {
        return Plan::Diff { after: learner };
    }
    match (window.before(learner), window.after(learner).next()) {
        (Some(before), Some(next)) => diverged(learner, before, next.zxid),
        _ => Plan::Snapshot,
    }
}

/// The same for a learner whose last zxid is not in the history: it lies between `before` and
/// `next`, which stand side by side there.
pub(crate) fn diverged(learner: Zxid, before: Zxid, next: Zxid) -> Plan {
    if learner.counter() == 0 {
        Plan::Diff { after: learner }
    } else if next.epoch() == learner.epoch() {
        Plan::Trunc { to: before }
    } else {
        Plan::Snapshot
    }
}

#[cfg(test)]
mod tests;
