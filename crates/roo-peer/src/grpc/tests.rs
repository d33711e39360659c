//! What only the real transport can get wrong: strangers, broken connections, codecs, ports.

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use proptest::prelude::{Strategy, any, proptest};
use prost::Message as _;
use roo_proto::ensemble::{ClientAddress, Member, MemberRole, PeerAddress, Voting};
use roo_proto::ids::{SessionId, Zxid};
use roo_zab::Proposal;
use roo_zab::message::{PeerState, Vote};

use super::generated::frame::Kind;
use super::*;
use crate::handshake::{Hello, Purpose};
use crate::parameters::{Joiners, Listen};
use crate::surface::{PeerEvent, RefusalReason};
use crate::weight;

const DEADLINE: Duration = Duration::from_secs(30);

struct Reports(Mutex<Sender<PeerEvent>>);

impl PeerEvents for Reports {
    fn deliver(&self, event: PeerEvent) {
        // A test that has seen enough is gone.
        let _ = self.0.lock().send(event);
    }
}

fn reports() -> (Arc<dyn PeerEvents>, Receiver<PeerEvent>) {
    let (sender, receiver) = channel();
    (Arc::new(Reports(Mutex::new(sender))), receiver)
}

/// The first event that fits; those before it are dropped.
fn next<T>(events: &Receiver<PeerEvent>, fits: impl Fn(PeerEvent) -> Option<T>) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let event = events.recv_timeout(left).expect("the event comes in time");
        if let Some(value) = fits(event) {
            return value;
        }
    }
}

fn next_refusal(events: &Receiver<PeerEvent>) -> (Option<ServerId>, RefusalReason, String) {
    next(events, |event| match event {
        PeerEvent::Refused { peer, reason, text } => Some((peer, reason, text)),
        _ => None,
    })
}

fn member(port: u16) -> Member {
    Member {
        addresses: vec![PeerAddress {
            host: "127.0.0.1".into(),
            peer_port: port,
            election_port: None,
        }],
        role: MemberRole::Voter,
        client: None,
    }
}

fn ensemble(ports: &[(i64, u16)]) -> Ensemble {
    Ensemble {
        members: ports
            .iter()
            .map(|(id, port)| (ServerId(*id), member(*port)))
            .collect(),
        ..Ensemble::default()
    }
}

fn parameters(id: i64) -> Parameters {
    Parameters {
        handshake_timeout: Duration::from_millis(500),
        ..Parameters::of_server(ServerId(id))
    }
}

fn start(parameters: Parameters) -> (GrpcLinks, Receiver<PeerEvent>, u16) {
    let (sink, events) = reports();
    let alone = ensemble(&[(parameters.id.0, 0)]);
    let links = GrpcLinks::start(parameters, &alone, None, sink).unwrap();
    let port = links.local_addresses()[0].port();
    (links, events, port)
}

#[test]
fn garbage_on_the_port_is_one_line_and_a_closed_connection() {
    let (links, events, port) = start(parameters(1));
    for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 100]] {
        let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
        stream.write_all(garbage).unwrap();
        stream.set_read_timeout(Some(DEADLINE)).unwrap();
        let mut answer = Vec::new();
        // A reset is as good an end as any.
        let _ = stream.read_to_end(&mut answer);
        assert!(answer.len() < 1000);
    }
    let (peer, reason, text) = next_refusal(&events);
    assert_eq!((peer, reason), (None, RefusalReason::NotAPeer));
    assert!(text.starts_with("127.0.0.1:"), "{text}");
    links.shutdown();
    let more: Vec<_> = events.try_iter().collect();
    assert!(more.is_empty(), "the second time is not said: {more:?}");
}

#[test]
fn who_only_looks_whether_the_port_is_open_is_no_news() {
    let (links, events, port) = start(parameters(1));
    drop(TcpStream::connect(("127.0.0.1", port)).unwrap());
    // Behind it, garbage: its refusal comes first and alone.
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.write_all(&[7; 100]).unwrap();
    let _ = stream.read_to_end(&mut Vec::new());
    let text = next_refusal(&events).2;
    assert!(
        text.contains("does not speak as a RooKeeper server"),
        "{text}"
    );
    links.shutdown();
    assert_eq!(events.try_iter().count(), 0);
}

