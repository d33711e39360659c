//! Ensembles that change: each version is one ensemble, the same for everyone, and that of the
//! transaction that made it; no server goes back to an older one while it runs; and of two leaders
//! at most one can still get anything decided, whatever ensembles they count.

use std::collections::BTreeMap;
use std::sync::Arc;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;

use super::is_quorum;
use crate::fact::Fact;

/// A leader's epoch, and the ensembles that count for it.
type Leading = (u32, Vec<Arc<Ensemble>>);

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// By version; the first configuration, 0, is each server's own.
    known: BTreeMap<i64, Arc<Ensemble>>,
    /// Life and version of the one in force at each server.
    in_force: BTreeMap<ServerId, (u64, i64)>,
    leading: BTreeMap<ServerId, Leading>,
    promised: BTreeMap<ServerId, u32>,
}

impl Configuration {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Reconfigures { entry, after, .. } => {
                if after.version == entry.zxid.0 {
                    return Ok(());
                }
                let version = after.version;
                Err(format!(
                    "{entry:?} makes an ensemble of version {version:x}"
                ))
            }
            Fact::InForce {
                server,
                life,
                ensemble,
            } => self.put_in_force(*server, *life, ensemble),
            Fact::Leads {
                server,
                epoch,
                ensembles,
            } => {
                if ensembles.is_empty() {
                    self.leading.remove(server);
                    return Ok(());
                }
                let leading = (*epoch, ensembles.clone());
                self.leading.insert(*server, leading);
                self.check_leaders()
            }
            Fact::Promised { server, epoch } => {
                let promised = self.promised.entry(*server).or_default();
                *promised = (*promised).max(*epoch);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn put_in_force(
        &mut self,
        server: ServerId,
        life: u64,
        ensemble: &Arc<Ensemble>,
    ) -> Result<(), String> {
        let version = ensemble.version;
        if version != 0 {
            let known = self.known.entry(version);
            let known = known.or_insert_with(|| Arc::clone(ensemble));
            if known != ensemble {
                return Err(format!(
                    "version {version:x} is {ensemble:?} at server {} and {known:?} elsewhere",
                    server.0
                ));
            }
        }
        match self.in_force.insert(server, (life, version)) {
            Some((same, newer)) if same == life && newer > version => Err(format!(
                "server {} goes from version {newer:x} back to {version:x}",
                server.0
            )),
            _ => Ok(()),
        }
    }

    /// Of two leaders the one of the earlier epoch must lack a majority that would still hear it.
    fn check_leaders(&self) -> Result<(), String> {
        let mut deciding: Option<(&ServerId, u32)> = None;
        for (server, (epoch, ensembles)) in &self.leading {
            let hears = |id| {
                self.promised
                    .get(&id)
                    .is_none_or(|promised| promised <= epoch)
            };
            let mut all = ensembles.iter();
            if !all.all(|ensemble| is_quorum(ensemble, hears)) {
                continue;
            }
            if let Some((other, earlier)) = deciding {
                return Err(format!(
                    "server {} in epoch {epoch} and server {} in epoch {earlier} can both decide",
                    server.0, other.0
                ));
            }
            deciding = Some((server, *epoch));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fact::Entry;
    use crate::invariants::tests::ensemble;

    fn in_force(server: i64, life: u64, ensemble: Arc<Ensemble>) -> Fact {
        Fact::InForce {
            server: ServerId(server),
            life,
            ensemble,
        }
    }

    #[test]
    fn fires_when_a_version_is_two_ensembles_or_not_that_of_its_transaction() {
        let mut invariant = Configuration::default();
        invariant
            .observe(&in_force(1, 0, ensemble(5, &[1, 2])))
            .unwrap();
        let other = in_force(2, 0, ensemble(5, &[1, 3]));
        assert!(invariant.observe(&other).is_err());
        let change = |version| Fact::Reconfigures {
            entry: Entry::new(0, 7, 1),
            before: ensemble(0, &[1]),
            after: ensemble(version, &[1]),
        };
        assert!(invariant.observe(&change(7)).is_ok());
        assert!(invariant.observe(&change(6)).is_err());
    }

    #[test]
    fn fires_when_a_running_server_goes_back() {
        let mut invariant = Configuration::default();
        invariant
            .observe(&in_force(1, 0, ensemble(5, &[1, 2])))
            .unwrap();
        let back = |life| in_force(1, life, ensemble(4, &[1]));
        assert!(invariant.clone().observe(&back(0)).is_err());
        assert!(invariant.observe(&back(1)).is_ok());
    }

    #[test]
    fn fires_when_two_leaders_can_decide() {
        let leads = |server, epoch, ensembles: &[&Arc<Ensemble>]| Fact::Leads {
            server: ServerId(server),
            epoch,
            ensembles: ensembles.iter().map(|e| Arc::clone(e)).collect(),
        };
        let (old, new) = (ensemble(0, &[1, 2, 3]), ensemble(5, &[3, 4, 5]));
        let mut invariant = Configuration::default();
        invariant.observe(&leads(1, 1, &[&old])).unwrap();
        for server in [3, 4] {
            let server = ServerId(server);
            let promised = Fact::Promised { server, epoch: 2 };
            invariant.observe(&promised).unwrap();
        }
        // 1 and 2 have promised nothing.
        assert!(invariant.clone().observe(&leads(4, 2, &[&new])).is_err());
        let promised = Fact::Promised {
            server: ServerId(2),
            epoch: 2,
        };
        let mut sound = invariant.clone();
        sound.observe(&promised).unwrap();
        assert!(sound.observe(&leads(4, 2, &[&new])).is_ok());
        // A leader that needs both lacks one.
        invariant.observe(&leads(1, 1, &[&old, &new])).unwrap();
        assert!(invariant.observe(&leads(4, 2, &[&new])).is_ok());
    }
}
