//! What the configuration says to the clients' side.

use crate::auth::AuthSettings;
use crate::client::throttle::ThrottleSettings;

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
    pub request_throttle_max_requests: usize,
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
    pub throttle: ThrottleSettings,
}
