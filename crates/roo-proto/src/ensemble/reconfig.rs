//! What a client's reconfig makes of an ensemble, or why it is refused. Java:
//! `PrepRequestProcessor`, case reconfig.
//!
//! The caller has checked before that reconfiguration is on, the session lives and this is no
//! standalone server; it checks behind that a quorum of the result is in step
//! (`NEW_CONFIG_NO_QUORUM`) and that the client may write `/zookeeper/config`, in this order.

use alloc::borrow::ToOwned;
use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::net::IpAddr;

use super::member::parse_keyed;
use super::{Ensemble, EnsembleError, Fault, Member, Voting};
use crate::error_code::ErrorCode;
use crate::ids::{ServerId, Zxid};
use crate::request::Reconfig;

/// What the leader knows when a reconfig is prepared.
#[derive(Clone, Copy, Debug)]
pub struct Standing<'a> {
    /// In force.
    pub committed: &'a Ensemble,
    /// Proposed last; of the same version as `committed` when nothing is under way.
    pub last_seen: &'a Ensemble,
    /// Voters an ensemble needs: 2 where one server would serve alone (`standaloneEnabled`), else
    /// 1.
    pub fewest_voters: usize,
}

/// Why not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The client's answer.
    pub code: ErrorCode,
    /// For the log.
    pub why: String,
}

/// The ensemble a reconfig asks for; its version is the zxid of the reconfig's transaction.
///
/// # Errors
/// The first of: another one under way, not the version the client knows, strings that cannot be
/// meant, too few voters.
pub fn plan(
    request: &Reconfig<'_>,
    standing: &Standing<'_>,
    zxid: Zxid,
) -> Result<Ensemble, Refusal> {
    let last_seen = standing.last_seen;
    if last_seen.version != standing.committed.version {
        let why = "another reconfiguration is under way";
        return Err(refusal(ErrorCode::RECONFIG_IN_PROGRESS, why));
    }
    if request.config_id != -1 && request.config_id != last_seen.version {
        let (asked, known) = (request.config_id, last_seen.version);
        let why = format!("version {asked:x} is to be changed, {known:x} is in force");
        return Err(refusal(ErrorCode::BAD_VERSION, &why));
    }
    let mut next = match &request.new_members {
        Some(members) => replaced(members, standing.fewest_voters)?,
        None => {
            let joining = request.joining_servers.as_deref().unwrap_or_default();
            let leaving = request.leaving_servers.as_deref().unwrap_or_default();
            changed(last_seen, joining, leaving)?
        }
    };
    if next.voters().count() < standing.fewest_voters {
        let fewest = standing.fewest_voters;
        let why = format!("at least {fewest} participants are needed");
        return Err(refusal(ErrorCode::BAD_ARGUMENTS, &why));
    }
    next.version = zxid.0;
    Ok(next)
}

/// A whole new list, with commas or line ends between its entries.
fn replaced(members: &str, fewest_voters: usize) -> Result<Ensemble, Refusal> {
    let next = Ensemble::parse(&members.replace(',', "\n"))?;
    let voters = next.voters().count();
    if voters < fewest_voters && voters < next.members.len() {
        let why = "observers need participants to follow";
        return Err(refusal(ErrorCode::MARSHALLING_ERROR, why));
    }
    Ok(next)
}

/// The list without those who leave and with those who join, in this order.
fn changed(last_seen: &Ensemble, joining: &str, leaving: &str) -> Result<Ensemble, Refusal> {
    if last_seen.voting != Voting::Majority {
        let why = "with groups and weights the whole list of members must be given";
        return Err(refusal(ErrorCode::BAD_ARGUMENTS, why));
    }
    let mut members = last_seen.members.clone();
    for id in entries(leaving) {
        members.remove(&server_id(id)?);
    }
    for entry in entries(joining) {
        let parts: Vec<&str> = entry.split('=').map(str::trim).collect();
        let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let [key, text] = parts.as_slice() else {
            let why = format!("{entry}: expected server.N=HOST:PORT:PORT;PORT");
            return Err(refusal(ErrorCode::BAD_ARGUMENTS, &why));
        };
        let id = server_id(key.rsplit('.').next().unwrap_or_default())?;
        let member = parse_keyed(key, text)?;
        if member.client.is_none() {
            let why = format!("{entry}: expected a client port behind a semicolon");
            return Err(refusal(ErrorCode::BAD_ARGUMENTS, &why));
        }
        refuse_clashes(id, &member, &members)?;
        members.insert(id, member);
    }
    Ok(Ensemble {
        version: last_seen.version,
        members,
        voting: Voting::Majority,
    })
}

/// What stands between commas; nothing is no entry. Java: `StringUtils.split`.
fn entries(text: &str) -> impl Iterator<Item = &str> {
    let entries = text.split(',').map(str::trim);
    entries.filter(|entry| !entry.is_empty())
}

fn server_id(text: &str) -> Result<ServerId, Refusal> {
    text.parse().map(ServerId).map_err(|_| {
        let why = format!("{text}: expected the id of a server");
        refusal(ErrorCode::MARSHALLING_ERROR, &why)
    })
}

/// No two servers may share an address, but for loopback and wildcards, where they may be on
/// different machines.
// Compat: C-40 - hosts are compared as they are written, not resolved.
fn refuse_clashes(
    id: ServerId,
    joiner: &Member,
    members: &BTreeMap<ServerId, Member>,
) -> Result<(), Refusal> {
    let mine = addresses(joiner);
    for (other, member) in members.iter().filter(|(other, _)| **other != id) {
        if let Some((host, port)) = addresses(member).iter().find(|a| mine.contains(a)) {
            let (id, other) = (id.0, other.0);
            let why = format!("{host}:{port} of server.{id} is of server.{other}");
            return Err(refusal(ErrorCode::BAD_ARGUMENTS, &why));
        }
    }
    Ok(())
}

/// The addresses that may clash.
fn addresses(member: &Member) -> Vec<(String, u16)> {
    let peers = member.addresses.iter().flat_map(|address| {
        let ports = [Some(address.peer_port), address.election_port];
        ports
            .into_iter()
            .flatten()
            .map(|port| (address.host.to_ascii_lowercase(), port))
    });
    let client = member.client.iter();
    let client = client.map(|client| (client.host.to_ascii_lowercase(), client.port));
    let all = peers.chain(client);
    all.filter(|(host, _)| !is_everywhere(host)).collect()
}

/// Whether the host stands for every machine.
fn is_everywhere(host: &str) -> bool {
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback() || address.is_unspecified(),
        Err(_) => host == "localhost",
    }
}

impl From<EnsembleError> for Refusal {
    fn from(error: EnsembleError) -> Self {
        let code = match error.fault {
            Fault::Form => ErrorCode::BAD_ARGUMENTS,
            Fault::Value => ErrorCode::MARSHALLING_ERROR,
        };
        refusal(code, &error.to_string())
    }
}

fn refusal(code: ErrorCode, why: &str) -> Refusal {
    Refusal {
        code,
        why: why.to_owned(),
    }
}
