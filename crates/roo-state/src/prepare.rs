//! From request to transaction, on the server that decides: every check that can refuse a write,
//! in Apache's order, against the applied state and the overlay of what is in flight. A refusal
//! is a transaction too. Java: `PrepRequestProcessor`.

use alloc::string::ToString;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::acl::{Id, PERM_ADMIN, PERM_CREATE, PERM_DELETE, PERM_READ, PERM_WRITE};
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::SessionId;
use roo_proto::op_code;
use roo_proto::path;
use roo_proto::request::{Create, MultiOp, NullableStr, Request, RequestAcl};
use roo_proto::stat::StatPersisted;
use roo_proto::txn::{CreateTxn, DIGEST_VERSION, Txn, TxnDigest, TxnHeader};

use crate::access::{self, Providers};
use crate::digest;
use crate::pending::{AppliedNode, Overlay, PendingAcl, PendingNode, parent_of};
use crate::quota::{self, QuotaOp};
use crate::state::State;
use crate::tree::{CONTAINER_OWNER, NodeKind, kind_of, ttl_owner};

/// What the server's configuration says about writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PrepareRules {
    /// Schemes that may stand in ACLs.
    pub providers: Providers,
    /// Whether reconfig may be asked for at all.
    pub reconfig_enabled: bool,
    /// Whether the end of a session lists the nodes it deletes.
    pub close_session_lists_paths: bool,
    /// A longer list is left out, bytes: the record with it could not be read again.
    pub max_listed_bytes: usize,
    /// A transaction that may be longer is refused, bytes: its record could not be read again.
    pub max_txn_bytes: usize,
}

impl Default for PrepareRules {
    fn default() -> Self {
        Self {
            providers: Providers::default(),
            reconfig_enabled: false,
            close_session_lists_paths: true,
            max_listed_bytes: 512 * 1024,
            max_txn_bytes: 2 * 1024 * 1024,
        }
    }
}

/// A transaction ready to be proposed.
#[derive(Debug)]
pub struct Prepared {
    /// The change, or the refusal.
    pub txn: Txn,
    /// Digest of the tree after it; none for a refusal.
    pub digest: Option<TxnDigest>,
}

type Checked<T> = Result<T, ErrorCode>;

/// Largest time to live, ms. Java: `EphemeralType.TTL.maxValue`.
const TTL_MAX: i64 = 0xFF_FFFF_FFFF;

/// Decides what a decoded write does. `header.zxid` and `header.time` are already those of the
/// transaction. It shares the data that are a part of `body`, from which the request was decoded.
#[must_use]
pub fn prepare(
    state: &State,
    overlay: &mut Overlay,
    rules: &PrepareRules,
    header: &TxnHeader,
    ids: &[Id],
    body: &Bytes,
    request: &Request<'_>,
) -> Prepared {
    overlay.begin(state);
    let mut p = Preparer {
        state,
        overlay,
        rules,
        header,
        ids,
        body,
    };
    let checked = check(&mut p, request);
    finish(state, overlay, rules, header, checked)
}

/// A change of the ensemble whose text is worked out already; whether the client may ask for it
/// is left to decide.
#[must_use]
pub fn prepare_reconfig(
    state: &State,
    overlay: &mut Overlay,
    rules: &PrepareRules,
    header: &TxnHeader,
    ids: &[Id],
    text: &str,
) -> Prepared {
    overlay.begin(state);
    let mut p = Preparer {
        state,
        overlay,
        rules,
        header,
        ids,
        body: &Bytes::new(),
    };
    let checked = p.reconfig(text);
    finish(state, overlay, rules, header, checked)
}

