//! What becomes of each packet: the handshake and four-letter words; reads, which are served here
//! and now; everything that must be ordered, which goes to the replica.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::SyncSender;

use roo_proto::acl::Id;
use roo_proto::connect::ConnectRequest;
use roo_proto::error_code::ErrorCode;
use roo_proto::frame::{self, Front};
use roo_proto::ids::{SessionId, Time, Zxid};
use roo_proto::jute;
use roo_proto::op_code;
use roo_proto::reply;
use roo_proto::request::{self, BadRequest, Request, RequestHeader};
use roo_proto::room::Room;
use roo_replica::event::{Connect, Event, Ordered};
use roo_replica::questions::{Questions, Sight};
use roo_replica::read_path::put_bad_request;
use roo_state::read::{self, Reader};
use roo_state::state::State;
use roo_state::watch::WatcherId;

use crate::admin::words::{Word, WordRequest};
use crate::auth;
use crate::client::connection::{Connection, Pending, Phase};
use crate::client::settings::ClientSettings;
use crate::client::share;
use crate::histogram::Runs;
use crate::limits;
use crate::shared_state::{Input, IoShared, Place, Shared};
use crate::stats::{Counters, Tally};

/// Everything that serving a connection takes, for one round of its thread.
pub struct Round<'a> {
    /// What the server shares.
    pub shared: &'a Shared,
    /// What the configuration says.
    pub settings: &'a ClientSettings,
    /// The applied state.
    pub state: &'a State,
    /// The thread's own part.
    pub io: &'a mut IoShared,
    /// Index of the thread.
    pub io_index: usize,
    /// When the round began.
    pub now: Time,
    /// What the replica gets at the end of the round.
    pub events: &'a mut Vec<Input>,
    /// Output buffers without an owner.
    pub spare: &'a mut Vec<Vec<u8>>,
    /// Where requests for the replica lie.
    pub room: &'a mut Room,
    /// The way to whoever answers four-letter words.
    pub words: &'a SyncSender<WordRequest>,
    /// Connections that wait for requests of others, first come first.
    pub line: &'a mut VecDeque<(usize, u32)>,
    /// The thread's questions to the leader.
    pub questions: &'a mut Questions,
    /// How long requests for the replica waited for those of others.
    pub stall_times: Runs<'a>,
    /// What was counted in this round.
    pub tally: RoundTally,
}

/// What a round counts for itself; all see it when the round ends.
#[derive(Debug, Default)]
pub struct RoundTally {
    /// Packets received.
    pub received: u64,
    /// Writes among them that the replica gets.
    pub writes: u64,
    /// Sizes of the replies to reads.
    pub replies: Tally,
    /// How many of them waited for the leader's word, and are counted with their wait.
    pub waited: u64,
}

