use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Op {
    Place(usize),
    Replace(usize, usize),
    Release(usize),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    // Few classes, so that chunks become full, and both sides of the step to large ones.
    let len = || prop_oneof![0..20usize, 505..520usize];
    let op = prop_oneof![
        4 => len().prop_map(Op::Place),
        2 => (any::<usize>(), len()).prop_map(|(at, len)| Op::Replace(at, len)),
        3 => any::<usize>().prop_map(Op::Release),
    ];
    prop::collection::vec(op, 0..1_000)
}

/// Two pieces of so many bytes that no other step has.
fn pieces(len: usize, step: usize) -> (Vec<u8>, Vec<u8>) {
    let byte = |at: usize| (at * 7 + step * 13).to_le_bytes()[0];
    let bytes: Vec<u8> = (0..len).map(byte).collect();
    let (name, data) = bytes.split_at(len / 3);
    (name.to_vec(), data.to_vec())
}

proptest! {
    #[test]
    fn blobs_keep_their_bytes_until_they_are_released(ops in ops()) {
        let mut blobs = Blobs::new();
        let mut model: Vec<(Blob, Vec<u8>)> = Vec::new();
        for (step, op) in ops.into_iter().enumerate() {
            match op {
                Op::Place(len) => {
                    let (name, data) = pieces(len, step);
                    model.push((blobs.place(&name, &data), [name, data].concat()));
                }
                Op::Replace(at, len) if !model.is_empty() => {
                    let at = at % model.len();
                    let (name, data) = pieces(len, step);
                    model[at] = (blobs.replace(model[at].0, &name, &data), [name, data].concat());
                }
                Op::Release(at) if !model.is_empty() => {
                    let at = at % model.len();
                    blobs.release(model.swap_remove(at).0);
                }
                Op::Replace(..) | Op::Release(_) => {}
            }
        }
        for (blob, bytes) in model {
            let (name, data) = bytes.split_at(bytes.len() / 3);
            prop_assert_eq!(blobs.head(blob, name.len()), name);
            prop_assert_eq!(blobs.rest(blob, name.len()), data);
        }
    }
}

/// Bytes that small blobs take from the allocator.
fn held(blobs: &Blobs) -> usize {
    blobs.chunks.iter().map(|chunk| chunk.bytes.len()).sum()
}

#[test]
fn a_blob_takes_its_bytes_and_no_more_than_seven_besides() {
    let mut blobs = Blobs::new();
    for _ in 0..1_280 {
        blobs.place(b"n00000001", &[1; 100]);
    }
    assert_eq!(held(&blobs), 1_280 * 112);
}

#[test]
fn memory_of_blobs_that_are_gone_serves_others() {
    let mut blobs = Blobs::new();
    let many: Vec<Blob> = (0..12_800).map(|_| blobs.place(b"", &[1; 100])).collect();
    for blob in many {
        blobs.release(blob);
    }
    let left = usize::from(SLOTS) * 104;
    assert_eq!(held(&blobs), left, "one chunk stays");
    for _ in 0..12_800 {
        blobs.place(b"", &[1; 200]);
    }
    assert_eq!(held(&blobs), left + 12_800 * 200);
    for _ in 0..12_800 {
        blobs.place(b"", &[1; 100]);
    }
    assert_eq!(held(&blobs), 12_800 * (104 + 200));
}
