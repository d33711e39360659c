//! A whole server without its sockets and files: what one or two clients send, in any order, with
//! the disk fast or slow and time going on.
//!
//! Beyond panics it looks for a digest that was prepared and is not that of the tree, and for
//! replies out of order.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use roo_proto::acl::Id;
use roo_proto::connect::ConnectResponse;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Time, WallTime, Zxid};
use roo_proto::op_code;
use roo_proto::request;
use roo_proto::txn::{self, TxnHeader};
use roo_replica::effect::{CloseReason, Deliveries, Effect, OrderedRead};
use roo_replica::event::{ConnId, Connect, Event, Ordered};
use roo_replica::read_path::ReadMode;
use roo_replica::reaper::ReaperRules;
use roo_replica::{Config, LocalSessions, Replica, Role};
use roo_state::prepare::PrepareRules;
use roo_state::read::{self, Reader};
use roo_state::state::{Change, Rules, State};
use roo_state::watch::{WatchTable, WatcherId};

use crate::{take, take_chunk, wire::MAX_PACKET};

/// What was delivered.
#[derive(Default)]
struct Clients {
    watches: WatchTable,
    sessions: BTreeMap<u64, SessionId>,
    /// What each connection waits for, oldest first.
    expected: BTreeMap<u64, VecDeque<i32>>,
    out: Vec<u8>,
}

impl Clients {
    fn answered(&mut self, conn: ConnId, xid: i32) {
        let expected = self.expected.entry(conn.0).or_default().pop_front();
        assert_eq!(expected, Some(xid), "a reply out of order on {conn:?}");
    }
}

impl Deliveries for Clients {
    fn changed(&mut self, state: &State, _zxid: Zxid, change: &Change) {
        self.watches.fire(change, &mut |_, _, _, acl| {
            let _ = state.permits(acl, 1, &[]);
        });
    }

    fn reply(&mut self, conn: ConnId, write: &mut dyn FnMut(&mut Vec<u8>)) {
        self.out.clear();
        write(&mut self.out);
        if let Some(xid) = self.out.get(4..8).and_then(|b| b.try_into().ok()) {
            self.answered(conn, i32::from_be_bytes(xid));
        }
    }

    fn read(&mut self, state: &State, ordered: &OrderedRead<'_>) {
        self.out.clear();
        let reader = Reader {
            session: ordered.session,
            ids: ordered.ids,
            watcher: WatcherId(u32::try_from(ordered.conn.0).unwrap_or(0)),
        };
        let (xid, request) = (ordered.xid, &ordered.request);
        read::serve(
            state,
            &mut self.watches,
            reader,
            xid,
            request,
            &mut self.out,
        );
        self.answered(ordered.conn, xid);
    }

    fn connected(&mut self, conn: ConnId, response: &ConnectResponse) {
        self.sessions.insert(conn.0, response.session);
    }

    fn close(&mut self, conn: ConnId, _why: CloseReason) {
        self.sessions.remove(&conn.0);
    }

    fn applied(&mut self, _: Option<ConnId>, _: i32, _: &TxnHeader, _: ErrorCode) {}

    fn role_changed(&mut self, role: Role, _: bool) {
        panic!("a server alone became {role:?}");
    }

    fn undecodable(&mut self, zxid: Zxid, what: &'static str) {
        panic!("{zxid}: {what}");
    }

    fn digest_mismatch(&mut self, zxid: Zxid, expected: u64, actual: u64) {
        panic!("digest after {zxid}: prepared {expected}, applied {actual}");
    }
}

struct Server {
    replica: Replica,
    state: State,
    clients: Clients,
    now: Time,
    written: Zxid,
    xid: i32,
    connections: u64,
}

fn server() -> Server {
    let rules = Rules {
        extended_types: true,
        enforce_quota: true,
        ..Rules::default()
    };
    let state = State::new(rules, 1);
    let config = Config {
        tick_ms: 1000,
        min_session_timeout_ms: 2000,
        max_session_timeout_ms: 20_000,
        prepare: PrepareRules::default(),
        reaper: ReaperRules::default(),
        snap_count: 20,
        snap_size_limit_bytes: 0,
        throttled_op_wait_ms: 0,
        max_field_bytes: MAX_PACKET,
        first_session: SessionId(0x0100_0000_0000_0001),
        seed: 1,
        read_mode: ReadMode::Local,
        min_voters: 2,
        leader_serves: true,
        local_sessions: LocalSessions::Off,
        read_only_after_ms: None,
        learner_request_bytes: 1 << 20,
    };
    let now = Time(1_000_000);
    Server {
        replica: Replica::standalone(config, &state, now),
        state,
        clients: Clients::default(),
        now,
        written: Zxid::ZERO,
        xid: 0,
        connections: 0,
    }
}

