//! Whose turn it is. Turns are taken in rounds: what a round causes is for the next one, and within
//! a round channels have a fixed order. So the order of what is to happen is a part of the state
//! and not of how it came about: runs that differ only in the order of things that do not touch
//! each other meet in one state.

use std::collections::BTreeMap;

use super::LinkKey;

/// Where something waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Channel {
    /// What a server tells itself.
    Own(usize),
    /// What its disk is to do.
    Disk(usize),
    /// A transaction for it to decide.
    Propose(usize),
    /// An election message, from one to another.
    Election(usize, usize),
    /// A link that is dialled.
    Dial(LinkKey),
    /// A packet for one side of a link.
    Packet(LinkKey, usize),
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns {
    now: BTreeMap<Channel, usize>,
    next: BTreeMap<Channel, usize>,
}

impl Turns {
    /// Something more waits there.
    pub(super) fn push(&mut self, channel: Channel) {
        *self.next.entry(channel).or_default() += 1;
    }

    /// Whose turn it is.
    pub(super) fn first(&self) -> Option<Channel> {
        let round = if self.now.is_empty() {
            &self.next
        } else {
            &self.now
        };
        round.keys().next().copied()
    }

    /// Takes the turn.
    pub(super) fn pop(&mut self) -> Option<Channel> {
        if self.now.is_empty() {
            std::mem::swap(&mut self.now, &mut self.next);
        }
        let mut first = self.now.first_entry()?;
        let channel = *first.key();
        *first.get_mut() -= 1;
        if *first.get() == 0 {
            first.remove();
        }
        Some(channel)
    }

    /// All that has its turn now at the first channel has it in the next round.
    pub(super) fn delay(&mut self) {
        if self.now.is_empty() {
            std::mem::swap(&mut self.now, &mut self.next);
        }
        if let Some((channel, count)) = self.now.pop_first() {
            *self.next.entry(channel).or_default() += count;
        }
    }

    /// What waits at some channels is gone.
    pub(super) fn forget(&mut self, is_gone: impl Fn(&Channel) -> bool) {
        self.now.retain(|channel, _| !is_gone(channel));
        self.next.retain(|channel, _| !is_gone(channel));
    }

    /// How many channels have something.
    pub(super) fn len(&self) -> usize {
        self.now.len() + self.next.len()
    }

    /// Whether nothing waits anywhere.
    pub(super) fn is_empty(&self) -> bool {
        self.now.is_empty() && self.next.is_empty()
    }

    /// This round's channels and the next one's, with how much waits at each.
    pub(super) fn rounds(&self) -> [&BTreeMap<Channel, usize>; 2] {
        [&self.now, &self.next]
    }
}
