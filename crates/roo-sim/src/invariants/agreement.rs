//! I-3: if one server delivers a and another delivers b, one of them delivers both. What a server
//! delivered before it crashed counts on: a client may have seen it.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use crate::fact::{Entry, EntrySet, Fact};

/// Who delivered: a server as it is now, or the one that had the most when it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Who {
    Now(ServerId),
    Stopped,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Agreement {
    delivered: BTreeMap<Who, EntrySet>,
    /// How many are in both sets, by pair.
    common: BTreeMap<(Who, Who), usize>,
}

impl Agreement {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Serving {
                server, history, ..
            } => {
                self.retire(*server);
                self.put(Who::Now(*server), history.iter().copied().collect());
                self.compare(Who::Now(*server))
            }
            Fact::Delivered { server, entry, .. } => {
                self.deliver(Who::Now(*server), *entry);
                self.compare(Who::Now(*server))
            }
            Fact::Stopped { server } => {
                self.retire(*server);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn deliver(&mut self, me: Who, entry: Entry) {
        if !self.delivered.entry(me).or_default().insert(entry) {
            return;
        }
        for (other, set) in &self.delivered {
            if *other != me && set.contains(&entry) {
                *self.common.entry((me, *other)).or_default() += 1;
                *self.common.entry((*other, me)).or_default() += 1;
            }
        }
    }

    fn put(&mut self, who: Who, set: EntrySet) {
        self.common.retain(|(a, b), _| *a != who && *b != who);
        for (other, theirs) in &self.delivered {
            if *other != who {
                let count = set.intersection(theirs).count();
                self.common.insert((who, *other), count);
                self.common.insert((*other, who), count);
            }
        }
        self.delivered.insert(who, set);
    }

    fn retire(&mut self, server: ServerId) {
        let who = Who::Now(server);
        self.common.retain(|(a, b), _| *a != who && *b != who);
        let Some(set) = self.delivered.remove(&who) else {
            return;
        };
        let most = self.delivered.get(&Who::Stopped).map_or(0, EntrySet::len);
        if set.len() > most {
            self.put(Who::Stopped, set);
        }
    }

    fn compare(&self, me: Who) -> Result<(), String> {
        let mine = self.delivered.get(&me).map_or(0, EntrySet::len);
        for (other, set) in &self.delivered {
            let common = self.common.get(&(me, *other)).copied().unwrap_or(0);
            if *other != me && common < mine.min(set.len()) {
                return Err(format!(
                    "{me:?} and {other:?} each delivered what the other did not: {mine} and {} \
                     transactions, of which {common} are the same",
                    set.len()
                ));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn serving(server: i64, ids: &[u64]) -> Fact {
        Fact::Serving {
            server: ServerId(server),
            epoch: 1,
            history: ids.iter().map(|id| Entry::new(1, 1, *id)).collect(),
        }
    }

    fn delivered(server: i64, id: u64) -> Fact {
        Fact::Delivered {
            server: ServerId(server),
            epoch: 1,
            entry: Entry::new(1, 1, id),
        }
    }

    #[test]
    fn fires_when_two_servers_each_lack_what_the_other_delivered() {
        let mut invariant = Agreement::default();
        invariant.observe(&serving(1, &[1, 2])).unwrap();
        invariant.observe(&serving(2, &[1])).unwrap();
        invariant.observe(&delivered(2, 2)).unwrap();
        invariant.observe(&delivered(1, 3)).unwrap();
        assert!(invariant.observe(&delivered(2, 4)).is_err());
    }

    #[test]
    fn fires_for_what_was_delivered_before_a_crash() {
        let mut invariant = Agreement::default();
        let stopped = Fact::Stopped {
            server: ServerId(1),
        };
        invariant.observe(&serving(1, &[1, 2])).unwrap();
        invariant.observe(&stopped).unwrap();
        assert!(invariant.observe(&serving(1, &[1, 3])).is_err());
    }
}
