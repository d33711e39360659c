//! What clients ask, one variant per operation, borrowed from the packet.
//!
//! Decoding tells apart what can be answered at once (a body that is no record of its operation)
//! from what must be ordered with the writes (wire.md calls it "takes a zxid"). A path that is
//! null decodes where Apache lets it pass to a later check.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::error_code::ErrorCode;
use crate::jute::{DecodeError, Reader};
use crate::op_code;

mod encode;

/// A string that the client may have sent as null.
pub type NullableStr<'a> = Option<Cow<'a, str>>;

/// Bytes of a request header.
pub const HEADER_SIZE: usize = 8;

/// In front of every request but the first packet. Java: `RequestHeader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestHeader {
    /// Echoed in the reply.
    pub xid: i32,
    /// One of [`crate::op_code`], or an unknown number.
    pub op: i32,
}

impl RequestHeader {
    /// Splits a packet into header and body; `None` when it is too short.
    #[must_use]
    pub fn split(packet: &[u8]) -> Option<(Self, &[u8])> {
        let (xid, rest) = packet.split_first_chunk::<4>()?;
        let (op, body) = rest.split_first_chunk::<4>()?;
        Some((
            Self {
                xid: i32::from_be_bytes(*xid),
                op: i32::from_be_bytes(*op),
            },
            body,
        ))
    }
}

/// An access control entry as the client sent it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // The fields are those of `Acl`.
pub struct RequestAcl<'a> {
    pub perms: i32,
    pub scheme: NullableStr<'a>,
    pub id: NullableStr<'a>,
}

impl RequestAcl<'_> {
    /// Whether it gives everything to everybody.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.perms == crate::acl::PERM_ALL
            && self.scheme.as_deref() == Some("world")
            && self.id.as_deref() == Some("anyone")
    }
}

/// create, create2, createContainer and createTTL.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Create<'a> {
    /// Which of the four it is.
    pub op: i32,
    /// Where; a sequential node's path lacks its number.
    pub path: NullableStr<'a>,
    /// The node's data; null and empty differ.
    pub data: Option<&'a [u8]>,
    /// Who may do what; null is refused later.
    pub acl: Option<Vec<RequestAcl<'a>>>,
    /// Java: `CreateMode`; unknown values are refused later.
    pub flags: i32,
    /// Time to live in ms; -1 for all but createTTL.
    pub ttl: i64,
}

/// One operation of a multi.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MultiOp<'a> {
    Create(Create<'a>),
    Delete {
        path: Cow<'a, str>,
        version: i32,
    },
    SetData {
        path: Cow<'a, str>,
        data: Option<&'a [u8]>,
        version: i32,
    },
    Check {
        path: Cow<'a, str>,
        version: i32,
    },
}

/// One operation of a multiRead.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum MultiReadOp<'a> {
    GetData { path: NullableStr<'a> },
    GetChildren { path: NullableStr<'a> },
}

/// Watches a client registers again after a reconnection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetWatches<'a> {
    /// The last zxid the client has seen.
    pub relative_zxid: i64,
    /// One-shot data watches.
    pub data: Vec<Cow<'a, str>>,
    /// One-shot watches on absent nodes.
    pub exist: Vec<Cow<'a, str>>,
    /// One-shot child watches.
    pub child: Vec<Cow<'a, str>>,
    /// Persistent watches (setWatches2 only).
    pub persistent: Vec<Cow<'a, str>>,
    /// Persistent recursive watches (setWatches2 only).
    pub persistent_recursive: Vec<Cow<'a, str>>,
}

