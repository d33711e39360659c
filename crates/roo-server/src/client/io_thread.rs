//! The loop around the sockets of one thread. A connection lives on one of them all its life.
//!
//! A round: wait for sockets or mail; read what has come; with the state and the own part locked
//! once, fetch the mail and serve the packets; send what there is to send; give the replica its
//! events. No request on this road hops to another thread unless it must be ordered. `asking` is
//! what the thread asks the leader for its reads.
//!
//! While the thread sleeps, the replica's thread may send a little mail itself
//! ([`Sockets::send_mail`]), so the sockets have a lock.

mod answers;
mod asking;

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::SyncSender;
use std::time::Duration;

use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Registry, Token};
use parking_lot::Mutex;
use roo_proto::frame;
use roo_proto::ids::{SessionId, Time};
use roo_proto::room::Room;
use roo_replica::event::Event;
use roo_replica::questions::Questions;
use roo_state::watch::WatcherId;
use slab::Slab;

use crate::admin::words::WordRequest;
use crate::auth;
use crate::client::connection::{Connection, Phase};
use crate::client::io_thread::answers::{Answers, put_response_sizes};
use crate::client::serving::{NO_SESSION, Round, RoundTally};
use crate::client::settings::ClientSettings;
use crate::histogram::Runs;
use crate::limits;
use crate::shared_state::{Input, Io, IoShared, Mail, Peer, Place, Shared};
use crate::stats::{ConnectionStats, Counters, ServerStats, Tally};

/// The waker's token.
pub const WAKE: Token = Token(usize::MAX);
const LISTEN: Token = Token(usize::MAX - 1);

/// How long a thread without work sleeps at most: deadlines of idle connections are checked then.
const IDLE: Duration = Duration::from_secs(1);

/// A thread that waits for its sockets, and serves them in rounds.
pub struct IoThread {
    index: usize,
    shared: Arc<Shared>,
    poll: Poll,
    sockets: Arc<Mutex<Sockets>>,
}

/// The sockets of a thread; see the module.
pub struct Sockets {
    index: usize,
    shared: Arc<Shared>,
    settings: Arc<ClientSettings>,
    registry: Registry,
    listener: Option<TcpListener>,
    next_io: usize,
    connections: Slab<Connection>,
    generation: u32,
    /// Connections that must shake hands by a time, oldest first.
    sessionless: VecDeque<(Time, usize, u32)>,
    /// Connections to be looked after in this round.
    ready: Vec<usize>,
    /// What was read in this round, and which part is whose.
    arena: Box<[u8]>,
    chunks: Vec<(usize, usize, usize)>,
    events: Vec<Input>,
    spare: Vec<Vec<u8>>,
    room: Room,
    words: SyncSender<WordRequest>,
    /// Connections whose next request waits for requests of others, first come first, and when
    /// they are all looked at again.
    line: VecDeque<(usize, u32)>,
    next_look: Time,
    /// What the leader is asked for those whose reads go by rounds.
    questions: Questions,
    /// For how many rounds the next one has been held back.
    held: u32,
}

/// What a thread does between two rounds.
struct Rest {
    /// There is work already.
    busy: bool,
    /// How long to wait for some.
    timeout: Duration,
    /// A question to the leader is due.
    asks: bool,
}

impl IoThread {
    /// The thread of this index; the first one accepts connections for all.
    ///
    /// # Errors
    /// When the listener cannot be registered.
    pub fn new(
        index: usize,
        shared: Arc<Shared>,
        settings: Arc<ClientSettings>,
        poll: Poll,
        mut listener: Option<TcpListener>,
        words: SyncSender<WordRequest>,
    ) -> io::Result<Self> {
        let registry = poll.registry().try_clone()?;
        if let Some(listener) = &mut listener {
            registry.register(listener, LISTEN, Interest::READABLE)?;
        }
        let sockets = Sockets {
            index,
            shared: Arc::clone(&shared),
            settings,
            registry,
            listener,
            next_io: 0,
            connections: Slab::new(),
            generation: 0,
            sessionless: VecDeque::new(),
            ready: Vec::new(),
            arena: vec![0; limits::READ_ROUND_BYTES].into_boxed_slice(),
            chunks: Vec::new(),
            events: Vec::new(),
            spare: Vec::new(),
            room: Room::new(),
            words,
            line: VecDeque::new(),
            next_look: Time(0),
            questions: Questions::new(index),
            held: 0,
        };
        Ok(Self {
            index,
            shared,
            poll,
            sockets: Arc::new(Mutex::new(sockets)),
        })
    }

