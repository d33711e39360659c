//! Our recipes beside Curator's and kazoo's: a process in Rust (this one), one in Java and one in
//! Python use the same nodes at the same time, against the genuine server, ours, and an ensemble of
//! ours. What must not happen at once is checked by files that all of them share, and the order of
//! holders by their fencing tokens.

mod peers;
mod scenarios;

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use roo_client::Client;

use crate::apache;
use crate::ensemble::Ensemble;
use crate::servers::{Kind, Server, ask_word, root};
use peers::Peer;

/// How long one scenario may take.
pub(crate) const LIMIT: Duration = Duration::from_secs(45);

/// Which servers to run against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Against {
    /// The genuine server, ours, and an ensemble of ours.
    All,
    /// The genuine server.
    Apache,
    /// RooKeeper.
    Roo,
    /// Three servers of RooKeeper.
    Ensemble,
}

/// Arguments of `interop recipes`.
#[derive(Args, Debug)]
pub struct RecipesArgs {
    /// Which servers to run against.
    #[arg(long, value_enum, default_value_t = Against::All)]
    server: Against,
    /// Against this older release of the genuine server instead, such as 3.5.10.
    #[arg(long)]
    release: Option<String>,
    /// Only this scenario.
    #[arg(long)]
    only: Option<String>,
    /// Turns that each participant takes, and items that it puts.
    #[arg(long, default_value_t = 8)]
    rounds: usize,
}

/// Where the participants of a scenario meet.
#[derive(Clone, Debug)]
pub(crate) struct Meeting {
    /// Files that say who is where.
    pub(crate) directory: PathBuf,
    /// Turns, items or members.
    pub(crate) number: usize,
    /// Where to ask what the servers know.
    pub(crate) servers: Vec<SocketAddr>,
}

/// How long a server may take to answer a four-letter word.
const WORD_LIMIT: Duration = Duration::from_secs(5);

impl Meeting {
    pub(crate) fn shared(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// Adds a line to what all have noted.
    pub(crate) fn note(&self, what: &str, line: &str) -> Result<()> {
        use std::io::Write as _;
        let path = self.shared(&format!("{what}-log"));
        let mut file = fs::File::options().create(true).append(true).open(path)?;
        file.write_all(format!("{line}\n").as_bytes())?;
        Ok(())
    }

    /// What all have noted.
    pub(crate) fn noted(&self, what: &str) -> Vec<String> {
        let text = fs::read_to_string(self.shared(&format!("{what}-log"))).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// How many files begin with this.
    pub(crate) fn count(&self, prefix: &str) -> Result<usize> {
        let mut count = 0;
        for entry in fs::read_dir(&self.directory)? {
            count += usize::from(entry?.file_name().to_string_lossy().starts_with(prefix));
        }
        Ok(count)
    }

    /// How many sessions watch this node.
    pub(crate) fn watchers(&self, path: &str) -> Result<usize> {
        let mut count = 0;
        for server in &self.servers {
            let answer = ask_word(*server, "wchp", WORD_LIMIT)?;
            let behind = answer.lines().skip_while(|line| *line != path).skip(1);
            count += behind.take_while(|line| line.starts_with('\t')).count();
        }
        Ok(count)
    }

    /// Does something where nobody else may be.
    pub(crate) fn alone(&self, what: &str, body: impl FnOnce() -> Result<()>) -> Result<()> {
        let path = self.shared(&format!("{what}-inside"));
        fs::File::create_new(&path).context("somebody else is inside")?;
        body()?;
        fs::remove_file(path)?;
        Ok(())
    }
}

/// One scenario.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// Which of the other programs take part.
    pub(crate) with: &'static [&'static str],
    /// Members instead of rounds.
    pub(crate) number: Option<usize>,
    /// What we do.
    pub(crate) ours: fn(Client, Meeting) -> scenarios::Running,
    /// What must hold when all have finished.
    pub(crate) check: fn(&Meeting, usize) -> Result<()>,
}

