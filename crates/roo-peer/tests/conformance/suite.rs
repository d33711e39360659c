//! The rules themselves.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;

use roo_peer::{Joiners, LinkGone, Parameters, PeerEvent, RefusalReason};
use roo_proto::acl::Id;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, SessionId, Zxid};
use roo_replica::peer_message::PeerMessage;
use roo_zab::effect::CloseReason;
use roo_zab::message::{LinkId, PeerState, Vote};
use roo_zab::{Message, Notification, Proposal};

use crate::world::{Server, Transport, World, defaults, ensemble};

fn read_index(id: u64) -> PeerMessage {
    PeerMessage::ReadIndex { id }
}

fn slice(bytes: usize) -> PeerMessage {
    PeerMessage::Slice {
        bytes: vec![7; bytes].into(),
    }
}

fn notification(round: u64) -> Notification {
    Notification {
        vote: Vote {
            peer_epoch: 1,
            zxid: Zxid::new(1, 2),
            leader: ServerId(3),
        },
        round,
        state: PeerState::Looking,
        ensemble: Arc::new(Ensemble::default()),
    }
}

/// Opens a link from one server to another; both names of it.
fn link(from: &Server, to: &Server, id: u64) -> (LinkId, LinkId) {
    from.links().open(LinkId(id), to.id);
    from.inbox.take("LinkOpened", |event| {
        matches!(event, PeerEvent::LinkOpened { link } if *link == LinkId(id)).then_some(())
    });
    let accepted = to.inbox.take("LinkAccepted", |event| match event {
        PeerEvent::LinkAccepted { link, peer } if *peer == from.id => Some(*link),
        _ => None,
    });
    (LinkId(id), accepted)
}

/// The next message on a link; its room is given back.
fn received(at: &Server, on: LinkId) -> PeerMessage {
    at.inbox.take("a message", |event| match event {
        PeerEvent::Received { link, message, .. } if *link == on => Some(message.clone()),
        _ => None,
    })
}

fn closed(at: &Server, on: LinkId) {
    at.inbox.take("LinkClosed", |event| {
        matches!(event, PeerEvent::LinkClosed { link } if *link == on).then_some(())
    });
}

fn reachable(at: &Server, who: ServerId) {
    at.inbox.take("Reachable", |event| {
        matches!(event, PeerEvent::Reachable { peer } if *peer == who).then_some(())
    });
}

fn unreachable(at: &Server, who: ServerId) {
    at.inbox.take("Unreachable", |event| {
        matches!(event, PeerEvent::Unreachable { peer } if *peer == who).then_some(())
    });
}

fn refused(at: &Server, who: ServerId) -> (RefusalReason, String) {
    at.inbox.take("Refused", |event| match event {
        PeerEvent::Refused { peer, reason, text } if *peer == Some(who) => {
            Some((*reason, text.clone()))
        }
        _ => None,
    })
}

fn notified(at: &Server, who: ServerId) -> u64 {
    at.inbox.take("a notification", |event| match event {
        PeerEvent::Notified {
            from, notification, ..
        } if *from == who => Some(notification.round),
        _ => None,
    })
}

pub(crate) fn a_link_keeps_the_order_of_what_is_sent(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    let (dialled, accepted) = link(&two, &one, 2);
    for id in 0..5_000 {
        two.links().send(dialled, read_index(id));
        if id % 7 == 0 {
            two.links().send_bulk(dialled, slice(3_000)).unwrap();
        }
    }
    for id in 0..5_000 {
        assert_eq!(received(&one, accepted), read_index(id));
        if id % 7 == 0 {
            assert_eq!(received(&one, accepted), slice(3_000));
        }
    }
}

/// One of every kind, with fields that differ from their defaults.
fn every_kind(ensemble: Ensemble) -> Vec<PeerMessage> {
    let zab = every_kind_of_zab(Arc::new(ensemble));
    let mut all: Vec<_> = zab.into_iter().map(PeerMessage::Zab).collect();
    all.extend(every_other_kind());
    all
}

