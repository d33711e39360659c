use alloc::string::ToString;
use alloc::vec;

use super::*;
use crate::state::Rules;
use roo_proto::acl::Acl;
use roo_proto::txn::decode_record;

fn rules() -> Rules {
    Rules {
        extended_types: true,
        ..Rules::default()
    }
}

fn header(zxid: i64) -> TxnHeader {
    TxnHeader {
        client_id: 7,
        cxid: 1,
        zxid: Zxid(zxid),
        time: 1_000 + zxid,
    }
}

fn create_txn(path: &str, parent_cversion: i32) -> Txn {
    let node = CreateTxn {
        path: path.to_string(),
        data: Some(Bytes::from_static(b"data")),
        acl: [Acl::open()].into(),
        parent_cversion,
    };
    Txn::Create {
        op: op_code::CREATE,
        node,
        ephemeral: false,
    }
}

fn apply(state: &mut State, zxid: i64, txn: Txn) -> ErrorCode {
    state.apply(&header(zxid), txn, &mut Vec::new()).error
}

/// Records of a log file as Apache wrote it.
fn records(log: &[u8]) -> Vec<&[u8]> {
    let mut rest = &log[16..];
    let mut found = Vec::new();
    while rest.len() > 12 {
        let length = u32::from_be_bytes(rest[8..12].try_into().unwrap()) as usize;
        if length == 0 {
            break;
        }
        found.push(&rest[12..12 + length]);
        rest = &rest[12 + length + 1..];
    }
    found
}

#[test]
fn replaying_logs_of_apache_gives_the_digests_they_carry() {
    let logs: [&[u8]; 2] = [
        include_bytes!("../../testdata/all-txns.log"),
        include_bytes!("../../testdata/one-log.log"),
    ];
    for (at, log) in logs.iter().enumerate() {
        let mut state = State::new(rules(), 1);
        let mut compared = 0;
        for record in records(log) {
            let (header, txn, digest) = decode_record(record).unwrap();
            let kind = txn.op();
            state.apply(&header, txn, &mut Vec::new());
            if let Some(digest) = digest {
                let expected = digest.tree_digest.cast_unsigned();
                assert_eq!(
                    state.digest(),
                    expected,
                    "log {at}, zxid {}, type {kind}",
                    header.zxid
                );
                compared += 1;
            }
        }
        assert!(compared > 70, "log {at}: {compared}");
    }
}

#[test]
fn a_fresh_tree_is_apaches() {
    let state = State::new(Rules::default(), 1);
    assert_eq!(state.digest(), 1_371_985_504);
    assert_eq!(state.tree.node_count(), 4);
    assert_eq!(state.tree.data_size(), 44);
    let stat = |path| state.tree.stat(state.tree.find(path).unwrap());
    assert_eq!((stat("/").cversion, stat("/zookeeper").cversion), (-1, -2));
    assert_eq!(stat("/zookeeper/config").aversion, -1);
}

#[test]
fn a_creation_applied_again_only_mends() {
    let mut state = State::new(rules(), 1);
    assert_eq!(apply(&mut state, 1, create_txn("/a", 1)), ErrorCode::OK);
    assert_eq!(apply(&mut state, 2, create_txn("/a/b", 1)), ErrorCode::OK);
    let (digest, count) = (state.digest(), state.tree.node_count());
    assert_eq!(
        apply(&mut state, 1, create_txn("/a", 1)),
        ErrorCode::NODE_EXISTS
    );
    assert_eq!((state.digest(), state.tree.node_count()), (digest, count));
    assert_eq!(
        apply(&mut state, 3, create_txn("/x/y", 1)),
        ErrorCode::NO_NODE
    );
}

#[test]
fn a_deletion_applied_again_raises_the_parent_before_it_is_refused() {
    let mut state = State::new(rules(), 1);
    apply(&mut state, 1, create_txn("/a", 1));
    let delete = || Txn::Delete {
        path: "/a".to_string(),
    };
    assert_eq!(apply(&mut state, 2, delete()), ErrorCode::OK);
    assert_eq!(apply(&mut state, 5, delete()), ErrorCode::NO_NODE);
    assert_eq!(state.tree.persisted(ROOT).pzxid, 5);
    assert_eq!(state.tree.stat(ROOT).cversion, 1);
}

#[test]
fn the_count_of_creations_sticks_at_its_largest_value() {
    let mut state = State::new(rules(), 1);
    apply(&mut state, 1, create_txn("/a", i32::MAX));
    apply(&mut state, 2, create_txn("/b", i32::MIN));
    assert_eq!(state.tree.persisted(ROOT).cversion, i32::MAX);
    assert_eq!(
        state.tree.stat(ROOT).cversion,
        i32::MAX.wrapping_mul(2).wrapping_sub(3)
    );
}

