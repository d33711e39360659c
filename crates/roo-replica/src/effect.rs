//! What a replica wants done. Effects may be executed the moment they are popped: whatever
//! depends on the disk is emitted only after the event that reports it.

use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::acl::Id;
use roo_proto::connect::ConnectResponse;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::request::Request;
use roo_proto::txn::TxnHeader;
use roo_state::state::{Change, State};
use roo_zab::message::LinkId;

use crate::event::ConnId;
use crate::peer_message::PeerMessage;
use crate::questions::Question;
use crate::replica::Role;

/// See the module.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Append a record to the log; [`crate::event::Event::LogDurable`] follows.
    Append {
        /// Its zxid, larger than that of every record before.
        zxid: Zxid,
        /// Its payload.
        record: Bytes,
    },
    /// The next record opens a new log file.
    RollLog,
    /// Write a snapshot of the applied state; [`crate::event::Event::SnapshotEnded`] follows.
    TakeSnapshot,
    /// Answer a handshake that needs no transaction; without a session the connection ends.
    Connected {
        /// Whose.
        conn: ConnId,
        /// The answer.
        response: ConnectResponse,
    },
    /// Close a connection without a word.
    Close {
        /// Which.
        conn: ConnId,
        /// For the log and the metrics.
        why: CloseReason,
    },
    /// Tell a thread that the state shows what the reads of its question must see.
    Shown(Question),
    /// Send a message to another server.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: PeerMessage,
    },
    /// What Zab wants done, but what the replica does itself: `Append`, `Send`, `Deliver`,
    /// `RoleChanged` and `LeadershipConfirmed` never come.
    Zab(roo_zab::Effect),
}

/// Why a connection is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// The client has seen a zxid that this server has not.
    ClientAhead,
    /// Its session was resumed on another connection.
    SessionMoved,
    /// Its session has expired.
    SessionExpired,
    /// The client asked for it.
    SessionClosed,
    /// Its session is not known here.
    UnknownSession,
    /// This server has no leader, and the client wants more than to read, or a session of others.
    ReadOnly,
    /// This server has no leader, or leaves clients to others.
    NotServing,
}

/// A read that kept its place behind a write.
#[derive(Debug)]
#[allow(missing_docs)]
pub struct OrderedRead<'a> {
    pub conn: ConnId,
    pub session: SessionId,
    pub xid: i32,
    pub ids: &'a [Id],
    pub request: Request<'a>,
}

/// Where the results of applied transactions go. Everything that one connection gets keeps the
/// order of these calls.
pub trait Deliveries {
    /// Tells watchers of a change.
    fn changed(&mut self, state: &State, zxid: Zxid, change: &Change);
    /// Sends a reply that `write` appends to the connection's buffer.
    fn reply(&mut self, conn: ConnId, write: &mut dyn FnMut(&mut Vec<u8>));
    /// Serves a read whose turn has come.
    fn read(&mut self, state: &State, read: &OrderedRead<'_>);
    /// Answers a handshake whose session now exists.
    fn connected(&mut self, conn: ConnId, response: &ConnectResponse);
    /// Closes a connection when everything sent before is out.
    fn close(&mut self, conn: ConnId, why: CloseReason);
    /// A transaction took effect (`OK`), or a refusal its place. Nobody's connection waits for
    /// what the server did by itself.
    fn applied(&mut self, conn: Option<ConnId>, op: i32, header: &TxnHeader, code: ErrorCode);
    /// The server's role has changed, with the state that belongs to it. Every client's
    /// connection ends; from here on reads of the tree are served alone, or in rounds by the
    /// replica.
    fn role_changed(&mut self, role: Role, reads_in_rounds: bool);
    /// A committed transaction cannot be understood: this server must not serve any more.
    fn undecodable(&mut self, zxid: Zxid, what: &'static str);
    /// The tree's digest is not the one that was prepared.
    fn digest_mismatch(&mut self, zxid: Zxid, expected: u64, actual: u64);
}
