//! Names to addresses.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::net::lookup_host;
use tokio::time::timeout;

use crate::hosts::{Host, Servers};

/// Looks all names up at once, each for no longer than `wait`: what was found, and one line for
/// each that was not.
pub(super) async fn all(servers: &Servers, wait: Duration) -> (Vec<SocketAddr>, Vec<String>) {
    let hosts = match servers {
        Servers::Listed(hosts) => hosts.clone(),
        Servers::DnsSrv(name) => match timeout(wait, srv(name)).await {
            Ok(Ok(hosts)) => hosts,
            Ok(Err(why)) => return (Vec::new(), vec![format!("SRV records of {name}: {why}")]),
            Err(_) => {
                return (
                    Vec::new(),
                    vec![format!("SRV records of {name}: no answer")],
                );
            }
        },
    };
    let found = join_all(hosts.iter().map(|host| one(host, wait))).await;
    let mut addresses = Vec::new();
    let mut failures = Vec::new();
    for result in found {
        match result {
            Ok(list) => addresses.extend(list),
            Err(why) => failures.push(why),
        }
    }
    (addresses, failures)
}

async fn one(host: &Host, wait: Duration) -> Result<Vec<SocketAddr>, String> {
    if let Ok(ip) = host.name.parse::<IpAddr>() {
        return Ok(vec![SocketAddr::new(ip, host.port)]);
    }
    match timeout(wait, lookup_host((host.name.as_str(), host.port))).await {
        Ok(Ok(found)) => Ok(found.collect()),
        Ok(Err(error)) => Err(format!("{host}: {error}")),
        Err(_) => Err(format!("{host}: the name was not looked up in time")),
    }
}

#[cfg(feature = "dns-srv")]
async fn srv(name: &str) -> Result<Vec<Host>, String> {
    use hickory_resolver::TokioResolver;
    use hickory_resolver::proto::rr::RData;
    let resolver = TokioResolver::builder_tokio().and_then(|builder| builder.build());
    let resolver = resolver.map_err(|error| error.to_string())?;
    let lookup = resolver.srv_lookup(name).await;
    let lookup = lookup.map_err(|error| error.to_string())?;
    let hosts = lookup
        .answers()
        .iter()
        .filter_map(|record| match &record.data {
            RData::SRV(srv) => Some(Host {
                name: srv.target.to_utf8().trim_end_matches('.').to_owned(),
                port: srv.port,
            }),
            _ => None,
        });
    Ok(hosts.collect())
}

#[cfg(not(feature = "dns-srv"))]
async fn srv(_: &str) -> Result<Vec<Host>, String> {
    Err("this client was built without the feature dns-srv".into())
}
