//! An open connection: bytes to packets and back.

use std::collections::VecDeque;
use std::io;

use bytes::{Buf as _, Bytes, BytesMut};
use roo_proto::frame::{self, Front, LENGTH_SIZE};
use roo_proto::reply::HEADER_SIZE;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};

use crate::session::{Event, LinkId};

/// Room for reading.
const CHUNK: usize = 32 * 1024;
/// With less room than this, what comes next is read into another chunk.
const ROOM_MIN: usize = 8 * 1024;
/// Frames below are joined for writing.
const JOINED_MAX: usize = 64 * 1024;

pub(super) struct Link {
    id: LinkId,
    read: OwnedReadHalf,
    write: OwnedWriteHalf,
    input: BytesMut,
    /// Bytes of a packet over the limit that are still to come.
    skip: usize,
    output: VecDeque<BytesMut>,
    reply_bytes_max: usize,
    is_garbage: bool,
}

impl Link {
    pub(super) fn new(id: LinkId, stream: TcpStream, reply_bytes_max: usize) -> Self {
        let (read, write) = stream.into_split();
        Self {
            id,
            read,
            write,
            input: BytesMut::new(),
            skip: 0,
            output: VecDeque::new(),
            reply_bytes_max,
            is_garbage: false,
        }
    }

    pub(super) const fn id(&self) -> LinkId {
        self.id
    }

    /// Waits until something was read, or can be written if that was held up. Dropping the future
    /// loses nothing.
    pub(super) async fn progress(&mut self) -> io::Result<()> {
        if self.input.capacity() - self.input.len() < ROOM_MIN {
            self.input.reserve(CHUNK);
        }
        let Self {
            read,
            write,
            input,
            output,
            ..
        } = self;
        tokio::select! {
            read = read.read_buf(input) => match read {
                Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            },
            writable = write.writable(), if !output.is_empty() => writable,
        }
    }

    /// The next packet of what was read.
    pub(super) fn next_event(&mut self) -> Option<Event> {
        let skipped = self.skip.min(self.input.len());
        self.input.advance(skipped);
        self.skip -= skipped;
        if self.skip > 0 || self.is_garbage {
            return None;
        }
        match frame::front(&self.input, self.reply_bytes_max) {
            Front::Packet(packet) => {
                let length = packet.len();
                self.input.advance(LENGTH_SIZE);
                Some(Event::Received {
                    link: self.id,
                    packet: self.input.split_to(length).freeze(),
                })
            }
            Front::Incomplete { needed } => {
                let missing = needed.saturating_sub(self.input.len());
                self.input.reserve(missing);
                None
            }
            Front::BadLength(length) => self.bad_length(length),
        }
    }

    /// A packet over the limit is skipped once its header is there; a negative length is none.
    fn bad_length(&mut self, length: i32) -> Option<Event> {
        let link = self.id;
        let Ok(bytes) = usize::try_from(length) else {
            self.is_garbage = true;
            let head = self.input.split().freeze();
            return Some(Event::ReceivedGarbage { link, head });
        };
        let head = self.input.get(LENGTH_SIZE..LENGTH_SIZE + HEADER_SIZE)?;
        // What is no protocol at all begins with letters: shown whole.
        let shown = self.input.get(..LENGTH_SIZE + HEADER_SIZE)?;
        let event = if shown.is_ascii() {
            self.is_garbage = true;
            let head = Bytes::copy_from_slice(shown);
            Event::ReceivedGarbage { link, head }
        } else {
            let head = Bytes::copy_from_slice(head);
            Event::ReceivedTooLarge { link, head, bytes }
        };
        self.skip = LENGTH_SIZE + bytes;
        Some(event)
    }

    pub(super) fn push(&mut self, frame: &[u8]) {
        match self.output.back_mut() {
            Some(last) if last.len() + frame.len() <= JOINED_MAX => last.extend_from_slice(frame),
            _ => self.output.push_back(BytesMut::from(frame)),
        }
    }

    /// Writes what can be written.
    pub(super) fn write(&mut self) -> io::Result<()> {
        while let Some(first) = self.output.front_mut() {
            match self.write.try_write(first) {
                Ok(n) => first.advance(n),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            }
            if first.is_empty() {
                self.output.pop_front();
            }
        }
        Ok(())
    }
}
