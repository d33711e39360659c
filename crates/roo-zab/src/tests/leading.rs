//! What a leader is asked beside ordering.

use std::vec::Vec;

use roo_proto::ids::{ServerId, Zxid};

use super::harness::{World, config, ensemble};
use crate::message::NO_VOTE;
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
