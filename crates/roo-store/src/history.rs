//! Reads the log for a server that has missed a part of it, beginning with the record that shows
//! whether its history is the beginning of this one. Java: `FileTxnLog.FileTxnIterator`.
//!
//! The log may be written meanwhile: only records that were durable before are asked for.

use std::path::Path;
use std::sync::Arc;

use roo_proto::ids::Zxid;

use crate::disk::Disk;
use crate::error::StoreError;
use crate::file_name::{list_logs, list_snapshots};
use crate::log::reader::LogReader;

/// Less than this is always read rather than replaced by a snapshot, bytes.
const ALWAYS_WORTH_READING: u64 = 16 << 20;

/// A record and its place.
pub type HistoryRecord = (Zxid, Vec<u8>);

/// See the module.
pub struct HistoryReader {
    log: LogReader,
    from: Zxid,
    upto: Zxid,
    /// The last record at or before `from`, until it is given out.
    anchor: Option<HistoryRecord>,
    /// The first record behind it.
    pending: Option<HistoryRecord>,
    ended: bool,
}

impl HistoryReader {
    /// Finds the last record at or before `from`; the last record given is the last one at or
    /// before `upto`. `None` if the log does not go back so far.
    ///
    /// # Errors
    /// When a log cannot be read or is damaged.
    pub fn open(
        disk: &Arc<dyn Disk>,
        dir: &Path,
        from: Zxid,
        upto: Zxid,
        max_payload: usize,
    ) -> Result<Option<Self>, StoreError> {
        let files = list_logs(disk.as_ref(), dir)?;
        let Some(file) = files.iter().rev().find(|file| file.zxid <= from) else {
            return Ok(None);
        };
        let base = Zxid(file.zxid.0.saturating_sub(1));
        let log = LogReader::after(Arc::clone(disk), dir, base, max_payload)?;
        let mut reader = Self {
            log,
            from,
            upto,
            anchor: None,
            pending: None,
            ended: false,
        };
        while let Some(record) = reader.read()? {
            if record.0 > from {
                reader.pending = Some(record);
                break;
            }
            reader.anchor = Some(record);
        }
        Ok(reader.anchor.is_some().then_some(reader))
    }

    fn read(&mut self) -> Result<Option<HistoryRecord>, StoreError> {
        let record = self.log.next_record()?;
        Ok(record.map(|record| (record.zxid, record.payload.to_vec())))
    }

    /// The next records, of about `max_bytes` together and at least one; and whether they are the
    /// last ones.
    ///
    /// # Errors
    /// When a log cannot be read or is damaged.
    pub fn next_records(
        &mut self,
        max_bytes: usize,
    ) -> Result<(Vec<HistoryRecord>, bool), StoreError> {
        let mut records = Vec::new();
        let mut bytes = 0;
        if let Some(anchor) = self.anchor.take() {
            bytes += anchor.1.len();
            records.push(anchor);
        }
        while !self.ended && bytes < max_bytes {
            let next = match self.pending.take() {
                Some(record) => Some(record),
                None => self.read()?,
            };
            match next {
                Some(record) if record.0 <= self.upto => {
                    bytes += record.1.len();
                    self.ended = record.0 == self.upto;
                    records.push(record);
                }
                _ => self.ended = true,
            }
        }
        Ok((records, self.ended))
    }

    /// Bytes that would be given out if this were read to its end; counting stops above `limit`.
    /// The reader is used up.
    ///
    /// # Errors
    /// When a log cannot be read or is damaged.
    pub fn count_bytes(mut self, limit: u64) -> Result<u64, StoreError> {
        let mut bytes = 0;
        loop {
            let (records, ended) = self.next_records(1 << 20)?;
            bytes += records.iter().map(|r| r.1.len() as u64).sum::<u64>();
            if ended || bytes > limit {
                return Ok(bytes);
            }
        }
    }

    /// Where the reading begins.
    #[must_use]
    pub const fn from(&self) -> Zxid {
        self.from
    }
}

