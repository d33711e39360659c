//! Who may do what: checks of ACLs against the identities of a connection, and the making of the
//! ACL that a request asks for. Java: `ZooKeeperServer.checkACL`, `PrepRequestProcessor.fixupACL`.
//!
//! How somebody proves an identity is not decided here.

use alloc::string::String;
use alloc::vec::Vec;
use core::net::IpAddr;

use roo_proto::acl::{Acl, Id};
use roo_proto::error_code::ErrorCode;
use roo_proto::request::RequestAcl;

use crate::acl_table::AclId;
use crate::state::State;

/// Which schemes besides `world` and `auth` may stand in an ACL: those whose provider is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Providers {
    pub digest: bool,
    pub ip: bool,
    pub sasl: bool,
    pub x509: bool,
}

impl Default for Providers {
    fn default() -> Self {
        Self {
            digest: true,
            ip: true,
            sasl: false,
            x509: false,
        }
    }
}

impl State {
    /// Whether somebody with the identities `ids` has one of the permissions `perms` on a node
    /// with this ACL.
    #[must_use]
    pub fn permits(&self, acl: AclId, perms: i32, ids: &[Id]) -> bool {
        self.rules.skip_acl
            || self.tree.acls.world_perms(acl) & perms != 0
            || permits(self.tree.acls.list(acl), perms, ids)
    }
}

/// The same for an ACL that is not stored yet. An empty list permits everything.
#[must_use]
pub fn permits(acl: &[Acl], perms: i32, ids: &[Id]) -> bool {
    acl.is_empty()
        || ids.iter().any(|id| id.scheme == "super")
        || acl
            .iter()
            .any(|entry| entry.perms & perms != 0 && names_one_of(&entry.id, ids))
}

fn names_one_of(expected: &Id, ids: &[Id]) -> bool {
    if expected.scheme == "world" {
        return expected.id == "anyone";
    }
    ids.iter()
        .filter(|id| id.scheme == expected.scheme)
        .any(|id| match id.scheme.as_str() {
            "ip" => address_matches(&id.id, &expected.id),
            _ => id.id == expected.id,
        })
}

/// Splits `address[/bits]`; `None` when it is no such thing.
fn parse_network(text: &str) -> Option<(IpAddr, u32)> {
    let (address, bits) = match text.split_once('/') {
        Some((address, bits)) => (address, Some(bits)),
        None => (text, None),
    };
    let address = parse_address(address)?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let bits = match bits {
        // Signed as Java's numbers are: "+8" and "-0" are such.
        Some(bits) => u32::try_from(bits.parse::<i32>().ok()?).ok()?,
        None => width,
    };
    (bits <= width).then_some((address, bits))
}

/// Apache's own reading of addresses, which is another one than that of the standards. Java:
/// `IPAuthenticationProvider.addr2Bytes`.
fn parse_address(text: &str) -> Option<IpAddr> {
    if text.contains(':') {
        parse_v6(text)
    } else {
        parse_v4(text)
    }
}

/// Four decimal parts; leading zeros are no octal mark.
fn parse_v4(text: &str) -> Option<IpAddr> {
    let mut octets = [0u8; 4];
    let mut parts = text.split('.');
    for octet in &mut octets {
        *octet = u8::try_from(parts.next()?.parse::<i32>().ok()?).ok()?;
    }
    parts.next().is_none().then(|| IpAddr::from(octets))
}

/// Up to eight hexadecimal parts of at most four characters, a sign among them, and no decimal
/// ones; at least one must be missing where "::" stands.
fn parse_v6(text: &str) -> Option<IpAddr> {
    fn segments(text: &str) -> impl Iterator<Item = &str> + Clone {
        text.split(':').filter(move |_| !text.is_empty())
    }
    let mut halves = text.split("::");
    let (head, tail) = (segments(halves.next()?), halves.next().map(segments));
    if halves.next().is_some() {
        return None;
    }
    let given = head.clone().count() + tail.clone().map_or(0, Iterator::count);
    if (tail.is_some() && given >= 8) || (tail.is_none() && given != 8) {
        return None;
    }
    let mut address = [0u16; 8];
    let (from, to) = address.split_at_mut_checked(head.clone().count())?;
    let skipped = 8 - given;
    let places = from.iter_mut().chain(to.iter_mut().skip(skipped));
    for (place, segment) in places.zip(head.chain(tail.into_iter().flatten())) {
        if segment.encode_utf16().count() > 4 {
            return None;
        }
        let value = i32::from_str_radix(segment, 16).ok()?;
        // Only the lower half of a negative number counts.
        *place = u16::try_from(value & 0xFFFF).ok()?;
    }
    Some(IpAddr::from(address))
}

