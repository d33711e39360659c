//! Finding the leader, and promising to follow it in its epoch.

use alloc::vec::Vec;

use super::{Learner, Step};
use crate::effect::{CloseReason, Effect};
use crate::event::EpochKind;
use crate::message::{LinkId, Message, Notification, PeerState};
use crate::server::{MAX_ACCEPTED, Next, Server};

impl Learner {
    pub(super) fn dial(&mut self, server: &mut Server, effects: &mut Vec<Effect>) {
        self.link = server.new_link();
        self.retry_at = None;
        self.heard = server.now;
        effects.push(Effect::OpenLink {
            link: self.link,
            to: self.leader,
        });
    }

    pub(crate) fn on_opened(&mut self, link: LinkId, server: &Server, effects: &mut Vec<Effect>) {
        if link != self.link || self.step != Step::Dialling || !self.has_link() {
            return;
        }
        self.heard = server.now;
        self.step = Step::AwaitLeaderInfo;
        effects.push(Effect::Send {
            link,
            message: Message::FollowerInfo {
                accepted_epoch: server.log.accepted_epoch,
                config_version: server.membership.current.version,
                observer: self.observer,
            },
        });
    }

    pub(super) fn on_leader_info(
        &mut self,
        message: &Message,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let Message::LeaderInfo { epoch } = *message else {
            return self.leave(CloseReason::UnexpectedPacket, effects);
        };
        self.epoch = epoch;
        let accepted = server.log.accepted_epoch;
        if epoch < accepted {
            return self.leave(CloseReason::StaleEpoch, effects);
        }
        if epoch > MAX_ACCEPTED {
            return self.leave(CloseReason::UnexpectedPacket, effects);
        }
        if epoch == accepted {
            self.promise(None, server, effects);
        } else {
            self.step = Step::AwaitAcceptedEpoch;
            server.log.persist(EpochKind::Accepted, epoch, effects);
        }
        Next::Stay
    }

    /// ACKEPOCH; `None` does not count, as the epoch was accepted before.
    pub(super) fn promise(
        &mut self,
        current_epoch: Option<u32>,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        self.step = Step::AwaitSync;
        effects.push(Effect::Send {
            link: self.link,
            message: Message::AckEpoch {
                current_epoch,
                last_zxid: server.log.last(),
            },
        });
    }

    /// Whether a notification shows that the elected server will not lead: it looks for a leader
    /// in a later round, or follows another.
    pub(crate) fn is_deserted(&self, notification: &Notification, server: &Server) -> bool {
        let is_waiting = matches!(self.step, Step::Dialling | Step::AwaitLeaderInfo);
        let has_turned = match notification.state {
            PeerState::Looking => notification.round > server.vote_round,
            PeerState::Following | PeerState::Observing => {
                notification.vote.leader != self.leader
                    && notification.vote.peer_epoch >= server.vote.peer_epoch
            }
            PeerState::Leading => false,
        };
        is_waiting && has_turned
    }
}
