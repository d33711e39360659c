//! Requests about quotas, well formed and not.

use super::random::Random;
use super::steps::Sent;
use crate::wire::Out;

/// What has a quota: also nodes inside one another, the root, and names that only look the part.
const SUBJECTS: &[&str] = &[
    "/a", "/a", "/b", "/b", "/c", "/d", "/a/b", "/a/b/c", "/c/d", "", "X", "/a/ ",
];

const TEXTS: &[&str] = &[
    "count=3,bytes=20",
    "count=-1,bytes=-1=;byteHardLimit=8;countHardLimit=3",
    "countHardLimit=2",
    "bytes=5=;byteHardLimit=40",
    "count=0,bytes=0=;countHardLimit=0",
    "hello",
    "",
    ",",
    ";;",
    ",countHardLimit=2",
    "countHardLimit=2,,",
    "countHardLimit=2,;byteHardLimit=30",
    "byteHardLimit=30;,;countHardLimit=9",
    "byteHardLimit=30;;countHardLimit=2",
    "countHardLimit==2",
    "countHardLimit=+2",
    "countHardLimit=2=9",
    "countHardLimit= 2",
    "countHardLimit=99999999999999999999",
    "countHardLimit=",
    "=4,countHardLimit=3",
    "=",
    "\u{e9}=1,countHardLimit=3",
    "count=1,count=2",
    "countHardLimit=9,countHardLimit=2",
];

/// Counts that can be read, whatever they count.
const COUNTS: &[&str] = &[
    "count=0,bytes=0",
    "",
    "bytes=7",
    "count=-5,bytes=-7=;x=4",
    "count=2;bytes=3,y=1",
];

/// One of them.
pub fn request(random: &mut Random) -> Sent {
    let top = format!("/zookeeper/quota{}", random.pick(SUBJECTS));
    let limits = format!("{top}/zookeeper_limits");
    let stats = format!("{top}/zookeeper_stats");
    let open = Out::default().int(1).int(31).text("world").text("anyone");
    let create = |path: &str, data: &[u8]| {
        let body = Out::default().text(path).buffer(Some(data)).raw(&open.0);
        (1, body.int(0).0)
    };
    let set = |path: &str, data: &[u8]| {
        let body = Out::default().text(path).buffer(Some(data)).int(-1);
        (5, body.0)
    };
    let delete = |path: &str| (2, Out::default().text(path).int(-1).0);
    let text = random.pick(TEXTS).as_bytes();
    match random.below(16) {
        0 | 1 => create(&top, b""),
        2..=4 => create(&limits, text),
        5 | 6 => create(&stats, random.pick(COUNTS).as_bytes()),
        7..=9 => set(&limits, text),
        // What is no UTF-8 is read too.
        10 => set(&limits, b"\xff\xfe=1,countHardLimit=3"),
        11 => set(&stats, random.pick(COUNTS).as_bytes()),
        12 => delete(&limits),
        13 => delete(&stats),
        14 => delete(&top),
        _ => (4, Out::default().text(&stats).flag(false).0),
    }
}