/// A decoded request.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Request<'a> {
    Create(Create<'a>),
    Delete {
        path: NullableStr<'a>,
        version: i32,
    },
    DeleteContainer {
        path: Cow<'a, str>,
    },
    SetData {
        path: NullableStr<'a>,
        data: Option<&'a [u8]>,
        version: i32,
    },
    SetAcl {
        path: NullableStr<'a>,
        acl: Option<Vec<RequestAcl<'a>>>,
        version: i32,
    },
    Multi(Vec<MultiOp<'a>>),
    Reconfig(Reconfig<'a>),
    CloseSession,
    Exists {
        path: Cow<'a, str>,
        watch: bool,
    },
    GetData {
        path: Cow<'a, str>,
        watch: bool,
    },
    GetAcl {
        path: Cow<'a, str>,
    },
    GetChildren {
        path: Cow<'a, str>,
        watch: bool,
        with_stat: bool,
    },
    GetAllChildrenNumber {
        path: Cow<'a, str>,
    },
    GetEphemerals {
        prefix: NullableStr<'a>,
    },
    MultiRead(Vec<MultiReadOp<'a>>),
    Sync {
        path: NullableStr<'a>,
    },
    WhoAmI,
    Ping,
    SetWatches(SetWatches<'a>),
    AddWatch {
        path: NullableStr<'a>,
        mode: i32,
    },
    CheckWatches {
        path: NullableStr<'a>,
        kind: i32,
    },
    RemoveWatches {
        path: NullableStr<'a>,
        kind: i32,
    },
    Auth {
        scheme: NullableStr<'a>,
        data: Option<&'a [u8]>,
    },
    Sasl {
        token: &'a [u8],
    },
}

/// The arguments of reconfig; null strings are absent ones.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Reconfig<'a> {
    pub joining_servers: NullableStr<'a>,
    pub leaving_servers: NullableStr<'a>,
    pub new_members: NullableStr<'a>,
    /// The version the client wants to change; -1 is any.
    pub config_id: i64,
}

/// Why a packet is no request that could be carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRequest {
    /// MARSHALLINGERROR, at once.
    Malformed,
    /// MARSHALLINGERROR as an ordered, refused write.
    MalformedWrite,
    /// MARSHALLINGERROR with an empty multi response as body.
    MalformedMultiRead,
    /// The connection is closed without a reply.
    Fatal,
    /// UNIMPLEMENTED, then the connection is closed.
    Unknown,
}

impl BadRequest {
    /// The error code of the reply, if there is one.
    #[must_use]
    pub const fn code(self) -> Option<ErrorCode> {
        match self {
            Self::Malformed | Self::MalformedWrite | Self::MalformedMultiRead => {
                Some(ErrorCode::MARSHALLING_ERROR)
            }
            Self::Unknown => Some(ErrorCode::UNIMPLEMENTED),
            Self::Fatal => None,
        }
    }
}

impl From<DecodeError> for BadRequest {
    fn from(_: DecodeError) -> Self {
        Self::Malformed
    }
}

type Decoded<T> = Result<T, BadRequest>;

/// Decodes the body of a request; bytes behind the record are ignored. `max_length` bounds each
/// string and buffer.
///
/// # Errors
/// See [`BadRequest`].
#[allow(clippy::too_many_lines)] // One arm per operation.
pub fn decode(op: i32, body: &[u8], max_length: usize) -> Decoded<Request<'_>> {
    let mut r = Reader::with_limit(body, max_length);
    Ok(match op {
        op_code::CREATE | op_code::CREATE2 | op_code::CREATE_CONTAINER | op_code::CREATE_TTL => {
            Request::Create(create(op, &mut r)?)
        }
        op_code::DELETE => Request::Delete {
            path: r.string()?,
            version: r.i32()?,
        },
        op_code::DELETE_CONTAINER => Request::DeleteContainer {
            path: r.required_string()?,
        },
        op_code::SET_DATA => Request::SetData {
            path: r.string()?,
            data: r.buffer()?,
            version: r.i32()?,
        },
        op_code::SET_ACL => Request::SetAcl {
            path: r.string()?,
            acl: acl_list(&mut r)?,
            version: r.i32()?,
        },
        op_code::MULTI => Request::Multi(multi(&mut r)?),
        op_code::MULTI_READ => Request::MultiRead(multi_read(&mut r)?),
        op_code::RECONFIG => Request::Reconfig(Reconfig {
            joining_servers: r.string()?,
            leaving_servers: r.string()?,
            new_members: r.string()?,
            config_id: r.i64()?,
        }),
        op_code::CLOSE_SESSION => Request::CloseSession,
        op_code::EXISTS => Request::Exists {
            path: r.required_string()?,
            watch: r.bool()?,
        },
        op_code::GET_DATA => Request::GetData {
            path: r.required_string()?,
            watch: r.bool()?,
        },
        op_code::GET_ACL => Request::GetAcl {
            path: r.required_string()?,
        },
        op_code::GET_CHILDREN | op_code::GET_CHILDREN2 => Request::GetChildren {
            path: r.required_string()?,
            watch: r.bool()?,
            with_stat: op == op_code::GET_CHILDREN2,
        },
        op_code::GET_ALL_CHILDREN_NUMBER => Request::GetAllChildrenNumber {
            path: r.required_string()?,
        },
        op_code::GET_EPHEMERALS => Request::GetEphemerals {
            prefix: r.string()?,
        },
        op_code::SYNC => Request::Sync { path: r.string()? },
        op_code::WHO_AM_I => Request::WhoAmI,
        op_code::PING => Request::Ping,
        op_code::SET_WATCHES | op_code::SET_WATCHES2 => {
            Request::SetWatches(set_watches(op, &mut r)?)
        }
        op_code::ADD_WATCH => Request::AddWatch {
            path: r.string()?,
            mode: r.i32()?,
        },
        op_code::CHECK_WATCHES => Request::CheckWatches {
            path: r.string()?,
            kind: r.i32()?,
        },
        op_code::REMOVE_WATCHES => Request::RemoveWatches {
            path: r.string()?,
            kind: r.i32()?,
        },
        op_code::AUTH => auth(&mut r).map_err(|_| BadRequest::Fatal)?,
        op_code::SASL => match r.buffer() {
            Ok(Some(token)) => Request::Sasl { token },
            _ => return Err(BadRequest::Fatal),
        },
        _ => return Err(BadRequest::Unknown),
    })
}

fn auth<'a>(r: &mut Reader<'a>) -> Result<Request<'a>, DecodeError> {
    let _type = r.i32()?;
    Ok(Request::Auth {
        scheme: r.string()?,
        data: r.buffer()?,
    })
}

