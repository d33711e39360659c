//! The replica itself: what it holds, and where each event goes.

use alloc::boxed::Box;
use alloc::collections::VecDeque;
use alloc::vec::Vec;

use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{ServerId, SessionId, Time, WallTime, Zxid};
use roo_proto::room::Room;
use roo_proto::txn::{Txn, TxnDigest, TxnHeader};
use roo_state::pending::Overlay;
use roo_state::prepare::PrepareRules;
use roo_state::state::{Change, State};
use roo_zab::Zab;
use roo_zab::message::LinkId;

use crate::effect::Effect;
use crate::event::{ConnId, Event, Ordered};
use crate::peers::Peers;
use crate::read_path::ReadMode;
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
    pub read_mode: ReadMode,
    /// Fewest voters that a reconfiguration may leave: 2 with `standaloneEnabled`, else 1.
    pub min_voters: usize,
    /// Whether a leader answers clients itself (`leaderServes`).
    pub leader_serves: bool,
    pub local_sessions: LocalSessions,
    /// How long a server looks for a leader before it serves reads without one, ms
    /// (`readonlymode.enabled`); `None` never.
    pub read_only_after_ms: Option<u64>,
    /// Room for what one learner has asked and its leader not answered yet, bytes.
    pub learner_request_bytes: usize,
}

/// Sessions that only one server knows (`localSessionsEnabled`, `localSessionsUpgradingEnabled`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LocalSessions {
    /// Every session is known to all servers.
    #[default]
    Off,
    /// A session that begins is local, and cannot own ephemerals.
    On,
    /// A local session becomes global when it makes an ephemeral.
    Upgrading,
}

/// What a server is to its clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It has no ensemble and decides alone.
    Standalone,
    /// It has no leader: it serves nobody.
    Looking,
    /// It has had no leader for a while, and serves reads to clients that asked for no more.
    ReadOnly,
    /// It decides the writes of all.
    Leading {
        /// The epoch it leads.
        epoch: u32,
    },
    /// It serves reads and sends writes to its leader.
    Learning {
        /// The leader.
        leader: ServerId,
        /// The link to it.
        link: LinkId,
        /// The leader's epoch.
        epoch: u32,
        /// Whether it has no vote.
        observer: bool,
    },
}

impl Role {
    /// Whether this server gives writes their place.
    #[must_use]
    pub const fn decides(self) -> bool {
        matches!(self, Self::Standalone | Self::Leading { .. })
    }

    /// Whether clients are answered.
    #[must_use]
    pub const fn serves(self) -> bool {
        !matches!(self, Self::Looking)
    }
}

/// Who waits for a transaction.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiting {
    pub(crate) conn: ConnId,
    pub(crate) xid: i32,
    pub(crate) op: i32,
}

/// What a transaction in flight is for.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Origin {
    /// A client's request.
    Client(Waiting),
    /// A handshake that asked for a new session.
    Handshake {
        conn: ConnId,
        read_only: Option<bool>,
    },
    /// A learner's client's request, and the room that it takes here.
    Learner { peer: ServerId, bytes: usize },
    /// The server itself: an expired session, a collected node. Or, where others decide, whoever it
    /// may be for.
    Elsewhere,
    /// A local session of this server that becomes global.
    Upgrade,
}

/// A place in the order.
#[derive(Debug)]
pub(crate) enum InFlight {
    /// Decided here.
    Txn {
        header: TxnHeader,
        txn: Txn,
        digest: Option<TxnDigest>,
        origin: Origin,
    },
    /// Sent to the leader, which answers with a transaction of this session and cxid.
    Forwarded {
        session: SessionId,
        cxid: i32,
        /// The last transaction that can be for what the session asked of another server.
        since: Zxid,
        origin: Origin,
        /// The room that it takes at the leader.
        bytes: usize,
    },
    /// A read, served when its round of [`crate::read_path`] is answered.
    Read { ordered: Ordered, round: u64 },
    /// A `sync` that waits for the leader's word.
    Sync(Ordered),
    /// A learner's `sync`, answered when everything before it is committed.
    SyncOf { link: LinkId, peer: ServerId },
    /// An answer without a transaction, as of the state at its turn.
    Refused {
        conn: ConnId,
        xid: i32,
        code: ErrorCode,
        close: bool,
    },
    /// An answer that only keeps its place.
    Answer {
        conn: ConnId,
        frames: Vec<u8>,
        close: bool,
    },
}

/// See the module and the crate.
#[derive(Debug)]
pub struct Replica {
    pub(crate) config: Config,
    pub(crate) role: Role,
    /// When the role last changed.
    pub(crate) looking_since: Time,
    pub(crate) sessions: Sessions,
    pub(crate) overlay: Overlay,
    pub(crate) in_flight: VecDeque<InFlight>,
    /// zxid of the last transaction prepared here.
    pub(crate) proposed: Zxid,
    /// zxid up to which transactions prepared here may be applied.
    pub(crate) committed: Zxid,
    pub(crate) snapshotting: Snapshotting,
    pub(crate) reaper: Reaper,
    pub(crate) changes: Vec<Change>,
    /// Where a transaction is written before it is sent to the log.
    pub(crate) record: Vec<u8>,
    /// Where records lie from then on.
    pub(crate) records: Room,
    /// The part that a server without an ensemble lacks.
    pub(crate) peers: Option<Box<Peers>>,
}

