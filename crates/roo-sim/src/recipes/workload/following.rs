//! What users do with configuration: they change nodes that belong together, and follow them in a
//! cache of the tree and in a watcher of one node. When the storm is over nobody changes anything
//! more, and those who follow must arrive at what was changed last.

use futures_util::future::{Either, select, try_join3};
use roo_client::recipes::{ConfigCache, ConfigWatcher, Tree};
use roo_client::{Multi, Node, NodeKind, Result, Version, Zxid};

use super::super::followers::{Followers, Given, NODE, SET, Seen, TREE};
use super::super::naive::{self, LateWatcher, Naive};
use super::{Doing, Life, ensure, settle};
use crate::recipes::ledger::Ledger;

/// What those are about who have yet to see the last change.
pub const ARRIVE: [&str; 2] = ["arrive at the last tree", "arrive at the last node"];

/// A node of the tree that is there every other time.
const EXTRA: &str = "/set/extra";

/// The longest time between two looks at what was given, in microseconds.
const LOOK_US: u64 = 300_000;

fn note<T>(life: &Life, what: impl FnOnce(&mut Followers) -> T) -> T {
    let ledger: &mut Ledger = &mut life.shared.ledger();
    what(&mut ledger.followers)
}

/// Makes the nodes that are set together.
pub(super) async fn prepare(life: &Life) -> Result<()> {
    ensure(life, TREE, b"").await?;
    let mut multi = Multi::new();
    for path in SET {
        multi = multi.create(path, "0", NodeKind::Persistent);
    }
    settle(life.client.multi(multi).await.map(|_| ()))
}

/// All of it at once.
pub(super) async fn change_and_follow(life: &Life) -> Result<()> {
    if life.shared.mix >> 8 & 1 == 0 {
        return Ok(());
    }
    try_join3(change_again(life), follow_tree(life), follow_node(life))
        .await
        .map(|_| ())
}

async fn change_again(life: &Life) -> Result<()> {
    while !life.desk.is_ending() {
        let doing = Doing::begin(life, "change");
        settle(change(life).await)?;
        drop(doing);
        life.desk.nap(60_000).await;
    }
    Ok(())
}

/// Brings the set and the nodes that come and go with it to the next version, all at once.
async fn change(life: &Life) -> Result<()> {
    let version = life.client.get(SET[0]).await?.stat.version;
    let next = version + 1;
    let data = next.to_string();
    // Events of the node outside of the tree come before those of the tree.
    let mut multi = match next % 4 {
        1 => Multi::new().create(NODE, &data, NodeKind::Persistent),
        0 => Multi::new().delete(NODE, Version::Any),
        _ => Multi::new().set(NODE, &data, Version::Any),
    };
    multi = match next % 2 {
        1 => multi.create(EXTRA, &data, NodeKind::Persistent),
        _ => multi.delete(EXTRA, Version::Any),
    };
    for path in SET {
        multi = multi.set(path, &data, version);
    }
    life.client.multi(multi).await?;
    life.shared.ledger().count("changes of the set");
    Ok(())
}

fn seen(tree: &Tree) -> Seen {
    let nodes = tree.iter();
    Seen {
        as_of: tree.as_of(),
        nodes: nodes
            .map(|(path, node)| (path.to_owned(), node.data.to_vec()))
            .collect(),
    }
}

async fn follow_tree(life: &Life) -> Result<()> {
    let mut cache = ConfigCache::open(&life.client, TREE).await?;
    let mut before = Zxid::ZERO;
    let mut arriving = None;
    loop {
        if life.desk.is_ending() {
            arriving.get_or_insert_with(|| Doing::begin(life, ARRIVE[0]));
        }
        if life.shared.naive == Some(Naive::ReadSingly) {
            let seen = naive::read_singly(life, &[TREE, SET[0], SET[1], SET[2], EXTRA]).await?;
            note(life, |followers| followers.saw_tree(Zxid::ZERO, seen));
        }
        let tree = cache.tree();
        note(life, |followers| followers.saw_tree(before, seen(&tree)));
        life.shared.ledger().count("trees");
        before = tree.as_of();
        let changed = tree.get(SET[0]).map(|node| Zxid(node.stat.mzxid));
        if arriving.is_some() && note(life, |followers| followers.is_last_of_set(changed)) {
            return Ok(());
        }
        let change = std::pin::pin!(cache.changed());
        if let Either::Left((changes, _)) = select(change, life.desk.nap(LOOK_US)).await {
            settle(changes.map(|_| ()))?;
        }
    }
}

/// The recipe, or one that is done wrongly.
enum Watcher {
    Right(ConfigWatcher),
    Late(LateWatcher),
}

impl Watcher {
    fn new(life: &Life) -> Self {
        match life.shared.naive {
            Some(Naive::WatchLate) => Self::Late(LateWatcher::new(&life.client)),
            _ => Self::Right(ConfigWatcher::new(&life.client, NODE)),
        }
    }

    async fn next(&mut self) -> Result<Option<Node>> {
        match self {
            Self::Right(watcher) => watcher.next().await,
            Self::Late(watcher) => watcher.next(NODE).await,
        }
    }
}

async fn follow_node(life: &Life) -> Result<()> {
    let mut watcher = Watcher::new(life);
    let mut given: Option<Option<Given>> = None;
    let mut arriving = None;
    loop {
        if life.desk.is_ending() {
            arriving.get_or_insert_with(|| Doing::begin(life, ARRIVE[1]));
        }
        let since = life.client.last_zxid();
        let next = std::pin::pin!(watcher.next());
        if let Either::Left((node, _)) = select(next, life.desk.nap(LOOK_US)).await {
            let node = node?.map(|node| Given {
                changed: Zxid(node.stat.mzxid),
                data: node.data.to_vec(),
            });
            let until = life.client.last_zxid();
            note(life, |followers| {
                followers.was_given(given.take(), node.clone(), since, until);
            });
            life.shared.ledger().count("nodes given");
            given = Some(node);
        }
        let changed = given
            .as_ref()
            .map(|node| node.as_ref().map(|node| node.changed));
        let has_arrived =
            changed.is_some_and(|last| note(life, |followers| followers.is_last_of_node(last)));
        if arriving.is_some() && has_arrived {
            return Ok(());
        }
    }
}
