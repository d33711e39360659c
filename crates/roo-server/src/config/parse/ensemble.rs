//! From settings, `myid` and dynamic configuration files to an [`EnsembleConfig`]. Java:
//! `QuorumPeerConfig.parse`, `setupQuorumPeerConfig`, `checkValidity`.

use std::io;
use std::path::{Path, PathBuf};

use roo_proto::ensemble::{ClientAddress, Ensemble, EnsembleError, MemberRole, parse_text_version};
use roo_proto::ids::ServerId;
use roo_store::error::StoreError;

use super::{Parsed, Settings};
use crate::config::dynamic::ConfigFiles;
use crate::config::ensemble::{EnsembleConfig, LocalSessions, ReadMode};
use crate::config::{ConfigError, INVALID, ServerConfig, properties};

/// Exit code when this server is none of its ensemble. Java: `ExitCode.UNEXPECTED_ERROR`.
const NOT_A_MEMBER: u8 = 1;
/// Ticks for a server without a file, as in Apache's sample.
const INIT_LIMIT: u64 = 10;
/// See [`INIT_LIMIT`].
const SYNC_LIMIT: u64 = 5;

/// Whether a key says who belongs to the ensemble.
pub(super) fn is_member_key(key: &str) -> bool {
    let key = key.strip_prefix("zookeeper.").unwrap_or(key);
    let prefixes = ["server.", "group.", "weight."];
    prefixes.iter().any(|prefix| key.starts_with(prefix))
}

/// Entries that say who belongs to the ensemble, each with its place.
struct Entries {
    /// Where they stand as a whole.
    place: String,
    /// Key, value, place.
    entries: Vec<(String, String, String)>,
}

impl Entries {
    fn ensemble(&self) -> Parsed<Ensemble> {
        let pairs = self.entries.iter();
        let pairs = pairs.map(|(key, value, _)| (key.as_str(), value.as_str()));
        Ensemble::from_pairs(pairs).map_err(|error| self.error(error))
    }

    fn error(&self, error: EnsembleError) -> ConfigError {
        let (found, value) = (&error.key, &error.value);
        let entry = self.entries.iter().find(|(key, text, _)| {
            key == found && value.as_ref().is_none_or(|value| value == text)
        });
        ConfigError {
            place: entry.map_or_else(|| self.place.clone(), |(_, _, place)| place.clone()),
            key: error.key,
            value: error.value,
            expected: error.expected,
            exit_code: INVALID,
        }
    }
}

impl Settings {
    /// Sets `config.ensemble` for a server that does not serve alone, and returns the client
    /// address in this server's line.
    pub(super) fn ensemble(&mut self, config: &mut ServerConfig) -> Parsed<Option<ClientAddress>> {
        let mut options = self.options()?;
        let peer_type = self.peer_type()?;
        let Some((entries, version)) = self.entries(config)? else {
            if options.standalone_enabled {
                return Ok(None);
            }
            let expected = "server.N lines beside it: at least one participant";
            return Err(self.error("standaloneEnabled", expected));
        };
        let mut ensemble = entries.ensemble()?;
        ensemble.version = version;
        let voters = ensemble.voters().count();
        if voters == 1 && options.standalone_enabled {
            let members: Vec<_> = ensemble.members.into_values().collect();
            return match members.as_slice() {
                [alone] => Ok(alone.client.clone()),
                _ => Err(ConfigError {
                    place: entries.place,
                    key: "server.N".into(),
                    value: None,
                    expected: "a second participant for the observers to follow, \
                               or standaloneEnabled=false"
                        .into(),
                    exit_code: INVALID,
                }),
            };
        }
        self.tick_limits()?;
        self.warn_of_even_numbers(voters);
        options.me = self.me(config, &ensemble)?;
        options.next_ensemble = self.next_ensemble(version)?;
        options.ensemble = ensemble;
        self.warn_of_peer_type(&options, peer_type);
        let client = options.my_member().and_then(|member| member.client.clone());
        self.heartbeats(config.tick_time_ms, &mut options)?;
        config.ensemble = Some(options);
        Ok(client)
    }