fn acl_list<'a>(r: &mut Reader<'a>) -> Result<Option<Vec<RequestAcl<'a>>>, DecodeError> {
    let Some(count) = r.count(12)? else {
        return Ok(None);
    };
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(RequestAcl {
            perms: r.i32()?,
            scheme: r.string()?,
            id: r.string()?,
        });
    }
    Ok(Some(list))
}

fn create<'a>(op: i32, r: &mut Reader<'a>) -> Result<Create<'a>, DecodeError> {
    Ok(Create {
        op,
        path: r.string()?,
        data: r.buffer()?,
        acl: acl_list(r)?,
        flags: r.i32()?,
        ttl: if op == op_code::CREATE_TTL {
            r.i64()?
        } else {
            -1
        },
    })
}

fn paths<'a>(r: &mut Reader<'a>) -> Result<Vec<Cow<'a, str>>, DecodeError> {
    let count = r.count(4)?.ok_or(DecodeError::Null)?;
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(r.required_string()?);
    }
    Ok(list)
}

fn set_watches<'a>(op: i32, r: &mut Reader<'a>) -> Result<SetWatches<'a>, DecodeError> {
    let mut watches = SetWatches {
        relative_zxid: r.i64()?,
        data: paths(r)?,
        exist: paths(r)?,
        child: paths(r)?,
        persistent: Vec::new(),
        persistent_recursive: Vec::new(),
    };
    if op == op_code::SET_WATCHES2 {
        watches.persistent = paths(r)?;
        watches.persistent_recursive = paths(r)?;
    }
    Ok(watches)
}

/// The header in front of each operation of a multi; `None` at the end mark.
fn multi_header(r: &mut Reader<'_>) -> Result<Option<i32>, DecodeError> {
    let op = r.i32()?;
    let done = r.bool()?;
    let _err = r.i32()?;
    Ok((!done).then_some(op))
}

