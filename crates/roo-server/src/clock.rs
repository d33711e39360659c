//! The two clocks. Nothing else in the server asks the operating system for the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use roo_proto::ids::{Time, WallTime};

/// Monotonic and wall time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    origin: Instant,
    /// What the monotonic clock shows at `origin`, ms: session ids are made of it, so it must not
    /// begin anew with each start of the server.
    origin_ms: u64,
}

impl Clock {
    /// A clock whose monotonic part begins at the wall clock's present.
    #[must_use]
    pub fn new() -> Self {
        let origin_ms = u64::try_from(wall_now().0).unwrap_or(0);
        Self {
            origin: Instant::now(),
            origin_ms,
        }
    }

    /// The monotonic time.
    #[must_use]
    pub fn now(&self) -> Time {
        let elapsed = u64::try_from(self.origin.elapsed().as_millis()).unwrap_or(u64::MAX);
        Time(self.origin_ms.saturating_add(elapsed))
    }

    /// The wall clock's time at a monotonic one, for display.
    #[must_use]
    pub fn wall_at(&self, time: Time) -> WallTime {
        let now = self.now();
        let ahead = i64::try_from(time.0).unwrap_or(i64::MAX) - i64::try_from(now.0).unwrap_or(0);
        WallTime(wall_now().0.saturating_add(ahead))
    }

    /// The wall clock.
    #[must_use]
    pub fn wall(&self) -> WallTime {
        wall_now()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

#[allow(clippy::disallowed_methods)] // The one place where wall time enters.
fn wall_now() -> WallTime {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    WallTime(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
