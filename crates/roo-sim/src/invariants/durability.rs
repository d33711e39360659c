//! What is delivered anywhere survives the crash of every server: a majority of the voters has it
//! on disk. The checker of "bad acks". A change of the ensemble, and whatever puts it in force,
//! needs majorities of the ensembles before and behind it.

use std::collections::BTreeMap;
use std::sync::Arc;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Zxid};

use super::is_quorum;
use crate::fact::{Entry, EntryMap, Fact};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Durability {
    /// At the end of what was checked.
    in_force: Arc<Ensemble>,
    /// Each change of the ensemble: what was in force, and what is to be.
    changes: EntryMap<(Arc<Ensemble>, Arc<Ensemble>)>,
    disks: BTreeMap<ServerId, Vec<Entry>>,
    checked: usize,
    delivered: BTreeMap<ServerId, usize>,
}

impl Durability {
    /// For runs that begin with this ensemble.
    #[must_use]
    pub fn new(first: &Arc<Ensemble>) -> Self {
        Self {
            in_force: Arc::clone(first),
            ..Self::default()
        }
    }

    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::DurableIs { server, history } => {
                self.disks.insert(*server, history.clone());
                Ok(())
            }
            Fact::Durable { server, entry } => {
                self.disks.entry(*server).or_default().push(*entry);
                Ok(())
            }
            Fact::Serving {
                server, history, ..
            } => {
                self.delivered.insert(*server, 0);
                history
                    .iter()
                    .try_for_each(|entry| self.deliver(*server, *entry))
            }
            Fact::Delivered { server, entry, .. } => self.deliver(*server, *entry),
            Fact::Reconfigures {
                entry,
                before,
                after,
            } => {
                let pair = (Arc::clone(before), Arc::clone(after));
                self.changes.insert(*entry, pair);
                Ok(())
            }
            Fact::InForce {
                server, ensemble, ..
            } => self.put_in_force(*server, ensemble),
            _ => Ok(()),
        }
    }

    fn deliver(&mut self, server: ServerId, entry: Entry) -> Result<(), String> {
        let delivered = self.delivered.entry(server).or_default();
        let place = *delivered;
        *delivered += 1;
        if place < self.checked {
            return Ok(());
        }
        self.checked = place + 1;
        let has = |id| {
            let disk = self.disks.get(&id);
            disk.is_some_and(|disk| disk.get(place) == Some(&entry))
        };
        require(&self.in_force, has)
            .and_then(|()| match self.changes.get(&entry) {
                None => Ok(()),
                Some((_, after)) => {
                    self.in_force = Arc::clone(after);
                    require(after, has)
                }
            })
            .map_err(|few| format!("server {} delivered {entry:?}, which only {few}", server.0))
    }

    /// An ensemble that a transaction made.
    fn put_in_force(&self, server: ServerId, ensemble: &Ensemble) -> Result<(), String> {
        let zxid = Zxid(ensemble.version);
        if zxid.counter() == 0 {
            return Ok(());
        }
        let holds = |entry: Entry| {
            let disks = &self.disks;
            move |id| {
                let place = |disk: &Vec<Entry>| disk.binary_search_by_key(&zxid, |e| e.zxid);
                let disk = disks.get(&id);
                disk.is_some_and(|disk| place(disk).is_ok_and(|at| disk[at] == entry))
            }
        };
        let made = self.changes.iter().filter(|(entry, _)| entry.zxid == zxid);
        let mut outcome = Err("nobody proposed".to_owned());
        for (entry, (before, after)) in made {
            let has = holds(*entry);
            outcome = require(before, has).and_then(|()| require(after, has));
            if outcome.is_ok() {
                break;
            }
        }
        outcome.map_err(|few| {
            format!(
                "at server {} the ensemble of {zxid} is in force, which only {few}",
                server.0
            )
        })
    }
}

/// Whether a majority holds something; if not, how few do.
fn require(ensemble: &Ensemble, has: impl Fn(ServerId) -> bool) -> Result<(), String> {
    if is_quorum(ensemble, &has) {
        return Ok(());
    }
    let holders: Vec<i64> = ensemble
        .voters()
        .filter(|id| has(*id))
        .map(|id| id.0)
        .collect();
    let voters: Vec<i64> = ensemble.voters().map(|id| id.0).collect();
    Err(format!("{holders:?} of the voters {voters:?} have on disk"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::invariants::tests::ensemble;

    const A: Entry = Entry::new(1, 1, 1);

    #[test]
    fn fires_when_a_minority_holds_what_is_delivered() {
        let delivered = Fact::Delivered {
            server: ServerId(1),
            epoch: 1,
            entry: A,
        };
        let durable = |server| Fact::Durable {
            server: ServerId(server),
            entry: A,
        };
        let mut invariant = Durability::new(&ensemble(0, &[1, 2, 3]));
        invariant.observe(&durable(1)).unwrap();
        assert!(invariant.clone().observe(&delivered).is_err());
        invariant.observe(&durable(3)).unwrap();
        assert!(invariant.clone().observe(&delivered).is_ok());
        let lost = Fact::DurableIs {
            server: ServerId(3),
            history: Vec::new(),
        };
        invariant.observe(&lost).unwrap();
        assert!(invariant.observe(&delivered).is_err());
    }

    #[test]
    fn fires_when_a_change_of_the_ensemble_lacks_a_majority_of_the_old_or_of_the_new() {
        let (old, new) = (ensemble(0, &[1, 2, 3]), ensemble(A.zxid.0, &[3, 4, 5]));
        let mut invariant = Durability::new(&old);
        let change = Fact::Reconfigures {
            entry: A,
            before: old,
            after: Arc::clone(&new),
        };
        invariant.observe(&change).unwrap();
        let durable = |server| Fact::Durable {
            server: ServerId(server),
            entry: A,
        };
        let shown = [
            Fact::Delivered {
                server: ServerId(1),
                epoch: 1,
                entry: A,
            },
            Fact::InForce {
                server: ServerId(1),
                life: 0,
                ensemble: new,
            },
        ];
        let fires = |invariant: &Durability| {
            let fired = |fact| invariant.clone().observe(fact).is_err();
            assert_eq!(fired(&shown[0]), fired(&shown[1]));
            fired(&shown[0])
        };
        for server in [1, 3] {
            invariant.observe(&durable(server)).unwrap();
        }
        assert!(fires(&invariant), "of the new one only 3 has it");
        invariant.observe(&durable(5)).unwrap();
        assert!(!fires(&invariant));
        let lost = Fact::DurableIs {
            server: ServerId(1),
            history: Vec::new(),
        };
        invariant.observe(&lost).unwrap();
        assert!(fires(&invariant), "of the old one only 3 has it");
    }
}
