//! The server as a process: what it does where the disk fails it or is slow, and how it starts.

mod client;
mod failing_disk;
mod slow_disk;
mod starting;
