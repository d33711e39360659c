//! Leaders that have much in flight.

use roo_proto::acl::Id;

use super::*;

/// A leader with a client; its session's creation is the first transaction.
fn with_client(config: Config) -> (Server, SessionId) {
    let mut leader = Server::leading(config);
    leader.handle(Event::Connecting {
        conn: CONN,
        connect: Connect {
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 8000,
            session: SessionId(0),
            password: None,
            read_only: None,
        },
    });
    ack(&mut leader, 1);
    let session = leader.clients.connected[0];
    (leader, session)
}

fn ack(leader: &mut Server, counter: u32) {
    let zxid = Zxid::new(1, counter);
    leader.receive(PeerMessage::Zab(Message::Ack { zxid }));
}

fn ask(leader: &mut Server, session: SessionId, xid: i32, op: i32, body: Vec<u8>) {
    leader.handle(Event::Requested(Ordered {
        conn: CONN,
        session,
        xid,
        op,
        body: body.into(),
        ids: [Id::new("super", "")].into(),
        arrived: Time(10),
    }));
}

fn create(path: &str, flags: i32) -> Vec<u8> {
    let mut body = Vec::new();
    jute::put_string(&mut body, path);
    jute::put_buffer(&mut body, Some(b"x"));
    jute::put_count(&mut body, 1);
    jute::put_i32(&mut body, 31);
    jute::put_string(&mut body, "world");
    jute::put_string(&mut body, "anyone");
    jute::put_i32(&mut body, flags);
    body
}

/// A server leaves the ensemble.
fn leave(server: &str) -> Vec<u8> {
    let mut body = Vec::new();
    jute::put_i32(&mut body, -1);
    jute::put_string(&mut body, server);
    jute::put_i32(&mut body, -1);
    jute::put_i64(&mut body, -1);
    body
}

/// Server 1 comes, without any history; gives its link.
pub(super) fn comes(leader: &mut Server, observer: bool) -> LinkId {
    comes_on(leader, LinkId(3), observer)
}

fn comes_on(leader: &mut Server, link: LinkId, observer: bool) -> LinkId {
    let peer = ServerId(1);
    leader.zab(roo_zab::Event::LinkAccepted { link, peer });
    leader.link = link;
    leader.receive(PeerMessage::Zab(Message::FollowerInfo {
        accepted_epoch: 0,
        config_version: 0,
        observer,
    }));
    leader.receive(PeerMessage::Zab(Message::AckEpoch {
        current_epoch: Some(0),
        last_zxid: Zxid::ZERO,
    }));
    link
}

#[test]
fn a_write_that_commits_with_a_reconfiguration_before_it_is_applied_once() {
    let mut config = config();
    config.prepare.reconfig_enabled = true;
    let (mut leader, session) = with_client(config);
    ask(&mut leader, session, 1, op_code::RECONFIG, leave("1"));
    ask(&mut leader, session, 2, op_code::CREATE, create("/a-", 2));
    // One acknowledgement for both.
    ack(&mut leader, 3);
    assert_eq!(
        leader.clients.replies,
        [(1, Zxid::new(1, 2)), (2, Zxid::new(1, 3))]
    );
    assert_eq!(leader.replica.outstanding(), 0);
    ask(&mut leader, session, 3, op_code::CREATE, create("/b", 0));
    ack(&mut leader, 4);
    assert_eq!(leader.clients.replies.last(), Some(&(3, Zxid::new(1, 4))));
    assert_eq!(leader.clients.replies.len(), 3);
    let config = leader.state.tree.find("/zookeeper/config").unwrap();
    let text = leader.state.tree.data(config).unwrap();
    assert!(!text.windows(8).any(|at| at == b"server.1"));
}

#[test]
fn a_snapshot_for_a_learner_waits_until_the_state_holds_what_is_committed() {
    let (mut leader, session) = with_client(Config {
        read_mode: ReadMode::Quorum,
        ..config()
    });
    let mut path = Vec::new();
    jute::put_string(&mut path, "/");
    // The read waits for a quorum's word, and the write, which is committed, for the read.
    ask(&mut leader, session, 1, op_code::SYNC, path);
    ask(&mut leader, session, 2, op_code::CREATE, create("/a", 0));
    ack(&mut leader, 2);
    assert_eq!(leader.state.last_zxid(), Zxid::new(1, 1));
    let follower = leader.link;
    let link = comes(&mut leader, false);
    assert_eq!(leader.snapshots, []);
    let pings = leader.sent.iter().filter_map(|message| {
        if let PeerMessage::Zab(Message::Ping { round, .. }) = message {
            Some(*round)
        } else {
            None
        }
    });
    let round = pings.max().unwrap();
    leader.link = follower;
    leader.receive(PeerMessage::Zab(Message::Pong { round }));
    assert_eq!(leader.snapshots, [(link, Zxid::new(1, 2))]);
}

#[test]
fn an_ensemble_whose_quorum_would_have_to_be_of_observers_is_refused() {
    let mut config = config();
    config.prepare.reconfig_enabled = true;
    let (mut leader, session) = with_client(config);
    let follower = leader.link;
    comes(&mut leader, true);
    ack(&mut leader, 0);
    // Server 1 would acknowledge nothing before it comes back with a vote, which it never hears.
    ask(&mut leader, session, 1, op_code::RECONFIG, leave("2"));
    leader.link = follower;
    ack(&mut leader, 2);
    assert_eq!(leader.clients.replies, [(1, Zxid::new(1, 2))]);
}

