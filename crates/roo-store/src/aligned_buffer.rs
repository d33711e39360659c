//! Memory that a disk can be written from past the page cache.

/// A buffer whose beginning is at a multiple of some number of bytes.
#[derive(Debug)]
pub(crate) struct AlignedBuffer {
    memory: Vec<u8>,
    begin: usize,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zeros at a multiple of `alignment`, which is a power of two.
    pub(crate) fn new(len: usize, alignment: usize) -> Self {
        let memory = vec![0; len + alignment - 1];
        let begin = memory.as_ptr().align_offset(alignment);
        Self { memory, begin, len }
    }

    /// What it holds.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.memory[self.begin..self.begin + self.len]
    }

    /// What it holds, to be changed.
    pub(crate) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.memory[self.begin..self.begin + self.len]
    }
}
