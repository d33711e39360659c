//! What a caller chooses before connecting.

use std::fmt;
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::net::SocketAddr;
use std::time::Duration;

use roo_proto::connect::PASSWORD_SIZE;
use roo_proto::ids::SessionId;

/// Choices for a session; change the fields that matter and take the rest from `Default`.
///
/// ```
/// use std::time::Duration;
/// let options = roo_client::Options {
///     session_timeout: Duration::from_secs(10),
///     ..Default::default()
/// };
/// ```
#[derive(Clone)]
pub struct Options {
    /// How long the servers keep the session without hearing from it; they may negotiate another
    /// value, see [`crate::Client::session_timeout`]. Default 30 s; servers usually allow 2 to 20
    /// of their ticks (4 s to 40 s).
    pub session_timeout: Duration,
    /// How long one address may take to accept a connection and to answer the handshake. A
    /// session that has to find another server in time shortens it to its share of the session's
    /// timeout. Default 5 s.
    pub connect_timeout: Duration,
    /// How long a call may take, waiting for a connection included. `None`, the default, is as
    /// long as the session lives.
    pub request_timeout: Option<Duration>,
    /// How long [`crate::Client::connect`] goes on trying before it gives up. Default 30 s.
    pub first_connection_wait: Duration,
    /// Whether a server without a quorum will do, for reading; the client goes on looking for a
    /// server with one. Default false.
    pub read_only: bool,
    /// Bytes of the largest request; `jute.maxbuffer` of the servers. Default 1 048 575, as
    /// theirs. A larger request is refused here, since a server would close the connection.
    pub max_packet_bytes: usize,
    /// Bytes of the largest reply. A larger one fails its call and is skipped. Default 64 MiB.
    pub max_reply_bytes: usize,
    /// Calls that may be under way at once; further ones wait for their turn. Default 1000.
    pub in_flight_max: usize,
    /// Events that a [`crate::WatchStream`] keeps for a reader that does not come; the stream ends
    /// with [`crate::WatchEnd::Lagged`] beyond. Default 65 536.
    pub watch_buffer_max: usize,
    /// Pauses between rounds of attempts.
    pub back_off: BackOff,
    /// Identities to prove on each connection: scheme and proof, for example `digest` and
    /// `user:password`.
    pub auth: Vec<(String, Vec<u8>)>,
    /// Decides what is random: the order of servers, the lengths of pauses, the beginnings of names.
    /// `None`, the default, draws one.
    pub seed: Option<u64>,
    /// Which name server to ask for what `dns-srv://name` names, such as Consul's at port 8600.
    /// `None`, the default, asks those of the system.
    pub name_server: Option<SocketAddr>,
    /// A session to go on with, from [`crate::Client::credentials`] of an earlier client; `None`
    /// begins a new one.
    pub credentials: Option<Credentials>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            session_timeout: Duration::from_secs(30),
            connect_timeout: Duration::from_secs(5),
            request_timeout: None,
            first_connection_wait: Duration::from_secs(30),
            read_only: false,
            max_packet_bytes: 0xf_ffff,
            max_reply_bytes: 64 << 20,
            in_flight_max: 1000,
            watch_buffer_max: 65_536,
            back_off: BackOff::default(),
            auth: Vec::new(),
            seed: None,
            name_server: None,
            credentials: None,
        }
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Proofs of identities are not shown.
        let schemes: Vec<_> = self.auth.iter().map(|(scheme, _)| scheme).collect();
        f.debug_struct("Options")
            .field("session_timeout", &self.session_timeout)
            .field("connect_timeout", &self.connect_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("first_connection_wait", &self.first_connection_wait)
            .field("read_only", &self.read_only)
            .field("max_packet_bytes", &self.max_packet_bytes)
            .field("max_reply_bytes", &self.max_reply_bytes)
            .field("in_flight_max", &self.in_flight_max)
            .field("watch_buffer_max", &self.watch_buffer_max)
            .field("back_off", &self.back_off)
            .field("auth", &schemes)
            .field("name_server", &self.name_server)
            .field("credentials", &self.credentials)
            .finish()
    }
}

impl Options {
    pub(crate) fn seed(&self) -> u64 {
        let draw = || RandomState::new().build_hasher().finish();
        self.seed.unwrap_or_else(draw)
    }
}

/// Pauses after rounds in which no address would do: `first`, then twice as long each time up to
/// `max`, each cut at random by up to a half. A session never waits longer than a sixth of its
/// timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackOff {
    /// The pause after the first round. Default 100 ms.
    pub first: Duration,
    /// The longest pause. Default 5 s.
    pub max: Duration,
}

impl Default for BackOff {
    fn default() -> Self {
        Self {
            first: Duration::from_millis(100),
            max: Duration::from_secs(5),
        }
    }
}

/// What lets a client go on with a session: whoever has it owns the session's ephemeral nodes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Credentials {
    /// The session.
    pub session: SessionId,
    /// Its password, given by the server.
    pub password: [u8; PASSWORD_SIZE],
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}
