//! I-6: what an earlier primary broadcast is delivered before what a later one broadcast.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use crate::fact::{Entry, Fact};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct GlobalPrimaryOrder(BTreeMap<ServerId, u32>);

impl GlobalPrimaryOrder {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Serving {
                server, history, ..
            } => {
                self.0.remove(server);
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
        match self.0.insert(server, epoch) {
            Some(last) if last > epoch => Err(format!(
                "server {} delivered {entry:?} behind one of epoch {last}",
                server.0
            )),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_an_earlier_epoch_comes_behind_a_later_one() {
        let serving = |epochs: [u32; 3]| Fact::Serving {
            server: ServerId(1),
            epoch: 3,
            history: epochs.iter().map(|e| Entry::new(*e, 1, 0)).collect(),
        };
        let mut invariant = GlobalPrimaryOrder::default();
        invariant.observe(&serving([1, 2, 3])).unwrap();
        assert!(invariant.observe(&serving([1, 3, 2])).is_err());
    }
}
