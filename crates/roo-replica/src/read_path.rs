//! Reads that cannot be served where they arrive: behind their session's earlier writes, behind a
//! `sync`, or, in the stricter modes, behind the leader's word on how far they must see.
//!
//! A stricter read belongs to a round: one question to the leader serves every read that was
//! waiting when it was asked, and writes nothing to the log. Source: Ongaro, "Consensus: Bridging
//! Theory and Practice", section 6.4.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::acl::Id;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{ServerId, Time, Zxid};
use roo_proto::op_code;
use roo_proto::reply;
use roo_proto::request::{self, BadRequest};
use roo_state::state::State;
use roo_zab::message::LinkId;

use crate::effect::{CloseReason, Deliveries, Effect, OrderedRead};
use crate::event::Ordered;
use crate::peer_message::PeerMessage;
use crate::questions::Question;
use crate::replica::{InFlight, Replica, Role};
use crate::requests::room_of;

/// Where reads get their answers from (`readMode`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ReadMode {
    /// From the applied state of the server that is asked: ZooKeeper's way.
    #[default]
    Local,
    /// As the leader would answer at that moment, if it still leads.
    Leader,
    /// Linearizable: as a leader answers that a quorum has just confirmed.
    Quorum,
}

/// Who wants to know how far the leader has come.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Asker {
    /// This server's own reads of a round.
    Round(u64),
    /// A learner, with its number for the question.
    Learner {
        link: LinkId,
        peer: ServerId,
        id: u64,
    },
}

/// The rounds of this server's own reads.
#[derive(Debug)]
pub(crate) struct Rounds {
    /// The round of the reads that arrive now is one more.
    asked: u64,
    /// The last round that was answered, and how far its reads must see.
    answered: u64,
    index: Zxid,
    /// Reads wait that were not part of the last question.
    waiting: bool,
    /// What the threads that serve reads have asked, each with its round.
    of_threads: VecDeque<(u64, Question)>,
}

impl Rounds {
    pub(crate) const fn new() -> Self {
        Self {
            asked: 0,
            answered: 0,
            index: Zxid::ZERO,
            waiting: false,
            of_threads: VecDeque::new(),
        }
    }

    pub(crate) fn answer(&mut self, round: u64, index: Zxid) {
        self.answered = self.answered.max(round);
        self.index = self.index.max(index);
    }
}

impl Replica {
    /// Whether reads of the tree wait for the leader's word here.
    #[must_use]
    pub fn reads_in_rounds(&self) -> bool {
        match (self.config.read_mode, self.role) {
            (ReadMode::Local, _) | (_, Role::Standalone | Role::Looking | Role::ReadOnly) => false,
            (ReadMode::Leader, role) => !role.decides(),
            (ReadMode::Quorum, _) => true,
        }
    }

    pub(crate) fn queue_read(&mut self, now: Time, ordered: Ordered, effects: &mut Vec<Effect>) {
        let round = if self.reads_in_rounds() && op_code::reads_tree(ordered.op) {
            self.join_round(now, effects)
        } else {
            0
        };
        self.in_flight.push_back(InFlight::Read { ordered, round });
    }

    /// A thread's reads share a round with those that wait here. Where they do not go by rounds the
    /// role has changed since it was asked: the thread hears of that.
    pub(crate) fn on_asked(&mut self, now: Time, question: Question, effects: &mut Vec<Effect>) {
        if !self.reads_in_rounds() {
            return;
        }
        let round = self.join_round(now, effects);
        if let Some(peers) = &mut self.peers {
            peers.rounds.of_threads.push_back((round, question));
        }
    }

    /// Tells the threads which of their questions are answered. Unlike a read that stands in the
    /// queue, theirs may come before what was committed when they asked has been applied, at a
    /// leader too.
    pub(crate) fn show(&mut self, state: &State, effects: &mut Vec<Effect>) {
        let Some(peers) = &mut self.peers else {
            return;
        };
        let rounds = &mut peers.rounds;
        if rounds.of_threads.is_empty() || rounds.index > state.last_zxid() {
            return;
        }
        let answered = rounds.answered;
        while let Some((_, question)) = rounds
            .of_threads
            .pop_front_if(|(round, _)| *round <= answered)
        {
            effects.push(Effect::Shown(question));
        }
    }

    /// The round of a read that arrives now; asks, unless a question is still open.
    fn join_round(&mut self, now: Time, effects: &mut Vec<Effect>) -> u64 {
        let Some(peers) = &mut self.peers else {
            return 0;
        };
        let rounds = &mut peers.rounds;
        let round = rounds.asked + 1;
        if rounds.asked == rounds.answered {
            self.ask(now, effects);
        } else {
            rounds.waiting = true;
        }
        round
    }

