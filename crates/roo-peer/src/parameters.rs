//! What can be set about the links. The server fills this from its configuration keys.

use std::time::Duration;

use roo_proto::ids::ServerId;

/// See the fields. [`Parameters::of_server`] has the defaults.
#[derive(Clone, Debug)]
pub struct Parameters {
    /// The server's own id.
    pub id: ServerId,
    /// Name and version of the software, for the peers' logs.
    pub software: String,
    /// Where to listen. Key `quorumListenOnAllIPs`.
    pub listen: Listen,
    /// How often binding is tried, a second apart; `None` is for ever. Key
    /// `electionPortBindRetry` (3; 0 is for ever).
    pub bind_attempts: Option<u32>,
    /// For resolving a name and connecting. Key `cnxTimeout` (5 s).
    pub connect_timeout: Duration,
    /// For the first frame of a stream, in both directions.
    pub handshake_timeout: Duration,
    /// How often a silent connection is probed.
    pub keep_alive_interval: Duration,
    /// A connection whose probe is not answered for so long is broken.
    pub keep_alive_timeout: Duration,
    /// The longest message. Must be the same on all servers; a link with a longer one is given up.
    pub max_message_bytes: usize,
    /// A link is given up when more than this waits to be sent on it.
    pub send_queue_bytes: usize,
    /// [`crate::PeerLinks::send_bulk`] waits while more than this waits to be sent.
    pub bulk_bytes: usize,
    /// A peer that takes nothing of what waits for so long is given up by whoever sends bulk.
    pub bulk_patience: Duration,
    /// What may be received on a link and not yet processed.
    pub receive_bytes: usize,
    /// Who may dial beside the members. Key `reconfigEnabled`.
    pub joiners: Joiners,
}

/// Where to listen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listen {
    /// On the addresses of the server's own member line.
    OwnAddresses,
    /// On its ports, on all interfaces.
    AllInterfaces,
}

/// Whether servers may dial that are not in the ensemble in force.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Joiners {
    /// They may: they want to be added.
    Admitted,
    /// They are refused.
    Refused,
}

impl Parameters {
    /// The defaults.
    #[must_use]
    pub fn of_server(id: ServerId) -> Self {
        Self {
            id,
            software: concat!("RooKeeper ", env!("CARGO_PKG_VERSION")).to_owned(),
            listen: Listen::OwnAddresses,
            bind_attempts: Some(3),
            connect_timeout: Duration::from_secs(5),
            handshake_timeout: Duration::from_secs(5),
            keep_alive_interval: Duration::from_secs(2),
            keep_alive_timeout: Duration::from_secs(4),
            max_message_bytes: 16 << 20,
            send_queue_bytes: 256 << 20,
            bulk_bytes: 4 << 20,
            bulk_patience: Duration::from_secs(20),
            receive_bytes: 8 << 20,
            joiners: Joiners::Refused,
        }
    }
}

/// Certificates and keys for TLS between servers (Java: `ssl.quorum.*`, `sslQuorum`). Every place
/// that makes a channel or a listener takes one. It has no value: as long as links cannot be
/// encrypted, nobody can ask for it and believe that they are.
#[derive(Clone, Copy, Debug)]
pub enum PeerTls {}

/// The first pause between two attempts to dial a peer for notifications; it doubles.
pub(crate) const BACK_OFF_MIN: Duration = Duration::from_millis(20);
/// The longest such pause.
pub(crate) const BACK_OFF_MAX: Duration = Duration::from_secs(1);
/// How long a closed link may take to hand over what was sent before.
pub(crate) const FLUSH: Duration = Duration::from_secs(1);
/// Messages are put into one frame up to this many bytes.
pub(crate) const BATCH_BYTES: usize = 64 << 10;
/// Notifications received on a stream and not yet processed, in bytes.
pub(crate) const NOTIFIED_BYTES: usize = 1 << 20;
/// Connections at once that have not yet said who they are.
pub(crate) const MAX_STRANGERS: usize = 32;
/// Connections at once.
pub(crate) const MAX_CONNECTIONS: usize = 1024;
/// What HTTP/2 may have under way in one direction of a connection.
pub(crate) const WINDOW_BYTES: u32 = 4 << 20;
/// The same refusal is reported again after this time.
pub(crate) const COMPLAIN_AGAIN: Duration = Duration::from_secs(60);
/// How often a stream that stands may be replaced before two servers of one id are suspected.
pub(crate) const RIVALS_TIMES: u32 = 4;
/// The time in which that is counted.
pub(crate) const RIVALS_WITHIN: Duration = Duration::from_secs(15);
/// How long a leader of an epoch that is too old is left alone before it is dialled again.
pub(crate) const STALE_PAUSE: Duration = Duration::from_secs(1);
/// Refusals that are remembered, so as not to repeat them.
pub(crate) const MAX_COMPLAINTS: usize = 256;
