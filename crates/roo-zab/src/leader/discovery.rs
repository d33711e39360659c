//! Settling the epoch: a quorum says which epochs it has accepted, promises to follow in a higher
//! one, and shows that nobody's history is ahead of this server's.

use alloc::vec::Vec;

use roo_proto::ids::{ServerId, Zxid};

use super::{Leader, Stage, Step};
use crate::effect::{CloseReason, Effect};
use crate::event::EpochKind;
use crate::message::{LinkId, Message};
use crate::server::{MAX_ACCEPTED, Next, Server};

impl Leader {
    /// FOLLOWERINFO or OBSERVERINFO.
    pub(super) fn on_info(
        &mut self,
        link: LinkId,
        config_version: i64,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let Some(learner) = self.learners.get_mut(&link) else {
            return Next::Stay;
        };
        let refused = if config_version > server.membership.current.version {
            Some(CloseReason::ConfigAhead)
        } else if learner.accepted_epoch > MAX_ACCEPTED {
            Some(CloseReason::UnexpectedPacket)
        } else {
            None
        };
        if let Some(why) = refused {
            return self.drop_learner(link, why, server, effects);
        }
        // Compat: C-61 a voter that promised a later epoch must refuse this one. Only another
        // election, which its promise takes part in, lets it in.
        let is_late = !matches!(self.stage, Stage::AwaitEpochQuorum | Stage::Retiring { .. });
        if is_late
            && learner.accepted_epoch > self.epoch
            && server.membership.current.is_voter(learner.peer)
        {
            return Next::Look;
        }
        learner.step = Step::AwaitEpoch;
        match self.stage {
            Stage::AwaitEpochQuorum => self.settle_epoch(server, effects),
            Stage::AwaitAcceptedEpoch => {}
            Stage::AwaitAckEpochQuorum
            | Stage::AwaitCurrentEpoch
            | Stage::AwaitSyncQuorum
            | Stage::Broadcasting
            | Stage::Retiring { .. } => self.send_epoch(link, effects),
        }
        Next::Stay
    }

    /// When a quorum has come, the epoch is one more than anyone has accepted.
    pub(super) fn settle_epoch(&mut self, server: &mut Server, effects: &mut Vec<Effect>) {
        let has_come = |step: &Step| !matches!(step, Step::AwaitInfo);
        if !self.has_quorum(server, |learner| has_come(&learner.step)) {
            return;
        }
        let accepted = self.learners.values().map(|learner| learner.accepted_epoch);
        let highest = accepted.max().unwrap_or(0);
        self.epoch = highest.max(server.log.accepted_epoch).saturating_add(1);
        self.stage = Stage::AwaitAcceptedEpoch;
        server.log.persist(EpochKind::Accepted, self.epoch, effects);
    }

    /// This server's own promise is durable: it may ask for those of others.
    pub(super) fn on_promise_durable(
        &mut self,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        self.stage = Stage::AwaitAckEpochQuorum;
        let came = |step: &Step| matches!(step, Step::AwaitEpoch);
        let links: Vec<_> = self
            .learners
            .iter()
            .filter(|(_, learner)| came(&learner.step))
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.send_epoch(link, effects);
        }
        self.settle_promises(server, effects);
        Next::Stay
    }

    fn send_epoch(&mut self, link: LinkId, effects: &mut Vec<Effect>) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.step = Step::AwaitAckEpoch;
            effects.push(Effect::Send {
                link,
                message: Message::LeaderInfo { epoch: self.epoch },
            });
        }
    }

    /// A learner promises. While the quorum is collected, one that is ahead shows that this
    /// server must not lead it; afterwards nothing that it has alone can be committed.
    pub(super) fn on_ack_epoch(
        &mut self,
        link: LinkId,
        current_epoch: Option<u32>,
        last: Zxid,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let Some(learner) = self.learners.get_mut(&link) else {
            return Next::Stay;
        };
        let (peer, is_collecting) = (learner.peer, self.stage == Stage::AwaitAckEpochQuorum);
        if is_collecting && current_epoch.is_some_and(|epoch| is_ahead(peer, epoch, last, server)) {
            return self.drop_learner(link, CloseReason::LearnerAhead, server, effects);
        }
        if last < Zxid::ZERO {
            return self.drop_learner(link, CloseReason::UnexpectedPacket, server, effects);
        }
        learner.last = last;
        learner.step = Step::Promised {
            counts: current_epoch.is_some(),
        };
        match self.stage {
            Stage::AwaitAckEpochQuorum => self.settle_promises(server, effects),
            Stage::AwaitSyncQuorum | Stage::Broadcasting => {
                self.begin_sync(link, server, effects);
            }
            Stage::AwaitEpochQuorum
            | Stage::AwaitAcceptedEpoch
            | Stage::AwaitCurrentEpoch
            | Stage::Retiring { .. } => {}
        }
        Next::Stay
    }

    fn settle_promises(&mut self, server: &mut Server, effects: &mut Vec<Effect>) {
        let counts = |step: &Step| matches!(step, Step::Promised { counts: true });
        if self.has_quorum(server, |learner| counts(&learner.step)) {
            self.stage = Stage::AwaitCurrentEpoch;
            server.log.persist(EpochKind::Current, self.epoch, effects);
        }
    }
}

/// Whether a learner's history shows that this server must not lead it. The beginning of an epoch
/// that this server has adopted stands for a history that this server has. A longer history of
/// the same epoch matters only in a voter of the ensemble in force: while that one counts nothing
/// is committed without its quorum, and a server that has put a later one in force does not come
/// here ([`CloseReason::ConfigAhead`]).
fn is_ahead(peer: ServerId, epoch: u32, last: Zxid, server: &Server) -> bool {
    let own = (server.log.current_epoch, server.log.last());
    let is_beginning = last.counter() == 0 && last.epoch() <= own.0;
    let is_longer = last > own.1 && !is_beginning && server.membership.current.is_voter(peer);
    epoch > own.0 || (epoch == own.0 && is_longer)
}
