//! The words on every wire and disk: jute records, requests, replies, transactions.
//!
//! Pure: no clock, file, socket or thread can be named here. In reading order:
//! [`ids`], [`acl`], [`stat`], [`error_code`], [`op_code`] are the vocabulary; [`jute`] the only
//! place that knows jute's rules; [`frame`] the four-byte length in front of each packet;
//! [`connect`] the handshake; [`request`] and [`reply`] what clients ask and get; [`txn`] what
//! the leader decided; [`path`] the rules of znode paths; [`ensemble`] which servers belong together;
//! [`properties`] the syntax of configuration files; [`room`] the memory of what does not stay.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::indexing_slicing, clippy::wildcard_enum_match_arm)]
#![cfg_attr(test, allow(clippy::indexing_slicing))]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod acl;
pub mod connect;
pub mod ensemble;
pub mod error_code;
pub mod frame;
pub mod ids;
pub mod jute;
pub mod op_code;
pub mod path;
pub mod properties;
pub mod reply;
pub mod request;
pub mod room;
pub mod stat;
pub mod txn;
