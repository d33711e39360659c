//! Two servers, or ensembles, that are asked the same, and what both answered.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::render::{self, Names, Zxids};
use super::steps::{Reopen, Sent, Step};
use crate::ensemble::Ensemble;
use crate::servers::{Server, pause};
use crate::wire::{Client, Frame, Hello, In, Out};

/// Sessions at once.
pub const CLIENTS: usize = 3;

/// Everything that came back from each side.
type Answers = [Vec<String>; 2];

/// One side: where its servers are. They end with it when they are ours.
pub struct Side {
    /// Each client has one of them.
    pub addresses: Vec<SocketAddr>,
    /// The servers themselves.
    pub started: Started,
}

/// The servers of a side; their processes end with this.
#[allow(missing_docs)]
pub enum Started {
    Elsewhere,
    Server(Server),
    Ensemble(Ensemble),
}

/// What was compared.
#[derive(Clone, Copy, Debug, Default)]
pub struct Compared {
    /// Requests whose replies were compared.
    pub requests: u64,
    /// Handshakes whose outcome was compared.
    pub handshakes: u64,
    /// Comparisons of whole trees.
    pub trees: u64,
}

/// Two sides and the clients' two halves.
pub struct Pair {
    sides: [Side; 2],
    clients: Vec<[Client; 2]>,
    names: [Names; 2],
    xid: i32,
    /// zxids that ended a session.
    closings: HashSet<i64>,
    /// The last zxid of each side.
    reached: [i64; 2],
    compared: Compared,
}

const PING: i32 = 11;
const SYNC: i32 = 9;
const CLOSE_SESSION: i32 = -11;
const XID_PING: i32 = -2;
const XID_SYNC: i32 = 0x7FFF_FFF0;

/// How long the two may take to expire a session or to collect what they should.
const PATIENCE: Duration = Duration::from_secs(20);

impl Pair {
    /// Opens the clients.
    ///
    /// # Errors
    /// When a server cannot be reached.
    pub fn open(sides: [Side; 2], zxids: Zxids) -> Result<Self> {
        let mut pair = Self {
            sides,
            clients: Vec::new(),
            names: [Names::new(zxids), Names::new(zxids)],
            xid: 0,
            closings: HashSet::new(),
            reached: [0; 2],
            compared: Compared::default(),
        };
        for slot in 0..CLIENTS {
            let client = pair.connect(slot, &Hello::default(), &Hello::default())?;
            pair.clients.push(client);
        }
        Ok(pair)
    }

    /// How much was compared until now.
    #[must_use]
    pub const fn compared(&self) -> Compared {
        self.compared
    }

    fn is_ensemble(&self) -> bool {
        self.sides.iter().any(|side| side.addresses.len() > 1)
    }

    fn connect(&mut self, slot: usize, left: &Hello, right: &Hello) -> Result<[Client; 2]> {
        let address = |side: &Side| {
            let at = slot % side.addresses.len().max(1);
            side.addresses.get(at).copied().context("no address")
        };
        let clients = [
            Client::connect(address(&self.sides[0])?, left)?,
            Client::connect(address(&self.sides[1])?, right)?,
        ];
        for (names, client) in self.names.iter_mut().zip(&clients) {
            names.learn(client.session);
        }
        Ok(clients)
    }

    /// Lets both sides do a step, and describes the difference, if there is one. `learn` sees
    /// the left side's replies with their operations.
    pub fn step(&mut self, step: &Step, learn: &mut dyn FnMut(i32, &[u8])) -> Option<String> {
        let answers = match step {
            Step::Requests {
                client,
                requests,
                ends,
            } => self.requests(*client, requests, *ends, learn),
            Step::Reopen { client, how } => self.reopen(*client, *how),
            Step::Expire { requests } => self.expire(requests),
            Step::Settle { top, gone } => self.await_collection(top, gone),
        };
        let [left, right] = match answers {
            Ok(answers) => answers.map(|side| self.settled(side)),
            Err(error) => return Some(format!("{error:#}")),
        };
        (left != right).then(|| describe(&left, &right))
    }

