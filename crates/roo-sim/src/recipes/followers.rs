//! What users saw who follow configuration, in a cache of a tree or in a watcher of one node, and
//! whether it is what was committed. Programs note what they were given; the notes are compared with
//! the oracle right behind the step in which they were made.

use std::collections::BTreeMap;

use roo_client::Zxid;

use super::gatherings::Broken;
use crate::oracle::Oracle;

/// The tree that caches follow.
pub const TREE: &str = "/set";
/// Nodes of it that are always set together.
pub const SET: [&str; 3] = ["/set/a", "/set/b", "/set/c"];
/// The node that watchers follow.
pub const NODE: &str = "/limit";

/// A tree, as a cache shows it.
#[derive(Clone, Debug, Default)]
pub struct Seen {
    /// The last transaction that it is said to hold.
    pub as_of: Zxid,
    /// The data of its nodes.
    pub nodes: BTreeMap<String, Vec<u8>>,
}

/// A node, as a watcher gives it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Given {
    /// The zxid of its last change.
    pub changed: Zxid,
    /// What it holds.
    pub data: Vec<u8>,
}

/// Something that a user was given since the last look.
#[derive(Debug)]
enum Note {
    Tree {
        before: Zxid,
        seen: Seen,
    },
    Node {
        before: Option<Option<Given>>,
        node: Option<Given>,
        since: Zxid,
        until: Zxid,
    },
}

/// See the module.
#[derive(Debug, Default)]
pub struct Followers {
    notes: Vec<Note>,
    /// The last changes of the set and of the node, `None` where there is none.
    last_of_set: Option<Zxid>,
    last_of_node: Option<Zxid>,
}

impl Followers {
    /// A cache shows this, and showed one of `before` earlier.
    pub fn saw_tree(&mut self, before: Zxid, seen: Seen) {
        self.notes.push(Note::Tree { before, seen });
    }

    /// A watcher gives this behind what it gave before, if anything. It was asked when its session
    /// had seen the effects of `since`, and answered when it had seen those of `until`.
    pub fn was_given(
        &mut self,
        before: Option<Option<Given>>,
        node: Option<Given>,
        since: Zxid,
        until: Zxid,
    ) {
        self.notes.push(Note::Node {
            before,
            node,
            since,
            until,
        });
    }

    /// Whether the set was changed last at this zxid.
    #[must_use]
    pub fn is_last_of_set(&self, changed: Option<Zxid>) -> bool {
        self.last_of_set == changed
    }

    /// Whether the node was changed last at this zxid.
    #[must_use]
    pub fn is_last_of_node(&self, changed: Option<Zxid>) -> bool {
        self.last_of_node == changed
    }

    /// Checks what was noted against what is committed.
    ///
    /// # Errors
    /// The rule that is broken, and how.
    pub fn check(&mut self, oracle: &Oracle) -> Result<(), Broken> {
        self.last_of_set = last_of(oracle, SET[0]);
        self.last_of_node = last_of(oracle, NODE);
        for note in std::mem::take(&mut self.notes) {
            match note {
                Note::Tree { before, seen } => check_tree(oracle, before, &seen),
                Note::Node {
                    before,
                    node,
                    since,
                    until,
                } => check_node(oracle, before.as_ref(), node.as_ref(), since, until),
            }?;
        }
        Ok(())
    }
}

/// The last change of a node that is there.
fn last_of(oracle: &Oracle, path: &str) -> Option<Zxid> {
    let (_, values) = oracle.below(path).find(|(found, _)| *found == path)?;
    let (zxid, data) = values.last()?;
    data.as_ref().map(|_| *zxid)
}

/// It is the whole tree as it was at its moment, which is no earlier one.
fn check_tree(oracle: &Oracle, before: Zxid, seen: &Seen) -> Result<(), Broken> {
    let Seen { as_of, nodes } = seen;
    if *as_of < before {
        return Err((
            "whole trees",
            format!("one of {as_of} behind one of {before}"),
        ));
    }
    let paths = oracle.below(TREE).map(|(path, _)| path);
    let differs = nodes
        .keys()
        .chain(paths)
        .find(|path| oracle.value_at(path, *as_of) != nodes.get(*path).map(Vec::as_slice));
    match differs {
        Some(path) => {
            let was = oracle.value_at(path, *as_of).map(String::from_utf8_lossy);
            let what = format!("as of {as_of} {path} was {was:?} in {seen:?}");
            Err(("whole trees", what))
        }
        None => Ok(()),
    }
}

