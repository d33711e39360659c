//! The recipes against a server of ours: many sessions, sessions that are killed, connections that
//! break at awkward moments.
// A test is one future of many steps, and is polled where it is made.
#![allow(missing_docs, clippy::unwrap_used, clippy::large_futures)]

mod caches;
mod locks;
mod numbers;
mod others;
mod queues;
mod relay;
mod stage;
