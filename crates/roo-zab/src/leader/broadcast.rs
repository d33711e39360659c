//! Ordering transactions: a proposal is committed when quorums of all the ensembles that count
//! have it on disk, and everything before it is committed.

use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Zxid};

use super::{Leader, LearnerLink, Stage};
use crate::effect::{CloseReason, Effect, Role};
use crate::message::{LinkId, Message, Proposal};
use crate::quorum::is_quorum;
use crate::server::{Next, Server};

impl Leader {
    /// The zxid of the next proposal; `None` while this server may not propose.
    pub(crate) fn next_zxid(&self, server: &Server) -> Option<Zxid> {
        if self.stage != Stage::Broadcasting {
            return None;
        }
        let last = server.log.last();
        if last.epoch() < self.epoch {
            return Some(Zxid::new(self.epoch, 1));
        }
        (last.counter() < u32::MAX).then(|| last.next())
    }

    /// A transaction takes its place in the order.
    pub(crate) fn on_propose(
        &mut self,
        proposal: Proposal,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        let expected = self.next_zxid(server);
        assert_eq!(Some(proposal.zxid), expected, "the zxid of a proposal");
        if proposal.ensemble.is_some() {
            assert!(
                server.membership.next.is_none(),
                "a reconfiguration while another is under way"
            );
        }
        server.append(proposal.clone(), effects);
        for (link, learner) in &mut self.learners {
            if learner.observer || !learner.is_forwarding() {
                continue;
            }
            if learner.is_live() && learner.owed.is_none() {
                learner.owed = Some((proposal.zxid, server.now));
            }
            effects.push(Effect::Send {
                link: *link,
                message: Message::Proposal(proposal.clone()),
            });
        }
    }

    /// This server's own log has got so far.
    pub(crate) fn on_log_durable(
        &mut self,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        self.advance(server, effects)
    }

    /// A learner's log has got so far.
    pub(super) fn on_ack(
        &mut self,
        link: LinkId,
        zxid: Zxid,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if zxid.counter() == 0 {
            // The acknowledgement of UPTODATE.
            return Next::Stay;
        }
        let last = server.log.last();
        if zxid > last {
            return self.drop_learner(link, CloseReason::UnexpectedPacket, server, effects);
        }
        let Some(learner) = self.learners.get_mut(&link) else {
            return Next::Stay;
        };
        if learner.observer || zxid <= learner.acked {
            return Next::Stay;
        }
        learner.acked = zxid;
        if learner.owed.is_some_and(|(oldest, _)| oldest <= zxid) {
            learner.owed = (last > zxid).then_some((last, server.now));
        }
        self.advance(server, effects)
    }

    /// Commits whatever has its quorums, in order.
    pub(super) fn advance(&mut self, server: &mut Server, effects: &mut Vec<Effect>) -> Next {
        while self.stage == Stage::Broadcasting {
            let Some(proposal) = server.log.window.after(server.log.committed).next() else {
                break;
            };
            if !self.is_acknowledged(proposal.zxid, server) {
                break;
            }
            let proposal = proposal.clone();
            self.commit(&proposal, server, effects);
        }
        self.trim(server);
        let is_exhausted =
            server.log.last().counter() == u32::MAX && server.log.committed == server.log.last();
        if self.stage == Stage::Broadcasting && is_exhausted {
            // Only a new epoch has zxids left.
            return Next::Look;
        }
        Next::Stay
    }

    fn is_acknowledged(&self, zxid: Zxid, server: &Server) -> bool {
        let acked = |id: ServerId| {
            self.learners.values().any(|learner| {
                learner.peer == id
                    && !learner.observer
                    && learner.is_live()
                    && learner.acked >= zxid
            })
        };
        let has = |id: ServerId| {
            if id == server.me() {
                server.log.durable >= zxid
            } else {
                acked(id)
            }
        };
        let outgoing = self.outgoing.as_ref().filter(|(_, upto)| zxid <= *upto);
        outgoing.is_none_or(|(ensemble, _)| is_quorum(ensemble, has))
            && server.membership.has_quorum(has)
    }

