//! What the checkers see of a run: who led, who proposed, who applied what, and what is safe on
//! which disk. Facts are reported by the simulator, not by the code under test.

use std::collections::{HashMap, HashSet};
use std::hash::{BuildHasherDefault, Hasher};

use std::sync::Arc;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, Zxid};

/// A set of transactions.
pub type EntrySet = HashSet<Entry, BuildHasherDefault<Mixer>>;
/// Something about each of some transactions.
pub type EntryMap<T> = HashMap<Entry, T, BuildHasherDefault<Mixer>>;
/// Something about each of some places.
pub type ZxidMap<T> = HashMap<Zxid, T, BuildHasherDefault<Mixer>>;

/// A fast hash of numbers that nobody chooses to collide.
#[derive(Clone, Debug, Default)]
pub struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0.rotate_left(5) ^ value).wrapping_mul(0x517C_C1B7_2722_0A95);
    }

    fn write_i64(&mut self, value: i64) {
        self.write_u64(value.cast_unsigned());
    }
}

/// A transaction: its place and its content, which is unique.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Entry {
    /// Its place.
    pub zxid: Zxid,
    /// Stands for its content.
    pub id: u64,
}

impl Entry {
    /// The transaction with this epoch, counter and content.
    #[must_use]
    pub const fn new(epoch: u32, counter: u32, id: u64) -> Self {
        Self {
            zxid: Zxid::new(epoch, counter),
            id,
        }
    }
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fact {
    /// A server became the primary of an epoch, with this initial history.
    Established {
        /// It.
        server: ServerId,
        /// The epoch.
        epoch: u32,
        /// Everything it holds.
        history: Vec<Entry>,
    },
    /// A primary gave a transaction its place.
    Broadcast {
        /// The primary.
        server: ServerId,
        /// Its epoch.
        epoch: u32,
        /// The transaction.
        entry: Entry,
    },
    /// A server begins to serve in an epoch. Everything in its state counts as delivered.
    Serving {
        /// It.
        server: ServerId,
        /// The epoch.
        epoch: u32,
        /// Its state.
        history: Vec<Entry>,
    },
    /// A serving server applied one more.
    Delivered {
        /// It.
        server: ServerId,
        /// The epoch in which it serves.
        epoch: u32,
        /// What it applied.
        entry: Entry,
    },
    /// A server that serves in an epoch has this log, from the beginning.
    LogIs {
        /// It.
        server: ServerId,
        /// The epoch.
        epoch: u32,
        /// The log.
        log: Vec<Entry>,
    },
    /// It appended one more.
    Logged {
        /// It.
        server: ServerId,
        /// The epoch.
        epoch: u32,
        /// The record.
        entry: Entry,
    },
    /// A voter's disk holds exactly this, and would after a crash.
    DurableIs {
        /// Whose.
        server: ServerId,
        /// All of it.
        history: Vec<Entry>,
    },
    /// A voter's disk holds one more.
    Durable {
        /// Whose.
        server: ServerId,
        /// What.
        entry: Entry,
    },
    /// A primary gave a change of the ensemble its place.
    Reconfigures {
        /// The transaction.
        entry: Entry,
        /// The ensemble that was in force.
        before: Arc<Ensemble>,
        /// The one that will be.
        after: Arc<Ensemble>,
    },
    /// An ensemble is in force at a server, from its start or from now on.
    InForce {
        /// The server.
        server: ServerId,
        /// Which of its lives this is.
        life: u64,
        /// The ensemble.
        ensemble: Arc<Ensemble>,
    },
    /// A server leads, and these ensembles count for it; it does not where there is none.
    Leads {
        /// It.
        server: ServerId,
        /// Its epoch.
        epoch: u32,
        /// In force, and proposed.
        ensembles: Vec<Arc<Ensemble>>,
    },
    /// A server's disk says that it follows nobody of an earlier epoch.
    Promised {
        /// It.
        server: ServerId,
        /// The epoch.
        epoch: u32,
    },
    /// A server does not serve any more.
    Stopped {
        /// It.
        server: ServerId,
    },
}
