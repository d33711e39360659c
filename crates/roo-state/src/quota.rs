//! Quotas: limits and counts of subtrees, kept in nodes below `/zookeeper/quota`. Java: `Quotas`,
//! `StatsTrack`, `ZooKeeperServer.checkQuota`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use core::fmt::Write;

use roo_proto::error_code::ErrorCode;
use roo_proto::path;

use crate::state::State;

/// What a request would do to the counts.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)]
pub enum QuotaOp {
    Create { bytes: usize },
    SetData { old_bytes: usize, new_bytes: usize },
}

/// The paths that have a quota.
#[derive(Debug, Default)]
pub struct Quotas {
    prefixes: BTreeSet<String>,
}

impl Quotas {
    /// The longest path with a quota at or above `path`. A quota of the root does not count.
    fn prefix_of(&self, path: &str) -> Option<&str> {
        if self.prefixes.is_empty() {
            return None;
        }
        if path.contains("/ ") {
            self.longest(&in_trie(path)?)
        } else {
            self.longest(path)
        }
    }

    fn longest(&self, path: &str) -> Option<&str> {
        let mut at = path;
        while at != "/" {
            if let Some(prefix) = self.prefixes.get(at) {
                return Some(prefix);
            }
            at = path::split(at)?.0;
        }
        None
    }
}

/// The path under which Apache knows the quota of `subject`: without the components that are
/// blank, and with a slash in front whether it had one or not. `None` for the root. Java:
/// `PathTrie.split`.
fn in_trie(subject: &str) -> Option<String> {
    let mut known = String::with_capacity(subject.len() + 1);
    for component in subject.split('/') {
        if component.chars().any(|letter| letter > ' ') {
            known.push('/');
            known.push_str(component);
        }
    }
    (!known.is_empty()).then_some(known)
}

/// The text of a limits or stats node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Track {
    values: BTreeMap<String, i64>,
}

const COUNT: &str = "count";
const BYTES: &str = "bytes";
const COUNT_HARD: &str = "countHardLimit";
const BYTES_HARD: &str = "byteHardLimit";

impl Track {
    /// Reads the text; `None` when it is malformed. Pairs stand between runs of separators, of
    /// which those at the end do not count; what is no UTF-8 may stand in a key. An empty value
    /// before a second "=" is -1. Java: `StatsTrack`.
    #[must_use]
    pub fn parse(text: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(text);
        let mut track = Self::default();
        let separators = [',', ';'];
        let mut rest = text.trim_end_matches(separators);
        if rest.is_empty() {
            // Separators alone leave no pair at all.
            return Some(track);
        }
        loop {
            let (pair, tail) =
                rest.split_at_checked(rest.find(separators).unwrap_or(rest.len()))?;
            // As Java's `split` does, "=" at the end is dropped with the empty parts behind it.
            let mut parts = pair.trim_end_matches('=').split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            let value = if value.is_empty() { "-1" } else { value };
            track.values.insert(key.into(), value.parse().ok()?);
            if tail.is_empty() {
                return Some(track);
            }
            rest = tail.trim_start_matches(separators);
        }
    }

    /// The value of a key, -1 when it is absent.
    fn value(&self, key: &str) -> i64 {
        self.values.get(key).copied().unwrap_or(-1)
    }

    /// Nodes counted or allowed (soft).
    #[must_use]
    pub fn count(&self) -> i64 {
        self.value(COUNT)
    }

    /// Bytes counted or allowed (soft).
    #[must_use]
    pub fn bytes(&self) -> i64 {
        self.value(BYTES)
    }

    /// Nodes allowed at all; -1 is no limit.
    #[must_use]
    pub fn count_hard_limit(&self) -> i64 {
        self.value(COUNT_HARD)
    }

    /// Bytes allowed at all; -1 is no limit.
    #[must_use]
    pub fn bytes_hard_limit(&self) -> i64 {
        self.value(BYTES_HARD)
    }

    /// Nothing counted yet.
    fn zero() -> Self {
        let mut track = Self::default();
        track.set(0, 0);
        track
    }

    fn set(&mut self, count: i64, bytes: i64) {
        self.values.insert(COUNT.into(), count);
        self.values.insert(BYTES.into(), bytes);
    }

    /// The text; an odd "=" stands before further keys.
    fn text(&self) -> String {
        let mut text = format!("count={},bytes={}", self.count(), self.bytes());
        let mut others = self
            .values
            .iter()
            .filter(|(key, _)| !matches!(key.as_str(), COUNT | BYTES))
            .peekable();
        if others.peek().is_some() {
            text.push('=');
        }
        for (key, value) in others {
            let _ = write!(text, ";{key}={value}");
        }
        text
    }
}

fn stats_path(prefix: &str) -> String {
    format!("{}{prefix}/{}", path::QUOTA, path::QUOTA_STATS)
}

fn limits_path(prefix: &str) -> String {
    format!("{}{prefix}/{}", path::QUOTA, path::QUOTA_LIMITS)
}

/// The path whose quota a node of this name below `/zookeeper/quota` holds.
fn subject<'p>(path: &'p str, name: &str) -> Option<&'p str> {
    path.strip_prefix(path::QUOTA)?
        .strip_suffix(name)?
        .strip_suffix('/')
}

