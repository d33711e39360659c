//! The session machine: pure. It owns everything that is decided about a session (which server to
//! try, when to ping, what was lost, which watches to register again) and does nothing itself: a
//! driver feeds it [`Event`]s and carries out [`Effect`]s, in order and at once.
//!
//! ```text
//! AwaitAddresses --Resolved--> AwaitLink --LinkOpened--> AwaitHandshake --Received--> Connected
//!        ^                        |   ^                        |                          |
//!        |                        v   | next address           v                          |
//!        +---- AwaitBackOff <-----+---+------------------------+                          |
//!        +--------------------------------------------------------------------------------+
//! ```
//! `Ended` comes from anywhere: expired, refused, closed, or never connected.
//!
//! No clock, no socket, no runtime and no randomness can be named here: time comes in with each
//! event, and a seed with the configuration.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use roo_proto::connect::PASSWORD_SIZE;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Time, Zxid};

use crate::options::Options;
use crate::state::SessionState;
use crate::watch::{EventKind, WatchEnd};
use connecting::Connecting;
use sent::{Auth, Sent};
use watches::Watches;

mod connecting;
mod ending;
mod replies;
mod requests;
mod sent;
pub mod watches;

#[cfg(test)]
mod tests;

/// Names a connection, or an attempt at one. Never used twice, so what comes late from an old one
/// goes nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub u64);

/// Names a call; given by whoever submits it, growing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

/// Names somebody who waits for watch events; given by whoever submits the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WatcherId(pub u64);

/// Where a server is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place {
    /// Its address.
    pub address: SocketAddr,
    /// Those of a lower number are tried before others, as SRV records say.
    pub priority: u16,
}

impl From<SocketAddr> for Place {
    fn from(address: SocketAddr) -> Self {
        let priority = 0;
        Self { address, priority }
    }
}

/// What a session is told.
#[derive(Clone, Debug)]
pub enum Event {
    /// The names of the servers were looked up.
    Resolved {
        /// Where they are, in any order.
        places: Vec<Place>,
        /// What could not be found out, one line each.
        failures: Vec<String>,
    },
    /// A connection that [`Effect::OpenLink`] asked for is open.
    LinkOpened {
        /// Which.
        link: LinkId,
    },
    /// A connection broke, or did not come about.
    LinkClosed {
        /// Which.
        link: LinkId,
        /// Why, in a few words.
        why: String,
    },
    /// A packet arrived, without its length field.
    Received {
        /// From where.
        link: LinkId,
        /// The packet.
        packet: Bytes,
    },
    /// A packet over the limit arrived and was skipped.
    ReceivedTooLarge {
        /// From where.
        link: LinkId,
        /// Its first bytes.
        head: Bytes,
        /// All its bytes.
        bytes: usize,
    },
    /// What arrived is no packet.
    ReceivedGarbage {
        /// From where.
        link: LinkId,
        /// Its first bytes.
        head: Bytes,
    },
    /// The answer to [`Effect::Probe`].
    Probed {
        /// Which attempt.
        probe: LinkId,
        /// Whether the server has a quorum.
        read_write: bool,
    },
    /// Somebody wants something of the server.
    Submit(Call),
    /// Somebody proves an identity.
    Authenticate {
        /// Completed with the server's answer.
        call: Option<CallId>,
        /// The scheme.
        scheme: String,
        /// The proof.
        data: Secret,
    },
    /// Nobody waits for this call any more: forget it unless it was sent.
    Cancel(CallId),
    /// Nobody waits for this watch any more.
    Unwatch(WatcherId),
    /// End the session.
    Close {
        /// Completed when it is over.
        call: Option<CallId>,
    },
    /// The time of [`Session::next_deadline`] has come.
    DeadlineReached,
}

/// Bytes that are not shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(pub Vec<u8>);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("...")
    }
}

