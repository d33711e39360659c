//! What goes wrong, by what the caller can do about it.

use std::fmt;

use roo_proto::error_code::ErrorCode;

/// What calls give.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a call failed, with the operation and the path it was for.
///
/// What to do: [`Error::is_retryable`] says whether the same call may succeed when it is made
/// again, [`Error::outcome_unknown`] whether it may have taken effect all the same, and
/// [`Error::session_lost`] whether the session is over, and its ephemeral nodes, locks and watches
/// with it.
#[derive(Clone, PartialEq, Eq)]
pub struct Error(Box<Inner>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Inner {
    kind: ErrorKind,
    operation: &'static str,
    path: Option<String>,
    chroot: Option<String>,
    sent: bool,
    failed_op: Option<usize>,
    op_codes: Vec<ErrorCode>,
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The node, or its parent, does not exist.
    NoNode,
    /// The node exists.
    NodeExists,
    /// The node has children.
    NotEmpty,
    /// The version is not the node's.
    BadVersion,
    /// The session's identities do not have the permission.
    NoAuth,
    /// An ephemeral node cannot have children.
    NoChildrenForEphemerals,
    /// The access control list is empty, or names what the server does not know.
    InvalidAcl,
    /// A write on a server without a quorum.
    NotReadOnly,
    /// An ephemeral node on a local session.
    EphemeralOnLocalSession,
    /// No such watch.
    NoWatcher,
    /// A hard quota would be exceeded.
    QuotaExceeded,
    /// The server does not allow reconfiguration.
    ReconfigDisabled,
    /// Another reconfiguration is under way.
    ReconfigInProgress,
    /// No quorum of the new ensemble is connected.
    NewConfigNoQuorum,
    /// The server is overloaded and refused the request.
    Throttled,
    /// The server does not know the operation, or it is switched off there.
    Unimplemented,
    /// Another refusal of the server.
    Server(ErrorCode),
    /// The connection was lost while the call was under way.
    ConnectionLoss,
    /// The session is over: the servers did not hear from it for its timeout.
    SessionExpired,
    /// An identity was refused; the session is over for this client.
    AuthFailed,
    /// The call took longer than `Options::request_timeout`.
    TimedOut,
    /// The client is closed.
    Closed,
    /// The call makes no sense: what is wrong with it.
    BadArguments(String),
    /// The list of servers cannot be read: what is wrong with it.
    BadConnectString(String),
    /// No server could be connected to: what each address said.
    Unreachable(String),
    /// Whoever answered does not speak ZooKeeper's protocol: what was received.
    NotZooKeeper(String),
    /// A request or a reply is larger than its limit.
    TooLarge {
        /// Bytes of the packet.
        bytes: usize,
        /// Bytes allowed: `Options::max_packet_bytes` for requests, `Options::max_reply_bytes` for
        /// replies.
        limit: usize,
    },
    /// A reply that cannot be read: what is wrong with it.
    Protocol(String),
}

impl ErrorKind {
    /// What a server means by a code.
    #[must_use]
    pub fn from_code(code: ErrorCode) -> Self {
        match code {
            ErrorCode::NO_NODE => Self::NoNode,
            ErrorCode::NODE_EXISTS => Self::NodeExists,
            ErrorCode::NOT_EMPTY => Self::NotEmpty,
            ErrorCode::BAD_VERSION => Self::BadVersion,
            ErrorCode::NO_AUTH => Self::NoAuth,
            ErrorCode::NO_CHILDREN_FOR_EPHEMERALS => Self::NoChildrenForEphemerals,
            ErrorCode::INVALID_ACL => Self::InvalidAcl,
            ErrorCode::NOT_READ_ONLY => Self::NotReadOnly,
            ErrorCode::EPHEMERAL_ON_LOCAL_SESSION => Self::EphemeralOnLocalSession,
            ErrorCode::NO_WATCHER => Self::NoWatcher,
            ErrorCode::QUOTA_EXCEEDED => Self::QuotaExceeded,
            ErrorCode::RECONFIG_DISABLED => Self::ReconfigDisabled,
            ErrorCode::RECONFIG_IN_PROGRESS => Self::ReconfigInProgress,
            ErrorCode::NEW_CONFIG_NO_QUORUM => Self::NewConfigNoQuorum,
            ErrorCode::THROTTLED_OP => Self::Throttled,
            ErrorCode::UNIMPLEMENTED => Self::Unimplemented,
            ErrorCode::CONNECTION_LOSS => Self::ConnectionLoss,
            ErrorCode::SESSION_EXPIRED | ErrorCode::UNKNOWN_SESSION => Self::SessionExpired,
            ErrorCode::AUTH_FAILED | ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH => {
                Self::AuthFailed
            }
            ErrorCode::BAD_ARGUMENTS => Self::BadArguments("the server refuses them".into()),
            other => Self::Server(other),
        }
    }

    /// The code of the protocol nearest to this; `OK` where there is none.
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        match self {
            Self::NoNode => ErrorCode::NO_NODE,
            Self::NodeExists => ErrorCode::NODE_EXISTS,
            Self::NotEmpty => ErrorCode::NOT_EMPTY,
            Self::BadVersion => ErrorCode::BAD_VERSION,
            Self::NoAuth => ErrorCode::NO_AUTH,
            Self::NoChildrenForEphemerals => ErrorCode::NO_CHILDREN_FOR_EPHEMERALS,
            Self::InvalidAcl => ErrorCode::INVALID_ACL,
            Self::NotReadOnly => ErrorCode::NOT_READ_ONLY,
            Self::EphemeralOnLocalSession => ErrorCode::EPHEMERAL_ON_LOCAL_SESSION,
            Self::NoWatcher => ErrorCode::NO_WATCHER,
            Self::QuotaExceeded => ErrorCode::QUOTA_EXCEEDED,
            Self::ReconfigDisabled => ErrorCode::RECONFIG_DISABLED,
            Self::ReconfigInProgress => ErrorCode::RECONFIG_IN_PROGRESS,
            Self::NewConfigNoQuorum => ErrorCode::NEW_CONFIG_NO_QUORUM,
            Self::Throttled => ErrorCode::THROTTLED_OP,
            Self::Unimplemented => ErrorCode::UNIMPLEMENTED,
            Self::Server(code) => *code,
            Self::ConnectionLoss | Self::Unreachable(_) | Self::NotZooKeeper(_) => {
                ErrorCode::CONNECTION_LOSS
            }
            Self::SessionExpired => ErrorCode::SESSION_EXPIRED,
            Self::AuthFailed => ErrorCode::AUTH_FAILED,
            Self::TimedOut => ErrorCode::REQUEST_TIMEOUT,
            Self::Closed => ErrorCode::CONNECTION_LOSS,
            Self::BadArguments(_) | Self::BadConnectString(_) | Self::TooLarge { .. } => {
                ErrorCode::BAD_ARGUMENTS
            }
            Self::Protocol(_) => ErrorCode::MARSHALLING_ERROR,
        }
    }
}

