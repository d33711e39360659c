//! `roo` as people and scripts use it: the real binary against real servers.
#![allow(missing_docs, clippy::unwrap_used)]

mod coordination;
mod ensemble;
mod faults;
mod mirror;
mod server;
mod shell;
mod support;
mod top;
