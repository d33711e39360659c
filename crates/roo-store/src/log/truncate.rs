//! Cuts the end of the logs. Java: `FileTxnLog.truncate`.
//!
//! Whole files go first, the last one before the others, and each removal is durable before the
//! next one: whenever the machine stops, what is left is the beginning of what was there.

use std::path::Path;
use std::sync::Arc;

use roo_proto::ids::Zxid;

use super::reader::FileReader;
use crate::disk::{Disk, OpenMode};
use crate::error::{IoContext, StoreError};
use crate::file_name::{LogFile, list_logs};

/// Removes every record behind `after` from the logs of `dir`; when this returns, they stay
/// removed. No log may be open for writing: [`super::writer::LogWriter::truncate`] sees to that.
///
/// # Errors
/// When a file cannot be read or changed, or a record before the cut is damaged.
pub fn truncate(
    disk: &Arc<dyn Disk>,
    dir: &Path,
    after: Zxid,
    max_payload: usize,
) -> Result<(), StoreError> {
    let logs = list_logs(disk.as_ref(), dir)?;
    let kept = logs.partition_point(|log| log.zxid <= after);
    for log in logs.iter().skip(kept).rev() {
        disk.remove(&log.path).at("remove", &log.path)?;
        disk.sync_dir(dir).at("sync", dir)?;
    }
    match logs.iter().take(kept).next_back() {
        Some(log) => cut(disk.as_ref(), log, after, max_payload),
        None => Ok(()),
    }
}

/// Ends a file before its first record behind `after`. Padding and a torn record go too, so that
/// nothing stands between its last record and those of the next file.
fn cut(disk: &dyn Disk, log: &LogFile, after: Zxid, max_payload: usize) -> Result<(), StoreError> {
    let mut reader = FileReader::open(disk, &log.path, max_payload)?;
    let end = loop {
        let before = reader.offset();
        match reader.next_record()? {
            Some(record) if record.zxid <= after => {}
            Some(_) | None => break before,
        }
    };
    if end == log.len {
        return Ok(());
    }
    let mut file = disk
        .open(&log.path, OpenMode::Modify)
        .at("open", &log.path)?;
    file.set_len(end).at("truncate", &log.path)?;
    file.sync_data().at("sync", &log.path)
}
