//! The znodes, as a binary tree: each node knows its first child and its next sibling. Java:
//! `DataTree`, `DataNode`.
//!
//! An arena of fixed-size nodes in chunks, so that growth never copies them. A node stores the
//! last component of its path together with its data; an index from the hash of the whole path
//! to the node stores no path at all. Both insertion and removal of a child are O(1), whatever
//! the number of its siblings.

use alloc::boxed::Box;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::hash::BuildHasher;

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use roo_proto::acl::Acl;
use roo_proto::ids::SessionId;
use roo_proto::path;
use roo_proto::stat::{Stat, StatPersisted};

use crate::acl_table::{AclId, AclTable};
use crate::digest;
use crate::snapshot::SnapshotCursor;
use crate::state::Rules;

/// A node of the tree, valid until it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// The node at "/".
pub const ROOT: NodeId = NodeId(0);

/// No node.
const NONE: u32 = u32::MAX;

/// Owner of a container. Java: `EphemeralType.CONTAINER_EPHEMERAL_OWNER`.
pub const CONTAINER_OWNER: i64 = i64::MIN;
const TTL_MARK: i64 = (0xFFu64 << 56).cast_signed();
const TTL_VALUE: i64 = 0xFF_FFFF_FFFF;
/// Bits 40 to 55 of an extended owner name its kind; 0 is TTL.
const EXTENDED_KIND: i64 = 0xFFFF << 40;

/// What a node is besides its data. Java: `EphemeralType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NodeKind {
    /// Stays until it is deleted.
    Persistent,
    /// Ends with the session that made it.
    Ephemeral(SessionId),
    /// Collected when its last child is gone.
    Container,
    /// Collected when it has had neither children nor changes for so many milliseconds.
    Ttl(i64),
}

/// The owner stored with a node that lives `ttl` ms.
#[must_use]
pub const fn ttl_owner(ttl: i64) -> i64 {
    TTL_MARK | ttl
}

/// What an owner says of its node. TTL owners are read as such only when the types are switched
/// on, otherwise as those of odd sessions.
#[must_use]
pub const fn kind_of(owner: i64, rules: &Rules) -> NodeKind {
    if owner == 0 {
        return NodeKind::Persistent;
    }
    if owner == CONTAINER_OWNER {
        return NodeKind::Container;
    }
    if rules.extended_types {
        if owner & TTL_MARK == TTL_MARK && owner & EXTENDED_KIND == 0 {
            return NodeKind::Ttl(owner & TTL_VALUE);
        }
        if rules.emulate_353_ttl && owner < 0 {
            return NodeKind::Ttl(owner & i64::MAX);
        }
    }
    NodeKind::Ephemeral(SessionId(owner))
}

/// The data is null, not empty.
const NULL_DATA: u8 = 1;
/// The node lies below /zookeeper and is no part of the digest.
const UNCOUNTED: u8 = 2;
/// The slot holds a node.
const LIVE: u8 = 4;

#[derive(Debug)]
pub(crate) struct Node {
    parent: u32,
    first_child: u32,
    next: u32,
    prev: u32,
    hash: u32,
    content_crc: u32,
    num_children: u32,
    name_len: u32,
    acl: AclId,
    flags: u8,
    stat: StatPersisted,
    /// Name, then data.
    blob: Box<[u8]>,
}

impl Node {
    fn name(&self) -> &[u8] {
        self.blob.get(..self.name_len as usize).unwrap_or_default()
    }

    fn data(&self) -> Option<&[u8]> {
        if self.flags & NULL_DATA != 0 {
            return None;
        }
        self.blob.get(self.name_len as usize..)
    }

    fn digest(&self) -> u64 {
        if self.flags & UNCOUNTED != 0 {
            return 0;
        }
        digest::node_digest(self.content_crc, &self.stat)
    }
}

fn blob_of(name: &[u8], data: Option<&[u8]>) -> Box<[u8]> {
    let data = data.unwrap_or_default();
    let mut blob = Vec::with_capacity(name.len() + data.len());
    blob.extend_from_slice(name);
    blob.extend_from_slice(data);
    blob.into_boxed_slice()
}

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;
const SHARDS: usize = 256;

