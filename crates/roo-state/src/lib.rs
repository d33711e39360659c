//! The deterministic state machine: what a sequence of transactions makes of the znode tree, and
//! what clients read of it.
//!
//! Pure: no clock, file, socket or thread can be named here.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;
