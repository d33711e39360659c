//! A tree of configuration in memory, whole at every moment.

mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures_util::future::join_all;

use crate::{
    Client, ErrorKind, EventKind, Node, Result, WatchEnd, WatchEvent, WatchMode, WatchStream, Zxid,
};

use super::names::child;
use super::outcome::{bad_data, is, look_again};

pub use tree::{Change, ChangeKind, Tree};

/// How much a cache may hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CacheLimits {
    /// Nodes. Default 100 000.
    pub nodes_max: usize,
    /// Bytes of data. Default 256 MiB.
    pub bytes_max: usize,
}

impl Default for CacheLimits {
    fn default() -> Self {
        Self {
            nodes_max: 100_000,
            bytes_max: 256 << 20,
        }
    }
}

/// Calls under way at once while a tree is read.
const READS_AT_ONCE: usize = 256;

/// A tree of nodes kept in memory. Curator: `CuratorCache`, `TreeCache`.
///
/// # Guarantees
/// - Each [`Tree`] it gives is the whole tree as it was at one moment, [`Tree::as_of`]: of a set of
///   nodes that is changed by a multi, it has all changes or none.
/// - They come in order, and after the last change the cache gives a tree that has it.
/// - Changes that follow each other fast may be given as one.
///
/// How: a persistent recursive watch tells of changes before any reply that shows them. What it
/// names is read again, until a round of reading brings no further change: then nothing changed
/// while it was read.
///
/// # Limits
/// The cache moves only while [`ConfigCache::changed`] is awaited. It gives no new tree while the
/// tree changes faster than what changed can be read. Servers before 3.6 have no such watches, and
/// refuse. The counts of a node's changes (`Stat::aversion`) may be old: nothing tells of ACLs.
///
/// # When things go wrong
/// - *Disconnected*: the last tree stays, and may be old. After the reconnection all is read again,
///   since changes between were missed; then comes a new tree, if anything is different.
/// - *Session lost*: [`ConfigCache::changed`] fails, the last tree stays.
/// - *Clock stands still*: as a lost session or nothing.
/// - *Outcome unknown*: it writes nothing.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::ConfigCache;
/// let mut cache = ConfigCache::open(&client, "/config").await?;
/// println!("{:?}", cache.tree().data("/config/limit"));
/// loop {
///     for change in cache.changed().await? {
///         println!("{:?} {}", change.kind, change.path);
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct ConfigCache {
    client: Client,
    path: String,
    limits: CacheLimits,
    watch: WatchStream,
    /// What is being put together; equal to `tree` when nothing is dirty.
    nodes: BTreeMap<String, Node>,
    dirty: BTreeSet<String>,
    is_stale: bool,
    tree: Arc<Tree>,
}

impl ConfigCache {
    /// Reads the tree at `path`, which need not exist.
    ///
    /// # Errors
    /// [`ErrorKind::Unimplemented`] from servers before 3.6; when the session is lost, the tree is
    /// too large, or a node may not be read.
    pub async fn open(client: &Client, path: &str) -> Result<Self> {
        Self::open_with_limits(client, path, CacheLimits::default()).await
    }

    /// The same, with limits of one's own.
    ///
    /// # Errors
    /// As [`ConfigCache::open`].
    pub async fn open_with_limits(
        client: &Client,
        path: &str,
        limits: CacheLimits,
    ) -> Result<Self> {
        let watch = client.watch(path, WatchMode::PersistentRecursive).await?;
        let mut cache = Self {
            client: client.clone(),
            path: path.to_owned(),
            limits,
            watch,
            nodes: BTreeMap::new(),
            dirty: BTreeSet::new(),
            is_stale: true,
            tree: Arc::new(Tree::default()),
        };
        let as_of = cache.settle().await?;
        cache.publish(as_of);
        Ok(cache)
    }

    /// The tree as last read. It stays as it is; take it again after [`ConfigCache::changed`].
    #[must_use]
    pub fn tree(&self) -> Arc<Tree> {
        Arc::clone(&self.tree)
    }

