//! A queue of which no item is lost.

mod item;
mod layout;

use bytes::Bytes;
use tokio::sync::Mutex;

use crate::Acl;
use crate::{Client, CreateOptions, ErrorKind, Multi, NodeKind, OneWatch, Result, Version, acls};

use super::either::{Either, either};
use super::names::{child, uuid};
use super::outcome::{bad_data, catch_up, is, is_cut_off, look_again, settle};
use super::receipts::{Outcome, Receipts};

pub use item::Item;
pub use layout::QueueLayout;

/// A queue in the order in which items were put. Curator: `DistributedQueue`,
/// `SimpleDistributedQueue`. kazoo: `Queue`, `LockingQueue`.
///
/// # Guarantees
/// - *Putting*: an item whose [`Queue::put`] returned stands in the queue once, and stays until
///   it is consumed. A call that fails says by [`crate::Error::outcome_unknown`] whether it may be
///   there.
/// - *[`Queue::take`], at least once*: an item is locked by one session at a time and removed by
///   [`Item::done`] only, together with its lock. If the session ends before, or the item is
///   dropped, the next one gets it. So what is done with it may be done twice, but by one living
///   session at a time; [`Item::fence`] makes changes within ZooKeeper happen exactly once.
/// - *[`Queue::pop`], at most once*: an item is removed and then given, to one caller. It is lost if
///   the caller dies before it is finished with it, or if its session is lost before it hears of it.
/// - Both may be used side by side: what is locked is not popped.
///
/// The order in which items are given is that of their putting; that in which they are finished is
/// up to their takers.
///
/// # When things go wrong
/// - *Disconnected*: calls wait for the next connection; a taken item stays locked for as long as
///   the session lives.
/// - *Session lost*: taken items go back; [`Item::lost`] says so.
/// - *Clock stands still*: a taker that stands still for longer than its session's timeout goes on
///   with an item that is another's by then; see [`Item::fence`] and [`Item::token`].
/// - *Outcome unknown*: putting and popping are noted in a receipt of the writer's, as with
///   [`super::Counter`]; locking and finishing are found out by who holds the lock.
///
/// # Limits
/// All names of items are read for each item that is taken: a queue is for thousands, not millions.
///
/// # Nodes
/// See [`QueueLayout`]. Locks of items are below `<path>-locks`, or `<path>/taken` in kazoo's
/// `LockingQueue`, receipts below `<path>-receipts`.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::Queue;
/// let queue = Queue::new(&client, "/jobs");
/// queue.put("resize 17.png").await?;
/// let item = queue.take().await?;
/// println!("{:?}", item.data());
/// item.done().await
/// # }
/// ```
#[derive(Debug)]
pub struct Queue {
    client: Client,
    layout: QueueLayout,
    items: String,
    locks: String,
    acl: Vec<Acl>,
    receipts: Mutex<Receipts>,
}

/// What came of the try to lock an item.
enum Locking {
    Locked(Item),
    /// Another has it.
    Taken,
    Removed,
}

/// kazoo's priority of an item that has none of its own.
const MIDDLE: u16 = 100;
/// kazoo's lowest priority.
const LAST: u16 = 999;

