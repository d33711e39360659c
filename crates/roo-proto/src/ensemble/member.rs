//! One server's string: `host:peerPort[:electionPort][:role][|...][;[clientHost:]clientPort]`.
//! Java: `QuorumServer.initializeWithAddressString` and `toString`.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;
use core::net::Ipv6Addr;

use super::{ClientAddress, EnsembleError, Fault, Member, MemberRole, PeerAddress};

const FORM: &str = "host:peerPort:electionPort[:participant|observer][;[clientHost:]clientPort], \
                    more addresses behind |, IPv6 in brackets";

/// What is wrong with a part of the string; the key and the whole string come later.
type Wrong = (Fault, String);

/// Reads one server's string. Addresses come back in the order of their hosts, IPv6 literals as
/// Java writes them. The election port may be left out, which Apache's servers do not understand.
///
/// # Errors
/// What was expected; the key is `server`.
pub fn parse_member(text: &str) -> Result<Member, EnsembleError> {
    parse_keyed("server", text)
}

pub(super) fn parse_keyed(key: &str, text: &str) -> Result<Member, EnsembleError> {
    parse(text.trim()).map_err(|(fault, expected)| EnsembleError {
        fault,
        key: key.to_owned(),
        value: Some(text.trim().to_owned()),
        expected,
    })
}

fn parse(text: &str) -> Result<Member, Wrong> {
    let mut parts = text.trim_end_matches(';').split(';');
    let servers = parts.next().unwrap_or_default();
    let client = match parts.next() {
        None | Some("") => None,
        Some(client) => Some(client_address(client.trim())?),
    };
    if parts.next().is_some() {
        let expected = "no secure client port behind a second semicolon: \
                        TLS for clients is not supported";
        return Err((Fault::Form, expected.to_owned()));
    }
    let mut role = None;
    let mut addresses: Vec<PeerAddress> = Vec::new();
    for server in servers.split('|') {
        let (address, named) = peer_address(server.trim())?;
        match (role, named) {
            (Some(known), Some(other)) if known != other => {
                let expected = "the same role behind every address of a server";
                return Err((Fault::Form, expected.to_owned()));
            }
            (None, Some(named)) => role = Some(named),
            (_, _) => {}
        }
        if !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    addresses.sort_by(|a, b| a.host.cmp(&b.host));
    Ok(Member {
        addresses,
        role: role.unwrap_or(MemberRole::Voter),
        client,
    })
}

// Compat: C-41 - the election port may be missing.
fn peer_address(text: &str) -> Result<(PeerAddress, Option<MemberRole>), Wrong> {
    let form = || (Fault::Form, FORM.to_owned());
    let (host, rest) = split_host(text)?;
    let mut parts: Vec<&str> = rest.split(':').map(str::trim).collect();
    while parts.last().is_some_and(|part| part.is_empty()) {
        parts.pop();
    }
    let numeric = |text: &str| text.starts_with(|c: char| c.is_ascii_digit() || "+-".contains(c));
    let (peer, election, role) = match parts.as_slice() {
        [peer] => (*peer, None, None),
        [peer, election] if numeric(election) => (*peer, Some(*election), None),
        [peer, role] => (*peer, None, Some(*role)),
        [peer, election, role] => (*peer, Some(*election), Some(*role)),
        _ => return Err(form()),
    };
    let peer_port = port(peer, 1, "a peer port")?;
    let election_port = election
        .map(|text| port(text, 1, "an election port"))
        .transpose()?;
    if election_port == Some(peer_port) {
        let expected = "an election port that is not the peer port";
        return Err((Fault::Form, expected.to_owned()));
    }
    let role = match role.map(str::to_ascii_lowercase).as_deref() {
        None => None,
        Some("participant") => Some(MemberRole::Voter),
        Some("observer") => Some(MemberRole::Observer),
        Some(_) => {
            let expected = "the role participant or observer behind the ports";
            return Err((Fault::Form, expected.to_owned()));
        }
    };
    let address = PeerAddress {
        host,
        peer_port,
        election_port,
    };
    Ok((address, role))
}

fn client_address(text: &str) -> Result<ClientAddress, Wrong> {
    if !text.contains(':') {
        return Ok(ClientAddress {
            host: "0.0.0.0".to_owned(),
            port: port(text, 0, "a client port")?,
        });
    }
    let (host, rest) = split_host(text)?;
    Ok(ClientAddress {
        host,
        port: port(rest.trim(), 0, "a client port")?,
    })
}

/// The host and what follows its colon.
fn split_host(text: &str) -> Result<(String, &str), Wrong> {
    let form = || (Fault::Form, FORM.to_owned());
    let (host, rest) = match text.strip_prefix('[') {
        Some(bracketed) => {
            let (host, rest) = bracketed.split_once(']').ok_or_else(form)?;
            (host, rest.strip_prefix(':').ok_or_else(form)?)
        }
        None => text.split_once(':').ok_or_else(form)?,
    };
    let host = host.trim();
    let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if host.contains(':') {
        let expected = "an IPv6 address between the brackets";
        let host = java_ipv6(host).ok_or_else(|| (Fault::Form, expected.to_owned()))?;
        Ok((host, rest))
    } else if !host.is_empty() && host.chars().all(named) {
        Ok((host.to_owned(), rest))
    } else {
        let expected = "a host name or address in front of the ports, IPv6 in brackets";
        Err((Fault::Form, expected.to_owned()))
    }
}

/// An IPv6 literal as Java writes it: eight groups without zeros in front, the zone kept, an IPv4
/// address in disguise as such. Java: `Inet6Address.getHostAddress`.
fn java_ipv6(text: &str) -> Option<String> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    if let (Some(v4), None) = (address.to_ipv4_mapped(), zone) {
        return Some(v4.to_string());
    }
    let groups: Vec<String> = address.segments().map(|group| format!("{group:x}")).into();
    let mut out = groups.join(":");
    if let Some(zone) = zone {
        let named = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if zone.is_empty() || !zone.chars().all(named) {
            return None;
        }
        out.push('%');
        out.push_str(zone);
    }
    Some(out)
}

fn port(text: &str, low: u16, what: &str) -> Result<u16, Wrong> {
    let expected = || format!("{what}, {low} to 65535, not {text:?}");
    let number: i64 = text.parse().map_err(|_| (Fault::Form, expected()))?;
    u16::try_from(number)
        .ok()
        .filter(|port| *port >= low)
        .ok_or_else(|| (Fault::Value, expected()))
}

/// The string as Java writes it. Java: `QuorumServer.toString`.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut addresses: Vec<&PeerAddress> = self.addresses.iter().collect();
        addresses.sort_by(|a, b| a.host.cmp(&b.host));
        for (at, address) in addresses.into_iter().enumerate() {
            if at > 0 {
                f.write_str("|")?;
            }
            write_host(f, &address.host)?;
            write!(f, ":{}", address.peer_port)?;
            if let Some(port) = address.election_port {
                write!(f, ":{port}")?;
            }
        }
        f.write_str(match self.role {
            MemberRole::Voter => ":participant",
            MemberRole::Observer => ":observer",
        })?;
        if let Some(client) = &self.client {
            f.write_str(";")?;
            write_host(f, &client.host)?;
            write!(f, ":{}", client.port)?;
        }
        Ok(())
    }
}

fn write_host(f: &mut fmt::Formatter<'_>, host: &str) -> fmt::Result {
    if host.contains(':') {
        write!(f, "[{host}]")
    } else {
        f.write_str(host)
    }
}