fn every_kind_of_zab(ensemble: Arc<Ensemble>) -> Vec<Message> {
    let (zxid, leader) = (Zxid::new(7, 8), ServerId(2));
    let proposal = Proposal {
        zxid,
        txn: vec![1, 2, 3].into(),
        ensemble: Some(Arc::clone(&ensemble)),
    };
    vec![
        Message::FollowerInfo {
            accepted_epoch: 3,
            config_version: -1,
            observer: true,
        },
        Message::LeaderInfo { epoch: 4 },
        Message::AckEpoch {
            current_epoch: None,
            last_zxid: zxid,
        },
        Message::AckEpoch {
            current_epoch: Some(0),
            last_zxid: zxid,
        },
        Message::Diff { upto: zxid },
        Message::Trunc { to: zxid },
        Message::Snap { zxid },
        Message::Proposal(proposal.clone()),
        Message::Proposal(Proposal {
            zxid: Zxid(-1),
            txn: Vec::new().into(),
            ensemble: None,
        }),
        Message::Ack { zxid },
        Message::Commit { zxid },
        Message::CommitAndActivate { zxid, leader },
        Message::Inform(proposal.clone()),
        Message::InformAndActivate { proposal, leader },
        Message::NewLeader { epoch: 7, ensemble },
        Message::UpToDate,
        Message::Ping { round: 9, zxid },
        Message::Pong { round: 9 },
    ]
}

fn every_other_kind() -> Vec<PeerMessage> {
    let (session, zxid) = (SessionId(i64::MIN), Zxid::new(7, 8));
    vec![
        slice(5),
        PeerMessage::SliceEnd {
            length: 5,
            crc32: 6,
            digest: Some(7),
        },
        PeerMessage::Request {
            session,
            cxid: -4,
            op: -11,
            body: vec![5].into(),
            ids: [Id::new("digest", "a:b"), Id::anyone()].into(),
        },
        PeerMessage::Sync,
        PeerMessage::SyncDone,
        PeerMessage::Revalidate {
            session,
            timeout_ms: 30_000,
        },
        PeerMessage::Revalidated {
            session,
            valid: true,
            after: Zxid::new(2, 7),
        },
        PeerMessage::Touched {
            sessions: vec![(session, 1), (SessionId(2), 3)],
        },
        PeerMessage::Touched {
            sessions: Vec::new(),
        },
        read_index(1),
        PeerMessage::ReadIndexed { id: 1, zxid },
    ]
}

pub(crate) fn both_directions_carry_every_kind_of_message(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    let (dialled, accepted) = link(&two, &one, 2);
    let all = every_kind(ensemble(&[&one, &two]));
    for message in &all {
        two.links().send(dialled, message.clone());
        one.links().send(accepted, message.clone());
    }
    for message in &all {
        assert_eq!(received(&one, accepted), *message);
        assert_eq!(received(&two, dialled), *message);
    }
}

pub(crate) fn ids_of_accepted_links_are_odd_and_never_used_again(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    let mut seen = BTreeSet::new();
    for id in 1..=5 {
        let (dialled, accepted) = link(&two, &one, 2 * id);
        assert_eq!(accepted.0 % 2, 1);
        assert!(seen.insert(accepted), "{accepted:?} was used before");
        two.links().close(dialled, CloseReason::RoleChanged);
        closed(&one, accepted);
    }
}

