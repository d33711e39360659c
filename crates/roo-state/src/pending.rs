//! The overlay of prepared but not yet applied changes, so that a request is checked against the
//! state that it will meet. Java: `outstandingChanges`.
//!
//! A request stages its changes; they count only once it has succeeded as a whole. A multi that
//! fails in the middle is a stage that is dropped: there is nothing to undo.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use hashbrown::hash_map::Entry;
use hashbrown::{DefaultHashBuilder, HashMap};
use roo_proto::acl::{Acl, Id};
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::path;
use roo_proto::stat::StatPersisted;

use crate::access;
use crate::acl_table::AclId;
use crate::digest;
use crate::state::State;
use crate::tree::NodeId;

/// The ACL of a pending node.
#[derive(Clone, Debug)]
pub(crate) enum PendingAcl {
    /// That of the applied node, which no change in flight touches.
    Stored(AclId),
    /// One that a change in flight brings.
    New(Arc<[Acl]>),
}

/// A node as the changes in flight leave it.
#[derive(Clone, Debug)]
pub(crate) struct PendingNode {
    pub(crate) stat: StatPersisted,
    pub(crate) children: u32,
    pub(crate) acl: PendingAcl,
    /// See [`digest::content_crc`]; none if the request does not change it.
    pub(crate) content_crc: Option<u32>,
    pub(crate) data_length: usize,
    pub(crate) applied: AppliedNode,
}

/// What the applied tree has at the path of a pending node, as far as it was looked up: its share
/// of the digest is needed when the first change of it in flight is prepared.
#[derive(Clone, Copy, Debug)]
pub(crate) enum AppliedNode {
    At(NodeId),
    Absent,
    Unknown,
}

impl PendingNode {
    fn of_tree(state: &State, path: &str) -> Option<Self> {
        let tree = &state.tree;
        let id = tree.find(path)?;
        Some(Self {
            stat: tree.persisted(id),
            children: tree.num_children(id),
            acl: PendingAcl::Stored(tree.acl_id(id)),
            content_crc: None,
            data_length: tree.data(id).map_or(0, <[u8]>::len),
            applied: AppliedNode::At(id),
        })
    }

    pub(crate) fn permits(&self, state: &State, perms: i32, ids: &[Id]) -> bool {
        match &self.acl {
            PendingAcl::Stored(acl) => state.permits(*acl, perms, ids),
            PendingAcl::New(acl) => state.rules.skip_acl || access::permits(acl, perms, ids),
        }
    }
}

#[derive(Debug)]
struct Record {
    zxid: Zxid,
    /// `None`: deleted.
    node: Option<PendingNode>,
    /// The node's share of the tree's digest.
    digest: u64,
}

