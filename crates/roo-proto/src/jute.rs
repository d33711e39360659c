//! Jute, the encoding of every record: big-endian integers, length-prefixed strings, buffers and
//! vectors. The only place that knows its rules. Java: `BinaryInputArchive`,
//! `BinaryOutputArchive`.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;

/// The bytes are not a record of the expected kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end in the middle of a field.
    Truncated,
    /// A length below -1, past the end, or above the limit.
    UnreasonableLength(i32),
    /// A required string or buffer is null.
    Null,
    /// A value outside its range.
    Invalid(&'static str),
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Truncated => write!(f, "the record ends in the middle of a field"),
            Self::UnreasonableLength(n) => write!(f, "unreasonable length {n}"),
            Self::Null => write!(f, "a required field is null"),
            Self::Invalid(what) => write!(f, "{what} is not valid"),
        }
    }
}

impl core::error::Error for DecodeError {}

/// What decoding gives.
pub type Result<T> = core::result::Result<T, DecodeError>;

/// Reads fields in order from a byte slice.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
    max_length: usize,
}

impl<'a> Reader<'a> {
    /// A reader whose strings and buffers are bounded by the slice alone.
    #[must_use]
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            max_length: usize::MAX,
        }
    }

    /// A reader that refuses strings and buffers longer than `max_length` bytes.
    #[must_use]
    pub const fn with_limit(bytes: &'a [u8], max_length: usize) -> Self {
        Self {
            rest: bytes,
            max_length,
        }
    }

    /// Bytes not read yet.
    #[must_use]
    pub const fn remaining(&self) -> &'a [u8] {
        self.rest
    }

    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self
            .rest
            .split_at_checked(n)
            .ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (head, tail) = self
            .rest
            .split_first_chunk::<N>()
            .ok_or(DecodeError::Truncated)?;
        self.rest = tail;
        Ok(*head)
    }

    /// One byte.
    ///
    /// # Errors
    /// At the end of the bytes.
    pub fn u8(&mut self) -> Result<u8> {
        Ok(u8::from_be_bytes(self.array()?))
    }

    /// A boolean: any byte but 0 is true.
    ///
    /// # Errors
    /// At the end of the bytes.
    pub fn bool(&mut self) -> Result<bool> {
        Ok(self.u8()? != 0)
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// At the end of the bytes.
    pub fn i32(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.array()?))
    }

    /// A 64-bit integer.
    ///
    /// # Errors
    /// At the end of the bytes.
    pub fn i64(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.array()?))
    }

    /// A buffer; -1 is null.
    ///
    /// # Errors
    /// When its length is below -1, past the end or above the limit.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>> {
        let length = self.i32()?;
        if length == -1 {
            return Ok(None);
        }
        let n = usize::try_from(length).map_err(|_| DecodeError::UnreasonableLength(length))?;
        if n > self.max_length {
            return Err(DecodeError::UnreasonableLength(length));
        }
        self.take(n).map(Some)
    }

    /// A string; -1 is null. Malformed UTF-8 is replaced as Java's decoder does.
    ///
    /// # Errors
    /// As [`Reader::buffer`].
    pub fn string(&mut self) -> Result<Option<Cow<'a, str>>> {
        Ok(self.buffer()?.map(decode_utf8))
    }

    /// A string that must not be null.
    ///
    /// # Errors
    /// As [`Reader::string`], and [`DecodeError::Null`].
    pub fn required_string(&mut self) -> Result<Cow<'a, str>> {
        self.string()?.ok_or(DecodeError::Null)
    }

    /// The count of a vector; -1 is null, anything below counts as empty. An item has at least
    /// `min_item_size` bytes, so a larger count than the bytes can hold is refused before memory
    /// is reserved for it.
    ///
    /// # Errors
    /// When the count is larger than the bytes can hold.
    pub fn count(&mut self, min_item_size: usize) -> Result<Option<usize>> {
        let count = self.i32()?;
        if count == -1 {
            return Ok(None);
        }
        let Ok(n) = usize::try_from(count) else {
            return Ok(Some(0));
        };
        if n > self.rest.len() / min_item_size.max(1) {
            return Err(DecodeError::UnreasonableLength(count));
        }
        Ok(Some(n))
    }
}

