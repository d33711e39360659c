//! The leading server: it settles an epoch with a quorum, brings the learners' histories up to
//! its own, and then orders transactions.
//!
//! ```text
//! AwaitEpochQuorum -> AwaitAcceptedEpoch -> AwaitAckEpochQuorum -> AwaitCurrentEpoch
//!                  -> AwaitSyncQuorum -> Broadcasting [-> Retiring]
//! ```
//!
//! Java: `Leader`, `LearnerHandler`.

mod broadcast;
mod discovery;
mod synchronization;

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Time, Zxid};

use crate::effect::{CloseReason, Effect, Role};
use crate::event::EpochKind;
use crate::message::{LinkId, Message, Notification, PeerState};
use crate::quorum::is_quorum;
use crate::server::{Next, Server};

/// What the leader waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Who says which epoch it has accepted.
    AwaitEpochQuorum,
    /// Its own promise to be durable.
    AwaitAcceptedEpoch,
    /// Who promises to follow in the new epoch.
    AwaitAckEpochQuorum,
    /// Its own step into the epoch to be durable.
    AwaitCurrentEpoch,
    /// Who has adopted its history.
    AwaitSyncQuorum,
    /// Nothing: it leads.
    Broadcasting,
    /// A reconfiguration gave the lead to another; the learners leave.
    Retiring { successor: ServerId },
}

/// What the leader awaits from a learner.
#[derive(Clone, Debug)]
enum Step {
    /// FOLLOWERINFO or OBSERVERINFO.
    AwaitInfo,
    /// Nothing yet: the epoch is not settled.
    AwaitEpoch,
    /// ACKEPOCH.
    AwaitAckEpoch,
    /// Nothing yet: the quorum that has promised is not complete. `counts` unless the learner had
    /// accepted the epoch before.
    Promised { counts: bool },
    /// The log is read for it.
    ReadingLog {
        /// The record at or before its last one.
        anchor: Option<Zxid>,
        /// The first packet of the synchronisation is out.
        opened: bool,
    },
    /// A snapshot is sent.
    SendingSnapshot,
    /// The acknowledgement of NEWLEADER.
    AwaitNewLeaderAck,
    /// Nothing: it is synchronised.
    Live,
}

/// One learner's link.
#[derive(Clone, Debug)]
struct LearnerLink {
    peer: ServerId,
    observer: bool,
    step: Step,
    accepted_epoch: u32,
    /// The end of its history as it came.
    last: Zxid,
    /// Where the window must not be trimmed while it is synchronised.
    pin: Option<Zxid>,
    /// The end of the history that its acknowledgement of NEWLEADER covers.
    synced_to: Zxid,
    /// What it has acknowledged.
    acked: Zxid,
    /// The oldest proposal that it owes an acknowledgement, and since when.
    owed: Option<(Zxid, Time)>,
    /// The last round of pings that it answered.
    pong: u64,
    heard: Time,
}

impl LearnerLink {
    const fn new(peer: ServerId, now: Time) -> Self {
        Self {
            peer,
            observer: false,
            step: Step::AwaitInfo,
            accepted_epoch: 0,
            last: Zxid::ZERO,
            pin: None,
            synced_to: Zxid::ZERO,
            acked: Zxid::ZERO,
            owed: None,
            pong: 0,
            heard: now,
        }
    }

    const fn is_live(&self) -> bool {
        matches!(self.step, Step::Live)
    }

    /// Whether what happens now is sent to it.
    const fn is_forwarding(&self) -> bool {
        matches!(self.step, Step::AwaitNewLeaderAck | Step::Live)
    }
}

/// What the outside may know of a learner.
pub(crate) struct LearnerFacts {
    pub(crate) link: LinkId,
    pub(crate) peer: ServerId,
    pub(crate) observer: bool,
    pub(crate) synced: bool,
    pub(crate) acked: Zxid,
}

