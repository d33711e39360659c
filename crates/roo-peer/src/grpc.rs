//! The transport of production: one gRPC service, one bidirectional stream per connection.
//!
//! Each server dials every other one for a stream that carries its own notifications, and a
//! learner dials its leader for a link; all arrive at one port. A connection carries one stream,
//! so that what one link cannot take never holds up another, and the end of a stream is the end
//! of its connection. docs/internals/peer-wire.md has the frames.
//!
//! In reading order: `listen`, `accept` and `dial` make streams; `elections` and `link` use them;
//! `encode` and `decode` are the border to protobuf.

mod accept;
mod decode;
mod dial;
mod elections;
mod encode;
#[rustfmt::skip]
#[allow(clippy::all, clippy::pedantic, missing_docs, unreachable_pub, unnameable_types, unused_qualifications)]
mod generated;
mod link;
mod listen;
mod preface;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use parking_lot::Mutex;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;
use roo_replica::peer_message::PeerMessage;
use roo_zab::Notification;
use roo_zab::effect::CloseReason;
use roo_zab::message::LinkId;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::complaints::Complaints;
use crate::handshake::Local;
use crate::parameters::{
    BATCH_BYTES, FLUSH, MAX_CONNECTIONS, MAX_STRANGERS, Parameters, PeerTls, STALE_PAUSE,
};
use crate::registry::Registry;
use crate::surface::{LinkGone, PeerEvents, PeerLinks};

use elections::Elections;
use listen::Listeners;

/// Threads for the links, at most. With two of them on two cores each packet wakes both: one gave
/// 9 % more writes per CPU-second of three servers (50 connections x depth 10).
const MAX_WORKERS: usize = 2;
/// The longest frame of HTTP/2: bulk needs few of them.
const HTTP_FRAME_BYTES: u32 = 256 << 10;
/// Threads for resolving names.
const BLOCKING: usize = 8;

/// The links of one server. Dropping it is [`PeerLinks::shutdown`].
pub struct GrpcLinks {
    shared: Arc<Shared>,
    runtime: Mutex<Option<Runtime>>,
}

/// What all tasks share.
struct Shared {
    parameters: Parameters,
    tls: Option<PeerTls>,
    local: Mutex<Local>,
    registry: Registry,
    complaints: Complaints,
    events: Arc<dyn PeerEvents>,
    elections: Elections,
    /// Leaders of an epoch that is too old, and until when they are left alone.
    stale: Mutex<BTreeMap<ServerId, Instant>>,
    listeners: tokio::sync::Mutex<Listeners>,
    strangers: Arc<Semaphore>,
    connections: Arc<Semaphore>,
    /// Nothing new is begun.
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why the links could not be made ready.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The threads could not be started.
    #[error("start the threads for links between servers: {0}")]
    Threads(#[source] std::io::Error),
    /// This server is not in its own ensemble.
    #[error("server {0} is not among the server.N lines: add server.{0}, or correct the myid file")]
    NotAMember(i64),
    /// Nobody could reach this server.
    #[error(
        "listen on {host}:{port} for other servers: {source}; correct the server line of this \
         server, end the program that has the port, or set quorumListenOnAllIPs=true"
    )]
    Bind {
        /// As configured.
        host: String,
        /// As configured.
        port: u16,
        /// Of the last attempt.
        source: std::io::Error,
    },
}