    /// Waits for a tree that differs from the last one, takes it over, and says what is different.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// As [`ConfigCache::open`]. The cache can be asked again unless the session is lost.
    pub async fn changed(&mut self) -> Result<Vec<Change>> {
        loop {
            if !self.is_stale && self.dirty.is_empty() {
                match self.watch.next().await {
                    Some(event) => self.note(&event),
                    None => self.watch_again().await?,
                }
            }
            let as_of = self.settle().await?;
            let changes = self.publish(as_of);
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }

    async fn watch_again(&mut self) -> Result<()> {
        let end = self.watch.end().unwrap_or(WatchEnd::Closed);
        look_again(end, &self.path)?;
        self.is_stale = true;
        let mode = WatchMode::PersistentRecursive;
        self.watch = self.client.watch(&self.path, mode).await?;
        Ok(())
    }

    fn note(&mut self, event: &WatchEvent) {
        match event.kind {
            EventKind::Gap => self.is_stale = true,
            EventKind::DataChanged | EventKind::ChildrenChanged => {
                self.dirty.insert(event.path.clone());
            }
            EventKind::Created | EventKind::Deleted => {
                if event.path != self.path
                    && let Some((parent, _)) = event.path.rsplit_once('/')
                {
                    let parent = if parent.is_empty() { "/" } else { parent };
                    self.dirty.insert(parent.to_owned());
                }
                self.dirty.insert(event.path.clone());
            }
        }
    }

    fn drain(&mut self) {
        while let Some(event) = self.watch.try_next() {
            self.note(&event);
        }
    }

    /// Reads what has changed until nothing changes while it is read: as of when it is the tree.
    async fn settle(&mut self) -> Result<Zxid> {
        loop {
            // Before the events are looked at: none of these transactions is missing among them.
            let as_of = self.client.answered_zxid();
            self.drain();
            if self.is_stale {
                self.nodes = self.read_all().await?;
                self.dirty.clear();
                self.is_stale = false;
            } else if self.dirty.is_empty() {
                return Ok(as_of);
            } else {
                self.read_dirty().await?;
            }
        }
    }

    async fn read_dirty(&mut self) -> Result<()> {
        let paths: Vec<String> = self.dirty.iter().cloned().collect();
        let mut found = Vec::with_capacity(paths.len());
        for batch in paths.chunks(READS_AT_ONCE) {
            found.extend(join_all(batch.iter().map(|path| self.client.get(path))).await);
        }
        for (path, node) in paths.into_iter().zip(found) {
            match node {
                Ok(node) => {
                    self.nodes.insert(path, node);
                }
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    self.nodes.remove(&path);
                }
                Err(error) => return Err(error),
            }
        }
        self.dirty.clear();
        self.check_limits(&self.nodes)
    }

    async fn read_all(&self) -> Result<BTreeMap<String, Node>> {
        let mut nodes = BTreeMap::new();
        let mut unread = vec![self.path.clone()];
        while !unread.is_empty() {
            let batch = unread.split_off(unread.len().saturating_sub(READS_AT_ONCE / 2));
            let reads = batch.iter().map(|path| self.read_one(path));
            for (path, found) in batch.iter().zip(join_all(reads).await) {
                let Some((node, names)) = found? else {
                    continue;
                };
                nodes.insert(path.clone(), node);
                unread.extend(names.iter().map(|name| child(path, name)));
            }
            self.check_limits(&nodes)?;
        }
        Ok(nodes)
    }

    async fn read_one(&self, path: &str) -> Result<Option<(Node, Vec<String>)>> {
        let both = futures_util::future::join(self.client.get(path), self.client.children(path));
        match both.await {
            (Ok(node), Ok(children)) => Ok(Some((node, children.names))),
            (Err(error), _) | (_, Err(error)) if is(&error, &ErrorKind::NoNode) => Ok(None),
            (Err(error), _) | (_, Err(error)) => Err(error),
        }
    }

    fn check_limits(&self, nodes: &BTreeMap<String, Node>) -> Result<()> {
        let bytes: usize = nodes.values().map(|node| node.data.len()).sum();
        if nodes.len() > self.limits.nodes_max || bytes > self.limits.bytes_max {
            let what = format!(
                "the tree is larger than the cache's limits of {} nodes and {} bytes",
                self.limits.nodes_max, self.limits.bytes_max
            );
            return Err(bad_data(&self.path, &what));
        }
        Ok(())
    }

    /// Makes what was read the tree: the differences.
    fn publish(&mut self, as_of: Zxid) -> Vec<Change> {
        let tree = Tree::new(&self.path, as_of, self.nodes.clone());
        let changes = tree.changes_since(&self.tree);
        self.tree = Arc::new(tree);
        changes
    }
}
