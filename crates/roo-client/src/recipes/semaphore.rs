//! A number of leases on something.

use crate::{
    Children, Client, CreateOptions, Error, ErrorKind, NodeKind, OneWatch, Result, Version, Zxid,
};

use super::either::{Either, either};
use super::line::{ContenderOptions, Line, Lost, Place};
use super::lock::Lock;
use super::names::{KAZOO_LOCK, LEASE, Layout, child, standing};
use super::outcome::{bad_data, directory, is, is_cut_off, look_again};

/// At most so many leases at once. Curator: `InterProcessSemaphoreV2`. kazoo: `Semaphore`.
///
/// # Guarantees
/// - No lease is given while as many as there are permits are held by living sessions. All
///   participants must mean the same number: either each is told it, or it stands in a node.
/// - Leases are given in the order in which they were asked for.
/// - When the number in the node shrinks, nobody loses a lease by force: the holders of the newest
///   ones too many are told, see [`Lease::asked_to_return`], and no new one is given until enough
///   are back.
///
/// Disconnection, loss of the session, a clock that stands still and unknown outcomes are as with
/// [`super::Lock`]: a lease lives and dies with its session, and a holder that has stood still may
/// be one too many. A lease's token is the zxid of its node; with several holders tokens do not
/// say who is the newest of them, but [`Lease::fence`] guards changes within ZooKeeper.
///
/// # Nodes
/// `leases/_c_<uuid>-lease-<sequence>` below the path, and `locks/`, where those wait who want one.
/// The number may stand in a node as Curator's `SharedCount` keeps it, 4 bytes. With
/// [`Layout::Kazoo`]: `<uuid>` below the path, which itself holds the number in decimal, and the
/// lock beside it at `<path>-__lock__`.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::Semaphore;
/// let semaphore = Semaphore::new(&client, "/limits/export", 3);
/// let lease = semaphore.acquire().await?;
/// lease.give_back().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Semaphore {
    path: String,
    permits: Permits,
    lock: Lock,
    leases: Line,
}

#[derive(Clone, Debug)]
enum Permits {
    Fixed(u32),
    Shared(String),
}

impl Semaphore {
    /// The semaphore at `path` with a number of permits that everybody is told.
    #[must_use]
    pub fn new(client: &Client, path: &str, permits: u32) -> Self {
        Self::with_options(client, path, permits, ContenderOptions::default())
    }

    /// The same, with names, an identifier and an ACL of one's own.
    #[must_use]
    pub fn with_options(
        client: &Client,
        path: &str,
        permits: u32,
        options: ContenderOptions,
    ) -> Self {
        Self::build(client, path, Permits::Fixed(permits), options)
    }

    /// The semaphore at `path` with as many permits as the node `count` says, see
    /// [`Semaphore::set_permits`]. None while it does not exist.
    #[must_use]
    pub fn shared(client: &Client, path: &str, count: &str) -> Self {
        let permits = Permits::Shared(count.to_owned());
        Self::build(client, path, permits, ContenderOptions::default())
    }

    fn build(client: &Client, path: &str, permits: Permits, options: ContenderOptions) -> Self {
        let (leases, locks, mark) = match options.layout {
            Layout::Curator => (child(path, "leases"), child(path, "locks"), LEASE),
            Layout::Kazoo => (path.to_owned(), format!("{path}-{KAZOO_LOCK}"), ""),
        };
        Self {
            path: path.to_owned(),
            permits,
            lock: Lock::with_options(client, &locks, options.clone()),
            leases: Line {
                client: client.clone(),
                directory: leases,
                mark,
                options,
            },
        }
    }

