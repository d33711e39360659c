//! Coordination made of the public operations: locks, elections, counters and the like.
//!
//! | recipe | what for | Curator's | kazoo's |
//! |---|---|---|---|
//! | [`Lock`] | one at a time, with a fencing token | `InterProcessMutex` | `Lock` |
//! | [`RwLock`] | many readers or one writer | `InterProcessReadWriteLock` | `ReadLock`, `WriteLock` |
//! | [`Semaphore`] | so many at a time | `InterProcessSemaphoreV2` | `Semaphore` |
//! | [`Latch`] | a leader until it ends | `LeaderLatch` | `Election` |
//! | [`Candidate`] | leaders that hand over | `LeaderSelector` | `Election` |
//! | [`Barrier`] | a gate for all | `DistributedBarrier` | `Barrier` |
//! | [`DoubleBarrier`] | to begin and end together | `DistributedDoubleBarrier` | `DoubleBarrier` |
//! | [`Counter`] | a number, changed exactly once | `DistributedAtomicLong` | `Counter` |
//! | [`Queue`] | items, none lost | `SimpleDistributedQueue`, `DistributedQueue` | `Queue`, `LockingQueue` |
//! | [`Group`] | who is there | `GroupMember` | |
//! | [`ConfigCache`] | a tree in memory, whole at every moment | `CuratorCache` | |
//! | [`ConfigWatcher`] | one node, followed | `NodeCache` | `DataWatch` |
//! | [`Ids`] | numbers that nobody gets twice | | |
//!
//! Their nodes are called and filled as those of Curator 5 and kazoo 2 are, so that a process of
//! ours shares a lock with one in Java or Python; each recipe says how.
//!
//! # What they have in common
//! - *One session*: a recipe lives in the session of its [`crate::Client`]. When that is lost, so is
//!   what was held in it, and calls fail with [`crate::Error::session_lost`]: connect a new client.
//! - *Disconnection* ends nothing by itself. Calls go on when there is a connection again.
//! - *Lost replies* are found out: what was done is not done twice.
//! - *Dropping* a future gives up what it was about, also what the servers learn of only later. So a
//!   time limit is put around any call by whatever timer the program has.
//! - *No clock, no runtime*: they run wherever futures are polled.

mod barrier;
mod config_cache;
mod config_watcher;
mod counter;
mod either;
mod election;
mod ids;
mod line;
mod lock;
mod membership;
mod names;
mod outcome;
mod queue;
mod receipts;
mod rw_lock;
mod semaphore;

pub use barrier::{Barrier, DoubleBarrier, Entered};
pub use config_cache::{CacheLimits, Change, ChangeKind, ConfigCache, Tree};
pub use config_watcher::ConfigWatcher;
pub use counter::{Counter, Encoding};
pub use election::{Candidate, InDoubt, Latch, Leadership, Reign};
pub use ids::Ids;
pub use line::{Contender, ContenderOptions, Lost};
pub use lock::{Lock, LockGuard};
pub use membership::{Group, Member, Membership};
pub use names::Layout;
pub use queue::{Item, Queue, QueueLayout};
pub use rw_lock::RwLock;
pub use semaphore::{Lease, Semaphore};
