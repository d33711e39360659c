//! Bringing learners' histories up to the leader's, and adopting the epoch with a quorum.

use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::Zxid;

use super::{Leader, Stage, Step};
use crate::effect::{CloseReason, Effect};
use crate::event::History;
use crate::history::{self, Plan};
use crate::message::{LinkId, Message, Proposal};
use crate::rebreak::Bug;
use crate::server::{Next, Server};

impl Leader {
    /// This server's step into the epoch is durable, and its history was before: it has adopted
    /// the epoch as the first.
    pub(super) fn on_epoch_adopted(
        &mut self,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        self.stage = Stage::AwaitSyncQuorum;
        self.deadline = server.in_ticks(server.config.init_limit);
        if server.config.reconfig_enabled && server.membership.latest().version == 0 {
            let mut first = Ensemble::clone(&server.membership.current);
            first.version = Zxid::new(self.epoch, 0).0;
            server.membership.propose(&Arc::new(first), effects);
        }
        let promised = |step: &Step| matches!(step, Step::Promised { .. });
        let links: Vec<_> = self
            .learners
            .iter()
            .filter(|(_, learner)| promised(&learner.step))
            .map(|(link, _)| *link)
            .collect();
        for link in links {
            self.begin_sync(link, server, effects);
        }
        self.settle_sync(server, effects)
    }

    /// The end of what counts as committed for a learner that comes: until the epoch is
    /// established its leader's whole history does, since a learner must adopt all of it.
    /// The beginning of the epoch stands for a history without any record, so that an empty
    /// learner of an established leader is sent the state.
    fn sync_end(&self, server: &Server) -> Zxid {
        if self.stage == Stage::AwaitSyncQuorum {
            server.log.last()
        } else if server.log.committed == Zxid::ZERO {
            Zxid::new(self.epoch, 0)
        } else {
            server.log.committed
        }
    }

