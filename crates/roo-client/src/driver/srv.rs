//! `dns-srv://name`: which servers there are, as the SRV records of a name say (RFC 2782).
//! Priorities are kept, weights are not: the servers of one priority are all alike.

use std::net::SocketAddr;
use std::time::Duration;

use futures_util::future::join_all;
use hickory_resolver::TokioResolver;
use hickory_resolver::config::{ConnectionConfig, NameServerConfig, ResolverConfig};
use hickory_resolver::net::NetError;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::proto::rr::RData;
use hickory_resolver::proto::rr::rdata::SRV;
use tokio::time::timeout;

use super::resolve::{Found, Lookup, gathered};
use crate::session::Place;

/// Targets of one name. Limit: pieces.
const TARGETS_MAX: usize = 256;

/// Looks up a name, then the targets of its records all at once.
pub(super) async fn all(name: &str, lookup: Lookup) -> Result<Found, String> {
    let resolver = resolver(lookup)?;
    let records = match timeout(lookup.wait, resolver.srv_lookup(name)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(error)) => return Err(why(&error)),
        Err(_) => return Err("no name server answers".into()),
    };
    let mut targets = Vec::new();
    for record in records.answers() {
        if let RData::SRV(target) = &record.data {
            targets.push(target);
        }
    }
    // A root as the only target says that there is no such service.
    targets.retain(|target| !target.target.is_root());
    if targets.is_empty() {
        return Err("the name has none".into());
    }
    targets.truncate(TARGETS_MAX);
    let places = targets
        .iter()
        .map(|target| one(&resolver, target, lookup.wait));
    Ok(gathered(join_all(places).await))
}

async fn one(resolver: &TokioResolver, srv: &SRV, wait: Duration) -> Result<Vec<Place>, String> {
    let name = srv.target.to_string();
    let name = format!("{}:{}", name.trim_end_matches('.').escape_debug(), srv.port);
    match timeout(wait, resolver.lookup_ip(srv.target.clone())).await {
        Ok(Ok(found)) => {
            let place = |ip| Place {
                address: SocketAddr::new(ip, srv.port),
                priority: srv.priority,
            };
            Ok(found.iter().map(place).collect())
        }
        Ok(Err(error)) if error.is_no_records_found() => Err(format!("{name}: has no address")),
        Ok(Err(error)) => Err(format!("{name}: {}", why(&error))),
        Err(_) => Err(format!("{name}: no name server answers")),
    }
}

/// Made for each round of attempts: what the system says of name servers may have changed.
fn resolver(lookup: Lookup) -> Result<TokioResolver, String> {
    let builder = match lookup.name_server {
        None => TokioResolver::builder_tokio(),
        Some(address) => {
            let connections = [ConnectionConfig::udp(), ConnectionConfig::tcp()];
            let connections = connections.map(|mut connection| {
                connection.port = address.port();
                connection
            });
            let server = NameServerConfig::new(address.ip(), true, connections.into());
            let config = ResolverConfig::from_name_servers(vec![server]);
            let provider = TokioRuntimeProvider::default();
            Ok(TokioResolver::builder_with_config(config, provider))
        }
    };
    let built = builder.and_then(|builder| builder.build());
    built.map_err(|error| format!("no name servers are known: {}", why(&error)))
}

/// In one line.
fn why(error: &NetError) -> String {
    if error.is_nx_domain() {
        "there is no such name".into()
    } else if error.is_no_records_found() {
        "the name has none".into()
    } else if matches!(error, NetError::Timeout) {
        "no name server answers".into()
    } else {
        error.to_string().replace('\n', " ")
    }
}
