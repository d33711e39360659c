//! The session machine on tokio: one task that owns the socket, the timer and the session. It
//! decides nothing.

use std::collections::HashMap;
use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use roo_proto::ids::Time;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::{AbortHandle, JoinSet, yield_now};
use tokio::time::{Instant, Sleep, sleep_until, timeout};

use crate::hosts::Hosts;
use crate::hub::Hub;
use crate::options::Options;
use crate::session::{Effect, Event, LinkId, Notice, Session};
use link::Link;
use resolve::Lookup;

mod link;
mod resolve;
#[cfg(feature = "dns-srv")]
mod srv;

/// Events taken from callers in one go. Limit: pieces.
const EVENTS_MAX: usize = 1024;

/// What a task of the driver's gave.
enum Done {
    Event(Event),
    Opened(LinkId, TcpStream),
    Nothing,
}

struct Driver {
    hosts: Arc<Hosts>,
    hub: Hub,
    session: Session,
    effects: Vec<Effect>,
    origin: Instant,
    tasks: JoinSet<Done>,
    attempts: HashMap<LinkId, AbortHandle>,
    link: Option<Link>,
    lookup: Lookup,
    reply_bytes_max: usize,
    /// Calls that were answered, less the callers heard since.
    answered: usize,
    alarm: Alarm,
}

/// Drives a session until it ends.
pub(crate) fn spawn(hosts: Hosts, options: Options, hub: Hub) {
    let seed = options.seed();
    let mut effects = Vec::new();
    let driver = Driver {
        hosts: Arc::new(hosts),
        hub,
        lookup: Lookup {
            // So that what came of it is told before the first connection is given up.
            wait: options
                .connect_timeout
                .min(options.first_connection_wait / 2),
            name_server: options.name_server,
        },
        reply_bytes_max: options.max_reply_bytes,
        session: Session::new(options, seed, Time(0), &mut effects),
        effects,
        origin: Instant::now(),
        tasks: JoinSet::new(),
        attempts: HashMap::new(),
        answered: 0,
        alarm: Alarm::new(),
        link: None,
    };
    // The session's life is seen through its clients; there is nothing else to wait for.
    drop(tokio::spawn(driver.run()));
}

enum Woken {
    Link(io::Result<()>),
    Task(Done),
    Caller(Event),
    Deadline,
}

impl Driver {
    async fn run(mut self) {
        self.carry_out();
        loop {
            self.write();
            if self.session.status().state.is_final() {
                return;
            }
            let woken = self.wait().await;
            let now = self.now();
            match woken {
                Woken::Link(Ok(())) => {}
                Woken::Link(Err(error)) => self.link_failed(&error),
                Woken::Task(done) => self.on_done(done),
                Woken::Caller(event) => {
                    self.handle(now, event);
                    self.gather().await;
                }
                Woken::Deadline => self.handle(now, Event::DeadlineReached),
            }
            self.take_packets(now);
            self.take_events();
        }
    }

    /// Others were answered with the caller who was just heard, and may ask again: one write for
    /// all of them. Ends when as many were heard, or nobody more is.
    async fn gather(&mut self) {
        // Counted here: callers whose calls fail at once must not keep it going.
        let mut expected = std::mem::take(&mut self.answered).saturating_sub(1);
        while expected > 0 {
            yield_now().await;
            match self.take_events() {
                0 => return,
                heard => expected = expected.saturating_sub(heard),
            }
        }
    }

    /// Takes what callers want, and says how many pieces that were.
    fn take_events(&mut self) -> usize {
        let now = self.now();
        let mut heard = 0;
        while heard < EVENTS_MAX
            && let Some(event) = self.hub.try_next()
        {
            heard += 1;
            self.handle(now, event);
        }
        self.answered = self.answered.saturating_sub(heard);
        heard
    }

    /// Has the session decide, and does what it decided.
    fn handle(&mut self, now: Time, event: Event) {
        self.session.handle(now, event, &mut self.effects);
        self.carry_out();
    }

    /// Milliseconds since the driver began.
    fn now(&self) -> Time {
        let elapsed = self.origin.elapsed().as_millis();
        Time(u64::try_from(elapsed).unwrap_or(u64::MAX))
    }

    async fn wait(&mut self) -> Woken {
        let deadline = self.session.next_deadline();
        // A millisecond late rather than early: time is cut off to whole ones.
        let deadline = deadline.map(|at| self.origin + Duration::from_millis(at.0));
        let Self {
            hub,
            link,
            tasks,
            alarm,
            ..
        } = self;
        tokio::select! {
            biased;
            done = progress(link.as_mut()) => Woken::Link(done),
            Some(done) = tasks.join_next(), if !tasks.is_empty() => {
                // An attempt that was given up, or that panicked, has nothing to say.
                Woken::Task(done.unwrap_or(Done::Nothing))
            }
            event = hub.next() => Woken::Caller(event),
            () = alarm.reach(deadline) => Woken::Deadline,
        }
    }

