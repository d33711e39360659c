//! A whole server inside a process of the simulator: the real replica, state, and watches, with
//! connections of clients instead of sockets. What the I/O threads and the replica's loop of
//! roo-server do around them is done here the same way, in one thread.

mod reading;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use roo_proto::acl::Id;
use roo_proto::connect::{ConnectRequest, ConnectResponse, initial_session_id};
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Time, WallTime, Zxid};
use roo_proto::path;
use roo_proto::reply::{self, EventType};
use roo_proto::txn::{self, TxnHeader};
use roo_replica::effect::{CloseReason, Deliveries, Effect, OrderedRead};
use roo_replica::event::{ConnId, Connect, Event};
use roo_replica::peer_message::PeerMessage;
use roo_replica::questions::{Questions, Sight};
use roo_replica::read_path::ReadMode;
use roo_replica::reaper::ReaperRules;
use roo_replica::{Config, Replica, Role};
use roo_state::acl_table::AclId;
use roo_state::prepare::PrepareRules;
use roo_state::read::{self, Reader};
use roo_state::snapshot::{self, Source, SourceError};
use roo_state::state::{Change, Rules, State};
use roo_state::watch::{WatchTable, WatcherId};
use roo_zab::message::LinkId;
use roo_zab::{Proposal, Zab};

use crate::options::Options;
use crate::oracle::{Changed, TxnEffect};
use crate::storage::Found;

/// Longest string or buffer in a request.
const MAX_FIELD: usize = 1 << 16;
const HASH_SEED: u64 = 7;

/// What a server wants done, in order.
#[derive(Debug)]
#[allow(missing_docs)] // The names are those of the effects.
pub enum Act {
    Zab(roo_zab::Effect),
    Peer(LinkId, PeerMessage),
    Applied(Zxid, TxnEffect),
    Role(Role),
    ToClient(ConnId, Vec<u8>),
    /// The I/O thread's question of this number is answered.
    Shown(u64),
    CloseClient(ConnId),
    /// A handshake was answered without a transaction.
    Greeted(ConnId, Greeting),
    Snapshot,
    Broken(String),
}

/// What a server answers a handshake.
#[derive(Clone, Copy, Debug)]
pub struct Greeting {
    /// The session; 0 if it has ended.
    pub session: SessionId,
    /// Whether only this server knows it.
    pub is_local: bool,
    /// Whether this server has no leader.
    pub is_read_only: bool,
}

/// A client's connection, as its server knows it.
#[derive(Debug)]
struct Conn {
    session: SessionId,
    is_connected: bool,
    in_flight: usize,
    /// Packets that wait to be served.
    input: VecDeque<Vec<u8>>,
    /// How far reads in it may be served, in packets.
    sight: Sight,
}

/// See the module.
#[derive(Debug)]
pub struct Whole {
    /// The replica.
    pub replica: Replica,
    /// What was applied.
    pub state: State,
    watches: WatchTable,
    conns: BTreeMap<ConnId, Conn>,
    ids: Arc<[Id]>,
    reads_in_rounds: bool,
    questions: Questions,
    /// An answer is taken for one to what has come since its question, too.
    #[cfg(feature = "rebreak")]
    answers_are_for_all: bool,
    effects: Vec<Effect>,
}

struct BodySource<'a>(&'a [u8]);

impl Source for BodySource<'_> {
    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), SourceError> {
        let Some((front, rest)) = self.0.split_at_checked(buffer.len()) else {
            return Err(SourceError("the snapshot ends early".to_owned()));
        };
        buffer.copy_from_slice(front);
        self.0 = rest;
        Ok(())
    }
}

/// The state of a new server, as in a snapshot.
#[must_use]
pub fn initial_state() -> Vec<u8> {
    snapshot_of(&mut State::new(Rules::default(), HASH_SEED))
}

fn snapshot_of(state: &mut State) -> Vec<u8> {
    let mut out = Vec::new();
    state.begin_snapshot(&mut out);
    while !state.snapshot_slice(1000, usize::MAX, &mut out) {}
    out
}

