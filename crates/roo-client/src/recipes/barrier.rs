//! Gates: one that somebody opens for all, and one that opens when all have come.

use crate::{Client, CreateOptions, ErrorKind, NodeKind, Result, Stat, Version, Zxid};

use super::names::{Layout, child, hex, uuid};
use super::outcome::{catch_up, delete, directory, is, is_cut_off, look_again, settle, settled};

/// A gate that is closed while its node exists. Curator: `DistributedBarrier`. kazoo: `Barrier`.
///
/// # Guarantees
/// [`Barrier::wait`] returns only after the node was absent at some moment behind the call, on
/// whatever server: whoever comes after [`Barrier::close`] has returned finds it closed. A gate that
/// is opened and closed again at once may be missed.
///
/// It belongs to nobody: the loss of a session or a connection, or a clock that stands still, leaves
/// it as it is. Closing is repeated when its outcome is unknown; opening too, unless the gate that
/// stands there is a newer one.
#[derive(Clone, Debug)]
pub struct Barrier {
    client: Client,
    path: String,
}

impl Barrier {
    /// The gate at `path`; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self {
            client: client.clone(),
            path: path.to_owned(),
        }
    }

    /// Closes the gate; it may be closed already.
    ///
    /// # Errors
    /// As those of `create`.
    pub async fn close(&self) -> Result<()> {
        loop {
            let made = self.client.create(&self.path, b"", NodeKind::Persistent);
            match made.await {
                Ok(_) => return Ok(()),
                Err(error) if is(&error, &ErrorKind::NodeExists) => return Ok(()),
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    self.client.create_parents(&self.path).await?;
                }
                Err(error) if is_cut_off(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Opens the gate; it may be open already.
    ///
    /// # Errors
    /// As those of `delete`.
    pub async fn open(&self) -> Result<()> {
        catch_up(&self.client, &self.path).await?;
        let Some(found) = self.client.exists(&self.path).await? else {
            return Ok(());
        };
        loop {
            match self.client.delete(&self.path, Version::Any).await {
                Ok(()) => return Ok(()),
                Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(()),
                Err(error) if is_cut_off(&error) => {
                    settle(&self.client, &self.path).await?;
                    let present = self.client.exists(&self.path).await?;
                    if present.is_none_or(|present: Stat| present.czxid != found.czxid) {
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Whether the gate is closed.
    ///
    /// # Errors
    /// As those of `exists`.
    pub async fn is_closed(&self) -> Result<bool> {
        Ok(self.client.exists(&self.path).await?.is_some())
    }

    /// Waits until the gate is open.
    ///
    /// # Errors
    /// When the session is lost; as those of `sync` and `exists`.
    pub async fn wait(&self) -> Result<()> {
        // This server may not know yet that the gate was closed.
        catch_up(&self.client, &self.path).await?;
        loop {
            let (present, watch) = self.client.exists_and_watch(&self.path).await?;
            if present.is_none() {
                return Ok(());
            }
            if let Err(end) = watch.await {
                look_again(end, &self.path)?;
            }
        }
    }
}

/// Begins when enough have come, ends when all have gone. Curator: `DistributedDoubleBarrier`.
/// kazoo: `DoubleBarrier`.
///
/// # Guarantees
/// - [`DoubleBarrier::enter`] returns only after as many members as agreed were there together, or
///   the work they came for has already begun.
/// - [`Entered::leave`] returns only after every other member has left or lost its session.
///
/// # Limits
/// A path is for one piece of work at a time: whoever comes after it began is let in at once, and
/// the next one begins after all have left.
///
/// # When things go wrong
/// - *Disconnected*: the member stays for as long as its session lives.
/// - *Session lost*: it counts as gone, for entering and leaving alike, and its calls fail.
/// - *Clock stands still*: for longer than the session's timeout, as a lost session.
/// - *Outcome unknown*: a member's name is its own, so that each step is repeated.
///
/// # Nodes
/// `<uuid>` for each member, ephemeral, and `ready`, below the path.
#[derive(Clone, Debug)]
pub struct DoubleBarrier {
    client: Client,
    path: String,
    members: usize,
    layout: Layout,
}

/// Tells that there are enough.
const READY: &str = "ready";

impl DoubleBarrier {
    /// The barrier at `path` for so many members, at least one; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str, members: usize) -> Self {
        Self::with_layout(client, path, members, Layout::default())
    }

    /// The same with a member's name as kazoo or Curator writes it; they understand each other's.
    #[must_use]
    pub fn with_layout(client: &Client, path: &str, members: usize, layout: Layout) -> Self {
        Self {
            client: client.clone(),
            path: path.to_owned(),
            members: members.max(1),
            layout,
        }
    }

    /// Waits until enough have come. Drop the future to give up.
    ///
    /// # Errors
    /// When the session is lost; as those of `create` and `children`.
    pub async fn enter(&self) -> Result<Entered> {
        let ready = child(&self.path, READY);
        let mut member = self.member();
        member.create().await?;
        loop {
            let (present, watch) = self.client.exists_and_watch(&ready).await?;
            if present.is_some() {
                break;
            }
            let names = self.client.children(&self.path).await?.names;
            if !names.contains(&member.name) {
                member.create().await?;
                continue;
            }
            if names.iter().filter(|name| *name != READY).count() >= self.members {
                self.begin(&ready).await?;
                break;
            }
            if let Err(end) = watch.await {
                look_again(end, &ready)?;
            }
        }
        Ok(Entered(member))
    }

    /// Lets everybody in.
    async fn begin(&self, ready: &str) -> Result<()> {
        loop {
            match self.client.create(ready, b"", NodeKind::Persistent).await {
                Ok(_) => return Ok(()),
                Err(error) if is(&error, &ErrorKind::NodeExists) => return Ok(()),
                Err(error) if is_cut_off(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn member(&self) -> Member {
        let unique = self.client.unique();
        let name = match self.layout {
            Layout::Curator => uuid(unique),
            Layout::Kazoo => hex(unique),
        };
        Member {
            client: self.client.clone(),
            directory: self.path.clone(),
            name,
            is_present: false,
            token: Zxid::ZERO,
        }
    }
}

/// A member's node.
#[derive(Debug)]
struct Member {
    client: Client,
    directory: String,
    name: String,
    is_present: bool,
    token: Zxid,
}

impl Member {
    fn path(&self) -> String {
        child(&self.directory, &self.name)
    }

    async fn create(&mut self) -> Result<()> {
        let path = self.path();
        self.is_present = true;
        loop {
            let options = CreateOptions::from(NodeKind::Ephemeral);
            match self.client.create(&path, b"", options.clone()).await {
                Ok(created) => {
                    self.token = Zxid(created.stat.czxid);
                    return Ok(());
                }
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    directory(&self.client, &self.directory, &options.acl).await?;
                }
                Err(error) if is_cut_off(&error) || is(&error, &ErrorKind::NodeExists) => {
                    if let Some(stat) = settled(&self.client, &path).await? {
                        self.token = Zxid(stat.czxid);
                        return Ok(());
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    async fn delete(&mut self) -> Result<()> {
        delete(&self.client, &self.path()).await?;
        self.is_present = false;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        if self.is_present {
            self.client.delete_detached(&self.path());
        }
    }
}

/// A member that is in. Dropping it leaves without waiting for the others.
#[derive(Debug)]
#[must_use = "dropping it leaves the barrier"]
pub struct Entered(Member);

impl Entered {
    /// The zxid at which this member came.
    #[must_use]
    pub const fn token(&self) -> Zxid {
        self.0.token
    }

    /// Leaves, and waits until all have left. The first by name waits for the last, and all others
    /// for the first: each departure wakes few.
    ///
    /// # Errors
    /// When the session is lost; as those of `children` and `delete`.
    pub async fn leave(mut self) -> Result<()> {
        let client = self.0.client.clone();
        let directory = self.0.directory.clone();
        let ready = child(&directory, READY);
        loop {
            let mut names = match client.children(&directory).await {
                Ok(children) => children.names,
                Err(error) if is(&error, &ErrorKind::NoNode) => Vec::new(),
                Err(error) => return Err(error),
            };
            names.retain(|name| name != READY);
            names.sort_unstable();
            let is_first = names.first() == Some(&self.0.name);
            let awaited = match is_first {
                true => names[1..].last(),
                false => names.first(),
            };
            // A server may not know yet who came last, but does behind the departure.
            if awaited.is_none() && !self.0.is_present {
                break;
            }
            let stays = is_first && awaited.is_some();
            if self.0.is_present && !stays {
                self.0.delete().await?;
            }
            let Some(awaited) = awaited else { continue };
            let awaited = child(&directory, awaited);
            let (present, watch) = client.exists_and_watch(&awaited).await?;
            if present.is_some()
                && let Err(end) = watch.await
            {
                look_again(end, &awaited)?;
            }
        }
        delete(&client, &ready).await
    }
}
