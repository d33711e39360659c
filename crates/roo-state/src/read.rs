//! Every operation that only reads: served from the applied state, straight into the output
//! buffer. Watches that a read leaves are registered with it. Java: `FinalRequestProcessor`.

use alloc::borrow::Cow;

use roo_proto::acl::{self, Acl, Id, PERM_ADMIN, PERM_READ};
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::jute;
use roo_proto::op_code;
use roo_proto::reply::{self, EventType};
use roo_proto::request::{MultiReadOp, NullableStr, Request, SetWatches};

use alloc::vec::Vec;

use crate::access;
use crate::state::State;
use crate::tree::NodeId;
use crate::watch::{Modes, WatchTable, WatcherId};

/// Somebody who reads: what the connection knows of itself.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a> {
    /// The session.
    pub session: SessionId,
    /// The identities the connection has proved.
    pub ids: &'a [Id],
    /// The connection in its thread's watch table.
    pub watcher: WatcherId,
}

/// Serves a read: appends its whole reply to `out`, in front of it the events that setWatches
/// finds in hindsight. A request that is no read gets UNIMPLEMENTED.
pub fn serve(
    state: &State,
    watches: &mut WatchTable,
    reader: Reader<'_>,
    xid: i32,
    request: &Request<'_>,
    out: &mut Vec<u8>,
) -> ErrorCode {
    if let Request::SetWatches(again) = request {
        set_watches(state, watches, reader, again, out);
    }
    let xid = if matches!(request, Request::Ping) {
        reply::XID_PING
    } else {
        xid
    };
    let mark = reply::begin(out, xid);
    let code = match (Serving {
        state,
        watches,
        reader,
    })
    .answer(request, out)
    {
        Ok(()) => ErrorCode::OK,
        Err(Refusal::Bare(code)) => {
            reply::discard_body(out, mark);
            code
        }
        Err(Refusal::WithBody(code)) => code,
    };
    reply::finish(out, mark, state.last_zxid(), code);
    code
}

enum Refusal {
    Bare(ErrorCode),
    WithBody(ErrorCode),
}

impl From<ErrorCode> for Refusal {
    fn from(code: ErrorCode) -> Self {
        Self::Bare(code)
    }
}

struct Serving<'a> {
    state: &'a State,
    watches: &'a mut WatchTable,
    reader: Reader<'a>,
}

