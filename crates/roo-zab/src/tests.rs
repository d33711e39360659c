//! Whole servers over a network and disks that are simulated in the test.

mod garbage;
mod harness;
mod leading;
mod random;
#[cfg(feature = "rebreak")]
mod rebreak;
mod transcripts;
