//! The end of a run: every server has the same tree, and it is the one that was acknowledged.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use anyhow::{Context, Result, ensure};

use super::dice::Dice;
use super::ensemble::Ensemble;
use super::ledger::Found;
use super::session::{Session, Stat, Watch, op, path_and_watch};
use super::workers::{EPHEMERAL_ROOT, Scene, TIMEOUT_MS};
use crate::wire::In;

/// Each server names its relays to the others in it.
const CONFIG_NODE: &str = "/zookeeper/config";

/// Everything that one server has, each node with its whole stat.
pub(super) fn read_tree(server: SocketAddr, dice: Dice) -> Result<BTreeMap<String, Found>> {
    let mut session = Session::new(vec![server], TIMEOUT_MS, dice);
    session.sync()?;
    let mut tree = BTreeMap::new();
    let mut paths = vec!["/".to_owned()];
    while let Some(path) = paths.pop() {
        let reply = session.ask(op::GET_DATA, &path_and_watch(&path, Watch::None))?;
        ensure!(reply.error == 0, "{path} is listed and cannot be read");
        let mut r = In(&reply.body);
        let data = String::from_utf8_lossy(r.buffer()?.unwrap_or_default()).into_owned();
        let bytes = r.0.to_vec();
        let stat = Stat::read(&mut r)?;
        for name in session.children(&path)? {
            let slash = if path == "/" { "" } else { "/" };
            paths.push(format!("{path}{slash}{name}"));
        }
        let found = Found {
            data,
            version: stat.version,
            mzxid: stat.mzxid,
            stat: bytes,
        };
        tree.insert(path, found);
    }
    session.close()?;
    Ok(tree)
}

/// Judges every server of an ensemble that is whole and that nobody changes; how many nodes each
/// has.
pub(super) fn judge(ensemble: &Ensemble, scene: &Scene, dice: &mut Dice) -> Result<usize> {
    let mut first: Option<BTreeMap<String, Found>> = None;
    for server in 0..ensemble.size() {
        let name = format!("server {}", server + 1);
        let mut tree = read_tree(ensemble.client(server), dice.branch()).context(name.clone())?;
        tree.remove(CONFIG_NODE);
        scene.ledger.judge(&tree).context(name.clone())?;
        scene.recipes.judge(&tree).context(name.clone())?;
        let left = tree.keys().find(|path| {
            path.strip_prefix(EPHEMERAL_ROOT)
                .is_some_and(|rest| !rest.is_empty())
        });
        ensure!(left.is_none(), "{name}: {left:?} has outlived its session");
        match &first {
            None => first = Some(tree),
            Some(first) => same(first, &tree).context(name)?,
        }
    }
    agree(ensemble)?;
    Ok(first.map_or(0, |tree| tree.len()))
}

fn same(one: &BTreeMap<String, Found>, other: &BTreeMap<String, Found>) -> Result<()> {
    for (path, found) in one {
        let theirs = other.get(path);
        ensure!(
            theirs == Some(found),
            "{path} is {found:?} on server 1 and {theirs:?} here"
        );
    }
    let more = other.keys().find(|path| !one.contains_key(*path));
    ensure!(more.is_none(), "{more:?} is not on server 1");
    Ok(())
}

/// Digests of one zxid are equal on all servers that remember them.
fn agree(ensemble: &Ensemble) -> Result<()> {
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    for server in 0..ensemble.size() {
        let answer = ensemble.word(server, "hash")?;
        for (zxid, digest) in answer.lines().filter_map(|line| line.split_once(": ")) {
            let first = known.entry(zxid.into()).or_insert_with(|| digest.into());
            ensure!(
                first == digest,
                "server {}: the digest of zxid {zxid} is {digest}, elsewhere {first}",
                server + 1
            );
        }
    }
    Ok(())
}
