//! What an I/O thread of roo-server does with a session's packets: reads are served here, in the
//! stricter modes once the leader has said how far they must see; the rest goes to the replica.

use std::sync::Arc;

use bytes::Bytes;
use roo_proto::ids::{Time, WallTime};
use roo_proto::op_code;
use roo_proto::request::{self, RequestHeader};
use roo_replica::event::{ConnId, Event, Ordered};
use roo_replica::questions::Sight;
use roo_state::read::{self, Reader};

use super::{Act, MAX_FIELD, Whole, watcher};

/// What becomes of a packet.
enum Way {
    /// It waits for the leader's word.
    Waits,
    Served,
    Ordered(Ordered),
}

impl Whole {
    /// Serves as many packets of a connection as may be served now, and asks for those that wait.
    pub(super) fn serve_input(
        &mut self,
        now: Time,
        wall: WallTime,
        conn: ConnId,
        acts: &mut Vec<Act>,
    ) {
        let mut served = 0;
        while let Some(packet) = self.conns.get_mut(&conn).and_then(|c| c.input.pop_front()) {
            match self.serve(now, conn, &packet, served + 1, acts) {
                Way::Waits => {
                    if let Some(known) = self.conns.get_mut(&conn) {
                        known.input.push_front(packet);
                    }
                    break;
                }
                Way::Served => {}
                Way::Ordered(ordered) => {
                    self.handle(now, wall, Event::Requested(ordered), acts);
                }
            }
            served += 1;
        }
        if let Some(known) = self.conns.get_mut(&conn) {
            known.sight.consume(served);
        }
        self.ask(now, wall, acts);
    }

    /// Serves a packet that is the `end`th of those there were.
    fn serve(
        &mut self,
        now: Time,
        conn: ConnId,
        packet: &[u8],
        end: usize,
        acts: &mut Vec<Act>,
    ) -> Way {
        let Some(known) = self.conns.get_mut(&conn) else {
            return Way::Served;
        };
        let Some((RequestHeader { xid, op }, body)) = RequestHeader::split(packet) else {
            return Way::Served;
        };
        let session = known.session;
        let must_ask = op_code::reads_tree(op) && self.reads_in_rounds;
        let must_order = op_code::is_write(op) || (op == op_code::SYNC && !must_ask);
        if known.in_flight > 0 || must_order {
            known.in_flight += 1;
            return Way::Ordered(Ordered {
                conn,
                session,
                xid,
                op,
                body: Bytes::copy_from_slice(body),
                ids: Arc::clone(&self.ids),
                arrived: now,
            });
        }
        if must_ask && !known.sight.covers(end) {
            if !known.sight.waits() {
                known.sight = Sight::Waiting;
                self.questions.wait(conn);
            }
            return Way::Waits;
        }
        let mut out = Vec::new();
        if let Ok(request) = request::decode(op, body, MAX_FIELD) {
            let reader = Reader {
                session,
                ids: &self.ids,
                watcher: watcher(conn),
            };
            let watches = &mut self.watches;
            read::serve(&self.state, watches, reader, xid, &request, &mut out);
        }
        acts.push(Act::ToClient(conn, out));
        Way::Served
    }

    fn ask(&mut self, now: Time, wall: WallTime, acts: &mut Vec<Act>) {
        let conns = &mut self.conns;
        let question = self.questions.put(|conn| {
            if let Some(known) = conns.get_mut(&conn) {
                known.sight.ask(known.input.len());
            }
        });
        if let Some(question) = question {
            self.handle(now, wall, Event::Asked(question), acts);
        }
    }

    /// The thread hears that its question of this number is answered.
    pub fn serve_shown(&mut self, now: Time, wall: WallTime, number: u64, acts: &mut Vec<Act>) {
        let answered: Vec<ConnId> = self.questions.answered(number).collect();
        for conn in answered {
            if let Some(known) = self.conns.get_mut(&conn) {
                known.sight.show();
                #[cfg(feature = "rebreak")]
                if self.answers_are_for_all {
                    let upto = known.input.len();
                    known.sight = Sight::Shown { upto };
                }
            }
            self.serve_input(now, wall, conn, acts);
        }
        self.ask(now, wall, acts);
    }
}
