//! The error codes of the client protocol. Java: `KeeperException.Code`.

/// Why a request was refused. Numbers that Java clients do not know must never be invented.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ErrorCode(pub i32);

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $number:literal),* $(,)?) => {
        impl ErrorCode {
            $($(#[$doc])* pub const $name: Self = Self($number);)*

            /// The name of the code in the protocol, `UNKNOWN` for a foreign number.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self.0 {
                    $($number => stringify!($name),)*
                    _ => "UNKNOWN",
                }
            }
        }
    };
}

codes! {
    /// No error.
    OK = 0,
    /// The server failed.
    SYSTEM_ERROR = -1,
    /// Result of the operations behind the failing one of a multi.
    RUNTIME_INCONSISTENCY = -2,
    /// Data is inconsistent.
    DATA_INCONSISTENCY = -3,
    /// The connection was lost.
    CONNECTION_LOSS = -4,
    /// The body of the request could not be decoded.
    MARSHALLING_ERROR = -5,
    /// The operation is unknown or switched off.
    UNIMPLEMENTED = -6,
    /// The operation took too long.
    OPERATION_TIMEOUT = -7,
    /// The arguments are not valid.
    BAD_ARGUMENTS = -8,
    /// The session is not known to a standalone server.
    UNKNOWN_SESSION = -12,
    /// No quorum of the new configuration is connected.
    NEW_CONFIG_NO_QUORUM = -13,
    /// Another reconfiguration is under way.
    RECONFIG_IN_PROGRESS = -14,
    /// The node does not exist.
    NO_NODE = -101,
    /// A permission is missing.
    NO_AUTH = -102,
    /// The version does not match.
    BAD_VERSION = -103,
    /// An ephemeral node cannot have children.
    NO_CHILDREN_FOR_EPHEMERALS = -108,
    /// The node exists.
    NODE_EXISTS = -110,
    /// The node has children.
    NOT_EMPTY = -111,
    /// The session has expired.
    SESSION_EXPIRED = -112,
    /// The callback is not valid.
    INVALID_CALLBACK = -113,
    /// The access control list is not valid.
    INVALID_ACL = -114,
    /// Authentication failed.
    AUTH_FAILED = -115,
    /// The session has moved to another server (never sent: the connection is closed).
    SESSION_MOVED = -118,
    /// A write on a read-only server.
    NOT_READ_ONLY = -119,
    /// An ephemeral node on a local session.
    EPHEMERAL_ON_LOCAL_SESSION = -120,
    /// No such watch.
    NO_WATCHER = -121,
    /// The request took too long (client side).
    REQUEST_TIMEOUT = -122,
    /// Reconfiguration is switched off.
    RECONFIG_DISABLED = -123,
    /// The server demands authentication first.
    SESSION_CLOSED_REQUIRE_SASL_AUTH = -124,
    /// A quota would be exceeded.
    QUOTA_EXCEEDED = -125,
    /// The request waited too long in an overloaded server.
    THROTTLED_OP = -127,
}
