//! Walks a subtree level by level, with many requests under way at once. What it gives is no
//! snapshot: nodes may come and go meanwhile.

use std::collections::HashMap;

use futures_util::{StreamExt, stream};
use roo_client::{Acl, Client, Error, ErrorKind, Node, Stat};

use super::errors::refused;
use super::events::{Events, Source};
use crate::connect::Failure;

/// Requests under way at once.
const WINDOW: usize = 128;

/// A walk that is about to begin.
pub(super) struct Walk<'w> {
    client: &'w Client,
    root: &'w str,
    events: Option<&'w Events>,
    levels: usize,
}

impl<'w> Walk<'w> {
    /// Below and with `root`.
    pub(super) const fn new(client: &'w Client, root: &'w str) -> Self {
        Self {
            client,
            root,
            events: None,
            levels: usize::MAX,
        }
    }

    /// Watches the children of every node.
    pub(super) const fn watch_with(&mut self, events: &'w Events) {
        self.events = Some(events);
    }

    /// Goes only so many levels below the root.
    pub(super) const fn at_most(&mut self, levels: usize) {
        self.levels = levels;
    }

    /// The names of all nodes. A node that is gone when its turn comes has no children; the root
    /// must be there.
    pub(super) async fn children(self) -> Tree {
        let mut found = HashMap::new();
        let mut level = vec![self.root.to_owned()];
        let mut number = 0;
        while !level.is_empty() && number <= self.levels {
            number += 1;
            let reads = stream::iter(level).map(|path| self.read(path));
            let read: Vec<(String, Result<Found, Error>)> = reads.buffered(WINDOW).collect().await;
            level = Vec::new();
            for (path, node) in read {
                if let Ok(node) = &node {
                    level.extend(node.names.iter().map(|name| join(&path, name)));
                }
                found.insert(path, node);
            }
        }
        Tree {
            root: self.root.to_owned(),
            nodes: found,
        }
    }

    async fn read(&self, path: String) -> (String, Result<Found, Error>) {
        let read = match self.events {
            None => self.client.children(&path).await,
            Some(events) => {
                let read = self.client.children_and_watch(&path).await;
                read.map(|(children, watch)| {
                    events.once(watch, Source::Children, &path);
                    children
                })
            }
        };
        let node = match read {
            Ok(children) => {
                let mut names = children.names;
                names.sort_unstable();
                Ok(Found {
                    names,
                    stat: Some(children.stat),
                })
            }
            Err(error) if *error.kind() == ErrorKind::NoNode && path != self.root => Ok(Found {
                names: Vec::new(),
                stat: None,
            }),
            Err(error) => Err(error),
        };
        (path, node)
    }
}

/// The nodes of a subtree, as they were found.
#[derive(Debug)]
pub(super) struct Tree {
    root: String,
    nodes: HashMap<String, Result<Found, Error>>,
}

#[derive(Debug)]
struct Found {
    /// Its children, sorted.
    names: Vec<String>,
    /// Its stat; nothing if it was gone.
    stat: Option<Stat>,
}

impl Tree {
    /// A node's children, sorted.
    pub(super) fn names(&self, path: &str) -> Result<&[String], Failure> {
        match self.nodes.get(path) {
            None => Ok(&[]),
            Some(Ok(node)) => Ok(&node.names),
            Some(Err(error)) => Err(refused(error, path)),
        }
    }

    /// A node's stat, unless it was gone.
    pub(super) fn stat(&self, path: &str) -> Option<&Stat> {
        self.nodes.get(path)?.as_ref().ok()?.stat.as_ref()
    }

    /// Every path, each before those below it, sorted within its parent.
    pub(super) fn paths(&self) -> Result<Vec<&str>, Failure> {
        let mut paths = Vec::with_capacity(self.nodes.len());
        let mut pending = vec![self.root.as_str()];
        while let Some(path) = pending.pop() {
            paths.push(path);
            let names = self.names(path)?;
            // The keys live as long as the tree; the paths joined here do not.
            let below = names.iter().rev();
            let keys = below.filter_map(|name| self.nodes.get_key_value(&join(path, name)));
            pending.extend(keys.map(|(key, _)| key.as_str()));
        }
        Ok(paths)
    }

