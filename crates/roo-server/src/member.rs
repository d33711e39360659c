//! What makes a server a member of an ensemble: its epochs, its half of Zab, the links to the
//! others, and the threads that serve them.

use std::sync::Arc;
use std::time::Duration;

use roo_peer::grpc::GrpcLinks;
use roo_peer::{Joiners, Listen, Parameters, PeerEvents, PeerLinks};
use roo_proto::ensemble::{Ensemble, MemberRole};
use roo_proto::ids::{ServerId, Time};
use roo_replica::read_path::ReadMode as ReplicaReadMode;
use roo_replica::{Config as ReplicaConfig, LocalSessions, Replica};
use roo_state::state::State;
use roo_store::data_dir::DataDir;
use roo_store::disk::Disk;
use roo_store::epoch_file;
use roo_store::error::StoreError;
use roo_zab::Zab;
use roo_zab::config::{Config as ZabConfig, Recovered};

use crate::client::door::Door;
use crate::config::ServerConfig;
use crate::config::dynamic::{ConfigFiles, WriteError};
use crate::config::ensemble::{EnsembleConfig, LocalSessions as ConfiguredSessions, ReadMode};
use crate::fatal::fatal;
use crate::limits;
use crate::peer_inbox::PeerInbox;
use crate::queue::BatchQueue;
use crate::replica_loop::Ensemble as Others;
use crate::shared_state::Shared;

/// The replica of a member, ready to look for a leader.
///
/// # Errors
/// When the epoch files cannot be read, or contradict the history.
pub fn replica(
    config: &ServerConfig,
    member: &EnsembleConfig,
    mut replica: ReplicaConfig,
    disk: &dyn Disk,
    dir: &DataDir,
    state: &State,
    now: Time,
) -> Result<Replica, StoreError> {
    let epochs = epoch_file::load(disk, &dir.snapshots, state.last_zxid())?;
    let recovered = Recovered {
        accepted_epoch: epochs.accepted,
        current_epoch: epochs.current,
        last_zxid: state.last_zxid(),
        ensemble: Arc::new(member.ensemble.clone()),
        next_ensemble: member.next_ensemble.clone().map(Arc::new),
    };
    replica.read_mode = match member.read_mode {
        ReadMode::Local => ReplicaReadMode::Local,
        ReadMode::Leader => ReplicaReadMode::Leader,
        ReadMode::Quorum => ReplicaReadMode::Quorum,
    };
    replica.min_voters = member.fewest_voters();
    replica.leader_serves = member.leader_serves;
    replica.local_sessions = match member.local_sessions {
        ConfiguredSessions::Off => LocalSessions::Off,
        ConfiguredSessions::On => LocalSessions::On,
        ConfiguredSessions::Upgrading => LocalSessions::Upgrading,
    };
    // Java: `ReadOnlyZooKeeperServer` starts after as long.
    let patience_ms = config.tick_time_ms.max(limits::READ_ONLY_AFTER_MS);
    replica.read_only_after_ms = member.read_only_mode.then_some(patience_ms);
    let zab = Zab::new(zab_config(config, member), recovered, now);
    Ok(Replica::member(replica, zab, now))
}

/// The ensemble with which the server starts; an empty one without.
pub fn in_force(config: &ServerConfig) -> Arc<Ensemble> {
    let member = config.ensemble.as_ref();
    Arc::new(member.map(|m| m.ensemble.clone()).unwrap_or_default())
}

/// Shows the ensemble in force in /zookeeper/config, where clients look for it: no snapshot needs
/// to have it. Java: `ZKDatabase.initConfigInZKDatabase`.
pub fn show_ensemble(state: &mut State, ensemble: &Ensemble) {
    // Nobody watches it yet.
    let _ = state.set_config(ensemble.to_text().as_bytes(), ensemble.version);
}

/// Zab counts silence in ticks; heartbeats may be asked for more often than ticks come.
fn zab_config(config: &ServerConfig, member: &EnsembleConfig) -> ZabConfig {
    let tick_ms = config.tick_time_ms.max(1);
    let heartbeat_ms = member.heartbeat_interval_ms.max(1);
    // Half a tick lies between two pings.
    let zab_tick_ms = tick_ms.min(heartbeat_ms.saturating_mul(2));
    ZabConfig {
        me: member.me,
        tick_ms: zab_tick_ms,
        init_limit: (member.init_limit.saturating_mul(tick_ms)).div_ceil(zab_tick_ms),
        sync_limit: member.heartbeat_timeout_ms.div_ceil(zab_tick_ms).max(2),
        finalize_wait_ms: limits::FINALIZE_WAIT_MS,
        min_notification_ms: member.min_notification_interval_ms,
        max_notification_ms: member.max_notification_interval_ms,
        connect_retry_ms: member.leader_connect_delay_during_retry_ms,
        commit_log_count: member.commit_log_count,
        commit_log_bytes: limits::COMMIT_LOG_BYTES,
        force_snapshot_sync: member.force_snapshot_sync,
        reconfig_enabled: config.reconfig_enabled,
    }
}

