use std::io;
use std::path::PathBuf;

use super::*;
use crate::disk::{DiskFile, DiskLock, OpenMode};
use crate::file_name::Compression;
use crate::log::record::encode_record;
use crate::log::writer::LogOptions;
use crate::recovery::{replay, snapshots};
use crate::sim_disk::{Crash, SimDisk};
use crate::snapshot_file::{SnapshotReader, SnapshotWriter, Trailer};

const MAX: usize = 1 << 20;
const CRASHES: [Crash; 4] = [Crash::Lost, Crash::Kept, Crash::Torn(0), Crash::Torn(30)];

/// Who wrote a record or snapshot: the histories must not mix.
const OLD: u8 = 0xAB;
const NEW: u8 = 0xCD;

fn payload(zxid: i64, writer: u8) -> Vec<u8> {
    let mut payload = vec![0; 32];
    payload[12..20].copy_from_slice(&zxid.to_be_bytes());
    let len = usize::try_from(zxid % 37).unwrap() + 1;
    payload.extend(std::iter::repeat_n(writer, len));
    payload
}

struct Server {
    disk: SimDisk,
    shared: Arc<dyn Disk>,
    dir: DataDir,
    log: LogWriter,
}

impl Server {
    fn open(disk: SimDisk) -> Self {
        let shared: Arc<dyn Disk> = Arc::new(disk.clone());
        let root = PathBuf::from("/d");
        let dir = DataDir::open(&disk, &root, &root, true).unwrap();
        let options = LogOptions {
            preallocate: 512,
            ..LogOptions::default()
        };
        let log = LogWriter::new(Arc::clone(&shared), dir.logs.clone(), options);
        Self {
            disk,
            shared,
            dir,
            log,
        }
    }

    /// Records 1 to 20 in files of 5, snapshots at 0, 8 and 16.
    fn with_history() -> Self {
        let mut server = Self::open(SimDisk::new());
        server.snapshot(0, OLD).unwrap();
        for first in [1, 6, 11, 16] {
            server.append(first..first + 5, OLD).unwrap();
            server.log.roll();
        }
        server.snapshot(8, OLD).unwrap();
        server.snapshot(16, OLD).unwrap();
        server
    }

    fn append(&mut self, range: std::ops::Range<i64>, writer: u8) -> Result<(), StoreError> {
        let mut bytes = Vec::new();
        for zxid in range.clone() {
            encode_record(&mut bytes, &[&payload(zxid, writer)]);
        }
        self.log.append(Zxid(range.start), &bytes)?;
        self.log.sync()
    }

    fn writer(&self, zxid: i64, writer: u8) -> Result<SnapshotWriter, StoreError> {
        let (disk, dir) = (Arc::clone(&self.shared), &self.dir.snapshots);
        let mut file = SnapshotWriter::create(disk, dir, Zxid(zxid), Compression::Plain)?;
        file.write(&[writer])?;
        Ok(file)
    }

    fn snapshot(&self, zxid: i64, writer: u8) -> Result<PathBuf, StoreError> {
        self.writer(zxid, writer)?.finish(Trailer::default())
    }

    fn truncate(&mut self, after: i64) -> Result<(), StoreError> {
        truncate(&self.shared, &self.dir, &mut self.log, Zxid(after), MAX)
    }

    fn install(&mut self, zxid: i64) -> Result<(), StoreError> {
        let writer = self.writer(zxid, NEW)?;
        before_snapshot(&self.shared, &self.dir, &mut self.log, Zxid(zxid), MAX)?;
        let path = writer.finish(Trailer::default())?;
        after_snapshot(&self.shared, &self.dir, &mut self.log, &path)
    }
}

/// What a start finds: whose snapshot, and the last record behind it; all of one writer.
fn recovered(disk: &SimDisk) -> (u8, i64) {
    let server = Server::open(disk.clone());
    let found = snapshots(disk, &server.dir.snapshots).unwrap();
    let file = found.candidates.first().expect("a snapshot");
    let mut reader = SnapshotReader::open(disk, file).unwrap();
    let mut writer = [0];
    reader.read_exact(&mut writer).unwrap();
    reader.finish().unwrap();
    let mut check = |zxid: Zxid, found: &[u8]| {
        assert_eq!(found, payload(zxid.0, writer[0]), "{zxid}");
        Ok(())
    };
    let logs = &server.dir.logs;
    let replayed = replay(&server.shared, logs, file.zxid, MAX, &mut check).unwrap();
    (writer[0], replayed.last.0)
}

