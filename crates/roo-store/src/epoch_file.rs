//! The two small files that remember epochs: `acceptedEpoch` (promised to a prospective leader)
//! and `currentEpoch` (its leader's history is adopted). Decimal text, as Apache writes it.
//! Java: `QuorumPeer.loadDataBase`, `AtomicFileOutputStream`.
//!
//! When they may be written is decided elsewhere; here a value is durable or the old one stands.

use std::io;
use std::path::{Path, PathBuf};

use roo_proto::ids::Zxid;

use crate::disk::{Disk, OpenMode, read_small};
use crate::error::{IoContext, StoreError};

/// Longest text that is looked at.
const MAX_TEXT: usize = 64;
/// Java: `AtomicFileOutputStream.TMP_EXTENSION`.
const TEMPORARY: &str = ".tmp";

/// Which of the two files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EpochFile {
    /// `acceptedEpoch`
    Accepted,
    /// `currentEpoch`
    Current,
}

impl EpochFile {
    /// The name of the file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accepted => "acceptedEpoch",
            Self::Current => "currentEpoch",
        }
    }
}

/// What both files say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epochs {
    /// The highest epoch promised.
    pub accepted: u32,
    /// The epoch whose leader's history is adopted; never above `accepted`.
    pub current: u32,
}

/// Reads the epochs of a server whose history ends with `last`, and writes what was missing. A
/// missing file says what the history says: the directory is a standalone server's, or new.
///
/// Compat: C-50 a history that reaches into an epoch which was accepted, but is not yet in
/// `currentEpoch`, is that of a learner that stopped between the two writes. It holds all that
/// its leader began the epoch with, so the epoch is adopted.
///
/// # Errors
/// When a file cannot be read or written, holds no epoch, or the two and the history cannot
/// belong together.
pub fn load(disk: &dyn Disk, dir: &Path, last: Zxid) -> Result<Epochs, StoreError> {
    let accepted_file = read(disk, dir, EpochFile::Accepted)?;
    let current_file = read(disk, dir, EpochFile::Current)?;
    let accepted = accepted_file.unwrap_or(last.epoch());
    let current = current_file.unwrap_or(0).max(last.epoch());
    if accepted < last.epoch() {
        return Err(StoreError::layout(
            &dir.join(EpochFile::Accepted.name()),
            format!("it says {accepted}, but the history ends with {last}, of a later epoch"),
            ADVICE,
        ));
    }
    if accepted < current {
        return Err(StoreError::layout(
            &dir.join(EpochFile::Accepted.name()),
            format!("it says {accepted}, but currentEpoch says {current}, which cannot be later"),
            ADVICE,
        ));
    }
    if accepted_file != Some(accepted) {
        store(disk, dir, EpochFile::Accepted, accepted)?;
    }
    if current_file != Some(current) {
        store(disk, dir, EpochFile::Current, current)?;
    }
    Ok(Epochs { accepted, current })
}

const ADVICE: &str = "the files of this directory do not belong together: restore all of it from \
                      one backup, or move it away and let the server copy everything from its \
                      ensemble";

/// The epoch in a file; `None` without the file.
///
/// # Errors
/// When it cannot be read or holds anything but a number from 0 to 2147483647.
pub fn read(disk: &dyn Disk, dir: &Path, file: EpochFile) -> Result<Option<u32>, StoreError> {
    let path = dir.join(file.name());
    let Some(bytes) = read_small(disk, &path, MAX_TEXT).at("read", &path)? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&bytes);
    let epoch = text.trim().parse::<i32>().ok();
    match epoch.and_then(|epoch| u32::try_from(epoch).ok()) {
        Some(epoch) if bytes.len() < MAX_TEXT => Ok(Some(epoch)),
        _ => Err(StoreError::layout(
            &path,
            format!(
                "it says {:?}, expected an epoch as a number from 0 to {}",
                text.chars().take(20).collect::<String>(),
                i32::MAX
            ),
            ADVICE,
        )),
    }
}

/// Replaces the epoch in a file; when this returns, it survives a crash.
///
/// # Errors
/// When the disk refuses: the old value or the new one stands then.
pub fn store(disk: &dyn Disk, dir: &Path, file: EpochFile, epoch: u32) -> Result<(), StoreError> {
    let path = dir.join(file.name());
    let temporary = PathBuf::from(format!("{}{TEMPORARY}", path.display()));
    let written = write_synced(disk, &temporary, epoch.to_string().as_bytes());
    if let Err(error) = written {
        // A leftover is never read; it only takes room.
        let _ = disk.remove(&temporary);
        return Err(error).at("write", &temporary);
    }
    disk.rename(&temporary, &path).at("rename", &temporary)?;
    disk.sync_dir(dir).at("sync", dir)
}

