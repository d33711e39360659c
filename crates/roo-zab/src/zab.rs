//! The machine: it hands events to the role that the server has, and changes the role.
//!
//! ```text
//!            +------------- a role ends --------------+
//!            v                                        |
//! Draining -> Looking -> Leading   (leader.rs)  ------+
//!        |        +----> Learning  (learner.rs) ------+
//!        +-- a reconfiguration named the leader --^
//! ```

use alloc::vec::Vec;

use roo_proto::ids::{ServerId, Time, Zxid};

use crate::config::{Config, Recovered};
use crate::durable::Log;
use crate::effect::{CloseReason, Effect, Role};
use crate::election::{Elected, Election};
use crate::event::Event;
use crate::leader::Leader;
use crate::learner::Learner;
use crate::membership::Membership;
use crate::message::{LinkId, Message, NO_VOTE, Notification, PeerState, Vote};
use crate::rebreak::{Bug, Rebreak};
use crate::server::{Next, Server};
use crate::status::{LinkStatus, Phase, Status, leader_phase, learner_phase};

/// One server's half of Zab.
#[derive(Clone, Debug)]
pub struct Zab {
    pub(crate) server: Server,
    election: Election,
    machine: Machine,
    /// Links of learners that came while this server looks: it may be about to lead.
    parked: Vec<Parked>,
}

#[derive(Clone, Debug)]
enum Machine {
    /// What the last role appended is to be durable before this server says what it has; then it
    /// looks, or joins a leader that was named.
    Draining {
        then: Option<ServerId>,
    },
    Looking,
    Leading(Leader),
    Learning(Learner),
}

#[derive(Clone, Debug)]
struct Parked {
    link: LinkId,
    peer: ServerId,
    /// What it has said; a learner says one thing and waits.
    info: Option<Message>,
}

impl Zab {
    /// A server as its disk has it. [`Self::start`] sets it going.
    #[must_use]
    pub fn new(config: Config, recovered: Recovered, now: Time) -> Self {
        let log = Log::new(&recovered);
        let vote = Vote {
            peer_epoch: recovered.current_epoch,
            zxid: recovered.last_zxid,
            leader: NO_VOTE,
        };
        let membership = Membership {
            me: config.me,
            current: recovered.ensemble,
            next: recovered.next_ensemble,
        };
        Self {
            server: Server {
                config,
                now,
                membership,
                log,
                vote,
                vote_round: 0,
                role: Role::Looking,
                rebreak: Rebreak::default(),
                last_link: 0,
            },
            election: Election::new(),
            machine: Machine::Draining { then: None },
            parked: Vec::new(),
        }
    }

    /// Gives the server a known bug; see [`crate::rebreak`].
    #[cfg(feature = "rebreak")]
    pub const fn set_rebreak(&mut self, rebreak: Rebreak) {
        self.server.rebreak = rebreak;
    }

    /// For tests: a history that would take too long to write.
    #[cfg(test)]
    pub(crate) fn pretend(&mut self, last: Zxid) {
        self.server.log.pretend_installed(last);
    }

    /// Begins the first election.
    pub fn start(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.server.now = now;
        let last = self.server.log.last();
        self.server.membership.forget_beyond(last, effects);
        self.settle(effects);
    }