impl Error {
    /// An error of this kind in an operation without a path, for recipes and callers that make
    /// errors of their own.
    #[must_use]
    pub fn new(kind: ErrorKind, operation: &'static str) -> Self {
        Self(Box::new(Inner {
            kind,
            operation,
            path: None,
            chroot: None,
            sent: false,
            failed_op: None,
            op_codes: Vec::new(),
        }))
    }

    /// The same error, said of another operation.
    #[must_use]
    pub fn in_operation(mut self, operation: &'static str) -> Self {
        self.0.operation = operation;
        self
    }

    /// The same error, said of a path.
    #[must_use]
    pub fn at(mut self, path: &str) -> Self {
        self.0.path = Some(path.to_owned());
        self
    }

    pub(crate) fn below(mut self, chroot: &str) -> Self {
        self.0.chroot = (!chroot.is_empty()).then(|| chroot.to_owned());
        self
    }

    pub(crate) fn sent(mut self, sent: bool) -> Self {
        self.0.sent = sent;
        self
    }

    pub(crate) fn in_multi(mut self, failed_op: usize, op_codes: Vec<ErrorCode>) -> Self {
        self.0.failed_op = Some(failed_op);
        self.0.op_codes = op_codes;
        self
    }

    /// Why.
    #[must_use]
    pub const fn kind(&self) -> &ErrorKind {
        &self.0.kind
    }

    /// The code of the protocol nearest to [`Error::kind`].
    #[must_use]
    pub const fn code(&self) -> ErrorCode {
        self.0.kind.code()
    }

    /// The path the call was for, as the caller gave it.
    #[must_use]
    pub fn path(&self) -> Option<&str> {
        self.0.path.as_deref()
    }