    fn ask(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let role = self.role;
        let Some(peers) = &mut self.peers else {
            return;
        };
        peers.rounds.asked += 1;
        peers.rounds.waiting = false;
        let round = peers.rounds.asked;
        match role {
            // The question tells the leader that this server follows: not when it has begun to look
            // for another one, before its role here has changed.
            Role::Learning { link, .. } if peers.zab.leader_link() == Some(link) => {
                effects.push(Effect::Send {
                    link,
                    message: PeerMessage::ReadIndex { id: round },
                });
            }
            Role::Leading { .. } => self.on_question(now, Asker::Round(round), effects),
            Role::Standalone | Role::Looking | Role::ReadOnly | Role::Learning { .. } => {}
        }
    }

    /// The leader is asked how far it has come. A learner whose question shows that a quorum still
    /// follows is answered at once.
    pub(crate) fn on_question(&mut self, now: Time, asker: Asker, effects: &mut Vec<Effect>) {
        let index = self.committed;
        let is_confirmed = match asker {
            Asker::Learner { link, .. } => self.zab().is_some_and(|zab| zab.is_confirmed_by(link)),
            Asker::Round(_) => false,
        };
        if is_confirmed || self.config.read_mode == ReadMode::Leader {
            self.answer_question(now, asker, index, effects);
            return;
        }
        if let Some(peers) = &mut self.peers {
            peers.questions.push_back((asker, index));
        }
        self.zab_event(now, roo_zab::Event::ConfirmLeadership, effects);
    }

    pub(crate) fn on_leadership_confirmed(
        &mut self,
        now: Time,
        count: usize,
        effects: &mut Vec<Effect>,
    ) {
        for _ in 0..count {
            let question = self.peers.as_mut().and_then(|p| p.questions.pop_front());
            if let Some((asker, index)) = question {
                self.answer_question(now, asker, index, effects);
            }
        }
    }

    fn answer_question(&mut self, now: Time, asker: Asker, index: Zxid, effects: &mut Vec<Effect>) {
        match asker {
            Asker::Learner { link, peer, id } => {
                self.has_answered(peer, room_of(&PeerMessage::ReadIndex { id }));
                effects.push(Effect::Send {
                    link,
                    message: PeerMessage::ReadIndexed { id, zxid: index },
                });
            }
            Asker::Round(round) => self.on_index(now, round, index, effects),
        }
    }

    /// A round of this server's reads is answered.
    pub(crate) fn on_index(
        &mut self,
        now: Time,
        round: u64,
        index: Zxid,
        effects: &mut Vec<Effect>,
    ) {
        let Some(peers) = &mut self.peers else {
            return;
        };
        peers.rounds.answer(round, index);
        if peers.rounds.waiting {
            self.ask(now, effects);
        }
    }

    /// Whether the leader's word for this round has come.
    pub(crate) fn round_is_answered(&self, round: u64) -> bool {
        round == 0
            || self
                .peers
                .as_ref()
                .is_some_and(|peers| round <= peers.rounds.answered)
    }

    /// Whether the state shows what a read of this round must see. Where writes are decided it
    /// does when the read's turn comes: what was committed when the question was asked stands
    /// before the read, and a later round's answer may name writes that stand behind it.
    pub(crate) fn round_is_visible(&self, state: &State, round: u64) -> bool {
        round == 0
            || self.role.decides()
            || self
                .peers
                .as_ref()
                .is_some_and(|peers| peers.rounds.index <= state.last_zxid())
    }
}

/// Serves what a session sent behind its writes.
pub(crate) fn read_in_turn(
    state: &State,
    ordered: &Ordered,
    max_field_bytes: usize,
    deliveries: &mut dyn Deliveries,
) {
    let Ordered {
        conn,
        session,
        xid,
        op,
        ..
    } = *ordered;
    match request::decode(op, &ordered.body, max_field_bytes) {
        Ok(request) => {
            let ids: &Arc<[Id]> = &ordered.ids;
            deliveries.read(
                state,
                &OrderedRead {
                    conn,
                    session,
                    xid,
                    ids,
                    request,
                },
            );
        }
        Err(bad) => {
            let zxid = if bad == BadRequest::Unknown {
                Zxid(-1)
            } else {
                state.last_zxid()
            };
            if let Some(code) = bad.code() {
                deliveries.reply(conn, &mut |out| put_bad_request(out, xid, zxid, bad, code));
            }
            if matches!(bad, BadRequest::Unknown | BadRequest::Fatal) {
                deliveries.close(conn, CloseReason::SessionClosed);
            }
        }
    }
}

/// Writes the reply to a request that could not be decoded.
pub fn put_bad_request(out: &mut Vec<u8>, xid: i32, zxid: Zxid, bad: BadRequest, code: ErrorCode) {
    let mark = reply::begin(out, xid);
    if bad == BadRequest::MalformedMultiRead {
        reply::multi_end(out);
    }
    reply::finish(out, mark, zxid, code);
}
