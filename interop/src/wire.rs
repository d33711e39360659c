//! A client of its own, down to the bytes: an oracle must not trust the codec that it tests.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

/// Writes records.
#[derive(Clone, Debug, Default)]
pub struct Out(pub Vec<u8>);

impl Out {
    /// A 32-bit integer.
    #[must_use]
    pub fn int(mut self, value: i32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A 64-bit integer.
    #[must_use]
    pub fn long(mut self, value: i64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }

    /// A boolean.
    #[must_use]
    pub fn flag(mut self, value: bool) -> Self {
        self.0.push(u8::from(value));
        self
    }

    /// A buffer or null.
    #[must_use]
    pub fn buffer(self, value: Option<&[u8]>) -> Self {
        match value {
            None => self.int(-1),
            Some(bytes) => {
                let mut out = self.int(i32::try_from(bytes.len()).unwrap_or(i32::MAX));
                out.0.extend_from_slice(bytes);
                out
            }
        }
    }

    /// A string.
    #[must_use]
    pub fn text(self, value: &str) -> Self {
        self.buffer(Some(value.as_bytes()))
    }

    /// Raw bytes.
    #[must_use]
    pub fn raw(mut self, bytes: &[u8]) -> Self {
        self.0.extend_from_slice(bytes);
        self
    }
}

/// A request as it goes over the wire, length and all.
#[must_use]
pub fn packet(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let request = Out::default().int(xid).int(op).raw(body).0;
    Out::default().buffer(Some(&request)).0
}

/// Reads records.
#[derive(Clone, Debug)]
pub struct In<'a>(pub &'a [u8]);

impl<'a> In<'a> {
    fn take(&mut self, n: usize) -> Result<&'a [u8]> {
        let (head, tail) = self.0.split_at_checked(n).context("the reply ends early")?;
        self.0 = tail;
        Ok(head)
    }

    /// A 32-bit integer.
    ///
    /// # Errors
    /// At the end.
    pub fn int(&mut self) -> Result<i32> {
        Ok(i32::from_be_bytes(self.take(4)?.try_into()?))
    }

    /// A 64-bit integer.
    ///
    /// # Errors
    /// At the end.
    pub fn long(&mut self) -> Result<i64> {
        Ok(i64::from_be_bytes(self.take(8)?.try_into()?))
    }

    /// A boolean.
    ///
    /// # Errors
    /// At the end.
    pub fn flag(&mut self) -> Result<bool> {
        Ok(self.take(1)?.iter().any(|byte| *byte != 0))
    }

    /// A buffer or null.
    ///
    /// # Errors
    /// At the end.
    pub fn buffer(&mut self) -> Result<Option<&'a [u8]>> {
        match self.int()? {
            -1 => Ok(None),
            n => self.take(usize::try_from(n)?).map(Some),
        }
    }

    /// A string.
    ///
    /// # Errors
    /// At the end.
    pub fn text(&mut self) -> Result<String> {
        Ok(self
            .buffer()?
            .map_or("null".into(), |b| String::from_utf8_lossy(b).into_owned()))
    }
}

/// A session with its connection.
#[derive(Debug)]
pub struct Client {
    stream: TcpStream,
    /// 0 when the server refused it.
    pub session: i64,
    /// What resumes it.
    pub password: Vec<u8>,
    /// As negotiated; 0 when refused.
    pub timeout: i32,
    /// Bytes of the connect response.
    pub response_size: usize,
    /// The server has closed the connection.
    pub closed: bool,
}

/// How to open a session.
#[derive(Clone, Debug)]
pub struct Hello {
    /// Largest zxid seen.
    pub last_zxid: i64,
    /// Asked for, ms.
    pub timeout: i32,
    /// 0 for a new one.
    pub session: i64,
    /// Of the session.
    pub password: Vec<u8>,
    /// Whether the readOnly byte is sent.
    pub with_read_only: bool,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            last_zxid: 0,
            timeout: 30_000,
            session: 0,
            password: vec![0; 16],
            with_read_only: true,
        }
    }
}

