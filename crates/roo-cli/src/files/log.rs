//! `roo log`: records one by one, and what a replay of them says of their digests.

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};
use roo_proto::ids::Zxid;
use roo_proto::txn::{self, DIGEST_VERSION, Txn, TxnDigest, TxnHeader};
use roo_server::loading::{ReadSnapshot, read_snapshot};
use roo_state::state::State;
use roo_store::disk::{Disk, OsDisk};
use roo_store::error::StoreError;
use roo_store::file_name::{LogFile, SnapshotFile, list_logs, list_snapshots};
use roo_store::log::reader::{Ending, FileReader, LogReader, Record};
use serde_json::json;

use super::{MAX_RECORD, Report, directory, json as as_json, settings, words};

/// Shows every record; true when all of it could be read.
pub(super) fn dump(path: &Path, report: &mut Report<'_>) -> Result<bool> {
    for file in files(path)? {
        read_file(&file, report, true)?;
    }
    Ok(report.sound)
}

/// Reads every record, and replays them where there is a snapshot to do so; true when all is
/// sound.
pub(super) fn check(path: &Path, snapshot: Option<&Path>, report: &mut Report<'_>) -> Result<bool> {
    let files = files(path)?;
    for file in &files {
        read_file(file, report, false)?;
    }
    // A replay of what cannot be read would only say the same again.
    if report.sound && path.is_dir() {
        check_sequence(path, &files, report)?;
    }
    if report.sound {
        check_digests(path, &files, snapshot, report)?;
    }
    Ok(report.sound)
}

/// The file, or the logs of the directory, oldest first.
fn files(path: &Path) -> Result<Vec<LogFile>> {
    if path.is_dir() {
        let logs = list_logs(&OsDisk, path)?;
        anyhow::ensure!(!logs.is_empty(), "{}: no log.ZXID here", path.display());
        return Ok(logs);
    }
    let len = std::fs::metadata(path)
        .with_context(|| path.display().to_string())?
        .len();
    let named = list_logs(&OsDisk, directory(path))?;
    let named = named
        .into_iter()
        .find(|log| log.path.file_name() == path.file_name());
    Ok(vec![LogFile {
        zxid: named.map_or(Zxid(-1), |log| log.zxid),
        path: path.to_path_buf(),
        len,
    }])
}

type Decoded = (TxnHeader, Txn, Option<TxnDigest>);

fn decode(record: &Record<'_>) -> Result<Decoded, StoreError> {
    txn::decode_record(record.payload).map_err(|error| StoreError::Corrupt {
        file: record.file.to_path_buf(),
        offset: record.offset,
        what: error.to_string(),
        advice: "the file is not as a server writes it".into(),
    })
}

fn read_file(file: &LogFile, report: &mut Report<'_>, shows: bool) -> Result<()> {
    match read_records(file, report, shows) {
        Ok(()) => Ok(()),
        Err(error) => match error.downcast::<StoreError>() {
            Ok(error) => report.unsound(&file.path, &error),
            Err(other) => Err(other),
        },
    }
}

fn read_records(file: &LogFile, report: &mut Report<'_>, shows: bool) -> Result<()> {
    let path = &file.path;
    let mut reader = FileReader::open(&OsDisk, path, MAX_RECORD)?;
    let mut records = 0_u64;
    while let Some(record) = reader.next_record()? {
        records += 1;
        let (header, txn, digest) = decode(&record)?;
        if shows {
            let offset = record.offset;
            report.line(
                || text(offset, &header, &txn, digest),
                || {
                    let mut line = as_json::record(&header, &txn, digest);
                    line["file"] = json!(path);
                    line["offset"] = offset.into();
                    line
                },
            )?;
        }
    }
    let (end, torn_bytes) = match reader.ending() {
        Some(Ending::Torn(tail)) => ("torn", tail.bytes),
        Some(Ending::Blank) => ("blank", 0),
        Some(Ending::Clean) | None => ("clean", 0),
    };
    report.line(
        || match end {
            "torn" => format!(
                "{}: {records} records, then {torn_bytes} bytes of one that was never finished",
                path.display()
            ),
            "blank" => format!("{}: empty, not even a header", path.display()),
            _ => format!("{}: {records} records", path.display()),
        },
        || json!({ "file": path, "records": records, "end": end, "tornBytes": torn_bytes }),
    )
}

fn text(offset: u64, header: &TxnHeader, txn: &Txn, digest: Option<TxnDigest>) -> String {
    let digest = digest.map_or_else(String::new, |d| {
        format!(" digest {}", d.tree_digest.cast_unsigned())
    });
    format!(
        "{offset:>10} {} time {} session 0x{:x} cxid {} {}{digest}",
        header.zxid,
        header.time,
        header.client_id,
        header.cxid,
        words::txn(txn)
    )
}

/// Records missing inside or between the files.
fn check_sequence(dir: &Path, files: &[LogFile], report: &mut Report<'_>) -> Result<()> {
    let first = files.first().map_or(0, |file| file.zxid.0);
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let mut all = LogReader::after(disk, dir, Zxid(first.saturating_sub(1)), MAX_RECORD)?;
    loop {
        match all.next_record() {
            Ok(Some(_)) => {}
            Ok(None) => break,
            Err(error) => return report.unsound(dir, &error),
        }
    }
    let (records, last) = (all.records(), all.last_zxid());
    report.line(
        || {
            format!(
                "{}: {records} records without a gap, up to {last}",
                dir.display()
            )
        },
        || json!({ "directory": dir, "records": records, "last": as_json::zxid(last) }),
    )
}

