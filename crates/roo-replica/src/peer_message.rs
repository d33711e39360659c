//! What the servers of an ensemble say to each other on the link between a learner and its
//! leader: Zab's packets and those of the replicas above it, in one FIFO order.

use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::acl::Id;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::op_code;
use roo_proto::txn::{self, Txn};
use roo_zab::Proposal;

/// See the module. Java: `QuorumPacket`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PeerMessage {
    /// Election aside, everything of Zab 1.0.
    Zab(roo_zab::Message),
    /// A part of the snapshot that follows `Snap`, in order. A snapshot is complete only with its
    /// [`PeerMessage::SliceEnd`].
    Slice {
        /// The part: bytes of a snapshot body as in files, without header and trailer.
        bytes: Bytes,
    },
    /// The end of a snapshot.
    SliceEnd {
        /// Bytes of all the slices.
        length: u64,
        /// CRC-32 (IEEE) of them.
        crc32: u32,
        /// The tree's digest at the zxid of the snapshot, if digests are kept.
        digest: Option<u64>,
    },
    /// Learner: a client's request that the leader must decide. Java: REQUEST.
    Request {
        /// The client's session.
        session: SessionId,
        /// Its xid.
        cxid: i32,
        /// What is asked; a new session is `op_code::CREATE_SESSION` with the timeout (i32, ms)
        /// as body.
        op: i32,
        /// The body behind the request header.
        body: Bytes,
        /// The identities of the connection.
        ids: Arc<[Id]>,
    },
    /// Learner: tell when everything proposed so far is committed. Java: REQUEST of type sync.
    Sync,
    /// Leader: answers the oldest `Sync`, behind the commits it waited for.
    SyncDone,
    /// Learner: a client came back with this session. Java: REVALIDATE.
    Revalidate {
        /// Which.
        session: SessionId,
        /// The timeout negotiated with the client, ms.
        timeout_ms: i32,
    },
    /// Leader: whether the session lives; it now belongs to the learner.
    Revalidated {
        /// Which.
        session: SessionId,
        /// See above.
        valid: bool,
        /// The last transaction decided before: those of the session up to here are for what it
        /// asked elsewhere, whatever their cxids are.
        after: Zxid,
    },
    /// Learner, in front of every `Pong`: the sessions heard from since the last one, with their
    /// timeouts in ms.
    Touched {
        /// See above.
        sessions: Vec<(SessionId, i32)>,
    },
    /// Learner: up to where must be applied for a read to be linearizable?
    ReadIndex {
        /// The learner's number for the question.
        id: u64,
    },
    /// Leader: up to here; it was still the leader after the question came.
    ReadIndexed {
        /// Of the question.
        id: u64,
        /// See above.
        zxid: Zxid,
    },
}

/// The proposal that a record of the log was.
#[must_use]
pub fn proposal_of(zxid: Zxid, record: Bytes) -> Proposal {
    let is_reconfig = record
        .get(txn::HEADER_SIZE - 4..txn::HEADER_SIZE)
        .is_some_and(|op| op == op_code::RECONFIG.to_be_bytes());
    let ensemble = if is_reconfig {
        txn::decode_record(&record)
            .ok()
            .and_then(|(_, txn, _)| ensemble_of(&txn))
    } else {
        None
    };
    Proposal {
        zxid,
        txn: record,
        ensemble,
    }
}

/// The ensemble that a transaction puts in force.
pub(crate) fn ensemble_of(txn: &Txn) -> Option<Arc<Ensemble>> {
    let Txn::Reconfig {
        data: Some(text), ..
    } = txn
    else {
        return None;
    };
    let text = core::str::from_utf8(text).ok()?;
    Ensemble::parse(text).ok().map(Arc::new)
}
