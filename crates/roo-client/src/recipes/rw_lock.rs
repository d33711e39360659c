//! A lock for many readers or one writer.

use crate::{Client, Result};

use super::line::{Contender, ContenderOptions, Line, Rule};
use super::lock::LockGuard;
use super::names::{KAZOO_LOCK, KAZOO_READ, Layout, READ, WRITE};

/// A lock that is held by any number of readers or by one writer; all wait in one line, so that
/// neither starves. Curator: `InterProcessReadWriteLock` (but not reentrant). kazoo: `ReadLock`,
/// `WriteLock`.
///
/// Guarantees and their limits, and what happens on disconnection, loss of the session, a clock
/// that stands still and unknown outcomes, are those of [`super::Lock`]. The fencing tokens of
/// writers grow, and a reader's lies between those of the writers before and after it: a resource
/// refuses a writer's token that is lower than the highest it has seen from anybody, and a reader's
/// that is lower than the highest of a writer.
///
/// # Nodes
/// `_c_<uuid>-__READ__<sequence>` and `_c_<uuid>-__WRIT__<sequence>`; with [`Layout::Kazoo`]
/// `<uuid>__rlock__<sequence>` and `<uuid>__lock__<sequence>`.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::RwLock;
/// let lock = RwLock::new(&client, "/locks/catalogue");
/// let reader = lock.read().await?;
/// reader.release().await?;
/// let writer = lock.write().await?;
/// writer.release().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct RwLock {
    readers: Line,
    writers: Line,
}

impl RwLock {
    /// The lock at `path`; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self::with_options(client, path, ContenderOptions::default())
    }

    /// The same, with names, an identifier and an ACL of one's own.
    #[must_use]
    pub fn with_options(client: &Client, path: &str, options: ContenderOptions) -> Self {
        let (read, write) = match options.layout {
            Layout::Curator => (READ, WRITE),
            Layout::Kazoo => (KAZOO_READ, KAZOO_LOCK),
        };
        let line = |mark| Line {
            client: client.clone(),
            directory: path.to_owned(),
            mark,
            options: options.clone(),
        };
        Self {
            readers: line(read),
            writers: line(write),
        }
    }

    /// Waits until no writer is before this reader.
    ///
    /// # Errors
    /// As [`super::Lock::acquire`].
    pub async fn read(&self) -> Result<LockGuard> {
        self.readers.turn(Rule::Exclusive).await.map(LockGuard)
    }

    /// Waits until nobody is before this writer.
    ///
    /// # Errors
    /// As [`super::Lock::acquire`].
    pub async fn write(&self) -> Result<LockGuard> {
        self.writers.turn(Rule::Everybody).await.map(LockGuard)
    }

    /// Reads if no writer holds or waits.
    ///
    /// # Errors
    /// As [`super::Lock::acquire`].
    pub async fn try_read(&self) -> Result<Option<LockGuard>> {
        let place = self.readers.turn_now(Rule::Exclusive).await?;
        Ok(place.map(LockGuard))
    }

    /// Writes if nobody holds or waits.
    ///
    /// # Errors
    /// As [`super::Lock::acquire`].
    pub async fn try_write(&self) -> Result<Option<LockGuard>> {
        let place = self.writers.turn_now(Rule::Everybody).await?;
        Ok(place.map(LockGuard))
    }

    /// Who holds and who waits, readers and writers, in order.
    ///
    /// # Errors
    /// As those of `children` and `get`.
    pub async fn contenders(&self) -> Result<Vec<Contender>> {
        self.writers.contenders().await
    }
}
