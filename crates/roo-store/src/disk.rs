//! The seam between the store and a file system.
//!
//! [`OsDisk`] is the real one, [`crate::sim_disk::SimDisk`] a simulated one that forgets what was
//! not synced. Nothing here knows what the files mean.

use std::fmt;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// How a file is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, for reading only.
    Read,
    /// A new file, or an existing one emptied first.
    Create,
    /// The same, for writes past the page cache where there is a good way: then
    /// [`DiskFile::block`] says what they have to keep to, and the first may be refused as
    /// [`io::ErrorKind::InvalidInput`].
    CreateDirect,
    /// An existing file, for reading and writing.
    Modify,
}

/// One name in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DirEntry {
    /// The name without its directory. Names that are not UTF-8 are left out of listings.
    pub name: String,
    /// Length in bytes; 0 for a directory.
    pub len: u64,
    /// Whether it is a directory.
    pub is_dir: bool,
}

/// An exclusive lock, released when dropped.
pub trait DiskLock: Send + Sync + fmt::Debug {}

/// A file system, as much of it as the store needs.
pub trait Disk: Send + Sync {
    /// The files and directories in `dir`, in any order.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>>;
    /// Renames within one directory, replacing `to`; durable after [`Disk::sync_dir`].
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file; durable after [`Disk::sync_dir`].
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes creations, renames and removals in `dir` durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
    /// Creates a directory and those above it.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;
    /// The one absolute path of an existing directory.
    fn canonical(&self, path: &Path) -> io::Result<PathBuf>;
    /// Locks `path` (created if missing) against every other process; `None` if another holds it.
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>>;
}

/// An open file.
pub trait DiskFile: Send {
    /// Current length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads at `offset`; fewer bytes than asked for, or none, at the end.
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize>;
    /// The first place from `offset` on at which there may be anything but zeros; the file's length
    /// or more if there is none. Padding is mostly space that no disk holds.
    fn data_from(&self, offset: u64) -> io::Result<u64> {
        Ok(offset)
    }
    /// This part will be read soon.
    fn will_read(&self, _offset: u64, _len: u64) {}
    /// If this is so, writes go past the page cache: they begin and end at multiples of so many
    /// bytes, and come from memory that begins at one.
    fn block(&self) -> Option<usize> {
        None
    }
    /// Writes all of `bytes` at `offset`, growing the file; durable after [`DiskFile::sync_data`].
    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    /// Cuts or grows (with zeros) the file.
    fn set_len(&mut self, len: u64) -> io::Result<()>;
    /// Makes content and length durable.
    fn sync_data(&mut self) -> io::Result<()>;
}

/// So far ahead of its reader a file is fetched.
const READ_AHEAD: u64 = 4 << 20;

/// In such steps: Linux cuts larger ones to what the device takes at once.
const READ_AHEAD_STEP: u64 = 128 << 10;

/// Has a file fetched that is read from its beginning to its end, which is not in the page cache as
/// a rule: a replay of 1,000,000 records took 1.4 s without it and 0.95 s with it.
#[derive(Debug, Default)]
pub(crate) struct ReadAhead {
    asked: u64,
}

impl ReadAhead {
    /// The next read begins here.
    pub(crate) fn reads(&mut self, file: &dyn DiskFile, offset: u64) {
        if offset + READ_AHEAD / 2 >= self.asked {
            self.asked = self.asked.max(offset);
            while self.asked < offset + READ_AHEAD {
                file.will_read(self.asked, READ_AHEAD_STEP);
                self.asked += READ_AHEAD_STEP;
            }
        }
    }
}

/// Reads until `buffer` is full or the file ends.
pub(crate) fn read_full_at(
    file: &dyn DiskFile,
    offset: u64,
    buffer: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(offset + filled as u64, &mut buffer[filled..]) {
            Ok(0) => break,
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}

/// The whole content of a small file, at most `limit` bytes of it; `None` if it does not exist.
pub(crate) fn read_small(
    disk: &dyn Disk,
    path: &Path,
    limit: usize,
) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path, OpenMode::Read) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut content = vec![0; limit];
    let count = read_full_at(file.as_ref(), 0, &mut content)?;
    content.truncate(count);
    Ok(Some(content))
}

/// The operating system's file system.
#[derive(Clone, Copy, Debug, Default)]
pub struct OsDisk;