impl Serving<'_> {
    #[allow(clippy::too_many_lines)] // One arm per operation.
    fn answer(&mut self, request: &Request<'_>, out: &mut Vec<u8>) -> Result<(), Refusal> {
        let tree = &self.state.tree;
        match request {
            Request::GetData { path, watch } => {
                let node = self.readable(path)?;
                jute::put_buffer(out, tree.data(node));
                tree.stat(node).encode(out);
                self.watch(path, *watch, Modes::DATA);
            }
            Request::Exists { path, watch } => self.exists(path, *watch, out)?,
            Request::GetChildren {
                path,
                watch,
                with_stat,
            } => {
                let node = self.readable(path)?;
                self.put_children(node, out);
                if *with_stat {
                    tree.stat(node).encode(out);
                }
                self.watch(path, *watch, Modes::CHILD);
            }
            Request::GetAcl { path } => self.get_acl(path, out)?,
            Request::GetAllChildrenNumber { path } => {
                self.readable(path)?;
                let count = tree.descendants(path);
                jute::put_i32(out, i32::try_from(count).unwrap_or(i32::MAX));
            }
            Request::GetEphemerals { prefix } => self.get_ephemerals(prefix, out),
            Request::MultiRead(ops) => self.multi_read(ops, out)?,
            Request::Sync { path } => jute::put_optional_string(out, path.as_deref()),
            Request::WhoAmI => {
                jute::put_count(out, self.reader.ids.len());
                for id in self.reader.ids {
                    jute::put_string(out, &id.scheme);
                    jute::put_string(out, &access::user_name(id));
                }
            }
            Request::AddWatch { path, mode } => {
                let modes = match mode {
                    0 => Modes::PERSISTENT,
                    1 => Modes::RECURSIVE,
                    _ => return Err(ErrorCode::MARSHALLING_ERROR.into()),
                };
                self.watches.add(self.reader.watcher, watched(path), modes);
                jute::put_i32(out, 0);
            }
            Request::CheckWatches { path, kind } => {
                let modes = Modes::of_watcher_type(*kind).ok_or(ErrorCode::MARSHALLING_ERROR)?;
                if !self
                    .watches
                    .contains(self.reader.watcher, watched(path), modes)
                {
                    return Err(ErrorCode::NO_WATCHER.into());
                }
            }
            Request::RemoveWatches { path, kind } => {
                let modes = Modes::of_watcher_type(*kind).ok_or(ErrorCode::MARSHALLING_ERROR)?;
                if !self
                    .watches
                    .remove(self.reader.watcher, watched(path), modes)
                {
                    return Err(ErrorCode::NO_WATCHER.into());
                }
            }
            Request::Ping | Request::SetWatches(_) => {}
            Request::Create(_)
            | Request::Delete { .. }
            | Request::DeleteContainer { .. }
            | Request::SetData { .. }
            | Request::SetAcl { .. }
            | Request::Multi(_)
            | Request::Reconfig(_)
            | Request::CloseSession
            | Request::Auth { .. }
            | Request::Sasl { .. } => return Err(ErrorCode::UNIMPLEMENTED.into()),
        }
        Ok(())
    }

    fn watch(&mut self, path: &str, wanted: bool, modes: Modes) {
        if wanted {
            self.watches.add(self.reader.watcher, path, modes);
        }
    }

    fn readable(&self, path: &str) -> Result<NodeId, ErrorCode> {
        let node = self.state.tree.find(path).ok_or(ErrorCode::NO_NODE)?;
        self.demand_read(node)?;
        Ok(node)
    }

    fn demand_read(&self, node: NodeId) -> Result<(), ErrorCode> {
        let acl = self.state.tree.acl_id(node);
        if self.state.permits(acl, PERM_READ, self.reader.ids) {
            Ok(())
        } else {
            Err(ErrorCode::NO_AUTH)
        }
    }

    /// The watch stays even when the node is absent: it then waits for the creation.
    fn exists(&mut self, path: &str, watch: bool, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        if path.contains('\0') {
            return Err(ErrorCode::BAD_ARGUMENTS);
        }
        let node = self.state.tree.find(path);
        if let Some(node) = node {
            self.demand_read(node)?;
        }
        self.watch(path, watch, Modes::DATA);
        self.state
            .tree
            .stat(node.ok_or(ErrorCode::NO_NODE)?)
            .encode(out);
        Ok(())
    }

    fn put_children(&self, node: NodeId, out: &mut Vec<u8>) {
        let tree = &self.state.tree;
        jute::put_count(out, tree.num_children(node) as usize);
        for name in tree.children(node) {
            jute::put_string(out, name);
        }
    }

    /// Digests are shown only to those who may change the ACL.
    fn get_acl(&self, path: &str, out: &mut Vec<u8>) -> Result<(), ErrorCode> {
        let (state, ids) = (self.state, self.reader.ids);
        let node = state.tree.find(path).ok_or(ErrorCode::NO_NODE)?;
        let acl = state.tree.acl_id(node);
        if !state.permits(acl, PERM_READ | PERM_ADMIN, ids) {
            return Err(ErrorCode::NO_AUTH);
        }
        let list = state.tree.acls.list(acl);
        if state.permits(acl, PERM_ADMIN, ids) {
            acl::encode_list(out, list);
        } else {
            let masked: Vec<Acl> = list.iter().map(masked).collect();
            acl::encode_list(out, &masked);
        }
        state.tree.stat(node).encode(out);
        Ok(())
    }

    fn get_ephemerals(&self, prefix: &NullableStr<'_>, out: &mut Vec<u8>) {
        let prefix = prefix.as_deref().unwrap_or_default();
        // Java's `trim` takes every control character for a blank, and no other blank than ASCII's.
        let all = matches!(prefix.trim_matches(|letter| letter <= ' '), "" | "/");
        let paths: Vec<_> = self
            .state
            .ephemerals(self.reader.session)
            .filter(|path| all || path.starts_with(prefix))
            .collect();
        jute::put_count(out, paths.len());
        for path in &paths {
            jute::put_string(out, path);
        }
    }

    fn multi_read(&self, ops: &[MultiReadOp<'_>], out: &mut Vec<u8>) -> Result<(), Refusal> {
        for op in ops {
            let (path, number) = match op {
                MultiReadOp::GetData { path } => (path, op_code::GET_DATA),
                MultiReadOp::GetChildren { path } => (path, op_code::GET_CHILDREN),
            };
            let Some(path) = path else {
                reply::multi_end(out);
                return Err(Refusal::WithBody(ErrorCode::MARSHALLING_ERROR));
            };
            match self.readable(path) {
                Err(code) => reply::multi_error(out, code),
                Ok(node) => {
                    reply::multi_header(out, number, ErrorCode::OK);
                    if number == op_code::GET_DATA {
                        jute::put_buffer(out, self.state.tree.data(node));
                        self.state.tree.stat(node).encode(out);
                    } else {
                        self.put_children(node, out);
                    }
                }
            }
        }
        reply::multi_end(out);
        Ok(())
    }
}

/// The path that is watched. Java keeps watches at a path that is null beside all others and shows
/// them under this name, which no node can have.
fn watched<'a>(path: &'a NullableStr<'_>) -> &'a str {
    path.as_deref().unwrap_or("null")
}

