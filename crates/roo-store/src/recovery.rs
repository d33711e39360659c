//! What a server starts from: the newest snapshot that loses nothing, and the log behind it.
//!
//! The caller drives. [`snapshots`] lists the candidates, newest first. The caller loads the
//! first one that reads well to its end and then [`replay`]s the logs from there; neither changes
//! anything on disk. When it is sure that it starts from them, it [`settle`]s. Where Apache
//! only logs a doubt, [`replay`] refuses: a record missing between the snapshot and the log, or a
//! log that ends before a snapshot that could not be used, would lose acknowledged writes.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use roo_proto::ids::Zxid;

use crate::disk::{Disk, OpenMode};
use crate::error::{IoContext, StoreError};
use crate::file_name::{SnapshotFile, list_logs, list_snapshots};
use crate::log::reader::{FileReader, LogReader, LogWarning};
use crate::snapshot_file::looks_whole;

/// Candidates that are tried at most. Java: `FileSnap.findNValidSnapshots(100)`.
const MAX_CANDIDATES: usize = 100;

/// The snapshots of a directory.
#[derive(Debug, Default)]
pub struct Snapshots {
    /// Those worth trying, newest first.
    pub candidates: Vec<SnapshotFile>,
    /// Those that are clearly unfinished.
    pub unfinished: Vec<SnapshotFile>,
}

/// Lists the snapshots of a directory.
///
/// # Errors
/// When the directory or a file cannot be read.
pub fn snapshots(disk: &dyn Disk, dir: &Path) -> Result<Snapshots, StoreError> {
    let mut found = Snapshots::default();
    for file in list_snapshots(disk, dir)? {
        if looks_whole(disk, &file)? {
            if found.candidates.len() < MAX_CANDIDATES {
                found.candidates.push(file);
            }
        } else {
            found.unfinished.push(file);
        }
    }
    Ok(found)
}

/// Whether a directory holds any log with a record in it.
///
/// # Errors
/// When a log cannot be read or is damaged at its beginning.
pub fn has_records(disk: &dyn Disk, dir: &Path, max_payload: usize) -> Result<bool, StoreError> {
    for file in list_logs(disk, dir)? {
        if FileReader::open(disk, &file.path, max_payload)?
            .next_record()?
            .is_some()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What a replay came to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Replayed {
    /// Records given to the caller.
    pub records: u64,
    /// zxid of the last one, or where the replay began.
    pub last: Zxid,
    /// The logs that were looked into, oldest first.
    pub files: Vec<PathBuf>,
    /// What the operator should hear of.
    pub warnings: Vec<LogWarning>,
}

/// Takes one record; says what is wrong with one that it cannot understand.
pub type ApplyRecord<'a> = dyn FnMut(Zxid, &[u8]) -> Result<(), String> + 'a;

/// Gives every record after `after` to `apply`, in order. `apply` says what is wrong with a
/// record that it cannot understand. Nothing on disk is changed.
///
/// # Errors
/// When a log cannot be read or is damaged, or a record is missing.
pub fn replay(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    after: Zxid,
    max_payload: usize,
    apply: &mut ApplyRecord<'_>,
) -> Result<Replayed, StoreError> {
    let mut reader = LogReader::after(Arc::clone(disk), dir, after, max_payload)?;
    while let Some(record) = reader.next_record()? {
        if let Err(what) = apply(record.zxid, record.payload) {
            return Err(StoreError::Corrupt {
                file: record.file.to_path_buf(),
                offset: record.offset,
                what,
                advice: "nothing was changed; `roo log dump` shows the records; restore the \
                         directory from a backup or another server"
                    .into(),
            });
        }
    }
    Ok(Replayed {
        records: reader.records(),
        last: reader.last_zxid(),
        files: reader.opened().to_vec(),
        warnings: reader.warnings().to_vec(),
    })
}

/// Makes what a start found the truth on disk, before anything is acknowledged on top of it.
///
/// - Unfinished records are cut off: their zxids will be used again, and Apache takes what is left
///   of one for damage when its end mark happens to be in place.
/// - A newest log that holds nothing is removed: the server stopped before it wrote the header.
/// - The logs and the snapshot are synced: a process that was killed leaves records in the
///   system's memory that were never safe, and its successor counts on them.
///
/// Stopping in the middle is harmless: the next start finds the same records.
///
/// # Errors
/// When the disk refuses; the server must not start then.
pub fn settle(
    disk: &dyn Disk,
    dir: &Path,
    snapshot: Option<&Path>,
    replayed: &Replayed,
) -> Result<(), StoreError> {
    let mut empty = None;
    for warning in &replayed.warnings {
        match warning {
            LogWarning::Torn(tail) => {
                let path = &tail.file;
                let mut file = disk.open(path, OpenMode::Modify).at("open", path)?;
                file.set_len(tail.offset).at("cut", path)?;
            }
            LogWarning::EmptyLastFile(path) => empty = Some(path),
        }
    }
    let logs = replayed.files.iter().filter(|path| Some(*path) != empty);
    for path in logs.map(PathBuf::as_path).chain(snapshot) {
        let mut file = disk.open(path, OpenMode::Read).at("open", path)?;
        file.sync_data().at("sync", path)?;
    }
    if let Some(path) = empty {
        disk.remove(path).at("remove", path)?;
    }
    disk.sync_dir(dir).at("sync", dir)?;
    match snapshot.and_then(Path::parent) {
        Some(snapshots) if snapshots != dir => disk.sync_dir(snapshots).at("sync", snapshots),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
