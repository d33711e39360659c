//! The four-byte length in front of each packet.

use alloc::vec::Vec;

/// Bytes of the length field.
pub const LENGTH_SIZE: usize = 4;

/// What stands at the front of a byte stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Front<'a> {
    /// A whole packet, without its length field.
    Packet(&'a [u8]),
    /// The packet is not complete; its size with the length field is known from four bytes on.
    Incomplete {
        /// Bytes of the whole packet, or `LENGTH_SIZE` while the length itself is incomplete.
        needed: usize,
    },
    /// A length below 0 or above the limit.
    BadLength(i32),
}

/// Looks at the first packet of `bytes`.
#[must_use]
pub fn front(bytes: &[u8], max_length: usize) -> Front<'_> {
    let Some((length, rest)) = bytes.split_first_chunk::<LENGTH_SIZE>() else {
        return Front::Incomplete {
            needed: LENGTH_SIZE,
        };
    };
    let length = i32::from_be_bytes(*length);
    match usize::try_from(length) {
        Ok(n) if n <= max_length => match rest.get(..n) {
            Some(packet) => Front::Packet(packet),
            None => Front::Incomplete {
                needed: LENGTH_SIZE + n,
            },
        },
        _ => Front::BadLength(length),
    }
}

/// Starts a frame: reserves the length field and returns the mark for [`end`].
pub fn begin(out: &mut Vec<u8>) -> usize {
    let mark = out.len();
    out.extend_from_slice(&[0; LENGTH_SIZE]);
    mark
}

/// Ends the frame begun at `mark`: fills in its length.
pub fn end(out: &mut [u8], mark: usize) {
    let length = i32::try_from(out.len() - mark - LENGTH_SIZE).unwrap_or(i32::MAX);
    if let Some(slot) = out.get_mut(mark..mark + LENGTH_SIZE) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_are_found_one_after_the_other() {
        let mut bytes = Vec::new();
        let mark = begin(&mut bytes);
        bytes.extend_from_slice(b"abc");
        end(&mut bytes, mark);
        assert_eq!(front(&bytes, 3), Front::Packet(b"abc"));
        assert_eq!(front(&bytes, 2), Front::BadLength(3));
        assert_eq!(front(&bytes[..6], 3), Front::Incomplete { needed: 7 });
        assert_eq!(front(&bytes[..2], 3), Front::Incomplete { needed: 4 });
        assert_eq!(front(&[0xFF; 4], 3), Front::BadLength(-1));
    }
}