#[test]
fn the_end_of_a_session_takes_its_ephemerals_along() {
    let mut state = State::new(rules(), 1);
    apply(&mut state, 1, Txn::CreateSession { timeout_ms: 4_000 });
    for (zxid, cversion, path) in [(2, 1, "/e"), (3, 2, "/f")] {
        let Txn::Create { op, node, .. } = create_txn(path, cversion) else {
            unreachable!()
        };
        apply(
            &mut state,
            zxid,
            Txn::Create {
                op,
                node,
                ephemeral: true,
            },
        );
    }
    assert_eq!(state.ephemeral_count(), 2);
    let mut changes = Vec::new();
    let close = Txn::CloseSession {
        paths: Some(vec!["/e".to_string()]),
    };
    assert_eq!(
        state.apply(&header(4), close, &mut changes).outcome,
        Outcome::SessionClosed
    );
    assert_eq!(
        (
            changes.len(),
            state.ephemeral_count(),
            state.sessions().len()
        ),
        (2, 0, 0)
    );
}

#[test]
fn a_failed_multi_changes_nothing() {
    let mut state = State::new(rules(), 1);
    let ops = vec![
        create_txn("/a", 1),
        Txn::Error(ErrorCode::NO_NODE),
        Txn::Error(ErrorCode::RUNTIME_INCONSISTENCY),
    ];
    let applied = state.apply(&header(1), Txn::Multi(ops), &mut Vec::new());
    let expected = [
        ErrorCode::OK,
        ErrorCode::NO_NODE,
        ErrorCode::RUNTIME_INCONSISTENCY,
    ];
    assert_eq!(applied.outcome, Outcome::Multi(expected.map(Err).to_vec()));
    assert!(state.tree.find("/a").is_none());
    assert_eq!(state.last_zxid(), Zxid(1));
}

fn stat_of(state: &State, path: &str) -> roo_proto::stat::Stat {
    state.tree.stat(state.tree.find(path).unwrap())
}

#[test]
fn every_change_marks_the_stat_as_apache_does() {
    let mut state = State::new(rules(), 1);
    apply(&mut state, 1, create_txn("/a", 1));
    apply(&mut state, 2, create_txn("/a/b", 1));
    let b = stat_of(&state, "/a/b");
    assert_eq!((b.czxid, b.mzxid, b.pzxid), (2, 2, 2));
    assert_eq!((b.ctime, b.mtime), (1_002, 1_002));
    assert_eq!(
        (b.version, b.cversion, b.aversion, b.data_length),
        (0, 0, 0, 4)
    );
    let a = stat_of(&state, "/a");
    assert_eq!((a.czxid, a.mzxid, a.pzxid), (1, 1, 2));
    assert_eq!((a.cversion, a.num_children, a.ephemeral_owner), (1, 1, 0));

    let set = Txn::SetData {
        path: "/a/b".to_string(),
        data: None,
        version: 5,
    };
    apply(&mut state, 3, set);
    let b = stat_of(&state, "/a/b");
    assert_eq!(
        (b.version, b.mzxid, b.mtime, b.data_length),
        (5, 3, 1_003, 0)
    );
    assert_eq!((b.ctime, b.pzxid), (1_002, 2));
    assert_eq!(state.tree.data(state.tree.find("/a/b").unwrap()), None);

    let set_acl = Txn::SetAcl {
        path: "/a/b".to_string(),
        acl: [Acl::new(1, "world", "anyone")].into(),
        version: 4,
    };
    apply(&mut state, 4, set_acl);
    let b = stat_of(&state, "/a/b");
    assert_eq!((b.aversion, b.version, b.mzxid, b.mtime), (4, 5, 3, 1_003));

    let delete = Txn::Delete {
        path: "/a/b".to_string(),
    };
    apply(&mut state, 5, delete);
    let a = stat_of(&state, "/a");
    assert_eq!((a.pzxid, a.mzxid, a.cversion, a.num_children), (5, 1, 2, 0));
}

#[test]
fn a_creation_applied_again_gives_the_node_its_list_and_raises_only_for_plain_create() {
    let mut state = State::new(rules(), 1);
    apply(&mut state, 1, create_txn("/a", 1));
    let again = |op, cversion, perms| Txn::Create {
        op,
        node: CreateTxn {
            path: "/a".to_string(),
            data: None,
            acl: [Acl::new(perms, "world", "anyone")].into(),
            parent_cversion: cversion,
        },
        ephemeral: false,
    };
    let root = |state: &State| {
        let stat = state.tree.persisted(ROOT);
        (stat.cversion, stat.pzxid)
    };
    apply(&mut state, 7, again(op_code::CREATE2, 8, 4));
    assert_eq!(root(&state), (1, 1));
    apply(&mut state, 8, again(op_code::CREATE, 8, 2));
    assert_eq!(root(&state), (8, 8));
    let acl = state.tree.acl_id(state.tree.find("/a").unwrap());
    assert_eq!(state.tree.acls.list(acl), [Acl::new(2, "world", "anyone")]);
    assert_eq!(state.tree.acls.len(), 3);
    apply(&mut state, 9, Txn::Error(ErrorCode::NO_NODE));
    assert_eq!(state.tree.acls.len(), 2);
}