impl Disk for OsDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(dir)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().into_string() else {
                continue;
            };
            // A file purged between the listing and this call is simply gone.
            let metadata = match fs::metadata(entry.path()) {
                Ok(metadata) => metadata,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            let len = if is_dir { 0 } else { metadata.len() };
            entries.push(DirEntry { name, len, is_dir });
        }
        Ok(entries)
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        options.read(true);
        match mode {
            OpenMode::Read => {}
            OpenMode::Create | OpenMode::CreateDirect => {
                options.write(true).create(true).truncate(true);
            }
            OpenMode::Modify => {
                options.write(true);
            }
        }
        if mode == OpenMode::CreateDirect
            && let Some(file) = open_direct(&options, path)
        {
            return Ok(Box::new(file));
        }
        let file = options.open(path)?;
        Ok(Box::new(OsFile { file, block: None }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        fs::canonicalize(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)?;
        match file.try_lock() {
            Ok(()) => Ok(Some(Box::new(OsLock { _file: file }))),
            Err(TryLockError::WouldBlock) => Ok(None),
            Err(TryLockError::Error(error)) => Err(error),
        }
    }
}

/// What writes past the page cache keep to; a device with larger blocks refuses the first write.
#[cfg(target_os = "linux")]
const DIRECT_BLOCK: usize = 4096;

/// A file that is written past the page cache; `None` where that is not known to be sound and
/// quick. Others may refuse it, or accept it and go through the cache all the same, or do not keep
/// what is read through the cache in step with it.
#[cfg(target_os = "linux")]
fn open_direct(options: &OpenOptions, path: &Path) -> Option<OsFile> {
    use std::os::unix::fs::OpenOptionsExt;

    /// Of linux/magic.h; the first is that of ext2 and ext3, too.
    const EXT4_SUPER_MAGIC: u64 = 0xEF53;
    const XFS_SUPER_MAGIC: u64 = 0x5846_5342;

    let mut options = options.clone();
    let flags = rustix::fs::OFlags::DIRECT.bits();
    options.custom_flags(i32::try_from(flags).ok()?);
    let file = options.open(path).ok()?;
    let kind = u64::try_from(rustix::fs::fstatfs(&file).ok()?.f_type).ok()?;
    let block = Some(DIRECT_BLOCK);
    matches!(kind, EXT4_SUPER_MAGIC | XFS_SUPER_MAGIC).then_some(OsFile { file, block })
}

#[cfg(not(target_os = "linux"))]
fn open_direct(_options: &OpenOptions, _path: &Path) -> Option<OsFile> {
    None
}

struct OsFile {
    file: File,
    block: Option<usize>,
}

impl DiskFile for OsFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.file.read_at(buffer, offset)
    }

    #[cfg(target_os = "linux")]
    fn data_from(&self, offset: u64) -> io::Result<u64> {
        use rustix::fs::{SeekFrom, seek};

        match seek(&self.file, SeekFrom::Data(offset)) {
            Ok(at) => Ok(at),
            Err(rustix::io::Errno::NXIO) => self.size(),
            // A file system that does not tell.
            Err(_) => Ok(offset),
        }
    }

    #[cfg(target_os = "linux")]
    fn will_read(&self, offset: u64, len: u64) {
        use rustix::fs::{Advice, fadvise};

        // Whoever is not heard reads a little later.
        let _ = fadvise(
            &self.file,
            offset,
            std::num::NonZeroU64::new(len),
            Advice::WillNeed,
        );
    }

    fn block(&self) -> Option<usize> {
        self.block
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.file.write_all_at(bytes, offset)
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync_data(&mut self) -> io::Result<()> {
        self.file.sync_data()
    }
}

/// The lock lives as long as the open file.
#[derive(Debug)]
struct OsLock {
    _file: File,
}

impl DiskLock for OsLock {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_data_is_never_skipped() {
        let dir = tempfile::tempdir().unwrap();
        let mut file = OsDisk
            .open(&dir.path().join("f"), OpenMode::Create)
            .unwrap();
        file.set_len(8 << 20).unwrap();
        file.write_at(5 << 20, b"x").unwrap();
        assert!(file.data_from(0).unwrap() <= 5 << 20);
        assert_eq!(file.data_from(5 << 20).unwrap(), 5 << 20);
        let behind = file.data_from(6 << 20).unwrap();
        assert!((6 << 20..=8 << 20).contains(&behind), "{behind}");
    }
}
