//! What a transaction does to the state. It cannot fail and gives the same result on every
//! server; applied again to a state that already holds it (a replay over a snapshot that was
//! taken while transactions went on) it leaves that state right. Java: `DataTree.processTxn`.

use alloc::string::String;
use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::op_code;
use roo_proto::path;
use roo_proto::reply::WriteResult;
use roo_proto::stat::StatPersisted;
use roo_proto::txn::{CreateTxn, Txn, TxnHeader};

use crate::state::{Applied, Change, Outcome, State};
use crate::tree::{CONTAINER_OWNER, MAX_NAME, NewNode, NodeId, ROOT, ttl_owner};

type Changed = Result<WriteResult, ErrorCode>;

impl State {
    /// Applies a transaction; what watchers must learn is added to `changes`.
    pub fn apply(&mut self, header: &TxnHeader, txn: Txn, changes: &mut Vec<Change>) -> Applied {
        self.tree.acls.sweep();
        let session = SessionId(header.client_id);
        let applied = match txn {
            Txn::CreateSession { timeout_ms } => {
                self.sessions.insert(session, timeout_ms);
                ok(Outcome::SessionCreated { timeout_ms })
            }
            Txn::CloseSession { paths } => {
                self.close_session(session, header.zxid, paths.unwrap_or_default(), changes);
                ok(Outcome::SessionClosed)
            }
            Txn::Multi(ops) => ok(Outcome::Multi(self.multi(header, ops, changes))),
            Txn::Error(error) => Applied {
                error,
                outcome: Outcome::Nothing,
            },
            single => match self.apply_one(header, single, changes) {
                Ok(result) => ok(Outcome::Single(result)),
                Err(error) => Applied {
                    error,
                    outcome: Outcome::Nothing,
                },
            },
        };
        self.advance(header.zxid);
        applied
    }

    fn multi(
        &mut self,
        header: &TxnHeader,
        ops: Vec<Txn>,
        changes: &mut Vec<Change>,
    ) -> Vec<Changed> {
        // One refusal undoes all: those before it are told as errors of code 0.
        if ops.iter().any(|op| matches!(op, Txn::Error(_))) {
            return ops
                .into_iter()
                .map(|op| match op {
                    Txn::Error(code) => Err(code),
                    _ => Err(ErrorCode::OK),
                })
                .collect();
        }
        ops.into_iter()
            .map(|op| self.apply_one(header, op, changes))
            .collect()
    }

    fn apply_one(&mut self, header: &TxnHeader, txn: Txn, changes: &mut Vec<Change>) -> Changed {
        let zxid = header.zxid;
        match txn {
            Txn::Create {
                op,
                node,
                ephemeral,
            } => {
                let owner = if ephemeral { header.client_id } else { 0 };
                self.create(header, node, owner, op, changes)
            }
            Txn::CreateContainer(node) => self.create(
                header,
                node,
                CONTAINER_OWNER,
                op_code::CREATE_CONTAINER,
                changes,
            ),
            Txn::CreateTtl { node, ttl } => {
                self.create(header, node, ttl_owner(ttl), op_code::CREATE_TTL, changes)
            }
            Txn::Delete { path } => self.delete(path, zxid, op_code::DELETE, changes),
            Txn::DeleteContainer { path } => {
                self.delete(path, zxid, op_code::DELETE_CONTAINER, changes)
            }
            Txn::SetData {
                path,
                data,
                version,
            } => self.set_data(header, path, data.as_deref(), version, changes),
            Txn::Reconfig {
                path,
                data,
                version,
            } => {
                let done = self.set_data(header, path, data.as_deref(), version, changes)?;
                Ok(match done {
                    WriteResult::Changed { stat, .. } => WriteResult::Reconfigured {
                        text: data.unwrap_or_default().into(),
                        stat,
                    },
                    other => other,
                })
            }
            Txn::SetAcl { path, acl, version } => {
                let node = self.tree.find(&path).ok_or(ErrorCode::NO_NODE)?;
                self.tree.set_acl(node, &acl);
                self.tree.change_stat(node, |stat| stat.aversion = version);
                Ok(WriteResult::Changed {
                    op: op_code::SET_ACL,
                    stat: self.tree.stat(node),
                })
            }
            Txn::Check { .. } => Ok(WriteResult::Nothing { op: op_code::CHECK }),
            Txn::Error(code) => Err(code),
            // Sessions and multis do not stand inside a multi; a file that says so is refused
            // where it is decoded.
            Txn::CreateSession { .. } | Txn::CloseSession { .. } | Txn::Multi(_) => {
                Err(ErrorCode::RUNTIME_INCONSISTENCY)
            }
        }
    }

