//! What is counted: of each connection and of the whole server. Plain atomics that are only
//! written by the threads that do the work and only read to be shown.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roo_proto::ids::Time;

use crate::histogram::Percentiles;
use crate::limits;

/// Latencies in ms. Java: `AvgMinMaxCounter`.
#[derive(Debug)]
pub struct Latency {
    total: AtomicU64,
    count: AtomicU64,
    min: AtomicU64,
    max: AtomicU64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            total: AtomicU64::new(0),
            count: AtomicU64::new(0),
            min: AtomicU64::new(u64::MAX),
            max: AtomicU64::new(0),
        }
    }
}

impl Latency {
    /// Counts one.
    pub fn add(&self, value: u64) {
        self.add_many(value, 1);
    }

    /// Counts `n` of the same value.
    pub fn add_many(&self, value: u64, n: u64) {
        self.merge(&Tally {
            total: value.saturating_mul(n),
            count: n,
            min: value,
            max: value,
            last: value,
        });
    }

    /// Counts what one thread has tallied.
    pub fn merge(&self, tally: &Tally) {
        if tally.count == 0 {
            return;
        }
        self.total.fetch_add(tally.total, Ordering::Relaxed);
        self.count.fetch_add(tally.count, Ordering::Relaxed);
        if tally.min < self.min.load(Ordering::Relaxed) {
            self.min.fetch_min(tally.min, Ordering::Relaxed);
        }
        if tally.max > self.max.load(Ordering::Relaxed) {
            self.max.fetch_max(tally.max, Ordering::Relaxed);
        }
    }

    /// Forgets everything.
    pub fn reset(&self) {
        self.total.store(0, Ordering::Relaxed);
        self.count.store(0, Ordering::Relaxed);
        self.min.store(u64::MAX, Ordering::Relaxed);
        self.max.store(0, Ordering::Relaxed);
    }

    /// The smallest, 0 when there was none.
    #[must_use]
    pub fn min(&self) -> u64 {
        let min = self.min.load(Ordering::Relaxed);
        if min == u64::MAX { 0 } else { min }
    }

    /// The largest.
    #[must_use]
    pub fn max(&self) -> u64 {
        self.max.load(Ordering::Relaxed)
    }

    /// How many.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Their sum.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// The mean, to four decimals as Java shows it.
    #[must_use]
    #[allow(clippy::cast_precision_loss)]
    pub fn mean(&self) -> f64 {
        match self.count() {
            0 => 0.0,
            count => (self.total() as f64 / count as f64 * 10_000.0).round() / 10_000.0,
        }
    }
}

/// What one thread counts for itself, until it adds it to a [`Latency`] that all see.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // As in `Latency`.
pub struct Tally {
    pub total: u64,
    pub count: u64,
    pub min: u64,
    pub max: u64,
    pub last: u64,
}

impl Default for Tally {
    fn default() -> Self {
        Self {
            total: 0,
            count: 0,
            min: u64::MAX,
            max: 0,
            last: 0,
        }
    }
}

impl Tally {
    /// Counts one.
    pub fn add(&mut self, value: u64) {
        self.total += value;
        self.count += 1;
        self.min = self.min.min(value);
        self.max = self.max.max(value);
        self.last = value;
    }
}

/// One connection.
#[derive(Debug)]
#[allow(missing_docs)] // The fields are those that `cons` shows.
pub struct ConnectionStats {
    pub peer: SocketAddr,
    pub established: Time,
    pub session: AtomicI64,
    pub timeout_ms: AtomicI32,
    pub received: AtomicU64,
    pub sent: AtomicU64,
    pub outstanding: AtomicI32,
    /// -1 before a request and after `crst`.
    pub last_cxid: AtomicI32,
    pub last_zxid: AtomicI64,
    pub last_op: AtomicI32,
    pub last_response: AtomicU64,
    pub last_latency: AtomicU64,
    pub latency: Latency,
    /// Whether the server listens to it, as the selector's interest.
    pub reading: AtomicBool,
}

/// Shown as `NA`: no request yet, or a refused write.
pub const NO_OP: i32 = -1;

impl ConnectionStats {
    /// A connection that has just been made.
    #[must_use]
    pub fn new(peer: SocketAddr, now: Time) -> Self {
        Self {
            peer,
            established: now,
            session: AtomicI64::new(0),
            timeout_ms: AtomicI32::new(0),
            received: AtomicU64::new(0),
            sent: AtomicU64::new(0),
            outstanding: AtomicI32::new(0),
            last_cxid: AtomicI32::new(-1),
            last_zxid: AtomicI64::new(-1),
            last_op: AtomicI32::new(NO_OP),
            last_response: AtomicU64::new(0),
            last_latency: AtomicU64::new(0),
            latency: Latency::default(),
            reading: AtomicBool::new(true),
        }
    }

    /// A reply is on its way.
    pub fn replied(&self, op: i32, cxid: i32, zxid: i64, now: Time, latency_ms: u64) {
        self.last_op.store(op, Ordering::Relaxed);
        self.last_cxid.store(cxid, Ordering::Relaxed);
        self.last_zxid.store(zxid, Ordering::Relaxed);
        self.last_response.store(now.0, Ordering::Relaxed);
        self.last_latency.store(latency_ms, Ordering::Relaxed);
        self.latency.add(latency_ms);
    }