/// The state that a disk holds, and what each record behind its snapshot did.
///
/// # Errors
/// When the snapshot or a record cannot be understood.
pub fn rebuild(found: &Found) -> Result<(State, Vec<(Zxid, TxnEffect)>), String> {
    let mut source = BodySource(&found.state);
    let mut state = snapshot::load(&mut source, Rules::default(), HASH_SEED)
        .map_err(|error| error.to_string())?;
    state.set_last_zxid(found.base);
    let mut effects = Vec::new();
    let mut changes = Vec::new();
    for record in &found.records {
        let (header, txn, digest) = txn::decode_record(record).map_err(|e| e.to_string())?;
        changes.clear();
        let op = txn.op();
        let applied = state.apply(&header, txn, &mut changes);
        if let Some(digest) = digest
            && digest.tree_digest.cast_unsigned() != state.digest()
        {
            return Err(format!(
                "the digest of record {} does not match",
                header.zxid
            ));
        }
        let mut effect = TxnEffect::new(&header, op, applied.error);
        changes.retain(is_of_clients);
        effect.changes = changes.iter().map(|c| changed(&state, c)).collect();
        effect.digest = (!changes.is_empty()).then(|| state.digest());
        effects.push((header.zxid, effect));
    }
    let orphans = state.repair_after_load();
    if !orphans.is_empty() {
        return Err(format!("ephemerals of unknown sessions: {orphans:?}"));
    }
    Ok((state, effects))
}

impl Whole {
    /// A server that starts with this state.
    #[must_use]
    pub fn new(options: &Options, zab: Zab, me: i64, life: u64, state: State, now: Time) -> Self {
        let config = Config {
            tick_ms: options.tick_ms,
            min_session_timeout_ms: 1,
            max_session_timeout_ms: i32::MAX,
            prepare: PrepareRules {
                reconfig_enabled: options.reconfigurations > 0,
                ..PrepareRules::default()
            },
            reaper: ReaperRules::default(),
            snap_count: options.snap_count,
            snap_size_limit_bytes: 0,
            throttled_op_wait_ms: 0,
            max_field_bytes: MAX_FIELD,
            first_session: initial_session_id(me, now.0.wrapping_add(life << 20)),
            seed: options.seed ^ life,
            read_mode: if options.quorum_reads {
                ReadMode::Quorum
            } else {
                ReadMode::Local
            },
            min_voters: 1,
            leader_serves: true,
            local_sessions: options.local_sessions,
            read_only_after_ms: options.read_only_after_ms,
            // So little that learners keep questions back.
            learner_request_bytes: 6144,
        };
        let mut ids = vec![Id {
            scheme: "ip".to_owned(),
            id: "127.0.0.1".to_owned(),
        }];
        if options.reconfigurations > 0 {
            // Nobody else may change /zookeeper/config.
            ids.push(Id {
                scheme: "super".to_owned(),
                id: String::new(),
            });
        }
        Self {
            replica: Replica::member(config, zab, now),
            state,
            watches: WatchTable::new(),
            conns: BTreeMap::new(),
            ids: ids.into(),
            reads_in_rounds: false,
            questions: Questions::new(0),
            #[cfg(feature = "rebreak")]
            answers_are_for_all: options.answers_are_for_all,
            effects: Vec::new(),
        }
    }

    /// Begins to look for a leader.
    pub fn start(&mut self, now: Time, acts: &mut Vec<Act>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.replica.start(now, &mut effects);
        self.effects = effects;
        self.settle(now, acts);
    }

    /// Something happened to the replica.
    pub fn handle(&mut self, now: Time, wall: WallTime, event: Event, acts: &mut Vec<Act>) {
        let mut effects = std::mem::take(&mut self.effects);
        self.replica
            .handle(now, wall, &self.state, event, &mut effects);
        self.effects = effects;
        self.settle(now, acts);
    }

    /// What the replica wants, then what can be applied, until nothing is left.
    fn settle(&mut self, now: Time, acts: &mut Vec<Act>) {
        loop {
            let effects = std::mem::take(&mut self.effects);
            for effect in effects {
                self.execute(effect, acts);
            }
            if !self.replica.can_commit() {
                return;
            }
            let begin = acts.len();
            let mut sink = Sink {
                watches: &mut self.watches,
                conns: &mut self.conns,
                reads_in_rounds: &mut self.reads_in_rounds,
                questions: &mut self.questions,
                acts,
                changes: Vec::new(),
                digest: None,
                begin,
            };
            self.replica
                .commit(now, &mut self.state, &mut sink, &mut self.effects);
            // A read may stay in front until the state shows what it must see.
            if self.effects.is_empty() {
                return;
            }
        }
    }

