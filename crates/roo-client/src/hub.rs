//! The seam between callers and whoever drives the session: callers send commands and wait; the
//! driver takes them out of the [`Hub`] as [`Event`]s for its [`crate::session::Session`], and
//! gives the session's [`Notice`]s back to it. Nothing here needs a runtime.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Waker};

use foldhash::fast::FixedState;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use roo_proto::connect::PASSWORD_SIZE;
use roo_proto::ids::SessionId;
use roo_proto::jute::Reader;
use roo_proto::reply::decode;
use roo_proto::request::Request;
use tokio::sync::{mpsc, oneshot, watch};

use crate::client::{Client, Shared};
use crate::hosts::Hosts;
use crate::options::Options;
use crate::session::{
    Call, CallId, Event, Failure, Notice, OnLoss, Reply, Secret, Status, WatcherId,
};
use crate::state::SessionState;
use crate::watch::{WatchEnd, WatchEvent, Watcher};

pub(crate) type Outcome = Result<Reply, Failure>;

/// What callers want.
#[derive(Debug)]
pub(crate) enum Command {
    Call(Call, Waiting),
    Authenticate {
        call: CallId,
        scheme: String,
        data: Secret,
        waiting: Waiting,
    },
    Close(CallId, Waiting),
    Cancel(CallId),
    Unwatch(WatcherId),
    /// Work to be polled to its end.
    Background(Background),
}

/// Work that goes on after its caller is gone.
pub(crate) struct Background(pub(crate) Pin<Box<dyn Future<Output = ()> + Send>>);

impl fmt::Debug for Background {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Background")
    }
}

/// Who waits for a call. What few have is boxed: there is one for each call under way.
#[derive(Debug, Default)]
pub(crate) struct Waiting {
    pub(crate) sender: Option<oneshot::Sender<Outcome>>,
    pub(crate) watcher: Option<Box<(WatcherId, Watcher)>>,
    /// What the hub itself goes on with.
    pub(crate) then: Option<Box<Then>>,
}

/// What the hub itself goes on with when a call is over.
#[derive(Debug)]
pub(crate) enum Then {
    /// Delete the children whose names contain this.
    DeleteChildren { parent: String, token: String },
}

/// A way to the hub that does not keep the session alive.
#[derive(Clone, Debug)]
pub(crate) struct WeakCommands(mpsc::WeakUnboundedSender<Command>);

impl WeakCommands {
    pub(crate) fn send(&self, command: Command) {
        if let Some(commands) = self.0.upgrade() {
            // Whoever is gone needs no command.
            let _ = commands.send(command);
        }
    }
}

/// What clients see of the session.
#[derive(Debug)]
pub(crate) struct Facts {
    pub(crate) next_id: AtomicU64,
    /// Wraps around; see [`Client::unique`].
    pub(crate) next_name: AtomicU64,
    pub(crate) last_zxid: AtomicI64,
    /// That of the last answer. Events of all transactions up to it have been told, which one
    /// event of a transaction does not say of the others.
    pub(crate) answered_zxid: AtomicI64,
    pub(crate) subscribers: Mutex<Vec<mpsc::Sender<SessionState>>>,
}

/// What is polled along with the commands.
#[derive(Default)]
struct Work(FuturesUnordered<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Work").field(&self.0.len()).finish()
    }
}

/// The driver's end of a [`Client`]. See [`Client::detached`].
#[derive(Debug)]
pub struct Hub {
    commands: mpsc::UnboundedReceiver<Command>,
    waiting: HashMap<CallId, Waiting, FixedState>,
    watchers: HashMap<WatcherId, Watcher, FixedState>,
    /// Events of the hub's own.
    ready: VecDeque<Event>,
    background: Work,
    status: watch::Sender<Status>,
    facts: Arc<Facts>,
    chroot: String,
    is_abandoned: bool,
}

