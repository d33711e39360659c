//! What the configuration says to the clients' side.

use crate::auth::AuthSettings;

/// Times in ms, sizes in bytes; 0 switches a limit off unless said otherwise.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields are the configuration keys of these names.
pub struct ClientSettings {
    /// Longest packet (`jute.maxbuffer`).
    pub max_packet_bytes: usize,
    /// Longest string or buffer inside a packet.
    pub max_field_bytes: usize,
    pub max_client_cnxns: usize,
    pub max_cnxns: usize,
    pub global_outstanding_limit: usize,
    pub request_throttle: RequestThrottle,
    pub large_request_threshold: usize,
    pub large_request_max_bytes: usize,
    pub sessionless_cnxn_timeout_ms: u64,
    pub max_in_flight_per_connection: usize,
    pub connection_write_queue_bytes: usize,
    pub tcp_keep_alive: bool,
    /// Demanded before anything else; empty demands nothing.
    pub enforce_auth_schemes: Vec<String>,
    /// Whether `stmk` is in the whitelist: it waits for its argument then.
    pub trace_mask_settable: bool,
    pub auth: AuthSettings,
}

/// When a request has to wait for those of others, and what becomes of it then. Java:
/// `RequestThrottler`.
#[derive(Clone, Copy, Debug)]
pub struct RequestThrottle {
    /// Requests in work from which on others wait; 0 is off.
    pub max_requests: usize,
    /// ms after which one that waits is looked at again at the latest.
    pub stall_time_ms: u64,
    /// Whether a stale one closes its connection.
    pub drop_stale: bool,
    /// Whether one is stale whose client has closed the connection.
    pub stale_connection_check: bool,
    /// Whether one is stale that has waited longer than its session's timeout.
    pub stale_latency_check: bool,
}

impl Default for RequestThrottle {
    fn default() -> Self {
        Self {
            max_requests: 0,
            stall_time_ms: 100,
            drop_stale: true,
            stale_connection_check: true,
            stale_latency_check: false,
        }
    }
}

impl RequestThrottle {
    /// Whether so many requests are in work that further ones wait.
    #[must_use]
    pub const fn is_full(&self, outstanding: usize) -> bool {
        self.max_requests > 0 && outstanding >= self.max_requests
    }

    /// Whether a request that has waited for `waited_ms` is stale.
    #[must_use]
    pub fn is_stale(&self, closed: bool, waited_ms: u64, session_timeout_ms: i32) -> bool {
        let late = waited_ms > u64::try_from(session_timeout_ms).unwrap_or(0);
        (self.stale_connection_check && closed) || (self.stale_latency_check && late)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_check_finds_its_own_kind_of_stale() {
        let of = |stale_connection_check, stale_latency_check| RequestThrottle {
            stale_connection_check,
            stale_latency_check,
            ..RequestThrottle::default()
        };
        let kinds = [(true, 0), (false, 6_001), (false, 6_000)];
        let found = |throttle: RequestThrottle| {
            kinds.map(|(closed, waited)| throttle.is_stale(closed, waited, 6_000))
        };
        assert_eq!(found(of(true, false)), [true, false, false]);
        assert_eq!(found(of(false, true)), [false, true, false]);
        assert_eq!(found(of(false, false)), [false; 3]);
    }

    #[test]
    fn no_limit_is_never_full() {
        assert!(!RequestThrottle::default().is_full(usize::MAX));
        let two = RequestThrottle {
            max_requests: 2,
            ..RequestThrottle::default()
        };
        assert!(!two.is_full(1) && two.is_full(2));
    }
}
