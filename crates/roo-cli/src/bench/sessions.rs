//! `sessions`: opens many sessions, keeps them alive with pings for a while, closes them. Counts
//! the latency of opening (as writes) and of pings (as reads), and what a session costs the server.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use anyhow::{Context as _, Result};
use mio::{Events, Poll, Token};

use super::clock::now_ns;
use super::connection::{Connection, Received};
use super::tally::{Kept, Tally};

/// Handshakes under way at a time: enough for a server to batch, and below the 50 connections that
/// Apache's lets wait by default; one more would be dialled again by the system after a second or
/// thirty, while the sessions that stand expire.
const HANDSHAKES: usize = 40;
const PATIENCE: Duration = Duration::from_secs(60);
/// How often idle sessions are looked after.
const TICK_NS: u64 = 200_000_000;

/// The servers, and the local addresses to connect from; the system's choice if there are none.
#[derive(Clone, Debug)]
pub(super) struct Targets {
    pub(super) servers: Vec<SocketAddr>,
    pub(super) from: Vec<IpAddr>,
}

impl Targets {
    /// Starts the connection of this index: both lists are taken in turn.
    fn open<T: Copy>(&self, index: usize, timeout_ms: i32) -> Result<Connection<T>> {
        let server = self.servers[index % self.servers.len()];
        let from = self.from.get(index % self.from.len().max(1)).copied();
        Connection::open(server, from, timeout_ms, now_ns())
    }
}

/// Many sessions on one thread.
pub(super) struct Crowd {
    poll: Poll,
    targets: Targets,
    connections: Vec<Connection<()>>,
    started_ns: Vec<u64>,
    opened: usize,
    buffer: Vec<u8>,
    pub(super) tally: Tally,
}

impl Crowd {
    pub(super) fn new(targets: Targets) -> Result<Self> {
        Ok(Self {
            poll: Poll::new().context("create an event queue")?,
            targets,
            connections: Vec::new(),
            started_ns: Vec::new(),
            opened: 0,
            buffer: vec![0; 64 * 1024],
            tally: Tally::new(Kept::default(), 0)?,
        })
    }

    /// Opens `count` sessions.
    pub(super) fn open(&mut self, count: usize, timeout_ms: i32) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        while self.opened < count {
            while self.connections.len() < count.min(self.opened + HANDSHAKES) {
                self.open_one(timeout_ms)?;
            }
            self.step(&mut events, PATIENCE)
                .context("opening sessions")?;
        }
        Ok(())
    }

    /// Keeps the sessions alive until `end_ns`.
    pub(super) fn hold(&mut self, end_ns: u64) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut next_tick_ns = 0;
        loop {
            let now = now_ns();
            if now >= end_ns {
                return Ok(());
            }
            if now >= next_tick_ns {
                next_tick_ns = now + TICK_NS;
                for connection in &mut self.connections {
                    connection.keep_alive(now);
                    connection.flush(now)?;
                }
            }
            let pause = end_ns.min(next_tick_ns).saturating_sub(now);
            self.step(&mut events, Duration::from_nanos(pause))?;
        }
    }

    /// Closes every session and waits for the server to have done so.
    pub(super) fn close(mut self) -> Result<()> {
        close_all(self.connections.drain(..).collect())
    }

    fn open_one(&mut self, timeout_ms: i32) -> Result<()> {
        let index = self.connections.len();
        let now = now_ns();
        let mut connection = self.targets.open(index, timeout_ms)?;
        connection
            .register(self.poll.registry(), Token(index))
            .context("register")?;
        self.connections.push(connection);
        self.started_ns.push(now);
        Ok(())
    }

    fn step(&mut self, events: &mut Events, pause: Duration) -> Result<()> {
        match self.poll.poll(events, Some(pause)) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => return Ok(()),
            other => other.context("wait for events")?,
        }
        for event in &*events {
            let index = event.token().0;
            let Some(connection) = self.connections.get_mut(index) else {
                continue;
            };
            let (tally, opened) = (&mut self.tally, &mut self.opened);
            let started_ns = self.started_ns[index];
            connection.receive(&mut self.buffer, |received| {
                let now = now_ns();
                match received {
                    Received::Connected => {
                        *opened += 1;
                        tally.writes.saturating_record(now - started_ns);
                    }
                    Received::Pong { sent_ns } => tally.reads.saturating_record(now - sent_ns),
                    Received::Reply { .. } | Received::WatchEvent => {}
                }
                Ok(())
            })?;
            connection.flush(now_ns())?;
        }
        Ok(())
    }
}

/// Opens `count` sessions and waits until they stand.
pub(super) fn open_all<T: Copy>(
    targets: &Targets,
    count: u32,
    timeout_ms: i32,
) -> Result<Vec<Connection<T>>> {
    let mut poll = Poll::new().context("create an event queue")?;
    let mut connections: Vec<Connection<T>> = Vec::new();
    let mut events = Events::with_capacity(1024);
    let mut buffer = vec![0; 4096];
    let (count, mut opened) = (count as usize, 0);
    while opened < count {
        while connections.len() < count.min(opened + HANDSHAKES) {
            let index = connections.len();
            let mut connection = targets.open(index, timeout_ms)?;
            connection
                .register(poll.registry(), Token(index))
                .context("register")?;
            connections.push(connection);
        }
        match poll.poll(&mut events, Some(PATIENCE)) {
            Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
            other => other.context("wait for events")?,
        }
        anyhow::ensure!(
            !events.is_empty(),
            "{} sessions were not opened in {PATIENCE:?}",
            count - opened
        );
        for event in &events {
            let Some(connection) = connections.get_mut(event.token().0) else {
                continue;
            };
            connection.flush(now_ns())?;
            connection.receive(&mut buffer, |received| {
                opened += usize::from(matches!(received, Received::Connected));
                Ok(())
            })?;
        }
    }
    for connection in &mut connections {
        connection
            .deregister(poll.registry())
            .context("deregister")?;
    }
    Ok(connections)
}

/// Keeps sessions alive until `end_ns`, whatever they are told meanwhile.
pub(super) fn keep_all<T: Copy>(connections: &mut [Connection<T>], end_ns: u64) -> Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let now = now_ns();
        if now >= end_ns {
            return Ok(());
        }
        for connection in &mut *connections {
            connection.keep_alive(now);
            connection.flush(now)?;
            connection.receive(&mut buffer, |_| Ok(()))?;
        }
        let pause = TICK_NS.min(end_ns.saturating_sub(now_ns()));
        std::thread::park_timeout(Duration::from_nanos(pause));
    }
}

/// Closes sessions: all are asked first, then each is waited for.
pub(super) fn close_all<T: Copy>(connections: Vec<Connection<T>>) -> Result<()> {
    let mut closing = VecDeque::from(connections);
    for connection in &mut closing {
        connection.queue_close();
        // A session that has ended meanwhile is closed already.
        let _ = connection.flush(now_ns());
    }
    for connection in closing {
        let _ = connection.finish(PATIENCE);
    }
    Ok(())
}
