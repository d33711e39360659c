//! Questions of threads that serve reads themselves.

use super::leader::comes;
use super::*;

fn quorum_reads() -> Config {
    Config {
        read_mode: ReadMode::Quorum,
        ..config()
    }
}

fn asked(asker: usize, number: u64) -> Event {
    Event::Asked(Question { asker, number })
}

fn questions(server: &Server) -> usize {
    let is_question = |m: &&PeerMessage| matches!(m, PeerMessage::ReadIndex { .. });
    server.sent.iter().filter(is_question).count()
}

/// What the leader has answered its learner.
fn answers(leader: &Server) -> Vec<(u64, Zxid)> {
    let mut found = Vec::new();
    for message in &leader.sent {
        if let PeerMessage::ReadIndexed { id, zxid } = message {
            found.push((*id, *zxid));
        }
    }
    found
}

fn last_ping(leader: &Server) -> Option<u64> {
    let mut last = None;
    for message in &leader.sent {
        if let PeerMessage::Zab(Message::Ping { round, .. }) = message {
            last = Some(*round);
        }
    }
    last
}

#[test]
fn a_threads_question_waits_for_the_leaders_word_and_for_the_state() {
    let mut learner = Server::following(quorum_reads());
    learner.resume(Zxid::ZERO);
    learner.handle(asked(0, 7));
    // What comes while a question is open shares the next one, with the replica's own reads.
    learner.handle(asked(1, 3));
    let mut body = Vec::new();
    jute::put_string(&mut body, "/");
    body.push(0);
    learner.request(1, op_code::EXISTS, body);
    assert_eq!(questions(&learner), 1);
    let zxid = Zxid::new(1, 1);
    learner.receive(PeerMessage::ReadIndexed { id: 1, zxid });
    assert_eq!((questions(&learner), &learner.shown[..]), (2, &[][..]));
    learner.commit(1, 9, &refusal());
    assert_eq!(learner.shown, [(0, 7)]);
    learner.receive(PeerMessage::ReadIndexed { id: 2, zxid });
    assert_eq!(learner.shown, [(0, 7), (1, 3)]);
    assert_eq!(learner.clients.reads, [1]);
}

#[test]
fn a_question_ends_with_the_role_in_which_it_was_asked() {
    let mut learner = Server::following(quorum_reads());
    learner.handle(asked(0, 1));
    let link = learner.link;
    learner.zab(roo_zab::Event::LinkClosed { link });
    assert_eq!(learner.clients.roles.last(), Some(&Role::Looking));
    // The thread has not heard of it yet.
    learner.handle(asked(0, 2));
    assert_eq!(questions(&learner), 1);
    let zxid = Zxid::ZERO;
    learner.receive(PeerMessage::ReadIndexed { id: 1, zxid });
    assert_eq!(learner.shown, []);
}

#[test]
fn a_leaders_thread_waits_for_a_quorum_and_for_the_state() {
    let mut leader = Server::leading(quorum_reads());
    leader.handle(asked(0, 1));
    assert_eq!(leader.shown, []);
    let round = last_ping(&leader).unwrap();
    leader.receive(PeerMessage::Zab(Message::Pong { round }));
    assert_eq!(leader.shown, [(0, 1)]);
}

#[test]
fn a_follower_that_makes_a_quorum_with_its_leader_needs_no_other_witness() {
    let mut leader = Server::leading(quorum_reads());
    let before = last_ping(&leader);
    leader.receive(PeerMessage::ReadIndex { id: 1 });
    assert_eq!(answers(&leader), [(1, Zxid::new(1, 0))]);
    assert_eq!(last_ping(&leader), before, "nobody is asked");
}

#[test]
fn a_learner_that_is_not_synchronised_is_not_answered() {
    let mut leader = Server::leading(quorum_reads());
    comes(&mut leader, false);
    leader.receive(PeerMessage::ReadIndex { id: 1 });
    assert_eq!(answers(&leader), []);
}
