//! The word `mntr`: every metric of Apache's by its name, and ours. Java: `MonitorCommand`.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::java_text::double;
use super::metric_names::{COUNTERS, PERCENTILES, SUMMARIES};
use super::standing::{Mode, zab_state};
use super::words::{VERSION, WordsThread};
use crate::histogram::Percentiles;
use crate::shared_state::Io;
use crate::stats::Latency;

impl WordsThread {
    pub(super) fn metrics(&self, mode: Mode) -> String {
        let mut out = Mntr(String::new());
        out.put("version", VERSION);
        out.put("server_state", mode.name());
        self.put_ensemble(&mut out, mode);
        self.put_gauges(&mut out);
        self.put_quotas(&mut out);
        let counters: BTreeMap<&str, u64> = self.shared.stats.counters.all().into_iter().collect();
        for name in COUNTERS {
            out.put(name, counters.get(name).copied().unwrap_or(0));
        }
        self.put_summaries(&mut out);
        self.put_own(&mut out, &counters);
        out.0
    }

    /// What only the members of an ensemble show.
    fn put_ensemble(&self, out: &mut Mntr, mode: Mode) {
        let doing = match mode {
            Mode::Standalone | Mode::ReadOnly => return,
            Mode::Leader => "leading",
            Mode::Follower => "following",
            Mode::Observer => "observing",
        };
        let Some(status) = self.status() else {
            return;
        };
        let zab = &status.zab;
        let phase = zab_state(zab.phase);
        out.put("peer_state", format!("{doing} - {phase}"));
        out.put("quorum_size", zab.quorum_size);
        let leader = zab.leader.map_or(-1, |leader| leader.0);
        if mode == Mode::Observer {
            out.put("observer_master_id", leader);
        }
        if mode != Mode::Leader {
            return;
        }
        let voter = |id| self.shared.ensemble.lock().is_voter(id);
        let (mut voting, mut guests) = (0, 0);
        for link in zab.links.iter().filter(|l| l.synced && !l.observer) {
            if voter(link.peer) {
                voting += 1;
            } else {
                guests += 1;
            }
        }
        out.put("learners", zab.links.len());
        out.put("synced_followers", voting);
        out.put("synced_non_voting_followers", guests);
        out.put("synced_observers", zab.synced_observers);
        out.put("pending_syncs", status.pending_syncs);
        let since = self.shared.role.lock().1;
        let leads_ms = self.shared.clock.now().millis_since(since);
        out.put("leader_uptime", leads_ms);
        let [last, min, max] = self.proposal_sizes();
        out.put("last_proposal_size", last);
        out.put("max_proposal_size", max);
        out.put("min_proposal_size", min);
    }

    /// Bytes of the last, the smallest and the largest proposal of this leader; -1 before there
    /// was one.
    pub(super) fn proposal_sizes(&self) -> [i64; 3] {
        let stats = &self.shared.stats;
        let sizes = &stats.proposal_size;
        if sizes.count() == 0 {
            return [-1; 3];
        }
        let last = stats.last_proposal_size.load(Ordering::Relaxed);
        [last, sizes.min(), sizes.max()].map(|size| i64::try_from(size).unwrap_or(i64::MAX))
    }

    fn put_summaries(&self, out: &mut Mntr) {
        let (stats, none, nothing) = (
            &self.shared.stats,
            Latency::default(),
            Percentiles::default(),
        );
        for name in SUMMARIES {
            out.put_summary(name, stats.summary(name).unwrap_or(&none));
        }
        for name in PERCENTILES {
            // Compat: C-02 of everything measured, not of a sample.
            let measured = stats.percentiles(name).unwrap_or(&nothing);
            out.put_summary(name, &measured.summary);
            for (shown, per_mille) in [("p50", 500), ("p95", 950), ("p99", 990), ("p999", 999)] {
                out.put(&format!("{shown}_{name}"), measured.percentile(per_mille));
            }
        }
        for (namespace, written) in stats.write_per_namespace.lock().iter() {
            out.put_summary(&format!("{namespace}_write_per_namespace"), written);
        }
    }

