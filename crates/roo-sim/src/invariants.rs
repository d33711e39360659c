//! What must hold of every run. One file per property, named as in the Zab paper (Junqueira, Reed,
//! Serafini, DSN 2011) and the specifications of Ouyang et al. (EuroSys 2025); each has a test
//! in which it fires.

pub mod agreement;
pub mod commit_consistency;
pub mod conduct;
pub mod configuration;
pub mod durability;
pub mod global_primary_order;
pub mod history_consistency;
pub mod initial_history;
pub mod integrity;
pub mod local_primary_order;
pub mod primary_integrity;
pub mod primary_uniqueness;
pub mod total_order;

use std::sync::Arc;

use roo_proto::ensemble::{Ensemble, Voting};
use roo_proto::ids::ServerId;

use crate::fact::Fact;

/// A property that was broken, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Its name.
    pub invariant: &'static str,
    /// What was seen.
    pub what: String,
}

/// All of them.
#[derive(Clone, Debug, Default)]
#[allow(missing_docs)] // The fields are the modules.
pub struct Invariants {
    pub primary_uniqueness: primary_uniqueness::PrimaryUniqueness,
    pub integrity: integrity::Integrity,
    pub agreement: agreement::Agreement,
    pub total_order: total_order::TotalOrder,
    pub local_primary_order: local_primary_order::LocalPrimaryOrder,
    pub global_primary_order: global_primary_order::GlobalPrimaryOrder,
    pub primary_integrity: primary_integrity::PrimaryIntegrity,
    pub initial_history: initial_history::InitialHistory,
    pub commit_consistency: commit_consistency::CommitConsistency,
    pub history_consistency: history_consistency::HistoryConsistency,
    pub durability: durability::Durability,
    pub configuration: configuration::Configuration,
}

impl Invariants {
    /// All of them, for runs that begin with this ensemble.
    #[must_use]
    pub fn new(first: &Arc<Ensemble>) -> Self {
        Self {
            durability: durability::Durability::new(first),
            ..Self::default()
        }
    }

    /// Shows a fact to all of them.
    ///
    /// # Errors
    /// The first property that does not hold any more.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), Violation> {
        let named = |invariant, outcome: Result<(), String>| {
            outcome.map_err(|what| Violation { invariant, what })
        };
        named(
            "primary uniqueness (I-1)",
            self.primary_uniqueness.observe(fact),
        )?;
        named("integrity (I-2)", self.integrity.observe(fact))?;
        named("agreement (I-3)", self.agreement.observe(fact))?;
        named("total order (I-4)", self.total_order.observe(fact))?;
        named(
            "local primary order (I-5)",
            self.local_primary_order.observe(fact),
        )?;
        named(
            "global primary order (I-6)",
            self.global_primary_order.observe(fact),
        )?;
        named(
            "primary integrity (I-7)",
            self.primary_integrity.observe(fact),
        )?;
        named("initial history (I-8)", self.initial_history.observe(fact))?;
        named(
            "commit consistency (I-9)",
            self.commit_consistency.observe(fact),
        )?;
        named(
            "history consistency (I-10)",
            self.history_consistency.observe(fact),
        )?;
        named("durability", self.durability.observe(fact))?;
        named("configuration", self.configuration.observe(fact))
    }
}

/// Whether a condition holds of a quorum: of more than half of the voters, or of more than half of
/// the weight in more than half of the groups that weigh anything. Not roo-zab's own function,
/// which is what is checked.
pub(crate) fn is_quorum(ensemble: &Ensemble, has: impl Fn(ServerId) -> bool) -> bool {
    let Voting::Hierarchical { groups, weights } = &ensemble.voting else {
        let voters = ensemble.voters().count();
        return ensemble.voters().filter(|id| has(*id)).count() * 2 > voters;
    };
    let weight = |id: &ServerId| weights.get(id).copied().unwrap_or(1);
    let (mut lost, mut won) = (0, 0);
    for group in groups.values() {
        let all: u64 = group.iter().map(weight).sum();
        let held: u64 = group.iter().filter(|id| has(**id)).map(weight).sum();
        match held * 2 > all {
            true => won += 1,
            false => lost += u64::from(all > 0),
        }
    }
    won > lost
}

/// The first place where two histories differ, if neither is a beginning of the other.
pub(crate) fn fork(a: &[crate::fact::Entry], b: &[crate::fact::Entry]) -> Option<usize> {
    a.iter().zip(b).position(|(a, b)| a != b)
}

#[cfg(test)]
pub(crate) mod tests {
    use roo_proto::ensemble::{Member, MemberRole};

    use super::*;

    /// An ensemble of these voters.
    pub(crate) fn ensemble(version: i64, voters: &[i64]) -> Arc<Ensemble> {
        let member = Member {
            addresses: Vec::new(),
            role: MemberRole::Voter,
            client: None,
        };
        let members = voters.iter().map(|id| (ServerId(*id), member.clone()));
        Arc::new(Ensemble {
            version,
            members: members.collect(),
            ..Ensemble::default()
        })
    }

    #[test]
    fn groups_are_outvoted_by_groups_and_those_without_weight_do_not_count() {
        let mut grouped = Ensemble::clone(&ensemble(0, &[1, 2, 3, 4, 5, 6, 7]));
        let group = |ids: &[i64]| ids.iter().map(|id| ServerId(*id)).collect();
        grouped.voting = Voting::Hierarchical {
            groups: [
                (1, group(&[1, 4])),
                (2, group(&[2, 5])),
                (3, group(&[3, 6])),
                (4, group(&[7])),
            ]
            .into(),
            weights: [(ServerId(1), 2), (ServerId(7), 0)].into(),
        };
        let has = |ids: &[i64]| is_quorum(&grouped, |id| ids.contains(&id.0));
        assert!(has(&[1, 2, 5]));
        assert!(!has(&[1, 4, 2, 3]), "half of two groups is none of them");
        assert!(
            !has(&[4, 2, 5, 7]),
            "4 is a third of its group, 7 weighs nothing"
        );
    }
}
