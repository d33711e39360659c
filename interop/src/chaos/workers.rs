//! The load: each worker is a thread with a session, which does one kind of work and checks what
//! it can see of it at once. The rest is the ledger's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::dice::Dice;
use super::ephemerals;
use super::ledger::{Fate, Ledger, fenced};
use super::recipes::{self, Books};
use super::session::{
    Answer, NO_NODE, NODE_EXISTS, Reply, Session, Stat, Trouble, Watch, op, path_and_watch,
};
use super::watchers;
use crate::servers::pause;
use crate::wire::In;

/// Nodes that several sessions set.
pub(super) const REGISTERS: usize = 6;
/// Their parent.
pub(super) const REGISTER_ROOT: &str = "/chaos/registers";
/// Parent of nodes that are created and deleted once.
const NODE_ROOT: &str = "/chaos/nodes";
/// Parent of sequential nodes.
const SEQUENCE_ROOT: &str = "/chaos/sequence";
/// Parent of the nodes that ask for the lock.
const LOCK_ROOT: &str = "/chaos/lock";
/// What only the holder of the lock writes.
const FENCE: &str = "/chaos/fence";
/// Parent of ephemeral nodes of sessions that end.
pub(super) const EPHEMERAL_ROOT: &str = "/chaos/ephemerals";

/// Timeout of sessions that must not expire.
pub(super) const TIMEOUT_MS: i32 = 12_000;

/// Nodes that a worker keeps before it deletes the oldest.
const KEPT: usize = 50;

/// `CreateMode` flags.
pub(super) const EPHEMERAL: i32 = 1;
const SEQUENTIAL: i32 = 2;

/// What all workers share.
pub(super) struct Scene {
    pub(super) clients: Vec<std::net::SocketAddr>,
    pub(super) ledger: Ledger,
    pub(super) recipes: Books,
    pub(super) over: AtomicBool,
}

impl Scene {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }

    pub(super) fn session(&self, dice: &mut Dice) -> Session {
        Session::new(self.clients.clone(), TIMEOUT_MS, dice.branch())
    }
}

type Work = fn(&Scene, &str, Dice) -> Result<()>;

/// Who works, and how many of each.
const CREW: &[(&str, usize, Work)] = &[
    ("writer", 4, write_registers),
    ("creator", 2, create_and_delete),
    ("counter", 2, count),
    ("locker", 3, lock_and_unlock),
    ("mortal", 2, ephemerals::live_and_die),
    ("lookout", 1, watchers::watch_all),
    ("sentry", 2, watchers::watch_once),
    ("user", 3, recipes::live_with_recipes),
];

/// Makes the nodes that the work needs.
pub(super) fn lay_out(scene: &Scene, dice: &mut Dice) -> Result<()> {
    let mut session = scene.session(dice);
    for path in [
        "/chaos",
        REGISTER_ROOT,
        NODE_ROOT,
        SEQUENCE_ROOT,
        LOCK_ROOT,
        FENCE,
        EPHEMERAL_ROOT,
    ] {
        session.ensure_node(path)?;
    }
    for index in 0..REGISTERS {
        session.ensure_node(&register(index))?;
    }
    for path in recipes::directories() {
        session.ensure_node(path)?;
    }
    session.close()?;
    Ok(())
}

/// Starts everybody. A worker that finds something wrong accuses and ends.
pub(super) fn start(scene: &Arc<Scene>, dice: &mut Dice) -> Vec<JoinHandle<()>> {
    let mut threads = Vec::new();
    for (kind, count, work) in CREW {
        for index in 0..*count {
            let (scene, dice) = (Arc::clone(scene), dice.branch());
            let name = format!("{kind}-{index}");
            threads.push(thread::spawn(move || {
                if let Err(error) = work(&scene, &name, dice) {
                    let what = if error.is::<Trouble>() {
                        "a live session is lost"
                    } else {
                        "violation"
                    };
                    scene.ledger.accuse(format!("{what}: {name}: {error:#}"));
                }
            }));
        }
    }
    threads
}

pub(super) fn register(index: usize) -> String {
    format!("{REGISTER_ROOT}/{index}")
}

/// Between two steps of a worker.
pub(super) fn breathe(dice: &mut Dice) {
    pause(Duration::from_millis(dice.between(1, 6)));
}

/// Data and stat of a getData that has succeeded.
pub(super) fn data_of(reply: &Reply) -> Result<(String, Stat)> {
    ensure!(reply.error == 0, "getData is answered with {}", reply.error);
    let mut r = In(&reply.body);
    let data = String::from_utf8_lossy(r.buffer()?.unwrap_or_default()).into_owned();
    Ok((data, Stat::read(&mut r)?))
}

/// The stat of an exists; `None` without the node.
pub(super) fn stat_of(reply: &Reply) -> Result<Option<Stat>> {
    match reply.error {
        0 => Ok(Some(Stat::read(&mut In(&reply.body))?)),
        NO_NODE => Ok(None),
        error => bail!("exists is answered with {error}"),
    }
}

