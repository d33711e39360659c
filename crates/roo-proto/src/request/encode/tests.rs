use alloc::string::String;

use super::*;
use crate::request::{NullableStr, Reconfig, RequestHeader, decode};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// What a request is made of.
#[derive(Clone, Debug)]
struct Parts {
    path: String,
    maybe: Option<String>,
    data: Option<Vec<u8>>,
    acl: Option<Vec<(i32, Option<String>)>>,
    number: i32,
    long: i64,
    flag: bool,
    lists: [Vec<String>; 5],
}

fn parts() -> impl Strategy<Value = Parts> {
    let text = "[a-z/\u{e9}\u{4e2d}]{0,12}";
    let lists = [(); 5].map(|()| vec(text, 0..3));
    (
        text,
        option::of(text),
        option::of(vec(any::<u8>(), 0..20)),
        option::of(vec((any::<i32>(), option::of(text)), 0..3)),
        (0i32..=4, any::<i64>(), any::<bool>()),
        lists,
    )
        .prop_map(
            |(path, maybe, data, acl, (number, long, flag), lists)| Parts {
                path,
                maybe,
                data,
                acl,
                number,
                long,
                flag,
                lists,
            },
        )
}

fn nullable(text: &Option<String>) -> NullableStr<'_> {
    text.as_deref().map(Cow::Borrowed)
}

fn create(p: &Parts, op: i32) -> Create<'_> {
    let acl = p.acl.as_ref().map(|list| {
        list.iter()
            .map(|(perms, id)| RequestAcl {
                perms: *perms,
                scheme: nullable(&p.maybe),
                id: nullable(id),
            })
            .collect()
    });
    Create {
        op,
        path: nullable(&p.maybe),
        data: p.data.as_deref(),
        acl,
        flags: p.number,
        ttl: if op == op_code::CREATE_TTL {
            p.long
        } else {
            -1
        },
    }
}

/// Every operation of a multi, as a client of ours would send it: no path is null.
fn multi(p: &Parts) -> Request<'_> {
    let mut create = create(p, op_code::CREATE2);
    create.path = Some(p.path.as_str().into());
    create.acl.get_or_insert_default();
    let path: Cow<'_, str> = p.path.as_str().into();
    Request::Multi(
        [
            MultiOp::Create(create),
            MultiOp::Delete {
                path: path.clone(),
                version: p.number,
            },
            MultiOp::SetData {
                path: path.clone(),
                data: p.data.as_deref(),
                version: p.number,
            },
            MultiOp::Check {
                path,
                version: p.number,
            },
        ]
        .into(),
    )
}

#[allow(clippy::too_many_lines)] // One entry per operation.
fn requests(p: &Parts) -> Vec<Request<'_>> {
    let path: Cow<'_, str> = p.path.as_str().into();
    let maybe = || nullable(&p.maybe);
    let list = |at: usize| p.lists[at].iter().map(|s| s.as_str().into()).collect();
    let acl = create(p, op_code::CREATE).acl;
    [
        Request::Create(create(p, op_code::CREATE)),
        Request::Create(create(p, op_code::CREATE2)),
        Request::Create(create(p, op_code::CREATE_CONTAINER)),
        Request::Create(create(p, op_code::CREATE_TTL)),
        Request::Delete {
            path: maybe(),
            version: p.number,
        },
        Request::DeleteContainer { path: path.clone() },
        Request::SetData {
            path: maybe(),
            data: p.data.as_deref(),
            version: p.number,
        },
        Request::SetAcl {
            path: maybe(),
            acl,
            version: p.number,
        },
        multi(p),
        Request::MultiRead(
            [
                MultiReadOp::GetData { path: maybe() },
                MultiReadOp::GetChildren { path: maybe() },
            ]
            .into(),
        ),
        Request::Reconfig(Reconfig {
            joining_servers: maybe(),
            leaving_servers: None,
            new_members: Some(path.clone()),
            config_id: p.long,
        }),
        Request::CloseSession,
        Request::Exists {
            path: path.clone(),
            watch: p.flag,
        },
        Request::GetData {
            path: path.clone(),
            watch: p.flag,
        },
        Request::GetAcl { path: path.clone() },
        Request::GetChildren {
            path: path.clone(),
            watch: p.flag,
            with_stat: p.flag,
        },
        Request::GetAllChildrenNumber { path },
        Request::GetEphemerals { prefix: maybe() },
        Request::Sync { path: maybe() },
        Request::WhoAmI,
        Request::Ping,
        Request::SetWatches(SetWatches {
            relative_zxid: p.long,
            data: list(0),
            exist: list(1),
            child: list(2),
            persistent: list(3),
            persistent_recursive: list(4),
        }),
        Request::AddWatch {
            path: maybe(),
            mode: p.number,
        },
        Request::CheckWatches {
            path: maybe(),
            kind: p.number,
        },
        Request::RemoveWatches {
            path: maybe(),
            kind: p.number,
        },
        Request::Auth {
            scheme: maybe(),
            data: p.data.as_deref(),
        },
        Request::Sasl {
            token: p.data.as_deref().unwrap_or_default(),
        },
    ]
    .into()
}

proptest! {
    #[test]
    fn the_server_reads_what_the_client_writes(p in parts(), xid: i32) {
        for request in requests(&p) {
            let mut out = Vec::new();
            request.encode_frame(&mut out, xid);
            let frame::Front::Packet(packet) = frame::front(&out, usize::MAX) else {
                panic!("no whole frame");
            };
            prop_assert_eq!(packet.len() + frame::LENGTH_SIZE, out.len());
            let (header, body) = RequestHeader::split(packet).unwrap();
            prop_assert_eq!(header, RequestHeader { xid, op: request.op() });
            prop_assert_eq!(decode(header.op, body, usize::MAX), Ok(request));
        }
    }
}
