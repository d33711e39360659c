//! A bucket of tokens for handshakes, so that a crowd of reconnecting clients is served as it
//! can be served. Java: `BlueThrottle`.
//!
//! With a freeze time some handshakes are dropped by chance before they look into the bucket: the
//! chance grows while the bucket is found empty and shrinks while it is nearly full, so that no
//! client is refused again and again because it always comes a little late.

use std::hash::{BuildHasher, RandomState};

use roo_proto::ids::Time;

/// Times in ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThrottleSettings {
    /// Tokens in a full bucket, in handshakes for a new session; 0 is no throttle.
    pub tokens: u64,
    /// How often tokens come back.
    pub fill_time_ms: u64,
    /// How many come back at once, in handshakes for a new session.
    pub fill_count: u64,
    /// What handshakes cost, if not one token each.
    pub weights: Option<Weights>,
    /// Dropping by chance, if it is wanted.
    pub dropping: Option<Dropping>,
}

/// Tokens that a handshake costs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Weights {
    /// For a new session; the bucket and what comes back are multiplied by it.
    pub new_session: u64,
    /// For a session that is taken up again.
    pub renewed_session: u64,
}

/// Dropping by chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Dropping {
    /// ms between changes of the chance.
    pub freeze_time_ms: u64,
    /// By how much it grows when the bucket is empty.
    pub increase: f64,
    /// By how much it shrinks when the bucket is nearly full.
    pub decrease: f64,
    /// The part of the bucket that may be missing when it counts as nearly full.
    pub decrease_ratio: f64,
}

/// See the module.
#[derive(Debug)]
pub struct Throttle {
    settings: ThrottleSettings,
    /// Tokens in a full bucket.
    capacity: u64,
    /// Tokens that come back at once.
    fill_count: u64,
    tokens: u64,
    filled: Time,
    frozen: Time,
    drop_chance: f64,
    dice: u64,
}

impl Throttle {
    /// A full bucket.
    #[must_use]
    pub fn new(settings: ThrottleSettings, now: Time) -> Self {
        let unit = settings.weights.map_or(1, |weights| weights.new_session);
        let capacity = settings.tokens.saturating_mul(unit);
        Self {
            settings,
            capacity,
            fill_count: settings.fill_count.saturating_mul(unit),
            tokens: capacity,
            filled: now,
            frozen: now,
            drop_chance: 0.0,
            dice: RandomState::new().hash_one(now.0) | 1,
        }
    }

    /// Tokens that are missing.
    #[must_use]
    pub const fn deficit(&self) -> u64 {
        self.capacity - self.tokens
    }

    /// The chance, from 0 to 1, that a handshake is dropped without a look into the bucket.
    #[must_use]
    pub const fn drop_chance(&self) -> f64 {
        self.drop_chance
    }

    /// Takes what a handshake costs; false when it must be refused.
    pub fn admit(&mut self, now: Time, renewed: bool) -> bool {
        if self.capacity == 0 {
            return true;
        }
        self.refill(now);
        if let Some(dropping) = self.settings.dropping {
            self.adjust(now, dropping);
            if self.throw() < self.drop_chance {
                return false;
            }
        }
        let cost = match self.settings.weights {
            None => 1,
            Some(weights) if renewed => weights.renewed_session,
            Some(weights) => weights.new_session,
        };
        if self.tokens < cost {
            return false;
        }
        self.tokens -= cost;
        true
    }

    fn refill(&mut self, now: Time) {
        let elapsed = now.millis_since(self.filled);
        if elapsed > self.settings.fill_time_ms {
            let gained =
                elapsed.saturating_mul(self.fill_count) / self.settings.fill_time_ms.max(1);
            self.tokens = self.tokens.saturating_add(gained).min(self.capacity);
            self.filled = now;
        }
    }

