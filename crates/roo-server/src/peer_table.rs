//! What is known of the way to each other server: whether it can be reached, and the newest
//! reason why it and this one do not talk. It is shown to operators; nothing decides on it.

use std::collections::BTreeMap;

use roo_peer::RefusalReason;
use roo_proto::ids::{ServerId, Time};

use crate::limits;

/// Why two servers do not talk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// In a word.
    pub reason: RefusalReason,
    /// In one line for people: what is wrong and what to do.
    pub text: String,
    /// When it was last said.
    pub at: Time,
}

/// Another server, as this one sees the way to it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sight {
    /// Whether the stream for notifications stands, and since when; `None` before the first
    /// attempt has ended.
    pub reachable: Option<(bool, Time)>,
    /// The newest refusal since it could last be reached.
    pub refusal: Option<Refusal>,
}

/// See the module.
#[derive(Debug, Default)]
pub struct PeerTable {
    /// `None` is whoever did not say who it is.
    known: BTreeMap<Option<ServerId>, Sight>,
}

impl PeerTable {
    /// The stream to a server stands, or has broken. What was refused before is over when it
    /// stands.
    pub fn reached(&mut self, peer: ServerId, reachable: bool, now: Time) {
        let sight = self.known.entry(Some(peer)).or_default();
        sight.reachable = Some((reachable, now));
        if reachable {
            sight.refusal = None;
        }
    }

    /// Somebody was refused, or has refused this server. False if there are so many of them
    /// that this one is not kept.
    pub fn refused(&mut self, peer: Option<ServerId>, refusal: Refusal) -> bool {
        if self.known.len() >= limits::REFUSED_PEERS && !self.known.contains_key(&peer) {
            return false;
        }
        self.known.entry(peer).or_default().refusal = Some(refusal);
        true
    }

    /// Every server of which something is known, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (Option<ServerId>, &Sight)> {
        self.known.iter().map(|(peer, sight)| (*peer, sight))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(text: &str) -> Refusal {
        Refusal {
            reason: RefusalReason::WrongId,
            text: text.into(),
            at: Time(1),
        }
    }

    #[test]
    fn the_newest_refusal_stands_until_the_server_is_reached() {
        let mut table = PeerTable::default();
        let peer = ServerId(2);
        table.reached(peer, false, Time(1));
        assert!(table.refused(Some(peer), refusal("older")));
        assert!(table.refused(Some(peer), refusal("newer")));
        let text = |table: &PeerTable| {
            let (_, sight) = table.iter().next()?;
            sight.refusal.as_ref().map(|refusal| refusal.text.clone())
        };
        assert_eq!(text(&table).as_deref(), Some("newer"));
        table.reached(peer, true, Time(2));
        assert_eq!(text(&table), None);
    }

    #[test]
    fn a_crowd_of_strangers_fills_no_memory() {
        let mut table = PeerTable::default();
        for id in 0..limits::REFUSED_PEERS {
            assert!(table.refused(Some(ServerId(id as i64)), refusal("")));
        }
        assert!(!table.refused(Some(ServerId(-1)), refusal("")));
        assert!(table.refused(Some(ServerId(0)), refusal("known ones change")));
    }
}