fn masked(entry: &Acl) -> Acl {
    let mut entry = entry.clone();
    if entry.id.scheme == "digest"
        && let Some((user, _)) = entry.id.id.split_once(':')
    {
        entry.id.id = alloc::format!("{user}:x");
    }
    entry
}

/// Registers watches again after a reconnection, or tells at once what the client has missed.
fn set_watches(
    state: &State,
    watches: &mut WatchTable,
    reader: Reader<'_>,
    again: &SetWatches<'_>,
    out: &mut Vec<u8>,
) {
    let relative = again.relative_zxid;
    let mut tell = |event, path: &str| reply::watch_event(out, Zxid(-1), event, path);
    let mut register = |paths: &[Cow<'_, str>], modes, missed: &mut Missed<'_>| {
        for path in paths {
            match missed(state.tree.find(path)) {
                Some(event) => tell(event, path),
                None => watches.add(reader.watcher, path, modes),
            }
        }
    };
    register(&again.data, Modes::DATA, &mut |node| match node {
        None => Some(EventType::NodeDeleted),
        Some(node) if state.tree.persisted(node).mzxid > relative => {
            Some(EventType::NodeDataChanged)
        }
        Some(_) => None,
    });
    register(&again.exist, Modes::DATA, &mut |node| {
        node.map(|_| EventType::NodeCreated)
    });
    register(&again.child, Modes::CHILD, &mut |node| match node {
        None => Some(EventType::NodeDeleted),
        Some(node) if state.tree.persisted(node).pzxid > relative => {
            Some(EventType::NodeChildrenChanged)
        }
        Some(_) => None,
    });
    register(&again.persistent, Modes::PERSISTENT, &mut |_| None);
    register(&again.persistent_recursive, Modes::RECURSIVE, &mut |_| None);
}

type Missed<'m> = dyn FnMut(Option<NodeId>) -> Option<EventType> + 'm;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Rules;
    use roo_proto::txn::{CreateTxn, Txn, TxnHeader};

    #[test]
    fn a_path_that_is_null_is_watched_apart_from_the_empty_one() {
        let state = State::new(Rules::default(), 1);
        let mut watches = WatchTable::new();
        let reader = Reader {
            session: SessionId(1),
            ids: &[],
            watcher: WatcherId(1),
        };
        let mut ask = |request: Request<'_>| {
            serve(&state, &mut watches, reader, 1, &request, &mut Vec::new())
        };
        let null = || None;
        let empty = || Some("".into());
        let add = |path| Request::AddWatch { path, mode: 0 };
        let check = |path| Request::CheckWatches { path, kind: 3 };
        let remove = |path| Request::RemoveWatches { path, kind: 3 };
        assert_eq!(ask(check(null())), ErrorCode::NO_WATCHER);
        assert_eq!(ask(add(null())), ErrorCode::OK);
        assert_eq!(ask(check(null())), ErrorCode::OK);
        assert_eq!(ask(check(empty())), ErrorCode::NO_WATCHER);
        assert_eq!(ask(add(empty())), ErrorCode::OK);
        assert_eq!(ask(remove(null())), ErrorCode::OK);
        assert_eq!(ask(remove(null())), ErrorCode::NO_WATCHER);
        assert_eq!(ask(check(empty())), ErrorCode::OK);
    }
    #[test]
    fn a_prefix_of_blanks_as_java_knows_them_asks_for_all_ephemerals() {
        let mut state = State::new(Rules::default(), 1);
        let header = TxnHeader {
            client_id: 1,
            zxid: Zxid(1),
            ..TxnHeader::default()
        };
        let node = CreateTxn {
            path: "/e".into(),
            data: None,
            acl: [Acl::open()].into(),
            parent_cversion: 1,
        };
        let txn = Txn::Create {
            op: op_code::CREATE,
            node,
            ephemeral: true,
        };
        state.apply(&header, txn, &mut Vec::new());
        let count = |prefix: &str| {
            let reader = Reader {
                session: SessionId(1),
                ids: &[],
                watcher: WatcherId(1),
            };
            let prefix = Some(Cow::from(prefix));
            let request = Request::GetEphemerals { prefix };
            let mut out = Vec::new();
            serve(
                &state,
                &mut WatchTable::new(),
                reader,
                1,
                &request,
                &mut out,
            );
            // Behind the length and the header.
            out.get(23).copied()
        };
        for all in ["", "/", " / ", "/\u{0}", "\u{1}\t", "/e"] {
            assert_eq!(count(all), Some(1), "{all:?}");
        }
        for none in ["\u{a0}", "/f", " /e", "//"] {
            assert_eq!(count(none), Some(0), "{none:?}");
        }
    }
}