    fn adjust(&mut self, now: Time, dropping: Dropping) {
        if now.millis_since(self.frozen) <= dropping.freeze_time_ms {
            return;
        }
        self.frozen = now;
        let nearly_full = (as_f64(self.capacity) * dropping.decrease_ratio).round();
        if self.tokens == 0 {
            self.drop_chance = (self.drop_chance + dropping.increase).min(1.0);
        } else if as_f64(self.deficit()) <= nearly_full {
            self.drop_chance = (self.drop_chance - dropping.decrease).max(0.0);
        }
    }

    /// A number from 0 up to 1. Source: xorshift64 of Marsaglia, 2003.
    fn throw(&mut self) -> f64 {
        self.dice ^= self.dice << 13;
        self.dice ^= self.dice >> 7;
        self.dice ^= self.dice << 17;
        as_f64(self.dice >> 11) / as_f64(1 << 53)
    }
}

#[allow(clippy::cast_precision_loss)] // Exact to 53 bits, which is more than any of them has.
const fn as_f64(value: u64) -> f64 {
    value as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bucket(tokens: u64, fill_time_ms: u64) -> ThrottleSettings {
        ThrottleSettings {
            tokens,
            fill_time_ms,
            fill_count: 1,
            ..ThrottleSettings::default()
        }
    }

    #[test]
    fn tokens_run_out_and_come_back() {
        let mut throttle = Throttle::new(bucket(2, 10), Time(0));
        let admitted: Vec<bool> = [0, 0, 0, 10, 11, 12, 1_000, 1_000, 1_000]
            .map(|at| throttle.admit(Time(at), false))
            .into();
        assert_eq!(
            admitted,
            [true, true, false, false, true, false, true, true, false]
        );
        assert_eq!(throttle.deficit(), 2);
    }

    #[test]
    fn no_tokens_are_no_throttle() {
        let mut throttle = Throttle::new(ThrottleSettings::default(), Time(0));
        assert!((0..1_000).all(|_| throttle.admit(Time(0), false)));
        assert_eq!(throttle.deficit(), 0);
    }

    #[test]
    fn a_renewed_session_is_cheaper_than_a_new_one() {
        let weights = Weights {
            new_session: 3,
            renewed_session: 2,
        };
        let settings = ThrottleSettings {
            weights: Some(weights),
            ..bucket(2, 10)
        };
        let mut new = Throttle::new(settings, Time(0));
        assert_eq!((0..9).filter(|_| new.admit(Time(0), false)).count(), 2);
        let mut renewed = Throttle::new(settings, Time(0));
        assert_eq!((0..9).filter(|_| renewed.admit(Time(0), true)).count(), 3);
    }

    #[test]
    fn the_chance_grows_while_the_bucket_is_empty_and_shrinks_when_it_is_full() {
        let dropping = Dropping {
            freeze_time_ms: 10,
            increase: 0.5,
            decrease: 0.25,
            decrease_ratio: 0.0,
        };
        let settings = ThrottleSettings {
            dropping: Some(dropping),
            ..bucket(1, 1_000)
        };
        let mut throttle = Throttle::new(settings, Time(0));
        assert!(throttle.admit(Time(0), false), "nothing is dropped yet");
        let mut chances = Vec::new();
        for at in [10, 11, 21, 22, 33] {
            assert!(!throttle.admit(Time(at), false), "the bucket is empty");
            chances.push(throttle.drop_chance());
        }
        assert_eq!(chances, [0.0, 0.5, 0.5, 1.0, 1.0]);
        // The bucket is full again, and whoever comes is dropped by chance alone.
        throttle.admit(Time(5_000), false);
        assert!((throttle.drop_chance() - 0.75).abs() < f64::EPSILON);
    }

    #[test]
    fn the_dice_are_fair() {
        let mut throttle = Throttle::new(bucket(1, 1), Time(7));
        let low = (0..10_000).filter(|_| throttle.throw() < 0.3).count();
        assert!((2_500..3_500).contains(&low), "{low} of 10000 below 0.3");
    }
}
