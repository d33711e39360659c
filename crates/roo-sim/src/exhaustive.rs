//! Every run of three servers and four transactions in which at most so many things go wrong, each
//! at any moment: instead of many runs by chance. Over roo-zab alone, with the same invariants.
//!
//! Without disruptions messages, disks and timeouts take their turns in the order in which they
//! were caused. A disruption is a crash (with what was on its way to the disk lost, or all there),
//! a partition (one server is cut off), or a delay (whatever is next comes last). The search
//! tries each of them before every step, and again behind that one, up to the bound; states that
//! were seen with as much left are not gone through again. Orders that take more delays than the
//! bound are not seen: this is delay-bounded search, not every interleaving.
//! Source: Emmi, Qadeer, Rakamaric, "Delay-Bounded Scheduling", POPL 2011.

mod model;

use std::collections::HashSet;
use std::time::Instant;

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

/// What a search came to.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// Runs that were followed to their end.
    pub runs: u64,
    /// Steps in all of them.
    pub steps: u64,
    /// States at which a disruption led to something seen before.
    pub seen_before: u64,
    /// Whether everything within the bound was tried.
    pub is_complete: bool,
    /// What was broken, and by which disruptions.
    pub violation: Option<(Violation, Vec<String>)>,
}

struct Search {
    seen: HashSet<u64>,
    outcome: Outcome,
    end: Option<Instant>,
    path: Vec<String>,
}

/// Tries everything within a budget, until a moment if there is one.
#[must_use]
pub fn search(options: &Options, budget: Budget, end: Option<Instant>) -> Outcome {
    let mut search = Search {
        seen: HashSet::new(),
        outcome: Outcome {
            is_complete: true,
            ..Outcome::default()
        },
        end,
        path: Vec::new(),
    };
    search.follow(Model::new(options), budget);
    search.outcome
}

impl Search {
    /// Follows a run to its end, and before each step those that a disruption makes of it.
    fn follow(&mut self, mut model: Model, budget: Budget) {
        loop {
            if self.outcome.violation.is_some() {
                return;
            }
            if self.end.is_some_and(|end| Instant::now() >= end) {
                self.outcome.is_complete = false;
                return;
            }
            if budget.disruptions > 0 {
                for disruption in model.disruptions(budget) {
                    self.branch(&model, disruption, budget);
                }
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
                return;
            }
        }
    }

    fn branch(&mut self, model: &Model, disruption: Disruption, budget: Budget) {
        if self.outcome.violation.is_some() {
            return;
        }
        let mut other = model.clone();
        let left = other.disrupt(disruption, budget);
        if !self.seen.insert(other.fingerprint(left)) {
            self.outcome.seen_before += 1;
            return;
        }
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
        assert!(outcome.runs > 200, "{outcome:?}");
    }
}
