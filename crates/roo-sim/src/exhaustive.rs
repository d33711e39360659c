//! Every run of three servers and four transactions in which at most so many things go wrong, each
//! at any moment: instead of many runs by chance. Over roo-zab alone, with the same invariants.
//!
//! Without disruptions messages, disks and timeouts take their turns in rounds, in a fixed order. A
//! disruption is a crash (with what was on its way to the disk lost, or all there), a partition
//! (one server is cut off), or a delay (whatever is next comes a round later). The search tries
//! each of them before every step that touches its server: before any other step it leads to what
//! it leads to behind that step. A state that was seen with as much left, or more, is not gone
//! through again, however it came about. This is complete for its bound and for that order of
//! turns: it is not every interleaving, which takes as many delays as there are messages.
//! Sources: Emmi, Qadeer, Rakamaric, "Delay-Bounded Scheduling", POPL 2011; Godefroid,
//! "Partial-Order Methods for the Verification of Concurrent Systems", LNCS 1032.

mod model;

use std::collections::HashMap;
use std::hash::BuildHasherDefault;
use std::time::Instant;

use crate::fact::Mixer;
use crate::invariants::Violation;
use crate::options::Options;
use model::{Disruption, Model};

/// What may go wrong in one run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Crashes.
    pub crashes: u32,
    /// Partitions.
    pub partitions: u32,
    /// Delays.
    pub delays: u32,
    /// All of them together.
    pub disruptions: u32,
}

impl Budget {
    /// Whether nothing can go wrong under the other one that cannot under this one.
    const fn covers(self, other: Self) -> bool {
        self.crashes >= other.crashes
            && self.partitions >= other.partitions
            && self.delays >= other.delays
            && self.disruptions >= other.disruptions
    }

    /// In four bits each; never 0.
    fn packed(self) -> u16 {
        let all = self.disruptions + 1;
        let parts = [self.crashes, self.partitions, self.delays, all];
        parts.iter().fold(0, |packed, part| {
            (packed << 4) | u16::try_from(*part.min(&15)).unwrap_or(15)
        })
    }

    fn unpacked(packed: u16) -> Self {
        let part = |shift: u32| u32::from(packed >> shift & 15);
        Self {
            crashes: part(12),
            partitions: part(8),
            delays: part(4),
            disruptions: part(0).saturating_sub(1),
        }
    }
}

/// With which budgets a state was gone through: the largest, as far as there is room. 0 is none.
#[derive(Clone, Copy, Debug, Default)]
struct Seen([u16; 3]);

impl Seen {
    /// Whether this is new; from now on it is not.
    fn add(&mut self, budget: Budget) -> bool {
        let is_used = |packed: &&u16| **packed != 0;
        let known = self.0.iter().filter(is_used);
        if known
            .copied()
            .map(Budget::unpacked)
            .any(|k| k.covers(budget))
        {
            return false;
        }
        for place in &mut self.0 {
            if budget.covers(Budget::unpacked(*place)) {
                *place = 0;
            }
        }
        let free = self.0.iter().position(|place| *place == 0);
        // Where there is no room, more is gone through than need be.
        self.0[free.unwrap_or(2)] = budget.packed();
        true
    }
}

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Runs that were followed to their end.
    pub runs: u64,
    /// Steps in all of them.
    pub steps: u64,
    /// Those that ended in a state that was seen before.
    pub seen_before: u64,
    /// Different states that were looked at.
    pub states: usize,
    /// Whether everything within the bound was tried.
    pub is_complete: bool,
    /// What was broken, and by which disruptions.
    pub violation: Option<(Violation, Vec<String>)>,
}

struct Search {
    seen: HashMap<u64, Seen, BuildHasherDefault<Mixer>>,
    outcome: Outcome,
    end: Option<Instant>,
    path: Vec<String>,
}

