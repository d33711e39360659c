//! The one lock around the applied state, what each I/O thread shares with the replica's, and
//! the rules of who takes what for how long.
//!
//! - The state's lock comes first, an I/O thread's second; nobody takes them the other way round.
//! - The replica's thread takes the state for writing once per committed batch, and each I/O
//!   thread's part along with it.
//! - An I/O thread takes the state for reading, and its own part, once per round: it fetches its
//!   mail, then serves the reads. So a watch event always reaches the client before a reply that
//!   shows the change.
//! - A thread's sockets have a lock, too (`client::io_thread`), which comes before both. Its thread
//!   holds it for a round; the replica's thread only ever tries to take it, and holds no other.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use mio::Waker;
use mio::net::{TcpListener, TcpStream};
use parking_lot::{Mutex, RwLock};
use roo_peer::Permit;
use roo_proto::acl::Id;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{SessionId, Time};
use roo_replica::effect::CloseReason;
use roo_replica::event::{ConnId, Event};
use roo_replica::{Replica, Role};
use roo_state::state::State;
use roo_state::watch::WatchTable;

use crate::client::throttle::Throttle;
use crate::clock::Clock;
use crate::limits;
use crate::peer_table::PeerTable;
use crate::queue::BatchQueue;
use crate::stats::{ConnectionStats, ServerStats};

/// A connection's place: the thread, the slot in it, and which user of the slot it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Index of the I/O thread.
    pub io: usize,
    /// Slot in the thread's table.
    pub slot: u32,
    /// Counts the connections of the thread; 24 bits of it survive.
    pub generation: u32,
}

const GENERATION_MASK: u32 = 0xFF_FFFF;

impl Place {
    /// As the replica knows it.
    #[must_use]
    pub const fn conn(self) -> ConnId {
        let generation = (self.generation & GENERATION_MASK) as u64;
        ConnId(((self.io as u64) << 56) | (generation << 32) | self.slot as u64)
    }

    /// Of a connection that the replica knows.
    #[must_use]
    #[allow(clippy::cast_possible_truncation)]
    pub const fn of(conn: ConnId) -> Self {
        Self {
            io: (conn.0 >> 56) as usize,
            slot: conn.0 as u32,
            generation: (conn.0 >> 32) as u32 & GENERATION_MASK,
        }
    }
}

/// Something for a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mail {
    /// Bytes of the mailbox to be sent: watch events.
    Frames {
        /// How many.
        len: usize,
    },
    /// Bytes that answer a four-letter word.
    Word {
        /// How many.
        len: usize,
    },
    /// Bytes that answer the oldest request in flight.
    Answer {
        /// How many.
        len: usize,
    },
    /// Bytes that answer the handshake; session 0 refuses it.
    Connected {
        /// How many.
        len: usize,
        /// The session.
        session: SessionId,
        /// Its timeout.
        timeout_ms: i32,
    },
    /// The connection ends; `flush` tells whether what was sent before must be out first.
    Close {
        /// For the log.
        why: CloseReason,
        /// See above.
        flush: bool,
    },
}

/// What waits for an I/O thread.
#[derive(Debug, Default)]
pub struct Mailbox {
    /// The bytes that the items speak of, one behind the other.
    pub bytes: Vec<u8>,
    /// Slot, generation, what.
    pub items: Vec<(u32, u32, Mail)>,
}

impl Mailbox {
    /// Whether it takes no longer to send this than to wake the thread it waits for.
    #[must_use]
    pub fn is_little(&self) -> bool {
        self.items.len() <= limits::SEND_AT_ONCE && self.bytes.len() <= limits::SEND_AT_ONCE_BYTES
    }
}

/// What others need to know of a connection of an I/O thread.
#[derive(Debug)]
pub struct Peer {
    /// Which user of the slot it is; 0 is nobody.
    pub generation: u32,
    /// Its session, 0 before the handshake.
    pub session: SessionId,
    /// Who it has proved to be.
    pub ids: Arc<[Id]>,
    /// When a request last came.
    pub last_heard: Time,
    /// Whether it stands in [`IoShared::touched`].
    pub touched: bool,
}

