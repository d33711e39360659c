//! The client as callers see it. This file holds what all calls share; the operations are in its
//! submodules.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::path;
use roo_proto::request::Request;
use tokio::sync::{mpsc, oneshot, watch};

use crate::error::{Error, ErrorKind, Result};
use crate::hosts::Hosts;
use crate::hub::{self, Command, Facts, Hub, Outcome, Waiting, WeakCommands};
use crate::options::{Credentials, Options};
use crate::session::watches::Unwatching;
use crate::session::{Call, CallId, Failure, NewWatch, OnLoss, Reply, Status, WatcherId, Why};
use crate::state::{STATES_MAX, SessionEvents, SessionState};
use crate::watch::Watcher;

mod ensemble;
mod multis;
mod operations;
mod quotas;
mod trees;
mod watching;

/// A session with an ensemble. Cheap to clone; all clones are the same session, and it is closed
/// when [`Client::close`] is called or the last clone is dropped.
///
/// Calls are sent in the order in which they are first polled, and answered in that order; as many
/// as `Options::in_flight_max` are under way at once, and further ones wait for their turn.
///
/// **Dropping a call** before it was sent takes it back; afterwards it still takes effect at the
/// server, and nothing else is disturbed. **Losing the connection** makes reads wait and be made
/// again on the next one; a write that was under way fails with an error whose
/// [`Error::outcome_unknown`] is true.
///
/// Paths are relative to the chroot of the connect string, and so is every path that comes back.
#[derive(Clone, Debug)]
pub struct Client(Arc<Shared>);

#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) commands: mpsc::UnboundedSender<Command>,
    pub(crate) weak: WeakCommands,
    pub(crate) status: watch::Receiver<Status>,
    pub(crate) facts: Arc<Facts>,
    pub(crate) chroot: String,
    pub(crate) packet_bytes_max: usize,
    pub(crate) watch_buffer_max: usize,
}

/// Room for a request, so that most need not grow.
const FRAME_ROOM: usize = 256;

/// What a call is, for its errors.
#[derive(Clone, Copy, Debug)]
pub(crate) struct What<'a> {
    pub(crate) operation: &'static str,
    pub(crate) path: Option<&'a str>,
}

/// What comes of a call besides its reply.
#[derive(Debug, Default)]
pub(crate) struct Extras {
    /// A watch that it sets.
    watch: Option<(NewWatch, Watcher)>,
    /// Watches that it takes back.
    unwatch: Option<(Unwatching, String)>,
}

impl Client {
    /// Connects to an ensemble and begins a session, or goes on with that of
    /// `Options::credentials`.
    ///
    /// `hosts` is `host:port,host:port/chroot` (the port is 2181 if it is left out, an IPv6
    /// address stands in brackets) or `dns-srv://name/chroot`. The servers are tried in random
    /// order; their names are looked up again for each round of attempts.
    ///
    /// The session lives on a task of the current tokio runtime.
    ///
    /// # Errors
    /// [`ErrorKind::BadConnectString`]; [`ErrorKind::Unreachable`] with what each address said,
    /// after `Options::first_connection_wait`; [`ErrorKind::NotZooKeeper`] when all of them answer
    /// with something else; [`ErrorKind::AuthFailed`] when one of `Options::auth` is refused;
    /// [`ErrorKind::SessionExpired`] when the session of the credentials is over.
    #[cfg(feature = "driver")]
    pub async fn connect(hosts: &str, options: Options) -> Result<Self> {
        let hosts = crate::hosts::parse(hosts)?;
        let (client, hub) = Self::detached(&hosts, &options);
        crate::driver::spawn(hosts, options, hub);
        client.connected().await?;
        Ok(client)
    }

    /// A client without a driver, and the seam for one: whoever drives feeds what the [`Hub`]
    /// gives to a [`crate::session::Session`], and the session's notices back to the hub. Needs
    /// no runtime; the simulator drives it so.
    #[must_use]
    pub fn detached(hosts: &Hosts, options: &Options) -> (Self, Hub) {
        hub::pair(hosts, options)
    }

    pub(crate) fn new(shared: Shared) -> Self {
        Self(Arc::new(shared))
    }

    /// Waits for the first connection.
    ///
    /// # Errors
    /// As [`Client::connect`], when the session ended before.
    pub async fn connected(&self) -> Result<()> {
        let mut status = self.0.status.clone();
        let seen = status.wait_for(|status| status.state != SessionState::Connecting);
        let end = match seen.await {
            Ok(status) if !status.state.is_final() => return Ok(()),
            Ok(status) => status.end.clone(),
            Err(_) => None,
        };
        let (kind, _) = kind_of(end.unwrap_or(Why::Closed));
        Err(Error::new(kind, "connect"))
    }

    /// The session's id; 0 before the first connection.
    #[must_use]
    pub fn session_id(&self) -> SessionId {
        self.0.status.borrow().session
    }

