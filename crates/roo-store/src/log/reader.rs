//! Reads the records of one log file ([`FileReader`]) or of a directory's logs from a zxid on
//! ([`LogReader`]), and tells a torn end from damage.
//!
//! A record that was being written when the machine stopped was never acknowledged: it is cut, with
//! a warning. Anything else that is not a sound record, or padding, is damage, and so is a zxid
//! that is neither its predecessor's nor the next one nor the first of a later epoch. Where a
//! record is unsound, the rule is:
//!
//! 1. A sound record somewhere behind it: damage. (Apache drops sound records behind a wrong end
//!    mark without a word.)
//! 2. It runs past the end of the file, or its end and everything behind it is zero: torn.
//! 3. It spans a whole sector of zeros, as when some sectors of one write reached the disk and
//!    others did not: torn.
//! 4. Otherwise: damage.
//!
//! Reading changes nothing on disk.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use roo_proto::ids::Zxid;

use super::record::{END_OF_RECORD, RECORD_HEADER_LEN, RECORD_OVERHEAD, Unframed, unframe};
use super::{FILE_HEADER_LEN, MAGIC, file_header};
use crate::disk::{Disk, DiskFile, OpenMode, ReadAhead, read_full_at};
use crate::error::{IoContext, StoreError};
use crate::file_name::{LogFile, list_logs};

/// Bytes read from the disk at a time.
const CHUNK: usize = 1 << 20;
/// What a disk writes whole or not at all.
const SECTOR: usize = 512;

/// Records of at most this many bytes are read unless told otherwise: twice the default
/// `jute.maxbuffer`, as in Apache.
pub const DEFAULT_MAX_PAYLOAD: usize = 2 * 0xf_ffff;

/// One record, borrowed from the reader's buffer.
#[derive(Clone, Copy, Debug)]
pub struct Record<'a> {
    /// From the transaction header.
    pub zxid: Zxid,
    /// Transaction header, body and, if the writer gives one, digest.
    pub payload: &'a [u8],
    /// The file that holds it.
    pub file: &'a Path,
    /// Where its frame begins in that file.
    pub offset: u64,
}

/// An unfinished record at the end of a log. Nobody was told that it was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TornTail {
    /// The log file.
    pub file: PathBuf,
    /// Where the unfinished record begins; everything before is sound.
    pub offset: u64,
    /// How many bytes of it there are, padding not counted.
    pub bytes: u64,
}

/// Something about the logs that an operator should hear of, but that loses nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogWarning {
    /// The last record of a file was cut.
    Torn(TornTail),
    /// The newest file holds nothing, not even a header.
    EmptyLastFile(PathBuf),
}

impl std::fmt::Display for LogWarning {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Torn(tail) => write!(
                f,
                "{}: cut an unfinished record of {} bytes at byte {}; it was never acknowledged",
                tail.file.display(),
                tail.bytes,
                tail.offset
            ),
            Self::EmptyLastFile(file) => {
                write!(
                    f,
                    "{}: the newest log is empty and is ignored",
                    file.display()
                )
            }
        }
    }
}

/// How the records of a file end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ending {
    /// At the end of the file or in padding.
    Clean,
    /// In an unfinished record.
    Torn(TornTail),
    /// The file has no content at all, or only zeros: not even a header was written.
    Blank,
}

/// The records of one file.
pub struct FileReader {
    file: Box<dyn DiskFile>,
    read_ahead: ReadAhead,
    path: PathBuf,
    len: u64,
    max_payload: usize,
    buffer: Vec<u8>,
    /// Unread bytes in `buffer`.
    start: usize,
    end: usize,
    /// File offset of `buffer[start]`.
    offset: u64,
    ending: Option<Ending>,
    latest_record: Option<Latest>,
}

/// Where the record returned last stands in the buffer.
#[derive(Clone, Copy)]
struct Latest {
    payload: usize,
    payload_len: usize,
    zxid: Zxid,
    offset: u64,
}

impl FileReader {
    /// Opens a log file and checks its header.
    ///
    /// # Errors
    /// If it cannot be read, is shorter than a header, or does not begin as a log does. A file of
    /// no bytes, or of zeros only, is no error: it ends [`Ending::Blank`].
    pub fn open(disk: &dyn Disk, path: &Path, max_payload: usize) -> Result<Self, StoreError> {
        let file = disk.open(path, OpenMode::Read).at("open", path)?;
        let len = file.size().at("read the size of", path)?;
        let mut reader = Self {
            file,
            read_ahead: ReadAhead::default(),
            path: path.to_path_buf(),
            len,
            max_payload,
            buffer: Vec::new(),
            start: 0,
            end: 0,
            offset: 0,
            ending: None,
            latest_record: None,
        };
        let nonzero_end = reader.fill(FILE_HEADER_LEN)?;
        if nonzero_end && reader.buffered().starts_with(&MAGIC) {
            reader.consume(FILE_HEADER_LEN);
        } else if reader.is_cut_header()? || reader.nonzero_end(0)? == 0 {
            reader.ending = Some(Ending::Blank);
        } else {
            return Err(reader.bad_header());
        }
        Ok(reader)
    }

