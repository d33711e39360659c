//! Whole conversations, compared with those written down in `testdata/*.txt`.
//!
//! A line that begins with `> ` is a command, the lines below it what happened. With
//! `UPDATE_EXPECT=1` in the environment the files are written anew.

use std::fmt::Write as _;
use std::format;
use std::fs;
use std::path::PathBuf;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec::Vec;

use roo_proto::ids::{ServerId, Zxid};

use super::harness::{World, config, ensemble};
use crate::message::NO_VOTE;

#[track_caller]
fn check(name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("testdata")
        .join(format!("{name}.txt"));
    let written = fs::read_to_string(&path).unwrap();
    let happened = play(&written);
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(&path, happened).unwrap();
    } else {
        assert!(
            written == happened,
            "{name} went another way; UPDATE_EXPECT=1 writes it down:\n{happened}"
        );
    }
}

fn play(script: &str) -> String {
    let mut world = World::new(config(NO_VOTE));
    let mut text = String::new();
    for line in script.lines() {
        if line.starts_with('#') || line.is_empty() {
            writeln!(text, "{line}").unwrap();
        }
        let Some(command) = line.strip_prefix("> ") else {
            continue;
        };
        writeln!(text, "{line}").unwrap();
        let words: Vec<_> = command.split_whitespace().collect();
        execute(&mut world, &words);
        for line in world.log.drain(..) {
            if !line.contains(" PING ") && !line.ends_with(" PONG") {
                writeln!(text, "{line}").unwrap();
            }
        }
    }
    text
}

fn id(word: &str) -> ServerId {
    ServerId(word.parse().unwrap())
}

fn ids(word: &str) -> Vec<i64> {
    word.split(',')
        .filter(|id| !id.is_empty())
        .map(|id| id.parse().unwrap())
        .collect()
}

fn execute(world: &mut World, words: &[&str]) {
    match words {
        ["voters", voters] | ["voters", voters, "observers", _] => {
            let observers = words.get(3).map_or(Vec::new(), |word| ids(word));
            let ensemble = ensemble(0, &ids(voters), &observers);
            for id in ids(voters).into_iter().chain(observers) {
                world.add(ServerId(id), &ensemble);
            }
        }
        // A server that believes in another ensemble than the rest.
        ["joiner", joiner, "voters", voters] => {
            world.add(id(joiner), &ensemble(0, &ids(voters), &[]));
        }
        ["with", "reconfig"] => world.config.reconfig_enabled = true,
        ["with", "memory", count] => world.config.commit_log_count = count.parse().unwrap(),
        ["start", server] => {
            world.start(id(server));
            world.settle();
        }
        ["wait", ms] => world.advance(ms.parse().unwrap()),
        ["propose", text] => {
            let leader = world.leader().unwrap();
            world.propose(leader, text).unwrap();
            world.settle();
        }
        ["reconfig", "voters", voters, "observers", observers] => {
            reconfigure(world, &ids(voters), &ids(observers));
        }
        ["reconfig", "voters", voters] => reconfigure(world, &ids(voters), &[]),
        ["crash", server] => {
            world.crash(id(server), usize::MAX);
            world.settle();
            world.tell_unreachable(id(server));
            world.settle();
        }
        // What it has sent does not arrive any more.
        ["crash", server, "losing"] => {
            world.lose_sent(id(server));
            world.crash(id(server), usize::MAX);
            world.cut.retain(|(from, _)| *from != id(server));
            world.tell_unreachable(id(server));
            world.settle();
        }
        ["wipe", server] => {
            let current = Arc::clone(&world.node(id(server)).disk.ensemble);
            world.add(id(server), &current);
        }
        ["hold", from, to] => {
            world.cut.insert((id(from), id(to)));
        }
        ["release", from, to] => {
            world.cut.remove(&(id(from), id(to)));
            world.settle();
        }
        // What a server sends is kept, from ACKEPOCH on: its leader's answers do reach it.
        ["hold-ack", server] => {
            world.held_acks.insert(id(server));
        }
        ["release-ack", server] => {
            world.held_acks.remove(&id(server));
            world.settle();
        }
        ["show"] => show(world),
        other => panic!("no such command: {other:?}"),
    }
}

fn reconfigure(world: &mut World, voters: &[i64], observers: &[i64]) {
    let leader = world.leader().unwrap();
    let zxid = world.zab(leader).next_zxid().unwrap();
    let next = ensemble(zxid.0, voters, observers);
    world.propose_at(leader, zxid, "reconfig", Some(next));
    world.settle();
}

fn show(world: &mut World) {
    let mut lines = Vec::new();
    for id in world.running() {
        let status = world.zab(id).status();
        let at = |zxid: Zxid| super::harness::short(zxid);
        let version = world.node(id).disk.ensemble.version;
        lines.push(format!(
            "{}: {:?} {:?} epoch {} last {} durable {} committed {} delivered {} version {version:x}",
            id.0,
            status.state,
            status.phase,
            status.epoch,
            at(status.last_proposed),
            at(status.durable),
            at(status.committed),
            at(status.delivered),
        ));
    }
    world.log.extend(lines.iter().map(ToString::to_string));
}

#[test]
fn three_servers_elect_one_and_a_late_one_joins() {
    check("elect");
}

#[test]
fn a_follower_that_missed_writes_gets_them() {
    check("diff");
}

#[test]
fn outstanding_proposals_stand_before_newleader() {
    check("diff-live");
}

#[test]
fn writes_go_on_while_a_learner_joins() {
    check("join-live");
}

#[test]
fn what_only_a_dead_leader_had_is_truncated() {
    check("trunc");
}

#[test]
fn a_tail_of_an_older_epoch_is_replaced_by_a_snapshot() {
    check("trunc-new-epoch");
}

#[test]
fn an_emptied_server_gets_a_snapshot() {
    check("snap");
}

#[test]
fn a_follower_far_behind_is_brought_up_from_the_log() {
    check("log");
}

#[test]
fn a_dead_leader_is_replaced_at_once() {
    check("reelect");
}

#[test]
fn an_observer_is_informed() {
    check("observer");
}

#[test]
fn the_ensemble_changes_while_it_works() {
    check("reconfig");
}

#[test]
fn a_proposed_ensemble_that_a_snapshot_replaced_is_forgotten() {
    check("reconfig-replaced");
}

#[test]
fn a_proposed_ensemble_that_was_truncated_is_forgotten_on_disk() {
    check("reconfig-truncated");
}

#[test]
fn a_missed_reconfiguration_is_learnt_from_notifications() {
    check("reconfig-missed");
}

#[test]
fn a_sole_voter_needs_nobody() {
    check("sole");
}

#[test]
fn silence_closes_a_link_from_either_side() {
    check("silent");
}

#[test]
fn a_learner_that_is_turned_away_is_told_whom_to_follow() {
    check("late-vote");
}