    /// The same as far as it could be read, with what could not be: for those who only look.
    pub(super) fn readable(&mut self) -> Result<Unreadable, Failure> {
        let root = self.root.clone();
        self.names(&root)?;
        let mut unreadable = Unreadable::default();
        for (path, node) in &mut self.nodes {
            let Err(error) = node else { continue };
            if *error.kind() != ErrorKind::NoAuth {
                return Err(refused(error, path));
            }
            unreadable.first.get_or_insert_with(|| path.clone());
            unreadable.count += 1;
            *node = Ok(Found {
                names: Vec::new(),
                stat: None,
            });
        }
        Ok(unreadable)
    }

    /// Every path, nearer to the root first.
    pub(super) fn paths_by_level(&self) -> Result<Vec<&str>, Failure> {
        let mut paths = self.paths()?;
        paths.sort_by_key(|path| depth(path));
        Ok(paths)
    }
}

/// Nodes that the session may not read.
#[derive(Debug, Default)]
pub(super) struct Unreadable {
    first: Option<String>,
    count: usize,
}

impl Unreadable {
    /// An error if there are any, for when all the others have been told.
    pub(super) fn told(self) -> Result<(), Failure> {
        let Some(first) = self.first else {
            return Ok(());
        };
        let others = match self.count - 1 {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        Err(Failure::failed(format!(
            "left out what may not be read: {first}{others}"
        )))
    }
}

/// How many names a path has.
pub(super) fn depth(path: &str) -> usize {
    match path {
        "/" => 0,
        path => path.matches('/').count(),
    }
}

/// A child's path.
pub(super) fn join(parent: &str, name: &str) -> String {
    match parent {
        "/" => format!("/{name}"),
        parent => format!("{parent}/{name}"),
    }
}

/// A node with all that belongs to it.
#[derive(Clone, Debug)]
pub(super) struct Whole {
    /// Where it is.
    pub path: String,
    /// Its data and stat.
    pub node: Node,
    /// Its ACL.
    pub acl: Vec<Acl>,
}

/// Reads many nodes with their ACLs, in their order; one that is gone is left out.
pub(super) async fn wholes(
    client: &Client,
    paths: &[&str],
    mut each: impl FnMut(Whole) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let reads = stream::iter(paths).map(|path| async move {
        let (node, acl) = futures_util::join!(client.get(path), client.acl(path));
        (*path, node, acl)
    });
    let mut reads = std::pin::pin!(reads.buffered(WINDOW));
    while let Some((path, node, acl)) = reads.next().await {
        let gone = |error: &Error| *error.kind() == ErrorKind::NoNode;
        match (node, acl) {
            (Ok(node), Ok((acl, _))) => each(Whole {
                path: path.to_owned(),
                node,
                acl,
            })?,
            (Err(error), _) | (_, Err(error)) if gone(&error) => {}
            (Err(error), _) | (_, Err(error)) => return Err(refused(&error, path)),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_lists_parents_first() {
        let names = |names: &[&str]| {
            Ok(Found {
                names: names.iter().map(|&name| name.to_owned()).collect(),
                stat: None,
            })
        };
        let tree = Tree {
            root: "/".to_owned(),
            nodes: HashMap::from([
                ("/".to_owned(), names(&["a", "b"])),
                ("/a".to_owned(), names(&["x"])),
                ("/a/x".to_owned(), names(&[])),
                ("/b".to_owned(), names(&[])),
            ]),
        };
        assert_eq!(tree.paths().unwrap(), ["/", "/a", "/a/x", "/b"]);
        assert_eq!(tree.paths_by_level().unwrap(), ["/", "/a", "/b", "/a/x"]);
    }

    #[test]
    fn paths_are_joined_below_the_root_too() {
        assert_eq!(join("/", "a"), "/a");
        assert_eq!(join("/a", "b"), "/a/b");
        assert_eq!((depth("/"), depth("/a"), depth("/a/b")), (0, 1, 2));
    }
}
