//! Which sets of servers are quorums: majorities, and hierarchies of weighted groups. Pure maths.

use alloc::collections::{BTreeMap, BTreeSet};

use roo_proto::ensemble::{Ensemble, Voting};
use roo_proto::ids::ServerId;

/// Whether the servers for which `has` is true form a quorum of the ensemble. Servers that do not
/// vote in it never count. Java: `QuorumVerifier.containsQuorum`.
pub fn is_quorum(ensemble: &Ensemble, has: impl Fn(ServerId) -> bool) -> bool {
    match &ensemble.voting {
        Voting::Majority => {
            let voters = ensemble.voters().count();
            let supporters = ensemble.voters().filter(|id| has(*id)).count();
            supporters > voters / 2
        }
        Voting::Hierarchical { groups, weights } => {
            is_hierarchical_quorum(ensemble, groups, weights, has)
        }
    }
}

/// What a server's vote weighs; a candidate that weighs nothing never wins.
#[must_use]
pub fn weight(ensemble: &Ensemble, id: ServerId) -> u64 {
    if !ensemble.is_voter(id) {
        return 0;
    }
    match &ensemble.voting {
        Voting::Majority => 1,
        Voting::Hierarchical { weights, .. } => weights.get(&id).copied().unwrap_or(1),
    }
}

/// More than half of the groups that weigh anything, each with more than half of its weight.
fn is_hierarchical_quorum(
    ensemble: &Ensemble,
    groups: &BTreeMap<i64, BTreeSet<ServerId>>,
    weights: &BTreeMap<ServerId, u64>,
    has: impl Fn(ServerId) -> bool,
) -> bool {
    let (mut heavy, mut won) = (0_usize, 0_usize);
    for members in groups.values() {
        let (mut total, mut gained) = (0_u64, 0_u64);
        for id in members.iter().filter(|id| ensemble.is_voter(**id)) {
            let weight = weights.get(id).copied().unwrap_or(1);
            total = total.saturating_add(weight);
            if has(*id) {
                gained = gained.saturating_add(weight);
            }
        }
        if total > 0 {
            heavy += 1;
            won += usize::from(gained > total / 2);
        }
    }
    won > heavy / 2
}

#[cfg(test)]
mod tests;
