//! The way of a write, top to bottom: prepare, propose, log, commit, apply, reply.
//!
//! A server without an ensemble decides alone: what its own log holds durably is committed. What
//! a session sends behind a write waits in the same queue, so that each session sees its own
//! requests in order.

use alloc::collections::VecDeque;
use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::acl::Id;
use roo_proto::connect::{ConnectResponse, session_password};
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Time, WallTime, Zxid};
use roo_proto::op_code;
use roo_proto::reply::{self, WriteResult};
use roo_proto::request::{self, BadRequest, Request};
use roo_proto::txn::{self, Txn, TxnDigest, TxnHeader};
use roo_state::expiry::{self, ExpiryRules};
use roo_state::pending::Overlay;
use roo_state::prepare::{self, PrepareRules, Prepared};
use roo_state::state::{Change, Outcome, State};

use crate::effect::{CloseReason, Deliveries, Effect, OrderedRead};
use crate::event::{ConnId, Connect, Event, Ordered};
use crate::reaper::{Reaper, ReaperRules};
use crate::sessions::Sessions;
use crate::snapshotting::Snapshotting;

/// What the server's configuration says to the replica. Times in ms.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields are the configuration keys of these names.
pub struct Config {
    pub tick_ms: u64,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    pub prepare: PrepareRules,
    pub reaper: ReaperRules,
    pub snap_count: u64,
    /// 0: bytes are not counted.
    pub snap_size_limit_bytes: u64,
    /// Longest wait in the queue before a request is answered THROTTLEDOP; 0 is off.
    pub throttled_op_wait_ms: u64,
    /// Longest string or buffer in a request, bytes.
    pub max_field_bytes: usize,
    /// The id of the first session.
    pub first_session: SessionId,
    /// For the choice of the moments of snapshots.
    pub seed: u64,
}

/// Who waits for a transaction.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    conn: ConnId,
    xid: i32,
    op: i32,
}

/// What a transaction in flight is for.
#[derive(Clone, Copy, Debug)]
enum Origin {
    /// A client's request.
    Client(Waiting),
    /// A handshake that asked for a new session.
    Handshake {
        conn: ConnId,
        read_only: Option<bool>,
    },
    /// The server itself: an expired session, a collected node.
    Server,
}

/// A place in the order.
#[derive(Debug)]
enum InFlight {
    Txn {
        header: TxnHeader,
        txn: Txn,
        digest: Option<TxnDigest>,
        origin: Origin,
    },
    Read(Ordered),
    Answer {
        conn: ConnId,
        frames: Vec<u8>,
        close: bool,
    },
}

/// See the module and the crate.
#[derive(Debug)]
pub struct Replica {
    config: Config,
    sessions: Sessions,
    overlay: Overlay,
    in_flight: VecDeque<InFlight>,
    /// zxid of the last transaction prepared.
    proposed: Zxid,
    /// zxid of the last record that survives a crash.
    durable: Zxid,
    snapshotting: Snapshotting,
    reaper: Reaper,
    changes: Vec<Change>,
}

impl Replica {
    /// A replica that goes on where `state` ends; every session gets its full timeout from now.
    #[must_use]
    pub fn new(config: Config, state: &State, now: Time) -> Self {
        let mut sessions = Sessions::new(config.tick_ms, config.first_session);
        for (session, timeout_ms) in state.sessions() {
            sessions.track(now, *session, *timeout_ms, None);
        }
        let snapshotting =
            Snapshotting::new(config.snap_count, config.snap_size_limit_bytes, config.seed);
        let reaper = Reaper::new(config.reaper, now);
        Self {
            sessions,
            overlay: Overlay::new(),
            in_flight: VecDeque::new(),
            proposed: state.last_zxid(),
            durable: state.last_zxid(),
            snapshotting,
            reaper,
            changes: Vec::new(),
            config,
        }
    }

