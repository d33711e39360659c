//! What servers say to each other: election notifications, and the packets of Zab 1.0 on the FIFO
//! link between a learner and its leader. Their encoding is the transport's business.

use alloc::sync::Arc;

use bytes::Bytes;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Zxid};

/// A FIFO pipe to a peer; an id is never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// A transaction with its place in the order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// Its place.
    pub zxid: Zxid,
    /// Header, body and digest, as they stand in the log.
    pub txn: Bytes,
    /// The ensemble that this transaction puts in force when it commits; `None` for all but
    /// reconfigurations.
    pub ensemble: Option<Arc<Ensemble>>,
}

/// What a server does. Java: `QuorumPeer.ServerState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// It looks for a leader.
    Looking,
    /// It follows one.
    Following,
    /// It is the leader.
    Leading,
    /// It learns without a vote.
    Observing,
}

/// A vote. Better is: higher `peer_epoch`, then higher `zxid`, then higher `leader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Vote {
    /// currentEpoch of the proposed leader.
    pub peer_epoch: u32,
    /// Last zxid of the proposed leader.
    pub zxid: Zxid,
    /// The proposed leader; `NO_VOTE` from those who have none.
    pub leader: ServerId,
}

/// The leader in the vote of a server without one (Java: `Long.MIN_VALUE`).
pub const NO_VOTE: ServerId = ServerId(i64::MIN);

/// An election message. Java: `FastLeaderElection.Notification`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notification {
    /// What the sender is for, or has elected.
    pub vote: Vote,
    /// The round of that election (logical clock).
    pub round: u64,
    /// What the sender does.
    pub state: PeerState,
    /// The ensemble in force at the sender.
    pub ensemble: Arc<Ensemble>,
}

/// A packet of a link between learner and leader. The names are Java's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Learner: the first packet.
    FollowerInfo {
        /// Its accepted epoch.
        accepted_epoch: u32,
        /// Version of the ensemble in force there.
        config_version: i64,
        /// OBSERVERINFO rather than FOLLOWERINFO.
        observer: bool,
    },
    /// Leader: the epoch it will lead, or leads.
    LeaderInfo {
        /// See above.
        epoch: u32,
    },
    /// Learner: it has promised to accept no older epoch.
    AckEpoch {
        /// The epoch of its history; `None` if it had accepted this epoch before and is not to
        /// be counted.
        current_epoch: Option<u32>,
        /// The end of its history.
        last_zxid: Zxid,
    },
    /// Leader: the learner's history is a prefix; what is missing up to `upto` follows.
    Diff {
        /// The end of what was committed when the synchronisation began.
        upto: Zxid,
    },
    /// Leader: drop everything behind `to`.
    Trunc {
        /// The last zxid to keep.
        to: Zxid,
    },
    /// Leader: a snapshot of the state at `zxid` follows, outside of this enumeration.
    Snap {
        /// See above.
        zxid: Zxid,
    },
    /// Leader: a transaction to be logged.
    Proposal(Proposal),
    /// Learner: everything up to here is durable in its log; `epoch << 32` acknowledges
    /// NEWLEADER.
    Ack {
        /// See above. Cumulative.
        zxid: Zxid,
    },
    /// Leader: everything up to here is committed.
    Commit {
        /// See above. Cumulative.
        zxid: Zxid,
    },
    /// Leader: a reconfiguration is committed, with everything before it.
    CommitAndActivate {
        /// Of the reconfiguration.
        zxid: Zxid,
        /// Who leads from here on.
        leader: ServerId,
    },
    /// Leader to observers: a committed transaction.
    Inform(Proposal),
    /// Leader to observers: a committed reconfiguration.
    InformAndActivate {
        /// The reconfiguration.
        proposal: Proposal,
        /// Who leads from here on.
        leader: ServerId,
    },
    /// Leader: the synchronisation is complete.
    NewLeader {
        /// The epoch.
        epoch: u32,
        /// The ensemble as last proposed.
        ensemble: Arc<Ensemble>,
    },
    /// Leader: a quorum has adopted the history; the learner may serve.
    UpToDate,
    /// Leader: are you there?
    Ping {
        /// Counts the rounds of pings.
        round: u64,
        /// The last zxid proposed.
        zxid: Zxid,
    },
    /// Learner: yes.
    Pong {
        /// Of the ping.
        round: u64,
    },
}
