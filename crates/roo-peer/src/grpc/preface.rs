//! Knows from a server's first bytes whether it speaks HTTP/2 at all.
//!
//! The HTTP/2 library knows it too, but says so only when it could still say goodbye: the error of
//! one that answered otherwise and hung up at once is a broken pipe, like any other.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Of a frame's header, up to its type (RFC 9113, section 4.1).
const HEADER_BYTES: usize = 4;
/// What a server's first frame must be (RFC 9113, section 3.4).
const SETTINGS: u8 = 4;
/// No server's first settings need more; text begins with larger numbers.
const MAX_SETTINGS_BYTES: u8 = 16;

/// Whether the first bytes of a stream were not those of an HTTP/2 server.
#[derive(Clone, Debug, Default)]
pub(super) struct Foreign(Arc<AtomicBool>);

impl Foreign {
    pub(super) fn is_sure(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// A stream whose first bytes are looked at as they are read.
pub(super) struct Listened<S> {
    stream: S,
    foreign: Foreign,
    header: [u8; HEADER_BYTES],
    seen: usize,
}

impl<S> Listened<S> {
    pub(super) fn new(stream: S, foreign: Foreign) -> Self {
        Self {
            stream,
            foreign,
            header: [0; HEADER_BYTES],
            seen: 0,
        }
    }

    fn look(&mut self, bytes: &[u8]) {
        let more = bytes.len().min(HEADER_BYTES - self.seen);
        for (kept, byte) in self.header[self.seen..].iter_mut().zip(&bytes[..more]) {
            *kept = *byte;
        }
        self.seen += more;
        let [first, _, _, kind] = self.header;
        let too_long = self.seen > 0 && first > MAX_SETTINGS_BYTES;
        if too_long || (self.seen == HEADER_BYTES && kind != SETTINGS) {
            self.foreign.0.store(true, Ordering::SeqCst);
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Listened<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, buffer))?;
        if self.seen < HEADER_BYTES {
            self.look(&buffer.filled()[before..]);
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Listened<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffers: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, buffers)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether a stream that gives these parts is foreign.
    fn hears(parts: &[&[u8]]) -> bool {
        let foreign = Foreign::default();
        let mut stream = Listened::new((), foreign.clone());
        for part in parts {
            stream.look(part);
        }
        foreign.is_sure()
    }

    #[test]
    fn the_first_frame_must_be_settings() {
        let settings = [0, 0, 18, 4, 0, 0, 0, 0, 0];
        assert!(!hears(&[&settings, b"whatever follows"]));
        let bytes: Vec<&[u8]> = settings.chunks(1).collect();
        assert!(!hears(&bytes), "byte by byte");
        assert!(!hears(&[]), "who hangs up has said nothing");
        assert!(!hears(&[&[0, 0, 0]]), "not enough to tell");
        assert!(hears(&[b"HTTP/1.1 400 Bad Request\r\n\r\n"]));
        assert!(hears(&[b"H"]), "text, by its first letter");
        assert!(hears(&[&[0, 0, 18], &[1, 0, 0, 0, 0, 0]]), "headers");
    }
}
