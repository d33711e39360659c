//! What a user's program has besides its client: a clock to sleep by, chance, and word of the end.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::rng::Rng;

/// See the module.
#[derive(Debug)]
pub struct Desk {
    inner: Mutex<Inner>,
    is_ending: AtomicBool,
    is_satisfied: AtomicBool,
}

#[derive(Debug)]
struct Inner {
    rng: Rng,
    now: u64,
    next: u64,
    timers: BTreeMap<(u64, u64), Waker>,
}

impl Desk {
    /// At a moment in microseconds, with chance of its own.
    #[must_use]
    pub fn new(rng: Rng, now: u64) -> Self {
        let inner = Inner {
            rng,
            now,
            next: 0,
            timers: BTreeMap::new(),
        };
        Self {
            inner: Mutex::new(inner),
            is_ending: AtomicBool::new(false),
            is_satisfied: AtomicBool::new(false),
        }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True `per_mille` times in a thousand.
    #[must_use]
    pub fn chance(&self, per_mille: u64) -> bool {
        self.inner().rng.chance(per_mille)
    }

    /// A number below `n`.
    #[must_use]
    pub fn below(&self, n: u64) -> u64 {
        self.inner().rng.below(n)
    }

    /// Sleeps for some time up to so many microseconds.
    pub fn nap(self: &Arc<Self>, most_us: u64) -> Sleep {
        let mut inner = self.inner();
        let at = inner.now + 1 + inner.rng.below(most_us);
        Sleep {
            desk: Arc::clone(self),
            at,
            key: None,
        }
    }

    /// Whether the program is to come to its end.
    #[must_use]
    pub fn is_ending(&self) -> bool {
        self.is_ending.load(Ordering::Relaxed)
    }

    /// Lets the program come to its end.
    pub fn end(&self) {
        self.is_ending.store(true, Ordering::Relaxed);
    }

    /// Whether the program has done all that it was to do.
    #[must_use]
    pub fn is_satisfied(&self) -> bool {
        self.is_satisfied.load(Ordering::Relaxed)
    }

    /// The program has done all that it was to do.
    pub fn satisfy(&self) {
        self.is_satisfied.store(true, Ordering::Relaxed);
    }

    /// It is that late: wakes who has slept enough.
    pub(super) fn wake(&self, now: u64) {
        let mut inner = self.inner();
        inner.now = now;
        let later = inner.timers.split_off(&(now + 1, 0));
        let due = std::mem::replace(&mut inner.timers, later);
        drop(inner);
        due.into_values().for_each(Waker::wake);
    }

    /// When the next one has slept enough.
    pub(super) fn next(&self) -> Option<u64> {
        let inner = self.inner();
        inner.timers.first_key_value().map(|((at, _), _)| *at)
    }
}

/// Ready after some time.
#[derive(Debug)]
pub struct Sleep {
    desk: Arc<Desk>,
    at: u64,
    key: Option<(u64, u64)>,
}

impl Future for Sleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let at = self.at;
        let known = self.key;
        let mut inner = self.desk.inner();
        if inner.now >= at {
            return Poll::Ready(());
        }
        inner.next += 1;
        let key = known.unwrap_or((at, inner.next));
        inner.timers.insert(key, cx.waker().clone());
        drop(inner);
        self.key = Some(key);
        Poll::Pending
    }
}

impl Drop for Sleep {
    fn drop(&mut self) {
        if let Some(key) = self.key {
            self.desk.inner().timers.remove(&key);
        }
    }
}
