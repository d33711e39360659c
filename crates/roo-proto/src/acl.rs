//! Identities and access control entries.

use alloc::string::String;
use alloc::vec::Vec;

use crate::jute::{self, Reader, Result};

/// Permission to read a node's data, children and ACL.
pub const PERM_READ: i32 = 1;
/// Permission to change a node's data.
pub const PERM_WRITE: i32 = 2;
/// Permission to create children.
pub const PERM_CREATE: i32 = 4;
/// Permission to delete children.
pub const PERM_DELETE: i32 = 8;
/// Permission to change the ACL.
pub const PERM_ADMIN: i32 = 16;
/// Every permission.
pub const PERM_ALL: i32 = 31;

/// Who somebody is, under an authentication scheme. Java: `Id`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Id {
    /// The scheme: `world`, `digest`, `ip`, `super`, ...
    pub scheme: String,
    /// The identity in that scheme.
    pub id: String,
}

impl Id {
    /// The identity `id` of `scheme`.
    #[must_use]
    pub fn new(scheme: &str, id: &str) -> Self {
        Self {
            scheme: scheme.into(),
            id: id.into(),
        }
    }

    /// `world:anyone`.
    #[must_use]
    pub fn anyone() -> Self {
        Self::new("world", "anyone")
    }
}

/// One entry of an access control list. Permission bits are kept as the client gave them.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Acl {
    /// Bits of the `PERM_` constants; others are legal and kept.
    pub perms: i32,
    /// To whom they are given.
    pub id: Id,
}

impl Acl {
    /// An entry giving `perms` to `scheme:id`.
    #[must_use]
    pub fn new(perms: i32, scheme: &str, id: &str) -> Self {
        Self {
            perms,
            id: Id::new(scheme, id),
        }
    }

    /// `world:anyone` with every permission.
    #[must_use]
    pub fn open() -> Self {
        Self {
            perms: PERM_ALL,
            id: Id::anyone(),
        }
    }

    /// Writes the record.
    pub fn encode(&self, out: &mut Vec<u8>) {
        jute::put_i32(out, self.perms);
        jute::put_string(out, &self.id.scheme);
        jute::put_string(out, &self.id.id);
    }

    /// Reads a stored record; a null string is read as empty.
    ///
    /// # Errors
    /// When the bytes end early or carry an impossible length.
    pub fn decode(reader: &mut Reader<'_>) -> Result<Self> {
        let perms = reader.i32()?;
        let scheme = reader.string()?.unwrap_or_default().into_owned();
        let id = reader.string()?.unwrap_or_default().into_owned();
        Ok(Self {
            perms,
            id: Id { scheme, id },
        })
    }
}

/// Writes a list of entries.
pub fn encode_list(out: &mut Vec<u8>, list: &[Acl]) {
    jute::put_count(out, list.len());
    for acl in list {
        acl.encode(out);
    }
}

/// Reads a list of entries; null is read as empty.
///
/// # Errors
/// When the bytes end early or carry an impossible count.
pub fn decode_list(reader: &mut Reader<'_>) -> Result<Vec<Acl>> {
    let count = reader.count(12)?.unwrap_or(0);
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(Acl::decode(reader)?);
    }
    Ok(list)
}
