//! Following: what the leader proposes is logged and acknowledged, what it commits is delivered.

use alloc::vec::Vec;

use roo_proto::ids::{ServerId, Zxid};

use super::Learner;
use crate::effect::{CloseReason, Effect};
use crate::message::Message;
use crate::server::{Next, Server};

impl Learner {
    pub(super) fn on_live_packet(
        &mut self,
        message: Message,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        match message {
            Message::Proposal(proposal) => self.on_proposal(proposal, server, effects),
            Message::Commit { zxid } => self.on_commit(zxid, self.leader, server, effects),
            Message::CommitAndActivate { zxid, leader } => {
                self.on_commit(zxid, leader, server, effects)
            }
            Message::Inform(proposal) => {
                let zxid = proposal.zxid;
                self.on_proposal(proposal, server, effects)
                    .then(|| self.on_commit(zxid, self.leader, server, effects))
            }
            Message::InformAndActivate { proposal, leader } => {
                let zxid = proposal.zxid;
                self.on_proposal(proposal, server, effects)
                    .then(|| self.on_commit(zxid, leader, server, effects))
            }
            Message::Ping { round, .. } => {
                effects.push(Effect::Send {
                    link: self.link,
                    message: Message::Pong { round },
                });
                Next::Stay
            }
            Message::FollowerInfo { .. }
            | Message::LeaderInfo { .. }
            | Message::AckEpoch { .. }
            | Message::Diff { .. }
            | Message::Trunc { .. }
            | Message::Snap { .. }
            | Message::Ack { .. }
            | Message::NewLeader { .. }
            | Message::UpToDate
            | Message::Pong { .. } => self.leave(CloseReason::UnexpectedPacket, effects),
        }
    }

    /// Everything up to `zxid` is committed, and `leader` leads from there on.
    fn on_commit(
        &mut self,
        zxid: Zxid,
        leader: ServerId,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if zxid > server.log.last() {
            return self.leave(CloseReason::Gap, effects);
        }
        server.log.commit(zxid);
        let newest = server.log.deliver(effects);
        server.log.trim(&server.config, None);
        match newest {
            Some(ensemble) => {
                server.membership.activate(&ensemble, effects);
                self.after_activation(leader, server, effects)
            }
            None => Next::Stay,
        }
    }

    /// A new ensemble may make another server the leader, or this one come back with or without
    /// a vote.
    pub(super) fn after_activation(
        &mut self,
        leader: ServerId,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let is_member = server.membership.current.members.contains_key(&server.me());
        let has_turned = is_member && server.membership.is_observer() != self.observer;
        if leader == self.leader && !has_turned {
            return Next::Stay;
        }
        self.close(CloseReason::Reconfigured, effects);
        Next::Join(leader)
    }

    /// Acknowledges what is durable, once.
    pub(super) fn acknowledge(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        let durable = server.log.durable;
        if !self.observer && durable > self.acked {
            self.acked = durable;
            self.send_ack(durable, effects);
        }
    }
}
