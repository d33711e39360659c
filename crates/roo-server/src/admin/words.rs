//! The four-letter words: asked on the clients' port, answered as text, byte-shaped as Apache's.
//! Java: `FourLetterCommands` and its commands.
//!
//! A thread of its own answers them, so that a long answer holds up no client.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use roo_proto::ids::{SessionId, Time};
use roo_proto::op_code;
use roo_replica::Replica;
use roo_replica::effect::CloseReason;
use roo_store::data_dir::DataDir;
use roo_store::disk::Disk;

use super::java_text::{date, double};
use super::metric_names::{COUNTERS, PERCENTILES, SUMMARIES};
use crate::config::ServerConfig;
use crate::histogram::Percentiles;
use crate::shared_state::{Input, Mail, Place, Shared};
use crate::stats::{ConnectionStats, Latency};

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident = $text:literal),* $(,)?) => {
        /// A word.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Word {
            $($(#[$doc])* $name,)*
            /// What telnet sends when it closes.
            TelnetClose,
        }

        impl Word {
            /// The word in the first four bytes of a connection.
            #[must_use]
            pub const fn recognise(bytes: [u8; 4]) -> Option<Self> {
                $(if matches!(u32::from_be_bytes(bytes), v if v == u32::from_be_bytes(*$text)) {
                    return Some(Self::$name);
                })*
                if u32::from_be_bytes(bytes) == 0xFFF4_FFFD {
                    return Some(Self::TelnetClose);
                }
                None
            }

            /// As the whitelist and refusals name it.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self {
                    $(Self::$name => match core::str::from_utf8($text) {
                        Ok(text) => text,
                        Err(_) => "",
                    },)*
                    Self::TelnetClose => "telnet close",
                }
            }
        }
    };
}

words! {
    /// The configuration.
    Conf = b"conf",
    /// Every connection.
    Cons = b"cons",
    /// Resets what is counted of connections.
    Crst = b"crst",
    /// Sizes of the directories.
    Dirs = b"dirs",
    /// Sessions and ephemerals.
    Dump = b"dump",
    /// The environment.
    Envi = b"envi",
    /// The trace mask.
    Gtmk = b"gtmk",
    /// Digests of the tree.
    Hash = b"hash",
    /// Read-only or not.
    Isro = b"isro",
    /// The metrics.
    Mntr = b"mntr",
    /// Whether the process lives.
    Ruok = b"ruok",
    /// The server in brief.
    Srvr = b"srvr",
    /// Resets what is counted of the server.
    Srst = b"srst",
    /// The server and its connections.
    Stat = b"stat",
    /// Sets the trace mask.
    Stmk = b"stmk",
    /// Watches by session.
    Wchc = b"wchc",
    /// Watches by path.
    Wchp = b"wchp",
    /// Watches in brief.
    Wchs = b"wchs",
}

/// Bytes of `stmk` and its mask.
const STMK_SIZE: usize = 12;

impl Word {
    /// Whether more bytes must come before it can be answered.
    #[must_use]
    pub fn needs_more(self, have: usize, mask_settable: bool) -> bool {
        self == Self::Stmk && mask_settable && have < STMK_SIZE
    }
}

/// A word that somebody asked.
#[derive(Clone, Copy, Debug)]
pub struct WordRequest {
    /// Who.
    pub place: Place,
    /// Which.
    pub word: Word,
    /// The mask behind `stmk`.
    pub argument: Option<i64>,
}

/// The version that clients see. Many parse it to learn what the server can do, so it names the
/// Apache release whose protocol this is.
// Compat: C-01 the revision names RooKeeper.
pub const VERSION: &str = concat!(
    "3.9.5-rookeeper-",
    env!("CARGO_PKG_VERSION"),
    ", built on 2026-11-24 00:00 UTC"
);

/// The default of Apache's trace mask.
pub const TRACE_MASK: i64 = 306;

/// See the module.
pub struct WordsThread {
    /// What the server shares.
    pub shared: Arc<Shared>,
    /// Who asks.
    pub inbox: Receiver<WordRequest>,
    /// What the operator wants.
    pub config: Arc<ServerConfig>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// The directories.
    pub dir: Arc<DataDir>,
}

