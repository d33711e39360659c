//! Writes that are in flight when a server is killed: which were sent, and which acknowledged.
//!
//! A writer alternates between creating a node of its own and setting its register, always with
//! several requests under way. Requests of a session take effect in order, so that a server has
//! done some number of them: all that were acknowledged, perhaps more, never one without those
//! before it. Once a server has recovered, the number stays for good.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::servers::{Server, pause};
use crate::wire::{Client, Hello, In, Out, packet};

/// The node above all that the ledger knows.
pub(super) const NAME: &str = "in-flight";

/// Sessions that write when a server is killed.
const WRITERS: u32 = 3;

/// Requests of each under way.
const WINDOW: i32 = 32;

/// Replies to all of them after which the server is killed.
const ACKNOWLEDGED: u32 = 900;

/// How long they may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// getData requests under way when all is read.
const READS: usize = 500;

/// What one writer knows.
#[derive(Debug)]
struct Writer {
    name: String,
    sent: i32,
    acknowledged: i32,
    /// Of the last reply.
    zxid: i64,
    /// How many requests have taken effect, once a server has recovered.
    done: Option<i32>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Ledger {
    writers: Vec<Writer>,
}

impl Ledger {
    /// Starts writers, and kills the server in the middle; how many writes were in flight.
    pub(super) fn write_and_kill(&mut self, server: Server, round: u32) -> Result<i32> {
        let replies = Arc::new(AtomicU32::new(0));
        let mut threads = Vec::new();
        for index in 0..WRITERS {
            let (count, address) = (Arc::clone(&replies), server.address);
            threads.push(thread::spawn(move || {
                let mut writer = Writer::new(format!("{round:02}-{index}"));
                writer.write(address, &count)?;
                anyhow::Ok(writer)
            }));
        }
        let began = Instant::now();
        while replies.load(Ordering::SeqCst) < ACKNOWLEDGED
            && began.elapsed() < PATIENCE
            && !threads.iter().any(thread::JoinHandle::is_finished)
        {
            pause(Duration::from_millis(1));
        }
        server.kill()?;
        let mut in_flight = 0;
        for thread in threads {
            let writer = thread.join().map_err(|_| anyhow!("a writer panicked"))??;
            in_flight += writer.sent - writer.acknowledged;
            self.writers.push(writer);
        }
        ensure!(
            replies.load(Ordering::SeqCst) >= ACKNOWLEDGED && in_flight > 0,
            "the writers were not in the middle of their work when the server was killed"
        );
        Ok(in_flight)
    }

    /// Writes acknowledged so far.
    pub(super) fn acknowledged(&self) -> i32 {
        self.writers.iter().map(|writer| writer.acknowledged).sum()
    }

    /// The largest zxid of an acknowledged write.
    pub(super) fn last_zxid(&self) -> i64 {
        self.writers
            .iter()
            .map(|writer| writer.zxid)
            .max()
            .unwrap_or(0)
    }

    /// Checks that a server has what was acknowledged, and nothing that was not sent.
    pub(super) fn verify(&mut self, address: SocketAddr) -> Result<()> {
        if self.writers.is_empty() {
            return Ok(());
        }
        let mut client = Client::connect(address, &Hello::default())?;
        let list = ask(
            &mut client,
            8,
            &Out::default().text(&format!("/{NAME}")).flag(false).0,
        )?;
        let mut r = In(&list);
        let names = (0..r.int()?)
            .map(|_| r.text())
            .collect::<Result<HashSet<String>>>()?;
        let mut expected = 0;
        for writer in &mut self.writers {
            expected += writer.verify(&mut client, &names)?;
        }
        ensure!(
            names.len() == expected,
            "{} nodes of the writers, {expected} expected",
            names.len()
        );
        client.send(1, -11, &[])?;
        client.receive_until(1)?;
        Ok(())
    }
}

/// Makes the node above all that the ledger knows.
pub(super) fn prepare(address: SocketAddr) -> Result<()> {
    let mut client = Client::connect(address, &Hello::default())?;
    client.send(1, 1, &create(&format!("/{NAME}"), b""))?;
    // An earlier round may have made it.
    client.receive_until(1)?;
    client.send(2, -11, &[])?;
    client.receive_until(2)?;
    Ok(())
}

/// The body of the successful reply to one request.
fn ask(client: &mut Client, op: i32, body: &[u8]) -> Result<Vec<u8>> {
    client.send(1, op, body)?;
    let replies = client.receive_until(1)?;
    body_of(replies.last().context("the connection was closed")?)
}

fn body_of(reply: &[u8]) -> Result<Vec<u8>> {
    let code = In(reply.get(12..).unwrap_or_default()).int()?;
    ensure!(code == 0, "error {code}");
    Ok(reply.get(16..).unwrap_or_default().to_vec())
}

impl Writer {
    const fn new(name: String) -> Self {
        Self {
            name,
            sent: 0,
            acknowledged: 0,
            zxid: 0,
            done: None,
        }
    }