    /// The living sessions.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Requests and handshakes that wait for their turn.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.in_flight.len()
    }

    /// When [`Event::DeadlineReached`] should come.
    #[must_use]
    pub fn next_deadline(&self) -> Time {
        let reaper = self.reaper.next_deadline();
        self.sessions
            .next_deadline()
            .map_or(reaper, |sessions| sessions.min(reaper))
    }

    /// Whether [`Replica::commit`] has something to do.
    #[must_use]
    pub fn can_commit(&self) -> bool {
        match self.in_flight.front() {
            None => false,
            Some(InFlight::Txn { header, .. }) => header.zxid <= self.durable,
            Some(InFlight::Read(_) | InFlight::Answer { .. }) => true,
        }
    }

    /// Takes note of an event. Only preparing reads the state; nothing is applied here.
    pub fn handle(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        event: Event,
        effects: &mut Vec<Effect>,
    ) {
        match event {
            Event::Connecting { conn, connect } => {
                self.on_connecting(now, wall, state, conn, &connect, effects);
            }
            Event::Requested(ordered) => self.on_requested(now, wall, state, ordered, effects),
            Event::Answered {
                conn,
                frames,
                close,
            } => {
                self.in_flight.push_back(InFlight::Answer {
                    conn,
                    frames,
                    close,
                });
            }
            Event::Disconnected { conn, session } => self.sessions.detach(session, conn),
            Event::Touched { session, at } => self.sessions.touch(at, session),
            Event::DeadlineReached => {
                self.expire_sessions(now, wall, state, effects);
                self.collect_nodes(now, wall, state, effects);
            }
            Event::LogDurable { upto } => {
                debug_assert!(
                    upto <= self.proposed,
                    "durable {upto} before it was proposed"
                );
                self.durable = self.durable.max(upto);
            }
            Event::SnapshotEnded => self.snapshotting.ended(),
        }
    }

    fn on_connecting(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        conn: ConnId,
        connect: &Connect,
        effects: &mut Vec<Effect>,
    ) {
        if connect.last_zxid_seen > state.last_zxid() {
            effects.push(Effect::Close {
                conn,
                why: CloseReason::ClientAhead,
            });
            return;
        }
        let Config {
            min_session_timeout_ms: min,
            max_session_timeout_ms: max,
            ..
        } = self.config;
        let timeout_ms = connect.timeout_ms.min(max).max(min);
        if connect.session == SessionId(0) {
            let session = self.sessions.allocate();
            self.sessions.track(now, session, timeout_ms, Some(conn));
            let prepared = prepare::prepare_create_session(state, &mut self.overlay, timeout_ms);
            let origin = Origin::Handshake {
                conn,
                read_only: connect.read_only,
            };
            self.propose(self.header(session, 0, wall), prepared, origin, effects);
            return;
        }
        let session = connect.session;
        let tracked = self.sessions.find(session).copied();
        if let Some(old) = tracked.and_then(|tracked| tracked.owner) {
            // Even a wrong password ends the older connection, as in Java.
            effects.push(Effect::Close {
                conn: old,
                why: CloseReason::SessionMoved,
            });
            self.sessions.detach(session, old);
        }
        let password = session_password(session);
        let resumed = tracked.is_some_and(|tracked| !tracked.closing)
            && connect.password.as_deref() == Some(&password[..]);
        let response = if resumed {
            self.sessions.attach(now, session, timeout_ms, conn);
            ConnectResponse {
                timeout_ms,
                session,
                password,
                read_only: no_read_only(connect),
            }
        } else {
            ConnectResponse::refused(no_read_only(connect))
        };
        effects.push(Effect::Connected { conn, response });
    }

    /// The header of the next transaction.
    fn header(&self, session: SessionId, cxid: i32, wall: WallTime) -> TxnHeader {
        TxnHeader {
            client_id: session.0,
            cxid,
            zxid: self.proposed.next(),
            time: wall.0,
        }
    }

    fn on_requested(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        ordered: Ordered,
        effects: &mut Vec<Effect>,
    ) {
        let Ordered {
            conn,
            session,
            xid,
            op,
            ..
        } = ordered;
        let Some(tracked) = self.sessions.find(session) else {
            effects.push(Effect::Close {
                conn,
                why: CloseReason::UnknownSession,
            });
            return;
        };
        if tracked.owner != Some(conn) {
            effects.push(Effect::Close {
                conn,
                why: CloseReason::SessionMoved,
            });
            return;
        }
        let closing = tracked.closing;
        if self.waited_too_long(now, &ordered) {
            let mut frames = Vec::new();
            reply::header_only(&mut frames, xid, state.last_zxid(), ErrorCode::THROTTLED_OP);
            self.in_flight.push_back(InFlight::Answer {
                conn,
                frames,
                close: false,
            });
            return;
        }
        if !op_code::is_write(op) {
            self.in_flight.push_back(InFlight::Read(ordered));
            return;
        }
        let header = self.header(session, xid, wall);
        let prepared = match request::decode(op, &ordered.body, self.config.max_field_bytes) {
            _ if closing => refusal(ErrorCode::SESSION_EXPIRED),
            Ok(request) => self.prepare(state, &header, &ordered.ids, &request),
            Err(bad) if takes_no_zxid(bad) => {
                self.in_flight.push_back(InFlight::Read(ordered));
                return;
            }
            Err(_) => refusal(ErrorCode::MARSHALLING_ERROR),
        };
        if op == op_code::CLOSE_SESSION {
            self.sessions.close(session);
        }
        self.propose(
            header,
            prepared,
            Origin::Client(Waiting { conn, xid, op }),
            effects,
        );
    }

    fn waited_too_long(&self, now: Time, ordered: &Ordered) -> bool {
        let limit = self.config.throttled_op_wait_ms;
        limit > 0
            && !matches!(ordered.op, op_code::PING | op_code::CLOSE_SESSION)
            && now.millis_since(ordered.arrived) > limit
    }

    fn prepare(
        &mut self,
        state: &State,
        header: &TxnHeader,
        ids: &[Id],
        request: &Request<'_>,
    ) -> Prepared {
        let rules = &self.config.prepare;
        prepare::prepare(state, &mut self.overlay, rules, header, ids, request)
    }

    /// Gives a transaction its place in the order and sends it to the log.
    fn propose(
        &mut self,
        header: TxnHeader,
        prepared: Prepared,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let Prepared { txn, digest } = prepared;
        let mut record = Vec::new();
        txn::encode_record(&mut record, &header, &txn, digest);
        let due = self.snapshotting.on_append(record.len());
        self.proposed = header.zxid;
        effects.push(Effect::Append {
            zxid: header.zxid,
            record,
        });
        self.in_flight.push_back(InFlight::Txn {
            header,
            txn,
            digest,
            origin,
        });
        if due {
            effects.push(Effect::RollLog);
            if self.snapshotting.try_start() {
                effects.push(Effect::TakeSnapshot);
            }
        }
    }

    fn expire_sessions(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        effects: &mut Vec<Effect>,
    ) {
        for session in self.sessions.expire(now) {
            let header = self.header(session, 0, wall);
            let prepared = self.prepare(state, &header, &[], &Request::CloseSession);
            self.propose(header, prepared, Origin::Server, effects);
        }
    }

    fn collect_nodes(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        effects: &mut Vec<Effect>,
    ) {
        let quota = self.reaper.quota(now);
        if quota == 0 {
            return;
        }
        let rules = ExpiryRules {
            max_never_used_ms: self.config.reaper.max_never_used_ms,
        };
        for path in expiry::candidates(state, wall, &rules, quota) {
            let header = self.header(SessionId(0), 0, wall);
            let request = Request::DeleteContainer { path: path.into() };
            let prepared = self.prepare(state, &header, &[], &request);
            self.propose(header, prepared, Origin::Server, effects);
        }
    }

    /// Applies what is committed and answers what waited for it, in order.
    pub fn commit(&mut self, state: &mut State, deliveries: &mut dyn Deliveries) {
        while self.can_commit()
            && let Some(next) = self.in_flight.pop_front()
        {
            match next {
                InFlight::Txn {
                    header,
                    txn,
                    digest,
                    origin,
                } => {
                    self.apply(state, header, txn, digest, origin, deliveries);
                }
                InFlight::Read(ordered) => {
                    read_in_turn(state, &ordered, self.config.max_field_bytes, deliveries);
                }
                InFlight::Answer {
                    conn,
                    frames,
                    close,
                } => {
                    deliveries.reply(conn, &mut |out| out.extend_from_slice(&frames));
                    if close {
                        deliveries.close(conn, CloseReason::SessionClosed);
                    }
                }
            }
        }
    }

    fn apply(
        &mut self,
        state: &mut State,
        header: TxnHeader,
        txn: Txn,
        digest: Option<TxnDigest>,
        origin: Origin,
        deliveries: &mut dyn Deliveries,
    ) {
        let mut changes = core::mem::take(&mut self.changes);
        changes.clear();
        let op = txn.op();
        let applied = state.apply(&header, txn, &mut changes);
        self.overlay.applied(header.zxid);
        if let Some(expected) = digest
            && expected.tree_digest.cast_unsigned() != state.digest()
        {
            let expected = expected.tree_digest.cast_unsigned();
            deliveries.digest_mismatch(header.zxid, expected, state.digest());
        }
        for change in &changes {
            deliveries.changed(state, header.zxid, change);
        }
        self.changes = changes;
        let session = SessionId(header.client_id);
        let ended = matches!(applied.outcome, Outcome::SessionClosed);
        let owner = if ended {
            self.sessions.remove(session).and_then(|t| t.owner)
        } else {
            None
        };
        let conn = match origin {
            Origin::Client(waiting) => {
                reply_to(
                    waiting,
                    header.zxid,
                    applied.error,
                    &applied.outcome,
                    deliveries,
                );
                Some(waiting.conn)
            }
            Origin::Handshake { conn, read_only } => {
                let timeout_ms = match applied.outcome {
                    Outcome::SessionCreated { timeout_ms } => timeout_ms,
                    Outcome::Nothing
                    | Outcome::Single(_)
                    | Outcome::Multi(_)
                    | Outcome::SessionClosed => 0,
                };
                let password = session_password(session);
                let read_only = read_only.map(|_| false);
                let response = ConnectResponse {
                    timeout_ms,
                    session,
                    password,
                    read_only,
                };
                deliveries.connected(conn, &response);
                Some(conn)
            }
            Origin::Server => None,
        };
        deliveries.applied(conn, op, &header, applied.error);
        if let Some(owner) = owner {
            let by_client = conn == Some(owner);
            let why = if by_client {
                CloseReason::SessionClosed
            } else {
                CloseReason::SessionExpired
            };
            deliveries.close(owner, why);
        }
    }
}

