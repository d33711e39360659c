use proptest::prelude::*;

use super::*;
use crate::file_name::log_name;
use crate::log::record::{TXN_HEADER_LEN, encode_record};
use crate::sim_disk::SimDisk;

const DIR: &str = "/d";

fn framed(zxid: i64, body: &[u8]) -> Vec<u8> {
    let mut payload = vec![1; TXN_HEADER_LEN];
    payload[12..20].copy_from_slice(&zxid.to_be_bytes());
    payload.extend_from_slice(body);
    let mut out = Vec::new();
    encode_record(&mut out, &[&payload]);
    out
}

fn log_of(zxids: &[i64]) -> Vec<u8> {
    let mut bytes = file_header().to_vec();
    for &zxid in zxids {
        bytes.extend(framed(zxid, b"some data of a znode"));
    }
    bytes
}

fn disk_of(files: &[(i64, Vec<u8>)]) -> Arc<dyn Disk> {
    let disk = SimDisk::new();
    disk.create_dir_all(Path::new(DIR)).unwrap();
    for (zxid, bytes) in files {
        let path = Path::new(DIR).join(log_name(Zxid(*zxid)));
        disk.open(&path, OpenMode::Create)
            .unwrap()
            .write_at(0, bytes)
            .unwrap();
    }
    Arc::new(disk)
}

type Outcome = Result<(Vec<i64>, Vec<LogWarning>), StoreError>;

fn read_after(base: i64, files: &[(i64, Vec<u8>)]) -> Outcome {
    let mut reader = LogReader::after(disk_of(files), Path::new(DIR), Zxid(base), 1 << 16)?;
    let mut zxids = Vec::new();
    while let Some(record) = reader.next_record()? {
        zxids.push(record.zxid.0);
    }
    Ok((zxids, reader.warnings().to_vec()))
}

fn refused(outcome: Outcome) -> String {
    let error = outcome.expect_err("the logs are damaged");
    assert!(error.is_corrupt(), "{error}");
    error.to_string()
}

#[test]
fn records_above_the_base_come_in_order_across_files() {
    let files = [
        (1, log_of(&[1, 2, 3])),
        (4, log_of(&[4, 5, 5])),
        (6, log_of(&[6])),
    ];
    for (base, expected) in [
        (0, vec![1, 2, 3, 4, 5, 5, 6]),
        (3, vec![4, 5, 5, 6]),
        (4, vec![5, 5, 6]),
        (6, vec![]),
    ] {
        assert_eq!(
            read_after(base, &files).unwrap(),
            (expected, vec![]),
            "after {base}"
        );
    }
}

#[test]
fn a_hole_is_refused_wherever_changes_would_be_missing() {
    let epoch = 1_i64 << 32;
    for (base, files) in [
        (0, vec![(1, log_of(&[1, 2, 4]))]),
        (0, vec![(1, log_of(&[1, 2])), (4, log_of(&[4]))]),
        (3, vec![(5, log_of(&[5, 6]))]),
        (0, vec![(1, log_of(&[1, 3, 2]))]),
        (2, vec![(epoch + 2, log_of(&[epoch + 2]))]),
    ] {
        let message = refused(read_after(base, &files));
        assert!(message.contains("changes are missing"), "{message}");
    }
    let files = [
        (1, log_of(&[1, 3])),
        (4, log_of(&[4, epoch + 1, epoch + 2])),
    ];
    let below_the_snapshot = read_after(3, &files).unwrap();
    assert_eq!(below_the_snapshot.0, [4, epoch + 1, epoch + 2]);
}

#[test]
fn a_record_cut_anywhere_is_torn_and_the_ones_before_stay() {
    let whole = log_of(&[1, 2, 3]);
    let last = whole.len() - framed(3, b"some data of a znode").len();
    for cut in last + 1..whole.len() {
        for padding in [0, 4000] {
            let mut bytes = whole[..cut].to_vec();
            bytes.resize(bytes.len() + padding, 0);
            let (zxids, warnings) = read_after(0, &[(1, bytes)]).unwrap();
            assert_eq!(zxids, [1, 2], "cut at {cut}, padding {padding}");
            // The zeros at the front of a checksum are not told from padding.
            let only_zeros = whole[last..cut].iter().all(|&byte| byte == 0);
            assert_eq!(
                warnings.is_empty(),
                only_zeros,
                "cut at {cut}, padding {padding}"
            );
            for warning in warnings {
                let LogWarning::Torn(tail) = warning else {
                    panic!("{warning}")
                };
                assert_eq!(tail.offset, last as u64);
                assert!(tail.bytes > 0 && tail.offset + tail.bytes <= cut as u64);
            }
        }
    }
}

