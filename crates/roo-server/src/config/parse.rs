//! From the texts of a file, of arguments and of the environment to a [`ServerConfig`].

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use roo_proto::ensemble::ClientAddress;
use roo_store::data_dir::read_my_id;
use roo_store::disk::{Disk, OsDisk};
use roo_store::error::StoreError;
use roo_store::file_name::Compression;

use super::keys::{self, PREFIXES, Status};
use super::{ConfigError, DEFAULT_PORT, INVALID, LogFormat, ServerConfig, properties};
use crate::admin::words::Word;
use crate::auth::DigestAlgorithm;
use crate::client::settings::RequestThrottle;
use crate::client::throttle::{Dropping, ThrottleSettings, Weights};
use crate::group_commit::GroupCommit;

/// A value and where it stands.
#[derive(Clone, Debug)]
struct Setting {
    value: String,
    place: String,
}

/// Everything that was set, and what is to be said about it.
#[derive(Debug, Default)]
pub struct Settings {
    values: BTreeMap<String, Setting>,
    from_file: bool,
    /// What messages call the file.
    file_name: Option<String>,
    /// Beside which an ensemble can be kept.
    file: Option<PathBuf>,
    bare: bool,
    outside: Outside,
    /// Lines for the operator.
    pub warnings: Vec<String>,
}

mod ensemble;

/// What clients are told by variables; they may well stand in a server's environment, too.
const CLIENTS_VARIABLES: [&str; 2] = ["ROO_SERVERS", "ROO_NAME_SERVER"];

/// No configuration is so long; a device may be without end.
const MAX_FILE_BYTES: u64 = 1 << 20;
/// More than this cannot be meant: every log file would take 16 GiB.
const MAX_ALLOC_KIB: i64 = 16 << 20;

type Parsed<T> = Result<T, ConfigError>;

/// What a configuration asks of the world.
#[derive(Clone, Copy, Debug)]
pub struct Outside {
    /// The content of a dynamic configuration file.
    pub read: fn(&Path) -> io::Result<Vec<u8>>,
    /// The id in the file `myid` of a data directory, if it is there.
    pub my_id: fn(&Path) -> Result<Option<i64>, StoreError>,
    /// The address a host's name or literal stands for.
    pub resolve: fn(&str) -> Option<IpAddr>,
}

impl Default for Outside {
    /// This machine.
    fn default() -> Self {
        Self {
            read: |path| std::fs::read(path),
            my_id: |data_dir| {
                let disk: Arc<dyn Disk> = Arc::new(OsDisk);
                read_my_id(&disk, data_dir)
            },
            resolve: |host| Some((host, 0).to_socket_addrs().ok()?.next()?.ip()),
        }
    }
}

impl Settings {
    /// Settings for another world than this machine.
    #[must_use]
    pub fn of(outside: Outside) -> Self {
        Self {
            outside,
            ..Self::default()
        }
    }

    /// Takes the settings of a file.
    ///
    /// # Errors
    /// When it cannot be read or has a bad escape.
    pub fn read_file(&mut self, path: &Path) -> Parsed<()> {
        let place = path.display().to_string();
        let refused = |expected: String| ConfigError {
            place: place.clone(),
            key: "the file".into(),
            value: None,
            expected,
            exit_code: INVALID,
        };
        let mut bytes = Vec::new();
        File::open(path)
            .and_then(|file| file.take(MAX_FILE_BYTES + 1).read_to_end(&mut bytes))
            .map_err(|e| refused(format!("a readable configuration file ({e})")))?;
        if bytes.len() as u64 > MAX_FILE_BYTES {
            return Err(refused("a configuration file of at most 1 MiB".into()));
        }
        self.read_text(&place, &bytes)?;
        self.file = Some(path.to_owned());
        Ok(())
    }

