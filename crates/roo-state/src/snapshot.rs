//! The inside of a snapshot file: sessions, ACL lists, nodes; written in slices while the server
//! serves, and read back. Java: `SerializeUtils`, `DataTree.serialize`.
//!
//! Apache writes what it finds while transactions go on. Here the file is exactly the state at
//! its start: a node that is about to change is written, as it was, just before; nodes made since
//! are left out. No write waits for the snapshot, and no node is copied but those that change.
//! Nodes are written in the order of the arena, each behind its ancestors.

use alloc::string::String;
use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use hashbrown::HashMap;
use roo_proto::acl::{self, Acl};
use roo_proto::frame;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::jute::{self, DecodeError, Reader};
use roo_proto::path;
use roo_proto::stat::StatPersisted;

use crate::acl_table::{AclId, OPEN_KEY};
use crate::state::{Rules, State};
use crate::tree::{MAX_NAME, NewNode, NodeId, ROOT, Tree};

/// What stands behind the last node.
const END: &str = "/";

/// What a snapshot holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// zxid of the last transaction in it.
    pub zxid: Zxid,
    /// Digest of its tree; `None` when digests are switched off.
    pub digest: Option<u64>,
    /// Sessions in it.
    pub sessions: usize,
}

/// How far a snapshot under way has come.
#[derive(Debug)]
pub(crate) struct SnapshotCursor {
    next: u32,
    end: u32,
    /// Slots that are written, or that hold a node made since the start.
    done: Vec<u64>,
    /// Records written out of turn, to be fetched with the next slice.
    out: Vec<u8>,
}

impl SnapshotCursor {
    fn is_done(&self, id: NodeId) -> bool {
        id.0 >= self.end
            || self
                .done
                .get(id.0 as usize / 64)
                .is_some_and(|word| word & (1 << (id.0 % 64)) != 0)
    }

    fn set_done(&mut self, id: NodeId) {
        if let Some(word) = self.done.get_mut(id.0 as usize / 64) {
            *word |= 1 << (id.0 % 64);
        }
    }

    pub(crate) fn on_insert(&mut self, id: NodeId) {
        self.set_done(id);
    }

    pub(crate) fn before_change(&mut self, tree: &Tree, id: NodeId) {
        self.write(tree, id);
    }

    /// Writes a node that is not written yet, behind those of its ancestors that are not.
    fn write(&mut self, tree: &Tree, id: NodeId) {
        let mut line = Vec::new();
        let mut at = Some(id);
        while let Some(node) = at
            && !self.is_done(node)
        {
            line.push(node);
            at = tree.parent(node);
        }
        while let Some(node) = line.pop() {
            self.set_done(node);
            put_node(tree, node, &mut self.out);
        }
    }
}

fn put_node(tree: &Tree, id: NodeId, out: &mut Vec<u8>) {
    let mark = frame::begin(out);
    // Files know the root by an empty path.
    if id != ROOT {
        tree.put_path(id, out);
    }
    frame::end(out, mark);
    jute::put_buffer(out, tree.data(id));
    jute::put_i64(out, tree.acls.key(tree.acl_id(id)));
    tree.persisted(id).encode(out);
}

impl State {
    /// Starts a snapshot of the state as it is now and writes what stands in front of the nodes.
    pub fn begin_snapshot(&mut self, out: &mut Vec<u8>) -> SnapshotMeta {
        jute::put_count(out, self.sessions.len());
        for (session, timeout_ms) in &self.sessions {
            jute::put_i64(out, session.0);
            jute::put_i32(out, *timeout_ms);
        }
        self.tree.acls.sweep();
        jute::put_count(out, self.tree.acls.len());
        for (key, list) in self.tree.acls.iter() {
            jute::put_i64(out, key);
            acl::encode_list(out, list);
        }
        let end = self.tree.slots();
        self.tree.snapshot = Some(SnapshotCursor {
            next: 0,
            end,
            done: vec![0; end as usize / 64 + 1],
            out: Vec::new(),
        });
        SnapshotMeta {
            zxid: self.last_zxid(),
            digest: self.rules.digest.then(|| self.digest()),
            sessions: self.sessions.len(),
        }
    }

