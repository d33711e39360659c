//! Which files are no longer needed. Java: `PurgeTxnLog`.

use std::path::PathBuf;

use crate::data_dir::DataDir;
use crate::disk::Disk;
use crate::error::{IoContext, StoreError};
use crate::file_name::{list_logs, list_snapshots};
use crate::snapshot_file::looks_whole;

/// The fewest snapshots that may be kept.
pub const MIN_RETAINED: usize = 3;

/// Removes all but the `retain` newest whole snapshots, and the logs that none of them needs.
/// Returns what was removed.
///
/// # Errors
/// When a file cannot be read or removed.
pub fn purge(disk: &dyn Disk, dir: &DataDir, retain: usize) -> Result<Vec<PathBuf>, StoreError> {
    let snapshots = list_snapshots(disk, &dir.snapshots)?;
    let mut kept = Vec::new();
    for snapshot in &snapshots {
        let wanted = kept.len() < retain.max(MIN_RETAINED) && !snapshot.temporary;
        if wanted && looks_whole(disk, snapshot)? {
            kept.push(snapshot);
        }
    }
    let Some(oldest) = kept.last().map(|snapshot| snapshot.zxid) else {
        return Ok(Vec::new());
    };
    let logs = list_logs(disk, &dir.logs)?;
    // The newest log that begins at or before the oldest snapshot may hold records behind it.
    let first_needed = logs.iter().rposition(|log| log.zxid <= oldest).unwrap_or(0);
    let old_snapshots = snapshots
        .iter()
        .filter(|s| s.zxid < oldest)
        .map(|s| s.path.clone());
    let old_logs = logs.iter().take(first_needed).map(|log| log.path.clone());
    let mut removed = Vec::new();
    for path in old_snapshots.chain(old_logs) {
        disk.remove(&path).at("remove", &path)?;
        removed.push(path);
    }
    if !removed.is_empty() {
        disk.sync_dir(&dir.snapshots).at("sync", &dir.snapshots)?;
        disk.sync_dir(&dir.logs).at("sync", &dir.logs)?;
    }
    Ok(removed)
}
