//! Peers that say anything at any time: links may close, and nothing panics.

use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use roo_proto::ids::{ServerId, Time, Zxid};

use super::harness::{config, ensemble};
use super::random::Dice;
use crate::event::History;
use crate::message::{LinkId, NO_VOTE, PeerState, Vote};
use crate::status::Phase;
use crate::{Effect, Event, Message, Notification, Proposal, Recovered, Zab};

struct Victim {
    zab: Zab,
    dice: Dice,
    now: Time,
    /// What the shell owes it, in order.
    owed: Vec<Event>,
    links: Vec<LinkId>,
    accepted: u64,
}

impl Victim {
    fn new(seed: u64) -> Self {
        let mut config = config(ServerId(2));
        config.reconfig_enabled = true;
        let recovered = Recovered {
            accepted_epoch: 1,
            current_epoch: 1,
            last_zxid: Zxid::new(1, 3),
            ensemble: ensemble(0, &[1, 2, 3], &[4]),
            next_ensemble: None,
        };
        Self {
            zab: Zab::new(config, recovered, Time(0)),
            dice: Dice::new(seed),
            now: Time(0),
            owed: Vec::new(),
            links: Vec::new(),
            accepted: 1,
        }
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        self.zab.handle(self.now, event, &mut effects);
        self.execute(effects);
    }

    fn execute(&mut self, effects: Vec<Effect>) {
        for effect in effects {
            let delivered = self.zab.status().delivered;
            let owed = match effect {
                Effect::OpenLink { link, .. } => {
                    self.links.push(link);
                    Event::LinkOpened { link }
                }
                Effect::Append { proposal } => Event::LogDurable {
                    upto: proposal.zxid,
                },
                Effect::Truncate { after } => Event::Truncated { last: after },
                Effect::PersistEpoch { which, epoch } => Event::EpochDurable { which, epoch },
                Effect::ReadHistory { link, .. } => Event::HistoryRead {
                    link,
                    history: History::Unavailable,
                },
                Effect::SendSnapshot { link } => Event::SnapshotSent {
                    link,
                    zxid: delivered,
                },
                Effect::InstallSnapshot { link, zxid } if self.dice.one_in(2) => {
                    Event::SnapshotInstalled { link, zxid }
                }
                Effect::InstallSnapshot { link, .. } => Event::SnapshotFailed { link },
                Effect::Notify { .. }
                | Effect::CloseLink { .. }
                | Effect::Send { .. }
                | Effect::Deliver { .. }
                | Effect::RoleChanged { .. }
                | Effect::LeadershipConfirmed { .. }
                | Effect::PersistNextEnsemble { .. }
                | Effect::ForgetNextEnsemble
                | Effect::Activate { .. } => continue,
            };
            self.owed.push(owed);
        }
    }

    fn epoch(&mut self) -> u32 {
        let current = self.zab.status().epoch;
        [0, 1, current, current + 1, u32::MAX][self.dice.roll(5)]
    }

    fn zxid(&mut self) -> Zxid {
        let last = self.zab.status().last_proposed;
        let epoch = self.epoch();
        let near = Zxid(last.0.saturating_add(1));
        [
            last,
            near,
            near,
            Zxid::new(epoch, 0),
            Zxid::new(epoch, 1),
            Zxid(-1),
        ][self.dice.roll(6)]
    }

    fn server(&mut self) -> ServerId {
        [
            ServerId(1),
            ServerId(2),
            ServerId(3),
            ServerId(4),
            ServerId(9),
            NO_VOTE,
        ][self.dice.roll(6)]
    }

    fn ensemble(&mut self) -> Arc<roo_proto::ensemble::Ensemble> {
        let version = self.zxid().0;
        match self.dice.roll(3) {
            0 => ensemble(0, &[1, 2, 3], &[4]),
            1 => ensemble(version, &[1, 2, 3, 4], &[]),
            _ => ensemble(version, &[1, 3], &[2]),
        }
    }

    fn proposal(&mut self) -> Proposal {
        let reconfigures = self.dice.one_in(5);
        Proposal {
            zxid: self.zxid(),
            txn: Bytes::from_static(b"x"),
            ensemble: reconfigures.then(|| self.ensemble()),
        }
    }

    fn message(&mut self) -> Message {
        let (epoch, zxid, leader) = (self.epoch(), self.zxid(), self.server());
        match self.dice.roll(16) {
            0 => Message::FollowerInfo {
                accepted_epoch: epoch,
                config_version: [0, zxid.0][self.dice.roll(2)],
                observer: self.dice.one_in(2),
            },
            1 | 2 => Message::LeaderInfo { epoch },
            3 => Message::AckEpoch {
                current_epoch: self.dice.one_in(2).then_some(epoch),
                last_zxid: zxid,
            },
            4 => Message::Diff { upto: zxid },
            5 => Message::Trunc { to: zxid },
            6 => Message::Snap { zxid },
            7 => Message::Proposal(self.proposal()),
            8 | 9 => Message::Ack { zxid },
            10 => Message::Commit { zxid },
            11 => Message::CommitAndActivate { zxid, leader },
            12 => Message::InformAndActivate {
                proposal: self.proposal(),
                leader,
            },
            13 => Message::NewLeader {
                epoch,
                ensemble: self.ensemble(),
            },
            14 => Message::UpToDate,
            _ => match self.dice.roll(3) {
                0 => Message::Ping { round: 1, zxid },
                1 => Message::Inform(self.proposal()),
                _ => Message::Pong { round: u64::MAX },
            },
        }
    }