    /// The ephemerals of a session that ends are deleted in no particular order: events of
    /// such a transaction are sorted.
    fn settled(&self, mut answers: Vec<String>) -> Vec<String> {
        let closing = |text: &String| {
            let (_, rest) = text.split_once("event zxid ")?;
            let zxid = rest.split(' ').next()?.parse().ok()?;
            self.closings.contains(&zxid).then_some(zxid)
        };
        for run in answers.chunk_by_mut(|a, b| closing(a).is_some() && closing(a) == closing(b)) {
            run.sort();
        }
        answers
    }

    /// Sends requests to both sides and collects everything that comes back on every client.
    fn requests(
        &mut self,
        client: usize,
        requests: &[Sent],
        ends: bool,
        learn: &mut dyn FnMut(i32, &[u8]),
    ) -> Result<Answers> {
        let ops = self.number(requests);
        for ((xid, op), (_, body)) in ops.iter().zip(requests) {
            for half in &mut self.clients[client] {
                half.send(*xid, *op, body)?;
            }
        }
        let mut answers = [Vec::new(), Vec::new()];
        for (side, texts) in answers.iter_mut().enumerate() {
            let half = &mut self.clients[client][side];
            for (xid, op) in &ops {
                let awaited = if *op == PING { XID_PING } else { *xid };
                for frame in half.receive_until(awaited)? {
                    let is_reply = In(&frame).int()? == awaited;
                    self.reached[side] = self.reached[side].max(zxid_of(&frame));
                    if side == 0 {
                        learn(*op, &frame);
                        self.compared.requests += u64::from(is_reply);
                    }
                    if *op == CLOSE_SESSION && is_reply {
                        self.closings.insert(self.names[side].zxid(zxid_of(&frame)));
                    }
                    texts.push(render::frame(&frame, &ops, &self.names[side]));
                }
            }
            if ends {
                // The end may come a little behind the reply.
                half.receive_until(i32::MIN)?;
            }
            if half.closed {
                texts.push("closed".into());
            }
        }
        self.probe(&mut answers, &ops)?;
        if self.clients[client].iter().any(|half| half.closed) {
            self.resume(client, &mut answers)?;
        }
        Ok(answers)
    }

    fn number(&mut self, requests: &[Sent]) -> Vec<(i32, i32)> {
        let first = self.xid + 1;
        self.xid += i32::try_from(requests.len()).unwrap_or(0);
        (first..).zip(requests.iter().map(|(op, _)| *op)).collect()
    }

    /// Collects what has come meanwhile on every open connection.
    fn probe(&mut self, answers: &mut Answers, ops: &[(i32, i32)]) -> Result<()> {
        if self.is_ensemble() {
            return self.catch_up(answers, ops);
        }
        for half in self.clients.iter_mut().flatten() {
            if !half.closed {
                half.send(XID_PING, PING, &[])?;
            }
        }
        for (index, client) in self.clients.iter_mut().enumerate() {
            for (side, half) in client.iter_mut().enumerate() {
                for frame in half.receive_until(XID_PING)? {
                    let text = render::frame(&frame, ops, &self.names[side]);
                    answers[side].push(format!("client {index}: {text}"));
                }
            }
        }
        Ok(())
    }

