//! One server without its sockets and files: what becomes of each request, which sessions live,
//! when the log is durable enough to apply and answer.
//!
//! Pure: no clock, file, socket or thread can be named here. The shell feeds [`event::Event`]s to
//! [`Replica::handle`], executes the [`effect::Effect`]s it gets, in order and at once, and calls
//! [`Replica::commit`] with the state for writing when there is something to apply.
//!
//! In reading order: [`event`] and [`effect`] are the whole interface, [`peer_message`] what goes
//! to other servers; [`replica`] where each event goes; `intake` what clients ask, by role,
//! and `local_sessions` what a server keeps to itself;
//! `write_path` the way of a write from request to reply; [`read_path`] the reads that must
//! wait, and [`questions`] how threads that serve reads ask for the leader's word; `peers` Zab, the other replicas and changes of role; `requests` how much
//! learners may ask; [`sessions`] the clock of every
//! session; [`snapshotting`] when a snapshot is due; [`reaper`] when containers and expired nodes
//! are collected.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod effect;
pub mod event;
mod intake;
mod local_sessions;
pub mod peer_message;
mod peers;
pub mod questions;
pub mod read_path;
pub mod reaper;
pub mod replica;
mod requests;
pub mod sessions;
pub mod snapshotting;
mod write_path;

pub use replica::{Config, LocalSessions, Replica, Role};

#[cfg(test)]
mod tests;
