//! The deterministic state machine: what a sequence of transactions makes of the znode tree, and
//! what clients read of it.
//!
//! Pure: no clock, file, socket or thread can be named here. In reading order: [`tree`] holds the
//! znodes, with their lists in [`acl_table`]; [`state`] adds the sessions; [`access`] says who may
//! do what; [`prepare`], with [`pending`], makes a transaction of a request and [`apply`] changes
//! the state by it; [`quota`] and [`expiry`] are rules of both; [`read`] serves what only reads,
//! [`watch`] tells who wants to hear of changes; [`digest`] and [`snapshot`] are what files need.
#![no_std]
#![forbid(unsafe_code)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod access;
pub mod acl_table;
pub mod apply;
pub mod digest;
pub mod expiry;
pub mod pending;
pub mod prepare;
pub mod quota;
pub mod read;
pub mod snapshot;
pub mod state;
pub mod tree;
pub mod watch;