    /// What was attempted: `create`, `get`, ...
    #[must_use]
    pub const fn operation(&self) -> &'static str {
        self.0.operation
    }

    /// Whether the same call may succeed when it is made again in this session: the connection or
    /// the server is at fault, not the call. Where [`Error::outcome_unknown`] holds too, making it
    /// again may do it twice.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::ConnectionLoss
                | ErrorKind::TimedOut
                | ErrorKind::Throttled
                | ErrorKind::NotReadOnly
                | ErrorKind::ReconfigInProgress
                | ErrorKind::NewConfigNoQuorum
        )
    }

    /// Whether the call may have taken effect, or may do so yet: it was sent, and no answer came.
    #[must_use]
    pub const fn outcome_unknown(&self) -> bool {
        self.0.sent
            && matches!(
                self.0.kind,
                ErrorKind::ConnectionLoss
                    | ErrorKind::TimedOut
                    | ErrorKind::SessionExpired
                    | ErrorKind::AuthFailed
                    | ErrorKind::Closed
                    | ErrorKind::Protocol(_)
                    | ErrorKind::TooLarge { .. }
            )
    }

    /// Whether the session is over; a new [`crate::Client`] must be connected.
    #[must_use]
    pub const fn session_lost(&self) -> bool {
        matches!(
            self.0.kind,
            ErrorKind::SessionExpired | ErrorKind::AuthFailed | ErrorKind::Closed
        )
    }

    /// Which operation of a multi failed, counted from 0.
    #[must_use]
    pub const fn failed_op(&self) -> Option<usize> {
        self.0.failed_op
    }

    /// What the server said of each operation of a multi: OK before the one that failed,
    /// RUNTIME_INCONSISTENCY behind it. Empty for other errors.
    #[must_use]
    pub fn op_codes(&self) -> &[ErrorCode] {
        &self.0.op_codes
    }

    fn what(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0.kind {
            ErrorKind::NoNode => f.write_str("no such node, or its parent does not exist"),
            ErrorKind::NodeExists => f.write_str("the node exists"),
            ErrorKind::NotEmpty => f.write_str("the node has children; delete them first"),
            ErrorKind::BadVersion => {
                f.write_str("the node has another version; read it again before changing it")
            }
            ErrorKind::NoAuth => f.write_str("permission denied by the node's ACL"),
            ErrorKind::NoChildrenForEphemerals => {
                f.write_str("the parent is ephemeral and cannot have children")
            }
            ErrorKind::InvalidAcl => {
                f.write_str("the ACL is empty or names a scheme or id the server does not accept")
            }
            ErrorKind::NotReadOnly => {
                f.write_str("the server has no quorum and is read-only; try again later")
            }
            ErrorKind::EphemeralOnLocalSession => {
                f.write_str("the session is local to its server and cannot own ephemeral nodes")
            }
            ErrorKind::NoWatcher => f.write_str("no such watch"),
            ErrorKind::QuotaExceeded => f.write_str("a hard quota above the node is exceeded"),
            ErrorKind::ReconfigDisabled => f.write_str("the server has reconfigEnabled=false"),
            ErrorKind::ReconfigInProgress => {
                f.write_str("another reconfiguration is under way; try again later")
            }
            ErrorKind::NewConfigNoQuorum => f.write_str(
                "no quorum of the new ensemble is connected and in step; start its servers first",
            ),
            ErrorKind::Throttled => f.write_str("the server is overloaded; try again later"),
            ErrorKind::Unimplemented => {
                f.write_str("the server does not know the operation, or has it switched off")
            }
            ErrorKind::Server(code) => {
                write!(f, "the server answers {} ({})", code.name(), code.0)
            }
            ErrorKind::ConnectionLoss => f.write_str("the connection was lost"),
            ErrorKind::SessionExpired => {
                f.write_str("the session has expired; connect a new client")
            }
            ErrorKind::AuthFailed => {
                f.write_str("an identity was refused; check its scheme and credentials")
            }
            ErrorKind::TimedOut => f.write_str("no answer within the request timeout"),
            ErrorKind::Closed => f.write_str("the client is closed"),
            ErrorKind::BadArguments(what) => write!(f, "bad arguments: {what}"),
            ErrorKind::BadConnectString(what) => write!(f, "bad connect string: {what}"),
            ErrorKind::Unreachable(what) => write!(f, "no server could be reached: {what}"),
            ErrorKind::NotZooKeeper(what) => {
                write!(
                    f,
                    "that is no ZooKeeper server: {what}; check host and port"
                )
            }
            ErrorKind::TooLarge { bytes, limit } => write!(
                f,
                "a packet of {bytes} bytes is over the limit of {limit}; \
                 split it, or raise the limit here and jute.maxbuffer at the servers"
            ),
            ErrorKind::Protocol(what) => write!(f, "a reply cannot be read: {what}"),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.operation)?;
        if let Some(path) = &self.0.path {
            write!(f, " {}", path.escape_debug())?;
        }
        f.write_str(": ")?;
        if let Some(at) = self.0.failed_op {
            write!(f, "operation {at} failed and nothing was changed: ")?;
        }
        self.what(f)?;
        if let Some(chroot) = &self.0.chroot
            && self.0.kind == ErrorKind::NoNode
        {
            write!(
                f,
                " (paths are below the chroot {}; does it exist?)",
                chroot.escape_debug()
            )?;
        }
        if self.outcome_unknown() {
            f.write_str("; whether it took effect is not known")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?} ({self})", self.0.kind)
    }
}

impl std::error::Error for Error {}