    /// Its sockets, for who has mail for them while it sleeps.
    #[must_use]
    pub fn sockets(&self) -> Arc<Mutex<Sockets>> {
        Arc::clone(&self.sockets)
    }

    /// Runs until the server stops.
    pub fn run(mut self) {
        let mut polled = Events::with_capacity(1024);
        while !self.shared.stopping.load(Ordering::Relaxed) {
            self.wait(&mut polled);
            self.sockets.lock().round(&polled);
        }
    }

    fn wait(&mut self, polled: &mut Events) {
        let io = Arc::clone(&self.shared.io[self.index]);
        io.parked.store(true, Ordering::SeqCst);
        let rest = self.sockets.lock().rest(&io);
        self.poll_and_ask(polled, &rest);
        io.parked.store(false, Ordering::SeqCst);
    }
}

impl Sockets {
    fn round(&mut self, polled: &Events) {
        let now = self.shared.clock.now();
        for event in polled {
            match event.token() {
                WAKE => {}
                LISTEN => self.accept(now),
                Token(slot) => {
                    if let Some(conn) = self.connections.get_mut(slot) {
                        conn.readable |= event.is_readable() || event.is_read_closed();
                        conn.hung_up |= event.is_read_closed();
                    }
                    self.enqueue(slot);
                }
            }
        }
        self.move_door();
        self.adopt(now);
        self.expire_sessionless(now);
        self.advance_line(now);
        self.read_sockets();
        self.serve(now);
        self.finish(true);
    }

    /// Sends what is in the mailbox, on the thread that put it there. Whether there is something
    /// left for the own thread, which must then be woken.
    ///
    /// Nothing is served here, and no connection ends: the own thread may just be waking up with
    /// news of it.
    pub fn send_mail(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let (io, now) = (&shared.io[self.index], shared.clock.now());
        self.fetch_mail(&shared, &mut io.shared.lock(), now);
        if !self.has_inputs() {
            self.finish(false);
        }
        !self.ready.is_empty() || !self.line.is_empty()
    }

    fn rest(&self, io: &Io) -> Rest {
        let turn = !self.line.is_empty() && self.turns() > 0;
        let busy = turn || !self.ready.is_empty() || io.has_mail.load(Ordering::SeqCst);
        let timeout = if busy {
            Duration::ZERO
        } else if self.line.is_empty() {
            IDLE
        } else {
            self.stall().min(IDLE)
        };
        Rest {
            busy,
            timeout,
            asks: self.questions.is_due(),
        }
    }

    #[allow(clippy::indexing_slicing)]
    fn own(&self) -> &Io {
        &self.shared.io[self.index]
    }

    fn enqueue(&mut self, slot: usize) {
        if let Some(conn) = self.connections.get_mut(slot)
            && !conn.queued
        {
            conn.queued = true;
            self.ready.push(slot);
        }
    }

    fn accept(&mut self, now: Time) {
        loop {
            let accepted = match &self.listener {
                Some(listener) => listener.accept(),
                None => return,
            };
            match accepted {
                Ok((stream, peer)) => {
                    if !self.admit(peer.ip()) {
                        continue;
                    }
                    let target = self.next_io % self.shared.io.len();
                    self.next_io = self.next_io.wrapping_add(1);
                    if target == self.index {
                        self.add(stream, peer, now);
                    } else if let Some(io) = self.shared.io.get(target) {
                        io.accepted.lock().push((stream, peer));
                        io.notify();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "accept");
                    return;
                }
            }
        }
    }

