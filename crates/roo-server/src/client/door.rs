//! Where clients knock: bound at the start, and elsewhere when a reconfiguration gives this server
//! another client address. Java: `ServerCnxnFactory.reconfigure`.
//!
//! Connections that are open stay; only new ones must know the new address.

use std::io;
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::sync::Arc;

use mio::net::TcpListener;
use parking_lot::Mutex;
use roo_proto::ensemble::{ClientAddress, Ensemble};
use roo_proto::ids::ServerId;
use socket2::{Domain, Socket, Type};
use thiserror::Error;

use crate::shared_state::Shared;

/// How many connections may wait to be accepted when the key says nothing.
const BACKLOG: i32 = 1024;

/// A port that cannot be had.
#[derive(Debug, Error)]
#[error("cannot listen on {address}: {source}; {advice}")]
pub struct ListenError {
    /// Where.
    pub address: SocketAddr,
    /// The operating system's answer.
    pub source: io::Error,
    /// What to do.
    pub advice: &'static str,
}

/// A port for clients that is taken and does not listen: the system refuses connections, and
/// clients try another server instead of waiting for one that loads.
#[derive(Debug)]
pub struct Port {
    socket: Socket,
    /// Where it will listen.
    pub address: SocketAddr,
}

impl Port {
    /// Takes a port; 0 is any that is free.
    ///
    /// # Errors
    /// When the port cannot be had.
    pub fn take(address: SocketAddr) -> Result<Self, ListenError> {
        let open = || -> io::Result<Self> {
            let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
            socket.set_reuse_address(true)?;
            if address.is_ipv6() {
                socket.set_only_v6(false)?;
            }
            socket.set_nonblocking(true)?;
            socket.bind(&address.into())?;
            let bound = socket.local_addr()?.as_socket();
            Ok(Self {
                socket,
                address: bound.unwrap_or(address),
            })
        };
        open().map_err(|error| cannot_listen(address, error))
    }

    /// Begins to listen. `backlog` is `clientPortListenBacklog`.
    ///
    /// # Errors
    /// When another program has begun to since the port was taken.
    pub fn listen(self, backlog: i32) -> Result<TcpListener, ListenError> {
        let backlog = if backlog > 0 { backlog } else { BACKLOG };
        let listening = self.socket.listen(backlog);
        listening.map_err(|error| cannot_listen(self.address, error))?;
        Ok(TcpListener::from_std(self.socket.into()))
    }
}

fn cannot_listen(address: SocketAddr, source: io::Error) -> ListenError {
    ListenError {
        address,
        advice: match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program uses the port: stop it or choose another clientPort"
            }
            io::ErrorKind::AddrNotAvailable => {
                "clientPortAddress must be an address of this machine"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges: choose another clientPort"
            }
            _ => "check clientPort and clientPortAddress",
        },
        source,
    }
}

/// The door of a member of an ensemble.
pub struct Door {
    /// What the server shares; its first I/O thread accepts.
    pub shared: Arc<Shared>,
    /// `clientPortListenBacklog`.
    pub backlog: i32,
    /// Where clients connect now.
    pub at: Mutex<Option<SocketAddr>>,
}

impl Door {
    /// Listens where this server's line wants it. A line without a client address changes nothing,
    /// nor does one that only names another host of the port that is open: the port cannot be
    /// bound twice.
    pub fn follow(&self, ensemble: &Ensemble, me: ServerId) {
        let member = ensemble.members.get(&me);
        let Some(wanted) = member.and_then(|member| member.client.as_ref()) else {
            return;
        };
        let mut at = self.at.lock();
        if at.is_some_and(|at| at.port() == wanted.port) {
            return;
        }
        let open = |address| {
            let port = Port::take(address)?;
            let address = port.address;
            Ok((port.listen(self.backlog)?, address))
        };
        let opened = resolve(wanted)
            .and_then(|address| open(address).map_err(|error: ListenError| error.to_string()));
        match opened {
            Ok((listener, address)) => {
                tracing::info!(%address, "clients connect here");
                *at = Some(address);
                if let Some(io) = self.shared.io.first() {
                    *io.moved.lock() = Some(listener);
                    io.notify();
                }
            }
            Err(error) => tracing::error!(
                "clients cannot connect where this server's line says: {error}; give the line \
                 another client address by reconfig"
            ),
        }
    }
}

fn resolve(wanted: &ClientAddress) -> Result<SocketAddr, String> {
    let ClientAddress { host, port } = wanted;
    let found = (host.as_str(), *port).to_socket_addrs();
    let mut found = found.map_err(|error| format!("resolve {host}: {error}"))?;
    let first = found
        .next()
        .ok_or_else(|| format!("{host} has no address"))?;
    // IPv4's wildcard would leave out IPv6, which Java's does not.
    Ok(match first.ip() {
        wildcard if wildcard.is_unspecified() => SocketAddr::new(IpAddr::from([0_u16; 8]), *port),
        _ => first,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpStream;

    #[test]
    fn a_port_that_is_taken_refuses_connections_until_it_listens() {
        let port = Port::take(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
        let address = port.address;
        let refused = TcpStream::connect(address).unwrap_err();
        assert_eq!(refused.kind(), io::ErrorKind::ConnectionRefused);
        let _listener = port.listen(-1).unwrap();
        TcpStream::connect(address).unwrap();
        let taken = Port::take(address).unwrap_err();
        assert_eq!(taken.source.kind(), io::ErrorKind::AddrInUse);
    }
}
