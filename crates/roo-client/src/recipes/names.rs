//! Names of the nodes that stand in line: who made them, of which kind they are, and their place.
//! The names are those of Apache Curator and of kazoo, so that processes of all three share a line.

/// Whose names of nodes a recipe uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// Apache Curator's: `_c_<uuid>-lock-0000000007`.
    #[default]
    Curator,
    /// kazoo's: `<uuid without dashes>__lock__0000000007`.
    Kazoo,
}

/// How a contender gets on with its neighbours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Alone, or not at all.
    Exclusive,
    /// Together with its like.
    Shared,
}

/// What stands between the unique part of a name and the sequence number, by recipe and origin.
const MARKS: &[(&str, Kind)] = &[
    (LOCK, Kind::Exclusive),
    (WRITE, Kind::Exclusive),
    (READ, Kind::Shared),
    (LATCH, Kind::Exclusive),
    (LEASE, Kind::Exclusive),
    (KAZOO_LOCK, Kind::Exclusive),
    (KAZOO_READ, Kind::Shared),
];

/// Curator: `InterProcessMutex`, `LeaderSelector`.
pub(super) const LOCK: &str = "lock-";
/// Curator: `InterProcessReadWriteLock`, its writers.
pub(super) const WRITE: &str = "__WRIT__";
/// Curator: `InterProcessReadWriteLock`, its readers.
pub(super) const READ: &str = "__READ__";
/// Curator: `LeaderLatch`.
pub(super) const LATCH: &str = "latch-";
/// Curator: `InterProcessSemaphoreV2`.
pub(super) const LEASE: &str = "lease-";
/// kazoo: `Lock`, `WriteLock`, `Election`.
pub(super) const KAZOO_LOCK: &str = "__lock__";
/// kazoo: `ReadLock`.
pub(super) const KAZOO_READ: &str = "__rlock__";

/// Fewest characters of a sequence number, as the server writes it.
const SEQUENCE_LENGTH: usize = 10;

impl Layout {
    /// The name up to the sequence number: nobody else uses it, so that a node whose creation was
    /// never answered can be found again.
    pub(super) fn prefix(self, unique: u128, mark: &str) -> String {
        match self {
            Self::Curator => format!("_c_{}-{mark}", uuid(unique)),
            Self::Kazoo => format!("{}{mark}", hex(unique)),
        }
    }
}

/// `unique` as Java's `UUID.fromString` takes it.
pub(super) fn uuid(unique: u128) -> String {
    let digits = hex(unique);
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    parts.map(|(from, to)| &digits[from..to]).join("-")
}

/// `unique` as Python's `uuid.hex`.
pub(super) fn hex(unique: u128) -> String {
    format!("{unique:032x}")
}

/// A name that somebody stands in line with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Standing {
    pub(super) kind: Kind,
    /// What the server appended. It wraps around after 2^31 creations, so that places are compared
    /// by their distance from one's own.
    pub(super) sequence: i32,
}

/// What `name` says, if it is the name of a contender at all.
pub(super) fn standing(name: &str) -> Option<Standing> {
    MARKS.iter().find_map(|(mark, kind)| {
        let at = name.rfind(mark)? + mark.len();
        let digits = &name[at..];
        let sequence = digits.parse().ok()?;
        (digits.len() >= SEQUENCE_LENGTH).then_some(Standing {
            kind: *kind,
            sequence,
        })
    })
}

/// `directory/name`.
pub(super) fn child(directory: &str, name: &str) -> String {
    let directory = directory.trim_end_matches('/');
    format!("{directory}/{name}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_curator_and_kazoo_are_understood() {
        let of = |name: &str| standing(name).map(|found| (found.kind, found.sequence));
        let named = |end: &str| of(&format!("_c_6d9bf2b8-7d4f-4b5c-9d3a-0b1f0a6f3c55-{end}"));
        assert_eq!(named("lock-0000000007"), Some((Kind::Exclusive, 7)));
        assert_eq!(named("__READ__0000000010"), Some((Kind::Shared, 10)));
        assert_eq!(named("__WRIT__0000000011"), Some((Kind::Exclusive, 11)));
        assert_eq!(
            of("0123456789abcdef__lock__2147483647"),
            Some((Kind::Exclusive, i32::MAX))
        );
        assert_eq!(
            of("0123456789abcdef__rlock__-2147483648"),
            Some((Kind::Shared, i32::MIN))
        );
        assert_eq!(of("lock--000000005"), Some((Kind::Exclusive, -5)));
    }

    #[test]
    fn other_names_are_nobodys_place() {
        for name in [
            "",
            "lock-",
            "lock-7",
            "config",
            "lock-00000000x7",
            "__lock__99999999999",
        ] {
            assert_eq!(standing(name), None, "{name}");
        }
    }

    #[test]
    fn prefixes_have_the_form_of_their_origin() {
        let unique = 0x6d9b_f2b8_7d4f_4b5c_9d3a_0b1f_0a6f_3c55;
        assert_eq!(
            Layout::Curator.prefix(unique, LOCK),
            "_c_6d9bf2b8-7d4f-4b5c-9d3a-0b1f0a6f3c55-lock-"
        );
        assert_eq!(
            Layout::Kazoo.prefix(unique, KAZOO_LOCK),
            "6d9bf2b87d4f4b5c9d3a0b1f0a6f3c55__lock__"
        );
    }

    #[test]
    fn a_child_of_the_root_has_one_slash() {
        assert_eq!(child("/", "a"), "/a");
        assert_eq!(child("/a", "b"), "/a/b");
    }
}
