//! What users do with configuration: they change nodes together, and follow them in a cache of the
//! tree and in a watcher of one node. When the faults are over nobody changes anything more, and
//! those who follow must arrive at what was changed last.

use std::time::Duration;

use anyhow::{Context, Result};
use roo_client::recipes::{ConfigCache, ConfigWatcher, Tree};
use roo_client::{ErrorKind, Multi, NodeKind, OpResult, Version};

use super::super::followed::{Step, Versions};
use super::super::{LIMIT, Life, SET, SET_NODES};
use super::unless_cut_off;

/// Between two looks at what was shown.
const LOOK: Duration = Duration::from_millis(300);

/// Until the run is over.
pub(super) async fn change(life: &Life<'_>) -> Result<()> {
    while !life.is_ending() {
        let doing = life.doing("change");
        change_once(life).await?;
        drop(doing);
        life.nap(60).await;
    }
    Ok(())
}

/// Brings all nodes together to the version that follows.
async fn change_once(life: &Life<'_>) -> Result<()> {
    let version = life.client.get(SET_NODES[0]).await?.stat.version;
    let next = i64::from(version) + 1;
    let data = next.to_string();
    // Events of the node outside of the tree come before those of the tree.
    let single = match Step::of(next) {
        Step::Create => Multi::new().create(LIMIT, &data, NodeKind::Persistent),
        Step::Set => Multi::new().set(LIMIT, &data, Version::Any),
        Step::Delete => Multi::new().delete(LIMIT, Version::Any),
    };
    let all = SET_NODES
        .iter()
        .fold(single, |multi, path| multi.set(path, &data, version));
    let results = match life.client.multi(all).await {
        Ok(results) => results,
        // Another was first.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::BadVersion | ErrorKind::NodeExists | ErrorKind::NoNode
            ) =>
        {
            return Ok(());
        }
        Err(error) => return unless_cut_off(error),
    };
    let stat = results.iter().find_map(|result| match result {
        OpResult::Set(stat) => Some(stat),
        _ => None,
    });
    let zxid = stat.context("a set without a stat")?.mzxid;
    life.book().config.observe(next, zxid)
}

/// The version that a node says it is of.
fn version_of(data: &[u8]) -> Result<i64> {
    let text = std::str::from_utf8(data)?;
    // They are made empty.
    Ok(if text.is_empty() { 0 } else { text.parse()? })
}

/// What the last version is, as far as this user can see: nobody knows where an answer is lost.
async fn last_version(life: &Life<'_>) -> Result<Option<i64>> {
    match life.client.sync(SET).await {
        Ok(()) => version_of(&life.client.get(SET_NODES[0]).await?.data).map(Some),
        Err(error) => unless_cut_off(error).map(|()| None),
    }
}

/// In a cache.
pub(super) async fn follow_tree(life: &Life<'_>) -> Result<()> {
    let mut cache = ConfigCache::open(&life.client, SET).await?;
    let mut before = 0;
    loop {
        let is_ending = life.is_ending();
        let _doing = life.doing("follow the tree");
        let tree = cache.tree();
        let version = note_tree(life, &tree, before)?;
        before = tree.as_of().0;
        if is_ending && last_version(life).await? == Some(version) {
            return Ok(());
        }
        if let Ok(changed) = tokio::time::timeout(LOOK, cache.changed()).await {
            changed?;
        }
    }
}

fn note_tree(life: &Life<'_>, tree: &Tree, before: i64) -> Result<i64> {
    let mut values = Vec::new();
    let mut book = life.book();
    for path in SET_NODES {
        let node = tree.get(path).context("a node is missing")?;
        let version = version_of(&node.data)?;
        if version > 0 {
            book.config.observe(version, node.stat.mzxid)?;
        }
        values.push(version);
    }
    book.config.saw_tree(&values, tree.as_of().0, before)?;
    Ok(values[0])
}

/// In a watcher of one node, which comes and goes.
pub(super) async fn follow_node(life: &Life<'_>) -> Result<()> {
    let mut watcher = ConfigWatcher::new(&life.client, LIMIT);
    let mut given = None;
    loop {
        let is_ending = life.is_ending();
        let _doing = life.doing("follow the node");
        let since = life.client.last_zxid().0;
        if let Ok(node) = tokio::time::timeout(LOOK, watcher.next()).await {
            let node = node?;
            let until = life.client.last_zxid().0;
            let mut book = life.book();
            let version = match &node {
                None => None,
                Some(node) => {
                    let version = version_of(&node.data)?;
                    book.config.observe(version, node.stat.mzxid)?;
                    Some(version)
                }
            };
            book.config.was_given(version, given, since, until)?;
            given = Some(version);
        }
        if is_ending && last_version(life).await?.map(Versions::node_of) == given {
            return Ok(());
        }
    }
}
