use alloc::collections::BTreeMap;
use alloc::format;
use alloc::string::String;

use proptest::prelude::*;

use super::*;

fn insert(tree: &mut Tree, path: &str, data: Option<&[u8]>) -> NodeId {
    let parent = tree.find(path::split(path).unwrap().0).unwrap();
    let stat = StatPersisted::default();
    tree.insert(
        parent,
        &NewNode {
            path,
            data,
            acl: AclId::OPEN,
            stat,
        },
    )
}

#[test]
fn what_is_no_path_is_absent() {
    let mut tree = Tree::new(Rules::default(), 3);
    insert(&mut tree, "/a", None);
    insert(&mut tree, "/a/b", Some(b"x"));
    for absent in [
        "a", "//", "/a/", "/a//b", "a/b", "/b", "/a/b/c", "/ab", "x/a",
    ] {
        assert_eq!(tree.find(absent), None, "{absent}");
    }
    assert_eq!(tree.find(""), Some(ROOT));
    assert_eq!(tree.path_of(tree.find("/a/b").unwrap()), "/a/b");
    assert_eq!(tree.data(tree.find("/a").unwrap()), None);
}

#[test]
fn owners_tell_the_kind_of_a_node() {
    let plain = Rules::default();
    let extended = Rules {
        extended_types: true,
        ..plain
    };
    let emulating = Rules {
        emulate_353_ttl: true,
        ..extended
    };
    assert_eq!(kind_of(0, &plain), NodeKind::Persistent);
    assert_eq!(kind_of(CONTAINER_OWNER, &plain), NodeKind::Container);
    assert_eq!(kind_of(ttl_owner(5), &extended), NodeKind::Ttl(5));
    assert_eq!(
        kind_of(ttl_owner(5), &plain),
        NodeKind::Ephemeral(SessionId(ttl_owner(5)))
    );
    assert_eq!(kind_of(i64::MIN | 9, &emulating), NodeKind::Ttl(9));
    assert_eq!(
        kind_of(i64::MIN | 9, &extended),
        NodeKind::Ephemeral(SessionId(i64::MIN | 9))
    );
}

#[test]
fn deep_paths_and_wide_directories_work() {
    let mut tree = Tree::new(Rules::default(), 3);
    let mut path = String::new();
    for depth in 0..100 {
        path.push_str(&format!("/level{depth}"));
        insert(&mut tree, &path, Some(&[]));
    }
    assert_eq!(tree.path_of(tree.find(&path).unwrap()), path);
    insert(&mut tree, "/wide", Some(&[]));
    for child in 0..50_000 {
        insert(&mut tree, &format!("/wide/{child}"), Some(&[]));
    }
    let wide = tree.find("/wide").unwrap();
    assert_eq!(tree.num_children(wide), 50_000);
    assert_eq!(tree.children(wide).count(), 50_000);
    for child in (0..50_000).step_by(2) {
        let id = tree.find(&format!("/wide/{child}")).unwrap();
        tree.remove(id);
    }
    assert_eq!(tree.descendants("/wide"), 25_000);
    tree.remove(wide);
    assert_eq!(tree.node_count(), 101);
}

#[derive(Clone, Debug)]
enum Op {
    Insert(u8, u8, Option<Vec<u8>>),
    Remove(u8),
    SetData(u8, Option<Vec<u8>>),
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let data = || prop::option::of(prop::collection::vec(any::<u8>(), 0..9));
    let op = prop_oneof![
        3 => (any::<u8>(), 0u8..9, data()).prop_map(|(p, n, d)| Op::Insert(p, n, d)),
        1 => any::<u8>().prop_map(Op::Remove),
        1 => (any::<u8>(), data()).prop_map(|(p, d)| Op::SetData(p, d)),
    ];
    prop::collection::vec(op, 0..120)
}

fn pick(model: &BTreeMap<String, Option<Vec<u8>>>, at: u8) -> String {
    model
        .keys()
        .nth(at as usize % model.len().max(1))
        .cloned()
        .unwrap_or_default()
}

proptest! {
    #[test]
    fn the_arena_agrees_with_a_map_of_paths(ops in ops()) {
        let mut tree = Tree::new(Rules::default(), 9);
        let mut model: BTreeMap<String, Option<Vec<u8>>> = BTreeMap::new();
        for op in ops {
            match op {
                Op::Insert(at, name, data) => {
                    let path = format!("{}/n{name}", pick(&model, at));
                    if tree.find(&path).is_none() {
                        insert(&mut tree, &path, data.as_deref());
                        model.insert(path, data);
                    }
                }
                Op::Remove(at) => {
                    let path = pick(&model, at);
                    if !path.is_empty() {
                        tree.remove(tree.find(&path).unwrap());
                        model.retain(|other, _| !path::is_under(other, &path));
                    }
                }
                Op::SetData(at, data) => {
                    let path = pick(&model, at);
                    if !path.is_empty() {
                        tree.set_data(tree.find(&path).unwrap(), &path, data.as_deref());
                        model.insert(path, data);
                    }
                }
            }
        }
        prop_assert_eq!(tree.node_count(), model.len() + 1);
        let share = |crc| u64::from(digest::node_digest(crc, &StatPersisted::default()));
        let mut digest = share(digest::content_crc("/", None));
        let mut bytes = 1;
        for (path, data) in &model {
            let id = tree.find(path).unwrap();
            prop_assert_eq!(tree.data(id), data.as_deref());
            prop_assert_eq!(&tree.path_of(id), path);
            let mut names: Vec<&str> = tree.children(id).collect();
            names.sort_unstable();
            let below = format!("{path}/");
            let expected: Vec<&str> = model
                .keys()
                .filter_map(|other| other.strip_prefix(&below))
                .filter(|name| !name.contains('/'))
                .collect();
            prop_assert_eq!(tree.num_children(id) as usize, expected.len());
            prop_assert_eq!(names, expected);
            let under = model.keys().filter(|other| other.starts_with(&below));
            prop_assert_eq!(tree.descendants(path), under.count());
            let crc = digest::content_crc(path, data.as_deref());
            digest = digest.wrapping_add(share(crc));
            bytes += (path.len() + data.as_ref().map_or(0, Vec::len)) as u64;
        }
        prop_assert_eq!(tree.digest(), digest);
        prop_assert_eq!(tree.data_size(), bytes);
    }
}
