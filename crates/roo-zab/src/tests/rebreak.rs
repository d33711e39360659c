//! Known bugs are put back, one at a time, and must be seen: most of them by chance, three in
//! scenarios that chance seldom makes.

use std::string::String;
use std::vec::Vec;

use roo_proto::ids::ServerId;

use super::harness::{World, config, ensemble};
use super::random;
use crate::message::NO_VOTE;
use crate::rebreak::{Bug, Rebreak};
use crate::status::Phase;

/// Runs in which a bug must be seen.
const BUDGET: u64 = 3_000;

fn seed_that_sees(bug: Bug) -> Option<u64> {
    (0..BUDGET).find(|seed| {
        let rebreak = Rebreak::with(bug);
        is_seen(|| random::run_with(*seed, rebreak))
    })
}

fn is_seen(run: impl FnOnce() + std::panic::UnwindSafe) -> bool {
    std::panic::set_hook(std::boxed::Box::new(|_| {}));
    std::panic::catch_unwind(run).is_err()
}

#[test]
fn chance_finds_most_bugs() {
    let bugs = [
        Bug::Zk2355,
        Bug::Zk3023,
        Bug::Zk3642,
        Bug::Zk3911,
        Bug::Zk4394,
        Bug::Zk4643,
        Bug::Zk4685,
        Bug::Zk4712,
        Bug::Zk4785,
        Bug::Zk4925,
    ];
    let mut missed: Vec<String> = Vec::new();
    for bug in bugs {
        let seed = seed_that_sees(bug);
        std::eprintln!("{bug:?}: {seed:?}");
        if seed.is_none() {
            missed.push(std::format!("{bug:?}"));
        }
    }
    assert!(missed.is_empty(), "not seen: {missed:?}");
}

fn three_servers(rebreak: Rebreak) -> World {
    let mut world = World::new(config(NO_VOTE));
    world.rebreak = rebreak;
    let ensemble = ensemble(0, &[1, 2, 3], &[]);
    for id in 1..=3 {
        world.add(ServerId(id), &ensemble);
    }
    world
}

/// Leader 3 has a record that nobody else has. 1 takes it over, and its disk does not keep it.
fn the_only_other_copy_is_not_durable(rebreak: Rebreak) {
    let [one, two, three] = [1, 2, 3].map(ServerId);
    let mut world = three_servers(rebreak);
    for id in [one, two, three] {
        world.start(id);
    }
    world.advance(500);
    world.propose(three, "a").unwrap();
    world.settle();
    world.cut.extend([(three, one), (three, two)]);
    world.propose(three, "b").unwrap();
    world.settle();
    for id in [three, two, one] {
        world.lose_sent(id);
        world.crash(id, usize::MAX);
    }
    world.cut.clear();
    world.start(one);
    world.start(three);
    while world.zab(one).status().phase != Phase::AwaitSync {
        world.step_once();
    }
    world.held_disks.insert(one);
    world.advance(50);
    for id in [three, one] {
        world.lose_sent(id);
        world.crash(id, 0);
    }
    world.held_disks.clear();
    world.start(one);
    world.start(two);
    world.advance(500);
}

/// 2 leads with a record that it has not delivered; the learner gets a snapshot without it.
fn a_snapshot_lacks_a_record(rebreak: Rebreak) {
    let [one, two, three] = [1, 2, 3].map(ServerId);
    let mut world = three_servers(rebreak);
    world.start(two);
    world.start(three);
    world.advance(500);
    world.propose(three, "a").unwrap();
    world.settle();
    // b is committed by 2 and 3, and 2 does not hear of that.
    world.propose(three, "b").unwrap();
    while world.zab(three).status().committed != world.zab(three).status().last_proposed {
        world.step_once();
    }
    world.lose_sent(three);
    world.crash(three, usize::MAX);
    world.start(one);
    while world.zab(one).status().phase != Phase::AwaitUpToDate {
        world.step_once();
    }
    // 1 has acknowledged the epoch. What it has not on disk it loses.
    world.held_disks.insert(one);
    world.settle();
    for id in [two, one] {
        world.lose_sent(id);
        world.crash(id, 0);
    }
    world.held_disks.clear();
    world.start(one);
    world.start(three);
    world.advance(500);
}

/// 2 has a record that is not committed and is told to drop it, when its leader dies.
fn a_truncation_is_interrupted(rebreak: Rebreak) {
    let [one, two, three] = [1, 2, 3].map(ServerId);
    let mut world = three_servers(rebreak);
    for id in [one, two, three] {
        world.start(id);
    }
    world.advance(500);
    world.propose(three, "a").unwrap();
    world.settle();
    world.held_acks.extend([one, two]);
    world.cut.insert((three, one));
    world.propose(three, "b").unwrap();
    world.settle();
    world.break_links(two, three);
    while world.zab(two).status().phase != Phase::AwaitTruncated {
        world.step_once();
    }
    world.held_disks.insert(two);
    world.lose_sent(three);
    world.crash(three, usize::MAX);
    world.cut.clear();
    world.held_acks.clear();
    world.settle();
    world.held_disks.clear();
    world.advance(500);
    let leader = world.leader().unwrap();
    world.propose(leader, "c").unwrap();
    world.settle();
    world.crash(two, usize::MAX);
    world.start(two);
    world.advance(500);
}

#[test]
fn a_forgotten_truncation_leaves_a_hole() {
    a_truncation_is_interrupted(Rebreak::default());
    assert!(is_seen(|| a_truncation_is_interrupted(Rebreak::with(
        Bug::Zk5094
    ))));
}

#[test]
fn an_epoch_that_is_acknowledged_too_early_loses_a_record() {
    the_only_other_copy_is_not_durable(Rebreak::default());
    assert!(is_seen(|| the_only_other_copy_is_not_durable(
        Rebreak::with(Bug::Zk4646)
    )));
}

#[test]
fn newleader_before_the_end_of_the_history_loses_a_record() {
    a_snapshot_lacks_a_record(Rebreak::default());
    assert!(is_seen(|| a_snapshot_lacks_a_record(Rebreak::with(
        Bug::Zk3104
    ))));
}
