//! What the outside may know: for `srvr`, `mntr`, logs and tests. Nothing decides on it.

use alloc::vec::Vec;

use roo_proto::ids::{ServerId, Zxid};

use crate::leader::{Leader, Stage};
use crate::learner::{Learner, Step};
use crate::message::{LinkId, PeerState, Vote};

/// What a server does, named by what it awaits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// What the last role left to the disk.
    AwaitDurable,
    /// Votes.
    AwaitVotes,
    /// Leader: who says which epoch it has accepted.
    AwaitEpochQuorum,
    /// Leader: its own promise to be durable.
    AwaitAcceptedEpoch,
    /// Leader: who promises to follow.
    AwaitAckEpochQuorum,
    /// Leader or learner: its step into the epoch to be durable.
    AwaitCurrentEpoch,
    /// Leader: who has adopted its history.
    AwaitSyncQuorum,
    /// Leader: nothing.
    Broadcasting,
    /// Leader: its learners to leave for its successor.
    Retiring,
    /// Learner: the link to the leader.
    Dialling,
    /// Learner: LEADERINFO.
    AwaitLeaderInfo,
    /// Learner: its promise to be durable.
    AwaitPromise,
    /// Learner: the first packet of the synchronisation.
    AwaitSync,
    /// Learner: its log to be truncated.
    AwaitTruncated,
    /// Learner: the snapshot to be installed.
    AwaitSnapshot,
    /// Learner: the rest of the history.
    Syncing,
    /// Learner: the history to be durable.
    AwaitHistory,
    /// Learner: UPTODATE.
    AwaitUpToDate,
    /// Learner: nothing.
    Following,
}

/// A learner's link, as its leader sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LinkStatus {
    /// The link.
    pub link: LinkId,
    /// The learner.
    pub peer: ServerId,
    /// It learns without a vote.
    pub observer: bool,
    /// It has adopted the epoch.
    pub synced: bool,
    /// The end of what it has acknowledged.
    pub acked: Zxid,
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// What it does. A leader that is not yet established leads.
    pub state: PeerState,
    /// The same, in detail.
    pub phase: Phase,
    /// Whom it follows, or itself if it leads.
    pub leader: Option<ServerId>,
    /// The epoch of the leader it follows or is; before that is known, its current epoch.
    pub epoch: u32,
    /// Its round of elections.
    pub round: u64,
    /// What it is for, or has elected.
    pub vote: Vote,
    /// Leader: its learners.
    pub links: Vec<LinkStatus>,
    /// Leader: followers that are synchronised, whether they vote or not.
    /// Java: `synced_followers`.
    pub synced_followers: usize,
    /// Leader: observers that are synchronised. Java: `synced_observers`.
    pub synced_observers: usize,
    /// Leader: links whose synchronisation is not complete.
    pub syncing: usize,
    /// How many servers vote in the ensemble in force. Java: `quorum_size`.
    pub quorum_size: usize,
    /// Whether an ensemble is proposed and not yet in force: no other may be proposed.
    pub reconfiguring: bool,
    /// The end of the log.
    pub last_proposed: Zxid,
    /// The end of what is known to be committed.
    pub committed: Zxid,
    /// The end of what is on disk.
    pub durable: Zxid,
    /// The end of what was handed to the state.
    pub delivered: Zxid,
}

pub(crate) const fn leader_phase(leader: &Leader) -> Phase {
    match leader.stage {
        Stage::AwaitEpochQuorum => Phase::AwaitEpochQuorum,
        Stage::AwaitAcceptedEpoch => Phase::AwaitAcceptedEpoch,
        Stage::AwaitAckEpochQuorum => Phase::AwaitAckEpochQuorum,
        Stage::AwaitCurrentEpoch => Phase::AwaitCurrentEpoch,
        Stage::AwaitSyncQuorum => Phase::AwaitSyncQuorum,
        Stage::Broadcasting => Phase::Broadcasting,
        Stage::Retiring { .. } => Phase::Retiring,
    }
}

pub(crate) const fn learner_phase(learner: &Learner) -> Phase {
    match learner.step {
        Step::Dialling => Phase::Dialling,
        Step::AwaitLeaderInfo => Phase::AwaitLeaderInfo,
        Step::AwaitAcceptedEpoch => Phase::AwaitPromise,
        Step::AwaitSync => Phase::AwaitSync,
        Step::AwaitTruncated => Phase::AwaitTruncated,
        Step::AwaitSnapshot => Phase::AwaitSnapshot,
        Step::Syncing => Phase::Syncing,
        Step::AwaitHistory { .. } => Phase::AwaitHistory,
        Step::AwaitCurrentEpoch => Phase::AwaitCurrentEpoch,
        Step::AwaitUpToDate => Phase::AwaitUpToDate,
        Step::Following => Phase::Following,
    }
}
