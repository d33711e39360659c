//! What was sent, what was acknowledged, what was read; and what of it contradicts the rest.
//!
//! A register is a node that several sessions set, each time to a value of its own. Its versions
//! tell the order of the writes, so that a history is judged without a search:
//! - a version has one value and one zxid, whoever reads it, and zxids grow with versions;
//! - a value has one version: nothing is done twice;
//! - a write has a higher version than all that was acknowledged before it was sent, and so has a
//!   read behind a sync: nothing acknowledged is lost, and writes are linearizable;
//! - versions that nobody has seen are not more than the writes whose end nobody knows.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Result, ensure};

/// One node that is set again and again.
#[derive(Debug, Default)]
struct Register {
    versions: BTreeMap<i32, (i64, String)>,
    values: HashMap<String, i32>,
    sent: HashSet<String>,
    acknowledged: i32,
    unknown: usize,
}

/// What is known of a node that is created and deleted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    There,
    Gone,
    /// The last request for it was neither acknowledged nor looked after.
    Unknown,
}

#[derive(Debug, Default)]
struct Book {
    registers: BTreeMap<String, Register>,
    nodes: BTreeMap<String, Fate>,
    /// By parent: the largest counter of a sequential node that was acknowledged.
    counters: HashMap<String, i64>,
    /// Session and czxid of who holds the lock.
    holder: Option<(i64, i64)>,
    /// The largest czxid of a lock that was held.
    fence: i64,
    grants: u64,
    violations: Vec<String>,
    writes: u64,
    unknown: u64,
}

/// Figures for the report.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Figures {
    pub(super) writes: u64,
    pub(super) unknown: u64,
    pub(super) grants: u64,
}

/// Shared by all workers.
#[derive(Debug, Default)]
pub(super) struct Ledger(Mutex<Book>);

