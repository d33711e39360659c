//! What is delivered anywhere survives the crash of every server: a majority of the voters has it
//! on disk. The checker of "bad acks".

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use crate::fact::{Entry, Fact};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Durability {
    /// 0 where the voters change in the run: nothing is checked then.
    voters: usize,
    disks: BTreeMap<ServerId, Vec<Entry>>,
    checked: usize,
    delivered: BTreeMap<ServerId, usize>,
}

impl Durability {
    /// For an ensemble with so many voters that never change.
    #[must_use]
    pub fn new(voters: usize) -> Self {
        Self {
            voters,
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
            _ => Ok(()),
        }
    }

    fn deliver(&mut self, server: ServerId, entry: Entry) -> Result<(), String> {
        let delivered = self.delivered.entry(server).or_default();
        let place = *delivered;
        *delivered += 1;
        if place < self.checked || self.voters == 0 {
            return Ok(());
        }
        self.checked = place + 1;
        let holds = |disk: &&Vec<Entry>| disk.get(place) == Some(&entry);
        let holders = self.disks.values().filter(holds).count();
        if holders > self.voters / 2 {
            return Ok(());
        }
        Err(format!(
            "server {} delivered {entry:?}, which only {holders} of {} voters have on disk",
            server.0, self.voters
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
        let mut invariant = Durability::new(3);
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
}
