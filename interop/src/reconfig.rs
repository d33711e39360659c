//! `interop reconfig`: an ensemble of real processes grows, shrinks and changes roles by `reconfig`
//! while a client goes on writing; nothing that was acknowledged is lost. Servers come back from
//! the files that they have rewritten. Every refusal that a reconfiguration knows is asked for.
//!
//! With `--server apache` the same against the genuine server, which proves the test.

mod refusals;
mod writer;

use std::collections::BTreeSet;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};

use crate::ensemble::{Ensemble, LIMITS, PATIENCE, Part};
use crate::servers::{Kind, pause, root};
use crate::session::{Change, Session};
use writer::{TOP, Writer};

/// Which servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The genuine server.
    Apache,
    /// RooKeeper.
    Roo,
}

impl Against {
    /// The same as what is started.
    #[must_use]
    pub const fn kind(self) -> Kind {
        match self {
            Self::Apache => Kind::Apache,
            Self::Roo => Kind::Roo,
        }
    }
}

/// Arguments of `interop reconfig`.
#[derive(Args, Debug)]
pub struct ReconfigArgs {
    /// Which servers to run against.
    #[arg(long, value_enum, default_value_t = Against::Roo)]
    server: Against,
    /// Go through all changes so many times, each time with a fresh ensemble
    #[arg(long, default_value_t = 1)]
    rounds: u32,
}

/// Servers in all.
const SERVERS: u16 = 5;

/// The password of the one who may change the ensemble is `test`.
const SUPER: &str = "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

/// Lines of every server's zoo.cfg.
const LINES: &[&str] = &[
    SUPER,
    "reconfigEnabled=true",
    "standaloneEnabled=false",
    "tickTime=1000",
];

/// Where the servers of the ensemble are listed.
const CONFIG: &str = "/zookeeper/config";

/// Refusals, as the wire numbers them.
const NEW_CONFIG_NO_QUORUM: i32 = -13;

/// Runs the test.
///
/// # Errors
/// When a server cannot be started, or anything is not as it must be.
pub fn run(arguments: &ReconfigArgs) -> Result<ExitCode> {
    let kind = arguments.server.kind();
    let dir = root().join(format!("target/interop/reconfig-{}", std::process::id()));
    for round in 1..=arguments.rounds {
        println!("round {round} against {kind:?}");
        change_everything(kind, &dir)?;
        refusals::ask_for_all(kind, &dir)?;
    }
    fs::remove_dir_all(&dir)?;
    println!("{} passed, 0 failed", arguments.rounds);
    Ok(ExitCode::SUCCESS)
}

fn change_everything(kind: Kind, dir: &Path) -> Result<()> {
    let mut stage = Stage::first(kind, dir)?;
    let writer = Writer::start(stage.ensemble.addresses());
    let outcome = stage.play();
    let record = writer.finish();
    outcome.with_context(|| format!("logs and data are in {}", dir.display()))?;
    let record = record?;
    ensure!(!record.acknowledged.is_empty(), "nothing was written");
    for member in stage.ensemble.members.iter().filter(|one| one.runs()) {
        record.judge(member.address())?;
    }
    stage.ensemble.examine()?;
    println!(
        "{} writes acknowledged, {} without an answer, none lost; longest time without one {} ms",
        record.acknowledged.len(),
        record.unknown,
        record.longest_gap.as_millis()
    );
    Ok(())
}

/// The ensemble, and who belongs to it. Servers are named by their index.
struct Stage {
    kind: Kind,
    ensemble: Ensemble,
    /// By reconfigurations so far.
    parts: Vec<Option<Part>>,
    /// Changes so far.
    asked: usize,
}

impl Stage {
    /// One server alone.
    fn first(kind: Kind, dir: &Path) -> Result<Self> {
        let ensemble = Ensemble::prepare(kind, SERVERS, dir)?;
        let mut stage = Self {
            kind,
            ensemble,
            asked: 0,
            parts: vec![None; usize::from(SERVERS)],
        };
        stage.parts[0] = Some(Part::Participant);
        stage.launch(0)?;
        stage.ensemble.members[0].await_mode("leader")?;
        Session::open(stage.address(0))?.create(TOP, b"")?;
        Ok(stage)
    }

