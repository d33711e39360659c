//! What a leader is asked beside ordering.

use std::vec::Vec;

use roo_proto::ids::{ServerId, Zxid};

use super::harness::{World, config, ensemble};
use crate::message::{LinkId, NO_VOTE};
use crate::{Event, Role};

fn world(voters: &[i64]) -> World {
    let mut world = World::new(config(NO_VOTE));
    let ensemble = ensemble(0, voters, &[]);
    for id in voters {
        world.add(ServerId(*id), &ensemble);
        world.start(ServerId(*id));
    }
    world.advance(500);
    world
}

#[test]
fn a_sole_voter_knows_that_it_leads() {
    let mut world = world(&[1]);
    world.handle(ServerId(1), Event::ConfirmLeadership);
    assert_eq!(world.node(ServerId(1)).confirmed, 1);
}

#[test]
fn a_question_is_answered_by_a_round_that_began_after_it() {
    let mut world = world(&[1, 2, 3]);
    let leader = world.leader().unwrap();
    world.handle(leader, Event::ConfirmLeadership);
    world.handle(leader, Event::ConfirmLeadership);
    world.handle(leader, Event::ConfirmLeadership);
    assert_eq!(world.node(leader).confirmed, 0, "nobody has answered yet");
    world.settle();
    assert_eq!(world.node(leader).confirmed, 3);
}

/// The leader's links, each with the learner behind it.
fn learners(world: &World, leader: ServerId) -> Vec<(LinkId, ServerId)> {
    let links = (0..100).map(LinkId);
    let learner = |link| Some((link, world.zab(leader).learner(link)?));
    links.filter_map(learner).collect()
}

#[test]
fn a_follower_confirms_a_leader_with_which_it_is_a_quorum() {
    let mut world = world(&[1, 2, 3]);
    let leader = world.leader().unwrap();
    let found = learners(&world, leader);
    assert_eq!(found.len(), 2);
    for (link, follower) in &found {
        assert!(world.zab(leader).is_confirmed_by(*link));
        assert!(world.zab(*follower).leader_link().is_some());
        assert!(!world.zab(*follower).is_confirmed_by(*link));
    }
    let (link, follower) = found[0];
    world.break_links(leader, follower);
    world.settle();
    assert!(!world.zab(leader).is_confirmed_by(link), "it is gone");
}

#[test]
fn one_follower_of_four_and_an_observer_confirm_nothing() {
    let five = world(&[1, 2, 3, 4, 5]);
    let leader = five.leader().unwrap();
    let found = learners(&five, leader);
    assert_eq!(found.len(), 4);
    let confirms = |link| five.zab(leader).is_confirmed_by(link);
    assert!(!found.iter().any(|(link, _)| confirms(*link)));
    let mut world = World::new(config(NO_VOTE));
    let ensemble = ensemble(0, &[1, 2, 3], &[4]);
    for id in 1..=4 {
        world.add(ServerId(id), &ensemble);
        world.start(ServerId(id));
    }
    world.advance(500);
    let leader = world.leader().unwrap();
    for (link, learner) in learners(&world, leader) {
        let is_voter = learner != ServerId(4);
        assert_eq!(world.zab(leader).is_confirmed_by(link), is_voter);
    }
}

#[test]
fn a_leader_without_followers_answers_nothing_and_steps_down() {
    let mut world = world(&[1, 2, 3]);
    let leader = world.leader().unwrap();
    let others: Vec<_> = world
        .running()
        .into_iter()
        .filter(|id| *id != leader)
        .collect();
    for id in others {
        world.cut.insert((id, leader));
    }
    world.handle(leader, Event::ConfirmLeadership);
    world.advance(400);
    assert_eq!(world.node(leader).confirmed, 0);
    assert!(matches!(world.node(leader).role, Role::Leading { .. }));
    world.advance(600);
    assert_eq!(world.node(leader).confirmed, 0);
    assert_eq!(world.node(leader).role, Role::Looking);
}

#[test]
fn when_the_counter_is_exhausted_a_new_epoch_begins() {
    let mut world = world(&[1]);
    let id = ServerId(1);
    world.pretend(id, Zxid::new(1, u32::MAX - 1));
    assert_eq!(world.zab(id).next_zxid(), Some(Zxid::new(1, u32::MAX)));
    world.propose(id, "the last one").unwrap();
    assert_eq!(world.zab(id).next_zxid(), None);
    world.settle();
    assert_eq!(world.zab(id).next_zxid(), Some(Zxid::new(2, 1)));
    assert_eq!(world.node(id).role, Role::Leading { epoch: 2 });
}
