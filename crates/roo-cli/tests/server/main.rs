//! The real binary as a process: what it does where the disk fails it or is slow, and how it
//! starts.
#![allow(missing_docs, clippy::unwrap_used)]

mod client;
mod failing_disk;
mod process;
mod slow_disk;
mod starting;
