//! An item that is locked.

use bytes::Bytes;

use crate::{Client, ErrorKind, Multi, Result, Version, Zxid};

use super::super::line::Lost;
use super::super::outcome::{is, is_cut_off, look_again, settle};

/// An item of a queue that this session has locked. [`Item::done`] removes it; dropping it gives it
/// back.
#[derive(Debug)]
#[must_use = "dropping an item puts it back"]
pub struct Item {
    client: Client,
    path: String,
    lock: String,
    /// What the lock holds, so that it is told from another's.
    mark: String,
    token: Zxid,
    items: Vec<Bytes>,
    is_ours: bool,
}

impl Item {
    pub(super) fn new(client: &Client, path: String, lock: String, mark: String) -> Self {
        Self {
            client: client.clone(),
            path,
            lock,
            mark,
            token: Zxid::ZERO,
            items: Vec::new(),
            // A lock whose creation is under way is given up with the call.
            is_ours: true,
        }
    }

    pub(super) const fn locked(&mut self, zxid: i64) {
        self.token = Zxid(zxid);
    }

    pub(super) fn fill(&mut self, items: Vec<Bytes>) {
        self.items = items;
    }

    pub(super) const fn forget(&mut self) {
        self.is_ours = false;
    }

    /// What was put; the first of several.
    #[must_use]
    pub fn data(&self) -> Bytes {
        self.items.first().cloned().unwrap_or_default()
    }

    /// All that stands in the node: Curator's `putMulti` puts several items into one.
    #[must_use]
    pub fn all(&self) -> &[Bytes] {
        &self.items
    }

    /// The item's node.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The zxid of the lock's creation: greater than that of everyone who had the item before.
    #[must_use]
    pub const fn token(&self) -> Zxid {
        self.token
    }

    /// Adds to `multi` that the item is finished: it is removed together with what the multi does,
    /// exactly once, and nothing happens if the lock is lost. Give the item up with
    /// [`Item::forget_after`] when the multi has succeeded.
    pub fn fence(&self, multi: Multi) -> Multi {
        multi
            .delete(&self.path, Version::Any)
            .delete(&self.lock, Version::Any)
    }

    /// Ends the item after a multi with [`Item::fence`].
    pub fn forget_after(mut self) {
        self.is_ours = false;
    }

    /// Waits until the lock is lost, and says why.
    pub async fn lost(&self) -> Lost {
        loop {
            let ended = match self.client.exists_and_watch(&self.lock).await {
                Ok((Some(stat), watch)) if stat.czxid == self.token.0 => match watch.await {
                    Ok(_) => Ok(()),
                    Err(end) => look_again(end, &self.lock),
                },
                Ok(_) => return Lost::Deleted,
                Err(error) => Err(error),
            };
            match ended {
                Err(error) if is(&error, &ErrorKind::Closed) => return Lost::Closed,
                Err(error) if error.session_lost() => return Lost::Session,
                Err(error) if is_cut_off(&error) => {}
                Err(error) => return Lost::Unknown(error),
                Ok(()) => {}
            }
        }
    }

    /// Removes the item and its lock, and returns when the servers know it.
    ///
    /// # Errors
    /// [`ErrorKind::NoNode`] when the lock was lost: another has the item, or will. When the session
    /// is lost: the item is done if the outcome was not unknown, else perhaps not.
    pub async fn done(mut self) -> Result<()> {
        let mut is_unsure = false;
        let outcome = self.finish(&mut is_unsure).await;
        if outcome.is_ok() {
            self.is_ours = false;
        }
        // The last call may have failed without having been sent; an earlier one was.
        outcome.map_err(|error| if is_unsure { error.sent(true) } else { error })
    }

    async fn finish(&mut self, is_unsure: &mut bool) -> Result<()> {
        loop {
            match self.client.multi(self.fence(Multi::new())).await {
                Ok(_) => return Ok(()),
                Err(error) if is_cut_off(&error) => {
                    *is_unsure = true;
                    settle(&self.client, &self.lock).await?;
                    // Only who holds the lock removes the item.
                    if self.client.exists(&self.path).await?.is_none() {
                        return Ok(());
                    }
                    *is_unsure = false;
                }
                Err(error) => {
                    if is(&error, &ErrorKind::NoNode) {
                        self.is_ours = false;
                    }
                    return Err(error);
                }
            }
        }
    }

    /// Unlocks the item, so that another can take it, and returns when the servers know it.
    ///
    /// # Errors
    /// When the session is lost, and the lock with it; as those of `delete`.
    pub async fn put_back(mut self) -> Result<()> {
        unlock(&self.client, &self.lock, &self.mark).await?;
        self.is_ours = false;
        Ok(())
    }
}

impl Drop for Item {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        let (client, lock, mark) = (self.client.clone(), self.lock.clone(), self.mark.clone());
        self.client.background(async move {
            let _ = unlock(&client, &lock, &mark).await;
        });
    }
}

/// Deletes the lock if it is the one with this mark: the name is everybody's.
async fn unlock(client: &Client, lock: &str, mark: &str) -> Result<()> {
    loop {
        settle(client, lock).await?;
        let version = match client.get(lock).await {
            Ok(node) if node.data == mark => node.stat.version,
            Ok(_) => return Ok(()),
            Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(()),
            Err(error) => return Err(error),
        };
        match client.delete(lock, version).await {
            Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(()),
            Err(error) if is_cut_off(&error) => {}
            other => return other,
        }
    }
}
