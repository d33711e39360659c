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
