//! One server of an ensemble whose others the test plays.

mod leader;
mod learner;
mod local_sessions;
mod questions;

use alloc::sync::Arc;
use alloc::vec::Vec;
use std::collections::BTreeMap;
use std::vec;

use bytes::Bytes;
use roo_proto::connect::{ConnectResponse, session_password};
use roo_proto::ensemble::{Ensemble, Member, MemberRole, PeerAddress, Voting};
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{ServerId, SessionId, Time, WallTime, Zxid};
use roo_proto::jute;
use roo_proto::op_code;
use roo_proto::txn::{self, Txn, TxnHeader};
use roo_state::prepare::PrepareRules;
use roo_state::state::{Change, Rules, State};
use roo_zab::config::{Config as ZabConfig, Recovered};
use roo_zab::message::{LinkId, PeerState, Vote};
use roo_zab::{Message, Notification, Proposal, Zab};

use crate::effect::{CloseReason, Deliveries, Effect, OrderedRead};
use crate::event::{ConnId, Connect, Event, Ordered};
use crate::peer_message::PeerMessage;
use crate::questions::Question;
use crate::read_path::ReadMode;
use crate::reaper::ReaperRules;
use crate::replica::{Config, LocalSessions, Replica, Role};

const CONN: ConnId = ConnId(1);
const SESSION: SessionId = SessionId(0x0200_0000_0000_0007);
const LEADER: ServerId = ServerId(3);

fn ensemble() -> Arc<Ensemble> {
    let member = |id: u16| Member {
        addresses: vec![PeerAddress {
            host: "h".into(),
            peer_port: 2000 + id,
            election_port: None,
        }],
        role: MemberRole::Voter,
        client: None,
    };
    Arc::new(Ensemble {
        version: 0,
        members: (1..=3)
            .map(|id| (ServerId(i64::from(id)), member(id)))
            .collect::<BTreeMap<_, _>>(),
        voting: Voting::Majority,
    })
}

fn config() -> Config {
    Config {
        tick_ms: 1000,
        min_session_timeout_ms: 2000,
        max_session_timeout_ms: 20_000,
        prepare: PrepareRules::default(),
        reaper: ReaperRules::default(),
        snap_count: 1000,
        snap_size_limit_bytes: 0,
        throttled_op_wait_ms: 0,
        max_field_bytes: 1 << 20,
        first_session: SessionId(0x0100_0000_0000_0001),
        seed: 1,
        read_mode: ReadMode::Local,
        min_voters: 2,
        leader_serves: true,
        local_sessions: LocalSessions::Off,
        read_only_after_ms: None,
        learner_request_bytes: 1 << 20,
    }
}

fn zab(me: ServerId) -> Zab {
    let config = ZabConfig {
        me,
        tick_ms: 1000,
        init_limit: 10,
        sync_limit: 5,
        finalize_wait_ms: 200,
        min_notification_ms: 200,
        max_notification_ms: 60_000,
        connect_retry_ms: 100,
        commit_log_count: 500,
        commit_log_bytes: 1 << 20,
        force_snapshot_sync: false,
        reconfig_enabled: false,
    };
    let recovered = Recovered {
        accepted_epoch: 0,
        current_epoch: 0,
        last_zxid: Zxid::ZERO,
        ensemble: ensemble(),
        next_ensemble: None,
    };
    Zab::new(config, recovered, Time(0))
}

/// What clients got.
#[derive(Default)]
struct Clients {
    /// xid and zxid of every reply.
    replies: Vec<(i32, Zxid)>,
    connected: Vec<SessionId>,
    closed: Vec<(ConnId, CloseReason)>,
    roles: Vec<Role>,
    reads: Vec<i32>,
}

impl Deliveries for Clients {
    fn changed(&mut self, _: &State, _: Zxid, _: &Change) {}

    fn reply(&mut self, _: ConnId, write: &mut dyn FnMut(&mut Vec<u8>)) {
        let mut out = Vec::new();
        write(&mut out);
        let mut r = jute::Reader::new(&out[4..]);
        self.replies
            .push((r.i32().unwrap(), Zxid(r.i64().unwrap())));
    }

