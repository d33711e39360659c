//! The rules of znode paths. Java: `PathUtils`.

use alloc::format;
use alloc::string::String;

/// The node that holds the system nodes.
pub const ZOOKEEPER: &str = "/zookeeper";
/// The node under which quotas are kept.
pub const QUOTA: &str = "/zookeeper/quota";
/// The node that holds the ensemble's configuration.
pub const CONFIG: &str = "/zookeeper/config";
/// Name of the node with the limits of a quota.
pub const QUOTA_LIMITS: &str = "zookeeper_limits";
/// Name of the node with the counts of a quota.
pub const QUOTA_STATS: &str = "zookeeper_stats";

/// Whether a node may be created under this path.
#[must_use]
pub fn is_valid(path: &str) -> bool {
    if path == "/" {
        return true;
    }
    let Some(rest) = path.strip_prefix('/') else {
        return false;
    };
    // One pass over the bytes: every write checks a path, and most paths are ASCII.
    let is_name = |length: usize, dots: usize| length > 2 || length > dots;
    let (mut length, mut dots, mut is_ascii) = (0, 0, true);
    for byte in rest.bytes() {
        match byte {
            b'/' if is_name(length, dots) => (length, dots) = (0, 0),
            b'/' | ..=0x1F | 0x7F => return false,
            _ => {
                length += 1;
                dots += usize::from(byte == b'.');
                is_ascii &= byte.is_ascii();
            }
        }
    }
    is_name(length, dots) && (is_ascii || !rest.chars().any(is_forbidden))
}

/// Whether a file may hold a node of this path: older servers were less strict about characters.
#[must_use]
pub fn is_loadable(path: &str) -> bool {
    path.strip_prefix('/')
        .is_some_and(|rest| rest.split('/').all(|name| !name.is_empty()))
}

/// The test is on UTF-16 units in Java; every character above U+FFFF has surrogates.
const fn is_forbidden(c: char) -> bool {
    matches!(c,
        '\u{0}'..='\u{1F}' | '\u{7F}'..='\u{9F}' | '\u{E000}'..='\u{F8FF}'
        | '\u{FFF0}'..='\u{FFFF}' | '\u{10000}'..)
}

/// Splits a path at its last '/' into parent and name; the parent of `/a` is `/`, that of `/` too
/// (with an empty name). `None` without a '/'.
#[must_use]
pub fn split(path: &str) -> Option<(&str, &str)> {
    let (parent, name) = path.rsplit_once('/')?;
    Some((if parent.is_empty() { "/" } else { parent }, name))
}

/// The path of a sequential node: ten digits, a sign counts as one of them.
#[must_use]
pub fn sequential(prefix: &str, sequence: i32) -> String {
    format!("{prefix}{sequence:010}")
}

/// Whether `path` is `ancestor` or lies below it.
#[must_use]
pub fn is_under(path: &str, ancestor: &str) -> bool {
    ancestor == "/"
        || path
            .strip_prefix(ancestor)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn valid_and_invalid_paths_are_apaches() {
        let valid = [
            "/",
            "/a",
            "/.a",
            "/..a",
            "/...",
            "/a.",
            "/ ",
            "/~",
            "/\u{A0}",
            "/\u{2028}",
            "/\u{D7FF}",
            "/\u{F900}",
            "/\u{FEFF}",
            "/\u{FFEF}",
            "/\\",
            "/:",
            "/%00",
            "/a/b/c",
        ];
        for path in valid {
            assert!(is_valid(path), "{path:?}");
        }
        let invalid = [
            "",
            "a",
            "//",
            "/a/",
            "/a//b",
            "/.",
            "/..",
            "/a/./b",
            "/a/../b",
            "/\u{1}",
            "/\u{7F}",
            "/\u{9F}",
            "/\u{E000}",
            "/\u{F8FF}",
            "/\u{FFF0}",
            "/\u{FFFD}",
            "/\u{1F600}",
            "/\0",
        ];
        for path in invalid {
            assert!(!is_valid(path), "{path:?}");
        }
    }

    #[test]
    fn sequence_numbers_are_ten_wide_with_their_sign() {
        assert_eq!(sequential("/a", 12), "/a0000000012");
        assert_eq!(sequential("/a", -1), "/a-000000001");
        assert_eq!(sequential("/", i32::MIN), "/-2147483648");
    }

    #[test]
    fn ancestors_go_by_component() {
        assert!(is_under("/a/b", "/a") && is_under("/a", "/a") && is_under("/a", "/"));
        assert!(!is_under("/ab", "/a"));
    }

    #[test]
    fn the_parent_of_a_top_node_is_the_root() {
        assert_eq!(split("/a"), Some(("/", "a")));
        assert_eq!(split("/a/b"), Some(("/a", "b")));
        assert_eq!(split("/"), Some(("/", "")));
        assert_eq!(split("a"), None);
    }
}
