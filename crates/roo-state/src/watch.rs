//! The watch table: who wants to hear of which path. Java: `WatchManager`, `DataTree`'s two of
//! them.
//!
//! Watches are not replicated: each table belongs to the connections of one thread of one server.
//! A table does not know ACLs; whoever receives its deliveries drops those that the connection
//! may not see.
//!
//! Java's two tables (data and child) are one here: a watcher has one set of bits per path.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use hashbrown::hash_map::Entry;
use hashbrown::{DefaultHashBuilder, HashMap, HashSet, HashTable};
use roo_proto::path;
use roo_proto::reply::EventType;

use crate::acl_table::AclId;
use crate::state::Change;

/// Somebody who watches: a connection of the table's thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u32);

/// The ways to watch a path; a watcher can use several at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Modes(u8);

impl Modes {
    /// One-shot, on the node and its data (exists, getData).
    pub const DATA: Self = Self(1);
    /// One-shot, on the list of children (getChildren).
    pub const CHILD: Self = Self(2);
    /// Stays; node, data and list of children.
    pub const PERSISTENT: Self = Self(4);
    /// Stays; node and data of everything at and below the path.
    pub const RECURSIVE: Self = Self(8);
    /// What a change of the node or its data triggers.
    const NODE_TABLE: Self = Self(1 | 4 | 8);
    /// What a change of the children triggers.
    const CHILD_TABLE: Self = Self(2 | 4);
    const ANY: Self = Self(15);
    const NONE: Self = Self(0);

    const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// The modes that checkWatches and removeWatches mean by a number. Java: `WatcherType`.
    #[must_use]
    pub const fn of_watcher_type(kind: i32) -> Option<Self> {
        match kind {
            1 => Some(Self::CHILD),
            2 => Some(Self::DATA),
            3 => Some(Self::ANY),
            4 => Some(Self::PERSISTENT),
            5 => Some(Self::RECURSIVE),
            _ => None,
        }
    }
}

/// The watchers of one path. Most paths have one; a path that many watch needs no linear search.
#[derive(Debug)]
#[allow(clippy::box_collection)] // Boxed to keep the common case, one watcher, at 16 bytes.
enum Watchers {
    One(WatcherId, Modes),
    Few(Box<Vec<(WatcherId, Modes)>>),
    Many(Box<HashMap<WatcherId, Modes>>),
}

/// From this many on, watchers of a path are hashed.
const MANY: usize = 32;

impl Watchers {
    fn modes(&self, watcher: WatcherId) -> Modes {
        match self {
            Self::One(one, modes) if *one == watcher => *modes,
            Self::One(..) => Modes::NONE,
            Self::Few(list) => list
                .iter()
                .find(|(w, _)| *w == watcher)
                .map_or(Modes::NONE, |(_, m)| *m),
            Self::Many(map) => map.get(&watcher).copied().unwrap_or(Modes::NONE),
        }
    }

    fn set(&mut self, watcher: WatcherId, modes: Modes) {
        match self {
            Self::One(one, old) if *one == watcher => *old = modes,
            Self::One(one, old) => {
                *self = Self::Few(Box::new([(*one, *old), (watcher, modes)].into()));
            }
            Self::Few(list) => {
                if let Some(entry) = list.iter_mut().find(|(w, _)| *w == watcher) {
                    entry.1 = modes;
                } else if list.len() < MANY {
                    list.push((watcher, modes));
                } else {
                    let mut map: HashMap<_, _> = list.drain(..).collect();
                    map.insert(watcher, modes);
                    *self = Self::Many(Box::new(map));
                }
            }
            Self::Many(map) => {
                map.insert(watcher, modes);
            }
        }
        if modes == Modes::NONE {
            match self {
                Self::One(..) => {}
                Self::Few(list) => list.retain(|(w, _)| *w != watcher),
                Self::Many(map) => {
                    map.remove(&watcher);
                }
            }
        }
    }

    fn is_empty(&self) -> bool {
        match self {
            Self::One(_, modes) => *modes == Modes::NONE,
            Self::Few(list) => list.is_empty(),
            Self::Many(map) => map.is_empty(),
        }
    }

    fn for_each(&self, mut f: impl FnMut(WatcherId, Modes)) {
        match self {
            Self::One(watcher, modes) => f(*watcher, *modes),
            Self::Few(list) => list.iter().for_each(|(w, m)| f(*w, *m)),
            Self::Many(map) => map.iter().for_each(|(w, m)| f(*w, *m)),
        }
    }
}

#[derive(Debug)]
struct WatchedPath {
    path: Box<str>,
    watchers: Watchers,
}

/// An event for one watcher: who, what, where, and whose ACL decides whether it may be seen.
pub type Deliver<'d> = dyn FnMut(WatcherId, EventType, &str, AclId) + 'd;