/// See the module.
#[derive(Debug)]
pub struct Tree {
    chunks: Vec<Vec<Node>>,
    free: Vec<u32>,
    live: usize,
    hasher: FixedState,
    /// Split, so that growing one of them is a short pause.
    index: Box<[HashTable<u32>]>,
    /// The interned ACL lists.
    pub acls: AclTable,
    rules: Rules,
    digest: u64,
    /// Bytes of all paths and data.
    bytes: u64,
    ephemerals: BTreeMap<SessionId, BTreeSet<NodeId>>,
    ephemeral_count: usize,
    /// Containers and TTL nodes.
    collectable: BTreeSet<NodeId>,
    pub(crate) snapshot: Option<SnapshotCursor>,
}

/// A node to be made.
#[derive(Debug)]
pub(crate) struct NewNode<'a> {
    pub(crate) path: &'a str,
    pub(crate) data: Option<&'a [u8]>,
    pub(crate) acl: AclId,
    pub(crate) stat: StatPersisted,
}

impl Tree {
    /// A tree of nothing but its root.
    pub(crate) fn new(rules: Rules, hash_seed: u64) -> Self {
        let mut tree = Self {
            chunks: Vec::new(),
            free: Vec::new(),
            live: 0,
            hasher: FixedState::with_seed(hash_seed),
            index: (0..SHARDS).map(|_| HashTable::new()).collect(),
            acls: AclTable::default(),
            rules,
            digest: 0,
            bytes: 1,
            ephemerals: BTreeMap::new(),
            ephemeral_count: 0,
            collectable: BTreeSet::new(),
            snapshot: None,
        };
        let root = Node {
            parent: NONE,
            first_child: NONE,
            next: NONE,
            prev: NONE,
            hash: 0,
            content_crc: digest::content_crc("/", Some(&[])),
            num_children: 0,
            name_len: 0,
            acl: AclId::OPEN,
            flags: LIVE,
            stat: StatPersisted::default(),
            blob: Box::default(),
        };
        tree.digest = root.digest();
        tree.place(root);
        tree
    }

    #[allow(clippy::indexing_slicing)] // A `NodeId` is only made for a slot that exists.
    fn at(&self, id: NodeId) -> &Node {
        &self.chunks[(id.0 >> CHUNK_BITS) as usize][id.0 as usize & (CHUNK - 1)]
    }

