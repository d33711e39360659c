//! A tree as it was at one moment.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::{Node, Zxid};

/// Nodes of a subtree, by their whole paths.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tree {
    root: String,
    as_of: Zxid,
    nodes: BTreeMap<String, Node>,
}

/// A node that differs between two trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Its path.
    pub path: String,
    /// How it differs.
    pub kind: ChangeKind,
}

/// How a node differs between two trees.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was not there before.
    Added,
    /// It was set, or deleted and created again.
    Set,
    /// It is not there any more.
    Removed,
}

impl Tree {
    pub(super) fn new(root: &str, as_of: Zxid, nodes: BTreeMap<String, Node>) -> Self {
        Self {
            root: root.to_owned(),
            as_of,
            nodes,
        }
    }

    /// The path of its topmost node.
    #[must_use]
    pub fn root(&self) -> &str {
        &self.root
    }

    /// All transactions up to this one are in it, and none behind it that changes the tree.
    #[must_use]
    pub const fn as_of(&self) -> Zxid {
        self.as_of
    }

    /// How many nodes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.nodes.len()
    }

    /// Whether there are none: the topmost node does not exist.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    /// The node at `path`.
    #[must_use]
    pub fn get(&self, path: &str) -> Option<&Node> {
        self.nodes.get(path)
    }

    /// The data of the node at `path`.
    #[must_use]
    pub fn data(&self, path: &str) -> Option<&Bytes> {
        self.get(path).map(|node| &node.data)
    }

    /// All nodes with their paths, in the order of the paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.nodes.iter().map(|(path, node)| (path.as_str(), node))
    }

    /// Names of the children of the node at `path`.
    pub fn children<'a>(&'a self, path: &str) -> impl Iterator<Item = &'a str> + use<'a> {
        let prefix = format!("{}/", path.trim_end_matches('/'));
        let below = self.nodes.range(prefix.clone()..);
        below
            .map_while({
                let prefix = prefix.clone();
                move |(path, _)| path.strip_prefix(&prefix)
            })
            .filter(|name| !name.is_empty() && !name.contains('/'))
    }

    /// What is different from an older tree, in the order of the paths.
    #[must_use]
    pub fn changes_since(&self, older: &Self) -> Vec<Change> {
        let mut changes = Vec::new();
        let mut tell = |path: &String, kind| {
            changes.push(Change {
                path: path.clone(),
                kind,
            });
        };
        for (path, node) in &self.nodes {
            match older.nodes.get(path) {
                None => tell(path, ChangeKind::Added),
                Some(old) if old.stat.mzxid != node.stat.mzxid => tell(path, ChangeKind::Set),
                Some(_) => {}
            }
        }
        for path in older.nodes.keys() {
            if !self.nodes.contains_key(path) {
                tell(path, ChangeKind::Removed);
            }
        }
        changes.sort_unstable_by(|a, b| a.path.cmp(&b.path));
        changes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Stat;

    fn tree(nodes: &[(&str, i64)]) -> Tree {
        let nodes = nodes.iter().map(|(path, mzxid)| {
            let stat = Stat {
                mzxid: *mzxid,
                ..Stat::default()
            };
            let data = Bytes::new();
            let node = Node {
                data,
                stat,
                no_data: false,
            };
            ((*path).to_owned(), node)
        });
        Tree::new("/c", Zxid(9), nodes.collect())
    }

    #[test]
    fn children_are_those_one_level_below() {
        let tree = tree(&[
            ("/c", 1),
            ("/c/a", 1),
            ("/c/a/x", 1),
            ("/c/a-b", 1),
            ("/c/b", 1),
        ]);
        assert_eq!(tree.children("/c").collect::<Vec<_>>(), ["a", "a-b", "b"]);
        assert_eq!(tree.children("/c/a").collect::<Vec<_>>(), ["x"]);
        assert_eq!(tree.children("/c/b").count(), 0);
    }

    #[test]
    fn differences_are_told_in_order() {
        let before = tree(&[("/c", 1), ("/c/a", 2), ("/c/gone", 3)]);
        let after = tree(&[("/c", 1), ("/c/a", 5), ("/c/new", 6)]);
        let changes = after.changes_since(&before);
        let found: Vec<_> = changes
            .iter()
            .map(|change| (change.path.as_str(), change.kind))
            .collect();
        assert_eq!(
            found,
            [
                ("/c/a", ChangeKind::Set),
                ("/c/gone", ChangeKind::Removed),
                ("/c/new", ChangeKind::Added)
            ]
        );
    }
}