#[test]
fn who_connects_and_says_nothing_is_dropped() {
    let (_links, events, port) = start(parameters(1));
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(DEADLINE)).unwrap();
    stream.read_to_end(&mut Vec::new()).unwrap();
    let (_, reason, text) = next_refusal(&events);
    assert_eq!(reason, RefusalReason::NotAPeer);
    assert!(text.contains("says nothing"), "{text}");
}

/// Dials what stands at `port`, as server 2 that expects server 1 there.
fn dial(port: u16) -> (GrpcLinks, Receiver<PeerEvent>) {
    let (links, events, own) = start(parameters(2));
    links.set_ensemble(&ensemble(&[(1, port), (2, own)]));
    (links, events)
}

/// What server 2 says of a web server at server 1's address, and the port.
fn said_of_a_web_server(
    goodbye: fn(TcpStream),
) -> ((Option<ServerId>, RefusalReason, String), u16) {
    let web = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = web.local_addr().unwrap().port();
    thread::spawn(move || {
        while let Ok((mut stream, _)) = web.accept() {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            goodbye(stream);
        }
    });
    let (_links, events) = dial(port);
    (next_refusal(&events), port)
}

#[test]
fn a_member_address_with_something_else_behind_it_is_named() {
    let hangs_up: fn(TcpStream) = drop;
    let listens_on: fn(TcpStream) = |mut stream| {
        let _ = stream.read_to_end(&mut Vec::new());
    };
    for goodbye in [hangs_up, listens_on] {
        let ((peer, reason, text), port) = said_of_a_web_server(goodbye);
        assert_eq!((peer, reason), (Some(ServerId(1)), RefusalReason::NotAPeer));
        assert!(
            text.contains(&port.to_string()) && text.contains("server.1"),
            "{text}"
        );
    }
}

#[test]
fn a_member_that_accepts_and_does_not_answer_is_unreachable() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let (_links, events) = dial(silent.local_addr().unwrap().port());
    let peer = next(&events, |event| match event {
        PeerEvent::Unreachable { peer } => Some(peer),
        _ => None,
    });
    assert_eq!(peer, ServerId(1));
}

#[test]
fn a_wrong_id_behind_an_address_is_said_on_both_sides() {
    let (three, at_three, port) = start(parameters(3));
    three.set_ensemble(&ensemble(&[(3, port)]));
    let (_two, at_two) = dial(port);
    let (peer, reason, text) = next_refusal(&at_two);
    assert_eq!((peer, reason), (Some(ServerId(1)), RefusalReason::WrongId));
    assert!(text.contains("is server 3, not 1"), "{text}");
    let (peer, reason, text) = next_refusal(&at_three);
    assert_eq!((peer, reason), (Some(ServerId(2)), RefusalReason::WrongId));
    assert!(
        text.contains("looks for server 1 here, but this is server 3"),
        "{text}"
    );
}

#[test]
fn two_servers_with_one_id_are_told_on_both_sides() {
    let (_first, at_first, port) = start(parameters(1));
    let (second, at_second, own) = start(parameters(1));
    second.set_ensemble(&ensemble(&[(1, own), (2, port)]));
    let (peer, reason, text) = next_refusal(&at_first);
    assert_eq!((peer, reason), (Some(ServerId(1)), RefusalReason::SameId));
    assert!(text.contains("myid"), "{text}");
    assert_eq!(next_refusal(&at_second).1, RefusalReason::SameId);
}

#[test]
fn another_major_version_is_told_on_both_sides() {
    for (major, here, there) in [
        (2, RefusalReason::TooNew, RefusalReason::TooOld),
        (0, RefusalReason::TooOld, RefusalReason::TooNew),
    ] {
        let local = Local {
            id: ServerId(1),
            software: "x".into(),
            joiners: Joiners::Refused,
            identity: None,
            ensemble: ensemble(&[(1, 1), (2, 2)]),
        };
        let theirs = Hello {
            major,
            ..Local {
                id: ServerId(2),
                ..local.clone()
            }
            .hello(ServerId(1), Purpose::Follow)
        };
        assert_eq!(local.admit(&theirs), Err(here));
        let frame = encode::refusal(here, &local.hello(ServerId(2), Purpose::Follow));
        let Some(Kind::Refusal(refusal)) = frame.kind else {
            panic!("{frame:?}");
        };
        assert_eq!(decode::refusal(&refusal), there);
    }
}