    /// The same for ensembles: each server gets as far as the one that has come furthest. A genuine
    /// server answers a sync now and then before it has applied everything, so it is asked until
    /// it has.
    fn catch_up(&mut self, answers: &mut Answers, ops: &[(i32, i32)]) -> Result<()> {
        let began = Instant::now();
        let mut at = vec![[-1; 2]; self.clients.len()];
        let mut heard = vec![[const { Vec::new() }; 2]; self.clients.len()];
        loop {
            let mut behind = false;
            for (index, client) in self.clients.iter_mut().enumerate() {
                for (side, half) in client.iter_mut().enumerate() {
                    let (at, heard) = (&mut at[index][side], &mut heard[index][side]);
                    if half.closed || (*at >= 0 && *at >= self.reached[side]) {
                        continue;
                    }
                    behind = true;
                    let frames = synced(half)?;
                    *at = frames.last().map_or(-1, |frame| zxid_of(frame));
                    self.reached[side] = self.reached[side].max(*at);
                    let events = frames.iter().take(frames.len().saturating_sub(1));
                    heard.extend(events.map(|frame| {
                        let text = render::frame(frame, ops, &self.names[side]);
                        format!("client {index}: {text}")
                    }));
                }
            }
            if !behind {
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "a server stays behind");
        }
        for (index, (at, heard)) in at.into_iter().zip(heard).enumerate() {
            for (side, (at, heard)) in at.into_iter().zip(heard).enumerate() {
                answers[side].extend(heard);
                let at = self.names[side].zxid(at);
                answers[side].push(format!("client {index} is at {at}"));
            }
        }
        Ok(())
    }

    fn hello(half: &Client, how: Reopen) -> Hello {
        let mut hello = half.resumption();
        match how {
            Reopen::Resume | Reopen::Dropped => {}
            Reopen::OldClient => hello.with_read_only = false,
            Reopen::WrongPassword => hello.password = vec![7; 16],
            Reopen::ShortPassword => hello.password.truncate(9),
            Reopen::Ahead => hello.last_zxid = 1 << 40,
            Reopen::Fresh(timeout) => {
                hello.session = 0;
                hello.timeout = timeout;
            }
            Reopen::Unknown => hello.session ^= 0x77,
        }
        hello
    }

    /// Ends a client's connection and opens another, with or without its session.
    fn reopen(&mut self, client: usize, how: Reopen) -> Result<Answers> {
        let [left, right] = self.clients[client]
            .each_ref()
            .map(|half| Self::hello(half, how));
        if how == Reopen::Dropped {
            self.clients[client].iter_mut().for_each(Client::hang_up);
        }
        let fresh = self.connect(client, &left, &right)?;
        self.compared.handshakes += 1;
        let mut answers = [Vec::new(), Vec::new()];
        for (side, new) in fresh.iter().enumerate() {
            // The older connection is closed by whoever takes its session.
            let old_frames = match how {
                Reopen::Resume
                | Reopen::OldClient
                | Reopen::WrongPassword
                | Reopen::ShortPassword => {
                    self.clients[client][side].receive_until(i32::MIN)?.len()
                }
                Reopen::Dropped | Reopen::Ahead | Reopen::Fresh(_) | Reopen::Unknown => 0,
            };
            answers[side].push(format!(
                "session {} timeout {} size {} closed {} old {old_frames}",
                self.names[side].of(new.session),
                new.timeout,
                new.response_size,
                new.closed,
            ));
        }
        match how {
            Reopen::Fresh(_) => {
                // The older session would be in the way for a while; the new one may have a
                // timeout that a stall of this machine outlasts.
                self.close(client)?;
                self.clients[client] = fresh;
                self.close(client)?;
                self.clients[client] =
                    self.connect(client, &Hello::default(), &Hello::default())?;
            }
            Reopen::WrongPassword | Reopen::ShortPassword => self.resume(client, &mut answers)?,
            Reopen::Ahead | Reopen::Unknown => {}
            Reopen::Resume | Reopen::Dropped | Reopen::OldClient => self.clients[client] = fresh,
        }
        if self.is_ensemble() {
            // Sessions have begun and ended at one server; the others must know it.
            self.catch_up(&mut answers, &[])?;
        }
        Ok(answers)
    }

    /// Ends a client's session.
    fn close(&mut self, client: usize) -> Result<()> {
        for side in 0..2 {
            let half = &mut self.clients[client][side];
            half.send(1, CLOSE_SESSION, &[])?;
            let frames = half.receive_until(1)?;
            let names = &self.names[side];
            self.closings
                .extend(frames.last().map(|frame| names.zxid(zxid_of(frame))));
        }
        Ok(())
    }

