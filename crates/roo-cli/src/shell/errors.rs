//! What zkCli says of an error, word for word: scripts look for it.

use roo_client::{Error, ErrorCode, ErrorKind};
use roo_proto::path;

use crate::connect::{Exit, Failure, exit_of};

/// The failure of an operation on `path`, as zkCli words it.
pub(super) fn refused(error: &Error, path: &str) -> Failure {
    let text = match error.kind() {
        // What zkCli has no words for.
        ErrorKind::TooLarge { .. }
        | ErrorKind::Unreachable(_)
        | ErrorKind::NotZooKeeper(_)
        | ErrorKind::BadConnectString(_)
        | ErrorKind::Protocol(_)
        | ErrorKind::Closed
        | ErrorKind::TimedOut => error.to_string(),
        kind => worded(kind.code(), path).unwrap_or_else(|| keeper(kind.code(), path)),
    };
    match exit_of(error) {
        Exit::Lost => Failure::new(Exit::Lost, lost(error, text)),
        exit => Failure::new(exit, text),
    }
}

/// Adds what is to be known of a change whose reply did not come.
fn lost(error: &Error, text: String) -> String {
    if error.outcome_unknown() {
        return format!(
            "{text}: it is not known whether the change was made; look before repeating it"
        );
    }
    match error.kind() {
        ErrorKind::ConnectionLoss => format!("{text}: the server cannot be reached any more"),
        ErrorKind::SessionExpired => format!("{text}: connect again"),
        _ => text,
    }
}

fn worded(code: ErrorCode, path: &str) -> Option<String> {
    Some(match code {
        ErrorCode::NO_NODE => format!("Node does not exist: {path}"),
        ErrorCode::NO_CHILDREN_FOR_EPHEMERALS => {
            format!("Ephemerals cannot have children: {path}")
        }
        ErrorCode::NODE_EXISTS => format!("Node already exists: {path}"),
        ErrorCode::NOT_EMPTY => format!("Node not empty: {path}"),
        ErrorCode::NOT_READ_ONLY => format!("Not a read-only call: {path}"),
        ErrorCode::INVALID_ACL => format!("Acl is not valid : {path}"),
        ErrorCode::NO_AUTH => format!("Insufficient permission : {path}"),
        ErrorCode::BAD_ARGUMENTS => format!("Arguments are not valid : {path}"),
        ErrorCode::BAD_VERSION => format!("version No is not valid : {path}"),
        ErrorCode::RECONFIG_IN_PROGRESS => {
            "Another reconfiguration is in progress -- concurrent reconfigs not supported (yet)"
                .to_owned()
        }
        ErrorCode::NEW_CONFIG_NO_QUORUM => "No quorum of new config is connected and up-to-date \
             with the leader of last commmitted config - try invoking reconfiguration after new \
             servers are connected and synced"
            .to_owned(),
        ErrorCode::QUOTA_EXCEEDED => format!("Quota has exceeded : {path}"),
        _ => return None,
    })
}

