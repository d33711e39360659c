//! The composition root: opens the directory, loads the state, starts the threads, and runs the
//! loop around the replica.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicUsize};
use std::sync::mpsc::{self, SyncSender};
use std::sync::{Arc, atomic::Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use mio::net::TcpListener;
use mio::{Poll, Waker};
use parking_lot::{Mutex, RwLock};
use roo_proto::connect::initial_session_id;
use roo_proto::op_code;
use roo_replica::effect::Effect;
use roo_replica::event::Event;
use roo_replica::reaper::ReaperRules;
use roo_replica::{Config as ReplicaConfig, Replica};
use roo_state::access::Providers;
use roo_state::prepare::PrepareRules;
use roo_state::state::Rules;
use roo_store::data_dir::{DataDir, read_my_id, take_initialize};
use roo_store::disk::{Disk, OsDisk};
use roo_store::error::StoreError;
use roo_store::log::writer::{LogOptions, LogWriter};
use socket2::{Domain, Socket, Type};
use thiserror::Error;

use crate::admin::words::{TRACE_MASK, WordsThread};
use crate::client::io_thread::{IoThread, WAKE};
use crate::client::settings::ClientSettings;
use crate::client::throttle::Throttle;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::dispatcher::Dispatcher;
use crate::limits;
use crate::loading::{self, LoadSettings, Loaded};
use crate::queue::BatchQueue;
use crate::shared_state::{Inbox, Input, Io, Shared};
use crate::snapshot_thread::{SnapshotInput, SnapshotThread};
use crate::stats::{Counters, ServerStats, in_ms};
use crate::storage_thread::{StorageInput, StorageThread};

/// The id of a server without an ensemble, as it stands in session ids. Java:
/// `SessionTrackerImpl` of `ZooKeeperServer`.
const STANDALONE_ID: i64 = 1;

/// Why a server cannot start.
#[derive(Debug, Error)]
pub enum StartError {
    /// Something about its files.
    #[error("{0}{advice}", advice = advice(.0))]
    Store(#[from] StoreError),
    /// Its port.
    #[error("cannot listen on {address}: {source}; {advice}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// The operating system's answer.
        source: io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// The operating system gives no thread or poll.
    #[error("the operating system refuses: {0}")]
    System(#[from] io::Error),
}

impl StartError {
    /// The exit code that Apache gives to the same failure.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Store(StoreError::Layout { .. } | StoreError::Locked { .. }) => 3,
            Self::Store(error @ StoreError::Io { .. }) if !advice(error).is_empty() => 3,
            Self::Store(StoreError::Io { .. } | StoreError::Corrupt { .. })
            | Self::Listen { .. }
            | Self::System(_) => 1,
        }
    }
}

/// What to do about a directory that the operating system does not let us use.
fn advice(error: &StoreError) -> &'static str {
    let StoreError::Io { source, .. } = error else {
        return "";
    };
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; dataDir, dataLogDir and all files in them must belong to the user of this process"
        }
        io::ErrorKind::NotADirectory => "; dataDir and dataLogDir must be directories",
        io::ErrorKind::IsADirectory => "; a file is expected there: move the directory away",
        io::ErrorKind::ReadOnlyFilesystem => "; dataDir and dataLogDir must be writable",
        io::ErrorKind::StorageFull => "; make room on its disk",
        _ => "",
    }
}

/// A running server.
pub struct Node {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    storage: Arc<BatchQueue<StorageInput>>,
    snapshots: SyncSender<SnapshotInput>,
    threads: Vec<JoinHandle<()>>,
    storage_thread: Option<JoinHandle<()>>,
}