/// Decodes UTF-8 as Java's `new String(bytes, UTF_8)`: an encoded surrogate is one U+FFFD for its
/// three bytes, where Rust's lossy decoding gives three.
#[must_use]
pub fn decode_utf8(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = core::str::from_utf8(bytes) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(bytes.len());
    let mut rest = bytes;
    while let Err(error) = core::str::from_utf8(rest) {
        let (valid, bad) = rest
            .split_at_checked(error.valid_up_to())
            .unwrap_or((rest, &[]));
        text.push_str(core::str::from_utf8(valid).unwrap_or_default());
        text.push('\u{FFFD}');
        let skip = match bad {
            [0xED, 0xA0..=0xBF, 0x80..=0xBF, ..] => 3,
            [0xED, 0xA0..=0xBF, ..] => 2,
            _ => error.error_len().unwrap_or(bad.len()),
        };
        rest = bad.get(skip..).unwrap_or_default();
    }
    text.push_str(core::str::from_utf8(rest).unwrap_or_default());
    Cow::Owned(text)
}

/// Writes one byte of 0 or 1.
pub fn put_bool(out: &mut Vec<u8>, value: bool) {
    out.push(u8::from(value));
}

/// Writes a 32-bit integer.
pub fn put_i32(out: &mut Vec<u8>, value: i32) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes a 64-bit integer.
pub fn put_i64(out: &mut Vec<u8>, value: i64) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes the count of a vector, or the length of a buffer.
///
/// # Panics
/// Beyond 2^31-1, which no packet or file can reach.
pub fn put_count(out: &mut Vec<u8>, count: usize) {
    let count = i32::try_from(count);
    assert!(count.is_ok(), "a jute length fits 31 bits");
    put_i32(out, count.unwrap_or_default());
}

/// Writes a buffer, or null.
pub fn put_buffer(out: &mut Vec<u8>, value: Option<&[u8]>) {
    match value {
        None => put_i32(out, -1),
        Some(bytes) => {
            put_count(out, bytes.len());
            out.extend_from_slice(bytes);
        }
    }
}

/// Writes a string. Java encodes each UTF-16 unit by itself, so a character above U+FFFF becomes
/// two sequences of three bytes (CESU-8).
pub fn put_string(out: &mut Vec<u8>, value: &str) {
    if !has_supplementary(value) {
        put_count(out, value.len());
        out.extend_from_slice(value.as_bytes());
        return;
    }
    let at = out.len();
    put_i32(out, 0);
    for unit in value.encode_utf16() {
        put_utf16_unit(out, unit);
    }
    let length = i32::try_from(out.len() - at - 4).unwrap_or(i32::MAX);
    if let Some(slot) = out.get_mut(at..at + 4) {
        slot.copy_from_slice(&length.to_be_bytes());
    }
}

/// Writes a string, or null.
pub fn put_optional_string(out: &mut Vec<u8>, value: Option<&str>) {
    match value {
        None => put_i32(out, -1),
        Some(text) => put_string(out, text),
    }
}

fn has_supplementary(text: &str) -> bool {
    text.as_bytes().iter().any(|byte| *byte >= 0xF0)
}

fn put_utf16_unit(out: &mut Vec<u8>, unit: u16) {
    let [high, low] = unit.to_be_bytes();
    match unit {
        0..=0x7F => out.push(low),
        0x80..=0x7FF => {
            out.push(0xC0 | (high << 2) | (low >> 6));
            out.push(0x80 | (low & 0x3F));
        }
        _ => {
            out.push(0xE0 | (high >> 4));
            out.push(0x80 | ((high & 0x0F) << 2) | (low >> 6));
            out.push(0x80 | (low & 0x3F));
        }
    }
}

#[cfg(test)]
mod tests;