    fn read(&mut self, _: &State, read: &OrderedRead<'_>) {
        self.reads.push(read.xid);
    }

    fn connected(&mut self, _: ConnId, response: &ConnectResponse) {
        self.connected.push(response.session);
    }

    fn close(&mut self, conn: ConnId, why: CloseReason) {
        self.closed.push((conn, why));
    }

    fn applied(&mut self, _: Option<ConnId>, _: i32, _: &TxnHeader, _: ErrorCode) {}

    fn role_changed(&mut self, role: Role, _: bool) {
        self.roles.push(role);
    }

    fn undecodable(&mut self, zxid: Zxid, what: &'static str) {
        panic!("{zxid}: {what}");
    }

    fn digest_mismatch(&mut self, zxid: Zxid, _: u64, _: u64) {
        panic!("{zxid}");
    }
}

/// The server, its disk that is always in time, and what it has sent.
struct Server {
    replica: Replica,
    state: State,
    clients: Clients,
    link: LinkId,
    now: Time,
    sent: Vec<PeerMessage>,
    /// Threads' questions that are answered: whose, and which.
    shown: Vec<(usize, u64)>,
    /// Snapshots that learners were sent, and of which state.
    snapshots: Vec<(LinkId, Zxid)>,
    /// Links that it closed.
    cut: Vec<(LinkId, roo_zab::effect::CloseReason)>,
}

impl Server {
    /// It follows server 3 in epoch 1.
    fn following(config: Config) -> Self {
        let mut this = Self::started(config, ServerId(1));
        this.finds_its_leader();
        this.receive(PeerMessage::Zab(Message::Diff { upto: Zxid::ZERO }));
        this.receive(PeerMessage::Zab(Message::NewLeader {
            epoch: 1,
            ensemble: ensemble(),
        }));
        this.receive(PeerMessage::Zab(Message::UpToDate));
        assert!(matches!(this.replica.role(), Role::Learning { .. }));
        this.sent.clear();
        this
    }

    /// Server 3 leads epoch 1.
    fn finds_its_leader(&mut self) {
        for (from, state) in [
            (LEADER, PeerState::Leading),
            (ServerId(2), PeerState::Following),
        ] {
            let notification = Notification {
                vote: Vote {
                    peer_epoch: 1,
                    zxid: Zxid::ZERO,
                    leader: LEADER,
                },
                round: 1,
                state,
                ensemble: ensemble(),
            };
            self.zab(roo_zab::Event::Notified { from, notification });
        }
        self.zab(roo_zab::Event::LinkOpened { link: self.link });
        self.receive(PeerMessage::Zab(Message::LeaderInfo { epoch: 1 }));
    }

    fn started(config: Config, me: ServerId) -> Self {
        let mut this = Self {
            replica: Replica::member(config, zab(me), Time(0)),
            state: State::new(Rules::default(), 1),
            clients: Clients::default(),
            link: LinkId(0),
            now: Time(10),
            sent: Vec::new(),
            shown: Vec::new(),
            snapshots: Vec::new(),
            cut: Vec::new(),
        };
        let mut effects = Vec::new();
        this.replica.start(Time(0), &mut effects);
        this.execute(effects);
        this
    }

    /// It leads epoch 1, and server 2 follows.
    fn leading(config: Config) -> Self {
        let mut this = Self::started(config, LEADER);
        let peer = ServerId(1);
        this.zab(roo_zab::Event::Unreachable { peer });
        let notification = Notification {
            vote: Vote {
                peer_epoch: 0,
                zxid: Zxid::ZERO,
                leader: LEADER,
            },
            round: 1,
            state: PeerState::Looking,
            ensemble: ensemble(),
        };
        let (from, link) = (ServerId(2), LinkId(1));
        this.zab(roo_zab::Event::Notified { from, notification });
        this.link = link;
        this.zab(roo_zab::Event::LinkAccepted { link, peer: from });
        this.receive(PeerMessage::Zab(Message::FollowerInfo {
            accepted_epoch: 0,
            config_version: 0,
            observer: false,
        }));
        this.receive(PeerMessage::Zab(Message::AckEpoch {
            current_epoch: Some(0),
            last_zxid: Zxid::ZERO,
        }));
        let zxid = Zxid::new(1, 0);
        this.receive(PeerMessage::Zab(Message::Ack { zxid }));
        assert_eq!(this.replica.role(), Role::Leading { epoch: 1 });
        this
    }