    fn create(
        &mut self,
        header: &TxnHeader,
        txn: CreateTxn,
        owner: i64,
        op: i32,
        changes: &mut Vec<Change>,
    ) -> Changed {
        let CreateTxn {
            path,
            data,
            acl,
            parent_cversion,
        } = txn;
        let (parent_path, name) = path::split(&path).ok_or(ErrorCode::NO_NODE)?;
        let parent = self.tree.find(parent_path).ok_or(ErrorCode::NO_NODE)?;
        if name.len() > MAX_NAME || (path != "/" && !path::is_loadable(&path)) {
            // No server writes this; a snapshot could not hold it, and a second path to a node
            // would give it another digest.
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        if let Some(node) = self.tree.find(&path) {
            self.tree.set_acl(node, &acl);
            if op == op_code::CREATE {
                self.raise_cversion(parent, parent_cversion, header.zxid);
            }
            return Err(ErrorCode::NODE_EXISTS);
        }
        self.raise_cversion(parent, parent_cversion, header.zxid);
        let zxid = header.zxid.0;
        let stat = StatPersisted {
            czxid: zxid,
            mzxid: zxid,
            ctime: header.time,
            mtime: header.time,
            ephemeral_owner: owner,
            pzxid: zxid,
            ..StatPersisted::default()
        };
        let acl = self.tree.acls.acquire(&acl);
        let new = NewNode {
            path: &path,
            data: data.as_deref(),
            acl,
            stat,
        };
        let node = self.tree.insert(parent, &new);
        // As the client made it: counts of a quota are written into the node only now.
        let made = self.tree.stat(node);
        let bytes = data.as_ref().map_or(0, Bytes::len);
        self.on_created_for_quota(&path);
        self.count_for_quota(&path, 1, i64::try_from(bytes).unwrap_or(i64::MAX));
        let result = if op == op_code::CREATE {
            WriteResult::Created { path: path.clone() }
        } else {
            WriteResult::CreatedStat {
                path: path.clone(),
                stat: made,
            }
        };
        let parent_acl = self.tree.acl_id(parent);
        changes.push(Change::Created {
            path,
            bytes,
            acl,
            parent_acl,
        });
        Ok(result)
    }

    /// The count of creations only ever grows, so that an older transaction applied again does
    /// not give a number twice.
    fn raise_cversion(&mut self, parent: NodeId, cversion: i32, zxid: Zxid) {
        let current = self.tree.persisted(parent).cversion;
        // Files of 3.3 and older do not carry the count.
        let cversion = if cversion == -1 {
            current.wrapping_add(1)
        } else {
            cversion
        };
        if cversion > current {
            self.tree.change_stat(parent, |stat| {
                stat.cversion = cversion;
                stat.pzxid = zxid.0;
            });
        }
    }

    fn delete(&mut self, path: String, zxid: Zxid, op: i32, changes: &mut Vec<Change>) -> Changed {
        let (parent_path, _) = path::split(&path).ok_or(ErrorCode::NO_NODE)?;
        let parent = self.tree.find(parent_path).ok_or(ErrorCode::NO_NODE)?;
        if self.tree.persisted(parent).pzxid < zxid.0 {
            self.tree.change_stat(parent, |stat| stat.pzxid = zxid.0);
        }
        let node = self.tree.find(&path).ok_or(ErrorCode::NO_NODE)?;
        if node == ROOT {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let acl = self.tree.acl_id(node);
        let bytes = i64::try_from(self.tree.data(node).map_or(0, <[u8]>::len)).unwrap_or(i64::MAX);
        self.tree.remove(node);
        self.on_deleted_for_quota(&path);
        self.count_for_quota(&path, -1, -bytes);
        changes.push(Change::Deleted {
            path,
            acl,
            parent_acl: self.tree.acl_id(parent),
        });
        Ok(WriteResult::Nothing { op })
    }

    fn set_data(
        &mut self,
        header: &TxnHeader,
        path: String,
        data: Option<&[u8]>,
        version: i32,
        changes: &mut Vec<Change>,
    ) -> Changed {
        let node = self.tree.find(&path).ok_or(ErrorCode::NO_NODE)?;
        let length =
            |data: Option<&[u8]>| i64::try_from(data.map_or(0, <[u8]>::len)).unwrap_or(i64::MAX);
        let grown = length(data) - length(self.tree.data(node));
        self.tree.write(node, &path, data, |stat| {
            stat.version = version;
            stat.mtime = header.time;
            stat.mzxid = header.zxid.0;
        });
        self.count_for_quota(&path, 0, grown);
        changes.push(Change::DataChanged {
            path,
            bytes: data.map_or(0, <[u8]>::len),
            acl: self.tree.acl_id(node),
        });
        Ok(WriteResult::Changed {
            op: op_code::SET_DATA,
            stat: self.tree.stat(node),
        })
    }

    fn close_session(
        &mut self,
        session: SessionId,
        zxid: Zxid,
        listed: Vec<String>,
        changes: &mut Vec<Change>,
    ) {
        self.sessions.remove(&session);
        for path in listed {
            // A node that is gone already was deleted by an earlier transaction.
            let _ = self.delete(path, zxid, op_code::DELETE, changes);
        }
        let rest: Vec<String> = self.ephemerals(session).collect();
        for path in rest {
            let _ = self.delete(path, zxid, op_code::DELETE, changes);
        }
    }
}

const fn ok(outcome: Outcome) -> Applied {
    Applied {
        error: ErrorCode::OK,
        outcome,
    }
}

#[cfg(test)]
mod tests;
