//! What happens to a replica.

use alloc::boxed::Box;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::acl::Id;
use roo_proto::ids::{SessionId, Time, Zxid};
use roo_zab::message::LinkId;

use crate::peer_message::PeerMessage;
use crate::questions::Question;

/// A client's connection; the shell never uses one twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnId(pub u64);

impl ConnId {
    /// No connection.
    pub const NONE: Self = Self(u64::MAX);
}

/// The first packet of a client, for as long as the replica needs it.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields are those of `ConnectRequest`.
pub struct Connect {
    pub last_zxid_seen: Zxid,
    pub timeout_ms: i32,
    pub session: SessionId,
    pub password: Option<Box<[u8]>>,
    pub read_only: Option<bool>,
}

/// A request that must take its place among the writes: a write, or whatever its session sent
/// behind one.
#[derive(Clone, Debug)]
pub struct Ordered {
    /// Where it came from and the reply goes.
    pub conn: ConnId,
    /// The session of that connection.
    pub session: SessionId,
    /// Echoed in the reply.
    pub xid: i32,
    /// What is asked.
    pub op: i32,
    /// The body behind the request header.
    pub body: Bytes,
    /// The identities the connection had when the request arrived.
    pub ids: Arc<[Id]>,
    /// When it arrived.
    pub arrived: Time,
}

/// See the module.
#[derive(Clone, Debug)]
pub enum Event {
    /// A client wants a session, or its session back.
    Connecting {
        /// From where.
        conn: ConnId,
        /// What it sent.
        connect: Connect,
    },
    /// A request to be ordered.
    Requested(Ordered),
    /// A thread that serves reads asks how far they must see;
    /// [`crate::effect::Effect::Shown`] follows, unless the role changes.
    Asked(Question),
    /// A reply that needs no state but must keep its place behind earlier requests of its
    /// connection; afterwards the connection may have to be closed.
    Answered {
        /// Whose.
        conn: ConnId,
        /// Whole frames.
        frames: Vec<u8>,
        /// Whether it is the last one.
        close: bool,
    },
    /// A connection is gone; its session lives on.
    Disconnected {
        /// Which.
        conn: ConnId,
        /// Its session, 0 before the handshake.
        session: SessionId,
    },
    /// Something was heard from a session.
    Touched {
        /// Which.
        session: SessionId,
        /// When.
        at: Time,
    },
    /// The time that [`crate::Replica::next_deadline`] named has come.
    DeadlineReached,
    /// Everything appended up to here will survive a crash.
    LogDurable {
        /// The last durable record.
        upto: Zxid,
    },
    /// A snapshot that was asked for is whole, or has failed.
    SnapshotEnded,
    /// Something that concerns Zab alone: links, elections, files of epochs.
    Zab(roo_zab::Event),
    /// A message of another server.
    Received {
        /// On which link.
        link: LinkId,
        /// What it says.
        message: PeerMessage,
    },
}
