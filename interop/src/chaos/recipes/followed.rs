//! Nodes that are changed together, version by version, and what those were shown who follow them.
//!
//! Which version came about in which transaction is learnt from answers and from stats, late or
//! never. So what was shown is kept, and judged when all is known that will be.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// With every so many versions the node that is followed by itself is deleted, and made again with
/// the next one.
const ABSENT_EVERY: i64 = 4;

/// What becomes of the node that is followed by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Create,
    Set,
    Delete,
}

impl Step {
    /// With this version.
    pub(super) const fn of(version: i64) -> Self {
        match version % ABSENT_EVERY {
            0 => Self::Delete,
            1 => Self::Create,
            _ => Self::Set,
        }
    }
}

/// A version that was shown as that of some moment between two transactions.
#[derive(Clone, Copy, Debug)]
struct Shown {
    /// `None` for one without the node.
    version: Option<i64>,
    since: i64,
    until: i64,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Versions {
    /// In which transaction each came about.
    zxids: BTreeMap<i64, i64>,
    shown: Vec<Shown>,
    pub(super) trees: u64,
    pub(super) nodes: u64,
}

impl Versions {
    /// This version came about in this transaction.
    pub(super) fn observe(&mut self, version: i64, zxid: i64) -> Result<()> {
        let known = *self.zxids.entry(version).or_insert(zxid);
        ensure!(
            known == zxid,
            "version {version} came with {known:x} and with {zxid:x}"
        );
        let before = self.zxids.range(..version).next_back();
        let after = self.zxids.range(version + 1..).next();
        ensure!(
            before.is_none_or(|(_, before)| *before < zxid)
                && after.is_none_or(|(_, after)| zxid < *after),
            "version {version} came with {zxid:x}, between {before:x?} and {after:x?}"
        );
        Ok(())
    }

    /// A cache shows a tree in which each node says to be of a version, as of a transaction, behind
    /// one that it showed before.
    pub(super) fn saw_tree(&mut self, values: &[i64], as_of: i64, before: i64) -> Result<()> {
        self.trees += 1;
        let version = values.first().copied().unwrap_or(0);
        ensure!(
            values.iter().all(|value| *value == version),
            "half of a set: {values:?}"
        );
        ensure!(
            as_of >= before,
            "a tree of {as_of:x} is shown behind one of {before:x}"
        );
        self.shown.push(Shown {
            version: Some(version),
            since: as_of,
            until: as_of,
        });
        Ok(())
    }

    /// A watcher gives the node of a version, or its absence, behind what it gave before. Its
    /// session had seen the effects of `since` when it was asked, and of `until` when it answered.
    pub(super) fn was_given(
        &mut self,
        version: Option<i64>,
        before: Option<Option<i64>>,
        since: i64,
        until: i64,
    ) -> Result<()> {
        self.nodes += 1;
        ensure!(before != Some(version), "{version:?} is given twice");
        if let (Some(version), Some(Some(before))) = (version, before) {
            ensure!(version > before, "{version} is given behind {before}");
        }
        self.shown.push(Shown {
            version,
            since,
            until,
        });
        Ok(())
    }

    /// What the node that is followed by itself is like when this is the last version.
    pub(super) const fn node_of(version: i64) -> Option<i64> {
        match Step::of(version) {
            Step::Delete => None,
            Step::Create | Step::Set => Some(version),
        }
    }

    /// When nothing more will be known.
    pub(super) fn judge(&self) -> Result<()> {
        for shown in &self.shown {
            let is_right = match shown.version {
                Some(version) => self.was_there(version, shown),
                None => self.was_absent(shown),
            };
            ensure!(is_right, "{shown:x?} was not like this then");
        }
        Ok(())
    }

    fn was_there(&self, version: i64, shown: &Shown) -> bool {
        let came = self.zxids.get(&version);
        let next = self.zxids.range(version + 1..).next();
        came.is_none_or(|came| *came <= shown.until)
            && next.is_none_or(|(_, next)| *next > shown.since)
    }

