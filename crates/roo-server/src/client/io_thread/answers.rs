//! What becomes of the replica's answers, and what is counted of them.

use std::sync::atomic::Ordering;

use roo_proto::error_code::ErrorCode;
use roo_proto::frame;
use roo_proto::ids::Time;
use roo_proto::jute::Reader;
use roo_proto::op_code;

use crate::client::connection::Connection;
use crate::histogram::Runs;
use crate::shared_state::Shared;
use crate::stats::{Counters, NO_OP, ServerStats, Tally};

/// The answers of one round, counted in one go: other threads count in the same places, which each
/// answer would take from them some ten times.
pub(super) struct Answers<'a> {
    shared: &'a Shared,
    now: Time,
    count: usize,
    large_bytes: usize,
    latencies: Tally,
    updates: Runs<'a>,
    reads: Runs<'a>,
    /// Sizes without the length before each; handshakes do not count.
    sizes: Tally,
}

impl<'a> Answers<'a> {
    /// None yet.
    pub(super) fn new(shared: &'a Shared, now: Time) -> Self {
        Self {
            shared,
            now,
            count: 0,
            large_bytes: 0,
            latencies: Tally::default(),
            updates: Runs::of(&shared.stats.update_latency),
            reads: Runs::of(&shared.stats.read_latency),
            sizes: Tally::default(),
        }
    }

    /// The oldest request in flight has its answer; that to a handshake is empty here.
    pub(super) fn add(&mut self, conn: &mut Connection, reply: &[u8]) {
        let Some(pending) = conn.in_flight.pop_front() else {
            return;
        };
        self.count += 1;
        self.large_bytes += pending.large_bytes;
        conn.stats.outstanding.fetch_sub(1, Ordering::Relaxed);
        conn.stats.sent.fetch_add(1, Ordering::Relaxed);
        let latency = self.now.millis_since(pending.arrived);
        let is_write = op_code::is_write(pending.op);
        let (zxid, code) = reply_header(reply);
        let refused = is_write && code != 0;
        if code == ErrorCode::THROTTLED_OP.0 {
            Counters::inc(&self.shared.stats.counters.throttled_ops);
        }
        let shown = if refused { NO_OP } else { pending.op };
        conn.stats
            .replied(shown, pending.xid, zxid, self.now, latency);
        self.latencies.add(latency);
        // A new session is a transaction, too.
        if is_write || pending.op == op_code::CREATE_SESSION {
            self.updates.add(latency);
        } else {
            self.reads.add(latency);
        }
        if let Some(size) = reply.len().checked_sub(frame::LENGTH_SIZE) {
            self.sizes.add(size as u64);
        }
    }

    /// Gives back the room of what is answered, and shows what was counted.
    pub(super) fn show(self) {
        if self.count == 0 {
            return;
        }
        let (shared, stats) = (self.shared, &self.shared.stats);
        shared.outstanding.fetch_sub(self.count, Ordering::Relaxed);
        if self.large_bytes > 0 {
            shared
                .large_bytes
                .fetch_sub(self.large_bytes, Ordering::Relaxed);
        }
        Counters::add(&stats.counters.packets_sent, self.count);
        stats.latency.merge(&self.latencies);
        put_response_sizes(stats, &self.sizes);
        let bytes = &stats.counters.response_bytes;
        bytes.fetch_add(self.sizes.total, Ordering::Relaxed);
    }
}

/// Replies or watch events have been sent; the length before each is not counted.
pub(super) fn put_response_sizes(stats: &ServerStats, sizes: &Tally) {
    if sizes.count > 0 {
        stats
            .last_response_size
            .store(sizes.last, Ordering::Relaxed);
        stats.response_size.merge(sizes);
    }
}

/// zxid and error of a reply frame.
fn reply_header(reply: &[u8]) -> (i64, i32) {
    let mut r = Reader::new(reply.get(8..).unwrap_or_default());
    (r.i64().unwrap_or(-1), r.i32().unwrap_or(0))
}
