//! The words on every wire and disk: jute records, requests, replies, transactions.
//!
//! Pure: no clock, file, socket or thread can be named here.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod ids;
