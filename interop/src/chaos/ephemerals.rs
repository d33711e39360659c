//! Sessions that end, by their own will or by silence, and what was theirs: it is there as long as
//! the session lives, and not longer.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::dice::Dice;
use super::session::{Answer, Session, Trouble, Watch, op, path_and_watch};
use super::workers::{EPHEMERAL, EPHEMERAL_ROOT, Scene, breathe, create_surely, stat_of};

/// Timeout of the sessions that end.
const TIMEOUT_MS: i32 = 6_000;

/// A session that is silent lives so long at least. This is less than its timeout: what it said
/// may have reached only a server that was cut off, and which needs a while to notice.
const SURE: Duration = Duration::from_secs(3);

/// A silent session must be over so long after it fell silent. A new leader gives every session
/// its timeout anew, and one may follow the other.
const OVER_LIMIT: Duration = Duration::from_secs(120);

/// Nodes of a session.
const NODES: usize = 3;

/// One session after the other, with an observer beside it.
pub(super) fn live_and_die(scene: &Scene, name: &str, mut dice: Dice) -> Result<()> {
    let mut observer = scene.session(&mut dice);
    let mut count = 0_u64;
    while !scene.is_over() {
        count += 1;
        let mut mortal = Session::new(scene.clients.clone(), TIMEOUT_MS, dice.branch());
        let paths: Vec<String> = (0..NODES)
            .map(|node| format!("{EPHEMERAL_ROOT}/{name}-{count}-{node}"))
            .collect();
        let ending = live(scene, &mut mortal, &mut observer, &paths, &mut dice)?;
        for path in &paths {
            await_end(&mut observer, path, ending, &mut dice)?;
        }
    }
    observer.close()?;
    Ok(())
}

/// The life of a session, to its end.
fn live(
    scene: &Scene,
    mortal: &mut Session,
    observer: &mut Session,
    paths: &[String],
    dice: &mut Dice,
) -> Result<Ending> {
    let mut life = || -> Result<Ending> {
        for path in paths {
            create_surely(scene, mortal, path, EPHEMERAL)?;
        }
        let end = Instant::now() + Duration::from_millis(dice.between(100, 3_000));
        while Instant::now() < end && !scene.is_over() {
            let path = &paths[dice.below(paths.len())];
            let owner = mortal.id;
            must_live(mortal, path, owner, None)?;
            must_live(observer, path, owner, Some(mortal.heard))?;
            mortal.ask(op::PING, &[])?;
            breathe(dice);
        }
        if dice.below(2) == 0 {
            return Ok(match mortal.close()? {
                Answer::Reply(_) => Ending::Closed,
                Answer::Unknown => Ending::Unknown,
            });
        }
        mortal.disconnect();
        Ok(Ending::Silent(mortal.heard))
    };
    match life() {
        // Its time is short: faults, and looks at the observer, may have kept it silent for long.
        Err(error) => match error.downcast_ref() {
            Some(Trouble::Expired(silence)) if *silence > SURE => Ok(Ending::Unknown),
            _ => Err(error),
        },
        ending => ending,
    }
}

/// How a session has ended.
#[derive(Clone, Copy, Debug)]
enum Ending {
    /// By a close that was acknowledged.
    Closed,
    /// By a close without an answer.
    Unknown,
    /// By silence since then.
    Silent(Instant),
}

/// Looks for a node whose session was heard then; `None` is now.
fn must_live(session: &mut Session, path: &str, owner: i64, heard: Option<Instant>) -> Result<()> {
    let read = path_and_watch(path, Watch::None);
    let stat = stat_of(&session.synced(op::EXISTS, &read)?)?;
    ensure!(
        stat.is_some_and(|stat| stat.owner == owner)
            || heard.is_some_and(|heard| heard.elapsed() > SURE),
        "{path} of the live session {owner:x} is {stat:?}"
    );
    Ok(())
}

/// Waits until an ephemeral node is gone, which must not be too early or too late.
fn await_end(observer: &mut Session, path: &str, ending: Ending, dice: &mut Dice) -> Result<()> {
    let began = Instant::now();
    let read = path_and_watch(path, Watch::None);
    while stat_of(&observer.synced(op::EXISTS, &read)?)?.is_some() {
        ensure!(
            !matches!(ending, Ending::Closed),
            "{path} is there after its session was closed"
        );
        ensure!(
            began.elapsed() < OVER_LIMIT,
            "{path} is there {OVER_LIMIT:?} after its session has ended: {ending:?}"
        );
        breathe(dice);
    }
    if let Ending::Silent(since) = ending {
        ensure!(
            since.elapsed() > SURE,
            "{path} is gone {:?} after its session was heard, whose timeout is {TIMEOUT_MS} ms",
            since.elapsed()
        );
    }
    Ok(())
}