    fn was_absent(&self, shown: &Shown) -> bool {
        let known = || self.zxids.iter();
        let first = known().take_while(|(_, zxid)| **zxid <= shown.since).last();
        let first = first.map_or(0, |(version, _)| *version);
        let absent = (first + ABSENT_EVERY - 1) / ABSENT_EVERY * ABSENT_EVERY;
        let end = known().find(|(_, zxid)| **zxid > shown.until);
        end.is_none_or(|(end, _)| absent < *end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::recipes::ledger::says;

    /// Versions 1, 2, ... in transactions 10, 20, ...
    fn versions(last: i64) -> Versions {
        let mut versions = Versions::default();
        for version in 1..=last {
            versions.observe(version, version * 10).unwrap();
        }
        versions
    }

    #[test]
    fn a_version_comes_once_and_in_order() {
        let mut versions = versions(3);
        versions.observe(2, 20).unwrap();
        says(versions.observe(2, 21), "came with 14 and with 15");
        says(versions.observe(5, 30), "between");
        says(versions.observe(0, 11), "between");
    }

    #[test]
    fn trees_are_whole_and_never_older() {
        let mut versions = versions(3);
        says(versions.saw_tree(&[2, 1], 20, 0), "half of a set");
        says(versions.saw_tree(&[2, 2], 20, 21), "is shown behind");
    }

    #[test]
    fn trees_are_those_of_their_dates() {
        let judge = |version, as_of| {
            let mut versions = versions(3);
            versions.saw_tree(&[version, version], as_of, 0).unwrap();
            versions.judge()
        };
        for (version, as_of) in [(0, 9), (1, 10), (2, 29), (3, 99)] {
            judge(version, as_of).unwrap();
        }
        for (version, as_of) in [(0, 10), (1, 9), (2, 30), (3, 29)] {
            says(judge(version, as_of), "was not like this");
        }
    }

    #[test]
    fn a_node_is_given_when_it_is_different() {
        let mut versions = versions(3);
        versions.was_given(Some(1), None, 0, 10).unwrap();
        says(versions.was_given(Some(1), Some(Some(1)), 0, 10), "twice");
        says(versions.was_given(None, Some(None), 0, 10), "twice");
        says(
            versions.was_given(Some(1), Some(Some(2)), 0, 10),
            "behind 2",
        );
    }

    #[test]
    fn a_node_is_given_as_it_was_between_question_and_answer() {
        let judge = |version, since, until| {
            let mut versions = versions(9);
            versions.was_given(version, None, since, until).unwrap();
            versions.judge()
        };
        for (version, since, until) in [(Some(2), 0, 20), (Some(2), 29, 50), (None, 0, 0)] {
            judge(version, since, until).unwrap();
        }
        for (since, until) in [(9, 30), (30, 40), (49, 70), (45, 45)] {
            judge(None, since, until).unwrap();
        }
        for (version, since, until) in [(Some(2), 0, 19), (Some(2), 30, 50), (None, 10, 39)] {
            says(judge(version, since, until), "was not like this");
        }
        says(judge(None, 50, 79), "was not like this");
    }

    #[test]
    fn what_nobody_knows_is_not_held_against_anybody() {
        let mut versions = Versions::default();
        versions.observe(1, 10).unwrap();
        versions.observe(9, 90).unwrap();
        versions.was_given(None, None, 10, 89).unwrap();
        versions.was_given(Some(5), None, 10, 89).unwrap();
        versions.judge().unwrap();
    }

    #[test]
    fn the_node_comes_and_goes_with_its_versions() {
        let nodes: Vec<Option<i64>> = (0..6).map(Versions::node_of).collect();
        assert_eq!(nodes, [None, Some(1), Some(2), Some(3), None, Some(5)]);
        assert_eq!(
            (0..3).map(Step::of).collect::<Vec<_>>(),
            [Step::Delete, Step::Create, Step::Set]
        );
    }
}