    /// Writes those nodes that changed meanwhile, and up to `max_nodes` further ones until `out`
    /// holds `enough_bytes`; true when the snapshot is complete.
    pub fn snapshot_slice(
        &mut self,
        max_nodes: usize,
        enough_bytes: usize,
        out: &mut Vec<u8>,
    ) -> bool {
        let Some(mut cursor) = self.tree.snapshot.take() else {
            return true;
        };
        for _ in 0..max_nodes {
            if cursor.next == cursor.end {
                break;
            }
            let slot = cursor.next;
            cursor.next += 1;
            if self.tree.is_live(slot) {
                cursor.write(&self.tree, NodeId(slot));
            }
            if out.len() + cursor.out.len() >= enough_bytes {
                break;
            }
        }
        out.append(&mut cursor.out);
        if cursor.next == cursor.end {
            jute::put_string(out, END);
            return true;
        }
        self.tree.snapshot = Some(cursor);
        false
    }

    /// Gives up a snapshot under way.
    pub fn abort_snapshot(&mut self) {
        self.tree.snapshot = None;
    }

    /// Whether a snapshot is under way.
    #[must_use]
    pub const fn snapshot_active(&self) -> bool {
        self.tree.snapshot.is_some()
    }
}

/// Where the bytes of a snapshot come from.
pub trait Source {
    /// Fills the buffer.
    ///
    /// # Errors
    /// When the bytes end early or cannot be read.
    fn read_exact(&mut self, buffer: &mut [u8]) -> Result<(), SourceError>;
}

/// Why a [`Source`] gives no more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SourceError(pub String);

/// Why a snapshot cannot be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LoadError {
    /// The bytes could not be read.
    Source(SourceError),
    /// The bytes are not what a snapshot holds.
    Malformed {
        /// Where, in bytes from the first session count.
        offset: u64,
        /// What is wrong there.
        what: String,
    },
}

impl fmt::Display for LoadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Source(SourceError(what)) => f.write_str(what),
            Self::Malformed { offset, what } => write!(f, "{what} at byte {offset} of its body"),
        }
    }
}

impl core::error::Error for LoadError {}

/// Grows with the bytes that really come, never with what a length field promises.
const READ_STEP: usize = 1 << 16;

struct Input<'s> {
    source: &'s mut dyn Source,
    offset: u64,
    /// The record being read.
    record: Vec<u8>,
}

impl Input<'_> {
    fn malformed(&self, what: &str) -> LoadError {
        LoadError::Malformed {
            offset: self.offset,
            what: what.into(),
        }
    }

    /// Appends `n` bytes to the record.
    fn pull(&mut self, n: usize) -> Result<(), LoadError> {
        let mut left = n;
        while left > 0 {
            let step = left.min(READ_STEP);
            let at = self.record.len();
            self.record.resize(at + step, 0);
            let place = self.record.get_mut(at..).unwrap_or_default();
            self.source.read_exact(place).map_err(LoadError::Source)?;
            left -= step;
        }
        self.offset += n as u64;
        Ok(())
    }

    fn i32(&mut self) -> Result<i32, LoadError> {
        let at = self.record.len();
        self.pull(4)?;
        let bytes = self.record.get(at..).unwrap_or_default();
        Reader::new(bytes)
            .i32()
            .map_err(|error| self.decoding(error))
    }

    fn decoding(&self, error: DecodeError) -> LoadError {
        LoadError::Malformed {
            offset: self.offset,
            what: alloc::format!("{error}"),
        }
    }

    /// Appends a string or buffer with its length to the record.
    fn pull_buffer(&mut self) -> Result<(), LoadError> {
        match self.i32()? {
            -1 => Ok(()),
            length => match usize::try_from(length) {
                Ok(n) => self.pull(n),
                Err(_) => Err(self.malformed("a negative length")),
            },
        }
    }

    fn count(&mut self) -> Result<usize, LoadError> {
        self.record.clear();
        let count = self.i32()?;
        usize::try_from(count).map_err(|_| self.malformed("a negative count"))
    }

    /// Decodes the record just pulled.
    fn decode<T>(
        &self,
        decode: impl FnOnce(&mut Reader<'_>) -> jute::Result<T>,
    ) -> Result<T, LoadError> {
        decode(&mut Reader::new(&self.record)).map_err(|error| self.decoding(error))
    }
}