impl Queue {
    /// The queue at `path`, of Curator's `SimpleDistributedQueue`; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self::with_layout(client, path, QueueLayout::default())
    }

    /// The same with other nodes.
    #[must_use]
    pub fn with_layout(client: &Client, path: &str, layout: QueueLayout) -> Self {
        let acl = acls::open();
        let receipts = Receipts::of_session(client, format!("{path}-receipts"), acl.clone());
        Self {
            client: client.clone(),
            layout,
            items: layout.items(path),
            locks: layout.locks(path),
            acl,
            receipts: Mutex::new(receipts),
        }
    }

    /// Takes the locks of items from another directory: Curator's `lockPath`.
    #[must_use]
    pub fn with_locks_at(mut self, locks: &str) -> Self {
        locks.clone_into(&mut self.locks);
        self
    }

    /// Puts an item at the end.
    ///
    /// # Errors
    /// When the session is lost or a call takes too long, see [`crate::Error::outcome_unknown`];
    /// as those of `create`.
    pub async fn put(&self, data: impl AsRef<[u8]>) -> Result<()> {
        self.put_all(&[data]).await
    }

    /// Puts several items at the end, all or none.
    ///
    /// # Errors
    /// As [`Queue::put`].
    pub async fn put_all<T: AsRef<[u8]>>(&self, items: &[T]) -> Result<()> {
        self.put_with_priority(items, MIDDLE).await
    }

    /// Puts several items behind those of a lower number and before those of a higher one. Only
    /// kazoo's layouts know priorities, 0 to 999; the others ignore it.
    ///
    /// # Errors
    /// As [`Queue::put`].
    pub async fn put_with_priority<T: AsRef<[u8]>>(
        &self,
        items: &[T],
        priority: u16,
    ) -> Result<()> {
        if priority > LAST {
            return Err(bad_data(&self.items, "a priority is at most 999"));
        }
        let path = child(&self.items, &self.layout.prefix(priority));
        let mut multi = Multi::new();
        for item in items {
            let options = CreateOptions {
                kind: NodeKind::PersistentSequential,
                acl: self.acl.clone(),
                no_data: false,
            };
            multi = multi.create(&path, self.layout.encode(item.as_ref()), options);
        }
        if multi.is_empty() {
            return Ok(());
        }
        let mut receipts = self.receipts.lock().await;
        let change = receipts.next_change();
        loop {
            match receipts.make(&change, &multi, "put").await? {
                Outcome::Done | Outcome::Noted(_) => return Ok(()),
                Outcome::Refused(error) if is(&error, &ErrorKind::NoNode) => {
                    self.create(&self.items).await?;
                }
                Outcome::Refused(error) => return Err(error),
            }
        }
    }

    /// Waits for an item and locks it.
    ///
    /// # Errors
    /// When the session is lost; as those of `children`, `create` and `get`.
    pub async fn take(&self) -> Result<Item> {
        loop {
            let (found, items, locks) = self.lock_first().await?;
            if let Some(item) = found {
                return Ok(item);
            }
            self.wait(items, locks).await?;
        }
    }

    /// Locks the first item that is free, if there is one.
    ///
    /// # Errors
    /// As [`Queue::take`].
    pub async fn try_take(&self) -> Result<Option<Item>> {
        catch_up(&self.client, &self.items).await?;
        Ok(self.lock_first().await?.0)
    }

    /// The first item that is free, if there is one, and watches for more.
    async fn lock_first(&self) -> Result<(Option<Item>, OneWatch, OneWatch)> {
        'look: loop {
            let (names, items, locks) = self.free().await?;
            for name in &names {
                match self.lock(name).await? {
                    Locking::Locked(item) => return Ok((Some(item), items, locks)),
                    Locking::Taken => {}
                    // Others may have removed all that was listed, and each try is three calls.
                    Locking::Removed => continue 'look,
                }
            }
            return Ok((None, items, locks));
        }
    }

    /// Waits for an item and removes it: what it held.
    ///
    /// # Errors
    /// As [`Queue::take`]. Where [`crate::Error::outcome_unknown`] holds, an item may be gone.
    pub async fn pop(&self) -> Result<Vec<Bytes>> {
        loop {
            let (names, items, locks) = self.free().await?;
            for name in &names {
                if let Some(data) = self.remove(name).await? {
                    return Ok(data);
                }
            }
            self.wait(items, locks).await?;
        }
    }

    /// How many items there are, taken ones too.
    ///
    /// # Errors
    /// As those of `exists`.
    pub async fn len(&self) -> Result<usize> {
        let stat = self.client.exists(&self.items).await?;
        Ok(stat.map_or(0, |stat| usize::try_from(stat.num_children).unwrap_or(0)))
    }

    /// Whether there are no items.
    ///
    /// # Errors
    /// As those of `exists`.
    pub async fn is_empty(&self) -> Result<bool> {
        Ok(self.len().await? == 0)
    }

    /// Names of items that nobody has taken, in order, and watches for more.
    async fn free(&self) -> Result<(Vec<String>, OneWatch, OneWatch)> {
        let (mut names, items) = self.list(&self.items).await?;
        let (taken, locks) = self.list(&self.locks).await?;
        let taken: std::collections::HashSet<String> = taken.into_iter().collect();
        names.retain(|name| self.layout.is_item(name) && !taken.contains(name));
        names.sort_unstable();
        Ok((names, items, locks))
    }

    async fn list(&self, path: &str) -> Result<(Vec<String>, OneWatch)> {
        loop {
            match self.client.children_and_watch(path).await {
                Ok((children, watch)) => return Ok((children.names, watch)),
                Err(error) if is(&error, &ErrorKind::NoNode) => self.create(path).await?,
                Err(error) => return Err(error),
            }
        }
    }

    async fn wait(&self, items: OneWatch, locks: OneWatch) -> Result<()> {
        let (Either::First(fired) | Either::Second(fired)) = either(items, locks).await;
        match fired {
            Ok(_) => Ok(()),
            Err(end) => look_again(end, &self.items),
        }
    }

    /// A directory of the queue, which stays.
    async fn create(&self, path: &str) -> Result<()> {
        self.client.create_parents(path).await?;
        let options = CreateOptions {
            kind: NodeKind::Persistent,
            acl: self.acl.clone(),
            no_data: false,
        };
        match self.client.create(path, b"", options).await {
            Ok(_) => Ok(()),
            Err(error) if is_cut_off(&error) || is(&error, &ErrorKind::NodeExists) => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Locks an item, unless another is faster.
    async fn lock(&self, name: &str) -> Result<Locking> {
        let token = uuid(self.client.unique());
        let path = child(&self.locks, name);
        let mut item = Item::new(
            &self.client,
            child(&self.items, name),
            path.clone(),
            token.clone(),
        );
        loop {
            let options = CreateOptions {
                kind: NodeKind::Ephemeral,
                acl: self.acl.clone(),
                no_data: false,
            };
            match self.client.create(&path, &token, options).await {
                Ok(created) => {
                    item.locked(created.stat.czxid);
                    break;
                }
                Err(error) if is(&error, &ErrorKind::NodeExists) => {
                    item.forget();
                    return Ok(Locking::Taken);
                }
                Err(error) if is(&error, &ErrorKind::NoNode) => self.create(&self.locks).await?,
                Err(error) if is_cut_off(&error) => {
                    if let Some(zxid) = self.locked_with(&path, &token).await? {
                        item.locked(zxid);
                        break;
                    }
                }
                Err(error) => return Err(error),
            }
        }
        match self.client.get(item.path()).await {
            Ok(node) => {
                item.fill(self.layout.decode(item.path(), &node.data)?);
                Ok(Locking::Locked(item))
            }
            Err(error) if is(&error, &ErrorKind::NoNode) => {
                item.put_back().await?;
                Ok(Locking::Removed)
            }
            Err(error) => Err(error),
        }
    }

    /// The zxid of a lock that was made with this token.
    async fn locked_with(&self, path: &str, token: &str) -> Result<Option<i64>> {
        settle(&self.client, path).await?;
        match self.client.get(path).await {
            Ok(node) => Ok((node.data == token).then_some(node.stat.czxid)),
            Err(error) if is(&error, &ErrorKind::NoNode) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Removes an item, unless another is faster or has it locked.
    async fn remove(&self, name: &str) -> Result<Option<Vec<Bytes>>> {
        let path = child(&self.items, name);
        let lock = child(&self.locks, name);
        let node = match self.client.get(&path).await {
            Ok(node) => node,
            Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(None),
            Err(error) => return Err(error),
        };
        let data = self.layout.decode(&path, &node.data)?;
        let multi = Multi::new()
            .create(&lock, b"", NodeKind::Ephemeral)
            .delete(&path, node.stat.version)
            .delete(&lock, Version::Any);
        let mut receipts = self.receipts.lock().await;
        let change = receipts.next_change();
        match receipts.make(&change, &multi, "pop").await? {
            Outcome::Done | Outcome::Noted(_) => Ok(Some(data)),
            Outcome::Refused(error) => match error.kind() {
                ErrorKind::NodeExists | ErrorKind::NoNode | ErrorKind::BadVersion => Ok(None),
                _ => Err(error),
            },
        }
    }
}
