//! The client against a server in the same process, and against what is none.
#![allow(clippy::unwrap_used)]

mod alone;
mod connection;
#[path = "../../examples/first_steps.rs"]
mod first_steps;
#[cfg(feature = "dns-srv")]
mod names;
mod operations;
mod read_only;
mod server;
mod together;
mod watches;
