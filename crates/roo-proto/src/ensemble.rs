//! Who belongs to an ensemble: ids, addresses, roles, weights; as data and as the text of
//! `server.N` lines and dynamic configuration files. Java: `QuorumVerifier`, `QuorumServer`.
//!
//! In reading order: the types, then `member` one server's string, `text` the whole text and the
//! files, [`reconfig`] what a client's request makes of an ensemble. Nothing here resolves names.

mod member;
pub mod reconfig;
mod text;

pub use member::parse_member;
pub use text::{parse_text_version, text_version};

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

use crate::ids::ServerId;

/// What a member does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MemberRole {
    /// It votes. Java: participant.
    Voter,
    /// It learns without a vote.
    Observer,
}

/// One address of a member's peer ports. The host is as configured, never resolved here.
/// [`parse_member`] writes an IPv6 literal as Java does, `0:0:0:0:0:0:0:1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct PeerAddress {
    /// Name or literal; an IPv6 literal without its brackets.
    pub host: String,
    /// Port of links between servers.
    pub peer_port: u16,
    /// Port of Apache's elections; `None` where the text leaves it out (gRPC needs only the
    /// peer port).
    pub election_port: Option<u16>,
}

/// Where clients connect.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ClientAddress {
    /// Name or literal; the wildcard address where the text names only a port.
    pub host: String,
    /// Its port.
    pub port: u16,
}

/// A configured server.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Member {
    /// At least one.
    pub addresses: Vec<PeerAddress>,
    /// What it does.
    pub role: MemberRole,
    /// Where its clients connect, if the text says so.
    pub client: Option<ClientAddress>,
}

/// Which sets of voters are quorums.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Voting {
    /// More than half of the voters. Java: `QuorumMaj`.
    #[default]
    Majority,
    /// More than half of the groups that weigh anything, each with more than half of its weight.
    /// Java: `QuorumHierarchical`.
    Hierarchical {
        /// Every voter stands in exactly one group.
        groups: BTreeMap<i64, BTreeSet<ServerId>>,
        /// Voters that are not named weigh 1.
        weights: BTreeMap<ServerId, u64>,
    },
}

/// The configured servers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Ensemble {
    /// zxid of the reconfiguration that put it in force; 0 for one that was never changed.
    pub version: i64,
    /// By id.
    pub members: BTreeMap<ServerId, Member>,
    /// Which sets are quorums.
    pub voting: Voting,
}

impl Ensemble {
    /// Whether this server votes.
    #[must_use]
    pub fn is_voter(&self, id: ServerId) -> bool {
        self.members
            .get(&id)
            .is_some_and(|member| member.role == MemberRole::Voter)
    }

    /// Those who vote, in the order of their ids.
    pub fn voters(&self) -> impl Iterator<Item = ServerId> + '_ {
        self.members
            .iter()
            .filter(|(_, member)| member.role == MemberRole::Voter)
            .map(|(id, _)| *id)
    }

    /// Whether Java takes both for the same configuration: of equal kind, and of equal version or
    /// with the same members, groups and weights. `==` compares everything.
    /// Java: `QuorumMaj.equals`, `QuorumHierarchical.equals`.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let voting = match (&self.voting, &other.voting) {
            (Voting::Majority, Voting::Majority) => true,
            (
                Voting::Hierarchical { groups, .. },
                Voting::Hierarchical {
                    groups: other_groups,
                    ..
                },
            ) => {
                if self.version == other.version {
                    return true;
                }
                groups == other_groups && self.all_weights() == other.all_weights()
            }
            (Voting::Majority, Voting::Hierarchical { .. })
            | (Voting::Hierarchical { .. }, Voting::Majority) => return false,
        };
        let members = self.members.len() == other.members.len()
            && self
                .members
                .iter()
                .zip(&other.members)
                .all(|(a, b)| a.0 == b.0 && a.1.same_as(b.1));
        self.version == other.version || (voting && members)
    }

    /// The weights that are named, and 1 for every voter that has none.
    fn all_weights(&self) -> BTreeMap<ServerId, u64> {
        let mut all: BTreeMap<ServerId, u64> = self.voters().map(|id| (id, 1)).collect();
        if let Voting::Hierarchical { weights, .. } = &self.voting {
            all.extend(weights);
        }
        all
    }
}

impl Member {
    /// Whether Java takes both for the same server: the role, the client address, and the sets of
    /// peer and of election addresses are equal, hosts without regard to case.
    /// Java: `QuorumServer.equals`.
    #[must_use]
    pub fn same_as(&self, other: &Self) -> bool {
        let host = |host: &str| host.to_ascii_lowercase();
        let client = |m: &Self| m.client.as_ref().map(|c| (host(&c.host), c.port));
        let peer = |m: &Self| -> BTreeSet<(String, u16)> {
            let addresses = m.addresses.iter();
            addresses.map(|a| (host(&a.host), a.peer_port)).collect()
        };
        let election = |m: &Self| -> BTreeSet<(String, Option<u16>)> {
            let addresses = m.addresses.iter();
            addresses
                .map(|a| (host(&a.host), a.election_port))
                .collect()
        };
        self.role == other.role
            && client(self) == client(other)
            && peer(self) == peer(other)
            && election(self) == election(other)
    }
}

/// Which of Java's exceptions a text earns; clients that reconfigure can tell them apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The text has not the form it must have. Java: `ConfigException`.
    Form,
    /// A number is none or out of range, or the servers make no ensemble. Java:
    /// `IllegalArgumentException`.
    Value,
}

/// A text that is no ensemble.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EnsembleError {
    /// Java's view of it.
    pub fault: Fault,
    /// Which key: `server.3`.
    pub key: String,
    /// What stands there, if anything does.
    pub value: Option<String>,
    /// What should.
    pub expected: String,
}

impl fmt::Display for EnsembleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.key)?;
        if let Some(value) = &self.value {
            write!(f, "={value}")?;
        }
        write!(f, ": expected {}", self.expected)
    }
}

impl core::error::Error for EnsembleError {}

#[cfg(test)]
mod tests;