impl GrpcLinks {
    /// Listens, and begins to dial the other members. Blocks while binding is tried again.
    ///
    /// # Errors
    ///
    /// See [`StartError`].
    pub fn start(
        parameters: Parameters,
        ensemble: &Ensemble,
        tls: Option<PeerTls>,
        events: Arc<dyn PeerEvents>,
    ) -> Result<Self, StartError> {
        let number = AtomicUsize::new(0);
        let cores = thread::available_parallelism().map_or(1, NonZero::get);
        let runtime = Builder::new_multi_thread()
            .worker_threads((cores / 2).clamp(1, MAX_WORKERS))
            .max_blocking_threads(BLOCKING)
            .thread_name_fn(move || format!("roo-peer-{}", number.fetch_add(1, Ordering::Relaxed)))
            .enable_io()
            .enable_time()
            .build()
            .map_err(StartError::Threads)?;
        let shared = Arc::new(Shared {
            local: Mutex::new(Local {
                id: parameters.id,
                software: parameters.software.clone(),
                joiners: parameters.joiners,
                identity: None,
                ensemble: ensemble.clone(),
            }),
            tls,
            registry: Registry::new(Arc::clone(&events), &parameters),
            complaints: Complaints::new(Arc::clone(&events)),
            events,
            elections: Elections::default(),
            stale: Mutex::default(),
            listeners: tokio::sync::Mutex::default(),
            strangers: Arc::new(Semaphore::new(MAX_STRANGERS)),
            connections: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            parameters,
        });
        runtime.block_on(listen::first(&shared, ensemble))?;
        let links = Self {
            shared,
            runtime: Mutex::new(Some(runtime)),
        };
        links.with_runtime(|| elections::dial_members(&links.shared, ensemble));
        Ok(links)
    }

    /// Where this server listens for the others.
    pub fn local_addresses(&self) -> Vec<SocketAddr> {
        let handle = self.runtime.lock().as_ref().map(|r| r.handle().clone());
        handle.map_or_else(Vec::new, |handle| {
            handle.block_on(async { self.shared.listeners.lock().await.addresses() })
        })
    }

    /// Tasks can be begun inside, unless the links are shut down.
    fn with_runtime(&self, work: impl FnOnce()) {
        let runtime = self.runtime.lock();
        if let Some(runtime) = runtime.as_ref() {
            let _entered = runtime.enter();
            work();
        }
    }
}

impl Shared {
    /// The longest gRPC message: a batch, or one long message.
    fn max_frame_bytes(&self) -> usize {
        self.parameters.max_message_bytes.max(BATCH_BYTES) + 1024
    }
}

impl PeerLinks for GrpcLinks {
    fn set_ensemble(&self, ensemble: &Ensemble) {
        self.shared.local.lock().ensemble = ensemble.clone();
        self.with_runtime(|| {
            elections::dial_members(&self.shared, ensemble);
            listen::follow(&self.shared, ensemble);
        });
    }

    fn set_identity(&self, identity: u64) {
        self.shared.local.lock().identity = Some(identity);
    }

    fn notify(&self, to: ServerId, notification: Notification) {
        self.shared.elections.notify(to, notification);
    }

    fn open(&self, id: LinkId, to: ServerId) {
        let link = self.shared.registry.dial(id, to, &self.shared.parameters);
        self.with_runtime(|| {
            self.shared
                .tasks
                .spawn(link::dial(Arc::clone(&self.shared), link));
        });
    }

    fn send(&self, link: LinkId, message: PeerMessage) {
        self.shared.registry.send(link, message);
    }

    fn send_bulk(&self, link: LinkId, message: PeerMessage) -> Result<(), LinkGone> {
        self.shared.registry.send_bulk(link, message)
    }

    fn wait_for_room(&self, link: LinkId) -> Result<(), LinkGone> {
        self.shared.registry.wait_for_room(link)
    }

    fn close(&self, link: LinkId, why: CloseReason) {
        // Zab elects the same leader at once, and it is as old as before.
        if why == CloseReason::StaleEpoch
            && let Some(peer) = self.shared.registry.peer(link)
        {
            let until = Instant::now() + STALE_PAUSE;
            self.shared.stale.lock().insert(peer, until);
        }
        self.shared.registry.close(link, &format!("{why:?}"));
    }

    fn shutdown(&self) {
        let Some(runtime) = self.runtime.lock().take() else {
            return;
        };
        self.shared.registry.close_all("the server shuts down");
        self.shared.stop.cancel();
        self.shared.tasks.close();
        if Handle::try_current().is_ok() {
            // Dropped by one of its own threads, which cannot wait for itself.
            runtime.shutdown_background();
            return;
        }
        let all_ended = runtime
            .block_on(async { tokio::time::timeout(2 * FLUSH, self.shared.tasks.wait()).await });
        if all_ended.is_err() {
            tracing::debug!("links between servers are cut off");
        }
        runtime.shutdown_background();
    }
}

impl Drop for GrpcLinks {
    fn drop(&mut self) {
        self.shutdown();
    }
}