    fn register(&self) -> String {
        format!("/{NAME}/{}", self.name)
    }

    fn node(&self, number: i32) -> String {
        format!("{}-{number:06}", self.register())
    }

    /// Writes until the server closes the connection.
    fn write(&mut self, address: SocketAddr, replies: &AtomicU32) -> Result<()> {
        let mut client = Client::connect(address, &Hello::default())?;
        ask(&mut client, 1, &create(&self.register(), b""))?;
        loop {
            while self.sent < self.acknowledged + WINDOW && !client.closed {
                let value = self.sent.to_string();
                let (op, body) = if self.sent % 2 == 0 {
                    (1, create(&self.node(self.sent), value.as_bytes()))
                } else {
                    let set = Out::default().text(&self.register());
                    (5, set.buffer(Some(value.as_bytes())).int(-1).0)
                };
                client.send(self.sent, op, &body)?;
                self.sent += 1;
            }
            let Some(reply) = client.receive()? else {
                return Ok(());
            };
            let mut r = In(&reply);
            let (xid, zxid, code) = (r.int()?, r.long()?, r.int()?);
            ensure!(
                xid == self.acknowledged && code == 0,
                "reply to {xid} with error {code} instead of {}",
                self.acknowledged
            );
            self.zxid = zxid;
            self.acknowledged += 1;
            replies.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// How many nodes of this writer there are, all as they must be.
    fn verify(&mut self, client: &mut Client, names: &HashSet<String>) -> Result<usize> {
        let is_there = |path: &str| {
            path.rsplit('/')
                .next()
                .is_some_and(|name| names.contains(name))
        };
        let numbers: Vec<i32> = (0..self.sent)
            .step_by(2)
            .take_while(|number| is_there(&self.node(*number)))
            .collect();
        let made = i32::try_from(numbers.len())?;
        let register = ask(
            client,
            4,
            &Out::default().text(&self.register()).flag(false).0,
        )?;
        let mut r = In(&register);
        let value = r.text()?;
        // czxid, mzxid, ctime and mtime stand before the version.
        for _ in 0..4 {
            r.long()?;
        }
        let sets = r.int()?;
        let expected = if sets == 0 {
            String::new()
        } else {
            (2 * sets - 1).to_string()
        };
        ensure!(
            value == expected && (made == sets || made == sets + 1),
            "writer {}: {made} nodes and {sets} values, the last one \"{value}\"",
            self.name
        );
        let done = made + sets;
        ensure!(
            (self.acknowledged..=self.sent).contains(&done),
            "writer {}: {done} writes found, {} acknowledged, {} sent",
            self.name,
            self.acknowledged,
            self.sent
        );
        ensure!(
            *self.done.get_or_insert(done) == done,
            "writer {}: {done} writes found, {:?} at the first start",
            self.name,
            self.done
        );
        for some in numbers.chunks(READS) {
            self.read(client, some)?;
        }
        Ok(numbers.len() + 1)
    }

    /// Each node holds its number.
    fn read(&self, client: &mut Client, numbers: &[i32]) -> Result<()> {
        for number in numbers {
            let get = Out::default().text(&self.node(*number)).flag(false).0;
            client.send_raw(&packet(*number, 4, &get));
        }
        for number in numbers {
            let reply = client.receive()?.context("the connection was closed")?;
            let body = body_of(&reply)?;
            let data = In(&body).text()?;
            ensure!(
                In(&reply).int()? == *number && data == number.to_string(),
                "{} holds \"{data}\"",
                self.node(*number)
            );
        }
        Ok(())
    }
}

fn create(path: &str, data: &[u8]) -> Vec<u8> {
    let body = Out::default().text(path).buffer(Some(data)).int(1);
    body.int(31).text("world").text("anyone").int(0).0
}