/// Questions whether this server still leads.
#[derive(Clone, Debug, Default)]
struct Confirmation {
    /// Asked since the round began.
    waiting: usize,
    /// The round of pings, and how many questions it answers.
    asking: Option<(u64, usize)>,
}

/// See the module.
#[derive(Clone, Debug)]
pub(crate) struct Leader {
    pub(crate) stage: Stage,
    /// The new epoch, once it is settled.
    pub(crate) epoch: u32,
    learners: BTreeMap<LinkId, LearnerLink>,
    /// Voters that have said, since this server was elected, that they are for another.
    deserters: BTreeSet<ServerId>,
    /// When it gives up.
    deadline: Time,
    ping_at: Time,
    ping_round: u64,
    confirmation: Confirmation,
    /// The ensemble before the one in force, and the last proposal that was made while it
    /// counted: those need its quorum too.
    outgoing: Option<(Arc<Ensemble>, Zxid)>,
}

impl Leader {
    /// An elected server begins.
    pub(crate) fn new(server: &mut Server, effects: &mut Vec<Effect>) -> Self {
        let mut leader = Self {
            stage: Stage::AwaitEpochQuorum,
            epoch: 0,
            learners: BTreeMap::new(),
            deserters: BTreeSet::new(),
            deadline: server.in_ticks(server.config.init_limit),
            ping_at: server.in_ms(ping_interval_ms(server)),
            ping_round: 0,
            confirmation: Confirmation::default(),
            outgoing: None,
        };
        leader.settle_epoch(server, effects);
        leader
    }

    pub(crate) fn next_deadline(&self) -> Time {
        if self.stage == Stage::Broadcasting {
            self.ping_at
        } else {
            self.ping_at.min(self.deadline)
        }
    }

    pub(crate) fn on_accepted(
        &mut self,
        link: LinkId,
        peer: ServerId,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let older = self
            .learners
            .iter()
            .find(|(_, learner)| learner.peer == peer);
        let replaced = older.map(|(id, _)| *id);
        let learner = LearnerLink::new(peer, server.now);
        self.learners.insert(link, learner);
        match replaced {
            Some(older) => self.drop_learner(older, CloseReason::Replaced, server, effects),
            None => Next::Stay,
        }
    }

    pub(crate) fn on_closed(
        &mut self,
        link: LinkId,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if self.learners.remove(&link).is_none() {
            return Next::Stay;
        }
        self.after_loss(server, effects)
    }

    pub(crate) fn on_received(
        &mut self,
        link: LinkId,
        message: Message,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let Some(learner) = self.learners.get_mut(&link) else {
            return Next::Stay;
        };
        learner.heard = server.now;
        match (message, &learner.step) {
            (
                Message::FollowerInfo {
                    accepted_epoch,
                    config_version,
                    observer,
                },
                Step::AwaitInfo,
            ) => {
                learner.observer = observer;
                learner.accepted_epoch = accepted_epoch;
                self.on_info(link, config_version, server, effects)
            }
            (
                Message::AckEpoch {
                    current_epoch,
                    last_zxid,
                },
                Step::AwaitAckEpoch,
            ) => self.on_ack_epoch(link, current_epoch, last_zxid, server, effects),
            (Message::Ack { zxid }, Step::AwaitNewLeaderAck) => {
                self.on_new_leader_ack(link, zxid, server, effects)
            }
            (Message::Ack { zxid }, Step::Live) => self.on_ack(link, zxid, server, effects),
            (Message::Pong { round }, Step::AwaitNewLeaderAck | Step::Live) => {
                self.on_pong(link, round, server, effects);
                Next::Stay
            }
            (_, _) => self.drop_learner(link, CloseReason::UnexpectedPacket, server, effects),
        }
    }

    pub(crate) fn on_epoch_durable(
        &mut self,
        which: EpochKind,
        epoch: u32,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if epoch != self.epoch {
            return Next::Stay;
        }
        match (which, self.stage) {
            (EpochKind::Accepted, Stage::AwaitAcceptedEpoch) => {
                self.on_promise_durable(server, effects)
            }
            (EpochKind::Current, Stage::AwaitCurrentEpoch) => {
                self.on_epoch_adopted(server, effects)
            }
            _ => Next::Stay,
        }
    }

