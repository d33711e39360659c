//! The little of the client protocol that a load generator needs: request frames that are encoded
//! once and then only patched, and a reader of reply headers that skips every body.
//!
//! Does not decode results, and deliberately does not use `roo-proto`: a bug shared by server and
//! generator would hide from both, and a full codec would cost the CPU that is being measured.

use anyhow::{Context as _, Result, ensure};

/// Operation numbers used here.
pub(super) mod op {
    pub(crate) const CREATE: i32 = 1;
    pub(crate) const DELETE: i32 = 2;
    pub(crate) const EXISTS: i32 = 3;
    pub(crate) const GET_DATA: i32 = 4;
    pub(crate) const SET_DATA: i32 = 5;
    pub(crate) const GET_CHILDREN: i32 = 8;
    pub(crate) const PING: i32 = 11;
    pub(crate) const CHECK: i32 = 13;
    pub(crate) const MULTI: i32 = 14;
    pub(crate) const GET_ALL_CHILDREN_NUMBER: i32 = 104;
    pub(crate) const CLOSE_SESSION: i32 = -11;
}

/// The create modes used here.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    Persistent = 0,
    Ephemeral = 1,
    PersistentSequential = 2,
}

/// The xid of pings and of their replies.
pub(super) const PING_XID: i32 = -2;
/// The xid of watch events.
pub(super) const EVENT_XID: i32 = -1;

/// The first frame of a connection: a new session, no state seen.
pub(super) fn connect_request(timeout_ms: i32) -> Vec<u8> {
    let mut frame = Vec::with_capacity(49);
    frame.extend_from_slice(&45_i32.to_be_bytes());
    frame.extend_from_slice(&[0; 12]); // protocolVersion, lastZxidSeen
    frame.extend_from_slice(&timeout_ms.to_be_bytes());
    frame.extend_from_slice(&[0; 8]); // sessionId
    frame.extend_from_slice(&16_i32.to_be_bytes());
    frame.extend_from_slice(&[0; 17]); // passwd, readOnly
    frame
}

/// A request frame with holes: the xid, and eight hexadecimal digits for each `#` in its paths.
#[derive(Clone, Debug)]
pub(super) struct Template {
    bytes: Vec<u8>,
    holes: Vec<usize>,
}

impl Template {
    /// Starts the frame of an operation without a body.
    pub(super) fn new(op: i32) -> Self {
        let mut bytes = vec![0; 8];
        bytes.extend_from_slice(&op.to_be_bytes());
        Self {
            bytes,
            holes: Vec::new(),
        }
        .sealed()
    }

    /// A read of `path`, watching it or not (exists, getData, getChildren).
    pub(super) fn read(op: i32, path: &str, watch: Watch) -> Self {
        Self::new(op).path(path).raw(&[watch as u8])
    }

    /// getAllChildrenNumber of `path`.
    pub(super) fn count(path: &str) -> Self {
        Self::new(op::GET_ALL_CHILDREN_NUMBER).path(path)
    }

    /// setData without a version.
    pub(super) fn set(path: &str, value: &[u8]) -> Self {
        Self::new(op::SET_DATA).set_body(path, value)
    }

    /// create, open to the world.
    pub(super) fn create(path: &str, value: &[u8], mode: Mode) -> Self {
        Self::new(op::CREATE).create_body(path, value, mode)
    }

    /// delete without a version.
    pub(super) fn delete(path: &str) -> Self {
        Self::new(op::DELETE).path(path).int(-1)
    }

    /// Adds a setData to a multi.
    pub(super) fn multi_set(self, path: &str, value: &[u8]) -> Self {
        self.multi_header(op::SET_DATA).set_body(path, value)
    }

    /// Adds a create to a multi.
    pub(super) fn multi_create(self, path: &str, value: &[u8]) -> Self {
        self.multi_header(op::CREATE)
            .create_body(path, value, Mode::Persistent)
    }

    /// Adds a delete to a multi.
    pub(super) fn multi_delete(self, path: &str) -> Self {
        self.multi_header(op::DELETE).path(path).int(-1)
    }

    /// Adds a check that `path` exists to a multi.
    pub(super) fn multi_check(self, path: &str) -> Self {
        self.multi_header(op::CHECK).path(path).int(-1)
    }

    /// Ends a multi.
    pub(super) fn multi_end(self) -> Self {
        self.int(-1).raw(&[1]).int(-1)
    }

    /// Appends the frame to `out` under `xid`, the holes filled with `numbers` in order.
    pub(super) fn push(&self, out: &mut Vec<u8>, xid: i32, numbers: &[u32]) {
        debug_assert_eq!(numbers.len(), self.holes.len());
        let start = out.len();
        out.extend_from_slice(&self.bytes);
        let frame = &mut out[start..];
        frame[4..8].copy_from_slice(&xid.to_be_bytes());
        for (&hole, &number) in self.holes.iter().zip(numbers) {
            frame[hole..hole + 8].copy_from_slice(&hex(number));
        }
    }

