//! The server: sockets, threads, files and configuration around the replica.
//!
//! In reading order: [`config`] what the operator wants; [`node`] the composition root and
//! [`member`] what it adds in an ensemble; [`replica_loop`] the loop around the replica;
//! [`loading`] from files to a state; [`shared_state`] the one lock and its rules; [`client`] the
//! clients' sockets and the reads; [`dispatcher`] from applied transactions to the clients;
//! [`storage_thread`] with [`group_commit`] and [`snapshot_thread`] the disk; [`peer_inbox`],
//! [`peer_table`], [`backlog`] and [`resync`] what comes from other servers and goes to them;
//! [`auth`] who clients are; [`admin`] what operators ask; [`stats`] with [`histogram`], [`limits`], [`clock`] and [`queue`] what all
//! of them use.

pub mod admin;
pub mod auth;
pub mod backlog;
pub mod client;
pub mod clock;
pub mod config;
pub mod dispatcher;
mod fatal;
pub mod gather;
pub mod group_commit;
pub mod histogram;
pub mod limits;
pub mod loading;
pub mod member;
pub mod node;
pub mod peer_inbox;
pub mod peer_table;
pub mod queue;
pub mod replica_loop;
pub mod resync;
pub mod shared_state;
pub mod snapshot_thread;
pub mod stats;
pub mod storage_thread;
