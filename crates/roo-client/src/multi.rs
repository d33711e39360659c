//! Several operations as one: all of them or none, and reads in one round trip.

use std::borrow::Cow;

use roo_proto::acl::Acl;
use roo_proto::request::{Create, MultiOp, MultiReadOp, RequestAcl};
use roo_proto::stat::Stat;

use crate::error::{ErrorKind, Result};
use crate::types::{CreateOptions, Created, Node, Version};

/// Changes that take effect together or not at all, in order: a later one sees what an earlier one
/// did.
///
/// ```
/// use roo_client::{Multi, NodeKind, Version};
/// let transfer = Multi::new()
///     .check("/account", 7)
///     .set("/account", "90", 7)
///     .create("/account/log-", "-10", NodeKind::PersistentSequential)
///     .delete("/account/pending", Version::Any);
/// assert_eq!(transfer.len(), 4);
/// ```
#[derive(Clone, Debug, Default)]
#[must_use = "nothing happens before Client::multi"]
pub struct Multi(Vec<Op>);

#[derive(Clone, Debug)]
enum Op {
    Create {
        path: String,
        data: Vec<u8>,
        options: CreateOptions,
    },
    Set {
        path: String,
        data: Vec<u8>,
        version: i32,
    },
    Delete {
        path: String,
        version: i32,
    },
    Check {
        path: String,
        version: i32,
    },
}

impl Multi {
    /// No operations yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// And creates a node, as [`crate::Client::create`].
    pub fn create(
        mut self,
        path: &str,
        data: impl AsRef<[u8]>,
        options: impl Into<CreateOptions>,
    ) -> Self {
        self.0.push(Op::Create {
            path: path.to_owned(),
            data: data.as_ref().to_vec(),
            options: options.into(),
        });
        self
    }

    /// And sets a node's data, as [`crate::Client::set`].
    pub fn set(mut self, path: &str, data: impl AsRef<[u8]>, version: impl Into<Version>) -> Self {
        self.0.push(Op::Set {
            path: path.to_owned(),
            data: data.as_ref().to_vec(),
            version: version.into().wire(),
        });
        self
    }

    /// And deletes a node, as [`crate::Client::delete`].
    pub fn delete(mut self, path: &str, version: impl Into<Version>) -> Self {
        self.0.push(Op::Delete {
            path: path.to_owned(),
            version: version.into().wire(),
        });
        self
    }

    /// And fails unless the node exists in this version. Needs permission to read it.
    pub fn check(mut self, path: &str, version: impl Into<Version>) -> Self {
        self.0.push(Op::Check {
            path: path.to_owned(),
            version: version.into().wire(),
        });
        self
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of an operation.
    pub(crate) fn path(&self, at: usize) -> Option<&str> {
        self.0.get(at).map(|op| match op {
            Op::Create { path, .. }
            | Op::Set { path, .. }
            | Op::Delete { path, .. }
            | Op::Check { path, .. } => path.as_str(),
        })
    }

    /// The operations on the wire; `real` makes a caller's path the server's.
    pub(crate) fn wire(
        &self,
        real: impl for<'p> Fn(&'p str, bool) -> Result<Cow<'p, str>, ErrorKind>,
    ) -> Result<Vec<MultiOp<'_>>, (usize, ErrorKind)> {
        let ops = self.0.iter().enumerate();
        ops.map(|(at, op)| {
            let sequential =
                matches!(op, Op::Create { options, .. } if options.kind.is_sequential());
            let path = self.path(at).unwrap_or_default();
            let path = real(path, sequential).map_err(|kind| (at, kind))?;
            Ok(match op {
                Op::Create { data, options, .. } => {
                    let create = create(path, data, options).map_err(|kind| (at, kind))?;
                    MultiOp::Create(create)
                }
                Op::Set { data, version, .. } => MultiOp::SetData {
                    path,
                    data: Some(data),
                    version: *version,
                },
                Op::Delete { version, .. } => MultiOp::Delete {
                    path,
                    version: *version,
                },
                Op::Check { version, .. } => MultiOp::Check {
                    path,
                    version: *version,
                },
            })
        })
        .collect()
    }
}

/// A create on the wire.
pub(crate) fn create<'a>(
    path: Cow<'a, str>,
    data: &'a [u8],
    options: &'a CreateOptions,
) -> Result<Create<'a>, ErrorKind> {
    let (op, flags) = options.kind.wire();
    let ttl = options
        .kind
        .ttl_ms()
        .ok_or_else(|| ErrorKind::BadArguments("a time to live is 1 ms to 2^40 - 1 ms".into()))?;
    Ok(Create {
        op,
        path: Some(path),
        data: (!options.no_data).then_some(data),
        acl: Some(acl(&options.acl)),
        flags,
        ttl,
    })
}

/// A list on the wire.
pub(crate) fn acl(list: &[Acl]) -> Vec<RequestAcl<'_>> {
    list.iter()
        .map(|acl| RequestAcl {
            perms: acl.perms,
            scheme: Some(acl.id.scheme.as_str().into()),
            id: Some(acl.id.id.as_str().into()),
        })
        .collect()
}

/// What an operation of a multi gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpResult {
    /// A create's.
    Created(Created),
    /// A set's: the facts right after it.
    Set(Stat),
    /// A delete's.
    Deleted,
    /// A check's.
    Checked,
}

/// Reads that are answered together from one state of the tree. Servers before 3.6 do not know it.
#[derive(Clone, Debug, Default)]
#[must_use = "nothing happens before Client::multi_read"]
pub struct MultiRead(Vec<ReadOp>);

#[derive(Clone, Debug)]
enum ReadOp {
    Get(String),
    Children(String),
}

impl MultiRead {
    /// No operations yet.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// And reads a node, as [`crate::Client::get`].
    pub fn get(mut self, path: &str) -> Self {
        self.0.push(ReadOp::Get(path.to_owned()));
        self
    }

    /// And lists a node's children, as [`crate::Client::children`].
    pub fn children(mut self, path: &str) -> Self {
        self.0.push(ReadOp::Children(path.to_owned()));
        self
    }

    /// How many operations there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The path of an operation.
    pub(crate) fn path(&self, at: usize) -> Option<&str> {
        self.0.get(at).map(|op| match op {
            ReadOp::Get(path) | ReadOp::Children(path) => path.as_str(),
        })
    }

    /// The operations on the wire; `real` makes a caller's path the server's.
    pub(crate) fn wire(
        &self,
        real: impl for<'p> Fn(&'p str) -> Result<Cow<'p, str>, ErrorKind>,
    ) -> Result<Vec<MultiReadOp<'_>>, (usize, ErrorKind)> {
        let ops = self.0.iter().enumerate();
        ops.map(|(at, op)| {
            let path = self.path(at).unwrap_or_default();
            let path = Some(real(path).map_err(|kind| (at, kind))?);
            Ok(match op {
                ReadOp::Get(_) => MultiReadOp::GetData { path },
                ReadOp::Children(_) => MultiReadOp::GetChildren { path },
            })
        })
        .collect()
    }
}

/// What an operation of a multi-read gave.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadResult {
    /// A get's.
    Node(Node),
    /// The names of a node's children, in no order.
    Children(Vec<String>),
}
