//! Names of logs and snapshots: `log.<zxid>`, `snapshot.<zxid>[.gz|.snappy]`, the zxid in hex.

use std::path::{Path, PathBuf};

use roo_proto::ids::Zxid;

use crate::disk::Disk;
use crate::error::{IoContext, StoreError};

/// Names that start so are unfinished files of ours. Apache ignores them whatever they hold: its
/// names begin with `log.` or `snapshot.`, and it takes `snapshot.<zxid>.tmp` for a snapshot.
pub(crate) const TEMPORARY_PREFIX: &str = "roo-tmp-";

/// How a snapshot is compressed (`snapshot.compression.method`), told by its file extension.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Compression {
    /// Not at all.
    #[default]
    Plain,
    /// One gzip member (`.gz`).
    Gzip,
    /// The framing of snappy-java's `SnappyOutputStream` (`.snappy`).
    Snappy,
}

impl Compression {
    const fn extension(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Gzip => ".gz",
            Self::Snappy => ".snappy",
        }
    }
}

/// A log file found in a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogFile {
    /// Zxid of its first record, by its name.
    pub zxid: Zxid,
    /// Where it is.
    pub path: PathBuf,
    /// Length in bytes, padding included.
    pub len: u64,
}

/// A snapshot file found in a directory, whether whole or not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Every change up to this zxid is in it, by its name.
    pub zxid: Zxid,
    /// Where it is.
    pub path: PathBuf,
    /// Length in bytes as stored.
    pub len: u64,
    /// By its extension.
    pub compression: Compression,
    /// Named `.tmp`: Apache was writing it for a synchronisation that did not complete.
    pub temporary: bool,
}

/// `log.<zxid>`
#[must_use]
pub fn log_name(first: Zxid) -> String {
    format!("log.{:x}", first.0)
}

/// `snapshot.<zxid>` and the extension of the compression.
#[must_use]
pub fn snapshot_name(zxid: Zxid, compression: Compression) -> String {
    format!("snapshot.{:x}{}", zxid.0, compression.extension())
}

fn parse_zxid(text: &str) -> Option<Zxid> {
    let digits = text.bytes().all(|byte| byte.is_ascii_hexdigit());
    let zxid = digits.then(|| i64::from_str_radix(text, 16).ok())??;
    Some(Zxid(zxid))
}

// Compat: C-07 Apache also reads `log.<zxid>.<anything>` as a log, so a copy beside the original (its
// own repair tool leaves `log.<zxid>.fixed`) would be replayed too. Such names are ignored here.
fn parse_log_name(name: &str) -> Option<Zxid> {
    parse_zxid(name.strip_prefix("log.")?)
}

fn parse_snapshot_name(name: &str) -> Option<(Zxid, Compression, bool)> {
    let rest = name.strip_prefix("snapshot.")?;
    let (digits, extension) = rest.split_once('.').unwrap_or((rest, ""));
    let (compression, temporary) = match extension {
        "" if !rest.ends_with('.') => (Compression::Plain, false),
        "gz" => (Compression::Gzip, false),
        "snappy" => (Compression::Snappy, false),
        "tmp" => (Compression::Plain, true),
        _ => return None,
    };
    Some((parse_zxid(digits)?, compression, temporary))
}

/// The log files of `dir`, oldest first.
///
/// # Errors
/// If the directory cannot be listed.
pub fn list_logs(disk: &dyn Disk, dir: &Path) -> Result<Vec<LogFile>, StoreError> {
    let mut files: Vec<LogFile> = disk
        .list(dir)
        .at("list", dir)?
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| {
            let zxid = parse_log_name(&entry.name)?;
            Some(LogFile {
                zxid,
                path: dir.join(&entry.name),
                len: entry.len,
            })
        })
        .collect();
    // The path decides between `log.a` and `log.A`, so that the order never depends on the disk.
    files.sort_by(|a, b| a.zxid.cmp(&b.zxid).then_with(|| a.path.cmp(&b.path)));
    Ok(files)
}

/// The snapshot files of `dir`, newest first; of equal zxid, plain ones first and `.tmp` last.
///
/// # Errors
/// If the directory cannot be listed.
pub fn list_snapshots(disk: &dyn Disk, dir: &Path) -> Result<Vec<SnapshotFile>, StoreError> {
    let mut files: Vec<SnapshotFile> = disk
        .list(dir)
        .at("list", dir)?
        .into_iter()
        .filter(|entry| !entry.is_dir)
        .filter_map(|entry| {
            let (zxid, compression, temporary) = parse_snapshot_name(&entry.name)?;
            let path = dir.join(&entry.name);
            Some(SnapshotFile {
                zxid,
                path,
                len: entry.len,
                compression,
                temporary,
            })
        })
        .collect();
    files.sort_by(|a, b| {
        b.zxid
            .cmp(&a.zxid)
            .then_with(|| a.temporary.cmp(&b.temporary))
            .then_with(|| a.compression.cmp(&b.compression))
            .then_with(|| a.path.cmp(&b.path))
    });
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_lower_case_hex_without_padding() {
        assert_eq!(log_name(Zxid(0x1_0000_00ab)), "log.1000000ab");
        assert_eq!(snapshot_name(Zxid(0), Compression::Plain), "snapshot.0");
        assert_eq!(
            snapshot_name(Zxid(0x3b), Compression::Gzip),
            "snapshot.3b.gz"
        );
        assert_eq!(
            snapshot_name(Zxid(0x3b), Compression::Snappy),
            "snapshot.3b.snappy"
        );
    }

    #[test]
    fn only_well_formed_names_are_taken() {
        assert_eq!(parse_log_name("log.2e"), Some(Zxid(0x2e)));
        for name in [
            "log.",
            "log.x",
            "log.1.fixed",
            "log.-1",
            "log.+1",
            "logs.1",
            "log",
        ] {
            assert_eq!(parse_log_name(name), None, "{name}");
        }
        assert_eq!(parse_log_name("log.ffffffffffffffff"), None);
        let tmp = parse_snapshot_name("snapshot.40.tmp");
        assert_eq!(tmp, Some((Zxid(0x40), Compression::Plain, true)));
        for name in [
            "snapshot.",
            "snapshot.40.",
            "snapshot.40.bad",
            "snapshot.gz",
            "roo-tmp-1",
        ] {
            assert_eq!(parse_snapshot_name(name), None, "{name}");
        }
    }
}
