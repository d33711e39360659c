//! One record of a log: framing and unframing. What follows a damaged record is judged by the
//! reader, which sees the rest of the file.

use roo_proto::ids::Zxid;

/// Bytes before the payload: checksum and length.
pub const RECORD_HEADER_LEN: usize = 12;
/// Length of the transaction header that every payload begins with.
pub const TXN_HEADER_LEN: usize = 32;
/// The byte behind every payload.
pub const END_OF_RECORD: u8 = 0x42;
/// Bytes that a record takes beyond its payload.
pub const RECORD_OVERHEAD: usize = RECORD_HEADER_LEN + 1;

const ZXID_OFFSET: usize = 12;

/// The zxid in a payload's transaction header; `None` if the payload is too short to have one.
#[must_use]
pub fn payload_zxid(payload: &[u8]) -> Option<Zxid> {
    if payload.len() < TXN_HEADER_LEN {
        return None;
    }
    let bytes = payload.get(ZXID_OFFSET..ZXID_OFFSET + 8)?;
    Some(Zxid(i64::from_be_bytes(bytes.try_into().ok()?)))
}

/// Frames one payload, given in parts, at the end of `out`.
///
/// # Panics
/// If the payload is longer than `i32::MAX`.
pub fn encode_record(out: &mut Vec<u8>, payload_parts: &[&[u8]]) {
    encode_record_with(out, |out| {
        for part in payload_parts {
            out.extend_from_slice(part);
        }
    });
}

/// Frames the payload that `fill` appends to `out`: no copy of it is made.
///
/// # Panics
/// If the payload is longer than `i32::MAX`.
pub fn encode_record_with(out: &mut Vec<u8>, fill: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.extend_from_slice(&[0; RECORD_HEADER_LEN]);
    fill(out);
    let payload = start + RECORD_HEADER_LEN;
    let checksum = u64::from(simd_adler32::adler32(&&out[payload..]));
    let len = i32::try_from(out.len() - payload);
    let len = len.expect("a record's payload is bounded by the request limit");
    out[start..start + 8].copy_from_slice(&checksum.to_be_bytes());
    out[start + 8..payload].copy_from_slice(&len.to_be_bytes());
    out.push(END_OF_RECORD);
}

/// Framed records of consecutive transactions, written with one write.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    bytes: Vec<u8>,
    range: Option<(Zxid, Zxid)>,
    records: usize,
}

impl Batch {
    /// An empty batch.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            bytes: Vec::new(),
            range: None,
            records: 0,
        }
    }

    /// Adds a payload.
    ///
    /// # Panics
    /// If it has no whole transaction header, or a zxid below that of the record before.
    pub fn push(&mut self, payload: &[u8]) {
        self.push_with(|out| out.extend_from_slice(payload));
    }

    /// Adds the payload that `fill` appends to the vector it is given.
    ///
    /// # Panics
    /// If it has no whole transaction header, or a zxid below that of the record before.
    pub fn push_with(&mut self, fill: impl FnOnce(&mut Vec<u8>)) {
        let start = self.bytes.len();
        encode_record_with(&mut self.bytes, fill);
        let payload = &self.bytes[start + RECORD_HEADER_LEN..self.bytes.len() - 1];
        let zxid = payload_zxid(payload).expect("a payload begins with a transaction header");
        let (first, last) = self.range.unwrap_or((zxid, zxid));
        assert!(zxid >= last, "record {zxid} appended behind {last}");
        self.range = Some((first, zxid));
        self.records += 1;
    }

    /// First and last zxid; `None` if the batch is empty.
    #[must_use]
    pub const fn range(&self) -> Option<(Zxid, Zxid)> {
        self.range
    }

    /// Number of records.
    #[must_use]
    pub const fn records(&self) -> usize {
        self.records
    }

    /// The framed records.
    #[must_use]
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.range = None;
        self.records = 0;
    }
}

