//! I-8: the initial history of an epoch is a beginning of that of every later one, holds
//! everything delivered in earlier epochs, and begins what each server delivers in it.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use super::fork;
use crate::fact::{Entry, Fact};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct InitialHistory {
    initial: BTreeMap<u32, Vec<Entry>>,
    /// The longest that a server delivered while it served in each epoch.
    delivered: BTreeMap<u32, Vec<Entry>>,
    serving: BTreeMap<ServerId, usize>,
}

impl InitialHistory {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::Established { epoch, history, .. } => self.established(*epoch, history),
            Fact::Serving {
                server,
                epoch,
                history,
            } => self.serving(*server, *epoch, history),
            Fact::Delivered {
                server,
                epoch,
                entry,
            } => {
                let count = self.serving.entry(*server).or_default();
                let place = *count;
                *count += 1;
                let known = self.delivered.entry(*epoch).or_default();
                if known.len() <= place {
                    known.push(*entry);
                    return self.check_later(*epoch, place, *entry);
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn established(&mut self, epoch: u32, history: &[Entry]) -> Result<(), String> {
        for (earlier, initial) in self.initial.range(..epoch) {
            require_beginning(initial, history, || {
                format!("the initial history of epoch {earlier} in that of epoch {epoch}")
            })?;
        }
        for (later, initial) in self.initial.range(epoch + 1..) {
            require_beginning(history, initial, || {
                format!("the initial history of epoch {epoch} in that of epoch {later}")
            })?;
        }
        for (earlier, delivered) in self.delivered.range(..epoch) {
            require_beginning(delivered, history, || {
                format!("what was delivered in epoch {earlier} in the history of epoch {epoch}")
            })?;
        }
        self.initial.insert(epoch, history.to_vec());
        Ok(())
    }

    fn serving(&mut self, server: ServerId, epoch: u32, history: &[Entry]) -> Result<(), String> {
        self.serving.insert(server, history.len());
        match self.initial.get(&epoch) {
            Some(initial) => require_beginning(initial, history, || {
                format!(
                    "the initial history of epoch {epoch} at server {}",
                    server.0
                )
            })?,
            None => {
                return Err(format!(
                    "server {} serves in epoch {epoch}, which nobody leads",
                    server.0
                ));
            }
        }
        let known = self.delivered.entry(epoch).or_default();
        if known.len() < history.len() {
            *known = history.to_vec();
            for (later, initial) in self.initial.range(epoch + 1..) {
                require_beginning(history, initial, || {
                    format!(
                        "what server {} delivered in that of epoch {later}",
                        server.0
                    )
                })?;
            }
        }
        Ok(())
    }

    /// A late delivery in an old epoch: later primaries must have had it.
    fn check_later(&self, epoch: u32, place: usize, entry: Entry) -> Result<(), String> {
        for (later, initial) in self.initial.range(epoch + 1..) {
            if initial.get(place) != Some(&entry) {
                return Err(format!(
                    "{entry:?} is delivered in epoch {epoch}, but is not in the initial history \
                     of epoch {later}"
                ));
            }
        }
        Ok(())
    }
}

fn require_beginning(
    beginning: &[Entry],
    whole: &[Entry],
    what: impl Fn() -> String,
) -> Result<(), String> {
    if let Some(at) = fork(beginning, whole) {
        let (expected, found) = (beginning.get(at), whole.get(at));
        return Err(format!("{}: {expected:?} and {found:?}", what()));
    }
    match beginning.get(whole.len()) {
        Some(missing) => Err(format!("{}: {missing:?} is missing", what())),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Entry = Entry::new(1, 1, 1);
    const B: Entry = Entry::new(1, 2, 2);
    const C: Entry = Entry::new(1, 2, 3);

    fn established(epoch: u32, history: &[Entry]) -> Fact {
        Fact::Established {
            server: ServerId(1),
            epoch,
            history: history.to_vec(),
        }
    }

    fn serving(epoch: u32, history: &[Entry]) -> Fact {
        Fact::Serving {
            server: ServerId(2),
            epoch,
            history: history.to_vec(),
        }
    }

    #[test]
    fn fires_when_a_later_epoch_begins_with_less_or_something_else() {
        for history in [&[A][..], &[A, C], &[]] {
            let mut invariant = InitialHistory::default();
            invariant.observe(&established(1, &[A, B])).unwrap();
            assert!(invariant.observe(&established(2, history)).is_err());
        }
    }

    #[test]
    fn fires_when_a_later_epoch_lacks_what_was_delivered() {
        let mut invariant = InitialHistory::default();
        invariant.observe(&established(1, &[A])).unwrap();
        invariant.observe(&serving(1, &[A])).unwrap();
        let delivered = Fact::Delivered {
            server: ServerId(2),
            epoch: 1,
            entry: B,
        };
        let mut other = invariant.clone();
        invariant.observe(&delivered).unwrap();
        assert!(invariant.observe(&established(2, &[A])).is_err());
        other.observe(&established(2, &[A])).unwrap();
        assert!(other.observe(&delivered).is_err());
    }

    #[test]
    fn fires_when_a_server_serves_without_the_initial_history() {
        let mut invariant = InitialHistory::default();
        invariant.observe(&established(1, &[A, B])).unwrap();
        assert!(invariant.clone().observe(&serving(1, &[A])).is_err());
        assert!(invariant.clone().observe(&serving(2, &[A, B])).is_err());
        assert!(invariant.observe(&serving(1, &[A, B])).is_ok());
    }
}