/// Reads a state from the inside of a snapshot file, up to and with the end mark. Its zxid is
/// for the caller to set.
///
/// # Errors
/// See [`LoadError`].
pub fn load(source: &mut dyn Source, rules: Rules, hash_seed: u64) -> Result<State, LoadError> {
    let mut input = Input {
        source,
        offset: 0,
        record: Vec::new(),
    };
    let mut state = State::empty(rules, hash_seed);
    for _ in 0..input.count()? {
        input.record.clear();
        input.pull(12)?;
        let (session, timeout_ms) = input.decode(|r| Ok((SessionId(r.i64()?), r.i32()?)))?;
        state.sessions.insert(session, timeout_ms);
    }
    let mut acls = load_acls(&mut input, &mut state)?;
    let mut last_parent = None;
    loop {
        input.record.clear();
        input.pull_buffer()?;
        let path = input.decode(|r| Ok(r.required_string()?.into_owned()))?;
        if path == END {
            return Ok(state);
        }
        input.record.clear();
        input.pull_buffer()?;
        input.pull(68)?;
        load_node(&input, &mut state, &mut acls, &mut last_parent, &path)?;
    }
}

type KeyedAcls = HashMap<i64, AclId>;

fn load_acls(input: &mut Input<'_>, state: &mut State) -> Result<KeyedAcls, LoadError> {
    let mut acls = KeyedAcls::new();
    acls.insert(OPEN_KEY, AclId::OPEN);
    for _ in 0..input.count()? {
        input.record.clear();
        input.pull(8)?;
        let entries = input.i32()?;
        for _ in 0..entries.max(0) {
            input.pull(4)?;
            input.pull_buffer()?;
            input.pull_buffer()?;
        }
        let (key, list) = input.decode(|r| Ok((r.i64()?, acl::decode_list(r)?)))?;
        // The open list has its key without standing in the map.
        if key != OPEN_KEY {
            acls.insert(key, state.tree.acls.insert(list.into(), key));
        }
    }
    Ok(acls)
}

fn load_node(
    input: &Input<'_>,
    state: &mut State,
    acls: &mut KeyedAcls,
    last_parent: &mut Option<(String, NodeId)>,
    path: &str,
) -> Result<(), LoadError> {
    let mut r = Reader::new(&input.record);
    let decoded = (|| Ok((r.buffer()?, r.i64()?, StatPersisted::decode(&mut r)?)))();
    let (data, key, stat) = decoded.map_err(|error| input.decoding(error))?;
    let acl = *acls.entry(key).or_insert_with(|| {
        // A list that came into being while Apache wrote the file; the log brings it again.
        // Until then nobody may do anything.
        let nobody: Arc<[Acl]> = [Acl::new(0, "world", "anyone")].into();
        state.tree.acls.insert(nobody, key)
    });
    state.tree.acls.retain(acl);
    let new = NewNode {
        path,
        data,
        acl,
        stat,
    };
    if path.is_empty() {
        state.tree.overwrite(ROOT, &new);
        return Ok(());
    }
    let Some((parent_path, name)) = path::split(path).filter(|_| path::is_loadable(path)) else {
        return Err(input.malformed("a path that is no path"));
    };
    if name.len() > MAX_NAME {
        return Err(input.malformed("a name too long for a node"));
    }
    // Siblings often stand together.
    let parent = match last_parent {
        Some((known, id)) if known == parent_path => *id,
        _ => {
            let Some(id) = state.tree.find(parent_path) else {
                return Err(LoadError::Malformed {
                    offset: input.offset,
                    what: alloc::format!("node {path} stands before its parent"),
                });
            };
            *last_parent = Some((parent_path.into(), id));
            id
        }
    };
    match state.tree.find(path) {
        Some(node) => state.tree.overwrite(node, &new),
        None => {
            state.tree.insert(parent, &new);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
