//! Random requests that meet each other: few names, many operations, and some nonsense.

use crate::wire::{In, Out};

/// How a client comes back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Reopen {
    Resume,
    OldClient,
    WrongPassword,
    ShortPassword,
    Ahead,
    Fresh,
    Unknown,
}

impl std::fmt::Display for Step {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Reopen { client, how } => write!(f, "client {client} comes back: {how:?}"),
            Self::Requests {
                client,
                requests,
                ends: _,
            } => {
                write!(f, "client {client}:")?;
                for (op, body) in requests {
                    write!(f, " op {op} \"{}\"", body.escape_ascii())?;
                }
                Ok(())
            }
        }
    }
}

/// What happens next.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub enum Step {
    /// Requests of one client, sent at once.
    /// `ends`: the server must close the connection.
    Requests {
        client: usize,
        requests: Vec<(i32, Vec<u8>)>,
        ends: bool,
    },
    Reopen {
        client: usize,
        how: Reopen,
    },
}

/// See the module.
#[derive(Debug)]
pub struct Generator {
    random: u64,
    /// Paths that sequential creations made.
    made: Vec<String>,
    quotas: bool,
    /// Flags fit their operation.
    consistent: bool,
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
    /// A generator of this seed, for the configuration of this name.
    #[must_use]
    pub fn new(seed: u64, configuration: &str) -> Self {
        Self {
            random: seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1,
            made: Vec::new(),
            quotas: configuration == "quota",
            consistent: configuration == "exchange",
        }
    }

    fn next(&mut self) -> u64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from((self.next() >> 20) % n.max(1) as u64).unwrap_or(0)
    }

    fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == 0
    }

    fn pick<T: Copy>(&mut self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// Learns the names that the server gave.
    pub fn learn(&mut self, op: i32, frame: &[u8]) {
        if matches!(op, 1 | 15) {
            let mut r = In(frame.get(16..).unwrap_or_default());
            if let Ok(path) = r.text()
                && path.len() > 10
                // Counts of quotas that cannot be read end the genuine server.
                && !path.starts_with("/zookeeper")
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
        // Until it is applied, the genuine server takes such a container for an ephemeral
        // (docs/compat.md, C-18).
        let flags = if op == 19 && matches!(flags, 1 | 3) {
            4
        } else {
            flags
        };
        // Where flags contradict the operation the genuine server records a digest that is not
        // its tree's.
        let flags = match (self.consistent, op, flags) {
            (true, 19, _) => 4,
            (true, _, 4) => 0,
            _ => flags,
        };
        let data = self.data();
        let body = self
            .text(&path)
            .buffer(data.as_deref())
            .raw(&self.acl().0)
            .int(flags);
        if op == 21 {
            // A negative ttl of another mode would end the genuine server.
            let ttl = self.pick(&[1_000_000, 99_999_999, 0, 0xFF_FFFF_FFFF, 0x100_0000_0000]);
            let ttl = if matches!(flags, 5 | 6) && self.one_in(6) {
                -1
            } else {
                ttl
            };
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
        let relative = self.pick(&[0, 1, 40, 300, 1 << 40, -1]);
        let mut out = Out::default().long(relative);
        for _ in 0..if op == 105 { 5 } else { 3 } {
            let paths = self.paths();
            out = out.raw(&paths.0);
        }
        out.0
    }

    fn quota_request(&mut self) -> (i32, Vec<u8>) {
        let name = self.pick(NAMES);
        let limits = self.pick(&[
            "count=3,bytes=20",
            "count=-1,bytes=-1=;byteHardLimit=8;countHardLimit=3",
            "countHardLimit=2",
            "bytes=5=;byteHardLimit=40",
            "count=0,bytes=0=;countHardLimit=0",
            "hello",
            "",
        ]);
        let path = format!("/zookeeper/quota/{name}");
        let open = Out::default().int(1).int(31).text("world").text("anyone");
        let create = |path: &str, data: &str| {
            (
                1,
                Out::default().text(path).text(data).raw(&open.0).int(0).0,
            )
        };
        match self.below(6) {
            0 => create(&path, ""),
            1 | 2 => create(&format!("{path}/zookeeper_limits"), limits),
            3 => create(&format!("{path}/zookeeper_stats"), "count=0,bytes=0"),
            4 => (
                5,
                Out::default()
                    .text(&format!("{path}/zookeeper_limits"))
                    .text(limits)
                    .int(-1)
                    .0,
            ),
            _ => (
                4,
                Out::default()
                    .text(&format!("{path}/zookeeper_stats"))
                    .flag(false)
                    .0,
            ),
        }
    }

    fn request(&mut self) -> (i32, Vec<u8>) {
        if self.quotas && self.one_in(8) {
            return self.quota_request();
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
            16 => {
                Out::default()
                    .int(-1)
                    .int(-1)
                    .text("server.1=x:1:2")
                    .long(-1)
                    .0
            }
            100 => {
                let (scheme, data) = self.pick(&[
                    ("digest", "u:p"),
                    ("digest", "v:q"),
                    ("ip", ""),
                    ("digest", "super:test"),
                    ("digest", "nouser"),
                ]);
                Out::default().int(0).text(scheme).text(data).0
            }
            _ => Vec::new(),
        };
        (op, body)
    }

    /// A body that ends early, or with a length in it that cannot be.
    fn spoil(&mut self, body: &mut Vec<u8>) {
        match self.below(3) {
            0 => body.truncate(self.below(body.len().max(1))),
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
        let client = self.below(clients);
        if self.one_in(60) {
            let how = self.pick(&[
                Reopen::Resume,
                Reopen::OldClient,
                Reopen::WrongPassword,
                Reopen::ShortPassword,
                Reopen::Ahead,
                Reopen::Fresh,
                Reopen::Unknown,
            ]);
            return Step::Reopen { client, how };
        }
        if self.one_in(150) {
            // These end the connection.
            let ending = self.pick(&[
                (-11, ""),
                (99, ""),
                (0, ""),
                (13, ""),
                (100, "bad"),
                (102, ""),
            ]);
            let body = if ending.0 == 100 {
                Out::default().int(0).text("nobody").text("x").0
            } else {
                Vec::new()
            };
            return Step::Requests {
                client,
                requests: vec![(ending.0, body)],
                ends: true,
            };
        }
        let count = if !self.quotas && self.one_in(10) {
            2 + self.below(6)
        } else {
            1
        };
        let mut requests = Vec::new();
        for _ in 0..count {
            let (op, mut body) = self.request();
            // An auth's reply may overtake those before it. Behind a setACL in flight the genuine
            // server still checks the older list (docs/compat.md, C-08).
            if matches!(op, 7 | 100) && count > 1 {
                continue;
            }
            // Half an auth packet ends the connection, and a spoiled createTTL may be one that
            // ends the genuine server.
            if self.one_in(20) && !matches!(op, 21 | 100) {
                self.spoil(&mut body);
            }
            requests.push((op, body));
        }
        Step::Requests {
            client,
            requests,
            ends: false,
        }
    }
}