impl Hello {
    /// The packet, without its length.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        let out = Out::default()
            .int(0)
            .long(self.last_zxid)
            .int(self.timeout)
            .long(self.session)
            .buffer(Some(&self.password));
        if self.with_read_only {
            out.flag(false).0
        } else {
            out.0
        }
    }
}

/// How long a server may take to answer. Machines that run this may be busy with something else.
const REPLY_LIMIT: Duration = Duration::from_secs(60);

/// A reply or event, without its length.
pub type Frame = Vec<u8>;

impl Client {
    /// Opens a session; `closed` when the server ends the connection instead.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn connect(address: SocketAddr, hello: &Hello) -> Result<Self> {
        let mut client = Self::open(address)?;
        client.greet(hello)?;
        client.await_welcome()?;
        Ok(client)
    }

    /// Connects without a word.
    ///
    /// # Errors
    /// When the server cannot be reached.
    pub fn open(address: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_LIMIT))?;
        stream.set_write_timeout(Some(REPLY_LIMIT))?;
        Ok(Self {
            stream,
            session: 0,
            password: Vec::new(),
            timeout: 0,
            response_size: 0,
            closed: false,
        })
    }

    /// Sends the handshake.
    ///
    /// # Errors
    /// As [`Client::send_frame`].
    pub fn greet(&mut self, hello: &Hello) -> Result<()> {
        self.send_frame(&hello.body())
    }

    /// Receives the answer to the handshake.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn await_welcome(&mut self) -> Result<()> {
        if let Some(frame) = self.receive()? {
            let mut r = In(&frame);
            r.int()?;
            self.timeout = r.int()?;
            self.session = r.long()?;
            self.password = r.buffer()?.unwrap_or_default().to_vec();
            self.response_size = frame.len();
        }
        Ok(())
    }

    /// Sends bytes as they are; a connection that is broken becomes `closed`.
    pub fn send_raw(&mut self, bytes: &[u8]) {
        if self.stream.write_all(bytes).is_err() {
            self.closed = true;
        }
    }

    /// What takes the session up again on another connection.
    #[must_use]
    pub fn resumption(&self) -> Hello {
        Hello {
            session: self.session,
            password: self.password.clone(),
            ..Hello::default()
        }
    }

    /// Ends the connection without a word; the session lives on.
    pub fn hang_up(&mut self) {
        // It may be gone already.
        let _ = self.stream.shutdown(std::net::Shutdown::Both);
        self.closed = true;
    }

    /// Sends a packet.
    ///
    /// # Errors
    /// When the connection is broken for another reason than its end.
    pub fn send_frame(&mut self, body: &[u8]) -> Result<()> {
        self.send_raw(&Out::default().buffer(Some(body)).0);
        Ok(())
    }

    /// Sends a request.
    ///
    /// # Errors
    /// As [`Client::send_frame`].
    pub fn send(&mut self, xid: i32, op: i32, body: &[u8]) -> Result<()> {
        self.send_raw(&packet(xid, op, body));
        Ok(())
    }

    /// The next packet; `None` when the server has closed the connection.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn receive(&mut self) -> Result<Option<Frame>> {
        let mut length = [0; 4];
        if !self.fill(&mut length)? {
            return Ok(None);
        }
        let length = i32::from_be_bytes(length);
        ensure!(length >= 0, "a reply of length {length}");
        let mut frame = vec![0; usize::try_from(length)?];
        Ok(self.fill(&mut frame)?.then_some(frame))
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<bool> {
        match self.stream.read_exact(buffer) {
            Ok(()) => Ok(true),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) =>
            {
                Err(error).context("no reply in time")
            }
            Err(_) => {
                self.closed = true;
                Ok(false)
            }
        }
    }

    /// Everything up to and with the reply to `xid`, or to the end of the connection.
    ///
    /// # Errors
    /// When nothing comes in time.
    pub fn receive_until(&mut self, xid: i32) -> Result<Vec<Frame>> {
        let mut frames = Vec::new();
        while !self.closed
            && let Some(frame) = self.receive()?
        {
            let found = In(&frame).int()?;
            frames.push(frame);
            if found == xid {
                break;
            }
        }
        Ok(frames)
    }
}
