//! Where the files are, and that nobody else uses them. Java: `FileTxnSnapLog`.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::{Disk, DiskLock, OpenMode, read_small};
use crate::error::{IoContext, StoreError};
use crate::file_name::{TEMPORARY_PREFIX, list_logs, list_snapshots};

/// Name of the directory below `dataDir` and `dataLogDir`.
pub const VERSION_DIR: &str = "version-2";
/// Made by an operator to say that an empty directory is no mistake.
const INITIALIZE_FILE: &str = "initialize";
/// Held while a server runs; Apache ignores it.
const LOCK_FILE: &str = "roo.lock";
/// Longest text that a small file may hold.
const SMALL: usize = 64;

/// An open data directory.
#[derive(Debug)]
pub struct DataDir {
    /// Where snapshots are.
    pub snapshots: PathBuf,
    /// Where logs are.
    pub logs: PathBuf,
    _locks: Vec<Box<dyn DiskLock>>,
}

impl DataDir {
    /// Opens (and, if `create`, makes) the directories and locks them. Stale temporary files of
    /// ours are removed.
    ///
    /// # Errors
    /// When a directory is missing, cannot be written, is mixed up with the other one, or is in
    /// use by another server.
    pub fn open(
        disk: &dyn Disk,
        data_dir: &Path,
        data_log_dir: &Path,
        create: bool,
    ) -> Result<Self, StoreError> {
        let snapshots = data_dir.join(VERSION_DIR);
        let logs = data_log_dir.join(VERSION_DIR);
        for dir in [&snapshots, &logs] {
            prepare(disk, dir, create)?;
        }
        let mut locks = vec![lock(disk, data_dir)?];
        if disk.canonical(data_dir).at("resolve", data_dir)?
            != disk.canonical(data_log_dir).at("resolve", data_log_dir)?
        {
            locks.push(lock(disk, data_log_dir)?);
            refuse_mix_up(disk, &snapshots, &logs)?;
        }
        remove_temporary(disk, &snapshots)?;
        Ok(Self {
            snapshots,
            logs,
            _locks: locks,
        })
    }

    // Compat: C-55 Apache's server looks in dataLogDir only, where its own script does not put it.
    fn initialize_marks(&self) -> impl Iterator<Item = PathBuf> {
        let logs = (self.logs != self.snapshots).then_some(&self.logs);
        [Some(&self.snapshots), logs]
            .into_iter()
            .flatten()
            .filter_map(|dir| Some(dir.parent()?.join(INITIALIZE_FILE)))
    }

    /// Whether there is a file `initialize` in `dataDir` or `dataLogDir`, by which an operator says
    /// that an empty directory is no mistake.
    ///
    /// # Errors
    /// When it cannot be looked for.
    pub fn has_initialize(&self, disk: &dyn Disk) -> Result<bool, StoreError> {
        for path in self.initialize_marks() {
            match disk.open(&path, OpenMode::Read) {
                Ok(_) => return Ok(true),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("open", &path),
            }
        }
        Ok(false)
    }

    /// Removes the file `initialize`, which counts for one start. To be called when the database
    /// is there: a start that stops before may be repeated.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove_initialize(&self, disk: &dyn Disk) -> Result<(), StoreError> {
        for path in self.initialize_marks() {
            match disk.remove(&path) {
                Ok(()) => {
                    let parent = path.parent().unwrap_or(&path);
                    disk.sync_dir(parent).at("sync", parent)?;
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => return Err(error).at("remove", &path),
            }
        }
        Ok(())
    }

    /// Bytes of all files beside the snapshots, and beside the logs.
    ///
    /// # Errors
    /// When a directory cannot be listed.
    pub fn sizes(&self, disk: &dyn Disk) -> Result<(u64, u64), StoreError> {
        let size = |dir: &Path| -> Result<u64, StoreError> {
            Ok(disk
                .list(dir)
                .at("list", dir)?
                .iter()
                .map(|file| file.len)
                .sum())
        };
        Ok((size(&self.snapshots)?, size(&self.logs)?))
    }
}

