//! A server that follows or observes a leader: it finds it, takes its history over, and logs and
//! delivers what it orders.
//!
//! ```text
//! Dialling -> AwaitLeaderInfo [-> AwaitAcceptedEpoch] -> AwaitSync
//!    -> [AwaitTruncated | AwaitSnapshot ->] Syncing
//!    -> AwaitHistory -> [AwaitCurrentEpoch ->] AwaitUpToDate -> Following
//! ```
//!
//! Java: `Learner`, `Follower`, `Observer`.

mod discovery;
mod following;
mod synchronization;

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Time, Zxid};

use crate::effect::{CloseReason, Effect};
use crate::event::EpochKind;
use crate::message::{LinkId, Message, Proposal};
use crate::rebreak::Bug;
use crate::server::{Next, Server};

/// What the learner waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// The link to open, or the time to try again.
    Dialling,
    /// LEADERINFO.
    AwaitLeaderInfo,
    /// Its promise to be durable.
    AwaitAcceptedEpoch,
    /// DIFF, TRUNC or SNAP.
    AwaitSync,
    /// The log to be truncated.
    AwaitTruncated,
    /// The snapshot to be installed.
    AwaitSnapshot,
    /// Proposals, and NEWLEADER.
    Syncing,
    /// The history before NEWLEADER to be durable.
    AwaitHistory { end: Zxid },
    /// Its step into the epoch to be durable.
    AwaitCurrentEpoch,
    /// UPTODATE.
    AwaitUpToDate,
    /// Nothing: it is synchronised.
    Following,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Learner {
    pub(crate) leader: ServerId,
    /// It came without a vote.
    pub(crate) observer: bool,
    pub(crate) step: Step,
    pub(crate) link: LinkId,
    /// Of LEADERINFO.
    pub(crate) epoch: u32,
    /// When a closed link is dialled again; the link is gone while this is set.
    retry_at: Option<Time>,
    /// When it gives up finding the leader.
    deadline: Time,
    heard: Time,
    /// What came while the log or the state were not ready for it.
    held: VecDeque<Message>,
    /// Proposals that a bug keeps in memory (`Bug::Zk3911`).
    unlogged: Vec<Proposal>,
    /// Records that a bug does not keep in memory (`Bug::Zk4925`).
    unseen: Vec<Zxid>,
    /// The highest zxid that the leader named as committed, or synchronised to.
    noted: Zxid,
    /// The first packet of the synchronisation named it.
    sync_point: Zxid,
    /// The last acknowledgement that left.
    acked: Zxid,
    /// NEWLEADER's.
    ensemble: Option<Arc<Ensemble>>,
}

impl Learner {
    /// A server whose leader is elected begins.
    pub(crate) fn new(leader: ServerId, server: &mut Server, effects: &mut Vec<Effect>) -> Self {
        let mut learner = Self {
            leader,
            observer: server.membership.is_observer(),
            step: Step::Dialling,
            link: LinkId(0),
            epoch: 0,
            retry_at: None,
            deadline: server.in_ticks(server.config.init_limit),
            heard: server.now,
            held: VecDeque::new(),
            unlogged: Vec::new(),
            unseen: Vec::new(),
            noted: Zxid::ZERO,
            sync_point: Zxid::ZERO,
            acked: Zxid::ZERO,
            ensemble: None,
        };
        learner.dial(server, effects);
        learner
    }

    pub(crate) fn next_deadline(&self, server: &Server) -> Option<Time> {
        match self.step {
            Step::Dialling => Some(
                self.retry_at
                    .map_or(self.deadline, |at| at.min(self.deadline)),
            ),
            // Neither depends on the leader any more, and both end.
            Step::AwaitTruncated | Step::AwaitSnapshot => None,
            Step::AwaitLeaderInfo
            | Step::AwaitAcceptedEpoch
            | Step::AwaitSync
            | Step::Syncing
            | Step::AwaitHistory { .. }
            | Step::AwaitCurrentEpoch
            | Step::AwaitUpToDate
            | Step::Following => Some(self.silent_at(server)),
        }
    }

    /// When the leader has been silent for too long.
    fn silent_at(&self, server: &Server) -> Time {
        let ticks = match self.step {
            Step::AwaitUpToDate | Step::Following => server.config.sync_limit,
            Step::Dialling
            | Step::AwaitLeaderInfo
            | Step::AwaitAcceptedEpoch
            | Step::AwaitSync
            | Step::AwaitTruncated
            | Step::AwaitSnapshot
            | Step::Syncing
            | Step::AwaitHistory { .. }
            | Step::AwaitCurrentEpoch => server.config.init_limit,
        };
        let ms = server.config.tick_ms.saturating_mul(ticks);
        Time(self.heard.0.saturating_add(ms))
    }

