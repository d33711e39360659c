//! Tests against real, foreign peers: clients and servers of Apache ZooKeeper.

pub mod apache;
pub mod bench;
pub mod diff;
pub mod exchange;
pub mod servers;
pub mod wire;
