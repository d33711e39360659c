//! Leaders: one at a time, each with a term.

use bytes::Bytes;

use crate::{Client, Multi, Result, Zxid};

use super::either::{Either, either};
use super::line::{Contender, ContenderOptions, Line, Lost, Place, Rule};
use super::names::{KAZOO_LOCK, LATCH, LOCK, Layout};

/// Who becomes leader stays it until it resigns or its session ends. Curator: `LeaderLatch`.
///
/// # Guarantees
/// - The servers let one session lead at a time; the next one is who has waited longest.
/// - [`Leadership::term`] grows from leader to leader: it is the fencing token.
///
/// As with [`super::Lock`], none of this tells a leader that has stood still for longer than its
/// session's timeout that it leads no more. So what a leader sends out bears its term, and whoever
/// receives it refuses a lower one than it has seen; what it changes within ZooKeeper goes through
/// [`Leadership::fence`].
///
/// # When things go wrong
/// - *Disconnected*: it leads for as long as its session lives; a leader that cannot be fenced off
///   should pause at [`Leadership::in_doubt`].
/// - *Session lost*: [`Leadership::lost`].
/// - *Outcome unknown*: the candidate's node is found again after a reconnection.
///
/// # Nodes
/// `_c_<uuid>-latch-<sequence>` below the path, with the candidate's id as data. With
/// [`Layout::Kazoo`] those of its `Election`.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::Latch;
/// let latch = Latch::new(&client, "/leader", "host-1");
/// let leadership = latch.lead().await?;
/// println!("leads in term {}", leadership.term());
/// leadership.lost().await;
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Latch(Line);

impl Latch {
    /// A candidate for the leadership at `path`, who calls itself `id`; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str, id: &str) -> Self {
        Self::with_options(client, path, named(id))
    }

    /// The same, with names and an ACL of one's own; the identifier is the id.
    #[must_use]
    pub fn with_options(client: &Client, path: &str, options: ContenderOptions) -> Self {
        Self(line(client, path, options, LATCH))
    }

    /// Waits until this candidate leads. Drop the future to give up the candidacy.
    ///
    /// # Errors
    /// As [`super::Lock::acquire`].
    pub async fn lead(&self) -> Result<Leadership> {
        self.0.turn(Rule::Everybody).await.map(Leadership)
    }

    /// All candidates, the leader first.
    ///
    /// # Errors
    /// As those of `children` and `get`.
    pub async fn candidates(&self) -> Result<Vec<Contender>> {
        self.0.contenders().await
    }

    /// Who leads, if there is anybody.
    ///
    /// # Errors
    /// As those of `children` and `get`.
    pub async fn leader(&self) -> Result<Option<Contender>> {
        Ok(self.candidates().await?.into_iter().next())
    }
}

/// What a candidate does when its connection is lost while it leads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InDoubt {
    /// It goes on until the session is lost: what it does is fenced off by its term.
    #[default]
    Continue,
    /// It stops at once and stands again.
    Stop,
}

/// How a reign ended.
#[derive(Debug)]
pub enum Reign<T> {
    /// The leader was finished, and its successor begins after it.
    Finished(T),
    /// The leadership was lost, and what the leader did was cut short.
    Lost(Lost),
    /// The connection was lost, and the leader was told to stop then.
    Doubted,
}

/// Leads for a while, hands over, and stands again. Curator: `LeaderSelector`. kazoo: `Election`.
///
/// Guarantees, their limits and what happens when things go wrong are those of [`Latch`]. Besides:
/// a leader that finishes has ended its work before its successor is let in, and a leader that is
/// asked to hand over can end its work in good order.
///
/// # Nodes
/// `_c_<uuid>-lock-<sequence>` below the path, with the id as data; with [`Layout::Kazoo`]
/// `<uuid>__lock__<sequence>`.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::Candidate;
/// let candidate = Candidate::new(&client, "/leader", "host-1");
/// loop {
///     candidate
///         .reign(async |leadership| {
///             // Work, until somebody else shall lead.
///             leadership.asked_to_hand_over().await
///         })
///         .await?;
/// }
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Candidate {
    line: Line,
    in_doubt: InDoubt,
}