impl Round<'_> {
    fn count(&self, counter: &AtomicU64) {
        Counters::inc(counter);
    }

    fn place(&self, slot: u32, conn: &Connection) -> Place {
        Place {
            io: self.io_index,
            slot,
            generation: conn.generation,
        }
    }

    /// Serves as many whole packets as may be served now; how many bytes they were.
    pub fn serve(&mut self, slot: u32, conn: &mut Connection, bytes: &[u8]) -> usize {
        let mut at = 0;
        conn.paused = false;
        let was_held = std::mem::take(&mut conn.held);
        let (waited_ms, replies) = (conn.waited_ms(self.now), self.tally.replies.count);
        if conn.phase == Phase::Serving && !bytes.is_empty() {
            self.io.touch(slot, self.now);
        }
        while let Some(rest) = bytes.get(at..) {
            if !matches!(conn.phase, Phase::AwaitHandshake | Phase::Serving) {
                conn.paused = true;
                break;
            }
            if conn.phase == Phase::AwaitHandshake
                && let Some(first) = rest.first_chunk::<4>()
                && let Some(word) = Word::recognise(*first)
            {
                if word.needs_more(rest.len(), self.settings.trace_mask_settable) {
                    break;
                }
                self.answer_word(slot, conn, word, rest);
                return bytes.len();
            }
            let packet = match frame::front(rest, self.settings.max_packet_bytes) {
                Front::Packet(packet) => packet,
                Front::Incomplete { .. } => break,
                Front::BadLength(length) => {
                    tracing::debug!(peer = %conn.peer, length, "packet length out of range");
                    self.count(&self.shared.stats.counters.jute_max_buffer);
                    conn.end();
                    break;
                }
            };
            if conn.phase == Phase::AwaitHandshake {
                self.handshake(slot, conn, packet);
            } else if !self.packet(slot, conn, packet, at + frame::LENGTH_SIZE + packet.len()) {
                conn.paused = true;
                break;
            }
            at += frame::LENGTH_SIZE + packet.len();
        }
        match (was_held, conn.held) {
            (false, true) => self.shared.held.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.shared.held.fetch_sub(1, Ordering::Relaxed),
            (false, false) | (true, true) => 0,
        };
        conn.sight.consume(at);
        self.account_waiting(waited_ms, replies);
        at
    }

    /// Counts the replies since there were `before` as ones that were so long awaited.
    fn account_waiting(&mut self, waited_ms: u64, before: u64) {
        let replies = self.tally.replies.count - before;
        if waited_ms > 0 && replies > 0 {
            self.tally.waited += replies;
            let stats = &self.shared.stats;
            stats.latency.add_many(waited_ms, replies);
            stats.read_latency.add_many(waited_ms, replies);
        }
    }

    fn answer_word(&mut self, slot: u32, conn: &mut Connection, word: Word, bytes: &[u8]) {
        let argument = bytes
            .get(4..12)
            .and_then(|b| b.try_into().ok())
            .map(i64::from_be_bytes);
        let request = WordRequest {
            place: self.place(slot, conn),
            word,
            argument,
        };
        conn.phase = Phase::AwaitAnswer;
        // At once, not when the round ends: the answer may tell of it, or reset it, before that.
        conn.stats.received.fetch_add(1, Ordering::Relaxed);
        self.count(&self.shared.stats.counters.packets_received);
        conn.stats.reading.store(false, Ordering::Relaxed);
        // Whoever asks faster than answers are made is not answered.
        if self.words.try_send(request).is_err() {
            self.count(&self.shared.stats.counters.four_letter_queue);
            conn.end();
        }
    }

    fn handshake(&mut self, slot: u32, conn: &mut Connection, packet: &[u8]) {
        let Ok(connect) = ConnectRequest::decode(packet) else {
            tracing::debug!(peer = %conn.peer, "the first packet is no connect request");
            conn.end();
            return;
        };
        self.count(&self.shared.stats.counters.connection_request_count);
        self.received(conn);
        let renewed = connect.session != NO_SESSION;
        if renewed {
            self.count(&self.shared.stats.counters.connection_revalidate_count);
        }
        if !self.admit(renewed) {
            self.count(&self.shared.stats.counters.connection_throttle_tokens);
            self.count(&self.shared.stats.counters.connection_rejected);
            conn.end();
            return;
        }
        conn.phase = Phase::AwaitAnswer;
        self.submitted(conn, op_code::CREATE_SESSION, 0, 0);
        let connect = Connect {
            last_zxid_seen: connect.last_zxid_seen,
            timeout_ms: connect.timeout_ms,
            session: connect.session,
            password: connect.password.map(Box::from),
            read_only: connect.read_only,
        };
        let conn = self.place(slot, conn).conn();
        self.events
            .push(Input::Event(Event::Connecting { conn, connect }));
    }

    fn admit(&self, renewed: bool) -> bool {
        let mut throttle = self.shared.throttle.lock();
        self.shared
            .stats
            .connection_token_deficit
            .add(throttle.deficit());
        throttle.admit(self.now, renewed)
    }

    /// Takes note of something that the replica now has.
    fn submitted(&self, conn: &mut Connection, op: i32, xid: i32, large_bytes: usize) {
        conn.in_flight.push_back(Pending {
            op,
            xid,
            arrived: conn.stalled.unwrap_or(self.now),
            large_bytes,
        });
        conn.stats.outstanding.fetch_add(1, Ordering::Relaxed);
        self.shared.outstanding.fetch_add(1, Ordering::Relaxed);
        if large_bytes > 0 {
            self.shared
                .large_bytes
                .fetch_add(large_bytes, Ordering::Relaxed);
        }
    }

    /// Serves one packet of a session, which ends at `end` of what has come; false when it must
    /// wait.
    fn packet(&mut self, slot: u32, conn: &mut Connection, packet: &[u8], end: usize) -> bool {
        let Some((header, body)) = RequestHeader::split(packet) else {
            conn.end();
            return true;
        };
        if header.op != op_code::AUTH && header.op != op_code::SASL {
            if !self.is_authenticated(conn) && header.op != op_code::PING {
                let code = ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH;
                reply::header_only(conn.output(self.spare), header.xid, Zxid::ZERO, code);
                self.received(conn);
                conn.end();
                return true;
            }
            if self.must_wait(conn) {
                return false;
            }
            let ordered = !conn.in_flight.is_empty() || op_code::is_write(header.op);
            if ordered && self.stalls(slot, conn) {
                return false;
            }
            if !ordered && self.must_ask(header.op) && !conn.sight.covers(end) {
                self.await_word(slot, conn);
                return false;
            }
        }
        self.received(conn);
        match header.op {
            op_code::AUTH => self.auth(slot, conn, header, body),
            op_code::SASL => self.sasl(conn, header, body),
            op if conn.in_flight.is_empty() && !op_code::is_write(op) && !self.must_order(op) => {
                self.read(slot, conn, header, body);
            }
            _ => self.order(slot, conn, header, body),
        }
        true
    }

    /// Whether an operation waits for the leader's word on how far it must see.
    fn must_ask(&self, op: i32) -> bool {
        op_code::reads_tree(op) && self.shared.reads_in_rounds.load(Ordering::Relaxed)
    }

    /// Whether an operation that is no write takes its place among them at the leader.
    fn must_order(&self, op: i32) -> bool {
        op == op_code::SYNC && self.shared.is_member && !self.must_ask(op)
    }

    fn await_word(&mut self, slot: u32, conn: &mut Connection) {
        if !conn.sight.waits() {
            conn.sight = Sight::Waiting;
            conn.asked_since = self.now;
            self.questions.wait(self.place(slot, conn).conn());
        }
    }

    fn received(&mut self, conn: &Connection) {
        conn.stats.received.fetch_add(1, Ordering::Relaxed);
        self.tally.received += 1;
    }

    fn is_authenticated(&self, conn: &Connection) -> bool {
        let schemes = &self.settings.enforce_auth_schemes;
        schemes.is_empty() || conn.ids.iter().any(|id| schemes.contains(&id.scheme))
    }

    /// The limits on what is in flight, and on what a slow reader has not fetched.
    fn must_wait(&self, conn: &mut Connection) -> bool {
        let counters = &self.shared.stats.counters;
        if conn.unsent() > self.settings.connection_write_queue_bytes {
            self.count(&counters.connection_write_queue);
            return true;
        }
        let in_flight = conn.in_flight.len();
        if in_flight == 0 {
            return false;
        }
        let outstanding = self.shared.outstanding.load(Ordering::Relaxed);
        let held = self.shared.held.load(Ordering::Relaxed);
        let limit = self.settings.max_in_flight_per_connection;
        let limit = if limit > 0 && in_flight >= limit {
            &counters.max_in_flight_per_connection
        } else if share::must_wait(
            self.settings.global_outstanding_limit,
            outstanding,
            in_flight,
            held,
        ) {
            conn.held = true;
            &counters.global_outstanding_limit
        } else {
            return false;
        };
        self.count(limit);
        true
    }

    /// Whether a request for the replica waits for requests of others. One that became stale
    /// meanwhile ends its connection, as what came behind it must not overtake it.
    fn stalls(&mut self, slot: u32, conn: &mut Connection) -> bool {
        let throttle = &self.settings.request_throttle;
        if throttle.max_requests == 0 {
            return false;
        }
        let counters = &self.shared.stats.counters;
        let waited_ms = conn.stalled.map_or(0, |since| self.now.millis_since(since));
        let timeout_ms = conn.stats.timeout_ms.load(Ordering::Relaxed);
        let stale = throttle.is_stale(conn.at_end || conn.hung_up, waited_ms, timeout_ms);
        if stale && throttle.drop_stale {
            self.count(&counters.stale_requests_dropped);
            conn.stalled = None;
            conn.phase = Phase::Dead;
            return true;
        }
        let outstanding = self.shared.outstanding.load(Ordering::Relaxed);
        if !throttle.is_full(outstanding) {
            if stale {
                self.count(&counters.stale_requests);
            }
            return false;
        }
        self.count(&counters.request_throttle_wait_count);
        conn.stalled.get_or_insert(self.now);
        if !conn.in_line {
            conn.in_line = true;
            self.line.push_back((slot as usize, conn.generation));
        }
        true
    }

    /// Everything that only reads, on a connection with nothing in flight.
    fn read(&mut self, slot: u32, conn: &mut Connection, header: RequestHeader, body: &[u8]) {
        let RequestHeader { xid, op } = header;
        let decoded = request::decode(op, body, self.settings.max_field_bytes);
        let (session, ids) = (conn.session, Arc::clone(&conn.ids));
        let out = conn.output(self.spare);
        let before = out.len();
        let mut zxid = self.state.last_zxid();
        match decoded {
            Ok(request) => {
                let reader = Reader {
                    session,
                    ids: &ids,
                    watcher: WatcherId(slot),
                };
                read::serve(self.state, &mut self.io.watches, reader, xid, &request, out);
            }
            Err(bad) => {
                if bad == BadRequest::Unknown {
                    zxid = Zxid(-1);
                }
                if let Some(code) = bad.code() {
                    put_bad_request(out, xid, zxid, bad, code);
                }
                if matches!(bad, BadRequest::Unknown | BadRequest::Fatal) {
                    conn.end();
                }
            }
        }
        let size = (conn.output.len().saturating_sub(before)).saturating_sub(frame::LENGTH_SIZE);
        self.replied(conn, op, xid, zxid, size);
    }

    fn replied(&mut self, conn: &Connection, op: i32, xid: i32, zxid: Zxid, size: usize) {
        conn.stats.sent.fetch_add(1, Ordering::Relaxed);
        let latency_ms = conn.waited_ms(self.now);
        conn.stats.replied(op, xid, zxid.0, self.now, latency_ms);
        self.tally.replies.add(size as u64);
    }

    /// Writes, and whatever comes behind one.
    fn order(&mut self, slot: u32, conn: &mut Connection, header: RequestHeader, body: &[u8]) {
        let RequestHeader { xid, op } = header;
        let threshold = self.settings.large_request_threshold;
        let large = if threshold > 0 && body.len() > threshold {
            body.len()
        } else {
            0
        };
        let sum = self
            .shared
            .large_bytes
            .load(Ordering::Relaxed)
            .saturating_add(large);
        if large > 0 && sum > self.settings.large_request_max_bytes {
            self.count(&self.shared.stats.counters.large_requests_rejected);
            tracing::warn!(peer = %conn.peer, "large requests exceed largeRequestMaxBytes");
            conn.end();
            return;
        }
        self.submitted(conn, op, xid, large);
        let arrived = conn.stalled.take().unwrap_or(self.now);
        let stalled_ms = self.now.millis_since(arrived);
        self.stall_times.add(stalled_ms);
        self.tally.writes += u64::from(op_code::is_write(op));
        self.events.push(Input::Event(Event::Requested(Ordered {
            conn: self.place(slot, conn).conn(),
            session: conn.session,
            xid,
            op,
            body: self.room.copy(body),
            ids: Arc::clone(&conn.ids),
            arrived,
        })));
        if op == op_code::CLOSE_SESSION {
            conn.phase = Phase::AwaitAnswer;
        }
    }

    /// Handled at once, whatever is in flight.
    fn auth(&mut self, slot: u32, conn: &mut Connection, header: RequestHeader, body: &[u8]) {
        let decoded = request::decode(header.op, body, self.settings.max_field_bytes);
        let Ok(Request::Auth { scheme, data }) = decoded else {
            conn.end();
            return;
        };
        let address = conn.peer.ip();
        let proved = auth::authenticate(scheme.as_deref(), data, address, &self.settings.auth);
        let added = proved.map(|ids| {
            let mut all: Vec<Id> = conn.ids.to_vec();
            for id in ids {
                auth::add_id(&mut all, id);
            }
            all
        });
        let code = match added {
            // They go to the leader with each request, and into each list of the scheme `auth`.
            // Compat: C-80
            Some(all) if auth::bytes_of(&all) > limits::IDENTITIES_BYTES => {
                self.count(&self.shared.stats.counters.identities);
                tracing::warn!(peer = %conn.peer, "a connection with too many identities closed");
                ErrorCode::AUTH_FAILED
            }
            Some(all) => {
                conn.ids = all.into();
                if let Some(peer) = self.io.peers.get_mut(slot as usize) {
                    peer.ids = Arc::clone(&conn.ids);
                }
                ErrorCode::OK
            }
            None => {
                self.count(&self.shared.stats.counters.auth_failed_count);
                tracing::warn!(peer = %conn.peer, scheme = scheme.as_deref(), "authentication failed");
                ErrorCode::AUTH_FAILED
            }
        };
        reply::header_only(conn.output(self.spare), header.xid, Zxid::ZERO, code);
        conn.stats.sent.fetch_add(1, Ordering::Relaxed);
        if code != ErrorCode::OK {
            conn.end();
        }
    }

    /// As a server answers that has no SASL set up: any token is taken for the last one.
    fn sasl(&mut self, conn: &mut Connection, header: RequestHeader, body: &[u8]) {
        if request::decode(header.op, body, self.settings.max_field_bytes).is_err() {
            conn.end();
            return;
        }
        let out = conn.output(self.spare);
        let mark = reply::begin(out, header.xid);
        jute::put_buffer(out, None);
        reply::finish(out, mark, Zxid::ZERO, ErrorCode::OK);
        conn.stats.sent.fetch_add(1, Ordering::Relaxed);
    }
}

/// No session.
pub const NO_SESSION: SessionId = SessionId(0);
