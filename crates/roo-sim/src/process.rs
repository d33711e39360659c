//! One server: roo-zab's algorithm over opaque transactions, its disk, its clock, and a state that
//! is nothing but the list of what was applied. Executes effects as the real shell does: in order
//! and at once; what takes time goes to [`crate::storage`].

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Time, Zxid};
use roo_state::state::State;
use roo_zab::config::{Config, Recovered};
use roo_zab::effect::Role;
use roo_zab::message::LinkId;
use roo_zab::{Effect, Event, Zab};

use crate::fact::Entry;
use crate::options::Options;
use crate::storage::{Found, Storage};
use crate::whole::{self, Act, Whole};

/// A clock that runs too fast or too slow: local time is a straight line over the world's.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    anchor_us: u64,
    local_us: u64,
    /// Local microseconds in a thousand of the world's.
    pub rate: u64,
}

impl Clock {
    /// A clock that shows some time of its own.
    #[must_use]
    pub const fn new(local_us: u64) -> Self {
        Self {
            anchor_us: 0,
            local_us,
            rate: 1000,
        }
    }

    fn local(&self, world_us: u64) -> u64 {
        self.local_us + (world_us - self.anchor_us) * self.rate / 1000
    }

    /// What it shows.
    #[must_use]
    pub fn time(&self, world_us: u64) -> Time {
        Time(self.local(world_us) / 1000)
    }

    /// When it shows this.
    #[must_use]
    pub fn when(&self, time: Time, world_us: u64) -> u64 {
        let ahead = (time.0 * 1000).saturating_sub(self.local(world_us));
        world_us + (ahead * 1000).div_ceil(self.rate)
    }

    /// It runs at another rate from now on.
    pub fn set_rate(&mut self, world_us: u64, rate: u64) {
        self.local_us = self.local(world_us);
        self.anchor_us = world_us;
        self.rate = rate;
    }
}

/// A snapshot that is being received.
#[derive(Clone, Debug)]
pub struct Receiving {
    /// Of the `Snap` packet.
    pub zxid: Zxid,
    /// What has come.
    pub body: Vec<u8>,
    /// Whether all of it has.
    pub is_whole: bool,
    /// Whether the algorithm wants it.
    pub is_wanted: bool,
}

/// A snapshot that is being sent.
#[derive(Clone, Debug)]
pub struct Sending {
    /// Of the state.
    pub zxid: Zxid,
    /// Bytes in all.
    pub length: u64,
    /// What is still to be sent, in parts; `None` before the state is looked at.
    pub parts: Option<VecDeque<Vec<u8>>>,
}

/// What runs in a process.
#[derive(Debug)]
pub enum Brain {
    /// The algorithm alone, over opaque transactions.
    Zab(Box<Zab>),
    /// A whole server.
    Whole(Box<Whole>),
}

/// See the module.
#[derive(Debug)]
pub struct Process {
    /// Its id.
    pub id: ServerId,
    /// Which of its lives this is.
    pub life: u64,
    /// What runs in it; `None` while the process is down.
    pub brain: Option<Brain>,
    /// Stopped, with everything that arrives waiting.
    pub paused: bool,
    /// Refuses to start, because its disk is damaged.
    pub is_damaged: bool,
    /// What arrived while it was paused.
    pub inbox: VecDeque<Event>,
    /// Its clock.
    pub clock: Clock,
    /// How far its wall clock is ahead of the world's, ms.
    pub wall_ahead_ms: i64,
    /// Its disk.
    pub storage: Storage,
    /// Ids of links that it accepts.
    pub next_accepted: u64,
    /// How many effects it will execute before it crashes.
    pub crash_in: Option<u64>,
    /// The role, as clients see it.
    pub role: Role,
    /// What was applied.
    pub applied: Vec<Entry>,
    /// The state's zxid.
    pub state_zxid: Zxid,
    /// What was appended, in memory.
    pub log: Vec<Entry>,
    /// What the log was before a cut or an installation that is under way.
    pub old_log: Option<Vec<Entry>>,
    /// What is certainly on disk.
    pub durable: Vec<Entry>,
    /// Of the deadline that is armed.
    pub deadline: Option<u64>,
    /// Where a snapshot began that has the content of its end, which is a bug: its zxid, and the
    /// number of transactions.
    pub fuzzy: Option<(Zxid, usize)>,
    /// Snapshots on their way in.
    pub receiving: BTreeMap<LinkId, Receiving>,
    /// Snapshots on their way out.
    pub sending: BTreeMap<LinkId, Sending>,
    /// Which lane of the storage epochs take.
    pub epoch_lane: usize,
    /// The version of the ensemble that the disk says is in force.
    pub safe_version: i64,
    /// What was last told of the ensembles: the life and the versions in force and proposed, and
    /// the epoch that it leads.
    pub told: Option<(u64, i64, i64, Option<u32>)>,
}