    /// What does not depend on who the members are.
    fn options(&self) -> Parsed<EnsembleConfig> {
        self.election_algorithm()?;
        let bind_retry = self.number("electionPortBindRetry", 3, 0..=i64::from(u32::MAX))?;
        let min = self.amount("fastleader.minNotificationInterval", 200)?;
        let max = self.amount("fastleader.maxNotificationInterval", 60_000)?;
        if min > max {
            let expected = format!("at most fastleader.maxNotificationInterval, {max}");
            return Err(self.error("fastleader.minNotificationInterval", expected));
        }
        let name = self.text("ensemble.name").filter(|name| !name.is_empty());
        Ok(EnsembleConfig {
            me: ServerId(0),
            ensemble: Ensemble::default(),
            next_ensemble: None,
            files: self.file.as_ref().map(|file| ConfigFiles {
                static_file: file.clone(),
            }),
            name: name.map(Into::into),
            standalone_enabled: self.flag("standaloneEnabled", true)?,
            init_limit: self.ticks("initLimit")?.unwrap_or(INIT_LIMIT),
            sync_limit: self.ticks("syncLimit")?.unwrap_or(SYNC_LIMIT),
            heartbeat_interval_ms: 0,
            heartbeat_timeout_ms: 0,
            quorum_listen_on_all_ips: self.flag("quorumListenOnAllIPs", false)?,
            cnxn_timeout_ms: self.amount("cnxTimeout", 5000)?,
            handshake_timeout_ms: 0,
            election_port_bind_retry: u32::try_from(bind_retry).ok().filter(|retry| *retry > 0),
            min_notification_interval_ms: min.max(1),
            max_notification_interval_ms: max.max(1),
            leader_connect_delay_during_retry_ms: self
                .amount("leaderConnectDelayDuringRetryMs", 10)?,
            leader_serves: self.yes_or_no("leaderServes", true)?,
            sync_enabled: self.sync_enabled()?,
            force_snapshot_sync: self.flag("forceSnapshotSync", false)?,
            snapshot_size_factor: self.snapshot_size_factor()?,
            commit_log_count: self.size("commitLogCount", 500)?.max(500),
            local_sessions: self.local_sessions()?,
            read_only_mode: self.flag("readonlymode.enabled", false)?,
            read_mode: self.read_mode()?,
        })
    }

    fn election_algorithm(&self) -> Parsed<()> {
        match self.text("electionAlg") {
            None | Some("3") => Ok(()),
            Some(_) => Err(self.error("electionAlg", "3, the only algorithm there is")),
        }
    }

    fn sync_enabled(&self) -> Parsed<bool> {
        let default = self.flag("observer.syncEnabled", true)?;
        self.flag("syncEnabled", default)
    }

    fn snapshot_size_factor(&self) -> Parsed<f64> {
        const DEFAULT: f64 = 0.33;
        let Some(text) = self.text("snapshotSizeFactor") else {
            return Ok(DEFAULT);
        };
        let factor: Option<f64> = text.parse().ok().filter(|factor: &f64| factor.is_finite());
        let expected = "a part of a snapshot's size from 0 to 1, or -1";
        let factor = factor.ok_or_else(|| self.error("snapshotSizeFactor", expected))?;
        Ok(if factor > 1.0 { DEFAULT } else { factor })
    }

    fn local_sessions(&self) -> Parsed<LocalSessions> {
        let upgrading = self.flag("localSessionsUpgradingEnabled", false)?;
        Ok(
            match (self.flag("localSessionsEnabled", false)?, upgrading) {
                (false, _) => LocalSessions::Off,
                (true, false) => LocalSessions::On,
                (true, true) => LocalSessions::Upgrading,
            },
        )
    }

    fn read_mode(&self) -> Parsed<ReadMode> {
        match self.text("readMode") {
            None | Some("local") => Ok(ReadMode::Local),
            Some("leader") => Ok(ReadMode::Leader),
            Some("quorum") => Ok(ReadMode::Quorum),
            Some(_) => Err(self.error("readMode", "local, leader or quorum")),
        }
    }

    fn peer_type(&self) -> Parsed<Option<MemberRole>> {
        match self
            .text("peerType")
            .map(str::to_ascii_lowercase)
            .as_deref()
        {
            None => Ok(None),
            Some("participant") => Ok(Some(MemberRole::Voter)),
            Some("observer") => Ok(Some(MemberRole::Observer)),
            Some(_) => Err(self.error("peerType", "participant or observer")),
        }
    }

    fn ticks(&self, name: &str) -> Parsed<Option<u64>> {
        if self.text(name).is_none() {
            return Ok(None);
        }
        let ticks = self.number(name, 0, 1..=i64::from(i32::MAX))?;
        Ok(Some(ticks.unsigned_abs()))
    }

