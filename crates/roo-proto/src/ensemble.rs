//! Who belongs to an ensemble: ids, addresses, roles, weights; as data and as the text of
//! `server.N` lines and dynamic configuration files. Java: `QuorumVerifier`, `QuorumServer`.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::string::String;
use alloc::vec::Vec;

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
}
