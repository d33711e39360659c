//! How a server stands in its ensemble: what clients may expect of it, the word `peer` and what
//! other words say of the ensemble.

use std::fmt::Write;

use roo_replica::{Replica, Role};
use roo_zab::status::{LinkStatus, Phase, Status};

use super::words::WordsThread;
use crate::peer_table::Sight;

/// What a server that serves is to its clients. Java: `ServerStats.Provider.getState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It has no ensemble.
    Standalone,
    /// It decides writes.
    Leader,
    /// It votes.
    Follower,
    /// It has no vote.
    Observer,
    /// It has no leader and serves those who agree to old data.
    ReadOnly,
}

impl Mode {
    /// Of a role; `None` if it does not serve.
    #[must_use]
    pub const fn of(role: Role) -> Option<Self> {
        match role {
            Role::Standalone => Some(Self::Standalone),
            Role::Looking => None,
            Role::ReadOnly => Some(Self::ReadOnly),
            Role::Leading { .. } => Some(Self::Leader),
            Role::Learning { observer: true, .. } => Some(Self::Observer),
            Role::Learning {
                observer: false, ..
            } => Some(Self::Follower),
        }
    }

    /// As `srvr` shows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standalone => "standalone",
            Self::Leader => "leader",
            Self::Follower => "follower",
            Self::Observer => "observer",
            Self::ReadOnly => "read-only",
        }
    }
}

/// What Java calls the stages of the way to serving. Java: `QuorumPeer.ZabState`.
#[must_use]
pub const fn zab_state(phase: Phase) -> &'static str {
    match phase {
        Phase::AwaitDurable | Phase::AwaitVotes => "election",
        Phase::AwaitEpochQuorum
        | Phase::AwaitAcceptedEpoch
        | Phase::AwaitAckEpochQuorum
        | Phase::Dialling
        | Phase::AwaitLeaderInfo
        | Phase::AwaitPromise => "discovery",
        Phase::AwaitCurrentEpoch
        | Phase::AwaitSyncQuorum
        | Phase::AwaitSync
        | Phase::AwaitTruncated
        | Phase::AwaitSnapshot
        | Phase::Syncing
        | Phase::AwaitHistory
        | Phase::AwaitUpToDate => "synchronization",
        Phase::Broadcasting | Phase::Retiring | Phase::Following => "broadcast",
    }
}

/// What the replica's thread knows of the ensemble.
pub(super) struct ReplicaStatus {
    pub(super) zab: Status,
    pub(super) pending_syncs: usize,
}

impl WordsThread {
    /// What the replica's thread knows; `None` without an ensemble.
    pub(super) fn status(&self) -> Option<ReplicaStatus> {
        if !self.shared.is_member {
            return None;
        }
        let question = |replica: &Replica| {
            let zab = replica.zab()?.status();
            let pending_syncs = replica.pending_syncs();
            Some(ReplicaStatus { zab, pending_syncs })
        };
        self.ask(question)?
    }

    /// The part of `conf` that only a member has. Java: `QuorumPeer.getConf`.
    pub(super) fn put_membership(&self, out: &mut String, mode: Mode) {
        let Some(member) = &self.config.ensemble else {
            return;
        };
        let ensemble = self.shared.ensemble.lock().clone();
        let mine = ensemble.members.get(&member.me);
        let addresses = mine.map(|mine| mine.addresses.as_slice());
        let addresses = addresses.unwrap_or_default();
        let joined = |ports: &mut dyn Iterator<Item = u16>| {
            let ports: Vec<String> = ports.map(|port| port.to_string()).collect();
            ports.join("|")
        };
        // Without a port of their own, elections go over the port of peers.
        let election = |address: &roo_proto::ensemble::PeerAddress| {
            address.election_port.unwrap_or(address.peer_port)
        };
        let observes = !ensemble.is_voter(member.me);
        let _ = write!(
            out,
            "initLimit={}\nsyncLimit={}\nelectionAlg=3\nelectionPort={}\nquorumPort={}\n\
             peerType={}\n",
            member.init_limit,
            member.sync_limit,
            joined(&mut addresses.iter().map(election)),
            joined(&mut addresses.iter().map(|address| address.peer_port)),
            u8::from(observes),
        );
        if mode != Mode::ReadOnly {
            let _ = write!(out, "membership: \n{}", ensemble.to_text());
        }
    }