    /// What lets another client go on with this session.
    #[must_use]
    pub fn credentials(&self) -> Credentials {
        let status = self.0.status.borrow();
        Credentials {
            session: status.session,
            password: status.password,
        }
    }

    /// How long the servers keep the session without hearing from it, as negotiated.
    #[must_use]
    pub fn session_timeout(&self) -> Duration {
        self.0.status.borrow().timeout
    }

    /// How the session is.
    #[must_use]
    pub fn state(&self) -> SessionState {
        self.0.status.borrow().state
    }

    /// The changes of [`Client::state`] from here on. Ends after a final one.
    #[must_use]
    pub fn session_events(&self) -> SessionEvents {
        let (sender, receiver) = mpsc::channel(STATES_MAX);
        let subscribers = self.0.facts.subscribers.lock();
        let mut subscribers = subscribers.unwrap_or_else(PoisonError::into_inner);
        if !self.state().is_final() {
            subscribers.push(sender);
        }
        SessionEvents(receiver)
    }

    /// The server the client is connected to.
    #[must_use]
    pub fn server(&self) -> Option<SocketAddr> {
        self.0.status.borrow().server
    }

    /// The latest transaction that the client has seen the effect of.
    #[must_use]
    pub fn last_zxid(&self) -> Zxid {
        Zxid(self.0.facts.last_zxid.load(Ordering::Relaxed))
    }

    /// The latest transaction of which all events have been told, and of all before it.
    pub(crate) fn answered_zxid(&self) -> Zxid {
        Zxid(self.0.facts.answered_zxid.load(Ordering::Acquire))
    }

    /// The node that paths are relative to; empty for the root.
    #[must_use]
    pub fn chroot(&self) -> &str {
        &self.0.chroot
    }

    /// Ends the session: its ephemeral nodes are deleted before this returns. Calls made before
    /// are answered first; later ones fail with [`ErrorKind::Closed`].
    ///
    /// # Errors
    /// [`ErrorKind::ConnectionLoss`] when no server confirmed it within
    /// `Options::connect_timeout`; the client is closed all the same, and its ephemeral nodes go
    /// with the session's timeout.
    pub async fn close(&self) -> Result<()> {
        let what = What {
            operation: "close",
            path: None,
        };
        let (sender, receiver) = oneshot::channel();
        let waiting = Waiting {
            sender: Some(sender),
            ..Waiting::default()
        };
        if !self.send(Command::Close(self.new_call(), waiting)) {
            return Ok(());
        }
        match receiver.await {
            Ok(Err(failure)) => Err(self.error(what, failure)),
            // A driver that has ended has closed the session.
            Ok(Ok(_)) | Err(_) => Ok(()),
        }
    }

    fn new_call(&self) -> CallId {
        CallId(self.0.facts.next_id.fetch_add(1, Ordering::Relaxed))
    }

    fn new_watcher(&self) -> WatcherId {
        WatcherId(self.0.facts.next_id.fetch_add(1, Ordering::Relaxed))
    }

    /// Whether somebody is there who takes commands.
    fn send(&self, command: Command) -> bool {
        self.0.commands.send(command).is_ok()
    }