    /// The frame as bytes of its own, for the slow paths.
    pub(super) fn frame(&self, xid: i32, numbers: &[u32]) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.bytes.len());
        self.push(&mut out, xid, numbers);
        out
    }

    fn multi_header(self, op: i32) -> Self {
        self.int(op).raw(&[0]).int(-1)
    }

    fn set_body(self, path: &str, value: &[u8]) -> Self {
        self.path(path).buffer(value).int(-1)
    }

    fn create_body(self, path: &str, value: &[u8], mode: Mode) -> Self {
        self.path(path)
            .buffer(value)
            .int(1)
            .int(31)
            .text("world")
            .text("anyone")
            .int(mode as i32)
    }

    fn path(mut self, path: &str) -> Self {
        let expanded = path.replace('#', "00000000");
        let text_start = self.bytes.len() + 4;
        let mut grown = 0;
        for (at, _) in path.match_indices('#') {
            self.holes.push(text_start + at + grown);
            grown += 7;
        }
        self.text(&expanded)
    }

    fn text(self, text: &str) -> Self {
        self.buffer(text.as_bytes())
    }

    fn buffer(self, bytes: &[u8]) -> Self {
        self.int(jute_len(bytes.len())).raw(bytes)
    }

    fn int(self, value: i32) -> Self {
        self.raw(&value.to_be_bytes())
    }

    fn raw(mut self, bytes: &[u8]) -> Self {
        self.bytes.extend_from_slice(bytes);
        self.sealed()
    }

    fn sealed(mut self) -> Self {
        let len = jute_len(self.bytes.len() - 4);
        self.bytes[..4].copy_from_slice(&len.to_be_bytes());
        self
    }
}

/// Whether a read leaves a watch.
#[derive(Clone, Copy)]
pub(super) enum Watch {
    No = 0,
    Yes = 1,
}

/// Lengths here come from options that are checked to be small.
pub(super) fn jute_len(len: usize) -> i32 {
    i32::try_from(len).unwrap_or(i32::MAX)
}

fn hex(number: u32) -> [u8; 8] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 8];
    for (i, digit) in text.iter_mut().enumerate() {
        *digit = DIGITS[(number >> (28 - 4 * i) & 0xf) as usize];
    }
    text
}

/// What the generator wants to know of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Head {
    pub(super) xid: i32,
    pub(super) err: i32,
    /// Bytes 4 to 8 of the body; in the answer to a connect request this is the session timeout.
    pub(super) word: i32,
    /// The first four bytes behind the header: -1 in the answer to a multi that failed.
    pub(super) first_body_word: Option<i32>,
    /// The whole frame with its length prefix.
    pub(super) bytes: usize,
}

/// The header of a reply with its length prefix.
const HEADER_LEN: usize = 20;
/// The header and the four bytes that tell a failed multi.
const HEAD_LEN: usize = HEADER_LEN + 4;

/// Cuts a byte stream into reply heads without keeping the bodies.
#[derive(Debug, Default)]
pub(super) struct Deframer {
    head: [u8; HEAD_LEN],
    have: usize,
    skip: usize,
}

impl Deframer {
    /// Takes `bytes` and calls `on_reply` for each reply whose head is complete.
    ///
    /// A reply is reported when its head has arrived; the rest of its body may still be under way,
    /// by less than one read.
    pub(super) fn feed(
        &mut self,
        mut bytes: &[u8],
        mut on_reply: impl FnMut(Head) -> Result<()>,
    ) -> Result<()> {
        while !bytes.is_empty() {
            if self.skip > 0 {
                let skipped = self.skip.min(bytes.len());
                self.skip -= skipped;
                bytes = &bytes[skipped..];
                continue;
            }
            let wanted = self.wanted()?;
            let taken = (wanted - self.have).min(bytes.len());
            self.head[self.have..self.have + taken].copy_from_slice(&bytes[..taken]);
            self.have += taken;
            bytes = &bytes[taken..];
            if self.have > 4 && self.have == self.wanted()? {
                let head = self.take_head()?;
                on_reply(head)?;
            }
        }
        Ok(())
    }

    fn wanted(&self) -> Result<usize> {
        if self.have < 4 {
            return Ok(4);
        }
        let len = self.body_len()?;
        ensure!(
            len >= HEADER_LEN - 4,
            "the server sent a frame of {len} bytes, too short for a reply"
        );
        Ok(HEAD_LEN.min(4 + len))
    }

    fn body_len(&self) -> Result<usize> {
        let len = self.word_at(0);
        usize::try_from(len).with_context(|| format!("the server sent a frame of {len} bytes"))
    }

    fn take_head(&mut self) -> Result<Head> {
        let bytes = 4 + self.body_len()?;
        self.skip = bytes - self.have;
        let head = Head {
            xid: self.word_at(4),
            word: self.word_at(8),
            err: self.word_at(16),
            first_body_word: (self.have == HEAD_LEN).then(|| self.word_at(HEADER_LEN)),
            bytes,
        };
        self.have = 0;
        Ok(head)
    }

    fn word_at(&self, at: usize) -> i32 {
        word_at(&self.head, at)
    }
}

/// The big-endian integer at `at`, which the caller has checked to be inside.
pub(super) fn word_at(bytes: &[u8], at: usize) -> i32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    i32::from_be_bytes(word)
}
