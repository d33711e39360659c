//! Sequences for the reaper: containers and TTL nodes of which it is certain, whatever the moment
//! of a check, which are collected in the end and which stay. Nothing that may be collected
//! meanwhile is asked for.

use super::random::Random;
use super::steps::{Sent, Step};
use crate::wire::Out;

/// Makes one sequence after the other, each below a node of its own.
#[derive(Debug, Default)]
pub struct Collections {
    made: u32,
}

const PERSISTENT: (i32, i32) = (1, 0);
const EPHEMERAL: (i32, i32) = (15, 1);
const CONTAINER: (i32, i32) = (19, 4);
const TTL: (i32, i32) = (21, 5);

/// Longer than any test, and nothing.
const LONG: i64 = 99_999_999;
const SHORT: i64 = 1;

const OPEN: &[(i32, &str, &str)] = &[(31, "world", "anyone")];
/// Whoever collects is not asked for a permission.
const READ_ONLY: &[(i32, &str, &str)] = &[(1, "world", "anyone")];

fn create(path: &str, (op, flags): (i32, i32), ttl: i64) -> Sent {
    create_with(path, (op, flags), ttl, OPEN)
}

fn create_with(path: &str, (op, flags): (i32, i32), ttl: i64, acl: &[(i32, &str, &str)]) -> Sent {
    let mut out = Out::default()
        .text(path)
        .text("data")
        .int(i32::try_from(acl.len()).unwrap_or(0));
    for (perms, scheme, id) in acl {
        out = out.int(*perms).text(scheme).text(id);
    }
    out = out.int(flags);
    (op, if op == TTL.0 { out.long(ttl).0 } else { out.0 })
}

fn delete(path: &str) -> Sent {
    (2, Out::default().text(path).int(-1).0)
}

/// All in one transaction: nothing is collected in between.
fn at_once(requests: &[Sent]) -> Sent {
    let mut out = Out::default();
    for (op, body) in requests {
        out = out.int(*op).flag(false).int(-1).raw(body);
    }
    (14, out.int(-1).flag(true).int(-1).0)
}

impl Collections {
    /// The steps of the next sequence; the last waits for the collections and compares the trees.
    pub fn sequence(&mut self, random: &mut Random, clients: usize) -> Vec<Step> {
        self.made += 1;
        let base = format!("/round{}", self.made);
        let mut requests = vec![create(&base, PERSISTENT, 0)];
        let mut gone = Vec::new();
        for number in 0..3 + random.below(12) {
            let top = format!("{base}/n{number}");
            let (sent, collected) = scenario(random.below(12), &top, number);
            requests.extend(sent);
            gone.extend(collected);
        }
        let client = random.below(clients);
        let mut steps: Vec<Step> = requests
            .into_iter()
            .map(|request| Step::Requests {
                client,
                requests: vec![request],
                ends: false,
            })
            .collect();
        steps.push(Step::Settle { top: base, gone });
        steps
    }
}

/// Requests, and the paths that are collected behind them. `top` is child `number` of its parent.
fn scenario(kind: usize, top: &str, number: usize) -> (Vec<Sent>, Vec<String>) {
    let child = format!("{top}/c");
    let grandchild = format!("{top}/c/g");
    let container = || create(top, CONTAINER, 0);
    let short = |path: &str| create(path, TTL, SHORT);
    let gone = |paths: &[&str]| paths.iter().map(|path| (*path).to_owned()).collect();
    match kind {
        // A container that had a child, and one that never had.
        0 => (
            vec![container(), create(&child, PERSISTENT, 0), delete(&child)],
            gone(&[top, &child]),
        ),
        1 => (vec![container()], Vec::new()),
        2 => (vec![container(), create(&child, PERSISTENT, 0)], Vec::new()),
        // TTL nodes: alone, with a child, with time left, with a number.
        3 => (vec![short(top)], gone(&[top])),
        4 => (
            vec![at_once(&[short(top), create(&child, PERSISTENT, 0)])],
            Vec::new(),
        ),
        5 => (vec![create(top, TTL, LONG)], Vec::new()),
        6 => (
            vec![create(top, (TTL.0, 6), SHORT)],
            vec![format!("{top}{number:010}")],
        ),
        // One collection makes the next possible.
        7 => (
            vec![at_once(&[container(), short(&child)])],
            gone(&[top, &child]),
        ),
        8 => (
            vec![
                container(),
                create(&child, CONTAINER, 0),
                create(&grandchild, PERSISTENT, 0),
                delete(&grandchild),
            ],
            gone(&[top, &child, &grandchild]),
        ),
        9 => (
            vec![at_once(&[short(top), short(&child)])],
            gone(&[top, &child]),
        ),
        10 => (
            vec![container(), create(&child, EPHEMERAL, 0), delete(&child)],
            gone(&[top, &child]),
        ),
        // Below a node on which nobody may delete.
        _ => (
            vec![
                create_with(top, PERSISTENT, 0, OPEN),
                create(&child, CONTAINER, 0),
                create(&grandchild, PERSISTENT, 0),
                read_only(top),
                delete(&grandchild),
            ],
            gone(&[&child, &grandchild]),
        ),
    }
}

fn read_only(path: &str) -> Sent {
    let mut out = Out::default().text(path).int(1);
    for (perms, scheme, id) in READ_ONLY {
        out = out.int(*perms).text(scheme).text(id);
    }
    (7, out.int(-1).0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sequence_ends_with_the_comparison_and_never_uses_a_name_twice() {
        let mut random = Random::new(3);
        let mut collections = Collections::default();
        let first = collections.sequence(&mut random, 3);
        let second = collections.sequence(&mut random, 3);
        let gone = |steps: &[Step]| match steps.last() {
            Some(Step::Settle { gone, .. }) => gone.clone(),
            other => panic!("{other:?}"),
        };
        let (a, b) = (gone(&first), gone(&second));
        assert!(
            a.iter()
                .all(|path| path.starts_with("/round1/") && !b.contains(path))
        );
        assert!(b.iter().all(|path| path.starts_with("/round2/")));
    }

    #[test]
    fn every_scenario_stays_below_its_top() {
        for kind in 0..12 {
            let (sent, gone) = scenario(kind, "/t", 3);
            assert!(!sent.is_empty(), "{kind}");
            assert!(gone.iter().all(|path| path.starts_with("/t")), "{kind}");
        }
    }
}