/// What stands at the beginning of some bytes of a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unframed {
    /// A sound record.
    Record { payload_len: usize, zxid: Zxid },
    /// More bytes are needed to tell: this many in all.
    Incomplete { needed: usize },
    /// Length 0: padding.
    Padding,
    /// A length that no record can have.
    BadLength { len: i32 },
    /// Another byte where the end mark belongs.
    BadEnd { payload_len: usize, found: u8 },
    /// The end mark is in place, the checksum is not that of the payload.
    BadChecksum { payload_len: usize },
    /// Checksum and end mark fit, but there is no whole transaction header.
    NoHeader { payload_len: usize },
}

/// Looks at the record that begins `bytes`. As in Apache, the end mark is looked at before the
/// checksum, so that a record torn inside the padding is told from a damaged one.
pub(crate) fn unframe(bytes: &[u8], max_payload: usize) -> Unframed {
    let Some((header, rest)) = bytes.split_first_chunk::<RECORD_HEADER_LEN>() else {
        return Unframed::Incomplete {
            needed: RECORD_HEADER_LEN,
        };
    };
    let (stored, len) = header.split_at(8);
    let stored = u64::from_be_bytes(stored.try_into().unwrap_or_default());
    let len = i32::from_be_bytes(len.try_into().unwrap_or_default());
    if len == 0 {
        return Unframed::Padding;
    }
    let payload_len = match usize::try_from(len) {
        Ok(payload_len) if payload_len <= max_payload => payload_len,
        _ => return Unframed::BadLength { len },
    };
    let Some(&found) = rest.get(payload_len) else {
        return Unframed::Incomplete {
            needed: payload_len + RECORD_OVERHEAD,
        };
    };
    if found != END_OF_RECORD {
        return Unframed::BadEnd { payload_len, found };
    }
    let payload = &rest[..payload_len];
    if u64::from(simd_adler32::adler32(&payload)) != stored {
        return Unframed::BadChecksum { payload_len };
    }
    match payload_zxid(payload) {
        Some(zxid) => Unframed::Record { payload_len, zxid },
        None => Unframed::NoHeader { payload_len },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn payload(zxid: i64, body: &[u8]) -> Vec<u8> {
        let mut payload = vec![0; TXN_HEADER_LEN];
        payload[ZXID_OFFSET..ZXID_OFFSET + 8].copy_from_slice(&zxid.to_be_bytes());
        payload.extend_from_slice(body);
        payload
    }

    proptest! {
        #[test]
        fn framing_round_trips(zxid: i64, body in prop::collection::vec(any::<u8>(), 0..300)) {
            let payload = payload(zxid, &body);
            let mut framed = Vec::new();
            encode_record(&mut framed, &[&payload[..10], &payload[10..]]);
            let expected = Unframed::Record { payload_len: payload.len(), zxid: Zxid(zxid) };
            prop_assert_eq!(unframe(&framed, 1 << 20), expected);
            prop_assert_eq!(&framed[RECORD_HEADER_LEN..framed.len() - 1], &payload[..]);
        }

        #[test]
        fn a_flipped_payload_byte_is_noticed(at in 0usize..40, flip in 1u8..) {
            let mut framed = Vec::new();
            encode_record(&mut framed, &[&payload(7, b"12345678")]);
            framed[RECORD_HEADER_LEN + at] ^= flip;
            prop_assert_eq!(unframe(&framed, 1000), Unframed::BadChecksum { payload_len: 40 });
        }

        #[test]
        fn any_bytes_are_judged(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Unframed::Record { payload_len, .. } = unframe(&bytes, 1000) {
                prop_assert!(payload_len + RECORD_OVERHEAD <= bytes.len());
            }
        }
    }

    #[test]
    fn a_batch_knows_its_range() {
        let mut batch = Batch::new();
        assert_eq!(batch.range(), None);
        batch.push(&payload(5, b""));
        batch.push(&payload(6, b"x"));
        assert_eq!(
            (batch.range(), batch.records()),
            (Some((Zxid(5), Zxid(6))), 2)
        );
        batch.clear();
        assert_eq!((batch.range(), batch.bytes().len()), (None, 0));
    }
}
