//! An asynchronous client of ZooKeeper and RooKeeper: typed operations, watches as streams, sessions
//! that survive their connections, and recipes made of them.
//!
//! ```no_run
//! use roo_client::{Client, EventKind, NodeKind, Options, Version};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("zk1:2181,zk2:2181,zk3:2181/app", Options::default()).await?;
//! client.create_parents("/config/limits").await?;
//! client.create("/config/limits", "100", NodeKind::Persistent).await?;
//!
//! let (node, changed) = client.get_and_watch("/config/limits").await?;
//! client.set("/config/limits", "200", node.stat.version).await?;
//! assert_eq!(changed.await?.kind, EventKind::DataChanged);
//!
//! match client.set("/config/limits", "300", node.stat.version).await {
//!     Err(error) if error.outcome_unknown() => println!("perhaps: {error}"),
//!     Err(error) if error.is_retryable() => println!("again later: {error}"),
//!     Err(error) => println!("no: {error}"),
//!     Ok(stat) => println!("version {}", stat.version),
//! }
//! client.close().await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What to know
//!
//! - A [`Client`] is one session; clone it freely. Any number of calls may be under way, and they
//!   are answered in the order in which they were first polled.
//! - When the connection is lost the client finds another server by itself and the session goes
//!   on, if it is found in time. Reads wait and are made again; a write that was under way fails,
//!   and [`Error::outcome_unknown`] says that it may have been made. [`Client::session_events`]
//!   tells of losses: whoever holds a lock should stop relying on it at
//!   [`SessionState::Disconnected`], and must at [`SessionState::Expired`].
//! - Watches are futures ([`OneWatch`]) and streams ([`WatchStream`]). Both live through
//!   reconnections; a stream tells of one by [`EventKind::Gap`], because what happened meanwhile is
//!   not told.
//! - Dropping a future, a watch or a stream is always safe. A call that was sent still takes effect.
//! - [`Multi`] makes changes together; [`acls`] has the usual access control lists.
//!
//! # Servers
//!
//! Everything works with RooKeeper and with Apache ZooKeeper 3.5 to 3.9 as far as the server knows
//! the operation; what is younger than 3.5 says so. Tests run every call against Apache 3.9.5, a
//! RooKeeper server and an ensemble of three. There is no TLS and no SASL.
//!
//! # Features
//!
//! | feature | default | what it does |
//! |---|---|---|
//! | `driver` | yes | [`Client::connect`]: sockets and timers on tokio; without it [`Client::detached`] alone, for drivers of other runtimes and for simulation |
//! | `dns-srv` | no | connect strings `dns-srv://name`, by hickory-resolver |
//!
//! # Modules, in reading order
//!
//! [`Client`] and its operations; [`hosts`] reads connect strings; [`session`] is the machine that
//! decides everything and does nothing; [`Hub`] the seam between callers and whoever drives the
//! machine; [`recipes`] coordination made of the public operations.
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
