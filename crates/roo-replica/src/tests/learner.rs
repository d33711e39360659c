//! Learners whose leader's answers come in another order than the questions.

use super::*;

const SECOND: ConnId = ConnId(2);

fn connecting(conn: ConnId) -> Event {
    Event::Connecting {
        conn,
        connect: Connect {
            last_zxid_seen: Zxid::ZERO,
            timeout_ms: 8000,
            session: SESSION,
            password: Some(session_password(SESSION).into()),
            read_only: Some(false),
        },
    }
}

fn valid(after: Zxid) -> PeerMessage {
    PeerMessage::Revalidated {
        session: SESSION,
        valid: true,
        after,
    }
}

fn root() -> Vec<u8> {
    let mut path = Vec::new();
    jute::put_string(&mut path, "/");
    path
}

fn exists() -> Vec<u8> {
    let mut body = root();
    body.push(0);
    body
}

#[test]
fn what_a_session_asked_before_it_came_back_keeps_nobody_waiting() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::ZERO);
    learner.request_delete(1);
    // The client comes back at once. The leader has decided its request, but not committed it.
    learner.handle(Event::Disconnected {
        conn: CONN,
        session: SESSION,
    });
    learner.handle(connecting(SECOND));
    learner.receive(valid(Zxid::new(1, 1)));
    learner.commit(1, 1, &refusal());
    assert_eq!(learner.replica.outstanding(), 0);
}

#[test]
fn a_commit_that_overtakes_the_answer_to_a_sync_serves_the_sync_first() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::ZERO);
    learner.request(1, op_code::SYNC, root());
    learner.request_delete(2);
    learner.request(3, op_code::SYNC, root());
    learner.commit(1, 2, &refusal());
    assert_eq!(learner.clients.reads, [1]);
    assert_eq!(learner.clients.replies, [(2, Zxid::new(1, 1))]);
    // This answers the first of them.
    learner.receive(PeerMessage::SyncDone);
    assert_eq!(learner.clients.reads, [1]);
    learner.receive(PeerMessage::SyncDone);
    assert_eq!(learner.clients.reads, [1, 3]);
}

#[test]
fn a_commit_that_overtakes_the_word_for_a_read_serves_the_read_first() {
    let mut learner = Server::following(Config {
        read_mode: ReadMode::Quorum,
        ..config()
    });
    learner.resume(Zxid::ZERO);
    learner.request(1, op_code::EXISTS, exists());
    learner.request_delete(2);
    learner.commit(1, 2, &refusal());
    assert_eq!(learner.clients.reads, [1]);
    assert_eq!(learner.clients.replies, [(2, Zxid::new(1, 1))]);
    let zxid = Zxid::new(1, 1);
    learner.receive(PeerMessage::ReadIndexed { id: 1, zxid });
    assert_eq!(learner.replica.outstanding(), 0);
}

#[test]
fn of_two_connections_of_a_session_that_come_back_at_once_the_later_stays() {
    let mut learner = Server::following(config());
    learner.handle(connecting(CONN));
    learner.handle(connecting(SECOND));
    learner.receive(valid(Zxid::ZERO));
    learner.receive(valid(Zxid::ZERO));
    assert_eq!(learner.clients.connected, [SESSION, SESSION]);
    assert_eq!(learner.clients.closed, [(CONN, CloseReason::SessionMoved)]);
}

#[test]
fn nobody_reads_a_state_that_is_being_replaced() {
    let mut server = Server::started(
        Config {
            read_only_after_ms: Some(2000),
            ..config()
        },
        ServerId(1),
    );
    server.now = Time(3000);
    server.handle(Event::DeadlineReached);
    assert_eq!(server.replica.role(), Role::ReadOnly);
    server.finds_its_leader();
    let zxid = Zxid::new(1, 1);
    server.receive(PeerMessage::Zab(Message::Snap { zxid }));
    assert_eq!(server.clients.roles, [Role::ReadOnly, Role::Looking]);
    // It takes long.
    server.now = Time(9000);
    server.handle(Event::DeadlineReached);
    assert_eq!(server.replica.role(), Role::Looking);
    let link = server.link;
    server.zab(roo_zab::Event::SnapshotFailed { link });
    server.handle(Event::DeadlineReached);
    assert_eq!(server.replica.role(), Role::ReadOnly);
}

