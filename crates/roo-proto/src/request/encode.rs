//! The client's direction of [`Request`]: writing what [`super::decode`] reads.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use super::{Create, MultiOp, MultiReadOp, Request, RequestAcl, SetWatches};
use crate::jute::{put_bool, put_buffer, put_count, put_i32, put_i64, put_optional_string};
use crate::{frame, op_code};

impl Request<'_> {
    /// The number of the operation, one of [`crate::op_code`].
    #[must_use]
    pub const fn op(&self) -> i32 {
        match self {
            Self::Create(create) => create.op,
            Self::Delete { .. } => op_code::DELETE,
            Self::DeleteContainer { .. } => op_code::DELETE_CONTAINER,
            Self::SetData { .. } => op_code::SET_DATA,
            Self::SetAcl { .. } => op_code::SET_ACL,
            Self::Multi(_) => op_code::MULTI,
            Self::Reconfig(_) => op_code::RECONFIG,
            Self::CloseSession => op_code::CLOSE_SESSION,
            Self::Exists { .. } => op_code::EXISTS,
            Self::GetData { .. } => op_code::GET_DATA,
            Self::GetAcl { .. } => op_code::GET_ACL,
            Self::GetChildren {
                with_stat: true, ..
            } => op_code::GET_CHILDREN2,
            Self::GetChildren { .. } => op_code::GET_CHILDREN,
            Self::GetAllChildrenNumber { .. } => op_code::GET_ALL_CHILDREN_NUMBER,
            Self::GetEphemerals { .. } => op_code::GET_EPHEMERALS,
            Self::MultiRead(_) => op_code::MULTI_READ,
            Self::Sync { .. } => op_code::SYNC,
            Self::WhoAmI => op_code::WHO_AM_I,
            Self::Ping => op_code::PING,
            Self::SetWatches(watches) => {
                if watches.persistent.is_empty() && watches.persistent_recursive.is_empty() {
                    op_code::SET_WATCHES
                } else {
                    op_code::SET_WATCHES2
                }
            }
            Self::AddWatch { .. } => op_code::ADD_WATCH,
            Self::CheckWatches { .. } => op_code::CHECK_WATCHES,
            Self::RemoveWatches { .. } => op_code::REMOVE_WATCHES,
            Self::Auth { .. } => op_code::AUTH,
            Self::Sasl { .. } => op_code::SASL,
        }
    }

    /// Writes a whole frame: length, header with `xid`, body.
    pub fn encode_frame(&self, out: &mut Vec<u8>, xid: i32) {
        let mark = frame::begin(out);
        put_i32(out, xid);
        put_i32(out, self.op());
        self.encode_body(out);
        frame::end(out, mark);
    }

    /// Writes the record behind the header.
    pub fn encode_body(&self, out: &mut Vec<u8>) {
        match self {
            Self::Create(create) => put_create(out, create),
            Self::Delete { path, version } => {
                put_path(out, path);
                put_i32(out, *version);
            }
            Self::DeleteContainer { path } | Self::GetAcl { path } => put_str(out, path),
            Self::GetAllChildrenNumber { path } => put_str(out, path),
            Self::SetData {
                path,
                data,
                version,
            } => {
                put_path(out, path);
                put_buffer(out, *data);
                put_i32(out, *version);
            }
            Self::SetAcl { path, acl, version } => {
                put_path(out, path);
                put_acl(out, acl.as_deref());
                put_i32(out, *version);
            }
            Self::Multi(ops) => put_multi(out, ops),
            Self::MultiRead(ops) => put_multi_read(out, ops),
            Self::Reconfig(change) => {
                put_path(out, &change.joining_servers);
                put_path(out, &change.leaving_servers);
                put_path(out, &change.new_members);
                put_i64(out, change.config_id);
            }
            Self::CloseSession | Self::WhoAmI | Self::Ping => {}
            Self::Exists { path, watch }
            | Self::GetData { path, watch }
            | Self::GetChildren { path, watch, .. } => {
                put_str(out, path);
                put_bool(out, *watch);
            }
            Self::GetEphemerals { prefix: path } | Self::Sync { path } => put_path(out, path),
            Self::SetWatches(watches) => put_set_watches(out, watches),
            Self::AddWatch { path, mode: number }
            | Self::CheckWatches { path, kind: number }
            | Self::RemoveWatches { path, kind: number } => {
                put_path(out, path);
                put_i32(out, *number);
            }
            Self::Auth { scheme, data } => {
                put_i32(out, 0);
                put_path(out, scheme);
                put_buffer(out, *data);
            }
            Self::Sasl { token } => put_buffer(out, Some(token)),
        }
    }
}