    pub(crate) fn on_deadline(&mut self, server: &mut Server, effects: &mut Vec<Effect>) -> Next {
        if self.stage != Stage::Broadcasting && self.deadline <= server.now {
            return if let Stage::Retiring { successor } = self.stage {
                Next::Join(successor)
            } else {
                Next::Look
            };
        }
        if self.ping_at > server.now {
            return Next::Stay;
        }
        self.ping_at = server.in_ms(ping_interval_ms(server));
        let next = self.drop_silent(server, effects);
        if next == Next::Stay {
            self.ping(server, effects);
        }
        next
    }

    /// A server that waits for its first quorum hears how the others vote. If too many are for
    /// another it looks again, rather than wait for them until the time is up.
    /// Java: `leader.maxTimeToWaitForEpoch`.
    pub(crate) fn on_notification(
        &mut self,
        from: ServerId,
        notification: &Notification,
        server: &Server,
    ) -> Next {
        if self.stage != Stage::AwaitEpochQuorum {
            return Next::Stay;
        }
        let is_for_me = notification.vote.leader == server.me();
        let looks_on =
            notification.state == PeerState::Looking && notification.round > server.vote_round;
        if is_for_me && !looks_on {
            self.deserters.remove(&from);
        } else {
            self.deserters.insert(from);
        }
        let may_come = |id: ServerId| {
            let mut learners = self.learners.values();
            !self.deserters.contains(&id) || learners.any(|learner| learner.peer == id)
        };
        if server.membership.has_quorum(may_come) {
            Next::Stay
        } else {
            Next::Look
        }
    }

    /// The role ends: every link is closed.
    pub(crate) fn close_all(&mut self, effects: &mut Vec<Effect>) {
        for (link, _) in core::mem::take(&mut self.learners) {
            effects.push(Effect::CloseLink {
                link,
                why: CloseReason::RoleChanged,
            });
        }
    }

