//! A subtree while it is read: what was found of each node, and what may be old because the server
//! told of a change since. It neither reads nor waits; [`super::remote`] does.
//!
//! Nodes that change all the time are read together, in one request that a server answers at one
//! moment. What is told of them until the answer comes is in it, and what is told later belongs to
//! another moment; so a writer that never rests does not keep the rest from becoming one piece.

use std::collections::{BTreeMap, BTreeSet};

use super::plan::parents;
use super::remote::Tree;

/// Bytes of the paths of one request.
const REQUEST_BYTES_MAX: usize = 512 << 10;

/// Bytes of data, as last read, of one answer.
const ANSWER_BYTES_MAX: usize = 16 << 20;

/// What a node held.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    pub data: Vec<u8>,
    pub version: i32,
}

/// See the module. Paths are those below the top node, which is empty.
#[derive(Debug, Default)]
pub(super) struct Image {
    nodes: BTreeMap<String, Content>,
    /// Nodes that are there and left out.
    left_out: BTreeSet<String>,
    /// Nodes to be read again.
    stale: BTreeSet<String>,
    /// Nodes that were read in the last request.
    together: BTreeSet<String>,
}

/// What is known by a change that was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Told {
    /// Something to read again.
    Stale,
    /// Nothing of the moment that was read; it may belong to a later one.
    Later,
}

impl Image {
    /// What was found of a node; nothing if it is gone.
    pub(super) fn put(&mut self, below: String, content: Option<Content>) {
        match content {
            Some(content) => self.nodes.insert(below, content),
            None => self.nodes.remove(&below),
        };
    }

    /// Whether a node that is left out is there.
    pub(super) fn put_left_out(&mut self, below: &str, is_there: bool) {
        if is_there {
            self.left_out.insert(below.to_owned());
        } else {
            self.left_out.remove(below);
        }
    }

    /// A node was changed, made or deleted.
    pub(super) fn told(&mut self, below: &str) -> Told {
        if self.together.contains(below) {
            return Told::Later;
        }
        self.stale.insert(below.to_owned());
        Told::Stale
    }

    /// The nodes to read next, at one moment: those that may be old, and with them those that were
    /// old before, as far as there is room. None if all is of one moment.
    pub(super) fn next_request(&mut self) -> Vec<String> {
        if self.stale.is_empty() {
            return Vec::new();
        }
        let hot = self.together.difference(&self.stale);
        let candidates = self.stale.iter().chain(hot);
        let mut room = (REQUEST_BYTES_MAX, ANSWER_BYTES_MAX);
        let mut together = BTreeSet::new();
        for below in candidates {
            let data = self.nodes.get(below).map_or(0, |node| node.data.len());
            // What a request has besides the path, with room for the top of the subtree.
            let path = below.len() + 512;
            let (Some(request), Some(answer)) =
                (room.0.checked_sub(path), room.1.checked_sub(data))
            else {
                break;
            };
            room = (request, answer);
            together.insert(below.clone());
        }
        self.stale.retain(|below| !together.contains(below));
        self.together = together;
        self.together.iter().cloned().collect()
    }

    /// The files and directories that it is.
    pub(super) fn into_tree(mut self) -> Tree {
        let mut tree = Tree {
            exists: self.nodes.remove("").is_some(),
            ..Tree::default()
        };
        let all = self.nodes.keys().chain(&self.left_out);
        let directories: BTreeSet<String> = all
            .flat_map(|below| parents(below).map(str::to_owned))
            .collect();
        for below in &self.left_out {
            let parent = parents(below).next().unwrap_or_default();
            tree.kept.insert(parent.to_owned());
        }
        for (below, content) in self.nodes {
            tree.versions.insert(below.clone(), content.version);
            if !directories.contains(&below) {
                tree.files.insert(below, content.data);
            } else if !content.data.is_empty() {
                tree.with_data.push(below);
            }
        }
        tree
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(data: &str) -> Option<Content> {
        let (data, version) = (data.as_bytes().to_vec(), 1);
        Some(Content { data, version })
    }

    fn image(names: &[&str]) -> Image {
        let mut image = Image::default();
        for below in names {
            image.put((*below).to_owned(), content(below));
        }
        image
    }

    #[test]
    fn nodes_that_change_all_the_time_are_read_together() {
        let mut image = image(&["", "a", "b", "c"]);
        assert!(image.next_request().is_empty());
        assert_eq!(image.told("a"), Told::Stale);
        assert_eq!(image.next_request(), ["a"]);
        // Told while that was under way.
        assert_eq!(
            (image.told("a"), image.told("b")),
            (Told::Later, Told::Stale)
        );
        assert_eq!(image.next_request(), ["a", "b"]);
        assert_eq!(
            (image.told("a"), image.told("b")),
            (Told::Later, Told::Later)
        );
        assert!(image.next_request().is_empty());
    }

    #[test]
    fn what_has_no_room_in_a_request_is_read_in_the_next() {
        let mut image = Image::default();
        for below in ["a", "b", "c"] {
            image.put(below.to_owned(), content(&"x".repeat(9 << 20)));
            image.told(below);
        }
        assert_eq!(image.next_request(), ["a"]);
        assert_eq!(image.next_request(), ["b"]);
        // So "a" is no more of the moment of the last one.
        assert_eq!(image.told("a"), Told::Stale);
    }

    #[test]
    fn a_tree_has_files_directories_and_what_is_left_out() {
        let mut image = image(&["", "d", "d/a", "e", "f"]);
        image.put("d".to_owned(), content(""));
        image.put_left_out("e/.x", true);
        image.put_left_out("f/.x", true);
        image.put_left_out("f/.x", false);
        let tree = image.into_tree();
        assert!(tree.exists);
        let files: Vec<&str> = tree.files.keys().map(String::as_str).collect();
        assert_eq!(files, ["d/a", "f"]);
        assert_eq!(tree.kept, BTreeSet::from(["e".to_owned()]));
        assert_eq!(tree.with_data, ["e"]);
        assert_eq!(tree.versions.len(), 4);
        assert!(!Image::default().into_tree().exists);
    }
}