    /// What Apache demands of every file that names several servers.
    fn tick_limits(&self) -> Parsed<()> {
        for name in ["initLimit", "syncLimit"] {
            if self.from_file && self.text(name).is_none() {
                let expected = "a number of ticks: the key is missing, and several servers need it";
                return Err(self.error(name, expected));
            }
        }
        Ok(())
    }

    fn heartbeats(&self, tick_ms: u64, options: &mut EnsembleConfig) -> Parsed<()> {
        let silence = tick_ms.saturating_mul(options.sync_limit);
        let handshake = self.number("quorumCnxnTimeoutMs", -1, -1..=i64::from(i32::MAX))?;
        options.handshake_timeout_ms = u64::try_from(handshake).unwrap_or(silence);
        let range = || 1..=i64::from(i32::MAX);
        let signed = |ms: u64| i64::try_from(ms).unwrap_or(i64::MAX);
        let timeout = self.number("peer.heartbeatTimeoutMs", signed(silence), range())?;
        options.heartbeat_timeout_ms = timeout.unsigned_abs();
        let interval = (tick_ms / 2).min(options.heartbeat_timeout_ms / 4).max(1);
        let interval = self.number("peer.heartbeatIntervalMs", signed(interval), range())?;
        options.heartbeat_interval_ms = interval.unsigned_abs();
        let longest = options.heartbeat_timeout_ms / 2;
        if options.heartbeat_interval_ms > longest.max(1) {
            let expected =
                format!("at most half of the time after which a link is given up, {longest}");
            return Err(self.error("peer.heartbeatIntervalMs", expected));
        }
        Ok(())
    }

    /// Who the members are, from the only one of three places that may name them; and the version
    /// of this ensemble.
    fn entries(&self, config: &ServerConfig) -> Parsed<Option<(Entries, i64)>> {
        let named: Vec<&String> = self.values.keys().filter(|k| is_member_key(k)).collect();
        if let Some(file) = self.text("dynamicConfigFile") {
            for key in named.into_iter().map(String::as_str).chain(["peers"]) {
                if self.text(key).is_some() {
                    let expected =
                        "the key in the dynamic configuration file, or no dynamicConfigFile";
                    return Err(self.error(key, expected));
                }
            }
            let path = Path::new(file);
            let entries = self.read_dynamic(path)?;
            if let Some((key, value, place)) = entries.entries.iter().find(|e| e.0 == "version") {
                return Err(ConfigError {
                    place: place.clone(),
                    key: key.clone(),
                    value: Some(value.clone()),
                    expected: "the version behind the last dot of the file's name".into(),
                    exit_code: INVALID,
                });
            }
            return Ok(Some((entries, version_of(path))));
        }
        if let Some(peers) = self.text("peers") {
            if let Some(key) = named.first() {
                return Err(self.error(key, "either server.N lines or peers"));
            }
            if config.reconfig_enabled {
                let expected = "a configuration file with server.N lines, beside which a changed \
                                ensemble can be kept, or no reconfigEnabled";
                return Err(self.error("peers", expected));
            }
            return Ok(Some((self.peers(peers)?, 0)));
        }
        let entries = named.into_iter().filter_map(|key| {
            let setting = self.values.get(key)?;
            Some((key.clone(), setting.value.clone(), setting.place.clone()))
        });
        let entries: Vec<_> = entries.collect();
        let Some((_, _, place)) = entries.first() else {
            return Ok(None);
        };
        let place = self
            .file
            .as_ref()
            .map_or_else(|| place.clone(), |f| f.display().to_string());
        Ok(Some((Entries { place, entries }, 0)))
    }

    /// `1=host:2888,2=host:2888`.
    fn peers(&self, text: &str) -> Parsed<Entries> {
        let place = self.error("peers", "").place;
        let mut entries = Vec::new();
        for entry in text
            .split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
        {
            let expected = "ID=HOST:PORT of every server, with commas between them";
            let (id, address) = entry
                .split_once('=')
                .ok_or_else(|| self.error("peers", expected))?;
            let id = id.trim();
            let key = format!("server.{}", id.strip_prefix("server.").unwrap_or(id));
            entries.push((key, address.trim().into(), place.clone()));
        }
        Ok(Entries { place, entries })
    }

    fn read_dynamic(&self, path: &Path) -> Parsed<Entries> {
        let bytes = (self.outside.read)(path).map_err(|error| {
            self.error("dynamicConfigFile", format!("a readable file ({error})"))
        })?;
        entries_of(path, &bytes)
    }

