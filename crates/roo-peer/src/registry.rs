//! The links of a server: their names, their queues, and the rule that each ends with one
//! `LinkClosed`, or with none if the server closed it itself.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use roo_proto::ids::ServerId;
use roo_replica::peer_message::PeerMessage;
use roo_zab::message::LinkId;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::parameters::Parameters;
use crate::queue::{Full, NoRoom, SendQueue};
use crate::surface::{LinkGone, PeerEvent, PeerEvents, Permit};
use crate::weight;

/// One end of a link.
pub(crate) struct Link {
    pub(crate) id: LinkId,
    pub(crate) peer: ServerId,
    pub(crate) queue: SendQueue,
    /// This server has closed it: what waits is flushed, what comes is dropped.
    pub(crate) closing: CancellationToken,
    /// It is broken: nothing will come or go.
    pub(crate) gone: CancellationToken,
    room: Arc<Semaphore>,
    receive_bytes: usize,
    live: AtomicBool,
}

pub(crate) struct Registry {
    events: Arc<dyn PeerEvents>,
    links: Mutex<HashMap<LinkId, Arc<Link>>>,
    next_accepted: AtomicU64,
    max_message_bytes: usize,
    bulk_patience: Duration,
}

/// Why receiving had to stop.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Stopped {
    Closing,
    Gone,
}

impl Link {
    fn new(id: LinkId, peer: ServerId, parameters: &Parameters) -> Self {
        let receive_bytes = parameters
            .receive_bytes
            .clamp(1, u32::MAX as usize)
            .min(Semaphore::MAX_PERMITS);
        Self {
            id,
            peer,
            queue: SendQueue::new(parameters.send_queue_bytes, parameters.bulk_bytes),
            closing: CancellationToken::new(),
            gone: CancellationToken::new(),
            room: Arc::new(Semaphore::new(receive_bytes)),
            receive_bytes,
            live: AtomicBool::new(true),
        }
    }
}

impl Registry {
    pub(crate) fn new(events: Arc<dyn PeerEvents>, parameters: &Parameters) -> Self {
        Self {
            events,
            links: Mutex::default(),
            next_accepted: AtomicU64::new(1),
            max_message_bytes: parameters.max_message_bytes,
            bulk_patience: parameters.bulk_patience,
        }
    }

    pub(crate) fn dial(&self, id: LinkId, peer: ServerId, parameters: &Parameters) -> Arc<Link> {
        assert!(
            id.0.is_multiple_of(2),
            "dialled links have even ids: {id:?}"
        );
        let link = Arc::new(Link::new(id, peer, parameters));
        let old = self.links.lock().insert(id, Arc::clone(&link));
        assert!(old.is_none(), "the id of a link is used twice: {id:?}");
        link
    }

    pub(crate) fn opened(&self, link: &Link) {
        if link.live.load(Ordering::Acquire) {
            self.events.deliver(PeerEvent::LinkOpened { link: link.id });
        }
    }

    pub(crate) fn accept(&self, peer: ServerId, parameters: &Parameters) -> Arc<Link> {
        let id = LinkId(self.next_accepted.fetch_add(2, Ordering::Relaxed));
        let link = Arc::new(Link::new(id, peer, parameters));
        self.links.lock().insert(id, Arc::clone(&link));
        self.events
            .deliver(PeerEvent::LinkAccepted { link: id, peer });
        link
    }

    /// Hands messages over, as soon as there is room for them all.
    pub(crate) async fn receive(
        &self,
        link: &Link,
        messages: Vec<PeerMessage>,
    ) -> Result<(), Stopped> {
        let bytes = messages.iter().map(weight::of).sum::<usize>();
        let bytes = u32::try_from(bytes.min(link.receive_bytes)).unwrap_or(u32::MAX);
        let room = Arc::clone(&link.room).acquire_many_owned(bytes);
        let mut room = tokio::select! {
            biased;
            () = link.closing.cancelled() => return Err(Stopped::Closing),
            () = link.gone.cancelled() => return Err(Stopped::Gone),
            room = room => room.map_err(|_| Stopped::Gone)?,
        };
        for message in messages {
            let part = weight::of(&message).min(room.num_permits());
            let Some(permit) = room.split(part) else {
                return Err(Stopped::Gone);
            };
            if !link.live.load(Ordering::Acquire) {
                return Err(Stopped::Closing);
            }
            self.events.deliver(PeerEvent::Received {
                link: link.id,
                message,
                permit: Permit::new(permit),
            });
        }
        Ok(())
    }

