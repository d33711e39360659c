//! Known bugs are put back, one at a time: the random runs must see each of them.

use std::string::String;
use std::vec::Vec;

use super::random;
use crate::rebreak::{Bug, Rebreak};

/// Runs in which a bug must be seen.
const BUDGET: u64 = 3_000;

fn seed_that_sees(bug: Bug) -> Option<u64> {
    (0..BUDGET).find(|seed| {
        let rebreak = Rebreak::with(bug);
        std::panic::catch_unwind(|| random::run_with(*seed, rebreak)).is_err()
    })
}

#[test]
fn every_bug_is_seen() {
    std::panic::set_hook(std::boxed::Box::new(|_| {}));
    let bugs = [
        Bug::Zk2355,
        Bug::Zk3023,
        Bug::Zk3104,
        Bug::Zk3642,
        Bug::Zk3911,
        Bug::Zk4394,
        Bug::Zk4643,
        Bug::Zk4646,
        Bug::Zk4685,
        Bug::Zk4712,
        Bug::Zk4785,
        Bug::Zk4925,
        Bug::Zk5094,
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
