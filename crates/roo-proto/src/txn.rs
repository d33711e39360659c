//! What the leader decided: idempotent changes, as they stand in logs and travel to followers.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;

use crate::acl::{self, Acl};
use crate::error_code::ErrorCode;
use crate::ids::Zxid;
use crate::jute::{self, DecodeError, Reader, Result};
use crate::op_code;

/// Bytes of a [`TxnHeader`] with the type behind it.
pub const HEADER_SIZE: usize = 32;
/// Bytes of a [`TxnDigest`].
pub const DIGEST_SIZE: usize = 12;
/// The version of the digest that this code computes. Java: `DigestCalculator.DIGEST_VERSION`.
pub const DIGEST_VERSION: i32 = 2;

/// In front of every transaction. Its type is that of the [`Txn`]. Java: `TxnHeader`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TxnHeader {
    /// The session that asked, 0 for the server itself.
    pub client_id: i64,
    /// The request's xid, 0 for the server itself.
    pub cxid: i32,
    /// The transaction's place in the order.
    pub zxid: Zxid,
    /// The leader's wall clock, ms since 1970.
    pub time: i64,
}

/// Digest of the tree after a transaction. Java: `TxnDigest`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TxnDigest {
    /// [`DIGEST_VERSION`], or that of another writer.
    pub version: i32,
    /// Sum of the nodes' digests.
    pub tree_digest: i64,
}

/// The fields that all creations share.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CreateTxn {
    /// The real path, sequence number included.
    pub path: String,
    /// The node's data, as a rule a part of the request; null and empty differ.
    pub data: Option<Bytes>,
    /// The node's ACL, ready to be stored; most nodes share a few.
    pub acl: Arc<[Acl]>,
    /// The parent's stored cversion afterwards; -1 (only in files of 3.3 and older): one more.
    pub parent_cversion: i32,
}

/// A change of the replicated state; it cannot fail. A refusal is [`Txn::Error`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Txn {
    CreateSession {
        timeout_ms: i32,
    },
    /// `None` in logs of 3.5 and older, or of servers with `closeSessionTxn.enabled=false`.
    CloseSession {
        paths: Option<Vec<String>>,
    },
    /// `op` is create or create2.
    Create {
        op: i32,
        node: CreateTxn,
        ephemeral: bool,
    },
    CreateContainer(CreateTxn),
    CreateTtl {
        node: CreateTxn,
        ttl: i64,
    },
    Delete {
        path: String,
    },
    DeleteContainer {
        path: String,
    },
    /// `version` is the resulting one.
    SetData {
        path: String,
        data: Option<Bytes>,
        version: i32,
    },
    Reconfig {
        path: String,
        data: Option<Bytes>,
        version: i32,
    },
    SetAcl {
        path: String,
        acl: Arc<[Acl]>,
        version: i32,
    },
    /// Only inside a multi.
    Check {
        path: String,
        version: i32,
    },
    Multi(Vec<Self>),
    Error(ErrorCode),
}

impl Txn {
    /// The type number in headers.
    #[must_use]
    pub const fn op(&self) -> i32 {
        match self {
            Self::CreateSession { .. } => op_code::CREATE_SESSION,
            Self::CloseSession { .. } => op_code::CLOSE_SESSION,
            Self::Create { op, .. } => *op,
            Self::CreateContainer(_) => op_code::CREATE_CONTAINER,
            Self::CreateTtl { .. } => op_code::CREATE_TTL,
            Self::Delete { .. } => op_code::DELETE,
            Self::DeleteContainer { .. } => op_code::DELETE_CONTAINER,
            Self::SetData { .. } => op_code::SET_DATA,
            Self::Reconfig { .. } => op_code::RECONFIG,
            Self::SetAcl { .. } => op_code::SET_ACL,
            Self::Check { .. } => op_code::CHECK,
            Self::Multi(_) => op_code::MULTI,
            Self::Error(_) => op_code::ERROR,
        }
    }