fn check(p: &mut Preparer<'_>, request: &Request<'_>) -> Checked<Txn> {
    match request {
        Request::Create(create) => p.create(create, false),
        Request::Delete { path, version } => {
            nullable(path, ErrorCode::MARSHALLING_ERROR).and_then(|path| p.delete(path, *version))
        }
        Request::DeleteContainer { path } => p.delete_container(path),
        Request::SetData {
            path,
            data,
            version,
        } => nullable(path, ErrorCode::BAD_ARGUMENTS)
            .and_then(|path| p.set_data(path, *data, *version)),
        Request::SetAcl { path, acl, version } => nullable(path, ErrorCode::BAD_ARGUMENTS)
            .and_then(|path| p.set_acl(path, acl.as_deref(), *version)),
        Request::Multi(ops) => p.multi(ops),
        Request::Reconfig(_) if !p.rules.reconfig_enabled => Err(ErrorCode::RECONFIG_DISABLED),
        Request::CloseSession => Ok(p.close_session()),
        // A server without an ensemble has nothing to reconfigure; the rest are no writes.
        Request::Reconfig(_)
        | Request::Exists { .. }
        | Request::GetData { .. }
        | Request::GetAcl { .. }
        | Request::GetChildren { .. }
        | Request::GetAllChildrenNumber { .. }
        | Request::GetEphemerals { .. }
        | Request::MultiRead(_)
        | Request::Sync { .. }
        | Request::WhoAmI
        | Request::Ping
        | Request::SetWatches(_)
        | Request::AddWatch { .. }
        | Request::CheckWatches { .. }
        | Request::RemoveWatches { .. }
        | Request::Auth { .. }
        | Request::Sasl { .. } => Err(ErrorCode::UNIMPLEMENTED),
    }
}

fn finish(
    state: &State,
    overlay: &mut Overlay,
    rules: &PrepareRules,
    header: &TxnHeader,
    checked: Checked<Txn>,
) -> Prepared {
    // Compat: C-81 one that is too long is refused before it is anywhere.
    let checked = checked.and_then(|txn| {
        if txn.size_bound() > rules.max_txn_bytes {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        Ok(txn)
    });
    match checked {
        Ok(txn) => {
            overlay.commit_stage(state, header.zxid);
            Prepared {
                txn,
                digest: tree_digest(state, overlay),
            }
        }
        Err(code) => {
            overlay.drop_stage();
            Prepared {
                txn: Txn::Error(code),
                digest: None,
            }
        }
    }
}

/// The birth of a session; it changes nothing of the tree.
#[must_use]
pub fn prepare_create_session(state: &State, overlay: &mut Overlay, timeout_ms: i32) -> Prepared {
    overlay.begin(state);
    Prepared {
        txn: Txn::CreateSession { timeout_ms },
        digest: tree_digest(state, overlay),
    }
}

fn tree_digest(state: &State, overlay: &Overlay) -> Option<TxnDigest> {
    state.rules.digest.then(|| TxnDigest {
        version: DIGEST_VERSION,
        tree_digest: overlay.digest().cast_signed(),
    })
}

fn nullable<'a>(path: &'a NullableStr<'_>, error: ErrorCode) -> Checked<&'a str> {
    path.as_deref().ok_or(error)
}

/// `expected` of -1 matches every version. Java: `checkAndIncVersion`.
fn next_version(current: i32, expected: i32) -> Checked<i32> {
    if expected != -1 && expected != current {
        return Err(ErrorCode::BAD_VERSION);
    }
    Ok(current.wrapping_add(1))
}

/// What a creation makes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Making {
    Persistent,
    Ephemeral,
    Container,
    Ttl(i64),
}

struct Preparer<'a> {
    state: &'a State,
    overlay: &'a mut Overlay,
    rules: &'a PrepareRules,
    header: &'a TxnHeader,
    ids: &'a [Id],
    body: &'a Bytes,
}