impl WordsThread {
    /// Answers until the server ends.
    pub fn run(self) {
        while let Ok(request) = self.inbox.recv() {
            let answer = self.answer(request.word, request.argument);
            let Some(io) = self.shared.io.get(request.place.io) else {
                continue;
            };
            let mut own = io.shared.lock();
            let Place {
                slot, generation, ..
            } = request.place;
            own.mailbox.bytes.extend_from_slice(answer.as_bytes());
            own.mailbox
                .items
                .push((slot, generation, Mail::Frames { len: answer.len() }));
            let close = Mail::Close {
                why: CloseReason::SessionClosed,
                flush: true,
            };
            own.mailbox.items.push((slot, generation, close));
            drop(own);
            io.notify();
        }
    }

    /// The answer to a word.
    #[must_use]
    pub fn answer(&self, word: Word, argument: Option<i64>) -> String {
        if !self.config.allows_word(word.name()) {
            return format!(
                "{} is not executed because it is not in the whitelist.\n",
                word.name()
            );
        }
        match word {
            Word::Ruok => "imok".into(),
            Word::Srvr => self.server(""),
            Word::Stat => self.server(&self.clients()),
            Word::Conf => self.configuration(),
            Word::Cons => self.connections(),
            Word::Crst => {
                self.each_connection(|stats| stats.reset());
                "Connection stats reset.\n".into()
            }
            Word::Srst => {
                self.reset_server();
                "Server stats reset.\n".into()
            }
            Word::Dirs => {
                let (snapshots, logs) = self.sizes();
                format!("datadir_size: {snapshots}\nlogdir_size: {logs}\n")
            }
            Word::Dump => self.dump(),
            Word::Envi => environment(),
            Word::Gtmk => self.shared.trace_mask.load(Ordering::Relaxed).to_string(),
            Word::Stmk => {
                let mask = argument.unwrap_or(TRACE_MASK);
                self.shared.trace_mask.store(mask, Ordering::Relaxed);
                mask.to_string()
            }
            Word::Hash => self.digests(),
            Word::Isro => "rw".into(),
            Word::Mntr => self.metrics(),
            Word::Wchc => self.watches_by_session(),
            Word::Wchp => self.watches_by_path(),
            Word::Wchs => self.watches_in_brief(),
            Word::TelnetClose => String::new(),
        }
    }

    fn each_connection(&self, mut f: impl FnMut(&ConnectionStats)) {
        let connections: Vec<Arc<ConnectionStats>> =
            self.shared.connections.lock().values().cloned().collect();
        for stats in connections {
            f(&stats);
        }
    }

    fn reset_server(&self) {
        let stats = &self.shared.stats;
        stats.latency.reset();
        stats.response_size.reset();
        stats.last_response_size.store(0, Ordering::Relaxed);
        stats.counters.packets_received.store(0, Ordering::Relaxed);
        stats.counters.packets_sent.store(0, Ordering::Relaxed);
        stats
            .counters
            .fsync_threshold_exceed_count
            .store(0, Ordering::Relaxed);
    }

    fn sizes(&self) -> (u64, u64) {
        self.dir.sizes(self.disk.as_ref()).unwrap_or_default()
    }

    fn alive(&self) -> usize {
        self.shared.connections.lock().len()
    }

    fn server(&self, clients: &str) -> String {
        let stats = &self.shared.stats;
        let counters = &stats.counters;
        let (zxid, nodes) = {
            let state = self.shared.state.read();
            (state.last_zxid(), state.tree.node_count() + 1)
        };
        let latency = &stats.latency;
        let mut out = format!("Zookeeper version: {VERSION}\n{clients}");
        let _ = write!(
            out,
            "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\n\
             Outstanding: {}\nZxid: {zxid}\nMode: standalone\nNode count: {nodes}\n",
            latency.min(),
            double(latency.mean()),
            latency.max(),
            counters.packets_received.load(Ordering::Relaxed),
            counters.packets_sent.load(Ordering::Relaxed),
            self.alive(),
            self.shared.outstanding.load(Ordering::Relaxed),
        );
        out
    }

