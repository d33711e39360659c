//! I-7: a primary that broadcasts has delivered everything of earlier epochs that anybody delivers,
//! sooner or later.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use crate::fact::{Entry, EntrySet, Fact};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct PrimaryIntegrity {
    /// What each serving server has delivered.
    delivered: BTreeMap<ServerId, EntrySet>,
    /// What the primary of each epoch had delivered when it broadcast first.
    at_first_broadcast: BTreeMap<u32, EntrySet>,
    /// Everything that anybody delivered, by its epoch.
    known: BTreeMap<u32, EntrySet>,
}

impl PrimaryIntegrity {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Serving {
                server, history, ..
            } => {
                self.delivered.insert(*server, EntrySet::default());
                history
                    .iter()
                    .try_for_each(|entry| self.deliver(*server, *entry))
            }
            Fact::Delivered { server, entry, .. } => self.deliver(*server, *entry),
            Fact::Broadcast { server, epoch, .. } => self.broadcast(*server, *epoch),
            _ => Ok(()),
        }
    }

    fn broadcast(&mut self, server: ServerId, epoch: u32) -> Result<(), String> {
        if self.at_first_broadcast.contains_key(&epoch) {
            return Ok(());
        }
        let mine = self.delivered.get(&server).cloned().unwrap_or_default();
        for (_, entries) in self.known.range(..epoch) {
            let mut missing: Vec<_> = entries.difference(&mine).collect();
            missing.sort();
            if let Some(missing) = missing.first() {
                return Err(format!(
                    "server {} broadcasts in epoch {epoch} without {missing:?}, which was \
                     delivered before",
                    server.0
                ));
            }
        }
        self.at_first_broadcast.insert(epoch, mine);
        Ok(())
    }

    fn deliver(&mut self, server: ServerId, entry: Entry) -> Result<(), String> {
        self.delivered.entry(server).or_default().insert(entry);
        let epoch = entry.zxid.epoch();
        if !self.known.entry(epoch).or_default().insert(entry) {
            return Ok(());
        }
        for (later, held) in self.at_first_broadcast.range(epoch + 1..) {
            if !held.contains(&entry) {
                return Err(format!(
                    "server {} delivered {entry:?}, which the primary of epoch {later} had not \
                     when it began to broadcast",
                    server.0
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(server: i64, history: &[Entry]) -> Fact {
        Fact::Serving {
            server: ServerId(server),
            epoch: 2,
            history: history.to_vec(),
        }
    }

    const BROADCAST: Fact = Fact::Broadcast {
        server: ServerId(1),
        epoch: 2,
        entry: Entry::new(2, 1, 9),
    };

    #[test]
    fn fires_whether_the_missing_one_was_delivered_before_or_is_delivered_later() {
        let (a, b) = (Entry::new(1, 1, 1), Entry::new(1, 2, 2));
        let mut invariant = PrimaryIntegrity::default();
        invariant.observe(&serving(2, &[a, b])).unwrap();
        invariant.observe(&serving(1, &[a])).unwrap();
        assert!(invariant.observe(&BROADCAST).is_err());

        let mut invariant = PrimaryIntegrity::default();
        invariant.observe(&serving(1, &[a])).unwrap();
        invariant.observe(&BROADCAST).unwrap();
        invariant.observe(&serving(2, &[a])).unwrap();
        assert!(invariant.observe(&serving(2, &[a, b])).is_err());
    }
}
