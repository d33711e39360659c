//! One server's half of Zab 1.0: leader election, discovery, synchronisation and broadcast.
//!
//! Pure: no clock, file, socket or thread can be named here, and a transaction is opaque bytes
//! with a zxid. The shell feeds [`Event`]s to [`Zab::handle`] and executes the [`Effect`]s it
//! gets, in order and at once: whatever depends on the disk is emitted only after the event that
//! reports it.
//!
//! In reading order: [`event`], [`effect`] and [`message`] are the whole interface; [`config`]
//! what the operator wants and what the disk held at start.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
pub mod effect;
pub mod event;
pub mod message;

pub use effect::Effect;
pub use event::Event;
pub use message::{Message, Notification, Proposal};
