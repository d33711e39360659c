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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::Rules;
    use alloc::string::ToString;
    use roo_proto::acl::Acl;
    use roo_proto::ids::Zxid;
    use roo_proto::txn::{CreateTxn, Txn, TxnHeader};

    const NEVER: ExpiryRules = ExpiryRules {
        max_never_used_ms: 0,
    };

    fn apply(state: &mut State, txn: Txn, time: i64) {
        let header = TxnHeader {
            zxid: Zxid(state.last_zxid().0 + 1),
            time,
            ..TxnHeader::default()
        };
        state.apply(&header, txn, &mut Vec::new());
    }

    fn node(path: &str, parent_cversion: i32) -> CreateTxn {
        CreateTxn {
            path: path.to_string(),
            data: None,
            acl: [Acl::open()].into(),
            parent_cversion,
        }
    }

    fn fresh() -> State {
        let rules = Rules {
            extended_types: true,
            ..Rules::default()
        };
        State::new(rules, 1)
    }

    fn due(state: &State, now: i64, rules: &ExpiryRules) -> Vec<String> {
        candidates(state, WallTime(now), rules, 10)
    }

    #[test]
    fn a_container_goes_when_its_last_child_is_gone() {
        let mut state = fresh();
        apply(&mut state, Txn::CreateContainer(node("/c", 1)), 1_000);
        assert!(due(&state, 1_000_000, &NEVER).is_empty());
        apply(&mut state, Txn::CreateContainer(node("/c/d", 1)), 1_000);
        assert!(due(&state, 1_000_000, &NEVER).is_empty());
        let path = "/c/d".to_string();
        apply(&mut state, Txn::DeleteContainer { path }, 1_000);
        assert_eq!(due(&state, 1_000, &NEVER), ["/c"]);
        let path = "/c".to_string();
        apply(&mut state, Txn::DeleteContainer { path }, 1_000);
        assert!(due(&state, 1_000_000, &NEVER).is_empty());
    }

    #[test]
    fn a_container_never_used_goes_only_by_the_rule_for_it() {
        let mut state = fresh();
        apply(&mut state, Txn::CreateContainer(node("/c", 1)), 1_000);
        let rules = ExpiryRules {
            max_never_used_ms: 50,
        };
        assert!(due(&state, 1_050, &rules).is_empty());
        assert_eq!(due(&state, 1_051, &rules), ["/c"]);
    }

    #[test]
    fn only_new_data_prolongs_a_ttl_and_children_suspend_it() {
        let mut state = fresh();
        let ttl = |path, parent_cversion| Txn::CreateTtl {
            node: node(path, parent_cversion),
            ttl: 100,
        };
        apply(&mut state, ttl("/t", 1), 1_000);
        assert!(due(&state, 1_100, &NEVER).is_empty());
        assert_eq!(due(&state, 1_101, &NEVER), ["/t"]);
        let set = Txn::SetData {
            path: "/t".to_string(),
            data: None,
            version: 1,
        };
        apply(&mut state, set, 1_080);
        assert!(due(&state, 1_180, &NEVER).is_empty());
        apply(&mut state, ttl("/t/u", 1), 1_081);
        assert_eq!(due(&state, 9_000, &NEVER), ["/t/u"]);
        let path = "/t/u".to_string();
        apply(&mut state, Txn::Delete { path }, 9_000);
        assert_eq!(due(&state, 9_000, &NEVER), ["/t"]);
    }

    #[test]
    fn no_more_are_named_than_asked_for() {
        let mut state = fresh();
        for path in ["/a", "/b", "/c"] {
            let txn = Txn::CreateTtl {
                node: node(path, 1),
                ttl: 1,
            };
            apply(&mut state, txn, 0);
        }
        assert_eq!(candidates(&state, WallTime(9), &NEVER, 2).len(), 2);
    }
}