#[test]
fn a_cut_removes_exactly_what_is_behind_it() {
    for after in 0..=22 {
        let mut server = Server::with_history();
        server.truncate(after).unwrap();
        let expected = after.min(20);
        let disk = server.disk.after_crash(Crash::Lost);
        assert_eq!(recovered(&disk), (OLD, expected), "after {after}");
        server.append(expected + 1..expected + 4, OLD).unwrap();
        let disk = server.disk.after_crash(Crash::Lost);
        assert_eq!(recovered(&disk), (OLD, expected + 3), "after {after}");
    }
}

#[test]
fn records_that_were_not_synced_are_made_durable_where_they_stay() {
    let mut server = Server::with_history();
    let mut bytes = Vec::new();
    for zxid in 21..25 {
        encode_record(&mut bytes, &[&payload(zxid, OLD)]);
    }
    server.log.append(Zxid(21), &bytes).unwrap();
    server.truncate(22).unwrap();
    assert_eq!(recovered(&server.disk.after_crash(Crash::Lost)), (OLD, 22));
}

#[test]
fn a_crash_at_any_step_of_a_cut_leaves_a_beginning_of_the_history() {
    let mut crashes = 0;
    for after in [0, 3, 5, 7, 8, 12, 16, 18] {
        for step in 0.. {
            let mut server = Server::with_history();
            let from = server.disk.steps() + step;
            server.disk.fail_from(from, io::ErrorKind::Other);
            let done = server.truncate(after).is_ok();
            for crash in CRASHES {
                let (writer, last) = recovered(&server.disk.after_crash(crash));
                assert_eq!(writer, OLD);
                assert!(
                    (after..=20).contains(&last),
                    "{after} {step} {crash:?}: {last}"
                );
                assert!(!done || last == after, "{after} {step} {crash:?}: {last}");
                crashes += 1;
            }
            if done {
                break;
            }
        }
    }
    assert!(crashes > 200, "{crashes}");
}

#[test]
fn a_crash_at_any_step_of_an_installation_leaves_one_history_or_the_other() {
    let mut crashes = 0;
    for zxid in [3, 8, 12, 18, 20, 40] {
        for step in 0.. {
            let mut server = Server::with_history();
            let from = server.disk.steps() + step;
            server.disk.fail_from(from, io::ErrorKind::Other);
            let done = server.install(zxid).is_ok();
            for crash in CRASHES {
                let found = recovered(&server.disk.after_crash(crash));
                let old = found.0 == OLD && (zxid.min(20)..=20).contains(&found.1);
                let new = found == (NEW, zxid);
                assert!(new || (old && !done), "{zxid} {step} {crash:?}: {found:?}");
                crashes += 1;
            }
            if done {
                break;
            }
        }
    }
    assert!(crashes > 300, "{crashes}");
}

#[test]
fn the_log_goes_on_behind_an_installed_snapshot() {
    let mut server = Server::with_history();
    server.install(18).unwrap();
    server.append(19..22, NEW).unwrap();
    assert_eq!(recovered(&server.disk.after_crash(Crash::Lost)), (NEW, 21));
}

#[test]
fn a_cut_before_the_oldest_snapshot_is_refused_and_changes_nothing() {
    let mut server = Server::open(SimDisk::new());
    server.snapshot(5, OLD).unwrap();
    server.append(6..10, OLD).unwrap();
    let steps = server.disk.steps();
    let error = server.truncate(4).unwrap_err().to_string();
    assert!(error.contains("no snapshot at or before 0x4"), "{error}");
    assert_eq!(server.disk.steps(), steps);
    assert_eq!(recovered(&server.disk), (OLD, 9));
}

/// A disk on which somebody else is always faster to remove a file.
struct Purged(SimDisk);

impl Disk for Purged {
    fn list(&self, dir: &Path) -> io::Result<Vec<crate::disk::DirEntry>> {
        self.0.list(dir)
    }
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        self.0.open(path, mode)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.0.rename(from, to)
    }
    fn remove(&self, path: &Path) -> io::Result<()> {
        self.0.remove(path)?;
        self.0.remove(path)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.0.sync_dir(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.0.create_dir_all(dir)
    }
    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        self.0.canonical(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        self.0.lock(path)
    }
}

#[test]
fn files_that_are_purged_meanwhile_do_no_harm() {
    let mut server = Server::with_history();
    server.shared = Arc::new(Purged(server.disk.clone()));
    server.install(30).unwrap();
    assert_eq!(recovered(&server.disk), (NEW, 30));
}
