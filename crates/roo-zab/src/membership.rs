//! Which ensemble is in force, which one is proposed, and what this server is in them.

use alloc::collections::BTreeSet;
use alloc::sync::Arc;
use alloc::vec::Vec;

use roo_proto::ensemble::{Ensemble, MemberRole};
use roo_proto::ids::{ServerId, Zxid};

use crate::effect::Effect;
use crate::quorum;

/// The ensembles that count here.
#[derive(Clone, Debug)]
pub(crate) struct Membership {
    pub(crate) me: ServerId,
    /// In force. Java: `quorumVerifier`.
    pub(crate) current: Arc<Ensemble>,
    /// Proposed and not yet in force; newer than `current`. Java: `lastSeenQuorumVerifier`.
    pub(crate) next: Option<Arc<Ensemble>>,
}

impl Membership {
    /// Whether these servers are a quorum of every ensemble that counts.
    // Compat: C-73
    // Epochs are settled with both quorums too: a record of a later ensemble may be known to its
    // voters alone.
    pub(crate) fn has_quorum(&self, has: impl Fn(ServerId) -> bool) -> bool {
        self.ensembles()
            .all(|ensemble| quorum::is_quorum(ensemble, &has))
    }

    /// Whether this server votes in any of them.
    pub(crate) fn is_voter(&self, id: ServerId) -> bool {
        self.ensembles().any(|ensemble| ensemble.is_voter(id))
    }

    // Compat: C-73
    /// Whether a server may become the leader: it votes, and its vote weighs something, in the
    /// ensemble in force. One that votes only in a proposed ensemble is a stranger to those who
    /// have not seen the proposal, and they could never elect it.
    pub(crate) fn may_lead(&self, id: ServerId) -> bool {
        quorum::weight(&self.current, id) > 0
    }

    /// Everyone who votes, but this server.
    pub(crate) fn other_voters(&self) -> BTreeSet<ServerId> {
        self.ensembles()
            .flat_map(|ensemble| ensemble.voters())
            .filter(|id| *id != self.me)
            .collect()
    }

    /// Whether this server is configured to learn without a vote. One that is in no ensemble
    /// (a joiner) is not.
    pub(crate) fn is_observer(&self) -> bool {
        self.current
            .members
            .get(&self.me)
            .is_some_and(|member| member.role == MemberRole::Observer)
    }

    /// Takes note of a proposed ensemble.
    pub(crate) fn propose(&mut self, ensemble: &Arc<Ensemble>, effects: &mut Vec<Effect>) {
        if ensemble.version <= self.latest().version {
            return;
        }
        self.next = Some(Arc::clone(ensemble));
        effects.push(Effect::PersistNextEnsemble {
            ensemble: Arc::clone(ensemble),
        });
    }

    /// Puts an ensemble in force, if it is newer.
    pub(crate) fn activate(&mut self, ensemble: &Arc<Ensemble>, effects: &mut Vec<Effect>) {
        if ensemble.version <= self.current.version {
            return;
        }
        self.current = Arc::clone(ensemble);
        if self
            .next
            .as_ref()
            .is_some_and(|next| next.version <= ensemble.version)
        {
            self.next = None;
        }
        effects.push(Effect::Activate {
            ensemble: Arc::clone(ensemble),
        });
    }

    /// The newest ensemble known here.
    pub(crate) fn latest(&self) -> &Arc<Ensemble> {
        self.next.as_ref().unwrap_or(&self.current)
    }

    /// The log ends at `last`: a proposed ensemble whose record lay behind it is forgotten. It was
    /// never acknowledged by this server, or not by a quorum. The first version of all belongs to
    /// an epoch and has no record.
    pub(crate) fn forget_beyond(&mut self, last: Zxid, effects: &mut Vec<Effect>) {
        self.forget_if(effects, |at| at.counter() != 0 && at > last);
    }

    // Compat: C-83
    /// The leader of `epoch` announces the newest ensemble of the history it has adopted: one of an
    /// epoch before that is newer than it was not committed and is not in that history. It must not
    /// wait here until this server leads.
    pub(crate) fn forget_unadopted(
        &mut self,
        epoch: u32,
        announced: &Ensemble,
        effects: &mut Vec<Effect>,
    ) {
        let announced = Zxid(announced.version);
        self.forget_if(effects, |at| at.epoch() < epoch && at > announced);
    }

    /// Forgets the proposed ensemble, on disk too, if it is not newer than the one in force or if
    /// its version says so.
    fn forget_if(&mut self, effects: &mut Vec<Effect>, is_lost: impl FnOnce(Zxid) -> bool) {
        let Some(next) = &self.next else { return };
        if next.version <= self.current.version || is_lost(Zxid(next.version)) {
            self.next = None;
            effects.push(Effect::ForgetNextEnsemble);
        }
    }

    fn ensembles(&self) -> impl Iterator<Item = &Ensemble> {
        core::iter::once(&*self.current).chain(self.next.as_deref())
    }
}
