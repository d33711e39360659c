//! What a server of an ensemble is told beyond what a lone one needs.

use roo_proto::ensemble::{Ensemble, Member};
use roo_proto::ids::ServerId;

use super::dynamic::ConfigFiles;

/// How a server answers reads.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ReadMode {
    /// From its own state, which may lag: as Apache's servers do.
    #[default]
    Local,
    /// Only the leader answers.
    Leader,
    /// After a round with the leader, so that no acknowledged write is missed.
    Quorum,
}

/// Sessions that only one server knows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LocalSessions {
    /// Every session is known to all servers.
    #[default]
    Off,
    /// Sessions are local for good.
    On,
    /// They become global when they make an ephemeral node.
    Upgrading,
}

/// A server of an ensemble. Times in ms; the fields carry the names of their keys.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct EnsembleConfig {
    /// This server's id.
    pub me: ServerId,
    /// In force at the start.
    pub ensemble: Ensemble,
    /// Proposed before the last stop, and perhaps not activated: newer than `ensemble`.
    pub next_ensemble: Option<Ensemble>,
    /// Where ensembles are kept; `None` without a configuration file.
    pub files: Option<ConfigFiles>,
    /// Identity of the ensemble: servers of another name are refused. `ensemble.name`.
    pub name: Option<String>,
    pub standalone_enabled: bool,
    pub init_limit: u64,
    pub sync_limit: u64,
    /// Time between signs of life on a quiet link between servers. `peer.heartbeatIntervalMs`.
    pub heartbeat_interval_ms: u64,
    /// Silence after which such a link is given up. `peer.heartbeatTimeoutMs`.
    pub heartbeat_timeout_ms: u64,
    pub quorum_listen_on_all_ips: bool,
    pub cnxn_timeout_ms: u64,
    /// Time for the first message of a dialling server. `quorumCnxnTimeoutMs`.
    pub handshake_timeout_ms: u64,
    /// Attempts to bind the election port; `None` is no limit.
    pub election_port_bind_retry: Option<u32>,
    pub min_notification_interval_ms: u64,
    pub max_notification_interval_ms: u64,
    pub leader_connect_delay_during_retry_ms: u64,
    pub leader_serves: bool,
    /// Whether an observer logs and takes snapshots.
    pub sync_enabled: bool,
    pub force_snapshot_sync: bool,
    /// Part of the snapshot's size up to which the log is sent instead; negative: never the log.
    pub snapshot_size_factor: f64,
    pub commit_log_count: usize,
    pub local_sessions: LocalSessions,
    /// Whether a server without a quorum serves reads. `readonlymode.enabled`.
    pub read_only_mode: bool,
    pub read_mode: ReadMode,
}

impl EnsembleConfig {
    /// This server's line; a server that is yet to join has none.
    #[must_use]
    pub fn my_member(&self) -> Option<&Member> {
        self.ensemble.members.get(&self.me)
    }

    /// Voters that a changed ensemble needs: where one server would serve alone, two.
    #[must_use]
    pub fn fewest_voters(&self) -> usize {
        if self.standalone_enabled { 2 } else { 1 }
    }
}
