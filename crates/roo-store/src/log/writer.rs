//! Appends records: one write (of at most 1 MiB) and one sync for as many as there are.
//!
//! After a failed write or sync nothing is written any more: what reached the disk is unknown,
//! and only reading it again can tell.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roo_proto::ids::Zxid;

use crate::disk::{Disk, OpenMode};
use crate::error::{IoContext, StoreError};
use crate::file_name::log_name;
use crate::log::append_file::AppendFile;
use crate::log::truncate::truncate;
use crate::log::{FILE_HEADER_LEN, file_header};

/// What the configuration says about logs. Sizes in bytes, 0 is off.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// Files grow by so much at a time (`preAllocSize`).
    pub preallocate: u64,
    /// A file larger than this is followed by a new one (`txnLogSizeLimitInKb`).
    pub size_limit: u64,
    /// Whether records are synced at all (`forceSync`).
    pub force_sync: bool,
    /// Whether synced records are written past the page cache where that is possible (`directIo`).
    pub direct: bool,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            preallocate: 65_536 * 1024,
            size_limit: 0,
            force_sync: true,
            direct: true,
        }
    }
}

/// Grow when less than this is left. Java: `FilePadding.calculateFileSizeWithPadding`.
const PADDING_MARGIN: u64 = 4096;

/// So many bytes are written at a time.
const PIECE: usize = 1 << 20;

/// A write of at most so many bytes finds zeros on the disk where it goes. A sync of a few
/// kilobytes into space that a file system has yet to allocate waits for its journal too: on ext4
/// 195 us instead of 130 us. Larger writes pay that once for many records; and of what goes where
/// nothing was, a power failure leaves all or nothing, while of blocks that are overwritten it may
/// leave some in any order, which at the start cannot be told from damage.
const SMALL_WRITE: usize = 16 << 10;

/// So many zeros are written ahead at a time: one sync of 4 KiB in 480 carries them, and took
/// 2.5 ms through the page cache. Steps of [`FEW_ZEROS_AHEAD`] took 350 us more, but of one in 60, which was the 99th
/// percentile of what eight clients saw.
const ZEROS_AHEAD: u64 = 2 << 20;

/// If writes have more bytes than these on average, there are not 200 to a step, and it is a larger
/// part of what clients see than a hundredth: the 99th percentile of fifty of them was 2.7 ms
/// instead of 1.3. Smaller steps are then the better ones.
const AVERAGE_WRITE: u64 = 10 << 10;

/// See [`AVERAGE_WRITE`].
const FEW_ZEROS_AHEAD: u64 = 256 << 10;

struct OpenLog {
    path: PathBuf,
    file: AppendFile,
    size: u64,
    /// Up to here there are records or zeros on the disk, not just a size.
    zeroed: u64,
    /// The records since the last zeros were written: their bytes, and how many writes they were.
    since_zeros: (u64, u64),
    /// Some of the zeros are not synced yet.
    has_new_zeros: bool,
    /// The directory does not hold the name durably yet.
    is_new: bool,
}

/// See the module.
pub struct LogWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    options: LogOptions,
    open: Option<OpenLog>,
    /// Files that have unsynced records but are no longer written.
    unsynced: Vec<OpenLog>,
    failed: Option<StoreError>,
}

impl std::fmt::Debug for LogWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LogWriter")
            .field("dir", &self.dir)
            .finish_non_exhaustive()
    }
}

impl LogWriter {
    /// A writer into `dir`; the first record opens a file.
    #[must_use]
    pub fn new(disk: Arc<dyn Disk>, dir: PathBuf, options: LogOptions) -> Self {
        Self {
            disk,
            dir,
            options,
            open: None,
            unsynced: Vec::new(),
            failed: None,
        }
    }

    fn guarded<T>(
        &mut self,
        work: impl FnOnce(&mut Self) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        if let Some(error) = &self.failed {
            return Err(error.clone());
        }
        let result = work(self);
        if let Err(error) = &result {
            self.failed = Some(error.clone());
        }
        result
    }

    /// Writes framed records, of which the first has this zxid. They are durable after
    /// [`LogWriter::sync`].
    ///
    /// # Errors
    /// When the disk refuses, and ever after.
    pub fn append(&mut self, first: Zxid, records: &[u8]) -> Result<(), StoreError> {
        self.guarded(|this| this.write(first, records))
    }

