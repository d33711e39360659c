//! The four-letter words: asked on the clients' port, answered as text, byte-shaped as Apache's.
//! Java: `FourLetterCommands` and its commands.
//!
//! A thread of its own answers them, so that a long answer holds up no client.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::time::Duration;

use roo_proto::ids::{SessionId, Time};
use roo_replica::Replica;
use roo_replica::effect::CloseReason;
use roo_replica::sessions::Tracked;
use roo_store::data_dir::DataDir;
use roo_store::disk::Disk;

use super::connection_text::{put_connection, put_session};
use super::environment::environment;
use super::java_text::{date, double};
use super::standing::Mode;
use super::watchman::Watchman;
use crate::config::ServerConfig;
use crate::config::ensemble::LocalSessions;
use crate::shared_state::{Input, Mail, Place, Shared};
use crate::stats::ConnectionStats;

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
    /// How the server stands in its ensemble; a word of ours.
    // Compat: C-70 Apache has no such word.
    Peer = b"peer",
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

/// What a server without a leader says to most words.
const NOT_SERVING: &str = "This ZooKeeper instance is not currently serving requests";

/// The default of Apache's trace mask.
pub const TRACE_MASK: i64 = 306;

/// The thread looks about at least as often.
const ROUND: Duration = Duration::from_secs(1);

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
        let mut watchman = Watchman::default();
        let me = self.config.ensemble.as_ref().map(|member| member.me);
        loop {
            watchman.look(&self.shared, me);
            let request = match self.inbox.recv_timeout(ROUND) {
                Ok(request) => request,
                Err(RecvTimeoutError::Timeout) => continue,
                Err(RecvTimeoutError::Disconnected) => return,
            };
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
                .push((slot, generation, Mail::Word { len: answer.len() }));
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
        let mode = Mode::of(self.shared.role.lock().0);
        match (word, mode) {
            (Word::Ruok, _) => "imok".into(),
            (Word::Envi, _) => environment(),
            (Word::Gtmk, _) => self.shared.trace_mask.load(Ordering::Relaxed).to_string(),
            (Word::Stmk, _) => {
                let mask = argument.unwrap_or(TRACE_MASK);
                self.shared.trace_mask.store(mask, Ordering::Relaxed);
                mask.to_string()
            }
            (Word::Isro, None) => "null".into(),
            (Word::Peer, _) => self.standing(mode),
            (Word::TelnetClose, _) => String::new(),
            (Word::Hash, None) => NOT_SERVING.into(),
            (_, None) => format!("{NOT_SERVING}\n"),
            (word, Some(mode)) => self.answer_serving(word, mode),
        }
    }

    /// The answer of a server that serves clients.
    fn answer_serving(&self, word: Word, mode: Mode) -> String {
        match word {
            Word::Srvr => self.server(mode, ""),
            Word::Stat => self.server(mode, &self.clients()),
            Word::Conf => self.configuration(mode),
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
            Word::Dump => self.dump(mode),
            Word::Hash => self.digests(),
            Word::Isro if mode == Mode::ReadOnly => "ro".into(),
            Word::Isro => "rw".into(),
            Word::Mntr => self.metrics(mode),
            Word::Wchc => self.watches_by_session(),
            Word::Wchp => self.watches_by_path(),
            Word::Wchs => self.watches_in_brief(),
            // These do not ask how the server stands.
            Word::Ruok | Word::Envi | Word::Gtmk | Word::Stmk | Word::Peer | Word::TelnetClose => {
                String::new()
            }
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
        stats.reset_proposal_sizes();
        stats.counters.packets_received.store(0, Ordering::Relaxed);
        stats.counters.packets_sent.store(0, Ordering::Relaxed);
        stats
            .counters
            .fsync_threshold_exceed_count
            .store(0, Ordering::Relaxed);
    }

    pub(super) fn sizes(&self) -> (u64, u64) {
        self.dir.sizes(self.disk.as_ref()).unwrap_or_default()
    }

    pub(super) fn alive(&self) -> usize {
        self.shared.connections.lock().len()
    }

    fn server(&self, mode: Mode, clients: &str) -> String {
        let stats = &self.shared.stats;
        let counters = &stats.counters;
        let (zxid, nodes) = {
            let state = self.shared.state.read();
            (state.last_zxid(), state.tree.node_count() + 1)
        };
        let latency = &stats.latency;
        let read_only = match mode {
            Mode::ReadOnly => "READ-ONLY mode; serving only read-only clients\n",
            Mode::Standalone | Mode::Leader | Mode::Follower | Mode::Observer => "",
        };
        let mut out = format!("Zookeeper version: {VERSION}\n{read_only}{clients}");
        let _ = write!(
            out,
            "Latency min/avg/max: {}/{}/{}\nReceived: {}\nSent: {}\nConnections: {}\n\
             Outstanding: {}\nZxid: {zxid}\nMode: {}\nNode count: {nodes}\n",
            latency.min(),
            double(latency.mean()),
            latency.max(),
            counters.packets_received.load(Ordering::Relaxed),
            counters.packets_sent.load(Ordering::Relaxed),
            self.alive(),
            self.shared.outstanding.load(Ordering::Relaxed),
            mode.name(),
        );
        if mode == Mode::Leader {
            let [last, min, max] = self.proposal_sizes();
            let _ = writeln!(out, "Proposal sizes last/min/max: {last}/{min}/{max}");
        }
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

    fn configuration(&self, mode: Mode) -> String {
        let config = &self.config;
        let (snapshots, logs) = self.sizes();
        let port = config
            .client_address
            .map_or(-1, |address| i32::from(address.port()));
        let id = config.ensemble.as_ref().map_or(0, |member| member.me.0);
        let mut out = format!(
            "clientPort={port}\nsecureClientPort=-1\ndataDir={}\ndataDirSize={snapshots}\n\
             dataLogDir={}\ndataLogSize={logs}\ntickTime={}\nmaxClientCnxns={}\n\
             minSessionTimeout={}\nmaxSessionTimeout={}\nclientPortListenBacklog={}\nserverId={id}\n",
            self.dir.snapshots.display(),
            self.dir.logs.display(),
            config.tick_time_ms,
            config.max_client_cnxns,
            config.min_session_timeout_ms,
            config.max_session_timeout_ms,
            config.client_port_listen_backlog,
        );
        self.put_membership(&mut out, mode);
        out
    }

    /// Asks the replica on its own thread.
    pub(super) fn ask<T: Send + 'static>(
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

    fn dump(&self, mode: Mode) -> String {
        let mut out = String::from("SessionTracker dump:\n");
        match mode {
            Mode::Standalone => self.dump_expiring(&mut out, |_| true),
            Mode::Leader => {
                if self.dump_local(&mut out) {
                    out.push_str("Global ");
                }
                self.dump_expiring(&mut out, |tracked| !tracked.local);
            }
            Mode::Follower | Mode::Observer | Mode::ReadOnly => {
                self.dump_local(&mut out);
                self.dump_known(&mut out);
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

    /// Sessions by when they expire, where that is decided.
    fn dump_expiring(&self, out: &mut String, wanted: fn(&Tracked) -> bool) {
        let sessions = self
            .ask(move |replica| replica.sessions().by_expiry(wanted))
            .unwrap_or_default();
        let clock = self.shared.clock;
        let count: usize = sessions.values().map(Vec::len).sum();
        let _ = writeln!(out, "Session Sets ({})/({count}):", sessions.len());
        for (at, ids) in &sessions {
            let _ = writeln!(out, "{} expire at {}:", ids.len(), date(clock.wall_at(*at)));
            for id in ids {
                let _ = writeln!(out, "\t{id}");
            }
        }
    }

    /// Sessions that only this server knows, if the configuration allows such.
    fn dump_local(&self, out: &mut String) -> bool {
        let member = self.config.ensemble.as_ref();
        let local = member.is_some_and(|member| member.local_sessions != LocalSessions::Off);
        if local {
            out.push_str("Local ");
            self.dump_expiring(out, |tracked| tracked.local);
        }
        local
    }

    /// Sessions as a learner knows them. Java: `UpgradeableSessionTracker.dumpSessions`.
    fn dump_known(&self, out: &mut String) {
        let state = self.shared.state.read();
        let _ = writeln!(out, "Global Sessions({}):", state.sessions().len());
        for (session, timeout_ms) in state.sessions() {
            let _ = writeln!(out, "{session}\t{timeout_ms}ms");
        }
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
