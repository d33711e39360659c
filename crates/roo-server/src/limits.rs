//! Every limit that keeps the server alive, by name. Those that a configuration key sets are in
//! `config`; these are the fixed ones. Each at which something is refused has a counter of its
//! name in `stats`; the others, at which work is only cut into pieces, say so by `Limit: pieces`.

use std::time::Duration;

/// Bytes read from one connection before others get their turn. Limit: pieces.
pub const READ_STEP_BYTES: usize = 64 * 1024;

/// Rounds for which a thread holds its question to the leader back while more comes from its
/// sockets: a question costs as much as tens of reads, whatever it is for. Limit: pieces.
pub const QUESTION_ROUNDS: u32 = 8;

/// Bytes read from all connections of a thread before they are served. Limit: pieces.
pub const READ_ROUND_BYTES: usize = 1024 * 1024;

/// A connection that has so many unsent bytes and does not read is closed: watch events cannot
/// be held back as replies can.
pub const CONNECTION_WRITE_QUEUE_MAX_BYTES: usize = 256 * 1024 * 1024;

/// Bytes of the identities that one connection may prove.
pub const IDENTITIES_BYTES: usize = 64 * 1024;

/// Four-letter words waiting for an answer.
pub const FOUR_LETTER_QUEUE: usize = 256;

/// Output buffers that a thread keeps for connections that need one. Limit: pieces.
pub const SPARE_BUFFERS: usize = 128;

/// A larger buffer is given back to the allocator when it is empty. Limit: pieces.
pub const SPARE_BUFFER_BYTES: usize = 256 * 1024;

/// Nodes below the root for which `mntr` shows what was written below each of them.
pub const METRIC_NAMESPACES: usize = 256;

/// Nodes written to a snapshot before others may use the state. Limit: pieces.
pub const SNAPSHOT_SLICE_NODES: usize = 256;

/// Bytes of a snapshot written to its file between two pauses. Limit: pieces.
pub const SNAPSHOT_WRITE_BYTES: usize = 64 * 1024;

/// How long its writer pauses then, so that it takes 32 MB a second at most; half as long when the
/// next snapshot is due, a third when two are, and so on. Limit: pieces.
pub const SNAPSHOT_PAUSE: Duration = Duration::from_millis(2);

/// Bytes of a snapshot sent to a learner in one message. Limit: pieces.
pub const SNAPSHOT_PART_BYTES: usize = 256 * 1024;

/// Room for what one learner has asked and its leader not answered. Half of it is enough for a
/// learner that keeps the rules; one that does not loses its link.
pub const LEARNER_REQUEST_BYTES: usize = 64 * 1024 * 1024;

/// Bytes of records of the leader's that may wait to be written before its link is read no more.
pub const STORAGE_QUEUE_BYTES: usize = 64 * 1024 * 1024;

/// Servers, strangers included, of which it is kept why they were refused.
pub const REFUSED_PEERS: usize = 512;

/// Snapshots that may wait to be written or sent. Limit: pieces.
pub const SNAPSHOT_QUEUE: usize = 32;

/// Bytes of the log read for a learner in one go. Limit: pieces.
pub const HISTORY_PART_BYTES: usize = 1024 * 1024;

/// How long a thread without work and without a deadline waits at a time. Limit: pieces.
pub const LONG_WAIT: Duration = Duration::from_secs(3600);

/// How long a winning vote waits for a better one, ms. Java waits 200. Limit: pieces.
pub const FINALIZE_WAIT_MS: u64 = 50;

/// How often the same trouble is told again, ms. Limit: pieces.
pub const COMPLAIN_AGAIN_MS: u64 = 60_000;

/// How long a server may be without a leader before it says so, ms. Limit: pieces.
pub const LEADERLESS_MS: u64 = 3_000;

/// Bytes of committed transactions kept in memory for learners that come back. Limit: pieces.
pub const COMMIT_LOG_BYTES: usize = 64 * 1024 * 1024;

/// A server without a leader waits at least so long before it serves reads, ms. Limit: pieces.
pub const READ_ONLY_AFTER_MS: u64 = 2000;

/// So many records at most are written and synced by the thread that decides their order, when the
/// one for the log has nothing to do. Limit: pieces.
pub const SYNC_AT_ONCE: usize = 16;

/// How long after their answers a sync waits at most for clients who have just got them: they take
/// some 100 us if they share two cores with the server. Limit: pieces.
pub const GATHER: Duration = Duration::from_micros(120);

/// And after the first of them who is back, if that is later. Limit: pieces.
pub const GATHER_MORE: Duration = Duration::from_micros(60);

/// Whoever comes later than that after the answers is not taken for one of them. Limit: pieces.
pub const GATHER_RECENT: Duration = Duration::from_micros(500);

/// It does not if the last sync was quicker than this. Limit: pieces.
pub const GATHER_SYNC: Duration = Duration::from_micros(60);

/// It does not if there would be more records than these. Limit: pieces.
pub const GATHER_RECORDS: usize = 8;

/// So many replies and watch events at most are sent by the thread that decides the order of
/// writes, if the thread of their sockets sleeps. Limit: pieces.
pub const SEND_AT_ONCE: usize = 8;

/// Their bytes. Limit: pieces.
pub const SEND_AT_ONCE_BYTES: usize = 16 * 1024;

/// After a sync that took longer the thread that decides the order of writes leaves the next to
/// the one for the log: it does not wait again for a disk that is slow or stalls. Limit: pieces.
pub const QUICK_SYNC: Duration = Duration::from_millis(2);