impl Replica {
    /// A server without an ensemble that goes on where `state` ends; every session gets its full
    /// timeout from now.
    #[must_use]
    pub fn standalone(config: Config, state: &State, now: Time) -> Self {
        let mut this = Self::new(config, Role::Standalone, None, now);
        this.track_all(now, state);
        this.proposed = state.last_zxid();
        this.committed = state.last_zxid();
        this
    }

    /// A server of an ensemble; it looks for a leader after [`Replica::start`].
    #[must_use]
    pub fn member(config: Config, zab: Zab, now: Time) -> Self {
        Self::new(config, Role::Looking, Some(Box::new(Peers::new(zab))), now)
    }

    fn new(config: Config, role: Role, peers: Option<Box<Peers>>, now: Time) -> Self {
        let snapshotting =
            Snapshotting::new(config.snap_count, config.snap_size_limit_bytes, config.seed);
        Self {
            role,
            looking_since: now,
            sessions: Sessions::new(config.tick_ms, config.first_session),
            overlay: Overlay::new(),
            in_flight: VecDeque::new(),
            proposed: Zxid::ZERO,
            committed: Zxid::ZERO,
            snapshotting,
            reaper: Reaper::new(config.reaper, now),
            changes: Vec::new(),
            record: Vec::new(),
            records: Room::new(),
            peers,
            config,
        }
    }

    /// Watches over every session of the state from now on.
    pub(crate) fn track_all(&mut self, now: Time, state: &State) {
        for (session, timeout_ms) in state.sessions() {
            self.sessions.track(now, *session, *timeout_ms, None);
        }
    }

    /// Begins to look for a leader; nothing to do without an ensemble.
    pub fn start(&mut self, now: Time, effects: &mut Vec<Effect>) {
        self.with_zab(now, effects, |zab, zab_effects| zab.start(now, zab_effects));
    }

    /// What this server is to its clients, as far as [`Replica::commit`] has come.
    #[must_use]
    pub const fn role(&self) -> Role {
        self.role
    }

    /// The ensemble's part, if there is one.
    #[must_use]
    pub fn zab(&self) -> Option<&Zab> {
        self.peers.as_ref().map(|peers| &peers.zab)
    }

    /// The living sessions: all of them where writes are decided, else those of this server's
    /// clients.
    #[must_use]
    pub const fn sessions(&self) -> &Sessions {
        &self.sessions
    }

    /// Requests and handshakes that wait for their turn.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        self.in_flight.len()
    }

    /// Clients' and learners' `sync` among them. Java: `Leader.getNumPendingSyncs`.
    #[must_use]
    pub fn pending_syncs(&self) -> usize {
        let is_sync = |waits: &&InFlight| match waits {
            InFlight::Sync(_) | InFlight::SyncOf { .. } => true,
            InFlight::Txn { .. }
            | InFlight::Forwarded { .. }
            | InFlight::Read { .. }
            | InFlight::Refused { .. }
            | InFlight::Answer { .. } => false,
        };
        self.in_flight.iter().filter(is_sync).count()
    }

    /// When [`Event::DeadlineReached`] should come; `None` while nothing is awaited.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        let zab = self.zab().and_then(Zab::next_deadline);
        let reaper = self.role.decides().then(|| self.reaper.next_deadline());
        // A learner watches over its local sessions only.
        let sessions = self.sessions.next_deadline();
        let read_only = self.read_only_at();
        let all = [zab, reaper, sessions, read_only];
        all.into_iter().flatten().min()
    }

    /// Whether [`Replica::commit`] may have something to do.
    #[must_use]
    pub fn can_commit(&self) -> bool {
        let is_due = |p: &Peers| !p.ready.is_empty() || !p.snapshots.is_empty();
        self.head_is_ready() || self.peers.as_deref().is_some_and(is_due)
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
            Event::Asked(question) => self.on_asked(now, question, effects),
            Event::Answered {
                conn,
                frames,
                close,
            } => self.in_flight.push_back(InFlight::Answer {
                conn,
                frames,
                close,
            }),
            Event::Disconnected { conn, session } => self.on_disconnected(conn, session),
            Event::Touched { session, at } => self.on_touched(at, session),
            Event::DeadlineReached => {
                self.expire_sessions(now, wall, state, effects);
                if self.role.decides() {
                    self.collect_nodes(now, wall, state, effects);
                }
                self.serve_reads_at_last(now);
                if self
                    .zab()
                    .and_then(Zab::next_deadline)
                    .is_some_and(|at| at <= now)
                {
                    self.zab_event(now, roo_zab::Event::DeadlineReached, effects);
                }
            }
            Event::LogDurable { upto } => self.on_log_durable(now, upto, effects),
            Event::SnapshotEnded => self.snapshotting.ended(),
            Event::Zab(event) => self.zab_event(now, event, effects),
            Event::Received { link, message } => {
                self.on_peer_message(now, wall, state, link, message, effects);
            }
        }
        self.show(state, effects);
    }

    fn on_log_durable(&mut self, now: Time, upto: Zxid, effects: &mut Vec<Effect>) {
        if self.peers.is_some() {
            self.zab_event(now, roo_zab::Event::LogDurable { upto }, effects);
        } else {
            debug_assert!(
                upto <= self.proposed,
                "durable {upto} before it was proposed"
            );
            self.committed = self.committed.max(upto);
        }
    }
}
