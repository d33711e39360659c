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

/// The digest of a node, of which [`content_crc`] is the first part.
#[must_use]
pub fn node_digest(content_crc: u32, stat: &StatPersisted) -> u32 {
    let mut hasher = Hasher::new_with_initial(content_crc);
    hasher.update(words(stat).as_flattened());
    hasher.finalize()
}

/// The digest of a node whose digest was `before` when its stat was `old`; nothing else of it has
/// changed. A CRC is linear: that of two texts of one length differs by that of their difference,
/// whatever stood before them. So the digest of what was need not be made again, which for a
/// parent is half of the work.
#[must_use]
pub fn restated(before: u32, old: &StatPersisted, new: &StatPersisted) -> u32 {
    // Zeros in front do not change the CRC of a difference, and 64 bytes are read in larger steps.
    let mut difference = [[0; 4]; WORDS + 1];
    let (old, new) = (words(old), words(new));
    for (word, (old, new)) in difference.iter_mut().skip(1).zip(old.iter().zip(&new)) {
        *word = (u32::from_ne_bytes(*old) ^ u32::from_ne_bytes(*new)).to_ne_bytes();
    }
    before ^ crc32fast::hash(difference.as_flattened()) ^ NO_DIFFERENCE
}

/// A stat in words of 4 bytes.
const WORDS: usize = 15;

/// The CRC of as many zeros.
const NO_DIFFERENCE: u32 = 0x758d_6336;

/// As they are hashed. All words of a stat lie in one array of a known size, which is filled
/// without a loop: byte by byte that was a fifth of all instructions of a setData.
fn words(stat: &StatPersisted) -> [[u8; 4]; WORDS] {
    let [czxid, mzxid] = [halves(stat.czxid), halves(stat.mzxid)];
    let [pzxid, ctime] = [halves(stat.pzxid), halves(stat.ctime)];
    let [mtime, owner] = [halves(stat.mtime), halves(stat.ephemeral_owner)];
    [
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
    ]
}

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
    fn a_change_of_a_stat_gives_the_digest_of_the_new_one() {
        let old = StatPersisted {
            czxid: 0x1_0000_0003,
            mzxid: 7,
            ctime: 1_700_000_000_000,
            mtime: 9,
            ephemeral_owner: -5,
            ..StatPersisted::default()
        };
        let changes: [fn(&mut StatPersisted); 6] = [
            |_| {},
            |stat| stat.czxid = -1,
            |stat| stat.version = 1,
            |stat| stat.ephemeral_owner = i64::MAX,
            |stat| (stat.cversion, stat.pzxid) = (i32::MIN, 0x7fff_0000_1234),
            |stat| *stat = StatPersisted::default(),
        ];
        for (number, change) in changes.into_iter().enumerate() {
            for content in [0, content_crc("/a/b", Some(b"data")), u32::MAX] {
                let mut new = old;
                change(&mut new);
                let expected = node_digest(content, &new);
                let restated = restated(node_digest(content, &old), &old, &new);
                assert_eq!(restated, expected, "change {number}");
            }
        }
    }

    #[test]
    fn nodes_below_zookeeper_do_not_count() {
        assert!(counts("/") && counts("/zookeeper") && counts("/zookeepers"));
        assert!(!counts("/zookeeper/quota") && !counts("/zookeeper/config"));
    }
}
