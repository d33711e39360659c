//! Known bugs of ZooKeeper that can be put back, to prove that the tests see them.
//!
//! Only with the feature `rebreak` can a server have one; without it `Rebreak::has` is false at
//! compile time and every switch is gone.

/// A bug, by its number in ZooKeeper's tracker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bug {
    /// ZOOKEEPER-2355: at DIFF the learner counts everything up to the packet's zxid as received.
    /// If the link breaks before it is, the records are missing for ever.
    Zk2355,
    /// ZOOKEEPER-3023: at UPTODATE the learner serves before it has applied what the
    /// synchronisation committed.
    Zk3023,
    /// ZOOKEEPER-3104: behind a snapshot the leader sends NEWLEADER before the records that the
    /// snapshot does not hold, so that a learner adopts the epoch without them.
    Zk3104,
    /// ZOOKEEPER-3642: a snapshot counts as received when it begins. If it is interrupted, the
    /// learner's history is a fiction.
    Zk3642,
    /// ZOOKEEPER-3911: the learner holds what it gets during the synchronisation in memory, and
    /// acknowledges NEWLEADER; it logs it at UPTODATE.
    Zk3911,
    /// ZOOKEEPER-4394: a COMMIT between NEWLEADER and UPTODATE makes the learner give up.
    Zk4394,
    /// ZOOKEEPER-4643: currentEpoch is written before the history that belongs to it is durable.
    Zk4643,
    /// ZOOKEEPER-4646: NEWLEADER is acknowledged before the history is durable.
    Zk4646,
    /// ZOOKEEPER-4685: a proposal that came behind NEWLEADER may be acknowledged before it.
    Zk4685,
    /// ZOOKEEPER-4712: a server goes to the election before what it has appended is durable, and
    /// counts it as its history.
    Zk4712,
    /// ZOOKEEPER-4785: NEWLEADER is acknowledged and currentEpoch written before the history is
    /// durable.
    Zk4785,
    /// ZOOKEEPER-4925: what came during the synchronisation is missing in memory, so that this
    /// server sends a history with a hole when it leads; and no learner looks for holes.
    Zk4925,
    /// ZOOKEEPER-5094: a truncation that is interrupted is forgotten: memory stays ahead of the
    /// log.
    Zk5094,
}

/// The bug that a server has, if any.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rebreak {
    #[cfg(feature = "rebreak")]
    bug: Option<Bug>,
}

impl Rebreak {
    /// A server with this bug.
    #[cfg(feature = "rebreak")]
    #[must_use]
    pub const fn with(bug: Bug) -> Self {
        Self { bug: Some(bug) }
    }

    /// Whether the server has this bug.
    #[cfg(feature = "rebreak")]
    pub(crate) fn has(self, bug: Bug) -> bool {
        self.bug == Some(bug)
    }

    /// It has none.
    #[cfg(not(feature = "rebreak"))]
    #[allow(clippy::unused_self)]
    pub(crate) const fn has(self, _bug: Bug) -> bool {
        false
    }
}
