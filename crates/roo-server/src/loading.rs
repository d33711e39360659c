//! From a data directory to a state: the newest snapshot that loses nothing, and the log behind
//! it. Java: `FileTxnSnapLog.restore`.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use roo_proto::ids::Zxid;
use roo_proto::txn::{self, DIGEST_VERSION};
use roo_state::snapshot::{self, LoadError, Source, SourceError};
use roo_state::state::{Rules, State};
use roo_store::data_dir::DataDir;
use roo_store::disk::Disk;
use roo_store::error::StoreError;
use roo_store::file_name::SnapshotFile;
use roo_store::recovery::{self, Replayed};
use roo_store::snapshot_file::{SnapshotReader, Trailer};

use crate::stats::{ServerStats, in_ms};

/// What the configuration says about loading.
#[derive(Clone, Copy, Debug)]
pub struct LoadSettings {
    /// Rules of the state.
    pub rules: Rules,
    /// Seed of the tree's hashes.
    pub hash_seed: u64,
    /// Longest record of a log, bytes.
    pub max_record: usize,
    /// Logs without a snapshot are believed (`snapshot.trust.empty`).
    pub trust_empty: bool,
}

/// A state and where it came from.
#[derive(Debug)]
pub struct Loaded {
    /// The state.
    pub state: State,
    /// The snapshot it began with, if there was one.
    pub snapshot: Option<Zxid>,
    /// The log behind it.
    pub replayed: Replayed,
    /// Digests that did not match.
    pub mismatches: u64,
    /// How long the snapshot and the log took, ms.
    pub took_ms: (u64, u64),
}

impl Loaded {
    /// Counts how long it took.
    pub fn account(&self, stats: &ServerStats) {
        let (snapshot_ms, log_ms) = self.took_ms;
        stats.dbinittime.add(snapshot_ms.saturating_add(log_ms));
        stats.startup_snap_load_time.add(snapshot_ms);
        if self.snapshot.is_some() {
            stats.startup_txns_loaded.add(self.replayed.records);
            stats.startup_txns_load_time.add(log_ms);
        }
        let mismatches = &stats.counters.digest_mismatches_count;
        mismatches.store(self.mismatches, Ordering::Relaxed);
    }
}

struct Stream<'r> {
    reader: &'r mut SnapshotReader,
    failed: Option<StoreError>,
}

impl Source for Stream<'_> {
    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), SourceError> {
        self.reader.read_exact(buffer).map_err(|error| {
            let text = SourceError(error.to_string());
            self.failed = Some(error);
            text
        })
    }
}

/// What a snapshot file holds.
#[derive(Debug)]
pub struct ReadSnapshot {
    /// The state, with the zxid that the file's name gives it.
    pub state: State,
    /// What stands behind it.
    pub trailer: Trailer,
}

impl ReadSnapshot {
    /// Whether the digest in the file is that of its tree; `None` where there is none, or one of
    /// another moment or algorithm. Apache's snapshots go on while transactions do.
    #[must_use]
    pub fn digest_matches(&self) -> Option<bool> {
        let digest = self.trailer.digest?;
        let exact = digest.zxid == self.state.last_zxid() && digest.zxid != Zxid::ZERO;
        (exact && self.state.rules.digest && digest.version == DIGEST_VERSION)
            .then(|| digest.digest == self.state.digest())
    }

    /// The zxid up to which digests of the log cannot be compared.
    #[must_use]
    pub fn comparable_after(&self) -> Zxid {
        let name = self.state.last_zxid();
        self.trailer
            .digest
            .map_or(name, |digest| name.max(digest.zxid))
    }
}

/// Reads a snapshot file to its end.
///
/// # Errors
/// When the file is damaged.
pub fn read_snapshot(
    disk: &dyn Disk,
    file: &SnapshotFile,
    settings: &LoadSettings,
) -> Result<ReadSnapshot, StoreError> {
    let mut reader = SnapshotReader::open(disk, file)?;
    let mut stream = Stream {
        reader: &mut reader,
        failed: None,
    };
    let loaded = snapshot::load(&mut stream, settings.rules, settings.hash_seed);
    let failed = stream.failed.take();
    let mut state = match loaded {
        Ok(state) => state,
        Err(LoadError::Source(SourceError(what))) => {
            return Err(failed.unwrap_or_else(|| reader.corrupt(what)));
        }
        Err(error @ LoadError::Malformed { .. }) => return Err(reader.corrupt(error.to_string())),
    };
    let trailer = reader.finish()?;
    state.set_last_zxid(file.zxid);
    Ok(ReadSnapshot { state, trailer })
}

/// The state in a snapshot file, and the zxid up to which its digests cannot be compared.
///
/// # Errors
/// When the file is damaged.
pub fn load_snapshot(
    disk: &dyn Disk,
    file: &SnapshotFile,
    settings: &LoadSettings,
) -> Result<(State, Zxid), StoreError> {
    let read = read_snapshot(disk, file, settings)?;
    if read.digest_matches() == Some(false) {
        let path = file.path.display();
        tracing::warn!(%path, "the digest in the snapshot is not that of its tree");
    }
    let comparable_after = read.comparable_after();
    Ok((read.state, comparable_after))
}