    fn write(&mut self, first: Zxid, records: &[u8]) -> Result<(), StoreError> {
        let mut log = match self.open.take() {
            Some(log) => log,
            None => self.create(first)?,
        };
        let end = log.file.end() + records.len() as u64;
        self.grow(&mut log, end)?;
        log.file.append(records).at("write", &log.path)?;
        log.size = log.size.max(end);
        log.since_zeros.0 += records.len() as u64;
        log.since_zeros.1 += 1;
        if records.len() <= SMALL_WRITE {
            Self::zero_ahead(&mut log)?;
        }
        self.open = Some(log);
        Ok(())
    }

    fn create(&self, first: Zxid) -> Result<OpenLog, StoreError> {
        let path = self.dir.join(log_name(first));
        // Without syncs the cache is what makes writes quick, and the end of a block is padding.
        let options = &self.options;
        let mode = if options.direct && options.force_sync && options.preallocate > 0 {
            OpenMode::CreateDirect
        } else {
            OpenMode::Create
        };
        let file = match self.begin(&path, mode) {
            // A device with larger blocks.
            Err(StoreError::Io { source, .. })
                if mode == OpenMode::CreateDirect
                    && source.kind() == io::ErrorKind::InvalidInput =>
            {
                self.begin(&path, OpenMode::Create)
            }
            begun => begun,
        }?;
        let size = file.end();
        Ok(OpenLog {
            path,
            file,
            size,
            zeroed: size,
            since_zeros: (0, 0),
            has_new_zeros: false,
            is_new: true,
        })
    }

    /// A new file with its header.
    fn begin(&self, path: &Path, mode: OpenMode) -> Result<AppendFile, StoreError> {
        let file = self.disk.open(path, mode).at("create", path)?;
        let mut file = AppendFile::new(file, PIECE);
        file.append(&file_header()).at("write", path)?;
        Ok(file)
    }

    fn grow(&self, log: &mut OpenLog, end: u64) -> Result<(), StoreError> {
        let step = self.options.preallocate;
        if step == 0 || end + PADDING_MARGIN < log.size {
            return Ok(());
        }
        let size = if end > log.size {
            (end + step) / step * step
        } else {
            log.size + step
        };
        let size = if log.size == FILE_HEADER_LEN as u64 {
            size.max(FILE_HEADER_LEN as u64 + step)
        } else {
            size
        };
        log.file.set_len(size).at("preallocate", &log.path)?;
        log.size = size;
        Ok(())
    }

    /// Writes zeros into the file's padding, unless the last write went into such.
    fn zero_ahead(log: &mut OpenLog) -> Result<(), StoreError> {
        let position = log.file.end();
        if position <= log.zeroed {
            return Ok(());
        }
        let (bytes, writes) = std::mem::take(&mut log.since_zeros);
        let step = if bytes <= AVERAGE_WRITE * writes {
            ZEROS_AHEAD
        } else {
            FEW_ZEROS_AHEAD
        };
        let until = log.size.min(position + step);
        log.zeroed = log.file.zero_until(until).at("write", &log.path)?;
        log.has_new_zeros = log.zeroed > position;
        Ok(())
    }

