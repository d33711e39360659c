use std::io;
use std::path::PathBuf;

use super::*;
use crate::data_dir::DataDir;
use crate::log::reader::Ending;
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

/// The last zxid that a start finds and settles on; every record before it must be there,
/// unchanged.
fn recovered(disk: &SimDisk) -> Result<i64, StoreError> {
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let root = PathBuf::from("/d");
    let dir = DataDir::open(disk, &root, &root, true)?;
    let mut base = 0;
    let candidates = snapshots(disk, &dir.snapshots)?.candidates;
    let snapshot = candidates.first();
    if let Some(file) = snapshot {
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
    let replayed = replay(&shared, &dir.logs, Zxid(base), MAX, &mut check)?;
    let snapshot = snapshot.map(|file| file.path.as_path());
    settle(disk, &dir.logs, snapshot, &replayed)?;
    Ok(replayed.last.0)
}

/// Every way in which what was not synced may be found.
const CRASHES: [Crash; 5] = [
    Crash::Lost,
    Crash::Kept,
    Crash::Torn(0),
    Crash::Torn(20),
    Crash::Torn(51),
];

/// The disks on which a server in miniature failed, one for each step.
fn failed_runs() -> impl Iterator<Item = (u64, i64, SimDisk)> {
    let whole = SimDisk::new();
    run(&whole);
    (0..whole.steps()).map(|step| {
        let disk = SimDisk::new();
        disk.fail_from(step, io::ErrorKind::StorageFull);
        let (acknowledged, _) = run(&disk);
        (step, acknowledged, disk)
    })
}

#[test]
fn what_a_start_has_found_is_still_there_after_a_power_failure() {
    let mut unsynced = 0;
    for (step, acknowledged, disk) in failed_runs() {
        let killed = disk.after_kill();
        let found = recovered(&killed).unwrap();
        unsynced += u32::from(found > acknowledged);
        for crash in CRASHES {
            let again = recovered(&killed.after_crash(crash)).unwrap();
            assert_eq!(again, found, "step {step}, {crash:?}");
        }
    }
    assert!(unsynced > 3, "{unsynced} kills left unsynced records");
}

#[test]
fn nothing_but_zeros_stands_behind_the_records_of_a_settled_log() {
    let mut cut = 0;
    for (step, _, disk) in failed_runs() {
        for crash in CRASHES {
            let disk = disk.after_crash(crash);
            let torn = |disk: &SimDisk| {
                let logs = list_logs(disk, Path::new("/d/version-2"));
                let ending = |path: &Path| {
                    let mut reader = FileReader::open(disk, path, MAX).unwrap();
                    while reader.next_record().unwrap().is_some() {}
                    reader.ending().cloned()
                };
                let clean = Some(Ending::Clean);
                let logs = logs.unwrap_or_default();
                logs.iter().filter(|log| ending(&log.path) != clean).count()
            };
            let before = torn(&disk);
            recovered(&disk).unwrap();
            assert_eq!(torn(&disk), 0, "step {step}, {crash:?}");
            cut += before;
        }
    }
    assert!(cut > 10, "{cut} torn logs");
}

#[test]
fn a_start_that_stops_while_it_settles_loses_nothing() {
    for (step, acknowledged, disk) in failed_runs() {
        for crash in CRASHES {
            let found = recovered(&disk.after_crash(crash)).unwrap();
            // Locks, directories and reads are no steps: settling is all there is.
            for settling in 0.. {
                let second = disk.after_crash(crash);
                second.fail_from(settling, io::ErrorKind::Other);
                if recovered(&second).is_ok() {
                    break;
                }
                let kept = recovered(&second.after_crash(Crash::Kept)).unwrap();
                let lost = recovered(&second.after_crash(Crash::Lost)).unwrap();
                assert_eq!((kept, lost), (found, found), "step {step}, {crash:?}");
                assert!(found >= acknowledged && settling < 20);
            }
        }
    }
}

#[test]
fn replaying_changes_nothing_on_disk() {
    let disk = SimDisk::new();
    run(&disk);
    let steps = disk.steps();
    let shared: Arc<dyn Disk> = Arc::new(disk.clone());
    let dir = Path::new("/d/version-2");
    let base = snapshots(&disk, dir).unwrap().candidates[0].zxid;
    replay(&shared, dir, base, MAX, &mut |_, _| Ok(())).unwrap();
    assert_eq!(disk.steps(), steps);
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
        for crash in CRASHES {
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