pub(crate) fn what_was_sent_before_a_close_arrives_before_it(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    let (dialled, accepted) = link(&two, &one, 2);
    for id in 0..1_000 {
        two.links().send(dialled, read_index(id));
    }
    two.links().close(dialled, CloseReason::RoleChanged);
    two.links().send(dialled, read_index(1_000));
    assert_eq!(
        two.links().send_bulk(dialled, slice(1)),
        Err(LinkGone),
        "a closed link takes nothing"
    );
    closed(&one, accepted);
    // Whatever came, came before LinkClosed: it is all there.
    for id in 0..1_000 {
        let expected = read_index(id);
        assert!(
            one.inbox.has(|event| {
                matches!(event, PeerEvent::Received { message, .. } if *message == expected)
            }),
            "{id} was lost"
        );
        assert_eq!(received(&one, accepted), expected);
    }
    let is_message = |event: &PeerEvent| matches!(event, PeerEvent::Received { .. });
    assert!(!one.inbox.has(is_message), "nothing follows a close");
    let is_closed = |event: &PeerEvent| matches!(event, PeerEvent::LinkClosed { .. });
    assert!(!two.inbox.has(is_closed), "who closes is not told");
}

pub(crate) fn a_close_by_the_acceptor_is_seen_by_the_dialler(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    let (dialled, accepted) = link(&two, &one, 2);
    one.links().send(accepted, read_index(1));
    one.links().close(accepted, CloseReason::NotLeading);
    assert_eq!(received(&two, dialled), read_index(1));
    closed(&two, dialled);
    assert_eq!(two.links().send_bulk(dialled, slice(1)), Err(LinkGone));
}

pub(crate) fn links_of_a_peer_that_ends_are_closed_at_once(transport: Transport) {
    let world = World::new(transport);
    let [one, two, three] = world.servers(defaults);
    let (from_two, at_one) = link(&two, &one, 2);
    let (from_one, at_two) = link(&one, &two, 2);
    let (from_three, _) = link(&three, &one, 2);
    two.links().shutdown();
    closed(&one, at_one);
    closed(&one, from_one);
    assert_eq!(one.links().send_bulk(at_one, slice(1)), Err(LinkGone));
    assert_eq!(two.links().send_bulk(from_two, slice(1)), Err(LinkGone));
    assert_eq!(two.links().send_bulk(at_two, slice(1)), Err(LinkGone));
    assert_eq!(three.links().send_bulk(from_three, slice(1)), Ok(()));
}

pub(crate) fn who_cannot_be_reached_closes_the_link(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    one.links().shutdown();
    two.links().open(LinkId(2), one.id);
    closed(&two, LinkId(2));
    two.links().open(LinkId(4), ServerId(77));
    closed(&two, LinkId(4));
    let is_opened = |event: &PeerEvent| matches!(event, PeerEvent::LinkOpened { .. });
    assert!(!two.inbox.has(is_opened));
}

/// Little room everywhere.
fn narrow(id: i64) -> Parameters {
    Parameters {
        receive_bytes: 64 << 10,
        bulk_bytes: 64 << 10,
        send_queue_bytes: 8 << 20,
        ..defaults(id)
    }
}

/// More than all the buffers between two servers hold, whatever the transport.
const FLOOD: usize = 64 << 20;

pub(crate) fn a_peer_that_takes_nothing_is_given_up(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(|id| Parameters {
        bulk_patience: std::time::Duration::from_millis(50),
        ..narrow(id)
    });
    let (dialled, accepted) = link(&two, &one, 2);
    // The permits of what arrives at one are kept in its inbox.
    let part = 32 << 10;
    let refused = (0..FLOOD / part)
        .find_map(|_| two.links().send_bulk(dialled, slice(part)).err())
        .expect("all of it was taken");
    assert_eq!(refused, LinkGone);
    assert_eq!(two.links().wait_for_room(dialled), Err(LinkGone));
    closed(&two, dialled);
    closed(&one, accepted);
}