/// Whether a server writes a log and snapshots. One that may become a voter must.
#[must_use]
pub fn keeps_log(config: &ServerConfig, member: &EnsembleConfig) -> bool {
    let observes = member
        .my_member()
        .is_some_and(|me| me.role == MemberRole::Observer);
    member.sync_enabled || !observes || config.reconfig_enabled
}

/// Listens for the other servers and begins to dial them.
///
/// # Errors
/// When the peer port cannot be had.
pub fn connect(
    config: &ServerConfig,
    member: &EnsembleConfig,
    shared: &Arc<Shared>,
) -> Result<Others, roo_peer::grpc::StartError> {
    let inbox = Arc::new(PeerInbox::new(Arc::clone(shared)));
    let parameters = parameters(config, member);
    let events: Arc<dyn PeerEvents> = Arc::<PeerInbox>::clone(&inbox);
    let links = GrpcLinks::start(parameters, &member.ensemble, None, events)?;
    if let Some(name) = &member.name {
        links.set_identity(identity_of(name));
    }
    Ok(Others {
        links: Arc::new(links),
        inbox,
        history: Arc::new(BatchQueue::default()),
    })
}

fn parameters(config: &ServerConfig, member: &EnsembleConfig) -> Parameters {
    let mut parameters = Parameters::of_server(member.me);
    parameters.listen = if member.quorum_listen_on_all_ips {
        Listen::AllInterfaces
    } else {
        Listen::OwnAddresses
    };
    parameters.bind_attempts = member.election_port_bind_retry;
    parameters.connect_timeout = Duration::from_millis(member.cnxn_timeout_ms);
    parameters.handshake_timeout = Duration::from_millis(member.handshake_timeout_ms);
    parameters.keep_alive_interval = Duration::from_millis(member.heartbeat_interval_ms);
    parameters.keep_alive_timeout = Duration::from_millis(member.heartbeat_timeout_ms);
    parameters.max_message_bytes = parameters
        .max_message_bytes
        .max(config.jute_max_buffer.saturating_mul(2));
    let patience_ms = member.init_limit.saturating_mul(config.tick_time_ms);
    parameters.bulk_patience = Duration::from_millis(patience_ms);
    if config.reconfig_enabled {
        parameters.joiners = Joiners::Admitted;
    }
    parameters
}

/// The number under which links know an ensemble's name: FNV-1a, 64 bits.
fn identity_of(name: &str) -> u64 {
    name.bytes().fold(0xCBF2_9CE4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01B3)
    })
}

/// Where a member writes down how its ensemble changes.
pub struct DynamicFiles {
    /// The files; `None` without a configuration file or without `reconfigEnabled`.
    pub files: Option<ConfigFiles>,
    /// This server.
    pub me: ServerId,
    /// Where its clients connect.
    pub door: Door,
}

impl DynamicFiles {
    /// Remembers an ensemble that is proposed, before its record can be durable.
    pub fn remember(&self, ensemble: &Ensemble) {
        self.must(|files| files.persist_next(ensemble));
    }

    /// Forgets an ensemble that was proposed and will not be, before any later record can be
    /// durable.
    pub fn forget(&self) {
        self.must(ConfigFiles::forget_next);
    }

    /// Writes down the ensemble that is in force, before any later record can be durable, and lets
    /// clients in where its line says.
    pub fn activate(&self, ensemble: &Ensemble) {
        self.must(|files| files.activate(ensemble, self.me));
        self.door.follow(ensemble, self.me);
    }

    /// A server that went on could count the quorum of an ensemble that is no more at its next
    /// start.
    fn must(&self, write: impl FnOnce(&ConfigFiles) -> Result<(), WriteError>) {
        if let Some(files) = &self.files
            && let Err(error) = write(files)
        {
            fatal(&format!(
                "cannot write down a change of the ensemble: {error}; make room or give the \
                 server's user its configuration directory to write, then start again"
            ));
        }
    }
}