    /// The word `peer`: everything that `roo ensemble status` shows, one fact a line, for servers
    /// that serve and such that do not. Times are ms of the past.
    pub(super) fn standing(&self, mode: Option<Mode>) -> String {
        let mut out = String::new();
        let now = self.shared.clock.now();
        let since = self.shared.role.lock().1;
        let _ = writeln!(out, "mode: {}", mode.map_or("looking", Mode::name));
        let _ = writeln!(out, "since: {}", now.millis_since(since));
        let state = self.shared.state.read();
        let (applied, sessions) = (state.last_zxid(), state.sessions().len());
        drop(state);
        let _ = writeln!(out, "applied: {applied}\nsessions: {sessions}");
        let Some(member) = &self.config.ensemble else {
            return out;
        };
        let _ = writeln!(out, "id: {}", member.me.0);
        if let Some(name) = &member.name {
            let _ = writeln!(out, "ensemble: {name}");
        }
        for line in self.shared.ensemble.lock().to_text().lines() {
            let _ = writeln!(out, "{line}");
        }
        if let Some(status) = self.status() {
            put_zab(&mut out, &status.zab);
        }
        for (peer, sight) in self.shared.peers.lock().iter() {
            let who = peer.map_or_else(|| "?".to_owned(), |peer| peer.0.to_string());
            put_sight(&mut out, &who, sight, |at| now.millis_since(at));
        }
        out
    }
}

fn put_zab(out: &mut String, zab: &Status) {
    let leader = zab
        .leader
        .map_or_else(|| "none".to_owned(), |id| id.0.to_string());
    let _ = write!(
        out,
        "state: {} ({:?})\nepoch: {}\nround: {}\nvote: {}\nleader: {leader}\nlast: {}\n\
         durable: {}\ncommitted: {}\nvoters: {}\n",
        zab_state(zab.phase),
        zab.phase,
        zab.epoch,
        zab.round,
        zab.vote.leader.0,
        zab.last_proposed,
        zab.durable,
        zab.committed,
        zab.quorum_size,
    );
    for link in &zab.links {
        let LinkStatus {
            peer,
            observer,
            synced,
            acked,
            ..
        } = link;
        let kind = if *observer { "observer" } else { "follower" };
        let far = if *synced { "synced" } else { "syncing" };
        let _ = writeln!(out, "learner {}: {kind} {far} {acked}", peer.0);
    }
}

fn put_sight(
    out: &mut String,
    who: &str,
    sight: &Sight,
    ago: impl Fn(roo_proto::ids::Time) -> u64,
) {
    if let Some((reachable, since)) = sight.reachable {
        let state = if reachable {
            "reachable"
        } else {
            "unreachable"
        };
        let _ = writeln!(out, "peer {who}: {state} {}", ago(since));
    }
    if let Some(refusal) = &sight.refusal {
        let text = refusal.text.replace(['\n', '\r'], " ");
        let reason = refusal.reason;
        let _ = writeln!(out, "refused {who}: {} {reason:?} {text}", ago(refusal.at));
    }
}

#[cfg(test)]
mod tests {
    use roo_proto::ids::ServerId;
    use roo_zab::message::LinkId;

    use super::*;

    #[test]
    fn a_server_has_the_mode_of_its_role_and_none_while_it_looks() {
        let learning = |observer| Role::Learning {
            leader: ServerId(1),
            link: LinkId(2),
            epoch: 1,
            observer,
        };
        for (role, mode) in [
            (Role::Standalone, Some("standalone")),
            (Role::Looking, None),
            (Role::ReadOnly, Some("read-only")),
            (Role::Leading { epoch: 1 }, Some("leader")),
            (learning(false), Some("follower")),
            (learning(true), Some("observer")),
        ] {
            assert_eq!(Mode::of(role).map(Mode::name), mode);
        }
    }
}