fn address_matches(address: &str, network: &str) -> bool {
    let (Some((network, bits)), Some(address)) = (parse_network(network), parse_address(address))
    else {
        return false;
    };
    match (network, address) {
        (IpAddr::V4(n), IpAddr::V4(a)) => {
            (n.to_bits() ^ a.to_bits())
                .checked_shr(32 - bits)
                .unwrap_or(0)
                == 0
        }
        (IpAddr::V6(n), IpAddr::V6(a)) => {
            (n.to_bits() ^ a.to_bits())
                .checked_shr(128 - bits)
                .unwrap_or(0)
                == 0
        }
        _ => false,
    }
}

fn is_valid_id(scheme: &str, id: &str, providers: Providers) -> bool {
    match scheme {
        "digest" => providers.digest && is_valid_digest(id),
        "ip" => providers.ip && parse_network(id).is_some(),
        "sasl" => providers.sasl,
        "x509" => providers.x509,
        _ => false,
    }
}

/// Two parts around one ':'; as Java's `split` does, empty parts at the end do not count.
fn is_valid_digest(id: &str) -> bool {
    let parts = id.trim_end_matches(':');
    parts.bytes().filter(|byte| *byte == b':').count() == 1
}

/// Whether the `auth` scheme stands for identities of this scheme.
fn is_authenticated(scheme: &str) -> bool {
    matches!(scheme, "digest" | "sasl" | "x509" | "key")
}