#[test]
fn a_leaders_read_does_not_wait_for_a_write_behind_it() {
    let (mut leader, session) = with_client(Config {
        read_mode: ReadMode::Quorum,
        ..config()
    });
    let mut exists = Vec::new();
    jute::put_string(&mut exists, "/");
    exists.push(0);
    ask(&mut leader, session, 1, op_code::EXISTS, exists.clone());
    ask(&mut leader, session, 2, op_code::CREATE, create("/a", 0));
    ask(&mut leader, session, 3, op_code::EXISTS, exists);
    ack(&mut leader, 2);
    assert_eq!(leader.clients.reads, []);
    // Both rounds of questions are answered before the shell comes to apply anything.
    let link = leader.link;
    let mut sent = core::mem::take(&mut leader.sent);
    for _ in 0..2 {
        let asked = sent.drain(..).filter_map(|message| match message {
            PeerMessage::Zab(Message::Ping { round, .. }) => Some(round),
            PeerMessage::Zab(_)
            | PeerMessage::Slice { .. }
            | PeerMessage::SliceEnd { .. }
            | PeerMessage::Request { .. }
            | PeerMessage::Sync
            | PeerMessage::SyncDone
            | PeerMessage::Revalidate { .. }
            | PeerMessage::Revalidated { .. }
            | PeerMessage::Touched { .. }
            | PeerMessage::ReadIndex { .. }
            | PeerMessage::ReadIndexed { .. } => None,
        });
        let round = asked.last().unwrap();
        let message = PeerMessage::Zab(Message::Pong { round });
        let mut effects = Vec::new();
        let (now, state) = (leader.now, &leader.state);
        let event = Event::Received { link, message };
        leader
            .replica
            .handle(now, WallTime(1_000), state, event, &mut effects);
        sent.extend(effects.into_iter().filter_map(|effect| match effect {
            Effect::Send { message, .. } => Some(message),
            Effect::Append { .. }
            | Effect::RollLog
            | Effect::TakeSnapshot
            | Effect::Shown(_)
            | Effect::Connected { .. }
            | Effect::Close { .. }
            | Effect::Zab(_) => None,
        }));
    }
    leader.execute(Vec::new());
    assert_eq!(leader.clients.reads, [1, 3]);
    assert_eq!(leader.clients.replies, [(2, Zxid::new(1, 2))]);
}

fn request(session: SessionId, cxid: i32, path: &str) -> PeerMessage {
    PeerMessage::Request {
        session,
        cxid,
        op: op_code::CREATE,
        body: create(path, 0).into(),
        ids: [].into(),
    }
}

#[test]
fn what_a_learner_still_has_of_a_session_that_has_been_elsewhere_is_not_done() {
    let (mut leader, session) = with_client(config());
    // It was at the follower, came here, and is at no server now.
    leader.handle(Event::Disconnected {
        conn: CONN,
        session,
    });
    leader.receive(request(session, 9, "/late"));
    ack(&mut leader, 2);
    assert_eq!(leader.state.last_zxid(), Zxid::new(1, 2));
    assert!(leader.state.tree.find("/late").is_none());
    // With the leader's word it is the follower's again.
    leader.receive(PeerMessage::Revalidate {
        session,
        timeout_ms: 8000,
    });
    leader.receive(request(session, 10, "/again"));
    ack(&mut leader, 3);
    assert!(leader.state.tree.find("/again").is_some());
}

#[test]
fn a_learner_that_asks_for_too_much_at_once_loses_its_link() {
    let (mut leader, session) = with_client(Config {
        learner_request_bytes: 1000,
        ..config()
    });
    let follower = leader.link;
    let observer = comes(&mut leader, true);
    // Not before it is synchronised.
    leader.receive(PeerMessage::Sync);
    assert_eq!(leader.replica.outstanding(), 0);
    ack(&mut leader, 0);
    leader.cut.clear();
    for cxid in 1..=9 {
        leader.receive(request(session, cxid, "/a"));
        leader.receive(PeerMessage::Sync);
    }
    let why = roo_zab::effect::CloseReason::TooManyRequests;
    assert_eq!(leader.cut, [(observer, why)]);
    assert_eq!(leader.replica.outstanding(), 3);
    assert_eq!(leader.replica.role(), Role::Leading { epoch: 1 });
    // Another link does not help, before something is answered.
    let observer = comes_on(&mut leader, LinkId(5), true);
    ack(&mut leader, 0);
    leader.receive(request(session, 10, "/a"));
    assert_eq!(leader.cut.last(), Some(&(observer, why)));
    leader.link = follower;
    ack(&mut leader, 3);
    assert_eq!(leader.replica.outstanding(), 0);
    let observer = comes_on(&mut leader, LinkId(7), true);
    ack(&mut leader, 0);
    leader.receive(request(session, 11, "/a"));
    assert_ne!(leader.cut.last(), Some(&(observer, why)));
    assert_eq!(leader.replica.outstanding(), 1);
}

#[test]
fn a_leader_that_steps_down_calls_no_session_dead() {
    let (mut leader, session) = with_client(config());
    let link = leader.link;
    leader.zab(roo_zab::Event::LinkClosed { link });
    assert_eq!(leader.replica.role(), Role::Looking);
    leader.sent.clear();
    leader.receive(PeerMessage::Revalidate {
        session,
        timeout_ms: 8000,
    });
    assert_eq!(leader.sent, []);
}
