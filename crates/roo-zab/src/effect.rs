//! What a server's half of Zab wants done: in order, at once, without thinking.

use alloc::sync::Arc;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Zxid};

use crate::event::EpochKind;
use crate::message::{LinkId, Message, Notification, Proposal};

/// What a server is, as far as clients can see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It has no leader, or is not yet synchronised: it must not serve.
    Looking,
    /// It leads an epoch that a quorum has adopted.
    Leading {
        /// The epoch.
        epoch: u32,
    },
    /// It follows a leader and is synchronised.
    Following {
        /// The leader.
        leader: ServerId,
        /// The link to it.
        link: LinkId,
        /// The epoch.
        epoch: u32,
    },
    /// As `Following`, without a vote.
    Observing {
        /// The leader.
        leader: ServerId,
        /// The link to it.
        link: LinkId,
        /// The epoch.
        epoch: u32,
    },
}

/// Why a link is closed, for the log and the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CloseReason {
    /// A learner came to a server that does not lead.
    NotLeading,
    /// This server goes back to the election.
    RoleChanged,
    /// Nothing was heard for too long.
    Silent,
    /// The oldest proposal was not acknowledged in time.
    SlowAck,
    /// A packet that does not belong there.
    UnexpectedPacket,
    /// The learner's history is ahead of a leader that still collects its quorum.
    LearnerAhead,
    /// The leader's epoch lies behind one that was accepted.
    StaleEpoch,
    /// The learner's configuration is newer than the leader's.
    ConfigAhead,
    /// A proposal is missing between two.
    Gap,
    /// The same peer has opened a newer link.
    Replaced,
    /// The learner asks for more at once than it may.
    TooManyRequests,
    /// The learner has to come back in another role, or to another leader.
    Reconfigured,
}

/// See the module.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Send an election message; only the newest one to a peer counts.
    Notify {
        /// To whom; never to oneself.
        to: ServerId,
        /// What.
        notification: Notification,
    },
    /// Dial a peer's leader. [`crate::Event::LinkOpened`] or [`crate::Event::LinkClosed`] follows.
    OpenLink {
        /// The name of the link, new. Ids of dialled links are even, of accepted ones odd.
        link: LinkId,
        /// Whom.
        to: ServerId,
    },
    /// Close a link. [`crate::Event::LinkClosed`] need not follow.
    CloseLink {
        /// Which.
        link: LinkId,
        /// Why.
        why: CloseReason,
    },
    /// Send a packet.
    Send {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// Append to the log. [`crate::Event::LogDurable`] follows.
    Append {
        /// What; its zxid is larger than that of every record before.
        proposal: Proposal,
    },
    /// Drop everything in the log behind `after`, and reload the state if it holds any of it.
    /// [`crate::Event::Truncated`] follows.
    Truncate {
        /// The last zxid to keep.
        after: Zxid,
    },
    /// Write an epoch file. [`crate::Event::EpochDurable`] follows.
    PersistEpoch {
        /// Which.
        which: EpochKind,
        /// Its value.
        epoch: u32,
    },
    /// Read the log for a learner: from the last record at or before `from` to the last one at or
    /// before `upto`. [`crate::Event::HistoryRead`] follows, perhaps many times.
    ReadHistory {
        /// For which link.
        link: LinkId,
        /// See above.
        from: Zxid,
        /// See above.
        upto: Zxid,
    },
    /// Send the `Snap` packet and the slices of the applied state, which holds at least
    /// everything delivered so far. [`crate::Event::SnapshotSent`] follows.
    SendSnapshot {
        /// On which link.
        link: LinkId,
    },
    /// Receive the slices that follow `Snap`, and replace log and state by them when they are
    /// whole and durable. [`crate::Event::SnapshotInstalled`] or
    /// [`crate::Event::SnapshotFailed`] follows.
    InstallSnapshot {
        /// From which link.
        link: LinkId,
        /// Of the `Snap` packet.
        zxid: Zxid,
    },
    /// Apply a committed transaction that the state does not hold yet.
    Deliver {
        /// It; in the order of zxids, without holes.
        proposal: Proposal,
    },
    /// The role as clients see it has changed. Before `Leading` and `Following` everything
    /// committed was delivered; the state's zxid becomes `epoch << 32` if it is lower.
    RoleChanged {
        /// The new one.
        role: Role,
    },
    /// [`crate::Event::ConfirmLeadership`]: a quorum still followed this leader after the `count`
    /// oldest unanswered questions were asked. After a change of role no answer comes.
    LeadershipConfirmed {
        /// How many questions this answers.
        count: usize,
    },
    /// Remember an ensemble that is proposed (`.dynamic.next`), before the record that holds it, or
    /// an epoch that is written later, counts as durable.
    PersistNextEnsemble {
        /// It.
        ensemble: Arc<Ensemble>,
    },
    /// The ensemble that [`Self::PersistNextEnsemble`] remembered was not committed and never will
    /// be: remove the file before a record that is appended later, or an epoch that is written
    /// later, counts as durable. Else it could come back at a start when its record is long
    /// replaced.
    ForgetNextEnsemble,
    /// An ensemble is in force: connect to its members, write the dynamic configuration, show it
    /// in /zookeeper/config. The file is written before a record that is appended later counts
    /// as durable: what is acknowledged in an ensemble is never forgotten for an older one.
    Activate {
        /// It.
        ensemble: Arc<Ensemble>,
    },
}
