//! One thread of load: a closed loop that keeps every connection at its depth, or an open loop
//! that sends at a rate whatever the server does and counts latency from the time a request was
//! due, so that a stall of the server is not hidden by the requests that it kept from being sent.

use std::collections::VecDeque;
use std::os::fd::{AsFd as _, AsRawFd as _, OwnedFd};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, timerfd_create, timerfd_settime,
};

use super::clock::{NS_PER_S, now_ns, timespec};
use super::connection::{Connection, Received, Sent};
use super::tally::{Kept, Sample, Tally};
use super::wire::Head;
use super::workload::{Action, Source};

/// When a worker sends and what it counts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Schedule {
    pub(super) start_ns: u64,
    /// Replies before this are warm-up.
    pub(super) measure_from_ns: u64,
    /// No request is sent after this; replies after it are not counted.
    pub(super) end_ns: u64,
    /// No more requests than this.
    pub(super) requests_max: u64,
    /// Requests under way per connection.
    pub(super) depth: usize,
    /// Open loop: the time between two requests of this worker.
    pub(super) interval_ns: Option<u64>,
    pub(super) kept: Kept,
}

/// A connection with its stream of requests.
#[derive(Debug)]
pub(super) struct Lane<'p> {
    pub(super) connection: Connection<Action>,
    pub(super) source: Source<'p>,
    /// Open loop: when the requests were due that had no room under way.
    backlog: VecDeque<u64>,
}

impl<'p> Lane<'p> {
    pub(super) fn new(connection: Connection<Action>, source: Source<'p>) -> Self {
        Self {
            connection,
            source,
            backlog: VecDeque::new(),
        }
    }
}

/// Replies that do not come for this long end the run.
const REPLY_PATIENCE_NS: u64 = 60 * NS_PER_S;
const READ_BUFFER_LEN: usize = 256 * 1024;
/// How often idle connections are looked after.
const TICK_NS: u64 = NS_PER_S / 2;
const TICK: Duration = Duration::from_nanos(TICK_NS);