impl Node {
    /// Starts a server; it serves when this returns.
    ///
    /// # Errors
    /// When its files or its port cannot be had, or its data is damaged.
    pub fn start(config: ServerConfig) -> Result<Self, StartError> {
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        // A port that is taken is told before a long load.
        let listener = config
            .client_address
            .map(|address| listen(address, &config))
            .transpose()?;
        let address = listener.as_ref().map(|(_, address)| *address);
        read_my_id(&disk, &config.data_dir)?;
        let dir = Arc::new(DataDir::open(
            disk.as_ref(),
            &config.data_dir,
            &config.data_log_dir,
            config.datadir_autocreate,
        )?);
        let clock = Clock::new();
        let loaded = loading::load(&disk, &dir, &load_settings(&config, clock))?;
        let (snapshot_due, fresh) = (loaded.replayed.records > 0, is_fresh(&loaded));
        let may_be_empty = take_initialize(disk.as_ref(), &config.data_dir)?;
        if fresh && !may_be_empty && !config.db_autocreate {
            return Err(unexpectedly_empty(&dir).into());
        }
        let io_threads = match config.io_threads {
            0 => thread::available_parallelism().map_or(1, usize::from),
            n => n,
        };
        let mut polls = Vec::new();
        let mut io = Vec::new();
        for _ in 0..io_threads {
            let poll = Poll::new()?;
            io.push(Arc::new(Io::new(Waker::new(poll.registry(), WAKE)?)));
            polls.push(poll);
        }
        let replica = Replica::new(replica_config(&config, clock), &loaded.state, clock.now());
        let stats = ServerStats::default();
        loaded.account(&stats);
        let shared = Arc::new(Shared {
            state: RwLock::new(loaded.state),
            io,
            inbox: Inbox::default(),
            outstanding: AtomicUsize::new(0),
            large_bytes: AtomicUsize::new(0),
            clock,
            stats,
            connections: Mutex::default(),
            by_address: Mutex::default(),
            throttle: Mutex::new(Throttle::new(config.connection_throttle, clock.now())),
            started: clock.now(),
            trace_mask: AtomicI64::new(TRACE_MASK),
            stopping: AtomicBool::new(false),
        });
        let starter = Starter {
            config: Arc::new(config),
            disk,
            dir,
            shared,
            address,
        };
        starter.start(
            listener.map(|(l, _)| l),
            polls,
            replica,
            fresh,
            snapshot_due,
        )
    }

    /// Where clients connect.
    #[must_use]
    pub const fn address(&self) -> Option<SocketAddr> {
        self.address
    }

    /// Stops serving: what was acknowledged is on disk when this returns.
    pub fn stop(mut self) {
        self.shared.inbox.push(Input::Stop);
        for thread in self.threads.drain(..1) {
            join(thread);
        }
        self.storage.push(StorageInput::Stop);
        if let Some(storage) = self.storage_thread.take() {
            join(storage);
        }
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.notify_all();
        // The thread is busy or gone if this fails; both end it.
        let _ = self.snapshots.try_send(SnapshotInput::Stop);
        for thread in self.threads.drain(..) {
            join(thread);
        }
    }
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the server had panicked");
    }
}

fn is_fresh(loaded: &Loaded) -> bool {
    loaded.snapshot.is_none() && loaded.replayed.records == 0
}

// Compat: C-19 Apache's server begins before its first transaction then.
fn unexpectedly_empty(dir: &DataDir) -> StoreError {
    StoreError::Layout {
        path: dir.snapshots.clone(),
        what: "there is no database, and db.autocreate=false forbids to begin one".into(),
        advice: "restore the missing one; to begin a new one, make a file initialize in dataDir"
            .into(),
    }
}

fn load_settings(config: &ServerConfig, clock: Clock) -> LoadSettings {
    LoadSettings {
        rules: Rules {
            extended_types: config.extended_types_enabled,
            emulate_353_ttl: config.emulate_353_ttl_nodes,
            enforce_quota: config.enforce_quota,
            digest: config.digest_enabled,
            skip_acl: config.skip_acl,
        },
        hash_seed: seed(clock),
        max_record: config
            .jute_max_buffer
            .saturating_add(config.jute_max_buffer_extra),
        trust_empty: config.snapshot_trust_empty,
    }
}

/// Differs between starts and processes, so that nobody can know which paths collide.
fn seed(clock: Clock) -> u64 {
    use std::hash::{BuildHasher, RandomState};
    RandomState::new().hash_one(clock.now().0)
}