    /// Takes the sessions of a client up again whose connections have ended, or begins new ones
    /// if they have ended too: without a connection they would expire at moments of their own.
    fn resume(&mut self, client: usize, answers: &mut Answers) -> Result<()> {
        let [left, right] = self.clients[client].each_ref().map(Client::resumption);
        let mut again = self.connect(client, &left, &right)?;
        self.compared.handshakes += 1;
        for (side, half) in again.iter().enumerate() {
            let session = self.names[side].of(half.session);
            answers[side].push(format!("resumed {session} timeout {}", half.timeout));
        }
        if again.iter().all(|half| half.session == 0) {
            again = self.connect(client, &Hello::default(), &Hello::default())?;
        }
        self.clients[client] = again;
        Ok(())
    }

    /// A session that is not heard of any more ends by one transaction on both sides.
    fn expire(&mut self, requests: &[Sent]) -> Result<Answers> {
        let shortest = Hello {
            timeout: 1,
            ..Hello::default()
        };
        let mut doomed = self.connect(0, &shortest, &shortest)?;
        let ops = self.number(requests);
        let mut answers = [Vec::new(), Vec::new()];
        for ((xid, op), (_, body)) in ops.iter().zip(requests) {
            for half in &mut doomed {
                half.send(*xid, *op, body)?;
            }
        }
        for (side, half) in doomed.iter_mut().enumerate() {
            for (xid, _) in &ops {
                for frame in half.receive_until(*xid)? {
                    answers[side].push(render::frame(&frame, &ops, &self.names[side]));
                }
            }
        }
        self.compared.requests += ops.len() as u64;
        let resumption = doomed.each_ref().map(Client::resumption);
        // Behind the last of its requests nothing happens but its end, which may come before
        // anybody else is asked.
        let mut before = [0; 2];
        for (side, half) in doomed.iter_mut().enumerate() {
            half.send(XID_PING, PING, &[])?;
            let frames = half.receive_until(XID_PING)?;
            let answer = frames.last().context("the session ended too soon")?;
            before[side] = zxid_of(answer);
            half.hang_up();
        }
        let began = Instant::now();
        let mut now = self.progress(&mut answers)?;
        while began.elapsed() < PATIENCE && now.iter().zip(&before).any(|(now, old)| now == old) {
            pause(Duration::from_millis(20));
            now = self.progress(&mut answers)?;
        }
        ensure!(
            now.iter().zip(&before).all(|(now, before)| now > before),
            "the session has not expired on both sides: {before:?} {now:?}"
        );
        // Events that came behind the ping that told of the end.
        let now = self.progress(&mut answers)?;
        for (names, zxid) in self.names.iter().zip(now) {
            self.closings.insert(names.zxid(zxid));
        }
        for (side, texts) in answers.iter_mut().enumerate() {
            // Pings answered while one side waited for the other say nothing, and which client
            // heard first neither.
            texts.retain(|text| !text.contains(": xid -2 "));
            texts.sort_by_key(|text| text.split_once(": ").map(|(client, _)| client.to_owned()));
            texts.push(format!("ended by {}", self.names[side].zxid(now[side])));
        }
        let again = self.connect(0, &resumption[0], &resumption[1])?;
        self.compared.handshakes += 1;
        for (side, half) in again.iter().enumerate() {
            answers[side].push(format!("resumed {} {}", half.session, half.timeout));
        }
        Ok(answers)
    }

    /// The last zxid of each side, as a ping tells it.
    fn progress(&mut self, answers: &mut Answers) -> Result<[i64; 2]> {
        let mut last = [0; 2];
        for (index, client) in self.clients.iter_mut().enumerate() {
            for (side, half) in client.iter_mut().enumerate() {
                half.send(XID_PING, PING, &[])?;
                for frame in half.receive_until(XID_PING)? {
                    last[side] = last[side].max(zxid_of(&frame));
                    let text = render::frame(&frame, &[], &self.names[side]);
                    answers[side].push(format!("client {index}: {text}"));
                }
            }
        }
        Ok(last)
    }