/// The way between two servers.
struct Proxy {
    port: u16,
    streams: Arc<Mutex<Vec<TcpStream>>>,
    /// Nothing passes while this is locked.
    gate: Arc<Mutex<()>>,
}

/// Carries bytes between whoever connects and `port`.
fn proxy(port: u16) -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let proxy = Proxy {
        port: listener.local_addr().unwrap().port(),
        streams: Arc::default(),
        gate: Arc::default(),
    };
    let (streams, gate) = (Arc::clone(&proxy.streams), Arc::clone(&proxy.gate));
    thread::spawn(move || {
        while let Ok((caller, _)) = listener.accept() {
            let Ok(callee) = TcpStream::connect(("127.0.0.1", port)) else {
                continue;
            };
            for (from, to) in [(&caller, &callee), (&callee, &caller)] {
                let (from, to) = (from.try_clone().unwrap(), to.try_clone().unwrap());
                let gate = Arc::clone(&gate);
                thread::spawn(move || pass(from, to, &gate));
            }
            streams.lock().extend([caller, callee]);
        }
    });
    proxy
}

fn pass(mut from: TcpStream, mut to: TcpStream, gate: &Mutex<()>) {
    let mut bytes = [0; 4096];
    while let Ok(length @ 1..) = from.read(&mut bytes) {
        drop(gate.lock());
        if to.write_all(&bytes[..length]).is_err() {
            break;
        }
    }
    let _ = to.shutdown(Shutdown::Both);
}

fn closed(event: PeerEvent) -> Option<LinkId> {
    match event {
        PeerEvent::LinkClosed { link } => Some(link),
        _ => None,
    }
}

#[test]
fn a_peer_that_falls_silent_is_noticed_by_probes() {
    let wary = |id| Parameters {
        keep_alive_interval: Duration::from_millis(100),
        keep_alive_timeout: Duration::from_millis(200),
        ..parameters(id)
    };
    let (one, at_one, port) = start(wary(1));
    let (two, at_two, own) = start(wary(2));
    let between = proxy(port);
    one.set_ensemble(&ensemble(&[(1, port), (2, own)]));
    two.set_ensemble(&ensemble(&[(1, between.port), (2, own)]));
    two.open(LinkId(2), ServerId(1));
    let link = next(&at_one, |event| match event {
        PeerEvent::LinkAccepted { link, .. } => Some(link),
        _ => None,
    });
    let silence = between.gate.lock();
    assert_eq!(next(&at_one, closed), link);
    assert_eq!(next(&at_two, closed), LinkId(2));
    drop(silence);
}

#[test]
fn a_connection_that_breaks_is_noticed_while_nothing_is_read_from_it() {
    let narrow = |id| Parameters {
        receive_bytes: 1 << 10,
        ..parameters(id)
    };
    let (one, at_one, port) = start(narrow(1));
    let (two, at_two, own) = start(narrow(2));
    let between = proxy(port);
    one.set_ensemble(&ensemble(&[(1, port), (2, own)]));
    two.set_ensemble(&ensemble(&[(1, between.port), (2, own)]));
    two.open(LinkId(2), ServerId(1));
    let slice = PeerMessage::Slice {
        bytes: vec![1; 4 << 10].into(),
    };
    for _ in 0..10 {
        two.send(LinkId(2), slice.clone());
    }
    // Its permit is kept, so the link is not read any further.
    let (link, kept) = next(&at_one, |event| match event {
        PeerEvent::Received { link, permit, .. } => Some((link, permit)),
        _ => None,
    });
    for stream in between.streams.lock().iter() {
        let _ = stream.shutdown(Shutdown::Both);
    }
    assert_eq!(next(&at_one, closed), link);
    assert_eq!(next(&at_two, closed), LinkId(2));
    drop(kept);
}

#[test]
fn a_server_that_moves_is_reached_at_its_new_address() {
    let (one, _at_one, port) = start(parameters(1));
    let (two, at_two, own) = start(parameters(2));
    let old = ensemble(&[(1, port), (2, own)]);
    one.set_ensemble(&old);
    two.set_ensemble(&old);
    let reachable = |event| matches!(event, PeerEvent::Reachable { .. }).then_some(());
    next(&at_two, reachable);
    // A port that was free a moment ago.
    let free = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let new = ensemble(&[(1, free), (2, own)]);
    one.set_ensemble(&new);
    two.set_ensemble(&new);
    let deadline = Instant::now() + DEADLINE;
    while one.local_addresses() != [SocketAddr::from(([127, 0, 0, 1], free))] {
        assert!(Instant::now() < deadline, "{:?}", one.local_addresses());
        thread::yield_now();
    }
    two.open(LinkId(2), ServerId(1));
    let opened = next(&at_two, |event| match event {
        PeerEvent::LinkOpened { .. } => Some(true),
        PeerEvent::LinkClosed { .. } => Some(false),
        _ => None,
    });
    assert!(opened);
}

