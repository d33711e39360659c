//! The faults. Each does its harm, ends it, and leaves an ensemble that must serve again.

use std::time::Duration;

use anyhow::{Context, Result};

use super::dice::Dice;
use super::ensemble::{Ensemble, View};
use crate::servers::pause;

type Harm = fn(&mut Ensemble, &mut Dice) -> Result<()>;

/// A fault and its name.
pub(super) struct Fault {
    pub(super) name: &'static str,
    pub(super) strike: Harm,
}

/// All of them; a run goes through them in an order of its own, again and again.
pub(super) const FAULTS: &[Fault] = &[
    fault("kill the leader", kill_leader),
    fault("kill a follower", kill_follower),
    fault("kill any two in a row", kill_two),
    fault("kill all", kill_all),
    fault("kill three leaders in a row", kill_leaders),
    fault(
        "kill a follower that returns, then the leader",
        kill_during_return,
    ),
    fault("freeze the leader", freeze_leader),
    fault("freeze a follower", freeze_follower),
    fault("freeze all for a moment", freeze_all),
    fault("cut the leader off", cut_leader),
    fault("cut a follower off", cut_follower),
    fault("cut one pair", cut_pair),
    fault("cut and mend again and again", flap),
    fault("stall the leader's links", stall_leader),
    fault("stall one link in one direction of dialling", stall_one),
    fault("slow links", slow_links),
    fault("slow links, and kill the leader", slow_and_kill),
    fault("empty a follower", empty_follower),
    fault("empty the leader", empty_leader),
    fault("restart one after the other", rolling_restart),
];

const fn fault(name: &'static str, strike: Harm) -> Fault {
    Fault { name, strike }
}

fn wait(dice: &mut Dice, low_ms: u64, high_ms: u64) {
    pause(Duration::from_millis(dice.between(low_ms, high_ms)));
}

fn leader(ensemble: &Ensemble) -> Result<usize> {
    ensemble.await_leader()
}

/// The view with a leader and followers.
fn whole(ensemble: &mut Ensemble) -> Result<(usize, Vec<usize>)> {
    let View {
        leader, followers, ..
    } = ensemble.await_whole()?;
    Ok((leader.context("no leader")?, followers))
}

