//! How a session is, and the stream of its changes.

use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use tokio::sync::mpsc;

/// How a session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SessionState {
    /// The first connection has not come about yet.
    Connecting,
    /// A server answers.
    Connected,
    /// A server answers that has no quorum: it serves reads only.
    ConnectedReadOnly,
    /// The connection was lost, another is looked for. The session may have expired meanwhile, or
    /// may yet: whoever holds a lock should not rely on it.
    Disconnected,
    /// An identity was refused. Final.
    AuthFailed,
    /// The session has expired, by the word of a server, or because no server was heard for so
    /// long that it must have. Final.
    Expired,
    /// The client was closed, or never found a server. Final.
    Closed,
}

impl SessionState {
    /// Whether nothing comes after it.
    #[must_use]
    pub const fn is_final(self) -> bool {
        matches!(self, Self::AuthFailed | Self::Expired | Self::Closed)
    }

    /// Whether requests are answered.
    #[must_use]
    pub const fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::ConnectedReadOnly)
    }
}

/// Changes that a reader may leave lying; further ones are dropped but for
/// [`crate::Client::state`]. Limit: pieces, never reached by a reader that reads.
pub(crate) const STATES_MAX: usize = 256;

/// The changes of a session's state from when it was asked for, in order; ends after a final one.
#[derive(Debug)]
pub struct SessionEvents(pub(crate) mpsc::Receiver<SessionState>);

impl SessionEvents {
    /// The next change; `None` after a final one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<SessionState> {
        self.0.recv().await
    }
}

impl Stream for SessionEvents {
    type Item = SessionState;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<SessionState>> {
        self.0.poll_recv(cx)
    }
}
