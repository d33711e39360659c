//! Every limit that keeps the server alive, by name. Those that a configuration key sets are in
//! `config`; these are the fixed ones. Each has a counter of its name in `metrics`.

/// Bytes read from one connection before others get their turn.
pub const READ_STEP_BYTES: usize = 64 * 1024;

/// Bytes read from all connections of a thread before they are served.
pub const READ_ROUND_BYTES: usize = 1024 * 1024;

/// A connection that has so many unsent bytes and does not read is closed: watch events cannot
/// be held back as replies can.
pub const CONNECTION_WRITE_QUEUE_MAX_BYTES: usize = 256 * 1024 * 1024;

/// Four-letter words waiting for an answer.
pub const FOUR_LETTER_QUEUE: usize = 256;

/// Output buffers that a thread keeps for connections that need one.
pub const SPARE_BUFFERS: usize = 128;

/// A larger buffer is given back to the allocator when it is empty.
pub const SPARE_BUFFER_BYTES: usize = 256 * 1024;

/// Nodes written to a snapshot before others may use the state.
pub const SNAPSHOT_SLICE_NODES: usize = 256;
