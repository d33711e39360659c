use alloc::borrow::Cow;
use alloc::format;

use roo_proto::acl::PERM_ALL;
use roo_proto::ids::Zxid;

use super::*;
use crate::state::Rules;

/// A server in miniature: prepares requests, applies when told to.
struct Scene {
    state: State,
    overlay: Overlay,
    rules: PrepareRules,
    zxid: i64,
    in_flight: Vec<(TxnHeader, Prepared)>,
}

impl Scene {
    fn new(rules: Rules) -> Self {
        Self {
            state: State::new(rules, 1),
            overlay: Overlay::new(),
            rules: PrepareRules::default(),
            zxid: 0,
            in_flight: Vec::new(),
        }
    }

    fn ask(&mut self, request: &Request<'_>) -> ErrorCode {
        self.zxid += 1;
        let zxid = Zxid(self.zxid);
        let header = TxnHeader {
            client_id: 7,
            cxid: 1,
            zxid,
            time: 1_000,
        };
        let ids = [Id::new("ip", "127.0.0.1")];
        let prepared = prepare(
            &self.state,
            &mut self.overlay,
            &self.rules,
            &header,
            &ids,
            &Bytes::new(),
            request,
        );
        let code = match &prepared.txn {
            Txn::Error(code) => *code,
            _ => ErrorCode::OK,
        };
        self.in_flight.push((header, prepared));
        code
    }

    /// Applies everything in flight; each digest must be what the tree then has.
    fn settle(&mut self) {
        for (header, prepared) in core::mem::take(&mut self.in_flight) {
            let applied = self.state.apply(&header, prepared.txn, &mut Vec::new());
            assert!(!matches!(applied.error, ErrorCode::NO_NODE) || prepared.digest.is_none());
            self.overlay.applied(header.zxid);
            if let Some(digest) = prepared.digest {
                assert_eq!(
                    digest.tree_digest.cast_unsigned(),
                    self.state.digest(),
                    "{header:?}"
                );
            }
        }
        assert!(self.overlay.is_empty());
    }
}

fn open_acl<'a>() -> Option<Vec<RequestAcl<'a>>> {
    let anyone = ("world".into(), "anyone".into());
    Some(
        [RequestAcl {
            perms: PERM_ALL,
            scheme: Some(anyone.0),
            id: Some(anyone.1),
        }]
        .into(),
    )
}

fn create_op(op: i32, path: &str, flags: i32, ttl: i64) -> Create<'_> {
    Create {
        op,
        path: Some(Cow::Borrowed(path)),
        data: Some(b"d"),
        acl: open_acl(),
        flags,
        ttl,
    }
}

fn create(path: &str, flags: i32) -> Request<'_> {
    Request::Create(create_op(op_code::CREATE, path, flags, -1))
}

fn delete(path: &str, version: i32) -> Request<'_> {
    Request::Delete {
        path: Some(path.into()),
        version,
    }
}

fn set_data(path: &str, version: i32) -> Request<'_> {
    Request::SetData {
        path: Some(path.into()),
        data: Some(b"data"),
        version,
    }
}

#[test]
fn refusals_come_in_apaches_order() {
    let mut scene = Scene::new(Rules::default());
    let cases = [
        (create("/a", 9), ErrorCode::BAD_ARGUMENTS),
        (create("/a", 5), ErrorCode::UNIMPLEMENTED),
        (create("abc", 0), ErrorCode::BAD_ARGUMENTS),
        (create("/a/b", 0), ErrorCode::NO_NODE),
        (create("/a/", 0), ErrorCode::NO_NODE),
        (create("/zookeeper/config/x", 0), ErrorCode::NO_AUTH),
        (create("/./a", 0), ErrorCode::NO_NODE),
        (create("/", 0), ErrorCode::NODE_EXISTS),
        (delete("/", -1), ErrorCode::BAD_ARGUMENTS),
        (delete("//", -1), ErrorCode::NO_NODE),
        (delete("/zookeeper/quota", -1), ErrorCode::BAD_ARGUMENTS),
        (set_data("/a/", -1), ErrorCode::BAD_ARGUMENTS),
        (set_data("/a", -1), ErrorCode::NO_NODE),
        (
            Request::Delete {
                path: None,
                version: 0,
            },
            ErrorCode::MARSHALLING_ERROR,
        ),
        (
            Request::SetData {
                path: None,
                data: None,
                version: 0,
            },
            ErrorCode::BAD_ARGUMENTS,
        ),
        (
            Request::DeleteContainer { path: "/a".into() },
            ErrorCode::NO_NODE,
        ),
    ];
    for (request, expected) in &cases {
        assert_eq!(scene.ask(request), *expected, "{request:?}");
    }
    scene.settle();
}

