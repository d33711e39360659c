//! A session that lasts: it moves to another server whenever its own one fails it, sets its
//! watches anew there, and knows which of its requests may or may not have been done.

use std::collections::BTreeSet;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::dice::Dice;
use crate::servers::pause;
use crate::wire::{Hello, In, Out, packet};

/// Opcodes.
pub(super) mod op {
    pub(in super::super) const DELETE: i32 = 2;
    pub(in super::super) const EXISTS: i32 = 3;
    pub(in super::super) const GET_DATA: i32 = 4;
    pub(in super::super) const SET_DATA: i32 = 5;
    pub(in super::super) const SYNC: i32 = 9;
    pub(in super::super) const PING: i32 = 11;
    pub(in super::super) const GET_CHILDREN2: i32 = 12;
    pub(in super::super) const CREATE2: i32 = 15;
    pub(in super::super) const SET_WATCHES2: i32 = 105;
    pub(in super::super) const ADD_WATCH: i32 = 106;
    pub(in super::super) const CLOSE: i32 = -11;
}

/// Error codes.
pub(super) const NO_NODE: i32 = -101;
pub(super) const NODE_EXISTS: i32 = -110;
pub(super) const SESSION_EXPIRED: i32 = -112;
pub(super) const SESSION_MOVED: i32 = -118;

/// A server that does not answer for so long is left.
const SILENCE_LIMIT: Duration = Duration::from_secs(3);

/// Between two attempts to connect.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(3);

/// A session that finds no server for so long gives up.
const SERVICE_LIMIT: Duration = Duration::from_secs(120);

const PING_XID: i32 = -2;
const SET_WATCHES_XID: i32 = -8;
const EVENT_XID: i32 = -1;

/// A watch event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Event {
    pub(super) kind: i32,
    pub(super) path: String,
}

/// A reply that came.
#[derive(Clone, Debug)]
pub(super) struct Reply {
    pub(super) zxid: i64,
    /// 0 is success.
    pub(super) error: i32,
    pub(super) body: Vec<u8>,
}

/// What became of a request.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Reply(Reply),
    /// The connection ended first: it may have been done or not.
    Unknown,
}

/// What a session is.
#[derive(Debug)]
pub(super) enum Trouble {
    /// The servers say that it is over, and this is how long they have not heard of it.
    Expired(Duration),
}

impl std::fmt::Display for Trouble {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self::Expired(silence) = self;
        write!(
            f,
            "the session has expired {silence:?} after its last request that was answered"
        )
    }
}

impl std::error::Error for Trouble {}

struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Connection {
    fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&address, Duration::from_millis(500))?;
        stream.set_nodelay(true)?;
        stream.set_write_timeout(Some(SILENCE_LIMIT))?;
        Ok(Self {
            stream,
            received: Vec::new(),
        })
    }

    fn send(&mut self, bytes: &[u8]) -> Result<()> {
        Ok(self.stream.write_all(bytes)?)
    }

    /// The next frame; `None` when none comes until the deadline.
    fn receive(&mut self, deadline: Instant) -> Result<Option<Vec<u8>>> {
        loop {
            if let Some((head, rest)) = self.received.split_first_chunk::<4>() {
                let length = usize::try_from(i32::from_be_bytes(*head))?;
                if let Some((frame, rest)) = rest.split_at_checked(length) {
                    let frame = frame.to_vec();
                    self.received = rest.to_vec();
                    return Ok(Some(frame));
                }
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left < Duration::from_millis(1) {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut buffer = [0; 16 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => bail!("closed by the server"),
                Ok(length) => self.received.extend_from_slice(&buffer[..length]),
                Err(error)
                    if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// See the module.
pub(super) struct Session {
    servers: Vec<SocketAddr>,
    timeout_ms: i32,
    connection: Option<Connection>,
    /// 0 before the first connection.
    pub(super) id: i64,
    password: Vec<u8>,
    pub(super) last_zxid: i64,
    xid: i32,
    dice: Dice,
    /// When the last request was sent that was answered.
    pub(super) heard: Instant,
    /// Events that have come and nobody has taken.
    pub(super) events: Vec<Event>,
    /// One-shot watches on data that have not fired.
    pub(super) data_watches: BTreeSet<String>,
    /// Persistent recursive watches.
    pub(super) recursive_watches: BTreeSet<String>,
    /// How often it has connected.
    pub(super) connections: u64,
}

impl Session {
    /// A session that begins with its first request.
    pub(super) fn new(servers: Vec<SocketAddr>, timeout_ms: i32, dice: Dice) -> Self {
        Self {
            servers,
            timeout_ms,
            connection: None,
            id: 0,
            password: vec![0; 16],
            last_zxid: 0,
            xid: 0,
            dice,
            heard: Instant::now(),
            events: Vec::new(),
            data_watches: BTreeSet::new(),
            recursive_watches: BTreeSet::new(),
            connections: 0,
        }
    }

    /// From here on it connects to these.
    pub(super) fn use_servers(&mut self, servers: Vec<SocketAddr>) {
        self.servers = servers;
    }

    /// Leaves its server without a word; the session goes on.
    pub(super) fn disconnect(&mut self) {
        self.connection = None;
    }

    /// Connects, if it is not connected, to any server that takes it.
    pub(super) fn connect(&mut self) -> Result<()> {
        let began = Instant::now();
        while self.connection.is_none() {
            let server = self.servers[self.dice.below(self.servers.len())];
            match self.attempt(server) {
                Ok(()) => {}
                Err(error) if error.is::<Trouble>() => return Err(error),
                Err(error) => {
                    ensure!(
                        began.elapsed() < SERVICE_LIMIT,
                        "no server serves in {SERVICE_LIMIT:?}; the last trouble: {error:#}"
                    );
                    pause(ATTEMPT_INTERVAL);
                }
            }
        }
        Ok(())
    }

    /// Connects to one server.
    fn attempt(&mut self, server: SocketAddr) -> Result<()> {
        let mut connection = Connection::open(server)?;
        let hello = Hello {
            last_zxid: self.last_zxid,
            timeout: self.timeout_ms,
            session: self.id,
            password: self.password.clone(),
            with_read_only: true,
        };
        let sent = Instant::now();
        connection.send(&Out::default().buffer(Some(&hello.body())).0)?;
        let frame = connection.receive(sent + SILENCE_LIMIT)?;
        let frame = frame.context("no answer to the handshake")?;
        let mut r = In(&frame);
        r.int()?;
        let timeout_ms = r.int()?;
        let id = r.long()?;
        if timeout_ms == 0 {
            return Err(Trouble::Expired(self.heard.elapsed()).into());
        }
        ensure!(
            timeout_ms == self.timeout_ms,
            "asked for a timeout of {} ms and got {timeout_ms}",
            self.timeout_ms
        );
        ensure!(
            self.id == 0 || self.id == id,
            "session {:x} became {id:x}",
            self.id
        );
        self.id = id;
        self.password = r.buffer()?.unwrap_or_default().to_vec();
        self.heard = sent;
        self.connections += 1;
        if !(self.data_watches.is_empty() && self.recursive_watches.is_empty()) {
            connection.send(&packet(
                SET_WATCHES_XID,
                op::SET_WATCHES2,
                &self.set_watches(),
            ))?;
        }
        self.connection = Some(connection);
        Ok(())
    }

    fn set_watches(&self) -> Vec<u8> {
        let list = |out: Out, paths: &BTreeSet<String>| {
            let out = out.int(i32::try_from(paths.len()).unwrap_or(i32::MAX));
            paths.iter().fold(out, |out, path| out.text(path))
        };
        let out = list(Out::default().long(self.last_zxid), &self.data_watches);
        list(out.int(0).int(0).int(0), &self.recursive_watches).0
    }

    /// Sends a request once, and waits for what becomes of it.
    pub(super) fn call(&mut self, op: i32, body: &[u8]) -> Result<Answer> {
        self.connect()?;
        self.xid += 1;
        let xid = if op == op::PING { PING_XID } else { self.xid };
        let sent = Instant::now();
        let Some(connection) = &mut self.connection else {
            return Ok(Answer::Unknown);
        };
        if connection.send(&packet(xid, op, body)).is_err() {
            self.connection = None;
            return Ok(Answer::Unknown);
        }
        let Some(reply) = self.await_reply(xid, sent + SILENCE_LIMIT)? else {
            self.connection = None;
            return Ok(Answer::Unknown);
        };
        if matches!(reply.error, SESSION_EXPIRED | SESSION_MOVED) {
            self.connection = None;
            if reply.error == SESSION_EXPIRED {
                return Err(Trouble::Expired(self.heard.elapsed()).into());
            }
            return Ok(Answer::Unknown);
        }
        self.heard = sent;
        if xid > 0 && reply.zxid > 0 {
            ensure!(
                reply.zxid >= self.last_zxid,
                "session {:x} has seen zxid {:x} and then {:x}",
                self.id,
                self.last_zxid,
                reply.zxid
            );
            self.last_zxid = reply.zxid;
        }
        Ok(Answer::Reply(reply))
    }

    /// `None` when the connection ends or the server is silent.
    fn await_reply(&mut self, xid: i32, deadline: Instant) -> Result<Option<Reply>> {
        loop {
            let connection = self.connection.as_mut().context("not connected")?;
            let Ok(Some(frame)) = connection.receive(deadline) else {
                return Ok(None);
            };
            let mut r = In(&frame);
            let (found, zxid, error) = (r.int()?, r.long()?, r.int()?);
            if found == EVENT_XID {
                let (kind, _state, path) = (r.int()?, r.int()?, r.text()?);
                self.data_watches.remove(&path);
                self.events.push(Event { kind, path });
            } else if found == xid {
                return Ok(Some(Reply {
                    zxid,
                    error,
                    body: r.0.to_vec(),
                }));
            } else {
                ensure!(
                    found == SET_WATCHES_XID,
                    "a reply to {found} instead of {xid}"
                );
                ensure!(error == 0, "setWatches is answered with {error}");
            }
        }
    }

    /// A request that may be repeated until there is a reply.
    pub(super) fn ask(&mut self, op: i32, body: &[u8]) -> Result<Reply> {
        loop {
            if let Answer::Reply(reply) = self.call(op, body)? {
                return Ok(reply);
            }
        }
    }

    /// Its server knows all that was acknowledged before this.
    pub(super) fn sync(&mut self) -> Result<()> {
        let reply = self.ask(op::SYNC, &Out::default().text("/").0)?;
        ensure!(reply.error == 0, "sync is answered with {}", reply.error);
        Ok(())
    }

    /// A sync and a read on one connection: what was acknowledged before is in the reply.
    pub(super) fn synced(&mut self, op: i32, body: &[u8]) -> Result<Reply> {
        loop {
            self.sync()?;
            let connection = self.connections;
            let reply = self.ask(op, body)?;
            if self.connections == connection {
                return Ok(reply);
            }
        }
    }

    /// Sets data whatever its version.
    pub(super) fn set(&mut self, path: &str, value: &str) -> Result<Answer> {
        let body = Out::default().text(path).buffer(Some(value.as_bytes()));
        self.call(op::SET_DATA, &body.int(-1).0)
    }

    /// Creates a node that anyone may change; `flags` as in Java's `CreateMode`.
    pub(super) fn create(&mut self, path: &str, value: &str, flags: i32) -> Result<Answer> {
        self.call(op::CREATE2, &create_body(path, value, flags))
    }

    /// Creates a node unless it is there.
    pub(super) fn ensure_node(&mut self, path: &str) -> Result<()> {
        let reply = self.ask(op::CREATE2, &create_body(path, "", 0))?;
        ensure!(
            matches!(reply.error, 0 | NODE_EXISTS),
            "create {path} is answered with {}",
            reply.error
        );
        Ok(())
    }

    pub(super) fn delete(&mut self, path: &str) -> Result<Answer> {
        self.call(op::DELETE, &Out::default().text(path).int(-1).0)
    }

    /// Children of a node that exists, in no order.
    pub(super) fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let body = Out::default().text(path).flag(false).0;
        let reply = self.ask(op::GET_CHILDREN2, &body)?;
        ensure!(reply.error == 0, "{path} cannot be listed: {}", reply.error);
        let mut r = In(&reply.body);
        (0..r.int()?).map(|_| r.text()).collect()
    }

    /// Ends the session. `Unknown` may have ended it.
    pub(super) fn close(&mut self) -> Result<Answer> {
        self.call(op::CLOSE, &[])
    }
}

fn create_body(path: &str, value: &str, flags: i32) -> Vec<u8> {
    let out = Out::default().text(path).buffer(Some(value.as_bytes()));
    // All permissions for world:anyone.
    out.int(1).int(31).text("world").text("anyone").int(flags).0
}

/// Path and body of getData and exists.
pub(super) fn path_and_watch(path: &str, watch: Watch) -> Vec<u8> {
    Out::default().text(path).flag(watch == Watch::Set).0
}

/// Whether a read leaves a watch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    None,
    Set,
}

/// What of a node's stat matters here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Stat {
    pub(super) czxid: i64,
    pub(super) mzxid: i64,
    pub(super) version: i32,
    pub(super) owner: i64,
}

impl Stat {
    /// Reads a whole stat.
    pub(super) fn read(r: &mut In<'_>) -> Result<Self> {
        let (czxid, mzxid) = (r.long()?, r.long()?);
        // ctime and mtime.
        r.long()?;
        r.long()?;
        let version = r.int()?;
        // cversion and aversion.
        r.int()?;
        r.int()?;
        let owner = r.long()?;
        // dataLength, numChildren and pzxid.
        r.int()?;
        r.int()?;
        r.long()?;
        Ok(Self {
            czxid,
            mzxid,
            version,
            owner,
        })
    }
}