fn replica_config(config: &ServerConfig, clock: Clock) -> ReplicaConfig {
    ReplicaConfig {
        tick_ms: config.tick_time_ms,
        min_session_timeout_ms: config.min_session_timeout_ms,
        max_session_timeout_ms: config.max_session_timeout_ms,
        prepare: PrepareRules {
            providers: Providers {
                digest: !config.auth.digest_disabled,
                ..Providers::default()
            },
            reconfig_enabled: config.reconfig_enabled,
            close_session_lists_paths: config.close_session_txn_enabled,
        },
        reaper: ReaperRules {
            check_interval_ms: config.container_check_interval_ms,
            max_per_minute: config.container_max_per_minute,
            max_never_used_ms: config.container_max_never_used_interval_ms,
        },
        snap_count: config.snap_count,
        snap_size_limit_bytes: config.snap_size_limit,
        throttled_op_wait_ms: config.throttled_op_wait_time_ms,
        max_field_bytes: config
            .jute_max_buffer
            .saturating_add(config.jute_max_buffer_extra),
        first_session: initial_session_id(STANDALONE_ID, clock.now().0),
        seed: seed(clock),
    }
}

fn client_settings(config: &ServerConfig) -> ClientSettings {
    ClientSettings {
        max_packet_bytes: config.jute_max_buffer,
        max_field_bytes: config
            .jute_max_buffer
            .saturating_add(config.jute_max_buffer_extra),
        max_client_cnxns: config.max_client_cnxns,
        max_cnxns: config.max_cnxns,
        global_outstanding_limit: config.global_outstanding_limit,
        request_throttle: config.request_throttle,
        large_request_threshold: config.large_request_threshold,
        large_request_max_bytes: config.large_request_max_bytes,
        sessionless_cnxn_timeout_ms: config.sessionless_cnxn_timeout_ms,
        max_in_flight_per_connection: config.max_in_flight_per_connection,
        connection_write_queue_bytes: config.connection_write_queue_bytes,
        tcp_keep_alive: config.client_tcp_keep_alive,
        enforce_auth_schemes: config.enforce_auth_schemes.clone(),
        trace_mask_settable: config.allows_word("stmk"),
        auth: config.auth.clone(),
    }
}

/// How many connections may wait to be accepted when the key says nothing.
const BACKLOG: i32 = 1024;

fn listen(
    address: SocketAddr,
    config: &ServerConfig,
) -> Result<(TcpListener, SocketAddr), StartError> {
    let backlog = match config.client_port_listen_backlog {
        n if n > 0 => n,
        _ => BACKLOG,
    };
    let open = || -> io::Result<(TcpListener, SocketAddr)> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
        socket.set_reuse_address(true)?;
        if address.is_ipv6() {
            socket.set_only_v6(false)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        socket.listen(backlog)?;
        let listener = TcpListener::from_std(socket.into());
        let address = listener.local_addr()?;
        Ok((listener, address))
    };
    open().map_err(|source| StartError::Listen {
        address,
        advice: match source.kind() {
            io::ErrorKind::AddrInUse => {
                "another program uses the port: stop it or choose another clientPort"
            }
            io::ErrorKind::AddrNotAvailable => {
                "clientPortAddress must be an address of this machine"
            }
            io::ErrorKind::PermissionDenied => {
                "ports below 1024 need privileges: choose another clientPort"
            }
            _ => "check clientPort and clientPortAddress",
        },
        source,
    })
}

/// What the threads are made of.
struct Starter {
    config: Arc<ServerConfig>,
    disk: Arc<dyn Disk>,
    dir: Arc<DataDir>,
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
}