impl Ledger {
    fn book(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something is wrong.
    pub(super) fn accuse(&self, violation: String) {
        self.book().violations.push(violation);
    }

    pub(super) fn violations(&self) -> Vec<String> {
        self.book().violations.clone()
    }

    pub(super) fn figures(&self) -> Figures {
        let book = self.book();
        Figures {
            writes: book.writes,
            unknown: book.unknown,
            grants: book.grants,
        }
    }

    /// A write of any kind was acknowledged.
    pub(super) fn count_write(&self) {
        self.book().writes += 1;
    }

    /// What became of a write of any kind is not known.
    pub(super) fn count_unknown(&self) {
        self.book().unknown += 1;
    }

    /// A value is about to be written; the least that was acknowledged before.
    pub(super) fn about_to_set(&self, path: &str, value: &str) -> i32 {
        let mut book = self.book();
        let register = book.registers.entry(path.into()).or_default();
        register.sent.insert(value.into());
        register.acknowledged
    }

    /// The least version that a read must show which begins with a sync after this.
    pub(super) fn floor(&self, path: &str) -> i32 {
        let book = self.book();
        book.registers.get(path).map_or(0, |r| r.acknowledged)
    }

    /// A write was acknowledged that was sent when `floor` was.
    pub(super) fn was_set(
        &self,
        path: &str,
        value: &str,
        version: i32,
        mzxid: i64,
        floor: i32,
    ) -> Result<()> {
        let mut book = self.book();
        book.writes += 1;
        let register = book.registers.entry(path.into()).or_default();
        ensure!(
            version > floor,
            "{path}: {value} has version {version}, though {floor} was acknowledged before"
        );
        register.observe(path, version, mzxid, value)?;
        register.acknowledged = register.acknowledged.max(version);
        Ok(())
    }

    /// Nobody knows whether a value was written.
    pub(super) fn may_be_set(&self, path: &str) {
        let mut book = self.book();
        book.unknown += 1;
        book.registers.entry(path.into()).or_default().unknown += 1;
    }

    /// A register was read, and must not be older than `floor`.
    pub(super) fn was_read(
        &self,
        path: &str,
        value: &str,
        version: i32,
        mzxid: i64,
        floor: i32,
    ) -> Result<()> {
        ensure!(
            version >= floor,
            "{path}: read version {version}, though {floor} was acknowledged or read before"
        );
        let mut book = self.book();
        let register = book.registers.entry(path.into()).or_default();
        register.observe(path, version, mzxid, value)
    }

    pub(super) fn set_fate(&self, path: &str, fate: Fate) {
        self.book().nodes.insert(path.into(), fate);
    }

    /// The largest counter below a parent so far.
    pub(super) fn counter(&self, parent: &str) -> i64 {
        self.book().counters.get(parent).copied().unwrap_or(-1)
    }

    /// A sequential node was acknowledged that was asked for when `floor` was the largest.
    pub(super) fn was_counted(&self, parent: &str, counter: i64, floor: i64) -> Result<()> {
        let mut book = self.book();
        book.writes += 1;
        let largest = book.counters.entry(parent.into()).or_insert(-1);
        ensure!(
            counter > floor,
            "{parent}: counter {counter}, though {floor} was acknowledged before"
        );
        *largest = counter.max(*largest);
        Ok(())
    }

    /// A session believes that it holds the lock.
    pub(super) fn lock(&self, session: i64, czxid: i64) -> Result<()> {
        let mut book = self.book();
        if let Some((other, fence)) = book.holder {
            anyhow::bail!(
                "sessions {other:x} (czxid {fence:x}) and {session:x} ({czxid:x}) hold one lock"
            );
        }
        ensure!(
            czxid > book.fence,
            "the lock passes from czxid {:x} to {czxid:x}",
            book.fence
        );
        book.holder = Some((session, czxid));
        book.fence = czxid;
        book.grants += 1;
        Ok(())
    }

    /// The holder is about to give the lock back.
    pub(super) fn unlock(&self) {
        self.book().holder = None;
    }

    /// Judges the whole tree of one server at the end: data, version and mzxid by path.
    pub(super) fn judge(&self, tree: &BTreeMap<String, Found>) -> Result<()> {
        let mut book = self.book();
        for (path, fate) in &book.nodes {
            let there = tree.contains_key(path);
            let expected = match fate {
                Fate::There => true,
                Fate::Gone => false,
                Fate::Unknown => there,
            };
            ensure!(there == expected, "{path} should be {fate:?}");
        }
        for (path, register) in &mut book.registers {
            let found = tree.get(path);
            let found = found.ok_or_else(|| anyhow::anyhow!("{path} is gone"))?;
            ensure!(
                found.version >= register.acknowledged,
                "{path}: version {} at the end, though {} was acknowledged",
                found.version,
                register.acknowledged
            );
            register.observe(path, found.version, found.mzxid, &found.data)?;
            let seen = register.versions.range(1..=found.version).count();
            let unseen = usize::try_from(found.version)?.saturating_sub(seen);
            ensure!(
                unseen <= register.unknown,
                "{path}: {unseen} versions that nobody has seen, {} writes of unknown end",
                register.unknown
            );
            let fences = register
                .versions
                .values()
                .filter_map(|(_, value)| fence_of(value));
            ensure!(
                fences.is_sorted(),
                "{path}: who lost the lock wrote after the next holder"
            );
        }
        Ok(())
    }
}

/// A node as the final reading of a server shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) data: String,
    pub(super) version: i32,
    pub(super) mzxid: i64,
    /// The whole stat, for comparing.
    pub(super) stat: Vec<u8>,
}

/// The value that the holder of a lock writes: its czxid, and something that makes it unique.
pub(super) fn fenced(czxid: i64, tag: &str) -> String {
    format!("fence {czxid:016x} {tag}")
}

fn fence_of(value: &str) -> Option<&str> {
    value.strip_prefix("fence ")?.get(..16)
}

