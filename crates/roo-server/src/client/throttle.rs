//! A bucket of tokens for handshakes, so that a crowd of reconnecting clients is served as it
//! can be served. Java: `BlueThrottle`, without its probabilistic dropping.

use roo_proto::ids::Time;

/// Times in ms.
#[derive(Clone, Copy, Debug, Default)]
pub struct ThrottleSettings {
    /// Tokens in a full bucket; 0 is no throttle.
    pub tokens: u64,
    /// How often tokens come back.
    pub fill_time_ms: u64,
    /// How many come back at once.
    pub fill_count: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Throttle {
    settings: ThrottleSettings,
    tokens: u64,
    filled: Time,
}

impl Throttle {
    /// A full bucket.
    #[must_use]
    pub const fn new(settings: ThrottleSettings, now: Time) -> Self {
        Self {
            settings,
            tokens: settings.tokens,
            filled: now,
        }
    }

    /// Takes a token; false when there is none.
    pub fn admit(&mut self, now: Time) -> bool {
        if self.settings.tokens == 0 {
            return true;
        }
        let fills = now.millis_since(self.filled) / self.settings.fill_time_ms.max(1);
        if fills > 0 {
            self.filled = now;
            let gained = fills.saturating_mul(self.settings.fill_count);
            self.tokens = self.tokens.saturating_add(gained).min(self.settings.tokens);
        }
        let admitted = self.tokens > 0;
        self.tokens = self.tokens.saturating_sub(1);
        admitted
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_run_out_and_come_back() {
        let settings = ThrottleSettings {
            tokens: 2,
            fill_time_ms: 10,
            fill_count: 1,
        };
        let mut throttle = Throttle::new(settings, Time(0));
        let admitted: Vec<bool> = [0, 0, 0, 9, 10, 11, 1_000, 1_000, 1_000]
            .map(|at| throttle.admit(Time(at)))
            .into();
        assert_eq!(
            admitted,
            [true, true, false, false, true, false, true, true, false]
        );
    }

    #[test]
    fn no_tokens_are_no_throttle() {
        let mut throttle = Throttle::new(ThrottleSettings::default(), Time(0));
        assert!((0..1_000).all(|_| throttle.admit(Time(0))));
    }
}