    #[allow(clippy::indexing_slicing)]
    fn at_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.chunks[(id.0 >> CHUNK_BITS) as usize][id.0 as usize & (CHUNK - 1)]
    }

    /// Slots, used or not; ids are below it.
    pub(crate) fn slots(&self) -> u32 {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        let last = self.chunks.last().map_or(0, Vec::len);
        u32::try_from(full + last).unwrap_or(NONE)
    }

    pub(crate) fn is_live(&self, slot: u32) -> bool {
        self.chunks
            .get((slot >> CHUNK_BITS) as usize)
            .and_then(|chunk| chunk.get(slot as usize & (CHUNK - 1)))
            .is_some_and(|node| node.flags & LIVE != 0)
    }

    fn place(&mut self, node: Node) -> NodeId {
        self.live += 1;
        if let Some(slot) = self.free.pop() {
            *self.at_mut(NodeId(slot)) = node;
            return NodeId(slot);
        }
        if self.chunks.last().is_none_or(|chunk| chunk.len() == CHUNK) {
            self.chunks.push(Vec::with_capacity(CHUNK));
        }
        let slot = self.slots();
        if let Some(chunk) = self.chunks.last_mut() {
            chunk.push(node);
        }
        NodeId(slot)
    }

    #[allow(clippy::cast_possible_truncation)] // Any 32 bits of the hash will do.
    fn hash(&self, path: &str) -> u32 {
        (self.hasher.hash_one(path.as_bytes()) >> 16) as u32
    }

    fn shard(hash: u32) -> usize {
        hash as usize % SHARDS
    }

    /// Spreads the stored 32 bits over the 64 that the table looks at.
    fn spread(hash: u32) -> u64 {
        u64::from(hash).wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// The node at a path; "" is the root. Nothing is validated: what is no path is absent.
    #[must_use]
    pub fn find(&self, path: &str) -> Option<NodeId> {
        if path.is_empty() || path == "/" {
            return Some(ROOT);
        }
        let hash = self.hash(path);
        let shard = self.index.get(Self::shard(hash))?;
        shard
            .find(Self::spread(hash), |slot| {
                self.is_at(NodeId(*slot), hash, path)
            })
            .map(|s| NodeId(*s))
    }

    /// Compares a path with a node's, component by component from the end.
    fn is_at(&self, id: NodeId, hash: u32, path: &str) -> bool {
        let mut node = self.at(id);
        if node.hash != hash {
            return false;
        }
        let mut rest = path.as_bytes();
        loop {
            let Some(front) = rest.strip_suffix(node.name()) else {
                return false;
            };
            let Some(front) = front.strip_suffix(b"/") else {
                return false;
            };
            rest = front;
            if node.parent == ROOT.0 {
                return rest.is_empty();
            }
            node = self.at(NodeId(node.parent));
        }
    }

    /// The node's data; null and empty differ.
    #[must_use]
    pub fn data(&self, id: NodeId) -> Option<&[u8]> {
        self.at(id).data()
    }

    /// What files keep of the node.
    #[must_use]
    pub fn persisted(&self, id: NodeId) -> StatPersisted {
        self.at(id).stat
    }

    /// What clients see of the node.
    #[must_use]
    pub fn stat(&self, id: NodeId) -> Stat {
        let node = self.at(id);
        let children = node.num_children.cast_signed();
        let stat = &node.stat;
        Stat {
            czxid: stat.czxid,
            mzxid: stat.mzxid,
            ctime: stat.ctime,
            mtime: stat.mtime,
            version: stat.version,
            cversion: stat.cversion.wrapping_mul(2).wrapping_sub(children),
            aversion: stat.aversion,
            ephemeral_owner: match kind_of(stat.ephemeral_owner, &self.rules) {
                NodeKind::Ephemeral(session) => session.0,
                NodeKind::Persistent | NodeKind::Container | NodeKind::Ttl(_) => 0,
            },
            data_length: i32::try_from(node.data().map_or(0, <[u8]>::len)).unwrap_or(i32::MAX),
            num_children: children,
            pzxid: stat.pzxid,
        }
    }

    /// The node's ACL.
    #[must_use]
    pub fn acl_id(&self, id: NodeId) -> AclId {
        self.at(id).acl
    }

    /// The node above; none above the root.
    #[must_use]
    pub fn parent(&self, id: NodeId) -> Option<NodeId> {
        let parent = self.at(id).parent;
        (parent != NONE).then_some(NodeId(parent))
    }

    /// Children now.
    #[must_use]
    pub fn num_children(&self, id: NodeId) -> u32 {
        self.at(id).num_children
    }

    /// The stored owner: a session, or a mark of the node's kind.
    #[must_use]
    pub fn owner(&self, id: NodeId) -> i64 {
        self.at(id).stat.ephemeral_owner
    }

    /// The last component of the path; empty for the root.
    #[must_use]
    pub fn name(&self, id: NodeId) -> &str {
        core::str::from_utf8(self.at(id).name()).unwrap_or_default()
    }

    /// Names of the children, in no particular order.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = &str> {
        self.child_ids(id).map(|child| self.name(child))
    }

    /// The children, in no particular order.
    pub fn child_ids(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let first = self.at(id).first_child;
        core::iter::successors((first != NONE).then_some(NodeId(first)), |child| {
            let next = self.at(*child).next;
            (next != NONE).then_some(NodeId(next))
        })
    }

    /// Every node below `id`, parents first.
    pub fn descendant_ids(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let mut stack: Vec<NodeId> = self.child_ids(id).collect();
        core::iter::from_fn(move || {
            let next = stack.pop()?;
            stack.extend(self.child_ids(next));
            Some(next)
        })
    }

    /// The whole path.
    #[must_use]
    pub fn path_of(&self, id: NodeId) -> String {
        let mut names = Vec::new();
        let mut at = id;
        while at != ROOT {
            names.push(self.name(at));
            at = NodeId(self.at(at).parent);
        }
        if names.is_empty() {
            return "/".into();
        }
        let mut path = String::with_capacity(names.iter().map(|name| name.len() + 1).sum());
        for name in names.iter().rev() {
            path.push('/');
            path.push_str(name);
        }
        path
    }

    /// See [`digest::content_crc`].
    #[must_use]
    pub fn content_crc(&self, id: NodeId) -> u32 {
        self.at(id).content_crc
    }

    /// All nodes, the root once.
    #[must_use]
    pub const fn node_count(&self) -> usize {
        self.live
    }

    /// Bytes of all paths and data. Java: `approximateDataSize`.
    #[must_use]
    pub const fn data_size(&self) -> u64 {
        self.bytes
    }

    /// The digest of the whole tree.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.digest
    }

    /// What getAllChildrenNumber answers. Java's map holds the root under two names, which shows
    /// in the count for either.
    #[must_use]
    pub fn descendants(&self, path: &str) -> usize {
        match path {
            "" => self.live,
            "/" => self.live - 1,
            _ => self
                .find(path)
                .map_or(0, |id| self.descendant_ids(id).count()),
        }
    }

    /// Ephemerals of a session.
    pub(crate) fn ephemerals_of(&self, session: SessionId) -> impl Iterator<Item = NodeId> {
        self.ephemerals.get(&session).into_iter().flatten().copied()
    }

    pub(crate) fn sessions_with_ephemerals(&self) -> impl Iterator<Item = SessionId> {
        self.ephemerals.keys().copied()
    }

    pub(crate) const fn ephemeral_count(&self) -> usize {
        self.ephemeral_count
    }

    /// Containers and TTL nodes.
    pub(crate) fn collectable(&self) -> impl Iterator<Item = NodeId> {
        self.collectable.iter().copied()
    }

    /// Makes a node below `parent`, which must be that of the path; the ACL reference is the
    /// node's from here on.
    pub(crate) fn insert(&mut self, parent: NodeId, new: &NewNode<'_>) -> NodeId {
        let name = path::split(new.path)
            .map_or("", |(_, name)| name)
            .as_bytes();
        let hash = self.hash(new.path);
        let above = self.at(parent);
        let below_zookeeper = above.flags & UNCOUNTED != 0
            || (above.parent == ROOT.0 && above.name() == b"zookeeper");
        let mut flags = LIVE;
        if new.data.is_none() {
            flags |= NULL_DATA;
        }
        if below_zookeeper {
            flags |= UNCOUNTED;
        }
        let next = above.first_child;
        let node = Node {
            parent: parent.0,
            first_child: NONE,
            next,
            prev: NONE,
            hash,
            content_crc: digest::content_crc(new.path, new.data),
            num_children: 0,
            name_len: u32::try_from(name.len()).unwrap_or(NONE),
            acl: new.acl,
            flags,
            stat: new.stat,
            blob: blob_of(name, new.data),
        };
        if self.rules.digest {
            self.digest = self.digest.wrapping_add(node.digest());
        }
        self.bytes += (new.path.len() + new.data.map_or(0, <[u8]>::len)) as u64;
        let id = self.place(node);
        if next != NONE {
            self.at_mut(NodeId(next)).prev = id.0;
        }
        let above = self.at_mut(parent);
        above.first_child = id.0;
        above.num_children += 1;
        self.enter(id, hash);
        self.classify(id, new.stat.ephemeral_owner);
        if let Some(cursor) = &mut self.snapshot {
            cursor.on_insert(id);
        }
        id
    }

    fn enter(&mut self, id: NodeId, hash: u32) {
        let chunks = &self.chunks;
        if let Some(shard) = self.index.get_mut(Self::shard(hash)) {
            shard.insert_unique(Self::spread(hash), id.0, |slot| {
                chunks
                    .get((*slot >> CHUNK_BITS) as usize)
                    .and_then(|chunk| chunk.get(*slot as usize & (CHUNK - 1)))
                    .map_or(0, |node| Self::spread(node.hash))
            });
        }
    }

    fn classify(&mut self, id: NodeId, owner: i64) {
        match kind_of(owner, &self.rules) {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => {
                self.ephemerals.entry(session).or_default().insert(id);
                self.ephemeral_count += 1;
            }
            NodeKind::Container | NodeKind::Ttl(_) => {
                self.collectable.insert(id);
            }
        }
    }

    fn declassify(&mut self, id: NodeId, owner: i64) {
        match kind_of(owner, &self.rules) {
            NodeKind::Persistent => {}
            NodeKind::Ephemeral(session) => {
                if let Some(set) = self.ephemerals.get_mut(&session) {
                    self.ephemeral_count -= usize::from(set.remove(&id));
                    if set.is_empty() {
                        self.ephemerals.remove(&session);
                    }
                }
            }
            NodeKind::Container | NodeKind::Ttl(_) => {
                self.collectable.remove(&id);
            }
        }
    }

    /// Takes a node and everything below it away. Never the root.
    pub(crate) fn remove(&mut self, id: NodeId) {
        if id == ROOT {
            return;
        }
        let mut doomed: Vec<NodeId> = self.descendant_ids(id).collect();
        // A snapshot wants every record as it was, so all are saved before the first one goes.
        for node in doomed.iter().chain([&id]) {
            self.before_change(*node);
        }
        while let Some(below) = doomed.pop() {
            self.remove_leaf(below);
        }
        self.remove_leaf(id);
    }

    fn remove_leaf(&mut self, id: NodeId) {
        let path_len = self.path_len(id);
        let node = self.at(id);
        let (parent, prev, next, hash, acl) =
            (node.parent, node.prev, node.next, node.hash, node.acl);
        let (owner, digest) = (node.stat.ephemeral_owner, node.digest());
        let data_len = node.data().map_or(0, <[u8]>::len);
        if self.rules.digest {
            self.digest = self.digest.wrapping_sub(digest);
        }
        self.bytes -= (path_len + data_len) as u64;
        if prev == NONE {
            self.at_mut(NodeId(parent)).first_child = next;
        } else {
            self.at_mut(NodeId(prev)).next = next;
        }
        if next != NONE {
            self.at_mut(NodeId(next)).prev = prev;
        }
        self.at_mut(NodeId(parent)).num_children -= 1;
        if let Some(shard) = self.index.get_mut(Self::shard(hash))
            && let Ok(entry) = shard.find_entry(Self::spread(hash), |slot| *slot == id.0)
        {
            entry.remove();
        }
        self.declassify(id, owner);
        self.acls.release(acl);
        let node = self.at_mut(id);
        node.flags = 0;
        node.blob = Box::default();
        self.live -= 1;
        self.free.push(id.0);
    }

    fn path_len(&self, id: NodeId) -> usize {
        let mut len = 0;
        let mut at = id;
        while at != ROOT {
            let node = self.at(at);
            len += node.name_len as usize + 1;
            at = NodeId(node.parent);
        }
        len
    }

    /// Every change of a node goes through here: a snapshot under way saves the record as it was,
    /// and the digest follows.
    pub(crate) fn change_stat(&mut self, id: NodeId, change: impl FnOnce(&mut StatPersisted)) {
        self.before_change(id);
        let digest = self.rules.digest;
        let node = self.at_mut(id);
        let before = if digest { node.digest() } else { 0 };
        change(&mut node.stat);
        let after = if digest { node.digest() } else { 0 };
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
    }

    /// Replaces the data of a node. `path` is the node's.
    pub(crate) fn set_data(&mut self, id: NodeId, path: &str, data: Option<&[u8]>) {
        self.before_change(id);
        let digest = self.rules.digest;
        let node = self.at_mut(id);
        let before = if digest { node.digest() } else { 0 };
        let old_len = node.data().map_or(0, <[u8]>::len);
        let fits = node.blob.len() == node.name_len as usize + data.map_or(0, <[u8]>::len);
        if fits && let Some(place) = node.blob.get_mut(node.name_len as usize..) {
            place.copy_from_slice(data.unwrap_or_default());
        } else {
            node.blob = blob_of(node.name(), data);
        }
        node.flags = if data.is_none() {
            node.flags | NULL_DATA
        } else {
            node.flags & !NULL_DATA
        };
        node.content_crc = digest::content_crc(path, data);
        let after = if digest { node.digest() } else { 0 };
        self.digest = self.digest.wrapping_sub(before).wrapping_add(after);
        self.bytes = self.bytes - old_len as u64 + data.map_or(0, <[u8]>::len) as u64;
    }

    /// Replaces the ACL of a node.
    pub(crate) fn set_acl(&mut self, id: NodeId, list: &[Acl]) {
        self.before_change(id);
        let new = self.acls.acquire(list);
        let old = core::mem::replace(&mut self.at_mut(id).acl, new);
        self.acls.release(old);
    }

    /// Gives a node an interned ACL, when it is loaded.
    pub(crate) fn replace_acl(&mut self, id: NodeId, acl: AclId) {
        self.acls.retain(acl);
        let old = core::mem::replace(&mut self.at_mut(id).acl, acl);
        self.acls.release(old);
    }

    fn before_change(&mut self, id: NodeId) {
        if let Some(mut cursor) = self.snapshot.take() {
            cursor.before_change(self, id);
            self.snapshot = Some(cursor);
        }
    }
}

#[cfg(test)]
mod tests;