    fn clients(&self) -> String {
        let mut out = String::from("Clients:\n");
        self.each_connection(|stats| {
            put_connection(&mut out, stats);
            out.push_str(")\n");
        });
        out.push('\n');
        out
    }

    fn connections(&self) -> String {
        let mut out = String::new();
        self.each_connection(|stats| {
            put_connection(&mut out, stats);
            put_session(&mut out, stats);
            out.push_str(")\n");
        });
        out.push('\n');
        out
    }

    fn configuration(&self) -> String {
        let config = &self.config;
        let (snapshots, logs) = self.sizes();
        let port = config
            .client_address
            .map_or(-1, |address| i32::from(address.port()));
        format!(
            "clientPort={port}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={snapshots}\n\
             dataLogDir={}\ndataLogSize={logs}\ntickTime={}\nmaxClientCnxns={}\n\
             minSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog={}\nserverId=0\n",
            self.dir.snapshots.display(),
            self.dir.logs.display(),
            config.tick_time_ms,
            config.max_client_cnxns,
            config.min_session_timeout_ms,
            config.max_session_timeout_ms,
            config.client_port_listen_backlog,
        )
    }

    /// Asks the replica on its own thread.
    fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Replica) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = mpsc::sync_channel(1);
        let query = move |replica: &Replica| {
            // Whoever asked may have given up.
            let _ = answer.send(question(replica));
        };
        self.shared.inbox.push(Input::Query(Box::new(query)));
        answered.recv_timeout(Duration::from_secs(10)).ok()
    }

    fn dump(&self) -> String {
        let sessions = self
            .ask(|replica| replica.sessions().by_expiry())
            .unwrap_or_default();
        let clock = self.shared.clock;
        let count: usize = sessions.values().map(Vec::len).sum();
        let mut out = format!(
            "SessionTracker dump:\nSession Sets ({})/({count}):\n",
            sessions.len()
        );
        for (at, ids) in &sessions {
            let _ = writeln!(out, "{} expire at {}:", ids.len(), date(clock.wall_at(*at)));
            for id in ids {
                let _ = writeln!(out, "\t{id}");
            }
        }
        out.push_str("ephemeral nodes dump:\n");
        {
            let state = self.shared.state.read();
            let owners: Vec<SessionId> = state.sessions_with_ephemerals().collect();
            let _ = writeln!(out, "Sessions with Ephemerals ({}):", owners.len());
            for owner in owners {
                let _ = writeln!(out, "{owner}:");
                for path in state.ephemerals(owner) {
                    let _ = writeln!(out, "\t{path}");
                }
            }
        }
        self.dump_connections(&mut out);
        out
    }

    /// Connections by when they would be closed: sessionless ones soon, the others with their
    /// session's timeout.
    fn dump_connections(&self, out: &mut String) {
        let clock = self.shared.clock;
        let mut sets: BTreeMap<u64, Vec<String>> = BTreeMap::new();
        let mut count = 0;
        self.each_connection(|stats| {
            count += 1;
            let session = SessionId(stats.session.load(Ordering::Relaxed));
            let timeout = u64::from(stats.timeout_ms.load(Ordering::Relaxed).unsigned_abs());
            let heard = stats
                .last_response
                .load(Ordering::Relaxed)
                .max(stats.established.0);
            let timeout = if timeout == 0 {
                self.config.sessionless_cnxn_timeout_ms
            } else {
                timeout
            };
            let interval = self.config.sessionless_cnxn_timeout_ms.max(1);
            let bucket = ((heard + timeout) / interval + 1) * interval;
            let line = format!("\tip: /{} sessionId: {session}", stats.peer);
            sets.entry(bucket).or_default().push(line);
        });
        let _ = writeln!(
            out,
            "Connections dump:\nConnections Sets ({})/({count}):",
            sets.len()
        );
        for (at, lines) in sets {
            let _ = writeln!(
                out,
                "{} expire at {}:",
                lines.len(),
                date(clock.wall_at(Time(at)))
            );
            for line in lines {
                let _ = writeln!(out, "{line}");
            }
        }
    }

    fn digests(&self) -> String {
        let state = self.shared.state.read();
        let mut out = String::new();
        for (zxid, digest) in state.digest_ring() {
            let _ = writeln!(out, "{:x}: {}", zxid.0, digest.cast_signed());
        }
        out
    }

    /// Watches on nodes and data, with the sessions that have them.
    fn each_watch(&self, mut f: impl FnMut(&str, SessionId)) {
        for io in &self.shared.io {
            let own = io.shared.lock();
            own.watches.for_each_node_watch(|path, watcher| {
                if let Some(peer) = own.peers.get(watcher.0 as usize) {
                    f(path, peer.session);
                }
            });
        }
    }

    fn watches_by_session(&self) -> String {
        let mut sessions: BTreeMap<SessionId, Vec<String>> = BTreeMap::new();
        self.each_watch(|path, session| sessions.entry(session).or_default().push(path.into()));
        let mut out = String::new();
        for (session, paths) in sessions {
            let _ = writeln!(out, "{session}");
            for path in paths {
                let _ = writeln!(out, "\t{path}");
            }
        }
        out.push('\n');
        out
    }

    fn watches_by_path(&self) -> String {
        let mut paths: BTreeMap<String, Vec<SessionId>> = BTreeMap::new();
        self.each_watch(|path, session| paths.entry(path.into()).or_default().push(session));
        let mut out = String::new();
        for (path, sessions) in paths {
            let _ = writeln!(out, "{path}");
            for session in sessions {
                let _ = writeln!(out, "\t{session}");
            }
        }
        out.push('\n');
        out
    }

    fn watches_in_brief(&self) -> String {
        let mut sessions = std::collections::BTreeSet::new();
        let mut paths = std::collections::BTreeSet::new();
        let mut total = 0;
        self.each_watch(|path, session| {
            sessions.insert(session);
            paths.insert(path.to_owned());
            total += 1;
        });
        let (sessions, paths) = (sessions.len(), paths.len());
        format!("{sessions} connections watching {paths} paths\nTotal watches:{total}\n")
    }

    fn metrics(&self) -> String {
        let mut out = Mntr(String::new());
        out.put("version", VERSION);
        out.put("server_state", "standalone");
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
        let watches: usize = self
            .shared
            .io
            .iter()
            .map(|io| {
                let own = io.shared.lock();
                own.watches.node_watches() + own.watches.child_watches()
            })
            .sum();
        out.put("watch_count", watches);
        out.put("local_sessions", 0);
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

fn put_connection(out: &mut String, stats: &ConnectionStats) {
    let interest = i32::from(stats.reading.load(Ordering::Relaxed));
    let _ = write!(
        out,
        " /{}[{interest}](queued={},recved={},sent={}",
        stats.peer,
        stats.outstanding.load(Ordering::Relaxed).max(0),
        stats.received.load(Ordering::Relaxed),
        stats.sent.load(Ordering::Relaxed),
    );
}

fn put_session(out: &mut String, stats: &ConnectionStats) {
    let session = stats.session.load(Ordering::Relaxed);
    if session == 0 {
        return;
    }
    let load = |value: &std::sync::atomic::AtomicU64| value.load(Ordering::Relaxed);
    let _ = write!(
        out,
        ",sid={},lop={},est={},to={}",
        SessionId(session),
        op_name(stats.last_op.load(Ordering::Relaxed)),
        stats.established.0,
        stats.timeout_ms.load(Ordering::Relaxed),
    );
    let cxid = stats.last_cxid.load(Ordering::Relaxed);
    if cxid >= 0 {
        let _ = write!(out, ",lcxid=0x{cxid:x}");
    }
    let _ = write!(
        out,
        ",lzxid=0x{:x},lresp={},llat={},minlat={},avglat={},maxlat={}",
        stats.last_zxid.load(Ordering::Relaxed),
        load(&stats.last_response),
        load(&stats.last_latency),
        stats.latency.min(),
        stats.latency.total() / stats.latency.count().max(1),
        stats.latency.max(),
    );
}

/// The short names of operations. Java: `Request.op2String` cut to four letters.
const fn op_name(op: i32) -> &'static str {
    match op {
        op_code::PING => "PING",
        op_code::CREATE_SESSION => "SESS",
        op_code::MULTI => "MULT",
        op_code::MULTI_READ => "MLTR",
        op_code::CREATE | op_code::CREATE2 | op_code::CREATE_CONTAINER | op_code::CREATE_TTL => {
            "CREA"
        }
        op_code::DELETE | op_code::DELETE_CONTAINER => "DELE",
        op_code::SET_DATA => "SETD",
        op_code::RECONFIG => "RECO",
        op_code::SET_ACL => "SETA",
        op_code::CLOSE_SESSION => "CLOS",
        op_code::SYNC => "SYNC",
        op_code::CHECK => "CHEC",
        op_code::EXISTS => "EXIS",
        op_code::GET_DATA => "GETD",
        op_code::SET_WATCHES => "SETW",
        op_code::SET_WATCHES2 => "STW2",
        op_code::ADD_WATCH => "ADDW",
        op_code::GET_ACL => "GETA",
        op_code::GET_CHILDREN | op_code::GET_CHILDREN2 => "GETC",
        op_code::GET_ALL_CHILDREN_NUMBER => "GETACN",
        op_code::CHECK_WATCHES => "CHKW",
        op_code::REMOVE_WATCHES => "REMW",
        op_code::WHO_AM_I => "HOMI",
        op_code::GET_EPHEMERALS => "GETE",
        _ => "NA",
    }
}

