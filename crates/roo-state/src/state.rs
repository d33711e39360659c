//! The replicated state: the tree, the sessions, and how far it has come.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::string::String;
use alloc::vec::Vec;

use roo_proto::acl::{Acl, PERM_READ};
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::path;
use roo_proto::reply::WriteResult;
use roo_proto::stat::StatPersisted;

use crate::acl_table::AclId;
use crate::quota::Quotas;
use crate::tree::{NewNode, ROOT, Tree};

/// What the configuration says about the meaning of the state; the same on every server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// TTL nodes exist.
    pub extended_types: bool,
    /// TTL nodes of 3.5.3 are understood.
    pub emulate_353_ttl: bool,
    /// Hard quotas refuse writes.
    pub enforce_quota: bool,
    /// The tree's digest is kept.
    pub digest: bool,
    /// ACLs are not checked.
    pub skip_acl: bool,
}

impl Default for Rules {
    fn default() -> Self {
        Self {
            extended_types: false,
            emulate_353_ttl: false,
            enforce_quota: false,
            digest: true,
            skip_acl: false,
        }
    }
}

/// What a transaction changed that somebody may watch, in the order of the changes. The ACLs stay
/// resolvable until the next transaction is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Change {
    Created {
        path: String,
        /// Length of the data.
        bytes: usize,
        acl: AclId,
        parent_acl: AclId,
    },
    Deleted {
        path: String,
        acl: AclId,
        parent_acl: AclId,
    },
    DataChanged {
        path: String,
        /// Length of the data.
        bytes: usize,
        acl: AclId,
    },
}

/// What a transaction came to.
#[derive(Debug, PartialEq, Eq)]
pub struct Applied {
    /// `OK`, or the refusal.
    pub error: ErrorCode,
    /// What the client is told.
    pub outcome: Outcome,
}

/// See [`Applied`].
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// A refusal.
    Nothing,
    /// Of one operation.
    Single(WriteResult),
    /// Of each operation of a multi; `OK` as an error stands for one that was undone.
    Multi(Vec<Result<WriteResult, ErrorCode>>),
    /// A session exists.
    SessionCreated {
        /// Its timeout.
        timeout_ms: i32,
    },
    /// A session has ended.
    SessionClosed,
}

/// Every so many zxids the digest is kept for comparison between servers. Java: `DIGEST_LOG_INTERVAL`.
const DIGEST_INTERVAL: i64 = 128;
/// How many of them. Java: `DIGEST_LOG_LIMIT`.
const DIGEST_LIMIT: usize = 1024;

/// See the module.
#[derive(Debug)]
pub struct State {
    /// The configuration's part.
    pub rules: Rules,
    /// The znodes.
    pub tree: Tree,
    pub(crate) sessions: BTreeMap<SessionId, i32>,
    pub(crate) quotas: Quotas,
    last_zxid: Zxid,
    digests: VecDeque<(Zxid, u64)>,
}

impl State {
    /// The state of a new server: the root and the system nodes.
    #[must_use]
    pub fn new(rules: Rules, hash_seed: u64) -> Self {
        let mut state = Self::empty(rules, hash_seed);
        state.make_system_nodes();
        state
    }

    /// A state of nothing but the root, to be filled from a snapshot.
    pub(crate) fn empty(rules: Rules, hash_seed: u64) -> Self {
        Self {
            rules,
            tree: Tree::new(rules, hash_seed),
            sessions: BTreeMap::new(),
            quotas: Quotas::default(),
            last_zxid: Zxid::ZERO,
            digests: VecDeque::new(),
        }
    }

    fn make_system_nodes(&mut self) {
        for system in [path::ZOOKEEPER, path::QUOTA, path::CONFIG] {
            let parent = path::split(system).and_then(|(parent, _)| self.tree.find(parent));
            let (None, Some(parent)) = (self.tree.find(system), parent) else {
                continue;
            };
            let mut stat = StatPersisted::default();
            let mut acl = AclId::OPEN;
            if system == path::CONFIG {
                stat.aversion = -1;
                acl = self
                    .tree
                    .acls
                    .acquire(&[Acl::new(PERM_READ, "world", "anyone")]);
            }
            self.tree.insert(
                parent,
                &NewNode {
                    path: system,
                    data: Some(&[]),
                    acl,
                    stat,
                },
            );
        }
    }

