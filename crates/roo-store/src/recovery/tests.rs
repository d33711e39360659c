use std::io;
use std::path::PathBuf;

use super::*;
use crate::data_dir::DataDir;
use crate::log::record::encode_record;
use crate::log::writer::{LogOptions, LogWriter};
use crate::sim_disk::{Crash, SimDisk};
use crate::snapshot_file::{SnapshotReader, SnapshotWriter, Trailer};

const MAX: usize = 1 << 20;

fn payload(zxid: i64) -> Vec<u8> {
    let mut payload = vec![0; 32];
    payload[12..20].copy_from_slice(&zxid.to_be_bytes());
    payload.extend(std::iter::repeat_n(
        0xAB,
        usize::try_from(zxid % 37).unwrap(),
    ));
    payload
}

/// A server in miniature: appends batches, syncs, rolls, takes snapshots; the zxids that were
/// acknowledged are those returned.
fn run(disk: &SimDisk) -> (i64, Option<StoreError>) {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut acknowledged = 0;
    let mut work = || -> Result<(), StoreError> {
        let root = PathBuf::from("/d");
        let dir = DataDir::open(disk, &root, &root, true)?;
        write_snapshot(&shared, &dir, 0)?;
        let options = LogOptions {
            preallocate: 512,
            ..LogOptions::default()
        };
        let mut log = LogWriter::new(Arc::clone(&shared), dir.logs.clone(), options);
        let mut zxid = 0;
        for batch in 1..12 {
            let mut bytes = Vec::new();
            let first = zxid + 1;
            for _ in 0..batch % 4 + 1 {
                zxid += 1;
                encode_record(&mut bytes, &[&payload(zxid)]);
            }
            log.append(Zxid(first), &bytes)?;
            log.sync()?;
            acknowledged = zxid;
            if batch % 3 == 0 {
                log.roll();
                write_snapshot(&shared, &dir, zxid)?;
            }
            if batch == 10 {
                crate::retention::purge(disk, &dir, 3)?;
            }
        }
        Ok(())
    };
    let failed = work().err();
    (acknowledged, failed)
}

/// Its content is the zxid alone.
fn write_snapshot(disk: &Arc<dyn Disk>, dir: &DataDir, zxid: i64) -> Result<(), StoreError> {
    let compression = crate::file_name::Compression::Plain;
    let mut file =
        SnapshotWriter::create(Arc::clone(disk), &dir.snapshots, Zxid(zxid), compression)?;
    file.write(&zxid.to_be_bytes())?;
    let last_zxid = Some(Zxid(zxid));
    file.finish(Trailer {
        digest: None,
        last_zxid,
    })
    .map(|_| ())
}

/// The last zxid that a start finds; every record before it must be there, unchanged.
fn recovered(disk: &SimDisk) -> Result<i64, StoreError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let root = PathBuf::from("/d");
    let dir = DataDir::open(disk, &root, &root, true)?;
    let mut base = 0;
    if let Some(file) = snapshots(disk, &dir.snapshots)?.candidates.first() {
        let mut reader = SnapshotReader::open(disk, file)?;
        let mut content = [0; 8];
        reader.read_exact(&mut content)?;
        reader.finish()?;
        base = i64::from_be_bytes(content);
        assert_eq!(base, file.zxid.0);
    }
    let mut expected = base;
    let mut check = |zxid: Zxid, found: &[u8]| {
        expected += 1;
        assert_eq!((zxid, found), (Zxid(expected), &payload(expected)[..]));
        Ok(())
    };
    Ok(replay(&shared, &dir.logs, Zxid(base), MAX, &mut check)?
        .last
        .0)
}

#[test]
fn a_crash_at_any_step_loses_nothing_that_was_acknowledged() {
    let whole = SimDisk::new();
    let (all, failed) = run(&whole);
    assert!(failed.is_none(), "{failed:?}");
    let mut crashes = 0;
    for step in 0..whole.steps() {
        let disk = SimDisk::new();
        disk.fail_from(step, io::ErrorKind::StorageFull);
        let (acknowledged, failed) = run(&disk);
        assert!(failed.is_some(), "step {step} did not fail");
        for crash in [
            Crash::Lost,
            Crash::Kept,
            Crash::Torn(0),
            Crash::Torn(20),
            Crash::Torn(51),
        ] {
            let found = recovered(&disk.after_crash(crash));
            let found = found.unwrap_or_else(|e| panic!("step {step}, {crash:?}: {e}"));
            assert!(
                found >= acknowledged,
                "step {step}, {crash:?}: {found} < {acknowledged}"
            );
            assert!(found <= all);
            crashes += 1;
        }
    }
    assert!(crashes > 300, "{crashes}");
}

#[test]
fn after_a_failure_the_log_is_never_written_again() {
    let disk = SimDisk::new();
    let root = PathBuf::from("/d");
    let dir = DataDir::open(&disk, &root, &root, true).unwrap();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let mut log = LogWriter::new(shared, dir.logs.clone(), LogOptions::default());
    let mut bytes = Vec::new();
    encode_record(&mut bytes, &[&payload(1)]);
    log.append(Zxid(1), &bytes).unwrap();
    disk.fail_from(disk.steps(), io::ErrorKind::Other);
    let first = log.sync().unwrap_err().to_string();
    disk.fail_from(u64::MAX, io::ErrorKind::Other);
    let steps = disk.steps();
    assert_eq!(log.append(Zxid(2), &bytes).unwrap_err().to_string(), first);
    assert_eq!(log.sync().unwrap_err().to_string(), first);
    assert_eq!(disk.steps(), steps);
}
