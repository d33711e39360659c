//! Whether a sync that could begin waits a little, so that clients who have just been answered
//! share it with those who wait already.
//!
//! Without that, a few clients fall into two halves: while one is synced the other comes, misses
//! it, and waits for two syncs. Whoever is answered asks again within some 50 us as a rule, which
//! is less than a sync; so one sync for both is the shorter way. A disk that is quicker than that
//! has no such halves.
//! Where that rule does not hold, it is soon asked less and less often whether it does.

use std::time::{Duration, Instant};

use crate::limits;

/// After so many failures in a row as many syncs are not delayed as two to this power.
const MOST_FAILURES: u32 = 6;

/// See the module. All of it counts records; a client has one at a time, or several.
#[derive(Debug, Default)]
pub struct Gather {
    /// Those of the last sync.
    synced: usize,
    /// Those that the next one will have if all who were answered ask again.
    expected: usize,
    /// Since when the next one waits for them.
    since: Option<Instant>,
    /// It did so in vain so many times in a row.
    failures: u32,
    /// So many syncs more do not wait.
    prompt: u32,
}

impl Gather {
    /// The records of the last sync have been answered while others waited; whether there is time
    /// before the next sync begins, and several clients to be told.
    pub const fn answered(&mut self, waiting: usize) -> bool {
        let all = self.synced + waiting;
        self.expected = if all > limits::GATHER_RECORDS { 0 } else { all };
        let waits = self.prompt == 0 && waiting < self.expected;
        self.synced > 1 && (waiting == 0 || waits)
    }

    /// How long to wait for more than these, if at all.
    pub fn patience(&mut self, waiting: usize, now: Instant) -> Option<Duration> {
        if waiting >= self.expected || self.prompt > 0 {
            if self.since.is_some() {
                self.failures = 0;
            }
            return None;
        }
        let since = *self.since.get_or_insert(now);
        let left = limits::GATHER.saturating_sub(now - since);
        if left.is_zero() {
            self.failures = (self.failures + 1).min(MOST_FAILURES);
            self.prompt = 1 << self.failures;
            return None;
        }
        Some(left)
    }

    /// So many were synced here in this time; 0 if others do it, or if there was hardly anything to
    /// wait for.
    pub fn synced(&mut self, records: usize, took: Duration) {
        self.synced = if took < limits::GATHER { 0 } else { records };
        self.expected = 0;
        self.since = None;
        self.prompt = self.prompt.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One sync of `waiting` records after one of `synced`, with `late` more after `delay`; how
    /// long it waited, and for how many.
    fn next(
        gather: &mut Gather,
        synced: usize,
        waiting: usize,
        late: usize,
        delay: Duration,
    ) -> (Duration, usize) {
        let start = Instant::now();
        gather.synced(synced, SYNC);
        gather.answered(waiting);
        let Some(patience) = gather.patience(waiting, start) else {
            return (Duration::ZERO, waiting);
        };
        let waited = patience.min(delay);
        let came = if delay < patience { late } else { 0 };
        assert_eq!(gather.patience(waiting + came, start + waited), None);
        (waited, waiting + came)
    }

    const SYNC: Duration = Duration::from_micros(130);
    const SOON: Duration = Duration::from_micros(20);
    const NEVER: Duration = Duration::MAX;

    #[test]
    fn two_halves_become_one_and_stay_so() {
        let mut gather = Gather::default();
        assert_eq!(next(&mut gather, 4, 4, 4, SOON), (SOON, 8));
        // Nobody waits when they are answered, and the first of them for the others.
        gather.synced(8, SYNC);
        assert!(gather.answered(0), "there is time");
        let now = Instant::now();
        assert_eq!(gather.patience(3, now), Some(limits::GATHER));
        assert_eq!(gather.patience(8, now + SOON), None);
    }

    #[test]
    fn one_client_is_never_waited_for() {
        let mut gather = Gather::default();
        for _ in 0..3 {
            gather.synced(1, SYNC);
            assert!(!gather.answered(0));
            assert_eq!(gather.patience(1, Instant::now()), None);
        }
    }

    #[test]
    fn many_clients_make_groups_of_their_own() {
        let mut gather = Gather::default();
        let half = limits::GATHER_RECORDS / 2 + 1;
        assert_eq!(
            next(&mut gather, half, half, half, SOON),
            (Duration::ZERO, half)
        );
        gather.synced(half, SYNC);
        assert!(!gather.answered(half));
    }

    #[test]
    fn a_disk_that_is_as_quick_as_clients_is_not_spared() {
        let mut gather = Gather::default();
        gather.synced(4, Duration::from_micros(20));
        assert!(!gather.answered(4));
        assert_eq!(gather.patience(4, Instant::now()), None);
    }

    #[test]
    fn those_who_do_not_come_back_are_waited_for_ever_less_often() {
        let mut gather = Gather::default();
        let waits: Vec<_> = (0..400)
            .map(|_| next(&mut gather, 2, 1, 2, NEVER).0 > Duration::ZERO)
            .collect();
        let at: Vec<_> = (0..400).filter(|i| waits[*i]).collect();
        assert_eq!(at, [0, 2, 6, 14, 30, 62, 126, 190, 254, 318, 382]);
        // Once they do, they are again.
        let mut waited = 0;
        for _ in 0..100 {
            waited += u32::from(next(&mut gather, 2, 1, 2, SOON).0 > Duration::ZERO);
        }
        assert!(waited > 40, "{waited}");
    }

    #[test]
    fn a_failure_is_told_from_who_waits_how_long() {
        let mut gather = Gather::default();
        gather.synced(2, SYNC);
        assert!(gather.answered(1));
        let start = Instant::now();
        assert_eq!(gather.patience(1, start), Some(limits::GATHER));
        let left = limits::GATHER.saturating_sub(SOON);
        assert_eq!(gather.patience(2, start + SOON), Some(left));
        assert_eq!(gather.patience(2, start + limits::GATHER), None);
        gather.synced(2, SYNC);
        assert!(!gather.answered(1), "the next one goes at once");
    }
}
