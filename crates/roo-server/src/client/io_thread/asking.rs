//! What a thread asks the leader for its connections, where reads of the tree go by rounds. They
//! wait here, in their connections' input, and are served here when the answer has come: the
//! replica hears of a question, not of reads.

use std::io;
use std::sync::atomic::Ordering;
use std::time::Duration;

use mio::Events;
use roo_replica::event::Event;
use slab::Slab;

use super::{IoThread, Rest, Sockets};
use crate::client::connection::Connection;
use crate::limits;
use crate::shared_state::{Input, Io, IoShared, Place};

impl IoThread {
    /// Waits for sockets or mail, not at all if there is work, and puts the next question before
    /// that if one is due. While more comes it is held back, so that it is for more.
    pub(super) fn poll_and_ask(&mut self, polled: &mut Events, rest: &Rest) {
        if !rest.asks {
            self.poll_for(polled, rest.timeout);
            return;
        }
        self.poll_for(polled, Duration::ZERO);
        let more = rest.busy || !polled.is_empty();
        self.sockets.lock().put_question(more);
        if !more {
            self.poll_for(polled, rest.timeout);
        }
    }

    fn poll_for(&mut self, polled: &mut Events, timeout: Duration) {
        if let Err(error) = self.poll.poll(polled, Some(timeout))
            && error.kind() != io::ErrorKind::Interrupted
        {
            tracing::error!(%error, "poll");
        }
    }
}

impl Sockets {
    /// Asks for all who wait, and for as much as has come from each; not yet while there is more.
    fn put_question(&mut self, more: bool) {
        if more && self.held < limits::QUESTION_ROUNDS {
            self.held += 1;
            return;
        }
        self.held = 0;
        let connections = &mut self.connections;
        let question = self.questions.put(|conn| {
            if let Some(conn) = at_place(connections, Place::of(conn)) {
                conn.sight.ask(conn.input.len());
            }
        });
        if let Some(question) = question {
            self.shared.inbox.push(Input::Event(Event::Asked(question)));
        }
    }

    /// Whoever was asked for in a question that is answered is served in this round.
    pub(super) fn fetch_answer(&mut self, io: &Io, own: &mut IoShared) {
        if std::mem::take(&mut own.question_is_void) {
            self.questions.forget();
        }
        let number = io.answered.load(Ordering::SeqCst);
        for conn in self.questions.answered(number) {
            let place = Place::of(conn);
            let Some(conn) = at_place(&mut self.connections, place) else {
                continue;
            };
            conn.sight.show();
            if !conn.queued {
                conn.queued = true;
                self.ready.push(place.slot as usize);
            }
        }
    }
}

/// The connection of a place, if it is still there.
fn at_place(connections: &mut Slab<Connection>, place: Place) -> Option<&mut Connection> {
    let conn = connections.get_mut(place.slot as usize);
    conn.filter(|conn| conn.generation == place.generation)
}
