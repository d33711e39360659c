//! The clients' side: sockets, packets, and the reads that are served where the socket is.
//!
//! In reading order: [`settings`] what the configuration says; [`connection`] one client's socket
//! and buffers; [`door`] where they connect; [`io_thread`] the loop around the sockets of one thread; [`serving`] what becomes
//! of each packet.

pub mod connection;
pub mod door;
pub mod io_thread;
pub mod serving;
pub mod settings;
pub mod share;
pub mod throttle;
