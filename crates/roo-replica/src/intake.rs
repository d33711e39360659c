//! What clients ask, by role: a server that decides gives a write its place; a learner sends it
//! to its leader and keeps a place for the answer.

use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::connect::{ConnectResponse, session_password};
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Time, WallTime, Zxid};
use roo_proto::op_code;
use roo_proto::request::{self, BadRequest};
use roo_state::prepare;
use roo_state::state::State;

use crate::effect::{CloseReason, Effect};
use crate::event::{ConnId, Connect, Ordered};
use crate::local_sessions::makes_ephemeral;
use crate::peer_message::PeerMessage;
use crate::replica::{InFlight, Origin, Replica, Role, Waiting};
use crate::requests::room_of;
use crate::sessions::Owner;
use crate::write_path::refusal;

impl Replica {
    pub(crate) fn on_connecting(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        conn: ConnId,
        connect: &Connect,
        effects: &mut Vec<Effect>,
    ) {
        if !self.answers_clients() {
            close(effects, conn, CloseReason::NotServing);
            return;
        }
        if connect.last_zxid_seen > state.last_zxid() {
            close(effects, conn, CloseReason::ClientAhead);
            return;
        }
        let timeout_ms = connect
            .timeout_ms
            .min(self.config.max_session_timeout_ms)
            .max(self.config.min_session_timeout_ms);
        if self.role == Role::ReadOnly && connect.read_only != Some(true) {
            close(effects, conn, CloseReason::ReadOnly);
        } else if connect.session == SessionId(0) && self.begins_locally() {
            self.create_local_session(now, conn, connect, timeout_ms, effects);
        } else if connect.session == SessionId(0) {
            self.create_session(now, wall, state, conn, connect, timeout_ms, effects);
        } else {
            self.resume_session(now, conn, connect, timeout_ms, effects);
        }
    }