/// What an I/O thread shares with the replica's thread.
#[derive(Debug, Default)]
pub struct IoShared {
    /// The watches of the thread's connections.
    pub watches: WatchTable,
    /// What waits for the thread.
    pub mailbox: Mailbox,
    /// The thread's connections by slot.
    pub peers: Vec<Peer>,
    /// Slots of connections heard from since the replica last asked.
    pub touched: Vec<u32>,
    /// Sessions heard from on connections that are gone.
    pub touched_gone: Vec<(SessionId, Time)>,
    /// The thread's open question to the leader was put in a role that is over.
    pub question_is_void: bool,
}

impl IoShared {
    /// The peer at a place, if it is still the same.
    #[must_use]
    pub fn peer(&self, place: Place) -> Option<&Peer> {
        self.peers
            .get(place.slot as usize)
            .filter(|peer| peer.generation == place.generation)
    }

    /// Closes every connection with a session, at once; whether there was any. The thread does not
    /// know yet of the sessions that its mail brings.
    pub fn close_sessions(&mut self, why: CloseReason) -> bool {
        let Mailbox { items, .. } = &mut self.mailbox;
        let close = Mail::Close { why, flush: false };
        let answered = items.iter().filter_map(|(slot, generation, mail)| {
            let is_answer = matches!(mail, Mail::Connected { .. });
            is_answer.then_some((*slot, *generation, close))
        });
        let mut closed: Vec<_> = answered.collect();
        for (slot, peer) in (0..).zip(&self.peers) {
            if peer.generation != 0 && peer.session != SessionId(0) {
                closed.push((slot, peer.generation, close));
            }
        }
        items.extend_from_slice(&closed);
        self.question_is_void = true;
        !closed.is_empty()
    }

    /// Takes note that something was heard from a connection.
    pub fn touch(&mut self, slot: u32, now: Time) {
        if let Some(peer) = self.peers.get_mut(slot as usize) {
            peer.last_heard = now;
            if !peer.touched && peer.session != SessionId(0) {
                peer.touched = true;
                self.touched.push(slot);
            }
        }
    }

    /// Gives every session heard from since the last call, with the time.
    pub fn take_touches(&mut self, mut f: impl FnMut(SessionId, Time)) {
        for slot in self.touched.drain(..) {
            if let Some(peer) = self.peers.get_mut(slot as usize) {
                peer.touched = false;
                if peer.generation != 0 {
                    f(peer.session, peer.last_heard);
                }
            }
        }
        for (session, at) in self.touched_gone.drain(..) {
            f(session, at);
        }
    }
}

/// An I/O thread as others see it.
#[derive(Debug)]
pub struct Io {
    /// See [`IoShared`].
    pub shared: Mutex<IoShared>,
    /// Connections accepted elsewhere that shall live here.
    pub accepted: Mutex<Vec<(TcpStream, SocketAddr)>>,
    /// Where to accept connections from here on, instead of where the thread does.
    pub moved: Mutex<Option<TcpListener>>,
    /// Something waits for the thread.
    pub has_mail: AtomicBool,
    /// The last of the thread's questions to the leader that is answered.
    pub answered: AtomicU64,
    /// The thread sleeps, or is about to.
    pub parked: AtomicBool,
    waker: Waker,
}

impl Io {
    /// The part of a thread that `waker` wakes.
    #[must_use]
    pub fn new(waker: Waker) -> Self {
        Self {
            shared: Mutex::new(IoShared::default()),
            accepted: Mutex::new(Vec::new()),
            moved: Mutex::new(None),
            has_mail: AtomicBool::new(false),
            answered: AtomicU64::new(0),
            parked: AtomicBool::new(false),
            waker,
        }
    }

    /// Says that something waits; wakes the thread only if it sleeps.
    pub fn notify(&self) {
        self.has_mail.store(true, Ordering::SeqCst);
        if self.parked.swap(false, Ordering::SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "cannot wake an I/O thread");
        }
    }
}

/// A question to the replica, asked on its own thread.
pub type Query = Box<dyn FnOnce(&Replica) + Send>;