fn a_follower(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<usize> {
    let (_, followers) = whole(ensemble)?;
    Ok(followers[dice.below(followers.len())])
}

fn kill_for_a_while(ensemble: &mut Ensemble, server: usize, dice: &mut Dice) -> Result<()> {
    ensemble.kill(server)?;
    wait(dice, 0, 2_000);
    ensemble.start(server)
}

fn kill_leader(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let leader = leader(ensemble)?;
    kill_for_a_while(ensemble, leader, dice)
}

fn kill_follower(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let follower = a_follower(ensemble, dice)?;
    kill_for_a_while(ensemble, follower, dice)
}

fn kill_two(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    for _ in 0..2 {
        let any = dice.below(ensemble.size());
        ensemble.kill(any)?;
        wait(dice, 0, 300);
        ensemble.start(any)?;
        wait(dice, 0, 300);
    }
    Ok(())
}

fn kill_all(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    for server in 0..ensemble.size() {
        ensemble.kill(server)?;
    }
    wait(dice, 0, 500);
    ensemble.start_all()
}

fn kill_leaders(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    for _ in 0..3 {
        let leader = leader(ensemble)?;
        ensemble.kill(leader)?;
        wait(dice, 0, 300);
        ensemble.start(leader)?;
    }
    Ok(())
}

fn kill_during_return(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let (leader, followers) = whole(ensemble)?;
    let follower = followers[dice.below(followers.len())];
    ensemble.kill(follower)?;
    wait(dice, 500, 2_000);
    ensemble.start(follower)?;
    wait(dice, 0, 200);
    kill_for_a_while(ensemble, leader, dice)
}

fn freeze_for_a_while(ensemble: &mut Ensemble, server: usize, dice: &mut Dice) -> Result<()> {
    ensemble.freeze(server)?;
    wait(dice, 500, 5_000);
    ensemble.thaw(server)
}

fn freeze_leader(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let leader = leader(ensemble)?;
    freeze_for_a_while(ensemble, leader, dice)
}

fn freeze_follower(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let follower = a_follower(ensemble, dice)?;
    freeze_for_a_while(ensemble, follower, dice)
}

fn freeze_all(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    for server in 0..ensemble.size() {
        ensemble.freeze(server)?;
    }
    wait(dice, 200, 1_500);
    for server in 0..ensemble.size() {
        ensemble.thaw(server)?;
    }
    Ok(())
}

fn mend(ensemble: &Ensemble) {
    for link in ensemble.all_links() {
        link.open();
    }
}

fn cut_off(ensemble: &Ensemble, server: usize, dice: &mut Dice) {
    for link in ensemble.around(server) {
        link.bar();
    }
    wait(dice, 500, 4_000);
    mend(ensemble);
}

fn cut_leader(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let leader = leader(ensemble)?;
    cut_off(ensemble, leader, dice);
    Ok(())
}

fn cut_follower(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let follower = a_follower(ensemble, dice)?;
    cut_off(ensemble, follower, dice);
    Ok(())
}

/// Two different servers.
fn a_pair(ensemble: &Ensemble, dice: &mut Dice) -> (usize, usize) {
    let one = dice.below(ensemble.size());
    let other = (one + 1 + dice.below(ensemble.size() - 1)) % ensemble.size();
    (one, other)
}

fn cut_pair(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let (one, other) = a_pair(ensemble, dice);
    for link in ensemble.between(one, other) {
        link.bar();
    }
    wait(dice, 500, 4_000);
    mend(ensemble);
    Ok(())
}

fn flap(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    for _ in 0..8 {
        let (one, other) = a_pair(ensemble, dice);
        for link in ensemble.between(one, other) {
            link.bar();
        }
        wait(dice, 20, 300);
        mend(ensemble);
        wait(dice, 20, 300);
    }
    Ok(())
}

fn stall_leader(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let leader = leader(ensemble)?;
    for link in ensemble.around(leader) {
        link.stall();
    }
    wait(dice, 500, 5_000);
    mend(ensemble);
    Ok(())
}

fn stall_one(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let (one, other) = a_pair(ensemble, dice);
    if let Some(link) = ensemble.between(one, other).next() {
        link.stall();
    }
    wait(dice, 500, 5_000);
    mend(ensemble);
    Ok(())
}

fn slow_down(ensemble: &Ensemble, dice: &mut Dice) {
    for link in ensemble.all_links() {
        link.slow(Duration::from_millis(dice.between(1, 60)));
    }
}

fn slow_links(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    slow_down(ensemble, dice);
    wait(dice, 1_000, 4_000);
    mend(ensemble);
    Ok(())
}

fn slow_and_kill(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let leader = leader(ensemble)?;
    slow_down(ensemble, dice);
    wait(dice, 200, 1_000);
    kill_for_a_while(ensemble, leader, dice)?;
    wait(dice, 500, 2_000);
    mend(ensemble);
    Ok(())
}

/// Only from an ensemble that is whole, and until it is whole again: the others must have all
/// that was acknowledged by the one that forgets.
fn empty(ensemble: &mut Ensemble, server: usize, dice: &mut Dice) -> Result<()> {
    ensemble.kill(server)?;
    ensemble.wipe(server)?;
    wait(dice, 0, 1_000);
    ensemble.start(server)?;
    ensemble.await_whole()?;
    Ok(())
}

fn empty_follower(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let follower = a_follower(ensemble, dice)?;
    empty(ensemble, follower, dice)
}

fn empty_leader(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let (leader, _) = whole(ensemble)?;
    empty(ensemble, leader, dice)
}

fn rolling_restart(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    for server in 0..ensemble.size() {
        whole(ensemble)?;
        ensemble.stop(server)?;
        wait(dice, 0, 200);
        ensemble.start(server)?;
    }
    Ok(())
}
