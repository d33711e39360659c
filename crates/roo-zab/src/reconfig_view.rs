//! What a leader must know before it may propose another ensemble.

use roo_proto::ensemble::Ensemble;

use crate::zab::Zab;

impl Zab {
    /// The ensemble in force.
    #[must_use]
    pub fn ensemble(&self) -> &Ensemble {
        &self.server.membership.current
    }

    /// The ensemble proposed last; the one in force when no change is under way.
    #[must_use]
    pub fn last_seen_ensemble(&self) -> &Ensemble {
        self.server.membership.latest()
    }

    /// Whether this server leads and followers that are synchronised, and will stay followers,
    /// would be a quorum of this ensemble with it. Proposed without that, it could keep everything
    /// from being committed. Java: `Leader.isQuorumSynced`.
    #[must_use]
    pub fn is_in_step(&self, ensemble: &Ensemble) -> bool {
        self.leader()
            .is_some_and(|leader| leader.is_quorum_synced(ensemble, &self.server))
    }
}