#[test]
fn a_request_meets_the_changes_in_flight_before_it() {
    let mut scene = Scene::new(Rules::default());
    assert_eq!(scene.ask(&create("/a", 0)), ErrorCode::OK);
    assert_eq!(scene.ask(&create("/a", 0)), ErrorCode::NODE_EXISTS);
    assert_eq!(scene.ask(&create("/a/b", 1)), ErrorCode::OK);
    assert_eq!(
        scene.ask(&create("/a/b/c", 0)),
        ErrorCode::NO_CHILDREN_FOR_EPHEMERALS
    );
    assert_eq!(scene.ask(&delete("/a", -1)), ErrorCode::NOT_EMPTY);
    assert_eq!(scene.ask(&set_data("/a", 0)), ErrorCode::OK);
    assert_eq!(scene.ask(&set_data("/a", 0)), ErrorCode::BAD_VERSION);
    assert_eq!(scene.ask(&delete("/a/b", -1)), ErrorCode::OK);
    assert_eq!(scene.ask(&delete("/a", 1)), ErrorCode::OK);
    assert_eq!(scene.ask(&set_data("/a", -1)), ErrorCode::NO_NODE);
    scene.settle();
    assert!(scene.state.tree.find("/a").is_none());
}

#[test]
fn sequence_numbers_count_creations_even_in_flight_and_not_those_undone() {
    let mut scene = Scene::new(Rules::default());
    scene.ask(&create("/s", 2));
    let op = |path| MultiOp::Create(create_op(op_code::CREATE, path, 2, -1));
    let failing = [
        op("/s"),
        MultiOp::Delete {
            path: "/none".into(),
            version: -1,
        },
        op("/s"),
    ];
    assert_eq!(scene.ask(&Request::Multi(failing.into())), ErrorCode::OK);
    scene.ask(&create("/s", 2));
    scene.settle();
    for (name, exists) in [
        ("/s0000000000", true),
        ("/s0000000001", true),
        ("/s0000000002", false),
    ] {
        assert_eq!(scene.state.tree.find(name).is_some(), exists, "{name}");
    }
}

#[test]
fn a_multi_sees_its_own_changes_and_fails_as_a_whole() {
    let mut scene = Scene::new(Rules::default());
    let ops = [
        MultiOp::Create(create_op(op_code::CREATE2, "/m", 0, -1)),
        MultiOp::SetData {
            path: "/m".into(),
            data: None,
            version: 0,
        },
        MultiOp::Check {
            path: "/m".into(),
            version: 1,
        },
        MultiOp::Delete {
            path: "/m".into(),
            version: 1,
        },
    ];
    scene.ask(&Request::Multi(ops.to_vec()));
    let Txn::Multi(txns) = &scene.in_flight[0].1.txn else {
        panic!("no multi")
    };
    assert!(
        !txns.iter().any(|txn| matches!(txn, Txn::Error(_))),
        "{txns:?}"
    );
    scene.ask(&Request::Multi(
        [
            &ops[..1],
            &[MultiOp::Check {
                path: "/m".into(),
                version: 5,
            }],
        ]
        .concat(),
    ));
    let Txn::Multi(txns) = &scene.in_flight[1].1.txn else {
        panic!("no multi")
    };
    assert_eq!(txns[1], Txn::Error(ErrorCode::BAD_VERSION));
    scene.settle();
    assert!(scene.state.tree.find("/m").is_none());
}

#[test]
fn a_node_made_anew_in_one_multi_counts_once_in_the_digest() {
    let mut scene = Scene::new(Rules::default());
    scene.ask(&create("/m", 0));
    scene.settle();
    let anew = [
        MultiOp::Delete {
            path: "/m".into(),
            version: -1,
        },
        MultiOp::Create(create_op(op_code::CREATE, "/m", 0, -1)),
    ];
    assert_eq!(scene.ask(&Request::Multi(anew.into())), ErrorCode::OK);
    scene.settle();
}