    pub(super) fn begin_sync(
        &mut self,
        link: LinkId,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        let Some(learner) = self.learners.get(&link) else {
            return;
        };
        let plan = history::plan(
            &server.log.window,
            self.sync_end(server),
            server.log.delivered,
            learner.last,
            server.config.force_snapshot_sync,
        );
        if plan != Plan::ReadLog {
            return self.carry_out(plan, link, server, effects);
        }
        let (from, upto) = (learner.last, server.log.window.base());
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.pin = Some(upto);
            learner.step = Step::ReadingLog {
                anchor: None,
                opened: false,
            };
            effects.push(Effect::ReadHistory { link, from, upto });
        }
    }

    /// Sends what a plan says, up to NEWLEADER unless a snapshot comes first.
    fn carry_out(
        &mut self,
        plan: Plan,
        link: LinkId,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        match plan {
            Plan::Diff { after } => {
                self.send_diff(link, after, server, effects);
                self.finish_sync(link, after, server, effects);
            }
            Plan::Trunc { to } => {
                let message = Message::Trunc { to };
                effects.push(Effect::Send { link, message });
                self.finish_sync(link, to, server, effects);
            }
            Plan::ReadLog | Plan::Snapshot => {
                if let Some(learner) = self.learners.get_mut(&link) {
                    learner.pin = Some(server.log.delivered);
                    learner.step = Step::SendingSnapshot;
                    effects.push(Effect::SendSnapshot { link });
                }
            }
        }
    }

    /// DIFF names the last committed record that follows, or the learner's own end.
    fn send_diff(&self, link: LinkId, after: Zxid, server: &Server, effects: &mut Vec<Effect>) {
        let end = self.sync_end(server);
        let records = server.log.window.after(after).map(|record| record.zxid);
        let upto = records.take_while(|zxid| *zxid <= end).last();
        let upto = upto.unwrap_or_else(|| after.max(server.log.window.base().min(end)));
        let message = Message::Diff { upto };
        effects.push(Effect::Send { link, message });
    }

    /// A part of the log for a learner that is behind what memory holds.
    pub(crate) fn on_history(
        &mut self,
        link: LinkId,
        history: History,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        let Some(learner) = self.learners.get_mut(&link) else {
            return Next::Stay;
        };
        learner.heard = server.now;
        let Step::ReadingLog { anchor, opened } = learner.step else {
            return Next::Stay;
        };
        match history {
            History::Unavailable if opened => {
                // Half of it is sent; only a new link can begin anew.
                return self.drop_learner(link, CloseReason::Gap, server, effects);
            }
            History::Unavailable => self.carry_out(Plan::Snapshot, link, server, effects),
            History::Records { records, end } => {
                let reading = Reading {
                    link,
                    anchor,
                    opened,
                    end,
                };
                self.on_records(reading, records, server, effects);
            }
        }
        Next::Stay
    }

    fn on_records(
        &mut self,
        mut reading: Reading,
        records: Vec<Proposal>,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        let Some(learner) = self.learners.get(&reading.link) else {
            return;
        };
        let (link, last) = (reading.link, learner.last);
        let base = learner.pin.unwrap_or(server.log.window.base());
        let first_after = records
            .iter()
            .map(|record| record.zxid)
            .find(|zxid| *zxid > last);
        let anchor = records
            .iter()
            .map(|record| record.zxid)
            .rfind(|zxid| *zxid <= last);
        reading.anchor = anchor.or(reading.anchor);
        if !reading.opened {
            // What follows the anchor is in this part, or at the beginning of memory.
            let in_memory = server.log.window.after(base).next();
            let next = match first_after {
                None if !reading.end => return self.read_on(reading),
                None => in_memory.map(|record| record.zxid),
                Some(next) => Some(next),
            };
            let plan = match (reading.anchor, next) {
                (Some(anchor), _) if anchor == last => Plan::Diff { after: last },
                (Some(before), Some(next)) => history::diverged(last, before, next),
                _ => Plan::Snapshot,
            };
            match plan {
                Plan::Diff { after } => self.send_diff(link, after, server, effects),
                Plan::Trunc { to } => effects.push(Effect::Send {
                    link,
                    message: Message::Trunc { to },
                }),
                Plan::ReadLog | Plan::Snapshot => {
                    return self.carry_out(Plan::Snapshot, link, server, effects);
                }
            }
            reading.opened = true;
        }
        for record in records.into_iter().filter(|record| record.zxid > last) {
            send_committed(link, record, effects);
        }
        if reading.end {
            self.finish_sync(link, base, server, effects);
        } else {
            self.read_on(reading);
        }
    }

    fn read_on(&mut self, reading: Reading) {
        if let Some(learner) = self.learners.get_mut(&reading.link) {
            learner.step = Step::ReadingLog {
                anchor: reading.anchor,
                opened: reading.opened,
            };
        }
    }

    /// The snapshot is in the link's queue; what it does not hold follows.
    pub(crate) fn on_snapshot_sent(
        &mut self,
        link: LinkId,
        zxid: Zxid,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        if !matches!(learner.step, Step::SendingSnapshot) {
            return;
        }
        let pin = learner.pin.unwrap_or(zxid);
        assert!(zxid >= pin, "the snapshot {zxid} lies before {pin}");
        learner.heard = server.now;
        self.finish_sync(link, zxid, server, effects);
    }

    /// Sends what lies behind `after` and NEWLEADER; from here on live traffic is forwarded.
    fn finish_sync(
        &mut self,
        link: LinkId,
        after: Zxid,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) {
        let end = self.sync_end(server);
        let Some(learner) = self.learners.get_mut(&link) else {
            return;
        };
        // Compat: C-72
        // One that is proposed while the epoch runs is not committed: the learner would put it in
        // force. It gets it by its proposal.
        let ensemble = if self.stage == Stage::AwaitSyncQuorum {
            server.membership.latest()
        } else {
            &server.membership.current
        };
        let new_leader = Effect::Send {
            link,
            message: Message::NewLeader {
                epoch: self.epoch,
                ensemble: Arc::clone(ensemble),
            },
        };
        let is_early =
            server.rebreak.has(Bug::Zk3104) && matches!(learner.step, Step::SendingSnapshot);
        if is_early {
            effects.push(new_leader.clone());
        }
        for proposal in server.log.window.after(after) {
            if proposal.zxid <= end {
                send_committed(link, proposal.clone(), effects);
            } else if !learner.observer {
                effects.push(Effect::Send {
                    link,
                    message: Message::Proposal(proposal.clone()),
                });
            }
        }
        if !is_early {
            effects.push(new_leader);
        }
        learner.pin = None;
        learner.synced_to = end;
        learner.step = Step::AwaitNewLeaderAck;
        self.trim(server);
    }

    /// The first ACK of a learner: it has adopted the history and the epoch.
    pub(super) fn on_new_leader_ack(
        &mut self,
        link: LinkId,
        zxid: Zxid,
        server: &mut Server,
        effects: &mut Vec<Effect>,
    ) -> Next {
        if zxid != Zxid::new(self.epoch, 0) {
            // ZOOKEEPER-4685: a proposal must not be acknowledged before the epoch is.
            return self.drop_learner(link, CloseReason::UnexpectedPacket, server, effects);
        }
        if let Some(learner) = self.learners.get_mut(&link) {
            learner.step = Step::Live;
            learner.acked = learner.synced_to;
            let last = server.log.last();
            let owes = !learner.observer && last > learner.acked;
            learner.owed = owes.then_some((last, server.now));
        }
        match self.stage {
            Stage::AwaitSyncQuorum => self.settle_sync(server, effects),
            Stage::Broadcasting => {
                effects.push(Effect::Send {
                    link,
                    message: Message::UpToDate,
                });
                self.advance(server, effects)
            }
            Stage::AwaitEpochQuorum
            | Stage::AwaitAcceptedEpoch
            | Stage::AwaitAckEpochQuorum
            | Stage::AwaitCurrentEpoch
            | Stage::Retiring { .. } => Next::Stay,
        }
    }

    /// When a quorum has adopted the history, all of it is committed and the epoch begins.
    fn settle_sync(&mut self, server: &mut Server, effects: &mut Vec<Effect>) -> Next {
        if !self.has_synced_quorum(server) {
            return Next::Stay;
        }
        self.stage = Stage::Broadcasting;
        server.vote.peer_epoch = self.epoch;
        server.log.commit(server.log.last());
        let in_history = server.log.deliver(effects);
        let proposed = server.membership.next.clone();
        for ensemble in in_history.iter().chain(&proposed) {
            server.membership.activate(ensemble, effects);
        }
        self.announce(server, effects);
        for (link, learner) in &self.learners {
            if learner.is_live() {
                effects.push(Effect::Send {
                    link: *link,
                    message: Message::UpToDate,
                });
            }
        }
        self.trim(server);
        if server.membership.is_voter(server.me()) {
            Next::Stay
        } else {
            // The history it adopted takes its vote away: it has committed that, and goes.
            Next::Look
        }
    }
}

/// Where the reading of the log for a learner stands.
struct Reading {
    link: LinkId,
    anchor: Option<Zxid>,
    opened: bool,
    /// The part is the last one.
    end: bool,
}

fn send_committed(link: LinkId, proposal: Proposal, effects: &mut Vec<Effect>) {
    let zxid = proposal.zxid;
    for message in [Message::Proposal(proposal), Message::Commit { zxid }] {
        effects.push(Effect::Send { link, message });
    }
}
