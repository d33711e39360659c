//! The subtree: reading it as it was at one moment, and changing it in one transaction.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::stream::{self, StreamExt};
use roo_client::{
    Acl, Client, CreateOptions, Error, ErrorKind, EventKind, Multi, MultiRead, Node, NodeKind,
    ReadResult, WatchEnd, WatchMode, WatchStream,
};

use super::image::{Content, Image, Told};
use super::plan::{Action, Files, Plan, is_ignored, parents};
use crate::connect::{Exit, Failure};

/// Bytes of a transaction that every server takes: its own default limit, less its head.
const PACKET_MAX: usize = 0xF_FFFF - 1024;

/// Reads under way at a time.
const WINDOW: usize = 64;

/// A connection that is lost while the subtree is read makes it be read anew; so often.
const WALKS_MAX: usize = 20;

/// Nodes that were changed while others were read are read again; so often in a row.
const ROUNDS_MAX: usize = 1000;

/// The nodes of a subtree at one moment. Nodes without children are files, those with children
/// directories.
#[derive(Debug, Default)]
pub(super) struct Tree {
    /// Whether the top node exists.
    pub exists: bool,
    pub files: Files,
    /// The data version of each node but the top one.
    pub versions: BTreeMap<String, i32>,
    /// Directories that have children which are left out.
    pub kept: BTreeSet<String>,
    /// Directories with data, which a directory of files cannot hold.
    pub with_data: Vec<String>,
}

/// A subtree that is watched.
#[derive(Debug)]
pub(super) struct Subtree<'a> {
    client: &'a Client,
    path: &'a str,
    ignore: &'a [String],
    watch: WatchStream,
    /// Whether a change was told that is not in what was read last.
    is_behind: bool,
}

impl<'a> Subtree<'a> {
    /// Begins to watch; the node need not exist.
    pub(super) async fn watch(
        client: &'a Client,
        path: &'a str,
        ignore: &'a [String],
    ) -> Result<Self, Failure> {
        let watch = client.watch(path, WatchMode::PersistentRecursive).await;
        let watch = watch.map_err(|error| match error.kind() {
            ErrorKind::Unimplemented => Failure::failed(
                "the server is older than 3.6 and cannot watch a subtree: mirror needs that",
            ),
            _ => Failure::from(error),
        })?;
        Ok(Self {
            client,
            path,
            ignore,
            watch,
            is_behind: false,
        })
    }

    /// Waits for a change of the subtree, or for a new connection, before which some may have been
    /// missed.
    pub(super) async fn changed(&mut self) -> Result<(), Failure> {
        if std::mem::take(&mut self.is_behind) {
            return Ok(());
        }
        match self.watch.next().await {
            Some(_) => {
                while self.watch.try_next().is_some() {}
                Ok(())
            }
            None => Err(self.ended()),
        }
    }

    fn ended(&self) -> Failure {
        let why = self.watch.end().unwrap_or(WatchEnd::Closed);
        Failure::new(Exit::Lost, format!("{why}: {}", self.path))
    }

    /// Reads the nodes as they were at one moment: a server tells of a change before it answers a
    /// read that shows it, so what was read while nothing was told is of one piece. What was told
    /// of is read again, see [`super::image`].
    pub(super) async fn read(&mut self) -> Result<Tree, Failure> {
        for _ in 0..WALKS_MAX {
            while self.watch.try_next().is_some() {}
            self.is_behind = false;
            let mut image = self.walk().await?;
            if self.settle(&mut image).await? {
                return Ok(image.into_tree());
            }
        }
        Err(Failure::failed(format!(
            "{} cannot be read: the connection was lost in each of {WALKS_MAX} attempts",
            self.path
        )))
    }