    /// Compat: C-06 a server that stops while it creates a log leaves a part of the header; nothing in
    /// such a file was ever acknowledged. Apache refuses to start from it.
    fn is_cut_header(&mut self) -> Result<bool, StoreError> {
        let len = usize::try_from(self.len).unwrap_or(usize::MAX);
        if len >= FILE_HEADER_LEN || !self.fill(len)? {
            return Ok(false);
        }
        Ok(file_header().starts_with(self.buffered()))
    }

    fn bad_header(&self) -> StoreError {
        let what = if self.len < FILE_HEADER_LEN as u64 {
            format!("{} bytes are less than the header of a log", self.len)
        } else {
            "the file does not begin with ZKLG, so it is no transaction log".to_owned()
        };
        StoreError::Corrupt {
            file: self.path.clone(),
            offset: 0,
            what,
            advice: "restore the file from a backup or another server; if it is known to hold no \
                     records, move it out of the directory"
                .to_owned(),
        }
    }

    /// The next sound record; `None` at the end, which [`FileReader::ending`] describes.
    ///
    /// # Errors
    /// On damage, and if the file cannot be read.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, StoreError> {
        if self.ending.is_some() {
            return Ok(None);
        }
        let (payload_len, zxid) = loop {
            match unframe(self.buffered(), self.max_payload) {
                Unframed::Record { payload_len, zxid } => break (payload_len, zxid),
                Unframed::Incomplete { needed } if self.fill(needed)? => {}
                unsound => {
                    self.ending = Some(self.judge(unsound)?);
                    return Ok(None);
                }
            }
        };
        let offset = self.offset;
        let payload = self.start + RECORD_HEADER_LEN;
        self.consume(payload_len + RECORD_OVERHEAD);
        self.latest_record = Some(Latest {
            payload,
            payload_len,
            zxid,
            offset,
        });
        Ok(self.latest())
    }

    /// How the records ended; `None` while there may be more.
    #[must_use]
    pub const fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref()
    }

    /// Where the next record begins, or where the records ended.
    #[must_use]
    pub const fn offset(&self) -> u64 {
        self.offset
    }

    fn buffered(&self) -> &[u8] {
        &self.buffer[self.start..self.end]
    }

    fn consume(&mut self, count: usize) {
        self.start += count;
        self.offset += count as u64;
    }

    /// Makes at least `needed` bytes available; false if the file ends before.
    fn fill(&mut self, needed: usize) -> Result<bool, StoreError> {
        let left = self.len.saturating_sub(self.offset);
        if (needed as u64) > left {
            return Ok(false);
        }
        if self.end - self.start >= needed {
            return Ok(true);
        }
        self.buffer.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        let target = needed
            .max(CHUNK)
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        if self.buffer.len() < target {
            self.buffer.resize(target, 0);
        }
        let from = self.offset + self.end as u64;
        self.read_ahead.reads(self.file.as_ref(), from);
        let read = read_full_at(self.file.as_ref(), from, &mut self.buffer[self.end..target]);
        self.end += read.at("read", &self.path)?;
        Ok(self.end >= needed)
    }

    /// Offset behind the last byte that is not zero, looking from `from` on; `from` if there is
    /// none.
    fn nonzero_end(&self, from: u64) -> Result<u64, StoreError> {
        let rest = usize::try_from(self.len.saturating_sub(from)).unwrap_or(CHUNK);
        let mut chunk = vec![0; rest.clamp(1, CHUNK)];
        let (mut offset, mut nonzero_end) = (from, from);
        loop {
            offset = self.file.data_from(offset).at("read", &self.path)?;
            let read = read_full_at(self.file.as_ref(), offset, &mut chunk);
            let read = read.at("read", &self.path)?;
            if read == 0 {
                return Ok(nonzero_end);
            }
            if let Some(last) = last_nonzero(&chunk[..read]) {
                nonzero_end = offset + last as u64 + 1;
            }
            offset += read as u64;
        }
    }

    /// Decides what it means that no sound record stands at the current offset.
    fn judge(&self, unsound: Unframed) -> Result<Ending, StoreError> {
        let nonzero_end = self.nonzero_end(self.offset)?;
        if nonzero_end == self.offset {
            return Ok(Ending::Clean);
        }
        // One byte more than is non-zero: the zero that a torn record may have as its end mark.
        let tail_len = (nonzero_end - self.offset).min(self.len - self.offset);
        let mut tail = vec![0; usize::try_from(tail_len).unwrap_or(usize::MAX)];
        let read = read_full_at(self.file.as_ref(), self.offset, &mut tail);
        let read = read.at("read", &self.path)?;
        tail.truncate(read);
        if let Some((at, zxid)) = find_sound_record(&tail, self.max_payload) {
            let at = self.offset + at as u64;
            let what = format!(
                "{}, yet record {zxid} at byte {at} is sound",
                describe(unsound)
            );
            return Err(self.corrupt(what));
        }
        let torn = match unsound {
            Unframed::Incomplete { .. } => true,
            // Torn before its length was written.
            Unframed::Padding => tail.len() <= RECORD_HEADER_LEN,
            Unframed::BadEnd {
                payload_len,
                found: 0,
            } => tail.len() <= payload_len + RECORD_OVERHEAD,
            _ => false,
        };
        if torn || self.spans_zero_sector(&tail) {
            let bytes = tail_len;
            let file = self.path.clone();
            return Ok(Ending::Torn(TornTail {
                file,
                offset: self.offset,
                bytes,
            }));
        }
        Err(self.corrupt(describe(unsound)))
    }

    /// Whether a sector of the file that lies wholly in `tail` holds zeros only.
    fn spans_zero_sector(&self, tail: &[u8]) -> bool {
        let sector = SECTOR as u64;
        let skip = usize::try_from((sector - self.offset % sector) % sector).unwrap_or(0);
        tail.get(skip..).is_some_and(|aligned| {
            aligned
                .chunks_exact(SECTOR)
                .any(|sector| sector.iter().all(|&b| b == 0))
        })
    }

    fn corrupt(&self, what: String) -> StoreError {
        let (offset, file) = (self.offset, self.path.display());
        StoreError::Corrupt {
            file: self.path.clone(),
            offset,
            what,
            advice: format!(
                "restore the directory from a backup or another server, or, to give up every \
                 change from there on, cut the file with: truncate -s {offset} {file} (look with: \
                 roo log dump {file})"
            ),
        }
    }
}