/// Makes the ACL to be stored of the one asked for: duplicates removed, `auth` replaced by the
/// caller's identities.
///
/// # Errors
/// INVALID_ACL, or MARSHALLING_ERROR for a null id where one is needed.
pub fn resolve(
    asked: Option<&[RequestAcl<'_>]>,
    ids: &[Id],
    providers: Providers,
) -> Result<Vec<Acl>, ErrorCode> {
    let asked = asked.unwrap_or_default();
    if asked.is_empty() {
        return Err(ErrorCode::INVALID_ACL);
    }
    let mut list = Vec::with_capacity(asked.len());
    for (at, entry) in asked.iter().enumerate() {
        if asked.iter().take(at).any(|earlier| earlier == entry) {
            continue;
        }
        let scheme = entry.scheme.as_deref().ok_or(ErrorCode::INVALID_ACL)?;
        if scheme == "auth" {
            let before = list.len();
            list.extend(
                ids.iter()
                    .filter(|id| is_authenticated(&id.scheme))
                    .map(|id| Acl {
                        perms: entry.perms,
                        id: id.clone(),
                    }),
            );
            if list.len() == before {
                return Err(ErrorCode::INVALID_ACL);
            }
            continue;
        }
        let id = entry.id.as_deref();
        let known = match scheme {
            "world" | "ip" => true,
            "digest" => providers.digest,
            _ => false,
        };
        if known && id.is_none() {
            return Err(ErrorCode::MARSHALLING_ERROR);
        }
        let id = id.unwrap_or_default();
        let valid = if scheme == "world" {
            id == "anyone"
        } else {
            is_valid_id(scheme, id, providers)
        };
        if !valid {
            return Err(ErrorCode::INVALID_ACL);
        }
        list.push(Acl::new(entry.perms, scheme, id));
    }
    Ok(list)
}

/// The user name that whoAmI and the audit log show for an identity.
#[must_use]
pub fn user_name(id: &Id) -> String {
    match id.scheme.as_str() {
        "digest" => id.id.split(':').next().unwrap_or_default().into(),
        "super" => String::new(),
        _ => id.id.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use roo_proto::acl::{PERM_ALL, PERM_READ, PERM_WRITE};

    fn asked<'a>(perms: i32, scheme: &'a str, id: &'a str) -> RequestAcl<'a> {
        RequestAcl {
            perms,
            scheme: Some(scheme.into()),
            id: Some(id.into()),
        }
    }

    fn resolved(entry: RequestAcl<'_>) -> Result<Vec<Acl>, ErrorCode> {
        resolve(
            Some(&[entry]),
            &[Id::new("ip", "127.0.0.1")],
            Providers::default(),
        )
    }

    #[test]
    fn digest_ids_are_two_parts() {
        for id in ["a:b", ":b", "a:b:"] {
            assert!(is_valid_digest(id), "{id}");
        }
        for id in ["a", "a:", ":", "::", "a:b:c", ""] {
            assert!(!is_valid_digest(id), "{id}");
        }
    }

    #[test]
    fn ip_ids_are_addresses_or_networks() {
        for id in [
            "1.2.3.4",
            "1.2.3.4/0",
            "1.2.3.4/32",
            "::1",
            "fe80::/10",
            "::1/128",
        ] {
            assert!(parse_network(id).is_some(), "{id}");
        }
        for id in [
            "1.2.3",
            "host",
            "",
            "1.2.3.4/33",
            "1.2.3.4/-1",
            "1.2.3.4/8/9",
            "::1/129",
        ] {
            assert!(parse_network(id).is_none(), "{id}");
        }
    }

    #[test]
    fn addresses_are_read_as_apache_reads_them_not_as_the_standards_say() {
        for id in [
            "127.0.0.1/+8",
            "127.0.0.1/-0",
            "127.0.0.+1",
            "127.0.0.-0",
            "127.000.0.0001",
            "fe80::-1",
            "fe80::+1",
            "::",
            "1:2:3:4:5:6:7::",
            "::2:3:4:5:6:7:8",
            "1:2:3:4:5:6:7:8",
        ] {
            assert!(parse_network(id).is_some(), "{id}");
        }
        for id in [
            "127.0.0.256",
            "127.0.0.1.",
            "::ffff:127.0.0.1",
            "::00001",
            "1:2:3:4:5:6:7",
            "1:2:3:4:5:6:7:8:9",
            "1::2:3:4:5:6:7:8",
            "1::2::3",
            ":::",
            "fe80::1%lo",
            "::g",
        ] {
            assert!(parse_network(id).is_none(), "{id}");
        }
        assert_eq!(parse_address("fe80::-1"), "fe80::ffff".parse().ok());
        assert_eq!(parse_address("1::7:8"), "1::7:8".parse().ok());
    }

    #[test]
    fn both_addresses_are_masked() {
        assert!(address_matches("127.0.0.1", "127.1.1.1/8"));
        assert!(address_matches("127.0.0.1", "9.9.9.9/0"));
        assert!(!address_matches("127.0.0.1", "127.1.1.1/16"));
        assert!(!address_matches("127.0.0.1", "::1"));
        assert!(address_matches("0:0:0:0:0:0:0:1", "::/64"));
    }

    #[test]
    fn lists_are_resolved_as_apache_does() {
        assert_eq!(
            resolve(None, &[], Providers::default()),
            Err(ErrorCode::INVALID_ACL)
        );
        assert_eq!(
            resolve(Some(&[]), &[], Providers::default()),
            Err(ErrorCode::INVALID_ACL)
        );
        assert_eq!(
            resolved(asked(31, "world", "bob")),
            Err(ErrorCode::INVALID_ACL)
        );
        assert_eq!(
            resolved(asked(31, "super", "")),
            Err(ErrorCode::INVALID_ACL)
        );
        assert_eq!(resolved(asked(31, "auth", "")), Err(ErrorCode::INVALID_ACL));
        assert_eq!(
            resolved(asked(1024, "ip", "1.2.3.4")),
            Ok(vec![Acl::new(1024, "ip", "1.2.3.4")])
        );
        let null_id = RequestAcl {
            perms: 1,
            scheme: Some("world".into()),
            id: None,
        };
        assert_eq!(resolved(null_id), Err(ErrorCode::MARSHALLING_ERROR));
        let null_scheme = RequestAcl {
            perms: 1,
            scheme: None,
            id: None,
        };
        assert_eq!(resolved(null_scheme), Err(ErrorCode::INVALID_ACL));
    }

    #[test]
    fn duplicates_go_before_auth_is_expanded() {
        let ids = [
            Id::new("ip", "::1"),
            Id::new("digest", "u:h"),
            Id::new("digest", "v:h"),
        ];
        let list = [
            asked(1, "auth", ""),
            asked(1, "auth", "x"),
            asked(1, "auth", ""),
        ];
        let resolved = resolve(Some(&list), &ids, Providers::default()).unwrap();
        let expected = ["u:h", "v:h", "u:h", "v:h"].map(|id| Acl::new(1, "digest", id));
        assert_eq!(resolved, expected);
    }

    #[test]
    fn super_may_do_everything_and_others_what_an_entry_gives_them() {
        let acl = [Acl::new(PERM_READ, "digest", "u:h")];
        assert!(permits(&acl, PERM_READ, &[Id::new("digest", "u:h")]));
        assert!(!permits(&acl, PERM_WRITE, &[Id::new("digest", "u:h")]));
        assert!(!permits(&acl, PERM_READ, &[Id::new("digest", "v:h")]));
        assert!(permits(&acl, PERM_ALL, &[Id::new("super", "")]));
        assert!(permits(&[], PERM_ALL, &[]));
    }
}
