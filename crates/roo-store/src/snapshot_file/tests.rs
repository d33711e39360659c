use proptest::prelude::*;

use super::*;
use crate::file_name::list_snapshots;
use crate::sim_disk::{Crash, SimDisk};

const ALL: [Compression; 3] = [Compression::Plain, Compression::Gzip, Compression::Snappy];

fn disk_with_dir() -> (SimDisk, Arc<dyn Disk>, PathBuf) {
    let disk = SimDisk::new();
    let dir = PathBuf::from("/d");
    disk.create_dir_all(&dir).unwrap();
    (disk.clone(), Arc::new(disk), dir)
}

fn write(body: &[u8], compression: Compression, trailer: Trailer) -> (Arc<dyn Disk>, SnapshotFile) {
    let (_, disk, dir) = disk_with_dir();
    let mut writer =
        SnapshotWriter::create(Arc::clone(&disk), &dir, Zxid(0x2d), compression).unwrap();
    for piece in body.chunks(1000) {
        writer.write(piece).unwrap();
    }
    writer.finish(trailer).unwrap();
    let file = list_snapshots(disk.as_ref(), &dir).unwrap().remove(0);
    (disk, file)
}

fn read(
    disk: &dyn Disk,
    file: &SnapshotFile,
    len: usize,
) -> Result<(Vec<u8>, Trailer), StoreError> {
    let mut reader = SnapshotReader::open(disk, file)?;
    let mut body = vec![0; len];
    reader.read_exact(&mut body)?;
    Ok((body, reader.finish()?))
}

fn stored(disk: &dyn Disk, file: &SnapshotFile) -> Vec<u8> {
    let mut bytes = vec![0; usize::try_from(file.len).unwrap()];
    let open = disk.open(&file.path, OpenMode::Read).unwrap();
    assert_eq!(
        read_full_at(open.as_ref(), 0, &mut bytes).unwrap(),
        bytes.len()
    );
    bytes
}

/// A disk with a snapshot of these bytes.
fn with_bytes(bytes: &[u8], compression: Compression) -> (Arc<dyn Disk>, SnapshotFile) {
    let (_, disk, dir) = disk_with_dir();
    let path = dir.join(snapshot_name(Zxid(1), compression));
    disk.open(&path, OpenMode::Create)
        .unwrap()
        .write_at(0, bytes)
        .unwrap();
    let file = list_snapshots(disk.as_ref(), &dir).unwrap().remove(0);
    (disk, file)
}

