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

/// Listens for clients. `backlog` is `clientPortListenBacklog`.
///
/// # Errors
/// When the port cannot be had.
pub fn listen(address: SocketAddr, backlog: i32) -> Result<(TcpListener, SocketAddr), ListenError> {
    let backlog = match backlog {
        n if n > 0 => n,
        _ => BACKLOG,
    };
    let open = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        let listener = TcpListener::from_std(socket.into());
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|source| ListenError {
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
    })
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
        let opened = resolve(wanted)
            .and_then(|address| listen(address, self.backlog).map_err(|error| error.to_string()));
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
