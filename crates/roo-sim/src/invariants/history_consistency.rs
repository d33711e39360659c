//! I-10: the logs of servers that serve in one epoch are beginnings of one history: that of its
//! primary.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use super::fork;
use crate::fact::{Entry, Fact};

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct HistoryConsistency {
    histories: BTreeMap<u32, Vec<Entry>>,
    /// Epoch and length of the log of each server that serves.
    serving: BTreeMap<ServerId, (u32, usize)>,
}

impl HistoryConsistency {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        match fact {
            Fact::LogIs { server, epoch, log } => {
                self.serving.insert(*server, (*epoch, log.len()));
                let history = self.histories.entry(*epoch).or_default();
                if let Some(at) = fork(log, history) {
                    return Err(format!(
                        "the log of server {} has {:?} where another one of epoch {epoch} has {:?}",
                        server.0, log[at], history[at]
                    ));
                }
                if let Some(new) = log.get(history.len()..) {
                    history.extend_from_slice(new);
                }
                Ok(())
            }
            Fact::Logged { server, entry, .. } => self.logged(*server, *entry),
            Fact::Stopped { server } => {
                self.serving.remove(server);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn logged(&mut self, server: ServerId, entry: Entry) -> Result<(), String> {
        let Some((epoch, length)) = self.serving.get_mut(&server) else {
            return Ok(());
        };
        let place = *length;
        *length += 1;
        let history = self.histories.entry(*epoch).or_default();
        match history.get(place) {
            None => history.push(entry),
            Some(known) if *known == entry => {}
            Some(known) => {
                return Err(format!(
                    "server {} logs {entry:?} where another one of epoch {epoch} has {known:?}",
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
    const C: Entry = Entry::new(1, 3, 3);

    fn log_is(server: i64, log: &[Entry]) -> Fact {
        Fact::LogIs {
            server: ServerId(server),
            epoch: 1,
            log: log.to_vec(),
        }
    }

    fn logged(server: i64, entry: Entry) -> Fact {
        Fact::Logged {
            server: ServerId(server),
            epoch: 1,
            entry,
        }
    }

    #[test]
    fn fires_when_a_log_has_a_hole_or_something_else() {
        let mut invariant = HistoryConsistency::default();
        invariant.observe(&log_is(1, &[A, B])).unwrap();
        assert!(invariant.clone().observe(&log_is(2, &[A, C])).is_err());
        invariant.observe(&log_is(2, &[A])).unwrap();
        assert!(invariant.clone().observe(&logged(2, C)).is_err());
        invariant.observe(&logged(2, B)).unwrap();
        invariant.observe(&logged(2, C)).unwrap();
        assert!(invariant.observe(&logged(1, A)).is_err());
    }
}
