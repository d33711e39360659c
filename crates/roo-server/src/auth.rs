//! How a connection proves an identity: the schemes that need no handshake of their own. Java:
//! `DigestAuthenticationProvider`, `IPAuthenticationProvider`.
//!
//! Passwords are hashed here and never kept or logged.

use std::fmt;
use std::net::IpAddr;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use md5::Md5;
use roo_proto::acl::Id;
use roo_proto::jute;
use sha1::Sha1;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};

/// The hash that turns passwords into ids; the same on every server of an ensemble.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum DigestAlgorithm {
    Md5,
    #[default]
    Sha1,
    Sha224,
    Sha256,
    Sha384,
    Sha512,
}

impl DigestAlgorithm {
    /// By its name in the Java cryptography architecture, in any case.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "MD5" => Self::Md5,
            "SHA1" | "SHA-1" | "SHA" => Self::Sha1,
            "SHA-224" | "SHA224" => Self::Sha224,
            "SHA-256" | "SHA256" => Self::Sha256,
            "SHA-384" | "SHA384" => Self::Sha384,
            "SHA-512" | "SHA512" => Self::Sha512,
            _ => return None,
        })
    }

    fn hash(self, bytes: &[u8]) -> Vec<u8> {
        match self {
            Self::Md5 => Md5::digest(bytes).to_vec(),
            Self::Sha1 => Sha1::digest(bytes).to_vec(),
            Self::Sha224 => Sha224::digest(bytes).to_vec(),
            Self::Sha256 => Sha256::digest(bytes).to_vec(),
            Self::Sha384 => Sha384::digest(bytes).to_vec(),
            Self::Sha512 => Sha512::digest(bytes).to_vec(),
        }
    }
}

/// What the configuration says about authentication.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct AuthSettings {
    /// Whether the digest scheme is there.
    pub digest_disabled: bool,
    /// The hash of the digest scheme.
    pub algorithm: DigestAlgorithm,
    /// The id whose owner is super.
    pub super_digest: Option<String>,
}

impl fmt::Debug for AuthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AuthSettings")
            .field("digest_disabled", &self.digest_disabled)
            .field("algorithm", &self.algorithm)
            .field("super_digest", &self.super_digest.as_ref().map(|_| "***"))
            .finish()
    }
}

/// The identity that every connection has from the start.
#[must_use]
pub fn address_id(address: IpAddr) -> Id {
    let text = match address.to_canonical() {
        IpAddr::V4(address) => address.to_string(),
        // Java leaves no zeros out.
        IpAddr::V6(address) => address
            .segments()
            .map(|segment| format!("{segment:x}"))
            .join(":"),
    };
    Id::new("ip", &text)
}

/// Adds an identity at the place where a Java server lists it: the identities of a connection are
/// in a hash table there, and clients see its order in lists made for the scheme `auth` and in
/// whoAmI.
pub fn add_id(ids: &mut Vec<Id>, id: Id) {
    if ids.contains(&id) {
        return;
    }
    ids.push(id);
    // The table has 16 places and is doubled whenever it is three quarters full.
    let mut places = 16;
    while ids.len() >= places / 4 * 3 {
        places *= 2;
    }
    ids.sort_by_key(|id| place(id, places));
}

/// Bytes of all the identities of a connection.
#[must_use]
pub fn bytes_of(ids: &[Id]) -> usize {
    ids.iter().map(|id| id.scheme.len() + id.id.len()).sum()
}

/// Java: `Id.hashCode` and the spreading of `ConcurrentHashMap`.
fn place(id: &Id, places: usize) -> usize {
    let text = |text: &str| {
        let next = |hash: u32, unit: u16| hash.wrapping_mul(31).wrapping_add(u32::from(unit));
        text.encode_utf16().fold(0u32, next)
    };
    let hash = [&id.scheme, &id.id].iter().fold(17u32, |hash, field| {
        hash.wrapping_mul(37).wrapping_add(text(field))
    });
    (hash ^ (hash >> 16)) as usize & (places - 1)
}

