//! What is in the data directory.

use std::path::Path;
use std::sync::Arc;

use roo_proto::ids::Zxid;
use roo_proto::txn::{self, Txn};
use roo_server::loading::{LoadSettings, load_snapshot};
use roo_state::snapshot::{self, Source, SourceError};
use roo_state::state::{Rules, State};
use roo_store::disk::{Disk, OpenMode};
use roo_store::file_name::list_snapshots;
use roo_store::log::file_header;
use roo_store::log::reader::FileReader;
use roo_store::log::record::encode_record;
use roo_store::recovery;
use roo_store::sim_disk::SimDisk;

use crate::{take, take_chunk};

const DIR: &str = "/d";
const MAX_RECORD: usize = 1 << 21;

fn rules() -> Rules {
    Rules {
        extended_types: true,
        ..Rules::default()
    }
}

/// A disk with one file; `None` where it cannot be made, which is no matter of the bytes.
fn disk_with(name: &str, content: &[u8]) -> Option<SimDisk> {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(DIR)).ok()?;
    let path = Path::new(DIR).join(name);
    let mut file = disk.open(&path, OpenMode::Create).ok()?;
    file.write_at(0, content).ok()?;
    file.sync_data().ok()?;
    disk.sync_dir(Path::new(DIR)).ok()?;
    Some(disk)
}

/// A transaction as a log's record holds it. What was understood is written back and read again
/// to the same, but for characters above U+FFFF, which Java writes as it does not read them.
pub fn log_record(bytes: &[u8]) {
    let Ok((header, txn, digest)) = txn::decode_record(bytes) else {
        return;
    };
    // Two paths of no length are as long as a digest and look like one; no server lists them.
    if matches!(&txn, Txn::CloseSession { paths: Some(paths) } if paths.iter().all(String::is_empty))
    {
        return;
    }
    let mut again = Vec::new();
    txn::encode_record(&mut again, &header, &txn, digest);
    let read = txn::decode_record(&again);
    let may_be_supplementary = bytes.iter().any(|byte| (0xF0..=0xF4).contains(byte));
    if !may_be_supplementary {
        assert_eq!(read, Ok((header, txn, digest)));
    } else if let Ok((header, txn, digest)) = read {
        let mut third = Vec::new();
        txn::encode_record(&mut third, &header, &txn, digest);
        assert_eq!(txn::decode_record(&third), Ok((header, txn, digest)));
    } else {
        panic!("what was written cannot be read: {read:?}");
    }
}

/// A whole log file, damaged as it may be.
pub fn log_file(bytes: &[u8]) {
    let Some(disk) = disk_with("log.1", bytes) else {
        return;
    };
    let path = Path::new(DIR).join("log.1");
    let Ok(mut reader) = FileReader::open(&disk, &path, MAX_RECORD) else {
        return;
    };
    let mut end = 0;
    while let Ok(Some(record)) = reader.next_record() {
        assert!(record.offset >= end, "records overlap");
        end = record.offset + record.payload.len() as u64;
    }
    assert!(end <= bytes.len() as u64);
    replay(disk);
}

/// Records with sound checksums but any content: replaying them never panics.
pub fn log_replay(bytes: &[u8]) {
    let mut rest = bytes;
    let mut log = file_header().to_vec();
    for zxid in 1_i64.. {
        if rest.is_empty() {
            break;
        }
        let head = take(&mut rest, 17);
        let mut payload = vec![0; txn::HEADER_SIZE];
        // Session, time and type are the input's; the zxids have no holes.
        if let (Some(place), Some(client)) = (payload.get_mut(..8), head.get(..8)) {
            place.copy_from_slice(client);
        }
        payload[12..20].copy_from_slice(&zxid.to_be_bytes());
        if let (Some(place), Some(time)) = (payload.get_mut(20..28), head.get(8..16)) {
            place.copy_from_slice(time);
        }
        let op = head.get(16).map_or(0, |byte| i32::from(byte.cast_signed()));
        payload[28..32].copy_from_slice(&op.to_be_bytes());
        payload.extend_from_slice(take_chunk(&mut rest));
        encode_record(&mut log, &[&payload]);
    }
    if let Some(disk) = disk_with("log.1", &log) {
        replay(disk);
    }
}

fn replay(disk: SimDisk) {
    let disk: Arc<dyn Disk> = Arc::new(disk);
    let mut state = State::new(rules(), 1);
    let mut changes = Vec::new();
    let mut apply = |_: Zxid, payload: &[u8]| {
        let (header, txn, _) = txn::decode_record(payload).map_err(|error| error.to_string())?;
        changes.clear();
        state.apply(&header, txn, &mut changes);
        Ok(())
    };
    let dir = Path::new(DIR);
    let replayed = recovery::replay(&disk, dir, Zxid::ZERO, MAX_RECORD, &mut apply);
    state.repair_after_load();
    if replayed.is_ok() {
        write_and_load_again(state);
    }
}

/// What was loaded can be written, and what was written is read as the same.
fn write_and_load_again(mut state: State) {
    let mut bytes = Vec::new();
    state.begin_snapshot(&mut bytes);
    while !state.snapshot_slice(16, usize::MAX, &mut bytes) {}
    let mut source = Bytes(&bytes);
    let mut again = match snapshot::load(&mut source, state.rules, 2) {
        Ok(again) => again,
        Err(error) => panic!("what was written cannot be read: {error}"),
    };
    again.repair_after_load();
    assert!(source.0.is_empty());
    assert_eq!(again.digest(), state.digest());
    assert_eq!(again.tree.node_count(), state.tree.node_count());
    assert_eq!(again.sessions(), state.sessions());
}

struct Bytes<'b>(&'b [u8]);

impl Source for Bytes<'_> {
    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), SourceError> {
        let front = take(&mut self.0, buffer.len());
        if front.len() < buffer.len() {
            return Err(SourceError("the bytes end".into()));
        }
        buffer.copy_from_slice(front);
        Ok(())
    }
}

/// A whole snapshot file; the first byte says how it is compressed.
pub fn snapshot_file(bytes: &[u8]) {
    let Some((kind, content)) = bytes.split_first() else {
        return;
    };
    let extension = ["", ".gz", ".snappy"][usize::from(*kind) % 3];
    let Some(disk) = disk_with(&format!("snapshot.1{extension}"), content) else {
        return;
    };
    let settings = LoadSettings {
        rules: rules(),
        hash_seed: 1,
        max_record: MAX_RECORD,
        trust_empty: false,
    };
    for file in list_snapshots(&disk, Path::new(DIR)).unwrap_or_default() {
        // The server asks this first, the tool does not.
        let _ = roo_store::snapshot_file::looks_whole(&disk, &file);
        let _ = load_snapshot(&disk, &file, &settings);
    }
}

/// The state inside a snapshot, without header, seals and compression.
pub fn snapshot_body(bytes: &[u8]) {
    if let Ok(mut state) = snapshot::load(&mut Bytes(bytes), rules(), 1) {
        state.repair_after_load();
        write_and_load_again(state);
    }
}