/// Sets a register and tells the ledger.
fn set(scene: &Scene, session: &mut Session, path: &str, value: &str) -> Result<()> {
    let floor = scene.ledger.about_to_set(path, value);
    match session.set(path, value)? {
        Answer::Reply(reply) => {
            ensure!(reply.error == 0, "setData is answered with {}", reply.error);
            let stat = Stat::read(&mut In(&reply.body))?;
            ensure!(
                stat.mzxid == reply.zxid,
                "{path}: the reply to the write of {:x} has zxid {:x}",
                stat.mzxid,
                reply.zxid
            );
            scene
                .ledger
                .was_set(path, value, stat.version, stat.mzxid, floor)
        }
        Answer::Unknown => {
            scene.ledger.may_be_set(path);
            Ok(())
        }
    }
}

/// Unique values to registers that others write too; reads, with a sync and without.
fn write_registers(scene: &Scene, name: &str, mut dice: Dice) -> Result<()> {
    let mut session = scene.session(&mut dice);
    let mut seen = [0; REGISTERS];
    let mut count = 0_u64;
    while !scene.is_over() {
        let index = dice.below(REGISTERS);
        let path = register(index);
        match dice.below(10) {
            0..7 => {
                count += 1;
                set(scene, &mut session, &path, &format!("{name}-{count}"))?;
            }
            7..9 => {
                let floor = scene.ledger.floor(&path).max(seen[index]);
                let read = path_and_watch(&path, Watch::None);
                let (data, stat) = data_of(&session.synced(op::GET_DATA, &read)?)?;
                scene
                    .ledger
                    .was_read(&path, &data, stat.version, stat.mzxid, floor)?;
                seen[index] = stat.version;
            }
            _ => {
                let read = path_and_watch(&path, Watch::None);
                let (data, stat) = data_of(&session.ask(op::GET_DATA, &read)?)?;
                scene
                    .ledger
                    .was_read(&path, &data, stat.version, stat.mzxid, seen[index])?;
                seen[index] = stat.version;
            }
        }
        breathe(&mut dice);
    }
    session.close()?;
    Ok(())
}

/// Nodes with names of their own, deleted later.
fn create_and_delete(scene: &Scene, name: &str, mut dice: Dice) -> Result<()> {
    let mut session = scene.session(&mut dice);
    let mut kept = std::collections::VecDeque::new();
    let mut count = 0_u64;
    while !scene.is_over() {
        count += 1;
        let path = format!("{NODE_ROOT}/{name}-{count}");
        scene.ledger.set_fate(&path, Fate::Unknown);
        let answer = session.create(&path, name, 0)?;
        if settle(scene, &mut session, &path, &answer, Fate::There)? == Fate::There {
            kept.push_back(path);
        }
        if kept.len() > KEPT
            && let Some(path) = kept.pop_front()
        {
            scene.ledger.set_fate(&path, Fate::Unknown);
            let answer = session.delete(&path)?;
            settle(scene, &mut session, &path, &answer, Fate::Gone)?;
        }
        breathe(&mut dice);
    }
    session.close()?;
    Ok(())
}

/// What became of a node; where the answer does not tell, a look behind a sync does. A request
/// of an old connection cannot be done any more once the session has a new one.
fn settle(
    scene: &Scene,
    session: &mut Session,
    path: &str,
    answer: &Answer,
    wanted: Fate,
) -> Result<Fate> {
    let fate = match answer {
        Answer::Reply(reply) => {
            ensure!(
                reply.error == 0,
                "{path}: {wanted:?}: error {}",
                reply.error
            );
            scene.ledger.count_write();
            wanted
        }
        Answer::Unknown => {
            scene.ledger.count_unknown();
            let read = path_and_watch(path, Watch::None);
            match stat_of(&session.synced(op::EXISTS, &read)?)? {
                Some(_) => Fate::There,
                None => Fate::Gone,
            }
        }
    };
    scene.ledger.set_fate(path, fate);
    Ok(fate)
}

/// A sequential node that was made for sure, with its name and czxid.
struct Numbered {
    name: String,
    czxid: i64,
}

fn counter_of(name: &str) -> Result<i64> {
    let digits = name.len().checked_sub(10).and_then(|at| name.get(at..));
    digits
        .and_then(|digits| digits.parse().ok())
        .with_context(|| format!("{name} does not end with a counter"))
}

