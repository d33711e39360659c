//! Taking the leader's history over. What comes is appended as it comes; NEWLEADER is
//! acknowledged only when the history before it is durable and then the epoch is
//! (ZOOKEEPER-4643, -4646, -4785); nothing is delivered before UPTODATE.

use alloc::vec::Vec;

use roo_proto::ids::{ServerId, Zxid};

use super::{Learner, Step};
use crate::effect::{CloseReason, Effect, Role};
use crate::event::EpochKind;
use crate::history::follows;
use crate::message::{LinkId, Message, Proposal};
use crate::rebreak::Bug;
use crate::server::{Next, Server};

impl Learner {
    /// DIFF, TRUNC or SNAP.
    pub(super) fn on_first_packet(
        &mut self,
        message: &Message,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if [Bug::Zk4643, Bug::Zk4785]
            .iter()
            .any(|bug| server.rebreak.has(*bug))
        {
            server.log.persist(EpochKind::Current, self.epoch, effects);
        }
        match *message {
            Message::Diff { upto } => {
                self.sync_point = upto;
                self.step = Step::Syncing;
            }
            Message::Trunc { to } => {
                self.sync_point = to;
                if to > server.log.last() || to < Zxid::ZERO {
                    return self.leave(CloseReason::Gap, effects);
                }
                if to == server.log.last() {
                    self.step = Step::Syncing;
                } else {
                    self.step = Step::AwaitTruncated;
                    server.log.truncate(to, effects);
                }
            }
            Message::Snap { zxid } if zxid >= Zxid::ZERO => {
                self.sync_point = zxid;
                self.step = Step::AwaitSnapshot;
                server.log.install(self.link, zxid, effects);
                if server.rebreak.has(Bug::Zk3642) {
                    server.log.pretend_installed(zxid);
                }
            }
            Message::Snap { .. }
            | Message::FollowerInfo { .. }
            | Message::LeaderInfo { .. }
            | Message::AckEpoch { .. }
            | Message::Proposal(_)
            | Message::Ack { .. }
            | Message::Commit { .. }
            | Message::CommitAndActivate { .. }
            | Message::Inform(_)
            | Message::InformAndActivate { .. }
            | Message::NewLeader { .. }
            | Message::UpToDate
            | Message::Ping { .. }
            | Message::Pong { .. } => return self.leave(CloseReason::UnexpectedPacket, effects),
        }
        Next::Stay
    }

    /// The log ends at `last`.
    pub(crate) fn on_truncated(
        &mut self,
        last: Zxid,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if self.step != Step::AwaitTruncated {
            return Next::Stay;
        }
        if self.sync_point.counter() == 0 && last < self.sync_point {
            // The first zxid of an epoch is no record: the log ends before it.
            self.sync_point = last;
        }
        if last != self.sync_point {
            // The leader takes the history to be another.
            return self.leave(CloseReason::Gap, effects);
        }
        self.resume(server, effects)
    }

    /// The state is the snapshot's.
    pub(crate) fn on_installed(
        &mut self,
        link: LinkId,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if self.step != Step::AwaitSnapshot || link != self.link {
            return Next::Stay;
        }
        self.resume(server, effects)
    }

    pub(crate) fn on_install_failed(&mut self, link: LinkId, effects: &mut Vec<Effect>) -> Next {
        if self.step != Step::AwaitSnapshot || link != self.link {
            return Next::Stay;
        }
        self.leave(CloseReason::RoleChanged, effects)
    }

    /// What was held is handled.
    fn resume(&mut self, server: &mut Server, effects: &mut Vec<Effect>) -> Next {
        self.step = Step::Syncing;
        self.heard = server.now;
        for message in core::mem::take(&mut self.held) {
            let next = self.on_sync_packet(message, server, effects);
            if next != Next::Stay {
                return next;
            }
        }
        Next::Stay
    }

    /// Anything between the first packet and UPTODATE, and that.
    pub(super) fn on_sync_packet(
        &mut self,
        message: Message,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        match message {
            Message::Proposal(proposal) => self.on_proposal(proposal, server, effects),
            Message::Inform(proposal) => {
                let zxid = proposal.zxid;
                self.on_proposal(proposal, server, effects)
                    .then(|| self.note(zxid, server, effects))
            }
            Message::Commit { zxid } => self.note(zxid, server, effects),
            Message::CommitAndActivate { zxid, leader } => {
                self.note_activation(zxid, leader, server, effects)
            }
            Message::InformAndActivate { proposal, leader } => {
                let zxid = proposal.zxid;
                self.on_proposal(proposal, server, effects)
                    .then(|| self.note_activation(zxid, leader, server, effects))
            }
            Message::NewLeader { epoch, ensemble } if self.step == Step::Syncing => {
                self.ensemble = Some(ensemble);
                self.on_new_leader(epoch, server, effects)
            }
            Message::UpToDate if self.step == Step::AwaitUpToDate => {
                self.on_up_to_date(server, effects)
            }
            // Not answered while the synchronisation runs.
            Message::Ping { .. } => Next::Stay,
            Message::NewLeader { .. }
            | Message::UpToDate
            | Message::FollowerInfo { .. }
            | Message::LeaderInfo { .. }
            | Message::AckEpoch { .. }
            | Message::Diff { .. }
            | Message::Trunc { .. }
            | Message::Snap { .. }
            | Message::Ack { .. }
            | Message::Pong { .. } => self.leave(CloseReason::UnexpectedPacket, effects),
        }
    }

    /// The end of what came, logged or not.
    fn last(&self, server: &Server) -> Zxid {
        let unlogged = self.unlogged.last().map(|proposal| proposal.zxid);
        unlogged.unwrap_or_else(|| server.log.last())
    }

