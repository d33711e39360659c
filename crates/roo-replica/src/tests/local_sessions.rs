//! Sessions that only one server knows, beside those that all know.

use super::*;

fn connect(session: SessionId) -> Connect {
    Connect {
        last_zxid_seen: Zxid::ZERO,
        timeout_ms: 8000,
        session,
        password: Some(session_password(session).into()),
        read_only: None,
    }
}

/// A server with a client whose session only it knows.
fn with_client(mut server: Server) -> (Server, SessionId) {
    server.handle(Event::Connecting {
        conn: CONN,
        connect: connect(SessionId(0)),
    });
    server.sent.clear();
    let session = server.clients.connected[0];
    (server, session)
}

fn locally() -> Config {
    Config {
        local_sessions: LocalSessions::On,
        ..config()
    }
}

fn ask(server: &mut Server, session: SessionId, xid: i32, op: i32, body: Vec<u8>) {
    server.handle(Event::Requested(Ordered {
        conn: CONN,
        session,
        xid,
        op,
        body: body.into(),
        ids: [].into(),
        arrived: Time(10),
    }));
}

fn delete() -> Vec<u8> {
    let mut body = Vec::new();
    jute::put_string(&mut body, "/a");
    jute::put_i32(&mut body, -1);
    body
}

#[test]
fn a_local_session_of_the_leader_is_none_elsewhere() {
    let (mut leader, session) = with_client(Server::leading(locally()));
    leader.receive(PeerMessage::Revalidate {
        session,
        timeout_ms: 8000,
    });
    assert!(matches!(
        leader.sent.last(),
        Some(PeerMessage::Revalidated { valid: false, .. })
    ));
    // Its client stays.
    ask(&mut leader, session, 1, op_code::DELETE, delete());
    assert_eq!(leader.clients.closed, []);
}

#[test]
fn a_refusal_behind_a_write_is_answered_no_earlier_than_it() {
    let (mut leader, session) = with_client(Server::leading(locally()));
    ask(&mut leader, session, 1, op_code::DELETE, delete());
    ask(&mut leader, session, 2, op_code::CLOSE_SESSION, Vec::new());
    assert_eq!(leader.clients.replies, []);
    let zxid = Zxid::new(1, 1);
    leader.receive(PeerMessage::Zab(Message::Ack { zxid }));
    assert_eq!(leader.clients.replies, [(1, zxid), (2, zxid)]);
    assert_eq!(leader.clients.closed, [(CONN, CloseReason::SessionClosed)]);
}

#[test]
fn a_session_that_has_ended_is_not_taken_for_a_learners_own() {
    let mut leader = Server::leading(locally());
    let mut asks = |cxid: i32, op: i32, body: Vec<u8>| {
        let message = PeerMessage::Request {
            session: SESSION,
            cxid,
            op,
            body: body.into(),
            ids: [].into(),
        };
        leader.receive(message);
        let zxid = leader.replica.zab().unwrap().status().last_proposed;
        leader.receive(PeerMessage::Zab(Message::Ack { zxid }));
        zxid
    };
    let timeout = 8000_i32.to_be_bytes().to_vec();
    asks(0, op_code::CREATE_SESSION, timeout);
    asks(0, op_code::CLOSE_SESSION, Vec::new());
    // It was on its way.
    let late = asks(3, op_code::DELETE, delete());
    let mut records = leader.sent.iter().filter_map(|message| {
        if let PeerMessage::Zab(Message::Proposal(proposal)) = message {
            Some(proposal)
        } else {
            None
        }
    });
    let record = records.find(|proposal| proposal.zxid == late).unwrap();
    let (_, txn, _) = txn::decode_record(&record.txn).unwrap();
    assert_eq!(txn, Txn::Error(ErrorCode::SESSION_EXPIRED));
}