    /// Writes the number of permits into a node for [`Semaphore::shared`].
    ///
    /// # Errors
    /// As those of `set` and `create`.
    pub async fn set_permits(client: &Client, count: &str, permits: u32) -> Result<()> {
        let permits = i32::try_from(permits)
            .map_err(|_| bad_data(count, "a semaphore has at most 2^31 - 1 permits"))?;
        let data = permits.to_be_bytes();
        loop {
            let outcome = match client.set(count, data, Version::Any).await {
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    client.create_parents(count).await?;
                    let made = client.create(count, data, NodeKind::Persistent).await;
                    made.map(|_| ())
                }
                other => other.map(|_| ()),
            };
            match outcome {
                Err(error) if is_cut_off(&error) || is(&error, &ErrorKind::NodeExists) => {}
                other => return other,
            }
        }
    }

    /// Waits for a lease. Drop the future to give up waiting.
    ///
    /// # Errors
    /// As [`Lock::acquire`]; and when the node with the number holds none, or with
    /// [`Layout::Kazoo`] another one.
    pub async fn acquire(&self) -> Result<Lease> {
        let lock = self.lock.acquire().await?;
        self.agree().await?;
        loop {
            let mut place = self.join().await?;
            if self.await_permit(&place).await? {
                lock.release().await?;
                return Ok(self.lease(place));
            }
            place.forget();
        }
    }

    /// Takes a lease if there is one and nobody waits.
    ///
    /// # Errors
    /// As [`Semaphore::acquire`].
    pub async fn try_acquire(&self) -> Result<Option<Lease>> {
        let Some(lock) = self.lock.try_acquire().await? else {
            return Ok(None);
        };
        self.agree().await?;
        let place = self.join().await?;
        let (permits, _) = self.permits().await?;
        let (children, _) = self.present().await?;
        let lease = if is_enough(&children, place.name(), permits) == Some(true) {
            Some(self.lease(place))
        } else {
            place.leave().await?;
            None
        };
        lock.release().await?;
        Ok(lease)
    }

    /// Leases that are held, those being waited for not counted.
    ///
    /// # Errors
    /// As those of `children`.
    pub async fn held(&self) -> Result<usize> {
        let (permits, _) = self.permits().await?;
        let (children, _) = self.present().await?;
        let permits = usize::try_from(permits).unwrap_or(usize::MAX);
        Ok(children.names.len().min(permits))
    }

    fn lease(&self, place: Place) -> Lease {
        Lease {
            place,
            semaphore: self.clone(),
        }
    }

    async fn join(&self) -> Result<Place> {
        match self.leases.options.layout {
            Layout::Curator => self.leases.join().await,
            Layout::Kazoo => self.leases.join_unordered().await,
        }
    }

    /// Waits until there are no more leases than permits: whether ours was still among them.
    async fn await_permit(&self, place: &Place) -> Result<bool> {
        loop {
            let (permits, count_watch) = self.permits().await?;
            let (children, watch) = self.present().await?;
            match is_enough(&children, place.name(), permits) {
                None => return Ok(false),
                Some(true) => return Ok(true),
                Some(false) => wait(watch, count_watch, &self.path).await?,
            }
        }
    }

    async fn present(&self) -> Result<(Children, OneWatch)> {
        loop {
            let leases = &self.leases;
            match leases.client.children_and_watch(&leases.directory).await {
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    directory(&leases.client, &leases.directory, &leases.options.acl).await?;
                }
                other => return other,
            }
        }
    }

    async fn permits(&self) -> Result<(u32, Option<OneWatch>)> {
        let path = match &self.permits {
            Permits::Fixed(permits) => return Ok((*permits, None)),
            Permits::Shared(path) => path,
        };
        let client = &self.leases.client;
        loop {
            let (node, watch) = match client.get_and_watch(path).await {
                Ok(found) => found,
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    match client.exists_and_watch(path).await? {
                        (None, watch) => return Ok((0, Some(watch))),
                        (Some(_), _) => continue,
                    }
                }
                Err(error) => return Err(error),
            };
            let number = <[u8; 4]>::try_from(&node.data[..]).ok();
            let number = number
                .map(i32::from_be_bytes)
                .and_then(|n| u32::try_from(n).ok());
            let permits = number.ok_or_else(|| {
                bad_data(path, "no number of permits: expected 4 bytes, not negative")
            })?;
            return Ok((permits, Some(watch)));
        }
    }

    /// With kazoo's layout the number stands in the node, and all must mean the same.
    async fn agree(&self) -> Result<()> {
        let Permits::Fixed(permits) = &self.permits else {
            return Ok(());
        };
        if self.leases.options.layout == Layout::Curator {
            return Ok(());
        }
        let client = &self.leases.client;
        let text = permits.to_string();
        loop {
            match client.get(&self.path).await {
                Ok(node) if node.data.is_empty() => {
                    let version = Version::Exactly(node.stat.version);
                    match client.set(&self.path, &text, version).await {
                        Ok(_) => return Ok(()),
                        Err(error) if is_cut_off(&error) || is(&error, &ErrorKind::BadVersion) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(node) if node.data == text => return Ok(()),
                Ok(node) => {
                    let said = String::from_utf8_lossy(&node.data).into_owned();
                    let what = format!("the semaphore has {said} permits there, {permits} here");
                    return Err(bad_data(&self.path, &what));
                }
                Err(error) if is(&error, &ErrorKind::NoNode) => self.create().await?,
                Err(error) => return Err(error),
            }
        }
    }

    /// kazoo's node, which holds the number and so must stay.
    async fn create(&self) -> Result<()> {
        let client = &self.leases.client;
        client.create_parents(&self.path).await?;
        let options = CreateOptions {
            kind: NodeKind::Persistent,
            acl: self.leases.options.acl.clone(),
            no_data: false,
        };
        match client.create(&self.path, b"", options).await {
            Ok(_) => Ok(()),
            Err(error) if is_cut_off(&error) || is(&error, &ErrorKind::NodeExists) => Ok(()),
            Err(error) => Err(error),
        }
    }
}

/// Whether the leases are no more than the permits; `None` if our own is not among them.
fn is_enough(children: &Children, own: &str, permits: u32) -> Option<bool> {
    let is_present = children.names.iter().any(|name| name == own);
    let permits = usize::try_from(permits).unwrap_or(usize::MAX);
    is_present.then_some(children.names.len() <= permits)
}

/// Waits for one watch or the other.
async fn wait(watch: OneWatch, other: Option<OneWatch>, path: &str) -> Result<()> {
    let fired = match other {
        None => watch.await,
        Some(other) => match either(watch, other).await {
            Either::First(fired) | Either::Second(fired) => fired,
        },
    };
    match fired {
        Ok(_) => Ok(()),
        Err(end) => look_again(end, path),
    }
}

/// A lease that is held. Dropping it gives it back some time later; [`Lease::give_back`] says when
/// it is done.
#[derive(Debug)]
#[must_use = "dropping a lease gives it back"]
pub struct Lease {
    place: Place,
    semaphore: Semaphore,
}

impl Lease {
    /// The zxid of the creation of the lease's node.
    #[must_use]
    pub fn token(&self) -> Zxid {
        self.place.token()
    }

    /// The lease's node.
    #[must_use]
    pub fn path(&self) -> String {
        self.place.path()
    }

    /// Adds to `multi` that the lease must be held when it takes effect.
    pub fn fence(&self, multi: crate::Multi) -> crate::Multi {
        self.place.fence(multi)
    }

    /// Whether the lease is held, as the leader knows it.
    ///
    /// # Errors
    /// As those of `sync` and `exists`.
    pub async fn is_held(&self) -> Result<bool> {
        self.place.is_held().await
    }

    /// Waits until the lease is lost, and says why.
    pub async fn lost(&self) -> Lost {
        self.place.lost().await
    }

    /// Waits until the connection is lost, so that the lease may be lost without one's knowing.
    pub async fn in_doubt(&self) {
        self.place.in_doubt().await;
    }

    /// Waits until the permits have become fewer and this lease is one of the newest that are too
    /// many. Never with a fixed number of permits.
    ///
    /// # Errors
    /// When the session or the lease is lost.
    pub async fn asked_to_return(&self) -> Result<()> {
        let name = self.place.name();
        if matches!(self.semaphore.permits, Permits::Fixed(_)) {
            return std::future::pending().await;
        }
        let own = standing(name).map_or(0, |standing| standing.sequence);
        loop {
            let (permits, count_watch) = self.semaphore.permits().await?;
            let (children, watch) = self.semaphore.present().await?;
            if !children.names.iter().any(|other| other == name) {
                return Err(Error::new(ErrorKind::NoNode, "lease").at(&self.path()));
            }
            let older = children.names.iter().filter_map(|other| standing(other));
            let older = older.filter(|other| other.sequence.wrapping_sub(own) < 0);
            if older.count() >= usize::try_from(permits).unwrap_or(usize::MAX) {
                return Ok(());
            }
            wait(watch, count_watch, &self.semaphore.path).await?;
        }
    }

    /// Gives the lease back, and returns when the servers know it.
    ///
    /// # Errors
    /// As [`super::LockGuard::release`].
    pub async fn give_back(self) -> Result<()> {
        self.place.leave().await
    }
}