    /// The server's name of a caller's path.
    fn real<'a>(&self, given: &'a str) -> Result<Cow<'a, str>, ErrorKind> {
        self.real_or_prefix(given, false)
    }

    /// The server's name of a caller's path, or of one that gets digits appended.
    fn real_or_prefix<'a>(
        &self,
        given: &'a str,
        is_prefix: bool,
    ) -> Result<Cow<'a, str>, ErrorKind> {
        let is_valid = if is_prefix {
            path::is_valid(&path::sequential(given, 0))
        } else {
            path::is_valid(given)
        };
        if !is_valid {
            let what = "a path begins with / and has no empty, . or .. part, no / at its end, and \
                        no control or private characters";
            return Err(ErrorKind::BadArguments(what.into()));
        }
        let chroot = &self.0.chroot;
        Ok(if chroot.is_empty() {
            Cow::Borrowed(given)
        } else if given == "/" && !is_prefix {
            Cow::Owned(chroot.clone())
        } else {
            Cow::Owned(format!("{chroot}{given}"))
        })
    }

    /// The caller's name of a server's path.
    fn below(&self, real: &str) -> String {
        hub::below(&self.0.chroot, real).to_owned()
    }

    fn fail(&self, what: What<'_>, kind: ErrorKind) -> Error {
        let error = Error::new(kind, what.operation).below(&self.0.chroot);
        match what.path {
            Some(path) => error.at(path),
            None => error,
        }
    }

    fn error(&self, what: What<'_>, failure: Failure) -> Error {
        let (kind, _) = kind_of(failure.why);
        self.fail(what, kind).sent(failure.sent)
    }

    /// The error of a call when the driver is gone.
    fn gone(&self, what: What<'_>) -> Error {
        let end = self.0.status.borrow().end.clone();
        let (kind, _) = kind_of(end.unwrap_or(Why::Closed));
        self.fail(what, kind)
    }

    fn frame(&self, what: What<'_>, request: &Request<'_>) -> Result<Bytes> {
        let mut frame = Vec::with_capacity(FRAME_ROOM);
        request.encode_frame(&mut frame, 0);
        let (bytes, limit) = (frame.len() - 4, self.0.packet_bytes_max);
        if bytes > limit {
            return Err(self.fail(what, ErrorKind::TooLarge { bytes, limit }));
        }
        Ok(frame.into())
    }

    /// Sends a request and waits for its reply.
    async fn call(&self, what: What<'_>, on_loss: OnLoss, request: &Request<'_>) -> Result<Reply> {
        self.call_with(what, on_loss, request, Extras::default())
            .await
    }

    async fn call_with(
        &self,
        what: What<'_>,
        on_loss: OnLoss,
        request: &Request<'_>,
        extras: Extras,
    ) -> Result<Reply> {
        let outcome = self.outcome(what, on_loss, request, extras).await?;
        // What is only read, or may be done twice, has no outcome to lose.
        outcome.map_err(|failure| {
            let sent = failure.sent && on_loss == OnLoss::Fail;
            self.error(what, failure).sent(sent)
        })
    }

    async fn outcome(
        &self,
        what: What<'_>,
        on_loss: OnLoss,
        request: &Request<'_>,
        extras: Extras,
    ) -> Result<Outcome> {
        // One is kept here until the call is over, so that it is freed where it was made: allocators
        // are slow at what one thread makes and another frees.
        let frame = self.frame(what, request)?;
        let (sender, receiver) = oneshot::channel();
        let id = self.new_call();
        let (watch, watcher) = extras.watch.unzip();
        let call = Call {
            id,
            frame: frame.clone(),
            was_sent: false,
            on_loss,
            unwatch: extras.unwatch.map(Box::new),
            is_patient: false,
            watch: watch.map(Box::new),
        };
        let watcher = call.watch.as_ref().map(|watch| watch.watcher).zip(watcher);
        let waiting = Waiting {
            sender: Some(sender),
            watcher: watcher.map(Box::new),
            then: None,
        };
        if !self.send(Command::Call(call, waiting)) {
            return Err(self.gone(what));
        }
        let mut taken_back = TakenBack {
            id,
            commands: &self.0.commands,
            is_done: false,
        };
        let outcome = receiver.await;
        drop(frame);
        taken_back.is_done = true;
        outcome.map_err(|_| self.gone(what).sent(on_loss == OnLoss::Fail))
    }

    /// Lets work go on that nobody waits for, for as long as the session lives: what must be tidied
    /// up behind a call that was dropped. Whoever drives the session polls it; it should await calls
    /// of this client only. The session is not closed before it has ended, unless by
    /// [`Client::close`].
    pub fn background(&self, work: impl Future<Output = ()> + Send + 'static) {
        // A session that is over has nothing to be tidied up.
        let _ = self.send(Command::Background(hub::Background(Box::pin(work))));
    }

    /// A number for names, which no other call gives, nor any other client but by a chance of 2^-64
    /// for each pair of them that go on with the same session.
    #[must_use]
    pub fn unique(&self) -> u128 {
        let number = self.0.facts.next_name.fetch_add(1, Ordering::Relaxed);
        let session = self.session_id().0.cast_unsigned();
        u128::from(session) << 64 | u128::from(number)
    }

    /// Sends a request that nobody waits for.
    fn detach(&self, request: &Request<'_>, waiting: Waiting) {
        let call = hub::detached(self.new_call(), request);
        // A session that is over has nothing to be done.
        let _ = self.send(Command::Call(call, waiting));
    }
}

/// Takes a call back whose future is dropped.
struct TakenBack<'a> {
    id: CallId,
    commands: &'a mpsc::UnboundedSender<Command>,
    is_done: bool,
}

impl Drop for TakenBack<'_> {
    fn drop(&mut self) {
        if !self.is_done {
            let _ = self.commands.send(Command::Cancel(self.id));
        }
    }
}

/// The kind of an error, and the zxid of a server's refusal.
fn kind_of(why: Why) -> (ErrorKind, Zxid) {
    let kind = match why {
        Why::Refused { code, zxid } => return (ErrorKind::from_code(code), zxid),
        Why::ConnectionLoss => ErrorKind::ConnectionLoss,
        Why::SessionExpired => ErrorKind::SessionExpired,
        Why::AuthFailed => ErrorKind::AuthFailed,
        Why::TimedOut => ErrorKind::TimedOut,
        Why::Closed => ErrorKind::Closed,
        Why::Unreachable(what) => ErrorKind::Unreachable(what),
        Why::NotZooKeeper(what) => ErrorKind::NotZooKeeper(what),
        Why::TooLarge { bytes, limit } => ErrorKind::TooLarge { bytes, limit },
    };
    (kind, Zxid::ZERO)
}
