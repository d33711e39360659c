//! Access control lists: the usual ones, and their text as the shell writes it.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use roo_proto::acl::{Acl, PERM_ADMIN, PERM_ALL, PERM_CREATE, PERM_DELETE, PERM_READ, PERM_WRITE};
use sha1::{Digest as _, Sha1};

use crate::error::{Error, ErrorKind, Result};

/// What an entry of an access control list permits; join them with `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Permissions(i32);

impl Permissions {
    /// To read a node's data and children.
    pub const READ: Self = Self(PERM_READ);
    /// To change its data.
    pub const WRITE: Self = Self(PERM_WRITE);
    /// To create children.
    pub const CREATE: Self = Self(PERM_CREATE);
    /// To delete children.
    pub const DELETE: Self = Self(PERM_DELETE);
    /// To change its access control list.
    pub const ADMIN: Self = Self(PERM_ADMIN);
    /// All of them.
    pub const ALL: Self = Self(PERM_ALL);

    /// The bits of [`Acl::perms`].
    #[must_use]
    pub const fn bits(self) -> i32 {
        self.0
    }
}

impl std::ops::BitOr for Permissions {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

/// Everybody may do everything.
#[must_use]
pub fn open() -> Vec<Acl> {
    vec![Acl::open()]
}

/// Whoever the creator has proved to be may do everything, nobody else anything. Servers refuse it
/// from a session that has proved nothing, see [`crate::Client::add_auth`].
#[must_use]
pub fn creator_all() -> Vec<Acl> {
    vec![Acl::new(PERM_ALL, "auth", "")]
}

/// Everybody may read.
#[must_use]
pub fn read_only() -> Vec<Acl> {
    vec![Acl::new(PERM_READ, "world", "anyone")]
}

/// Everything for whoever proves `digest` with this user and password. The list carries a hash of
/// the password: SHA-1, which a server's file or a reader of the list lets guess at.
#[must_use]
pub fn digest(user: &str, password: &str) -> Acl {
    Acl::new(PERM_ALL, "digest", &digest_id(user, password))
}

/// `user:hash`, the identity of scheme `digest`. Java: `DigestAuthenticationProvider.generateDigest`.
#[must_use]
pub fn digest_id(user: &str, password: &str) -> String {
    let hash = Sha1::digest(format!("{user}:{password}"));
    format!("{user}:{}", STANDARD.encode(hash))
}

/// Everything for connections from an address, or a range such as `10.0.0.0/8`.
#[must_use]
pub fn ip(range: &str) -> Acl {
    Acl::new(PERM_ALL, "ip", range)
}

const LETTERS: [(char, i32); 5] = [
    ('c', PERM_CREATE),
    ('d', PERM_DELETE),
    ('r', PERM_READ),
    ('w', PERM_WRITE),
    ('a', PERM_ADMIN),
];

/// Reads `scheme:id:perms,scheme:id:perms,...` as zkCli does: the id may hold colons, the
/// permissions are letters of `cdrwa`.
///
/// # Errors
/// [`ErrorKind::BadArguments`] that names the entry.
pub fn parse(text: &str) -> Result<Vec<Acl>> {
    let bad = |entry: &str, what: &str| {
        let what =
            format!("{entry:?} {what}: expected scheme:id:permissions, e.g. world:anyone:cdrwa");
        Err(Error::new(ErrorKind::BadArguments(what), "parse an ACL"))
    };
    let mut list = Vec::new();
    for entry in text.split(',') {
        let Some((scheme, rest)) = entry.split_once(':') else {
            return bad(entry, "has no colon");
        };
        let Some((id, letters)) = rest.rsplit_once(':') else {
            return bad(entry, "has one colon only");
        };
        let mut perms = 0;
        for letter in letters.chars() {
            match LETTERS.iter().find(|(known, _)| *known == letter) {
                Some((_, bit)) => perms |= bit,
                None => return bad(entry, &format!("has an unknown permission {letter:?}")),
            }
        }
        list.push(Acl::new(perms, scheme.trim(), id));
    }
    Ok(list)
}

/// Writes a list as [`parse`] reads it.
#[must_use]
pub fn format(list: &[Acl]) -> String {
    let entries = list.iter().map(|acl| {
        let letters: String = LETTERS
            .iter()
            .filter(|(_, bit)| acl.perms & bit != 0)
            .map(|(letter, _)| letter)
            .collect();
        format!("{}:{}:{letters}", acl.id.scheme, acl.id.id)
    });
    entries.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_read_as_it_is_written() {
        let text = "world:anyone:r,digest:a:b=:cdrwa,ip:::1:cw";
        assert_eq!(format(&parse(text).unwrap()), text);
        for bad in [
            "",
            "world",
            "world:anyone",
            "world:anyone:x",
            "world:anyone:r,",
        ] {
            assert!(parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_digest_is_the_genuine_one() {
        let id = digest_id("super", "admin");
        assert_eq!(id, "super:xQJmxLMiHGwaqBvst5y6rkB6HQs=");
    }
}
