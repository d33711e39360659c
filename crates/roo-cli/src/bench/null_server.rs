//! A server that does nothing: every request gets a fixed frame with its xid copied in. What it
//! reaches is the limit of sockets and load generator, to measure real servers against.
//!
//! Same way of I/O as a real one: one thread, non-blocking sockets, one read and one write per
//! batch of frames. It keeps no state and checks nothing.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::SocketAddr;

use anyhow::{Context as _, Result};
use mio::net::{TcpListener, TcpStream};
use mio::{Events, Interest, Poll, Token};

use super::wire::{PING_XID, jute_len, op, word_at};

const LISTENER: Token = Token(usize::MAX);
const READ_BUFFER_LEN: usize = 64 * 1024;
/// Room that is left in the buffer before the next read.
const READ_ROOM_MIN: usize = 16 * 1024;
const FRAME_LEN_MAX: usize = 1 << 27;
const STAT: [u8; 68] = [0; 68];

/// How large the fixed answers are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Answers {
    pub(super) value_size: usize,
    pub(super) children: u32,
    /// Of a multi: so many results of setData.
    pub(super) multi_ops: u32,
}

/// A null server that is bound to its port.
pub(super) struct NullServer {
    listener: TcpListener,
    replies: Replies,
}

impl NullServer {
    /// Binds to `address`.
    pub(super) fn bind(address: SocketAddr, answers: Answers) -> Result<Self> {
        let listener =
            TcpListener::bind(address).with_context(|| format!("listen on {address}"))?;
        Ok(Self {
            listener,
            replies: Replies::new(answers),
        })
    }

    pub(super) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until the process ends.
    pub(super) fn serve(mut self) -> Result<()> {
        let mut poll = Poll::new().context("create an event queue")?;
        let mut events = Events::with_capacity(1024);
        let mut peers: HashMap<Token, Peer> = HashMap::new();
        let mut next_token = 0;
        poll.registry()
            .register(&mut self.listener, LISTENER, Interest::READABLE)
            .context("register the listener")?;
        loop {
            match poll.poll(&mut events, None) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                other => other.context("wait for events")?,
            }
            for event in &events {
                if event.token() != LISTENER {
                    self.serve_peer(&mut peers, event.token());
                    continue;
                }
                while let Ok((mut stream, _)) = self.listener.accept() {
                    let token = Token(next_token);
                    next_token += 1;
                    let interest = Interest::READABLE | Interest::WRITABLE;
                    stream.set_nodelay(true).context("set TCP_NODELAY")?;
                    poll.registry()
                        .register(&mut stream, token, interest)
                        .context("register")?;
                    peers.insert(token, Peer::new(stream));
                }
            }
        }
    }

    /// Dropping the stream of a peer that is done deregisters it.
    fn serve_peer(&self, peers: &mut HashMap<Token, Peer>, token: Token) {
        let Some(peer) = peers.get_mut(&token) else {
            return;
        };
        if !matches!(peer.on_ready(&self.replies), Ok(Progress::Open)) {
            peers.remove(&token);
        }
    }
}

#[derive(PartialEq, Eq)]
enum Progress {
    Open,
    Finished,
}

struct Peer {
    stream: TcpStream,
    input: Vec<u8>,
    filled: usize,
    out: Vec<u8>,
    out_written: usize,
    connected: bool,
    closing: bool,
}

