//! Snapshot files: a header, the state, and seals. Java: `FileSnap`, `SnapStream`.
//!
//! What stands between header and first seal is written and understood elsewhere.

mod snappy;

use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use roo_proto::ids::Zxid;
use simd_adler32::Adler32;

use crate::disk::{Disk, DiskFile, OpenMode, ReadAhead, read_full_at};
use crate::error::{IoContext, StoreError};
use crate::file_name::{Compression, SnapshotFile, TEMPORARY_PREFIX, snapshot_name};
use crate::snapshot_file::snappy::{SnappyReader, SnappyWriter};

/// In front of every snapshot: `ZKSN`, version 2, database id -1.
const HEADER: [u8; 16] = *b"ZKSN\0\0\0\x02\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF";
/// The string "/" behind each checksum, and at the end of each plain file.
const SEAL_END: [u8; 5] = *b"\0\0\0\x01/";
const SNAPPY_MAGIC: [u8; 8] = [0x82, b'S', b'N', b'A', b'P', b'P', b'Y', 0];
const GZIP_MAGIC: [u8; 2] = [0x1F, 0x8B];
/// The longest that can stand behind the first seal, a digest of the oldest kind included.
const MAX_TRAILER: usize = 1024;
const BUFFER: usize = 1 << 17;
/// Bytes written between two syncs of a snapshot. With one sync at the end of a large snapshot
/// the log's own syncs would wait behind all of it, and the clients behind those.
const SYNC_STEP: u64 = 1 << 20;

/// The tree's digest at a zxid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotDigest {
    /// At which zxid.
    pub zxid: Zxid,
    /// Version of the algorithm.
    pub version: i32,
    /// The digest.
    pub digest: u64,
}

/// What stands behind the state; either may be missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trailer {
    /// See [`SnapshotDigest`].
    pub digest: Option<SnapshotDigest>,
    /// The last transaction in the file.
    pub last_zxid: Option<Zxid>,
}

/// An open file as a stream.
struct FileStream {
    file: Box<dyn DiskFile>,
    read_ahead: ReadAhead,
    offset: u64,
    /// What is before is durable.
    synced: u64,
}

impl FileStream {
    fn new(file: Box<dyn DiskFile>) -> Self {
        Self {
            file,
            read_ahead: ReadAhead::default(),
            offset: 0,
            synced: 0,
        }
    }
}

impl Read for FileStream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.read_ahead.reads(self.file.as_ref(), self.offset);
        let n = self.file.read_at(self.offset, buffer)?;
        self.offset += n as u64;
        Ok(n)
    }
}

impl Write for FileStream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write_at(self.offset, bytes)?;
        self.offset += bytes.len() as u64;
        if self.offset - self.synced >= SYNC_STEP {
            self.file.sync_data()?;
            self.synced = self.offset;
        }
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

enum Compressor {
    Plain(BufWriter<FileStream>),
    Gzip(Box<GzEncoder<BufWriter<FileStream>>>),
    Snappy(Box<SnappyWriter<BufWriter<FileStream>>>),
}

impl Compressor {
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self {
            Self::Plain(out) => out.write_all(bytes),
            Self::Gzip(out) => out.write_all(bytes),
            Self::Snappy(out) => out.write_all(bytes),
        }
    }

    fn finish(self) -> io::Result<FileStream> {
        let buffered = match self {
            Self::Plain(out) => out,
            Self::Gzip(out) => out.finish()?,
            Self::Snappy(out) => out.finish()?,
        };
        buffered
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }
}

/// Writes a snapshot under a temporary name, so that it is whole or absent.
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    dir: PathBuf,
    path: PathBuf,
    zxid: Zxid,
    compression: Compression,
    /// `None` once the snapshot has its name.
    out: Option<Compressor>,
    checksum: Adler32,
}

/// A snapshot that is given up leaves nothing behind: where the disk is full, its space is what
/// the log needs.
impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if self.out.take().is_some() {
            // What cannot be removed now is removed at the next start.
            let _ = self.disk.remove(&self.path);
        }
    }
}

