//! What tells of changes: watches that fire once, and streams of events.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use futures_core::Stream;
use roo_proto::ids::Zxid;
use tokio::sync::{mpsc, oneshot};

use crate::hub::{Command, WeakCommands};
use crate::session::WatcherId;

/// How long a watch of [`crate::Client::watch`] looks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchMode {
    /// At one node: its creation, its deletion, its data, its children.
    Persistent,
    /// At a node and all nodes below it: their creation, deletion and data. Never
    /// [`EventKind::ChildrenChanged`], since the children tell of themselves.
    PersistentRecursive,
}

/// Which watches [`crate::Client::remove_watches`] ends. Java: `WatcherType`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchKind {
    /// Those of `children_and_watch`.
    Children,
    /// Those of `get_and_watch` and `exists_and_watch`.
    Data,
    /// All of them.
    Any,
    /// Those of [`WatchMode::Persistent`].
    Persistent,
    /// Those of [`WatchMode::PersistentRecursive`].
    PersistentRecursive,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum EventKind {
    /// The node was created.
    Created,
    /// The node was deleted.
    Deleted,
    /// The node's data was set.
    DataChanged,
    /// A child was created or deleted.
    ChildrenChanged,
    /// Streams only: the connection was lost and another has been found; what happened between was
    /// missed and is not told. What is read from here on shows it, and later events are complete
    /// again.
    Gap,
}

/// A change, or a [`EventKind::Gap`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WatchEvent {
    /// What happened.
    pub kind: EventKind,
    /// To which node, below the chroot; the watched node for a gap.
    pub path: String,
    /// The transaction that did it; `None` from servers before 3.9, for a change found after a
    /// reconnection, and for a gap.
    pub zxid: Option<Zxid>,
}

/// Why a watch ended without telling anything more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum WatchEnd {
    /// The session has expired.
    SessionExpired,
    /// The client was closed.
    Closed,
    /// `remove_watches` ended it.
    Removed,
    /// An identity was refused, and the session with it.
    AuthFailed,
    /// The reader left more events lying than `Options::watch_buffer_max`.
    Lagged,
}

impl fmt::Display for WatchEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::SessionExpired => "the watch ended: the session has expired",
            Self::Closed => "the watch ended: the client is closed",
            Self::Removed => "the watch ended: it was removed",
            Self::AuthFailed => "the watch ended: an identity was refused",
            Self::Lagged => "the watch ended: its events were not read in time",
        })
    }
}

impl std::error::Error for WatchEnd {}

/// Where the events of a watch go.
#[derive(Debug)]
pub(crate) enum Watcher {
    One(oneshot::Sender<Result<WatchEvent, WatchEnd>>),
    Stream {
        events: mpsc::Sender<WatchEvent>,
        end: Arc<OnceLock<WatchEnd>>,
    },
}

/// A watch that fires once: a future of its event. It lives through reconnections; what happened
/// meanwhile is found then. Dropping it takes the watch back.
#[derive(Debug)]
#[must_use = "dropping a watch takes it back"]
pub struct OneWatch {
    id: WatcherId,
    event: oneshot::Receiver<Result<WatchEvent, WatchEnd>>,
    commands: WeakCommands,
}

impl OneWatch {
    pub(crate) fn new(id: WatcherId, commands: WeakCommands) -> (Self, Watcher) {
        let (sender, event) = oneshot::channel();
        let watch = Self {
            id,
            event,
            commands,
        };
        (watch, Watcher::One(sender))
    }

    pub(crate) const fn id(&self) -> WatcherId {
        self.id
    }
}

impl Future for OneWatch {
    type Output = Result<WatchEvent, WatchEnd>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        if self.event.is_terminated() {
            return Poll::Ready(Err(WatchEnd::Closed));
        }
        Pin::new(&mut self.event)
            .poll(cx)
            .map(|fired| fired.unwrap_or(Err(WatchEnd::Closed)))
    }
}

impl Drop for OneWatch {
    fn drop(&mut self) {
        let is_pending = !self.event.is_terminated()
            && matches!(
                self.event.try_recv(),
                Err(oneshot::error::TryRecvError::Empty)
            );
        if is_pending {
            self.commands.send(Command::Unwatch(self.id));
        }
    }
}

/// The events of a watch that stays, as a `Stream` or by [`WatchStream::next`]. It lives through
/// reconnections and tells of each by [`EventKind::Gap`]. Dropping it takes the watch back.
#[derive(Debug)]
#[must_use = "dropping a watch takes it back"]
pub struct WatchStream {
    id: WatcherId,
    events: mpsc::Receiver<WatchEvent>,
    end: Arc<OnceLock<WatchEnd>>,
    commands: WeakCommands,
}

impl WatchStream {
    pub(crate) fn new(id: WatcherId, buffer_max: usize, commands: WeakCommands) -> (Self, Watcher) {
        let (sender, events) = mpsc::channel(buffer_max.max(1));
        let end = Arc::new(OnceLock::new());
        let watcher = Watcher::Stream {
            events: sender,
            end: Arc::clone(&end),
        };
        let stream = Self {
            id,
            events,
            end,
            commands,
        };
        (stream, watcher)
    }

    pub(crate) const fn id(&self) -> WatcherId {
        self.id
    }

    /// The next event; `None` after the last, see [`WatchStream::end`]. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        self.events.recv().await
    }

    /// An event that is there already.
    pub fn try_next(&mut self) -> Option<WatchEvent> {
        self.events.try_recv().ok()
    }

    /// Why the stream ended, or will end once what it has buffered is read; `None` while it lives.
    #[must_use]
    pub fn end(&self) -> Option<WatchEnd> {
        match self.end.get() {
            Some(end) => Some(*end),
            None => self.events.is_closed().then_some(WatchEnd::Closed),
        }
    }
}

impl Stream for WatchStream {
    type Item = WatchEvent;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<WatchEvent>> {
        self.events.poll_recv(cx)
    }
}

impl Drop for WatchStream {
    fn drop(&mut self) {
        if self.end().is_none() {
            self.commands.send(Command::Unwatch(self.id));
        }
    }
}