    fn commit(&mut self, proposal: &Proposal, server: &mut Server, effects: &mut Vec<Effect>) {
        let successor = proposal
            .ensemble
            .as_ref()
            .map(|ensemble| self.designated(ensemble, proposal.zxid, server));
        server.log.commit(proposal.zxid);
        for (link, learner) in &self.learners {
            if learner.is_forwarding() {
                effects.push(Effect::Send {
                    link: *link,
                    message: commit_message(learner, proposal, successor),
                });
            }
        }
        if self
            .outgoing
            .as_ref()
            .is_some_and(|(_, upto)| proposal.zxid >= *upto)
        {
            self.outgoing = None;
        }
        let newest = server.log.deliver(effects);
        if let Some(ensemble) = newest {
            // Who acknowledges a proposal that was made before need not know yet that the new
            // ensemble is in force, so that the old one may still elect: it must have it.
            if server.log.last() > proposal.zxid {
                let old = Arc::clone(&server.membership.current);
                self.outgoing = Some((old, server.log.last()));
            }
            server.membership.activate(&ensemble, effects);
        }
        if let Some(successor) = successor
            && successor != server.me()
        {
            self.stage = Stage::Retiring { successor };
            self.deadline = server.in_ticks(1);
            server.announce(Role::Looking, effects);
        }
    }

    /// Who leads once an ensemble is in force: this server if it still votes at its address,
    /// else the voter of the new ensemble that has acknowledged the most. Java:
    /// `Leader.getDesignatedLeader`.
    fn designated(&self, ensemble: &Ensemble, zxid: Zxid, server: &Server) -> ServerId {
        let me = server.me();
        let address = |of: &Ensemble| of.members.get(&me).map(|member| member.addresses.clone());
        if ensemble.is_voter(me) && address(ensemble) == address(&server.membership.current) {
            return me;
        }
        self.learners
            .values()
            .filter(|learner| ensemble.is_voter(learner.peer) && learner.acked >= zxid)
            .max_by_key(|learner| (learner.acked, learner.peer))
            .map_or(me, |learner| learner.peer)
    }

    /// Asks every learner whether it is there.
    pub(super) fn ping(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        self.ping_round += 1;
        for (link, learner) in &self.learners {
            if learner.is_forwarding() {
                effects.push(Effect::Send {
                    link: *link,
                    message: Message::Ping {
                        round: self.ping_round,
                        zxid: server.log.last().max(Zxid::new(self.epoch, 0)),
                    },
                });
            }
        }
    }

    pub(super) fn on_pong(
        &mut self,
        link: LinkId,
        round: u64,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.pong = learner.pong.max(round.min(self.ping_round));
        }
        self.conclude_confirmation(server, effects);
    }

    /// The replica asks whether this server still leads. A question waits for a round of pings
    /// that begins after it; all that wait share the next one.
    pub(crate) fn on_confirm(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        if self.stage != Stage::Broadcasting {
            return;
        }
        self.confirmation.waiting += 1;
        if self.confirmation.asking.is_none() {
            self.ask(server, effects);
        }
    }

    /// Whether the learner of a link is a quorum with this server.
    pub(crate) fn is_confirmed_by(&self, link: LinkId, server: &Server) -> bool {
        let Some(witness) = self.learners.get(&link) else {
            return false;
        };
        let is_witness = |learner: &LearnerLink| learner.peer == witness.peer;
        self.stage == Stage::Broadcasting
            && witness.is_live()
            && self.has_quorum(server, is_witness)
    }

    fn ask(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        let count = core::mem::take(&mut self.confirmation.waiting);
        self.ping(server, effects);
        self.confirmation.asking = Some((self.ping_round, count));
        self.conclude_confirmation(server, effects);
    }

    /// A round that a quorum has answered answers its questions.
    pub(super) fn conclude_confirmation(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        let Some((round, count)) = self.confirmation.asking else {
            return;
        };
        let has_answered = |learner: &LearnerLink| learner.is_live() && learner.pong >= round;
        if self.stage != Stage::Broadcasting || !self.has_quorum(server, has_answered) {
            return;
        }
        self.confirmation.asking = None;
        effects.push(Effect::LeadershipConfirmed { count });
        if self.confirmation.waiting > 0 {
            self.ask(server, effects);
        }
    }
}

fn commit_message(
    learner: &LearnerLink,
    proposal: &Proposal,
    successor: Option<ServerId>,
) -> Message {
    let zxid = proposal.zxid;
    match (learner.observer, successor) {
        (false, None) => Message::Commit { zxid },
        (false, Some(leader)) => Message::CommitAndActivate { zxid, leader },
        (true, None) => Message::Inform(proposal.clone()),
        (true, Some(leader)) => Message::InformAndActivate {
            proposal: proposal.clone(),
            leader,
        },
    }
}
