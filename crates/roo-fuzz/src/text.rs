//! What people write: configurations, access control lists, paths.

use std::net::{IpAddr, Ipv6Addr};

use roo_proto::acl::{Id, PERM_ALL, PERM_READ};
use roo_proto::ensemble::Ensemble;
use roo_proto::ensemble::reconfig::{Standing, plan};
use roo_proto::ids::Zxid;
use roo_proto::jute::decode_utf8;
use roo_proto::path;
use roo_proto::request::{Reconfig, RequestAcl};
use roo_server::auth::{AuthSettings, address_id, authenticate};
use roo_server::config::parse::{Outside, Settings};
use roo_state::access::{Providers, permits, resolve, user_name};

use crate::take_chunk;

/// A world without files and network, in which every server has a dynamic file and is server 1.
const NOWHERE: Outside = Outside {
    read: |_| Ok(b"server.1=a:1:2;3\nserver.2=b:1:2:observer\nserver.3=[::1]:1".to_vec()),
    my_id: |_| Ok(Some(1)),
    resolve: |_| Some(IpAddr::V6(Ipv6Addr::LOCALHOST)),
};

/// The content of a `zoo.cfg`. Whatever it says, it is a configuration or one line that names the
/// place. An ensemble is read from its own text again.
pub fn zoo_cfg(bytes: &[u8]) {
    let mut settings = Settings::of(NOWHERE);
    let read = settings.read_text("zoo.cfg", bytes);
    match read.and_then(|()| settings.config()) {
        Err(error) => assert!(!error.place.is_empty() && !error.expected.is_empty()),
        Ok(config) => {
            if let Some(ensemble) = config.ensemble.map(|config| config.ensemble) {
                let again = Ensemble::parse(&ensemble.to_text());
                assert_eq!(again.as_ref(), Ok(&ensemble));
            }
        }
    }
}

/// Scheme, id and path, each with its length: what somebody proves, what a list asks for, and
/// whether the one permits the other.
pub fn acl_and_path(bytes: &[u8]) {
    let mut rest = bytes;
    let [scheme, id, text, proof] = [(); 4].map(|()| take_chunk(&mut rest));
    let (scheme, id, text) = (decode_utf8(scheme), decode_utf8(id), decode_utf8(text));
    let address = IpAddr::V6(Ipv6Addr::from(u128::from(rest.len() as u64)));
    let settings = AuthSettings::default();
    let mut ids = vec![address_id(address)];
    ids.extend(authenticate(Some(&scheme), Some(proof), address, &settings).unwrap_or_default());
    ids.push(Id::new("ip", &text));
    let entry = |scheme: &str, id: &str| RequestAcl {
        perms: PERM_ALL,
        scheme: Some(scheme.to_owned().into()),
        id: Some(id.to_owned().into()),
    };
    let asked = [entry(&scheme, &id), entry("ip", &id), entry("auth", &text)];
    for list in [&asked[..1], &asked[1..2], &asked[2..], &asked[..]] {
        if let Ok(list) = resolve(Some(list), &ids, Providers::default()) {
            assert!(!list.is_empty());
            let _ = permits(&list, PERM_READ, &ids);
        }
    }
    for id in &ids {
        let _ = user_name(id);
    }
    if path::is_valid(&text) {
        assert!(path::is_loadable(&text) || text == "/");
        let (parent, name) = path::split(&text).expect("a valid path has a slash");
        assert!(path::is_valid(parent) && !name.contains('/'));
        assert!(path::is_under(&text, parent), "{text:?} under {parent:?}");
    }
}

/// The text of an ensemble, and behind each zero byte what a reconfiguration of it asks for:
/// joining, leaving and new members. What was understood is written, and read again to the same.
pub fn dynamic_config(bytes: &[u8]) {
    let text = decode_utf8(bytes);
    let mut parts = text.split('\0');
    let Ok(committed) = Ensemble::parse(parts.next().unwrap_or_default()) else {
        return;
    };
    assert_written_and_read(&committed);
    let standing = Standing {
        committed: &committed,
        last_seen: &committed,
        fewest_voters: 1,
    };
    let mut part = || parts.next().filter(|part| !part.is_empty()).map(Into::into);
    let request = Reconfig {
        joining_servers: part(),
        leaving_servers: part(),
        new_members: part(),
        config_id: -1,
    };
    if let Ok(next) = plan(&request, &standing, Zxid(7)) {
        assert_eq!(next.version, 7);
        assert!(next.voters().next().is_some());
        assert_written_and_read(&next);
    }
}

fn assert_written_and_read(ensemble: &Ensemble) {
    for text in [ensemble.to_text(), ensemble.next_file_text()] {
        match Ensemble::parse(&text) {
            Ok(again) => assert_eq!(&again, ensemble, "{text}"),
            Err(error) => panic!("what was written cannot be read: {error:?}: {text}"),
        }
    }
}
