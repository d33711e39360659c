//! What a server starts from: the newest snapshot that loses nothing, and the log behind it.
//!
//! The caller drives. [`snapshots`] lists the candidates, newest first. The caller loads the
//! first one that reads well to its end and then [`replay`]s the logs from there. Where Apache
//! only logs a doubt, [`replay`] refuses: a record missing between the snapshot and the log, or a
//! log that ends before a snapshot that could not be used, would lose acknowledged writes.

use std::path::Path;
use std::sync::Arc;

use roo_proto::ids::Zxid;

use crate::disk::Disk;
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
    /// What the operator should hear of.
    pub warnings: Vec<LogWarning>,
}

/// Takes one record; says what is wrong with one that it cannot understand.
pub type ApplyRecord<'a> = dyn FnMut(Zxid, &[u8]) -> Result<(), String> + 'a;

/// Gives every record after `after` to `apply`, in order. `apply` says what is wrong with a
/// record that it cannot understand. A newest log that holds nothing is removed: the server
/// stopped before it wrote the header.
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
    let warnings = reader.warnings().to_vec();
    for warning in &warnings {
        if let LogWarning::EmptyLastFile(path) = warning {
            disk.remove(path).at("remove", path)?;
        }
    }
    Ok(Replayed {
        records: reader.records(),
        last: reader.last_zxid(),
        warnings,
    })
}

#[cfg(test)]
mod tests;
