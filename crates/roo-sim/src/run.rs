//! A seed from its options to its verdict: a storm, then calm. In the storm nothing may ever be
//! wrong; in the calm every server must serve within a bounded time, and all of them the same.

use std::panic::{AssertUnwindSafe, catch_unwind};

use crate::invariants::Violation;
use crate::options::Options;
use crate::process::Process;
use crate::world::{Counts, World};

/// What a run came to.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The seed.
    pub seed: u64,
    /// What was broken, if anything was.
    pub violation: Option<Violation>,
    /// How much happened.
    pub counts: Counts,
    /// Equal for equal runs.
    pub trace: u64,
}

/// Runs a seed.
#[must_use]
pub fn run(options: Options, is_verbose: bool) -> Verdict {
    let seed = options.seed;
    let outcome = catch_unwind(AssertUnwindSafe(|| {
        let mut world = World::new(options);
        world.is_verbose = is_verbose;
        storm_and_calm(&mut world);
        Verdict {
            seed,
            violation: world.violation.clone(),
            counts: world.counts,
            trace: world.trace,
        }
    }));
    outcome.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
        Verdict {
            seed,
            violation: Some(Violation {
                invariant: "no panic",
                what: text.unwrap_or_else(|| "a panic".to_owned()),
            }),
            counts: Counts::default(),
            trace: 0,
        }
    })
}

fn storm_and_calm(world: &mut World) {
    world.run_until(world.options.duration_ms * 1000);
    if world.violation.is_some() {
        return;
    }
    world.calm();
    let bound_ms = patience_ms(&world.options);
    let began = world.now;
    let end = began + bound_ms * 1000;
    let mut asked = None;
    let before: Vec<u64> = world.clients.iter().map(|client| client.done).collect();
    while world.violation.is_none() {
        let next = world.now + 20_000;
        world.run_until(next);
        if serves(world) && asked.is_none() {
            if world.clients.is_empty() {
                asked = world.leader().and_then(|leader| world.propose(leader));
            } else if answers(world, &before) {
                world.is_quiet = true;
                asked = world
                    .leader()
                    .and_then(|at| world.servers[at].applied.last().copied());
            }
        }
        let has = |server: &&Process| {
            !server.is_up() || asked.is_some_and(|entry| server.applied.contains(&entry))
        };
        if asked.is_some() && members(world).iter().all(has) && serves(world) {
            return settle_sessions(world);
        }
        if world.now > end && world.violation.is_none() {
            world.violation = Some(Violation {
                invariant: "liveness",
                what: describe(world, bound_ms),
            });
        }
    }
}

/// Sessions that clients were told are no more must end: at most nobody has heard of them since.
fn settle_sessions(world: &mut World) {
    world.check_local_sessions();
    world.counts.upgrades = world.oracle.sessions.upgrades;
    let wrong = |world: &World| {
        let has_ended = |session| world.oracle.end_of(session).is_some();
        world.oracle.sessions.wrongly_denied(has_ended).next()
    };
    if wrong(world).is_none() {
        return;
    }
    let end = world.now + 2 * world.timeout_ms() * 1000;
    world.run_until(end);
    if let Some(session) = wrong(world) {
        let what = format!("a client was told that session {session} has ended, which lives");
        world.break_rule("sessions", what);
    }
}

/// How long a calm ensemble may take: a few elections with every timeout run to its end.
pub(crate) fn patience_ms(options: &Options) -> u64 {
    let election = options.max_notification_ms + options.finalize_wait_ms;
    let round = (options.init_limit + options.sync_limit) * options.tick_ms + election;
    let disk_and_net = options.delay_max_us + options.sync_max_us;
    6 * round + disk_and_net / 5 + 2_000
}

/// The servers of the ensemble in force: others may be left alone.
fn members(world: &World) -> Vec<&Process> {
    let Some(ensemble) = world.in_force() else {
        return world.servers.iter().collect();
    };
    let is_member = |server: &&Process| ensemble.members.contains_key(&server.id);
    world.servers.iter().filter(is_member).collect()
}

/// Whether every server of the ensemble in force that can run serves in one epoch.
fn serves(world: &World) -> bool {
    let Some(leader) = world.leader() else {
        return false;
    };
    let epoch = world.servers[leader].epoch();
    members(world)
        .iter()
        .all(|server| (!server.is_up() && server.is_damaged) || server.epoch() == epoch)
}

/// Whether every client got an answer to a write since then.
fn answers(world: &World, before: &[u64]) -> bool {
    let pairs = world.clients.iter().zip(before);
    pairs
        .into_iter()
        .all(|(client, before)| client.done > *before)
}

fn describe(world: &World, bound_ms: u64) -> String {
    let mut text = format!("not all servers serve {bound_ms} ms after the storm:");
    for server in &world.servers {
        let phase = server.zab().map(|zab| zab.status().phase);
        text.push_str(&format!(
            " {}: {:?} {:?} applied {};",
            server.id.0,
            server.role,
            phase,
            server.applied.len()
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fifty_seeds_hold() {
        let mut counts = Counts::default();
        for seed in 1..=50 {
            let mut options = Options::draw(seed);
            options.duration_ms = 2_000;
            let verdict = run(options, false);
            assert_eq!(verdict.violation, None, "seed {seed}");
            counts.add(&verdict.counts);
        }
        assert!(counts.committed > 1_000, "{counts:?}");
        assert!(counts.crashes > 50, "{counts:?}");
        assert!(counts.epochs > 50, "{counts:?}");
        assert!(counts.reconfigurations > 20, "{counts:?}");
        assert!(counts.upgrades > 10, "{counts:?}");
        assert!(counts.answers_of_leaders > 100, "{counts:?}");
    }

    #[test]
    fn a_seed_is_one_run() {
        for seed in [3, 4] {
            let first = run(Options::draw(seed), false);
            let second = run(Options::draw(seed), false);
            assert_eq!(first.trace, second.trace);
            assert_eq!(first.counts, second.counts);
            assert_ne!(first.trace, 0);
        }
    }
}
