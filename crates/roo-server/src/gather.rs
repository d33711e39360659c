//! Whether a sync that could begin waits a little, so that clients who have just been answered
//! share it with those who wait already.
//!
//! Without that, a few clients fall into two halves: while one is synced the other comes, misses
//! it, and waits for two syncs. Whoever is answered asks again within some 100 us as a rule, which
//! is less than a sync of most disks; so one sync for both is the shorter way (ADR 0022).
//! Where that rule does not hold, it is soon asked less and less often whether it does.

use std::time::{Duration, Instant};

use crate::limits;

/// After so many failures in a row as many syncs are not delayed as two to this power.
const MOST_FAILURES: u32 = 6;

/// See the module. All of it counts records; a client has one at a time, or several.
#[derive(Debug, Default)]
pub struct Gather {
    /// Those of the last sync, until they are answered.
    synced: usize,
    /// Those that the next one will have if all who were answered ask again.
    expected: usize,
    /// Until when it may wait for them.
    until: Option<Instant>,
    /// When they were answered, until somebody waits again.
    answered: Option<Instant>,
    /// It waits.
    waits: bool,
    /// It did so in vain so many times in a row.
    failures: u32,
    /// So many syncs more do not wait.
    prompt: u32,
}

impl Gather {
    /// The records of the last sync have been answered while others waited; whether there is time
    /// before the next sync begins, and several clients to be told.
    pub fn answered(&mut self, waiting: usize, now: Instant) -> bool {
        let synced = std::mem::take(&mut self.synced);
        if synced == 0 {
            return false;
        }
        let all = synced + waiting;
        self.expected = if all > limits::GATHER_RECORDS { 0 } else { all };
        self.until = Some(now + limits::GATHER);
        self.answered = Some(now);
        let waits = self.prompt == 0 && waiting < self.expected;
        synced > 1 && (waiting == 0 || waits)
    }

    /// How long to wait for more than these, if at all.
    pub fn patience(&mut self, waiting: usize, now: Instant) -> Option<Duration> {
        let mut until = self.until?;
        if let Some(answered) = self.answered.take()
            && now < answered + limits::GATHER_RECENT
        {
            until = until.max(now + limits::GATHER_MORE);
            self.until = Some(until);
        }
        if waiting >= self.expected || self.prompt > 0 {
            if self.waits {
                self.failures = 0;
            }
            return None;
        }
        let left = until.saturating_duration_since(now);
        if left.is_zero() {
            // Whoever asks later than that was not waited for.
            if self.waits {
                self.failures = (self.failures + 1).min(MOST_FAILURES);
                self.prompt = 1 << self.failures;
            }
            return None;
        }
        self.waits = true;
        Some(left)
    }

    /// So many were synced here in this time; 0 if others do it.
    pub fn synced(&mut self, records: usize, took: Duration) {
        // There was hardly anything to wait for.
        let is_quick = took < limits::GATHER_SYNC;
        self.synced = if is_quick { 0 } else { records };
        self.expected = 0;
        self.until = None;
        self.waits = false;
        self.prompt = self.prompt.saturating_sub(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYNC: Duration = Duration::from_micros(130);
    const SOON: Duration = Duration::from_micros(20);
    const NEVER: Duration = Duration::MAX;

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
        gather.answered(waiting, start);
        let Some(patience) = gather.patience(waiting, start) else {
            return (Duration::ZERO, waiting);
        };
        let waited = patience.min(delay);
        let came = if delay < patience { late } else { 0 };
        assert_eq!(gather.patience(waiting + came, start + waited), None);
        (waited, waiting + came)
    }

    #[test]
    fn two_halves_become_one_and_stay_so() {
        let mut gather = Gather::default();
        assert_eq!(next(&mut gather, 4, 4, 4, SOON), (SOON, 8));
        // Nobody waits when they are answered, and the first of them for the others.
        gather.synced(8, SYNC);
        let now = Instant::now();
        assert!(gather.answered(0, now), "there is time");
        let left = limits::GATHER.saturating_sub(SOON);
        assert_eq!(gather.patience(3, now + SOON), Some(left));
        assert_eq!(
            gather.patience(5, now + 3 * SOON / 2),
            Some(left - SOON / 2)
        );
        assert_eq!(gather.patience(8, now + 2 * SOON), None);
    }

    #[test]
    fn whoever_is_back_late_is_followed_by_others() {
        let mut gather = Gather::default();
        let now = Instant::now();
        gather.synced(8, SYNC);
        gather.answered(0, now);
        let first = now + limits::GATHER_RECENT.saturating_sub(SOON);
        assert_eq!(gather.patience(1, first), Some(limits::GATHER_MORE));
        let left = limits::GATHER_MORE - SOON;
        assert_eq!(gather.patience(2, first + SOON), Some(left));
        assert_eq!(gather.patience(2, first + limits::GATHER_MORE), None);
    }

    #[test]
    fn one_client_is_never_waited_for() {
        let mut gather = Gather::default();
        for _ in 0..3 {
            let now = Instant::now();
            gather.synced(1, SYNC);
            assert!(!gather.answered(0, now));
            assert_eq!(gather.patience(1, now), None);
        }
    }

    #[test]
    fn many_clients_make_groups_of_their_own() {
        let mut gather = Gather::default();
        let half = limits::GATHER_RECORDS / 2 + 1;
        let waited = next(&mut gather, half, half, half, SOON);
        assert_eq!(waited, (Duration::ZERO, half));
        gather.synced(half, SYNC);
        assert!(!gather.answered(half, Instant::now()));
    }

    #[test]
    fn a_disk_that_is_as_quick_as_clients_is_not_spared() {
        let mut gather = Gather::default();
        let now = Instant::now();
        gather.synced(4, Duration::from_micros(20));
        assert!(!gather.answered(4, now));
        assert_eq!(gather.patience(4, now), None);
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
    fn whoever_asks_long_after_the_others_is_not_kept() {
        let mut gather = Gather::default();
        let now = Instant::now();
        gather.synced(8, SYNC);
        assert!(gather.answered(0, now));
        let later = now + Duration::from_secs(10);
        assert_eq!(gather.patience(1, later), None);
        // It was no failure either.
        assert_eq!(next(&mut gather, 4, 4, 4, SOON), (SOON, 8));
    }

    #[test]
    fn those_who_are_answered_without_a_sync_are_not_expected() {
        let mut gather = Gather::default();
        let now = Instant::now();
        gather.synced(2, SYNC);
        gather.answered(0, now);
        // A refusal, say, while the two are back already.
        assert!(!gather.answered(2, now));
        assert_eq!(gather.patience(2, now), None);
    }
}