/// A server with a quorum is never read-only; the flag is sent only to those who know it.
fn no_read_only(connect: &Connect) -> Option<bool> {
    connect.read_only.map(|_| false)
}

const fn refusal(code: ErrorCode) -> Prepared {
    Prepared {
        txn: Txn::Error(code),
        digest: None,
    }
}

const fn takes_no_zxid(bad: BadRequest) -> bool {
    !matches!(bad, BadRequest::MalformedWrite)
}

fn reply_to(
    waiting: Waiting,
    zxid: Zxid,
    error: ErrorCode,
    outcome: &Outcome,
    deliveries: &mut dyn Deliveries,
) {
    let Waiting { conn, xid, op } = waiting;
    deliveries.reply(conn, &mut |out| {
        let mark = reply::begin(out, xid);
        // A multi that failed is a success that reports its failure.
        let code = match outcome {
            Outcome::Multi(results) => {
                put_multi(out, results);
                ErrorCode::OK
            }
            Outcome::Single(result) if error == ErrorCode::OK => {
                put_single(out, op, result);
                ErrorCode::OK
            }
            Outcome::Nothing
            | Outcome::Single(_)
            | Outcome::SessionCreated { .. }
            | Outcome::SessionClosed => error,
        };
        reply::finish(out, mark, zxid, code);
    });
}

