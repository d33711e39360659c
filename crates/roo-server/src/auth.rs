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
    Id::new("ip", &address.to_canonical().to_string())
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