/// See the module.
#[derive(Debug, Default)]
pub struct WatchTable {
    hasher: DefaultHashBuilder,
    /// Slots of watched paths; `None` is free.
    slots: Vec<Option<WatchedPath>>,
    free: Vec<u32>,
    index: HashTable<u32>,
    by_watcher: HashMap<WatcherId, HashSet<u32>>,
    recursive: usize,
    node_watches: usize,
    child_watches: usize,
    scratch: Vec<(WatcherId, Modes)>,
}

impl WatchTable {
    /// An empty table.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn hash(&self, path: &str) -> u64 {
        self.hasher.hash_one(path)
    }

    fn slot_of(&self, path: &str) -> Option<u32> {
        self.index
            .find(self.hash(path), |slot| {
                self.slots
                    .get(*slot as usize)
                    .and_then(Option::as_ref)
                    .is_some_and(|watched| &*watched.path == path)
            })
            .copied()
    }

    fn watched(&self, slot: u32) -> Option<&WatchedPath> {
        self.slots.get(slot as usize)?.as_ref()
    }

    /// Adds ways of watching; those present stay.
    #[allow(clippy::cast_possible_truncation)] // Slots are bounded by memory long before 2^32.
    pub fn add(&mut self, watcher: WatcherId, path: &str, modes: Modes) {
        let slot = match self.slot_of(path) {
            Some(slot) => slot,
            None => {
                let slot = self.free.pop().unwrap_or_else(|| {
                    self.slots.push(None);
                    (self.slots.len() - 1) as u32
                });
                if let Some(place) = self.slots.get_mut(slot as usize) {
                    *place = Some(WatchedPath {
                        path: path.into(),
                        watchers: Watchers::One(watcher, Modes::NONE),
                    });
                }
                let hash = self.hash(path);
                let (slots, hasher) = (&self.slots, &self.hasher);
                self.index.insert_unique(hash, slot, |slot| {
                    slots
                        .get(*slot as usize)
                        .and_then(Option::as_ref)
                        .map_or(0, |watched| hasher.hash_one(&*watched.path))
                });
                slot
            }
        };
        let old = self
            .watched(slot)
            .map_or(Modes::NONE, |w| w.watchers.modes(watcher));
        self.change(slot, watcher, old, old.or(modes));
    }

    /// The one place that changes a watcher's modes on a path and keeps every count and index.
    fn change(&mut self, slot: u32, watcher: WatcherId, old: Modes, new: Modes) {
        if old == new {
            return;
        }
        let count = |table: Modes, modes: Modes| usize::from(modes.meets(table));
        self.node_watches += count(Modes::NODE_TABLE, new);
        self.node_watches -= count(Modes::NODE_TABLE, old);
        self.child_watches += count(Modes::CHILD_TABLE, new);
        self.child_watches -= count(Modes::CHILD_TABLE, old);
        self.recursive += count(Modes::RECURSIVE, new);
        self.recursive -= count(Modes::RECURSIVE, old);
        let Some(watched) = self.slots.get_mut(slot as usize).and_then(Option::as_mut) else {
            return;
        };
        watched.watchers.set(watcher, new);
        let is_empty = watched.watchers.is_empty();
        if old == Modes::NONE {
            self.by_watcher.entry(watcher).or_default().insert(slot);
        } else if new == Modes::NONE
            && let Entry::Occupied(mut paths) = self.by_watcher.entry(watcher)
        {
            paths.get_mut().remove(&slot);
            if paths.get().is_empty() {
                paths.remove();
            }
        }
        if is_empty {
            self.release(slot);
        }
    }

    fn release(&mut self, slot: u32) {
        let Some(watched) = self.slots.get_mut(slot as usize).and_then(Option::take) else {
            return;
        };
        let hash = self.hash(&watched.path);
        if let Ok(entry) = self.index.find_entry(hash, |other| *other == slot) {
            entry.remove();
        }
        self.free.push(slot);
    }

    /// The ways in which a watcher watches a path.
    fn modes(&self, watcher: WatcherId, path: &str) -> Modes {
        self.slot_of(path)
            .and_then(|slot| self.watched(slot))
            .map_or(Modes::NONE, |watched| watched.watchers.modes(watcher))
    }

    /// Whether the watcher watches the path in one of these ways.
    #[must_use]
    pub fn contains(&self, watcher: WatcherId, path: &str, modes: Modes) -> bool {
        self.modes(watcher, path).meets(modes)
    }

    /// Takes these ways of watching away; false when there was none of them.
    pub fn remove(&mut self, watcher: WatcherId, path: &str, modes: Modes) -> bool {
        let Some(slot) = self.slot_of(path) else {
            return false;
        };
        let old = self.modes(watcher, path);
        self.change(slot, watcher, old, old.without(modes));
        old.meets(modes)
    }

    /// Forgets a watcher.
    pub fn remove_watcher(&mut self, watcher: WatcherId) {
        for slot in self.by_watcher.remove(&watcher).unwrap_or_default() {
            let old = self
                .watched(slot)
                .map_or(Modes::NONE, |w| w.watchers.modes(watcher));
            self.change(slot, watcher, old, Modes::NONE);
        }
    }

    /// Whether nothing is watched, so that firing can be skipped.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.index.is_empty()
    }

    /// Delivers what a change means to this table's watchers, in the order in which each must
    /// learn it; one-shot watches that are hit are gone afterwards.
    pub fn fire(&mut self, change: &Change, deliver: &mut Deliver<'_>) {
        if self.is_empty() {
            return;
        }
        match change {
            Change::Created {
                path,
                acl,
                parent_acl,
                ..
            } => {
                self.trigger(
                    path,
                    Modes::NODE_TABLE,
                    EventType::NodeCreated,
                    *acl,
                    deliver,
                );
                self.trigger_parent(path, *parent_acl, deliver);
            }
            Change::Deleted {
                path,
                acl,
                parent_acl,
            } => {
                let tables = Modes::NODE_TABLE.or(Modes::CHILD_TABLE);
                self.trigger(path, tables, EventType::NodeDeleted, *acl, deliver);
                self.trigger_parent(path, *parent_acl, deliver);
            }
            Change::DataChanged { path, acl, .. } => {
                self.trigger(
                    path,
                    Modes::NODE_TABLE,
                    EventType::NodeDataChanged,
                    *acl,
                    deliver,
                );
            }
        }
    }

    fn trigger_parent(&mut self, path: &str, acl: AclId, deliver: &mut Deliver<'_>) {
        if let Some((parent, _)) = path::split(path) {
            let event = EventType::NodeChildrenChanged;
            self.trigger(parent, Modes::CHILD_TABLE, event, acl, deliver);
        }
    }

    /// One event per watcher, whatever the number of its watches that are hit.
    fn trigger(
        &mut self,
        path: &str,
        tables: Modes,
        event: EventType,
        acl: AclId,
        deliver: &mut Deliver<'_>,
    ) {
        let mut hit = core::mem::take(&mut self.scratch);
        if let Some(slot) = self.slot_of(path) {
            if let Some(watched) = self.watched(slot) {
                watched.watchers.for_each(|watcher, modes| {
                    if modes.meets(tables) {
                        hit.push((watcher, modes));
                    }
                });
            }
            let consumed = tables.and(Modes::DATA.or(Modes::CHILD));
            for (watcher, modes) in &hit {
                self.change(slot, *watcher, *modes, modes.without(consumed));
            }
        }
        if self.recursive > 0 && tables.meets(Modes::RECURSIVE) {
            self.add_recursive_of_ancestors(path, &mut hit);
        }
        for (watcher, _) in hit.drain(..) {
            deliver(watcher, event, path, acl);
        }
        self.scratch = hit;
    }

    fn add_recursive_of_ancestors(&self, path: &str, hit: &mut Vec<(WatcherId, Modes)>) {
        let at_path = hit.len();
        let mut ancestor = path;
        while ancestor != "/"
            && let Some((parent, _)) = path::split(ancestor)
        {
            ancestor = parent;
            let Some(watched) = self.slot_of(ancestor).and_then(|slot| self.watched(slot)) else {
                continue;
            };
            watched.watchers.for_each(|watcher, modes| {
                if modes.meets(Modes::RECURSIVE) {
                    hit.push((watcher, modes));
                }
            });
        }
        if hit.len() > at_path {
            hit.sort_unstable_by_key(|(watcher, _)| *watcher);
            hit.dedup_by_key(|(watcher, _)| *watcher);
        }
    }

    /// Watches on nodes and their data, as `wchs` counts them: one per watcher and path.
    #[must_use]
    pub const fn node_watches(&self) -> usize {
        self.node_watches
    }

    /// Watches on lists of children: one per watcher and path.
    #[must_use]
    pub const fn child_watches(&self) -> usize {
        self.child_watches
    }

    /// Calls `f` with each path and watcher of [`WatchTable::node_watches`].
    pub fn for_each_node_watch(&self, mut f: impl FnMut(&str, WatcherId)) {
        for watched in self.slots.iter().flatten() {
            watched.watchers.for_each(|watcher, modes| {
                if modes.meets(Modes::NODE_TABLE) {
                    f(&watched.path, watcher);
                }
            });
        }
    }

    /// What a watcher watches, as text; for tests and diagnosis.
    #[must_use]
    pub fn paths_of(&self, watcher: WatcherId) -> Vec<String> {
        let mut paths: Vec<String> = self
            .by_watcher
            .get(&watcher)
            .into_iter()
            .flatten()
            .filter_map(|slot| self.watched(*slot))
            .map(|watched| String::from(&*watched.path))
            .collect();
        paths.sort_unstable();
        paths
    }
}

#[cfg(test)]
mod tests;