    /// An upper bound of the bytes that the body takes.
    #[must_use]
    pub fn size_bound(&self) -> usize {
        /// Numbers, lengths and types beside the strings and lists.
        const REST: usize = 64;
        let acls = |acls: &[Acl]| -> usize {
            acls.iter()
                .map(|acl| 12 + acl.id.scheme.len() + acl.id.id.len())
                .sum()
        };
        let bytes = |data: &Option<Bytes>| data.as_ref().map_or(0, Bytes::len);
        // Java writes characters above U+FFFF in six bytes for our four.
        let text = |text: &str| text.len() + text.len() / 2;
        REST + match self {
            Self::Create { node, .. }
            | Self::CreateContainer(node)
            | Self::CreateTtl { node, .. } => {
                text(&node.path) + bytes(&node.data) + acls(&node.acl) * 3 / 2
            }
            Self::SetData { path, data, .. } | Self::Reconfig { path, data, .. } => {
                text(path) + bytes(data)
            }
            Self::SetAcl { path, acl, .. } => text(path) + acls(acl) * 3 / 2,
            Self::Delete { path } | Self::DeleteContainer { path } | Self::Check { path, .. } => {
                text(path)
            }
            Self::CloseSession { paths } => paths.iter().flatten().map(|path| 4 + text(path)).sum(),
            Self::Multi(txns) => txns.iter().map(Self::size_bound).sum(),
            Self::CreateSession { .. } | Self::Error(_) => 0,
        }
    }

    /// Writes the body, without its type.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::CreateSession { timeout_ms } => jute::put_i32(out, *timeout_ms),
            Self::CloseSession { paths } => {
                if let Some(paths) = paths {
                    jute::put_count(out, paths.len());
                    for path in paths {
                        jute::put_string(out, path);
                    }
                }
            }
            Self::Create {
                node, ephemeral, ..
            } => {
                node.encode_front(out);
                jute::put_bool(out, *ephemeral);
                jute::put_i32(out, node.parent_cversion);
            }
            Self::CreateContainer(node) => {
                node.encode_front(out);
                jute::put_i32(out, node.parent_cversion);
            }
            Self::CreateTtl { node, ttl } => {
                node.encode_front(out);
                jute::put_i32(out, node.parent_cversion);
                jute::put_i64(out, *ttl);
            }
            Self::Delete { path } | Self::DeleteContainer { path } => jute::put_string(out, path),
            Self::SetData {
                path,
                data,
                version,
            }
            | Self::Reconfig {
                path,
                data,
                version,
            } => {
                jute::put_string(out, path);
                jute::put_buffer(out, data.as_deref());
                jute::put_i32(out, *version);
            }
            Self::SetAcl { path, acl, version } => {
                jute::put_string(out, path);
                acl::encode_list(out, acl);
                jute::put_i32(out, *version);
            }
            Self::Check { path, version } => {
                jute::put_string(out, path);
                jute::put_i32(out, *version);
            }
            Self::Multi(ops) => {
                jute::put_count(out, ops.len());
                for op in ops {
                    jute::put_i32(out, op.op());
                    let mark = crate::frame::begin(out);
                    op.encode(out);
                    crate::frame::end(out, mark);
                }
            }
            Self::Error(code) => jute::put_i32(out, code.0),
        }
    }

    /// Reads the body of a transaction of type `op`.
    ///
    /// # Errors
    /// When the type is unknown or the bytes are no such record.
    pub fn decode(op: i32, r: &mut Reader<'_>) -> Result<Self> {
        Ok(match op {
            op_code::CREATE_SESSION => Self::CreateSession {
                timeout_ms: r.i32()?,
            },
            op_code::CLOSE_SESSION => Self::CloseSession {
                paths: close_session_paths(r)?,
            },
            op_code::CREATE | op_code::CREATE2 => create(op, r)?,
            op_code::CREATE_CONTAINER => {
                let mut node = CreateTxn::decode_front(r)?;
                node.parent_cversion = r.i32()?;
                Self::CreateContainer(node)
            }
            op_code::CREATE_TTL => {
                let mut node = CreateTxn::decode_front(r)?;
                node.parent_cversion = r.i32()?;
                Self::CreateTtl {
                    node,
                    ttl: r.i64()?,
                }
            }
            op_code::DELETE => Self::Delete { path: path(r)? },
            op_code::DELETE_CONTAINER => Self::DeleteContainer { path: path(r)? },
            op_code::SET_DATA => Self::SetData {
                path: path(r)?,
                data: data(r)?,
                version: r.i32()?,
            },
            op_code::RECONFIG => Self::Reconfig {
                path: path(r)?,
                data: data(r)?,
                version: r.i32()?,
            },
            op_code::SET_ACL => Self::SetAcl {
                path: path(r)?,
                acl: acl::decode_list(r)?.into(),
                version: r.i32()?,
            },
            op_code::CHECK => Self::Check {
                path: path(r)?,
                version: r.i32()?,
            },
            op_code::MULTI => multi(r)?,
            op_code::ERROR => Self::Error(ErrorCode(r.i32()?)),
            _ => return Err(DecodeError::Invalid("the type of the transaction")),
        })
    }
}

