//! Which watches are set, who is told of what, and in which packets they are registered again.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use roo_proto::path;
use roo_proto::request::SetWatches;

use super::WatcherId;
use crate::watch::EventKind;

/// How a watch is set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // By the operation of its name.
pub enum WatchedBy {
    Exists,
    GetData,
    GetChildren,
    Persistent,
    PersistentRecursive,
}

/// Which watches of a path are taken back, as the wire numbers them. Java: `WatcherType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The watches of its name.
pub enum Unwatching {
    Children = 1,
    Data = 2,
    Any = 3,
    Persistent = 4,
    PersistentRecursive = 5,
}

/// The kinds of watches, as setWatches lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Table {
    Data,
    Exist,
    Child,
    Persistent,
    Recursive,
}

const TABLES: [Table; 5] = [
    Table::Data,
    Table::Exist,
    Table::Child,
    Table::Persistent,
    Table::Recursive,
];

impl Table {
    const fn is_one_shot(self) -> bool {
        matches!(self, Self::Data | Self::Exist | Self::Child)
    }

    /// How the server's watch of this kind is taken back.
    pub(super) const fn unwatching(self) -> Unwatching {
        match self {
            Self::Data | Self::Exist => Unwatching::Data,
            Self::Child => Unwatching::Children,
            Self::Persistent => Unwatching::Persistent,
            Self::Recursive => Unwatching::PersistentRecursive,
        }
    }
}

impl Unwatching {
    pub(super) const fn covers(self, table: Table) -> bool {
        matches!(
            (self, table),
            (Self::Any, _)
                | (Self::Children, Table::Child)
                | (Self::Data, Table::Data | Table::Exist)
                | (Self::Persistent, Table::Persistent)
                | (Self::PersistentRecursive, Table::Recursive)
        )
    }
}

/// Paths of one setWatches packet. Java: `SET_WATCHES_MAX_LENGTH`.
const BATCH_BYTES: usize = 128 * 1024;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Watches {
    tables: [BTreeMap<String, Vec<WatcherId>>; 5],
    by_id: BTreeMap<WatcherId, (Table, String)>,
    /// Streams that are told of a gap soon: what they are told before says nothing more.
    in_gap: BTreeSet<WatcherId>,
}

/// A packet's worth of watches to register again.
pub(super) struct Batch<'a> {
    pub(super) watches: SetWatches<'a>,
    /// Those to tell of the gap.
    pub(super) told: Vec<WatcherId>,
}

impl Watches {
    fn table(&self, table: Table) -> &BTreeMap<String, Vec<WatcherId>> {
        let [data, exist, child, persistent, recursive] = &self.tables;
        match table {
            Table::Data => data,
            Table::Exist => exist,
            Table::Child => child,
            Table::Persistent => persistent,
            Table::Recursive => recursive,
        }
    }

    fn table_mut(&mut self, table: Table) -> &mut BTreeMap<String, Vec<WatcherId>> {
        let [data, exist, child, persistent, recursive] = &mut self.tables;
        match table {
            Table::Data => data,
            Table::Exist => exist,
            Table::Child => child,
            Table::Persistent => persistent,
            Table::Recursive => recursive,
        }
    }

    pub(super) fn add(&mut self, watcher: WatcherId, table: Table, path: String) {
        let watchers = self.table_mut(table).entry(path.clone()).or_default();
        watchers.push(watcher);
        self.by_id.insert(watcher, (table, path));
    }

    /// Takes a watcher away; where it was, if it was the last of its server's watch.
    pub(super) fn remove(&mut self, watcher: WatcherId) -> Removed {
        let Some((table, path)) = self.by_id.remove(&watcher) else {
            return Removed::Unknown;
        };
        if let Some(watchers) = self.table_mut(table).get_mut(&path) {
            watchers.retain(|other| *other != watcher);
            if watchers.is_empty() {
                self.table_mut(table).remove(&path);
            }
        }
        let what = table.unwatching();
        let shared = TABLES
            .iter()
            .any(|other| what.covers(*other) && self.table(*other).contains_key(&path));
        if shared {
            Removed::OthersLeft
        } else {
            Removed::Last(what, path)
        }
    }

    /// Whether anybody watches a path, in whatever way.
    pub(super) fn are_on(&self, path: &str) -> bool {
        self.tables.iter().any(|table| table.contains_key(path))
    }