/// Which of its faults a create of a multi is refused for, in Java's order: an unknown mode, a
/// missing list, a mode that wants a ttl.
fn check_multi_create(create: &Create<'_>) -> Decoded<()> {
    match create.flags {
        0..=6 if create.acl.is_none() => Err(BadRequest::Malformed),
        0..=4 => Ok(()),
        _ => Err(BadRequest::MalformedWrite),
    }
}

/// A path of a multi; that it is null is noted.
fn path_or_note<'a>(r: &mut Reader<'a>, missing: &mut bool) -> Result<Cow<'a, str>, DecodeError> {
    let path = r.string()?;
    *missing |= path.is_none();
    Ok(path.unwrap_or_default())
}

fn multi<'a>(r: &mut Reader<'a>) -> Decoded<Vec<MultiOp<'a>>> {
    let ordered = |_: DecodeError| BadRequest::MalformedWrite;
    let mut ops = Vec::new();
    // Java misses a path only when the whole has been read.
    let mut path_missing = false;
    // A read in a multi is refused once a write has been read too, or at the end.
    let mut reads = false;
    while let Some(op) = multi_header(r).map_err(ordered)? {
        ops.push(match op {
            op_code::CREATE
            | op_code::CREATE2
            | op_code::CREATE_CONTAINER
            | op_code::CREATE_TTL => {
                let create = create(op, r).map_err(ordered)?;
                if op != op_code::CREATE_TTL {
                    check_multi_create(&create)?;
                }
                path_missing |= create.path.is_none();
                MultiOp::Create(create)
            }
            op_code::DELETE => MultiOp::Delete {
                path: path_or_note(r, &mut path_missing).map_err(ordered)?,
                version: r.i32().map_err(ordered)?,
            },
            op_code::SET_DATA => MultiOp::SetData {
                path: path_or_note(r, &mut path_missing).map_err(ordered)?,
                data: r.buffer().map_err(ordered)?,
                version: r.i32().map_err(ordered)?,
            },
            op_code::CHECK => MultiOp::Check {
                path: path_or_note(r, &mut path_missing).map_err(ordered)?,
                version: r.i32().map_err(ordered)?,
            },
            op_code::GET_DATA | op_code::GET_CHILDREN if ops.is_empty() => {
                r.string().map_err(ordered)?;
                r.bool().map_err(ordered)?;
                reads = true;
                continue;
            }
            _ => return Err(BadRequest::MalformedWrite),
        });
        if reads {
            return Err(BadRequest::MalformedWrite);
        }
    }
    if path_missing || reads {
        Err(BadRequest::MalformedWrite)
    } else {
        Ok(ops)
    }
}

fn multi_read<'a>(r: &mut Reader<'a>) -> Decoded<Vec<MultiReadOp<'a>>> {
    let mut ops = Vec::new();
    let mut writes = 0;
    while let Some(op) = multi_header(r)? {
        match op {
            op_code::GET_DATA => {
                ops.push(MultiReadOp::GetData { path: r.string()? });
                let _watch = r.bool()?;
            }
            op_code::GET_CHILDREN => {
                ops.push(MultiReadOp::GetChildren { path: r.string()? });
                let _watch = r.bool()?;
            }
            _ => {
                skip_write(op, r)?;
                writes += 1;
            }
        }
    }
    match (writes, ops.is_empty()) {
        (0, _) => Ok(ops),
        (_, true) => Err(BadRequest::MalformedMultiRead),
        (_, false) => Err(BadRequest::Malformed),
    }
}