impl CreateTxn {
    fn encode_front(&self, out: &mut Vec<u8>) {
        jute::put_string(out, &self.path);
        jute::put_buffer(out, self.data.as_deref());
        acl::encode_list(out, &self.acl);
    }

    fn decode_front(r: &mut Reader<'_>) -> Result<Self> {
        Ok(Self {
            path: path(r)?,
            data: data(r)?,
            acl: acl::decode_list(r)?.into(),
            parent_cversion: -1,
        })
    }
}

fn path(r: &mut Reader<'_>) -> Result<String> {
    Ok(r.required_string()?.into_owned())
}

fn data(r: &mut Reader<'_>) -> Result<Option<Bytes>> {
    Ok(r.buffer()?.map(Bytes::copy_from_slice))
}

fn create(op: i32, r: &mut Reader<'_>) -> Result<Txn> {
    let mut node = CreateTxn::decode_front(r)?;
    let ephemeral = r.bool()?;
    // Servers up to 3.3 wrote no parentCVersion (CreateTxnV0).
    node.parent_cversion = if r.remaining().is_empty() {
        -1
    } else {
        r.i32()?
    };
    Ok(Txn::Create {
        op,
        node,
        ephemeral,
    })
}

/// A close without a list may be followed by a digest, which must not be taken for the list: it
/// is exactly 12 bytes and begins with its version, and no list of two real paths is that short.
fn close_session_paths(r: &mut Reader<'_>) -> Result<Option<Vec<String>>> {
    let rest = r.remaining();
    let digest_only = rest.len() == DIGEST_SIZE && rest.starts_with(&DIGEST_VERSION.to_be_bytes());
    if rest.is_empty() || digest_only {
        return Ok(None);
    }
    let count = r.count(4)?.unwrap_or(0);
    let mut paths = Vec::with_capacity(count);
    for _ in 0..count {
        paths.push(path(r)?);
    }
    Ok(Some(paths))
}

fn multi(r: &mut Reader<'_>) -> Result<Txn> {
    let count = r.count(8)?.unwrap_or(0);
    let mut ops = Vec::with_capacity(count);
    for _ in 0..count {
        let op = r.i32()?;
        let body = r.buffer()?.unwrap_or_default();
        if op == op_code::MULTI {
            return Err(DecodeError::Invalid("a multi inside a multi"));
        }
        ops.push(Txn::decode(op, &mut Reader::new(body))?);
    }
    Ok(Txn::Multi(ops))
}

/// Writes a whole record payload: header, type, body, digest.
pub fn encode_record(out: &mut Vec<u8>, header: &TxnHeader, txn: &Txn, digest: Option<TxnDigest>) {
    jute::put_i64(out, header.client_id);
    jute::put_i32(out, header.cxid);
    jute::put_i64(out, header.zxid.0);
    jute::put_i64(out, header.time);
    jute::put_i32(out, txn.op());
    txn.encode(out);
    if let Some(digest) = digest {
        jute::put_i32(out, digest.version);
        jute::put_i64(out, digest.tree_digest);
    }
}

