//! I-2: whatever is delivered was broadcast by a primary, unchanged, and no server delivers
//! anything twice.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use crate::fact::{Entry, EntrySet, Fact, ZxidMap};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Integrity {
    broadcast: ZxidMap<Vec<u64>>,
    delivered: BTreeMap<ServerId, EntrySet>,
}

impl Integrity {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Broadcast { entry, .. } => {
                self.broadcast.entry(entry.zxid).or_default().push(entry.id);
                Ok(())
            }
            Fact::Serving {
                server, history, ..
            } => {
                self.delivered.insert(*server, EntrySet::default());
                history
                    .iter()
                    .try_for_each(|entry| self.deliver(*server, *entry))
            }
            Fact::Delivered { server, entry, .. } => self.deliver(*server, *entry),
            _ => Ok(()),
        }
    }

    fn deliver(&mut self, server: ServerId, entry: Entry) -> Result<(), String> {
        let known = self.broadcast.get(&entry.zxid);
        if !known.is_some_and(|ids| ids.contains(&entry.id)) {
            return Err(format!(
                "server {} delivered {entry:?}, which nobody broadcast",
                server.0
            ));
        }
        if self.delivered.entry(server).or_default().insert(entry) {
            Ok(())
        } else {
            Err(format!("server {} delivered {entry:?} twice", server.0))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ME: ServerId = ServerId(1);

    fn delivered(entry: Entry) -> Fact {
        Fact::Delivered {
            server: ME,
            epoch: 1,
            entry,
        }
    }

    fn after_broadcast() -> Integrity {
        let mut invariant = Integrity::default();
        let fact = Fact::Broadcast {
            server: ME,
            epoch: 1,
            entry: Entry::new(1, 1, 7),
        };
        invariant.observe(&fact).unwrap();
        invariant
    }

    #[test]
    fn fires_when_nobody_broadcast_what_is_delivered() {
        assert!(
            after_broadcast()
                .observe(&delivered(Entry::new(1, 1, 7)))
                .is_ok()
        );
        assert!(
            after_broadcast()
                .observe(&delivered(Entry::new(1, 1, 8)))
                .is_err()
        );
        assert!(
            after_broadcast()
                .observe(&delivered(Entry::new(1, 2, 7)))
                .is_err()
        );
    }

    #[test]
    fn fires_when_something_is_delivered_twice() {
        let mut invariant = after_broadcast();
        invariant.observe(&delivered(Entry::new(1, 1, 7))).unwrap();
        assert!(invariant.observe(&delivered(Entry::new(1, 1, 7))).is_err());
    }
}