    /// Reads all nodes, one level after another, and so not at one moment.
    async fn walk(&self) -> Result<Image, Failure> {
        let mut image = Image::default();
        let mut level = vec![String::new()];
        while !level.is_empty() {
            let reads = stream::iter(level).map(|below| async move {
                let path = self.at(&below);
                let both = futures_util::join!(self.client.get(&path), self.client.children(&path));
                (below, both)
            });
            let reads: Vec<_> = reads.buffered(WINDOW).collect().await;
            level = Vec::new();
            for (below, (node, children)) in reads {
                let (node, children) = match (node, children) {
                    (Ok(node), Ok(children)) => (node, children),
                    // It vanished, and that was told.
                    (Err(error), _) | (_, Err(error)) if *error.kind() == ErrorKind::NoNode => {
                        continue;
                    }
                    (Err(error), _) | (_, Err(error)) => return Err(error.into()),
                };
                for name in children.names {
                    let child = join(&below, &name);
                    if self.is_left_out(&below, &name) {
                        image.put_left_out(&child, true);
                    } else {
                        level.push(child);
                    }
                }
                image.put(below, Some(content(&node)));
            }
        }
        Ok(image)
    }

    /// Reads what was told of again until nothing was told of anything else meanwhile. Not if the
    /// connection was lost: then some changes are never told.
    async fn settle(&mut self, image: &mut Image) -> Result<bool, Failure> {
        for _ in 0..ROUNDS_MAX {
            if !self.take_news(image)? {
                return Ok(false);
            }
            let nodes = image.next_request();
            if nodes.is_empty() {
                return Ok(true);
            }
            let request = nodes.iter().fold(MultiRead::new(), |request, below| {
                request.get(&self.at(below))
            });
            let answers = self.client.multi_read(request).await?;
            for (below, answer) in nodes.into_iter().zip(answers) {
                match answer {
                    Ok(ReadResult::Node(node)) => image.put(below, Some(content(&node))),
                    Err(error) if *error.kind() == ErrorKind::NoNode => image.put(below, None),
                    Err(error) => return Err(error.into()),
                    Ok(ReadResult::Children(_)) => {}
                }
            }
        }
        Err(Failure::failed(format!(
            "{} changes faster than it can be read: {ROUNDS_MAX} times what had changed was read \
             again, and by then yet other nodes had changed",
            self.path
        )))
    }

    /// Takes in what was told; not if something was missed.
    fn take_news(&mut self, image: &mut Image) -> Result<bool, Failure> {
        let mut is_complete = true;
        while let Some(event) = self.watch.try_next() {
            is_complete &= event.kind != EventKind::Gap;
            let Some(below) = below(self.path, &event.path) else {
                continue;
            };
            match self.left_out(below) {
                None => self.is_behind |= image.told(below) == Told::Later,
                Some(node) if node == below => {
                    image.put_left_out(below, event.kind != EventKind::Deleted);
                }
                Some(_) => {}
            }
        }
        match self.watch.end() {
            None => Ok(is_complete),
            Some(_) => Err(self.ended()),
        }
    }

