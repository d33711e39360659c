//! What clients get: reply frames and watch events, written straight into the output buffer.
//! [`decode`] is the client's direction.

use alloc::vec::Vec;

use crate::error_code::ErrorCode;
use crate::ids::Zxid;
use crate::stat::Stat;
use crate::{frame, jute};

pub mod decode;

/// xid of a watch event.
pub const XID_NOTIFICATION: i32 = -1;
/// xid of every ping reply, whatever the ping's was.
pub const XID_PING: i32 = -2;
/// xid of auth packets, by custom of the clients.
pub const XID_AUTH: i32 = -4;
/// xid of setWatches, by custom of the clients.
pub const XID_SET_WATCHES: i32 = -8;

/// Bytes of a reply header. Java: `ReplyHeader`.
pub const HEADER_SIZE: usize = 16;

/// A reply under construction: where its frame begins.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub struct Mark(usize);

/// Starts a reply; the body is appended to `out` until [`finish`].
pub fn begin(out: &mut Vec<u8>, xid: i32) -> Mark {
    let mark = frame::begin(out);
    jute::put_i32(out, xid);
    out.extend_from_slice(&[0; HEADER_SIZE - 4]);
    Mark(mark)
}

/// Ends a reply: fills in its length, zxid and error. The body stays as it is, since a few errors
/// carry one.
pub fn finish(out: &mut [u8], mark: Mark, zxid: Zxid, err: ErrorCode) {
    let at = mark.0 + frame::LENGTH_SIZE + 4;
    if let Some(slot) = out.get_mut(at..at + 8) {
        slot.copy_from_slice(&zxid.0.to_be_bytes());
    }
    if let Some(slot) = out.get_mut(at + 8..at + 12) {
        slot.copy_from_slice(&err.0.to_be_bytes());
    }
    frame::end(out, mark.0);
}

/// Drops what was written of the body.
pub fn discard_body(out: &mut Vec<u8>, mark: Mark) {
    out.truncate(mark.0 + frame::LENGTH_SIZE + HEADER_SIZE);
}

/// Writes a whole reply without a body.
pub fn header_only(out: &mut Vec<u8>, xid: i32, zxid: Zxid, err: ErrorCode) {
    let mark = begin(out, xid);
    finish(out, mark, zxid, err);
}

/// What happened to a node. Java: `Watcher.Event.EventType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
pub enum EventType {
    /// The node was created.
    NodeCreated = 1,
    /// The node was deleted.
    NodeDeleted = 2,
    /// The node's data changed.
    NodeDataChanged = 3,
    /// A child was created or deleted.
    NodeChildrenChanged = 4,
}

/// The only state a server sends. Java: `KeeperState.SyncConnected`.
const SYNC_CONNECTED: i32 = 3;

/// Writes a whole watch event. `zxid` is that of the transaction that fired it, -1 when
/// setWatches finds the change in hindsight.
pub fn watch_event(out: &mut Vec<u8>, zxid: Zxid, event: EventType, path: &str) {
    let mark = begin(out, XID_NOTIFICATION);
    jute::put_i32(out, event as i32);
    jute::put_i32(out, SYNC_CONNECTED);
    jute::put_string(out, path);
    finish(out, mark, zxid, ErrorCode::OK);
}

/// Writes the header of one result of a multi. Java: `MultiHeader`.
pub fn multi_header(out: &mut Vec<u8>, op: i32, err: ErrorCode) {
    jute::put_i32(out, op);
    jute::put_bool(out, false);
    jute::put_i32(out, err.0);
}

/// Writes the result of a failed operation of a multi.
pub fn multi_error(out: &mut Vec<u8>, err: ErrorCode) {
    multi_header(out, crate::op_code::ERROR, err);
    jute::put_i32(out, err.0);
}

/// Writes the end mark of a multi response.
pub fn multi_end(out: &mut Vec<u8>) {
    jute::put_i32(out, -1);
    jute::put_bool(out, true);
    jute::put_i32(out, -1);
}

/// What a successful write, alone or inside a multi, answers.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum WriteResult {
    /// delete, check, closeSession.
    Nothing { op: i32 },
    /// create: the real path.
    Created { path: alloc::string::String },
    /// create2 and its like: path and Stat.
    CreatedStat {
        path: alloc::string::String,
        stat: Stat,
    },
    /// setData, setACL.
    Changed { op: i32, stat: Stat },
    /// reconfig: the new ensemble and the Stat of /zookeeper/config.
    Reconfigured { text: Vec<u8>, stat: Stat },
}

impl WriteResult {
    /// Writes the body.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Nothing { .. } => {}
            Self::Created { path } => jute::put_string(out, path),
            Self::CreatedStat { path, stat } => {
                jute::put_string(out, path);
                stat.encode(out);
            }
            Self::Changed { stat, .. } => stat.encode(out),
            Self::Reconfigured { text, stat } => {
                jute::put_buffer(out, Some(text));
                stat.encode(out);
            }
        }
    }

    /// The operation number under which a multi response carries it.
    #[must_use]
    pub const fn multi_op(&self) -> i32 {
        match self {
            Self::Nothing { op } | Self::Changed { op, .. } => *op,
            Self::Created { .. } => crate::op_code::CREATE,
            Self::CreatedStat { .. } => crate::op_code::CREATE2,
            Self::Reconfigured { .. } => crate::op_code::RECONFIG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_event_is_a_reply_frame_of_its_own_xid() {
        let mut out = Vec::new();
        watch_event(&mut out, Zxid(5), EventType::NodeDeleted, "/a");
        let expected = [
            0, 0, 0, 30, 255, 255, 255, 255, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0,
            0, 3, 0, 0, 0, 2, b'/', b'a',
        ];
        assert_eq!(out, expected);
    }

    #[test]
    fn an_error_discards_the_body() {
        let mut out = Vec::new();
        let mark = begin(&mut out, 7);
        jute::put_string(&mut out, "half");
        discard_body(&mut out, mark);
        finish(&mut out, mark, Zxid(9), ErrorCode::NO_NODE);
        let mut whole = Vec::new();
        header_only(&mut whole, 7, Zxid(9), ErrorCode::NO_NODE);
        assert_eq!(out, whole);
        assert_eq!(out.len(), 20);
    }
}
