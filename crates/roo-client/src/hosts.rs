//! Reading connect strings: `host:port,host:port/chroot`, or `dns-srv://name/chroot`. Pure; turning
//! names into addresses is the driver's.

use std::fmt;
use std::net::IpAddr;

use roo_proto::path;

use crate::error::{Error, ErrorKind, Result};

/// The port of servers where a connect string names none.
pub const DEFAULT_PORT: u16 = 2181;

/// The servers of an ensemble by name, and the node that paths are relative to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hosts {
    /// Where the servers are found.
    pub servers: Servers,
    /// Empty, or a path that all paths are below; without a slash at its end.
    pub chroot: String,
}

/// Where the servers are found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Servers {
    /// At these hosts.
    Listed(Vec<Host>),
    /// Wherever the SRV records of this name say.
    DnsSrv(String),
}

/// One server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// A name or an IP address (without brackets).
    pub name: String,
    /// Its port for clients.
    pub port: u16,
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.name.contains(':') {
            write!(f, "[{}]:{}", self.name, self.port)
        } else {
            write!(f, "{}:{}", self.name, self.port)
        }
    }
}

/// Reads a connect string. An IPv6 address stands in brackets if a port follows.
///
/// # Errors
/// [`ErrorKind::BadConnectString`] that says which part is wrong.
pub fn parse(text: &str) -> Result<Hosts> {
    read(text).map_err(|what| Error::new(ErrorKind::BadConnectString(what), "connect"))
}

fn read(text: &str) -> Result<Hosts, String> {
    const SRV: &str = "dns-srv://";
    let srv = text.strip_prefix(SRV);
    let rest = srv.unwrap_or(text);
    let (servers, chroot) = match rest.find('/') {
        Some(at) => rest.split_at(at),
        None => (rest, ""),
    };
    let chroot = if chroot == "/" { "" } else { chroot };
    let servers = if srv.is_some() {
        if servers.is_empty() || servers.contains([',', ':', ' ']) {
            return Err(format!("{SRV} wants one name, not {servers:?}"));
        }
        Servers::DnsSrv(servers.to_owned())
    } else {
        let hosts = servers.split(',').map(str::trim);
        Servers::Listed(hosts.map(host).collect::<Result<_, _>>()?)
    };
    if !chroot.is_empty() && !path::is_valid(chroot) {
        return Err(format!("{chroot:?} is no path of a node"));
    }
    Ok(Hosts {
        servers,
        chroot: chroot.to_owned(),
    })
}

fn host(text: &str) -> Result<Host, String> {
    if text.is_empty() {
        return Err("a host is missing: expected host:port,host:port/chroot".into());
    }
    let port = |digits: &str| {
        let port = digits.parse().ok().filter(|port| *port != 0);
        port.ok_or_else(|| format!("{text:?} has no port from 1 to 65535"))
    };
    let (name, port) = if let Some(rest) = text.strip_prefix('[') {
        let Some((name, rest)) = rest.split_once(']') else {
            return Err(format!("{text:?} lacks a closing bracket"));
        };
        let digits = match rest.strip_prefix(':') {
            Some(digits) => port(digits)?,
            None if rest.is_empty() => DEFAULT_PORT,
            None => return Err(format!("{text:?} has something else than :port behind ]")),
        };
        (name, digits)
    } else if text.parse::<IpAddr>().is_ok() {
        (text, DEFAULT_PORT)
    } else if let Some((name, digits)) = text.rsplit_once(':') {
        (name, port(digits)?)
    } else {
        (text, DEFAULT_PORT)
    };
    let is_bad =
        |c: char| c.is_whitespace() || c.is_control() || matches!(c, '[' | ']' | '@' | '?');
    let is_ip = name.parse::<IpAddr>().is_ok();
    if name.is_empty() || name.contains(is_bad) || (name.contains(':') && !is_ip) {
        return Err(format!("{text:?} is no host"));
    }
    Ok(Host {
        name: name.to_owned(),
        port,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(text: &str) -> (Vec<String>, String) {
        let hosts = parse(text).unwrap();
        let Servers::Listed(list) = hosts.servers else {
            panic!("a list");
        };
        (list.iter().map(Host::to_string).collect(), hosts.chroot)
    }

    #[test]
    fn every_form_of_a_host_is_understood() {
        let (hosts, chroot) = listed("a, b:1,[::1]:2,[::2],::3,10.0.0.1/x/y");
        let expected = [
            "a:2181",
            "b:1",
            "[::1]:2",
            "[::2]:2181",
            "[::3]:2181",
            "10.0.0.1:2181",
        ];
        assert_eq!(hosts, expected);
        assert_eq!(chroot, "/x/y");
        assert_eq!(listed("a/").1, "");
    }

    #[test]
    fn a_name_with_srv_records_may_have_a_chroot() {
        let hosts = parse("dns-srv://zk.example/app").unwrap();
        assert_eq!(hosts.servers, Servers::DnsSrv("zk.example".into()));
        assert_eq!(hosts.chroot, "/app");
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("", "host is missing"),
            ("a,,b", "host is missing"),
            ("a:0", "\"a:0\""),
            ("a:x", "\"a:x\""),
            ("a:70000", "\"a:70000\""),
            ("[::1", "closing bracket"),
            ("[::1]x", "behind ]"),
            ("a b", "no host"),
            ("http://a", "\"http:\""),
            ("a/b/", "\"/b/\""),
            ("a//b", "\"//b\""),
            ("dns-srv://", "one name"),
            ("dns-srv://a,b", "one name"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.contains(part), "{text:?}: {error}");
            assert!(!error.contains('\n'));
        }
    }
}