    /// What an honest peer would say now, as far as a guess goes.
    fn fitting(&mut self) -> Message {
        let status = self.zab.status();
        let (epoch, last) = (status.epoch, status.last_proposed);
        let next = Proposal {
            zxid: Zxid::new(
                epoch,
                if last.epoch() == epoch {
                    last.counter() + 1
                } else {
                    1
                },
            ),
            txn: Bytes::from_static(b"x"),
            ensemble: None,
        };
        match status.phase {
            Phase::AwaitLeaderInfo => Message::LeaderInfo { epoch: epoch + 1 },
            Phase::AwaitSync => match self.dice.roll(3) {
                0 => Message::Diff { upto: last },
                1 => Message::Trunc {
                    to: Zxid(last.0 - 1),
                },
                _ => Message::Snap { zxid: last },
            },
            Phase::Syncing if self.dice.one_in(2) => Message::NewLeader {
                epoch,
                ensemble: self.ensemble(),
            },
            Phase::AwaitUpToDate if self.dice.one_in(2) => Message::UpToDate,
            Phase::AwaitEpochQuorum | Phase::AwaitAcceptedEpoch => Message::FollowerInfo {
                accepted_epoch: 1,
                config_version: 0,
                observer: false,
            },
            Phase::AwaitAckEpochQuorum => Message::AckEpoch {
                current_epoch: Some(0),
                last_zxid: Zxid::new(1, 1),
            },
            Phase::AwaitSyncQuorum | Phase::Broadcasting => {
                let zxid = [Zxid::new(epoch, 0), last][self.dice.roll(2)];
                Message::Ack { zxid }
            }
            Phase::AwaitDurable
            | Phase::AwaitVotes
            | Phase::AwaitCurrentEpoch
            | Phase::Retiring
            | Phase::Dialling
            | Phase::AwaitPromise
            | Phase::AwaitTruncated
            | Phase::AwaitSnapshot
            | Phase::Syncing
            | Phase::AwaitHistory
            | Phase::AwaitUpToDate
            | Phase::Following => match self.dice.roll(2) {
                0 => Message::Commit { zxid: last },
                _ => Message::Proposal(next),
            },
        }
    }

    fn notification(&mut self) -> Notification {
        let states = [
            PeerState::Looking,
            PeerState::Looking,
            PeerState::Following,
            PeerState::Leading,
            PeerState::Observing,
        ];
        let round = self.zab.status().round;
        Notification {
            vote: Vote {
                peer_epoch: self.epoch(),
                zxid: self.zxid(),
                leader: self.server(),
            },
            round: [round, round, round.saturating_add(1), u64::MAX][self.dice.roll(4)],
            state: states[self.dice.roll(5)],
            ensemble: self.ensemble(),
        }
    }

    fn step(&mut self) {
        self.now.0 += 1;
        match self.dice.roll(8) {
            0 | 1 if !self.owed.is_empty() => {
                let event = self.owed.remove(0);
                self.handle(event);
            }
            0 if self.dice.one_in(4) => {
                self.accepted += 2;
                let link = LinkId(self.accepted);
                self.links.push(link);
                let peer = self.server();
                self.handle(Event::LinkAccepted { link, peer });
            }
            1 if self.dice.one_in(4) => {
                if let Some(at) = self.zab.next_deadline() {
                    self.now = self.now.max(at);
                    self.handle(Event::DeadlineReached);
                }
            }
            2 if self.dice.one_in(2) => {
                let (from, notification) = (self.server(), self.notification());
                self.handle(Event::Notified { from, notification });
            }
            4 if self.dice.one_in(4) => {
                let link = LinkId(1 + self.accepted);
                self.handle(Event::LinkClosed { link });
            }
            5 if self.zab.next_zxid().is_some() => {
                let zxid = self.zab.next_zxid().unwrap();
                let proposal = Proposal {
                    zxid,
                    txn: Bytes::from_static(b"own"),
                    ensemble: None,
                };
                self.handle(Event::Propose { proposal });
            }
            _ => {
                let known = self.links.len().min(3);
                let recent = self.links.iter().rev().take(3).copied();
                let Some(link) = recent
                    .collect::<Vec<_>>()
                    .get(self.dice.roll(known.max(1)))
                    .copied()
                else {
                    return;
                };
                let message = if self.dice.one_in(8) {
                    self.message()
                } else {
                    self.fitting()
                };
                self.handle(Event::Received { link, message });
            }
        }
    }
}

#[test]
fn no_peer_can_make_a_server_panic() {
    let mut phases = vec![];
    for seed in 0..600 {
        let mut victim = Victim::new(seed);
        let mut effects = Vec::new();
        victim.zab.start(victim.now, &mut effects);
        victim.execute(effects);
        for _ in 0..400 {
            victim.step();
            let phase = victim.zab.status().phase;
            if !phases.contains(&phase) {
                phases.push(phase);
            }
        }
    }
    assert!(phases.len() >= 16, "it must come about: {phases:?}");
}
