//! An asynchronous client of ZooKeeper and RooKeeper.
#![forbid(unsafe_code)]

pub mod acls;
mod client;
#[cfg(feature = "driver")]
mod driver;
mod error;
pub mod hosts;
mod hub;
mod multi;
mod options;
pub mod recipes;
pub mod session;
mod state;
mod types;
mod watch;

pub use bytes::Bytes;
pub use roo_proto::acl::{Acl, Id};
pub use roo_proto::error_code::ErrorCode;
pub use roo_proto::ids::{SessionId, Zxid};
pub use roo_proto::stat::Stat;

pub use acls::Permissions;
pub use client::Client;
pub use error::{Error, ErrorKind, Result};
pub use hub::Hub;
pub use multi::{Multi, MultiRead, OpResult, ReadResult};
pub use options::{BackOff, Credentials, Options};
pub use state::{SessionEvents, SessionState};
pub use types::{
    Children, CreateOptions, Created, Node, NodeKind, Quota, QuotaStatus, Reconfig, Version,
};
pub use watch::{EventKind, OneWatch, WatchEnd, WatchEvent, WatchKind, WatchMode, WatchStream};
