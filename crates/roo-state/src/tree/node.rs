//! How a node lies in memory: 56 bytes for one that was created and never changed, and more only
//! for one that has children, an owner or a history. What the fields mean is not decided here.

use alloc::vec::Vec;

use roo_proto::stat::StatPersisted;

use super::blobs::Blob;
use crate::acl_table::AclId;

/// No slot.
pub(crate) const NONE: u32 = u32::MAX;

/// The data is null, not empty.
pub(crate) const NULL_DATA: u32 = 1;
/// The node lies below /zookeeper and is no part of the digest.
pub(crate) const UNCOUNTED: u32 = 2;
/// The slot holds a node.
pub(crate) const LIVE: u32 = 4;
const FLAG_BITS: u32 = 3;

/// The longest name that fits beside the flags.
pub(crate) const MAX_NAME: usize = (1 << (32 - FLAG_BITS)) - 1;

/// Elements with stable numbers, in chunks, so that growth never copies them; free slots are used
/// again.
#[derive(Debug)]
pub(crate) struct Slab<T> {
    chunks: Vec<Vec<T>>,
    free: Vec<u32>,
}

const CHUNK_BITS: u32 = 10;
const CHUNK: usize = 1 << CHUNK_BITS;

impl<T> Slab<T> {
    pub(crate) const fn new() -> Self {
        Self {
            chunks: Vec::new(),
            free: Vec::new(),
        }
    }

    #[allow(clippy::indexing_slicing)] // Numbers are only made for slots that exist.
    pub(crate) fn at(&self, slot: u32) -> &T {
        &self.chunks[(slot >> CHUNK_BITS) as usize][slot as usize & (CHUNK - 1)]
    }

    #[allow(clippy::indexing_slicing)]
    pub(crate) fn at_mut(&mut self, slot: u32) -> &mut T {
        &mut self.chunks[(slot >> CHUNK_BITS) as usize][slot as usize & (CHUNK - 1)]
    }

    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        let chunk = self.chunks.get((slot >> CHUNK_BITS) as usize)?;
        chunk.get(slot as usize & (CHUNK - 1))
    }

    /// Slots, used or not; numbers are below it.
    pub(crate) fn slots(&self) -> u32 {
        let full = self.chunks.len().saturating_sub(1) * CHUNK;
        let last = self.chunks.last().map_or(0, Vec::len);
        u32::try_from(full + last).unwrap_or(NONE)
    }

    pub(crate) fn place(&mut self, value: T) -> u32 {
        if let Some(slot) = self.free.pop() {
            *self.at_mut(slot) = value;
            return slot;
        }
        let slot = self.slots();
        match self.chunks.last_mut().filter(|chunk| chunk.len() < CHUNK) {
            Some(chunk) => chunk.push(value),
            None => {
                let mut chunk = Vec::with_capacity(CHUNK);
                chunk.push(value);
                self.chunks.push(chunk);
            }
        }
        slot
    }

    /// Lets the slot be used again; what it holds stays until then.
    pub(crate) fn release(&mut self, slot: u32) {
        self.free.push(slot);
    }
}

/// What every node has.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) parent: u32,
    pub(crate) next: u32,
    pub(crate) prev: u32,
    pub(crate) hash: u32,
    /// As if it counted.
    pub(crate) digest: u32,
    pub(crate) acl: AclId,
    /// Slot of its [`More`], if it has one.
    pub(crate) more: u32,
    /// Length of the name, above the flags.
    packed: u32,
    czxid: i64,
    ctime: i64,
    /// Name, then data.
    pub(crate) blob: Blob,
}

/// What only a node has that is not as it was created, or has children or an owner.
#[derive(Debug)]
pub(crate) struct More {
    mzxid: i64,
    mtime: i64,
    pzxid: i64,
    owner: i64,
    version: i32,
    cversion: i32,
    aversion: i32,
    pub(crate) first_child: u32,
    pub(crate) num_children: u32,
}

impl Node {
    /// A node with the fields that all have, and no links.
    pub(crate) fn new(name_len: usize, blob: Blob, stat: &StatPersisted, flags: u32) -> Self {
        Self {
            parent: NONE,
            next: NONE,
            prev: NONE,
            hash: 0,
            digest: 0,
            acl: AclId::OPEN,
            more: NONE,
            packed: (u32::try_from(name_len).unwrap_or(0) << FLAG_BITS) | flags,
            czxid: stat.czxid,
            ctime: stat.ctime,
            blob,
        }
    }

    pub(crate) const fn has(&self, flag: u32) -> bool {
        self.packed & flag != 0
    }

    pub(crate) const fn name_len(&self) -> usize {
        (self.packed >> FLAG_BITS) as usize
    }

    pub(crate) const fn data_len(&self) -> usize {
        self.blob.len() - self.name_len()
    }

    pub(crate) const fn mark_null(&mut self, is_null: bool) {
        self.packed = (self.packed & !NULL_DATA) | if is_null { NULL_DATA } else { 0 };
    }

    /// The slot is no node any more.
    pub(crate) const fn clear(&mut self) {
        self.packed = 0;
        self.more = NONE;
        self.blob = Blob::EMPTY;
    }

    /// Puts the fields together with those of its [`More`].
    pub(crate) fn stat(&self, more: Option<&More>) -> StatPersisted {
        let Some(more) = more else {
            return StatPersisted {
                czxid: self.czxid,
                mzxid: self.czxid,
                ctime: self.ctime,
                mtime: self.ctime,
                pzxid: self.czxid,
                ..StatPersisted::default()
            };
        };
        StatPersisted {
            czxid: self.czxid,
            mzxid: more.mzxid,
            ctime: self.ctime,
            mtime: more.mtime,
            version: more.version,
            cversion: more.cversion,
            aversion: more.aversion,
            ephemeral_owner: more.owner,
            pzxid: more.pzxid,
        }
    }

    /// Keeps a stat; true when its [`More`], which is to be given, had to take a part of it and
    /// there was none.
    pub(crate) fn set_stat(&mut self, stat: &StatPersisted, more: Option<&mut More>) -> bool {
        self.czxid = stat.czxid;
        self.ctime = stat.ctime;
        match more {
            Some(more) => {
                more.set_stat(stat);
                false
            }
            None => self.stat(None) != *stat,
        }
    }
}

impl More {
    pub(crate) const fn new(stat: &StatPersisted) -> Self {
        Self {
            mzxid: stat.mzxid,
            mtime: stat.mtime,
            pzxid: stat.pzxid,
            owner: stat.ephemeral_owner,
            version: stat.version,
            cversion: stat.cversion,
            aversion: stat.aversion,
            first_child: NONE,
            num_children: 0,
        }
    }

    const fn set_stat(&mut self, stat: &StatPersisted) {
        *self = Self {
            first_child: self.first_child,
            num_children: self.num_children,
            ..Self::new(stat)
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_without_a_history_is_small() {
        assert_eq!(size_of::<Node>(), 56);
        assert_eq!(size_of::<More>(), 56);
    }

    #[test]
    fn slots_are_stable_and_used_again() {
        let mut slab = Slab::new();
        for value in 0..3_000u32 {
            assert_eq!(slab.place(value), value);
        }
        slab.release(17);
        assert_eq!(slab.place(9), 17);
        assert_eq!(
            (*slab.at(17), *slab.at(2_999), slab.slots()),
            (9, 2_999, 3_000)
        );
        assert_eq!(slab.get(3_000), None);
    }
}