    fn execute(&mut self, effect: Effect, acts: &mut Vec<Act>) {
        match effect {
            Effect::Append { zxid, record } => acts.push(Act::Zab(roo_zab::Effect::Append {
                proposal: Proposal {
                    zxid,
                    txn: record,
                    ensemble: None,
                },
            })),
            Effect::RollLog => {}
            Effect::TakeSnapshot => acts.push(Act::Snapshot),
            Effect::Connected { conn, response } => {
                let found = self.replica.sessions().find(response.session);
                let greeting = Greeting {
                    session: response.session,
                    is_local: found.is_some_and(|tracked| tracked.local),
                    is_read_only: self.is_read_only(),
                };
                acts.push(Act::Greeted(conn, greeting));
                connected(&mut self.conns, conn, &response, acts);
            }
            Effect::Close { conn, .. } => {
                self.conns.remove(&conn);
                acts.push(Act::CloseClient(conn));
            }
            Effect::Shown(question) => acts.push(Act::Shown(question.number)),
            Effect::Send { link, message } => acts.push(Act::Peer(link, message)),
            Effect::Zab(effect) => acts.push(Act::Zab(effect)),
        }
    }

    /// Whether this server has no leader and serves reads.
    #[must_use]
    pub fn is_read_only(&self) -> bool {
        self.replica.role() == Role::ReadOnly
    }

    /// The state as bytes.
    pub fn snapshot(&mut self) -> Vec<u8> {
        snapshot_of(&mut self.state)
    }

    /// A client is here.
    pub fn open(&mut self, conn: ConnId) {
        let new = Conn {
            session: SessionId(0),
            is_connected: false,
            in_flight: 0,
            input: VecDeque::new(),
            sight: Sight::Unasked,
        };
        self.conns.insert(conn, new);
    }

    /// A client is gone.
    pub fn disconnect(&mut self, now: Time, wall: WallTime, conn: ConnId, acts: &mut Vec<Act>) {
        self.watches.remove_watcher(watcher(conn));
        let session = self.conns.remove(&conn).map_or(SessionId(0), |c| c.session);
        self.handle(now, wall, Event::Disconnected { conn, session }, acts);
    }

    /// A packet of a client. False if there is no such connection any more.
    pub fn packet(
        &mut self,
        now: Time,
        wall: WallTime,
        conn: ConnId,
        packet: &[u8],
        acts: &mut Vec<Act>,
    ) {
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        if !known.is_connected {
            let Ok(connect) = ConnectRequest::decode(packet) else {
                return;
            };
            let connect = Connect {
                last_zxid_seen: connect.last_zxid_seen,
                timeout_ms: connect.timeout_ms,
                session: connect.session,
                password: connect.password.map(Box::from),
                read_only: connect.read_only,
            };
            self.handle(now, wall, Event::Connecting { conn, connect }, acts);
            return;
        }
        let session = known.session;
        known.input.push_back(packet.to_vec());
        self.serve_input(now, wall, conn, acts);
        self.handle(now, wall, Event::Touched { session, at: now }, acts);
    }
}

fn watcher(conn: ConnId) -> WatcherId {
    WatcherId(u32::try_from(conn.0).unwrap_or(u32::MAX))
}

fn connected(
    conns: &mut BTreeMap<ConnId, Conn>,
    conn: ConnId,
    response: &ConnectResponse,
    acts: &mut Vec<Act>,
) {
    let Some(known) = conns.get_mut(&conn) else {
        return;
    };
    known.session = response.session;
    known.is_connected = true;
    let mut out = Vec::new();
    response.encode_frame(&mut out);
    acts.push(Act::ToClient(conn, out));
    if response.session == SessionId(0) {
        conns.remove(&conn);
        acts.push(Act::CloseClient(conn));
    }
}

/// Where the replica's results go.
struct Sink<'a> {
    watches: &'a mut WatchTable,
    conns: &'a mut BTreeMap<ConnId, Conn>,
    reads_in_rounds: &'a mut bool,
    questions: &'a mut Questions,
    acts: &'a mut Vec<Act>,
    changes: Vec<Changed>,
    digest: Option<u64>,
    /// Where in the acts those of the present transaction begin.
    begin: usize,
}

