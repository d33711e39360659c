//! The composition root: opens the directory, loads the state, starts the threads, and runs the
//! loop around the replica.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, atomic::Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use mio::{Poll, Waker};
use parking_lot::{Mutex, RwLock};
use roo_peer::PeerLinks;
use roo_proto::connect::initial_session_id;
use roo_replica::read_path::ReadMode;
use roo_replica::reaper::ReaperRules;
use roo_replica::{Config as ReplicaConfig, LocalSessions, Replica};
use roo_state::access::Providers;
use roo_state::prepare::PrepareRules;
use roo_state::state::Rules;
use roo_store::data_dir::{DataDir, read_my_id};
use roo_store::disk::{Disk, OsDisk};
use roo_store::error::StoreError;
use roo_store::log::writer::{LogOptions, LogWriter};
use thiserror::Error;

use crate::admin::words::{TRACE_MASK, WordRequest, WordsThread};
use crate::backlog::Backlog;
use crate::client::door::{Door, ListenError, Port};
use crate::client::io_thread::{IoThread, Sockets, WAKE};
use crate::client::settings::ClientSettings;
use crate::client::throttle::Throttle;
use crate::clock::Clock;
use crate::config::ServerConfig;
use crate::fatal::PoisonGuard;
use crate::gather::Gather;
use crate::limits;
use crate::loading::{self, LoadSettings, Loaded};
use crate::member::{self, DynamicFiles};
use crate::peer_inbox::SliceWay;
use crate::queue::BatchQueue;
use crate::replica_loop::{Ensemble, ReplicaLoop, Ways};
use crate::resync::{HistoryInput, HistoryThread, Rewinder};
use crate::shared_state::{Inbox, Input, Io, Shared};
use crate::snapshot_thread::{SnapshotInput, SnapshotThread};
use crate::stats::ServerStats;
use crate::storage_thread::{LogKeeper, MemberFiles, Storage};

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
    #[error("{0}")]
    Listen(#[from] ListenError),
    /// The port for other servers.
    #[error("{0}")]
    Peers(#[from] roo_peer::grpc::StartError),
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
            | Self::Listen(_)
            | Self::System(_) => 1,
            Self::Peers(_) => 14,
        }
    }
}

/// What to do about a file that the operating system does not let us use; the store knows what to
/// do about the directories.
fn advice(error: &StoreError) -> &'static str {
    let StoreError::Io { source, .. } = error else {
        return "";
    };
    match source.kind() {
        io::ErrorKind::PermissionDenied => {
            "; all files in dataDir and dataLogDir must belong to the user of this process"
        }
        io::ErrorKind::IsADirectory => "; a file is expected there: move the directory away",
        io::ErrorKind::StorageFull => "; make room on its disk",
        _ => "",
    }
}