/// A request of a caller. What few have is boxed: calls are moved often.
#[derive(Clone, Debug)]
pub struct Call {
    /// Whose.
    pub id: CallId,
    /// The whole frame with xid 0.
    pub frame: Bytes,
    /// Whether it was sent on an earlier connection.
    pub was_sent: bool,
    /// What becomes of it when the connection is lost under way.
    pub on_loss: OnLoss,
    /// The watch it sets if it succeeds.
    pub watch: Option<Box<NewWatch>>,
    /// The watches it takes back if it succeeds.
    pub unwatch: Option<Box<(watches::Unwatching, String)>>,
    /// Whether it may wait longer than `Options::request_timeout`.
    pub is_patient: bool,
}

/// What becomes of a call whose connection was lost under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnLoss {
    /// It fails: it may have taken effect.
    Fail,
    /// It is made again: doing it twice does no harm.
    Repeat,
}

/// A watch that a call sets.
#[derive(Clone, Debug)]
pub struct NewWatch {
    /// Who is told.
    pub watcher: WatcherId,
    /// How it is set.
    pub by: watches::WatchedBy,
    /// The server's path.
    pub path: String,
}

/// What the driver shall do.
#[derive(Clone, Debug)]
pub enum Effect {
    /// Look up the names of the servers; answered by [`Event::Resolved`].
    Resolve,
    /// Open a connection; answered by `LinkOpened` or `LinkClosed`.
    OpenLink {
        /// Its name.
        link: LinkId,
        /// Where to.
        address: SocketAddr,
    },
    /// Send a whole frame.
    Send {
        /// Where to.
        link: LinkId,
        /// The bytes.
        frame: Bytes,
    },
    /// Give up a connection or an attempt; nothing more is wanted of it. What was sent before goes
    /// out if it can.
    CloseLink {
        /// Which.
        link: LinkId,
    },
    /// Ask a server with the word `isro` whether it has a quorum; answered by [`Event::Probed`],
    /// or not at all.
    Probe {
        /// Names the attempt.
        probe: LinkId,
        /// Whom.
        address: SocketAddr,
    },
    /// Tell those who wait.
    Tell(Notice),
}

/// What those who wait are told.
#[derive(Clone, Debug)]
pub enum Notice {
    /// A call is over.
    Completed {
        /// Whose.
        call: CallId,
        /// What came of it.
        result: Result<Reply, Failure>,
        /// Whether the watch that it was to set is set.
        is_watching: bool,
    },
    /// A watch saw something.
    Fired {
        /// Who is told.
        watcher: WatcherId,
        /// What happened.
        kind: EventKind,
        /// The server's path.
        path: String,
        /// The transaction that did it, if the server says.
        zxid: Option<Zxid>,
        /// Whether the watch is gone by that.
        is_last: bool,
    },
    /// A watch is over.
    WatchEnded {
        /// Who is told.
        watcher: WatcherId,
        /// Why.
        end: WatchEnd,
    },
    /// The session is another, or in another state.
    Changed(Status),
}

/// A reply without an error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The last transaction applied; of a write, its own.
    pub zxid: Zxid,
    /// The record behind the header.
    pub body: Bytes,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Why.
    pub why: Why,
    /// Whether the request had been sent.
    pub sent: bool,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // See `ErrorKind`.
pub enum Why {
    /// The server refused it.
    Refused {
        code: ErrorCode,
        zxid: Zxid,
    },
    ConnectionLoss,
    SessionExpired,
    AuthFailed,
    TimedOut,
    Closed,
    Unreachable(String),
    NotZooKeeper(String),
    TooLarge {
        bytes: usize,
        limit: usize,
    },
}

/// How a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Status {
    /// Its state.
    pub state: SessionState,
    /// 0 before the first connection.
    pub session: SessionId,
    /// The session's password.
    pub password: [u8; PASSWORD_SIZE],
    /// As negotiated; as asked for before the first connection.
    pub timeout: Duration,
    /// The server, while connected.
    pub server: Option<SocketAddr>,
    /// Why it ended, in a final state.
    pub end: Option<Why>,
}