/// Open descriptors of this process, and how many it may have.
fn file_descriptors() -> (usize, u64) {
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    (open, limit.unwrap_or(u64::MAX))
}

/// Java's keys, with what they mean here.
// Compat: C-03 there is no Java to describe.
fn environment() -> String {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let directory = std::env::current_dir().unwrap_or_default();
    let uname = rustix::system::uname();
    let mut out = String::from("Environment:\n");
    let host = uname.nodename().to_string_lossy().into_owned();
    let release = uname.release().to_string_lossy().into_owned();
    for (key, value) in [
        ("zookeeper.version", VERSION.to_owned()),
        ("host.name", host),
        ("java.version", "<NA>".into()),
        ("java.vendor", "RooKeeper".into()),
        ("java.home", "<NA>".into()),
        ("java.class.path", "<NA>".into()),
        ("java.library.path", "<NA>".into()),
        ("java.io.tmpdir", std::env::temp_dir().display().to_string()),
        ("java.compiler", "<NA>".into()),
        ("os.name", uname.sysname().to_string_lossy().into_owned()),
        ("os.arch", uname.machine().to_string_lossy().into_owned()),
        ("os.version", release),
        ("user.name", variable("USER")),
        ("user.home", variable("HOME")),
        ("user.dir", directory.display().to_string()),
        ("os.memory.free", memory("MemFree:")),
        ("os.memory.max", memory("MemTotal:")),
        ("os.memory.total", memory("MemTotal:")),
    ] {
        let _ = writeln!(out, "{key}={value}");
    }
    out
}

/// A line of /proc/meminfo in MB.
fn memory(name: &str) -> String {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let kib: u64 = line
        .and_then(|l| l.split_whitespace().next()?.parse().ok())
        .unwrap_or(0);
    format!("{}MB", kib / 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_recognised_exactly() {
        assert_eq!(Word::recognise(*b"ruok"), Some(Word::Ruok));
        assert_eq!(Word::recognise(*b"RUOK"), None);
        assert_eq!(
            Word::recognise([0xFF, 0xF4, 0xFF, 0xFD]),
            Some(Word::TelnetClose)
        );
        assert_eq!(Word::Stmk.name(), "stmk");
        assert!(Word::Stmk.needs_more(11, true) && !Word::Stmk.needs_more(4, false));
    }
}
