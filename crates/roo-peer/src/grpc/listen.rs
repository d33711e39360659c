//! Where this server can be dialled: bound at the start, and again when a reconfiguration moves
//! this server.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use roo_proto::ensemble::Ensemble;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::{TcpListener, lookup_host};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Shared, StartError, accept};
use crate::parameters::{Joiners, Listen, Parameters};

/// Between two attempts to bind.
const BIND_AGAIN: Duration = Duration::from_secs(1);
/// After an error of accepting, which is most often that there are no more file descriptors.
const ACCEPT_AGAIN: Duration = Duration::from_millis(100);
/// Connections that the system holds until they are accepted.
const BACKLOG: i32 = 128;

/// As configured; the wildcard has no host.
type Place = (Option<String>, u16);

#[derive(Default)]
pub(super) struct Listeners {
    open: BTreeMap<Place, Open>,
}

struct Open {
    addresses: Vec<SocketAddr>,
    closed: CancellationToken,
}

impl Listeners {
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        let each = self.open.values().flat_map(|open| open.addresses.iter());
        each.copied().collect()
    }

    /// The key of what already listens at a place, perhaps on a port that the system chose.
    fn serving(&self, (host, port): &Place) -> Option<Place> {
        self.open
            .iter()
            .find(|((open_host, open_port), open)| {
                let is_port = open_port == port || open.addresses.iter().any(|a| a.port() == *port);
                open_host == host && is_port
            })
            .map(|(place, _)| place.clone())
    }
}

/// Binds for the first time. A server that is yet to be added has no address; it dials the others.
pub(super) async fn first(shared: &Arc<Shared>, ensemble: &Ensemble) -> Result<(), StartError> {
    let Parameters { id, joiners, .. } = shared.parameters;
    if joiners == Joiners::Refused && !ensemble.members.contains_key(&id) {
        return Err(StartError::NotAMember(id.0));
    }
    listen(shared, wanted(shared, ensemble)).await
}

/// Listens where the new ensemble wants it.
pub(super) fn follow(shared: &Arc<Shared>, ensemble: &Ensemble) {
    let wanted = wanted(shared, ensemble);
    // A server that was removed is still to be heard of by those who do not know.
    if wanted.is_empty() {
        return;
    }
    let shared = Arc::clone(shared);
    shared.tasks.clone().spawn(async move {
        let listened = tokio::select! {
            () = shared.stop.cancelled() => return,
            listened = listen(&shared, wanted) => listened,
        };
        if let Err(error) = listened {
            tracing::error!("{error}");
        }
    });
}

fn wanted(shared: &Shared, ensemble: &Ensemble) -> Vec<Place> {
    let own = ensemble.members.get(&shared.parameters.id);
    let addresses = own.map_or(&[][..], |member| &member.addresses);
    let mut places: Vec<Place> = addresses
        .iter()
        .map(|address| match shared.parameters.listen {
            Listen::OwnAddresses => (Some(address.host.clone()), address.peer_port),
            Listen::AllInterfaces => (None, address.peer_port),
        })
        .collect();
    places.sort();
    places.dedup();
    places
}

/// Opens what is missing, then closes what is not wanted.
async fn listen(shared: &Arc<Shared>, wanted: Vec<Place>) -> Result<(), StartError> {
    let mut listeners = shared.listeners.lock().await;
    let mut kept = BTreeMap::new();
    for place in wanted {
        let open = listeners
            .serving(&place)
            .and_then(|at| listeners.open.remove(&at));
        let open = match open {
            Some(open) => Some(open),
            None => match bind_patiently(shared, &place).await {
                Ok(bound) => Some(begin(shared, bound)),
                Err(error) => {
                    // What listened before goes on: better there than nowhere.
                    listeners.open.append(&mut kept);
                    return Err(error);
                }
            },
        };
        kept.extend(open.map(|open| (place, open)));
    }
    for old in std::mem::replace(&mut listeners.open, kept).into_values() {
        old.closed.cancel();
    }
    Ok(())
}

async fn bind_patiently(shared: &Shared, place: &Place) -> Result<Vec<TcpListener>, StartError> {
    let mut attempt = 0u32;
    loop {
        attempt = attempt.saturating_add(1);
        let source = match bind(place).await {
            Ok(bound) => return Ok(bound),
            Err(error) => error,
        };
        let error = StartError::Bind {
            host: place.0.clone().unwrap_or_else(|| "*".into()),
            port: place.1,
            source,
        };
        if shared
            .parameters
            .bind_attempts
            .is_some_and(|most| attempt >= most)
        {
            return Err(error);
        }
        tracing::warn!("{error}; trying again");
        sleep(BIND_AGAIN).await;
    }
}

/// Binds every address of a name; one is enough.
async fn bind((host, port): &Place) -> io::Result<Vec<TcpListener>> {
    let Some(host) = host else {
        // Where there is no IPv6, the wildcard of IPv4 is all there is.
        let any6 = SocketAddr::from(([0u16; 8], *port));
        let any4 = SocketAddr::from(([0u8; 4], *port));
        return bind_one(any6)
            .or_else(|_| bind_one(any4))
            .map(|one| vec![one]);
    };
    let (mut bound, mut failed) = (Vec::new(), None);
    for address in lookup_host((host.as_str(), *port)).await? {
        match bind_one(address) {
            Ok(listener) => bound.push(listener),
            Err(error) => failed = Some(error),
        }
    }
    match failed {
        Some(error) if bound.is_empty() => Err(error),
        None if bound.is_empty() => Err(io::ErrorKind::AddrNotAvailable.into()),
        _ => Ok(bound),
    }
}

fn bind_one(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() && address.ip().is_unspecified() {
        socket.set_only_v6(false)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

fn begin(shared: &Arc<Shared>, bound: Vec<TcpListener>) -> Open {
    let closed = shared.stop.child_token();
    let mut addresses = Vec::new();
    for listener in bound {
        addresses.extend(listener.local_addr());
        let task = accept_all(Arc::clone(shared), listener, closed.clone());
        shared.tasks.spawn(task);
    }
    Open { addresses, closed }
}

async fn accept_all(shared: Arc<Shared>, listener: TcpListener, closed: CancellationToken) {
    loop {
        let next = async {
            // Others wait in the system's backlog.
            let stranger = Arc::clone(&shared.strangers).acquire_owned().await;
            let connection = Arc::clone(&shared.connections).acquire_owned().await;
            (stranger, connection, listener.accept().await)
        };
        let (stranger, connection, accepted) = tokio::select! {
            () = closed.cancelled() => return,
            next = next => next,
        };
        let (Ok(stranger), Ok(connection)) = (stranger, connection) else {
            return;
        };
        match accepted {
            Ok((stream, from)) => {
                let tls = shared.tls;
                let task =
                    accept::serve(Arc::clone(&shared), stream, from, tls, stranger, connection);
                shared.tasks.spawn(task);
            }
            Err(error) => {
                tracing::warn!("accept a connection of a server: {error}");
                sleep(ACCEPT_AGAIN).await;
            }
        }
    }
}