#[test]
fn a_port_that_is_taken_is_named_with_what_to_do() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let parameters = Parameters {
        bind_attempts: Some(1),
        ..parameters(1)
    };
    let started = GrpcLinks::start(parameters, &ensemble(&[(1, port)]), None, reports().0);
    let text = started.err().expect("the port is taken").to_string();
    assert!(text.contains(&format!("127.0.0.1:{port}")), "{text}");
    assert!(text.contains("end the program that has the port"), "{text}");
}

#[test]
fn a_server_that_is_to_be_added_need_not_be_in_its_own_ensemble() {
    let (_one, at_one, port) = start(Parameters {
        joiners: Joiners::Admitted,
        ..parameters(1)
    });
    let (sink, at_nine) = reports();
    let joiner = Parameters {
        joiners: Joiners::Admitted,
        ..parameters(9)
    };
    let nine = GrpcLinks::start(joiner, &ensemble(&[(1, port)]), None, sink).unwrap();
    assert_eq!(nine.local_addresses(), []);
    next(&at_nine, |event| {
        matches!(event, PeerEvent::Reachable { peer: ServerId(1) }).then_some(())
    });
    nine.open(LinkId(2), ServerId(1));
    next(&at_one, |event| match event {
        PeerEvent::LinkAccepted { peer, .. } => (peer == ServerId(9)).then_some(()),
        _ => None,
    });
    nine.set_ensemble(&ensemble(&[(1, port), (9, 0)]));
    let deadline = Instant::now() + DEADLINE;
    while nine.local_addresses().is_empty() {
        assert!(
            Instant::now() < deadline,
            "it does not listen once it is added"
        );
        thread::yield_now();
    }
}

#[test]
fn a_member_that_does_not_know_yet_that_it_is_one_is_answered_on_its_own_stream() {
    let (one, at_one, port) = start(Parameters {
        joiners: Joiners::Admitted,
        ..parameters(1)
    });
    // Nobody listens there: the server was added while it was away.
    let away = TcpListener::bind("127.0.0.1:0").unwrap();
    let absent = away.local_addr().unwrap().port();
    drop(away);
    one.set_ensemble(&ensemble(&[(1, port), (9, absent)]));
    let (sink, at_nine) = reports();
    let joiner = Parameters {
        joiners: Joiners::Admitted,
        ..parameters(9)
    };
    let nine = GrpcLinks::start(joiner, &ensemble(&[(1, port)]), None, sink).unwrap();
    let question = Notification {
        vote: Vote {
            peer_epoch: 0,
            zxid: Zxid(0),
            leader: ServerId(1),
        },
        round: 1,
        state: PeerState::Looking,
        ensemble: Arc::default(),
    };
    nine.notify(ServerId(1), question.clone());
    next(&at_one, |event| {
        matches!(event, PeerEvent::Notified { .. }).then_some(())
    });
    let answer = Notification {
        state: PeerState::Leading,
        ..question
    };
    one.notify(ServerId(9), answer.clone());
    let told = next(&at_nine, |event| match event {
        PeerEvent::Notified { notification, .. } => Some(notification),
        _ => None,
    });
    assert_eq!(told, answer);
}

#[test]
fn a_server_that_is_not_in_its_own_ensemble_does_not_start_where_nobody_is_added() {
    let started = GrpcLinks::start(parameters(9), &ensemble(&[(1, 0)]), None, reports().0);
    let text = started.err().expect("there is no server.9").to_string();
    assert!(text.contains("server.9"), "{text}");
}

#[test]
fn all_interfaces_are_listened_on_where_that_is_wanted() {
    let (links, _events, _) = start(Parameters {
        listen: Listen::AllInterfaces,
        ..parameters(1)
    });
    assert!(
        links
            .local_addresses()
            .iter()
            .all(|address| address.ip().is_unspecified())
    );
}