/// See the module.
#[derive(Debug)]
pub struct Session {
    options: Options,
    rng: Rng,
    phase: Phase,
    status: Status,
    connecting: Connecting,
    /// A server with a quorum has confirmed the session at some time.
    is_global: bool,
    next_link: u64,
    next_xid: i32,
    /// What was seen of the servers' order: for the handshake.
    zxid_seen: Zxid,
    /// Events up to here have arrived: what setWatches asks from.
    zxid_relative: Zxid,
    queue: VecDeque<Call>,
    sent: VecDeque<Sent>,
    auths: Vec<Auth>,
    /// Positions in `auths` whose answers are awaited, in order.
    auths_sent: VecDeque<usize>,
    watches: Watches,
    deadlines: VecDeque<(Time, CallId)>,
    /// Where frames get their numbers.
    room: BytesMut,
    last_heard: Time,
    last_sent: Time,
    next_probe: Option<Time>,
    probe: Option<(LinkId, SocketAddr)>,
    closing: Option<Closing>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    AwaitAddresses,
    AwaitBackOff {
        until: Time,
    },
    AwaitLink {
        link: LinkId,
        address: SocketAddr,
        until: Time,
    },
    AwaitHandshake {
        link: LinkId,
        address: SocketAddr,
        until: Time,
    },
    Connected {
        link: LinkId,
        address: SocketAddr,
    },
    Ended,
}

/// The caller wants the session to end.
#[derive(Clone, Debug)]
struct Closing {
    calls: Vec<CallId>,
    until: Time,
    is_sent: bool,
}

impl Session {
    /// A session that begins to connect at `now`. `seed` decides the order of servers and the
    /// lengths of pauses.
    pub fn new(options: Options, seed: u64, now: Time, effects: &mut Vec<Effect>) -> Self {
        let credentials = options.credentials;
        let status = Status {
            state: SessionState::Connecting,
            session: credentials.map_or(SessionId(0), |known| known.session),
            password: credentials.map_or([0; PASSWORD_SIZE], |known| known.password),
            timeout: options.session_timeout,
            server: None,
            end: None,
        };
        let auths = options.auth.iter();
        let auths = auths.map(|(scheme, data)| Auth::new(scheme, Secret(data.clone()), None));
        effects.push(Effect::Resolve);
        Self {
            auths: auths.collect(),
            connecting: Connecting::new(now.after(options.first_connection_wait)),
            is_global: credentials.is_some(),
            options,
            rng: Rng(seed),
            phase: Phase::AwaitAddresses,
            status,
            next_link: 0,
            next_xid: 1,
            zxid_seen: Zxid::ZERO,
            zxid_relative: Zxid::ZERO,
            queue: VecDeque::new(),
            sent: VecDeque::new(),
            auths_sent: VecDeque::new(),
            watches: Watches::default(),
            deadlines: VecDeque::new(),
            room: BytesMut::new(),
            last_heard: now,
            last_sent: now,
            next_probe: None,
            probe: None,
            closing: None,
        }
    }

    /// How the session is.
    #[must_use]
    pub const fn status(&self) -> &Status {
        &self.status
    }

    /// Takes in an event; what is to be done is added to `effects`.
    pub fn handle(&mut self, now: Time, event: Event, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Ended {
            self.handle_ended(event, effects);
            return;
        }
        match event {
            Event::Resolved { places, failures } => {
                self.on_resolved(now, places, failures, effects);
            }
            Event::LinkOpened { link } => self.on_link_opened(now, link, effects),
            Event::LinkClosed { link, why } => self.on_link_closed(now, link, &why, effects),
            Event::Received { link, packet } => self.on_received(now, link, &packet, effects),
            Event::ReceivedTooLarge { link, head, bytes } => {
                self.on_too_large(now, link, &head, bytes, effects);
            }
            Event::ReceivedGarbage { link, head } => self.on_garbage(now, link, &head, effects),
            Event::Probed { probe, read_write } => self.on_probed(now, probe, read_write, effects),
            Event::Submit(call) => self.on_submit(now, call, effects),
            Event::Authenticate { call, scheme, data } => {
                self.on_authenticate(now, call, &scheme, data, effects);
            }
            Event::Cancel(call) => self.on_cancel(call, effects),
            Event::Unwatch(watcher) => self.on_unwatch(now, watcher, effects),
            Event::Close { call } => self.on_close(now, call, effects),
            Event::DeadlineReached => {}
        }
        self.on_time(now, effects);
    }

