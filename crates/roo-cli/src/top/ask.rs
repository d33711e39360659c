//! Which servers there are, and what they answer.

use std::io;
use std::time::Duration;

use futures_util::future::join_all;
use roo_client::ErrorKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::facts::Facts;
use crate::connect::{ConnectArguments, Failure};

/// How long a server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A longer answer is none of a server's.
const ANSWER_BYTES: u64 = 4 << 20;

/// A server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Its id, or its address where no id is known.
    pub name: String,
    /// Host and port for clients.
    pub address: String,
}

impl Place {
    /// A server whose id is not known.
    fn at(address: String) -> Self {
        let name = address.clone();
        Self { name, address }
    }
}

/// The servers of a connect string; none if SRV records name them.
///
/// # Errors
/// If there is none in it.
pub(super) fn given(hosts: &str) -> Result<Vec<Place>, Failure> {
    if hosts.starts_with("dns-srv://") {
        return Ok(Vec::new());
    }
    let hosts = hosts.split('/').next().unwrap_or_default();
    let mut places = Vec::new();
    for host in hosts
        .split(',')
        .map(str::trim)
        .filter(|host| !host.is_empty())
    {
        let address = match host.rsplit_once(':') {
            Some((name, port)) if !name.ends_with(':') && !port.ends_with(']') => {
                if port.parse::<u16>().is_err() {
                    return Err(Failure::usage(format!("{host:?}: {port:?} is no port")));
                }
                host.to_owned()
            }
            _ => format!("{host}:2181"),
        };
        places.push(Place::at(address));
    }
    if places.is_empty() {
        return Err(Failure::usage(
            "no servers are named: write -s HOST:PORT,HOST:PORT",
        ));
    }
    Ok(places)
}

/// The servers of the ensemble, as `/zookeeper/config` names them; those that were given, and why,
/// if it cannot be read.
///
/// # Errors
/// If none was given and none can be found.
pub(super) async fn ensemble(
    connect: &ConnectArguments,
    given: Vec<Place>,
) -> Result<(Vec<Place>, Option<String>), Failure> {
    let read = async {
        let mut connect = connect.clone();
        // Whoever looks wants to see what is there, soon and with or without a quorum.
        connect.read_only = true;
        connect.connect_timeout = connect.connect_timeout.or(Some(ANSWER_LIMIT));
        let client = connect.connect().await?;
        let server = client
            .server()
            .map(|address| Place::at(address.to_string()));
        let config = client.config().await;
        // Nothing of this session is needed any more.
        let _ = client.close().await;
        match config {
            Ok(node) => Ok((members(&String::from_utf8_lossy(&node.data)), server)),
            Err(error) if *error.kind() == ErrorKind::NoNode => Ok((Vec::new(), server)),
            Err(error) => Err(Failure::from(error)),
        }
    };
    match read.await {
        Ok((members, _)) if !members.is_empty() => Ok((members, None)),
        Ok((_, server)) if given.is_empty() => Ok((server.into_iter().collect(), None)),
        Ok(_) => Ok((given, None)),
        Err(failure) if given.is_empty() => Err(failure),
        Err(why) => {
            let note = format!("only the servers that were given are shown: {why}");
            Ok((given, Some(note)))
        }
    }
}

/// The same servers by their ids, where they tell them.
pub(super) async fn by_id(mut places: Vec<Place>) -> Vec<Place> {
    let unknown = |place: &&mut Place| place.name == place.address;
    let asked = places.iter_mut().filter(unknown).map(|place| async move {
        let conf = word(&place.address, "conf").await.unwrap_or_default();
        if let Some(id) = id(&conf) {
            place.name = id.to_owned();
        }
    });
    join_all(asked).await;
    places
}

/// The id in an answer to `conf`; a server that stands alone has none.
fn id(conf: &str) -> Option<&str> {
    let mut lines = conf.lines();
    let id = lines.find_map(|line| line.strip_prefix("serverId="))?;
    Some(id.trim()).filter(|id| *id != "0")
}

/// The servers of a configuration that say where clients find them.
fn members(config: &str) -> Vec<Place> {
    let member = |line: &str| {
        let (key, value) = line.split_once('=')?;
        let id = key.trim().strip_prefix("server.")?;
        let (peer, client) = value.trim().rsplit_once(';')?;
        let (host, port) = client.rsplit_once(':').unwrap_or(("", client));
        let host = match host {
            // All addresses of the machine: the one its peers use will do.
            "" | "0.0.0.0" | "[::]" | "[0:0:0:0:0:0:0:0]" => peer_host(peer)?,
            host => host,
        };
        port.parse::<u16>().ok()?;
        Some(Place {
            name: id.to_owned(),
            address: format!("{host}:{port}"),
        })
    };
    config.lines().filter_map(member).collect()
}

/// The host of `host:port:port:role`.
fn peer_host(peer: &str) -> Option<&str> {
    match peer.find(']') {
        Some(end) if peer.starts_with('[') => peer.get(..=end),
        _ => peer.split(':').next(),
    }
}

/// What a server says, or why it says nothing.
pub(super) async fn facts(address: &str) -> Result<Facts, String> {
    let (srvr, mntr) = futures_util::join!(word(address, "srvr"), word(address, "mntr"));
    let mut facts = Facts::of_srvr(&srvr?)?;
    if let Ok(mntr) = mntr {
        facts.add_mntr(&mntr);
    }
    Ok(facts)
}

/// The answer to a word.
async fn word(address: &str, word: &str) -> Result<String, String> {
    let talk = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(word.as_bytes()).await?;
        let mut answer = Vec::new();
        stream.take(ANSWER_BYTES).read_to_end(&mut answer).await?;
        io::Result::Ok(String::from_utf8_lossy(&answer).into_owned())
    };
    match timeout(ANSWER_LIMIT, talk).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(error)) => Err(format!("not reachable: {error}")),
        Err(_) => Err(format!("no answer within {} s", ANSWER_LIMIT.as_secs())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(places: &[Place]) -> Vec<&str> {
        places.iter().map(|place| place.address.as_str()).collect()
    }

    #[test]
    fn servers_are_found_in_a_connect_string() {
        let places = given("a:1,b, [::1]:3,[::2]/chroot").unwrap();
        assert_eq!(
            addresses(&places),
            ["a:1", "b:2181", "[::1]:3", "[::2]:2181"]
        );
        assert!(given("").is_err() && given("/chroot").is_err());
        assert!(given("a:x").unwrap_err().text.contains("is no port"));
    }

    #[test]
    fn a_server_of_an_ensemble_tells_its_id() {
        assert_eq!(id("clientPort=2181\nserverId=3\ninitLimit=10\n"), Some("3"));
        assert_eq!(id("serverId=0\n"), None);
        assert_eq!(
            id("conf is not executed because it is not in the whitelist."),
            None
        );
    }

    #[test]
    fn servers_are_found_in_a_configuration() {
        let config = "server.1=a:2888:3888:participant;0.0.0.0:2181\n\
            server.2=[::1]:2888:3888:observer;2182\nserver.3=c:2888:3888;d:2183\n\
            server.4=c:2888:3888\nversion=0\n";
        let places = members(config);
        assert_eq!(addresses(&places), ["a:2181", "[::1]:2182", "d:2183"]);
        assert_eq!(places[1].name, "2");
    }
}
