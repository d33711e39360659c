//! The time of a run: nanoseconds of the machine's monotonic clock, the same for every process, so
//! that samples can be laid beside what others saw.

use rustix::time::{ClockId, Timespec, clock_gettime};

/// Now, in nanoseconds.
pub(super) fn now_ns() -> u64 {
    let now = clock_gettime(ClockId::Monotonic);
    let seconds = u64::try_from(now.tv_sec).unwrap_or(0);
    seconds * NS_PER_S + u64::try_from(now.tv_nsec).unwrap_or(0)
}

/// Nanoseconds in a second.
pub(super) const NS_PER_S: u64 = 1_000_000_000;

/// A moment as the kernel wants it.
pub(super) fn timespec(ns: u64) -> Timespec {
    Timespec {
        tv_sec: i64::try_from(ns / NS_PER_S).unwrap_or(i64::MAX),
        tv_nsec: i64::try_from(ns % NS_PER_S).unwrap_or(0),
    }
}

/// Nanoseconds as seconds.
#[expect(clippy::cast_precision_loss, reason = "for people to read")]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Seconds, as given on the command line, as nanoseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "float casts saturate, and options are not negative"
)]
pub(super) fn ns(seconds: f64) -> u64 {
    (seconds * 1e9) as u64
}
