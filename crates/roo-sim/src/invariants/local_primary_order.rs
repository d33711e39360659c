//! I-5: what one primary broadcasts is delivered in the order in which it broadcast it, without
//! holes.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use crate::fact::{Entry, Fact, ZxidMap};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct LocalPrimaryOrder {
    /// Place of each transaction among those of its epoch.
    place: ZxidMap<u64>,
    count: BTreeMap<u32, u64>,
    /// Epoch and place of what each server delivered last.
    last: BTreeMap<ServerId, (u32, u64)>,
}

impl LocalPrimaryOrder {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Broadcast { epoch, entry, .. } => {
                let count = self.count.entry(*epoch).or_default();
                *count += 1;
                self.place.insert(entry.zxid, *count);
                Ok(())
            }
            Fact::Serving {
                server, history, ..
            } => {
                self.last.remove(server);
                history
                    .iter()
                    .try_for_each(|entry| self.deliver(*server, *entry))
            }
            Fact::Delivered { server, entry, .. } => self.deliver(*server, *entry),
            _ => Ok(()),
        }
    }

    fn deliver(&mut self, server: ServerId, entry: Entry) -> Result<(), String> {
        let epoch = entry.zxid.epoch();
        let place = self.place.get(&entry.zxid).copied().unwrap_or(0);
        let expected = match self.last.insert(server, (epoch, place)) {
            Some((last, place)) if last == epoch => place + 1,
            _ => 1,
        };
        if place == expected {
            return Ok(());
        }
        Err(format!(
            "server {} delivered {entry:?}, broadcast as number {place} of its epoch, where \
             number {expected} was next",
            server.0
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn invariant() -> LocalPrimaryOrder {
        let mut invariant = LocalPrimaryOrder::default();
        for counter in 1..4 {
            let fact = Fact::Broadcast {
                server: ServerId(1),
                epoch: 1,
                entry: Entry::new(1, counter, 0),
            };
            invariant.observe(&fact).unwrap();
        }
        invariant
    }

    fn serving(counters: &[u32]) -> Fact {
        Fact::Serving {
            server: ServerId(2),
            epoch: 1,
            history: counters.iter().map(|c| Entry::new(1, *c, 0)).collect(),
        }
    }

    #[test]
    fn fires_on_another_order_and_on_a_hole() {
        assert!(invariant().observe(&serving(&[1, 2, 3])).is_ok());
        assert!(invariant().observe(&serving(&[2, 1, 3])).is_err());
        assert!(invariant().observe(&serving(&[1, 3])).is_err());
        assert!(invariant().observe(&serving(&[2, 3])).is_err());
    }
}
