use alloc::format;
use alloc::string::ToString;

use proptest::prelude::*;
use roo_proto::op_code;
use roo_proto::txn::{CreateTxn, Txn, TxnHeader};

use super::*;

/// Bytes in memory as a source.
struct Bytes<'a>(&'a [u8]);

impl Source for Bytes<'_> {
    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), SourceError> {
        let (head, tail) = self
            .0
            .split_at_checked(buffer.len())
            .ok_or_else(|| SourceError("the bytes end early".to_string()))?;
        buffer.copy_from_slice(head);
        self.0 = tail;
        Ok(())
    }
}

fn loaded(bytes: &[u8]) -> State {
    load(&mut Bytes(bytes), Rules::default(), 5).unwrap()
}

/// Everything that a snapshot must keep, in one comparable text.
fn facts(state: &State) -> Vec<String> {
    let tree = &state.tree;
    let mut facts: Vec<String> = core::iter::once(ROOT)
        .chain(tree.descendant_ids(ROOT))
        .map(|id| {
            let list = tree.acls.list(tree.acl_id(id));
            format!(
                "{} {:?} {:?} {:?}",
                tree.path_of(id),
                tree.data(id),
                tree.persisted(id),
                list
            )
        })
        .collect();
    facts.sort();
    facts.push(format!("{:?} {}", state.sessions(), state.digest()));
    facts
}

fn mutate(state: &mut State, zxid: i64, op: u8, a: u8, b: u8) {
    let path = format!("/n{}", a % 5);
    let path = if b.is_multiple_of(2) {
        path
    } else {
        format!("{path}/m{}", b % 7)
    };
    let acl = vec![Acl::new(i32::from(b % 3) + 1, "ip", "1.2.3.4")];
    let txn = match op % 6 {
        0 | 1 => {
            let data = Some(vec![b; usize::from(a)].into());
            let cversion = i32::try_from(zxid).unwrap();
            let node = CreateTxn {
                path,
                data,
                acl: acl.into(),
                parent_cversion: cversion,
            };
            Txn::Create {
                op: op_code::CREATE,
                node,
                ephemeral: b.is_multiple_of(5),
            }
        }
        2 => Txn::Delete { path },
        3 => Txn::SetData {
            path,
            data: Some(vec![a; usize::from(b)].into()),
            version: 3,
        },
        4 => Txn::SetAcl {
            path,
            acl: acl.into(),
            version: 1,
        },
        _ => Txn::CloseSession { paths: None },
    };
    let header = TxnHeader {
        client_id: i64::from(a % 2) + 1,
        cxid: 0,
        zxid: Zxid(zxid),
        time: zxid,
    };
    state.apply(&header, txn, &mut Vec::new());
}

proptest! {
    #[test]
    fn a_snapshot_is_the_state_at_its_start_whatever_happens_meanwhile(
        before in prop::collection::vec(any::<(u8, u8, u8)>(), 0..80),
        during in prop::collection::vec(any::<(u8, u8, u8)>(), 0..80),
        slice in 1usize..9,
        enough in 0usize..4000,
    ) {
        let mut state = State::new(Rules::default(), 5);
        let mut zxid = 0;
        for (op, a, b) in before {
            zxid += 1;
            mutate(&mut state, zxid, op, a, b);
        }
        let expected = facts(&state);
        let mut bytes = Vec::new();
        let meta = state.begin_snapshot(&mut bytes);
        prop_assert_eq!(meta.digest, Some(state.digest()));
        let mut during = during.into_iter();
        while !state.snapshot_slice(slice, enough, &mut bytes) {
            for (op, a, b) in during.by_ref().take(3) {
                zxid += 1;
                mutate(&mut state, zxid, op, a, b);
            }
        }
        prop_assert!(!state.snapshot_active());
        prop_assert_eq!(facts(&loaded(&bytes)), expected);
    }

    #[test]
    fn loading_never_panics(bytes: Vec<u8>) {
        let _ = load(&mut Bytes(&bytes), Rules::default(), 5);
    }
}

#[test]
fn a_snapshot_of_apache_is_loaded_with_its_digest() {
    let file: &[u8] = include_bytes!("../../testdata/plain.snapshot.52");
    let rules = Rules {
        extended_types: true,
        ..Rules::default()
    };
    let state = load(&mut Bytes(&file[16..]), rules, 5).unwrap();
    // Behind the nodes: seal (8 + 5 bytes), then zxid, version and digest.
    let trailer = &file[file.len() - 54..];
    let digest = u64::from_be_bytes(trailer[12..20].try_into().unwrap());
    assert_eq!(state.digest(), digest);
    assert_eq!(state.sessions().len(), 2);
}

#[test]
fn a_child_without_its_parent_is_refused() {
    let mut bytes = Vec::new();
    jute::put_i32(&mut bytes, 0);
    jute::put_i32(&mut bytes, 0);
    jute::put_string(&mut bytes, "/a/b");
    jute::put_buffer(&mut bytes, None);
    jute::put_i64(&mut bytes, -1);
    StatPersisted::default().encode(&mut bytes);
    let error = load(&mut Bytes(&bytes), Rules::default(), 5)
        .unwrap_err()
        .to_string();
    assert!(error.contains("/a/b stands before its parent"), "{error}");
}