fn write_synced(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = disk.open(path, OpenMode::Create)?;
    file.write_at(0, bytes)?;
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim_disk::{Crash, SimDisk};

    fn disk() -> (SimDisk, PathBuf) {
        let (disk, dir) = (SimDisk::new(), PathBuf::from("/d/version-2"));
        disk.create_dir_all(&dir).unwrap();
        (disk, dir)
    }

    fn put(disk: &SimDisk, dir: &Path, file: EpochFile, text: &str) {
        write_synced(disk, &dir.join(file.name()), text.as_bytes()).unwrap();
    }

    #[test]
    fn missing_files_say_what_the_history_says_and_are_written() {
        let (disk, dir) = disk();
        let last = Zxid::new(7, 3);
        let expected = Epochs {
            accepted: 7,
            current: 7,
        };
        assert_eq!(load(&disk, &dir, last).unwrap(), expected);
        for file in [EpochFile::Accepted, EpochFile::Current] {
            assert_eq!(read(&disk, &dir, file).unwrap(), Some(7));
        }
    }

    #[test]
    fn the_text_is_that_of_apache() {
        let (disk, dir) = disk();
        store(&disk, &dir, EpochFile::Current, 12).unwrap();
        let bytes = read_small(&disk, &dir.join("currentEpoch"), 64).unwrap();
        assert_eq!(bytes.unwrap(), b"12");
        put(&disk, &dir, EpochFile::Current, "13\n");
        assert_eq!(read(&disk, &dir, EpochFile::Current).unwrap(), Some(13));
    }

    #[test]
    fn nonsense_is_refused_with_the_name_of_the_file() {
        let long = "1".repeat(100);
        for text in [
            "",
            "x",
            "-1",
            "2147483648",
            "1 2",
            "0x1",
            "\0\0\0\0",
            long.as_str(),
        ] {
            let (disk, dir) = disk();
            put(&disk, &dir, EpochFile::Accepted, text);
            let error = load(&disk, &dir, Zxid::ZERO).unwrap_err().to_string();
            assert!(
                error.contains("/d/version-2/acceptedEpoch: it says"),
                "{error}"
            );
        }
    }

    #[test]
    fn files_that_do_not_belong_together_are_refused() {
        for (accepted, current, last) in [
            ("3", "4", Zxid::ZERO),
            ("3", "3", Zxid::new(4, 1)),
            ("3", "2", Zxid::new(4, 1)),
        ] {
            let (disk, dir) = disk();
            put(&disk, &dir, EpochFile::Accepted, accepted);
            put(&disk, &dir, EpochFile::Current, current);
            let error = load(&disk, &dir, last).unwrap_err().to_string();
            assert!(error.contains("acceptedEpoch: it says 3, but"), "{error}");
        }
    }

    #[test]
    fn a_history_ahead_of_the_current_epoch_but_not_of_the_accepted_one_raises_it() {
        let (disk, dir) = disk();
        put(&disk, &dir, EpochFile::Accepted, "5");
        put(&disk, &dir, EpochFile::Current, "2");
        let epochs = load(&disk, &dir, Zxid::new(4, 9)).unwrap();
        assert_eq!((epochs.accepted, epochs.current), (5, 4));
        assert_eq!(read(&disk, &dir, EpochFile::Current).unwrap(), Some(4));
    }

    #[test]
    fn a_crash_at_any_step_leaves_the_old_epoch_or_the_new_one() {
        let (whole, dir) = disk();
        store(&whole, &dir, EpochFile::Accepted, 9).unwrap();
        let before = whole.steps();
        store(&whole, &dir, EpochFile::Accepted, 10).unwrap();
        let steps = whole.steps() - before;
        assert!(steps >= 4, "{steps}");
        for step in 0..=steps {
            for crash in [Crash::Lost, Crash::Kept, Crash::Torn(1)] {
                let (disk, dir) = disk();
                store(&disk, &dir, EpochFile::Accepted, 9).unwrap();
                disk.fail_from(disk.steps() + step, io::ErrorKind::StorageFull);
                let done = store(&disk, &dir, EpochFile::Accepted, 10).is_ok();
                let disk = disk.after_crash(crash);
                let found = read(&disk, &dir, EpochFile::Accepted).unwrap();
                let expected: &[u32] = if done { &[10] } else { &[9, 10] };
                assert!(expected.contains(&found.unwrap()), "{step} {crash:?}");
            }
        }
    }
}