/// How many bytes of log are cheaper than the newest snapshot; 0 if logs are never used. Java:
/// `ZKDatabase.calculateTxnLogSizeLimit`, which counts preallocated bytes too.
///
/// # Errors
/// When the directory cannot be listed.
pub fn worth_reading(
    disk: &dyn Disk,
    snapshots: &Path,
    snapshot_size_factor: f64,
) -> Result<u64, StoreError> {
    if snapshot_size_factor < 0.0 {
        return Ok(0);
    }
    let newest = list_snapshots(disk, snapshots)?
        .into_iter()
        .find(|file| !file.temporary);
    let Some(newest) = newest else {
        return Ok(u64::MAX);
    };
    #[allow(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss
    )]
    let share = (newest.len as f64 * snapshot_size_factor) as u64;
    Ok(share.max(ALWAYS_WORTH_READING))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::log::record::encode_record;
    use crate::log::writer::{LogOptions, LogWriter};
    use crate::sim_disk::SimDisk;

    /// A record whose payload is a transaction header with this zxid.
    fn payload(zxid: Zxid) -> Vec<u8> {
        let mut payload = vec![0; 12];
        payload.extend_from_slice(&zxid.0.to_be_bytes());
        payload.extend_from_slice(&[0; 8]);
        payload.extend_from_slice(&(-1_i32).to_be_bytes());
        payload.extend_from_slice(&(-101_i32).to_be_bytes());
        payload
    }

    /// A log over three files: 1.1 to 1.3, 1.4 to 1.6, 2.1 to 2.3.
    fn log() -> (Arc<dyn Disk>, PathBuf) {
        let disk: Arc<dyn Disk> = Arc::new(SimDisk::new());
        let dir = PathBuf::from("/d");
        disk.create_dir_all(&dir).unwrap();
        let mut writer = LogWriter::new(
            Arc::clone(&disk),
            dir.clone(),
            LogOptions {
                preallocate: 0,
                ..LogOptions::default()
            },
        );
        for (epoch, counters) in [(1, 1..=3), (1, 4..=6), (2, 1..=3)] {
            for counter in counters {
                let zxid = Zxid::new(epoch, counter);
                let mut bytes = Vec::new();
                encode_record(&mut bytes, &[&payload(zxid)]);
                writer.append(zxid, &bytes).unwrap();
            }
            writer.sync().unwrap();
            writer.roll();
        }
        writer.sync().unwrap();
        (disk, dir)
    }

    fn read(from: Zxid, upto: Zxid) -> Option<Vec<Zxid>> {
        let (disk, dir) = log();
        let mut reader = HistoryReader::open(&disk, &dir, from, upto, 1024).unwrap()?;
        let mut zxids = Vec::new();
        loop {
            let (records, ended) = reader.next_records(1).unwrap();
            zxids.extend(records.into_iter().map(|record| record.0));
            if ended {
                return Some(zxids);
            }
        }
    }

    #[test]
    fn it_begins_with_the_record_that_was_asked_for_and_ends_with_the_last_one_wanted() {
        let zxid = Zxid::new;
        assert_eq!(
            read(zxid(1, 3), zxid(2, 1)).unwrap(),
            [zxid(1, 3), zxid(1, 4), zxid(1, 5), zxid(1, 6), zxid(2, 1)]
        );
        assert_eq!(
            read(zxid(1, 5), zxid(1, 6)).unwrap(),
            [zxid(1, 5), zxid(1, 6)]
        );
    }

    #[test]
    fn where_a_record_is_unknown_the_one_before_it_shows_that() {
        let zxid = Zxid::new;
        assert_eq!(
            read(zxid(1, 9), zxid(2, 2)).unwrap(),
            [zxid(1, 6), zxid(2, 1), zxid(2, 2)]
        );
        assert_eq!(
            read(zxid(2, 0), zxid(2, 1)).unwrap(),
            [zxid(1, 6), zxid(2, 1)]
        );
    }

    #[test]
    fn a_log_that_is_purged_meanwhile_is_missing_and_not_damaged() {
        let (disk, dir) = log();
        let zxid = Zxid::new;
        let mut reader = HistoryReader::open(&disk, &dir, zxid(1, 2), zxid(2, 3), 1024)
            .unwrap()
            .unwrap();
        for file in list_logs(disk.as_ref(), &dir).unwrap() {
            if file.zxid == zxid(2, 1) {
                disk.remove(&file.path).unwrap();
            }
        }
        let error = reader.next_records(1 << 20).unwrap_err();
        assert!(error.is_missing() && !error.is_corrupt(), "{error}");
    }

    #[test]
    fn a_log_that_begins_later_is_no_help() {
        assert_eq!(read(Zxid::ZERO, Zxid::new(1, 3)), None);
        assert_eq!(read(Zxid::new(1, 0), Zxid::new(1, 3)), None);
    }
}