    fn handle(&mut self, event: Event) {
        let mut effects = Vec::new();
        let (now, wall) = (self.now, WallTime(1_000));
        self.replica
            .handle(now, wall, &self.state, event, &mut effects);
        self.execute(effects);
    }

    fn zab(&mut self, event: roo_zab::Event) {
        self.handle(Event::Zab(event));
    }

    fn receive(&mut self, message: PeerMessage) {
        let link = self.link;
        self.handle(Event::Received { link, message });
    }

    /// As the shell does: snapshots are of the state that is committed in the same round.
    fn execute(&mut self, effects: Vec<Effect>) {
        let mut snapshots = Vec::new();
        self.carry_out(effects, &mut snapshots);
        let mut effects = Vec::new();
        if self.replica.can_commit() {
            self.replica
                .commit(self.now, &mut self.state, &mut self.clients, &mut effects);
        }
        self.carry_out(effects, &mut snapshots);
        let zxid = self.state.last_zxid();
        for link in snapshots {
            self.snapshots.push((link, zxid));
            self.zab(roo_zab::Event::SnapshotSent { link, zxid });
        }
    }

    fn carry_out(&mut self, effects: Vec<Effect>, snapshots: &mut Vec<LinkId>) {
        for effect in effects {
            match effect {
                Effect::Append { zxid, .. } => self.handle(Event::LogDurable { upto: zxid }),
                Effect::Send { message, .. } => self.sent.push(message),
                Effect::Connected { conn, response } => self.clients.connected(conn, &response),
                Effect::Close { conn, why } => self.clients.close(conn, why),
                Effect::Zab(roo_zab::Effect::OpenLink { link, to }) => {
                    assert_eq!(to, LEADER);
                    self.link = link;
                }
                Effect::Zab(roo_zab::Effect::PersistEpoch { which, epoch }) => {
                    self.zab(roo_zab::Event::EpochDurable { which, epoch });
                }
                Effect::Zab(roo_zab::Effect::InstallSnapshot { .. }) => {
                    assert!(!self.replica.role().serves(), "clients see half a state");
                }
                Effect::Zab(roo_zab::Effect::SendSnapshot { link }) => snapshots.push(link),
                Effect::Zab(roo_zab::Effect::CloseLink { link, why }) => self.cut.push((link, why)),
                Effect::Shown(question) => self.shown.push((question.asker, question.number)),
                Effect::RollLog | Effect::TakeSnapshot | Effect::Zab(_) => {}
            }
        }
    }

    /// The leader has decided and committed a transaction of the session.
    fn commit(&mut self, counter: u32, cxid: i32, txn: &Txn) {
        let zxid = Zxid::new(1, counter);
        let header = TxnHeader {
            client_id: SESSION.0,
            cxid,
            zxid,
            time: 1_000,
        };
        let mut record = Vec::new();
        txn::encode_record(&mut record, &header, txn, None);
        self.receive(PeerMessage::Zab(Message::Proposal(Proposal {
            zxid,
            txn: Bytes::from(record),
            ensemble: None,
        })));
        self.receive(PeerMessage::Zab(Message::Commit { zxid }));
    }

    /// The session comes back here, and the leader says that it lives.
    fn resume(&mut self, after: Zxid) {
        self.handle(Event::Connecting {
            conn: CONN,
            connect: Connect {
                last_zxid_seen: Zxid::ZERO,
                timeout_ms: 8000,
                session: SESSION,
                password: Some(session_password(SESSION).into()),
                read_only: Some(false),
            },
        });
        self.receive(PeerMessage::Revalidated {
            session: SESSION,
            valid: true,
            after,
        });
        assert_eq!(self.clients.connected, [SESSION]);
    }