/// Replays the records and compares the digest in each with that of the tree.
fn check_digests(
    path: &Path,
    files: &[LogFile],
    snapshot: Option<&Path>,
    report: &mut Report<'_>,
) -> Result<()> {
    let (base, snapshot) = match base(path, files, snapshot)? {
        Ok(found) => found,
        Err(why) => return not_checked(path, &why, report),
    };
    let from = base.state.last_zxid();
    let comparable_after = base.comparable_after();
    let only = (!path.is_dir()).then(|| path.file_name()).flatten();
    let mut replay = Replay {
        state: base.state,
        comparable_after,
        compared: 0,
        without: 0,
        differing: Vec::new(),
    };
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let mut reader = LogReader::after(disk, directory(path), from, MAX_RECORD)?;
    let last = files.last().map_or(Zxid(-1), |file| file.zxid);
    loop {
        let record = match reader.next_record() {
            Ok(Some(record)) => record,
            Ok(None) => break,
            Err(error) => return not_checked(path, &error.to_string(), report),
        };
        let wanted = only.is_none() || record.file.file_name() == only;
        if !wanted && record.zxid > last && replay.seen() > 0 {
            break;
        }
        let (file, offset) = (record.file.to_path_buf(), record.offset);
        if let Some((expected, actual)) = replay.apply(decode(&record)?, wanted) {
            let what = format!(
                "{} at byte {offset}: the digest in record {} is {expected}, that of the tree is \
                 {actual}",
                file.display(),
                record_zxid(&replay)
            );
            report.unsound(&file, &what)?;
        }
    }
    let (compared, without) = (replay.compared, replay.without);
    let differing = replay.differing.len();
    report.line(
        || {
            format!(
                "digests: {compared} compared by a replay onto {}, {differing} differ, {without} \
                 cannot be compared (none in the record, or up to {comparable_after}, which the \
                 snapshot may hold)",
                snapshot.path.display()
            )
        },
        || {
            json!({
                "digests": {
                    "snapshot": snapshot.path, "compared": compared, "differing": differing,
                    "notCompared": without,
                }
            })
        },
    )
}

fn record_zxid(replay: &Replay) -> Zxid {
    replay.differing.last().copied().unwrap_or(Zxid::ZERO)
}

struct Replay {
    state: State,
    comparable_after: Zxid,
    compared: u64,
    without: u64,
    /// zxids of records whose digest is not that of the tree.
    differing: Vec<Zxid>,
}

impl Replay {
    const fn seen(&self) -> u64 {
        self.compared + self.without
    }

    /// Applies a record; the digest in it and that of the tree where they differ.
    fn apply(&mut self, decoded: Decoded, wanted: bool) -> Option<(u64, u64)> {
        let (header, txn, digest) = decoded;
        let refused = matches!(txn, Txn::Error(_));
        self.state.apply(&header, txn, &mut Vec::new());
        if !wanted {
            return None;
        }
        let digest = digest.filter(|digest| {
            digest.version == DIGEST_VERSION && header.zxid > self.comparable_after
        });
        let Some(digest) = digest else {
            // A refusal changes nothing and carries none.
            self.without += u64::from(!refused);
            return None;
        };
        self.compared += 1;
        let (expected, actual) = (digest.tree_digest.cast_unsigned(), self.state.digest());
        if expected == actual {
            return None;
        }
        self.differing.push(header.zxid);
        Some((expected, actual))
    }
}

fn not_checked(path: &Path, why: &str, report: &mut Report<'_>) -> Result<()> {
    report.line(
        || format!("digests: NOT CHECKED: {why}"),
        || json!({ "digests": { "compared": 0, "file": path, "notChecked": why } }),
    )
}

type Base = (ReadSnapshot, SnapshotFile);

/// The snapshot to replay on, or why there is none.
fn base(
    path: &Path,
    files: &[LogFile],
    snapshot: Option<&Path>,
) -> Result<std::result::Result<Base, String>> {
    let first = files.first().map_or(Zxid(-1), |file| file.zxid);
    if first.0 < 0 {
        return Ok(Err(format!(
            "{} is not named log.ZXID, so its place among the logs is unknown",
            path.display()
        )));
    }
    let dir = snapshot.map_or_else(|| directory(path), directory);
    let mut found = list_snapshots(&OsDisk, dir)?;
    found.reverse();
    if let Some(named) = snapshot {
        found.retain(|file| file.path.file_name() == named.file_name());
        anyhow::ensure!(
            !found.is_empty(),
            "{}: no snapshot.ZXID of this name",
            named.display()
        );
    }
    // The logs of the directory reach back to this record, whichever file is asked for.
    let logs = list_logs(&OsDisk, directory(path))?;
    let reach = logs.first().map_or(first, |log| log.zxid);
    let mut why = String::new();
    for file in found {
        let reaches = file.zxid.0 >= reach.0 - 1;
        let covers = path.is_dir() || file.zxid < first;
        if !reaches || (!covers && snapshot.is_none()) {
            continue;
        }
        match read_snapshot(&OsDisk, &file, &settings()) {
            Ok(read) => return Ok(Ok((read, file))),
            Err(error) => why = format!("; {error}"),
        }
    }
    Ok(Err(format!(
        "no snapshot in {} that the records reach back to, from {} on{why}; name one with \
         --snapshot",
        dir.display(),
        as_json::zxid(reach)
    )))
}