fn put_str(out: &mut Vec<u8>, text: &str) {
    put_optional_string(out, Some(text));
}

fn put_path(out: &mut Vec<u8>, path: &Option<Cow<'_, str>>) {
    put_optional_string(out, path.as_deref());
}

fn put_acl(out: &mut Vec<u8>, acl: Option<&[RequestAcl<'_>]>) {
    let Some(list) = acl else {
        put_i32(out, -1);
        return;
    };
    put_count(out, list.len());
    for entry in list {
        put_i32(out, entry.perms);
        put_path(out, &entry.scheme);
        put_path(out, &entry.id);
    }
}

fn put_create(out: &mut Vec<u8>, create: &Create<'_>) {
    put_path(out, &create.path);
    put_buffer(out, create.data);
    put_acl(out, create.acl.as_deref());
    put_i32(out, create.flags);
    if create.op == op_code::CREATE_TTL {
        put_i64(out, create.ttl);
    }
}

fn put_paths(out: &mut Vec<u8>, paths: &[Cow<'_, str>]) {
    put_count(out, paths.len());
    for path in paths {
        put_str(out, path);
    }
}

fn put_set_watches(out: &mut Vec<u8>, watches: &SetWatches<'_>) {
    put_i64(out, watches.relative_zxid);
    put_paths(out, &watches.data);
    put_paths(out, &watches.exist);
    put_paths(out, &watches.child);
    if !watches.persistent.is_empty() || !watches.persistent_recursive.is_empty() {
        put_paths(out, &watches.persistent);
        put_paths(out, &watches.persistent_recursive);
    }
}

/// The header in front of each operation of a multi. Java: `MultiHeader`.
fn put_multi_header(out: &mut Vec<u8>, op: i32, done: bool) {
    put_i32(out, op);
    put_bool(out, done);
    put_i32(out, -1);
}

fn put_multi(out: &mut Vec<u8>, ops: &[MultiOp<'_>]) {
    for op in ops {
        match op {
            MultiOp::Create(create) => {
                put_multi_header(out, create.op, false);
                put_create(out, create);
            }
            MultiOp::Delete { path, version } => {
                put_multi_header(out, op_code::DELETE, false);
                put_str(out, path);
                put_i32(out, *version);
            }
            MultiOp::SetData {
                path,
                data,
                version,
            } => {
                put_multi_header(out, op_code::SET_DATA, false);
                put_str(out, path);
                put_buffer(out, *data);
                put_i32(out, *version);
            }
            MultiOp::Check { path, version } => {
                put_multi_header(out, op_code::CHECK, false);
                put_str(out, path);
                put_i32(out, *version);
            }
        }
    }
    put_multi_header(out, -1, true);
}

fn put_multi_read(out: &mut Vec<u8>, ops: &[MultiReadOp<'_>]) {
    for op in ops {
        let (number, path) = match op {
            MultiReadOp::GetData { path } => (op_code::GET_DATA, path),
            MultiReadOp::GetChildren { path } => (op_code::GET_CHILDREN, path),
        };
        put_multi_header(out, number, false);
        put_path(out, path);
        put_bool(out, false);
    }
    put_multi_header(out, -1, true);
}

#[cfg(test)]
mod tests;