    pub(crate) fn on_deadline(&mut self, server: &mut Server, effects: &mut Vec<Effect>) -> Next {
        if self.next_deadline(server).is_none_or(|at| at > server.now) {
            return Next::Stay;
        }
        if self.step == Step::Dialling && self.deadline > server.now {
            self.dial(server, effects);
            return Next::Stay;
        }
        self.leave(CloseReason::Silent, effects)
    }

    pub(crate) fn on_received(
        &mut self,
        link: LinkId,
        message: Message,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if link != self.link || self.step == Step::Dialling {
            return Next::Stay;
        }
        self.heard = server.now;
        match self.step {
            Step::Dialling | Step::AwaitLeaderInfo => {
                self.on_leader_info(&message, server, effects)
            }
            Step::AwaitAcceptedEpoch => self.leave(CloseReason::UnexpectedPacket, effects),
            Step::AwaitSync => self.on_first_packet(&message, server, effects),
            Step::AwaitTruncated | Step::AwaitSnapshot => {
                self.held.push_back(message);
                Next::Stay
            }
            Step::Syncing
            | Step::AwaitHistory { .. }
            | Step::AwaitCurrentEpoch
            | Step::AwaitUpToDate => self.on_sync_packet(message, server, effects),
            Step::Following => self.on_live_packet(message, server, effects),
        }
    }

    /// The link is gone. `is_dead`: the leader cannot be reached on other ways either.
    pub(crate) fn on_closed(&mut self, link: LinkId, is_dead: bool, server: &mut Server) -> Next {
        if link != self.link || self.retry_at.is_some() {
            return Next::Stay;
        }
        if server.rebreak.has(Bug::Zk2355)
            && self.step == Step::Syncing
            && self.sync_point > server.log.last()
        {
            server.log.pretend_installed(self.sync_point);
        }
        let may_retry = matches!(self.step, Step::Dialling | Step::AwaitLeaderInfo);
        if may_retry && !is_dead && self.deadline > server.now {
            // The leader may not know yet that it is one.
            self.step = Step::Dialling;
            self.retry_at = Some(server.in_ms(server.config.connect_retry_ms));
            return Next::Stay;
        }
        self.retry_at = Some(server.now);
        Next::Look
    }

    pub(crate) fn on_epoch_durable(
        &mut self,
        which: EpochKind,
        epoch: u32,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if epoch != self.epoch {
            return Next::Stay;
        }
        match (which, self.step) {
            (EpochKind::Accepted, Step::AwaitAcceptedEpoch) => {
                self.promise(Some(server.log.current_epoch), server, effects);
            }
            (EpochKind::Current, Step::AwaitCurrentEpoch) => {
                self.acknowledge_epoch(server, effects);
            }
            _ => {}
        }
        Next::Stay
    }

    pub(crate) fn on_log_durable(&mut self, server: &mut Server, effects: &mut Vec<Effect>) {
        match self.step {
            Step::AwaitHistory { end } if server.log.durable >= end => {
                self.adopt_epoch(server, effects);
            }
            Step::Following => self.acknowledge(server, effects),
            Step::Dialling
            | Step::AwaitLeaderInfo
            | Step::AwaitAcceptedEpoch
            | Step::AwaitSync
            | Step::AwaitTruncated
            | Step::AwaitSnapshot
            | Step::Syncing
            | Step::AwaitHistory { .. }
            | Step::AwaitCurrentEpoch
            | Step::AwaitUpToDate => self.acknowledge_too_early(server, effects),
        }
    }

    /// Whether there is a link, open or opening.
    pub(crate) const fn has_link(&self) -> bool {
        self.retry_at.is_none()
    }

    /// The role ends: the link is closed.
    pub(crate) fn close(&mut self, why: CloseReason, effects: &mut Vec<Effect>) {
        if self.has_link() {
            self.retry_at = Some(Time(u64::MAX));
            effects.push(Effect::CloseLink {
                link: self.link,
                why,
            });
        }
    }

    /// Gives the leader up.
    fn leave(&mut self, why: CloseReason, effects: &mut Vec<Effect>) -> Next {
        self.close(why, effects);
        Next::Look
    }
}
