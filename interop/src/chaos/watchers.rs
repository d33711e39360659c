//! Watches on the registers that the writers set: none lost, none without a change, and each event
//! before the reply that shows the change.

use std::collections::HashMap;

use anyhow::{Result, ensure};

use super::dice::Dice;
use super::session::{Event, Session, Watch, op, path_and_watch};
use super::workers::{REGISTER_ROOT, REGISTERS, Scene, breathe, data_of, register};
use crate::wire::Out;

/// `EventType.NodeDataChanged`.
const DATA_CHANGED: i32 = 3;
/// `AddWatchMode.PERSISTENT_RECURSIVE`.
const PERSISTENT_RECURSIVE: i32 = 1;

fn version_of(session: &mut Session, path: &str, watch: Watch) -> Result<i32> {
    let reply = session.ask(op::GET_DATA, &path_and_watch(path, watch))?;
    Ok(data_of(&reply)?.1.version)
}

/// One persistent recursive watch: on one connection every change of a register is one event. It
/// says nothing of changes between two connections, as ZooKeeper's does not.
pub(super) fn watch_all(scene: &Scene, _name: &str, mut dice: Dice) -> Result<()> {
    let mut session = scene.session(&mut dice);
    let body = Out::default().text(REGISTER_ROOT).int(PERSISTENT_RECURSIVE);
    let reply = session.ask(op::ADD_WATCH, &body.0)?;
    ensure!(
        reply.error == 0,
        "addWatch is answered with {}",
        reply.error
    );
    session.recursive_watches.insert(REGISTER_ROOT.into());
    // By path: the version that was read last on this connection.
    let mut known: HashMap<String, i32> = HashMap::new();
    let mut changes: HashMap<String, i32> = HashMap::new();
    let mut connection = session.connections;
    while !scene.is_over() {
        let path = register(dice.below(REGISTERS));
        let version = version_of(&mut session, &path, Watch::None)?;
        let events = std::mem::take(&mut session.events);
        if session.connections == connection {
            for Event { kind, path } in events {
                ensure!(kind == DATA_CHANGED, "an event of kind {kind} for {path}");
                *changes.entry(path).or_default() += 1;
            }
            let happened = changes.remove(&path).unwrap_or(0);
            if let Some(before) = known.get(&path) {
                ensure!(
                    version - before == happened,
                    "{path}: {happened} events between versions {before} and {version}"
                );
            }
        } else {
            connection = session.connections;
            known.clear();
            changes.clear();
        }
        known.insert(path, version);
        breathe(&mut dice);
        if dice.below(500) == 0 {
            session.disconnect();
        }
    }
    session.close()?;
    Ok(())
}

/// One-shot watches, which last across connections until they have fired.
pub(super) fn watch_once(scene: &Scene, _name: &str, mut dice: Dice) -> Result<()> {
    let mut session = scene.session(&mut dice);
    while !scene.is_over() {
        let path = register(dice.below(REGISTERS));
        let before = version_of(&mut session, &path, Watch::Set)?;
        ensure!(
            session.events.is_empty(),
            "{:?} without a watch",
            session.events
        );
        session.data_watches.insert(path.clone());
        let mut fired = 0;
        while fired == 0 {
            if dice.below(4) == 0 {
                session.disconnect();
            }
            let version = version_of(&mut session, &path, Watch::None)?;
            fired = session.events.len();
            let as_wanted = |event: &Event| event.kind == DATA_CHANGED && event.path == path;
            ensure!(
                fired < 2 && session.events.iter().all(as_wanted),
                "one watch on {path} and the events {:?}",
                session.events
            );
            session.events.clear();
            ensure!(
                (fired == 1) == (version > before),
                "{path}: {fired} events between versions {before} and {version}"
            );
            if scene.is_over() {
                break;
            }
            breathe(&mut dice);
        }
        session.data_watches.clear();
    }
    session.close()?;
    Ok(())
}
