//! What operations take and give.

use std::time::Duration;

use bytes::Bytes;
use roo_proto::acl::Acl;
use roo_proto::ids::Zxid;
use roo_proto::op_code;
use roo_proto::stat::Stat;

/// What kind of node to create. Java: `CreateMode`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NodeKind {
    /// Stays until it is deleted.
    Persistent,
    /// As `Persistent`; the server appends ten digits that grow with each such child.
    PersistentSequential,
    /// Deleted by the servers when the session ends. Cannot have children.
    Ephemeral,
    /// As `Ephemeral`, with digits.
    EphemeralSequential,
    /// Deleted by the servers some time after its last child went.
    Container,
    /// Deleted by the servers when it has no children and its data was not set for this long: 1 ms
    /// to 2^40 - 1 ms. Needs `extendedTypesEnabled` at the servers.
    PersistentTtl(Duration),
    /// As `PersistentTtl`, with digits.
    PersistentSequentialTtl(Duration),
}

impl NodeKind {
    /// The operation and the flags that create it.
    pub(crate) const fn wire(self) -> (i32, i32) {
        match self {
            Self::Persistent => (op_code::CREATE2, 0),
            Self::Ephemeral => (op_code::CREATE2, 1),
            Self::PersistentSequential => (op_code::CREATE2, 2),
            Self::EphemeralSequential => (op_code::CREATE2, 3),
            Self::Container => (op_code::CREATE_CONTAINER, 4),
            Self::PersistentTtl(_) => (op_code::CREATE_TTL, 5),
            Self::PersistentSequentialTtl(_) => (op_code::CREATE_TTL, 6),
        }
    }

    /// Time to live in ms, -1 for none; `None` when it is out of range.
    pub(crate) fn ttl_ms(self) -> Option<i64> {
        match self {
            Self::PersistentTtl(ttl) | Self::PersistentSequentialTtl(ttl) => {
                let ms = i64::try_from(ttl.as_millis()).ok()?;
                (1..1 << 40).contains(&ms).then_some(ms)
            }
            _ => Some(-1),
        }
    }

    /// Whether the server appends digits to the path.
    #[must_use]
    pub const fn is_sequential(self) -> bool {
        matches!(
            self,
            Self::PersistentSequential
                | Self::EphemeralSequential
                | Self::PersistentSequentialTtl(_)
        )
    }
}

/// How to create a node. `NodeKind` converts into it with an ACL that lets everybody do everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreateOptions {
    /// What kind of node.
    pub kind: NodeKind,
    /// Who may do what with it; see [`crate::acls`]. Servers refuse an empty list.
    pub acl: Vec<Acl>,
    /// Whether the node is made without data, which is not the same as empty data to Java's
    /// clients (null); what is given as data must be empty then. Default false.
    pub no_data: bool,
}

impl CreateOptions {
    /// A node of this kind with this list.
    #[must_use]
    pub const fn new(kind: NodeKind, acl: Vec<Acl>) -> Self {
        Self {
            kind,
            acl,
            no_data: false,
        }
    }
}

impl From<NodeKind> for CreateOptions {
    fn from(kind: NodeKind) -> Self {
        Self {
            kind,
            acl: vec![Acl::open()],
            no_data: false,
        }
    }
}

/// Which version of a node a change is meant for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Version {
    /// Whatever it is.
    Any,
    /// Only this one: `Stat::version` for data and deletion, `Stat::aversion` for the ACL. -1 is
    /// any version on the wire.
    Exactly(i32),
}

impl Version {
    pub(crate) const fn wire(self) -> i32 {
        match self {
            Self::Any => -1,
            Self::Exactly(version) => version,
        }
    }
}

impl From<i32> for Version {
    fn from(version: i32) -> Self {
        Self::Exactly(version)
    }
}

/// A node that was created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Created {
    /// Its path, with the digits of a sequential node.
    pub path: String,
    /// Its facts; `czxid` orders it among all changes. All zero where servers before 3.7 made it in
    /// a multi: they do not tell.
    pub stat: Stat,
    /// The transaction that created it.
    pub zxid: Zxid,
}

/// A node that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// Its data; empty for a node without data.
    pub data: Bytes,
    /// Its facts.
    pub stat: Stat,
    /// Whether it has no data, which is not the same as empty data to Java's clients (null).
    pub no_data: bool,
}

impl Node {
    /// Its data, if it has any; empty data counts.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        (!self.no_data).then_some(self.data.as_ref())
    }
}

/// A node's children.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Children {
    /// Their names (not paths), in no order.
    pub names: Vec<String>,
    /// The facts of the node.
    pub stat: Stat,
}

/// Limits of a subtree; `None` is no limit, 0 is one. The soft ones are only logged by servers, the
/// hard ones are enforced if `zookeeper.enforceQuota` is on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Quota {
    /// Nodes, the top one counted.
    pub nodes: Option<i64>,
    /// Bytes of data.
    pub bytes: Option<i64>,
    /// Nodes beyond which a create is refused.
    pub hard_nodes: Option<i64>,
    /// Bytes beyond which a create or a set is refused.
    pub hard_bytes: Option<i64>,
}

/// A subtree's quota and what it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QuotaStatus {
    /// The limits.
    pub limits: Quota,
    /// Nodes that are there, as the server counts.
    pub nodes: i64,
    /// Bytes of data that are there, as the server counts.
    pub bytes: i64,
}

/// A change of the ensemble, in the words of dynamic configuration files, see the administrator's
/// guide of ZooKeeper.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reconfig {
    /// Servers that come and servers that go.
    Incremental {
        /// Lines such as `server.4=host:2888:3888:participant;2181`, joined by commas; may be empty.
        joining: String,
        /// Server ids joined by commas; may be empty.
        leaving: String,
    },
    /// The whole new ensemble: lines such as `server.1=host:2888:3888;2181`, joined by commas.
    Members(String),
}