/// Creates a sequential node once: where the answer does not tell, the parent does.
fn number(
    scene: &Scene,
    session: &mut Session,
    parent: &str,
    tag: &str,
    flags: i32,
) -> Result<Option<Numbered>> {
    let floor = scene.ledger.counter(parent);
    let answer = session.create(&format!("{parent}/{tag}-"), tag, flags | SEQUENTIAL)?;
    let (name, czxid) = match answer {
        Answer::Reply(reply) => {
            ensure!(reply.error == 0, "{tag}: create: error {}", reply.error);
            let mut r = In(&reply.body);
            let path = r.text()?;
            let stat = Stat::read(&mut r)?;
            let name = path.rsplit('/').next().unwrap_or_default().to_owned();
            scene
                .ledger
                .was_counted(parent, counter_of(&name)?, floor)?;
            (name, stat.czxid)
        }
        Answer::Unknown => {
            scene.ledger.count_unknown();
            session.sync()?;
            let mut mine = session.children(parent)?;
            mine.retain(|name| name.starts_with(&format!("{tag}-")));
            ensure!(mine.len() < 2, "one create has made {mine:?}");
            let Some(name) = mine.pop() else {
                return Ok(None);
            };
            let read = path_and_watch(&format!("{parent}/{name}"), Watch::None);
            let stat = stat_of(&session.ask(op::EXISTS, &read)?)?;
            let stat = stat.with_context(|| format!("{parent}/{name} is gone"))?;
            (name, stat.czxid)
        }
    };
    Ok(Some(Numbered { name, czxid }))
}

/// Sequential nodes: no number twice, and larger ones later.
fn count(scene: &Scene, name: &str, mut dice: Dice) -> Result<()> {
    let mut session = scene.session(&mut dice);
    let mut kept = std::collections::VecDeque::new();
    let mut count = 0_u64;
    while !scene.is_over() {
        count += 1;
        let tag = format!("{name}-{count}");
        if let Some(made) = number(scene, &mut session, SEQUENCE_ROOT, &tag, 0)? {
            let path = format!("{SEQUENCE_ROOT}/{}", made.name);
            scene.ledger.set_fate(&path, Fate::There);
            kept.push_back(path);
        }
        if kept.len() > KEPT
            && let Some(path) = kept.pop_front()
        {
            scene.ledger.set_fate(&path, Fate::Unknown);
            let answer = session.delete(&path)?;
            settle(scene, &mut session, &path, &answer, Fate::Gone)?;
        }
        breathe(&mut dice);
    }
    session.close()?;
    Ok(())
}

/// The recipe of ZooKeeper's locks.
fn lock_and_unlock(scene: &Scene, name: &str, mut dice: Dice) -> Result<()> {
    let mut session = scene.session(&mut dice);
    let mut count = 0_u64;
    while !scene.is_over() {
        count += 1;
        let tag = format!("{name}-{count}");
        let Some(mine) = number(scene, &mut session, LOCK_ROOT, &tag, EPHEMERAL)? else {
            continue;
        };
        let path = format!("{LOCK_ROOT}/{}", mine.name);
        let counter = counter_of(&mine.name)?;
        let held = await_lock(scene, &mut session, &mine.name, counter, &mut dice)?;
        if held {
            scene.ledger.lock(session.id, mine.czxid)?;
            for turn in 0..1 + dice.below(3) {
                let value = fenced(mine.czxid, &format!("{tag}-{turn}"));
                set(scene, &mut session, FENCE, &value)?;
            }
            scene.ledger.unlock();
        }
        give_back(scene, &mut session, &path)?;
        breathe(&mut dice);
    }
    session.close()?;
    Ok(())
}

/// Waits until nobody is before us; whether that came before the end of the run.
fn await_lock(
    scene: &Scene,
    session: &mut Session,
    mine: &str,
    counter: i64,
    dice: &mut Dice,
) -> Result<bool> {
    while !scene.is_over() {
        let names = session.children(LOCK_ROOT)?;
        ensure!(
            names.iter().any(|name| name == mine),
            "{mine} is gone, though its session lives"
        );
        let mut first = true;
        for name in &names {
            first &= counter_of(name)? >= counter;
        }
        if first {
            return Ok(true);
        }
        breathe(dice);
    }
    Ok(false)
}

/// Deletes our node, as often as needed.
fn give_back(scene: &Scene, session: &mut Session, path: &str) -> Result<()> {
    let mut first = true;
    loop {
        match session.delete(path)? {
            Answer::Reply(reply) if reply.error == 0 => {
                scene.ledger.count_write();
                return Ok(());
            }
            Answer::Reply(reply) => {
                ensure!(
                    reply.error == NO_NODE && !first,
                    "{path}: delete: error {}",
                    reply.error
                );
                return Ok(());
            }
            Answer::Unknown => {
                scene.ledger.count_unknown();
                first = false;
            }
        }
    }
}

/// Creates a node with a name of its own, for sure.
pub(super) fn create_surely(
    scene: &Scene,
    session: &mut Session,
    path: &str,
    flags: i32,
) -> Result<()> {
    let mut first = true;
    loop {
        match session.create(path, "", flags)? {
            Answer::Reply(reply) => {
                ensure!(
                    reply.error == 0 || (reply.error == NODE_EXISTS && !first),
                    "{path}: create: error {}",
                    reply.error
                );
                scene.ledger.count_write();
                return Ok(());
            }
            Answer::Unknown => {
                scene.ledger.count_unknown();
                first = false;
            }
        }
    }
}
