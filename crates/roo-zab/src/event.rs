//! What happens to a server's half of Zab.

use alloc::vec::Vec;

use roo_proto::ids::{ServerId, Zxid};

use crate::message::{LinkId, Message, Notification, Proposal};

/// Which of the two epoch files.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum EpochKind {
    /// acceptedEpoch: promised.
    Accepted,
    /// currentEpoch: its leader's history is adopted.
    Current,
}

/// Records of the log on disk, for a learner that is behind what memory holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum History {
    /// Records in order. The very first of a reading is the last one at or before the zxid that
    /// was asked for, so that it shows whether the learner's history is a prefix.
    Records {
        /// See above.
        records: Vec<Proposal>,
        /// No more follow: the last one is that before `upto` of the effect, or `upto` itself.
        end: bool,
    },
    /// The log does not go back so far, or is so large that a snapshot is cheaper.
    Unavailable,
}

/// See the module.
#[derive(Clone, Debug)]
pub enum Event {
    /// The way to a peer's election port is open: it will get notifications.
    Reachable {
        /// Whose.
        peer: ServerId,
    },
    /// The way to a peer's election port is closed, and trying again failed (or is still to
    /// come). A hint: it shortens elections and never decides one.
    Unreachable {
        /// Whose.
        peer: ServerId,
    },
    /// An election message.
    Notified {
        /// Who sent it.
        from: ServerId,
        /// What it says.
        notification: Notification,
    },
    /// A learner has dialled this server.
    LinkAccepted {
        /// The link, new.
        link: LinkId,
        /// The learner.
        peer: ServerId,
    },
    /// [`crate::Effect::OpenLink`] succeeded.
    LinkOpened {
        /// The link, as named in the effect.
        link: LinkId,
    },
    /// A link is gone, or could not be opened, or the peer refused it.
    LinkClosed {
        /// Which.
        link: LinkId,
    },
    /// A packet.
    Received {
        /// On which link.
        link: LinkId,
        /// What.
        message: Message,
    },
    /// The leader's replica has decided a transaction; its zxid is [`crate::Zab::next_zxid`].
    Propose {
        /// It.
        proposal: Proposal,
    },
    /// The leader wants to know whether it still is the leader.
    ConfirmLeadership,
    /// The time that [`crate::Zab::next_deadline`] named has come.
    DeadlineReached,
    /// Everything appended up to here will survive a crash.
    LogDurable {
        /// The last durable record.
        upto: Zxid,
    },
    /// [`crate::Effect::PersistEpoch`] will survive a crash.
    EpochDurable {
        /// Which.
        which: EpochKind,
        /// Its value.
        epoch: u32,
    },
    /// [`crate::Effect::Truncate`] is done and durable: log and state end where it said (the
    /// state may end before).
    Truncated {
        /// The end of the log.
        last: Zxid,
    },
    /// [`crate::Effect::InstallSnapshot`] is done and durable: the state is the snapshot's.
    SnapshotInstalled {
        /// From which link.
        link: LinkId,
        /// The state's zxid.
        zxid: Zxid,
    },
    /// [`crate::Effect::InstallSnapshot`] was given up; log and state are as before.
    SnapshotFailed {
        /// From which link.
        link: LinkId,
    },
    /// [`crate::Effect::SendSnapshot`] is done: `Snap` and all the slices are in the link's queue.
    SnapshotSent {
        /// On which link.
        link: LinkId,
        /// The zxid of the state that was sent.
        zxid: Zxid,
    },
    /// A part of what [`crate::Effect::ReadHistory`] asked for. The shell sends the next part
    /// when the link's queue has room again.
    HistoryRead {
        /// For which link.
        link: LinkId,
        /// The part.
        history: History,
    },
}
