//! I-4: if one server delivers a before b, every server that delivers b has delivered a before it.
//! Servers begin with nothing, so it is enough that the transaction in front of each is always
//! the same.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use crate::fact::{Entry, EntryMap, Fact};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct TotalOrder {
    before: EntryMap<Option<Entry>>,
    last: BTreeMap<ServerId, Option<Entry>>,
}

impl TotalOrder {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Serving {
                server, history, ..
            } => {
                self.last.insert(*server, None);
                history
                    .iter()
                    .try_for_each(|entry| self.deliver(*server, *entry))
            }
            Fact::Delivered { server, entry, .. } => self.deliver(*server, *entry),
            _ => Ok(()),
        }
    }

    fn deliver(&mut self, server: ServerId, entry: Entry) -> Result<(), String> {
        let before = self.last.insert(server, Some(entry)).flatten();
        let expected = *self.before.entry(entry).or_insert(before);
        if expected == before {
            return Ok(());
        }
        Err(format!(
            "server {} delivered {entry:?} behind {before:?}, another one behind {expected:?}",
            server.0
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_two_servers_deliver_in_different_orders() {
        let serving = |server, ids: [u64; 3]| Fact::Serving {
            server: ServerId(server),
            epoch: 1,
            history: ids.iter().map(|id| Entry::new(1, 1, *id)).collect(),
        };
        let mut invariant = TotalOrder::default();
        invariant.observe(&serving(1, [1, 2, 3])).unwrap();
        invariant.observe(&serving(2, [1, 2, 3])).unwrap();
        assert!(invariant.observe(&serving(3, [1, 3, 2])).is_err());
    }
}