impl Peer {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            input: vec![0; READ_BUFFER_LEN],
            filled: 0,
            out: Vec::new(),
            out_written: 0,
            connected: false,
            closing: false,
        }
    }

    fn on_ready(&mut self, replies: &Replies) -> io::Result<Progress> {
        loop {
            if self.flush()? == Progress::Finished {
                return Ok(Progress::Finished);
            }
            if !self.out.is_empty() {
                return Ok(Progress::Open);
            }
            if self.input.len() - self.filled < READ_ROOM_MIN {
                self.input.resize(self.input.len() * 2, 0);
            }
            let read = match self.stream.read(&mut self.input[self.filled..]) {
                Ok(0) => return Ok(Progress::Finished),
                Ok(read) => read,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Open),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            };
            self.filled += read;
            let emptied = self.filled < self.input.len();
            self.answer(replies)?;
            if emptied {
                return self.flush();
            }
        }
    }

    fn answer(&mut self, replies: &Replies) -> io::Result<()> {
        let mut at = 0;
        while self.filled - at >= 4 {
            let len = usize::try_from(word_at(&self.input, at)).unwrap_or(usize::MAX);
            if !(8..=FRAME_LEN_MAX).contains(&len) {
                return Err(io::ErrorKind::InvalidData.into());
            }
            if self.filled - at < 4 + len {
                break;
            }
            let xid = word_at(&self.input, at + 4);
            let op = word_at(&self.input, at + 8);
            if self.connected {
                replies.push(&mut self.out, xid, op);
                self.closing |= op == op::CLOSE_SESSION;
            } else {
                self.connected = true;
                self.out.extend_from_slice(&replies.connected);
            }
            at += 4 + len;
        }
        self.input.copy_within(at..self.filled, 0);
        self.filled -= at;
        Ok(())
    }

    fn flush(&mut self) -> io::Result<Progress> {
        while self.out_written < self.out.len() {
            match self.stream.write(&self.out[self.out_written..]) {
                Ok(written) => self.out_written += written,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(Progress::Open),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        self.out.clear();
        self.out_written = 0;
        Ok(if self.closing {
            Progress::Finished
        } else {
            Progress::Open
        })
    }
}

/// The fixed frames.
struct Replies {
    connected: Vec<u8>,
    bare: Vec<u8>,
    created: Vec<u8>,
    stat: Vec<u8>,
    data: Vec<u8>,
    children: Vec<u8>,
    count: Vec<u8>,
    multi: Vec<u8>,
}

impl Replies {
    fn new(answers: Answers) -> Self {
        let mut connected = Vec::new();
        connected.extend_from_slice(&37_i32.to_be_bytes());
        connected.extend_from_slice(&0_i32.to_be_bytes()); // protocolVersion
        connected.extend_from_slice(&30_000_i32.to_be_bytes()); // timeOut
        connected.extend_from_slice(&1_i64.to_be_bytes()); // sessionId
        connected.extend_from_slice(&16_i32.to_be_bytes());
        connected.extend_from_slice(&[1; 16]); // passwd
        connected.push(0); // readOnly
        let string = |text: &str| [&jute_len(text.len()).to_be_bytes(), text.as_bytes()].concat();
        let data = [
            &jute_len(answers.value_size).to_be_bytes()[..],
            &vec![7; answers.value_size],
            &STAT,
        ]
        .concat();
        let names: Vec<u8> = (0..answers.children)
            .flat_map(|i| string(&format!("child-{i:08x}")))
            .collect();
        let children = [&answers.children.to_be_bytes()[..], &names].concat();
        // Results of setData: type, done, err, Stat; then the end mark.
        let set_result = [&5_i32.to_be_bytes()[..], &[0; 5], &STAT].concat();
        let end_mark = [&(-1_i32).to_be_bytes()[..], &[1], &(-1_i32).to_be_bytes()].concat();
        Self {
            connected,
            bare: reply(&[]),
            created: reply(&string("/bench-00000/c00000000/n00000000")),
            stat: reply(&STAT),
            data: reply(&data),
            children: reply(&children),
            count: reply(&answers.children.to_be_bytes()),
            multi: reply(&[set_result.repeat(answers.multi_ops as usize), end_mark].concat()),
        }
    }

    fn push(&self, out: &mut Vec<u8>, xid: i32, op: i32) {
        let frame = match op {
            op::CREATE => &self.created,
            op::EXISTS | op::SET_DATA => &self.stat,
            op::GET_DATA => &self.data,
            op::GET_CHILDREN => &self.children,
            op::GET_ALL_CHILDREN_NUMBER => &self.count,
            op::MULTI => &self.multi,
            _ => &self.bare,
        };
        let xid = if op == op::PING { PING_XID } else { xid };
        let start = out.len();
        out.extend_from_slice(frame);
        out[start + 4..start + 8].copy_from_slice(&xid.to_be_bytes());
    }
}

/// A frame with length, a header of xid 0, zxid 1, no error, and `body`.
fn reply(body: &[u8]) -> Vec<u8> {
    let len = jute_len(16 + body.len()).to_be_bytes();
    [&len[..], &[0; 4], &1_i64.to_be_bytes(), &[0; 4], body].concat()
}
