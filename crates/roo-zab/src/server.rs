//! What a server is in every role.

use alloc::vec::Vec;
use core::time::Duration;

use roo_proto::ids::{ServerId, Time};

use crate::config::Config;
use crate::durable::Log;
use crate::effect::{Effect, Role};
use crate::membership::Membership;
use crate::message::{LinkId, Proposal, Vote};
use crate::rebreak::Rebreak;

/// The highest epoch with a successor: a zxid is signed on the wire.
pub(crate) const MAX_ACCEPTED: u32 = i32::MAX.unsigned_abs() - 1;

/// See the module. The roles work on it.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) config: Config,
    pub(crate) now: Time,
    pub(crate) membership: Membership,
    pub(crate) log: Log,
    /// What the last election ended with, and its round; its epoch is brought up to that of the
    /// leader when that is established, so that late joiners see equal votes.
    pub(crate) vote: Vote,
    pub(crate) vote_round: u64,
    /// As announced.
    pub(crate) role: Role,
    pub(crate) rebreak: Rebreak,
    /// The last link that was dialled.
    pub(crate) last_link: u64,
}

/// What becomes of a role after an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Next {
    /// It goes on.
    Stay,
    /// It ends; an election follows.
    Look,
    /// It ends; that server leads from here on, without an election.
    Join(ServerId),
}

impl Next {
    /// What comes next, unless the role has ended.
    pub(crate) fn then(self, what: impl FnOnce() -> Self) -> Self {
        if self == Self::Stay { what() } else { self }
    }
}

impl Server {
    pub(crate) const fn me(&self) -> ServerId {
        self.config.me
    }

    /// The instant that many ticks from here.
    pub(crate) fn in_ticks(&self, ticks: u64) -> Time {
        let ms = self.config.tick_ms.saturating_mul(ticks);
        self.now.after(Duration::from_millis(ms))
    }

    /// The instant that many milliseconds from here.
    pub(crate) const fn in_ms(&self, ms: u64) -> Time {
        self.now.after(Duration::from_millis(ms))
    }

    /// A name for a link to be dialled.
    pub(crate) const fn new_link(&mut self) -> LinkId {
        self.last_link += 2;
        LinkId(self.last_link)
    }

    /// Tells the replica, if anything has changed.
    pub(crate) fn announce(&mut self, role: Role, effects: &mut Vec<Effect>) {
        if self.role != role {
            self.role = role;
            effects.push(Effect::RoleChanged { role });
        }
    }

    /// Appends a proposal; an ensemble in it is written down before its record can be durable.
    pub(crate) fn append(&mut self, proposal: Proposal, effects: &mut Vec<Effect>) {
        if let Some(ensemble) = &proposal.ensemble {
            self.membership.propose(ensemble, effects);
        }
        self.log.append(proposal, effects);
    }
}
