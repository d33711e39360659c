//! The recipes against a server of ours: many sessions, sessions that are killed, connections that
//! break at awkward moments.
#![allow(missing_docs, clippy::unwrap_used)]

mod caches;
mod locks;
mod numbers;
mod others;
mod queues;
mod relay;
mod stage;