    /// Waits until both sides have collected the paths, then shows both trees.
    fn await_collection(&mut self, top: &str, gone: &[String]) -> Result<Answers> {
        let began = Instant::now();
        for path in gone {
            for side in 0..2 {
                while self.exists(side, path)? {
                    ensure!(
                        began.elapsed() < PATIENCE,
                        "the {} side does not collect {path}",
                        ["left", "right"][side]
                    );
                    pause(Duration::from_millis(20));
                }
            }
        }
        self.compared.trees += 1;
        // A shortened sequence collects paths of other numbers too.
        loop {
            let trees = [self.tree(0, top)?, self.tree(1, top)?];
            if trees[0] == trees[1] || began.elapsed() >= PATIENCE {
                return Ok(trees);
            }
            pause(Duration::from_millis(100));
        }
    }

    /// Asks one side alone.
    fn ask(&mut self, side: usize, op: i32, body: &[u8]) -> Result<Vec<u8>> {
        self.xid += 1;
        let half = &mut self.clients[0][side];
        half.send(self.xid, op, body)?;
        let frames = half.receive_until(self.xid)?;
        frames.into_iter().next_back().context("no reply")
    }

    fn exists(&mut self, side: usize, path: &str) -> Result<bool> {
        let reply = self.ask(side, 3, &Out::default().text(path).flag(false).0)?;
        Ok(In(reply.get(12..).unwrap_or_default()).int()? == 0)
    }

    /// Every node with its data, list and Stat.
    fn tree(&mut self, side: usize, top: &str) -> Result<Vec<String>> {
        let mut lines = Vec::new();
        let mut paths = vec![top.to_owned()];
        while let Some(path) = paths.pop() {
            let body = Out::default().text(&path);
            let node = self.ask(side, 4, &body.clone().flag(false).0)?;
            let list = self.ask(side, 6, &body.clone().0)?;
            let children = self.ask(side, 8, &body.flag(false).0)?;
            let mut r = In(children.get(16..).unwrap_or_default());
            // A refusal has no children.
            for _ in 0..r.int().unwrap_or_default() {
                let name = r.text()?;
                paths.push(format!("{}/{name}", path.trim_end_matches('/')));
            }
            for (op, frame) in [(4, node), (6, list)] {
                // Their xids are of no interest.
                let mut frame = frame;
                frame.splice(..4, [0; 4]);
                let text = render::frame(&frame, &[(0, op)], &self.names[side]);
                lines.push(format!("{path} {text}"));
            }
        }
        lines.sort();
        Ok(lines)
    }
}

/// Both sides' answers; of long ones only what the other side does not have.
fn describe(left: &[String], right: &[String]) -> String {
    const LONG: usize = 30;
    let long = left.len().max(right.len()) > LONG;
    let shown = |here: &[String], there: &[String]| {
        here.iter()
            .filter(|line| !long || !there.contains(line))
            .map(|line| format!("\n  {line}"))
            .collect::<String>()
    };
    format!("left:{}\nright:{}", shown(left, right), shown(right, left))
}

/// What comes before the answer to a sync, and the answer; less when the connection ends.
fn synced(half: &mut Client) -> Result<Vec<Frame>> {
    half.send(XID_SYNC, SYNC, &Out::default().text("/").0)?;
    half.receive_until(XID_SYNC)
}

/// The zxid of a reply or event.
fn zxid_of(frame: &[u8]) -> i64 {
    In(frame.get(4..).unwrap_or_default()).long().unwrap_or(-1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_long_answers_only_the_difference_is_shown() {
        let short = |last: &str| vec!["a".to_owned(), last.to_owned()];
        let text = describe(&short("b"), &short("c"));
        assert_eq!(text, "left:\n  a\n  b\nright:\n  a\n  c");
        let long = |last: &str| {
            let mut lines: Vec<String> = (0..40).map(|n| n.to_string()).collect();
            lines.push(last.to_owned());
            lines
        };
        assert_eq!(describe(&long("b"), &long("c")), "left:\n  b\nright:\n  c");
    }
}
