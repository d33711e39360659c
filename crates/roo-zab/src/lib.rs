//! One server's half of Zab 1.0: leader election, discovery, synchronisation and broadcast.
//!
//! Pure: no clock, file, socket or thread can be named here, and a transaction is opaque bytes
//! with a zxid. The shell feeds [`Event`]s to [`Zab::handle`] and executes the [`Effect`]s it
//! gets, in order and at once: whatever depends on the disk is emitted only after the event that
//! reports it.
//!
//! In reading order: [`event`], [`effect`] and [`message`] are the whole interface; [`config`]
//! what the operator wants and what the disk held at start; [`zab`] the machine and its roles;
//! `server` what a server is in every role, `durable` its history and what is on the way to the
//! disk, `membership` its ensembles; `election`, `leader` and `learner` the roles; `history` how
//! a learner is brought up to date; [`quorum`] the maths; [`status`] what the outside may know;
//! [`rebreak`] bugs for tests.
#![no_std]
#![forbid(unsafe_code)]
#![deny(clippy::wildcard_enum_match_arm)]
extern crate alloc;
#[cfg(test)]
extern crate std;

pub mod config;
mod durable;
pub mod effect;
mod election;
pub mod event;
mod history;
mod leader;
mod learner;
mod membership;
pub mod message;
pub mod quorum;
pub mod rebreak;
mod reconfig_view;
mod server;
pub mod status;
pub mod zab;

pub use config::{Config, Recovered};
pub use effect::{Effect, Role};
pub use event::Event;
pub use message::{Message, Notification, Proposal};
pub use status::Status;
pub use zab::Zab;

#[cfg(test)]
mod tests;
