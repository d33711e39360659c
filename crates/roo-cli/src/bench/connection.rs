//! One session of the generator on a non-blocking socket: what it has sent, what is under way,
//! what has come back. One read and one write per batch of frames.
//!
//! Does not decide when to send: `worker`, `sessions` and `fanout` do.

use std::collections::VecDeque;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, SocketAddr};

use anyhow::{Context as _, Result, bail, ensure};
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use socket2::{Domain, Socket, Type};

use super::wire::{self, Deframer, EVENT_XID, Head, PING_XID, Template, op};

/// What a connection learns from one reply.
#[derive(Clone, Copy, Debug)]
pub(super) enum Received<T> {
    /// The answer to a connect request.
    Connected,
    /// The answer to a request.
    Reply { request: Sent<T>, head: Head },
    /// The answer to a ping.
    Pong { sent_ns: u64 },
    /// A watch event.
    WatchEvent,
}

/// A request under way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sent<T> {
    /// What the caller knows it by.
    pub(super) tag: T,
    /// When it was sent, or should have been in an open loop.
    pub(super) due_ns: u64,
    xid: i32,
}

/// A session's connection; `T` tags its requests.
#[derive(Debug)]
pub(super) struct Connection<T> {
    stream: TcpStream,
    server: SocketAddr,
    handshake_done: bool,
    out: Vec<u8>,
    out_written: usize,
    deframer: Deframer,
    in_flight: VecDeque<Sent<T>>,
    next_xid: i32,
    last_sent_ns: u64,
    ping_sent_ns: u64,
    timeout_ms: i32,
}

impl<T: Copy> Connection<T> {
    /// Starts to connect; the connect request is queued.
    pub(super) fn open(
        server: SocketAddr,
        from: Option<IpAddr>,
        timeout_ms: i32,
        now_ns: u64,
    ) -> Result<Self> {
        let connecting = match from {
            Some(from) => connect_from(from, server),
            None => TcpStream::connect(server),
        };
        let stream = connecting.with_context(|| format!("connect to {server}"))?;
        stream.set_nodelay(true).context("set TCP_NODELAY")?;
        Ok(Self {
            stream,
            server,
            handshake_done: false,
            out: wire::connect_request(timeout_ms),
            out_written: 0,
            deframer: Deframer::default(),
            in_flight: VecDeque::new(),
            next_xid: 1,
            last_sent_ns: now_ns,
            ping_sent_ns: 0,
            timeout_ms,
        })
    }

    pub(super) fn register(&mut self, registry: &Registry, token: Token) -> io::Result<()> {
        let interest = Interest::READABLE | Interest::WRITABLE;
        registry.register(&mut self.stream, token, interest)
    }

    pub(super) fn deregister(&mut self, registry: &Registry) -> io::Result<()> {
        registry.deregister(&mut self.stream)
    }

    /// How many requests are under way.
    pub(super) fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Queues the request that `encode` appends under the xid it is given.
    pub(super) fn queue(&mut self, due_ns: u64, encode: impl FnOnce(&mut Vec<u8>, i32) -> T) {
        let xid = self.next_xid;
        self.next_xid = if xid == i32::MAX { 1 } else { xid + 1 };
        let tag = encode(&mut self.out, xid);
        self.in_flight.push_back(Sent { tag, due_ns, xid });
    }

    /// Queues a ping if nothing was sent for a third of the session timeout.
    pub(super) fn keep_alive(&mut self, now_ns: u64) {
        let idle_ms = now_ns.saturating_sub(self.last_sent_ns) / 1_000_000;
        if self.handshake_done && idle_ms >= u64::from(self.timeout_ms.unsigned_abs()) / 3 {
            Template::new(op::PING).push(&mut self.out, PING_XID, &[]);
            self.ping_sent_ns = now_ns;
        }
    }

    /// Writes what is queued, as far as the socket takes it.
    pub(super) fn flush(&mut self, now_ns: u64) -> Result<()> {
        while self.out_written < self.out.len() {
            match self.stream.write(&self.out[self.out_written..]) {
                Ok(0) => bail!("{}: the connection takes no more bytes", self.server),
                Ok(written) => self.out_written += written,
                // NotConnected: the socket becomes writable when the connection stands.
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                    ) =>
                {
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e).with_context(|| format!("write to {}", self.server)),
            }
        }
        if self.out_written > 0 {
            self.last_sent_ns = now_ns;
            self.out_written = 0;
            self.out.clear();
        }
        Ok(())
    }

    /// Reads until the socket is empty and hands over each reply.
    pub(super) fn receive(
        &mut self,
        buffer: &mut [u8],
        mut on_received: impl FnMut(Received<T>) -> Result<()>,
    ) -> Result<()> {
        loop {
            let read = match self.stream.read(buffer) {
                Ok(0) => bail!("{}: the server closed the connection", self.server),
                Ok(read) => read,
                Err(e)
                    if matches!(
                        e.kind(),
                        io::ErrorKind::WouldBlock | io::ErrorKind::NotConnected
                    ) =>
                {
                    return Ok(());
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e).with_context(|| format!("read from {}", self.server)),
            };
            let mut deframer = std::mem::take(&mut self.deframer);
            deframer.feed(&buffer[..read], |head| on_received(self.matched(head)?))?;
            self.deframer = deframer;
            // A short read has emptied the socket: the edge that follows brings the next event.
            if read < buffer.len() {
                return Ok(());
            }
        }
    }

    fn matched(&mut self, head: Head) -> Result<Received<T>> {
        if !self.handshake_done {
            ensure!(
                head.word > 0,
                "{}: the server refuses a new session",
                self.server
            );
            self.handshake_done = true;
            self.timeout_ms = head.word;
            return Ok(Received::Connected);
        }
        match head.xid {
            EVENT_XID => Ok(Received::WatchEvent),
            PING_XID => Ok(Received::Pong {
                sent_ns: self.ping_sent_ns,
            }),
            xid => {
                let request = self.in_flight.pop_front().with_context(|| {
                    format!("{}: a reply to xid {xid}, which was not asked", self.server)
                })?;
                ensure!(
                    request.xid == xid,
                    "{}: a reply to xid {xid} where xid {} was due",
                    self.server,
                    request.xid
                );
                Ok(Received::Reply { request, head })
            }
        }
    }

    /// Asks the server to close the session. The reply is not waited for: `finish` does that.
    pub(super) fn queue_close(&mut self) {
        Template::new(op::CLOSE_SESSION).push(&mut self.out, self.next_xid, &[]);
    }

    /// Waits until the server has closed the connection, whatever it still sends.
    pub(super) fn finish(self, patience: std::time::Duration) -> io::Result<()> {
        let mut stream = std::net::TcpStream::from(self.stream);
        stream.set_nonblocking(false)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(patience))?;
        stream.write_all(&self.out[self.out_written..])?;
        io::copy(&mut stream, &mut io::sink()).map(|_| ())
    }
}

/// Starts to connect with a local address of the caller's choice.
fn connect_from(from: IpAddr, server: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(server), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::new(from, 0).into())?;
    match socket.connect(&server.into()) {
        // The socket becomes writable when the connection stands.
        Err(e) if e.raw_os_error() == Some(rustix::io::Errno::INPROGRESS.raw_os_error()) => {}
        other => other?,
    }
    Ok(TcpStream::from_std(socket.into()))
}