pub(crate) fn a_receiver_that_keeps_its_permits_stops_bulk(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(narrow);
    let (dialled, accepted) = link(&two, &one, 2);
    const PART: usize = 32 << 10;
    let (told, sent) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..FLOOD / PART {
                two.links().send_bulk(dialled, slice(PART)).unwrap();
                told.send(()).unwrap();
            }
            drop(told);
        });
        // Held, the permit of the first message leaves room for none but the second at most.
        let is_message = |event: &PeerEvent| matches!(event, PeerEvent::Received { link, .. } if *link == accepted);
        let first = one.inbox.take_event("the first message", is_message);
        let mut passed = 0;
        while sent
            .recv_timeout(std::time::Duration::from_millis(300))
            .is_ok()
        {
            passed += 1;
        }
        assert!(
            passed * PART < FLOOD / 2,
            "{passed} parts were sent into nowhere"
        );
        assert!(
            one.inbox.waiting(is_message) <= 1,
            "more than fits was received"
        );
        drop(first);
        let mut more = 1;
        while more < FLOOD / PART {
            drop(one.inbox.take_event("a message", is_message));
            more += 1;
        }
        passed += sent.iter().count();
        assert_eq!(passed, FLOOD / PART);
    });
}

pub(crate) fn bulk_that_waits_ends_with_the_link(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(narrow);
    let (dialled, accepted) = link(&two, &one, 2);
    thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            while two.links().send_bulk(dialled, slice(32 << 10)).is_ok() {
                sent += 32 << 10;
                assert!(sent < FLOOD, "nobody takes it");
            }
        });
        let first = one.inbox.take_event("the first message", |event| {
            matches!(event, PeerEvent::Received { .. })
        });
        one.links().close(accepted, CloseReason::NotLeading);
        sender.join().unwrap();
        drop(first);
    });
    closed(&two, dialled);
}

pub(crate) fn a_link_whose_queue_is_full_is_closed(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(narrow);
    let (dialled, accepted) = link(&two, &one, 2);
    two.links().send(dialled, slice(64 << 10));
    let kept = one.inbox.take_event("the first message", |event| {
        matches!(event, PeerEvent::Received { .. })
    });
    for _ in 0..FLOOD / (64 << 10) {
        two.links().send(dialled, slice(64 << 10));
    }
    closed(&two, dialled);
    closed(&one, accepted);
    assert_eq!(two.links().send_bulk(dialled, slice(1)), Err(LinkGone));
    drop(kept);
}

pub(crate) fn a_message_that_is_too_long_closes_the_link(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(|id| Parameters {
        max_message_bytes: 1 << 20,
        ..defaults(id)
    });
    let (dialled, accepted) = link(&two, &one, 2);
    let longest = (1 << 20) - 64;
    two.links().send(dialled, slice(longest));
    assert_eq!(received(&one, accepted), slice(longest));
    two.links().send(dialled, slice(longest + 1));
    closed(&two, dialled);
    closed(&one, accepted);
}

pub(crate) fn one_slow_link_does_not_hold_up_another(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(narrow);
    let (slow, _) = link(&two, &one, 2);
    for _ in 0..100 {
        two.links().send(slow, slice(64 << 10));
    }
    let kept = one.inbox.take_event("the first message", |event| {
        matches!(event, PeerEvent::Received { .. })
    });
    let (quick, accepted) = link(&two, &one, 4);
    two.links().send(quick, read_index(1));
    assert_eq!(received(&one, accepted), read_index(1));
    two.links().notify(one.id, notification(5));
    assert_eq!(notified(&one, two.id), 5);
    drop(kept);
}

pub(crate) fn the_newest_notification_is_sent_again_on_a_new_stream(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    reachable(&two, one.id);
    for round in 1..=100 {
        two.links().notify(one.id, notification(round));
    }
    let mut last = 0;
    while last < 100 {
        let round = notified(&one, two.id);
        assert!(round > last, "{round} after {last}");
        last = round;
    }
    let all = ensemble(&[&one, &two]);
    one.links().shutdown();
    unreachable(&two, one.id);
    let one = world.again(defaults(1), one.address());
    one.links().set_ensemble(&all);
    reachable(&two, one.id);
    assert_eq!(notified(&one, two.id), 100);
}