    fn put_gauges(&self, out: &mut Mntr) {
        let stats = &self.shared.stats;
        let latency = &stats.latency;
        out.put("avg_latency", double(latency.mean()));
        out.put("max_latency", latency.max());
        out.put("min_latency", latency.min());
        out.put(
            "packets_received",
            stats.counters.packets_received.load(Ordering::Relaxed),
        );
        out.put(
            "packets_sent",
            stats.counters.packets_sent.load(Ordering::Relaxed),
        );
        out.put("num_alive_connections", self.alive());
        out.put(
            "outstanding_requests",
            self.shared.outstanding.load(Ordering::Relaxed),
        );
        {
            let state = self.shared.state.read();
            out.put("znode_count", state.tree.node_count() + 1);
            out.put("ephemerals_count", state.ephemeral_count());
            out.put("approximate_data_size", state.tree.data_size());
            out.put("global_sessions", state.sessions().len());
        }
        out.put("watch_count", self.watch_count());
        let local = self.ask(|replica| replica.sessions().local_count());
        out.put("local_sessions", local.unwrap_or(0));
        let (open, max) = file_descriptors();
        out.put("open_file_descriptor_count", open);
        out.put("max_file_descriptor_count", max);
        let uptime = self.shared.clock.now().millis_since(self.shared.started);
        out.put("uptime", uptime);
        let sent = stats.response_size.count() > 0;
        let or_unset = |value: u64| {
            if sent {
                i64::try_from(value).unwrap_or(i64::MAX)
            } else {
                -1
            }
        };
        out.put(
            "last_client_response_size",
            or_unset(stats.last_response_size.load(Ordering::Relaxed)),
        );
        out.put(
            "max_client_response_size",
            or_unset(stats.response_size.max()),
        );
        out.put(
            "min_client_response_size",
            or_unset(stats.response_size.min()),
        );
        out.put(
            "auth_failed_count",
            stats.counters.auth_failed_count.load(Ordering::Relaxed),
        );
        let drop_chance = self.shared.throttle.lock().drop_chance();
        out.put("connection_drop_probability", double(drop_chance));
        out.put("outstanding_tls_handshake", 0);
        out.put("non_mtls_remote_conn_count", 0);
        out.put("non_mtls_local_conn_count", 0);
    }

    fn watch_count(&self) -> usize {
        let of_thread = |io: &Arc<Io>| {
            let own = io.shared.lock();
            own.watches.node_watches() + own.watches.child_watches()
        };
        self.shared.io.iter().map(of_thread).sum()
    }

    fn put_quotas(&self, out: &mut Mntr) {
        let state = self.shared.state.read();
        for (path, limits, usage) in state.quota_usages() {
            let name = path.trim_start_matches('/');
            let hard_or_soft = |hard: i64, soft: i64| if hard >= 0 { hard } else { soft };
            let bytes = hard_or_soft(limits.bytes_hard_limit(), limits.bytes());
            let count = hard_or_soft(limits.count_hard_limit(), limits.count());
            out.put(&format!("{name}_quota_bytes_limit_per_namespace"), bytes);
            out.put(
                &format!("{name}_quota_bytes_usage_per_namespace"),
                usage.bytes(),
            );
            out.put(&format!("{name}_quota_count_limit_per_namespace"), count);
            out.put(
                &format!("{name}_quota_count_usage_per_namespace"),
                usage.count(),
            );
        }
    }

    /// What Apache has no name for: how often each limit was met.
    fn put_own(&self, out: &mut Mntr, counters: &BTreeMap<&str, u64>) {
        for (name, value) in counters {
            let shown = COUNTERS.contains(name)
                || matches!(
                    *name,
                    "packets_received" | "packets_sent" | "auth_failed_count"
                );
            if !shown {
                out.put(&format!("roo_{name}"), value);
            }
        }
    }
}

struct Mntr(String);

impl Mntr {
    fn put(&mut self, name: &str, value: impl std::fmt::Display) {
        let _ = writeln!(self.0, "zk_{name}\t{value}");
    }

    fn put_summary(&mut self, name: &str, measured: &Latency) {
        self.put(&format!("avg_{name}"), double(measured.mean()));
        self.put(&format!("min_{name}"), measured.min());
        self.put(&format!("max_{name}"), measured.max());
        self.put(&format!("cnt_{name}"), measured.count());
        self.put(&format!("sum_{name}"), measured.total());
    }
}

/// Open descriptors of this process, and how many it may have.
fn file_descriptors() -> (usize, u64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    (open, limit.unwrap_or(u64::MAX))
}