impl Starter {
    fn start(
        self,
        mut listener: Option<TcpListener>,
        polls: Vec<Poll>,
        replica: Replica,
        fresh: bool,
        snapshot_due: bool,
    ) -> Result<Node, StartError> {
        let storage = Arc::new(BatchQueue::default());
        let (snapshots, snapshot_inbox) = mpsc::sync_channel(2);
        let snapshot_thread = SnapshotThread {
            shared: Arc::clone(&self.shared),
            inbox: snapshot_inbox,
            disk: Arc::clone(&self.disk),
            dir: Arc::clone(&self.dir),
            compression: self.config.snapshot_compression,
            with_last_zxid: self.config.serialize_last_processed_zxid,
            purge: (self.config.purge_interval_ms > 0).then(|| {
                (
                    self.config.snap_retain_count,
                    Duration::from_millis(self.config.purge_interval_ms),
                )
            }),
        };
        // Apache does not start from logs alone, so a new database needs its first snapshot
        // before its first record.
        if fresh {
            snapshot_thread.write()?;
        }
        if !self.config.force_sync {
            tracing::warn!("forceSync=no: acknowledged writes can be lost when the machine fails");
        }
        let storage_thread = self.spawn_storage(&storage)?;
        let mut threads = vec![self.spawn_replica(replica, &storage, &snapshots)?];
        threads.push(spawn("snapshots", move || snapshot_thread.run())?);
        if snapshot_due {
            // The channel is empty: nobody else has it yet.
            let _ = snapshots.try_send(SnapshotInput::Take);
        }
        let (words, word_inbox) = mpsc::sync_channel(limits::FOUR_LETTER_QUEUE);
        let words_thread = WordsThread {
            shared: Arc::clone(&self.shared),
            inbox: word_inbox,
            config: Arc::clone(&self.config),
            disk: Arc::clone(&self.disk),
            dir: Arc::clone(&self.dir),
        };
        threads.push(spawn("words", move || words_thread.run())?);
        let settings = Arc::new(client_settings(&self.config));
        for (index, poll) in polls.into_iter().enumerate() {
            let io_thread = IoThread::new(
                index,
                Arc::clone(&self.shared),
                Arc::clone(&settings),
                poll,
                listener.take(),
                words.clone(),
            )?;
            threads.push(spawn(&format!("io-{index}"), move || io_thread.run())?);
        }
        Ok(Node {
            shared: self.shared,
            address: self.address,
            storage,
            snapshots,
            threads,
            storage_thread: Some(storage_thread),
        })
    }

    fn spawn_storage(&self, queue: &Arc<BatchQueue<StorageInput>>) -> io::Result<JoinHandle<()>> {
        let options = LogOptions {
            preallocate: self.config.pre_alloc_size,
            size_limit: self.config.txn_log_size_limit,
            force_sync: self.config.force_sync,
        };
        let storage = StorageThread {
            shared: Arc::clone(&self.shared),
            queue: Arc::clone(queue),
            writer: LogWriter::new(Arc::clone(&self.disk), self.dir.logs.clone(), options),
            group_commit: self.config.group_commit,
            warning_threshold: Duration::from_millis(self.config.fsync_warning_threshold_ms),
        };
        spawn("storage", move || {
            let _guard = PoisonGuard("storage");
            if let Err(error) = storage.run() {
                fatal(&format!(
                    "cannot write the transaction log: {error}; nothing more is acknowledged; \
                     make room or mend the disk, then start again"
                ));
            }
        })
    }