pub(crate) fn a_peer_that_ends_is_unreachable_at_once_and_reachable_when_it_is_back(
    transport: Transport,
) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    let all = ensemble(&[&one, &two]);
    reachable(&one, two.id);
    reachable(&two, one.id);
    one.links().shutdown();
    unreachable(&two, one.id);
    let is_about_one = |event: &PeerEvent| {
        matches!(
            event,
            PeerEvent::Reachable { .. } | PeerEvent::Unreachable { .. }
        )
    };
    assert!(!two.inbox.has(is_about_one), "it is said once");
    let one = world.again(defaults(1), one.address());
    one.links().set_ensemble(&all);
    reachable(&two, one.id);
    reachable(&one, two.id);
}

pub(crate) fn servers_of_different_ensembles_refuse_each_other(transport: Transport) {
    let world = World::new(transport);
    let (one, two) = (world.server(defaults(1)), world.server(defaults(2)));
    let three = world.server(defaults(3));
    one.links().set_identity(0x11);
    two.links().set_identity(0x22);
    let all = ensemble(&[&one, &two, &three]);
    for server in [&one, &two, &three] {
        server.links().set_ensemble(&all);
    }
    let (reason, text) = refused(&one, two.id);
    assert_eq!(reason, RefusalReason::OtherEnsemble);
    assert!(
        text.contains("0000000000000022") && text.contains("0000000000000011"),
        "{text}"
    );
    assert_eq!(refused(&two, one.id).0, RefusalReason::OtherEnsemble);
    // Who does not know its ensemble is everybody's.
    reachable(&one, three.id);
    reachable(&three, one.id);
    reachable(&two, three.id);
    reachable(&three, two.id);
}

pub(crate) fn a_server_that_is_no_member_is_refused(transport: Transport) {
    let world = World::new(transport);
    let (one, two) = (world.server(defaults(1)), world.server(defaults(2)));
    two.links().set_ensemble(&ensemble(&[&one, &two]));
    let (reason, text) = refused(&one, two.id);
    assert_eq!(reason, RefusalReason::NotAMember);
    assert!(
        text.contains("server 2") && text.contains("server.2"),
        "{text}"
    );
    let (reason, text) = refused(&two, one.id);
    assert_eq!(reason, RefusalReason::NotAMember);
    assert!(
        text.contains("server 1") && text.contains("server.2"),
        "{text}"
    );
    unreachable(&two, one.id);
    two.links().open(LinkId(2), one.id);
    closed(&two, LinkId(2));
    let is_link = |event: &PeerEvent| matches!(event, PeerEvent::LinkAccepted { .. });
    assert!(!one.inbox.has(is_link));
    // Once it is known, it is let in.
    one.links().set_ensemble(&ensemble(&[&one, &two]));
    reachable(&two, one.id);
}

pub(crate) fn a_joiner_is_admitted_and_gets_notifications_where_joiners_are(transport: Transport) {
    let world = World::new(transport);
    let one = world.server(Parameters {
        joiners: Joiners::Admitted,
        ..defaults(1)
    });
    let two = world.server(defaults(2));
    two.links().set_ensemble(&ensemble(&[&one, &two]));
    reachable(&two, one.id);
    two.links().notify(one.id, notification(1));
    assert_eq!(notified(&one, two.id), 1);
    one.links().notify(two.id, notification(2));
    assert_eq!(notified(&two, one.id), 2);
    let (dialled, accepted) = link(&two, &one, 2);
    two.links().send(dialled, read_index(3));
    assert_eq!(received(&one, accepted), read_index(3));
}

pub(crate) fn a_server_that_is_no_longer_a_member_is_not_dialled(transport: Transport) {
    let world = World::new(transport);
    let [one, two] = world.servers(defaults);
    reachable(&one, two.id);
    reachable(&two, one.id);
    one.links().set_ensemble(&ensemble(&[&one]));
    one.links().notify(two.id, notification(1));
    one.links().open(LinkId(2), two.id);
    closed(&one, LinkId(2));
}
