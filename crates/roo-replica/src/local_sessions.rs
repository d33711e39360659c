//! Sessions that only one server knows: they cost no transaction, and end with their server. One
//! that makes an ephemeral node becomes global first, if the operator allows it. A server without
//! a leader can give out no others. Java: `LocalSessionTracker`, `UpgradeableSessionTracker`.

use alloc::vec::Vec;

use roo_proto::connect::ConnectResponse;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Time, WallTime};
use roo_proto::op_code;
use roo_proto::request::{self, Create, MultiOp, Request};
use roo_state::prepare;
use roo_state::state::State;

use crate::effect::{CloseReason, Effect};
use crate::event::{ConnId, Connect, Ordered};
use crate::intake::{close, handshake_response};
use crate::replica::{InFlight, LocalSessions, Origin, Replica, Role};
use crate::sessions::Owner;

impl Replica {
    /// Whether a new session is this server's alone.
    pub(crate) fn begins_locally(&self) -> bool {
        let in_ensemble = self.peers.is_some() && self.config.local_sessions != LocalSessions::Off;
        // Compat: C-46 a server without a leader gives out local sessions whatever is configured.
        in_ensemble || self.role == Role::ReadOnly
    }

    pub(crate) fn create_local_session(
        &mut self,
        now: Time,
        conn: ConnId,
        connect: &Connect,
        timeout_ms: i32,
        effects: &mut Vec<Effect>,
    ) {
        let session = self.sessions.allocate();
        let owner = Owner::Connection(conn);
        self.sessions.track_local(now, session, timeout_ms, owner);
        let mut response = handshake_response(session, timeout_ms, true, connect.read_only);
        self.say_read_only(&mut response);
        effects.push(Effect::Connected { conn, response });
    }

    /// A client that knows the flag is told that it can only read here.
    pub(crate) fn say_read_only(&self, response: &mut ConnectResponse) {
        if self.role == Role::ReadOnly {
            response.read_only = response.read_only.map(|_| true);
        }
    }

    /// The client ends its session; the answer keeps its place.
    pub(crate) fn close_local_session(&mut self, ordered: &Ordered) {
        self.sessions.remove(ordered.session);
        self.in_flight.push_back(InFlight::Refused {
            conn: ordered.conn,
            xid: ordered.xid,
            code: ErrorCode::OK,
            close: true,
        });
    }

    pub(crate) fn end_local_session(
        &mut self,
        session: SessionId,
        why: CloseReason,
        effects: &mut Vec<Effect>,
    ) {
        let owner = self.sessions.remove(session).and_then(|t| t.owner);
        if let Some(Owner::Connection(conn)) = owner {
            close(effects, conn, why);
        }
    }

    /// Makes a local session known to all; false where that is not allowed.
    pub(crate) fn upgrade(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        session: SessionId,
        effects: &mut Vec<Effect>,
    ) -> bool {
        let Some(timeout_ms) = self.sessions.find(session).map(|t| t.timeout_ms) else {
            return false;
        };
        if self.config.local_sessions != LocalSessions::Upgrading {
            return false;
        }
        if matches!(self.role, Role::Learning { .. }) {
            self.sessions.make_global(session, true);
            self.forward_new_session(session, timeout_ms, Origin::Upgrade, effects);
            return true;
        }
        let Some(header) = self.header(session, 0, wall) else {
            return false;
        };
        self.sessions.make_global(session, false);
        let prepared = prepare::prepare_create_session(state, &mut self.overlay, timeout_ms);
        self.propose(now, header, prepared, Origin::Upgrade, effects);
        true
    }
}

/// Whether a request makes an ephemeral node, alone or in a multi.
pub(crate) fn makes_ephemeral(op: i32, body: &[u8], max_field_bytes: usize) -> bool {
    match request::decode(op, body, max_field_bytes) {
        Ok(Request::Create(create)) => is_ephemeral(&create),
        Ok(Request::Multi(ops)) => ops.iter().any(|op| match op {
            MultiOp::Create(create) => is_ephemeral(create),
            MultiOp::Delete { .. } | MultiOp::SetData { .. } | MultiOp::Check { .. } => false,
        }),
        _ => false,
    }
}

/// The flags of the two ephemeral modes; those of containers and TTL nodes mean something else.
fn is_ephemeral(create: &Create<'_>) -> bool {
    matches!(create.op, op_code::CREATE | op_code::CREATE2) && matches!(create.flags, 1 | 3)
}