    fn on_done(&mut self, done: Done) {
        let now = self.now();
        match done {
            Done::Event(event) => self.handle(now, event),
            Done::Opened(id, stream) => {
                if self.attempts.remove(&id).is_none() {
                    return;
                }
                self.link = Some(Link::new(id, stream, self.reply_bytes_max));
                self.handle(now, Event::LinkOpened { link: id });
            }
            Done::Nothing => {}
        }
    }

    fn take_packets(&mut self, now: Time) {
        while let Some(event) = self.link.as_mut().and_then(Link::next_event) {
            self.handle(now, event);
        }
    }

    fn link_failed(&mut self, error: &io::Error) {
        if let Some(link) = self.link.take() {
            let why = match error.kind() {
                io::ErrorKind::UnexpectedEof => "the server closed the connection".into(),
                _ => error.to_string(),
            };
            let event = Event::LinkClosed {
                link: link.id(),
                why,
            };
            self.handle(self.now(), event);
        }
    }

    fn carry_out(&mut self) {
        // The list is kept: a new one for each event would be one more allocation per call.
        let mut effects = std::mem::take(&mut self.effects);
        for effect in effects.drain(..) {
            self.carry_out_one(effect);
        }
        self.effects = effects;
    }

    /// Writes what is to be sent, all of it at once.
    fn write(&mut self) {
        if let Some(link) = &mut self.link
            && let Err(error) = link.write()
        {
            self.link_failed(&error);
        }
    }

    fn carry_out_one(&mut self, effect: Effect) {
        match effect {
            Effect::Tell(notice) => {
                self.answered += usize::from(matches!(notice, Notice::Completed { .. }));
                self.hub.tell(notice);
            }
            Effect::Send { link, frame } => {
                if let Some(open) = self.link.as_mut().filter(|open| open.id() == link) {
                    open.push(&frame);
                }
            }
            Effect::Resolve => {
                let (hosts, lookup) = (Arc::clone(&self.hosts), self.lookup);
                self.tasks.spawn(async move {
                    let (places, failures) = resolve::all(&hosts.servers, lookup).await;
                    Done::Event(Event::Resolved { places, failures })
                });
            }
            Effect::OpenLink { link, address } => {
                let attempt = self.tasks.spawn(open(link, address));
                self.attempts.insert(link, attempt);
            }
            Effect::CloseLink { link } => {
                if let Some(attempt) = self.attempts.remove(&link) {
                    attempt.abort();
                }
                if let Some(mut open) = self.link.take_if(|open| open.id() == link) {
                    // What was sent before goes out if it can.
                    let _ = open.write();
                }
            }
            Effect::Probe { probe, address } => {
                let wait = self.lookup.wait;
                let attempt = self.tasks.spawn(async move {
                    match timeout(wait, is_read_write(address)).await {
                        Ok(Ok(read_write)) => Done::Event(Event::Probed { probe, read_write }),
                        _ => Done::Nothing,
                    }
                });
                self.attempts.insert(probe, attempt);
            }
        }
    }
}

async fn progress(link: Option<&mut Link>) -> io::Result<()> {
    match link {
        Some(link) => link.progress().await,
        None => pending().await,
    }
}

/// Tells when a deadline is reached that moves on with nearly every call. It rings at an earlier
/// one, and is set again only then: to set a timer wakes the thread that waits for sockets. One
/// `get` at a time took 53.6 us with a timer for each wait, and takes 50.4 us.
struct Alarm(Pin<Box<Sleep>>);

impl Alarm {
    fn new() -> Self {
        Self(Box::pin(sleep_until(Instant::now())))
    }

    /// Dropping the future loses nothing.
    async fn reach(&mut self, deadline: Option<Instant>) {
        let Some(deadline) = deadline else {
            return pending().await;
        };
        let alarm = &mut self.0;
        while Instant::now() < deadline {
            if alarm.is_elapsed() || deadline < alarm.deadline() {
                alarm.as_mut().reset(deadline);
            }
            alarm.as_mut().await;
        }
    }
}

async fn open(link: LinkId, address: SocketAddr) -> Done {
    let connect = async {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        io::Result::Ok(stream)
    };
    match connect.await {
        Ok(stream) => Done::Opened(link, stream),
        Err(error) => Done::Event(Event::LinkClosed {
            link,
            why: error.to_string(),
        }),
    }
}

/// Asks a server by the word `isro`; it closes the connection behind its answer.
async fn is_read_write(address: SocketAddr) -> io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(b"isro").await?;
    let mut answer = Vec::new();
    stream.take(16).read_to_end(&mut answer).await?;
    Ok(answer == b"rw")
}
