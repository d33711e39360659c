//! What fuzzing runs: one function for each place where RooKeeper reads bytes that others wrote.
//! A defect is a panic, an allocation out of all proportion, or an answer that never comes.
//!
//! `fuzz/` makes a libFuzzer program of each; the tests here run each over its seeds in
//! `fuzz/corpus`, so that what was once found stays found. Adding a target: a function, a line in
//! [`TARGETS`], a file in `fuzz/fuzz_targets` with its `[[bin]]`, a folder of seeds.
//!
//! In reading order: [`wire`] what clients send, [`text`] what people write, [`files`] what is in
//! the data directory, [`session`] a whole server without sockets and files.

pub mod files;
pub mod session;
pub mod text;
pub mod wire;

/// A target: takes any bytes, and panics where the code under it has a defect.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its seeds' folder.
pub const TARGETS: &[(&str, Target)] = &[
    ("client_packets", wire::client_packets),
    ("connect_request", wire::connect_request),
    ("first_bytes", wire::first_bytes),
    ("zoo_cfg", text::zoo_cfg),
    ("dynamic_config", text::dynamic_config),
    ("acl_and_path", text::acl_and_path),
    ("log_record", files::log_record),
    ("log_file", files::log_file),
    ("log_replay", files::log_replay),
    ("snapshot_file", files::snapshot_file),
    ("snapshot_body", files::snapshot_body),
    ("session", session::session),
];

/// Takes `n` bytes off the front; fewer at the end.
pub(crate) fn take<'b>(bytes: &mut &'b [u8], n: usize) -> &'b [u8] {
    let (front, rest) = bytes.split_at(n.min(bytes.len()));
    *bytes = rest;
    front
}

/// Takes a length of two bytes, and that many bytes.
pub(crate) fn take_chunk<'b>(bytes: &mut &'b [u8]) -> &'b [u8] {
    let length = take(bytes, 2)
        .iter()
        .fold(0, |sum, byte| sum << 8 | usize::from(*byte));
    take(bytes, length)
}

#[cfg(test)]
mod tests;
