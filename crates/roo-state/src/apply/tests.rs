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
        data: Some(b"data".to_vec()),
        acl: vec![Acl::open()],
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
