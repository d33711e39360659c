//! What a leader must know before it may propose another ensemble.

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;

use crate::quorum;
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

    /// Whether a quorum of this ensemble follows this leader and is synchronised.
    #[must_use]
    pub fn is_in_step(&self, ensemble: &Ensemble) -> bool {
        let status = self.status();
        let me = self.server.me();
        let synced = |id: ServerId| {
            id == me
                || status
                    .links
                    .iter()
                    .any(|link| link.synced && link.peer == id)
        };
        quorum::is_quorum(ensemble, synced)
    }
}
