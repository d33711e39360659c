//! Tests against real, foreign peers: clients and servers of Apache ZooKeeper.
#![allow(clippy::print_stdout)] // What it prints is its report.

pub mod abuse;
pub mod apache;
pub mod bench;
pub mod book;
pub mod chaos;
pub mod clients;
pub mod diff;
pub mod ensemble;
pub mod ensemble_errors;
pub mod exchange;
pub mod instructions;
pub mod ops;
pub mod proxy;
pub mod quorums;
pub mod reads;
pub mod recipes;
pub mod reconfig;
pub mod servers;
pub mod session;
pub mod suites;
pub mod wire;