/// What to do about a directory that is there and no use.
const PLACE_ADVICE: &str = "give the server's user a directory that it may write, or correct \
                            dataDir and dataLogDir";

/// Whether the operator gave a wrong place, as opposed to a disk that fails. Java:
/// `DatadirException`.
fn is_about_the_place(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotADirectory
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::ReadOnlyFilesystem
    )
}

fn prepare(disk: &dyn Disk, dir: &Path, create: bool) -> Result<(), StoreError> {
    match disk.list(dir) {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            disk.create_dir_all(dir).map_err(|error| {
                StoreError::layout(
                    dir,
                    format!("the directory cannot be made: {error}"),
                    PLACE_ADVICE,
                )
            })?;
            // What is synced in a directory is lost with the directory's own name.
            for parent in dir.ancestors().skip(1).take(2) {
                if parent.as_os_str().is_empty() {
                    continue;
                }
                match disk.sync_dir(parent) {
                    // A directory above dataDir that may be entered but not read was there before.
                    Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {}
                    synced => synced.at("sync", parent)?,
                }
            }
            Ok(())
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(StoreError::layout(
            dir,
            "the directory does not exist",
            "create it, or set zookeeper.datadir.autocreate=true",
        )),
        Err(error) if is_about_the_place(&error) => Err(StoreError::layout(
            dir,
            format!("the directory cannot be used: {error}"),
            PLACE_ADVICE,
        )),
        Err(error) => Err(error).at("list", dir),
    }
}

fn lock(disk: &dyn Disk, dir: &Path) -> Result<Box<dyn DiskLock>, StoreError> {
    let path = dir.join(LOCK_FILE);
    let locked = match disk.lock(&path) {
        Err(error) if is_about_the_place(&error) => Err(StoreError::layout(
            dir,
            format!("the directory cannot be written: {error}"),
            PLACE_ADVICE,
        )),
        locked => locked.at("lock", &path),
    };
    locked?.ok_or_else(|| StoreError::Locked {
        path,
        advice: "stop that server first, or give this one a dataDir of its own".into(),
    })
}

fn refuse_mix_up(disk: &dyn Disk, snapshots: &Path, logs: &Path) -> Result<(), StoreError> {
    let advice = "dataDir holds snapshots and dataLogDir logs: move the files, or correct the keys";
    if !list_snapshots(disk, logs)?.is_empty() {
        return Err(StoreError::layout(
            logs,
            "there are snapshots in dataLogDir",
            advice,
        ));
    }
    if !list_logs(disk, snapshots)?.is_empty() {
        return Err(StoreError::layout(
            snapshots,
            "there are logs in dataDir",
            advice,
        ));
    }
    Ok(())
}

fn remove_temporary(disk: &dyn Disk, dir: &Path) -> Result<(), StoreError> {
    for entry in disk.list(dir).at("list", dir)? {
        if entry.name.starts_with(TEMPORARY_PREFIX) {
            let path = dir.join(&entry.name);
            disk.remove(&path).at("remove", &path)?;
        }
    }
    Ok(())
}

/// The server's id in the file `myid` of `dataDir`; `None` without the file.
///
/// # Errors
/// When it is no number.
pub fn read_my_id(disk: &Arc<dyn Disk>, data_dir: &Path) -> Result<Option<i64>, StoreError> {
    let path = data_dir.join("myid");
    let Some(bytes) = read_small(disk.as_ref(), &path, SMALL).at("read", &path)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().next().unwrap_or_default();
    line.trim().parse().map(Some).map_err(|_| {
        StoreError::layout(
            &path,
            format!("its first line is {line:?}, expected the number of this server alone"),
            "write the N of this server's server.N line into it",
        )
    })
}