/// The ids that an auth packet proves; `None` fails it.
#[must_use]
pub fn authenticate(
    scheme: Option<&str>,
    data: Option<&[u8]>,
    address: IpAddr,
    settings: &AuthSettings,
) -> Option<Vec<Id>> {
    match scheme? {
        "ip" => Some(vec![address_id(address)]),
        "digest" if !settings.digest_disabled => {
            let text = jute::decode_utf8(data?);
            let id = digest_id(&text, settings.algorithm);
            let is_super = settings.super_digest.as_deref() == Some(id.as_str());
            let mut ids = Vec::new();
            if is_super {
                ids.push(Id::new("super", ""));
            }
            ids.push(Id::new("digest", &id));
            Some(ids)
        }
        _ => None,
    }
}

/// `user:base64(hash(user:password))`; the user is what stands before the first colon.
#[must_use]
pub fn digest_id(user_and_password: &str, algorithm: DigestAlgorithm) -> String {
    let user = user_and_password.split(':').next().unwrap_or_default();
    let hash = BASE64_STANDARD.encode(algorithm.hash(user_and_password.as_bytes()));
    format!("{user}:{hash}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn digests_are_apaches() {
        let id = digest_id("super:test", DigestAlgorithm::Sha1);
        assert_eq!(id, "super:D/InIHSb7yEEbrWz8b9l71RjZJU=");
    }

    #[test]
    fn identities_are_listed_in_the_order_of_javas_table() {
        // As whoAmI of a genuine server shows them; those of one place in the order they came.
        let listed = |passwords: &[&str]| {
            let mut ids = vec![address_id(HERE)];
            for password in passwords {
                let id = digest_id(password, DigestAlgorithm::Sha1);
                add_id(&mut ids, Id::new("digest", &id));
            }
            let user = |id: &Id| id.id.split(':').next().unwrap_or_default().to_owned();
            ids.iter().map(user).collect::<Vec<_>>()
        };
        let forwards = listed(&["u:p", "v:q", "w:", ":", "w:"]);
        assert_eq!(forwards, ["w", "127.0.0.1", "u", "v", ""]);
        let backwards = listed(&[":", "w:", "v:q", "u:p"]);
        assert_eq!(backwards, ["w", "127.0.0.1", "", "v", "u"]);
    }

    #[test]
    fn addresses_are_written_as_java_does() {
        let text = |address: &str| address_id(address.parse().unwrap()).id;
        assert_eq!(text("::1"), "0:0:0:0:0:0:0:1");
        assert_eq!(text("fe80::a0B"), "fe80:0:0:0:0:0:0:a0b");
        assert_eq!(text("::ffff:1.2.3.4"), "1.2.3.4");
    }

    #[test]
    fn the_super_digest_makes_super() {
        let settings = AuthSettings {
            super_digest: Some("super:D/InIHSb7yEEbrWz8b9l71RjZJU=".into()),
            ..AuthSettings::default()
        };
        let ids = authenticate(Some("digest"), Some(b"super:test"), HERE, &settings).unwrap();
        assert!(ids.contains(&Id::new("super", "")));
        let ids = authenticate(Some("digest"), Some(b"super:wrong"), HERE, &settings).unwrap();
        assert!(!ids.contains(&Id::new("super", "")));
        assert!(!format!("{settings:?}").contains("D/InIH"));
    }

    #[test]
    fn what_is_no_scheme_fails() {
        let settings = AuthSettings::default();
        for scheme in [
            None,
            Some("world"),
            Some("auth"),
            Some("super"),
            Some(""),
            Some("Digest"),
        ] {
            assert_eq!(
                authenticate(scheme, Some(b"a:b"), HERE, &settings),
                None,
                "{scheme:?}"
            );
        }
        assert_eq!(authenticate(Some("digest"), None, HERE, &settings), None);
        let ip = authenticate(Some("ip"), None, HERE, &settings);
        assert_eq!(ip, Some(vec![Id::new("ip", "127.0.0.1")]));
    }
}
