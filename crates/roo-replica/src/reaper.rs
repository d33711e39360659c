//! When containers and expired TTL nodes are collected. Java: `ContainerManager`.

use core::time::Duration;

use roo_proto::ids::Time;

/// The three settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReaperRules {
    /// How often candidates are looked for, ms; at least 1.
    pub check_interval_ms: u64,
    /// At most so many deletions a minute.
    pub max_per_minute: u32,
    /// Age at which a container that never had a child is collected, ms; 0 is never.
    pub max_never_used_ms: i64,
}

impl Default for ReaperRules {
    fn default() -> Self {
        Self {
            check_interval_ms: 60_000,
            max_per_minute: 10_000,
            max_never_used_ms: 0,
        }
    }
}

/// See the module.
#[derive(Debug)]
pub struct Reaper {
    rules: ReaperRules,
    next_check: Time,
}

impl Reaper {
    /// The first check comes an interval from now.
    #[must_use]
    pub fn new(rules: ReaperRules, now: Time) -> Self {
        let mut this = Self {
            rules,
            next_check: now,
        };
        this.schedule(now);
        this
    }

    /// The next check comes an interval from now: this server did not decide before.
    pub fn restart(&mut self, now: Time) {
        self.schedule(now);
    }

    fn schedule(&mut self, now: Time) {
        self.next_check = now.after(Duration::from_millis(self.rules.check_interval_ms.max(1)));
    }

    /// When the next check is due.
    #[must_use]
    pub const fn next_deadline(&self) -> Time {
        self.next_check
    }

    /// How many nodes may be deleted now: none unless a check is due.
    pub fn quota(&mut self, now: Time) -> usize {
        if now < self.next_check {
            return 0;
        }
        self.schedule(now);
        let per_check =
            u64::from(self.rules.max_per_minute) * self.rules.check_interval_ms / 60_000;
        usize::try_from(per_check.max(1)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deletions_are_spread_over_the_checks() {
        let rules = ReaperRules {
            check_interval_ms: 300,
            max_per_minute: 1_000,
            ..Default::default()
        };
        let mut reaper = Reaper::new(rules, Time(0));
        assert_eq!(reaper.quota(Time(299)), 0);
        assert_eq!(reaper.quota(Time(300)), 5);
        assert_eq!(reaper.next_deadline(), Time(600));
    }
}