/// A client and its hub.
pub(crate) fn pair(hosts: &Hosts, options: &Options) -> (Client, Hub) {
    let (sender, commands) = mpsc::unbounded_channel();
    let (status, seen) = watch::channel(Status {
        state: SessionState::Connecting,
        session: SessionId(0),
        password: [0; PASSWORD_SIZE],
        timeout: options.session_timeout,
        server: None,
        end: None,
    });
    let facts = Arc::new(Facts {
        next_id: AtomicU64::new(1),
        next_name: AtomicU64::new(options.seed()),
        last_zxid: AtomicI64::new(0),
        answered_zxid: AtomicI64::new(0),
        subscribers: Mutex::default(),
    });
    let shared = Shared {
        weak: WeakCommands(sender.downgrade()),
        commands: sender,
        status: seen,
        facts: Arc::clone(&facts),
        chroot: hosts.chroot.clone(),
        packet_bytes_max: options.max_packet_bytes,
        watch_buffer_max: options.watch_buffer_max,
    };
    let hub = Hub {
        commands,
        waiting: HashMap::default(),
        watchers: HashMap::default(),
        ready: VecDeque::new(),
        background: Work::default(),
        status,
        facts,
        chroot: hosts.chroot.clone(),
        is_abandoned: false,
    };
    (Client::new(shared), hub)
}

impl Hub {
    /// The next event for the session. When the last client is gone that is one
    /// [`Event::Close`], and nothing comes after it.
    pub async fn next(&mut self) -> Event {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// See [`Hub::next`].
    pub fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Poll::Ready(event);
            }
            if self.is_abandoned {
                return Poll::Pending;
            }
            while let Poll::Ready(Some(())) = self.background.0.poll_next_unpin(cx) {}
            match self.commands.poll_recv(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Some(command)) => self.take(command),
                Poll::Ready(None) => self.abandon(),
            }
        }
    }

    /// An event that is there already.
    pub fn try_next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            let mut cx = Context::from_waker(Waker::noop());
            while let Poll::Ready(Some(())) = self.background.0.poll_next_unpin(&mut cx) {}
            match self.commands.try_recv() {
                Ok(command) => self.take(command),
                Err(mpsc::error::TryRecvError::Disconnected) if !self.is_abandoned => {
                    self.abandon();
                }
                Err(_) => return None,
            }
        }
    }

    fn abandon(&mut self) {
        self.is_abandoned = true;
        self.ready.push_back(Event::Close { call: None });
    }

    fn take(&mut self, command: Command) {
        let event = match command {
            Command::Background(work) => {
                self.background.0.push(work.0);
                return;
            }
            Command::Call(call, waiting) => {
                self.waiting.insert(call.id, waiting);
                Event::Submit(call)
            }
            Command::Authenticate {
                call,
                scheme,
                data,
                waiting,
            } => {
                self.waiting.insert(call, waiting);
                Event::Authenticate {
                    call: Some(call),
                    scheme,
                    data,
                }
            }
            Command::Close(call, waiting) => {
                self.waiting.insert(call, waiting);
                Event::Close { call: Some(call) }
            }
            Command::Cancel(call) => Event::Cancel(call),
            Command::Unwatch(watcher) => {
                self.watchers.remove(&watcher);
                Event::Unwatch(watcher)
            }
        };
        self.ready.push_back(event);
    }

    /// Tells those who wait.
    pub fn tell(&mut self, notice: Notice) {
        match notice {
            Notice::Completed {
                call,
                result,
                is_watching,
            } => self.on_completed(call, result, is_watching),
            Notice::Fired {
                watcher,
                kind,
                path,
                zxid,
                is_last,
            } => {
                let event = WatchEvent {
                    kind,
                    path: below(&self.chroot, &path).to_owned(),
                    zxid,
                };
                self.on_fired(watcher, event, is_last);
            }
            Notice::WatchEnded { watcher, end } => match self.watchers.remove(&watcher) {
                Some(Watcher::One(sender)) => {
                    let _ = sender.send(Err(end));
                }
                Some(Watcher::Stream { end: slot, .. }) => {
                    let _ = slot.set(end);
                }
                None => {}
            },
            Notice::Changed(status) => self.on_changed(status),
        }
    }

    fn on_completed(&mut self, call: CallId, result: Outcome, is_watching: bool) {
        let Some(waiting) = self.waiting.remove(&call) else {
            return;
        };
        if let Ok(reply) = &result {
            let zxid = reply.zxid.0;
            self.facts.last_zxid.fetch_max(zxid, Ordering::Relaxed);
            // Whoever sees it finds the events in their channels.
            self.facts.answered_zxid.fetch_max(zxid, Ordering::Release);
        }
        if is_watching && let Some(watcher) = waiting.watcher {
            let (id, watcher) = *watcher;
            self.watchers.insert(id, watcher);
        }
        if let (Some(then), Ok(reply)) = (waiting.then, &result) {
            self.go_on(*then, reply);
        }
        if let Some(sender) = waiting.sender {
            let _ = sender.send(result);
        }
    }

    fn go_on(&mut self, then: Then, reply: &Reply) {
        let Then::DeleteChildren { parent, token } = then;
        let names = decode::strings(&mut Reader::new(&reply.body)).unwrap_or_default();
        for name in names.iter().filter(|name| name.contains(&token)) {
            let path = if parent == "/" {
                format!("/{name}")
            } else {
                format!("{parent}/{name}")
            };
            let id = CallId(self.facts.next_id.fetch_add(1, Ordering::Relaxed));
            self.waiting.insert(id, Waiting::default());
            self.ready
                .push_back(Event::Submit(detached_delete(id, &path)));
        }
    }

    fn on_fired(&mut self, id: WatcherId, event: WatchEvent, is_last: bool) {
        if let Some(zxid) = event.zxid {
            self.facts.last_zxid.fetch_max(zxid.0, Ordering::Relaxed);
        }
        if is_last {
            if let Some(Watcher::One(sender)) = self.watchers.remove(&id) {
                let _ = sender.send(Ok(event));
            }
            return;
        }
        let Some(Watcher::Stream { events, end }) = self.watchers.get(&id) else {
            return;
        };
        if let Err(mpsc::error::TrySendError::Full(_)) = events.try_send(event) {
            let _ = end.set(WatchEnd::Lagged);
            self.watchers.remove(&id);
            self.ready.push_back(Event::Unwatch(id));
        }
    }

    fn on_changed(&mut self, status: Status) {
        let state = status.state;
        let before = self.status.send_replace(status);
        if before.state == state {
            return;
        }
        let subscribers = self.facts.subscribers.lock();
        let mut subscribers = subscribers.unwrap_or_else(PoisonError::into_inner);
        subscribers.retain(|subscriber| {
            let sent = subscriber.try_send(state);
            !matches!(sent, Err(mpsc::error::TrySendError::Closed(_)))
        });
        if state.is_final() {
            subscribers.clear();
        }
    }
}