    /// The transport has lost the link.
    pub(crate) fn lose(&self, link: &Link) {
        link.queue.abandon();
        self.report_end(link);
    }

    /// The transport gives the link up and tells the peer why.
    pub(crate) fn give_up(&self, link: &Link, why: String) {
        link.queue.cut(why);
        self.report_end(link);
    }

    fn report_end(&self, link: &Link) {
        let known = self.links.lock().remove(&link.id).is_some();
        link.live.store(false, Ordering::Release);
        if known {
            self.events.deliver(PeerEvent::LinkClosed { link: link.id });
        }
    }

    /// At whose end a link is.
    pub(crate) fn peer(&self, id: LinkId) -> Option<ServerId> {
        self.link(id).map(|link| link.peer)
    }

    fn link(&self, id: LinkId) -> Option<Arc<Link>> {
        self.links.lock().get(&id).map(Arc::clone)
    }

    pub(crate) fn send(&self, id: LinkId, message: PeerMessage) {
        let Some(link) = self.link(id) else {
            return;
        };
        if !self.fits(&link, &message) {
            return;
        }
        if let Err(Full::Over(bytes)) = link.queue.push(message) {
            // Only the transport's threads report events: its task sees the token.
            tracing::warn!(
                "server {} does not take what is sent to it: {bytes} bytes wait; link {} is closed",
                link.peer.0,
                id.0
            );
            link.queue.cut("the send queue is full".into());
            link.gone.cancel();
        }
    }

    pub(crate) fn send_bulk(&self, id: LinkId, message: PeerMessage) -> Result<(), LinkGone> {
        let link = self.link(id).ok_or(LinkGone)?;
        if !self.fits(&link, &message) {
            return Err(LinkGone);
        }
        let pushed = link.queue.push_bulk(message, self.bulk_patience);
        self.given_up(&link, pushed)
    }

    pub(crate) fn wait_for_room(&self, id: LinkId) -> Result<(), LinkGone> {
        let link = self.link(id).ok_or(LinkGone)?;
        let waited = link.queue.wait_for_room(self.bulk_patience);
        self.given_up(&link, waited)
    }

    /// A peer that takes nothing must not hold the sender up, nor what it keeps for the peer.
    fn given_up(&self, link: &Link, result: Result<(), NoRoom>) -> Result<(), LinkGone> {
        if result == Err(NoRoom::Stuck) {
            tracing::warn!(
                "server {} has taken nothing of what is sent to it for {:?}; link {} is closed",
                link.peer.0,
                self.bulk_patience,
                link.id.0
            );
            link.queue.cut("nothing is taken".into());
            link.gone.cancel();
        }
        result.map_err(|_| LinkGone)
    }

    fn fits(&self, link: &Link, message: &PeerMessage) -> bool {
        let bytes = weight::of(message);
        if bytes <= self.max_message_bytes {
            return true;
        }
        tracing::error!(
            "a message of {bytes} bytes for server {} is longer than {}; link {} is closed: raise \
             jute.maxbuffer on all servers",
            link.peer.0,
            self.max_message_bytes,
            link.id.0
        );
        link.queue.cut("a message is too long".into());
        link.gone.cancel();
        false
    }

    /// The server closes a link.
    pub(crate) fn close(&self, id: LinkId, why: &str) {
        if let Some(link) = self.links.lock().remove(&id) {
            close(&link, why);
        }
    }

    pub(crate) fn close_all(&self, why: &str) {
        for (_, link) in self.links.lock().drain() {
            close(&link, why);
        }
    }
}

fn close(link: &Link, why: &str) {
    link.live.store(false, Ordering::Release);
    link.queue.close(why.to_owned());
    link.closing.cancel();
}