#[test]
fn the_modes_of_each_opcode_are_apaches() {
    use op_code::{CREATE, CREATE_CONTAINER, CREATE_TTL, CREATE2};
    let mut scene = Scene::new(Rules {
        extended_types: true,
        ..Rules::default()
    });
    let bad = ErrorCode::BAD_ARGUMENTS;
    let cases = [
        (CREATE, 4, -1, ErrorCode::OK),
        (CREATE2, 6, -1, bad),
        (CREATE, 5, -1, bad),
        (CREATE_CONTAINER, 0, -1, ErrorCode::OK),
        (CREATE_CONTAINER, 3, -1, ErrorCode::OK),
        (CREATE_CONTAINER, 5, -1, bad),
        (CREATE_TTL, 0, 5, bad),
        (CREATE_TTL, 0, -1, bad),
        (CREATE_TTL, 5, 0, bad),
        (CREATE_TTL, 5, 1, ErrorCode::OK),
        (CREATE_TTL, 6, TTL_MAX, ErrorCode::OK),
        (CREATE_TTL, 5, TTL_MAX + 1, bad),
    ];
    for (at, (op, flags, ttl, expected)) in cases.into_iter().enumerate() {
        let path = format!("/n{at}");
        let request = Request::Create(create_op(op, &path, flags, ttl));
        assert_eq!(
            scene.ask(&request),
            expected,
            "op {op} flags {flags} ttl {ttl}"
        );
    }
    scene.settle();
}

#[test]
fn the_end_of_a_session_lists_what_it_will_own() {
    let mut scene = Scene::new(Rules::default());
    scene.ask(&create("/old", 1));
    scene.ask(&create("/gone", 1));
    scene.settle();
    scene.ask(&delete("/gone", -1));
    scene.ask(&create("/new", 1));
    scene.ask(&Request::CloseSession);
    let expected = ["/new".to_string(), "/old".to_string()].to_vec();
    assert_eq!(
        scene.in_flight[2].1.txn,
        Txn::CloseSession {
            paths: Some(expected)
        }
    );
    scene.settle();
    assert_eq!(scene.state.tree.node_count(), 4);
}

#[test]
fn the_end_of_a_session_that_owns_too_much_to_list_deletes_it_all_the_same() {
    let mut scene = Scene::new(Rules::default());
    // The two paths take 4 + 4 and 4 + 5 bytes.
    for (limit, listed) in [(17, true), (16, false)] {
        scene.rules.max_listed_bytes = limit;
        scene.ask(&create("/old", 1));
        scene.settle();
        scene.ask(&create("/next", 1));
        scene.ask(&Request::CloseSession);
        let (_, closing) = scene.in_flight.last().unwrap();
        assert!(matches!(&closing.txn, Txn::CloseSession { paths } if paths.is_some() == listed));
        scene.settle();
        assert_eq!(scene.state.tree.node_count(), 4);
    }
}

#[test]
fn a_transaction_that_no_start_could_read_is_refused_and_leaves_nothing() {
    let mut scene = Scene::new(Rules::default());
    let data = [b'x'; 1000];
    let node = |path| Create {
        data: Some(&data),
        ..create_op(op_code::CREATE, path, 0, -1)
    };
    scene.rules.max_txn_bytes = 2000;
    assert_eq!(scene.ask(&Request::Create(node("/a"))), ErrorCode::OK);
    let both = [MultiOp::Create(node("/b")), MultiOp::Create(node("/c"))];
    let too_long = Request::Multi(both.into());
    assert_eq!(scene.ask(&too_long), ErrorCode::BAD_ARGUMENTS);
    assert_eq!(scene.ask(&Request::Create(node("/b"))), ErrorCode::OK);
    scene.settle();
    assert_eq!(scene.state.tree.node_count(), 4 + 2);
}

#[test]
fn hard_quotas_refuse_growth_and_even_shrinking_while_above() {
    let mut scene = Scene::new(Rules {
        enforce_quota: true,
        ..Rules::default()
    });
    scene.ask(&create("/q", 0));
    for (path, data) in [
        ("/zookeeper/quota/q", ""),
        (
            "/zookeeper/quota/q/zookeeper_limits",
            "count=-1,bytes=-1=;byteHardLimit=6;countHardLimit=3",
        ),
        ("/zookeeper/quota/q/zookeeper_stats", "count=0,bytes=0"),
    ] {
        let mut node = create_op(op_code::CREATE, path, 0, -1);
        node.data = Some(data.as_bytes());
        assert_eq!(scene.ask(&Request::Create(node)), ErrorCode::OK);
    }
    scene.settle();
    scene.ask(&create("/q/a", 0));
    scene.ask(&create("/q/b", 0));
    scene.settle();
    assert_eq!(scene.ask(&create("/q/c", 0)), ErrorCode::QUOTA_EXCEEDED);
    assert_eq!(scene.ask(&set_data("/q/a", -1)), ErrorCode::OK);
    scene.settle();
    assert_eq!(scene.ask(&set_data("/q/b", -1)), ErrorCode::QUOTA_EXCEEDED);
    let stats = scene
        .state
        .tree
        .find("/zookeeper/quota/q/zookeeper_stats")
        .unwrap();
    assert_eq!(scene.state.tree.data(stats), Some(&b"count=3,bytes=6"[..]));
}