/// A running server.
pub struct Node {
    shared: Arc<Shared>,
    address: Option<SocketAddr>,
    storage: Arc<Storage>,
    snapshots: SyncSender<SnapshotInput>,
    links: Option<Arc<dyn PeerLinks>>,
    history: Option<Arc<BatchQueue<HistoryInput>>>,
    slices: Option<Arc<SliceWay>>,
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
        let port = config.client_address.map(Port::take).transpose()?;
        let address = port.as_ref().map(|port| port.address);
        let dir = Arc::new(DataDir::open(
            disk.as_ref(),
            &config.data_dir,
            &config.data_log_dir,
            config.datadir_autocreate,
        )?);
        read_my_id(&disk, &config.data_dir)?;
        let clock = Clock::new();
        let loaded = load(&disk, &dir, &config, clock)?;
        let (snapshot_due, fresh) = (loaded.replayed.records > 0, is_fresh(&loaded));
        if fresh && !config.db_autocreate && !dir.has_initialize(disk.as_ref())? {
            return Err(unexpectedly_empty(&dir).into());
        }
        let (polls, io) = io_parts(config.io_threads)?;
        let for_replica = replica_config(&config, clock);
        let replica = match &config.ensemble {
            None => Replica::standalone(for_replica, &loaded.state, clock.now()),
            Some(ensemble) => member::replica(
                &config,
                ensemble,
                for_replica,
                disk.as_ref(),
                &dir,
                &loaded.state,
                clock.now(),
            )?,
        };
        let stats = ServerStats::default();
        loaded.account(&stats);
        let shared = Arc::new(Shared {
            state: RwLock::new(loaded.state),
            state_generation: AtomicU64::new(0),
            is_member: config.ensemble.is_some(),
            role: Mutex::new((replica.role(), clock.now())),
            ensemble: Mutex::new(member::in_force(&config)),
            peers: Mutex::default(),
            reads_in_rounds: AtomicBool::new(false),
            io,
            inbox: Inbox::default(),
            outstanding: AtomicUsize::new(0),
            held: AtomicUsize::new(0),
            large_bytes: AtomicUsize::new(0),
            storage_bytes: AtomicUsize::new(0),
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
        starter.start(port, polls, replica, fresh, snapshot_due)
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
        if let Some(links) = &self.links {
            links.shutdown();
        }
        // A snapshot that is being installed would be waited for.
        if let Some(slices) = &self.slices {
            slices.end_all();
        }
        if let Some(history) = &self.history {
            history.push(HistoryInput::Stop);
        }
        self.storage.stop();
        if let Some(storage) = self.storage_thread.take() {
            join(storage);
        }
        self.shared.stopping.store(true, Ordering::SeqCst);
        self.shared.notify_all();
        // Without links what waits before it is soon done. The thread is gone if this fails.
        let _ = self.snapshots.send(SnapshotInput::Stop);
        for thread in self.threads.drain(..) {
            join(thread);
        }
    }
}

/// What the I/O threads wait on, and what others see of them. 0 is one for each core.
fn io_parts(io_threads: usize) -> io::Result<(Vec<Poll>, Vec<Arc<Io>>)> {
    let io_threads = match io_threads {
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
    Ok((polls, io))
}

fn join(thread: JoinHandle<()>) {
    if thread.join().is_err() {
        tracing::error!("a thread of the server had panicked");
    }
}

fn load(
    disk: &Arc<dyn Disk>,
    dir: &DataDir,
    config: &ServerConfig,
    clock: Clock,
) -> Result<Loaded, StoreError> {
    let mut loaded = loading::load(disk, dir, &load_settings(config, clock))?;
    if let Some(member) = &config.ensemble {
        member::show_ensemble(&mut loaded.state, &member.ensemble);
    }
    Ok(loaded)
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
    let server_id = config.ensemble.as_ref().map_or(STANDALONE_ID, |e| e.me.0);
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
            max_listed_bytes: config.jute_max_buffer / 2,
            max_txn_bytes: config
                .jute_max_buffer
                .saturating_add(config.jute_max_buffer_extra),
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
        first_session: initial_session_id(server_id, clock.now().0),
        seed: seed(clock),
        read_mode: ReadMode::Local,
        min_voters: 2,
        leader_serves: true,
        local_sessions: LocalSessions::Off,
        read_only_after_ms: None,
        learner_request_bytes: limits::LEARNER_REQUEST_BYTES,
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
        port: Option<Port>,
        polls: Vec<Poll>,
        replica: Replica,
        fresh: bool,
        snapshot_due: bool,
    ) -> Result<Node, StartError> {
        let storage = Arc::new(Storage::new(self.log_keeper()));
        let ensemble = match &self.config.ensemble {
            None => None,
            Some(ensemble) => Some(member::connect(&self.config, ensemble, &self.shared)?),
        };
        let links = ensemble.as_ref().map(|e| Arc::clone(&e.links));
        let (snapshots, snapshot_inbox) = mpsc::sync_channel(limits::SNAPSHOT_QUEUE);
        let snapshot_thread = self.snapshot_thread(snapshot_inbox, links.clone());
        // Apache does not start from logs alone, so a new database needs its first snapshot
        // before its first record.
        if fresh {
            snapshot_thread.write(|| {})?;
        }
        self.dir.remove_initialize(self.disk.as_ref())?;
        if !self.config.force_sync {
            tracing::warn!("forceSync=no: acknowledged writes can be lost when the machine fails");
        }
        let (words, word_inbox) = mpsc::sync_channel(limits::FOUR_LETTER_QUEUE);
        let io_threads = self.io_threads(port, polls, &words)?;
        let sockets = io_threads.iter().map(IoThread::sockets).collect();
        let storage_thread = Self::spawn_storage(&storage)?;
        let history = ensemble.as_ref().map(|e| Arc::clone(&e.history));
        let slices = ensemble.as_ref().map(|e| Arc::clone(&e.inbox.slices));
        let mut threads = Vec::new();
        if let Some(ensemble) = &ensemble {
            let thread = self.history_thread(ensemble);
            threads.push(spawn("history", move || thread.run())?);
        }
        threads.insert(
            0,
            self.spawn_replica(replica, &storage, &snapshots, sockets, ensemble)?,
        );
        threads.push(spawn("snapshots", move || snapshot_thread.run())?);
        // What a member holds may yet be taken back; a server alone is sure of it.
        if snapshot_due && links.is_none() {
            // The channel is empty: nobody else has it yet.
            let _ = snapshots.try_send(SnapshotInput::Take);
        }
        let words_thread = WordsThread {
            shared: Arc::clone(&self.shared),
            inbox: word_inbox,
            config: Arc::clone(&self.config),
            disk: Arc::clone(&self.disk),
            dir: Arc::clone(&self.dir),
        };
        threads.push(spawn("words", move || words_thread.run())?);
        for (index, io_thread) in io_threads.into_iter().enumerate() {
            threads.push(spawn(&format!("io-{index}"), move || {
                let _guard = PoisonGuard("I/O");
                io_thread.run();
            })?);
        }
        Ok(Node {
            shared: self.shared,
            address: self.address,
            storage,
            snapshots,
            links,
            history,
            slices,
            threads,
            storage_thread: Some(storage_thread),
        })
    }

    fn io_threads(
        &self,
        port: Option<Port>,
        polls: Vec<Poll>,
        words: &SyncSender<WordRequest>,
    ) -> Result<Vec<IoThread>, StartError> {
        let settings = Arc::new(client_settings(&self.config));
        let backlog = self.config.client_port_listen_backlog;
        let mut listener = port.map(|port| port.listen(backlog)).transpose()?;
        let new = |(index, poll)| {
            let (shared, settings) = (Arc::clone(&self.shared), Arc::clone(&settings));
            IoThread::new(
                index,
                shared,
                settings,
                poll,
                listener.take(),
                words.clone(),
            )
        };
        Ok(polls
            .into_iter()
            .enumerate()
            .map(new)
            .collect::<io::Result<_>>()?)
    }

    fn snapshot_thread(
        &self,
        inbox: Receiver<SnapshotInput>,
        links: Option<Arc<dyn PeerLinks>>,
    ) -> SnapshotThread {
        SnapshotThread {
            shared: Arc::clone(&self.shared),
            inbox,
            disk: Arc::clone(&self.disk),
            dir: Arc::clone(&self.dir),
            compression: self.config.snapshot_compression,
            with_last_zxid: self.config.serialize_last_processed_zxid,
            links,
            purge: (self.config.purge_interval_ms > 0).then(|| {
                (
                    self.config.snap_retain_count,
                    Duration::from_millis(self.config.purge_interval_ms),
                )
            }),
        }
    }

    fn history_thread(&self, ensemble: &Ensemble) -> HistoryThread {
        let factor = self.config.ensemble.as_ref();
        HistoryThread {
            shared: Arc::clone(&self.shared),
            queue: Arc::clone(&ensemble.history),
            disk: Arc::clone(&self.disk),
            dir: Arc::clone(&self.dir),
            links: Arc::clone(&ensemble.links),
            max_record: load_settings(&self.config, self.shared.clock).max_record,
            snapshot_size_factor: factor.map_or(0.0, |e| e.snapshot_size_factor),
        }
    }

    /// What only a member does to its files.
    fn member_files(&self) -> Option<MemberFiles> {
        let ensemble = self.config.ensemble.as_ref()?;
        Some(MemberFiles {
            rewinder: Rewinder {
                shared: Arc::clone(&self.shared),
                disk: Arc::clone(&self.disk),
                dir: Arc::clone(&self.dir),
                load: load_settings(&self.config, self.shared.clock),
                compression: self.config.snapshot_compression,
                with_last_zxid: self.config.serialize_last_processed_zxid,
            },
            dynamic: DynamicFiles {
                files: ensemble
                    .files
                    .clone()
                    .filter(|_| self.config.reconfig_enabled),
                me: ensemble.me,
                door: Door {
                    shared: Arc::clone(&self.shared),
                    backlog: self.config.client_port_listen_backlog,
                    at: Mutex::new(self.address),
                },
            },
            keeps_log: member::keeps_log(&self.config, ensemble),
        })
    }

    fn log_keeper(&self) -> LogKeeper {
        let options = LogOptions {
            preallocate: self.config.pre_alloc_size,
            size_limit: self.config.txn_log_size_limit,
            force_sync: self.config.force_sync,
            direct: self.config.direct_io,
        };
        LogKeeper::new(
            Arc::clone(&self.shared),
            LogWriter::new(Arc::clone(&self.disk), self.dir.logs.clone(), options),
            self.config.group_commit,
            Duration::from_millis(self.config.fsync_warning_threshold_ms),
            self.member_files(),
        )
    }

    fn spawn_storage(storage: &Arc<Storage>) -> io::Result<JoinHandle<()>> {
        let storage = Arc::clone(storage);
        spawn("storage", move || {
            let _guard = PoisonGuard("storage");
            storage.run();
        })
    }

    fn spawn_replica(
        &self,
        replica: Replica,
        storage: &Arc<Storage>,
        snapshots: &SyncSender<SnapshotInput>,
        sockets: Vec<Arc<Mutex<Sockets>>>,
        ensemble: Option<Ensemble>,
    ) -> io::Result<JoinHandle<()>> {
        let mut replica_loop = ReplicaLoop {
            shared: Arc::clone(&self.shared),
            replica,
            storage: Arc::clone(storage),
            snapshots: snapshots.clone(),
            ensemble,
            keeps_log: self
                .config
                .ensemble
                .as_ref()
                .is_none_or(|member| member::keeps_log(&self.config, member)),
            sockets,
            ways: Ways::default(),
            backlog: Backlog::default(),
            gather: Gather::default(),
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