    /// Takes the watches of a path away that are covered.
    pub(super) fn remove_all(&mut self, what: Unwatching, path: &str) -> Vec<WatcherId> {
        let mut removed = Vec::new();
        for table in TABLES {
            if what.covers(table) {
                removed.extend(self.table_mut(table).remove(path).unwrap_or_default());
            }
        }
        for watcher in &removed {
            self.by_id.remove(watcher);
        }
        removed
    }

    /// Everybody, and nobody is left.
    pub(super) fn drain(&mut self) -> Vec<WatcherId> {
        self.tables = Default::default();
        let all = std::mem::take(&mut self.by_id);
        all.into_keys().collect()
    }

    /// Who is told of an event, each with whether its watch is gone by that. Java:
    /// `ZKWatchManager.materialize`.
    pub(super) fn fire(&mut self, kind: EventKind, path: &str) -> Vec<(WatcherId, bool)> {
        let tables: &[Table] = match kind {
            EventKind::Created | EventKind::DataChanged => {
                &[Table::Data, Table::Exist, Table::Persistent]
            }
            EventKind::ChildrenChanged => &[Table::Child, Table::Persistent],
            EventKind::Deleted => &[Table::Data, Table::Exist, Table::Child, Table::Persistent],
            EventKind::Gap => &[],
        };
        let mut told: Vec<(WatcherId, bool)> = Vec::new();
        for table in tables {
            if table.is_one_shot() {
                let fired = self.table_mut(*table).remove(path).unwrap_or_default();
                for watcher in &fired {
                    self.by_id.remove(watcher);
                }
                told.extend(fired.into_iter().map(|watcher| (watcher, true)));
            } else if let Some(watchers) = self.table(*table).get(path) {
                told.extend(watchers.iter().map(|watcher| (*watcher, false)));
            }
        }
        if kind != EventKind::ChildrenChanged && !self.table(Table::Recursive).is_empty() {
            self.fire_recursive(path, &mut told);
        }
        told.retain(|(watcher, _)| !self.in_gap.contains(watcher));
        told
    }

    fn fire_recursive(&self, path: &str, told: &mut Vec<(WatcherId, bool)>) {
        let recursive = self.table(Table::Recursive);
        let mut at = path;
        loop {
            if let Some(watchers) = recursive.get(at) {
                told.extend(watchers.iter().map(|watcher| (*watcher, false)));
            }
            match path::split(at) {
                Some((parent, _)) if at != "/" => at = parent,
                _ => return,
            }
        }
    }

    /// The streams among them wait for a gap from here on.
    pub(super) fn begin_gap(&mut self) {
        let streams = [Table::Persistent, Table::Recursive];
        let watchers = streams.iter().flat_map(|table| self.table(*table).values());
        self.in_gap = watchers.flatten().copied().collect();
    }

    pub(super) fn end_gap(&mut self, watcher: WatcherId) {
        self.in_gap.remove(&watcher);
    }

    /// Everything, in packets that are not too large.
    pub(super) fn batches(&self, relative_zxid: i64) -> Vec<Batch<'_>> {
        let new = || Batch {
            watches: SetWatches {
                relative_zxid,
                data: Vec::new(),
                exist: Vec::new(),
                child: Vec::new(),
                persistent: Vec::new(),
                persistent_recursive: Vec::new(),
            },
            told: Vec::new(),
        };
        let mut batches = Vec::new();
        let mut batch = new();
        let mut bytes = 0;
        for table in TABLES {
            for (path, watchers) in self.table(table) {
                if bytes > 0 && bytes + path.len() + 4 > BATCH_BYTES {
                    batches.push(std::mem::replace(&mut batch, new()));
                    bytes = 0;
                }
                bytes += path.len() + 4;
                let list = match table {
                    Table::Data => &mut batch.watches.data,
                    Table::Exist => &mut batch.watches.exist,
                    Table::Child => &mut batch.watches.child,
                    Table::Persistent => &mut batch.watches.persistent,
                    Table::Recursive => &mut batch.watches.persistent_recursive,
                };
                list.push(Cow::Borrowed(path.as_str()));
                if !table.is_one_shot() {
                    batch.told.extend(watchers);
                }
            }
        }
        if bytes > 0 {
            batches.push(batch);
        }
        batches
    }

    /// The path of a watcher.
    pub(super) fn path(&self, watcher: WatcherId) -> Option<&str> {
        self.by_id.get(&watcher).map(|(_, path)| path.as_str())
    }
}

/// What taking a watcher away came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Removed {
    Unknown,
    OthersLeft,
    /// The server's watch is of no use any more.
    Last(Unwatching, String),
}