    fn play(&mut self) -> Result<()> {
        self.told("growth from 1 to 2", |s| s.join(&[1]))?;
        self.told("growth to 3", |s| s.join(&[2]))?;
        self.told("growth to 5 at once", |s| s.join(&[3, 4]))?;
        self.told("a follower becomes an observer", Self::demote_follower)?;
        self.told("it votes again", |s| s.promote("observer"))?;
        self.told("the leader becomes an observer", Self::demote_leader)?;
        self.told("it votes again", |s| s.promote("observer"))?;
        self.told(
            "a follower is removed and comes back",
            Self::remove_follower,
        )?;
        self.told("the leader is removed and comes back", Self::remove_leader)?;
        self.told("a list of members: 3 of 5", |s| s.replace(&[0, 2, 4]))?;
        self.told("a list of members: 5 again", |s| {
            s.replace(&[0, 1, 2, 3, 4])
        })?;
        self.told("one after the other restarts", Self::restart_in_turn)?;
        self.told("all restart at once", Self::restart_together)
    }

    fn told(&mut self, what: &str, change: impl FnOnce(&mut Self) -> Result<()>) -> Result<()> {
        let began = Instant::now();
        change(self).with_context(|| what.to_owned())?;
        self.agree().with_context(|| what.to_owned())?;
        println!("ok {what}: {} ms", began.elapsed().as_millis());
        Ok(())
    }

    fn address(&self, server: usize) -> SocketAddr {
        self.ensemble.members[server].address()
    }

    /// Starts a server that knows those who belong to the ensemble, and itself.
    fn launch(&mut self, server: usize) -> Result<()> {
        let list: Vec<String> = self
            .ensemble
            .members
            .iter()
            .zip(&self.parts)
            .enumerate()
            .filter_map(|(index, (member, part))| match part {
                Some(part) => Some(member.line(*part)),
                None => (index == server).then(|| member.line(Part::Participant)),
            })
            .collect();
        let mut lines = LINES.to_vec();
        lines.extend(LIMITS);
        lines.extend(list.iter().map(String::as_str));
        self.ensemble.members[server].launch(&lines)
    }

    /// Asks the leader, or another server of the ensemble, in turn. Servers that join must be in
    /// step first; until then the leader says so, and is asked again.
    fn reconfig(&mut self, change: &Change<'_>) -> Result<()> {
        let began = Instant::now();
        self.asked += 1;
        loop {
            let leader = self.ensemble.await_leader()?;
            let other =
                (0..self.parts.len()).find(|one| *one != leader && self.parts[*one].is_some());
            let asked = other
                .filter(|_| self.asked.is_multiple_of(2))
                .unwrap_or(leader);
            let mut session = Session::open(self.address(asked))?;
            session.auth("digest", "super:test")?;
            let reply = match session.reconfig(change) {
                // A genuine server that changes its role hangs up on who has asked for it.
                Err(_) if self.kind == Kind::Apache => return Ok(()),
                reply => reply?,
            };
            match reply.error {
                0 => return Ok(()),
                NEW_CONFIG_NO_QUORUM if began.elapsed() < PATIENCE => {
                    pause(std::time::Duration::from_millis(20));
                }
                refused => bail!("{change:?} is refused: {refused}"),
            }
        }
    }

    fn lines(&self, servers: &[usize], part: Part) -> String {
        let lines: Vec<String> = servers
            .iter()
            .map(|index| self.ensemble.members[*index].whole_line(part))
            .collect();
        lines.join(",")
    }

    fn join(&mut self, servers: &[usize]) -> Result<()> {
        for server in servers {
            self.launch(*server)?;
        }
        self.add(servers, Part::Participant)
    }

    fn add(&mut self, servers: &[usize], part: Part) -> Result<()> {
        let joining = self.lines(servers, part);
        self.reconfig(&Change {
            joining: Some(&joining),
            ..Change::default()
        })?;
        for server in servers {
            self.parts[*server] = Some(part);
        }
        Ok(())
    }

    fn remove(&mut self, server: usize) -> Result<()> {
        let leaving = (server + 1).to_string();
        self.reconfig(&Change {
            leaving: Some(&leaving),
            ..Change::default()
        })?;
        self.parts[server] = None;
        Ok(())
    }

    fn demote_follower(&mut self) -> Result<()> {
        let follower = self.ensemble.find("follower").context("a follower")?;
        self.add(&[follower], Part::Observer)
    }

    fn demote_leader(&mut self) -> Result<()> {
        let leader = self.ensemble.await_leader()?;
        self.add(&[leader], Part::Observer)
    }

    fn promote(&mut self, mode: &str) -> Result<()> {
        let observer = self.ensemble.find(mode).context("an observer")?;
        self.add(&[observer], Part::Participant)
    }

    fn remove_follower(&mut self) -> Result<()> {
        let follower = self.ensemble.find("follower").context("a follower")?;
        self.remove_and_return(follower)
    }

    fn remove_leader(&mut self) -> Result<()> {
        let leader = self.ensemble.await_leader()?;
        self.remove_and_return(leader)
    }

