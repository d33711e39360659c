//! Back-pressure from a disk that is slower than the leader: while too much waits to be written,
//! the room that records take in the window of their link is not given back, so that the link
//! fills up and the leader waits. What a server decides itself is bounded by what clients and
//! learners may have in flight.

use roo_peer::Permit;
use roo_replica::event::Event;
use roo_replica::peer_message::PeerMessage;
use roo_zab::message::Message;

use crate::limits;

/// See the module. `P` is the room of a record.
#[derive(Debug)]
pub struct Backlog<P = Permit> {
    held: Vec<P>,
}

impl<P> Default for Backlog<P> {
    fn default() -> Self {
        Self { held: Vec::new() }
    }
}

impl<P> Backlog<P> {
    /// A record has come while `queued` bytes wait to be written. True if it is the first of those
    /// whose room is kept.
    pub fn keep(&mut self, room: P, queued: usize) -> bool {
        if queued <= limits::STORAGE_QUEUE_BYTES {
            return false;
        }
        self.held.push(room);
        self.held.len() == 1
    }

    /// `queued` bytes wait to be written now.
    pub fn release(&mut self, queued: usize) {
        if queued <= limits::STORAGE_QUEUE_BYTES {
            self.held.clear();
        }
    }
}

/// Whether something that came brings a record for the log.
#[must_use]
pub fn brings_record(event: &Event) -> bool {
    matches!(
        event,
        Event::Received {
            message: PeerMessage::Zab(
                Message::Proposal(_) | Message::Inform(_) | Message::InformAndActivate { .. }
            ),
            ..
        }
    )
}

#[cfg(test)]
mod tests {
    use std::rc::Rc;

    use super::*;

    #[test]
    fn room_comes_back_when_the_disk_has_caught_up() {
        let (limit, room) = (limits::STORAGE_QUEUE_BYTES, Rc::new(()));
        let mut backlog = Backlog::default();
        let kept = || Rc::strong_count(&room) - 1;
        assert!(!backlog.keep(Rc::clone(&room), limit));
        assert_eq!(kept(), 0);
        assert!(backlog.keep(Rc::clone(&room), limit + 1));
        assert!(!backlog.keep(Rc::clone(&room), limit + 2));
        backlog.release(limit + 1);
        assert_eq!(kept(), 2);
        backlog.release(limit);
        assert_eq!(kept(), 0);
    }
}
