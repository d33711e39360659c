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
