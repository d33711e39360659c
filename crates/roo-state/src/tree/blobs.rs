//! The bytes of names and data. Those of nearly one length lie together in chunks: an allocation
//! of its own for each costs 8 bytes and rounds up to 16, which for 100 bytes of data was a tenth
//! of what a node took.
//!
//! The lowest chunk with room is filled first and one without a blob goes back to the allocator, so
//! memory of one length can become that of another.

use alloc::boxed::Box;
use alloc::collections::BTreeSet;
use alloc::vec;
use alloc::vec::Vec;
use core::array;

use super::node::{NONE, Slab};

/// Lengths are rounded up to a multiple of it.
const STEP: usize = 8;
/// Of more bytes than these the allocator's share is small.
const MAX_SMALL: usize = 512;
const SLOT_BITS: u32 = 7;
/// Blobs in a chunk.
const SLOTS: u16 = 1 << SLOT_BITS;

/// Where bytes lie; valid until they are released or replaced.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Blob {
    slot: u32,
    len: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Blobs {
    /// Those of all lengths, so that a read takes one step less.
    chunks: Vec<Chunk>,
    /// Numbers of the chunks without bytes.
    vacant: Vec<u32>,
    /// Numbers of the chunks with a free slot, by the length of their slots: 8 bytes, 16 and so on.
    roomy: [BTreeSet<u32>; MAX_SMALL / STEP],
    large: Slab<Box<[u8]>>,
}

/// Slots of one size.
#[derive(Debug)]
struct Chunk {
    bytes: Box<[u8]>,
    live: u16,
    /// Slots from here on were never used, and their memory was never touched.
    fresh: u16,
    /// The slot released last, which holds the number of the one before.
    free: u16,
}

/// No further free slot.
const END: u16 = u16::MAX;

/// Which way bytes of a length are kept.
enum Home {
    Nowhere,
    Small(usize),
    Large,
}

const fn home(len: usize) -> Home {
    match len {
        0 => Home::Nowhere,
        1..=MAX_SMALL => Home::Small((len - 1) / STEP),
        _ => Home::Large,
    }
}

const fn size(class: usize) -> usize {
    (class + 1) * STEP
}

impl Blob {
    pub(crate) const EMPTY: Self = Self { slot: NONE, len: 0 };

    pub(crate) const fn len(self) -> usize {
        self.len as usize
    }
}

#[allow(clippy::indexing_slicing)] // Numbers are only made for chunks that exist.
impl Blobs {
    pub(crate) fn new() -> Self {
        Self {
            chunks: Vec::new(),
            vacant: Vec::new(),
            roomy: array::from_fn(|_| BTreeSet::new()),
            large: Slab::new(),
        }
    }

    /// The first `n` bytes.
    #[inline]
    pub(crate) fn head(&self, blob: Blob, n: usize) -> &[u8] {
        self.from(blob).get(..n).unwrap_or_default()
    }

    /// All bytes but the first `n`.
    #[inline]
    pub(crate) fn rest(&self, blob: Blob, n: usize) -> &[u8] {
        self.from(blob).get(n..blob.len()).unwrap_or_default()
    }

    /// From the first byte to the end of what it lies in. A read comes here for each part of its
    /// path, so the end of the blob, of which the caller may want less, is not looked for.
    #[inline]
    fn from(&self, blob: Blob) -> &[u8] {
        let len = blob.len();
        if len > MAX_SMALL {
            return self.large.at(blob.slot);
        }
        // An empty blob has the number of no chunk.
        let (number, at) = split(blob.slot);
        let Some(chunk) = self.chunks.get(number as usize) else {
            return &[];
        };
        let start = usize::from(at).wrapping_mul((len + STEP - 1) & !(STEP - 1));
        chunk.bytes.get(start..).unwrap_or_default()
    }

    /// Keeps two pieces in a row.
    pub(crate) fn place(&mut self, name: &[u8], data: &[u8]) -> Blob {
        let len = name.len() + data.len();
        let slot = match home(len) {
            Home::Nowhere => NONE,
            Home::Small(class) => self.place_small(class, name, data),
            Home::Large => self.large.place([name, data].concat().into_boxed_slice()),
        };
        // No name has more than MAX_NAME bytes and no data more than an i32 counts.
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        Blob { slot, len }
    }