/// Reads a whole record payload.
///
/// # Errors
/// When the bytes are no such record.
pub fn decode_record(bytes: &[u8]) -> Result<(TxnHeader, Txn, Option<TxnDigest>)> {
    let mut r = Reader::new(bytes);
    let header = TxnHeader {
        client_id: r.i64()?,
        cxid: r.i32()?,
        zxid: Zxid(r.i64()?),
        time: r.i64()?,
    };
    let op = r.i32()?;
    let txn = Txn::decode(op, &mut r)?;
    let digest = if r.remaining().len() >= DIGEST_SIZE {
        Some(TxnDigest {
            version: r.i32()?,
            tree_digest: r.i64()?,
        })
    } else {
        None
    };
    Ok((header, txn, digest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;
    use alloc::vec;
    use proptest::prelude::*;

    fn round_trip(txn: &Txn, digest: Option<TxnDigest>) {
        let header = TxnHeader {
            client_id: 1,
            cxid: 2,
            zxid: Zxid(3),
            time: 4,
        };
        let mut bytes = Vec::new();
        encode_record(&mut bytes, &header, txn, digest);
        assert_eq!(
            decode_record(&bytes).unwrap(),
            (header, txn.clone(), digest),
            "{txn:?}"
        );
    }

    #[test]
    fn every_kind_survives_a_round_trip() {
        let node = CreateTxn {
            path: "/a".to_string(),
            data: Some(Bytes::from_static(&[1, 2])),
            acl: [Acl::open(), Acl::new(1, "digest", "u:x")].into(),
            parent_cversion: 9,
        };
        let txns = vec![
            Txn::CreateSession { timeout_ms: 4000 },
            Txn::CloseSession { paths: None },
            Txn::CloseSession {
                paths: Some(vec![]),
            },
            Txn::CloseSession {
                paths: Some(vec!["/e".to_string(), "/f".to_string()]),
            },
            Txn::Create {
                op: op_code::CREATE,
                node: node.clone(),
                ephemeral: true,
            },
            Txn::Create {
                op: op_code::CREATE2,
                node: node.clone(),
                ephemeral: false,
            },
            Txn::CreateContainer(node.clone()),
            Txn::CreateTtl { node, ttl: 7 },
            Txn::Delete {
                path: "/a".to_string(),
            },
            Txn::DeleteContainer {
                path: "/a".to_string(),
            },
            Txn::SetData {
                path: "/a".to_string(),
                data: None,
                version: 3,
            },
            Txn::Reconfig {
                path: "/a".to_string(),
                data: Some(Bytes::new()),
                version: -1,
            },
            Txn::SetAcl {
                path: "/a".to_string(),
                acl: [Acl::open()].into(),
                version: 1,
            },
            Txn::Error(ErrorCode::NO_NODE),
        ];
        let digest = Some(TxnDigest {
            version: DIGEST_VERSION,
            tree_digest: -5,
        });
        for txn in &txns {
            round_trip(txn, digest);
            round_trip(txn, None);
        }
        round_trip(
            &Txn::Multi(vec![Txn::Check {
                path: "/".to_string(),
                version: 1,
            }]),
            digest,
        );
        round_trip(&Txn::Multi(txns[4..].to_vec()), digest);
    }

    #[test]
    fn a_creation_of_the_oldest_servers_has_no_parent_version() {
        let mut bytes = Vec::new();
        jute::put_string(&mut bytes, "/old");
        jute::put_buffer(&mut bytes, None);
        acl::encode_list(&mut bytes, &[]);
        jute::put_bool(&mut bytes, false);
        let txn = Txn::decode(op_code::CREATE, &mut Reader::new(&bytes)).unwrap();
        let node = CreateTxn {
            path: "/old".to_string(),
            parent_cversion: -1,
            ..Default::default()
        };
        assert_eq!(
            txn,
            Txn::Create {
                op: op_code::CREATE,
                node,
                ephemeral: false
            }
        );
    }

    proptest! {
        #[test]
        fn decoding_never_panics(bytes: Vec<u8>, op in -12i32..30) {
            let _ = decode_record(&bytes);
            let _ = Txn::decode(op, &mut Reader::new(&bytes));
        }
    }
}
