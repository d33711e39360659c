//! Which containers and TTL nodes have had their time. The leader proposes their deletion; the
//! deletion itself is an ordinary transaction. Java: `ContainerManager`.

use alloc::string::String;
use alloc::vec::Vec;

use roo_proto::ids::WallTime;

use crate::state::State;
use crate::tree::{NodeId, NodeKind, kind_of};

/// See [`candidates`].
#[derive(Clone, Copy, Debug)]
pub struct ExpiryRules {
    /// Age at which a container that never had a child goes, ms; 0 is never.
    pub max_never_used_ms: i64,
}

/// Paths of at most `limit` nodes that should be deleted now.
#[must_use]
pub fn candidates(state: &State, now: WallTime, rules: &ExpiryRules, limit: usize) -> Vec<String> {
    state
        .tree
        .collectable()
        .filter(|id| is_due(state, *id, now, rules))
        .take(limit)
        .map(|id| state.tree.path_of(id))
        .collect()
}

fn is_due(state: &State, id: NodeId, now: WallTime, rules: &ExpiryRules) -> bool {
    if state.tree.num_children(id) > 0 {
        return false;
    }
    let stat = state.tree.persisted(id);
    let age = now.0.saturating_sub(stat.mtime);
    match kind_of(stat.ephemeral_owner, &state.rules) {
        NodeKind::Container if stat.cversion > 0 => true,
        NodeKind::Container => rules.max_never_used_ms > 0 && age > rules.max_never_used_ms,
        NodeKind::Ttl(ttl) => age > ttl,
        NodeKind::Persistent | NodeKind::Ephemeral(_) => false,
    }
}
