//! `watch-fanout`: every connection watches the same key; one change at a time is made, and its
//! latency runs from the request to the last watcher's event.

use anyhow::{Context as _, Result, ensure};
use mio::{Events, Poll, Token};

use super::clock::now_ns;
use super::connection::{Connection, Received};
use super::tally::{Kept, Tally};
use super::wire::{Template, Watch, op};
use super::workload::{Shape, value};

/// Watchers and the one that makes changes, which is the last of the connections.
pub(super) struct Fanout<'c> {
    connections: &'c mut [Connection<()>],
    poll: Poll,
    buffer: Vec<u8>,
    watch: Template,
    change: Template,
    /// Events of the current round that are still to come.
    events_missing: usize,
    /// Replies of the current round that are still to come.
    replies_missing: usize,
    changed_ns: u64,
    last_event_ns: u64,
    tally: Tally,
    /// Single events, where the tally has the last of each round.
    each: hdrhistogram::Histogram<u64>,
}

/// The figures of a run: rounds in the tally's writes, single events beside it.
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) each: hdrhistogram::Histogram<u64>,
}

impl<'c> Fanout<'c> {
    pub(super) fn new(connections: &'c mut [Connection<()>], shape: &Shape) -> Result<Self> {
        ensure!(
            connections.len() > 1,
            "watch-fanout needs a connection to watch"
        );
        let key = format!("{}/k/00000000", shape.root);
        let poll = Poll::new().context("create an event queue")?;
        for (i, connection) in connections.iter_mut().enumerate() {
            connection
                .register(poll.registry(), Token(i))
                .context("register")?;
        }
        let mut fanout = Self {
            connections,
            poll,
            buffer: vec![0; 64 * 1024],
            watch: Template::read(op::EXISTS, &key, Watch::Yes),
            change: Template::set(&key, &value(shape.value_size)),
            events_missing: 0,
            replies_missing: 0,
            changed_ns: 0,
            last_event_ns: 0,
            tally: Tally::new(Kept::default(), 0)?,
            each: super::tally::latencies()?,
        };
        fanout.watch_all()?;
        Ok(fanout)
    }

    fn watchers(&self) -> usize {
        self.connections.len() - 1
    }

    /// Forgets what was counted: it was warm-up.
    pub(super) fn count_from_here(&mut self, kept: Kept) -> Result<()> {
        self.tally = Tally::new(kept, now_ns())?;
        self.each.reset();
        Ok(())
    }

    /// Makes changes until this moment, and not more of them than this.
    pub(super) fn run(&mut self, end_ns: u64, rounds_max: u64) -> Result<()> {
        let writer = self.watchers();
        let mut rounds = 0;
        while now_ns() < end_ns && rounds < rounds_max {
            rounds += 1;
            self.events_missing = self.watchers();
            self.replies_missing = 1;
            self.changed_ns = now_ns();
            let change = self.change.clone();
            self.queue(writer, &change)?;
            self.wait()?;
            let latency = self.last_event_ns.saturating_sub(self.changed_ns);
            self.tally.writes.saturating_record(latency);
            if let Some(timeline) = &mut self.tally.timeline {
                timeline.record(self.last_event_ns, latency);
            }
            self.tally.last_reply_ns = self.last_event_ns;
            self.watch_all()?;
        }
        Ok(())
    }

    /// Every watcher watches, again. Not as its event comes: those of the others would wait for
    /// this generator then, and not for the server.
    fn watch_all(&mut self) -> Result<()> {
        for watcher in 0..self.watchers() {
            self.replies_missing += 1;
            let watch = self.watch.clone();
            self.queue(watcher, &watch)?;
        }
        self.wait()
    }

    /// What was counted.
    pub(super) fn end(self) -> Result<Outcome> {
        for connection in self.connections.iter_mut() {
            connection
                .deregister(self.poll.registry())
                .context("deregister")?;
        }
        Ok(Outcome {
            tally: self.tally,
            each: self.each,
        })
    }

    fn queue(&mut self, connection: usize, request: &Template) -> Result<()> {
        let now = now_ns();
        let connection = &mut self.connections[connection];
        connection.queue(now, |out, xid| request.push(out, xid, &[]));
        connection.flush(now)
    }

    /// Takes events and replies until none is missing.
    fn wait(&mut self) -> Result<()> {
        let mut ready = Events::with_capacity(1024);
        while self.events_missing + self.replies_missing > 0 {
            let patience = Some(std::time::Duration::from_secs(60));
            match self.poll.poll(&mut ready, patience) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.context("wait for events")?,
            }
            ensure!(
                !ready.is_empty(),
                "{} watch events are missing",
                self.events_missing
            );
            for event in &ready {
                self.on_ready(event.token().0)?;
            }
        }
        Ok(())
    }

    fn on_ready(&mut self, index: usize) -> Result<()> {
        let mut fired = 0;
        let mut replies = 0;
        self.connections[index].receive(&mut self.buffer, |received| {
            match received {
                Received::WatchEvent => fired += 1,
                Received::Reply { head, .. } => {
                    ensure!(head.err == 0, "the server answers error {}", head.err);
                    replies += 1;
                }
                Received::Connected | Received::Pong { .. } => {}
            }
            Ok(())
        })?;
        ensure!(
            fired <= self.events_missing && replies <= self.replies_missing,
            "more watch events or replies than changes"
        );
        self.events_missing -= fired;
        self.replies_missing -= replies;
        for _ in 0..fired {
            let now = now_ns();
            self.last_event_ns = now;
            self.each
                .saturating_record(now.saturating_sub(self.changed_ns));
        }
        self.connections[index].flush(now_ns())
    }
}