    /// A leader may leave the clients to its followers.
    fn answers_clients(&self) -> bool {
        match self.role {
            Role::Looking => false,
            Role::ReadOnly => true,
            Role::Leading { .. } => self.config.leader_serves,
            Role::Standalone | Role::Learning { .. } => true,
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn create_session(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        conn: ConnId,
        connect: &Connect,
        timeout_ms: i32,
        effects: &mut Vec<Effect>,
    ) {
        let session = self.sessions.allocate();
        let owner = Some(Owner::Connection(conn));
        let origin = Origin::Handshake {
            conn,
            read_only: connect.read_only,
        };
        if matches!(self.role, Role::Learning { .. }) {
            self.sessions.attend(session, timeout_ms, owner);
            self.forward_new_session(session, timeout_ms, origin, effects);
            return;
        }
        let Some(header) = self.header(session, 0, wall) else {
            close(effects, conn, CloseReason::NotServing);
            return;
        };
        self.sessions.track(now, session, timeout_ms, owner);
        let prepared = prepare::prepare_create_session(state, &mut self.overlay, timeout_ms);
        self.propose(now, header, prepared, origin, effects);
    }

    /// Asks the leader to make a session known to all.
    pub(crate) fn forward_new_session(
        &mut self,
        session: SessionId,
        timeout_ms: i32,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let message = PeerMessage::Request {
            session,
            cxid: 0,
            op: op_code::CREATE_SESSION,
            body: Bytes::copy_from_slice(&timeout_ms.to_be_bytes()),
            ids: [].into(),
        };
        self.in_flight.push_back(InFlight::Forwarded {
            session,
            cxid: 0,
            since: Zxid::ZERO,
            origin,
            bytes: room_of(&message),
        });
        self.ask_leader(message, effects);
    }

    fn resume_session(
        &mut self,
        now: Time,
        conn: ConnId,
        connect: &Connect,
        timeout_ms: i32,
        effects: &mut Vec<Effect>,
    ) {
        let session = connect.session;
        let tracked = self.sessions.find(session).copied();
        if self.role == Role::ReadOnly && tracked.is_none() {
            // Nobody can say whether it lives.
            close(effects, conn, CloseReason::ReadOnly);
            return;
        }
        if let Some(Owner::Connection(old)) = tracked.and_then(|tracked| tracked.owner) {
            // Even a wrong password ends the older connection, as in Java.
            close(effects, old, CloseReason::SessionMoved);
            self.sessions.detach(session, old);
        }
        let password = session_password(session);
        let knows_password = connect.password.as_deref() == Some(&password[..]);
        if matches!(self.role, Role::Learning { .. })
            && knows_password
            && !tracked.is_some_and(|tracked| tracked.closing || tracked.local)
        {
            if let Some(peers) = &mut self.peers {
                peers.revalidate(session, conn, timeout_ms, connect.read_only);
            }
            let message = PeerMessage::Revalidate {
                session,
                timeout_ms,
            };
            self.ask_leader(message, effects);
            return;
        }
        let resumed = tracked.is_some_and(|tracked| !tracked.closing) && knows_password;
        if resumed {
            let owner = Owner::Connection(conn);
            self.sessions.attach(now, session, timeout_ms, owner);
        }
        let mut response = handshake_response(session, timeout_ms, resumed, connect.read_only);
        self.say_read_only(&mut response);
        effects.push(Effect::Connected { conn, response });
    }

    pub(crate) fn on_requested(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        ordered: Ordered,
        effects: &mut Vec<Effect>,
    ) {
        let (conn, session) = (ordered.conn, ordered.session);
        let Some(tracked) = self.sessions.find(session) else {
            close(effects, conn, CloseReason::UnknownSession);
            return;
        };
        if tracked.owner != Some(Owner::Connection(conn)) {
            close(effects, conn, CloseReason::SessionMoved);
            return;
        }
        let (closing, local) = (tracked.closing, tracked.local);
        if self.waited_too_long(now, &ordered) {
            self.refuse_in_turn(&ordered, ErrorCode::THROTTLED_OP);
            return;
        }
        let needs_leader = op_code::is_write(ordered.op) || ordered.op == op_code::SYNC;
        if local && ordered.op == op_code::CLOSE_SESSION {
            self.close_local_session(&ordered);
            return;
        }
        if self.role == Role::ReadOnly && needs_leader {
            self.refuse_in_turn(&ordered, ErrorCode::NOT_READ_ONLY);
            return;
        }
        if local
            && makes_ephemeral(ordered.op, &ordered.body, self.config.max_field_bytes)
            && !self.upgrade(now, wall, state, session, effects)
        {
            self.refuse_in_turn(&ordered, ErrorCode::EPHEMERAL_ON_LOCAL_SESSION);
            return;
        }
        // Compat: C-82 where reads go by rounds, sync is one of them.
        if ordered.op == op_code::SYNC && !self.reads_in_rounds() && self.sync(&ordered, effects) {
            self.in_flight.push_back(InFlight::Sync(ordered));
            return;
        }
        if !op_code::is_write(ordered.op) {
            self.queue_read(now, ordered, effects);
            return;
        }
        match self.role {
            Role::Standalone | Role::Leading { .. } => {
                self.decide(now, wall, state, ordered, closing, effects);
            }
            Role::Learning { .. } => self.forward(ordered, effects),
            Role::Looking | Role::ReadOnly => close(effects, conn, CloseReason::NotServing),
        }
    }

    fn waited_too_long(&self, now: Time, ordered: &Ordered) -> bool {
        let limit = self.config.throttled_op_wait_ms;
        limit > 0
            && !matches!(ordered.op, op_code::PING | op_code::CLOSE_SESSION)
            && now.millis_since(ordered.arrived) > limit
    }

    fn refuse_in_turn(&mut self, ordered: &Ordered, code: ErrorCode) {
        self.in_flight.push_back(InFlight::Refused {
            conn: ordered.conn,
            xid: ordered.xid,
            code,
            close: false,
        });
    }

    /// Asks the leader to answer a `sync`; false where this server answers it itself.
    fn sync(&mut self, ordered: &Ordered, effects: &mut Vec<Effect>) -> bool {
        if !matches!(self.role, Role::Learning { .. }) {
            return false;
        }
        // What cannot be decoded is refused here.
        if request::decode(ordered.op, &ordered.body, self.config.max_field_bytes).is_err() {
            return false;
        }
        self.ask_leader(PeerMessage::Sync, effects);
        true
    }

    /// Makes a transaction of a client's write.
    fn decide(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        ordered: Ordered,
        closing: bool,
        effects: &mut Vec<Effect>,
    ) {
        let Ordered {
            conn,
            session,
            xid,
            op,
            ..
        } = ordered;
        let Some(header) = self.header(session, xid, wall) else {
            close(effects, conn, CloseReason::NotServing);
            return;
        };
        let prepared = match request::decode(op, &ordered.body, self.config.max_field_bytes) {
            _ if closing => refusal(ErrorCode::SESSION_EXPIRED),
            Ok(request) => self.prepare(state, &header, &ordered.ids, &ordered.body, &request),
            Err(bad) if takes_no_zxid(bad) => {
                self.in_flight
                    .push_back(InFlight::Read { ordered, round: 0 });
                return;
            }
            Err(_) => refusal(ErrorCode::MARSHALLING_ERROR),
        };
        if op == op_code::CLOSE_SESSION {
            self.sessions.close(session);
        }
        let origin = Origin::Client(Waiting { conn, xid, op });
        self.propose(now, header, prepared, origin, effects);
    }

    /// Sends a client's write to the leader and keeps a place for its transaction.
    fn forward(&mut self, ordered: Ordered, effects: &mut Vec<Effect>) {
        let decoded = request::decode(ordered.op, &ordered.body, self.config.max_field_bytes);
        if decoded.is_err_and(takes_no_zxid) {
            self.in_flight
                .push_back(InFlight::Read { ordered, round: 0 });
            return;
        }
        let Ordered {
            conn,
            session,
            xid,
            op,
            body,
            ids,
            ..
        } = ordered;
        if op == op_code::CLOSE_SESSION {
            self.sessions.close(session);
        }
        let since = self.sessions.find(session).map(|tracked| tracked.since);
        let message = PeerMessage::Request {
            session,
            cxid: xid,
            op,
            body,
            ids,
        };
        self.in_flight.push_back(InFlight::Forwarded {
            session,
            cxid: xid,
            since: since.unwrap_or(Zxid::ZERO),
            origin: Origin::Client(Waiting { conn, xid, op }),
            bytes: room_of(&message),
        });
        self.ask_leader(message, effects);
    }

    pub(crate) fn on_disconnected(&mut self, conn: ConnId, session: SessionId) {
        self.sessions.detach(session, conn);
        if let Some(peers) = &mut self.peers {
            peers.forget_handshake(conn);
        }
    }

    pub(crate) fn on_touched(&mut self, at: Time, session: SessionId) {
        let is_local = self.sessions.find(session).is_some_and(|t| t.local);
        if self.role.decides() || is_local {
            self.sessions.touch(at, session);
        } else if let Some(tracked) = self.sessions.find(session)
            && let Some(peers) = &mut self.peers
        {
            peers.touched.insert(session, tracked.timeout_ms);
        }
    }
}

/// Answers a handshake; the flag is sent only to those who know it, and a server with a quorum is
/// never read-only.
pub(crate) fn handshake_response(
    session: SessionId,
    timeout_ms: i32,
    valid: bool,
    read_only: Option<bool>,
) -> ConnectResponse {
    let read_only = read_only.map(|_| false);
    if valid {
        ConnectResponse {
            timeout_ms,
            session,
            password: session_password(session),
            read_only,
        }
    } else {
        ConnectResponse::refused(read_only)
    }
}

pub(crate) fn close(effects: &mut Vec<Effect>, conn: ConnId, why: CloseReason) {
    effects.push(Effect::Close { conn, why });
}

const fn takes_no_zxid(bad: BadRequest) -> bool {
    !matches!(bad, BadRequest::MalformedWrite)
}