/// The message of Java's `KeeperException`.
pub(super) fn keeper(code: ErrorCode, path: &str) -> String {
    let what = match code {
        ErrorCode::SYSTEM_ERROR => "SystemError",
        ErrorCode::RUNTIME_INCONSISTENCY => "RuntimeInconsistency",
        ErrorCode::DATA_INCONSISTENCY => "DataInconsistency",
        ErrorCode::CONNECTION_LOSS => "ConnectionLoss",
        ErrorCode::MARSHALLING_ERROR => "MarshallingError",
        ErrorCode::UNIMPLEMENTED => "Unimplemented",
        ErrorCode::OPERATION_TIMEOUT => "OperationTimeout",
        ErrorCode::BAD_ARGUMENTS => "BadArguments",
        ErrorCode::NO_NODE => "NoNode",
        ErrorCode::NO_AUTH => "NoAuth",
        ErrorCode::BAD_VERSION => "BadVersion",
        ErrorCode::NO_CHILDREN_FOR_EPHEMERALS => "NoChildrenForEphemerals",
        ErrorCode::NODE_EXISTS => "NodeExists",
        ErrorCode::NOT_EMPTY => "Directory not empty",
        ErrorCode::SESSION_EXPIRED => "Session expired",
        ErrorCode::INVALID_ACL => "InvalidACL",
        ErrorCode::AUTH_FAILED => "AuthFailed",
        ErrorCode::SESSION_MOVED => "Session moved",
        ErrorCode::NOT_READ_ONLY => "Not a read-only call",
        ErrorCode::EPHEMERAL_ON_LOCAL_SESSION => "Ephemeral node on local session",
        ErrorCode::NO_WATCHER => "No such watcher",
        ErrorCode::RECONFIG_DISABLED => "Reconfig is disabled",
        ErrorCode::SESSION_CLOSED_REQUIRE_SASL_AUTH => {
            "Session closed because client failed to authenticate"
        }
        ErrorCode::QUOTA_EXCEEDED => "Quota has exceeded",
        ErrorCode::THROTTLED_OP => "Op throttled due to high load",
        other => {
            let text = format!("KeeperErrorCode = Unknown error {}", other.0);
            return with_path(text, path);
        }
    };
    with_path(format!("KeeperErrorCode = {what}"), path)
}

fn with_path(text: String, path: &str) -> String {
    if path.is_empty() {
        text
    } else {
        format!("{text} for {path}")
    }
}

/// Refuses a path that no server would take, in Java's words and before anything is sent.
pub(super) fn check_path(path: &str) -> Result<(), Failure> {
    if path::is_valid(path) {
        return Ok(());
    }
    Err(Failure::failed(objection(path)))
}

/// The same for a path to which a sequence number will be appended.
pub(super) fn check_sequential(prefix: &str) -> Result<(), Failure> {
    check_path(&format!("{prefix}1"))
}

fn objection(path: &str) -> String {
    if path.is_empty() {
        return "Path length must be > 0".to_owned();
    }
    if !path.starts_with('/') {
        return "Path must start with / character".to_owned();
    }
    if path.ends_with('/') {
        return "Path must not end with / character".to_owned();
    }
    let mut at = 0;
    let mut reason = String::from("invalid character");
    let letters: Vec<char> = path.chars().collect();
    for (index, letter) in letters.iter().enumerate().skip(1) {
        let before = letters.get(index.wrapping_sub(1)).copied();
        let after = letters.get(index + 1).copied();
        let ends = matches!(after, None | Some('/'));
        let units: usize = letters.iter().take(index).map(|c| c.len_utf16()).sum();
        at = units;
        if *letter == '\0' {
            reason = "null character not allowed".to_owned();
            break;
        }
        if *letter == '/' && before == Some('/') {
            reason = "empty node name specified".to_owned();
            break;
        }
        let two = index >= 2 && before == Some('.') && letters.get(index - 2) == Some(&'/');
        if *letter == '.' && ends && (before == Some('/') || two) {
            reason = "relative paths not allowed".to_owned();
            break;
        }
        if !path::is_valid(&format!("/x{letter}x")) && *letter != '/' {
            break;
        }
    }
    format!("Invalid path string \"{path}\" caused by {reason} @{at}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objections_to_paths_are_java_s() {
        let cases = [
            ("", "Path length must be > 0"),
            ("x", "Path must start with / character"),
            ("/x/", "Path must not end with / character"),
            ("//x", "empty node name specified @1"),
            ("/x/../y", "relative paths not allowed @4"),
            ("/x/.", "relative paths not allowed @3"),
            ("/x/./y", "relative paths not allowed @3"),
            ("/ab\u{1}c", "invalid character @3"),
            ("/a\u{1F600}", "invalid character @2"),
            ("/a\0", "null character not allowed @2"),
        ];
        for (path, expected) in cases {
            let said = check_path(path).unwrap_err().text;
            assert!(said.ends_with(expected), "{path:?}: {said}");
        }
        assert!(check_path("/a..b/...").is_ok());
        assert!(check_sequential("/a/").is_ok());
    }
}