impl Server {
    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        let wall = WallTime(1_700_000_000_000 + i64::try_from(self.now.0).unwrap_or(0));
        self.replica
            .handle(self.now, wall, &self.state, event, &mut effects);
        for effect in effects {
            match effect {
                Effect::Append { zxid, record } => {
                    assert!(
                        zxid > self.written,
                        "{zxid} appended behind {}",
                        self.written
                    );
                    self.written = zxid;
                    let decoded = txn::decode_record(&record).map(|(header, ..)| header.zxid);
                    assert_eq!(decoded, Ok(zxid), "what is logged cannot be read");
                }
                Effect::Connected { conn, response } => self.clients.connected(conn, &response),
                Effect::Close { conn, why } => self.clients.close(conn, why),
                Effect::RollLog | Effect::TakeSnapshot => {}
                Effect::Shown(_) | Effect::Send { .. } | Effect::Zab(_) => {
                    panic!("{effect:?} without an ensemble")
                }
            }
        }
    }

    /// The disk has everything: apply and answer it.
    fn settle(&mut self) {
        self.handle(Event::LogDurable { upto: self.written });
        let mut effects = Vec::new();
        self.replica
            .commit(self.now, &mut self.state, &mut self.clients, &mut effects);
        assert!(effects.is_empty(), "{effects:?}");
    }

    fn connect(&mut self, timeout_ms: i32) {
        self.connections += 1;
        let connect = Connect {
            last_zxid_seen: Zxid::ZERO,
            timeout_ms,
            session: SessionId(0),
            password: None,
            read_only: None,
        };
        let conn = ConnId(self.connections);
        self.handle(Event::Connecting { conn, connect });
    }

    fn request(&mut self, choice: u8, op: i32, body: &[u8]) {
        let nth = usize::from(choice) % self.clients.sessions.len().max(1);
        let chosen = self.clients.sessions.iter().nth(nth);
        let Some((&conn, &session)) = chosen else {
            return;
        };
        // Not ordered by the shell either.
        if matches!(op, op_code::AUTH | op_code::SASL) || session == SessionId(0) {
            return;
        }
        self.xid += 1;
        let xid = self.xid;
        let ids = [Id::new("ip", "127.0.0.1"), Id::new("digest", "u:h")];
        // Packets without a reply of their own leave the order as it is.
        let replies = match request::decode(op, body, MAX_PACKET) {
            Ok(_) => true,
            Err(bad) => bad.code().is_some(),
        };
        if replies {
            let expected = self.clients.expected.entry(conn).or_default();
            expected.push_back(xid);
        }
        self.handle(Event::Requested(Ordered {
            conn: ConnId(conn),
            session,
            xid,
            op,
            body: body.to_vec().into(),
            ids: Arc::from(ids),
            arrived: self.now,
        }));
    }
}

/// Steps of a byte that says what happens, and what that takes.
pub fn session(bytes: &[u8]) {
    let mut server = server();
    server.connect(10_000);
    server.settle();
    let mut rest = bytes;
    while let [step, ..] = *rest {
        take(&mut rest, 1);
        match step % 8 {
            0 => server.settle(),
            1 => {
                let ms = take_chunk(&mut rest).len() as u64 * 100;
                server.now = server.now.after(Duration::from_millis(ms));
                server.handle(Event::DeadlineReached);
            }
            2 if server.connections < 4 => server.connect(i32::from(step) * 100),
            _ => {
                let op = take(&mut rest, 1).first().copied().unwrap_or_default();
                let op = i32::from(op.cast_signed());
                server.request(step / 8, op, take_chunk(&mut rest));
            }
        }
    }
    server.settle();
    assert!(server.replica.outstanding() == 0, "a request was forgotten");
}
