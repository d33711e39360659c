//! The recipes of the client over a whole ensemble with every fault: users that hold, count, queue,
//! lead and watch, while servers crash and users stand still, die and lose their connections with
//! requests and replies on the way. Then calm: everybody must finish, and all must fit together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use crate::invariants::Violation;
use crate::options::Options;
use crate::rng::Rng;
use crate::run::Verdict;
use crate::users::UserFaults;
use crate::world::{Counts, World};

#[cfg(test)]
mod committed;
pub mod followers;
pub mod gatherings;
pub mod ledger;
pub mod naive;
pub mod workload;

use ledger::Ledger;
use naive::Naive;
use workload::{ARRIVE, Shared};

/// What a run came to.
#[derive(Debug)]
pub struct Outcome {
    /// As of other runs.
    pub verdict: Verdict,
    /// How often each thing was done.
    pub done: Vec<(&'static str, u64)>,
}

/// The options of a seed: an ensemble that serves clients, of whom one is the simulator's own.
#[must_use]
pub fn options(seed: u64) -> Options {
    let mut options = Options::draw(seed);
    options.clients = 1;
    options.duration_ms = options.duration_ms.min(6_000);
    options
}

/// What is not drawn from the seed.
#[derive(Clone, Copy, Debug, Default)]
struct Plan {
    naive: Option<Naive>,
    /// How many users do what, a bit for each recipe.
    users: Option<(usize, u64)>,
}

/// Runs a seed.
#[must_use]
pub fn run(seed: u64, naive: Option<Naive>, is_verbose: bool) -> Outcome {
    let plan = Plan {
        naive,
        ..Plan::default()
    };
    run_plan(seed, plan, is_verbose)
}

fn run_plan(seed: u64, plan: Plan, is_verbose: bool) -> Outcome {
    let outcome = catch_unwind(AssertUnwindSafe(|| run_world(seed, plan, is_verbose)));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        let violation = Violation {
            invariant: "no panic",
            what: text.unwrap_or_else(|| "a panic".to_owned()),
        };
        Outcome {
            verdict: Verdict {
                seed,
                violation: Some(violation),
                counts: Counts::default(),
                trace: 0,
            },
            done: Vec::new(),
        }
    })
}

/// Whether a seed shows that something is done wrongly, by the rule that it breaks.
#[must_use]
pub fn is_seen(seed: u64, naive: Naive, rule: &str) -> bool {
    let violation = run(seed, Some(naive), false).verdict.violation;
    violation.is_some_and(|violation| violation.invariant == rule)
}

fn run_world(seed: u64, plan: Plan, is_verbose: bool) -> Outcome {
    let mut rng = Rng::new(seed ^ 0x7E57_0F0A_0710_0500);
    let mut world = World::new(options(seed));
    world.is_verbose = is_verbose;
    let faults = UserFaults {
        cuts: rng.pick(&[0, 1_000, 5_000, 20_000]),
        pauses: rng.pick(&[0, 500, 2_000]),
        pause_max_ms: rng.pick(&[20, 300, 3_000]),
        deaths: rng.pick(&[0, 200, 1_000]),
    };
    let mix = match plan.naive {
        Some(_) => u64::MAX,
        None => rng.next_u64() | rng.next_u64(),
    };
    let (users, mix) = plan.users.unwrap_or((rng.pick(&[2, 3, 4, 6]), mix));
    let shared = Arc::new(Shared {
        naive: plan.naive,
        mix,
        ..Shared::default()
    });
    let known = Arc::clone(&shared);
    let program =
        move |user, life, client: &_, desk: &_| workload::program(&known, user, life, client, desk);
    world.recipes = Some(Arc::clone(&shared));
    world.add_users(users, faults, Arc::new(program));
    storm_and_calm(&mut world, &shared);
    let mut done: Vec<_> = shared
        .ledger()
        .counts
        .iter()
        .map(|(k, v)| (*k, *v))
        .collect();
    done.push(("cuts of users", world.users.cuts));
    done.push(("lives of users", world.users.lives));
    Outcome {
        verdict: Verdict {
            seed,
            violation: world.violation.clone(),
            counts: world.counts,
            trace: world.trace,
        },
        done,
    }
}

fn storm_and_calm(world: &mut World, shared: &Shared) {
    world.run_until(world.options.duration_ms * 1000);
    if world.violation.is_some() {
        return;
    }
    world.calm();
    world.end_users();
    // Sessions of the dead must expire, and each user's turn in each line come.
    let bound_ms = crate::run::patience_ms(&world.options) * 4 + world.options.tick_ms * 15 * 8;
    let end = world.now + bound_ms * 1000;
    while world.violation.is_none() && !world.are_users_finished() {
        let next = world.now + 20_000;
        world.run_until(next);
        if world.now > end && world.violation.is_none() {
            let doing = shared.ledger().doing.clone();
            let users = world.describe_users();
            let nodes: Vec<String> = ["/lock/", "/rw/", "/lead/", "/sem/", "/q/", "/q-locks/"]
                .iter()
                .flat_map(|below| world.oracle.present_below(below))
                .map(str::to_owned)
                .collect();
            let what = format!(
                "not finished {bound_ms} ms after the storm: {doing:?}; {users}; {nodes:?}"
            );
            let is_behind = doing.iter().any(|(_, what)| ARRIVE.contains(what));
            let rule = match is_behind {
                true => "last change",
                false => "liveness of users",
            };
            world.break_rule(rule, what);
        }
    }
    // What the dead held goes with their sessions. Not everything had to be waited for.
    let end = world.now + world.options.tick_ms * 15 * 4 * 1000;
    while world.violation.is_none() && world.now < end && Ledger::leftover(&world.oracle).is_some()
    {
        let next = world.now + 20_000;
        world.run_until(next);
    }
    if world.violation.is_none()
        && let Err((rule, what)) = shared.ledger().check_all(&world.oracle)
    {
        world.break_rule(rule, what);
    }
}

impl World {
    /// Checks what users claim to hold.
    pub(crate) fn check_users(&mut self) {
        if let Some(shared) = self.recipes.clone()
            && let Err((rule, what)) = shared.ledger().check(&self.oracle)
        {
            self.break_rule(rule, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_one_run() {
        let (first, second) = (run(3, None, false), run(3, None, false));
        assert_eq!(first.verdict.violation, None);
        assert_eq!(first.verdict.trace, second.verdict.trace);
        assert_eq!(first.done, second.done);
        assert_ne!(first.verdict.trace, 0);
    }

    /// Members of a double barrier, of whom some come late, at servers that are behind.
    #[test]
    fn nobody_has_left_before_one_whom_its_server_has_yet_to_show() {
        let plan = Plan {
            users: Some((6, 1 << 10)),
            ..Plan::default()
        };
        for seed in [217, 2633] {
            assert_eq!(run_plan(seed, plan, false).verdict.violation, None);
        }
    }
}
