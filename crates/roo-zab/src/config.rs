//! What the operator wants of this server's half of Zab, and what the disk held when it started.

use alloc::sync::Arc;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Zxid};

/// The operator's part. Times in ms.
#[derive(Clone, Debug)]
pub struct Config {
    /// This server's id (`myid`).
    pub me: ServerId,
    /// Length of a tick (`tickTime`).
    pub tick_ms: u64,
    /// Ticks that discovery and synchronisation may take (`initLimit`).
    pub init_limit: u64,
    /// Ticks of silence after which a link is given up (`syncLimit`). The leader pings every
    /// half tick, or every quarter of `tick_ms * sync_limit` if that is shorter.
    pub sync_limit: u64,
    /// How long a winning vote waits for a better one while a voter that could send it may still
    /// be there. Java: `FastLeaderElection.finalizeWait`.
    pub finalize_wait_ms: u64,
    /// Shortest and longest wait before notifications are sent again
    /// (`fastleader.minNotificationInterval`, `fastleader.maxNotificationInterval`).
    pub min_notification_ms: u64,
    /// See `min_notification_ms`.
    pub max_notification_ms: u64,
    /// Wait between two attempts to reach a leader that is not yet one
    /// (`leaderConnectDelayDuringRetryMs`).
    pub connect_retry_ms: u64,
    /// Committed proposals kept in memory for learners that come back (`commitLogCount`).
    pub commit_log_count: usize,
    /// Bytes of committed proposals kept in memory at most, whatever `commit_log_count` says.
    pub commit_log_bytes: usize,
    /// Every learner is sent a snapshot (`forceSnapshotSync`).
    pub force_snapshot_sync: bool,
    /// Whether the ensemble may be changed at run time (`reconfigEnabled`).
    pub reconfig_enabled: bool,
}

/// What the disk held.
#[derive(Clone, Debug)]
pub struct Recovered {
    /// The highest epoch promised to a prospective leader (`acceptedEpoch`).
    pub accepted_epoch: u32,
    /// The epoch whose leader's history this server has adopted (`currentEpoch`).
    pub current_epoch: u32,
    /// The end of the durable history. The state holds everything up to here, committed or not.
    pub last_zxid: Zxid,
    /// The ensemble in force.
    pub ensemble: Arc<Ensemble>,
    /// An ensemble that was proposed and perhaps not activated (`.dynamic.next`).
    pub next_ensemble: Option<Arc<Ensemble>>,
}