    /// zxid of the last transaction applied.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last_zxid
    }

    /// Says how far a state just loaded has come.
    pub const fn set_last_zxid(&mut self, zxid: Zxid) {
        self.last_zxid = zxid;
    }

    /// Takes note that `zxid` is applied.
    pub(crate) fn advance(&mut self, zxid: Zxid) {
        self.last_zxid = self.last_zxid.max(zxid);
        if self.rules.digest && zxid.0 % DIGEST_INTERVAL == 0 {
            if self.digests.len() == DIGEST_LIMIT {
                self.digests.pop_front();
            }
            self.digests.push_back((zxid, self.tree.digest()));
        }
    }

    /// Sessions and their timeouts in ms.
    #[must_use]
    pub const fn sessions(&self) -> &BTreeMap<SessionId, i32> {
        &self.sessions
    }

    /// Paths of a session's ephemerals.
    pub fn ephemerals(&self, session: SessionId) -> impl Iterator<Item = String> {
        self.tree
            .ephemerals_of(session)
            .map(|id| self.tree.path_of(id))
    }

    /// Sessions that own ephemerals.
    pub fn sessions_with_ephemerals(&self) -> impl Iterator<Item = SessionId> {
        self.tree.sessions_with_ephemerals()
    }

    /// Ephemerals of all sessions.
    #[must_use]
    pub const fn ephemeral_count(&self) -> usize {
        self.tree.ephemeral_count()
    }

    /// The tree's digest.
    #[must_use]
    pub const fn digest(&self) -> u64 {
        self.tree.digest()
    }

    /// Digests kept for comparison, oldest first.
    pub fn digest_ring(&self) -> impl Iterator<Item = (Zxid, u64)> {
        self.digests.iter().copied()
    }

    /// Mends what a loaded directory may lack: system nodes, quota counts; ends sessions that own
    /// ephemerals but are not in the table, and returns them.
    pub fn repair_after_load(&mut self) -> Vec<SessionId> {
        let orphans: Vec<SessionId> = self
            .tree
            .sessions_with_ephemerals()
            .filter(|session| !self.sessions.contains_key(session))
            .collect();
        for session in &orphans {
            // By path: a file that nests ephemerals has the lower ones gone with the upper.
            let paths: Vec<String> = self.ephemerals(*session).collect();
            for path in paths {
                let Some(node) = self.tree.find(&path) else {
                    continue;
                };
                if let Some(parent) = self.tree.parent(node) {
                    let zxid = self.last_zxid.0;
                    self.tree
                        .change_stat(parent, |stat| stat.pzxid = stat.pzxid.max(zxid));
                }
                self.tree.remove(node);
            }
        }
        // Behind the orphans, as a damaged file may call a system node one.
        self.make_system_nodes();
        self.recount_quotas();
        self.tree.acls.sweep_all();
        orphans
    }

    /// Shows the ensemble in force in /zookeeper/config; it is no transaction, since every server
    /// does it by itself. `None` if the node shows it already. Java: `DataTree.addConfigNode`,
    /// `QuorumZooKeeperServer.setZKDatabase`.
    pub fn set_config(&mut self, text: &[u8], version: i64) -> Option<Change> {
        let node = self.tree.find(path::CONFIG)?;
        if self.tree.data(node) == Some(text) {
            return None;
        }
        self.tree.write(node, path::CONFIG, Some(text), |stat| {
            stat.version = -1;
            stat.mzxid = version;
        });
        Some(Change::DataChanged {
            path: path::CONFIG.into(),
            bytes: text.len(),
            acl: self.tree.acl_id(node),
        })
    }

    /// The root's id, for walks over the whole tree.
    #[must_use]
    pub const fn root(&self) -> crate::tree::NodeId {
        ROOT
    }
}