impl SnapshotWriter {
    /// Begins the snapshot of the state at `zxid`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn create(
        disk: Arc<dyn Disk>,
        dir: &Path,
        zxid: Zxid,
        compression: Compression,
    ) -> Result<Self, StoreError> {
        let name = snapshot_name(zxid, compression);
        let path = dir.join(format!("{TEMPORARY_PREFIX}{name}"));
        let file = disk.open(&path, OpenMode::Create).at("create", &path)?;
        let file = BufWriter::with_capacity(BUFFER, FileStream::new(file));
        let out = match compression {
            Compression::Plain => Compressor::Plain(file),
            Compression::Gzip => {
                Compressor::Gzip(Box::new(GzEncoder::new(file, flate2::Compression::fast())))
            }
            Compression::Snappy => {
                Compressor::Snappy(Box::new(SnappyWriter::new(file).at("write", &path)?))
            }
        };
        let dir = dir.to_path_buf();
        let checksum = Adler32::new();
        let out = Some(out);
        let mut writer = Self {
            disk,
            dir,
            path,
            zxid,
            compression,
            out,
            checksum,
        };
        writer.write(&HEADER)?;
        Ok(writer)
    }

    /// Writes the next part of the state.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.checksum.write(bytes);
        let Some(out) = &mut self.out else {
            return Ok(());
        };
        out.write_all(bytes).at("write", &self.path)
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        let checksum = u64::from(self.checksum.finish()).to_be_bytes();
        self.write(&checksum)?;
        self.write(&SEAL_END)
    }

    /// Ends the snapshot and gives it its name; returns its path.
    ///
    /// # Errors
    /// When the disk refuses; nothing is left behind then.
    pub fn finish(mut self, trailer: Trailer) -> Result<PathBuf, StoreError> {
        self.seal()?;
        if let Some(digest) = trailer.digest {
            self.write(&digest.zxid.0.to_be_bytes())?;
            self.write(&digest.version.to_be_bytes())?;
            self.write(&digest.digest.to_be_bytes())?;
            self.seal()?;
        }
        if let Some(zxid) = trailer.last_zxid {
            self.write(&zxid.0.to_be_bytes())?;
            self.seal()?;
        }
        let target = self.dir.join(snapshot_name(self.zxid, self.compression));
        let renamed = self
            .out
            .take()
            .map_or(Ok(()), |out| self.publish(out, &target));
        if let Err(error) = renamed {
            let _ = self.disk.remove(&self.path);
            return Err(error);
        }
        self.disk.sync_dir(&self.dir).at("sync", &self.dir)?;
        Ok(target)
    }

    fn publish(&self, out: Compressor, target: &Path) -> Result<(), StoreError> {
        let mut stream = out.finish().at("write", &self.path)?;
        stream.file.sync_data().at("sync", &self.path)?;
        self.disk
            .rename(&self.path, target)
            .at("rename", &self.path)
    }
}

/// Whether a file looks whole without reading all of it: what Apache asks before it loads one.
///
/// # Errors
/// When it cannot be read.
pub fn looks_whole(disk: &dyn Disk, snapshot: &SnapshotFile) -> Result<bool, StoreError> {
    let path = &snapshot.path;
    let file = disk.open(path, OpenMode::Read).at("open", path)?;
    let read = |offset: u64, buffer: &mut [u8]| {
        read_full_at(file.as_ref(), offset, buffer).at("read", path)
    };
    Ok(match snapshot.compression {
        Compression::Plain => {
            let mut end = [0; SEAL_END.len()];
            snapshot.len >= 10
                && read(snapshot.len - end.len() as u64, &mut end)? == end.len()
                && end == SEAL_END
        }
        Compression::Gzip => {
            let mut magic = [0; GZIP_MAGIC.len()];
            read(0, &mut magic)? == magic.len() && magic == GZIP_MAGIC
        }
        Compression::Snappy => {
            let mut magic = [0; SNAPPY_MAGIC.len()];
            read(0, &mut magic)? == magic.len() && magic == SNAPPY_MAGIC
        }
    })
}

/// Reads a snapshot: the state first, by [`SnapshotReader::read_exact`], then the rest by
/// [`SnapshotReader::finish`], which checks the seals.
pub struct SnapshotReader {
    path: PathBuf,
    input: Box<dyn Read>,
    checksum: Adler32,
    offset: u64,
}

