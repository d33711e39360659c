//! The session that lays out the znodes of a run and takes them away again. Blocking, pipelined in
//! chunks; it never runs while something is measured.

use std::io::{BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};

use super::wire::{self, Mode, Template, Watch, op, word_at};
use super::workload::{Shape, Workload, value};

/// Requests under way at a time, in number and bytes.
const CHUNK_REQUESTS: usize = 100;
const CHUNK_BYTES: usize = 1 << 20;
const PATIENCE: Duration = Duration::from_secs(60);
const SESSION_TIMEOUT_MS: i32 = 30_000;
/// ZooKeeper's error codes for a znode that is missing, and for one that is there.
const NO_NODE: i32 = -101;
const NODE_EXISTS: i32 = -110;

/// A blocking session.
pub(super) struct Control {
    stream: BufReader<TcpStream>,
    next_xid: i32,
}

impl Control {
    pub(super) fn connect(server: SocketAddr) -> Result<Self> {
        let stream = TcpStream::connect_timeout(&server, Duration::from_secs(10))
            .with_context(|| format!("connect to {server}"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut control = Self {
            stream: BufReader::new(stream),
            next_xid: 1,
        };
        control
            .stream
            .get_mut()
            .write_all(&wire::connect_request(SESSION_TIMEOUT_MS))?;
        let answer = control.read_frame().context("open a session")?;
        ensure!(
            answer.len() >= 8 && word_at(&answer, 4) > 0,
            "{server} refuses a new session"
        );
        Ok(control)
    }

    /// Creates the znodes that a run works on. Some may be there: a root of the caller's lasts.
    pub(super) fn lay_out(&mut self, shape: &Shape) -> Result<()> {
        let root = &shape.root;
        let needs = Needs::of(shape);
        let create = |path: &str, data: &[u8]| Template::create(path, data, Mode::Persistent);
        let mut parents = vec![create(root, b"").frame(0, &[])];
        parents.extend(
            needs
                .keys
                .then(|| create(&format!("{root}/k"), b"").frame(0, &[])),
        );
        parents.extend(
            needs
                .list
                .then(|| create(&format!("{root}/l"), b"").frame(0, &[])),
        );
        self.run(parents, &[NODE_EXISTS])?;
        if needs.keys {
            let key = create(&format!("{root}/k/#"), &value(shape.value_size));
            self.run((0..shape.keys).map(|i| key.frame(0, &[i])), &[NODE_EXISTS])?;
        }
        if needs.list {
            let child = create(&format!("{root}/l/child-#"), b"");
            let children = (0..shape.children).map(|i| child.frame(0, &[i]));
            self.run(children, &[NODE_EXISTS])?;
        }
        if needs.directories {
            let directory = create(&format!("{root}/c#"), b"");
            let directories = (0..shape.connections).map(|i| directory.frame(0, &[i]));
            self.run(directories, &[NODE_EXISTS])?;
        }
        Ok(())
    }

    /// Deletes everything below the root of a run, and the root.
    pub(super) fn clear(&mut self, root: &str) -> Result<()> {
        for name in self.children(root)? {
            let directory = format!("{root}/{name}");
            let names = self.children(&directory)?;
            let deletes = names
                .iter()
                .map(|name| Template::delete(&format!("{directory}/{name}")).frame(0, &[]));
            self.run(deletes, &[NO_NODE])?;
            self.run([Template::delete(&directory).frame(0, &[])], &[NO_NODE])?;
        }
        self.run([Template::delete(root).frame(0, &[])], &[NO_NODE])
    }

    /// Ends the session.
    pub(super) fn close(mut self) -> Result<()> {
        self.run([Template::new(op::CLOSE_SESSION).frame(0, &[])], &[])
    }

    fn children(&mut self, path: &str) -> Result<Vec<String>> {
        let mut frame = Template::read(op::GET_CHILDREN, path, Watch::No).frame(0, &[]);
        let xid = self.patch_xid(&mut frame);
        self.stream.get_mut().write_all(&frame)?;
        let reply = self.read_reply(xid)?;
        let err = word_at(&reply, 12);
        if err == NO_NODE {
            return Ok(Vec::new());
        }
        ensure!(
            err == 0,
            "getChildren {path}: the server answers error {err}"
        );
        decode_names(reply.get(16..).unwrap_or_default())
            .with_context(|| format!("the list of the children of {path} is cut short"))
    }

    /// Sends `frames` and reads their replies; errors other than `accepted` end the run.
    fn run(&mut self, frames: impl IntoIterator<Item = Vec<u8>>, accepted: &[i32]) -> Result<()> {
        let mut frames = frames.into_iter().peekable();
        while frames.peek().is_some() {
            let first_xid = self.next_xid;
            let mut chunk = Vec::new();
            let mut count = 0;
            while count < CHUNK_REQUESTS
                && chunk.len() < CHUNK_BYTES
                && let Some(mut frame) = frames.next()
            {
                self.patch_xid(&mut frame);
                chunk.extend_from_slice(&frame);
                count += 1;
            }
            self.stream.get_mut().write_all(&chunk)?;
            for xid in first_xid..self.next_xid {
                let err = word_at(&self.read_reply(xid)?, 12);
                if err != 0 && !accepted.contains(&err) {
                    bail!("preparing or clearing the znodes: the server answers error {err}");
                }
            }
        }
        Ok(())
    }

    fn patch_xid(&mut self, frame: &mut [u8]) -> i32 {
        let xid = self.next_xid;
        self.next_xid += 1;
        frame[4..8].copy_from_slice(&xid.to_be_bytes());
        xid
    }

    fn read_reply(&mut self, xid: i32) -> Result<Vec<u8>> {
        let reply = self.read_frame()?;
        ensure!(
            reply.len() >= 16,
            "the server sent a frame of {} bytes",
            reply.len()
        );
        let answered = word_at(&reply, 0);
        ensure!(
            answered == xid,
            "a reply to xid {answered} where xid {xid} was due"
        );
        Ok(reply)
    }

    fn read_frame(&mut self) -> Result<Vec<u8>> {
        let mut len = [0; 4];
        self.stream.read_exact(&mut len).context("read a reply")?;
        let len = usize::try_from(i32::from_be_bytes(len)).context("a negative frame length")?;
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).context("read a reply")?;
        Ok(body)
    }
}

/// A vector of strings.
fn decode_names(bytes: &[u8]) -> Option<Vec<String>> {
    let mut rest = bytes;
    let take_length = |rest: &mut &[u8]| -> Option<usize> {
        let (head, tail) = rest.split_at_checked(4)?;
        *rest = tail;
        usize::try_from(word_at(head, 0)).ok()
    };
    let count = take_length(&mut rest)?;
    let mut names = Vec::new();
    for _ in 0..count {
        let len = take_length(&mut rest)?;
        let (name, tail) = rest.split_at_checked(len)?;
        rest = tail;
        names.push(String::from_utf8_lossy(name).into_owned());
    }
    Some(names)
}

/// Which parts of the layout a workload uses.
struct Needs {
    keys: bool,
    list: bool,
    directories: bool,
}

impl Needs {
    fn of(shape: &Shape) -> Self {
        use Workload as W;
        let workload = shape.workload;
        let mixed = matches!(workload, W::Mixed | W::ProdMix);
        let in_list = shape.flat && matches!(workload, W::Fill | W::Drain);
        Self {
            keys: mixed
                || matches!(
                    workload,
                    W::Read
                        | W::SingleHotGet
                        | W::Exists
                        | W::Write
                        | W::Read90
                        | W::Multi5
                        | W::MultiLarge
                        | W::WatchFanout
                        | W::Watches
                ),
            list: mixed || in_list || matches!(workload, W::List | W::ListHeavy | W::Count),
            directories: mixed
                || (!in_list && matches!(workload, W::Fill | W::Drain))
                || matches!(
                    workload,
                    W::Create | W::CreateEphemeral | W::CreateSeq | W::Churn | W::Multi5
                ),
        }
    }
}