    fn request(&mut self, xid: i32, op: i32, body: Vec<u8>) {
        self.handle(Event::Requested(Ordered {
            conn: CONN,
            session: SESSION,
            xid,
            op,
            body: body.into(),
            ids: [].into(),
            arrived: Time(10),
        }));
    }

    fn request_delete(&mut self, xid: i32) {
        let mut body = Vec::new();
        jute::put_string(&mut body, "/a");
        jute::put_i32(&mut body, -1);
        self.request(xid, op_code::DELETE, body);
    }
}

fn refusal() -> Txn {
    Txn::Error(ErrorCode::NO_NODE)
}

#[test]
fn a_write_is_sent_to_the_leader_and_answered_by_its_transaction() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::ZERO);
    learner.request_delete(5);
    assert!(matches!(
        learner.sent.last(),
        Some(PeerMessage::Request { session, cxid: 5, op: op_code::DELETE, .. }) if *session == SESSION
    ));
    learner.commit(1, 4, &refusal());
    assert_eq!(learner.clients.replies, []);
    learner.commit(2, 5, &refusal());
    assert_eq!(learner.clients.replies, [(5, Zxid::new(1, 2))]);
}

#[test]
fn what_the_session_asked_elsewhere_answers_nothing_here() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::new(1, 1));
    // The client counts its requests anew on each connection.
    learner.request_delete(1);
    learner.commit(1, 1, &refusal());
    assert_eq!(learner.clients.replies, []);
    learner.commit(2, 1, &refusal());
    assert_eq!(learner.clients.replies, [(1, Zxid::new(1, 2))]);
}

#[test]
fn a_read_behind_a_write_keeps_its_place() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::ZERO);
    learner.request_delete(1);
    let mut body = Vec::new();
    jute::put_string(&mut body, "/");
    body.push(0);
    learner.request(2, op_code::EXISTS, body);
    assert_eq!(learner.clients.reads, []);
    learner.commit(1, 1, &refusal());
    assert_eq!(learner.clients.reads, [2]);
}

#[test]
fn a_sync_waits_for_the_leaders_word_and_reads_behind_it_wait_too() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::ZERO);
    let mut path = Vec::new();
    jute::put_string(&mut path, "/");
    learner.request(1, op_code::SYNC, path.clone());
    assert_eq!(learner.sent.last(), Some(&PeerMessage::Sync));
    path.push(0);
    learner.request(2, op_code::EXISTS, path);
    assert_eq!(learner.clients.reads, []);
    learner.receive(PeerMessage::SyncDone);
    assert_eq!(learner.clients.reads, [1, 2]);
}

#[test]
fn a_quorum_read_waits_for_the_leaders_word_and_for_the_state() {
    let mut learner = Server::following(Config {
        read_mode: ReadMode::Quorum,
        ..config()
    });
    learner.resume(Zxid::ZERO);
    let mut body = Vec::new();
    jute::put_string(&mut body, "/");
    body.push(0);
    learner.request(1, op_code::EXISTS, body.clone());
    let asked = |learner: &Server| {
        learner
            .sent
            .iter()
            .filter(|m| matches!(m, PeerMessage::ReadIndex { .. }))
            .count()
    };
    assert_eq!(asked(&learner), 1);
    // What arrives while the question is open belongs to the next one.
    learner.request(2, op_code::EXISTS, body.clone());
    learner.request(3, op_code::EXISTS, body);
    assert_eq!(asked(&learner), 1);
    let index = Zxid::new(1, 1);
    learner.receive(PeerMessage::ReadIndexed { id: 1, zxid: index });
    assert_eq!((asked(&learner), &learner.clients.reads[..]), (2, &[][..]));
    learner.commit(1, 9, &refusal());
    assert_eq!(learner.clients.reads, [1]);
    learner.receive(PeerMessage::ReadIndexed { id: 2, zxid: index });
    assert_eq!(learner.clients.reads, [1, 2, 3]);
    assert_eq!(asked(&learner), 2);
}

