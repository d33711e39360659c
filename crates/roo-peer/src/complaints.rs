//! Refusals are said once, not at every attempt: to the log and to the server's status alike.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use roo_proto::ids::ServerId;

use crate::parameters::{COMPLAIN_AGAIN, MAX_COMPLAINTS};
use crate::surface::{PeerEvent, PeerEvents, RefusalReason};

pub(crate) struct Complaints {
    events: Arc<dyn PeerEvents>,
    said: Mutex<BTreeMap<(Whom, RefusalReason), Instant>>,
}

/// Whom a complaint is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Whom {
    /// One that this server dials.
    Server(ServerId),
    /// One that has dialled this server.
    Caller(ServerId),
    /// Two that both say to be this one.
    Rivals(ServerId),
    /// The host of a connection that did not say who it is.
    Host(String),
}

impl Complaints {
    pub(crate) fn new(events: Arc<dyn PeerEvents>) -> Self {
        Self {
            events,
            said: Mutex::default(),
        }
    }

    /// Logs and reports, unless it did so lately.
    pub(crate) fn say(&self, whom: &Whom, reason: RefusalReason, text: String) {
        let now = Instant::now();
        {
            let mut said = self.said.lock();
            said.retain(|_, at| now.duration_since(*at) < COMPLAIN_AGAIN);
            // A flood of different liars shuts the log, not the server.
            if said.len() >= MAX_COMPLAINTS || said.contains_key(&(whom.clone(), reason)) {
                return;
            }
            said.insert((whom.clone(), reason), now);
        }
        tracing::warn!("{text}");
        let peer = match whom {
            Whom::Server(id) | Whom::Caller(id) | Whom::Rivals(id) => Some(*id),
            Whom::Host(_) => None,
        };
        self.events
            .deliver(PeerEvent::Refused { peer, reason, text });
    }

    /// It is understood: whatever goes wrong from here on is news. What is wrong in the other
    /// direction is not over by that.
    pub(crate) fn forget(&self, understood: &Whom) {
        let mut said = self.said.lock();
        said.retain(|(whom, _), _| whom != understood);
    }
}