    fn spawn_replica(
        &self,
        replica: Replica,
        storage: &Arc<BatchQueue<StorageInput>>,
        snapshots: &SyncSender<SnapshotInput>,
    ) -> io::Result<JoinHandle<()>> {
        let mut replica_loop = ReplicaLoop {
            shared: Arc::clone(&self.shared),
            replica,
            storage: Arc::clone(storage),
            snapshots: snapshots.clone(),
            records: Vec::new(),
        };
        spawn("replica", move || {
            let _guard = PoisonGuard("replica");
            replica_loop.run();
        })
    }
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> io::Result<JoinHandle<()>> {
    thread::Builder::new()
        .name(format!("roo-{name}"))
        .spawn(work)
}

/// Ends the process when a thread that must not fail panics: a server without it would seem to
/// live and answer nothing.
struct PoisonGuard(&'static str);

impl Drop for PoisonGuard {
    fn drop(&mut self) {
        if thread::panicking() {
            fatal(&format!("the {} thread has failed", self.0));
        }
    }
}

fn fatal(what: &str) -> ! {
    tracing::error!("{what}");
    std::process::exit(1)
}

/// The thread that owns the replica.
struct ReplicaLoop {
    shared: Arc<Shared>,
    replica: Replica,
    storage: Arc<BatchQueue<StorageInput>>,
    snapshots: SyncSender<SnapshotInput>,
    records: Vec<StorageInput>,
}

impl ReplicaLoop {
    fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut batch = Vec::new();
        let mut effects = Vec::new();
        loop {
            let now = shared.clock.now();
            let wait = self.replica.next_deadline().millis_since(now);
            shared.inbox.take(Duration::from_millis(wait), &mut batch);
            let (queued, began) = (batch.len(), Instant::now());
            if self.handle(&mut batch, &mut effects) {
                return;
            }
            let prepared = Instant::now();
            self.execute(&mut effects);
            if queued > 0 {
                let stats = &shared.stats;
                stats.prep_queue_size.add(queued as u64);
                stats.prep_process_time.add(in_ms(prepared - began));
                stats.proposal_process_time.add(in_ms(prepared.elapsed()));
            }
            if self.replica.can_commit() {
                let mut state = shared.state.write();
                let mut dispatcher = Dispatcher::new(&shared);
                self.replica.commit(&mut state, &mut dispatcher);
                dispatcher.finish();
            }
        }
    }

    /// Gives the replica what has come; true when the server ends.
    fn handle(&mut self, batch: &mut Vec<Input>, effects: &mut Vec<Effect>) -> bool {
        let shared = Arc::clone(&self.shared);
        let (now, wall) = (shared.clock.now(), shared.clock.wall());
        let state = shared.state.read();
        for input in batch.drain(..) {
            match input {
                Input::Event(event) => {
                    let (mut began, stats) = (None, &shared.stats);
                    if let Event::Requested(request) = &event {
                        stats.prep_queue_time.add(now.millis_since(request.arrived));
                        began = (request.op == op_code::CLOSE_SESSION).then(Instant::now);
                    }
                    self.replica.handle(now, wall, &state, event, effects);
                    if let Some(began) = began {
                        stats.close_session_prep_time.add(in_ms(began.elapsed()));
                    }
                }
                Input::Query(query) => query(&self.replica),
                Input::Stop => return true,
            }
        }
        if now >= self.replica.next_deadline() {
            for io in &shared.io {
                io.shared.lock().take_touches(|session, at| {
                    let event = Event::Touched { session, at };
                    self.replica.handle(now, wall, &state, event, effects);
                });
            }
            self.replica
                .handle(now, wall, &state, Event::DeadlineReached, effects);
        }
        false
    }

    fn execute(&mut self, effects: &mut Vec<Effect>) {
        if effects.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let queued = shared.clock.now();
        // Only what is told to connections needs their threads' locks, and those the state's.
        let mut told = Vec::new();
        for effect in effects.drain(..) {
            match effect {
                Effect::Append { zxid, record } => {
                    Counters::inc(&shared.stats.counters.outstanding_changes_queued);
                    self.records.push(StorageInput::Append {
                        zxid,
                        record,
                        queued,
                    });
                }
                Effect::RollLog => self.records.push(StorageInput::Roll),
                Effect::TakeSnapshot => {
                    if self.snapshots.try_send(SnapshotInput::Take).is_err() {
                        self.shared.inbox.push(Input::Event(Event::SnapshotEnded));
                    }
                }
                Effect::Connected { .. } | Effect::Close { .. } => told.push(effect),
            }
        }
        self.storage.push_all(&mut self.records);
        if told.is_empty() {
            return;
        }
        let state = shared.state.read();
        let mut dispatcher = Dispatcher::new(&shared);
        for effect in told {
            match effect {
                Effect::Connected { conn, response } => dispatcher.handshake(conn, &response),
                Effect::Close { conn, why } => dispatcher.cut(conn, why),
                Effect::Append { .. } | Effect::RollLog | Effect::TakeSnapshot => {}
            }
        }
        dispatcher.finish();
        drop(state);
    }
}