    pub(crate) fn learners(&self) -> impl Iterator<Item = LearnerFacts> + '_ {
        self.learners.iter().map(|(link, learner)| LearnerFacts {
            link: *link,
            peer: learner.peer,
            observer: learner.observer,
            synced: learner.is_live(),
            acked: learner.acked,
        })
    }

    /// The learner at the other end of a link, once it is synchronised.
    pub(crate) fn learner(&self, link: LinkId) -> Option<ServerId> {
        let learner = self.learners.get(&link)?;
        learner.is_live().then_some(learner.peer)
    }

    fn drop_learner(
        &mut self,
        link: LinkId,
        why: CloseReason,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if self.learners.remove(&link).is_none() {
            return Next::Stay;
        }
        effects.push(Effect::CloseLink { link, why });
        self.after_loss(server, effects)
    }

    /// A learner is gone. Without a quorum behind it a leader must not go on serving.
    fn after_loss(&mut self, server: &mut Server, effects: &mut Vec<Effect>) -> Next {
        self.trim(server);
        match self.stage {
            Stage::Broadcasting if !self.has_synced_quorum(server) => Next::Look,
            Stage::Broadcasting => {
                self.conclude_confirmation(server, effects);
                Next::Stay
            }
            Stage::Retiring { successor } if self.learners.is_empty() => Next::Join(successor),
            Stage::AwaitEpochQuorum
            | Stage::AwaitAcceptedEpoch
            | Stage::AwaitAckEpochQuorum
            | Stage::AwaitCurrentEpoch
            | Stage::AwaitSyncQuorum
            | Stage::Retiring { .. } => Next::Stay,
        }
    }

    /// Closes links that have been silent for too long, or that owe an acknowledgement.
    fn drop_silent(&mut self, server: &mut Server, effects: &mut Vec<Effect>) -> Next {
        let ticks = |ticks: u64| server.config.tick_ms.saturating_mul(ticks);
        let patience = ticks(server.config.sync_limit);
        let longer = ticks(
            server
                .config
                .init_limit
                .saturating_add(server.config.sync_limit),
        );
        let mut lost = Vec::new();
        for (link, learner) in &self.learners {
            let silent = server.now.millis_since(learner.heard);
            let limit = match learner.step {
                // The shell watches a transfer of which this server sees neither end.
                Step::SendingSnapshot => u64::MAX,
                Step::Live => patience,
                Step::AwaitInfo
                | Step::AwaitEpoch
                | Step::AwaitAckEpoch
                | Step::Promised { .. }
                | Step::ReadingLog { .. }
                | Step::AwaitNewLeaderAck => longer,
            };
            let is_late = |(_, since)| server.now.millis_since(since) > patience;
            if silent > limit {
                lost.push((*link, CloseReason::Silent));
            } else if learner.owed.is_some_and(is_late) {
                lost.push((*link, CloseReason::SlowAck));
            }
        }
        let mut next = Next::Stay;
        for (link, why) in lost {
            let after = self.drop_learner(link, why, server, effects);
            if next == Next::Stay {
                next = after;
            }
        }
        next
    }

    /// Whether voters that are synchronised form a quorum with this server. While proposals need
    /// the quorum of an ensemble that is not in force any more, that must be there too: if it is
    /// lost only a new epoch commits them.
    fn has_synced_quorum(&self, server: &Server) -> bool {
        let outgoing = self.outgoing.as_ref();
        outgoing.is_none_or(|(ensemble, _)| {
            is_quorum(ensemble, |id| id == server.me() || self.is_followed_by(id))
        }) && self.has_quorum(server, LearnerLink::is_live)
    }

    /// Whether that server is synchronised and acknowledges proposals.
    fn is_followed_by(&self, id: ServerId) -> bool {
        let follows = |learner: &LearnerLink| learner.is_live() && !learner.observer;
        let mut learners = self.learners.values();
        learners.any(|learner| learner.peer == id && follows(learner))
    }

    /// Whether synchronised followers that vote in an ensemble would be a quorum of it with this
    /// server. A follower that has just become an observer is about to leave, and would not
    /// acknowledge anything when it comes back. Java: `Leader.isQuorumSynced`.
    pub(crate) fn is_quorum_synced(&self, ensemble: &Ensemble, server: &Server) -> bool {
        let current = &server.membership.current;
        is_quorum(ensemble, |id| {
            let stays = current.is_voter(id) || !current.members.contains_key(&id);
            id == server.me() || (stays && self.is_followed_by(id))
        })
    }

    /// Whether this server and the voters whose learner's link fulfils the condition are a
    /// quorum. One that does not know yet that it votes in a proposed ensemble may have come as
    /// an observer; it logs what it adopts all the same.
    fn has_quorum(&self, server: &Server, fulfils: impl Fn(&LearnerLink) -> bool) -> bool {
        server.membership.has_quorum(|id| {
            id == server.me()
                || self
                    .learners
                    .values()
                    .any(|learner| learner.peer == id && fulfils(learner))
        })
    }

    /// Forgets what no learner needs any more.
    fn trim(&self, server: &mut Server) {
        let pin = self
            .learners
            .values()
            .filter_map(|learner| learner.pin)
            .min();
        let Server { log, config, .. } = server;
        log.trim(config, pin);
    }

    fn announce(&self, server: &mut Server, effects: &mut Vec<Effect>) {
        server.announce(Role::Leading { epoch: self.epoch }, effects);
    }
}

/// Half a tick, or a quarter of the silence that a link may keep if that is shorter.
fn ping_interval_ms(server: &Server) -> u64 {
    let tick = server.config.tick_ms;
    let quarter = tick.saturating_mul(server.config.sync_limit) / 4;
    (tick / 2).min(quarter).max(1)
}
