//! Tests against real, foreign peers: clients and servers of Apache ZooKeeper.

pub mod apache;
pub mod bench;
pub mod clients;
pub mod diff;
pub mod exchange;
pub mod proxy;
pub mod servers;
pub mod wire;