#[test]
fn a_multi_may_make_and_remove_the_same_node() {
    let mut state = State::new(rules(), 1);
    let ops = vec![
        create_txn("/a", 1),
        create_txn("/a/b", 1),
        Txn::Check {
            path: "/a".to_string(),
            version: 1,
        },
        Txn::Delete {
            path: "/a/b".to_string(),
        },
    ];
    let mut changes = Vec::new();
    let applied = state.apply(&header(3), Txn::Multi(ops), &mut changes);
    let created = |path: &str| {
        Ok(WriteResult::Created {
            path: path.to_string(),
        })
    };
    let expected = vec![
        created("/a"),
        created("/a/b"),
        Ok(WriteResult::Nothing { op: op_code::CHECK }),
        Ok(WriteResult::Nothing {
            op: op_code::DELETE,
        }),
    ];
    assert_eq!(applied.outcome, Outcome::Multi(expected));
    assert_eq!((changes.len(), state.tree.node_count()), (3, 5));
    assert_eq!(stat_of(&state, "/a").cversion, 2);
}

#[test]
fn a_session_that_closes_without_a_list_takes_its_own_only() {
    let mut state = State::new(rules(), 1);
    let ephemeral = |path: &str, cversion| {
        let Txn::Create { op, node, .. } = create_txn(path, cversion) else {
            unreachable!()
        };
        Txn::Create {
            op,
            node,
            ephemeral: true,
        }
    };
    apply(&mut state, 1, ephemeral("/mine", 1));
    let other = TxnHeader {
        client_id: 8,
        ..header(2)
    };
    state.apply(&other, ephemeral("/other", 2), &mut Vec::new());
    let owners: Vec<_> = state.sessions_with_ephemerals().collect();
    assert_eq!(owners, [SessionId(7), SessionId(8)]);
    apply(&mut state, 3, Txn::CloseSession { paths: None });
    assert!(state.tree.find("/mine").is_none());
    assert_eq!(stat_of(&state, "/other").ephemeral_owner, 8);
    let rest: Vec<_> = state.ephemerals(SessionId(8)).collect();
    assert_eq!(
        (rest, state.ephemeral_count()),
        (vec!["/other".to_string()], 1)
    );
}

#[test]
fn ephemerals_of_nobody_end_with_the_repair_of_a_loaded_state() {
    let mut state = State::new(rules(), 1);
    apply(&mut state, 1, Txn::CreateSession { timeout_ms: 9 });
    for (client_id, path, cversion) in [(7, "/kept", 1), (99, "/orphan", 2)] {
        let Txn::Create { op, node, .. } = create_txn(path, cversion) else {
            unreachable!()
        };
        let txn = Txn::Create {
            op,
            node,
            ephemeral: true,
        };
        let header = TxnHeader {
            client_id,
            ..header(2)
        };
        state.apply(&header, txn, &mut Vec::new());
    }
    state.set_last_zxid(Zxid(40));
    assert_eq!(state.repair_after_load(), [SessionId(99)]);
    assert!(state.tree.find("/orphan").is_none());
    assert!(state.tree.find("/kept").is_some());
    assert_eq!(stat_of(&state, "/").pzxid, 40);
}

#[test]
fn every_128th_digest_is_kept() {
    let mut state = State::new(rules(), 1);
    for zxid in 1..=300 {
        apply(&mut state, zxid, Txn::Error(ErrorCode::NO_NODE));
    }
    let kept: Vec<_> = state.digest_ring().collect();
    let digest = state.digest();
    assert_eq!(kept, [(Zxid(128), digest), (Zxid(256), digest)]);
}

#[test]
fn odd_paths_of_a_damaged_log_are_refused() {
    let mut state = State::new(rules(), 1);
    apply(&mut state, 1, create_txn("/a", 1));
    let count = state.tree.node_count();
    for path in ["", "/", "//", "/a/", "/a//b", "a", "a/b"] {
        let error = apply(&mut state, 2, create_txn(path, 1));
        assert_ne!(error, ErrorCode::OK, "{path}");
        let path = path.to_string();
        let error = apply(&mut state, 3, Txn::Delete { path });
        assert_ne!(error, ErrorCode::OK);
    }
    assert_eq!(state.tree.node_count(), count);
}
