//! From the other servers' links to the replica's inbox. The slices of a snapshot go past the
//! replica, to whoever installs it.

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

/// The way of slices past the replica. Only the leader's link brings any, which this server has
/// dialled; of those there is one at a time.
#[derive(Debug, Default)]
pub struct SliceWay(Mutex<Option<Open>>);

#[derive(Debug)]
struct Open {
    link: LinkId,
    sender: Sender<SlicePart>,
    /// Until somebody takes it.
    receiver: Option<Receiver<SlicePart>>,
}

impl SliceWay {
    /// A link that was dialled is open. Its id is higher than that of any before.
    fn open(&self, link: LinkId) {
        let mut open = self.0.lock();
        if open.as_ref().is_none_or(|older| older.link < link) {
            // Limit: what is in this channel is bounded by the link's window.
            let (sender, receiver) = mpsc::channel();
            *open = Some(Open {
                link,
                sender,
                receiver: Some(receiver),
            });
        }
    }

    /// Where the slices of a link arrive; `None` if the link is gone, or somebody has taken them
    /// already.
    pub fn take(&self, link: LinkId) -> Option<Receiver<SlicePart>> {
        let mut open = self.0.lock();
        let of_link = open.as_mut().filter(|open| open.link == link);
        of_link.and_then(|open| open.receiver.take())
    }

    /// No more slices come: whoever waits for them hears of it.
    pub fn end(&self, link: LinkId) {
        self.0.lock().take_if(|open| open.link == link);
    }

    /// No more slices come on any link.
    pub fn end_all(&self) {
        *self.0.lock() = None;
    }

    fn bring(&self, link: LinkId, part: SlicePart) {
        let open = self.0.lock();
        let sent = match open.as_ref().filter(|open| open.link == link) {
            Some(open) => open.sender.send(part).is_ok(),
            None => false,
        };
        if !sent {
            tracing::debug!(?link, "a slice of a snapshot that nobody waits for");
        }
    }
}

/// See the module.
pub struct PeerInbox {
    shared: Arc<Shared>,
    /// See [`SliceWay`].
    pub slices: Arc<SliceWay>,
}

impl PeerInbox {
    /// The way into the inbox of this server.
    #[must_use]
    pub fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            slices: Arc::default(),
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
                    self.slices.bring(link, SlicePart { message, permit });
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
            PeerEvent::LinkOpened { link } => {
                self.slices.open(link);
                roo_zab::Event::LinkOpened { link }
            }
            PeerEvent::LinkClosed { link } => {
                self.slices.end(link);
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

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: LinkId = LinkId(2);

    #[test]
    fn slices_of_a_link_that_broke_before_they_were_taken_are_not_waited_for() {
        let way = SliceWay::default();
        way.open(LINK);
        // The link's end overtakes the leader's packet that announces the snapshot.
        way.end(LINK);
        assert!(way.take(LINK).is_none());
    }

    #[test]
    fn whoever_waits_for_slices_hears_that_none_will_come() {
        let way = SliceWay::default();
        for end in [|way: &SliceWay| way.end(LINK), SliceWay::end_all] {
            way.open(LINK);
            let slices = way.take(LINK).unwrap();
            assert!(way.take(LINK).is_none());
            end(&way);
            assert!(slices.recv().is_err());
        }
    }

    #[test]
    fn a_newer_link_ends_the_older_one_and_a_late_word_of_an_older_one_nothing() {
        let way = SliceWay::default();
        way.open(LINK);
        let slices = way.take(LINK).unwrap();
        way.open(LinkId(4));
        assert!(slices.recv().is_err());
        way.open(LINK);
        way.end(LINK);
        assert!(way.take(LinkId(4)).is_some());
    }
}