/// What the replica's thread takes from its inbox.
pub enum Input {
    /// For the replica.
    Event(Event),
    /// For the replica, from another server.
    Peer {
        /// What happened.
        event: Event,
        /// The room it takes in its link's window, given back when it is handled.
        permit: Option<Permit>,
    },
    /// For whoever wants to look at it.
    Query(Query),
    /// The server ends.
    Stop,
}

/// The replica's inbox.
pub type Inbox = BatchQueue<Input>;

/// Everything that the threads of a server share.
pub struct Shared {
    /// The applied state.
    pub state: RwLock<State>,
    /// Counts how often the state was replaced as a whole; changes under the state's lock.
    pub state_generation: AtomicU64,
    /// Whether this server belongs to an ensemble.
    pub is_member: bool,
    /// What this server is to its clients, and since when.
    pub role: Mutex<(Role, Time)>,
    /// The ensemble in force; empty without one.
    pub ensemble: Mutex<Arc<Ensemble>>,
    /// What is known of the other servers.
    pub peers: Mutex<PeerTable>,
    /// Reads of the tree wait for the leader's word; changes under the state's lock.
    pub reads_in_rounds: AtomicBool,
    /// The I/O threads.
    pub io: Vec<Arc<Io>>,
    /// The way to the replica.
    pub inbox: Inbox,
    /// Requests given to the replica and not answered yet.
    pub outstanding: AtomicUsize,
    /// Connections of whose requests the limit on those keeps some back.
    pub held: AtomicUsize,
    /// Bytes of large requests among them.
    pub large_bytes: AtomicUsize,
    /// Bytes of the records that wait to be durable.
    pub storage_bytes: AtomicUsize,
    /// The clocks.
    pub clock: Clock,
    /// What is counted.
    pub stats: ServerStats,
    /// Every connection.
    pub connections: Mutex<HashMap<u64, Arc<ConnectionStats>>>,
    /// Connections by address.
    pub by_address: Mutex<HashMap<IpAddr, usize>>,
    /// Tokens for handshakes.
    pub throttle: Mutex<Throttle>,
    /// When the server began to serve.
    pub started: Time,
    /// What `gtmk` shows and `stmk` sets; nothing is traced by it.
    pub trace_mask: AtomicI64,
    /// The server ends.
    pub stopping: AtomicBool,
}

impl Shared {
    /// Takes note of the server's new role.
    pub fn role_changed(&self, role: Role) {
        let now = self.clock.now();
        *self.role.lock() = (role, now);
        self.stats.reset_proposal_sizes();
        match role {
            Role::Standalone => {}
            Role::ReadOnly => tracing::warn!("no leader for a while: reads are served without one"),
            Role::Looking => tracing::warn!("no leader: clients are not served"),
            Role::Leading { epoch } => tracing::info!(epoch, "this server leads"),
            Role::Learning {
                leader,
                epoch,
                observer,
                ..
            } => tracing::info!(leader = leader.0, epoch, observer, "this server follows"),
        }
    }

    /// Wakes every I/O thread.
    pub fn notify_all(&self) {
        for io in &self.io {
            io.notify();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_that_the_thread_does_not_know_of_yet_is_closed_with_the_others() {
        let peer = |generation, session| Peer {
            generation,
            session: SessionId(session),
            ids: Arc::from([]),
            last_heard: Time(0),
            touched: false,
        };
        let mut io = IoShared {
            // Served, nobody, before its handshake, and about to hear that it has a session.
            peers: vec![peer(4, 9), peer(0, 0), peer(5, 0), peer(6, 0)],
            ..IoShared::default()
        };
        let answer = Mail::Connected {
            len: 0,
            session: SessionId(10),
            timeout_ms: 4000,
        };
        io.mailbox.items.push((3, 6, answer));
        let why = CloseReason::NotServing;
        assert!(io.close_sessions(why));
        let close = Mail::Close { why, flush: false };
        assert_eq!(
            io.mailbox.items,
            [(3, 6, answer), (3, 6, close), (0, 4, close)]
        );
        assert!(!IoShared::default().close_sessions(why));
    }
}