    /// The topmost node on the way to this one that is left out.
    fn left_out<'p>(&self, below: &'p str) -> Option<&'p str> {
        let ends = below.match_indices('/').map(|(at, _)| at);
        let nodes = ends.chain([below.len()]).filter_map(|end| below.get(..end));
        let mut nodes = nodes.filter(|node| !node.is_empty());
        nodes.find(|node| {
            let (parent, name) = node.rsplit_once('/').unwrap_or(("", node));
            self.is_left_out(parent, name)
        })
    }

    fn is_left_out(&self, below: &str, name: &str) -> bool {
        let is_system = self.path == "/" && below.is_empty() && name == "zookeeper";
        is_system || name.contains('/') || is_ignored(name, self.ignore)
    }

    fn at(&self, below: &str) -> String {
        full(self.path, below)
    }

    /// Makes the changes, all or none; or, if they need not be, as many at a time as fit.
    ///
    /// # Errors
    /// Somebody who changed the nodes since they were read is none: what the server said comes
    /// back. Then, and where it fails, nothing was done, or with `in_parts` what the message says.
    pub(super) async fn apply(
        &self,
        changes: &Changes<'_>,
        tree: &Tree,
        in_parts: bool,
    ) -> Result<Option<Error>, Failure> {
        let mut ops = self.above(tree).await?;
        ops.extend(changes.ops(self.path, tree));
        let bytes: usize = ops.iter().map(Op::bytes).sum();
        if bytes > PACKET_MAX && !in_parts {
            return Err(Failure::failed(format!(
                "the change of {} nodes has {bytes} bytes, more than the {PACKET_MAX} of one \
                 transaction, and nothing was done: --not-atomic makes it in several, and readers \
                 see the steps",
                ops.len()
            )));
        }
        let (total, mut done) = (ops.len(), 0);
        let mut pending = ops.into_iter().peekable();
        while pending.peek().is_some() {
            let (mut multi, mut bytes, mut count) = (Multi::new(), 0, 0);
            while let Some(op) =
                pending.next_if(|op| bytes == 0 || bytes + op.bytes() <= PACKET_MAX)
            {
                bytes += op.bytes();
                count += 1;
                multi = op.add(multi, changes.acl);
            }
            match self.client.multi(multi).await {
                Ok(_) => done += count,
                Err(error) if is_race(&error) => return Ok(Some(error)),
                Err(error) if done == 0 => return Err(error.into()),
                Err(error) => {
                    return Err(Failure::new(
                        Exit::HalfDone,
                        format!(
                            "{done} of {total} nodes are done, then: {error}; do it again to go on"
                        ),
                    ));
                }
            }
        }
        Ok(None)
    }

    /// The nodes above the top one that are missing, and itself.
    async fn above(&self, tree: &Tree) -> Result<Vec<Op>, Failure> {
        if tree.exists {
            return Ok(Vec::new());
        }
        let mut missing = vec![Op::Directory(self.path.to_owned())];
        for path in parents(self.path).filter(|path| !path.is_empty()) {
            if self.client.exists(path).await?.is_some() {
                break;
            }
            missing.push(Op::Directory(path.to_owned()));
        }
        missing.reverse();
        Ok(missing)
    }
}

/// Somebody was faster.
fn is_race(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::BadVersion | ErrorKind::NodeExists | ErrorKind::NoNode | ErrorKind::NotEmpty
    )
}

fn join(below: &str, name: &str) -> String {
    match below {
        "" => name.to_owned(),
        below => format!("{below}/{name}"),
    }
}

/// What [`full`] put together.
fn below<'p>(top: &str, path: &'p str) -> Option<&'p str> {
    match (top, path.strip_prefix(top)?) {
        (_, "") => Some(""),
        ("/", below) => Some(below),
        (_, below) => below.strip_prefix('/'),
    }
}

fn content(node: &Node) -> Content {
    Content {
        data: node.data.to_vec(),
        version: node.stat.version,
    }
}

fn full(top: &str, below: &str) -> String {
    match (top, below) {
        (top, "") => top.to_owned(),
        ("/", below) => format!("/{below}"),
        (top, below) => format!("{top}/{below}"),
    }
}

/// What is to become of the nodes.
#[derive(Debug)]
pub(super) struct Changes<'a> {
    pub plan: &'a Plan,
    pub source: &'a Files,
    pub acl: &'a [Acl],
}