    /// Counts the connection, unless there are too many.
    fn admit(&self, address: IpAddr) -> bool {
        let mut by_address = self.shared.by_address.lock();
        let all: usize = if self.settings.max_cnxns > 0 {
            by_address.values().sum()
        } else {
            0
        };
        let count = by_address.entry(address).or_insert(0);
        let over_own =
            self.settings.max_client_cnxns > 0 && *count >= self.settings.max_client_cnxns;
        let over_all = self.settings.max_cnxns > 0 && all >= self.settings.max_cnxns;
        if over_own || over_all {
            Counters::inc(&self.shared.stats.counters.connection_rejected);
            let key = if over_own {
                "maxClientCnxns"
            } else {
                "maxCnxns"
            };
            tracing::warn!(%address, "too many connections: {key}");
            return false;
        }
        *count += 1;
        true
    }

    fn forget_address(&self, address: IpAddr) {
        let mut by_address = self.shared.by_address.lock();
        if let Some(count) = by_address.get_mut(&address) {
            *count -= 1;
            if *count == 0 {
                by_address.remove(&address);
            }
        }
    }

    /// Accepts connections elsewhere from here on, if a reconfiguration says so.
    fn move_door(&mut self) {
        let Some(mut moved) = self.own().moved.lock().take() else {
            return;
        };
        match self
            .registry
            .register(&mut moved, LISTEN, Interest::READABLE)
        {
            Ok(()) => self.listener = Some(moved),
            Err(error) => tracing::error!(%error, "register the new client port"),
        }
    }

    fn adopt(&mut self, now: Time) {
        let accepted = std::mem::take(&mut *self.own().accepted.lock());
        for (stream, peer) in accepted {
            self.add(stream, peer, now);
        }
    }

    fn add(&mut self, mut stream: TcpStream, peer: SocketAddr, now: Time) {
        if let Err(error) = self.prepare_socket(&mut stream) {
            tracing::warn!(%peer, %error, "set up a client's socket");
            self.forget_address(peer.ip());
            return;
        }
        self.generation = self.generation % 0xFF_FFFF + 1;
        let entry = self.connections.vacant_entry();
        let slot = entry.key();
        let interest = Interest::READABLE | Interest::WRITABLE;
        if let Err(error) = self.registry.register(&mut stream, Token(slot), interest) {
            tracing::warn!(%peer, %error, "register a client's socket");
            self.forget_address(peer.ip());
            return;
        }
        let stats = Arc::new(ConnectionStats::new(peer, now));
        let place = Place {
            io: self.index,
            slot: slot_of(slot),
            generation: self.generation,
        };
        self.shared
            .connections
            .lock()
            .insert(place.conn().0, Arc::clone(&stats));
        let ids: Arc<[_]> = [auth::address_id(peer.ip())].into();
        let new = Connection::new(stream, peer, self.generation, Arc::clone(&ids), stats);
        entry.insert(new);
        let mut own = self.shared.io[self.index].shared.lock();
        while own.peers.len() <= slot {
            own.peers.push(Peer {
                generation: 0,
                session: NO_SESSION,
                ids: Arc::from([]),
                last_heard: now,
                touched: false,
            });
        }
        if let Some(peer) = own.peers.get_mut(slot) {
            peer.generation = self.generation;
            peer.session = NO_SESSION;
            peer.ids = ids;
            peer.last_heard = now;
        }
        drop(own);
        let deadline = now.after(Duration::from_millis(
            self.settings.sessionless_cnxn_timeout_ms,
        ));
        self.sessionless
            .push_back((deadline, slot, self.generation));
        self.enqueue(slot);
    }

    fn prepare_socket(&self, stream: &mut TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        if self.settings.tcp_keep_alive {
            socket2::SockRef::from(&*stream).set_keepalive(true)?;
        }
        Ok(())
    }

    fn expire_sessionless(&mut self, now: Time) {
        while let Some((deadline, slot, generation)) = self.sessionless.front().copied()
            && deadline <= now
        {
            self.sessionless.pop_front();
            if let Some(conn) = self.connections.get_mut(slot)
                && conn.generation == generation
                && conn.phase == Phase::AwaitHandshake
            {
                Counters::inc(&self.shared.stats.counters.sessionless_connections_expired);
                conn.phase = Phase::Dead;
                self.enqueue(slot);
            }
        }
    }

    fn stall(&self) -> Duration {
        Duration::from_millis(self.settings.request_throttle.stall_time_ms.max(1))
    }

    /// For how many requests more there is room.
    fn turns(&self) -> usize {
        let outstanding = self.shared.outstanding.load(Ordering::Relaxed);
        let limit = self.settings.request_throttle.max_requests;
        limit.saturating_sub(outstanding)
    }

