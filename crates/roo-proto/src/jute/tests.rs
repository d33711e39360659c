use alloc::vec;
use alloc::vec::Vec;

use proptest::prelude::*;

use super::*;

fn encoded(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    put_string(&mut out, text);
    out
}

#[test]
fn a_surrogate_pair_is_written_as_two_sequences_of_three_bytes() {
    assert_eq!(
        encoded("\u{1F600}"),
        [0, 0, 0, 6, 0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]
    );
}

#[test]
fn malformed_utf8_is_replaced_as_java_does() {
    let cases: [(&[u8], &str); 6] = [
        (&[0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80], "\u{FFFD}\u{FFFD}"),
        (&[0xC0, 0xAF], "\u{FFFD}\u{FFFD}"),
        (b"a\xE2\x82", "a\u{FFFD}"),
        (b"\xED\xA0z", "\u{FFFD}z"),
        (&[0xFF, b'x'], "\u{FFFD}x"),
        ("\u{1F600}".as_bytes(), "\u{1F600}"),
    ];
    for (bytes, text) in cases {
        assert_eq!(decode_utf8(bytes), text, "{bytes:x?}");
    }
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    for length in [-2i32, i32::MIN, 5, i32::MAX] {
        let mut bytes = length.to_be_bytes().to_vec();
        bytes.extend_from_slice(b"abcd");
        assert!(Reader::new(&bytes).buffer().is_err(), "{length}");
    }
    let mut bytes = vec![0, 0, 0, 4];
    bytes.extend_from_slice(b"abcd");
    assert!(Reader::with_limit(&bytes, 3).buffer().is_err());
    assert_eq!(Reader::new(&bytes).buffer(), Ok(Some(&b"abcd"[..])));
}

#[test]
fn a_count_is_held_against_the_bytes_left() {
    assert_eq!(Reader::new(&[0xFF; 4]).count(1), Ok(None));
    assert_eq!(Reader::new(&[0xFF, 0xFF, 0xFF, 0xFE]).count(1), Ok(Some(0)));
    assert!(Reader::new(&[0, 0, 0, 2, 9]).count(1).is_err());
}

proptest! {
    #[test]
    fn decoding_never_panics_and_agrees_with_rust_without_surrogates(bytes: Vec<u8>) {
        let java = decode_utf8(&bytes);
        if !bytes.windows(2).any(|w| w[0] == 0xED && w[1] >= 0xA0) {
            prop_assert_eq!(java, String::from_utf8_lossy(&bytes));
        }
    }

    #[test]
    fn strings_of_the_basic_plane_survive_a_round_trip(text in "[\u{1}-\u{D7FF}]{0,40}") {
        let bytes = encoded(&text);
        let mut reader = Reader::new(&bytes);
        prop_assert_eq!(reader.required_string().unwrap(), text);
        prop_assert!(reader.remaining().is_empty());
    }
}
