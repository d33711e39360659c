//! The files of the ensembles that a server knows: the one in force, and one that is proposed.
//! As roo-server keeps them: each is replaced as a whole, and the proposed one is removed once
//! another is in force.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roo_proto::ensemble::Ensemble;
use roo_store::disk::{Disk, OpenMode};
use roo_store::error::StoreError;

const DIR: &str = "/c";
const IN_FORCE: &str = "/c/ensemble";
const PROPOSED: &str = "/c/ensemble.next";

/// What the files say: the ensemble in force, if it is not the first one, and a proposed one that
/// is newer.
///
/// # Errors
/// When the disk refuses, or a file is no ensemble.
pub(super) fn load(
    disk: &dyn Disk,
    first: &Arc<Ensemble>,
) -> Result<(Arc<Ensemble>, Option<Arc<Ensemble>>), StoreError> {
    failed("create", DIR, disk.create_dir_all(Path::new(DIR)))?;
    let in_force = read(disk, IN_FORCE)?;
    let in_force = in_force.unwrap_or_else(|| Arc::clone(first));
    let proposed = read(disk, PROPOSED)?;
    let proposed = proposed.filter(|proposed| proposed.version > in_force.version);
    Ok((in_force, proposed))
}

/// Keeps an ensemble that is proposed.
///
/// # Errors
/// When the disk refuses: the old file or the new one stands then.
pub(super) fn remember(disk: &dyn Disk, ensemble: &Ensemble) -> Result<(), StoreError> {
    write(disk, PROPOSED, ensemble)
}

/// Keeps an ensemble that is in force.
///
/// # Errors
/// As for a proposed one.
pub(super) fn activate(disk: &dyn Disk, ensemble: &Ensemble) -> Result<(), StoreError> {
    write(disk, IN_FORCE, ensemble)?;
    forget(disk)
}

/// Keeps no ensemble that is proposed.
///
/// # Errors
/// When the disk refuses: the file may stand or be gone then.
pub(super) fn forget(disk: &dyn Disk) -> Result<(), StoreError> {
    match disk.remove(Path::new(PROPOSED)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            failed("remove", PROPOSED, Err(error))
        }
        Ok(()) | Err(_) => failed("sync", DIR, disk.sync_dir(Path::new(DIR))),
    }
}

fn read(disk: &dyn Disk, path: &str) -> Result<Option<Arc<Ensemble>>, StoreError> {
    let file = match disk.open(Path::new(path), OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return failed("open", path, Err(error)),
    };
    let size = failed("read", path, file.size())?;
    let mut bytes = vec![0; usize::try_from(size).unwrap_or(0)];
    failed("read", path, file.read_at(0, &mut bytes))?;
    let text = String::from_utf8_lossy(&bytes);
    match Ensemble::parse(&text) {
        Ok(ensemble) => Ok(Some(Arc::new(ensemble))),
        Err(error) => Err(StoreError::Layout {
            path: PathBuf::from(path),
            what: format!("{error}"),
            advice: String::new(),
        }),
    }
}

fn write(disk: &dyn Disk, path: &str, ensemble: &Ensemble) -> Result<(), StoreError> {
    let temporary = format!("{path}.tmp");
    let write = || -> io::Result<()> {
        let mut file = disk.open(Path::new(&temporary), OpenMode::Create)?;
        file.write_at(0, ensemble.to_text().as_bytes())?;
        file.sync_data()?;
        disk.rename(Path::new(&temporary), Path::new(path))?;
        disk.sync_dir(Path::new(DIR))
    };
    failed("write", path, write())
}

fn failed<T>(op: &'static str, path: &str, outcome: io::Result<T>) -> Result<T, StoreError> {
    outcome.map_err(|source| StoreError::Io {
        path: PathBuf::from(path),
        op,
        source: Arc::new(source),
    })
}