    /// As many requests that waited for those of others as there is room for get their turn; now
    /// and then all are looked at, as some may have become stale.
    fn advance_line(&mut self, now: Time) {
        if self.line.is_empty() {
            return;
        }
        let mut turns = self.turns();
        if now >= self.next_look {
            self.next_look = now.after(self.stall());
            turns = self.line.len();
        }
        for _ in 0..turns {
            let Some((slot, generation)) = self.line.pop_front() else {
                return;
            };
            if let Some(conn) = self.connections.get_mut(slot)
                && conn.generation == generation
            {
                conn.in_line = false;
                self.enqueue(slot);
            }
        }
    }

    /// Reads from every socket that has something, into one buffer for the whole round.
    fn read_sockets(&mut self) {
        let mut at = 0;
        for slot in &self.ready {
            let Some(conn) = self.connections.get_mut(*slot) else {
                continue;
            };
            if !conn.wants_read() {
                continue;
            }
            let end = (at + limits::READ_STEP_BYTES).min(self.arena.len());
            let Some(space) = self
                .arena
                .get_mut(at..end)
                .filter(|space| !space.is_empty())
            else {
                break;
            };
            let n = conn.read(space);
            if n > 0 {
                self.chunks.push((*slot, at, at + n));
                Counters::add(&self.shared.stats.counters.bytes_received_count, n);
                at += n;
            }
        }
    }

    /// The part of a round for which the state is locked.
    fn serve(&mut self, now: Time) {
        let io = Arc::clone(&self.shared.io[self.index]);
        let mail = io.has_mail.swap(false, Ordering::SeqCst);
        if !mail && self.chunks.is_empty() && !self.has_inputs() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let state = shared.state.read();
        let mut own = io.shared.lock();
        self.fetch_answer(&io, &mut own);
        self.fetch_mail(&shared, &mut own, now);
        let mut round = Round {
            shared: &shared,
            settings: &self.settings,
            state: &state,
            io: &mut own,
            io_index: self.index,
            now,
            events: &mut self.events,
            spare: &mut self.spare,
            room: &mut self.room,
            words: &self.words,
            line: &mut self.line,
            questions: &mut self.questions,
            stall_times: Runs::of(&shared.stats.request_throttle_queue_time),
            tally: RoundTally::default(),
        };
        for (slot, from, to) in self.chunks.drain(..) {
            let (Some(conn), Some(bytes)) =
                (self.connections.get_mut(slot), self.arena.get(from..to))
            else {
                continue;
            };
            if conn.input.is_empty() {
                let served = round.serve(slot_of(slot), conn, bytes);
                if matches!(
                    conn.phase,
                    Phase::AwaitHandshake | Phase::AwaitAnswer | Phase::Serving
                ) {
                    conn.input
                        .extend_from_slice(bytes.get(served..).unwrap_or_default());
                }
            } else {
                conn.input.extend_from_slice(bytes);
                serve_input(&mut round, slot, conn);
            }
        }
        for slot in &self.ready {
            if let Some(conn) = self.connections.get_mut(*slot)
                && !conn.input.is_empty()
            {
                serve_input(&mut round, *slot, conn);
            }
        }
        let tally = std::mem::take(&mut round.tally);
        drop(round);
        drop(own);
        drop(state);
        account(&shared, &tally, now);
    }

    /// Whether a connection that is looked after has input that waits to be served.
    fn has_inputs(&self) -> bool {
        self.ready.iter().any(|slot| {
            let conn = self.connections.get(*slot);
            conn.is_some_and(|conn| !conn.input.is_empty())
        })
    }