/// A plain create answers with the path alone, also when its flags made a container.
fn put_single(out: &mut Vec<u8>, op: i32, result: &WriteResult) {
    match result {
        WriteResult::CreatedStat { path, .. } if op == op_code::CREATE => {
            roo_proto::jute::put_string(out, path);
        }
        WriteResult::Nothing { .. }
        | WriteResult::Created { .. }
        | WriteResult::CreatedStat { .. }
        | WriteResult::Changed { .. } => result.encode(out),
    }
}

fn put_multi(out: &mut Vec<u8>, results: &[Result<WriteResult, ErrorCode>]) {
    let failed = results
        .iter()
        .any(|r| r.as_ref().is_err_and(|code| *code != ErrorCode::OK));
    for result in results {
        match result {
            Ok(_) if failed => reply::multi_error(out, ErrorCode::OK),
            Ok(result) => {
                reply::multi_header(out, result.multi_op(), ErrorCode::OK);
                result.encode(out);
            }
            Err(code) => reply::multi_error(out, *code),
        }
    }
    reply::multi_end(out);
}

/// Serves what a session sent behind its writes.
fn read_in_turn(
    state: &State,
    ordered: &Ordered,
    max_field_bytes: usize,
    deliveries: &mut dyn Deliveries,
) {
    let Ordered {
        conn,
        session,
        xid,
        op,
        ..
    } = *ordered;
    match request::decode(op, &ordered.body, max_field_bytes) {
        Ok(request) => {
            let ids: &Arc<[Id]> = &ordered.ids;
            deliveries.read(
                state,
                &OrderedRead {
                    conn,
                    session,
                    xid,
                    ids,
                    request,
                },
            );
        }
        Err(bad) => {
            let zxid = if bad == BadRequest::Unknown {
                Zxid(-1)
            } else {
                state.last_zxid()
            };
            if let Some(code) = bad.code() {
                deliveries.reply(conn, &mut |out| put_bad_request(out, xid, zxid, bad, code));
            }
            if matches!(bad, BadRequest::Unknown | BadRequest::Fatal) {
                deliveries.close(conn, CloseReason::SessionClosed);
            }
        }
    }
}

/// Writes the reply to a request that could not be decoded.
pub fn put_bad_request(out: &mut Vec<u8>, xid: i32, zxid: Zxid, bad: BadRequest, code: ErrorCode) {
    let mark = reply::begin(out, xid);
    if bad == BadRequest::MalformedMultiRead {
        reply::multi_end(out);
    }
    reply::finish(out, mark, zxid, code);
}

#[cfg(test)]
mod tests;