impl Preparer<'_> {
    /// Data of the request, which are not copied if they lie in its body.
    fn keep(&self, data: &[u8]) -> Bytes {
        let (body, part) = (self.body.as_ptr_range(), data.as_ptr_range());
        if body.start <= part.start && part.end <= body.end {
            self.body.slice_ref(data)
        } else {
            Bytes::copy_from_slice(data)
        }
    }

    fn node(&self, path: &str) -> Checked<PendingNode> {
        self.overlay
            .node(self.state, path)
            .ok_or(ErrorCode::NO_NODE)
    }

    fn demand(&self, node: &PendingNode, perms: i32) -> Checked<()> {
        if node.permits(self.state, perms, self.ids) {
            Ok(())
        } else {
            Err(ErrorCode::NO_AUTH)
        }
    }

    /// What is to be made, and whether its name gets a number.
    fn making(&self, create: &Create<'_>, in_multi: bool) -> Checked<(Making, bool)> {
        let ttl_allowed = self.state.rules.extended_types;
        let sequential = matches!(create.flags, 2 | 3 | 6);
        let making = match create.flags {
            5 | 6 if !ttl_allowed => return Err(ErrorCode::UNIMPLEMENTED),
            5 | 6 if (1..=TTL_MAX).contains(&create.ttl) => Making::Ttl(create.ttl),
            0 | 2 => Making::Persistent,
            1 | 3 => Making::Ephemeral,
            4 => Making::Container,
            _ => return Err(ErrorCode::BAD_ARGUMENTS),
        };
        // Compat: C-04 a createTTL of another mode with a negative ttl kills a Java server.
        let is_ttl = matches!(making, Making::Ttl(_));
        if create.op == op_code::CREATE_TTL && !is_ttl && !in_multi {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        if create.op == op_code::CREATE_CONTAINER {
            return Ok((Making::Container, sequential));
        }
        Ok((making, sequential))
    }

    fn create(&mut self, create: &Create<'_>, in_multi: bool) -> Checked<Txn> {
        let (making, sequential) = self.making(create, in_multi)?;
        let asked = nullable(&create.path, ErrorCode::MARSHALLING_ERROR)?;
        if asked.contains('\0') {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let parent_path = parent_of(asked).ok_or(ErrorCode::BAD_ARGUMENTS)?;
        let acl = self.resolve_acl(create.acl.as_deref())?;
        let mut parent = self.node(parent_path)?;
        self.demand(&parent, PERM_CREATE)?;
        let full = if sequential {
            path::sequential(asked, parent.stat.cversion)
        } else {
            asked.to_string()
        };
        if !path::is_valid(&full) {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        if self.overlay.node(self.state, &full).is_some() {
            return Err(ErrorCode::NODE_EXISTS);
        }
        let parent_kind = kind_of(parent.stat.ephemeral_owner, &self.state.rules);
        if matches!(parent_kind, NodeKind::Ephemeral(_)) {
            return Err(ErrorCode::NO_CHILDREN_FOR_EPHEMERALS);
        }
        let bytes = create.data.map_or(0, <[u8]>::len);
        quota::check(self.state, &full, QuotaOp::Create { bytes })?;
        let parent_cversion = parent.stat.cversion.wrapping_add(1);
        if parent_cversion > parent.stat.cversion {
            parent.stat.cversion = parent_cversion;
            parent.stat.pzxid = self.header.zxid.0;
        }
        parent.children += 1;
        self.overlay.stage(parent_path, Some(parent));
        self.stage_new(&full, create.data, &acl, making);
        let node = CreateTxn {
            path: full,
            data: create.data.map(|data| self.keep(data)),
            acl,
            parent_cversion,
        };
        Ok(match making {
            Making::Container => Txn::CreateContainer(node),
            Making::Ttl(ttl) => Txn::CreateTtl { node, ttl },
            Making::Persistent | Making::Ephemeral => Txn::Create {
                op: if create.op == op_code::CREATE2 {
                    op_code::CREATE2
                } else {
                    op_code::CREATE
                },
                node,
                ephemeral: making == Making::Ephemeral,
            },
        })
    }

    fn resolve_acl(&self, asked: Option<&[RequestAcl<'_>]>) -> Checked<Arc<[roo_proto::acl::Acl]>> {
        if let Some([only]) = asked
            && only.is_open()
        {
            // What nearly every node is created with is not made anew each time.
            return Ok(Arc::clone(self.state.tree.acls.open_list()));
        }
        access::resolve(asked, self.ids, self.rules.providers).map(Arc::from)
    }

    fn stage_new(
        &mut self,
        path: &str,
        data: Option<&[u8]>,
        acl: &Arc<[roo_proto::acl::Acl]>,
        making: Making,
    ) {
        let (zxid, time) = (self.header.zxid.0, self.header.time);
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            ctime: time,
            mtime: time,
            version: 0,
            cversion: 0,
            aversion: 0,
            ephemeral_owner: match making {
                Making::Persistent => 0,
                Making::Ephemeral => self.header.client_id,
                Making::Container => CONTAINER_OWNER,
                Making::Ttl(ttl) => ttl_owner(ttl),
            },
            pzxid: zxid,
        };
        let node = PendingNode {
            stat,
            children: 0,
            acl: PendingAcl::New(Arc::clone(acl)),
            content_crc: Some(digest::content_crc(path, data)),
            data_length: data.map_or(0, <[u8]>::len),
            // What the request itself has deleted may still be in the tree.
            applied: if self.overlay.has_staged(path) {
                AppliedNode::Unknown
            } else {
                AppliedNode::Absent
            },
        };
        self.overlay.stage(path, Some(node));
    }

    fn delete(&mut self, path: &str, version: i32) -> Checked<Txn> {
        let parent_path = deletable(path)?;
        let parent = self.node(parent_path)?;
        self.demand(&parent, PERM_DELETE)?;
        let node = self.node(path)?;
        next_version(node.stat.version, version)?;
        if node.children > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        self.stage_deletion(path, parent_path, parent);
        Ok(Txn::Delete {
            path: path.to_string(),
        })
    }

    fn delete_container(&mut self, path: &str) -> Checked<Txn> {
        let parent_path = deletable(path)?;
        let node = self.node(path)?;
        if node.children > 0 {
            return Err(ErrorCode::NOT_EMPTY);
        }
        if matches!(
            kind_of(node.stat.ephemeral_owner, &self.state.rules),
            NodeKind::Ephemeral(_)
        ) {
            return Err(ErrorCode::BAD_VERSION);
        }
        let parent = self.node(parent_path)?;
        self.stage_deletion(path, parent_path, parent);
        Ok(Txn::DeleteContainer {
            path: path.to_string(),
        })
    }

    fn stage_deletion(&mut self, path: &str, parent_path: &str, mut parent: PendingNode) {
        parent.children = parent.children.saturating_sub(1);
        parent.stat.pzxid = parent.stat.pzxid.max(self.header.zxid.0);
        self.overlay.stage(parent_path, Some(parent));
        self.overlay.stage(path, None);
    }

    fn set_data(&mut self, path: &str, data: Option<&[u8]>, version: i32) -> Checked<Txn> {
        validate(path)?;
        let mut node = self.node(path)?;
        self.demand(&node, PERM_WRITE)?;
        let new_bytes = data.map_or(0, <[u8]>::len);
        let op = QuotaOp::SetData {
            old_bytes: node.data_length,
            new_bytes,
        };
        quota::check(self.state, path, op)?;
        let version = next_version(node.stat.version, version)?;
        node.stat.version = version;
        node.stat.mtime = self.header.time;
        node.stat.mzxid = self.header.zxid.0;
        node.content_crc = Some(digest::content_crc(path, data));
        node.data_length = new_bytes;
        self.overlay.stage(path, Some(node));
        Ok(Txn::SetData {
            path: path.to_string(),
            data: data.map(|data| self.keep(data)),
            version,
        })
    }

    fn reconfig(&mut self, text: &str) -> Checked<Txn> {
        let set = self.set_data(path::CONFIG, Some(text.as_bytes()), -1)?;
        let Txn::SetData { path, data, .. } = set else {
            return Err(ErrorCode::SYSTEM_ERROR);
        };
        // The version of this node never counts. Java: `pRequest2Txn`, case reconfig.
        Ok(Txn::Reconfig {
            path,
            data,
            version: -1,
        })
    }

    fn set_acl(
        &mut self,
        path: &str,
        asked: Option<&[RequestAcl<'_>]>,
        version: i32,
    ) -> Checked<Txn> {
        validate(path)?;
        let acl = self.resolve_acl(asked)?;
        let mut node = self.node(path)?;
        self.demand(&node, PERM_ADMIN)?;
        let version = next_version(node.stat.aversion, version)?;
        node.stat.aversion = version;
        node.acl = PendingAcl::New(Arc::clone(&acl));
        self.overlay.stage(path, Some(node));
        Ok(Txn::SetAcl {
            path: path.to_string(),
            acl,
            version,
        })
    }

    fn check(&self, path: &str, version: i32) -> Checked<Txn> {
        validate(path)?;
        let node = self.node(path)?;
        self.demand(&node, PERM_READ)?;
        let version = next_version(node.stat.version, version)?;
        Ok(Txn::Check {
            path: path.to_string(),
            version,
        })
    }

    /// All or nothing: behind the first refusal every operation is marked as not carried out. What
    /// cannot be understood (and throws in Java) fails the request instead of its operation.
    fn multi(&mut self, ops: &[MultiOp<'_>]) -> Checked<Txn> {
        let mut failed = false;
        let mut txns = Vec::with_capacity(ops.len());
        for op in ops {
            if failed {
                txns.push(Txn::Error(ErrorCode::RUNTIME_INCONSISTENCY));
                continue;
            }
            let checked = match op {
                MultiOp::Create(create) => self.create(create, true),
                MultiOp::Delete { path, version } => self.delete(path, *version),
                MultiOp::SetData {
                    path,
                    data,
                    version,
                } => self.set_data(path, *data, *version),
                MultiOp::Check { path, version } => self.check(path, *version),
            };
            txns.push(match checked {
                Ok(txn) => txn,
                Err(ErrorCode::MARSHALLING_ERROR) => return Err(ErrorCode::MARSHALLING_ERROR),
                Err(code) => {
                    failed = true;
                    Txn::Error(code)
                }
            });
        }
        if failed {
            self.overlay.drop_stage();
        }
        Ok(Txn::Multi(txns))
    }

    fn close_session(&mut self) -> Txn {
        let session = SessionId(self.header.client_id);
        let paths = self.overlay.ephemerals(self.state, session);
        for path in &paths {
            let Some(parent_path) = parent_of(path) else {
                continue;
            };
            if let Ok(parent) = self.node(parent_path) {
                self.stage_deletion(path, parent_path, parent);
            }
        }
        // Compat: C-79 without a list the end of a session deletes the same nodes.
        let bytes: usize = paths.iter().map(|path| 4 + path.len()).sum();
        let lists = self.rules.close_session_lists_paths && bytes <= self.rules.max_listed_bytes;
        let listed = || paths.iter().map(|path| path.to_string()).collect();
        Txn::CloseSession {
            paths: lists.then(listed),
        }
    }
}

fn validate(path: &str) -> Checked<()> {
    if path::is_valid(path) {
        Ok(())
    } else {
        Err(ErrorCode::BAD_ARGUMENTS)
    }
}

/// The parent of a path that may be deleted; the rest of the path is not validated.
fn deletable(path: &str) -> Checked<&str> {
    let special = matches!(path, "/" | path::ZOOKEEPER | path::QUOTA | path::CONFIG);
    if special || path.contains('\0') {
        return Err(ErrorCode::BAD_ARGUMENTS);
    }
    parent_of(path).ok_or(ErrorCode::BAD_ARGUMENTS)
}

#[cfg(test)]
mod tests;