#[test]
fn a_torn_end_before_a_file_that_goes_on_is_harmless_and_otherwise_a_hole() {
    let mut torn = log_of(&[1, 2, 3]);
    torn.truncate(torn.len() - 7);
    let (zxids, warnings) = read_after(0, &[(1, torn.clone()), (3, log_of(&[3, 4]))]).unwrap();
    assert_eq!((zxids, warnings.len()), (vec![1, 2, 3, 4], 1));
    let message = refused(read_after(0, &[(1, torn), (4, log_of(&[4]))]));
    assert!(message.contains("breaks off at byte"), "{message}");
}

#[test]
fn damage_before_sound_records_is_refused_at_its_place() {
    let whole = log_of(&[1, 2, 3]);
    let record = framed(2, b"some data of a znode").len();
    let second = FILE_HEADER_LEN + record;
    for at in second..second + record {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x21;
        let error = read_after(0, &[(1, bytes)]).expect_err("a byte was changed");
        let StoreError::Corrupt { offset, advice, .. } = &error else {
            panic!("{error}")
        };
        assert_eq!(*offset, second as u64, "byte {at}: {error}");
        assert!(advice.contains("roo log dump"), "{advice}");
    }
}

#[test]
fn a_damaged_last_record_is_not_taken_for_a_torn_one() {
    let whole = log_of(&[1, 2]);
    let payload_byte = whole.len() - 5;
    let end_mark = whole.len() - 1;
    for at in [payload_byte, end_mark] {
        let mut bytes = whole.clone();
        bytes[at] ^= 0x01;
        bytes.resize(bytes.len() + 600, 0);
        refused(read_after(0, &[(1, bytes)]));
    }
}

#[test]
fn files_without_records_are_ignored_only_at_the_end() {
    let good = || (1, log_of(&[1, 2]));
    for blank in [vec![], vec![0; 600]] {
        let (zxids, warnings) = read_after(0, &[good(), (3, blank.clone())]).unwrap();
        assert_eq!(zxids, [1, 2]);
        assert!(matches!(warnings[..], [LogWarning::EmptyLastFile(_)]));
        refused(read_after(0, &[good(), (3, blank), (4, log_of(&[3]))]));
    }
    let mut header_and_padding = file_header().to_vec();
    header_and_padding.resize(4096, 0);
    assert_eq!(
        read_after(0, &[good(), (3, header_and_padding)]).unwrap(),
        (vec![1, 2], vec![])
    );
    refused(read_after(
        0,
        &[good(), (3, b"ZKLX\0\0\0\x02\0\0\0\0\0\0\0\0".to_vec())],
    ));
    refused(read_after(0, &[good(), (3, b"garbage".to_vec())]));
}

#[test]
fn an_unreasonable_length_is_refused() {
    for len in [-1_i32, i32::MIN, 70_000, i32::MAX] {
        let mut bytes = log_of(&[1]);
        bytes.extend_from_slice(&[0, 0, 0, 0, 9, 9, 9, 9]);
        bytes.extend_from_slice(&len.to_be_bytes());
        bytes.extend_from_slice(&[7; 40]);
        let message = refused(read_after(0, &[(1, bytes)]));
        assert!(message.contains("unreasonable record length"), "{message}");
    }
}

#[test]
fn records_longer_than_a_chunk_are_read() {
    let big = vec![0x5A; CHUNK + 17];
    let mut bytes = file_header().to_vec();
    for zxid in 1..=4 {
        bytes.extend(framed(zxid, &big));
    }
    let disk = disk_of(&[(1, bytes)]);
    let mut reader = LogReader::after(disk, Path::new(DIR), Zxid::ZERO, 2 * CHUNK).unwrap();
    while let Some(record) = reader.next_record().unwrap() {
        assert_eq!(record.payload[TXN_HEADER_LEN..], big[..]);
    }
    assert_eq!((reader.records(), reader.last_zxid()), (4, Zxid(4)));
}

proptest! {
    #[test]
    fn any_bytes_end_in_records_or_an_error(
        mut bytes in prop::collection::vec(any::<u8>(), 0..600), headed: bool, sound in 0_i64..3,
    ) {
        let mut expected = 0;
        if headed {
            let zxids: Vec<i64> = (1..=sound).collect();
            expected = zxids.len();
            bytes.splice(0..0, log_of(&zxids));
        }
        if let Ok((zxids, _)) = read_after(0, &[(1, bytes)]) {
            prop_assert!(zxids.len() >= expected);
        }
    }
}