#[test]
fn the_end_of_an_expired_session_answers_no_request_of_a_client_that_counts_from_0() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::ZERO);
    learner.request_delete(0);
    // The leader has ended the session before it saw the request.
    learner.commit(1, 0, &Txn::CloseSession { paths: None });
    assert_eq!(learner.clients.replies, []);
    let closed = [(CONN, CloseReason::SessionExpired)];
    assert_eq!(learner.clients.closed, closed);
    learner.commit(2, 0, &Txn::Error(ErrorCode::SESSION_EXPIRED));
    assert_eq!(learner.replica.outstanding(), 0);
}

#[test]
fn a_client_that_counts_from_0_is_told_that_its_session_has_ended() {
    let mut learner = Server::following(config());
    learner.resume(Zxid::ZERO);
    learner.request(0, op_code::CLOSE_SESSION, Vec::new());
    learner.commit(1, 0, &Txn::CloseSession { paths: None });
    assert_eq!(learner.clients.replies, [(0, Zxid::new(1, 1))]);
}

/// What of the messages asks the leader for something.
fn questions(learner: &Server) -> Vec<&'static str> {
    let name = |message: &PeerMessage| match message {
        PeerMessage::Request { .. } => Some("request"),
        PeerMessage::Sync => Some("sync"),
        PeerMessage::Revalidate { .. } => Some("revalidate"),
        PeerMessage::Zab(_)
        | PeerMessage::Slice { .. }
        | PeerMessage::SliceEnd { .. }
        | PeerMessage::SyncDone
        | PeerMessage::Revalidated { .. }
        | PeerMessage::Touched { .. }
        | PeerMessage::ReadIndex { .. }
        | PeerMessage::ReadIndexed { .. } => None,
    };
    learner.sent.iter().filter_map(name).collect()
}

#[test]
fn a_learner_keeps_back_in_order_what_its_leader_has_no_room_for() {
    let mut learner = Server::following(Config {
        // Half of it is room for two of these requests.
        learner_request_bytes: 1200,
        ..config()
    });
    learner.resume(Zxid::ZERO);
    learner.sent.clear();
    for xid in 1..=3 {
        learner.request_delete(xid);
    }
    learner.request(4, op_code::SYNC, root());
    // The session must not come back before what it has asked.
    learner.handle(connecting(SECOND));
    assert_eq!(questions(&learner), ["request"; 2]);
    learner.commit(1, 1, &refusal());
    assert_eq!(questions(&learner), ["request"; 3]);
    learner.commit(2, 2, &refusal());
    assert_eq!(questions(&learner)[3..], ["sync", "revalidate"]);
    learner.commit(3, 3, &refusal());
    learner.receive(PeerMessage::SyncDone);
    assert_eq!(learner.replica.outstanding(), 0);
    learner.request_delete(5);
    assert_eq!(questions(&learner).len(), 5);
    learner.receive(valid(Zxid::new(1, 3)));
    learner.handle(Event::Disconnected {
        conn: SECOND,
        session: SESSION,
    });
}

#[test]
fn a_request_that_is_larger_than_all_the_room_is_sent_alone() {
    let mut learner = Server::following(Config {
        learner_request_bytes: 10,
        ..config()
    });
    learner.resume(Zxid::ZERO);
    learner.sent.clear();
    learner.request_delete(1);
    learner.request_delete(2);
    assert_eq!(questions(&learner), ["request"]);
    learner.commit(1, 1, &refusal());
    assert_eq!(questions(&learner), ["request"; 2]);
}
