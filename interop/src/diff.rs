//! The differential test: the same random requests to a genuine server and to ours, every reply,
//! error, Stat and watch event compared.
//!
//! [`generate`] makes the requests, [`render`] turns replies into text in which everything that
//! may differ (times, session ids, orders that are not specified) is the same on both sides.

pub mod generate;
pub mod render;

use std::collections::{HashSet, VecDeque};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Args;

use crate::servers::{Kind, Server, root};
use crate::wire::{Client, Hello, In};
use generate::{Generator, Step};
use render::Names;

/// Arguments of `interop diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// Requests in all, spread over the configurations.
    #[arg(long, default_value_t = 10_000)]
    ops: u64,
    /// Of the random numbers; a new one each time when absent.
    #[arg(long)]
    seed: Option<u64>,
    /// Compare the genuine server with itself: proves the test.
    #[arg(long)]
    self_test: bool,
    /// Steps before a difference that are shown.
    #[arg(long, default_value_t = 12)]
    history: usize,
    /// Only this configuration.
    #[arg(long)]
    only: Option<String>,
}

/// Name and lines of zoo.cfg.
const CONFIGURATIONS: &[(&str, &[&str])] = &[
    ("default", &[]),
    ("extended", &["extendedTypesEnabled=true"]),
    ("quota", &["enforceQuota=true", "extendedTypesEnabled=true"]),
    ("skip-acl", &["skipACL=yes"]),
    (
        "super",
        &["DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU="],
    ),
];

/// Requests before the servers begin anew: differences stay short.
const ROUND: u64 = 2500;
/// Sessions at once.
const CLIENTS: usize = 3;

