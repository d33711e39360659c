//! How fast a link is between two servers over loopback: round trips of a small message, and
//! proposals of 1 KiB one way. `cargo run --release --package roo-peer --example link_speed`.
#![allow(clippy::print_stdout, clippy::unwrap_used, clippy::cast_precision_loss)]

use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roo_peer::grpc::GrpcLinks;
use roo_peer::{Parameters, PeerEvent, PeerEvents, PeerLinks};
use roo_proto::ensemble::{Ensemble, Member, MemberRole, PeerAddress};
use roo_proto::ids::{ServerId, Zxid};
use roo_replica::peer_message::PeerMessage;
use roo_zab::message::LinkId;
use roo_zab::{Message, Proposal};

struct Events(Mutex<Sender<PeerEvent>>);

impl PeerEvents for Events {
    fn deliver(&self, event: PeerEvent) {
        let _ = self.0.lock().send(event);
    }
}

fn start(id: i64) -> (GrpcLinks, Receiver<PeerEvent>, u16) {
    let (sender, receiver) = channel();
    let events = Arc::new(Events(Mutex::new(sender)));
    let parameters = Parameters::of_server(ServerId(id));
    let links = GrpcLinks::start(parameters, &ensemble(&[(id, 0)]), None, events).unwrap();
    let port = links.local_addresses()[0].port();
    (links, receiver, port)
}

fn ensemble(ports: &[(i64, u16)]) -> Ensemble {
    let member = |port| Member {
        addresses: vec![PeerAddress {
            host: "127.0.0.1".into(),
            peer_port: port,
            election_port: None,
        }],
        role: MemberRole::Voter,
        client: None,
    };
    Ensemble {
        members: ports
            .iter()
            .map(|(id, port)| (ServerId(*id), member(*port)))
            .collect(),
        ..Ensemble::default()
    }
}

/// Waits for the next message; the event with its permit is dropped.
fn received(events: &Receiver<PeerEvent>) -> Option<PeerMessage> {
    match events.recv().unwrap() {
        PeerEvent::Received { message, .. } => Some(message),
        _ => None,
    }
}

fn accepted(events: &Receiver<PeerEvent>) -> LinkId {
    loop {
        if let PeerEvent::LinkAccepted { link, .. } = events.recv().unwrap() {
            return link;
        }
    }
}

fn main() {
    let (leader, at_leader, leader_port) = start(1);
    let (learner, at_learner, learner_port) = start(2);
    let both = ensemble(&[(1, leader_port), (2, learner_port)]);
    leader.set_ensemble(&both);
    learner.set_ensemble(&both);
    learner.open(LinkId(2), ServerId(1));
    let down = accepted(&at_leader);

    let mut times: Vec<Duration> = (0..20_000)
        .map(|id| {
            let began = Instant::now();
            learner.send(LinkId(2), PeerMessage::ReadIndex { id });
            while received(&at_leader).is_none() {}
            let zxid = Zxid::ZERO;
            leader.send(down, PeerMessage::ReadIndexed { id, zxid });
            while received(&at_learner).is_none() {}
            began.elapsed()
        })
        .collect();
    times.sort();
    let percentile = |p: usize| times[times.len() * p / 100].as_secs_f64() * 1e6;
    println!(
        "round trip of a small message: median {:.0} us, 99% {:.0} us",
        percentile(50),
        percentile(99)
    );

    let proposals: u32 = 400_000;
    let txn = bytes::Bytes::from(vec![7; 1024]);
    let began = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for counter in 0..proposals {
                let proposal = Proposal {
                    zxid: Zxid::new(1, counter),
                    txn: txn.clone(),
                    ensemble: None,
                };
                let message = PeerMessage::Zab(Message::Proposal(proposal));
                leader.send_bulk(down, message).unwrap();
            }
        });
        let mut count = 0;
        while count < proposals {
            count += u32::from(received(&at_learner).is_some());
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    println!(
        "proposals of 1 KiB: {:.0} a second, {:.0} MB/s",
        f64::from(proposals) / seconds,
        f64::from(proposals) * 1024.0 / seconds / 1e6
    );
}
