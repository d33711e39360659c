//! What fail-over costs: how long writes pause when the leader dies, hangs, or is restarted.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use super::dice::Dice;
use super::ensemble::{Ensemble, Links};
use super::session::{Answer, Session};
use super::workers::TIMEOUT_MS;
use crate::servers::pause;

/// Lines of zoo.cfg: what ZooKeeper's sample file says.
const LINES: &[&str] = &["tickTime=2000", "initLimit=10", "syncLimit=5"];

/// Time without load between two kills.
const REST: Duration = Duration::from_millis(300);

/// Rolling restarts, and the sessions that write meanwhile.
const ROLLS: usize = 3;
const WRITERS: usize = 3;

const NODE: &str = "/failover";

/// Measures fail-over of three servers and prints the figures.
pub(super) fn measure(dir: &std::path::Path, kills: usize, seed: u64) -> Result<()> {
    let mut dice = Dice::new(seed);
    let mut ensemble = Ensemble::prepare(dir, 3, Links::Direct, LINES)?;
    ensemble.start_all()?;
    ensemble.await_whole()?;
    let mut session = Session::new(ensemble.clients(), TIMEOUT_MS, dice.branch());
    session.ensure_node(NODE)?;
    let mut pauses = Vec::new();
    for _ in 0..kills {
        let leader = stand_elsewhere(&mut ensemble, &mut session)?;
        let began = Instant::now();
        ensemble.kill(leader)?;
        write(&mut session)?;
        pauses.push(began.elapsed());
        ensemble.start(leader)?;
    }
    print_pauses("leader killed", &mut pauses);
    pauses.clear();
    for _ in 0..kills.div_ceil(6) {
        let leader = stand_elsewhere(&mut ensemble, &mut session)?;
        let began = Instant::now();
        ensemble.freeze(leader)?;
        write(&mut session)?;
        pauses.push(began.elapsed());
        ensemble.thaw(leader)?;
    }
    print_pauses("leader stopped (SIGSTOP)", &mut pauses);
    session.close()?;
    roll(&mut ensemble, &mut dice)
}

/// Puts the session on a server that does not lead; who leads.
fn stand_elsewhere(ensemble: &mut Ensemble, session: &mut Session) -> Result<usize> {
    let leader = ensemble.await_whole()?.leader.context("no leader")?;
    pause(REST);
    let mut others = ensemble.clients();
    others.remove(leader);
    session.disconnect();
    session.use_servers(others);
    write(session)?;
    Ok(leader)
}

/// Writes until a write is acknowledged.
fn write(session: &mut Session) -> Result<()> {
    loop {
        if let Answer::Reply(reply) = session.set(NODE, "x")? {
            ensure!(reply.error == 0, "setData is answered with {}", reply.error);
            return Ok(());
        }
    }
}

fn print_pauses(what: &str, pauses: &mut [Duration]) {
    pauses.sort();
    let all: Vec<_> = pauses.iter().map(|p| p.as_millis().to_string()).collect();
    let at = |index: usize| pauses.get(index).map_or(0, Duration::as_millis);
    println!(
        "{what}: {} times; ms until the next acknowledged write: min {} median {} max {}; all {}",
        pauses.len(),
        at(0),
        at(pauses.len() / 2),
        at(pauses.len().saturating_sub(1)),
        all.join(" ")
    );
}

/// Restarts the servers one after the other, the leader last, while sessions write.
fn roll(ensemble: &mut Ensemble, dice: &mut Dice) -> Result<()> {
    let over = Arc::new(AtomicBool::new(false));
    let threads: Vec<_> = (0..WRITERS)
        .map(|_| {
            let mut session = Session::new(ensemble.clients(), TIMEOUT_MS, dice.branch());
            let over = Arc::clone(&over);
            thread::spawn(move || -> Result<(u64, Duration)> {
                let (mut count, mut longest) = (0, Duration::ZERO);
                write(&mut session)?;
                let mut last = Instant::now();
                while !over.load(Ordering::SeqCst) {
                    write(&mut session)?;
                    longest = longest.max(last.elapsed());
                    last = Instant::now();
                    count += 1;
                }
                session.close()?;
                Ok((count, longest))
            })
        })
        .collect();
    let rolled = restart_all(ensemble);
    over.store(true, Ordering::SeqCst);
    let mut longest = Vec::new();
    let mut writes = 0;
    for thread in threads {
        let ended = thread
            .join()
            .map_err(|_| anyhow!("a writer has panicked"))?;
        let (count, pause) = ended.context("a writer's session")?;
        writes += count;
        longest.push(pause);
    }
    rolled?;
    longest.sort();
    println!(
        "rolling restart: {ROLLS} rounds under {WRITERS} writers, {writes} writes, no session \
         lost; longest pause of each writer: {longest:.0?}"
    );
    Ok(())
}

fn restart_all(ensemble: &mut Ensemble) -> Result<()> {
    for _ in 0..ROLLS {
        let view = ensemble.await_whole()?;
        for server in view.followers.into_iter().chain(view.leader) {
            ensemble.stop(server)?;
            ensemble.start(server)?;
            ensemble.await_whole()?;
            pause(REST);
        }
    }
    Ok(())
}