    /// Takes the settings in the content of a file; `place` is what messages call it.
    ///
    /// # Errors
    /// When it has a bad escape, is no text, or names a server twice.
    pub fn read_text(&mut self, place: &str, bytes: &[u8]) -> Parsed<()> {
        let refused = |line: usize, expected: &str| ConfigError {
            place: format!("{place}:{line}"),
            key: "the line".into(),
            value: None,
            expected: expected.into(),
            exit_code: INVALID,
        };
        let found = properties::parse(bytes).map_err(|(line, expected)| refused(line, expected))?;
        self.from_file = true;
        self.file_name = Some(place.to_owned());
        let mut members = BTreeSet::new();
        for property in found {
            if property.key.contains(|c: char| c.is_control() && c != '\t') {
                let expected = "KEY=VALUE, and found what is no text";
                return Err(refused(property.line, expected));
            }
            let place = format!("{place}:{}", property.line);
            if property.key.is_empty() {
                self.warnings
                    .push(format!("{place}: a value without a key has no effect"));
                continue;
            }
            let key = &property.key;
            if ensemble::is_member_key(key) && !members.insert(key.clone()) {
                return Err(ConfigError {
                    place,
                    key: property.key,
                    value: Some(property.value),
                    expected: "the key once".into(),
                    exit_code: INVALID,
                });
            }
            self.set(&property.key, property.value, place);
        }
        Ok(())
    }

    /// Takes `PORT DATADIR [tickTime] [maxClientCnxns]`.
    ///
    /// # Errors
    /// When there are more of them.
    pub fn bare_arguments(&mut self, arguments: &[String]) -> Parsed<()> {
        if let Some(extra) = arguments.get(4) {
            return Err(ConfigError {
                place: "arguments".into(),
                key: extra.clone(),
                value: None,
                expected: "PORT DATADIR [tickTime] [maxClientCnxns]".into(),
                exit_code: INVALID,
            });
        }
        self.bare = true;
        let names = ["clientPort", "dataDir", "tickTime", "maxClientCnxns"];
        for (name, value) in names.into_iter().zip(arguments) {
            self.set(name, value.clone(), "arguments".into());
        }
        Ok(())
    }

    /// Takes variables that are called `ROO_` and a key.
    ///
    /// # Errors
    /// When the value of one is no text.
    pub fn environment(
        &mut self,
        variables: impl Iterator<Item = (OsString, OsString)>,
    ) -> Parsed<()> {
        let known: BTreeMap<String, &str> = keys::all()
            .map(|key| (keys::variable(key.name), key.name))
            .collect();
        for (variable, value) in variables {
            let variable = variable.to_string_lossy().into_owned();
            if let Some(name) = known.get(&variable) {
                let value = value.into_string().map_err(|value| ConfigError {
                    place: variable.clone(),
                    key: (*name).into(),
                    value: Some(value.to_string_lossy().into_owned()),
                    expected: "text in UTF-8".into(),
                    exit_code: INVALID,
                })?;
                self.set(name, value.trim().into(), variable);
            } else if variable.starts_with("ROO_")
                && !CLIENTS_VARIABLES.contains(&variable.as_str())
            {
                let names = known.keys().map(String::as_str);
                let near = nearest(&variable, names);
                self.warnings
                    .push(format!("{variable}: unknown variable{near}"));
            }
        }
        Ok(())
    }

    /// Takes a `-D` argument, without the `-D`.
    ///
    /// # Errors
    /// When there is no `=` in it.
    pub fn argument(&mut self, text: &str) -> Parsed<()> {
        let Some((name, value)) = text.split_once('=') else {
            return Err(ConfigError {
                place: "arguments".into(),
                key: format!("-D{text}"),
                value: None,
                expected: "-DKEY=VALUE".into(),
                exit_code: INVALID,
            });
        };
        self.set(name, value.trim().into(), format!("-D{name}"));
        Ok(())
    }

    /// Takes a named argument, `--client-port 2181`, that sets a key.
    pub fn option(&mut self, argument: &str, key: &str, value: &str) {
        self.set(key, value.trim().into(), argument.into());
    }