    /// What `crst` does.
    pub fn reset(&self) {
        self.received.store(0, Ordering::Relaxed);
        self.sent.store(0, Ordering::Relaxed);
        self.last_op.store(NO_OP, Ordering::Relaxed);
        self.last_cxid.store(-1, Ordering::Relaxed);
        self.last_zxid.store(-1, Ordering::Relaxed);
        self.last_response.store(0, Ordering::Relaxed);
        self.last_latency.store(0, Ordering::Relaxed);
        self.latency.reset();
    }
}

macro_rules! counters {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => {
        /// Counters of the whole server.
        #[derive(Debug, Default)]
        pub struct Counters {
            $($(#[$doc])* pub $name: AtomicU64,)*
        }

        impl Counters {
            /// Each counter's name and value.
            #[must_use]
            pub fn all(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.load(Ordering::Relaxed)),)*]
            }
        }
    };
}

counters! {
    /// Packets from clients.
    packets_received,
    /// Packets to clients.
    packets_sent,
    /// Bytes from clients.
    bytes_received_count,
    /// Bytes of replies to clients, but for handshakes and the lengths before them.
    response_bytes,
    /// Bytes of watch events to clients.
    watch_bytes,
    /// Handshakes.
    connection_request_count,
    /// Sessions resumed on a new connection.
    connection_revalidate_count,
    /// Connections that ended because their client hung up.
    connection_drop_count,
    /// Limit `max_client_cnxns` or `max_cnxns`: connections refused.
    connection_rejected,
    /// Limit `sessionless_cnxn_timeout`: connections without a handshake closed.
    sessionless_connections_expired,
    /// Sessions expired.
    stale_sessions_expired,
    /// Requests that were served although they had become stale.
    stale_requests,
    /// Requests that became stale and closed their connection.
    stale_requests_dropped,
    /// Snapshots that failed.
    snapshot_error_count,
    /// Digests that did not match.
    digest_mismatches_count,
    /// Limit `throttled_op_wait_time`: requests answered THROTTLEDOP.
    throttled_ops,
    /// Limit `request_throttle_max_requests`: times a connection had to wait.
    request_throttle_wait_count,
    /// Limit `large_request_threshold`: connections closed.
    large_requests_rejected,
    /// Limit `global_outstanding_limit`: times a connection had to wait.
    global_outstanding_limit,
    /// Limit `max_in_flight_per_connection`: times a connection had to wait.
    max_in_flight_per_connection,
    /// Limit `connection_write_queue`: times a connection had to wait for a slow reader.
    connection_write_queue,
    /// Limit `connection_write_queue_max`: slow readers closed.
    connection_write_queue_max,
    /// Limit `connection_throttle_tokens`: handshakes refused.
    connection_throttle_tokens,
    /// Limit `jute_max_buffer`: packets refused.
    jute_max_buffer,
    /// Failed authentications.
    auth_failed_count,
    /// Log syncs slower than the warning threshold.
    fsync_threshold_exceed_count,
    /// Records given to the log.
    sync_processor_request_queued,
    /// Writes prepared.
    prep_processor_request_queued,
    /// Replies for connections that are gone.
    stale_replies,
    /// Transactions that wait to be durable.
    outstanding_changes_queued,
    /// Transactions that no longer do.
    outstanding_changes_removed,
    /// Limit `identities`: connections closed.
    identities,
    /// Limit `four_letter_queue`: words refused.
    four_letter_queue,
    /// Times this server began to look for a leader.
    looking_count,
    /// Leader: transactions proposed.
    proposal_count,
    /// Leader: transactions committed.
    commit_count,
    /// Follower: transactions proposed by the leader.
    learner_proposal_received_count,
    /// Learner: transactions committed by the leader.
    learner_commit_received_count,
    /// Leader: learners brought up to date from the log.
    diff_count,
    /// Leader: learners brought up to date with a snapshot.
    snap_count,
    /// Leader: sessions that a learner's clients brought along.
    revalidate_count,
    /// Limit `learner_request`: links of learners closed that asked too much at once.
    learner_request,
    /// Limit `storage_queue`: times the leader had to wait for this server's disk.
    storage_queue,
    /// Limit `refused_peers`: refusals of servers of which only the log tells.
    refused_peers,
    /// Limit `metric_namespaces`: writes below further top-level nodes.
    metric_namespaces,
}

