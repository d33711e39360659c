//! The client's direction of replies: reading what the parent module and the server write.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use super::EventType;
use crate::acl::Id;
use crate::error_code::ErrorCode;
use crate::ids::Zxid;
use crate::jute::{DecodeError, Reader, Result};
use crate::op_code;
use crate::stat::Stat;

/// In front of every reply but the handshake's. Java: `ReplyHeader`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplyHeader {
    /// The request's, or one of the `XID_` constants.
    pub xid: i32,
    /// The last transaction the server has applied, the event's own, 0 or -1.
    pub zxid: Zxid,
    /// [`ErrorCode::OK`], or why the request was refused.
    pub err: ErrorCode,
}

impl ReplyHeader {
    /// Splits a packet into header and body; `None` when it is too short.
    #[must_use]
    pub fn split(packet: &[u8]) -> Option<(Self, &[u8])> {
        let (xid, rest) = packet.split_first_chunk::<4>()?;
        let (zxid, rest) = rest.split_first_chunk::<8>()?;
        let (err, body) = rest.split_first_chunk::<4>()?;
        Some((
            Self {
                xid: i32::from_be_bytes(*xid),
                zxid: Zxid(i64::from_be_bytes(*zxid)),
                err: ErrorCode(i32::from_be_bytes(*err)),
            },
            body,
        ))
    }
}

/// The body of a watch event: what happened, and where.
///
/// # Errors
/// When the bytes end early, the path is null or the event unknown.
pub fn watch_event(body: &[u8]) -> Result<(EventType, Cow<'_, str>)> {
    let mut r = Reader::new(body);
    let kind = match r.i32()? {
        1 => EventType::NodeCreated,
        2 => EventType::NodeDeleted,
        3 => EventType::NodeDataChanged,
        4 => EventType::NodeChildrenChanged,
        _ => return Err(DecodeError::Invalid("an event's type")),
    };
    let _state = r.i32()?;
    Ok((kind, r.required_string()?))
}

/// A list of strings: getChildren, getEphemerals; null is read as empty.
///
/// # Errors
/// When the bytes end early or carry an impossible count.
pub fn strings(r: &mut Reader<'_>) -> Result<Vec<String>> {
    let count = r.count(4)?.unwrap_or(0);
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(r.string()?.unwrap_or_default().into_owned());
    }
    Ok(list)
}

/// The identities of a connection. Java: `WhoAmIResponse`.
///
/// # Errors
/// When the bytes end early or carry an impossible count.
pub fn identities(body: &[u8]) -> Result<Vec<Id>> {
    let mut r = Reader::new(body);
    let count = r.count(8)?.unwrap_or(0);
    let mut list = Vec::with_capacity(count);
    for _ in 0..count {
        list.push(Id {
            scheme: r.string()?.unwrap_or_default().into_owned(),
            id: r.string()?.unwrap_or_default().into_owned(),
        });
    }
    Ok(list)
}

/// One result of a multi or a multiRead, borrowed from the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(missing_docs)] // Each is the result of the operation of its name.
pub enum MultiResult<'a> {
    Created {
        path: Cow<'a, str>,
        /// Old servers answer without.
        stat: Option<Stat>,
    },
    Deleted,
    Set(Stat),
    Checked,
    Data {
        data: Option<&'a [u8]>,
        stat: Stat,
    },
    Children(Vec<String>),
    /// Why this operation failed; OK and RUNTIMEINCONSISTENCY mark those before and behind the
    /// failing one of a multi.
    Failed(ErrorCode),
}

