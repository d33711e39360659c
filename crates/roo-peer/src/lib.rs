//! The links between the servers of an ensemble: who dials whom, how both prove that they mean
//! each other, and how everything that waits is bounded. What the servers say is the business of
//! `roo-zab` and `roo-replica`; this crate moves it and never looks into it.
//!
//! In reading order: [`surface`] is what the server sees; [`parameters`] what the operator can
//! set; `handshake` who may speak to whom; `queue` and `registry` what both transports share;
//! [`grpc`] the transport of production; [`memory`] that of tests.

mod complaints;
pub mod grpc;
mod handshake;
pub mod memory;
pub mod parameters;
mod queue;
mod registry;
pub mod surface;
mod weight;

pub use parameters::{Joiners, Listen, Parameters, PeerTls};
pub use surface::{LinkGone, PeerEvent, PeerEvents, PeerLinks, Permit, RefusalReason};