/// A driver that is gone leaves a closed client.
impl Drop for Hub {
    fn drop(&mut self) {
        if self.status.borrow().state.is_final() {
            return;
        }
        let mut status = self.status.borrow().clone();
        status.state = SessionState::Closed;
        status.server = None;
        self.on_changed(status);
        for (_, watcher) in self.watchers.drain() {
            if let Watcher::Stream { end, .. } = watcher {
                let _ = end.set(WatchEnd::Closed);
            }
        }
    }
}

/// A delete that nobody waits for: made again after each loss of the connection.
pub(crate) fn detached_delete(id: CallId, real_path: &str) -> Call {
    let request = Request::Delete {
        path: Some(real_path.into()),
        version: -1,
    };
    detached(id, &request)
}

/// A call that nobody waits for.
pub(crate) fn detached(id: CallId, request: &Request<'_>) -> Call {
    let mut frame = Vec::new();
    request.encode_frame(&mut frame, 0);
    Call {
        id,
        frame: frame.into(),
        was_sent: false,
        on_loss: OnLoss::Repeat,
        watch: None,
        unwatch: None,
        is_patient: true,
    }
}

/// The caller's name of a server's path.
pub(crate) fn below<'a>(chroot: &str, real: &'a str) -> &'a str {
    match real.strip_prefix(chroot) {
        Some("") => "/",
        Some(rest) if rest.starts_with('/') => rest,
        _ => real,
    }
}
