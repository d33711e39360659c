//! What a client learns of a node besides its data.

use alloc::vec::Vec;

use crate::jute::{self, Reader, Result};

/// Java: `Stat`, 68 bytes on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stat {
    /// zxid of the creation.
    pub czxid: i64,
    /// zxid of the last change of the data.
    pub mzxid: i64,
    /// Creation time, ms since 1970.
    pub ctime: i64,
    /// Time of the last change of the data, ms since 1970.
    pub mtime: i64,
    /// Changes of the data.
    pub version: i32,
    /// Changes of the children as clients see them: 2 x creations - present children.
    pub cversion: i32,
    /// Changes of the ACL.
    pub aversion: i32,
    /// Owning session of an ephemeral node, else 0.
    pub ephemeral_owner: i64,
    /// Bytes of data.
    pub data_length: i32,
    /// Present children.
    pub num_children: i32,
    /// zxid of the last creation or deletion of a child.
    pub pzxid: i64,
}

impl Stat {
    /// Writes the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let mut b = [0u8; 68];
        let mut at = 0;
        let mut put = |bytes: &[u8]| {
            for (slot, byte) in b.iter_mut().skip(at).zip(bytes) {
                *slot = *byte;
            }
            at += bytes.len();
        };
        put(&self.czxid.to_be_bytes());
        put(&self.mzxid.to_be_bytes());
        put(&self.ctime.to_be_bytes());
        put(&self.mtime.to_be_bytes());
        put(&self.version.to_be_bytes());
        put(&self.cversion.to_be_bytes());
        put(&self.aversion.to_be_bytes());
        put(&self.ephemeral_owner.to_be_bytes());
        put(&self.data_length.to_be_bytes());
        put(&self.num_children.to_be_bytes());
        put(&self.pzxid.to_be_bytes());
        out.extend_from_slice(&b);
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When fewer than 68 bytes are left.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            czxid: r.i64()?,
            mzxid: r.i64()?,
            ctime: r.i64()?,
            mtime: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            data_length: r.i32()?,
            num_children: r.i32()?,
            pzxid: r.i64()?,
        })
    }
}

/// What files keep of a node besides path, data and ACL; 60 bytes. Java: `StatPersisted`.
/// `cversion` is the stored one: creations of children.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of `Stat`.
pub struct StatPersisted {
    pub czxid: i64,
    pub mzxid: i64,
    pub ctime: i64,
    pub mtime: i64,
    pub version: i32,
    pub cversion: i32,
    pub aversion: i32,
    pub ephemeral_owner: i64,
    pub pzxid: i64,
}

impl StatPersisted {
    /// Writes the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        jute::put_i64(out, self.czxid);
        jute::put_i64(out, self.mzxid);
        jute::put_i64(out, self.ctime);
        jute::put_i64(out, self.mtime);
        jute::put_i32(out, self.version);
        jute::put_i32(out, self.cversion);
        jute::put_i32(out, self.aversion);
        jute::put_i64(out, self.ephemeral_owner);
        jute::put_i64(out, self.pzxid);
    }

    /// Reads the record.
    ///
    /// # Errors
    /// When fewer than 60 bytes are left.
    pub fn decode(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            czxid: r.i64()?,
            mzxid: r.i64()?,
            ctime: r.i64()?,
            mtime: r.i64()?,
            version: r.i32()?,
            cversion: r.i32()?,
            aversion: r.i32()?,
            ephemeral_owner: r.i64()?,
            pzxid: r.i64()?,
        })
    }
}
