//! Chance decides what happens next; whatever it is, Zab's invariants hold, and when the network
//! heals the servers agree and go on.
//!
//! `ZAB_SEEDS` in the environment sets how many runs there are, `ZAB_FROM` the first seed.

use std::format;
use std::string::String;
use std::sync::Arc;
use std::vec::Vec;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;

use super::harness::{Choice, Node, World, config, ensemble, zxids};
use crate::message::NO_VOTE;
use crate::{Event, Role};

/// xorshift64*; a test needs no better.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    pub(super) fn roll(&mut self, sides: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        let value = self.0.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 33;
        usize::try_from(value).unwrap() % sides
    }

    pub(super) fn one_in(&mut self, sides: usize) -> bool {
        self.roll(sides) == 0
    }
}

struct Run {
    world: World,
    dice: Dice,
    seed: u64,
    written: usize,
    /// How rare trouble is.
    calm: usize,
    /// A failure is no news.
    quiet: bool,
}

impl Run {
    fn new(seed: u64) -> Self {
        let mut dice = Dice::new(seed);
        let mut config = config(NO_VOTE);
        config.tick_ms = 40;
        config.finalize_wait_ms = 10;
        config.min_notification_ms = 20;
        config.max_notification_ms = 200;
        config.connect_retry_ms = 5;
        config.commit_log_count = [0, 2, 500][dice.roll(3)];
        config.force_snapshot_sync = dice.one_in(8);
        config.reconfig_enabled = dice.one_in(3);
        let mut world = World::new(config);
        let voters: &[i64] = [&[1, 2, 3][..], &[1, 2, 3, 4, 5], &[1, 2, 3, 4], &[1]][dice.roll(4)];
        let observers: &[i64] = [&[][..], &[8]][dice.roll(2)];
        let ensemble = ensemble(0, voters, observers);
        for id in voters.iter().chain(observers) {
            world.add(ServerId(*id), &ensemble);
        }
        world.chunk = 1 + dice.roll(3);
        let calm = [15, 40, 150][dice.roll(3)];
        Self {
            world,
            dice,
            seed,
            written: 0,
            calm,
            quiet: false,
        }
    }

    fn any_server(&mut self) -> ServerId {
        let all: Vec<_> = self.world.nodes.keys().copied().collect();
        all[self.dice.roll(all.len())]
    }

    fn step(&mut self) {
        if self.dice.one_in(self.calm) {
            self.make_trouble();
        }
        if self.dice.one_in(12) {
            self.write();
        }
        let choices = self.world.choices();
        if choices.is_empty() || self.dice.one_in(6) {
            self.pass_time();
        } else {
            let choice = self.pick(&choices);
            self.world.choose(choice);
        }
    }

    fn pick(&mut self, choices: &[Choice]) -> Choice {
        choices[self.dice.roll(choices.len())]
    }

    fn pass_time(&mut self) {
        self.world.now.0 += 1;
        if let Some((at, id)) = self.world.next_deadline()
            && (at <= self.world.now || self.dice.one_in(4))
        {
            self.world.now = self.world.now.max(at);
            self.world.handle(id, Event::DeadlineReached);
        }
    }

    /// A leader, perhaps one that is none any more, gets something to do.
    fn write(&mut self) {
        let any = self.any_server();
        let id = self
            .world
            .leader()
            .filter(|_| self.dice.one_in(2))
            .unwrap_or(any);
        if self.world.nodes[&id].zab.is_none() {
            return;
        }
        let Some(zxid) = self.world.zab(id).next_zxid() else {
            return;
        };
        self.written += 1;
        let text = format!("{}", self.written);
        let wants_change = self.world.config.reconfig_enabled && self.dice.one_in(8);
        let next = wants_change.then(|| self.any_ensemble(zxid.0));
        let zab = self.world.zab(id);
        let next = next.filter(|next| !zab.status().reconfiguring && zab.is_in_step(next));
        self.world.propose_at(id, zxid, &text, next);
        if self.dice.one_in(4) {
            self.world.handle(id, Event::ConfirmLeadership);
        }
    }