/// Runs every scenario against every server asked for, and prints a table.
///
/// # Errors
/// When a server or a program cannot be started.
pub fn run(arguments: &RecipesArgs) -> Result<ExitCode> {
    let work = root().join("target/interop/recipes");
    fs::create_dir_all(&work)?;
    let mut good = true;
    let (apache, roo) = (("apache", Some(Kind::Apache)), ("roo", Some(Kind::Roo)));
    let ensemble = ("ensemble", None);
    let settings = match (&arguments.release, arguments.server) {
        (Some(version), _) => {
            let release = apache::older(version)?;
            vec![(release.version, Some(Kind::Older(release)))]
        }
        (None, Against::All) => vec![apache, roo, ensemble],
        (None, Against::Apache) => vec![apache],
        (None, Against::Roo) => vec![roo],
        (None, Against::Ensemble) => vec![ensemble],
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    for (setting, kind) in settings {
        let data = work.join(setting);
        if data.exists() {
            fs::remove_dir_all(&data)?;
        }
        let lines = &["tickTime=500", "minSessionTimeout=1000"];
        let release = kind.and_then(Kind::release);
        let lacks = release.map_or(&[][..], |release| release.lacks);
        match kind {
            None => {
                let ensemble = Ensemble::start(Kind::Roo, 3, 0, &data, lines)?;
                let servers = ensemble.addresses();
                good &= runtime.block_on(meet(setting, lacks, &servers, &work, arguments))?;
            }
            Some(kind) => {
                let server = Server::start(kind, &data, lines)?;
                let servers = [server.address];
                good &= runtime.block_on(meet(setting, lacks, &servers, &work, arguments))?;
            }
        }
    }
    Ok(if good {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

async fn meet(
    setting: &str,
    lacks: &[&str],
    servers: &[SocketAddr],
    work: &Path,
    arguments: &RecipesArgs,
) -> Result<bool> {
    let hosts: Vec<String> = servers.iter().map(ToString::to_string).collect();
    let hosts = &hosts.join(",");
    let directory = work.join(format!("{setting}-meeting"));
    if directory.exists() {
        fs::remove_dir_all(&directory)?;
    }
    fs::create_dir_all(&directory)?;
    println!("\n== recipes against {setting} at {hosts}");
    let mut peers = BTreeMap::new();
    for name in ["java", "python"] {
        peers.insert(name, Peer::start(name, hosts, &directory, work, lacks)?);
    }
    let client = Client::connect(hosts, roo_client::Options::default()).await?;
    let only = arguments.only.as_deref();
    let mut good = true;
    let mut ran = 0;
    for scenario in scenarios::ALL {
        if only.is_some_and(|only| only != scenario.name) {
            continue;
        }
        ran += 1;
        let began = Instant::now();
        let meeting = Meeting {
            directory: directory.clone(),
            number: scenario.number.unwrap_or(arguments.rounds),
            servers: servers.to_vec(),
        };
        let outcome = play(scenario, &client, &meeting, &mut peers).await;
        let said = match &outcome {
            Ok(()) => "ok".to_owned(),
            Err(error) => format!("FAIL: {error:#}"),
        };
        let with = scenario.with.join(" and ");
        let seconds = began.elapsed().as_secs_f64();
        println!(
            "{:<9} with {with:<16} {seconds:>5.1} s  {said}",
            scenario.name
        );
        good &= outcome.is_ok();
    }
    ensure!(
        ran > 0,
        "no scenario is called {}",
        only.unwrap_or_default()
    );
    client.close().await?;
    Ok(good)
}

async fn play(
    scenario: &Scenario,
    client: &Client,
    meeting: &Meeting,
    peers: &mut BTreeMap<&str, Peer>,
) -> Result<()> {
    for name in scenario.with {
        let peer = peers.get_mut(name).context("no such program")?;
        peer.order(scenario.name, meeting.number)?;
    }
    let ours = tokio::time::timeout(LIMIT, (scenario.ours)(client.clone(), meeting.clone()));
    let ours = match ours.await {
        Ok(outcome) => outcome.context("rust"),
        Err(_) => Err(anyhow::anyhow!("rust: not finished within {LIMIT:?}")),
    };
    // Each program is heard, so that the next scenario begins with all of them ready.
    let mut outcomes = vec![ours];
    for name in scenario.with {
        if let Some(peer) = peers.get_mut(name) {
            outcomes.push(peer.answer(scenario.name));
        }
    }
    outcomes.into_iter().collect::<Result<Vec<()>>>()?;
    (scenario.check)(meeting, scenario.with.len() + 1)
}