/// The inside of a snapshot with these sessions, lists and nodes (path, data, key, owner).
fn body(lists: &[(i64, Acl)], nodes: &[(&str, &str, i64, i64)]) -> Vec<u8> {
    let mut bytes = Vec::new();
    jute::put_count(&mut bytes, 0);
    jute::put_count(&mut bytes, lists.len());
    for (key, acl) in lists {
        jute::put_i64(&mut bytes, *key);
        acl::encode_list(&mut bytes, core::slice::from_ref(acl));
    }
    for (path, data, key, owner) in nodes {
        jute::put_string(&mut bytes, path);
        jute::put_buffer(&mut bytes, Some(data.as_bytes()));
        jute::put_i64(&mut bytes, *key);
        let stat = StatPersisted {
            czxid: 7,
            ephemeral_owner: *owner,
            ..StatPersisted::default()
        };
        stat.encode(&mut bytes);
    }
    jute::put_string(&mut bytes, END);
    bytes
}

#[test]
fn a_node_that_stands_twice_is_what_the_last_says_and_keeps_its_children() {
    let nodes = [
        ("", "", -1, 0),
        ("/a", "first", -1, 9),
        ("/a/b", "child", -1, 0),
        ("/a", "second", -1, 0),
    ];
    let state = loaded(&body(&[], &nodes));
    let a = state.tree.find("/a").unwrap();
    assert_eq!(state.tree.data(a), Some(&b"second"[..]));
    assert_eq!(
        (state.ephemeral_count(), state.tree.num_children(a)),
        (0, 1)
    );
    let once = loaded(&body(&[], &[nodes[0], nodes[3], nodes[2]]));
    assert_eq!(state.digest(), once.digest());
    assert_eq!(state.tree.data_size(), once.tree.data_size());
}

#[test]
fn a_list_that_a_file_lacks_permits_nothing_and_keeps_its_key() {
    let lists = [(3, Acl::new(1, "world", "anyone"))];
    let nodes = [("", "", -1, 0), ("/a", "", 3, 0), ("/b", "", 12, 0)];
    let mut state = loaded(&body(&lists, &nodes));
    let acl = |path| state.tree.acl_id(state.tree.find(path).unwrap());
    assert!(state.permits(acl("/a"), 1, &[]));
    assert!(!state.permits(acl("/b"), 31, &[]));
    assert_eq!(state.tree.acls.key(acl("/b")), 12);
    let next = state.tree.acls.acquire(&[Acl::new(9, "ip", "::1")]);
    assert_eq!(state.tree.acls.key(next), 13);
}

#[test]
fn impossible_input_is_refused_with_its_place() {
    let whole = body(&[], &[("", "", -1, 0), ("/a", "data", -1, 0)]);
    for end in 0..whole.len() {
        assert!(load(&mut Bytes(&whole[..end]), Rules::default(), 5).is_err());
    }
    for path in ["a", "//", "/a/", "/a//b"] {
        let bytes = body(&[], &[("", "", -1, 0), (path, "", -1, 0)]);
        let error = load(&mut Bytes(&bytes), Rules::default(), 5).unwrap_err();
        assert!(matches!(error, LoadError::Malformed { .. }), "{path}");
    }
    let mut negative = Vec::new();
    jute::put_i32(&mut negative, -5);
    let error = load(&mut Bytes(&negative), Rules::default(), 5).unwrap_err();
    assert_eq!(error.to_string(), "a negative count at byte 4 of its body");
    // A length that the bytes do not keep must not be believed.
    let mut greedy = body(&[], &[]);
    greedy.truncate(8);
    jute::put_i32(&mut greedy, i32::MAX);
    let error = load(&mut Bytes(&greedy), Rules::default(), 5).unwrap_err();
    assert!(matches!(error, LoadError::Source(_)));
}

#[test]
fn a_snapshot_given_up_leaves_nothing_behind() {
    let mut state = State::new(Rules::default(), 5);
    mutate(&mut state, 1, 0, 0, 2);
    let mut bytes = Vec::new();
    state.begin_snapshot(&mut bytes);
    assert!(!state.snapshot_slice(1, usize::MAX, &mut bytes));
    mutate(&mut state, 2, 3, 0, 2);
    state.abort_snapshot();
    assert!(!state.snapshot_active());
    let mut bytes = Vec::new();
    state.begin_snapshot(&mut bytes);
    while !state.snapshot_slice(2, usize::MAX, &mut bytes) {}
    assert_eq!(facts(&loaded(&bytes)), facts(&state));
}

#[test]
fn a_slice_ends_with_the_node_that_makes_it_long_enough() {
    let mut state = State::new(Rules::default(), 5);
    mutate(&mut state, 1, 0, 0, 2);
    state.begin_snapshot(&mut Vec::new());
    let node_bytes = 200;
    let mut slices = Vec::new();
    loop {
        let mut bytes = Vec::new();
        let done = state.snapshot_slice(usize::MAX, 1, &mut bytes);
        slices.push(bytes.len());
        if done {
            break;
        }
    }
    assert!(slices.len() > 1, "{slices:?}");
    assert!(slices.iter().all(|bytes| *bytes < node_bytes), "{slices:?}");
}