    /// Something happened; `effects` gets what is to be done about it, in order.
    ///
    /// # Panics
    ///
    /// If the caller breaks the contract (a proposal with another zxid than
    /// [`Self::next_zxid`]'s) or this crate its own invariants; never by what a peer says.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        self.server.now = now;
        let next = self.dispatch(event, effects);
        self.turn(next, effects);
        self.settle(effects);
        self.server.log.check();
    }

    /// When [`Event::DeadlineReached`] is due, if at all.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        match &self.machine {
            Machine::Draining { .. } => None,
            Machine::Looking => self.election.next_deadline(),
            Machine::Leading(leader) => Some(leader.next_deadline()),
            Machine::Learning(learner) => learner.next_deadline(&self.server),
        }
    }

    /// The zxid that the next [`Event::Propose`] must have; `None` unless this server leads an
    /// established epoch that has zxids left.
    #[must_use]
    pub fn next_zxid(&self) -> Option<Zxid> {
        self.leader()?.next_zxid(&self.server)
    }

    /// The learner at the other end of a link of this leader, if it is synchronised: only then may
    /// it speak for clients.
    #[must_use]
    pub fn learner(&self, link: LinkId) -> Option<ServerId> {
        self.leader()?.learner(link)
    }

    /// The link to the leader that this server follows or observes.
    #[must_use]
    pub const fn leader_link(&self) -> Option<LinkId> {
        match self.server.role {
            Role::Following { link, .. } | Role::Observing { link, .. } => Some(link),
            Role::Looking | Role::Leading { .. } => None,
        }
    }

    /// Whether this server leads, if the learner of this link followed it a moment ago: a packet of
    /// a learner shows that it had not promised itself to another leader when it sent it, as
    /// the answer to a ping does. What it has seen acknowledged by then this leader knows.
    #[must_use]
    pub fn is_confirmed_by(&self, link: LinkId) -> bool {
        self.leader()
            .is_some_and(|leader| leader.is_confirmed_by(link, &self.server))
    }

    pub(crate) const fn leader(&self) -> Option<&Leader> {
        match &self.machine {
            Machine::Leading(leader) => Some(leader),
            Machine::Draining { .. } | Machine::Looking | Machine::Learning(_) => None,
        }
    }

    /// The role, as [`Effect::RoleChanged`] last said.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.server.role
    }

    /// What the outside may know.
    #[must_use]
    pub fn status(&self) -> Status {
        let log = &self.server.log;
        let mut status = Status {
            state: self.state(),
            phase: self.phase(),
            leader: None,
            epoch: log.current_epoch,
            round: self.election.round,
            vote: self.server.vote,
            links: Vec::new(),
            synced_followers: 0,
            synced_observers: 0,
            syncing: 0,
            quorum_size: self.server.membership.current.voters().count(),
            reconfiguring: self.server.membership.next.is_some(),
            last_proposed: log.last(),
            committed: log.committed,
            durable: log.durable,
            delivered: log.delivered,
        };
        match &self.machine {
            Machine::Draining { .. } => {}
            Machine::Looking => status.vote = self.election.proposal,
            Machine::Leading(leader) => {
                status.leader = Some(self.server.me());
                status.epoch = leader.epoch.max(log.current_epoch);
                status.describe_learners(leader);
            }
            Machine::Learning(learner) => {
                status.leader = Some(learner.leader);
                status.epoch = learner.epoch.max(log.current_epoch);
            }
        }
        status
    }

    fn phase(&self) -> Phase {
        match &self.machine {
            Machine::Draining { .. } => Phase::AwaitDurable,
            Machine::Looking => Phase::AwaitVotes,
            Machine::Leading(leader) => leader_phase(leader),
            Machine::Learning(learner) => learner_phase(learner),
        }
    }

    /// What it does; the cheap part of [`Self::status`].
    #[must_use]
    pub const fn state(&self) -> PeerState {
        match &self.machine {
            Machine::Draining { .. } | Machine::Looking => PeerState::Looking,
            Machine::Leading(_) => PeerState::Leading,
            Machine::Learning(learner) if learner.observer => PeerState::Observing,
            Machine::Learning(_) => PeerState::Following,
        }
    }

    fn dispatch(&mut self, event: Event, effects: &mut Vec<Effect>) -> Next {
        match event {
            Event::Reachable { peer } => self.on_reachable(peer, effects),
            Event::Unreachable { peer } => self.on_unreachable(peer, effects),
            Event::Notified { from, notification } => self.on_notified(from, notification, effects),
            Event::LinkAccepted { link, peer } => self.on_accepted(link, peer, effects),
            Event::LinkOpened { link } => {
                if let Machine::Learning(learner) = &mut self.machine {
                    learner.on_opened(link, &self.server, effects);
                }
                Next::Stay
            }
            Event::LinkClosed { link } => self.on_closed(link, effects),
            Event::Received { link, message } => self.on_received(link, message, effects),
            Event::Propose { proposal } => {
                let Machine::Leading(leader) = &mut self.machine else {
                    panic!(
                        "a proposal {} to a server that does not lead",
                        proposal.zxid
                    );
                };
                leader.on_propose(proposal, &mut self.server, effects);
                Next::Stay
            }
            Event::ConfirmLeadership => {
                if let Machine::Leading(leader) = &mut self.machine {
                    leader.on_confirm(&self.server, effects);
                }
                Next::Stay
            }
            Event::DeadlineReached => self.on_deadline(effects),
            Event::LogDurable { .. }
            | Event::EpochDurable { .. }
            | Event::Truncated { .. }
            | Event::SnapshotInstalled { .. }
            | Event::SnapshotFailed { .. }
            | Event::SnapshotSent { .. }
            | Event::HistoryRead { .. } => self.on_storage(event, effects),
        }
    }

    /// What the disk has done.
    fn on_storage(&mut self, event: Event, effects: &mut Vec<Effect>) -> Next {
        let Self {
            server, machine, ..
        } = self;
        match event {
            Event::LogDurable { upto } => {
                server.log.on_durable(upto);
                match machine {
                    Machine::Leading(leader) => return leader.on_log_durable(server, effects),
                    Machine::Learning(learner) => learner.on_log_durable(server, effects),
                    Machine::Draining { .. } | Machine::Looking => {}
                }
            }
            Event::EpochDurable { which, epoch } => {
                server.log.on_epoch_durable(which, epoch);
                match machine {
                    Machine::Leading(leader) => {
                        return leader.on_epoch_durable(which, epoch, server, effects);
                    }
                    Machine::Learning(learner) => {
                        return learner.on_epoch_durable(which, epoch, server, effects);
                    }
                    Machine::Draining { .. } | Machine::Looking => {}
                }
            }
            Event::Truncated { last } => return self.on_truncated(last, effects),
            Event::SnapshotInstalled { link, zxid } => {
                server.log.on_installed(zxid);
                server.membership.forget_beyond(zxid, effects);
                if let Machine::Learning(learner) = machine {
                    return learner.on_installed(link, server, effects);
                }
            }
            Event::SnapshotFailed { link } => {
                server.log.on_install_failed();
                if let Machine::Learning(learner) = machine {
                    return learner.on_install_failed(link, effects);
                }
            }
            Event::SnapshotSent { link, zxid } => {
                if let Machine::Leading(leader) = machine {
                    leader.on_snapshot_sent(link, zxid, server, effects);
                }
            }
            Event::HistoryRead { link, history } => {
                if let Machine::Leading(leader) = machine {
                    return leader.on_history(link, history, server, effects);
                }
            }
            Event::Reachable { .. }
            | Event::Unreachable { .. }
            | Event::Notified { .. }
            | Event::LinkAccepted { .. }
            | Event::LinkOpened { .. }
            | Event::LinkClosed { .. }
            | Event::Received { .. }
            | Event::Propose { .. }
            | Event::ConfirmLeadership
            | Event::DeadlineReached => {}
        }
        Next::Stay
    }

    fn on_truncated(&mut self, last: Zxid, effects: &mut Vec<Effect>) -> Next {
        let Self {
            server, machine, ..
        } = self;
        if server.rebreak.has(Bug::Zk5094) && !matches!(machine, Machine::Learning(_)) {
            server.log.ignore_truncation();
            return Next::Stay;
        }
        server.log.on_truncated(last);
        server.membership.forget_beyond(last, effects);
        match machine {
            Machine::Learning(learner) => learner.on_truncated(last, server, effects),
            Machine::Draining { .. } | Machine::Looking | Machine::Leading(_) => Next::Stay,
        }
    }

    fn on_notified(
        &mut self,
        from: ServerId,
        notification: Notification,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if from == self.server.me() {
            return Next::Stay;
        }
        match &mut self.machine {
            Machine::Draining { .. } => self.election.defer(from, notification),
            Machine::Looking => {
                let server = &mut self.server;
                let elected = self
                    .election
                    .on_notification(from, notification, server, effects);
                self.on_elected(elected, effects);
            }
            Machine::Leading(leader) => {
                let next = leader.on_notification(from, &notification, &self.server);
                let state = PeerState::Leading;
                self.election
                    .answer(from, notification, state, &self.server, effects);
                return next;
            }
            Machine::Learning(learner) => {
                if from == learner.leader && learner.is_deserted(&notification, &self.server) {
                    self.election.defer(from, notification);
                    return Next::Look;
                }
                let state = self.state();
                self.election
                    .answer(from, notification, state, &self.server, effects);
            }
        }
        Next::Stay
    }

    fn on_reachable(&mut self, peer: ServerId, effects: &mut Vec<Effect>) -> Next {
        let state = self.state();
        if !matches!(self.machine, Machine::Draining { .. }) {
            self.election
                .on_reachable(peer, state, &self.server, effects);
        }
        Next::Stay
    }

    fn on_unreachable(&mut self, peer: ServerId, effects: &mut Vec<Effect>) -> Next {
        self.election.on_unreachable(peer);
        if matches!(self.machine, Machine::Looking) {
            let elected = self.election.conclude(&self.server);
            self.on_elected(elected, effects);
        }
        Next::Stay
    }

    fn on_accepted(&mut self, link: LinkId, peer: ServerId, effects: &mut Vec<Effect>) -> Next {
        match &mut self.machine {
            Machine::Leading(leader) => leader.on_accepted(link, peer, &mut self.server, effects),
            Machine::Draining { .. } | Machine::Looking => {
                self.parked.retain(|parked| {
                    let is_other = parked.peer != peer;
                    if !is_other {
                        close(parked.link, CloseReason::Replaced, effects);
                    }
                    is_other
                });
                self.parked.push(Parked {
                    link,
                    peer,
                    info: None,
                });
                Next::Stay
            }
            Machine::Learning(_) => {
                self.turn_away(link, peer, effects);
                Next::Stay
            }
        }
    }

    /// A learner has come to a server that does not lead. It is told whom this server follows, so
    /// that it need not come again.
    fn turn_away(&self, link: LinkId, peer: ServerId, effects: &mut Vec<Effect>) {
        close(link, CloseReason::NotLeading, effects);
        self.election
            .tell(peer, self.state(), &self.server, effects);
    }

    fn on_closed(&mut self, link: LinkId, effects: &mut Vec<Effect>) -> Next {
        self.parked.retain(|parked| parked.link != link);
        match &mut self.machine {
            Machine::Leading(leader) => leader.on_closed(link, &mut self.server, effects),
            Machine::Learning(learner) => {
                let is_dead = self.election.is_unreachable(learner.leader);
                learner.on_closed(link, is_dead, &mut self.server)
            }
            Machine::Draining { .. } | Machine::Looking => Next::Stay,
        }
    }

    fn on_received(&mut self, link: LinkId, message: Message, effects: &mut Vec<Effect>) -> Next {
        match &mut self.machine {
            Machine::Leading(leader) => {
                leader.on_received(link, message, &mut self.server, effects)
            }
            Machine::Learning(learner) => {
                learner.on_received(link, message, &mut self.server, effects)
            }
            Machine::Draining { .. } | Machine::Looking => {
                let parked = self.parked.iter_mut().find(|parked| parked.link == link);
                if let Some(parked) = parked {
                    if parked.info.is_none() {
                        parked.info = Some(message);
                    } else {
                        close(link, CloseReason::UnexpectedPacket, effects);
                        self.parked.retain(|parked| parked.link != link);
                    }
                }
                Next::Stay
            }
        }
    }

    fn on_deadline(&mut self, effects: &mut Vec<Effect>) -> Next {
        match &mut self.machine {
            Machine::Draining { .. } => Next::Stay,
            Machine::Looking => {
                let elected = self.election.on_deadline(&self.server, effects);
                self.on_elected(elected, effects);
                Next::Stay
            }
            Machine::Leading(leader) => leader.on_deadline(&mut self.server, effects),
            Machine::Learning(learner) => learner.on_deadline(&mut self.server, effects),
        }
    }

    /// Ends the role if it is to end.
    fn turn(&mut self, next: Next, effects: &mut Vec<Effect>) {
        let then = match next {
            Next::Stay => return,
            Next::Look => None,
            Next::Join(leader) => Some(leader),
        };
        match &mut self.machine {
            Machine::Leading(leader) => leader.close_all(effects),
            Machine::Learning(learner) => learner.close(CloseReason::RoleChanged, effects),
            Machine::Draining { .. } | Machine::Looking => {}
        }
        self.server.announce(Role::Looking, effects);
        self.machine = Machine::Draining { then };
    }

    /// When everything is durable, what this server says of itself is true: the next role begins.
    fn settle(&mut self, effects: &mut Vec<Effect>) {
        let Machine::Draining { then } = self.machine else {
            return;
        };
        if !self.server.log.is_settled(self.server.rebreak) {
            return;
        }
        match then {
            None => {
                self.machine = Machine::Looking;
                let elected = self.election.start(&mut self.server, effects);
                self.on_elected(elected, effects);
            }
            Some(leader) => {
                let vote = Vote {
                    leader,
                    ..self.server.vote
                };
                let round = self.server.vote_round;
                self.on_elected(Some(Elected { vote, round }), effects);
            }
        }
    }

    /// An election is over: the server leads or learns.
    fn on_elected(&mut self, elected: Option<Elected>, effects: &mut Vec<Effect>) {
        let Some(elected) = elected else {
            return;
        };
        self.election.stop();
        self.server.vote = elected.vote;
        self.server.vote_round = elected.round;
        let parked = core::mem::take(&mut self.parked);
        if elected.vote.leader != self.server.me() {
            let learner = Learner::new(elected.vote.leader, &mut self.server, effects);
            self.machine = Machine::Learning(learner);
            for parked in parked {
                self.turn_away(parked.link, parked.peer, effects);
            }
            return;
        }
        let mut leader = Leader::new(&mut self.server, effects);
        for Parked { link, peer, info } in parked {
            // A new leader awaits its quorum: losing a learner does not end that.
            let _ = leader.on_accepted(link, peer, &mut self.server, effects);
            if let Some(info) = info {
                let _ = leader.on_received(link, info, &mut self.server, effects);
            }
        }
        self.machine = Machine::Leading(leader);
    }
}

impl Status {
    fn describe_learners(&mut self, leader: &Leader) {
        for learner in leader.learners() {
            match (learner.synced, learner.observer) {
                (false, _) => self.syncing += 1,
                (true, false) => self.synced_followers += 1,
                (true, true) => self.synced_observers += 1,
            }
            self.links.push(LinkStatus {
                link: learner.link,
                peer: learner.peer,
                observer: learner.observer,
                synced: learner.synced,
                acked: learner.acked,
            });
        }
    }
}

fn close(link: LinkId, why: CloseReason, effects: &mut Vec<Effect>) {
    effects.push(Effect::CloseLink { link, why });
}