impl Register {
    fn observe(&mut self, path: &str, version: i32, mzxid: i64, value: &str) -> Result<()> {
        if version == 0 {
            return Ok(());
        }
        ensure!(
            self.sent.contains(value),
            "{path}: {value} was never written"
        );
        let known = self.values.entry(value.into()).or_insert(version);
        ensure!(
            *known == version,
            "{path}: {value} was written as version {known} and again as {version}"
        );
        if let Some((zxid, other)) = self.versions.get(&version) {
            ensure!(
                *zxid == mzxid && other == value,
                "{path}: version {version} is {other} of {zxid:x} and {value} of {mzxid:x}"
            );
            return Ok(());
        }
        let before = self.versions.range(..version).next_back();
        let after = self.versions.range(version..).next();
        ensure!(
            before.is_none_or(|(_, (zxid, _))| *zxid < mzxid)
                && after.is_none_or(|(_, (zxid, _))| mzxid < *zxid),
            "{path}: version {version} of {mzxid:x} is between {before:?} and {after:?}"
        );
        self.versions.insert(version, (mzxid, value.into()));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(values: &[&str]) -> Ledger {
        let ledger = Ledger::default();
        for value in values {
            ledger.about_to_set("/r", value);
        }
        ledger
    }

    fn found(data: &str, version: i32, mzxid: i64) -> BTreeMap<String, Found> {
        let stat = Vec::new();
        let found = Found {
            data: data.into(),
            version,
            mzxid,
            stat,
        };
        BTreeMap::from([("/r".to_owned(), found)])
    }

    fn says<T: std::fmt::Debug>(outcome: Result<T>, what: &str) {
        let error = outcome.unwrap_err().to_string();
        assert!(error.contains(what), "{error}");
    }

    #[test]
    fn a_lost_write_is_found_by_the_next_write_read_or_at_the_end() {
        let book = ledger(&["a", "b"]);
        book.was_set("/r", "a", 1, 10, 0).unwrap();
        says(book.was_set("/r", "b", 1, 11, 1), "acknowledged before");
        says(
            book.was_read("/r", "b", 1, 11, 0),
            "version 1 is a of a and b of b",
        );
        says(
            book.was_read("/r", "", 0, 5, 1),
            "acknowledged or read before",
        );
        says(book.judge(&found("", 0, 5)), "though 1 was acknowledged");
        says(book.judge(&BTreeMap::new()), "is gone");
        book.judge(&found("a", 1, 10)).unwrap();
    }

    #[test]
    fn a_value_that_is_written_twice_or_never_is_found() {
        let book = ledger(&["a", "b"]);
        book.may_be_set("/r");
        book.was_read("/r", "a", 1, 10, 0).unwrap();
        says(book.was_read("/r", "a", 2, 12, 1), "and again as 2");
        says(book.was_read("/r", "c", 2, 12, 1), "never written");
        says(book.was_read("/r", "b", 2, 9, 1), "is between");
    }

    #[test]
    fn no_more_versions_are_unseen_than_writes_of_unknown_end() {
        let book = ledger(&["a", "b"]);
        book.may_be_set("/r");
        book.was_read("/r", "a", 1, 10, 0).unwrap();
        says(
            book.judge(&found("b", 4, 14)),
            "2 versions that nobody has seen",
        );
    }

    #[test]
    fn nodes_must_be_as_was_acknowledged() {
        let book = Ledger::default();
        book.set_fate("/r", Fate::Unknown);
        book.judge(&BTreeMap::new()).unwrap();
        book.set_fate("/r", Fate::There);
        says(book.judge(&BTreeMap::new()), "should be There");
        book.set_fate("/r", Fate::Gone);
        says(book.judge(&found("", 0, 1)), "should be Gone");
    }

    #[test]
    fn locks_pass_to_later_nodes_only_and_one_at_a_time() {
        let book = ledger(&[]);
        book.lock(1, 10).unwrap();
        says(book.lock(2, 11), "hold one lock");
        book.unlock();
        says(book.lock(2, 9), "passes from");
        let values = [fenced(10, "x"), fenced(8, "y")];
        for (version, value) in (1..).zip(&values) {
            book.about_to_set("/r", value);
            book.was_set("/r", value, version, i64::from(version), 0)
                .unwrap();
        }
        says(book.judge(&found(&values[1], 2, 2)), "who lost the lock");
    }

    #[test]
    fn counters_follow_real_time() {
        let book = Ledger::default();
        book.was_counted("/s", 5, -1).unwrap();
        let floor = book.counter("/s");
        says(
            book.was_counted("/s", 5, floor),
            "5 was acknowledged before",
        );
    }
}
