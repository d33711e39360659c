//! Transaction logs: `version-2/log.<zxid of the first record>`.
//!
//! ```text
//! file   := "ZKLG" | version i32 = 2 | dbid i64 = 0 | record* | zero padding
//! record := adler32(payload) i64 | length i32 | payload | 0x42
//! payload := header (client i64, cxid i32, zxid i64, time i64, type i32) | body | digest?
//! ```
//!
//! The store looks at nothing in a payload but the zxid of its header.

mod append_file;
pub mod reader;
pub mod record;
pub mod truncate;
pub mod writer;

/// "ZKLG"
pub(crate) const MAGIC: [u8; 4] = *b"ZKLG";
/// Version of the format; written, never checked, as in Apache.
pub(crate) const VERSION: i32 = 2;
/// Length of the file header.
pub const FILE_HEADER_LEN: usize = 16;

/// The header that every log file begins with.
#[must_use]
pub fn file_header() -> [u8; FILE_HEADER_LEN] {
    let mut header = [0; FILE_HEADER_LEN];
    header[..4].copy_from_slice(&MAGIC);
    header[4..8].copy_from_slice(&VERSION.to_be_bytes());
    header
}