impl Process {
    /// A server that has never run, and the ensemble that its configuration names.
    #[must_use]
    pub fn new(id: ServerId, options: &Options, clock: Clock, first: Arc<Ensemble>) -> Self {
        Self {
            id,
            life: 0,
            brain: None,
            paused: false,
            is_damaged: false,
            inbox: VecDeque::new(),
            clock,
            wall_ahead_ms: 0,
            storage: Storage::new(
                options.segment_bytes,
                if options.clients > 0 {
                    whole::initial_state()
                } else {
                    Vec::new()
                },
                first,
                options.reconfigurations > 0,
            ),
            next_accepted: 1,
            crash_in: None,
            role: Role::Looking,
            applied: Vec::new(),
            state_zxid: Zxid::ZERO,
            log: Vec::new(),
            old_log: None,
            durable: Vec::new(),
            deadline: None,
            fuzzy: None,
            receiving: BTreeMap::new(),
            sending: BTreeMap::new(),
            epoch_lane: usize::from(options.are_epochs_apart()),
            safe_version: 0,
            told: None,
        }
    }

    /// Whether it runs, paused or not.
    #[must_use]
    pub const fn is_up(&self) -> bool {
        self.brain.is_some()
    }

    /// The algorithm.
    #[must_use]
    pub fn zab(&self) -> Option<&Zab> {
        match self.brain.as_ref()? {
            Brain::Zab(zab) => Some(zab),
            Brain::Whole(whole) => whole.replica.zab(),
        }
    }

    /// The whole server, if it is one.
    pub fn whole(&mut self) -> Option<&mut Whole> {
        match self.brain.as_mut()? {
            Brain::Zab(_) => None,
            Brain::Whole(whole) => Some(whole),
        }
    }

    /// When its next deadline is.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        match self.brain.as_ref()? {
            Brain::Zab(zab) => zab.next_deadline(),
            Brain::Whole(whole) => whole.replica.next_deadline(),
        }
    }

    /// The epoch in which it serves.
    #[must_use]
    pub const fn epoch(&self) -> Option<u32> {
        match self.role {
            Role::Looking => None,
            Role::Leading { epoch }
            | Role::Following { epoch, .. }
            | Role::Observing { epoch, .. } => Some(epoch),
        }
    }

    /// It starts with what its disk holds.
    pub fn boot(
        &mut self,
        found: &Found,
        options: &Options,
        now: Time,
        state: Option<State>,
        acts: &mut Vec<Act>,
    ) {
        self.applied.clone_from(&found.entries);
        self.log.clone_from(&found.entries);
        self.durable.clone_from(&found.entries);
        self.old_log = None;
        self.state_zxid = found.last;
        self.role = Role::Looking;
        self.deadline = None;
        let recovered = Recovered {
            accepted_epoch: found.epochs.accepted,
            current_epoch: found.epochs.current,
            last_zxid: found.last,
            ensemble: Arc::clone(&found.ensemble),
            next_ensemble: found.next_ensemble.clone(),
        };
        let mut zab = Zab::new(config(self.id, options), recovered, now);
        #[cfg(feature = "rebreak")]
        if let Some(bug) = options.bug {
            zab.set_rebreak(roo_zab::rebreak::Rebreak::with(bug));
        }
        let Some(state) = state else {
            let mut effects: Vec<Effect> = Vec::new();
            zab.start(now, &mut effects);
            acts.extend(effects.into_iter().map(Act::Zab));
            self.brain = Some(Brain::Zab(Box::new(zab)));
            return;
        };
        let mut whole = Whole::new(options, zab, self.id.0, self.life, state, now);
        whole.start(now, acts);
        self.brain = Some(Brain::Whole(Box::new(whole)));
    }

    /// It is gone; what is on its disk stays.
    pub fn stop(&mut self) {
        self.brain = None;
        self.life += 1;
        self.paused = false;
        self.inbox.clear();
        self.crash_in = None;
        self.role = Role::Looking;
        self.deadline = None;
        self.fuzzy = None;
        self.receiving.clear();
        self.sending.clear();
        self.storage.stop();
    }
}

/// What the options say to roo-zab.
#[must_use]
pub fn config(me: ServerId, options: &Options) -> Config {
    Config {
        me,
        tick_ms: options.tick_ms,
        init_limit: options.init_limit,
        sync_limit: options.sync_limit,
        finalize_wait_ms: options.finalize_wait_ms,
        min_notification_ms: options.min_notification_ms,
        max_notification_ms: options.max_notification_ms,
        connect_retry_ms: options.connect_retry_ms,
        commit_log_count: options.commit_log_count,
        commit_log_bytes: usize::MAX,
        force_snapshot_sync: options.force_snapshot_sync,
        reconfig_enabled: options.reconfigurations > 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_shows_a_time_when_it_says_so() {
        let mut clock = Clock::new(5_000_000);
        clock.set_rate(1_000_000, 800);
        for ms in [6_801, 7_000, 9_999] {
            let when = clock.when(Time(ms), 2_000_000);
            assert_eq!(clock.time(when), Time(ms));
            assert!(clock.time(when - 2).0 < ms);
        }
    }
}
