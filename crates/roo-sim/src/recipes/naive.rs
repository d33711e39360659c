//! Recipes as they are often written, and what goes wrong with them: each breaks a promise that the
//! ledger checks, so that it is known to look.

use std::collections::BTreeMap;

use roo_client::{Client, ErrorKind, Node, NodeKind, OneWatch, Result, Version};

use super::followers::Seen;
use super::gatherings::{GATE, GROUP};
use super::ledger::{Claim, What};
use super::workload::{Life, ensure};

/// What is done wrongly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Naive {
    /// A resource outside takes what a holder writes without looking at its token.
    Unfenced,
    /// A contender that sees no reply believes that it holds.
    LockTwice,
    /// An addition whose reply was lost is made again.
    CountAgain,
    /// An item is put again when the reply was lost.
    PutAgain,
    /// An item whose removal was not answered is forgotten.
    PopAgain,
    /// One counts one permit too many.
    MorePermits,
    /// Nodes that belong together are read one by one.
    ReadSingly,
    /// A node is read, and then watched.
    WatchLate,
    /// Numbers are read and set.
    DrawSingly,
    /// Whether a gate is closed is asked of a server that may not know yet.
    PassUnsynced,
    /// Who comes is counted, and never counted off.
    CountArrivals,
    /// Nobody waits for the others at the end.
    LeaveAtOnce,
    /// A member's node does not go with its session.
    StayForGood,
}

/// All of them, and the rule that each breaks.
pub const ALL: &[(Naive, &str)] = &[
    (Naive::Unfenced, "fencing order"),
    (Naive::LockTwice, "mutual exclusion"),
    (Naive::CountAgain, "exact counts"),
    (Naive::PutAgain, "queue"),
    (Naive::PopAgain, "queue"),
    (Naive::MorePermits, "permits"),
    (Naive::ReadSingly, "whole trees"),
    (Naive::WatchLate, "last change"),
    (Naive::DrawSingly, "ids"),
    (Naive::PassUnsynced, "barrier"),
    (Naive::CountArrivals, "double barrier"),
    (Naive::LeaveAtOnce, "double barrier"),
    (Naive::StayForGood, "group"),
];

/// Takes a place in line, and holds without looking whose turn it is.
pub(super) async fn lock(life: &Life) -> Result<()> {
    ensure(life, "/lock", b"").await?;
    let kind = NodeKind::EphemeralSequential;
    let made = life.client.create("/lock/x-lock-", "", kind).await?;
    let claim = Claim {
        what: What::Lock,
        node: made.path.clone(),
        token: made.zxid,
    };
    life.shared.ledger().claim(claim.clone());
    life.desk.nap(20_000).await;
    life.shared.ledger().give_up(&claim);
    life.client.delete(&made.path, Version::Any).await
}

/// Adds one, by a version, again when the connection breaks.
pub(super) async fn add(life: &Life) -> Result<i64> {
    ensure(life, "/count", &0_i64.to_be_bytes()).await?;
    loop {
        let node = life.client.get("/count").await?;
        let data = <[u8; 8]>::try_from(&node.data[..]).unwrap_or_default();
        let sum = i64::from_be_bytes(data) + 1;
        let version = node.stat.version;
        match life.client.set("/count", sum.to_be_bytes(), version).await {
            Ok(_) => return Ok(sum),
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::ConnectionLoss | ErrorKind::BadVersion
                ) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Puts an item, again when the connection breaks.
pub(super) async fn put(life: &Life, item: &str) -> Result<()> {
    loop {
        let kind = NodeKind::PersistentSequential;
        match life.client.create("/q/qn-", item, kind).await {
            Err(error) if *error.kind() == ErrorKind::ConnectionLoss => {}
            other => return other.map(|_| ()),
        }
    }
}

/// Removes the first item, and takes another when the connection breaks.
pub(super) async fn pop(life: &Life) -> Result<()> {
    let mut names = life.client.children("/q").await?.names;
    names.sort_unstable();
    for name in names {
        let path = format!("/q/{name}");
        let Ok(node) = life.client.get(&path).await else {
            continue;
        };
        if life.client.delete(&path, Version::Any).await.is_ok() {
            let item = String::from_utf8_lossy(&node.data).into_owned();
            life.shared.ledger().was_removed(item, true);
            break;
        }
    }
    Ok(())
}

/// Reads nodes one after the other, for what they hold by now.
pub(super) async fn read_singly(life: &Life, paths: &[&str]) -> Result<Seen> {
    let mut nodes = BTreeMap::new();
    for path in paths {
        if let Some(node) = there(life.client.get(path).await)? {
            nodes.insert((*path).to_owned(), node.data.to_vec());
        }
    }
    Ok(Seen {
        as_of: life.client.last_zxid(),
        nodes,
    })
}

fn there<T>(found: Result<T>) -> Result<Option<T>> {
    match found {
        Ok(found) => Ok(Some(found)),
        Err(error) if *error.kind() == ErrorKind::NoNode => Ok(None),
        Err(error) => Err(error),
    }
}

/// Follows a node, and watches it when it has been read.
#[derive(Debug)]
pub(super) struct LateWatcher {
    client: Client,
    watch: Option<OneWatch>,
}

impl LateWatcher {
    pub(super) fn new(client: &Client) -> Self {
        Self {
            client: client.clone(),
            watch: None,
        }
    }

    pub(super) async fn next(&mut self, path: &str) -> Result<Option<Node>> {
        if let Some(watch) = &mut self.watch {
            // It has fired, or is gone: either way the node is read again.
            let _ = watch.await;
            self.watch = None;
        }
        let node = there(self.client.get(path).await)?;
        let (_, watch) = self.client.exists_and_watch(path).await?;
        self.watch = Some(watch);
        Ok(node)
    }
}

/// Draws a number without looking whether another did.
pub(super) async fn draw(life: &Life) -> Result<i64> {
    ensure(life, "/single", b"0").await?;
    let node = life.client.get("/single").await?;
    let text = String::from_utf8_lossy(&node.data).into_owned();
    let id: i64 = text.parse().unwrap_or(0) + 1;
    let data = id.to_string();
    life.client.set("/single", data, Version::Any).await?;
    Ok(id)
}

/// Passes a gate that a server does not know to be closed.
pub(super) async fn pass(life: &Life) -> Result<()> {
    while life.client.exists(GATE).await?.is_some() {
        life.desk.nap(10_000).await;
    }
    Ok(())
}

/// Counts who comes, and does not count off the first one when it gives up: whether it is let in.
pub(super) async fn arrive(life: &Life, directory: &str) -> Result<bool> {
    ensure(life, directory, b"").await?;
    let kind = NodeKind::EphemeralSequential;
    let made = life
        .client
        .create(&format!("{directory}/"), "", kind)
        .await?;
    let is_first = made.path.ends_with("0000000000");
    if is_first {
        life.desk.nap(100_000).await;
        life.client.delete(&made.path, Version::Any).await?;
    }
    Ok(!is_first)
}

/// Becomes a member who stays when its session ends.
pub(super) async fn join(life: &Life, id: &str) -> Result<()> {
    ensure(life, GROUP, b"").await?;
    ensure(life, &format!("{GROUP}/{id}"), b"").await
}

/// Is a member no longer.
pub(super) async fn part(life: &Life, id: &str) -> Result<()> {
    life.client
        .delete(&format!("{GROUP}/{id}"), Version::Any)
        .await
}