/// Loads what a directory holds; a directory without anything gives the state of a new server.
///
/// # Errors
/// When acknowledged writes could be missing: the server must not start.
pub fn load(
    disk: &Arc<dyn Disk>,
    dir: &DataDir,
    settings: &LoadSettings,
) -> Result<Loaded, StoreError> {
    let found = recovery::snapshots(disk.as_ref(), &dir.snapshots)?;
    for file in &found.unfinished {
        tracing::warn!(path = %file.path.display(), "unfinished snapshot ignored");
    }
    let mut rejected: Vec<(&SnapshotFile, StoreError)> = Vec::new();
    for file in &found.candidates {
        let began = Instant::now();
        match load_snapshot(disk.as_ref(), file, settings) {
            Ok((state, comparable_after)) => {
                let snapshot_ms = in_ms(began.elapsed());
                let loaded = replay(disk, &dir.logs, settings, state, comparable_after)?;
                let last = loaded.replayed.last;
                if let Some((newer, error)) = rejected.into_iter().find(|(r, _)| r.zxid > last) {
                    tracing::error!(
                        "{} cannot be used and the log ends before it, at {last}",
                        newer.path.display()
                    );
                    return Err(error);
                }
                refuse_lost_end(&found.unfinished, last)?;
                settle(disk.as_ref(), dir, Some(file), &loaded)?;
                return Ok(Loaded {
                    snapshot: Some(file.zxid),
                    took_ms: (snapshot_ms, loaded.took_ms.1),
                    ..loaded
                });
            }
            Err(error) if error.is_corrupt() => {
                tracing::warn!(%error, "snapshot rejected, trying an older one");
                rejected.push((file, error));
            }
            Err(error) => return Err(error),
        }
    }
    if let Some((_, error)) = rejected.into_iter().next() {
        return Err(error);
    }
    let has_records = recovery::has_records(disk.as_ref(), &dir.logs, settings.max_record)?;
    if has_records && !settings.trust_empty {
        return Err(StoreError::Layout {
            path: dir.snapshots.clone(),
            what: "there is no snapshot, but there are log records".into(),
            advice: "put the missing snapshot back; if there never was one, start once with \
                     snapshot.trust.empty=true"
                .into(),
        });
    }
    let state = State::new(settings.rules, settings.hash_seed);
    let loaded = replay(disk, &dir.logs, settings, state, Zxid::ZERO)?;
    settle(disk.as_ref(), dir, None, &loaded)?;
    Ok(loaded)
}

/// The server starts from this: makes it safe, and says what was cut.
fn settle(
    disk: &dyn Disk,
    dir: &DataDir,
    snapshot: Option<&SnapshotFile>,
    loaded: &Loaded,
) -> Result<(), StoreError> {
    let snapshot = snapshot.map(|file| file.path.as_path());
    recovery::settle(disk, &dir.logs, snapshot, &loaded.replayed)?;
    for warning in &loaded.replayed.warnings {
        tracing::warn!("{warning}");
    }
    Ok(())
}

/// A snapshot is only begun of transactions that the log holds: one that is cut short is harmless
/// if the log goes as far, and a sign that the log has lost its end if it does not.
fn refuse_lost_end(unfinished: &[SnapshotFile], last: Zxid) -> Result<(), StoreError> {
    let lost =
        |file: &&SnapshotFile| !file.temporary && file.zxid.counter() > 0 && file.zxid > last;
    match unfinished.iter().find(lost) {
        None => Ok(()),
        Some(file) => Err(StoreError::Corrupt {
            file: file.path.clone(),
            offset: file.len,
            what: format!("it is cut short, and the log ends before it, at {last}"),
            advice: "changes are missing: restore the log or the directory from a backup".into(),
        }),
    }
}

/// Replays the logs in `logs` onto a state. Nothing on disk is changed.
///
/// # Errors
/// When a log cannot be read or is damaged, or a record is missing.
pub fn replay(
    disk: &Arc<dyn Disk>,
    logs: &Path,
    settings: &LoadSettings,
    mut state: State,
    comparable_after: Zxid,
) -> Result<Loaded, StoreError> {
    let began = Instant::now();
    let mut changes = Vec::new();
    let mut mismatches = 0;
    let from = state.last_zxid();
    let mut apply = |zxid: Zxid, payload: &[u8]| {
        let (header, txn, digest) = txn::decode_record(payload).map_err(|e| e.to_string())?;
        changes.clear();
        state.apply(&header, txn, &mut changes);
        if let Some(digest) = digest
            && settings.rules.digest
            && digest.version == DIGEST_VERSION
            && zxid > comparable_after
            && digest.tree_digest.cast_unsigned() != state.digest()
        {
            mismatches += 1;
            if mismatches == 1 {
                tracing::warn!(%zxid, "the digest in the log is not that of the tree");
            }
        }
        Ok(())
    };
    let replayed = recovery::replay(disk, logs, from, settings.max_record, &mut apply)?;
    let orphans = state.repair_after_load();
    if !orphans.is_empty() {
        tracing::warn!(
            sessions = orphans.len(),
            "ephemerals of unknown sessions removed"
        );
    }
    let ms = in_ms(began.elapsed());
    tracing::debug!(records = replayed.records, ms, last = %replayed.last, "log replayed");
    Ok(Loaded {
        state,
        snapshot: None,
        replayed,
        mismatches,
        took_ms: (0, ms),
    })
}