/// Where the last byte that is not zero stands. Whole pages of zeros are compared as such.
fn last_nonzero(bytes: &[u8]) -> Option<usize> {
    const PAGE: usize = 4096;
    let mut end = bytes.len();
    while end >= PAGE && bytes[end - PAGE..end] == [0; PAGE] {
        end -= PAGE;
    }
    bytes[..end].iter().rposition(|&byte| byte != 0)
}

fn describe(unsound: Unframed) -> String {
    match unsound {
        Unframed::Incomplete { .. } => "a record runs past the end of the file".to_owned(),
        Unframed::Padding => "padding is followed by bytes that are not zero".to_owned(),
        Unframed::BadLength { len } => format!("unreasonable record length {len}"),
        Unframed::BadEnd { found, .. } => {
            format!("a record ends with byte {found:#04x} instead of {END_OF_RECORD:#04x}")
        }
        Unframed::BadChecksum { .. } => "a record's checksum does not fit its content".to_owned(),
        Unframed::NoHeader { payload_len } | Unframed::Record { payload_len, .. } => {
            format!("a record of {payload_len} bytes is too short for a transaction header")
        }
    }
}

/// The first sound record that begins anywhere behind the first byte of `tail`.
fn find_sound_record(tail: &[u8], max_payload: usize) -> Option<(usize, Zxid)> {
    (1..tail.len()).find_map(|at| match unframe(&tail[at..], max_payload) {
        Unframed::Record { zxid, .. } => Some((at, zxid)),
        _ => None,
    })
}

/// Reads every record above a base zxid from the logs of a directory, in order, without gaps.
pub struct LogReader {
    disk: Arc<dyn Disk>,
    files: VecDeque<LogFile>,
    current: Option<FileReader>,
    max_payload: usize,
    base: Zxid,
    last: Zxid,
    records: u64,
    opened: Vec<PathBuf>,
    warnings: Vec<LogWarning>,
}

