//! What learners ask of their leader, bounded at both ends: a learner keeps back what is more than
//! half of what a leader has room for, so a leader that has no room left deals with a learner that
//! breaks the rules, or whose links have broken more than once while their questions were still
//! under way; either way the link is closed, and the room comes back with the answers. What a learner keeps back is bounded by the limits on its clients.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use roo_proto::acl::Id;
use roo_proto::ids::{ServerId, Time};
use roo_zab::message::LinkId;

use crate::effect::Effect;
use crate::peer_message::PeerMessage;
use crate::replica::{Replica, Role};

/// What a question takes beside its body: its place in the order, its transaction, its records.
const QUESTION_BYTES: usize = 256;

/// The room that a question of a learner takes until it is answered, bytes.
pub(crate) fn room_of(message: &PeerMessage) -> usize {
    match message {
        PeerMessage::Request { body, ids, .. } => {
            let text = |id: &Id| id.scheme.len() + id.id.len() + size_of::<Id>();
            QUESTION_BYTES + body.len() + ids.iter().map(text).sum::<usize>()
        }
        PeerMessage::Sync | PeerMessage::ReadIndex { .. } => QUESTION_BYTES,
        // The leader answers it at once.
        PeerMessage::Revalidate { .. }
        | PeerMessage::Zab(_)
        | PeerMessage::Slice { .. }
        | PeerMessage::SliceEnd { .. }
        | PeerMessage::SyncDone
        | PeerMessage::Revalidated { .. }
        | PeerMessage::Touched { .. }
        | PeerMessage::ReadIndexed { .. } => 0,
    }
}

/// Whether something has room; whatever its size if it is alone.
const fn fits(taken: usize, bytes: usize, limit: usize) -> bool {
    taken == 0 || taken.saturating_add(bytes) <= limit
}

/// What a learner has asked its leader.
#[derive(Debug, Default)]
pub(crate) struct Asked {
    /// Sent and not answered.
    bytes: usize,
    /// Not sent yet, oldest first: one session's questions must not overtake each other, nor its
    /// move to another connection them.
    kept: VecDeque<PeerMessage>,
}

impl Asked {
    /// Takes a message that is to be sent; [`Asked::next`] gives it when there is room.
    pub(crate) fn push(&mut self, message: PeerMessage) {
        self.kept.push_back(message);
    }

    /// What can be sent now.
    pub(crate) fn next(&mut self, limit: usize) -> Option<PeerMessage> {
        let bytes = room_of(self.kept.front()?);
        if bytes > 0 && !fits(self.bytes, bytes, limit / 2) {
            return None;
        }
        self.bytes += bytes;
        self.kept.pop_front()
    }

    /// A question is answered.
    pub(crate) fn answered(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_sub(bytes);
    }

    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

/// What a leader has been asked by each learner and not answered yet. A learner that comes back on
/// another link has not got rid of it.
#[derive(Debug, Default)]
pub(crate) struct Owed(BTreeMap<ServerId, usize>);

impl Owed {
    /// Takes note of a question; false if there is no room for it.
    pub(crate) fn ask(&mut self, learner: ServerId, bytes: usize, limit: usize) -> bool {
        let owed = self.0.entry(learner).or_insert(0);
        let fits = fits(*owed, bytes, limit);
        if fits {
            *owed += bytes;
        }
        fits
    }

    /// A question is answered.
    pub(crate) fn answered(&mut self, learner: ServerId, bytes: usize) {
        if let Some(owed) = self.0.get_mut(&learner) {
            *owed = owed.saturating_sub(bytes);
            if *owed == 0 {
                self.0.remove(&learner);
            }
        }
    }

    pub(crate) fn clear(&mut self) {
        self.0.clear();
    }
}

impl Replica {
    /// Sends the leader a question, as soon as there is room for it.
    pub(crate) fn ask_leader(&mut self, question: PeerMessage, effects: &mut Vec<Effect>) {
        if let Some(peers) = &mut self.peers {
            peers.asked.push(question);
        }
        self.send_questions(effects);
    }

    fn send_questions(&mut self, effects: &mut Vec<Effect>) {
        let (Role::Learning { link, .. }, Some(peers)) = (self.role, &mut self.peers) else {
            return;
        };
        while let Some(message) = peers.asked.next(self.config.learner_request_bytes) {
            effects.push(Effect::Send { link, message });
        }
    }

    /// The leader has answered a question of this learner.
    pub(crate) fn is_answered(&mut self, bytes: usize, effects: &mut Vec<Effect>) {
        if let Some(peers) = &mut self.peers {
            peers.asked.answered(bytes);
        }
        self.send_questions(effects);
    }

    /// The learner that speaks to this leader, if it may: it is synchronised, and what it asks
    /// has room. Whoever asks a server that does not lead hears so from Zab.
    pub(crate) fn admit(
        &mut self,
        now: Time,
        link: LinkId,
        message: &PeerMessage,
        effects: &mut Vec<Effect>,
    ) -> Option<ServerId> {
        if !matches!(self.role, Role::Leading { .. }) {
            return None;
        }
        let limit = self.config.learner_request_bytes;
        let peers = self.peers.as_mut()?;
        let learner = peers.zab.learner(link)?;
        let bytes = room_of(message);
        if bytes == 0 || peers.owed.ask(learner, bytes, limit) {
            return Some(learner);
        }
        let why = roo_zab::effect::CloseReason::TooManyRequests;
        effects.push(Effect::Zab(roo_zab::Effect::CloseLink { link, why }));
        self.zab_event(now, roo_zab::Event::LinkClosed { link }, effects);
        None
    }

    /// This leader has answered a question of a learner.
    pub(crate) fn has_answered(&mut self, learner: ServerId, bytes: usize) {
        if let Some(peers) = &mut self.peers {
            peers.owed.answered(learner, bytes);
        }
    }
}
