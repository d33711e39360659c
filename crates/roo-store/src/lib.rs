//! The data directory, byte-compatible with Apache ZooKeeper's: transaction logs, snapshots,
//! epochs, the lock.
//!
//! What a transaction or a snapshot means is not known here: both are bytes with a zxid.
//!
//! In reading order: [`disk`] is the seam to the file system ([`sim_disk`] one that forgets what
//! was not synced); [`file_name`] what the files are called; [`log`] and [`snapshot_file`] what
//! is in them; [`data_dir`] where they are and who may use them; [`recovery`] which of them to
//! start from; [`rewind`] how a part of the history is given up; [`history`] how another server
//! gets a part of it; [`epoch_file`] which leaders it belongs to; [`retention`] which files are no longer needed; [`error`] how all of it fails.

mod aligned_buffer;
pub mod data_dir;
pub mod disk;
pub mod epoch_file;
pub mod error;
pub mod file_name;
pub mod history;
pub mod log;
pub mod recovery;
pub mod retention;
pub mod rewind;
pub mod sim_disk;
pub mod snapshot_file;
