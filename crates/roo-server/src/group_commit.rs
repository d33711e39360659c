//! When the log is synced: how many writes share a sync, and how long the first of them may wait
//! for others. Java: `SyncRequestProcessor.getRemainingDelay`, `shouldFlush`.

use std::time::Duration;

/// Nothing is delayed unless the operator asks for it: while one sync runs, the writes for the
/// next gather by themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GroupCommit {
    /// Time since the last sync before the next one.
    pub flush_delay: Duration,
    /// Time without a further write after which the next one is not delayed any longer.
    pub poll_time: Duration,
    /// Writes that share a sync at most; 0 is no limit.
    pub max_batch: usize,
}

impl Default for GroupCommit {
    fn default() -> Self {
        Self {
            flush_delay: Duration::ZERO,
            poll_time: Duration::ZERO,
            max_batch: 1000,
        }
    }
}

impl GroupCommit {
    /// Whether so many writes are synced without more of them.
    #[must_use]
    pub const fn is_full(&self, records: usize) -> bool {
        self.max_batch > 0 && records >= self.max_batch
    }

    /// How long to wait for another write before these are synced, if at all.
    #[must_use]
    pub fn patience(&self, since_sync: Duration, records: usize) -> Option<Duration> {
        let wait = self
            .flush_delay
            .saturating_sub(since_sync)
            .min(self.poll_time);
        (records > 0 && !self.is_full(records) && !wait.is_zero()).then_some(wait)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn nothing_is_delayed_by_default() {
        assert_eq!(GroupCommit::default().patience(Duration::ZERO, 1), None);
    }

    #[test]
    fn a_delay_ends_with_its_time_a_full_batch_or_nobody_coming() {
        let delayed = GroupCommit {
            flush_delay: ms(30),
            poll_time: ms(10),
            max_batch: 4,
        };
        assert_eq!(delayed.patience(ms(0), 1), Some(ms(10)));
        assert_eq!(delayed.patience(ms(25), 1), Some(ms(5)));
        assert_eq!(delayed.patience(ms(30), 1), None);
        assert_eq!(delayed.patience(ms(0), 4), None);
        assert_eq!(delayed.patience(ms(0), 0), None);
    }

    #[test]
    fn no_limit_is_never_full() {
        let unlimited = GroupCommit {
            max_batch: 0,
            ..GroupCommit::default()
        };
        assert!(!unlimited.is_full(1_000_000));
        assert!(GroupCommit::default().is_full(1000) && !GroupCommit::default().is_full(999));
    }
}
