//! Gives up the end of a server's history, as a leader demands it: by cutting it (TRUNC), or by
//! taking the leader's snapshot in place of everything (SNAP).
//!
//! Whenever the machine stops in between, what a start finds is the beginning of the old history
//! or the new snapshot, never a mixture.

use std::io;
use std::path::Path;
use std::sync::Arc;

use roo_proto::ids::Zxid;

use crate::data_dir::DataDir;
use crate::disk::Disk;
use crate::error::{IoContext, StoreError};
use crate::file_name::{SnapshotFile, list_logs, list_snapshots};
use crate::log::writer::LogWriter;
use crate::snapshot_file::looks_whole;

/// Gives up everything behind `after`: snapshots first, because what they hold behind it cannot
/// be taken out of them, then the records. The state has to be loaded again if it goes further.
///
/// # Errors
/// When the disk refuses, or no snapshot is left to begin from: nothing was changed then, and
/// only the leader's snapshot helps.
pub fn truncate(
    disk: &Arc<dyn Disk>,
    dir: &DataDir,
    log: &mut LogWriter,
    after: Zxid,
    max_payload: usize,
) -> Result<(), StoreError> {
    let (newer, older): (Vec<_>, Vec<_>) = list_snapshots(disk.as_ref(), &dir.snapshots)?
        .into_iter()
        .partition(|file| file.zxid > after);
    if !newer.is_empty() || after > Zxid::ZERO {
        require_base(disk.as_ref(), dir, &older, after)?;
    }
    for file in newer {
        remove(disk.as_ref(), &dir.snapshots, &file.path)?;
    }
    log.truncate(after, max_payload)
}

/// Without an older snapshot the logs alone must reach back to the beginning, and Apache would
/// still not start from them.
fn require_base(
    disk: &dyn Disk,
    dir: &DataDir,
    older: &[SnapshotFile],
    after: Zxid,
) -> Result<(), StoreError> {
    for file in older {
        if !file.temporary && looks_whole(disk, file)? {
            return Ok(());
        }
    }
    Err(StoreError::layout(
        &dir.snapshots,
        format!("no snapshot at or before {after} is left to go back to"),
        "move the directory away and let the server copy everything from its ensemble",
    ))
}

/// Before a snapshot at `zxid` that came from the leader gets its name: no record may stand
/// behind it, and no unfinished snapshot.
///
/// # Errors
/// When the disk refuses.
pub fn before_snapshot(
    disk: &Arc<dyn Disk>,
    dir: &DataDir,
    log: &mut LogWriter,
    zxid: Zxid,
    max_payload: usize,
) -> Result<(), StoreError> {
    for file in list_snapshots(disk.as_ref(), &dir.snapshots)? {
        if !looks_whole(disk.as_ref(), &file)? {
            remove(disk.as_ref(), &dir.snapshots, &file.path)?;
        }
    }
    log.truncate(zxid, max_payload)
}

/// After it got its name: everything else is of a history that is given up. Newer snapshots go
/// first, as they would be taken for the state until then.
///
/// # Errors
/// When the disk refuses.
pub fn after_snapshot(
    disk: &Arc<dyn Disk>,
    dir: &DataDir,
    log: &mut LogWriter,
    installed: &Path,
) -> Result<(), StoreError> {
    for file in list_snapshots(disk.as_ref(), &dir.snapshots)? {
        if file.path != installed {
            remove(disk.as_ref(), &dir.snapshots, &file.path)?;
        }
    }
    log.forget()?;
    for file in list_logs(disk.as_ref(), &dir.logs)?.iter().rev() {
        remove(disk.as_ref(), &dir.logs, &file.path)?;
    }
    Ok(())
}

/// A file that is gone already was removed by whoever purges old files, or gave up a snapshot.
fn remove(disk: &dyn Disk, dir: &Path, path: &Path) -> Result<(), StoreError> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        removed => removed.at("remove", path)?,
    }
    disk.sync_dir(dir).at("sync", dir)
}

#[cfg(test)]
mod tests;