/// What a node was before the request that changes it.
enum Before<'a> {
    /// As an earlier request in flight leaves it.
    Pending(&'a Record),
    /// As it is applied.
    Applied(&'a State, NodeId),
    Absent,
}

impl<'a> Before<'a> {
    fn of(
        state: &'a State,
        place: &'a Entry<'_, Arc<str>, Record, DefaultHashBuilder>,
        node: Option<&PendingNode>,
    ) -> Self {
        let vacant = match place {
            Entry::Occupied(known) => return Self::Pending(known.get()),
            Entry::Vacant(vacant) => vacant,
        };
        let applied = match node.map_or(AppliedNode::Unknown, |node| node.applied) {
            AppliedNode::At(id) => Some(id),
            AppliedNode::Absent => None,
            AppliedNode::Unknown => state.tree.find(vacant.key()),
        };
        applied.map_or(Self::Absent, |id| Self::Applied(state, id))
    }

    /// Its share of the tree's digest.
    fn share(&self) -> u64 {
        match self {
            Self::Pending(record) => record.digest,
            Self::Applied(state, id) => state.tree.digest_of(*id),
            Self::Absent => 0,
        }
    }

    /// The digest of what becomes of it, if it counts.
    fn digest_of(&self, node: &PendingNode) -> u32 {
        if let Some(crc) = node.content_crc {
            return digest::node_digest(crc, &node.stat);
        }
        let stat = match self {
            Self::Pending(record) => record.node.as_ref().map(|node| node.stat),
            Self::Applied(state, id) => Some(state.tree.persisted(*id)),
            Self::Absent => None,
        };
        // A share is a CRC; and what was not there brings its content.
        #[allow(clippy::cast_possible_truncation)]
        stat.map_or(0, |stat| {
            digest::restated(self.share() as u32, &stat, &node.stat)
        })
    }
}

/// Changes of one request, in the order in which its nodes were first changed.
#[derive(Debug, Default)]
struct Stage {
    changes: Vec<(Arc<str>, Option<PendingNode>)>,
    /// Where each path stands in `changes`, once there are too many to look through: nearly every
    /// request changes one node or two, and a map cost a quarter of what preparing it did.
    index: HashMap<Arc<str>, usize>,
}

impl Stage {
    /// Changes that are looked through rather than indexed.
    const FEW: usize = 8;

    fn position(&self, path: &str) -> Option<usize> {
        if self.changes.len() > Self::FEW {
            return self.index.get(path).copied();
        }
        self.changes.iter().position(|(at, _)| **at == *path)
    }

    fn get(&self, path: &str) -> Option<&Option<PendingNode>> {
        let at = self.position(path)?;
        self.changes.get(at).map(|(_, node)| node)
    }

    fn put(&mut self, path: &str, node: Option<PendingNode>) {
        let place = self.position(path).and_then(|at| self.changes.get_mut(at));
        if let Some((_, place)) = place {
            *place = node;
            return;
        }
        self.changes.push((path.into(), node));
        if self.changes.len() > Self::FEW {
            let known = self.index.len();
            for (at, (path, _)) in self.changes.iter().enumerate().skip(known) {
                self.index.insert(Arc::clone(path), at);
            }
        }
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.index.clear();
    }
}

/// See the module.
#[derive(Debug, Default)]
pub struct Overlay {
    nodes: HashMap<Arc<str>, Record>,
    /// What to forget when a zxid is applied.
    order: VecDeque<(Zxid, Arc<str>)>,
    staged: Stage,
    /// Digest of the tree after everything prepared.
    digest: u64,
}

impl Overlay {
    /// An overlay with nothing in flight.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Changed nodes in flight; its bound is that of the proposals in flight.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether nothing is in flight.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// Forgets what has been applied up to `zxid`.
    pub fn applied(&mut self, zxid: Zxid) {
        while let Some((at, _)) = self.order.front()
            && *at <= zxid
            && let Some((at, path)) = self.order.pop_front()
        {
            // A later change of the node is still in flight.
            if let Entry::Occupied(record) = self.nodes.entry(path)
                && record.get().zxid == at
            {
                record.remove();
            }
        }
    }

    /// Forgets everything: on a change of role nothing is in flight any more.
    pub fn clear(&mut self) {
        self.nodes.clear();
        self.order.clear();
        self.staged.clear();
    }

    pub(crate) fn digest(&self) -> u64 {
        self.digest
    }

    /// Starts a request: with nothing in flight the digest is that of the applied tree.
    pub(crate) fn begin(&mut self, state: &State) {
        self.staged.clear();
        if self.nodes.is_empty() {
            self.digest = state.digest();
        }
    }

    /// The node at `path` as the request finds it.
    pub(crate) fn node(&self, state: &State, path: &str) -> Option<PendingNode> {
        match self.staged.get(path) {
            Some(node) => node.clone(),
            None => self.node_before(state, path),
        }
    }

    /// The node at `path` before the request that is being prepared.
    fn node_before(&self, state: &State, path: &str) -> Option<PendingNode> {
        match self.nodes.get(path) {
            Some(record) => record.node.clone(),
            None => PendingNode::of_tree(state, path),
        }
    }

    /// Whether the request has changed the node before.
    pub(crate) fn has_staged(&self, path: &str) -> bool {
        self.staged.position(path).is_some()
    }

    pub(crate) fn stage(&mut self, path: &str, node: Option<PendingNode>) {
        self.staged.put(path, node);
    }

    /// Drops what the request has staged.
    pub(crate) fn drop_stage(&mut self) {
        self.staged.clear();
    }

    /// Makes the staged changes those of the transaction `zxid`.
    pub(crate) fn commit_stage(&mut self, state: &State, zxid: Zxid) {
        for (path, node) in self.staged.changes.drain(..) {
            let counts = state.rules.digest && digest::counts(&path);
            let place = self.nodes.entry(path);
            let before = Before::of(state, &place, node.as_ref());
            let digest = match &node {
                Some(node) if counts => u64::from(before.digest_of(node)),
                _ => 0,
            };
            self.digest = self
                .digest
                .wrapping_sub(before.share())
                .wrapping_add(digest);
            self.order.push_back((zxid, Arc::clone(place.key())));
            place.insert(Record { zxid, node, digest });
        }
        self.staged.clear();
    }

    /// The ephemerals that a session will own when everything in flight is applied, in order.
    pub(crate) fn ephemerals(&self, state: &State, session: SessionId) -> Vec<Arc<str>> {
        let mut paths: Vec<Arc<str>> = state
            .ephemerals(session)
            .map(|path| Arc::from(path.as_str()))
            .filter(|path| !self.nodes.contains_key(path))
            .collect();
        paths.extend(self.nodes.iter().filter_map(|(path, record)| {
            let owner = record.node.as_ref()?.stat.ephemeral_owner;
            (owner == session.0 && owner != 0).then(|| Arc::clone(path))
        }));
        paths.sort_unstable();
        paths
    }
}

/// The path under which a parent is kept: Java's "" is the root.
pub(crate) fn parent_of(path: &str) -> Option<&str> {
    path::split(path).map(|(parent, _)| parent)
}
