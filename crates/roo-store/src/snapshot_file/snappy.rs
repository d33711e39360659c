//! The framing of snappy-java's `SnappyOutputStream`: a header of 16 bytes, then blocks, each a
//! length (4 bytes) and that many bytes of raw snappy.

use std::io::{self, Read, Write};

use super::SNAPPY_MAGIC;

/// Uncompressed bytes of a block.
const BLOCK: usize = 32 * 1024;
/// A compressed block of any sane writer is shorter.
const MAX_COMPRESSED: usize = 1 << 26;

pub(super) struct SnappyWriter<W> {
    out: W,
    block: Vec<u8>,
    encoder: snap::raw::Encoder,
}

impl<W: Write> SnappyWriter<W> {
    pub(super) fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&SNAPPY_MAGIC)?;
        out.write_all(&1u32.to_be_bytes())?;
        out.write_all(&1u32.to_be_bytes())?;
        Ok(Self {
            out,
            block: Vec::with_capacity(BLOCK),
            encoder: snap::raw::Encoder::new(),
        })
    }

    pub(super) fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            let n = bytes.len().min(BLOCK - self.block.len());
            let (now, later) = bytes.split_at(n);
            self.block.extend_from_slice(now);
            bytes = later;
            if self.block.len() == BLOCK {
                self.write_block()?;
            }
        }
        Ok(())
    }

    fn write_block(&mut self) -> io::Result<()> {
        let compressed = self.encoder.compress_vec(&self.block)?;
        let length = u32::try_from(compressed.len()).map_err(io::Error::other)?;
        self.out.write_all(&length.to_be_bytes())?;
        self.out.write_all(&compressed)?;
        self.block.clear();
        Ok(())
    }

    pub(super) fn finish(mut self) -> io::Result<W> {
        if !self.block.is_empty() {
            self.write_block()?;
        }
        Ok(self.out)
    }
}

pub(super) struct SnappyReader<R> {
    input: R,
    block: Vec<u8>,
    at: usize,
    started: bool,
}

impl<R: Read> SnappyReader<R> {
    pub(super) const fn new(input: R) -> Self {
        Self {
            input,
            block: Vec::new(),
            at: 0,
            started: false,
        }
    }

    fn next_block(&mut self) -> io::Result<bool> {
        if !self.started {
            let mut header = [0; 16];
            self.input.read_exact(&mut header)?;
            if !header.starts_with(&SNAPPY_MAGIC) {
                return Err(io::Error::other("no snappy stream"));
            }
            self.started = true;
        }
        let mut length = [0; 4];
        match self.input.read(&mut length)? {
            0 => return Ok(false),
            n => self
                .input
                .read_exact(length.get_mut(n..).unwrap_or_default())?,
        }
        let length = u32::from_be_bytes(length) as usize;
        if length > MAX_COMPRESSED {
            return Err(io::Error::other("unreasonable length of a snappy block"));
        }
        let mut compressed = Vec::new();
        self.input
            .by_ref()
            .take(length as u64)
            .read_to_end(&mut compressed)?;
        if compressed.len() < length {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        if snap::raw::decompress_len(&compressed)? > MAX_COMPRESSED {
            return Err(io::Error::other("unreasonable size of a snappy block"));
        }
        self.block = snap::raw::Decoder::new().decompress_vec(&compressed)?;
        self.at = 0;
        Ok(true)
    }
}

impl<R: Read> Read for SnappyReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.at == self.block.len() {
            if !self.next_block()? {
                return Ok(0);
            }
        }
        let rest = self.block.get(self.at..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        let (Some(place), Some(source)) = (buffer.get_mut(..n), rest.get(..n)) else {
            return Ok(0);
        };
        place.copy_from_slice(source);
        self.at += n;
        Ok(n)
    }
}
