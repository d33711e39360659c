//! When a snapshot is due: after a number of records, or bytes, that varies so that the servers
//! of an ensemble do not take theirs at the same time. Java: `SyncRequestProcessor.shouldSnapshot`.

/// See the module.
#[derive(Debug)]
pub struct Snapshotting {
    count_limit: u64,
    bytes_limit: u64,
    random: u64,
    count: u64,
    bytes: u64,
    count_due: u64,
    bytes_due: u64,
    under_way: bool,
}

impl Snapshotting {
    /// `count_limit` is at least 2 records; a `bytes_limit` of 0 does not count bytes.
    #[must_use]
    pub fn new(count_limit: u64, bytes_limit: u64, seed: u64) -> Self {
        let mut this = Self {
            count_limit: count_limit.max(2),
            bytes_limit,
            random: seed | 1,
            count: 0,
            bytes: 0,
            count_due: 0,
            bytes_due: 0,
            under_way: false,
        };
        this.draw();
        this
    }

    fn draw(&mut self) {
        self.count = 0;
        self.bytes = 0;
        self.count_due = self.count_limit / 2 + self.below(self.count_limit / 2);
        self.bytes_due = self.bytes_limit / 2 + self.below(self.bytes_limit / 2);
    }

    /// A number below `n` (0 for 0), by xorshift64.
    fn below(&mut self, n: u64) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        if n == 0 { 0 } else { self.random % n }
    }

    /// Counts a record; true when the log should roll. A snapshot is then due too, unless one is
    /// under way.
    pub fn on_append(&mut self, bytes: usize) -> bool {
        self.count += 1;
        self.bytes += bytes as u64;
        let due =
            self.count > self.count_due || (self.bytes_limit > 0 && self.bytes > self.bytes_due);
        if due {
            self.draw();
        }
        due
    }

    /// Whether a snapshot may start now; it then counts as under way.
    pub fn try_start(&mut self) -> bool {
        !core::mem::replace(&mut self.under_way, true)
    }

    /// The snapshot under way has ended.
    pub fn ended(&mut self) {
        self.under_way = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_snapshot_is_due_between_half_and_the_whole_count() {
        let mut snapshotting = Snapshotting::new(100, 0, 7);
        for _ in 0..50 {
            let appended = (1..).find(|_| snapshotting.on_append(10)).unwrap();
            assert!((50..=101).contains(&appended), "{appended}");
        }
    }

    #[test]
    fn bytes_count_too() {
        let mut snapshotting = Snapshotting::new(u64::MAX, 1_000, 7);
        let appended = (1..).find(|_| snapshotting.on_append(100)).unwrap();
        assert!((5..=11).contains(&appended), "{appended}");
    }

    #[test]
    fn one_at_a_time() {
        let mut snapshotting = Snapshotting::new(2, 0, 1);
        assert!(snapshotting.try_start());
        assert!(!snapshotting.try_start());
        snapshotting.ended();
        assert!(snapshotting.try_start());
    }
}