/// It differs from what was given before, and was there so at some moment between.
fn check_node(
    oracle: &Oracle,
    before: Option<&Option<Given>>,
    node: Option<&Given>,
    since: Zxid,
    until: Zxid,
) -> Result<(), Broken> {
    let broken = |why: &str| {
        let what = format!("{node:?} behind {before:?} between {since} and {until}: {why}");
        Err(("followed nodes", what))
    };
    if before.is_some_and(|before| before.as_ref() == node) {
        return broken("it was given already");
    }
    let Some(node) = node else {
        return match was_absent(oracle, since, until) {
            true => Ok(()),
            false => broken("it was there all the time"),
        };
    };
    let set = oracle.first_change(NODE, Zxid(node.changed.0 - 1));
    if set != Some(node.changed) || oracle.value_at(NODE, node.changed) != Some(&node.data) {
        return broken("it was never like this");
    }
    let next = oracle.first_change(NODE, node.changed);
    if node.changed > until || next.is_some_and(|next| next <= since) {
        return broken("it was like this at another time");
    }
    Ok(())
}

fn was_absent(oracle: &Oracle, since: Zxid, until: Zxid) -> bool {
    let mut moment = since;
    while oracle.value_at(NODE, moment).is_some() {
        match oracle
            .first_change(NODE, moment)
            .filter(|next| *next <= until)
        {
            Some(next) => moment = next,
            None => return false,
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipes::committed::oracle;

    fn rule(oracle: &Oracle, work: impl FnOnce(&mut Followers)) -> Option<&'static str> {
        let mut followers = Followers::default();
        work(&mut followers);
        followers.check(oracle).err().map(|(rule, _)| rule)
    }

    fn tree(oracle: &Oracle, as_of: i64, nodes: &[(&str, &str)]) -> Option<&'static str> {
        let nodes = nodes.iter();
        let nodes = nodes.map(|(path, data)| ((*path).to_owned(), data.as_bytes().to_vec()));
        let seen = Seen {
            as_of: Zxid(as_of),
            nodes: nodes.collect(),
        };
        rule(oracle, |followers| followers.saw_tree(Zxid(1), seen))
    }

    #[test]
    fn fires_when_a_tree_is_not_the_one_of_its_moment() {
        let history = oracle(&[
            "+/set",
            "+/set/a=1 +/set/b=1",
            "+/set/a=2 +/set/b=2",
            "-/set/b",
        ]);
        let first = [("/set", ""), ("/set/a", "1"), ("/set/b", "1")];
        let half = [("/set", ""), ("/set/a", "1"), ("/set/b", "2")];
        let last = [("/set", ""), ("/set/a", "2")];
        assert_eq!(tree(&history, 2, &first), None);
        assert_eq!(tree(&history, 4, &last), None);
        assert_eq!(tree(&history, 2, &half), Some("whole trees"));
        assert_eq!(tree(&history, 3, &half), Some("whole trees"));
        // Without what was deleted, or with it.
        assert_eq!(tree(&history, 3, &last), Some("whole trees"));
        assert_eq!(tree(&history, 3, &first), Some("whole trees"));
        // The one before was newer.
        assert_eq!(tree(&history, 0, &[]), Some("whole trees"));
    }

    fn given(changed: i64, data: &str) -> Option<Given> {
        Some(Given {
            changed: Zxid(changed),
            data: data.into(),
        })
    }

    #[test]
    fn fires_when_a_node_is_given_that_was_not_there() {
        let history = oracle(&["+/limit=1", "+/limit=2", "-/limit", "+/limit=3"]);
        let gives = |node, since, until| {
            rule(&history, |followers| {
                followers.was_given(None, node, Zxid(since), Zxid(until));
            })
        };
        assert_eq!(gives(given(1, "1"), 0, 1), None);
        assert_eq!(gives(given(2, "2"), 2, 9), None);
        assert_eq!(gives(None, 2, 3), None);
        assert_eq!(gives(None, 0, 1), None);
        let never = [given(1, "2"), given(3, "3"), given(5, "3")];
        for node in never {
            assert_eq!(gives(node, 0, 9), Some("followed nodes"));
        }
        // It was over, or had yet to come.
        assert_eq!(gives(given(1, "1"), 2, 9), Some("followed nodes"));
        assert_eq!(gives(given(4, "3"), 0, 3), Some("followed nodes"));
        assert_eq!(gives(None, 1, 2), Some("followed nodes"));
    }

    #[test]
    fn fires_when_a_node_is_given_twice() {
        let history = oracle(&["+/limit=1"]);
        let twice = |node: Option<Given>, until| {
            rule(&history, |followers| {
                followers.was_given(Some(node.clone()), node, Zxid(0), Zxid(until));
            })
        };
        assert_eq!(twice(given(1, "1"), 1), Some("followed nodes"));
        assert_eq!(twice(None, 0), Some("followed nodes"));
    }

    #[test]
    fn the_last_changes_are_known() {
        let mut followers = Followers::default();
        followers.check(&oracle(&["+/set/a", "+/limit"])).unwrap();
        assert!(followers.is_last_of_set(Some(Zxid(1))));
        assert!(followers.is_last_of_node(Some(Zxid(2))));
        followers
            .check(&oracle(&["+/set/a", "+/limit", "-/limit"]))
            .unwrap();
        assert!(followers.is_last_of_node(None));
    }
}