    fn fetch_mail(&mut self, shared: &Shared, own: &mut IoShared, now: Time) {
        let mut answers = Answers::new(shared, now);
        let mut event_sizes = Tally::default();
        let mut mailbox = std::mem::take(&mut own.mailbox);
        let mut at = 0;
        for (slot, generation, mail) in mailbox.items.drain(..) {
            let len = match mail {
                Mail::Word { len }
                | Mail::Frames { len }
                | Mail::Answer { len, .. }
                | Mail::Connected { len, .. } => len,
                Mail::Close { .. } => 0,
            };
            let bytes = mailbox.bytes.get(at..at + len).unwrap_or_default();
            at += len;
            let key = slot as usize;
            let conn = self.connections.get_mut(key);
            let Some(conn) = conn.filter(|conn| conn.generation == generation) else {
                if matches!(mail, Mail::Answer { .. }) {
                    Counters::inc(&self.shared.stats.counters.stale_replies);
                }
                continue;
            };
            if conn.phase != Phase::Dead && conn.phase != Phase::Flushing {
                conn.output(&mut self.spare).extend_from_slice(bytes);
            }
            match mail {
                Mail::Word { .. } => {
                    conn.stats.sent.fetch_add(1, Ordering::Relaxed);
                    Counters::inc(&self.shared.stats.counters.packets_sent);
                }
                Mail::Frames { .. } => {
                    conn.stats.sent.fetch_add(1, Ordering::Relaxed);
                    event_sizes.add(len.saturating_sub(frame::LENGTH_SIZE) as u64);
                }
                Mail::Answer { .. } => answers.add(conn, bytes),
                Mail::Connected {
                    session,
                    timeout_ms,
                    ..
                } => {
                    answers.add(conn, &[]);
                    connected(own, conn, slot, session, timeout_ms, now);
                }
                Mail::Close { why, flush } => {
                    tracing::debug!(peer = %conn.peer, session = %conn.session, ?why, "close");
                    if flush {
                        conn.end();
                    } else {
                        conn.phase = Phase::Dead;
                    }
                }
            }
            self.enqueue(key);
        }
        answers.show();
        count_events(&shared.stats, &event_sizes);
        mailbox.bytes.clear();
        if mailbox.bytes.capacity() <= limits::READ_ROUND_BYTES {
            own.mailbox = mailbox;
        }
    }

    /// Sends what there is to send, drops what is dead if it may, hands over what the replica gets.
    fn finish(&mut self, may_drop: bool) {
        let mut again = Vec::new();
        for slot in std::mem::take(&mut self.ready) {
            let Some(conn) = self.connections.get_mut(slot) else {
                continue;
            };
            conn.queued = false;
            conn.flush(&mut self.spare);
            let is_open = conn.phase != Phase::Dead;
            if is_open && conn.unsent() > limits::CONNECTION_WRITE_QUEUE_MAX_BYTES {
                Counters::inc(&self.shared.stats.counters.connection_write_queue_max);
                tracing::warn!(peer = %conn.peer, session = %conn.session, "slow reader closed");
                conn.phase = Phase::Dead;
            }
            let waits_for_reader = conn.unsent() > self.settings.connection_write_queue_bytes;
            let waits_for_others = conn.stalled.is_some() || conn.sight.waits();
            if conn.paused && conn.in_flight.is_empty() && !waits_for_reader && !waits_for_others {
                // What it waited for is out; the rest of its packets can be served.
                conn.paused = false;
                again.push(slot);
            } else if conn.wants_read() {
                again.push(slot);
            }
            // A client that will send no more is served what it has sent, and a word is answered.
            if conn.at_end && !conn.paused && conn.phase != Phase::AwaitAnswer {
                conn.phase = Phase::Dead;
            }
            if conn.phase == Phase::Dead {
                if may_drop {
                    self.drop_connection(slot);
                } else {
                    again.push(slot);
                }
            }
        }
        for slot in again {
            self.enqueue(slot);
        }
        self.shared.inbox.push_all(&mut self.events);
    }