    fn set(&mut self, name: &str, value: String, place: String) {
        let name = name.strip_prefix("zookeeper.").unwrap_or(name);
        let prefix = PREFIXES
            .iter()
            .find(|(prefix, ..)| name.starts_with(prefix));
        let (status, why) = match (keys::find(name), prefix) {
            (Some(key), _) => (key.status, key.doc),
            (None, Some((_, status, why))) => (*status, *why),
            (None, None) => {
                let near = nearest(name, keys::all().map(|key| key.name));
                self.warnings
                    .push(format!("{place}: unknown key {name}{near}"));
                return;
            }
        };
        match status {
            Status::Effective | Status::Accepted => {}
            Status::Inert => self
                .warnings
                .push(format!("{place}: {name} has no effect: {why}")),
            Status::Unsupported => self.warnings.push(format!(
                "{place}: {name} is not supported ({why}) and has no effect"
            )),
        }
        if name == "4lw.commands.whitelist" {
            let known = |word: &&str| {
                let bytes = word.as_bytes().try_into().ok();
                *word == "*" || bytes.and_then(Word::recognise).is_some()
            };
            let words = value.split(',').map(str::trim);
            for word in words.filter(|word| !word.is_empty() && !known(word)) {
                self.warnings
                    .push(format!("{place}: {name}: there is no word {word}"));
            }
        }
        self.values.insert(name.into(), Setting { value, place });
    }

    fn error(&self, name: &str, expected: impl Into<String>) -> ConfigError {
        let setting = self.values.get(name);
        ConfigError {
            place: setting.map_or_else(
                || {
                    self.file_name
                        .clone()
                        .unwrap_or_else(|| "configuration".into())
                },
                |s| s.place.clone(),
            ),
            key: name.into(),
            value: setting.map(|s| s.value.clone()),
            expected: expected.into(),
            exit_code: INVALID,
        }
    }

    fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(|setting| setting.value.as_str())
    }

    /// A whole number in a range.
    fn number(
        &self,
        name: &str,
        default: i64,
        range: std::ops::RangeInclusive<i64>,
    ) -> Parsed<i64> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        let (low, high) = (*range.start(), *range.end());
        text.parse()
            .ok()
            .filter(|n| range.contains(n))
            .ok_or_else(|| {
                let expected = match (low, high) {
                    (i64::MIN, i64::MAX) => "a whole number".to_owned(),
                    (i64::MIN, high) => format!("a whole number up to {high}"),
                    (low, i64::MAX) => format!("a whole number from {low} on"),
                    (low, high) => format!("a whole number from {low} to {high}"),
                };
                self.error(name, expected)
            })
    }

    /// A number of something, of which nothing below 0 can be meant; 0 stays 0.
    fn amount(&self, name: &str, default: u64) -> Parsed<u64> {
        let default = i64::try_from(default).unwrap_or(i64::MAX);
        Ok(self.number(name, default, 0..=i64::MAX)?.unsigned_abs())
    }

    /// The same for a limit that negative numbers switch off.
    fn limit(&self, name: &str, default: u64) -> Parsed<u64> {
        let default = i64::try_from(default).unwrap_or(i64::MAX);
        Ok(u64::try_from(self.number(name, default, i64::MIN..=i64::MAX)?).unwrap_or(0))
    }

    fn size(&self, name: &str, default: usize) -> Parsed<usize> {
        Ok(usize::try_from(self.limit(name, default as u64)?).unwrap_or(usize::MAX))
    }

    fn flag(&self, name: &str, default: bool) -> Parsed<bool> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("true") => Ok(true),
            Some("false") => Ok(false),
            Some(_) => Err(self.error(name, "true or false")),
        }
    }

    fn yes_or_no(&self, name: &str, default: bool) -> Parsed<bool> {
        match self.text(name).map(str::to_ascii_lowercase).as_deref() {
            None => Ok(default),
            Some("yes") => Ok(true),
            Some("no") => Ok(false),
            Some(_) => Err(self.error(name, "yes or no")),
        }
    }

    /// Makes the configuration. Reads `myid` and the dynamic configuration files.
    ///
    /// # Errors
    /// The first value that cannot be meant.
    pub fn config(&mut self) -> Parsed<ServerConfig> {
        let mut config = ServerConfig::default();
        self.sessions(&mut config)?;
        self.limits(&mut config)?;
        self.files(&mut config)?;
        self.nodes(&mut config)?;
        let client = self.ensemble(&mut config)?;
        self.addresses(&mut config, client.as_ref())?;
        self.authentication(&mut config)?;
        self.logging(&mut config)?;
        Ok(config)
    }

    /// Where clients connect: `clientPort` and `clientPortAddress`, or the address in this
    /// server's line, which they must not contradict.
    fn addresses(&self, config: &mut ServerConfig, line: Option<&ClientAddress>) -> Parsed<()> {
        let backlog = self.number("clientPortListenBacklog", -1, i64::MIN..=i64::MAX)?;
        config.client_port_listen_backlog = i32::try_from(backlog).unwrap_or(-1);
        let port = match self.text("clientPort") {
            Some(_) => Some(u16::try_from(self.number("clientPort", 0, 0..=65_535)?).unwrap_or(0)),
            None => line.map(|line| line.port),
        };
        let Some(port) = port else {
            if self.text("clientPortAddress").is_some() {
                return Err(self.error("clientPortAddress", "clientPort beside it"));
            }
            if self.from_file {
                config.client_address = None;
            } else if config.ensemble.is_some() {
                let everywhere = IpAddr::from([0_u16; 8]);
                config.client_address = Some(SocketAddr::new(everywhere, DEFAULT_PORT));
            }
            return Ok(());
        };
        if let Some(line) = line
            && line.port != port
        {
            let expected = format!("the port of this server's line, {}, or no key", line.port);
            return Err(self.error("clientPort", expected));
        }
        let own = match self.text("clientPortAddress") {
            None => IpAddr::from([0_u16; 8]),
            Some(host) => self.resolve("clientPortAddress", host)?,
        };
        let address = match line {
            None => own,
            Some(line) => match self.resolve("this server's client address", &line.host)? {
                // IPv4's wildcard would leave out IPv6, which Java's does not.
                wildcard if wildcard.is_unspecified() => IpAddr::from([0_u16; 8]),
                address => address,
            },
        };
        if !own.is_unspecified() && own != address {
            let expected = format!("the address of this server's line, {address}, or no key");
            return Err(self.error("clientPortAddress", expected));
        }
        config.client_address = Some(SocketAddr::new(address, port));
        Ok(())
    }

    fn resolve(&self, name: &str, host: &str) -> Parsed<IpAddr> {
        let expected = "an address of this machine, or a name that stands for one";
        (self.outside.resolve)(host.trim_matches(['[', ']'])).ok_or_else(|| ConfigError {
            value: Some(host.into()),
            ..self.error(name, expected)
        })
    }

    fn sessions(&self, config: &mut ServerConfig) -> Parsed<()> {
        config.tick_time_ms = self
            .number("tickTime", 3000, 1..=i64::from(i32::MAX / 20))?
            .unsigned_abs();
        let tick = i64::try_from(config.tick_time_ms).unwrap_or(i64::MAX);
        let timeout = |name, ticks: i64| {
            let value = self.number(name, -1, -1..=i64::from(i32::MAX))?;
            let value = if value == -1 { tick * ticks } else { value };
            Ok(i32::try_from(value).unwrap_or(i32::MAX))
        };
        config.min_session_timeout_ms = timeout("minSessionTimeout", 2)?;
        config.max_session_timeout_ms = timeout("maxSessionTimeout", 20)?;
        if config.min_session_timeout_ms > config.max_session_timeout_ms {
            let max = config.max_session_timeout_ms;
            return Err(self.error(
                "minSessionTimeout",
                format!("at most maxSessionTimeout, {max}"),
            ));
        }
        Ok(())
    }

    fn limits(&self, config: &mut ServerConfig) -> Parsed<()> {
        let bare_default = if self.bare {
            0
        } else {
            config.max_client_cnxns
        };
        config.max_client_cnxns = self.size("maxClientCnxns", bare_default)?;
        config.max_cnxns = self.size("maxCnxns", 0)?;
        config.client_tcp_keep_alive = self.flag("clientTcpKeepAlive", false)?;
        config.sessionless_cnxn_timeout_ms = self.amount("nio.sessionlessCnxnTimeout", 10_000)?;
        config.jute_max_buffer = self.buffer("jute.maxbuffer", config.jute_max_buffer, 64)?;
        config.jute_max_buffer_extra = self
            .buffer("jute.maxbuffer.extrasize", config.jute_max_buffer, 0)?
            .max(1024);
        config.global_outstanding_limit = self.size("globalOutstandingLimit", 1000)?;
        config.request_throttle = self.request_throttle()?;
        config.throttled_op_wait_time_ms = self.limit("throttled_op_wait_time", 0)?;
        config.large_request_threshold = self.size("largeRequestThreshold", 0)?;
        config.large_request_max_bytes = self.size("largeRequestMaxBytes", 100 << 20)?;
        config.connection_throttle = self.connection_throttle()?;
        config.max_in_flight_per_connection = self.size("maxInFlightPerConnection", 1000)?;
        config.connection_write_queue_bytes = self.size("connectionWriteQueueBytes", 16 << 20)?;
        let threads = self.number("ioThreads", 0, 0..=128)?;
        config.io_threads = usize::try_from(threads).unwrap_or(0);
        config.direct_io = self.yes_or_no("directIo", true)?;
        Ok(())
    }

    fn request_throttle(&self) -> Parsed<RequestThrottle> {
        Ok(RequestThrottle {
            max_requests: self.size("request_throttle_max_requests", 0)?,
            stall_time_ms: self.amount("request_throttle_stall_time", 100)?,
            drop_stale: self.flag("request_throttle_drop_stale", true)?,
            stale_connection_check: self.flag("request_stale_connection_check", true)?,
            stale_latency_check: self.flag("request_stale_latency_check", false)?,
        })
    }

    fn connection_throttle(&self) -> Parsed<ThrottleSettings> {
        let fraction = |name, default| self.fraction(name, default);
        let weight = |name, default| Ok(self.number(name, default, 1..=1_000)?.unsigned_abs());
        let weights = Weights {
            new_session: weight("connection_throttle_global_session_weight", 3)?,
            renewed_session: weight("connection_throttle_renew_session_weight", 2)?,
        };
        let dropping = Dropping {
            freeze_time_ms: self.limit("connection_throttle_freeze_time", 0)?,
            increase: fraction("connection_throttle_drop_increase", 0.02)?,
            decrease: fraction("connection_throttle_drop_decrease", 0.002)?,
            decrease_ratio: fraction("connection_throttle_decrease_ratio", 0.0)?,
        };
        let freezes = self.number("connection_throttle_freeze_time", -1, i64::MIN..=i64::MAX)? >= 0;
        Ok(ThrottleSettings {
            tokens: self.limit("connection_throttle_tokens", 0)?,
            fill_time_ms: self.amount("connection_throttle_fill_time", 1)?,
            fill_count: self.amount("connection_throttle_fill_count", 1)?,
            weights: self
                .flag("connection_throttle_weight_enabled", false)?
                .then_some(weights),
            dropping: freezes.then_some(dropping),
        })
    }

    /// A part of a whole.
    fn fraction(&self, name: &str, default: f64) -> Parsed<f64> {
        let Some(text) = self.text(name) else {
            return Ok(default);
        };
        text.parse()
            .ok()
            .filter(|n| (0.0..=1.0).contains(n))
            .ok_or_else(|| self.error(name, "a number from 0 to 1"))
    }

    fn group_commit(&self) -> Parsed<GroupCommit> {
        let flush_delay = self.limit("flushDelay", 0)?;
        let poll_time = self.limit("maxWriteQueuePollTime", flush_delay / 3)?;
        Ok(GroupCommit {
            flush_delay: Duration::from_millis(flush_delay),
            poll_time: Duration::from_millis(poll_time),
            max_batch: self.size("maxBatchSize", 1000)?,
        })
    }

    fn buffer(&self, name: &str, default: usize, min: i64) -> Parsed<usize> {
        let default = i64::try_from(default).unwrap_or(i64::MAX);
        let value = self.number(name, default, min..=i64::from(i32::MAX))?;
        Ok(usize::try_from(value).unwrap_or(0))
    }

    fn files(&self, config: &mut ServerConfig) -> Parsed<()> {
        match self.text("dataDir") {
            Some("") => return Err(self.error("dataDir", "a directory")),
            Some(dir) => config.data_dir = dir.into(),
            None if self.from_file => {
                return Err(self.error("dataDir", "a directory: the key is missing"));
            }
            None => {}
        }
        config.data_log_dir = match self.text("dataLogDir") {
            Some("") => return Err(self.error("dataLogDir", "a directory")),
            Some(dir) => dir.into(),
            None => config.data_dir.clone(),
        };
        let kib = |name, default: u64| Ok(self.limit(name, default)?.saturating_mul(1024));
        config.snap_count = self.amount("snapCount", 100_000)?.max(2);
        config.snap_size_limit = kib("snapSizeLimitInKb", 4_194_304)?;
        config.txn_log_size_limit = kib("txnLogSizeLimitInKb", 0)?;
        let allocated = self.number("preAllocSize", 65_536, i64::MIN..=MAX_ALLOC_KIB)?;
        config.pre_alloc_size = u64::try_from(allocated).unwrap_or(0) * 1024;
        config.force_sync = self.yes_or_no("forceSync", true)?;
        config.fsync_warning_threshold_ms = self.amount("fsync.warningthresholdms", 1000)?;
        config.group_commit = self.group_commit()?;
        config.snapshot_compression = match self.text("snapshot.compression.method") {
            None | Some("") => Compression::Plain,
            Some("gz") => Compression::Gzip,
            Some("snappy") => Compression::Snappy,
            Some(_) => {
                return Err(self.error("snapshot.compression.method", "gz, snappy or nothing"));
            }
        };
        config.snapshot_trust_empty = self.flag("snapshot.trust.empty", false)?;
        config.serialize_last_processed_zxid =
            self.flag("serializeLastProcessedZxid.enabled", true)?;
        config.close_session_txn_enabled = self.flag("closeSessionTxn.enabled", true)?;
        config.digest_enabled = self.flag("digest.enabled", true)?;
        config.datadir_autocreate = self.flag("datadir.autocreate", true)?;
        config.db_autocreate = self.flag("db.autocreate", true)?;
        let retain = self.number("autopurge.snapRetainCount", 3, i64::MIN..=i64::MAX)?;
        config.snap_retain_count = usize::try_from(retain).unwrap_or(0).max(3);
        config.purge_interval_ms = self.purge_interval()?;
        Ok(())
    }

    fn purge_interval(&self) -> Parsed<u64> {
        const HOUR: u64 = 3_600_000;
        let Some(text) = self.text("autopurge.purgeInterval") else {
            return Ok(HOUR);
        };
        let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = match text.get(digits.len()..).unwrap_or_default() {
            "" | "h" => HOUR,
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "d" => 24 * HOUR,
            _ => 0,
        };
        let expected = "a number of hours, or one with ms, s, m, h or d behind it";
        let number: i64 = digits
            .parse()
            .ok()
            .filter(|_| unit > 0)
            .ok_or_else(|| self.error("autopurge.purgeInterval", expected))?;
        Ok(u64::try_from(number).unwrap_or(0).saturating_mul(unit))
    }

    fn nodes(&self, config: &mut ServerConfig) -> Parsed<()> {
        config.skip_acl = self.yes_or_no("skipACL", false)?;
        config.extended_types_enabled = self.flag("extendedTypesEnabled", false)?;
        config.emulate_353_ttl_nodes = self.flag("emulate353TTLNodes", false)?;
        config.enforce_quota = self.flag("enforceQuota", false)?;
        config.reconfig_enabled = self.flag("reconfigEnabled", false)?;
        let interval = self.number("znode.container.checkIntervalMs", 60_000, 1..=i64::MAX)?;
        config.container_check_interval_ms = interval.unsigned_abs();
        let per_minute = self.number(
            "znode.container.maxPerMinute",
            10_000,
            1..=i64::from(u32::MAX),
        )?;
        config.container_max_per_minute = u32::try_from(per_minute).unwrap_or(u32::MAX);
        config.container_max_never_used_interval_ms =
            self.number("znode.container.maxNeverUsedIntervalMs", 0, 0..=i64::MAX)?;
        Ok(())
    }

    fn authentication(&self, config: &mut ServerConfig) -> Parsed<()> {
        let auth = &mut config.auth;
        auth.digest_disabled = !self.flag("DigestAuthenticationProvider.enabled", true)?;
        let super_digest = self.text("DigestAuthenticationProvider.superDigest");
        if super_digest.is_some_and(|text| !text.is_empty() && !text.contains(':')) {
            let key = "DigestAuthenticationProvider.superDigest";
            return Err(self.error(key, "super:HASH"));
        }
        auth.super_digest = super_digest.filter(|text| !text.is_empty()).map(Into::into);
        if let Some(name) = self.text("DigestAuthenticationProvider.digestAlg") {
            let expected = "MD5, SHA1, SHA-224, SHA-256, SHA-384 or SHA-512";
            auth.algorithm = DigestAlgorithm::by_name(name)
                .ok_or_else(|| self.error("DigestAuthenticationProvider.digestAlg", expected))?;
        }
        if self.flag("enforce.auth.enabled", false)? {
            let schemes = self.text("enforce.auth.schemes").unwrap_or_default();
            config.enforce_auth_schemes = schemes
                .split(',')
                .map(|s| s.trim().to_owned())
                .filter(|s| !s.is_empty())
                .collect();
            let known = |scheme: &String| matches!(scheme.as_str(), "digest" | "ip");
            if config.enforce_auth_schemes.is_empty()
                || !config.enforce_auth_schemes.iter().all(known)
            {
                return Err(self.error("enforce.auth.schemes", "a comma list of digest and ip"));
            }
        }
        Ok(())
    }

    fn logging(&self, config: &mut ServerConfig) -> Parsed<()> {
        config.log_format = match self.text("logFormat") {
            None | Some("text") => LogFormat::Text,
            Some("json") => LogFormat::Json,
            Some(_) => return Err(self.error("logFormat", "text or json")),
        };
        if let Some(level) = self.text("logLevel") {
            let levels = ["off", "error", "warn", "info", "debug", "trace"];
            let is_level = levels.iter().any(|known| level.eq_ignore_ascii_case(known));
            // A filter without a level would be the name of a part, of which nobody knows any.
            if !is_level && !level.contains('=') {
                return Err(self.error("logLevel", "error, warn, info, debug or trace"));
            }
            config.log_level = level.into();
        }
        if let Some(words) = self.text("4lw.commands.whitelist") {
            config.four_letter_words = words
                .split(',')
                .map(|word| word.trim().to_owned())
                .filter(|w| !w.is_empty())
                .collect();
        }
        // Scripts ask srvr whether the server lives, and clients isro whether it is read-only.
        let isro = self.flag("readonlymode.enabled", false)?.then_some("isro");
        for word in isro.into_iter().chain(["srvr"]) {
            if !config.allows_word(word) {
                config.four_letter_words.push(word.into());
            }
        }
        Ok(())
    }
}

/// What the operator may have meant.
fn nearest<'n>(name: &str, known: impl Iterator<Item = &'n str>) -> String {
    let lower = name.to_ascii_lowercase();
    known
        .map(|known| {
            let other = known.to_ascii_lowercase();
            (strsim::damerau_levenshtein(&lower, &other), known)
        })
        .min()
        .filter(|(distance, _)| *distance <= 2 + name.len() / 5)
        .map_or_else(String::new, |(_, near)| format!("; did you mean {near}?"))
}

#[cfg(test)]
mod tests;
