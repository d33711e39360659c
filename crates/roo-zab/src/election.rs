//! Fast leader election: servers tell each other their votes until a quorum is for one.
//!
//! It never decides what is committed: discovery does, and drops a leader that a learner is ahead
//! of. So what this module does early on a hint costs time at worst. Java: `FastLeaderElection`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::ids::{ServerId, Time, Zxid};

use crate::effect::Effect;
use crate::message::{NO_VOTE, Notification, PeerState, Vote};
use crate::quorum::is_quorum;
use crate::server::Server;

/// What a server said it votes for.
#[derive(Clone, Copy, Debug)]
struct Ballot {
    vote: Vote,
    round: u64,
    state: PeerState,
}

impl Ballot {
    /// Whether both are for the same. Servers that look must agree in everything; of servers that
    /// have elected, votes from before and after the election differ in zxid and round.
    fn agrees(&self, other: &Self) -> bool {
        if self.state == PeerState::Looking || other.state == PeerState::Looking {
            self.vote == other.vote && self.round == other.round
        } else {
            self.vote.leader == other.vote.leader && self.vote.peer_epoch == other.vote.peer_epoch
        }
    }
}

/// How an election ended.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Elected {
    pub(crate) vote: Vote,
    pub(crate) round: u64,
}

/// See the module. Between elections it remembers who asked.
#[derive(Clone, Debug)]
pub(crate) struct Election {
    /// Java: `logicalclock`.
    pub(crate) round: u64,
    /// What this server is for.
    pub(crate) proposal: Vote,
    /// Of this round.
    received: BTreeMap<ServerId, Ballot>,
    /// Of those who have a leader. Java: `outofelection`.
    outside: BTreeMap<ServerId, Ballot>,
    /// What those who look said while this server did not; they will not say it again soon.
    asked: BTreeMap<ServerId, Notification>,
    /// Those without a vote who were answered since the votes were last sent.
    answered: BTreeSet<ServerId>,
    unreachable: BTreeSet<ServerId>,
    interval_ms: u64,
    resend_at: Option<Time>,
    finish_at: Option<Time>,
}

impl Election {
    pub(crate) const fn new() -> Self {
        Self {
            round: 0,
            proposal: Vote {
                peer_epoch: 0,
                zxid: Zxid::ZERO,
                leader: NO_VOTE,
            },
            received: BTreeMap::new(),
            outside: BTreeMap::new(),
            asked: BTreeMap::new(),
            answered: BTreeSet::new(),
            unreachable: BTreeSet::new(),
            interval_ms: 0,
            resend_at: None,
            finish_at: None,
        }
    }

    pub(crate) fn next_deadline(&self) -> Option<Time> {
        [self.resend_at, self.finish_at].into_iter().flatten().min()
    }