/// Writes decode inside a multiRead before they are refused as a whole.
fn skip_write(op: i32, r: &mut Reader<'_>) -> Decoded<()> {
    match op {
        op_code::CREATE | op_code::CREATE2 | op_code::CREATE_CONTAINER | op_code::CREATE_TTL => {
            create(op, r)?;
        }
        op_code::DELETE | op_code::CHECK => {
            r.string()?;
            r.i32()?;
        }
        op_code::SET_DATA => {
            r.string()?;
            r.buffer()?;
            r.i32()?;
        }
        _ => return Err(BadRequest::Malformed),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute;
    use proptest::prelude::*;

    fn header(out: &mut Vec<u8>, op: i32, done: bool) {
        jute::put_i32(out, op);
        jute::put_bool(out, done);
        jute::put_i32(out, -1);
    }

    #[test]
    fn a_multi_ends_at_the_first_done_header() {
        let mut body = Vec::new();
        header(&mut body, op_code::DELETE, false);
        jute::put_string(&mut body, "/a");
        jute::put_i32(&mut body, -1);
        header(&mut body, 77, true);
        body.extend_from_slice(b"whatever");
        let request = decode(op_code::MULTI, &body, usize::MAX).unwrap();
        assert_eq!(
            request,
            Request::Multi(
                [MultiOp::Delete {
                    path: "/a".into(),
                    version: -1
                }]
                .into()
            )
        );
    }

    #[test]
    fn reads_and_writes_do_not_mix() {
        let mut body = Vec::new();
        header(&mut body, op_code::GET_DATA, false);
        jute::put_string(&mut body, "/a");
        jute::put_bool(&mut body, false);
        header(&mut body, -1, true);
        assert_eq!(
            decode(op_code::MULTI, &body, 99),
            Err(BadRequest::MalformedWrite)
        );
        assert!(decode(op_code::MULTI_READ, &body, 99).is_ok());
        let mut writes = Vec::new();
        header(&mut writes, op_code::DELETE, false);
        jute::put_string(&mut writes, "/a");
        jute::put_i32(&mut writes, -1);
        let mut both = writes.clone();
        both.extend_from_slice(&body);
        header(&mut writes, -1, true);
        assert_eq!(
            decode(op_code::MULTI_READ, &writes, 99),
            Err(BadRequest::MalformedMultiRead)
        );
        assert_eq!(
            decode(op_code::MULTI_READ, &both, 99),
            Err(BadRequest::Malformed)
        );
    }

    #[test]
    fn a_null_path_is_refused_where_apache_refuses_it_at_once() {
        let null_and_flag = [0xFF, 0xFF, 0xFF, 0xFF, 0];
        assert_eq!(
            decode(op_code::EXISTS, &null_and_flag, 9),
            Err(BadRequest::Malformed)
        );
        assert_eq!(
            decode(op_code::SYNC, &null_and_flag, 9),
            Ok(Request::Sync { path: None })
        );
    }

    #[test]
    fn a_missing_list_in_a_multi_takes_no_place_in_the_order_whatever_the_mode() {
        let mut body = Vec::new();
        header(&mut body, op_code::CREATE, false);
        jute::put_string(&mut body, "/a");
        jute::put_buffer(&mut body, None);
        jute::put_i32(&mut body, -1);
        jute::put_i32(&mut body, 5);
        header(&mut body, -1, true);
        assert_eq!(
            decode(op_code::MULTI, &body, 99),
            Err(BadRequest::Malformed)
        );
    }

    #[test]
    fn a_read_in_a_multi_is_refused_only_behind_the_faults_of_the_write_that_follows() {
        let mut read = Vec::new();
        header(&mut read, op_code::GET_DATA, false);
        jute::put_string(&mut read, "/a");
        jute::put_bool(&mut read, false);
        let create = |acl: i32| {
            let mut body = read.clone();
            header(&mut body, op_code::CREATE, false);
            jute::put_string(&mut body, "/a");
            jute::put_buffer(&mut body, None);
            jute::put_i32(&mut body, acl);
            jute::put_i32(&mut body, 0);
            header(&mut body, -1, true);
            body
        };
        let multi = |body: &[u8]| decode(op_code::MULTI, body, 99).err();
        assert_eq!(multi(&create(-1)), Some(BadRequest::Malformed));
        assert_eq!(multi(&create(0)), Some(BadRequest::MalformedWrite));
        let mut alone = read.clone();
        header(&mut alone, -1, true);
        assert_eq!(multi(&alone), Some(BadRequest::MalformedWrite));
    }

    proptest! {
        #[test]
        fn decoding_never_panics(op in -12i32..120, body: Vec<u8>) {
            let _ = decode(op, &body, 64);
        }
    }
}
