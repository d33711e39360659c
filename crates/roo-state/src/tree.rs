//! The znodes, as a binary tree: each node knows its first child and its next sibling. Java:
//! `DataTree`, `DataNode`.
//!
//! An arena of fixed-size nodes (`tree::node`). The last component of a node's path lies together
//! with its data (`tree::blobs`); an index from the hash of the whole path to the node stores no
//! path at all.
//! Both insertion and removal of a child are O(1), whatever the number of its siblings.

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

mod blobs;
mod node;
use blobs::{Blob, Blobs};
pub(crate) use node::MAX_NAME;
use node::{LIVE, More, NONE, NULL_DATA, Node, Slab, UNCOUNTED};

/// A node of the tree, valid until it is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// The node at "/".
pub const ROOT: NodeId = NodeId(0);

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

/// With 10,000,000 nodes, growing one of 256 tables held up a create for 2.5 ms. Empty ones take 32
/// bytes each.
const SHARD_BITS: u32 = 10;

/// See the module.
#[derive(Debug)]
pub struct Tree {
    nodes: Slab<Node>,
    more: Slab<More>,
    blobs: Blobs,
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
        let stat = StatPersisted::default();
        let mut root = Node::new(0, Blob::EMPTY, &stat, LIVE);
        root.digest = digest::node_digest(digest::content_crc("/", Some(&[])), &stat);
        let digest = u64::from(root.digest);
        let mut nodes = Slab::new();
        nodes.place(root);
        Self {
            nodes,
            more: Slab::new(),
            blobs: Blobs::new(),
            live: 1,
            hasher: FixedState::with_seed(hash_seed),
            index: (0..1 << SHARD_BITS).map(|_| HashTable::new()).collect(),
            acls: AclTable::default(),
            rules,
            digest: if rules.digest { digest } else { 0 },
            bytes: 1,
            ephemerals: BTreeMap::new(),
            ephemeral_count: 0,
            collectable: BTreeSet::new(),
            snapshot: None,
        }
    }

    fn at(&self, id: NodeId) -> &Node {
        self.nodes.at(id.0)
    }

    fn at_mut(&mut self, id: NodeId) -> &mut Node {
        self.nodes.at_mut(id.0)
    }

    fn more_of(&self, node: &Node) -> Option<&More> {
        (node.more != NONE).then(|| self.more.at(node.more))
    }

    /// What a node does not have while it is as it was created.
    fn more_mut(&mut self, id: NodeId) -> &mut More {
        let node = self.nodes.at_mut(id.0);
        if node.more == NONE {
            node.more = self.more.place(More::new(&node.stat(None)));
        }
        self.more.at_mut(node.more)
    }

    fn keep_stat(&mut self, id: NodeId, stat: &StatPersisted) {
        let node = self.nodes.at_mut(id.0);
        let more = (node.more != NONE).then(|| self.more.at_mut(node.more));
        if node.set_stat(stat, more) {
            node.more = self.more.place(More::new(stat));
        }
    }

    fn first_child(&self, id: NodeId) -> u32 {
        self.more_of(self.at(id)).map_or(NONE, |m| m.first_child)
    }

    /// The node's share of the tree's digest.
    pub(crate) fn digest_of(&self, id: NodeId) -> u64 {
        let node = self.at(id);
        if !self.rules.digest || node.has(UNCOUNTED) {
            return 0;
        }
        u64::from(node.digest)
    }

    /// Slots, used or not; ids are below it.
    pub(crate) fn slots(&self) -> u32 {
        self.nodes.slots()
    }

    pub(crate) fn is_live(&self, slot: u32) -> bool {
        self.nodes.get(slot).is_some_and(|node| node.has(LIVE))
    }

    #[allow(clippy::cast_possible_truncation)] // Any 32 bits of the hash will do.
    fn hash(&self, path: &str) -> u32 {
        (self.hasher.hash_one(path.as_bytes()) >> 16) as u32
    }

    const fn shard(hash: u32) -> usize {
        (hash >> (32 - SHARD_BITS)) as usize
    }

    /// The shard is taken from the upper bits of the hash. A table looks at the lowest bits, which
    /// after the multiplication still depend on those below only, and at the uppermost.
    const fn spread(hash: u32) -> u64 {
        (hash as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15)
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
            let Some(front) = rest.strip_suffix(self.name_of(node)) else {
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
        let node = self.at(id);
        if node.has(NULL_DATA) {
            return None;
        }
        Some(self.blobs.rest(node.blob, node.name_len()))
    }

    /// What files keep of the node.
    #[must_use]
    pub fn persisted(&self, id: NodeId) -> StatPersisted {
        let node = self.at(id);
        node.stat(self.more_of(node))
    }

    /// What clients see of the node.
    #[must_use]
    pub fn stat(&self, id: NodeId) -> Stat {
        let node = self.at(id);
        let more = self.more_of(node);
        let children = more.map_or(0, |more| more.num_children.cast_signed());
        let stat = node.stat(more);
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
            data_length: i32::try_from(node.data_len()).unwrap_or(i32::MAX),
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
        self.more_of(self.at(id)).map_or(0, |m| m.num_children)
    }

    /// The stored owner: a session, or a mark of the node's kind.
    #[must_use]
    pub fn owner(&self, id: NodeId) -> i64 {
        self.persisted(id).ephemeral_owner
    }

    /// The last component of the path; empty for the root.
    #[must_use]
    pub fn name(&self, id: NodeId) -> &str {
        core::str::from_utf8(self.name_of(self.at(id))).unwrap_or_default()
    }

    fn name_of(&self, node: &Node) -> &[u8] {
        self.blobs.head(node.blob, node.name_len())
    }

    /// Names of the children, in no particular order.
    pub fn children(&self, id: NodeId) -> impl Iterator<Item = &str> {
        self.child_ids(id).map(|child| self.name(child))
    }

    /// The children, in no particular order.
    pub fn child_ids(&self, id: NodeId) -> impl Iterator<Item = NodeId> {
        let first = self.first_child(id);
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
        let mut path = Vec::new();
        self.put_path(id, &mut path);
        String::from_utf8(path).unwrap_or_default()
    }

    /// Appends the whole path.
    pub(crate) fn put_path(&self, id: NodeId, out: &mut Vec<u8>) {
        let start = out.len();
        if id == ROOT {
            out.push(b'/');
            return;
        }
        out.resize(start + self.path_len(id), b'/');
        let mut end = out.len();
        let mut at = id;
        while at != ROOT {
            let node = self.at(at);
            let name = self.name_of(node);
            if let Some(place) = out.get_mut(end - name.len()..end) {
                place.copy_from_slice(name);
            }
            end -= name.len() + 1;
            at = NodeId(node.parent);
        }
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
        let name = name_in(new.path);
        let hash = self.hash(new.path);
        let above = self.at(parent);
        let below_zookeeper =
            above.has(UNCOUNTED) || (above.parent == ROOT.0 && self.name_of(above) == b"zookeeper");
        let flags = LIVE | if below_zookeeper { UNCOUNTED } else { 0 };
        let next = self.first_child(parent);
        let blob = self.blobs.place(name, new.data.unwrap_or_default());
        let mut node = Node::new(name.len(), blob, &new.stat, flags);
        node.mark_null(new.data.is_none());
        node.parent = parent.0;
        node.next = next;
        node.hash = hash;
        if self.rules.digest {
            node.digest = digest::node_digest(digest::content_crc(new.path, new.data), &new.stat);
        }
        node.acl = new.acl;
        self.bytes += (new.path.len() + node.data_len()) as u64;
        let id = NodeId(self.nodes.place(node));
        self.live += 1;
        self.keep_stat(id, &new.stat);
        self.digest = self.digest.wrapping_add(self.digest_of(id));
        if next != NONE {
            self.at_mut(NodeId(next)).prev = id.0;
        }
        let above = self.more_mut(parent);
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
        let nodes = &self.nodes;
        if let Some(shard) = self.index.get_mut(Self::shard(hash)) {
            shard.insert_unique(Self::spread(hash), id.0, |slot| {
                nodes.get(*slot).map_or(0, |node| Self::spread(node.hash))
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
        self.digest = self.digest.wrapping_sub(self.digest_of(id));
        let owner = self.owner(id);
        let path_len = self.path_len(id);
        let node = self.at(id);
        let (prev, next, hash, acl, more) = (node.prev, node.next, node.hash, node.acl, node.more);
        let blob = node.blob;
        let parent = NodeId(node.parent);
        self.bytes -= (path_len + node.data_len()) as u64;
        if next != NONE {
            self.at_mut(NodeId(next)).prev = prev;
        }
        if prev != NONE {
            self.at_mut(NodeId(prev)).next = next;
        }
        let above = self.more_mut(parent);
        if prev == NONE {
            above.first_child = next;
        }
        above.num_children -= 1;
        if let Some(shard) = self.index.get_mut(Self::shard(hash))
            && let Ok(entry) = shard.find_entry(Self::spread(hash), |slot| *slot == id.0)
        {
            entry.remove();
        }
        self.declassify(id, owner);
        self.acls.release(acl);
        self.blobs.release(blob);
        self.at_mut(id).clear();
        if more != NONE {
            self.more.release(more);
        }
        self.live -= 1;
        self.nodes.release(id.0);
    }

    fn path_len(&self, id: NodeId) -> usize {
        let mut len = 0;
        let mut at = id;
        while at != ROOT {
            let node = self.at(at);
            len += node.name_len() + 1;
            at = NodeId(node.parent);
        }
        len
    }

    /// Changes the stat of a node.
    pub(crate) fn change_stat(&mut self, id: NodeId, change: impl FnOnce(&mut StatPersisted)) {
        self.change(id, |_, _| None, change);
    }

    /// Replaces the data of a node. `path` is the node's.
    pub(crate) fn set_data(&mut self, id: NodeId, path: &str, data: Option<&[u8]>) {
        self.write(id, path, data, |_| {});
    }

    /// Replaces the data of a node and changes its stat. `path` is the node's.
    pub(crate) fn write(
        &mut self,
        id: NodeId,
        path: &str,
        data: Option<&[u8]>,
        change: impl FnOnce(&mut StatPersisted),
    ) {
        let old_len = self.at(id).data_len() as u64;
        self.bytes = self.bytes - old_len + data.map_or(0, <[u8]>::len) as u64;
        let replace = |node: &mut Node, blobs: &mut Blobs| {
            let bytes = data.unwrap_or_default();
            node.blob = blobs.replace(node.blob, name_in(path), bytes);
            node.mark_null(data.is_none());
            Some((path, data))
        };
        self.change(id, replace, change);
    }

    /// Every change of data or stat goes through here: a snapshot under way saves the record as
    /// it was, and the digest follows. `change_node` gives path and data if these change.
    fn change<'a>(
        &mut self,
        id: NodeId,
        change_node: impl FnOnce(&mut Node, &mut Blobs) -> Option<(&'a str, Option<&'a [u8]>)>,
        change_stat: impl FnOnce(&mut StatPersisted),
    ) {
        self.before_change(id);
        self.digest = self.digest.wrapping_sub(self.digest_of(id));
        let old = self.persisted(id);
        let mut stat = old;
        change_stat(&mut stat);
        let node = self.nodes.at_mut(id.0);
        let content = change_node(node, &mut self.blobs);
        if self.rules.digest {
            node.digest = match content {
                Some((path, data)) => digest::node_digest(digest::content_crc(path, data), &stat),
                None => digest::restated(node.digest, &old, &stat),
            };
        }
        if stat != old {
            self.keep_stat(id, &stat);
        }
        self.digest = self.digest.wrapping_add(self.digest_of(id));
    }

    /// Makes a node what a file says a second time; its children stay.
    pub(crate) fn overwrite(&mut self, id: NodeId, new: &NewNode<'_>) {
        self.declassify(id, self.owner(id));
        self.write(id, new.path, new.data, |stat| *stat = new.stat);
        self.classify(id, new.stat.ephemeral_owner);
        let old = core::mem::replace(&mut self.at_mut(id).acl, new.acl);
        self.acls.release(old);
    }

    /// Replaces the ACL of a node.
    pub(crate) fn set_acl(&mut self, id: NodeId, list: &[Acl]) {
        self.before_change(id);
        let new = self.acls.acquire(list);
        let old = core::mem::replace(&mut self.at_mut(id).acl, new);
        self.acls.release(old);
    }

    fn before_change(&mut self, id: NodeId) {
        if let Some(mut cursor) = self.snapshot.take() {
            cursor.before_change(self, id);
            self.snapshot = Some(cursor);
        }
    }
}

/// The last component of a path; empty for the root.
fn name_in(path: &str) -> &[u8] {
    path::split(path).map_or("", |(_, name)| name).as_bytes()
}

#[cfg(test)]
mod tests;