    /// Begins a round.
    pub(crate) fn start(
        &mut self,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Option<Elected> {
        self.round = self.round.saturating_add(1);
        self.proposal = initial_vote(server);
        self.received.clear();
        self.outside.clear();
        self.interval_ms = server.config.min_notification_ms;
        self.finish_at = None;
        self.send_all(server, effects);
        let mut elected = self.conclude(server);
        for (from, notification) in core::mem::take(&mut self.asked) {
            if elected.is_none() {
                elected = self.on_notification(from, notification, server, effects);
            } else {
                self.asked.insert(from, notification);
            }
        }
        elected
    }

    /// The round is over.
    pub(crate) const fn stop(&mut self) {
        self.resend_at = None;
        self.finish_at = None;
    }

    /// A server that looks for a leader hears something.
    pub(crate) fn on_notification(
        &mut self,
        from: ServerId,
        notification: Notification,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Option<Elected> {
        self.unreachable.remove(&from);
        if self.adopt_ensemble(&notification, server, effects)
            && let Some(elected) = self.start(server, effects)
        {
            return Some(elected);
        }
        if !server.membership.is_voter(from) {
            // Two servers that are strangers to each other must not answer each other's answers.
            if self.answered.insert(from) {
                self.send(from, PeerState::Looking, server, effects);
            }
            return None;
        }
        let ballot = Ballot {
            vote: notification.vote,
            round: notification.round,
            state: notification.state,
        };
        match notification.state {
            PeerState::Looking => self.on_looking(from, ballot, server, effects),
            PeerState::Following | PeerState::Leading => self.on_decided(from, ballot, server),
            PeerState::Observing => None,
        }
    }

    /// A server that does not look is asked. It answers with the vote of its election.
    pub(crate) fn answer(
        &mut self,
        from: ServerId,
        notification: Notification,
        state: PeerState,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        self.unreachable.remove(&from);
        if notification.state != PeerState::Looking {
            self.asked.remove(&from);
            return;
        }
        self.asked.insert(from, notification);
        self.send(from, state, server, effects);
    }

    /// Tells a server that has not asked what this one has elected.
    pub(crate) fn tell(
        &self,
        to: ServerId,
        state: PeerState,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        self.send(to, state, server, effects);
    }

    /// Nothing is answered while the log drains; the next election hears it.
    pub(crate) fn defer(&mut self, from: ServerId, notification: Notification) {
        self.unreachable.remove(&from);
        self.asked.insert(from, notification);
    }

    /// The way to a peer has opened.
    pub(crate) fn on_reachable(
        &mut self,
        peer: ServerId,
        state: PeerState,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) {
        self.unreachable.remove(&peer);
        let looks = state == PeerState::Looking && server.membership.is_voter(peer);
        if looks || self.asked.contains_key(&peer) {
            self.send(peer, state, server, effects);
        }
    }

    /// The way to a peer is closed: nobody need wait for its vote.
    pub(crate) fn on_unreachable(&mut self, peer: ServerId) {
        self.unreachable.insert(peer);
    }

    pub(crate) fn is_unreachable(&self, peer: ServerId) -> bool {
        self.unreachable.contains(&peer)
    }

    pub(crate) fn on_deadline(
        &mut self,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) -> Option<Elected> {
        if self.finish_at.is_some_and(|at| at <= server.now) {
            return Some(self.elected());
        }
        if self.resend_at.is_some_and(|at| at <= server.now) {
            let doubled = self.interval_ms.saturating_mul(2);
            self.interval_ms = doubled.min(server.config.max_notification_ms).max(1);
            self.send_all(server, effects);
        }
        None
    }

    /// The votes for what this server is for may suffice.
    pub(crate) fn conclude(&mut self, server: &Server) -> Option<Elected> {
        let own = Ballot {
            vote: self.proposal,
            round: self.round,
            state: PeerState::Looking,
        };
        let agrees = |id| {
            id == server.me()
                || self
                    .received
                    .get(&id)
                    .is_some_and(|ballot| ballot.agrees(&own))
        };
        let is_candidate = server.membership.may_lead(self.proposal.leader);
        if !is_candidate || !server.membership.has_quorum(agrees) {
            self.finish_at = None;
            return None;
        }
        let mut others = server.membership.other_voters().into_iter();
        if others.all(|id| agrees(id) || self.unreachable.contains(&id)) {
            return Some(self.elected());
        }
        if self.finish_at.is_none() {
            self.finish_at = Some(server.in_ms(server.config.finalize_wait_ms));
        }
        None
    }

    const fn elected(&self) -> Elected {
        Elected {
            vote: self.proposal,
            round: self.round,
        }
    }

    fn on_looking(
        &mut self,
        from: ServerId,
        ballot: Ballot,
        server: &Server,
        effects: &mut Vec<Effect>,
    ) -> Option<Elected> {
        if ballot.round < self.round {
            self.send(from, PeerState::Looking, server, effects);
            return None;
        }
        // One that may not lead and has not heard of anyone who may is not for anybody yet; but
        // its round counts.
        let is_for_someone =
            server.membership.is_voter(ballot.vote.leader) && ballot.vote.zxid >= Zxid::ZERO;
        let is_later = ballot.round > self.round;
        if is_later {
            self.round = ballot.round;
            self.received.clear();
            self.propose(initial_vote(server));
        }
        let is_better = is_for_someone && self.is_better(ballot.vote, server);
        if is_better {
            self.propose(ballot.vote);
        }
        if is_later || is_better {
            self.send_all(server, effects);
        }
        if is_for_someone {
            self.received.insert(from, ballot);
        }
        self.conclude(server)
    }

    /// Whether a vote beats that of this server. One for a server that must not lead never does.
    fn is_better(&self, vote: Vote, server: &Server) -> bool {
        server.membership.may_lead(vote.leader)
            && (vote > self.proposal || !server.membership.may_lead(self.proposal.leader))
    }

    fn propose(&mut self, vote: Vote) {
        self.proposal = vote;
        self.finish_at = None;
    }

    /// A server that has elected: this one joins when a quorum has, and the leader says so.
    fn on_decided(&mut self, from: ServerId, ballot: Ballot, server: &Server) -> Option<Elected> {
        let leader = ballot.vote.leader;
        if !server.membership.is_voter(leader) {
            return None;
        }
        if ballot.round == self.round {
            self.received.insert(from, ballot);
            if self.is_decided(&self.received, ballot, server) {
                return Some(decided(ballot));
            }
        }
        self.outside.insert(from, ballot);
        if self.is_decided(&self.outside, ballot, server) {
            self.round = ballot.round;
            return Some(decided(ballot));
        }
        self.conclude(server)
    }

    fn is_decided(
        &self,
        ballots: &BTreeMap<ServerId, Ballot>,
        ballot: Ballot,
        server: &Server,
    ) -> bool {
        let leads = |said: &Ballot| said.state == PeerState::Leading;
        let leader = ballot.vote.leader;
        let confirmed = if leader == server.me() {
            self.round == ballot.round
        } else {
            ballots.get(&leader).is_some_and(leads)
        };
        // Of a proposed ensemble this server's own vote may be the one that is missing: whom it
        // joins is decided by the one in force.
        confirmed
            && is_quorum(&server.membership.current, |id| {
                ballots.get(&id).is_some_and(|said| said.agrees(&ballot))
            })
    }

    /// A newer ensemble is in force somewhere: it is so here too, and the election starts anew.
    fn adopt_ensemble(
        &mut self,
        notification: &Notification,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let ensemble = &notification.ensemble;
        let current = Arc::clone(&server.membership.current);
        if !server.config.reconfig_enabled || ensemble.version <= current.version {
            return false;
        }
        server.membership.activate(ensemble, effects);
        ensemble.members != current.members || ensemble.voting != current.voting
    }

    fn send_all(&mut self, server: &Server, effects: &mut Vec<Effect>) {
        self.answered.clear();
        for to in server.membership.other_voters() {
            self.send(to, PeerState::Looking, server, effects);
        }
        self.resend_at = Some(server.in_ms(self.interval_ms));
    }

    fn send(&self, to: ServerId, state: PeerState, server: &Server, effects: &mut Vec<Effect>) {
        if to == server.me() {
            return;
        }
        let (vote, round) = if state == PeerState::Looking {
            (self.proposal, self.round)
        } else if server.membership.is_voter(to) {
            (server.vote, server.vote_round)
        } else {
            (server.vote, self.round)
        };
        effects.push(Effect::Notify {
            to,
            notification: Notification {
                vote,
                round,
                state,
                ensemble: Arc::clone(&server.membership.current),
            },
        });
    }
}

const fn decided(ballot: Ballot) -> Elected {
    Elected {
        vote: ballot.vote,
        round: ballot.round,
    }
}

/// A voter begins with itself; one that must not lead, with nobody.
fn initial_vote(server: &Server) -> Vote {
    if server.membership.is_observer() {
        return Vote {
            peer_epoch: 0,
            zxid: Zxid(i64::MIN),
            leader: NO_VOTE,
        };
    }
    Vote {
        peer_epoch: server.log.current_epoch,
        zxid: server.log.last(),
        leader: if server.membership.current.is_voter(server.me()) {
            server.me()
        } else {
            NO_VOTE
        },
    }
}