impl SnapshotReader {
    /// Opens a file and checks its header.
    ///
    /// # Errors
    /// When it cannot be read or is no snapshot.
    pub fn open(disk: &dyn Disk, snapshot: &SnapshotFile) -> Result<Self, StoreError> {
        let path = snapshot.path.clone();
        let file = disk.open(&path, OpenMode::Read).at("open", &path)?;
        let file = BufReader::with_capacity(BUFFER, FileStream::new(file));
        let input: Box<dyn Read> = match snapshot.compression {
            Compression::Plain => Box::new(file),
            Compression::Gzip => Box::new(BufReader::with_capacity(BUFFER, GzDecoder::new(file))),
            Compression::Snappy => Box::new(SnappyReader::new(file)),
        };
        let mut reader = Self {
            path,
            input,
            checksum: Adler32::new(),
            offset: 0,
        };
        let mut header = [0; HEADER.len()];
        reader.read_exact(&mut header)?;
        if header.get(..4) != HEADER.get(..4) {
            return Err(reader.corrupt("it does not begin with ZKSN: this is no snapshot"));
        }
        Ok(reader)
    }

    /// A damage at the present place.
    #[must_use]
    pub fn corrupt(&self, what: impl Into<String>) -> StoreError {
        StoreError::Corrupt {
            file: self.path.clone(),
            offset: self.offset,
            what: what.into(),
            advice: "nothing was changed; inspect it with `roo snapshot check`; without it the \
                     server starts from an older snapshot if the logs reach back to it"
                .into(),
        }
    }

    /// Fills the buffer with the next bytes of the state.
    ///
    /// # Errors
    /// When the file ends or cannot be read or decompressed.
    pub fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), StoreError> {
        match self.input.read_exact(buffer) {
            Ok(()) => {
                self.checksum.write(buffer);
                self.offset += buffer.len() as u64;
                Ok(())
            }
            Err(error) => Err(self.corrupt(format!("it cannot be read on: {error}"))),
        }
    }

    fn i64(&mut self) -> Result<i64, StoreError> {
        let mut bytes = [0; 8];
        self.read_exact(&mut bytes)?;
        Ok(i64::from_be_bytes(bytes))
    }

    fn seal(&mut self) -> Result<(), StoreError> {
        let expected = i64::from(self.checksum.finish());
        let found = self.i64()?;
        let mut end = [0; SEAL_END.len()];
        self.read_exact(&mut end)?;
        if found != expected || end != SEAL_END {
            return Err(self.corrupt("its checksum does not match its content"));
        }
        Ok(())
    }

    /// Reads and checks what stands behind the state.
    ///
    /// # Errors
    /// When a seal does not match or something else stands there.
    pub fn finish(mut self) -> Result<Trailer, StoreError> {
        self.seal()?;
        let mut rest = Vec::new();
        let limit = MAX_TRAILER as u64 + 1;
        let read = self.input.by_ref().take(limit).read_to_end(&mut rest);
        if let Err(error) = read {
            return Err(self.corrupt(format!("it cannot be read on: {error}")));
        }
        let mut trailer = Trailer::default();
        if rest.len() > MAX_TRAILER {
            return Err(self.corrupt("data follows behind its end"));
        }
        // A section of 21 bytes alone is the last zxid, a longer one begins with the digest.
        let has_digest = rest.len() > 21;
        let has_zxid = rest.len() == 21 || rest.len() >= 54;
        self.input = Box::new(io::Cursor::new(rest));
        if has_digest {
            trailer.digest = self.digest_section()?;
            self.seal()?;
        }
        if has_zxid {
            trailer.last_zxid = Some(Zxid(self.i64()?));
            self.seal()?;
        }
        let mut more = [0];
        if !matches!(self.input.read(&mut more), Ok(0)) {
            return Err(self.corrupt("data follows behind its end"));
        }
        Ok(trailer)
    }

    fn digest_section(&mut self) -> Result<Option<SnapshotDigest>, StoreError> {
        let zxid = Zxid(self.i64()?);
        let mut version = [0; 4];
        self.read_exact(&mut version)?;
        let version = i32::from_be_bytes(version);
        if version >= 2 {
            let digest = self.i64()?.cast_unsigned();
            return Ok(Some(SnapshotDigest {
                zxid,
                version,
                digest,
            }));
        }
        // The first 3.6 servers wrote hex digits of another algorithm.
        let mut length = [0; 4];
        self.read_exact(&mut length)?;
        let length = usize::try_from(i32::from_be_bytes(length)).unwrap_or(usize::MAX);
        if length > MAX_TRAILER {
            return Err(self.corrupt("unreasonable length of its digest"));
        }
        self.read_exact(&mut vec![0; length])?;
        Ok(None)
    }
}

#[cfg(test)]
mod tests;
