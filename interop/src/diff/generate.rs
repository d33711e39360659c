//! Random requests that meet each other: few names, many operations, and some nonsense.

use std::collections::VecDeque;

use super::collections::Collections;
use super::exclusions::{Purpose, excluded};
use super::quotas;
use super::random::Random;
use super::steps::{Reopen, Sent, Step};
use crate::wire::{In, Out};

/// See the module.
#[derive(Debug)]
pub struct Generator {
    random: Random,
    /// Paths that sequential creations made.
    made: Vec<String>,
    /// zxid of the last reply.
    last_zxid: i64,
    /// Steps already decided.
    next: VecDeque<Step>,
    purpose: Purpose,
    collections: Collections,
}

const NAMES: &[&str] = &["a", "b", "c", "d"];
const ODD_PATHS: &[&str] = &[
    "",
    "/",
    "//",
    "abc",
    "/a/",
    "/a//b",
    "/./a",
    "/a/..",
    "/a/.",
    "/a\u{1}",
    "/\u{7f}",
    "/a\u{0}b",
    "/zookeeper",
    "/zookeeper/quota",
    "/zookeeper/config",
    "/zookeeper/x",
    "/\u{e9}",
    "/.a",
    "/a b",
    "/\u{e000}",
    "/\u{fffd}",
    "/\u{1f600}",
    "/zookeeper/config/x",
];