    /// Removes a server, restarts it, and adds it again.
    fn remove_and_return(&mut self, server: usize) -> Result<()> {
        self.remove(server)?;
        self.agree()?;
        self.ensemble.members[server].stop()?;
        match self.kind {
            // A server that is in no list, its own file's neither, does not start.
            Kind::Apache | Kind::Older(_) => self.launch(server)?,
            Kind::Roo => self.ensemble.members[server].come_back()?,
        }
        self.add(&[server], Part::Participant)
    }

    fn replace(&mut self, servers: &[usize]) -> Result<()> {
        let members = self.lines(servers, Part::Participant);
        self.reconfig(&Change {
            members: Some(&members),
            ..Change::default()
        })?;
        for (index, part) in self.parts.iter_mut().enumerate() {
            *part = servers.contains(&index).then_some(Part::Participant);
        }
        Ok(())
    }

    fn restart_in_turn(&mut self) -> Result<()> {
        for server in 0..self.parts.len() {
            self.ensemble.members[server].stop()?;
            self.examine_files(server)?;
            self.ensemble.members[server].come_back()?;
            self.agree()?;
        }
        Ok(())
    }

    fn restart_together(&mut self) -> Result<()> {
        for member in &mut self.ensemble.members {
            member.kill()?;
        }
        for member in &mut self.ensemble.members {
            member.come_back()?;
        }
        Ok(())
    }

    /// A server's own file names the file of the ensemble, and not its servers.
    fn examine_files(&self, server: usize) -> Result<()> {
        let member = &self.ensemble.members[server];
        let text = fs::read_to_string(member.config_file())?;
        let named = text
            .lines()
            .find_map(|line| line.strip_prefix("dynamicConfigFile="))
            .with_context(|| format!("{} names no dynamicConfigFile", server + 1))?;
        ensure!(
            !text.contains("\nserver."),
            "zoo.cfg still lists servers:\n{text}"
        );
        let list = fs::read_to_string(named).with_context(|| named.to_owned())?;
        let listed: BTreeSet<String> = list.lines().map(str::to_owned).collect();
        ensure!(
            without_clients(&listed) == without_clients(&self.list()),
            "{named}:\n{list}"
        );
        Ok(())
    }

    /// The lines of the servers that belong to the ensemble.
    fn list(&self) -> BTreeSet<String> {
        let members = self.ensemble.members.iter().zip(&self.parts);
        members
            .filter_map(|(member, part)| part.map(|part| member.whole_line(part)))
            .collect()
    }

    /// Waits until every server of the ensemble does its part and knows the others.
    fn agree(&self) -> Result<()> {
        let began = Instant::now();
        let expected = self.list();
        loop {
            let Err(why) = self.agrees(&expected) else {
                return Ok(());
            };
            if began.elapsed() > PATIENCE {
                return Err(why);
            }
            pause(std::time::Duration::from_millis(20));
        }
    }

    /// Whether every server does its part at this moment, and one leads.
    fn agrees(&self, expected: &BTreeSet<String>) -> Result<()> {
        let mut leaders = 0;
        for (server, part) in self.parts.iter().enumerate() {
            let Some(part) = part else {
                continue;
            };
            let seen = self.look(server)?;
            leaders += usize::from(seen.mode == "leader");
            ensure!(
                seen.is(*part, expected),
                "server {} should be one of {expected:#?} and sees {seen:#?}",
                server + 1
            );
        }
        ensure!(leaders == 1, "{leaders} leaders");
        Ok(())
    }

    fn look(&self, server: usize) -> Result<Seen> {
        let mode = self.ensemble.members[server].mode().context("no mode")?;
        let mut session = Session::open(self.address(server))?;
        session.sync()?;
        let text = String::from_utf8(session.get(CONFIG)?)?;
        let servers = text
            .lines()
            .filter(|line| line.starts_with("server."))
            .map(str::to_owned);
        Ok(Seen {
            mode,
            servers: servers.collect(),
        })
    }
}

/// What a server shows of itself.
#[derive(Debug)]
struct Seen {
    mode: String,
    servers: BTreeSet<String>,
}

impl Seen {
    fn is(&self, part: Part, expected: &BTreeSet<String>) -> bool {
        let does = match part {
            Part::Participant => self.mode == "leader" || self.mode == "follower",
            Part::Observer => self.mode == "observer",
        };
        does && without_clients(&self.servers) == without_clients(expected)
    }
}

/// The first server's line has no client address, as it was there before all reconfigurations.
fn without_clients(servers: &BTreeSet<String>) -> BTreeSet<&str> {
    let line = |text: &'_ String| -> usize { text.find(';').unwrap_or(text.len()) };
    servers.iter().map(|text| &text[..line(text)]).collect()
}