impl Changes<'_> {
    /// The operations in an order in which each finds what it needs.
    fn ops(&self, top: &str, tree: &Tree) -> Vec<Op> {
        let version = |below: &str| tree.versions.get(below).copied().unwrap_or(-1);
        let mut ops = Vec::new();
        let mut nodes: BTreeSet<&str> = tree.versions.keys().map(String::as_str).collect();
        let planned = |wanted| {
            let actions = self.plan.actions.iter();
            actions.filter_map(move |(below, action)| (*action == wanted).then_some(below.as_str()))
        };
        // A path sorts before those below it: backwards, children go before their parents.
        let mut emptied = BTreeSet::new();
        for below in planned(Action::Delete) {
            ops.push(Op::Delete(full(top, below), version(below)));
            nodes.remove(below);
            emptied.extend(parents(below));
        }
        for dir in emptied.iter().rev() {
            let inside = format!("{dir}/");
            let next = nodes.range(inside.as_str()..).next();
            if next.is_some_and(|node| node.starts_with(&inside)) || tree.kept.contains(*dir) {
                continue;
            }
            ops.push(Op::Delete(full(top, dir), version(dir)));
            nodes.remove(dir);
        }
        for (below, data) in self.source {
            match self.plan.actions.get(below) {
                Some(Action::Create) => {
                    let above: Vec<&str> = parents(below).collect();
                    for dir in above.into_iter().rev() {
                        if nodes.insert(dir) {
                            ops.push(Op::Directory(full(top, dir)));
                        }
                    }
                    ops.push(Op::Create(full(top, below), data.clone()));
                    nodes.insert(below);
                }
                Some(Action::Change) => {
                    ops.push(Op::Set(full(top, below), data.clone(), version(below)));
                }
                Some(Action::Delete) | None => {}
            }
        }
        ops
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Op {
    Directory(String),
    Create(String, Vec<u8>),
    Set(String, Vec<u8>, i32),
    Delete(String, i32),
}

impl Op {
    /// What it takes of a packet at most; lists of access control are short.
    fn bytes(&self) -> usize {
        const HEAD: usize = 128;
        HEAD + match self {
            Self::Directory(path) | Self::Delete(path, _) => path.len(),
            Self::Create(path, data) | Self::Set(path, data, _) => path.len() + data.len(),
        }
    }

    fn add(self, multi: Multi, acl: &[Acl]) -> Multi {
        let options = |no_data| CreateOptions {
            acl: acl.to_vec(),
            no_data,
            ..CreateOptions::from(NodeKind::Persistent)
        };
        match self {
            Self::Directory(path) => multi.create(&path, b"", options(true)),
            Self::Create(path, data) => multi.create(&path, data, options(false)),
            Self::Set(path, data, version) => multi.set(&path, data, version),
            Self::Delete(path, version) => multi.delete(&path, version),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mirror::plan::{Base, Rules, compare};

    fn files(names: &[&str]) -> Files {
        let names = names.iter();
        names
            .map(|name| ((*name).to_owned(), name.as_bytes().to_vec()))
            .collect()
    }

    fn ops(source: &[&str], target: &[&str], dirs: &[&str]) -> Vec<String> {
        let source = files(source);
        let tree = Tree {
            exists: true,
            files: files(target),
            versions: target
                .iter()
                .chain(dirs)
                .map(|name| ((*name).to_owned(), 3))
                .collect(),
            ..Tree::default()
        };
        let rules = Rules {
            delete: true,
            force: true,
        };
        let plan = compare(&source, &tree.files, &Base::new(), rules);
        let changes = Changes {
            plan: &plan,
            source: &source,
            acl: &[],
        };
        let ops = changes.ops("/t", &tree).into_iter();
        ops.map(|op| match op {
            Op::Directory(path) => format!("mkdir {path}"),
            Op::Create(path, _) => format!("create {path}"),
            Op::Set(path, _, version) => format!("set {path} {version}"),
            Op::Delete(path, version) => format!("delete {path} {version}"),
        })
        .collect()
    }

    #[test]
    fn paths_are_taken_apart_as_they_were_put_together() {
        for (top, below_it) in [("/", ""), ("/", "a/b"), ("/t", ""), ("/t", "a/b")] {
            assert_eq!(below(top, &full(top, below_it)), Some(below_it));
        }
        assert_eq!(below("/t", "/tx"), None);
    }

    #[test]
    fn nodes_come_after_their_parents_and_go_before_them() {
        assert_eq!(
            ops(&["a/b/c", "a/d"], &[], &[]),
            [
                "mkdir /t/a",
                "mkdir /t/a/b",
                "create /t/a/b/c",
                "create /t/a/d"
            ]
        );
        assert_eq!(
            ops(&["a/d"], &["a/b/c", "a/d", "e/f"], &["a", "a/b", "e"]),
            [
                "delete /t/a/b/c 3",
                "delete /t/e/f 3",
                "delete /t/e 3",
                "delete /t/a/b 3"
            ]
        );
    }

    #[test]
    fn a_file_and_a_directory_take_each_other_s_place() {
        assert_eq!(
            ops(&["a"], &["a/b"], &["a"]),
            ["delete /t/a/b 3", "delete /t/a 3", "create /t/a"]
        );
        assert_eq!(
            ops(&["a/b"], &["a"], &[]),
            ["delete /t/a 3", "mkdir /t/a", "create /t/a/b"]
        );
    }
}