fn any_ensemble() -> impl Strategy<Value = Ensemble> {
    let member = (
        "[a-z]{0,5}",
        any::<u16>(),
        any::<Option<u16>>(),
        any::<(bool, bool)>(),
    )
        .prop_map(
            |(host, port, election_port, (is_voter, has_client))| Member {
                addresses: vec![PeerAddress {
                    host: host.clone(),
                    peer_port: port,
                    election_port,
                }],
                role: if is_voter {
                    MemberRole::Voter
                } else {
                    MemberRole::Observer
                },
                client: has_client.then_some(ClientAddress { host, port }),
            },
        );
    let members = proptest::collection::btree_map(any::<i64>().prop_map(ServerId), member, 0..5);
    let weights =
        proptest::collection::btree_map(any::<i64>().prop_map(ServerId), any::<u64>(), 0..4);
    (any::<i64>(), members, weights, any::<bool>()).prop_map(
        |(version, members, weights, hierarchical)| {
            let groups = members.keys().map(|id| (id.0 % 2, [*id].into())).collect();
            let voting = if hierarchical {
                Voting::Hierarchical { groups, weights }
            } else {
                Voting::Majority
            };
            Ensemble {
                version,
                members,
                voting,
            }
        },
    )
}

proptest! {
    #[test]
    fn ensembles_survive_the_wire_and_weigh_enough(
        ensemble in any_ensemble(),
        numbers in any::<(i64, i64, u64, u32)>(),
        txn in proptest::collection::vec(any::<u8>(), 0..50),
    ) {
        let ensemble = Arc::new(ensemble);
        let (zxid, leader, round, peer_epoch) = numbers;
        let notification = Notification {
            vote: Vote { peer_epoch, zxid: Zxid(zxid), leader: ServerId(leader) },
            round,
            state: PeerState::Observing,
            ensemble: Arc::clone(&ensemble),
        };
        let frame = encode::notification(&notification);
        assert!(frame.encoded_len() <= weight::of_notification(&notification));
        let Some(Kind::Notification(wire)) = frame.kind else {
            panic!("{frame:?}");
        };
        assert_eq!(decode::notification(wire), Ok(notification));

        let proposal = Proposal {
            zxid: Zxid(zxid),
            txn: txn.into(),
            ensemble: Some(ensemble),
        };
        let leader = ServerId(leader);
        let message = PeerMessage::Zab(roo_zab::Message::InformAndActivate { proposal, leader });
        let frame = encode::packets(vec![message.clone()]);
        assert!(frame.encoded_len() <= weight::of(&message));
        let Some(Kind::Packets(wire)) = frame.kind else {
            panic!("{frame:?}");
        };
        assert_eq!(decode::packets(wire), Ok(vec![message]));
    }

    #[test]
    fn sessions_that_were_touched_weigh_enough(
        sessions in proptest::collection::vec(any::<(i64, i32)>(), 0..50),
    ) {
        let sessions = sessions.into_iter().map(|(id, ms)| (SessionId(id), ms)).collect();
        let message = PeerMessage::Touched { sessions };
        assert!(encode::packets(vec![message.clone()]).encoded_len() <= weight::of(&message));
    }

    #[test]
    fn any_bytes_are_understood_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        if let Ok(frame) = generated::Frame::decode(bytes.as_slice()) {
            match frame.kind {
                Some(Kind::Hello(hello)) => drop(decode::hello(&hello)),
                Some(Kind::Refusal(refusal)) => drop(decode::refusal(&refusal)),
                Some(Kind::Close(close)) => drop(decode::text(&close.why)),
                Some(Kind::Notification(it)) => drop(decode::notification(it)),
                Some(Kind::Packets(packets)) => drop(decode::packets(packets)),
                None => {}
            }
        }
    }
}

#[test]
fn what_cannot_be_meant_is_refused_with_a_word() {
    let no_kind = generated::Packets {
        packets: vec![generated::Packet { kind: None }],
    };
    let error = decode::packets(no_kind).unwrap_err();
    assert!(error.to_string().contains("newer"), "{error}");
    let no_timeouts = generated::Touched {
        sessions: vec![1],
        timeouts_ms: Vec::new(),
    };
    let packets = generated::Packets {
        packets: vec![generated::Packet {
            kind: Some(generated::packet::Kind::Touched(no_timeouts)),
        }],
    };
    assert_eq!(
        decode::packets(packets).unwrap_err().to_string(),
        "1 sessions with 0 timeouts"
    );
}
