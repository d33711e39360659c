//! Servers without anything above their links, on either transport.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use roo_peer::grpc::GrpcLinks;
use roo_peer::memory::{MemoryLinks, MemoryNetwork};
use roo_peer::{Parameters, PeerEvent, PeerEvents, PeerLinks};
use roo_proto::ensemble::{Ensemble, Member, MemberRole, PeerAddress};
use roo_proto::ids::ServerId;

/// However slow the machine is, what must come has come by then.
const DEADLINE: Duration = Duration::from_secs(30);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    Memory,
    Grpc,
}

/// The events that nobody has taken yet.
#[derive(Default)]
pub(crate) struct Inbox {
    events: Mutex<VecDeque<PeerEvent>>,
    came: Condvar,
}

impl PeerEvents for Inbox {
    fn deliver(&self, event: PeerEvent) {
        self.events.lock().push_back(event);
        self.came.notify_all();
    }
}

impl Inbox {
    /// Takes the first event that fits, now or when it comes; others stay.
    pub(crate) fn take<T>(&self, what: &str, mut fits: impl FnMut(&PeerEvent) -> Option<T>) -> T {
        let deadline = Instant::now() + DEADLINE;
        let mut events = self.events.lock();
        loop {
            let found = events
                .iter()
                .enumerate()
                .find_map(|(at, event)| fits(event).map(|value| (at, value)));
            if let Some((at, value)) = found {
                events.remove(at);
                return value;
            }
            assert!(
                !self.came.wait_until(&mut events, deadline).timed_out(),
                "{what} did not come; there are {events:?}"
            );
        }
    }

    /// As [`Inbox::take`], and the event itself, with its permit.
    pub(crate) fn take_event(&self, what: &str, fits: impl Fn(&PeerEvent) -> bool) -> PeerEvent {
        let deadline = Instant::now() + DEADLINE;
        let mut events = self.events.lock();
        loop {
            let at = events.iter().position(&fits);
            if let Some(event) = at.and_then(|at| events.remove(at)) {
                return event;
            }
            assert!(
                !self.came.wait_until(&mut events, deadline).timed_out(),
                "{what} did not come; there are {events:?}"
            );
        }
    }

    /// How many such events have come.
    pub(crate) fn waiting(&self, fits: impl Fn(&PeerEvent) -> bool) -> usize {
        let events = self.events.lock();
        events.iter().filter(|event| fits(event)).count()
    }

    /// Whether such an event has come already.
    pub(crate) fn has(&self, fits: impl Fn(&PeerEvent) -> bool) -> bool {
        self.events.lock().iter().any(fits)
    }
}

pub(crate) struct Server {
    pub id: ServerId,
    pub inbox: Arc<Inbox>,
    links: Links,
    address: PeerAddress,
}

enum Links {
    Memory(MemoryLinks),
    Grpc(GrpcLinks),
}

impl Server {
    pub(crate) fn links(&self) -> &dyn PeerLinks {
        match &self.links {
            Links::Memory(links) => links,
            Links::Grpc(links) => links,
        }
    }
}

pub(crate) struct World {
    network: Option<MemoryNetwork>,
}

impl World {
    pub(crate) fn new(transport: Transport) -> Self {
        Self {
            network: (transport == Transport::Memory).then(|| MemoryNetwork::new().unwrap()),
        }
    }

    /// A server that knows only itself.
    pub(crate) fn server(&self, parameters: Parameters) -> Server {
        self.server_at(parameters, 0)
    }

    /// The same at the port of one that has ended.
    pub(crate) fn again(&self, parameters: Parameters, old: &PeerAddress) -> Server {
        self.server_at(parameters, old.peer_port)
    }

    fn server_at(&self, parameters: Parameters, peer_port: u16) -> Server {
        let id = parameters.id;
        let inbox = Arc::new(Inbox::default());
        let mut address = PeerAddress {
            host: "127.0.0.1".into(),
            peer_port,
            election_port: None,
        };
        let alone = ensemble_of(&[(id, &address)]);
        let events = Arc::clone(&inbox) as Arc<dyn PeerEvents>;
        let links = match &self.network {
            Some(network) => Links::Memory(network.join(parameters, &alone, events)),
            None => {
                let links = GrpcLinks::start(parameters, &alone, None, events).unwrap();
                address.peer_port = links.local_addresses()[0].port();
                Links::Grpc(links)
            }
        };
        Server {
            id,
            inbox,
            links,
            address,
        }
    }

    /// Servers 1 to N that know each other.
    pub(crate) fn servers<const N: usize>(
        &self,
        parameters: impl Fn(i64) -> Parameters,
    ) -> [Server; N] {
        let mut id = 0;
        let servers = [(); N].map(|()| {
            id += 1;
            self.server(parameters(id))
        });
        let all = ensemble(&servers.each_ref());
        for server in &servers {
            server.links().set_ensemble(&all);
        }
        servers
    }
}

pub(crate) fn defaults(id: i64) -> Parameters {
    Parameters::of_server(ServerId(id))
}

pub(crate) fn ensemble(servers: &[&Server]) -> Ensemble {
    let members: Vec<_> = servers.iter().map(|s| (s.id, &s.address)).collect();
    ensemble_of(&members)
}

pub(crate) fn ensemble_of(members: &[(ServerId, &PeerAddress)]) -> Ensemble {
    let members = members.iter().map(|(id, address)| {
        let member = Member {
            addresses: vec![(*address).clone()],
            role: MemberRole::Voter,
            client: None,
        };
        (*id, member)
    });
    Ensemble {
        members: members.collect(),
        ..Ensemble::default()
    }
}

impl Server {
    pub(crate) fn address(&self) -> &PeerAddress {
        &self.address
    }
}