/// See the module. Times in ms, sizes in bytes; the fields carry Java's names where it has them.
#[derive(Debug, Default)]
#[allow(missing_docs)]
pub struct ServerStats {
    pub counters: Counters,
    pub latency: Latency,
    pub response_size: Latency,
    pub last_response_size: AtomicU64,
    pub connection_token_deficit: Latency,
    // The ensemble.
    /// Leader: bytes of the transactions proposed.
    pub proposal_size: Latency,
    pub last_proposal_size: AtomicU64,
    pub election_time: Latency,
    pub unavailable_time: Latency,
    pub leader_unavailable_time: Latency,
    pub follower_sync_time: Latency,
    pub observer_sync_time: Latency,
    // The way of a write; all but the queues' times are taken once per batch.
    pub request_throttle_queue_time: Percentiles,
    pub prep_queue_size: Latency,
    pub prep_queue_time: Percentiles,
    pub prep_process_time: Latency,
    pub close_session_prep_time: Percentiles,
    pub proposal_process_time: Latency,
    pub sync_queue_size: Latency,
    pub sync_queue_time: Percentiles,
    pub sync_process_time: Latency,
    pub sync_batch_size: Latency,
    pub sync_flush_time: Percentiles,
    pub sync_queue_and_flush_time: Percentiles,
    pub fsync_time: Latency,
    pub propagation_latency: Percentiles,
    // Replies and watch events.
    pub read_latency: Percentiles,
    pub update_latency: Percentiles,
    pub node_created_watch_count: Latency,
    pub node_deleted_watch_count: Latency,
    pub node_changed_watch_count: Latency,
    pub node_children_watch_count: Latency,
    /// Bytes of paths and data that were written below each node below the root.
    pub write_per_namespace: Mutex<BTreeMap<String, Latency>>,
    // Files.
    pub snapshot_time: Latency,
    pub dbinittime: Latency,
    pub startup_snap_load_time: Latency,
    pub startup_txns_load_time: Latency,
    pub startup_txns_loaded: Latency,
}

impl ServerStats {
    /// Forgets the sizes of proposals.
    pub fn reset_proposal_sizes(&self) {
        self.proposal_size.reset();
        self.last_proposal_size.store(0, Ordering::Relaxed);
    }

    /// A summary by the name under which `mntr` shows it.
    #[must_use]
    pub fn summary(&self, name: &str) -> Option<&Latency> {
        Some(match name {
            "connection_token_deficit" => &self.connection_token_deficit,
            "dbinittime" => &self.dbinittime,
            "election_time" => &self.election_time,
            "follower_sync_time" => &self.follower_sync_time,
            "fsynctime" => &self.fsync_time,
            "leader_unavailable_time" => &self.leader_unavailable_time,
            "node_changed_watch_count" => &self.node_changed_watch_count,
            "node_children_watch_count" => &self.node_children_watch_count,
            "node_created_watch_count" => &self.node_created_watch_count,
            "node_deleted_watch_count" => &self.node_deleted_watch_count,
            "observer_sync_time" => &self.observer_sync_time,
            "prep_process_time" => &self.prep_process_time,
            "prep_processor_queue_size" => &self.prep_queue_size,
            "proposal_process_time" => &self.proposal_process_time,
            "snapshottime" => &self.snapshot_time,
            "startup_snap_load_time" => &self.startup_snap_load_time,
            "startup_txns_load_time" => &self.startup_txns_load_time,
            "startup_txns_loaded" => &self.startup_txns_loaded,
            "sync_process_time" => &self.sync_process_time,
            "sync_processor_batch_size" => &self.sync_batch_size,
            "sync_processor_queue_size" => &self.sync_queue_size,
            "unavailable_time" => &self.unavailable_time,
            _ => return None,
        })
    }

    /// A summary with percentiles by the name under which `mntr` shows it.
    #[must_use]
    pub fn percentiles(&self, name: &str) -> Option<&Percentiles> {
        Some(match name {
            "close_session_prep_time" => &self.close_session_prep_time,
            "prep_processor_queue_time_ms" => &self.prep_queue_time,
            "propagation_latency" => &self.propagation_latency,
            "readlatency" => &self.read_latency,
            "request_throttle_queue_time_ms" => &self.request_throttle_queue_time,
            "sync_processor_queue_and_flush_time_ms" => &self.sync_queue_and_flush_time,
            "sync_processor_queue_flush_time_ms" => &self.sync_flush_time,
            "sync_processor_queue_time_ms" => &self.sync_queue_time,
            "updatelatency" => &self.update_latency,
            _ => return None,
        })
    }

    /// Paths and data of these sizes were written in a namespace.
    pub fn wrote(&self, namespace: &str, sizes: &Tally) {
        let mut namespaces = self.write_per_namespace.lock();
        if let Some(written) = namespaces.get(namespace) {
            written.merge(sizes);
        } else if namespaces.len() < limits::METRIC_NAMESPACES {
            let written = Latency::default();
            written.merge(sizes);
            namespaces.insert(namespace.to_owned(), written);
        } else {
            let counter = &self.counters.metric_namespaces;
            counter.fetch_add(sizes.count, Ordering::Relaxed);
        }
    }
}

/// ms, as they are counted.
#[must_use]
pub fn in_ms(took: Duration) -> u64 {
    u64::try_from(took.as_millis()).unwrap_or(u64::MAX)
}

impl Counters {
    /// Counts one more.
    pub fn inc(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// Counts `n` more.
    pub fn add(counter: &AtomicU64, n: usize) {
        counter.fetch_add(n as u64, Ordering::Relaxed);
    }
}