    /// Keeps two pieces instead of a blob, where it was if they fit.
    pub(crate) fn replace(&mut self, old: Blob, name: &[u8], data: &[u8]) -> Blob {
        let len = name.len() + data.len();
        match (home(old.len()), home(len)) {
            (Home::Small(class), Home::Small(same)) if class == same => {
                let (number, at) = split(old.slot);
                let place = self.chunks[number as usize].slot_mut(at, class);
                write(place, name, data);
            }
            (Home::Large, Home::Large) if old.len() == len => {
                write(self.large.at_mut(old.slot), name, data);
            }
            _ => {
                self.release(old);
                return self.place(name, data);
            }
        }
        let len = u32::try_from(len).unwrap_or(u32::MAX);
        Blob { len, ..old }
    }

    pub(crate) fn release(&mut self, blob: Blob) {
        match home(blob.len()) {
            Home::Nowhere => {}
            Home::Small(class) => self.release_small(class, blob.slot),
            Home::Large => {
                *self.large.at_mut(blob.slot) = Box::default();
                self.large.release(blob.slot);
            }
        }
    }

    fn place_small(&mut self, class: usize, name: &[u8], data: &[u8]) -> u32 {
        let number = match self.roomy[class].first() {
            Some(number) => *number,
            None => self.open(class),
        };
        let chunk = &mut self.chunks[number as usize];
        let at = chunk.take(class);
        write(chunk.slot_mut(at, class), name, data);
        if chunk.live == SLOTS {
            self.roomy[class].remove(&number);
        }
        (number << SLOT_BITS) | u32::from(at)
    }

    /// Gives a chunk bytes; all others of the class are full.
    fn open(&mut self, class: usize) -> u32 {
        let number = self.vacant.pop().unwrap_or_else(|| {
            self.chunks.push(Chunk::vacant());
            u32::try_from(self.chunks.len() - 1).unwrap_or(NONE)
        });
        self.chunks[number as usize].bytes = vec![0; size(class) * usize::from(SLOTS)].into();
        self.roomy[class].insert(number);
        number
    }

    fn release_small(&mut self, class: usize, slot: u32) {
        let (number, at) = split(slot);
        let chunk = &mut self.chunks[number as usize];
        let roomy = &mut self.roomy[class];
        chunk.release(at, class);
        if chunk.live == SLOTS - 1 {
            roomy.insert(number);
        }
        // The last one with room stays, for the next blob.
        if chunk.live == 0 && roomy.len() > 1 {
            *chunk = Chunk::vacant();
            roomy.remove(&number);
            self.vacant.push(number);
        }
    }
}

fn write(place: &mut [u8], name: &[u8], data: &[u8]) {
    let (front, rest) = place.split_at_mut(name.len());
    front.copy_from_slice(name);
    if let Some(rest) = rest.get_mut(..data.len()) {
        rest.copy_from_slice(data);
    }
}

/// The chunk of a slot, and its place there.
const fn split(slot: u32) -> (u32, u16) {
    #[allow(clippy::cast_possible_truncation)] // It is below SLOTS.
    let at = slot as u16 & (SLOTS - 1);
    (slot >> SLOT_BITS, at)
}

impl Chunk {
    fn vacant() -> Self {
        Self {
            bytes: Box::default(),
            live: 0,
            fresh: 0,
            free: END,
        }
    }

    #[allow(clippy::indexing_slicing)] // Slots are below SLOTS.
    fn slot_mut(&mut self, at: u16, class: usize) -> &mut [u8] {
        let start = usize::from(at) * size(class);
        &mut self.bytes[start..start + size(class)]
    }

    fn take(&mut self, class: usize) -> u16 {
        self.live += 1;
        let at = self.free;
        if at == END {
            self.fresh += 1;
            return self.fresh - 1;
        }
        let link = self.slot_mut(at, class).first_chunk();
        self.free = link.map_or(END, |link| u16::from_le_bytes(*link));
        at
    }

    fn release(&mut self, at: u16, class: usize) {
        let before = self.free.to_le_bytes();
        if let Some(link) = self.slot_mut(at, class).first_chunk_mut() {
            *link = before;
        }
        self.free = at;
        self.live -= 1;
    }
}

#[cfg(test)]
mod tests;
