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
    let [czxid, mzxid] = [halves(stat.czxid), halves(stat.mzxid)];
    let [pzxid, ctime] = [halves(stat.pzxid), halves(stat.ctime)];
    let [mtime, owner] = [halves(stat.mtime), halves(stat.ephemeral_owner)];
    let words = [
        czxid[0],
        czxid[1],
        mzxid[0],
        mzxid[1],
        pzxid[0],
        pzxid[1],
        ctime[0],
        ctime[1],
        mtime[0],
        mtime[1],
        stat.version.to_be_bytes(),
        stat.cversion.to_be_bytes(),
        stat.aversion.to_be_bytes(),
        owner[0],
        owner[1],
    ];
    let mut hasher = Hasher::new_with_initial(content_crc);
    hasher.update(words.as_flattened());
    u64::from(hasher.finalize())
}

/// A number in two words: all words of a stat then lie in one array of a known size, which is
/// filled without a loop. A digest is made four times for a change, and byte by byte that was a
/// fifth of all instructions of a setData.
#[allow(clippy::cast_possible_truncation)] // Both halves are kept.
const fn halves(number: i64) -> [[u8; 4]; 2] {
    [
        ((number >> 32) as u32).to_be_bytes(),
        (number as u32).to_be_bytes(),
    ]
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