/// Drives `lanes` through `schedule`.
pub(super) fn drive(lanes: &mut [Lane<'_>], schedule: Schedule) -> Result<Tally> {
    let mut worker = Worker {
        poll: Poll::new().context("create an event queue")?,
        timer: None,
        next_due_ns: schedule.start_ns,
        next_lane: 0,
        unsent: schedule.requests_max,
        last_tick_ns: schedule.start_ns,
        last_reply_ns: schedule.start_ns,
        tally: Tally::new(schedule.kept, schedule.measure_from_ns)?,
        schedule,
    };
    worker.register(lanes)?;
    let outcome = worker.run(lanes);
    for lane in lanes.iter_mut() {
        lane.connection
            .deregister(worker.poll.registry())
            .context("deregister a connection")?;
    }
    outcome?;
    worker.tally.overdue = lanes.iter().map(|lane| lane.backlog.len() as u64).sum();
    Ok(worker.tally)
}

struct Worker {
    poll: Poll,
    timer: Option<OwnedFd>,
    schedule: Schedule,
    next_due_ns: u64,
    next_lane: usize,
    unsent: u64,
    last_tick_ns: u64,
    last_reply_ns: u64,
    tally: Tally,
}

impl Worker {
    fn register(&mut self, lanes: &mut [Lane<'_>]) -> Result<()> {
        for (i, lane) in lanes.iter_mut().enumerate() {
            lane.connection
                .register(self.poll.registry(), Token(i))
                .context("register")?;
        }
        if self.schedule.interval_ns.is_some() {
            let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::NONBLOCK)
                .context("create a timer")?;
            self.poll
                .registry()
                .register(
                    &mut SourceFd(&timer.as_raw_fd()),
                    Token(lanes.len()),
                    Interest::READABLE,
                )
                .context("register the timer")?;
            self.timer = Some(timer);
        }
        Ok(())
    }

    fn run(&mut self, lanes: &mut [Lane<'_>]) -> Result<()> {
        let mut events = Events::with_capacity(1024);
        let mut buffer = vec![0; READ_BUFFER_LEN];
        self.start(lanes)?;
        loop {
            let now = now_ns();
            let sending = now < self.schedule.end_ns
                && self.unsent > 0
                && lanes.iter().any(|lane| !lane.source.is_done());
            if !sending && lanes.iter().all(|lane| lane.connection.in_flight() == 0) {
                return Ok(());
            }
            let until_end = Duration::from_nanos(self.schedule.end_ns.saturating_sub(now));
            let timeout = if sending { until_end.min(TICK) } else { TICK };
            match self.poll.poll(&mut events, Some(timeout)) {
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                other => other.context("wait for events")?,
            }
            for event in &events {
                match lanes.get_mut(event.token().0) {
                    Some(lane) => self.on_ready(lane, &mut buffer)?,
                    None => self.send_due(lanes)?,
                }
            }
            self.tick(lanes)?;
        }
    }

    fn start(&mut self, lanes: &mut [Lane<'_>]) -> Result<()> {
        if self.timer.is_some() {
            return self.send_due(lanes);
        }
        let now = now_ns();
        for lane in lanes {
            for _ in 0..self.schedule.depth {
                self.send(lane, now, now);
            }
            lane.connection.flush(now)?;
        }
        Ok(())
    }

    /// One read, the answers to what it brought, one write.
    fn on_ready(&mut self, lane: &mut Lane<'_>, buffer: &mut [u8]) -> Result<()> {
        let mut answered = 0;
        let mut first_reply = None;
        lane.connection.receive(buffer, |received| {
            if let Received::Reply { request, head } = received {
                let now = *first_reply.get_or_insert_with(now_ns);
                answered += 1;
                self.count(request, head, now);
            }
            Ok(())
        })?;
        let now = first_reply.unwrap_or_else(now_ns);
        if answered > 0 {
            self.last_reply_ns = now;
        }
        if self.timer.is_none() {
            for _ in 0..answered {
                self.send(lane, now, now);
            }
        } else {
            self.send_backlog(lane, now);
        }
        lane.connection.flush(now)
    }

    fn count(&mut self, request: Sent<Action>, head: Head, now: u64) {
        // An open loop judges a request by when it was due: a late reply must not fall out.
        let moment = if self.timer.is_some() {
            request.due_ns
        } else {
            now
        };
        if moment < self.schedule.measure_from_ns || moment >= self.schedule.end_ns {
            return;
        }
        let tally = &mut self.tally;
        let latency_ns = now.saturating_sub(request.due_ns);
        let latencies = if request.tag.is_read() {
            &mut tally.reads
        } else {
            &mut tally.writes
        };
        latencies.saturating_record(latency_ns);
        tally.bytes_received += head.bytes as u64;
        tally.last_reply_ns = now;
        let multi_failed = request.tag == Action::Multi && head.first_body_word == Some(-1);
        let code = if multi_failed { -1 } else { head.err };
        if code != 0 {
            *tally.errors.entry(code).or_default() += 1;
        }
        if let Some(timeline) = &mut tally.timeline {
            timeline.record(moment, latency_ns);
        }
        if let Some(samples) = &mut tally.samples {
            samples.push(Sample {
                received_ns: now,
                latency_ns,
            });
        }
    }

    fn send(&mut self, lane: &mut Lane<'_>, now: u64, due_ns: u64) {
        if self.unsent == 0 || now >= self.schedule.end_ns || lane.source.is_done() {
            return;
        }
        self.unsent -= 1;
        let source = &mut lane.source;
        lane.connection
            .queue(due_ns, |out, xid| source.push_next(out, xid));
    }

    /// Open loop: sends or queues what is due, connection after connection, and sets the timer.
    fn send_due(&mut self, lanes: &mut [Lane<'_>]) -> Result<()> {
        let interval = self.schedule.interval_ns.unwrap_or(NS_PER_S).max(1);
        let now = now_ns();
        while self.next_due_ns <= now {
            let turn = self.next_lane;
            self.next_lane = (turn + 1) % lanes.len();
            let lane = &mut lanes[turn];
            lane.backlog.push_back(self.next_due_ns);
            self.next_due_ns += interval;
            self.send_backlog(lane, now);
            lane.connection.flush(now)?;
        }
        let Some(timer) = &self.timer else {
            return Ok(());
        };
        let when = Itimerspec {
            it_interval: timespec(0),
            it_value: timespec(self.next_due_ns),
        };
        timerfd_settime(timer.as_fd(), TimerfdTimerFlags::ABSTIME, &when)
            .context("set the timer")?;
        Ok(())
    }

    fn send_backlog(&mut self, lane: &mut Lane<'_>, now: u64) {
        while lane.connection.in_flight() < self.schedule.depth
            && let Some(due_ns) = lane.backlog.pop_front()
        {
            self.send(lane, now, due_ns);
        }
    }

    fn tick(&mut self, lanes: &mut [Lane<'_>]) -> Result<()> {
        let now = now_ns();
        if now.saturating_sub(self.last_tick_ns) < TICK_NS {
            return Ok(());
        }
        self.last_tick_ns = now;
        let waiting = lanes.iter().any(|lane| lane.connection.in_flight() > 0);
        if waiting && now.saturating_sub(self.last_reply_ns) > REPLY_PATIENCE_NS {
            bail!("no reply for {} s", REPLY_PATIENCE_NS / NS_PER_S);
        }
        for lane in lanes {
            lane.connection.keep_alive(now);
            lane.connection.flush(now)?;
        }
        Ok(())
    }
}