/// Runs the test.
///
/// # Errors
/// When a server cannot be started or reached.
pub fn run(args: &DiffArgs) -> Result<ExitCode> {
    let seed = args
        .seed
        .unwrap_or_else(|| u64::from(std::process::id()) * 2_654_435_761);
    let other = if args.self_test {
        Kind::Apache
    } else {
        Kind::Roo
    };
    let chosen: Vec<_> = CONFIGURATIONS
        .iter()
        .filter(|(name, _)| args.only.as_ref().is_none_or(|only| only == name))
        .collect();
    let mut done = 0;
    let mut round = 0;
    let mut failed = 0;
    while done < args.ops && failed == 0 {
        let (name, lines) = chosen[round % chosen.len()];
        let round_seed = seed.wrapping_add(round as u64);
        let ops = ROUND.min(args.ops - done);
        let mut pair = Pair::start(name, lines, other, args.history)?;
        let mut generator = Generator::new(round_seed, name);
        if let Some(difference) = pair.run(&mut generator, ops)? {
            println!("configuration {name}, seed {round_seed}:\n{difference}");
            println!("again: interop diff --seed {round_seed} --only {name} --ops {ops}");
            failed += 1;
        } else {
            println!("{name}: {ops} operations, seed {round_seed}: no difference");
        }
        done += ops;
        round += 1;
    }
    println!("{} passed, {failed} failed", done - u64::from(failed > 0));
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Two servers and the clients' two halves.
struct Pair {
    servers: [Server; 2],
    clients: Vec<[Client; 2]>,
    names: [Names; 2],
    xid: i32,
    recent: VecDeque<String>,
    /// Steps that a difference shows.
    history: usize,
    /// zxids that ended a session.
    closings: HashSet<i64>,
}

impl Pair {
    fn start(name: &str, lines: &[&str], other: Kind, history: usize) -> Result<Self> {
        let base = root().join("target/interop/diff");
        let mut servers = Vec::new();
        for (side, kind) in [Kind::Apache, other].into_iter().enumerate() {
            let dir = base.join(format!("{name}-{side}"));
            let _ = std::fs::remove_dir_all(&dir);
            let _ = std::fs::remove_file(dir.with_extension("log"));
            // Collected containers would take zxids at moments of their own.
            let mut lines = lines.to_vec();
            lines.push("znode.container.checkIntervalMs=3600000");
            servers.push(Server::start(kind, &dir, &lines)?);
        }
        let [a, b] = <[Server; 2]>::try_from(servers)
            .ok()
            .context("two servers")?;
        let mut pair = Self {
            servers: [a, b],
            clients: Vec::new(),
            names: [Names::default(), Names::default()],
            xid: 0,
            recent: VecDeque::new(),
            history,
            closings: HashSet::new(),
        };
        for _ in 0..CLIENTS {
            let client = pair.open(&Hello::default(), &Hello::default())?;
            pair.clients.push(client);
        }
        Ok(pair)
    }

    fn open(&mut self, left: &Hello, right: &Hello) -> Result<[Client; 2]> {
        let clients = [
            Client::connect(self.servers[0].address, left)?,
            Client::connect(self.servers[1].address, right)?,
        ];
        for (names, client) in self.names.iter_mut().zip(&clients) {
            names.learn(client.session);
        }
        Ok(clients)
    }

    /// Runs until the first difference, which it describes.
    fn run(&mut self, generator: &mut Generator, ops: u64) -> Result<Option<String>> {
        for number in 0..ops {
            let step = generator.next_step(CLIENTS);
            let text = format!("{number}: {step}");
            if self.recent.len() == self.history {
                self.recent.pop_front();
            }
            self.recent.push_back(text);
            let answers = self.step(&step, generator);
            let (left, right) = match answers {
                Ok(answers) => answers,
                Err(error) => {
                    return Ok(Some(format!("{error:#}\n{}", self.history())));
                }
            };
            let (left, right) = (self.settle(left), self.settle(right));
            if left != right {
                return Ok(Some(format!(
                    "{}\nApache:\n  {}\nother:\n  {}",
                    self.history(),
                    left.join("\n  "),
                    right.join("\n  ")
                )));
            }
        }
        Ok(None)
    }

    /// The ephemerals of a session that ends are deleted in no particular order: events of such a
    /// transaction are sorted.
    fn settle(&self, answers: Vec<String>) -> Vec<String> {
        let closing = |text: &String| {
            let (_, rest) = text.split_once("event zxid ")?;
            let zxid = rest.split(' ').next()?.parse().ok()?;
            self.closings.contains(&zxid).then_some(zxid)
        };
        let mut answers = answers;
        for run in answers.chunk_by_mut(|a, b| closing(a).is_some() && closing(a) == closing(b)) {
            run.sort();
        }
        answers
    }

    fn history(&self) -> String {
        self.recent.iter().cloned().collect::<Vec<_>>().join("\n")
    }

    fn step(
        &mut self,
        step: &Step,
        generator: &mut Generator,
    ) -> Result<(Vec<String>, Vec<String>)> {
        match step {
            Step::Requests {
                client,
                requests,
                ends,
            } => self.requests(*client, requests, *ends, generator),
            Step::Reopen { client, how } => self.reopen(*client, *how),
        }
    }

    /// Sends requests to both servers and collects everything that comes back on every client.
    fn requests(
        &mut self,
        client: usize,
        requests: &[(i32, Vec<u8>)],
        ends: bool,
        generator: &mut Generator,
    ) -> Result<(Vec<String>, Vec<String>)> {
        let mut ops = Vec::new();
        for (op, body) in requests {
            self.xid += 1;
            ops.push((self.xid, *op));
            for half in &mut self.clients[client] {
                half.send(self.xid, *op, body)?;
            }
        }
        let mut answers = [Vec::new(), Vec::new()];
        for side in 0..2 {
            let half = &mut self.clients[client][side];
            for (xid, op) in &ops {
                // A ping's reply has an xid of its own.
                let awaited = if *op == 11 { -2 } else { *xid };
                for frame in half.receive_until(awaited)? {
                    if side == 0 {
                        generator.learn(*op, &frame);
                    }
                    if *op == CLOSE_SESSION {
                        self.closings.insert(zxid_of(&frame));
                    }
                    answers[side].push(render::frame(&frame, &ops, &self.names[side]));
                }
            }
            if ends {
                // The end may come a little behind the reply.
                half.receive_until(i32::MIN)?;
            }
            if half.closed {
                answers[side].push("closed".into());
            }
            for (index, other) in self.clients.iter_mut().enumerate() {
                if index == client && other[side].closed {
                    continue;
                }
                other[side].send(-2, 11, &[])?;
                for frame in other[side].receive_until(-2)? {
                    let text = render::frame(&frame, &ops, &self.names[side]);
                    answers[side].push(format!("client {index}: {text}"));
                }
            }
        }
        if self.clients[client].iter().any(|half| half.closed) {
            let fresh = self.open(&Hello::default(), &Hello::default())?;
            self.clients[client] = fresh;
        }
        let [left, right] = answers;
        Ok((left, right))
    }

    /// Ends a client's connection and opens another, with or without its session.
    fn reopen(
        &mut self,
        client: usize,
        how: generate::Reopen,
    ) -> Result<(Vec<String>, Vec<String>)> {
        use generate::Reopen;
        let hello = |half: &Client| {
            let mut hello = Hello {
                session: half.session,
                password: half.password.clone(),
                ..Hello::default()
            };
            match how {
                Reopen::Resume => {}
                Reopen::OldClient => hello.with_read_only = false,
                Reopen::WrongPassword => hello.password = vec![7; 16],
                Reopen::ShortPassword => hello.password.truncate(9),
                Reopen::Ahead => hello.last_zxid = 1 << 40,
                Reopen::Fresh => {
                    hello.session = 0;
                    hello.timeout = 1;
                }
                Reopen::Unknown => hello.session ^= 0x77,
            }
            hello
        };
        let [left, right] = self.clients[client].each_ref().map(hello);
        let fresh = self.open(&left, &right)?;
        let mut texts = Vec::new();
        for (side, new) in fresh.iter().enumerate() {
            // The older connection is closed by whoever takes its session.
            let old_frames = match how {
                Reopen::Resume
                | Reopen::OldClient
                | Reopen::WrongPassword
                | Reopen::ShortPassword => {
                    self.clients[client][side].receive_until(i32::MIN)?.len()
                }
                Reopen::Ahead | Reopen::Fresh | Reopen::Unknown => 0,
            };
            texts.push(vec![format!(
                "session {} timeout {} size {} closed {} old {old_frames}",
                self.names[side].of(new.session),
                new.timeout,
                new.response_size,
                new.closed,
            )]);
        }
        if fresh.iter().all(|half| half.session != 0) {
            if how == Reopen::Fresh {
                // The older session is ended, or its ephemerals would stay for a while.
                for half in &mut self.clients[client] {
                    half.send(1, CLOSE_SESSION, &[])?;
                    let frames = half.receive_until(1)?;
                    self.closings
                        .extend(frames.last().map(|frame| zxid_of(frame)));
                }
            }
            self.clients[client] = fresh;
        } else if matches!(how, Reopen::WrongPassword | Reopen::ShortPassword) {
            // The session lives on without a connection.
            let [left, right] = self.clients[client].each_ref().map(|half| Hello {
                session: half.session,
                password: half.password.clone(),
                ..Hello::default()
            });
            self.clients[client] = self.open(&left, &right)?;
        }
        let right = texts.pop().unwrap_or_default();
        Ok((texts.pop().unwrap_or_default(), right))
    }
}

const CLOSE_SESSION: i32 = -11;

/// The zxid of a reply or event.
fn zxid_of(frame: &[u8]) -> i64 {
    In(frame.get(4..).unwrap_or_default()).long().unwrap_or(-1)
}