/// Whether a write may go through. Only hard limits refuse, and only when they are enforced.
///
/// # Errors
/// QUOTA_EXCEEDED; MARSHALLING_ERROR when the limits or the counts cannot be read.
pub fn check(state: &State, path: &str, op: QuotaOp) -> Result<(), ErrorCode> {
    if !state.rules.enforce_quota {
        return Ok(());
    }
    let Some(prefix) = state.quotas.prefix_of(path) else {
        return Ok(());
    };
    let length = |bytes: usize| i64::try_from(bytes).unwrap_or(i64::MAX);
    let (more_nodes, more_bytes) = match op {
        QuotaOp::Create { bytes } => (1, length(bytes)),
        QuotaOp::SetData {
            old_bytes,
            new_bytes,
        } => (0, length(new_bytes) - length(old_bytes)),
    };
    let Some(limits) = state.tree.find(&limits_path(prefix)) else {
        return Ok(());
    };
    // Limits that cannot be read refuse, also where nothing is counted.
    let limits = state.tree.data(limits).and_then(Track::parse);
    let limits = limits.ok_or(ErrorCode::MARSHALLING_ERROR)?;
    let limited = |more: i64, soft: i64, hard: i64| more != 0 && (soft > -1 || hard > -1);
    if !limited(more_nodes, limits.count(), limits.count_hard_limit())
        && !limited(more_bytes, limits.bytes(), limits.bytes_hard_limit())
    {
        return Ok(());
    }
    let Some(stats) = state.tree.find(&stats_path(prefix)) else {
        return Ok(());
    };
    let stats = state.tree.data(stats).and_then(Track::parse);
    let stats = stats.ok_or(ErrorCode::MARSHALLING_ERROR)?;
    let over = |limit: i64, now: i64, more: i64| {
        limit >= 0 && more != 0 && now.saturating_add(more) > limit
    };
    if over(limits.count_hard_limit(), stats.count(), more_nodes)
        || over(limits.bytes_hard_limit(), stats.bytes(), more_bytes)
    {
        return Err(ErrorCode::QUOTA_EXCEEDED);
    }
    Ok(())
}

impl State {
    pub(crate) fn on_created_for_quota(&mut self, path: &str) {
        if !path.starts_with(path::QUOTA) {
            return;
        }
        if let Some(prefix) = subject(path, path::QUOTA_LIMITS) {
            // Compat: C-60 limits of the root have no effect; they end a Java server.
            self.quotas.prefixes.extend(in_trie(prefix));
        } else if let Some(prefix) = subject(path, path::QUOTA_STATS) {
            self.recount(prefix);
        }
    }

    pub(crate) fn on_deleted_for_quota(&mut self, path: &str) {
        let prefix = subject(path, path::QUOTA_LIMITS).and_then(in_trie);
        if let Some(prefix) = prefix {
            self.quotas.prefixes.remove(&prefix);
        }
    }

    /// Counts a change at `path` for the quota that covers it.
    pub(crate) fn count_for_quota(&mut self, path: &str, nodes: i64, bytes: i64) {
        let Some(prefix) = self.quotas.prefix_of(path) else {
            return;
        };
        let stats = stats_path(prefix);
        let Some(node) = self.tree.find(&stats) else {
            return;
        };
        // Compat: C-05 counts that cannot be read begin again at nothing; a Java server dies of them.
        let mut track = self
            .tree
            .data(node)
            .and_then(Track::parse)
            .unwrap_or_else(Track::zero);
        track.set(
            track.count().saturating_add(nodes),
            track.bytes().saturating_add(bytes),
        );
        self.tree
            .set_data(node, &stats, Some(track.text().as_bytes()));
    }

    /// Writes the true counts of a subtree into its stats node.
    fn recount(&mut self, prefix: &str) {
        let stats = stats_path(prefix);
        let Some(node) = self.tree.find(&stats) else {
            return;
        };
        let mut track = Track::zero();
        if let Some(top) = self.tree.find(prefix) {
            let (mut count, mut bytes) = (0, 0);
            for id in core::iter::once(top).chain(self.tree.descendant_ids(top)) {
                count += 1;
                bytes += i64::try_from(self.tree.data(id).map_or(0, <[u8]>::len)).unwrap_or(0);
            }
            track.set(count, bytes);
        }
        self.tree
            .set_data(node, &stats, Some(track.text().as_bytes()));
    }

    /// Finds every quota again and counts anew, after a load.
    pub(crate) fn recount_quotas(&mut self) {
        self.quotas.prefixes.clear();
        let Some(top) = self.tree.find(path::QUOTA) else {
            return;
        };
        let limits: alloc::vec::Vec<String> = self
            .tree
            .descendant_ids(top)
            .filter(|id| self.tree.name(*id) == path::QUOTA_LIMITS)
            .map(|id| self.tree.path_of(id))
            .collect();
        for path in &limits {
            if let Some(prefix) = subject(path, path::QUOTA_LIMITS) {
                self.recount(prefix);
                self.quotas.prefixes.extend(in_trie(prefix));
            }
        }
    }

    /// Each path with a quota, its limits and its counts.
    pub fn quota_usages(&self) -> impl Iterator<Item = (&str, Track, Track)> {
        let track = |path: String| {
            let node = self.tree.find(&path)?;
            Track::parse(self.tree.data(node)?)
        };
        self.quotas.prefixes.iter().filter_map(move |prefix| {
            Some((
                prefix.as_str(),
                track(limits_path(prefix))?,
                track(stats_path(prefix))?,
            ))
        })
    }
}

#[cfg(test)]
mod tests;
