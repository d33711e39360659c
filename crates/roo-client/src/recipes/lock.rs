//! A lock for one, in a line, with a fencing token.

use crate::{Client, Multi, Result, Zxid};

use super::line::{Contender, ContenderOptions, Line, Lost, Place, Rule};
use super::names::{KAZOO_LOCK, LOCK, Layout};

/// A lock that one contender holds at a time; the others wait in the order in which they came.
/// Curator: `InterProcessMutex` (but not reentrant). kazoo: `Lock`.
///
/// # Guarantees
/// - The servers let one session hold the lock at a time, and let it go when that session ends.
/// - Waiting is fair, and each release wakes one contender only.
/// - [`LockGuard::fencing_token`] grows from holder to holder.
/// - Nothing is left behind: a call that is dropped, or whose reply is lost, gives its place up or
///   finds it again.
///
/// # What no lock of this kind can guarantee
/// That its holder knows in time that it no longer holds. A process that stands still for longer
/// than its session's timeout (a long collection of garbage, a suspended machine) goes on where it
/// was, while the next one holds. So a resource that must not be touched by two checks the token:
///
/// - A resource outside keeps the highest token it has seen and refuses what comes with a lower
///   one.
/// - A change within ZooKeeper goes into a [`Multi`] with [`LockGuard::fence`], which then takes
///   effect only while the lock is held.
///
/// # When things go wrong
/// - *Disconnected*: the lock is held for as long as the session lives. Whoever cannot use tokens
///   should stop at [`LockGuard::in_doubt`], and may go on after [`LockGuard::is_held`].
/// - *Session lost*: [`LockGuard::lost`] says so; `acquire` fails with
///   [`crate::Error::session_lost`].
/// - *Clock stands still*: see above. The client counts the time itself and reports the session as
///   expired when it runs again, but what runs before it does needs the token.
/// - *Outcome unknown*: `acquire` looks after a reconnection whether its node was made, by a part
///   of the name that is its own; `release` is repeated.
///
/// # Nodes
/// Below the path, `_c_<uuid>-lock-<sequence>`, or `<uuid>__lock__<sequence>` with
/// [`Layout::Kazoo`], ephemeral. Every node with a name of these recipes counts as a contender,
/// whatever the layout. Curator does not order kazoo's names; so where a Java process takes part,
/// all use [`Layout::Curator`], and kazoo's `Lock` gets `_NODE_NAME = "-lock-"` and
/// `_EXCLUDE_NAMES = ["-lock-"]`.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::Lock;
/// use roo_client::{Multi, Version};
///
/// let lock = Lock::new(&client, "/locks/ledger");
/// let guard = lock.acquire().await?;
/// // Elsewhere: send the token along. Here: only while the lock is held.
/// let change = guard.fence(Multi::new().set("/ledger", "42", Version::Any));
/// client.multi(change).await?;
/// guard.release().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Lock(Line);

impl Lock {
    /// The lock at `path`; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self::with_options(client, path, ContenderOptions::default())
    }

    /// The same, with names, an identifier and an ACL of one's own.
    #[must_use]
    pub fn with_options(client: &Client, path: &str, options: ContenderOptions) -> Self {
        let mark = match options.layout {
            Layout::Curator => LOCK,
            Layout::Kazoo => KAZOO_LOCK,
        };
        Self(Line {
            client: client.clone(),
            directory: path.to_owned(),
            mark,
            options,
        })
    }

    /// Waits for the lock. Drop the future to give up waiting.
    ///
    /// # Errors
    /// When the session is lost, a call takes longer than `Options::request_timeout`, or the server
    /// refuses: no permission, a bad path.
    pub async fn acquire(&self) -> Result<LockGuard> {
        self.0.turn(Rule::Everybody).await.map(LockGuard)
    }

    /// Takes the lock if nobody has it.
    ///
    /// # Errors
    /// As [`Lock::acquire`].
    pub async fn try_acquire(&self) -> Result<Option<LockGuard>> {
        let place = self.0.turn_now(Rule::Everybody).await?;
        Ok(place.map(LockGuard))
    }

    /// Who holds and who waits, in order.
    ///
    /// # Errors
    /// As those of `children` and `get`.
    pub async fn contenders(&self) -> Result<Vec<Contender>> {
        self.0.contenders().await
    }

    /// Asks a holder to release, see [`LockGuard::asked_to_release`]. Curator: `Revoker`. It may
    /// refuse.
    ///
    /// # Errors
    /// As those of `set`.
    pub async fn ask_to_release(&self, holder: &Contender) -> Result<()> {
        self.0.ask_to_give_way(holder).await
    }
}

/// A lock that is held. Dropping it releases it some time later; [`LockGuard::release`] says when
/// it is done.
#[derive(Debug)]
#[must_use = "dropping a guard releases the lock"]
pub struct LockGuard(pub(super) Place);

impl LockGuard {
    /// The zxid of the creation of the holder's node: greater than that of every holder before.
    #[must_use]
    pub fn fencing_token(&self) -> Zxid {
        self.0.token()
    }

    /// The holder's node.
    #[must_use]
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// Adds to `multi` that the lock must be held when it takes effect, by this very holder.
    /// The multi fails with [`crate::ErrorKind::NoNode`] otherwise, and changes nothing.
    pub fn fence(&self, multi: Multi) -> Multi {
        self.0.fence(multi)
    }

    /// Whether the lock is held, as the leader knows it. It may be lost right afterwards.
    ///
    /// # Errors
    /// As those of `sync` and `exists`.
    pub async fn is_held(&self) -> Result<bool> {
        self.0.is_held().await
    }

    /// Waits until the lock is lost, and says why.
    pub async fn lost(&self) -> Lost {
        self.0.lost().await
    }

    /// Waits until the connection is lost, so that the lock may be lost without one's knowing.
    pub async fn in_doubt(&self) {
        self.0.in_doubt().await;
    }

    /// Waits until somebody asks for the lock by [`Lock::ask_to_release`] or Curator's `Revoker`.
    ///
    /// # Errors
    /// When the lock or the session is lost.
    pub async fn asked_to_release(&self) -> Result<()> {
        self.0.asked_to_give_way().await
    }

    /// Releases the lock, and returns when the servers know it.
    ///
    /// # Errors
    /// When the session is lost, and the lock with it, or a call takes longer than
    /// `Options::request_timeout`: it is released some time later then.
    pub async fn release(self) -> Result<()> {
        self.0.leave().await
    }
}