    fn drop_connection(&mut self, slot: usize) {
        let Some(mut conn) = self.connections.try_remove(slot) else {
            return;
        };
        if let Err(error) = self.registry.deregister(&mut conn.stream) {
            tracing::debug!(%error, "deregister a client's socket");
        }
        let shared = &self.shared;
        if conn.at_end {
            Counters::inc(&shared.stats.counters.connection_drop_count);
        }
        if conn.held {
            shared.held.fetch_sub(1, Ordering::Relaxed);
        }
        drain_and_close(&mut conn, &mut self.arena);
        for pending in &conn.in_flight {
            shared.outstanding.fetch_sub(1, Ordering::Relaxed);
            shared
                .large_bytes
                .fetch_sub(pending.large_bytes, Ordering::Relaxed);
        }
        let place = Place {
            io: self.index,
            slot: slot_of(slot),
            generation: conn.generation,
        };
        shared.connections.lock().remove(&place.conn().0);
        {
            let state = shared.state.read();
            let mut own = shared.io[self.index].shared.lock();
            own.watches.remove_watcher(WatcherId(slot_of(slot)));
            let mut heard = None;
            if let Some(peer) = own.peers.get_mut(slot) {
                heard = Some((peer.session, peer.last_heard));
                peer.generation = 0;
                peer.session = NO_SESSION;
                peer.ids = Arc::from([]);
            }
            own.touched_gone
                .extend(heard.filter(|(session, _)| *session != NO_SESSION));
            drop(own);
            drop(state);
        }
        self.events.push(Input::Event(Event::Disconnected {
            conn: place.conn(),
            session: conn.session,
        }));
        self.forget_address(conn.peer.ip());
    }
}

/// Shows what a round has counted.
fn account(shared: &Shared, tally: &RoundTally, began: Time) {
    let stats = &shared.stats;
    let received = &stats.counters.packets_received;
    received.fetch_add(tally.received, Ordering::Relaxed);
    if tally.writes > 0 {
        let writes = &stats.counters.prep_processor_request_queued;
        writes.fetch_add(tally.writes, Ordering::Relaxed);
    }
    let reads = tally.replies.count;
    if reads > 0 {
        let took = shared.clock.now().millis_since(began);
        let at_once = reads - tally.waited;
        if at_once > 0 {
            stats.latency.add_many(took, at_once);
            stats.read_latency.add_many(took, at_once);
        }
        let sent = &stats.counters.packets_sent;
        sent.fetch_add(reads, Ordering::Relaxed);
        stats.response_size.merge(&tally.replies);
        let bytes = &stats.counters.response_bytes;
        bytes.fetch_add(tally.replies.total, Ordering::Relaxed);
        let last = &stats.last_response_size;
        last.store(tally.replies.last, Ordering::Relaxed);
    }
}

/// Watch events are on their way.
fn count_events(stats: &ServerStats, sizes: &Tally) {
    if sizes.count > 0 {
        let counters = &stats.counters;
        counters
            .packets_sent
            .fetch_add(sizes.count, Ordering::Relaxed);
        counters
            .watch_bytes
            .fetch_add(sizes.total, Ordering::Relaxed);
        put_response_sizes(stats, sizes);
    }
}

/// What the client has sent and nobody will read would make the kernel reset the connection, and
/// the client lose the last replies with it.
fn drain_and_close(conn: &mut Connection, scratch: &mut [u8]) {
    if conn.stream.shutdown(std::net::Shutdown::Write).is_err() {
        return;
    }
    let mut budget = limits::READ_ROUND_BYTES;
    conn.readable = true;
    while conn.readable && budget > 0 {
        let n = conn.read(scratch);
        budget = budget.saturating_sub(n.max(1));
    }
}

#[allow(clippy::cast_possible_truncation)] // Slots are bounded by the file descriptors.
const fn slot_of(slot: usize) -> u32 {
    slot as u32
}

fn serve_input(round: &mut Round<'_>, slot: usize, conn: &mut Connection) {
    let mut input = std::mem::take(&mut conn.input);
    let served = round.serve(slot_of(slot), conn, &input);
    if matches!(conn.phase, Phase::Dead | Phase::Flushing) || served == input.len() {
        conn.input = Vec::new();
    } else {
        input.drain(..served);
        conn.input = input;
    }
}

fn connected(
    own: &mut IoShared,
    conn: &mut Connection,
    slot: u32,
    session: SessionId,
    timeout_ms: i32,
    now: Time,
) {
    if session == NO_SESSION {
        conn.end();
        return;
    }
    if conn.phase == Phase::AwaitAnswer {
        conn.phase = Phase::Serving;
    }
    conn.session = session;
    conn.stats.session.store(session.0, Ordering::Relaxed);
    conn.stats.timeout_ms.store(timeout_ms, Ordering::Relaxed);
    if let Some(peer) = own.peers.get_mut(slot as usize) {
        peer.session = session;
    }
    own.touch(slot, now);
}