impl Deliveries for Sink<'_> {
    fn changed(&mut self, state: &State, zxid: Zxid, change: &Change) {
        if is_of_clients(change) {
            self.changes.push(changed(state, change));
            self.digest = Some(state.digest());
        }
        for session in state.sessions_with_ephemerals() {
            if !state.sessions().contains_key(&session) {
                let what = format!("after {zxid} session {session} has ephemerals and is no more");
                self.acts.push(Act::Broken(what));
            }
        }
        let acts = &mut *self.acts;
        let conns = &*self.conns;
        self.watches.fire(
            change,
            &mut |WatcherId(number), event: EventType, path: &str, _: AclId| {
                let conn = ConnId(u64::from(number));
                if conns.contains_key(&conn) {
                    let mut out = Vec::new();
                    reply::watch_event(&mut out, zxid, event, path);
                    acts.push(Act::ToClient(conn, out));
                }
            },
        );
    }

    fn reply(&mut self, conn: ConnId, write: &mut dyn FnMut(&mut Vec<u8>)) {
        if let Some(known) = self.conns.get_mut(&conn) {
            known.in_flight = known.in_flight.saturating_sub(1);
            let mut out = Vec::new();
            write(&mut out);
            self.acts.push(Act::ToClient(conn, out));
        }
    }

    fn read(&mut self, state: &State, ordered: &OrderedRead<'_>) {
        let conn = ordered.conn;
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        known.in_flight = known.in_flight.saturating_sub(1);
        let reader = Reader {
            session: ordered.session,
            ids: ordered.ids,
            watcher: watcher(conn),
        };
        let mut out = Vec::new();
        let (xid, request) = (ordered.xid, &ordered.request);
        read::serve(state, self.watches, reader, xid, request, &mut out);
        self.acts.push(Act::ToClient(conn, out));
    }

    fn connected(&mut self, conn: ConnId, response: &ConnectResponse) {
        connected(self.conns, conn, response, self.acts);
    }

    fn close(&mut self, conn: ConnId, _: CloseReason) {
        if self.conns.remove(&conn).is_some() {
            self.watches.remove_watcher(watcher(conn));
            self.acts.push(Act::CloseClient(conn));
        }
    }

    fn applied(&mut self, _: Option<ConnId>, op: i32, header: &TxnHeader, code: ErrorCode) {
        let mut effect = TxnEffect::new(header, op, code);
        effect.changes = std::mem::take(&mut self.changes);
        effect.digest = self.digest.take();
        // The replica tells clients first; a crash in between must not hide that it has applied.
        let applied = Act::Applied(header.zxid, effect);
        self.acts.insert(self.begin, applied);
        self.begin = self.acts.len();
    }

    fn role_changed(&mut self, role: Role, reads_in_rounds: bool) {
        *self.reads_in_rounds = reads_in_rounds;
        self.questions.forget();
        let with_session = |conn: &Conn| conn.is_connected;
        let gone: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, conn)| with_session(conn))
            .map(|(id, _)| *id)
            .collect();
        for conn in gone {
            self.conns.remove(&conn);
            self.watches.remove_watcher(watcher(conn));
            self.acts.push(Act::CloseClient(conn));
        }
        self.acts.push(Act::Role(role));
        self.begin = self.acts.len();
    }

    fn undecodable(&mut self, zxid: Zxid, what: &'static str) {
        self.acts.push(Act::Broken(format!("{zxid}: {what}")));
    }

    fn digest_mismatch(&mut self, zxid: Zxid, expected: u64, actual: u64) {
        let what = format!("the digest at {zxid} is {actual:x}, {expected:x} was prepared");
        self.acts.push(Act::Broken(what));
    }
}

/// Whether a change is that of a transaction. The ensemble is also shown without one, when a server
/// learns of it otherwise.
fn is_of_clients(change: &Change) -> bool {
    change_path(change) != path::CONFIG
}

fn change_path(change: &Change) -> &str {
    let (Change::Created { path, .. }
    | Change::Deleted { path, .. }
    | Change::DataChanged { path, .. }) = change;
    path
}

/// What a change left at its path.
fn changed(state: &State, change: &Change) -> Changed {
    let path = change_path(change);
    let found = state.tree.find(path);
    let data = found.map(|id| state.tree.data(id).unwrap_or_default().to_vec());
    Changed {
        path: path.to_owned(),
        data,
    }
}