impl Candidate {
    /// A candidate for the leadership at `path`, who calls itself `id`; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str, id: &str) -> Self {
        Self::with_options(client, path, named(id), InDoubt::default())
    }

    /// The same, with names and an ACL of one's own; the identifier is the id.
    #[must_use]
    pub fn with_options(
        client: &Client,
        path: &str,
        options: ContenderOptions,
        in_doubt: InDoubt,
    ) -> Self {
        Self {
            line: line(client, path, options, LOCK),
            in_doubt,
        }
    }

    /// Waits until this candidate leads, lets `work` run while it does, and hands over. `work` is
    /// dropped where it stands when the leadership is lost.
    ///
    /// # Errors
    /// As [`super::Lock::acquire`].
    pub async fn reign<T>(&self, work: impl AsyncFnOnce(&Leadership) -> T) -> Result<Reign<T>> {
        let leadership = Leadership(self.line.turn(Rule::Everybody).await?);
        let reign = {
            let end = async {
                match self.in_doubt {
                    InDoubt::Continue => Reign::Lost(leadership.lost().await),
                    InDoubt::Stop => match either(leadership.lost(), leadership.in_doubt()).await {
                        Either::First(lost) => Reign::Lost(lost),
                        Either::Second(()) => Reign::Doubted,
                    },
                }
            };
            match either(end, work(&leadership)).await {
                Either::First(end) => end,
                Either::Second(value) => Reign::Finished(value),
            }
        };
        match &reign {
            Reign::Lost(_) => {}
            Reign::Finished(_) | Reign::Doubted => leadership.resign().await?,
        }
        Ok(reign)
    }

    /// Asks the leader to hand over, if there is one; it may refuse. See
    /// [`Leadership::asked_to_hand_over`].
    ///
    /// # Errors
    /// As those of `children`, `get` and `set`.
    pub async fn ask_to_hand_over(&self) -> Result<()> {
        match self.leader().await? {
            Some(leader) => self.line.ask_to_give_way(&leader).await,
            None => Ok(()),
        }
    }

    /// All candidates, the leader first.
    ///
    /// # Errors
    /// As those of `children` and `get`.
    pub async fn candidates(&self) -> Result<Vec<Contender>> {
        self.line.contenders().await
    }

    /// Who leads, if there is anybody.
    ///
    /// # Errors
    /// As those of `children` and `get`.
    pub async fn leader(&self) -> Result<Option<Contender>> {
        Ok(self.candidates().await?.into_iter().next())
    }
}

/// One's own time as leader. Dropping it resigns some time later; [`Leadership::resign`] says when
/// it is done.
#[derive(Debug)]
#[must_use = "dropping it resigns"]
pub struct Leadership(Place);

impl Leadership {
    /// The zxid of the creation of the leader's node: greater than every term before.
    #[must_use]
    pub fn term(&self) -> Zxid {
        self.0.token()
    }

    /// The leader's node.
    #[must_use]
    pub fn path(&self) -> String {
        self.0.path()
    }

    /// Adds to `multi` that the leadership must be held when it takes effect.
    pub fn fence(&self, multi: Multi) -> Multi {
        self.0.fence(multi)
    }

    /// Whether this is still the leader, as the leader of the servers knows it.
    ///
    /// # Errors
    /// As those of `sync` and `exists`.
    pub async fn is_held(&self) -> Result<bool> {
        self.0.is_held().await
    }

    /// Waits until the leadership is lost, and says why.
    pub async fn lost(&self) -> Lost {
        self.0.lost().await
    }

    /// Waits until the connection is lost, so that the leadership may be lost without one's knowing.
    pub async fn in_doubt(&self) {
        self.0.in_doubt().await;
    }

    /// Waits until somebody asks for the leadership.
    ///
    /// # Errors
    /// When the leadership or the session is lost.
    pub async fn asked_to_hand_over(&self) -> Result<()> {
        self.0.asked_to_give_way().await
    }

    /// Ends the leadership, and returns when the servers know it.
    ///
    /// # Errors
    /// As [`super::LockGuard::release`].
    pub async fn resign(self) -> Result<()> {
        self.0.leave().await
    }
}

fn named(id: &str) -> ContenderOptions {
    ContenderOptions {
        identifier: Bytes::copy_from_slice(id.as_bytes()),
        ..ContenderOptions::default()
    }
}

fn line(client: &Client, path: &str, options: ContenderOptions, mark: &'static str) -> Line {
    let mark = match options.layout {
        Layout::Curator => mark,
        Layout::Kazoo => KAZOO_LOCK,
    };
    Line {
        client: client.clone(),
        directory: path.to_owned(),
        mark,
        options,
    }
}