    /// Whether the next sync carries zeros, and so says little about how quick the disk is.
    #[must_use]
    pub fn syncs_zeros(&self) -> bool {
        self.open.as_ref().is_some_and(|log| log.has_new_zeros)
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// When the disk refuses, and ever after.
    pub fn sync(&mut self) -> Result<(), StoreError> {
        self.guarded(|this| {
            let force_sync = this.options.force_sync;
            let mut new_names = false;
            for log in this.unsynced.iter_mut().chain(&mut this.open) {
                if force_sync {
                    log.file.sync_data().at("sync", &log.path)?;
                }
                log.has_new_zeros = false;
                new_names |= std::mem::take(&mut log.is_new);
            }
            this.unsynced.clear();
            if new_names && force_sync {
                this.disk.sync_dir(&this.dir).at("sync", &this.dir)?;
            }
            let limit = this.options.size_limit;
            if limit > 0 && this.open.as_ref().is_some_and(|log| log.file.end() > limit) {
                this.open = None;
            }
            Ok(())
        })
    }

    /// Removes every record behind `after`, durably, and makes durable what stays. The next record
    /// opens a new file.
    ///
    /// # Errors
    /// When a file cannot be read or changed, or is damaged before the cut; and ever after.
    pub fn truncate(&mut self, after: Zxid, max_payload: usize) -> Result<(), StoreError> {
        self.sync()?;
        self.open = None;
        self.guarded(|this| truncate(&this.disk, &this.dir, after, max_payload))
    }

    /// Lets go of all files, because they are about to be removed.
    ///
    /// # Errors
    /// After a failed write or sync.
    pub fn forget(&mut self) -> Result<(), StoreError> {
        self.guarded(|this| {
            this.open = None;
            this.unsynced.clear();
            Ok(())
        })
    }

    /// The next record opens a new file.
    pub fn roll(&mut self) {
        self.unsynced.extend(self.open.take());
    }
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use super::*;
    use crate::disk::OsDisk;
    use crate::sim_disk::SimDisk;

    /// How far behind its records a new log's space is on the disk, after writes of so many bytes.
    fn held_behind(direct: bool, writes: &[usize]) -> u64 {
        let dir = tempfile::tempdir().unwrap();
        let disk: Arc<dyn Disk> = Arc::new(OsDisk);
        let options = LogOptions {
            direct,
            ..LogOptions::default()
        };
        let mut writer = LogWriter::new(Arc::clone(&disk), dir.path().to_owned(), options);
        let mut end = FILE_HEADER_LEN as u64;
        for bytes in writes {
            writer.append(Zxid(1), &vec![1; *bytes]).unwrap();
            writer.sync().unwrap();
            end += *bytes as u64;
        }
        let path = dir.path().join(log_name(Zxid(1)));
        let file = disk.open(&path, OpenMode::Read).unwrap();
        let mut at = end.next_multiple_of(1 << 12);
        while file.data_from(at).unwrap() == at {
            at += 1 << 12;
        }
        at - end
    }

    #[test]
    fn small_records_find_zeros_and_large_ones_do_not_pay_for_them() {
        for direct in [false, true] {
            assert!(held_behind(direct, &[100]) >= ZEROS_AHEAD);
            assert!(held_behind(direct, &[SMALL_WRITE]) >= FEW_ZEROS_AHEAD);
            assert!(held_behind(direct, &[SMALL_WRITE + 1]) < FEW_ZEROS_AHEAD / 2);
        }
    }

    #[test]
    fn small_records_among_large_ones_find_fewer_zeros() {
        for direct in [false, true] {
            let large = usize::try_from(2 * ZEROS_AHEAD).unwrap();
            let held = held_behind(direct, &[100, large, 100]);
            assert!((FEW_ZEROS_AHEAD..ZEROS_AHEAD / 2).contains(&held), "{held}");
            // Those behind the last zeros count.
            let small = [1000; 300];
            let held = held_behind(direct, &[&[100, large][..], &small[..]].concat());
            assert!(held > ZEROS_AHEAD / 2, "{held}");
        }
    }

    #[test]
    fn a_device_with_larger_blocks_is_written_through_the_cache() {
        let disk = SimDisk::with_large_blocks();
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let dir = PathBuf::from("/d");
        let mut writer = LogWriter::new(shared, dir.clone(), LogOptions::default());
        writer.append(Zxid(1), b"records").unwrap();
        writer.sync().unwrap();
        let (path, content) = disk.files().remove(0);
        assert_eq!(path, dir.join(log_name(Zxid(1))));
        assert_eq!(content[FILE_HEADER_LEN..][..8], *b"records\0");
    }

    #[test]
    fn the_file_systems_that_are_known_are_written_in_blocks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("f");
        let file = OsDisk.open(&path, OpenMode::CreateDirect).unwrap();
        let kind = rustix::fs::statfs(dir.path()).unwrap().f_type;
        // ext4 and XFS.
        let known = [0xEF53, 0x5846_5342].contains(&kind);
        assert_eq!(file.block().is_some(), known, "{kind:x}");
    }
}
