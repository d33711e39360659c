//! I-9: what servers have committed is one sequence, of which each has a beginning; and no server
//! ever serves less of it than it served before.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use super::fork;
use crate::fact::{Entry, Fact};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct CommitConsistency {
    committed: Vec<Entry>,
    /// How much of it each server has now, and the most it ever had.
    lengths: BTreeMap<ServerId, (usize, usize)>,
}

impl CommitConsistency {
    /// Everything that was ever delivered.
    #[must_use]
    pub fn committed(&self) -> &[Entry] {
        &self.committed
    }

    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Serving {
                server, history, ..
            } => self.serving(*server, history),
            Fact::Delivered { server, entry, .. } => self.deliver(*server, *entry),
            _ => Ok(()),
        }
    }

    fn serving(&mut self, server: ServerId, history: &[Entry]) -> Result<(), String> {
        if let Some(at) = fork(history, &self.committed) {
            return Err(format!(
                "server {} has {:?} where {:?} is committed",
                server.0, history[at], self.committed[at]
            ));
        }
        if let Some(new) = history.get(self.committed.len()..) {
            self.committed.extend_from_slice(new);
        }
        let (now, most) = self.lengths.entry(server).or_default();
        if history.len() < *most {
            return Err(format!(
                "server {} serves without {:?}, which it had delivered",
                server.0,
                self.committed[history.len()]
            ));
        }
        *now = history.len();
        *most = history.len();
        Ok(())
    }

    fn deliver(&mut self, server: ServerId, entry: Entry) -> Result<(), String> {
        let (now, most) = self.lengths.entry(server).or_default();
        let place = *now;
        *now += 1;
        *most = (*most).max(*now);
        match self.committed.get(place) {
            None => self.committed.push(entry),
            Some(known) if *known == entry => {}
            Some(known) => {
                return Err(format!(
                    "server {} delivered {entry:?} where {known:?} is committed",
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

    const A: Entry = Entry::new(1, 1, 1);
    const B: Entry = Entry::new(1, 2, 2);
    const C: Entry = Entry::new(1, 2, 3);

    fn serving(server: i64, history: &[Entry]) -> Fact {
        Fact::Serving {
            server: ServerId(server),
            epoch: 1,
            history: history.to_vec(),
        }
    }

    #[test]
    fn fires_when_two_servers_commit_different_things_in_one_place() {
        let mut invariant = CommitConsistency::default();
        invariant.observe(&serving(1, &[A, B])).unwrap();
        assert!(invariant.clone().observe(&serving(2, &[A, C])).is_err());
        invariant.observe(&serving(2, &[A])).unwrap();
        let delivered = Fact::Delivered {
            server: ServerId(2),
            epoch: 1,
            entry: C,
        };
        assert!(invariant.observe(&delivered).is_err());
    }

    #[test]
    fn fires_when_a_server_forgets_what_it_delivered() {
        let mut invariant = CommitConsistency::default();
        invariant.observe(&serving(1, &[A, B])).unwrap();
        assert!(invariant.observe(&serving(1, &[A])).is_err());
    }
}