#[test]
fn without_its_leader_a_learner_closes_everybody_and_forgets_what_they_asked() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::ZERO);
    learner.request_delete(1);
    let link = learner.link;
    learner.zab(roo_zab::Event::LinkClosed { link });
    assert_eq!(learner.clients.roles.last(), Some(&Role::Looking));
    assert_eq!(learner.replica.outstanding(), 0);
    learner.request_delete(2);
    assert_eq!(
        learner.clients.closed.last(),
        Some(&(CONN, CloseReason::UnknownSession))
    );
}

#[test]
fn a_local_session_becomes_global_before_it_owns_a_node() {
    let mut learner = Server::following(Config {
        local_sessions: LocalSessions::Upgrading,
        ..config()
    });
    learner.handle(Event::Connecting {
        conn: CONN,
        connect: Connect {
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 8000,
            session: SessionId(0),
            password: None,
            read_only: None,
        },
    });
    let session = learner.clients.connected[0];
    assert_eq!(learner.sent, []);
    let mut body = Vec::new();
    jute::put_string(&mut body, "/e");
    jute::put_buffer(&mut body, None);
    jute::put_count(&mut body, 0);
    jute::put_i32(&mut body, 1);
    learner.handle(Event::Requested(Ordered {
        conn: CONN,
        session,
        xid: 1,
        op: op_code::CREATE,
        body: body.into(),
        ids: [].into(),
        arrived: Time(10),
    }));
    let ops: Vec<i32> = learner
        .sent
        .iter()
        .map(|message| {
            let PeerMessage::Request { op, .. } = message else {
                panic!("{message:?}");
            };
            *op
        })
        .collect();
    assert_eq!(ops, [op_code::CREATE_SESSION, op_code::CREATE]);
}

#[test]
fn what_is_committed_is_applied_even_behind_a_read_that_is_never_served() {
    let mut leader = Server::leading(Config {
        read_mode: ReadMode::Quorum,
        ..config()
    });
    let connect = |session, password| Connect {
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 8000,
        session,
        password,
        read_only: None,
    };
    leader.handle(Event::Connecting {
        conn: CONN,
        connect: connect(SessionId(0), None),
    });
    let zxid = Zxid::new(1, 1);
    leader.receive(PeerMessage::Zab(Message::Ack { zxid }));
    let session = leader.clients.connected[0];
    let ask = |leader: &mut Server, xid, op, body: &[u8]| {
        leader.handle(Event::Requested(Ordered {
            conn: CONN,
            session,
            xid,
            op,
            body: body.to_vec().into(),
            ids: [].into(),
            arrived: Time(10),
        }));
    };
    let mut path = Vec::new();
    jute::put_string(&mut path, "/");
    let mut create = Vec::new();
    jute::put_string(&mut create, "/a");
    jute::put_buffer(&mut create, Some(b"x"));
    jute::put_count(&mut create, 1);
    jute::put_i32(&mut create, 31);
    jute::put_string(&mut create, "world");
    jute::put_string(&mut create, "anyone");
    jute::put_i32(&mut create, 0);
    // No quorum answers the read's question; the write behind it is committed all the same.
    ask(&mut leader, 1, op_code::SYNC, &path);
    ask(&mut leader, 2, op_code::CREATE, &create);
    let zxid = Zxid::new(1, 2);
    leader.receive(PeerMessage::Zab(Message::Ack { zxid }));
    assert_eq!(leader.state.last_zxid(), Zxid::new(1, 1));
    let link = leader.link;
    leader.zab(roo_zab::Event::LinkClosed { link });
    assert_eq!(leader.replica.role(), Role::Looking);
    assert_eq!(leader.state.last_zxid(), zxid);
    assert!(leader.state.tree.find("/a").is_some());
}
