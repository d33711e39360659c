//! The digest of the tree, exactly as Apache's: a wrapping sum over the nodes of a CRC-32 of
//! path, data and stat. Java: `DigestCalculator`, `AdHash`.

use crc32fast::Hasher;
use roo_proto::path;
use roo_proto::stat::StatPersisted;

/// The part of a node's digest that a change of its stat leaves alone. The root's path is "".
#[must_use]
pub fn content_crc(path: &str, data: Option<&[u8]>) -> u32 {
    let mut hasher = Hasher::new();
    if path != "/" {
        hasher.update(path.as_bytes());
    }
    hasher.update(data.unwrap_or_default());
    hasher.finalize()
}

/// The digest of a node.
#[must_use]
pub fn node_digest(content_crc: u32, stat: &StatPersisted) -> u64 {
    let mut bytes = [0u8; 60];
    let fields: [&[u8]; 9] = [
        &stat.czxid.to_be_bytes(),
        &stat.mzxid.to_be_bytes(),
        &stat.pzxid.to_be_bytes(),
        &stat.ctime.to_be_bytes(),
        &stat.mtime.to_be_bytes(),
        &stat.version.to_be_bytes(),
        &stat.cversion.to_be_bytes(),
        &stat.aversion.to_be_bytes(),
        &stat.ephemeral_owner.to_be_bytes(),
    ];
    for (slot, byte) in bytes.iter_mut().zip(fields.iter().copied().flatten()) {
        *slot = *byte;
    }
    let mut hasher = Hasher::new_with_initial(content_crc);
    hasher.update(&bytes);
    u64::from(hasher.finalize())
}

/// Whether a node is part of the digest: everything but what lies below `/zookeeper`.
#[must_use]
pub fn counts(path: &str) -> bool {
    path == path::ZOOKEEPER || !path::is_under(path, path::ZOOKEEPER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_digest_of_an_empty_tree_is_apaches() {
        let stat = StatPersisted::default();
        let root = node_digest(content_crc("/", Some(&[])), &stat);
        let zookeeper = node_digest(content_crc("/zookeeper", Some(&[])), &stat);
        assert_eq!((root, zookeeper), (68_323_592, 1_303_661_912));
    }

    #[test]
    fn nodes_below_zookeeper_do_not_count() {
        assert!(counts("/") && counts("/zookeeper") && counts("/zookeepers"));
        assert!(!counts("/zookeeper/quota") && !counts("/zookeeper/config"));
    }
}
