//! I-1: an epoch has at most one established primary, and is established at most once.

use std::collections::BTreeMap;

use roo_proto::ids::ServerId;

use crate::fact::Fact;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct PrimaryUniqueness(BTreeMap<u32, ServerId>);

impl PrimaryUniqueness {
    /// Looks at a fact.
    ///
    /// # Errors
    /// What was seen that must not be.
    pub fn observe(&mut self, fact: &Fact) -> Result<(), String> {
        let Fact::Established { server, epoch, .. } = fact else {
            return Ok(());
        };
        match self.0.insert(*epoch, *server) {
            None => Ok(()),
            Some(first) => Err(format!(
                "epoch {epoch} is led by server {}, and was by server {}",
                server.0, first.0
            )),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fires_when_an_epoch_is_established_twice() {
        let established = |server, epoch| Fact::Established {
            server: ServerId(server),
            epoch,
            history: Vec::new(),
        };
        let mut invariant = PrimaryUniqueness::default();
        assert!(invariant.observe(&established(1, 1)).is_ok());
        assert!(invariant.observe(&established(1, 2)).is_ok());
        assert!(invariant.observe(&established(2, 2)).is_err());
    }
}