/// The results of a multi or a multiRead, in the order of its operations.
///
/// # Errors
/// When the bytes end early or carry a result of no known operation.
pub fn multi(body: &[u8]) -> Result<Vec<MultiResult<'_>>> {
    let mut r = Reader::new(body);
    let mut results = Vec::new();
    loop {
        let op = r.i32()?;
        let done = r.bool()?;
        let err = r.i32()?;
        if done {
            return Ok(results);
        }
        results.push(match op {
            op_code::CREATE => MultiResult::Created {
                path: r.required_string()?,
                stat: None,
            },
            op_code::CREATE2 | op_code::CREATE_CONTAINER | op_code::CREATE_TTL => {
                MultiResult::Created {
                    path: r.required_string()?,
                    stat: Some(Stat::decode(&mut r)?),
                }
            }
            op_code::DELETE => MultiResult::Deleted,
            op_code::SET_DATA => MultiResult::Set(Stat::decode(&mut r)?),
            op_code::CHECK => MultiResult::Checked,
            op_code::GET_DATA => MultiResult::Data {
                data: r.buffer()?,
                stat: Stat::decode(&mut r)?,
            },
            op_code::GET_CHILDREN => MultiResult::Children(strings(&mut r)?),
            op_code::ERROR => {
                // The code stands in header and body.
                let _ = err;
                MultiResult::Failed(ErrorCode(r.i32()?))
            }
            _ => return Err(DecodeError::Invalid("the type of a multi's result")),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jute;
    use crate::reply::{self, WriteResult};
    use proptest::collection::vec;
    use proptest::prelude::*;

    fn stat() -> impl Strategy<Value = Stat> {
        (any::<i64>(), any::<i32>(), any::<i64>(), any::<i32>()).prop_map(|(a, b, c, d)| Stat {
            czxid: a,
            mzxid: c,
            ctime: a ^ c,
            mtime: !a,
            version: b,
            cversion: d,
            aversion: b ^ d,
            ephemeral_owner: !c,
            data_length: !b,
            num_children: !d,
            pzxid: a.wrapping_add(c),
        })
    }

    fn results() -> impl Strategy<Value = Vec<WriteResult>> {
        let path = "/[a-z]{0,9}";
        let one = prop_oneof![
            (path, stat()).prop_map(|(path, stat)| WriteResult::CreatedStat { path, stat }),
            path.prop_map(|path| WriteResult::Created { path }),
            Just(WriteResult::Nothing {
                op: op_code::DELETE
            }),
            Just(WriteResult::Nothing { op: op_code::CHECK }),
            stat().prop_map(|stat| WriteResult::Changed {
                op: op_code::SET_DATA,
                stat
            }),
        ];
        vec(one, 0..6)
    }

    fn read(result: &WriteResult) -> MultiResult<'_> {
        match result {
            WriteResult::Created { path } => MultiResult::Created {
                path: path.as_str().into(),
                stat: None,
            },
            WriteResult::CreatedStat { path, stat } => MultiResult::Created {
                path: path.as_str().into(),
                stat: Some(*stat),
            },
            WriteResult::Nothing {
                op: op_code::DELETE,
            } => MultiResult::Deleted,
            WriteResult::Nothing { .. } => MultiResult::Checked,
            WriteResult::Changed { stat, .. } => MultiResult::Set(*stat),
            WriteResult::Reconfigured { .. } => panic!("not in a multi"),
        }
    }

    proptest! {
        #[test]
        fn the_client_reads_the_results_that_the_server_writes(results in results(), err: i32) {
            let mut body = Vec::new();
            for result in &results {
                reply::multi_header(&mut body, result.multi_op(), ErrorCode::OK);
                result.encode(&mut body);
            }
            reply::multi_error(&mut body, ErrorCode(err));
            reply::multi_end(&mut body);
            let mut expected: Vec<_> = results.iter().map(read).collect();
            expected.push(MultiResult::Failed(ErrorCode(err)));
            prop_assert_eq!(multi(&body), Ok(expected));
        }

        #[test]
        fn the_client_reads_the_events_that_the_server_writes(
            zxid: i64, kind in 0usize..4, path in "/[a-z\u{e9}\u{4e2d}/]{0,20}",
        ) {
            let kind = [
                EventType::NodeCreated,
                EventType::NodeDeleted,
                EventType::NodeDataChanged,
                EventType::NodeChildrenChanged,
            ][kind];
            let mut out = Vec::new();
            reply::watch_event(&mut out, Zxid(zxid), kind, &path);
            let (header, body) = ReplyHeader::split(&out[4..]).unwrap();
            prop_assert_eq!(
                header,
                ReplyHeader { xid: reply::XID_NOTIFICATION, zxid: Zxid(zxid), err: ErrorCode::OK }
            );
            prop_assert_eq!(watch_event(body), Ok((kind, path.as_str().into())));
        }

        #[test]
        fn reading_never_panics(body: Vec<u8>) {
            let _ = multi(&body);
            let _ = watch_event(&body);
            let _ = identities(&body);
            let _ = strings(&mut Reader::new(&body));
            let _ = ReplyHeader::split(&body);
        }
    }

    #[test]
    fn a_list_of_strings_may_be_null() {
        let mut body = Vec::new();
        jute::put_i32(&mut body, -1);
        assert_eq!(strings(&mut Reader::new(&body)), Ok(Vec::new()));
    }
}
