//! From the other servers' links to the replica's inbox. The slices of a snapshot go past the
//! replica, to whoever installs it.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};

use parking_lot::Mutex;
use roo_peer::{PeerEvent, PeerEvents, Permit};
use roo_proto::ids::ServerId;
use roo_replica::event::Event;
use roo_replica::peer_message::PeerMessage;
use roo_zab::message::LinkId;

use crate::peer_table::Refusal;
use crate::shared_state::{Input, Shared};
use crate::stats::Counters;

/// A slice, or the end of a snapshot, with the room it takes in its link's window.
#[derive(Debug)]
pub struct SlicePart {
    /// [`PeerMessage::Slice`] or [`PeerMessage::SliceEnd`].
    pub message: PeerMessage,
    /// Given back when the part is written.
    pub permit: Permit,
}

/// The slices of one link that nobody has taken yet.
#[derive(Debug)]
struct Slices {
    sender: Sender<SlicePart>,
    receiver: Option<Receiver<SlicePart>>,
}

impl Slices {
    fn new() -> Self {
        // Limit: what is in this channel is bounded by the link's window.
        let (sender, receiver) = mpsc::channel();
        Self {
            sender,
            receiver: Some(receiver),
        }
    }
}

/// See the module.
pub struct PeerInbox {
    shared: Arc<Shared>,
    slices: Mutex<HashMap<LinkId, Slices>>,
}

impl PeerInbox {
    /// The way into the inbox of this server.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            slices: Mutex::default(),
        }
    }

    /// Where the slices of a link arrive; `None` if somebody has taken them already.
    pub fn take_slices(&self, link: LinkId) -> Option<Receiver<SlicePart>> {
        let mut slices = self.slices.lock();
        let of_link = slices.entry(link).or_insert_with(Slices::new);
        of_link.receiver.take()
    }

    /// No more slices come: whoever waits for them hears of it.
    pub fn end_slices(&self, link: LinkId) {
        self.slices.lock().remove(&link);
    }

    fn slice(&self, link: LinkId, part: SlicePart) {
        let mut slices = self.slices.lock();
        let of_link = slices.entry(link).or_insert_with(Slices::new);
        if of_link.sender.send(part).is_err() {
            tracing::debug!(?link, "a slice of a snapshot that was given up");
        }
    }

    fn reached(&self, peer: ServerId, reachable: bool) {
        let now = self.shared.clock.now();
        self.shared.peers.lock().reached(peer, reachable, now);
    }

    fn push(&self, event: Event, permit: Option<Permit>) {
        self.shared.inbox.push(Input::Peer { event, permit });
    }
}

impl PeerEvents for PeerInbox {
    fn deliver(&self, event: PeerEvent) {
        let event = match event {
            PeerEvent::Received {
                link,
                message,
                permit,
            } => {
                if matches!(
                    message,
                    PeerMessage::Slice { .. } | PeerMessage::SliceEnd { .. }
                ) {
                    self.slice(link, SlicePart { message, permit });
                } else {
                    self.push(Event::Received { link, message }, Some(permit));
                }
                return;
            }
            PeerEvent::Reachable { peer } => {
                self.reached(peer, true);
                roo_zab::Event::Reachable { peer }
            }
            PeerEvent::Unreachable { peer } => {
                self.reached(peer, false);
                roo_zab::Event::Unreachable { peer }
            }
            PeerEvent::Notified {
                from,
                notification,
                permit,
            } => {
                let event = roo_zab::Event::Notified { from, notification };
                self.push(Event::Zab(event), Some(permit));
                return;
            }
            PeerEvent::LinkAccepted { link, peer } => roo_zab::Event::LinkAccepted { link, peer },
            PeerEvent::LinkOpened { link } => roo_zab::Event::LinkOpened { link },
            PeerEvent::LinkClosed { link } => {
                self.end_slices(link);
                roo_zab::Event::LinkClosed { link }
            }
            // The transport has logged it.
            PeerEvent::Refused { peer, reason, text } => {
                let at = self.shared.clock.now();
                let refusal = Refusal { reason, text, at };
                if !self.shared.peers.lock().refused(peer, refusal) {
                    Counters::inc(&self.shared.stats.counters.refused_peers);
                }
                return;
            }
        };
        self.push(Event::Zab(event), None);
    }
}