/// Tries everything within a budget, until a moment if there is one.
#[must_use]
pub fn search(options: &Options, budget: Budget, end: Option<Instant>) -> Outcome {
    let mut search = Search {
        seen: HashMap::default(),
        outcome: Outcome {
            is_complete: true,
            ..Outcome::default()
        },
        end,
        path: Vec::new(),
    };
    search.follow(Model::new(options), budget);
    search.outcome.states = search.seen.len();
    search.outcome
}

impl Search {
    /// Follows a run to its end or to a state that was seen, and then what disruptions make of it
    /// before each of its steps. The run first: what is seen with more left need not be gone
    /// through with less.
    fn follow(&mut self, mut model: Model, budget: Budget) {
        let mut stations = Vec::new();
        let mut is_looked_at = true;
        loop {
            if self.is_over() {
                return;
            }
            // Where nothing can go wrong any more looking costs more than going on; runs meet where
            // nothing is under way.
            if is_looked_at && !self.is_new(&mut model, budget) {
                self.outcome.seen_before += 1;
                break;
            }
            if budget.disruptions > 0 {
                stations.push(model.clone());
            }
            self.outcome.steps += 1;
            let goes_on = model.step();
            if let Some(violation) = model.violation.take() {
                self.outcome
                    .violation
                    .get_or_insert((violation, self.path.clone()));
                return;
            }
            if !goes_on {
                self.outcome.runs += 1;
                break;
            }
            is_looked_at = budget.disruptions > 0 || model.is_quiet();
        }
        for station in stations {
            for disruption in station.disruptions(budget) {
                self.branch(&station, disruption, budget);
            }
        }
    }

    fn is_new(&mut self, model: &mut Model, budget: Budget) -> bool {
        let seen = self.seen.entry(model.fingerprint()).or_default();
        seen.add(budget)
    }

    fn is_over(&mut self) -> bool {
        if self.end.is_some_and(|end| Instant::now() >= end) {
            self.outcome.is_complete = false;
        }
        self.outcome.violation.is_some() || !self.outcome.is_complete
    }

    fn branch(&mut self, model: &Model, disruption: Disruption, budget: Budget) {
        let mut other = model.clone();
        let left = other.disrupt(disruption, budget);
        self.path
            .push(format!("before step {}: {disruption:?}", model.steps));
        self.follow(other, left);
        self.path.pop();
    }
}

/// The ensemble that is searched.
#[must_use]
pub fn options() -> Options {
    let mut options = Options::draw(0);
    options.voters = 3;
    options.observers = 0;
    options.tick_ms = 100;
    options.init_limit = 5;
    options.sync_limit = 2;
    options.finalize_wait_ms = 0;
    options.min_notification_ms = 200;
    options.max_notification_ms = 200;
    options.connect_retry_ms = 10;
    options.commit_log_count = 2;
    options.force_snapshot_sync = false;
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_breaks_whatever_single_thing_goes_wrong_whenever() {
        let budget = Budget {
            crashes: 1,
            partitions: 1,
            delays: 1,
            disruptions: 1,
        };
        let outcome = search(&options(), budget, None);
        assert!(outcome.violation.is_none(), "{:?}", outcome.violation);
        assert!(outcome.is_complete);
        assert!(outcome.states > 500, "{outcome:?}");
    }

    #[test]
    fn a_state_is_gone_through_again_only_with_more_left() {
        let budget = |crashes, partitions| Budget {
            crashes,
            partitions,
            delays: 0,
            disruptions: crashes + partitions,
        };
        let mut seen = Seen::default();
        assert!(seen.add(budget(1, 1)));
        assert!(!seen.add(budget(1, 1)) && !seen.add(budget(0, 1)));
        assert!(seen.add(budget(2, 0)));
        assert!(seen.add(budget(2, 1)));
        assert!(!seen.add(budget(1, 1)) && !seen.add(budget(2, 0)));
        assert_eq!(Budget::unpacked(budget(3, 2).packed()), budget(3, 2));
        // Nothing left is something too.
        let mut seen = Seen::default();
        assert!(seen.add(budget(0, 0)));
        assert!(!seen.add(budget(0, 0)));
    }
}
