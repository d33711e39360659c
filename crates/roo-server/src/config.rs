//! What the operator wants: `zoo.cfg`, `-D` arguments and the environment. Java:
//! `QuorumPeerConfig`, and system properties read all over.
//!
//! In reading order: [`keys`] every key with its default and meaning, [`properties`] the syntax of
//! the file, [`parse`] from texts to a [`ServerConfig`], [`mod@ensemble`] what a server of an
//! ensemble knows besides, [`dynamic`] the files in which an ensemble is kept while it changes.

pub mod dynamic;
pub mod ensemble;
pub mod keys;
pub mod parse;
pub mod properties;

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use roo_store::file_name::Compression;

use crate::auth::AuthSettings;
use crate::client::settings::RequestThrottle;
use crate::client::throttle::ThrottleSettings;
use crate::group_commit::GroupCommit;
use ensemble::EnsembleConfig;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Everything that the server can be told. Times in ms and sizes in bytes unless the name says
/// otherwise; the fields carry the names of their keys.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct ServerConfig {
    pub client_address: Option<SocketAddr>,
    pub client_port_listen_backlog: i32,
    pub data_dir: PathBuf,
    pub data_log_dir: PathBuf,
    pub tick_time_ms: u64,
    pub min_session_timeout_ms: i32,
    pub max_session_timeout_ms: i32,
    pub max_client_cnxns: usize,
    pub max_cnxns: usize,
    pub client_tcp_keep_alive: bool,
    pub sessionless_cnxn_timeout_ms: u64,
    pub jute_max_buffer: usize,
    pub jute_max_buffer_extra: usize,
    pub global_outstanding_limit: usize,
    pub request_throttle: RequestThrottle,
    pub throttled_op_wait_time_ms: u64,
    pub large_request_threshold: usize,
    pub large_request_max_bytes: usize,
    pub connection_throttle: ThrottleSettings,
    pub max_in_flight_per_connection: usize,
    pub connection_write_queue_bytes: usize,
    pub io_threads: usize,
    pub direct_io: bool,
    pub skip_acl: bool,
    pub extended_types_enabled: bool,
    pub emulate_353_ttl_nodes: bool,
    pub enforce_quota: bool,
    pub digest_enabled: bool,
    pub container_check_interval_ms: u64,
    pub container_max_per_minute: u32,
    pub container_max_never_used_interval_ms: i64,
    pub four_letter_words: Vec<String>,
    pub snap_count: u64,
    pub snap_size_limit: u64,
    pub txn_log_size_limit: u64,
    pub pre_alloc_size: u64,
    pub force_sync: bool,
    pub fsync_warning_threshold_ms: u64,
    pub group_commit: GroupCommit,
    pub snapshot_compression: Compression,
    pub snapshot_trust_empty: bool,
    pub serialize_last_processed_zxid: bool,
    pub close_session_txn_enabled: bool,
    pub datadir_autocreate: bool,
    pub db_autocreate: bool,
    pub snap_retain_count: usize,
    /// 0: nothing is purged.
    pub purge_interval_ms: u64,
    pub reconfig_enabled: bool,
    pub enforce_auth_schemes: Vec<String>,
    pub auth: AuthSettings,
    pub log_format: LogFormat,
    pub log_level: String,
    /// For a server that does not serve alone.
    pub ensemble: Option<EnsembleConfig>,
}

/// The port of every ZooKeeper.
pub const DEFAULT_PORT: u16 = 2181;

impl Default for ServerConfig {
    /// A server on loopback with its data in `./data`.
    fn default() -> Self {
        Self {
            client_address: Some(SocketAddr::new(
                IpAddr::V4(Ipv4Addr::LOCALHOST),
                DEFAULT_PORT,
            )),
            client_port_listen_backlog: -1,
            data_dir: "data".into(),
            data_log_dir: "data".into(),
            tick_time_ms: 3000,
            min_session_timeout_ms: 6000,
            max_session_timeout_ms: 60_000,
            max_client_cnxns: 60,
            max_cnxns: 0,
            client_tcp_keep_alive: false,
            sessionless_cnxn_timeout_ms: 10_000,
            jute_max_buffer: 0xF_FFFF,
            jute_max_buffer_extra: 0xF_FFFF,
            global_outstanding_limit: 1000,
            request_throttle: RequestThrottle::default(),
            throttled_op_wait_time_ms: 0,
            large_request_threshold: 0,
            large_request_max_bytes: 100 << 20,
            connection_throttle: ThrottleSettings {
                tokens: 0,
                fill_time_ms: 1,
                fill_count: 1,
                ..ThrottleSettings::default()
            },
            max_in_flight_per_connection: 1000,
            connection_write_queue_bytes: 16 << 20,
            io_threads: 0,
            direct_io: true,
            skip_acl: false,
            extended_types_enabled: false,
            emulate_353_ttl_nodes: false,
            enforce_quota: false,
            digest_enabled: true,
            container_check_interval_ms: 60_000,
            container_max_per_minute: 10_000,
            container_max_never_used_interval_ms: 0,
            four_letter_words: vec!["srvr".into()],
            snap_count: 100_000,
            snap_size_limit: 4_194_304 << 10,
            txn_log_size_limit: 0,
            pre_alloc_size: 65_536 << 10,
            force_sync: true,
            fsync_warning_threshold_ms: 1000,
            group_commit: GroupCommit::default(),
            snapshot_compression: Compression::Plain,
            snapshot_trust_empty: false,
            serialize_last_processed_zxid: true,
            close_session_txn_enabled: true,
            datadir_autocreate: true,
            db_autocreate: true,
            snap_retain_count: 3,
            purge_interval_ms: 3_600_000,
            reconfig_enabled: false,
            enforce_auth_schemes: Vec::new(),
            auth: AuthSettings::default(),
            log_format: LogFormat::Text,
            log_level: "info".into(),
            ensemble: None,
        }
    }
}

impl ServerConfig {
    /// Whether a four-letter word may be asked.
    #[must_use]
    pub fn allows_word(&self, word: &str) -> bool {
        self.four_letter_words
            .iter()
            .any(|allowed| allowed == "*" || allowed == word)
    }
}

/// A value that cannot be meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Where it stands: a file and line, an argument, a variable.
    pub place: String,
    /// Which key.
    pub key: String,
    /// What stands there, if anything does.
    pub value: Option<String>,
    /// What should.
    pub expected: String,
    /// Of the process: Apache's.
    pub exit_code: u8,
}

/// Exit code for a configuration that cannot be meant. Java: `ExitCode.INVALID_INVOCATION`.
pub const INVALID: u8 = 2;

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.key)?;
        if let Some(value) = &self.value {
            write!(f, "={value}")?;
        }
        write!(f, ": expected {}", self.expected)
    }
}

impl std::error::Error for ConfigError {}