    /// When [`Event::DeadlineReached`] is wanted; `None` when nothing but an event matters.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let mut next: Option<Time> = None;
        let mut at = |time: Option<Time>| {
            next = match (next, time) {
                (Some(a), Some(b)) => Some(a.min(b)),
                (a, b) => a.or(b),
            };
        };
        match self.phase {
            Phase::Ended => return None,
            Phase::AwaitAddresses => {}
            Phase::AwaitBackOff { until }
            | Phase::AwaitLink { until, .. }
            | Phase::AwaitHandshake { until, .. } => at(Some(until)),
            Phase::Connected { .. } => {
                at(Some(self.silence_deadline()));
                at(Some(self.ping_deadline()));
                at(self.next_probe);
            }
        }
        if !matches!(self.phase, Phase::Connected { .. }) {
            at(self.expiry_deadline());
        }
        at(self.deadlines.front().map(|(until, _)| *until));
        at(self.closing.as_ref().map(|closing| closing.until));
        next
    }

    /// Does what has come due.
    fn on_time(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.expire_calls(now, effects);
        if self.closing.as_ref().is_some_and(|c| c.until <= now) {
            self.end(SessionState::Closed, Why::Closed, effects);
        }
        match self.phase {
            Phase::Ended | Phase::AwaitAddresses => {}
            Phase::AwaitBackOff { until } if until <= now => {
                self.phase = Phase::AwaitAddresses;
                effects.push(Effect::Resolve);
            }
            Phase::AwaitLink { link, until, .. } if until <= now => {
                effects.push(Effect::CloseLink { link });
                self.attempt_failed(now, "no connection in time", effects);
            }
            Phase::AwaitHandshake { link, until, .. } if until <= now => {
                effects.push(Effect::CloseLink { link });
                self.attempt_failed(now, "no answer to the handshake in time", effects);
            }
            Phase::Connected { link, .. } => {
                if self.silence_deadline() <= now {
                    effects.push(Effect::CloseLink { link });
                    self.lose_connection(now, effects);
                } else {
                    self.ping_if_idle(now, link, effects);
                    self.probe_if_due(now, effects);
                }
            }
            _ => {}
        }
        let connected = matches!(self.phase, Phase::Connected { .. } | Phase::Ended);
        if !connected && self.expiry_deadline().is_some_and(|at| at <= now) {
            self.give_up(effects);
        }
    }

    const fn new_link(&mut self) -> LinkId {
        self.next_link += 1;
        LinkId(self.next_link)
    }

    fn tell_status(&self, effects: &mut Vec<Effect>) {
        effects.push(Effect::Tell(Notice::Changed(self.status.clone())));
    }

    fn change_state(&mut self, state: SessionState, effects: &mut Vec<Effect>) {
        if self.status.state != state {
            self.status.state = state;
            self.tell_status(effects);
        }
    }
}

/// SplitMix64: decides order and pauses, no secrets.
#[derive(Clone, Debug)]
struct Rng(u64);

impl Rng {
    const fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to `most`.
    const fn up_to(&mut self, most: u64) -> u64 {
        match most.checked_add(1) {
            Some(n) => self.next() % n,
            None => self.next(),
        }
    }

    fn shuffle<T>(&mut self, list: &mut [T]) {
        for at in (1..list.len()).rev() {
            let other = usize::try_from(self.up_to(at as u64)).unwrap_or(0);
            list.swap(at, other);
        }
    }
}