impl LogReader {
    /// Reads the records of `dir` with a zxid above `base`, which is that of the snapshot to build
    /// on (or [`Zxid::ZERO`] for all).
    ///
    /// # Errors
    /// If the directory cannot be listed.
    pub fn after(
        disk: Arc<dyn Disk>,
        dir: &Path,
        base: Zxid,
        max_payload: usize,
    ) -> Result<Self, StoreError> {
        let mut files: VecDeque<LogFile> = list_logs(disk.as_ref(), dir)?.into();
        // A record may stand in the newest file whose name is not above it, and in later ones.
        let first = files
            .partition_point(|file| file.zxid <= base)
            .saturating_sub(1);
        files.drain(..first);
        Ok(Self {
            disk,
            files,
            current: None,
            max_payload,
            base,
            last: base,
            records: 0,
            opened: Vec::new(),
            warnings: Vec::new(),
        })
    }

    /// The next record; `None` at the end of the last log.
    ///
    /// # Errors
    /// On damage, including a hole between two records or between the base and the first one, and
    /// if a file cannot be read. After an error the reader must not be used again.
    pub fn next_record(&mut self) -> Result<Option<Record<'_>>, StoreError> {
        loop {
            let Some(reader) = &mut self.current else {
                let Some(file) = self.files.pop_front() else {
                    return Ok(None);
                };
                self.current = Some(self.open(&file)?);
                continue;
            };
            let Some(record) = reader.next_record()? else {
                let ending = reader.ending().cloned();
                self.current = None;
                if let Some(Ending::Torn(tail)) = ending {
                    self.warnings.push(LogWarning::Torn(tail));
                }
                continue;
            };
            let (zxid, offset) = (record.zxid, record.offset);
            if self.records == 0 && zxid <= self.base {
                continue;
            }
            if !follows(self.last, zxid) {
                return Err(self.hole(zxid, offset));
            }
            self.last = zxid;
            self.records += 1;
            break;
        }
        Ok(self.current.as_ref().and_then(FileReader::latest))
    }

    /// Zxid of the last record read; the base if there was none.
    #[must_use]
    pub const fn last_zxid(&self) -> Zxid {
        self.last
    }

    /// Number of records read.
    #[must_use]
    pub const fn records(&self) -> u64 {
        self.records
    }

    /// The files looked into so far, oldest first.
    #[must_use]
    pub fn opened(&self) -> &[PathBuf] {
        &self.opened
    }

    /// What an operator should hear of, so far.
    #[must_use]
    pub fn warnings(&self) -> &[LogWarning] {
        &self.warnings
    }

    fn open(&mut self, file: &LogFile) -> Result<FileReader, StoreError> {
        let reader = FileReader::open(self.disk.as_ref(), &file.path, self.max_payload)?;
        self.opened.push(file.path.clone());
        if reader.ending() == Some(&Ending::Blank) {
            // Compat: C-06 a newest file of zeros only, as a power failure leaves it, is ignored like
            // one of no bytes; Apache ends with an error about its magic number.
            if !self.files.is_empty() {
                return Err(reader.bad_header());
            }
            self.warnings
                .push(LogWarning::EmptyLastFile(file.path.clone()));
        }
        Ok(reader)
    }

    fn hole(&self, found: Zxid, offset: u64) -> StoreError {
        let file = self
            .current
            .as_ref()
            .map(|reader| reader.path.clone())
            .unwrap_or_default();
        let last = self.last;
        let what = if self.records == 0 {
            format!("the first record is {found}, but the snapshot before it ends with {last}")
        } else {
            format!("record {found} follows record {last}")
        };
        let torn = self.warnings.iter().find_map(|warning| match warning {
            LogWarning::Torn(tail) => Some(format!(
                " ({} breaks off at byte {})",
                tail.file.display(),
                tail.offset
            )),
            LogWarning::EmptyLastFile(_) => None,
        });
        StoreError::Corrupt {
            file,
            offset,
            what: format!("{what}: changes are missing{}", torn.unwrap_or_default()),
            advice: "put the missing log or a newer snapshot back, or restore the directory from \
                     a backup or another server"
                .to_owned(),
        }
    }
}

impl FileReader {
    /// The record that the last call of `next_record` returned.
    fn latest(&self) -> Option<Record<'_>> {
        self.latest_record.map(|latest| {
            let payload = &self.buffer[latest.payload..latest.payload + latest.payload_len];
            Record {
                zxid: latest.zxid,
                payload,
                file: &self.path,
                offset: latest.offset,
            }
        })
    }
}

/// Whether a record may stand behind another: the same zxid (Apache logs a request that it could
/// not decode under the zxid before it), the next one, or the first of a later epoch.
fn follows(last: Zxid, zxid: Zxid) -> bool {
    zxid == last || zxid == last.next() || (zxid.epoch() > last.epoch() && zxid.counter() <= 1)
}

#[cfg(test)]
mod tests;