fn trailers() -> [Trailer; 4] {
    let digest = Some(SnapshotDigest {
        zxid: Zxid(0x53),
        version: 2,
        digest: 0x1d_e034_fe11,
    });
    let last_zxid = Some(Zxid(0x53));
    [
        Trailer::default(),
        Trailer {
            digest,
            last_zxid: None,
        },
        Trailer {
            digest: None,
            last_zxid,
        },
        Trailer { digest, last_zxid },
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn every_compression_and_trailer_round_trips(
        seed: u8, len in 0usize..100_000, compression in 0usize..3, trailer in 0usize..4,
    ) {
        let body: Vec<u8> = (0..=250).flat_map(|byte| [byte ^ seed; 7]).cycle().take(len).collect();
        let trailer = trailers()[trailer];
        let (disk, file) = write(&body, ALL[compression], trailer);
        prop_assert!(looks_whole(disk.as_ref(), &file).unwrap());
        let (found, found_trailer) = read(disk.as_ref(), &file, len).unwrap();
        prop_assert_eq!(found, body);
        prop_assert_eq!(found_trailer, trailer);
    }

    #[test]
    fn any_bytes_are_refused_without_a_panic(
        mut bytes in prop::collection::vec(any::<u8>(), 0..300), compression in 0usize..3,
        headed: bool, len in 0usize..100,
    ) {
        let compression = ALL[compression];
        if headed {
            let head: &[u8] = match compression {
                Compression::Plain => &HEADER,
                Compression::Gzip => &[0x1F, 0x8B, 8, 0, 0, 0, 0, 0, 0, 0xFF],
                Compression::Snappy => &SNAPPY_MAGIC,
            };
            bytes.splice(0..0, head.iter().copied());
        }
        let (disk, file) = with_bytes(&bytes, compression);
        looks_whole(disk.as_ref(), &file).unwrap();
        prop_assert!(read(disk.as_ref(), &file, len).is_err());
    }
}

#[test]
fn every_flipped_byte_and_every_cut_is_noticed() {
    let body: Vec<u8> = (0..200).collect();
    for (which, trailer) in trailers().into_iter().enumerate() {
        let (disk, file) = write(&body, Compression::Plain, trailer);
        let whole = stored(disk.as_ref(), &file);
        // The seals cover the header too, which is hardly looked at otherwise.
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x40;
            let (disk, file) = with_bytes(&bytes, Compression::Plain);
            assert!(
                read(disk.as_ref(), &file, body.len()).is_err(),
                "trailer {which}, byte {at}"
            );
        }
        for len in 0..whole.len() {
            let (disk, file) = with_bytes(&whole[..len], Compression::Plain);
            let found = read(disk.as_ref(), &file, body.len());
            // A cut exactly behind a seal is a file of an older writer, which has fewer sections.
            let older = found
                .as_ref()
                .is_ok_and(|(b, t)| *b == body && *t != trailer);
            assert!(found.is_err() || older, "trailer {which}, cut at {len}");
        }
        let mut longer = whole.clone();
        longer.push(0);
        let (disk, file) = with_bytes(&longer, Compression::Plain);
        assert!(
            read(disk.as_ref(), &file, body.len()).is_err(),
            "trailer {which}, one more byte"
        );
    }
}

#[test]
fn a_snapshot_that_is_given_up_leaves_nothing_behind() {
    let (_, disk, dir) = disk_with_dir();
    let mut writer =
        SnapshotWriter::create(Arc::clone(&disk), &dir, Zxid(1), Compression::Plain).unwrap();
    writer.write(b"half").unwrap();
    assert_eq!(disk.list(&dir).unwrap().len(), 1);
    drop(writer);
    assert_eq!(disk.list(&dir).unwrap(), Vec::new());
}

#[test]
fn a_full_disk_leaves_the_older_snapshot_of_that_zxid() {
    let (sim, disk, dir) = disk_with_dir();
    let begin = || SnapshotWriter::create(Arc::clone(&disk), &dir, Zxid(1), Compression::Plain);
    let mut writer = begin().unwrap();
    writer.write(b"old").unwrap();
    let path = writer.finish(Trailer::default()).unwrap();
    let mut writer = begin().unwrap();
    writer.write(b"new").unwrap();
    sim.fail_from(sim.steps(), io::ErrorKind::StorageFull);
    assert!(writer.finish(Trailer::default()).is_err());
    let file = list_snapshots(disk.as_ref(), &dir).unwrap().remove(0);
    assert_eq!(file.path, path);
    assert_eq!(read(disk.as_ref(), &file, 3).unwrap().0, b"old");
}

#[test]
fn a_large_snapshot_is_synced_while_it_is_written() {
    let (sim, disk, dir) = disk_with_dir();
    let mut writer =
        SnapshotWriter::create(Arc::clone(&disk), &dir, Zxid(1), Compression::Plain).unwrap();
    disk.sync_dir(&dir).unwrap();
    let piece = vec![7; 1000];
    let mut written = 0;
    while written < 4 * SYNC_STEP {
        writer.write(&piece).unwrap();
        written += piece.len() as u64;
    }
    let found = sim.after_crash(Crash::Lost).list(&dir).unwrap();
    let durable: u64 = found.iter().map(|entry| entry.len).sum();
    assert!(
        written - durable <= SYNC_STEP + 2 * BUFFER as u64,
        "{durable} of {written} bytes would survive"
    );
}