    /// The proposed ensemble, if there is one and it is not in force already.
    fn next_ensemble(&self, version: i64) -> Parsed<Option<Ensemble>> {
        let (Some(file), true) = (&self.file, self.text("dynamicConfigFile").is_some()) else {
            return Ok(None);
        };
        let files = ConfigFiles {
            static_file: file.clone(),
        };
        let path: PathBuf = files.next();
        let bytes = match (self.outside.read)(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(ConfigError {
                    place: path.display().to_string(),
                    key: "the file".into(),
                    value: None,
                    expected: format!("a readable configuration file ({error})"),
                    exit_code: INVALID,
                });
            }
        };
        let ensemble = entries_of(&path, &bytes)?.ensemble()?;
        Ok(Some(ensemble).filter(|ensemble| ensemble.version > version))
    }

    /// This server's id: of `myid`, or of the argument, which must not contradict it.
    fn me(&mut self, config: &ServerConfig, ensemble: &Ensemble) -> Parsed<ServerId> {
        let known: Vec<String> = ensemble.members.keys().map(|id| id.0.to_string()).collect();
        let known = known.join(", ");
        let path = config.data_dir.join("myid");
        let file = path.display().to_string();
        let wrong = |value: Option<String>, expected: String| ConfigError {
            place: file.clone(),
            key: "myid".into(),
            value,
            expected,
            exit_code: INVALID,
        };
        let in_file = (self.outside.my_id)(&config.data_dir).map_err(|error| match error {
            StoreError::Layout { what, advice, .. } => {
                wrong(None, format!("a number ({what}); {advice}"))
            }
            other => wrong(None, format!("a readable file ({other})")),
        })?;
        let argued = match self.text("id") {
            None => None,
            Some(_) => Some(self.number("id", 0, i64::MIN..=i64::MAX)?),
        };
        let id = match (in_file, argued) {
            (Some(file_id), Some(argued)) if file_id != argued => {
                let expected = format!("{file_id}, as in {file}: the data is of that server");
                return Err(self.error("id", expected));
            }
            (Some(id), _) | (None, Some(id)) => ServerId(id),
            (None, None) => {
                let expected = format!(
                    "a file with the id of this server alone (one of {known}), or --id: \
                     it is missing"
                );
                return Err(wrong(None, expected));
            }
        };
        if ensemble.members.contains_key(&id) {
            return Ok(id);
        }
        // Compat: C-45 - a server that is to be added need not name itself.
        if config.reconfig_enabled {
            let id = id.0;
            self.warnings.push(format!(
                "{file}: server {id} is none of {known}: it follows without a vote until a \
                 reconfiguration adds it"
            ));
            return Ok(ServerId(id));
        }
        let mut error = match in_file {
            Some(_) => wrong(Some(id.0.to_string()), String::new()),
            None => self.error("id", ""),
        };
        error.expected = format!("the id of one of the servers: {known}");
        error.exit_code = NOT_A_MEMBER;
        Err(error)
    }

    fn warn_of_even_numbers(&mut self, voters: usize) {
        let what = match voters {
            1 | 2 => "none of them may fail; of three one may",
            n if n % 2 == 0 => "as many may fail with one less",
            _ => return,
        };
        self.warnings.push(format!("{voters} servers vote: {what}"));
    }

    fn warn_of_peer_type(&mut self, options: &EnsembleConfig, peer_type: Option<MemberRole>) {
        let role = options.my_member().map(|member| member.role);
        let (Some(role), Some(peer_type)) = (role, peer_type) else {
            return;
        };
        if role != peer_type {
            let place = self.error("peerType", "").place;
            let id = options.me.0;
            self.warnings.push(format!(
                "{place}: peerType contradicts server.{id}, which counts"
            ));
        }
    }
}

fn entries_of(path: &Path, bytes: &[u8]) -> Parsed<Entries> {
    let place = path.display().to_string();
    let found = properties::parse(bytes).map_err(|(line, what)| ConfigError {
        place: format!("{place}:{line}"),
        key: "the line".into(),
        value: None,
        expected: what.into(),
        exit_code: INVALID,
    })?;
    let entries = found.into_iter().map(|property| {
        let place = format!("{place}:{}", property.line);
        (property.key, property.value, place)
    });
    let entries = entries.collect();
    Ok(Entries { place, entries })
}

/// The version behind the last dot of a dynamic file's name; 0 if there is none.
/// Java: `QuorumPeerConfig.getVersionFromFilename`.
fn version_of(path: &Path) -> i64 {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let suffix = name.rsplit_once('.').map(|(_, suffix)| suffix);
    suffix.and_then(parse_text_version).unwrap_or(0)
}

#[cfg(test)]
mod tests;
