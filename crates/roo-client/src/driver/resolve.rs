//! Names to addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::hosts::{Host, Servers};
use crate::session::Place;

/// How names are looked up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Lookup {
    /// How long each question may take.
    pub(super) wait: Duration,
    /// Whom to ask for SRV records and what they name, instead of the system's name servers.
    #[cfg_attr(not(feature = "dns-srv"), expect(dead_code))]
    pub(super) name_server: Option<SocketAddr>,
}

/// Places, and one line for each name that was not found.
pub(super) type Found = (Vec<Place>, Vec<String>);

/// Looks all names up at once.
pub(super) async fn all(servers: &Servers, lookup: Lookup) -> Found {
    match servers {
        Servers::Listed(hosts) => {
            let found = join_all(hosts.iter().map(|host| one(host, lookup.wait))).await;
            gathered(found)
        }
        Servers::DnsSrv(name) => srv(name, lookup).await,
    }
}

/// What was found of each host.
pub(super) fn gathered(found: Vec<Result<Vec<Place>, String>>) -> Found {
    let mut all = Found::default();
    for result in found {
        match result {
            Ok(places) => all.0.extend(places),
            Err(why) => all.1.push(why),
        }
    }
    all
}

async fn one(host: &Host, wait: Duration) -> Result<Vec<Place>, String> {
    if let Ok(ip) = host.name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, host.port).into()]);
    }
    match timeout(wait, lookup_host((host.name.as_str(), host.port))).await {
        Ok(Ok(found)) => Ok(found.map(Place::from).collect()),
        Ok(Err(error)) => Err(format!("{host}: {error}")),
        Err(_) => Err(format!("{host}: the name was not looked up in time")),
    }
}

#[cfg(feature = "dns-srv")]
async fn srv(name: &str, lookup: Lookup) -> Found {
    match super::srv::all(name, lookup).await {
        Ok(found) => found,
        Err(why) => (Vec::new(), vec![format!("SRV records of {name}: {why}")]),
    }
}

#[cfg(not(feature = "dns-srv"))]
async fn srv(name: &str, _: Lookup) -> Found {
    let why = format!("SRV records of {name}: this client was built without the feature dns-srv");
    (Vec::new(), vec![why])
}