    /// At least one server votes; the others vote, observe, or are left out.
    fn any_ensemble(&mut self, version: i64) -> Arc<Ensemble> {
        let all: Vec<_> = self.world.nodes.keys().map(|id| id.0).collect();
        let (mut voters, mut observers) = (Vec::new(), Vec::new());
        for id in &all {
            match self.dice.roll(6) {
                0 => {}
                1 => observers.push(*id),
                _ => voters.push(*id),
            }
        }
        if voters.is_empty() {
            voters = all;
            observers.clear();
        }
        ensemble(version, &voters, &observers)
    }

    fn make_trouble(&mut self) {
        let (a, b) = (self.any_server(), self.any_server());
        let is_up = self.world.nodes[&a].zab.is_some();
        let leader = self.world.leader().unwrap_or(a);
        match self.dice.roll(9) {
            0 | 1 if is_up => {
                let kept = self.dice.roll(6);
                self.world.crash(a, kept);
                if self.dice.one_in(2) {
                    self.world.tell_unreachable(a);
                }
            }
            0..=2 if !is_up => self.world.start(a),
            3 => {
                self.world.cut.insert((a, b));
            }
            4 => self.world.cut.clear(),
            5 => self.world.break_links(a, b),
            6 | 7 => self.world.break_links(leader, b),
            8 => self.world.purge(a),
            _ => {}
        }
    }

    fn all(&mut self) {
        let all: Vec<_> = self.world.nodes.keys().copied().collect();
        for id in all {
            self.world.start(id);
        }
        for _ in 0..600 {
            self.step();
        }
        self.heal();
    }

    /// Everything works again: the servers agree on one history that holds all that was ever
    /// delivered, and a new transaction commits.
    fn heal(&mut self) {
        self.world.cut.clear();
        let all: Vec<_> = self.world.nodes.keys().copied().collect();
        for id in &all {
            if self.world.nodes[id].zab.is_none() {
                self.world.start(*id);
            }
        }
        let is_idle = |node: &Node| matches!(node.role, Role::Looking);
        for _ in 0..100 {
            self.world.advance(50);
            if !self.world.nodes.values().any(is_idle) {
                break;
            }
        }
        let leader = self.world.leader();
        let leader = leader.unwrap_or_else(|| panic!("seed {}: nobody leads", self.seed));
        self.world.propose(leader, "last").unwrap();
        self.world.advance(200);
        let last = self.world.agreed.last().map(|record| record.txn.clone());
        assert_eq!(last.as_deref(), Some(&b"last"[..]), "the last one commits");
        for id in all {
            let state = zxids(&self.world.nodes[&id].state);
            assert_eq!(state, zxids(&self.world.agreed), "{} has it all", id.0);
            let disk = zxids(&self.world.nodes[&id].disk.history);
            assert_eq!(disk, zxids(&self.world.agreed), "{} has it on disk", id.0);
        }
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if std::thread::panicking() && !self.quiet {
            let is_told = |line: &&String| !line.contains(" PING ") && !line.ends_with(" PONG");
            let log: Vec<_> = self.world.log.iter().filter(is_told).collect();
            for line in &log[log.len().saturating_sub(60)..] {
                std::eprintln!("{line}");
            }
            for id in self.world.running() {
                std::eprintln!("{}: {:?}", id.0, self.world.zab(id).status());
            }
        }
    }
}

/// The same with a known bug.
#[cfg(feature = "rebreak")]
pub(super) fn run_with(seed: u64, rebreak: crate::rebreak::Rebreak) {
    let mut run = Run::new(seed);
    run.world.rebreak = rebreak;
    run.quiet = true;
    run.all();
}

fn run(seed: u64) {
    Run::new(seed).all();
}

fn run_all(seeds: core::ops::Range<u64>) {
    for seed in seeds {
        let outcome = std::panic::catch_unwind(|| run(seed));
        assert!(outcome.is_ok(), "seed {seed} failed, see above");
    }
}

#[test]
fn whatever_happens_nothing_committed_is_lost() {
    let count = std::env::var("ZAB_SEEDS").ok();
    let count = count.map_or(1_000, |count| count.parse().unwrap());
    let from = std::env::var("ZAB_FROM").map_or(0, |from| from.parse().unwrap());
    run_all(from..from + count);
}