    /// Appends what the leader proposes, if nothing is missing before it.
    pub(super) fn on_proposal(
        &mut self,
        proposal: Proposal,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let last = self.last(server);
        if proposal.zxid <= last {
            // Sent twice: it is there.
            return Next::Stay;
        }
        let is_blind = server.rebreak.has(Bug::Zk4925);
        if !follows(last, proposal.zxid) && !is_blind {
            return self.leave(CloseReason::Gap, effects);
        }
        if server.rebreak.has(Bug::Zk3911) && self.step != Step::Following {
            self.unlogged.push(proposal);
            return Next::Stay;
        }
        if is_blind && self.step != Step::Following {
            self.unseen.push(proposal.zxid);
        }
        server.append(proposal, effects);
        Next::Stay
    }

    /// Everything up to `zxid` is committed; it is delivered at UPTODATE.
    fn note(&mut self, zxid: Zxid, server: &Server, effects: &mut Vec<Effect>) -> Next {
        if zxid > self.last(server) {
            return self.leave(CloseReason::Gap, effects);
        }
        if server.rebreak.has(Bug::Zk4394) && self.step != Step::Syncing {
            return self.leave(CloseReason::UnexpectedPacket, effects);
        }
        self.noted = self.noted.max(zxid);
        Next::Stay
    }

    /// A reconfiguration is committed. If another leads from here on, this synchronisation is
    /// void.
    fn note_activation(
        &mut self,
        zxid: Zxid,
        leader: ServerId,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let next = self.note(zxid, server, effects);
        if next != Next::Stay || leader == self.leader {
            return next;
        }
        if let Some(ensemble) = server.log.ensemble_at(zxid) {
            server.membership.activate(&ensemble, effects);
        }
        self.close(CloseReason::Reconfigured, effects);
        Next::Join(leader)
    }

    /// The history before this packet is the leader's; it is to be adopted with the epoch.
    fn on_new_leader(
        &mut self,
        epoch: u32,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if epoch != self.epoch {
            return self.leave(CloseReason::StaleEpoch, effects);
        }
        let last = self.last(server);
        if self.sync_point > last {
            if self.sync_point.counter() != 0 {
                return self.leave(CloseReason::Gap, effects);
            }
            // The first zxid of an epoch is no record: the leader's history ends with the last
            // record of an epoch before.
            self.sync_point = last;
        }
        if let Some(ensemble) = &self.ensemble {
            server
                .membership
                .forget_unadopted(self.epoch, ensemble, effects);
            server.membership.propose(ensemble, effects);
        }
        self.noted = self.noted.max(self.sync_point);
        self.acked = self.noted;
        let is_hasty = [Bug::Zk4646, Bug::Zk4785, Bug::Zk3911]
            .iter()
            .any(|bug| server.rebreak.has(*bug));
        if is_hasty {
            server.log.persist(EpochKind::Current, self.epoch, effects);
            self.acknowledge_epoch(server, effects);
            return Next::Stay;
        }
        self.step = Step::AwaitHistory { end: last };
        if server.log.durable >= last {
            self.adopt_epoch(server, effects);
        }
        Next::Stay
    }

    /// The history is durable: now the epoch may be.
    pub(super) fn adopt_epoch(&mut self, server: &mut Server, effects: &mut Vec<Effect>) {
        if server.log.current_epoch == self.epoch {
            self.acknowledge_epoch(server, effects);
        } else {
            self.step = Step::AwaitCurrentEpoch;
            server.log.persist(EpochKind::Current, self.epoch, effects);
        }
    }

    /// Both are durable.
    pub(super) fn acknowledge_epoch(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        self.step = Step::AwaitUpToDate;
        self.heard = server.now;
        self.send_ack(Zxid::new(self.epoch, 0), effects);
    }

    pub(super) fn send_ack(&self, zxid: Zxid, effects: &mut Vec<Effect>) {
        effects.push(Effect::Send {
            link: self.link,
            message: Message::Ack { zxid },
        });
    }

    /// A quorum has adopted the history: what is committed is delivered, and then this server
    /// serves (ZOOKEEPER-3023).
    fn on_up_to_date(&mut self, server: &mut Server, effects: &mut Vec<Effect>) -> Next {
        self.step = Step::Following;
        server.vote.peer_epoch = self.epoch;
        for proposal in core::mem::take(&mut self.unlogged) {
            server.append(proposal, effects);
        }
        if !server.rebreak.has(Bug::Zk3023) {
            server.log.commit(self.noted);
        }
        let in_history = server.log.deliver(effects);
        server.log.window.punch(&core::mem::take(&mut self.unseen));
        let announced = self.ensemble.take().filter(|ensemble| {
            // A genuine leader also announces what it has proposed and not committed.
            let at = Zxid(ensemble.version);
            at <= self.noted || at.counter() == 0
        });
        for ensemble in in_history.iter().chain(&announced) {
            server.membership.activate(ensemble, effects);
        }
        self.announce(server, effects);
        self.send_ack(Zxid::new(self.epoch, 0), effects);
        self.acknowledge(server, effects);
        server.log.trim(&server.config, None);
        self.after_activation(self.leader, server, effects)
    }

    fn announce(&self, server: &mut Server, effects: &mut Vec<Effect>) {
        let (leader, link, epoch) = (self.leader, self.link, self.epoch);
        let role = if self.observer {
            Role::Observing {
                leader,
                link,
                epoch,
            }
        } else {
            Role::Following {
                leader,
                link,
                epoch,
            }
        };
        server.announce(role, effects);
    }

    /// A bug: acknowledges what came behind NEWLEADER before that.
    pub(super) fn acknowledge_too_early(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        if server.rebreak.has(Bug::Zk4685) && matches!(self.step, Step::AwaitCurrentEpoch) {
            self.acknowledge(server, effects);
        }
    }
}