impl Generator {
    /// A generator of this seed.
    #[must_use]
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self {
            random: Random::new(seed),
            made: Vec::new(),
            last_zxid: 0,
            next: VecDeque::new(),
            purpose,
            collections: Collections::default(),
        }
    }

    fn below(&mut self, n: usize) -> usize {
        self.random.below(n)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.random.one_in(n)
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        self.random.pick(list)
    }

    /// Learns the names that the server gave, and how far it has come.
    pub fn learn(&mut self, op: i32, frame: &[u8]) {
        if let Ok(zxid) = In(frame.get(4..).unwrap_or_default()).long() {
            self.last_zxid = self.last_zxid.max(zxid);
        }
        if matches!(op, 1 | 15) {
            let mut r = In(frame.get(16..).unwrap_or_default());
            if let Ok(path) = r.text()
                && path.len() > 10
                && self.made.len() < 50
            {
                self.made.push(path);
            }
        }
    }

    fn path(&mut self) -> String {
        if self.one_in(15) {
            return self.pick(ODD_PATHS).to_owned();
        }
        if self.one_in(12) && !self.made.is_empty() {
            let at = self.below(self.made.len());
            return self.made[at].clone();
        }
        let depth = self.pick(&[1, 1, 1, 2, 2, 3]);
        (0..depth)
            .map(|_| format!("/{}", self.pick(NAMES)))
            .collect()
    }

    /// A path that is no quota's, for requests that are changed at random.
    fn text(&mut self, path: &str) -> Out {
        if self.one_in(120) {
            Out::default().int(-1)
        } else {
            Out::default().text(path)
        }
    }

    fn data(&mut self) -> Option<Vec<u8>> {
        match self.below(6) {
            0 => None,
            1 => Some(Vec::new()),
            2 => Some(vec![b'x'; self.below(300)]),
            n => Some(vec![b'0' + u8::try_from(n).unwrap_or(0); n]),
        }
    }

    fn version(&mut self) -> i32 {
        self.pick(&[-1, -1, -1, 0, 0, 1, 2, -2, 7, i32::MAX])
    }

    fn acl(&mut self) -> Out {
        let lists: &[&[(i32, &str, &str)]] = &[
            &[(31, "world", "anyone")],
            &[(31, "world", "anyone")],
            &[(31, "world", "anyone")],
            &[(31, "world", "anyone")],
            &[(31, "auth", "")],
            &[(1, "world", "anyone")],
            &[(31, "digest", "u:0wCmr0RBxYx5xkdtlWtHRqvOEVM=")],
            &[(31, "ip", "127.0.0.1"), (1, "world", "anyone")],
            &[(15, "world", "anyone"), (15, "world", "anyone")],
            &[(16, "ip", "127.0.0.0/8"), (3, "world", "anyone")],
            &[(31, "ip", "10.0.0.1/33")],
            &[
                (31, "ip", "::1"),
                (4, "world", "anyone"),
                (8, "digest", "u:x"),
            ],
            &[(31, "digest", "nocolon")],
            &[(31, "digest", "a::b"), (31, "world", "anyone")],
            &[(31, "ip", "127.0.0.1/+8"), (31, "world", "anyone")],
            &[(31, "ip", "127.0.0.1/-0"), (31, "world", "anyone")],
            &[(31, "ip", "::ffff:127.0.0.1"), (31, "world", "anyone")],
            &[(31, "ip", "1:2:3:4:5:6:7::"), (31, "world", "anyone")],
            &[(31, "ip", "::00001"), (31, "world", "anyone")],
            &[(31, "ip", "fe80::-1"), (31, "world", "anyone")],
            &[(31, "ip", "127.0.0.+1"), (31, "world", "anyone")],
            &[(-1, "world", "anyone"), (31, "auth", ""), (1, "auth", "")],
            &[
                (4, "digest", "z:z"),
                (31, "world", "anyone"),
                (2, "digest", "a:a"),
            ],
            &[(32, "world", "anyone"), (31, "ip", "127.0.0.1")],
            &[(31, "world", "somebody")],
            &[(31, "super", "")],
            &[(31, "foo", "bar")],
            &[],
            &[(0, "world", "anyone")],
            &[(1 | 8 | 4 | 2, "auth", "x"), (16, "world", "anyone")],
        ];
        if self.one_in(60) {
            return Out::default().int(-1);
        }
        if self.one_in(60) {
            // Strings that are null.
            return Out::default().int(1).int(31).int(-1).int(-1);
        }
        let list = self.pick(lists);
        let mut out = Out::default().int(i32::try_from(list.len()).unwrap_or(0));
        for (perms, scheme, id) in list {
            out = out.int(*perms).text(scheme).text(id);
        }
        out
    }

    fn create_body(&mut self, op: i32) -> Vec<u8> {
        let path = self.path();
        let flags = if self.one_in(25) {
            self.pick(&[-1, 7, 9])
        } else {
            self.pick(&[0, 0, 0, 0, 1, 2, 3, 4, 5, 6])
        };
        let data = self.data();
        let body = self
            .text(&path)
            .buffer(data.as_deref())
            .raw(&self.acl().0)
            .int(flags);
        if op == 21 {
            let ttl = self.pick(&[
                1_000_000,
                99_999_999,
                0,
                -1,
                0xFF_FFFF_FFFF,
                0x100_0000_0000,
            ]);
            return body.long(ttl).0;
        }
        body.0
    }

    fn multi(&mut self) -> Vec<u8> {
        let mut out = Out::default();
        for _ in 0..self.below(5) {
            let op = if self.one_in(20) {
                self.pick(&[7, 3, 14, 4, 99])
            } else {
                self.pick(&[1, 15, 19, 21, 2, 2, 5, 5, 13, 13])
            };
            out = out.int(op).flag(false).int(-1);
            let path = self.path();
            out = match op {
                1 | 15 | 19 | 21 => {
                    let body = self.create_body(op);
                    out.raw(&body)
                }
                2 | 13 => {
                    let version = self.version();
                    out.raw(&self.text(&path).0).int(version)
                }
                5 => {
                    let (data, version) = (self.data(), self.version());
                    out.raw(&self.text(&path).0)
                        .buffer(data.as_deref())
                        .int(version)
                }
                _ => out.text(&path).flag(false),
            };
        }
        out.int(-1).flag(true).int(-1).0
    }

    fn multi_read(&mut self) -> Vec<u8> {
        let mut out = Out::default();
        for _ in 0..self.below(4) {
            let op = if self.one_in(25) {
                self.pick(&[2, 3, 13])
            } else {
                self.pick(&[4, 8])
            };
            let path = self.path();
            out = out.int(op).flag(false).int(-1).raw(&self.text(&path).0);
            out = if matches!(op, 2 | 13) {
                out.int(-1)
            } else {
                out.flag(true)
            };
        }
        out.int(-1).flag(true).int(-1).0
    }

    fn paths(&mut self) -> Out {
        let count = self.below(3);
        let mut out = Out::default().int(i32::try_from(count).unwrap_or(0));
        for _ in 0..count {
            out = out.text(&self.path());
        }
        out
    }

    fn set_watches(&mut self, op: i32) -> Vec<u8> {
        let relative = if self.one_in(2) {
            self.last_zxid - i64::try_from(self.below(30)).unwrap_or(0)
        } else {
            self.pick(&[0, 1, 40, 300, 1 << 40, -1])
        };
        let mut out = Out::default().long(relative);
        for _ in 0..if op == 105 { 5 } else { 3 } {
            let paths = self.paths();
            out = out.raw(&paths.0);
        }
        out.0
    }

    fn reconfig(&mut self) -> Vec<u8> {
        let mut out = Out::default();
        for texts in [
            &["server.5=x:1:2;3", "nonsense"][..],
            &["1", "x"],
            &["server.1=x:1:2"],
        ] {
            out = match self.below(3) {
                0 => out.text(self.pick(texts)),
                1 => out.text(""),
                _ => out.int(-1),
            };
        }
        out.long(self.pick(&[-1, 0, 7])).0
    }

    fn request(&mut self) -> Sent {
        if self.purpose == Purpose::Quotas && self.one_in(6) {
            return quotas::request(&mut self.random);
        }
        let op = self.pick(&[
            1, 1, 1, 1, 1, 15, 15, 19, 21, 2, 2, 2, 2, 5, 5, 5, 7, 7, 3, 3, 4, 4, 6, 8, 12, 12,
            104, 103, 9, 11, 14, 14, 14, 22, 101, 105, 106, 106, 18, 17, 107, 16, 20, 100, 100,
        ]);
        let path = self.path();
        let body = match op {
            1 | 15 | 19 | 21 => self.create_body(op),
            2 => {
                let version = self.version();
                self.text(&path).int(version).0
            }
            5 => {
                let (data, version) = (self.data(), self.version());
                self.text(&path).buffer(data.as_deref()).int(version).0
            }
            7 => {
                let version = self.pick(&[-1, -1, 0, 1]);
                let acl = self.acl();
                self.text(&path).raw(&acl.0).int(version).0
            }
            3 | 4 | 8 | 12 => {
                let watch = self.one_in(2);
                self.text(&path).flag(watch).0
            }
            6 | 104 | 103 | 9 | 20 => self.text(&path).0,
            14 => self.multi(),
            22 => self.multi_read(),
            101 | 105 => self.set_watches(op),
            106 => {
                let mode = self.pick(&[0, 1, 0, 1, 2]);
                self.text(&path).int(mode).0
            }
            17 | 18 => {
                let kind = self.pick(&[1, 2, 3, 4, 5, 6]);
                self.text(&path).int(kind).0
            }
            16 => self.reconfig(),
            100 => {
                let (scheme, data) = self.pick(&[
                    ("digest", "u:p"),
                    ("digest", "v:q"),
                    ("ip", ""),
                    ("digest", "super:test"),
                    ("digest", "nouser"),
                    ("digest", ""),
                    ("digest", ":"),
                    ("digest", "w:"),
                    ("digest", "u:p:q"),
                    ("digest", "x:y"),
                    ("digest", "\u{e9}:\u{1f600}"),
                ]);
                Out::default().int(0).text(scheme).text(data).0
            }
            _ => Vec::new(),
        };
        (op, body)
    }

    /// A body that ends early, or with a length in it that cannot be.
    fn spoil(&mut self, body: &mut Vec<u8>) {
        match self.below(5) {
            0 => body.truncate(self.below(body.len().max(1))),
            // Somewhere a length, a version, a flag or a letter becomes another.
            3 if !body.is_empty() => {
                let at = self.below(body.len());
                body[at] = self.pick(&[0, 1, 5, 0x7F, 0x80, 0xC0, 0xFF]);
            }
            4 if body.len() >= 8 => {
                let at = self.below(body.len() - 3);
                let number = self.pick(&[-1i32, 0, 1, 3, 5, 0x7FFF_FFFF]);
                body[at..at + 4].copy_from_slice(&number.to_be_bytes());
            }
            1 if body.len() >= 4 => body[..4].copy_from_slice(
                &self
                    .pick(&[-2i32, i32::MIN, i32::MAX, 70_000])
                    .to_be_bytes(),
            ),
            _ => body.extend_from_slice(b"and more"),
        }
    }

    /// The next step for one of `clients`.
    pub fn next_step(&mut self, clients: usize) -> Step {
        if let Some(step) = self.next.pop_front() {
            return step;
        }
        if self.purpose == Purpose::Collections {
            let sequence = self.collections.sequence(&mut self.random, clients);
            self.next.extend(sequence);
            return self.next_step(clients);
        }
        let client = self.below(clients);
        if self.one_in(60) {
            return self.reopen(client);
        }
        if self.purpose == Purpose::Expiry && self.one_in(250) {
            return self.expire();
        }
        if self.one_in(150) {
            return self.end(client);
        }
        let count = if self.one_in(4) {
            2 + self.below(11)
        } else {
            1
        };
        Step::Requests {
            client,
            requests: self.admitted_requests(count),
            ends: false,
        }
    }

    /// So many requests sent at once, or fewer when some would be left out beside the others.
    fn admitted_requests(&mut self, count: usize) -> Vec<Sent> {
        let mut requests = Vec::new();
        while requests.is_empty() {
            for _ in 0..count {
                let (op, mut body) = self.request();
                // Half an auth packet ends the connection: see `end`.
                if self.one_in(20) && op != AUTH {
                    self.spoil(&mut body);
                }
                requests.push((op, body));
                if excluded(&requests, self.purpose).is_some() {
                    requests.pop();
                }
            }
        }
        requests
    }

    fn reopen(&mut self, client: usize) -> Step {
        let how = self.pick(&[
            Reopen::Resume,
            Reopen::Resume,
            Reopen::Dropped,
            Reopen::Dropped,
            Reopen::OldClient,
            Reopen::WrongPassword,
            Reopen::ShortPassword,
            Reopen::Ahead,
            Reopen::Fresh(1),
            Reopen::Fresh(-1),
            Reopen::Fresh(11_111),
            Reopen::Fresh(i32::MAX),
            Reopen::Unknown,
        ]);
        // As clients do: the watches again, with the zxid seen last.
        if self.one_in(2) {
            let op = self.pick(&[101, 105]);
            let body = self.set_watches(op);
            self.next.push_back(Step::Requests {
                client,
                requests: vec![(op, body)],
                ends: false,
            });
        }
        Step::Reopen { client, how }
    }

    /// What ends the connection.
    fn end(&mut self, client: usize) -> Step {
        let nobody = Out::default().int(0).text("nobody").text("x").0;
        let half = Out::default().int(0).text("digest").int(3).raw(b"u:").0;
        let (op, body) = match self.below(8) {
            0 => (AUTH, nobody),
            1 => (AUTH, half),
            2 => (99, Vec::new()),
            3 => (0, Vec::new()),
            4 => (13, Vec::new()),
            5 => (102, Vec::new()),
            _ => (-11, Vec::new()),
        };
        Step::Requests {
            client,
            requests: vec![(op, body)],
            ends: true,
        }
    }

    /// A session with some ephemerals, some of them in the way of others.
    fn expire(&mut self) -> Step {
        let mut requests = Vec::new();
        while requests.len() < 4 {
            let open = Out::default().int(1).int(31).text("world").text("anyone");
            let flags = self.pick(&[1, 1, 3]);
            let body = Out::default()
                .text(&self.path())
                .text("")
                .raw(&open.0)
                .int(flags);
            requests.push((1, body.0));
        }
        Step::Expire { requests }
    }
}

const AUTH: i32 = 100;
