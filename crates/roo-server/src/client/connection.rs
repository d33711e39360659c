//! One client's socket and buffers.
//!
//! What has come and is not a whole packet yet, or may not be served yet, waits in `input`; what
//! the socket does not take yet waits in `output`. Both are empty, and own no memory, while the
//! client is idle.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use mio::net::TcpStream;
use roo_proto::acl::Id;
use roo_proto::ids::{SessionId, Time};
use roo_replica::questions::Sight;

use crate::client::serving::NO_SESSION;
use crate::limits;
use crate::stats::ConnectionStats;

/// How far a connection has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nothing but a handshake or a four-letter word is expected.
    AwaitHandshake,
    /// The answer to one of them is on its way.
    AwaitAnswer,
    /// A session is served.
    Serving,
    /// Nothing is read any more; the connection ends when everything is sent.
    Flushing,
    /// To be dropped.
    Dead,
}

/// A request that the replica has.
#[derive(Clone, Copy, Debug)]
pub struct Pending {
    /// Its operation.
    pub op: i32,
    /// Its xid.
    pub xid: i32,
    /// When it came.
    pub arrived: Time,
    /// Its size, if it counts as a large one.
    pub large_bytes: usize,
}

/// See the module.
#[derive(Debug)]
pub struct Connection {
    /// The socket.
    pub stream: TcpStream,
    /// The other end.
    pub peer: SocketAddr,
    /// Which connection of the thread it is.
    pub generation: u32,
    /// See [`Phase`].
    pub phase: Phase,
    /// Its session, 0 before the handshake.
    pub session: SessionId,
    /// Who it has proved to be.
    pub ids: Arc<[Id]>,
    /// Requests that the replica has, oldest first.
    pub in_flight: VecDeque<Pending>,
    /// Bytes that wait to be served.
    pub input: Vec<u8>,
    /// Bytes that wait to be sent, from `sent` on.
    pub output: Vec<u8>,
    /// How much of `output` is out.
    pub sent: usize,
    /// The socket may have more to read.
    pub readable: bool,
    /// The client will send no more.
    pub at_end: bool,
    /// The whole packets in `input` must wait for replies to earlier ones.
    pub paused: bool,
    /// How far the reads at the front of `input` may be served, where they go by rounds.
    pub sight: Sight,
    /// Since when they wait for the leader's word, or have waited for it.
    pub asked_since: Time,
    /// The kernel has told that the client will send no more; what it sent before may be unread.
    pub hung_up: bool,
    /// Since when the first packet in `input` waits for requests of other connections.
    pub stalled: Option<Time>,
    /// The limit on the requests of all connections keeps some of `input` back.
    pub held: bool,
    /// Stands in its thread's line of those.
    pub in_line: bool,
    /// Stands in the list of connections to be looked after in this round.
    pub queued: bool,
    /// What is counted of it.
    pub stats: Arc<ConnectionStats>,
}

impl Connection {
    /// One that has not said anything.
    #[must_use]
    pub const fn new(
        stream: TcpStream,
        peer: SocketAddr,
        generation: u32,
        ids: Arc<[Id]>,
        stats: Arc<ConnectionStats>,
    ) -> Self {
        Self {
            stream,
            peer,
            generation,
            phase: Phase::AwaitHandshake,
            session: NO_SESSION,
            ids,
            in_flight: VecDeque::new(),
            input: Vec::new(),
            output: Vec::new(),
            sent: 0,
            readable: true,
            at_end: false,
            paused: false,
            sight: Sight::Unasked,
            asked_since: Time(0),
            hung_up: false,
            stalled: None,
            held: false,
            in_line: false,
            queued: false,
            stats,
        }
    }

    /// Bytes that wait to be sent.
    #[must_use]
    pub const fn unsent(&self) -> usize {
        self.output.len() - self.sent
    }

    /// How long what may be served of the input has waited for the leader's word, ms.
    #[must_use]
    pub const fn waited_ms(&self, now: Time) -> u64 {
        match self.sight {
            Sight::Shown { .. } => now.millis_since(self.asked_since),
            Sight::Unasked | Sight::Waiting | Sight::Asked { .. } => 0,
        }
    }

    /// Whether to read from the socket. One that waits for the leader's word is read on, so that
    /// its next question is for more, but only so far.
    #[must_use]
    pub fn wants_read(&self) -> bool {
        let takes_more =
            !self.paused || (self.sight.waits() && self.input.len() < limits::READ_STEP_BYTES);
        self.readable && takes_more && self.phase != Phase::Dead
    }

    /// Reads once; how many bytes came. Sets `readable` and `at_end`.
    pub fn read(&mut self, buffer: &mut [u8]) -> usize {
        loop {
            match self.stream.read(buffer) {
                Ok(0) => {
                    self.readable = false;
                    self.at_end = true;
                    return 0;
                }
                Ok(n) => {
                    // A short read has emptied the socket; what comes later is told anew, but the
                    // end that was told with these bytes is not.
                    self.readable = n == buffer.len() || self.hung_up;
                    return n;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.readable = false;
                    return 0;
                }
                Err(error) => {
                    tracing::debug!(peer = %self.peer, %error, "read from client");
                    self.readable = false;
                    self.phase = Phase::Dead;
                    return 0;
                }
            }
        }
    }

    /// Sends what waits; buffers that become empty go to `spare`.
    pub fn flush(&mut self, spare: &mut Vec<Vec<u8>>) {
        while self.sent < self.output.len() {
            match self
                .stream
                .write(self.output.get(self.sent..).unwrap_or_default())
            {
                Ok(0) => {
                    self.phase = Phase::Dead;
                    return;
                }
                Ok(n) => self.sent += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => {
                    tracing::debug!(peer = %self.peer, %error, "write to client");
                    self.phase = Phase::Dead;
                    return;
                }
            }
        }
        self.sent = 0;
        let mut empty = std::mem::take(&mut self.output);
        if empty.capacity() > 0
            && empty.capacity() <= limits::SPARE_BUFFER_BYTES
            && spare.len() < limits::SPARE_BUFFERS
        {
            empty.clear();
            spare.push(empty);
        }
        if self.phase == Phase::Flushing {
            self.phase = Phase::Dead;
        }
    }

    /// The output buffer, with memory.
    pub fn output(&mut self, spare: &mut Vec<Vec<u8>>) -> &mut Vec<u8> {
        if self.output.capacity() == 0
            && let Some(buffer) = spare.pop()
        {
            self.output = buffer;
        }
        &mut self.output
    }

    /// Nothing is served any more; what waits is still sent.
    pub fn end(&mut self) {
        if self.phase != Phase::Dead {
            self.phase = Phase::Flushing;
        }
        self.input = Vec::new();
        self.readable = false;
        self.stats.reading.store(false, Ordering::Relaxed);
    }
}
