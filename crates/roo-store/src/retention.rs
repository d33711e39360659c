//! Which files are no longer needed. Java: `PurgeTxnLog`.

use std::io::ErrorKind;
use std::path::PathBuf;

use crate::data_dir::DataDir;
use crate::disk::Disk;
use crate::error::{IoContext, StoreError};
use crate::file_name::{LogFile, SnapshotFile, list_logs, list_snapshots};
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
    let logs = list_logs(disk, &dir.logs)?;
    remove(disk, dir, old_files(disk, &snapshots, &logs, retain)?)
}

fn remove(disk: &dyn Disk, dir: &DataDir, old: Vec<PathBuf>) -> Result<Vec<PathBuf>, StoreError> {
    let mut removed = Vec::new();
    for path in old {
        match disk.remove(&path) {
            // A leader's snapshot has taken the place of all files meanwhile.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            done => done.at("remove", &path)?,
        }
        removed.push(path);
    }
    if !removed.is_empty() {
        disk.sync_dir(&dir.snapshots).at("sync", &dir.snapshots)?;
        disk.sync_dir(&dir.logs).at("sync", &dir.logs)?;
    }
    Ok(removed)
}

fn old_files(
    disk: &dyn Disk,
    snapshots: &[SnapshotFile],
    logs: &[LogFile],
    retain: usize,
) -> Result<Vec<PathBuf>, StoreError> {
    let mut kept = Vec::new();
    for snapshot in snapshots {
        let wanted = kept.len() < retain.max(MIN_RETAINED) && !snapshot.temporary;
        if wanted && is_whole(disk, snapshot)? {
            kept.push(snapshot);
        }
    }
    let Some(oldest) = kept.last().map(|snapshot| snapshot.zxid) else {
        return Ok(Vec::new());
    };
    // The newest log that begins at or before the oldest snapshot may hold records behind it.
    let first_needed = logs.iter().rposition(|log| log.zxid <= oldest).unwrap_or(0);
    let old_snapshots = snapshots
        .iter()
        .filter(|s| s.zxid < oldest)
        .map(|s| s.path.clone());
    let old_logs = logs.iter().take(first_needed).map(|log| log.path.clone());
    Ok(old_snapshots.chain(old_logs).collect())
}

/// One that is gone is not.
fn is_whole(disk: &dyn Disk, snapshot: &SnapshotFile) -> Result<bool, StoreError> {
    match looks_whole(disk, snapshot) {
        Err(error) if error.is_missing() => Ok(false),
        looks => looks,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use roo_proto::ids::Zxid;

    use super::*;
    use crate::disk::OpenMode;
    use crate::file_name::Compression;
    use crate::sim_disk::SimDisk;

    fn snapshot(zxid: i64) -> SnapshotFile {
        SnapshotFile {
            zxid: Zxid(zxid),
            path: format!("/d/version-2/snapshot.{zxid:x}").into(),
            len: 10,
            compression: Compression::Gzip,
            temporary: false,
        }
    }

    #[test]
    fn what_a_leaders_snapshot_has_replaced_meanwhile_is_no_error() {
        let disk = SimDisk::default();
        let root = Path::new("/d");
        let dir = DataDir::open(&disk, root, root, true).unwrap();
        // Newest first, as they are listed; the third has gone since then.
        let listed: Vec<SnapshotFile> = (1..=5).rev().map(snapshot).collect();
        let gone = &listed[2].path;
        for file in listed.iter().filter(|file| file.path != *gone) {
            let mut file = disk.open(&file.path, OpenMode::Create).unwrap();
            file.write_at(0, &[0x1f, 0x8b]).unwrap();
        }
        let old = old_files(&disk, &listed, &[], 3).unwrap();
        assert_eq!(old, [listed[4].path.clone()], "three that are there stay");
        let removed = remove(&disk, &dir, vec![gone.clone(), old[0].clone()]).unwrap();
        assert_eq!(
            removed, old,
            "and the next is removed behind one that is gone"
        );
    }
}
