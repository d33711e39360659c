//! The differential test: the same random requests to a genuine server and to ours, every reply,
//! error, Stat and watch event compared.
//!
//! [`generate`] makes the requests, [`pair`] sends them to both sides, [`render`] turns replies
//! into text in which everything that may differ is the same on both sides, [`shrink`] finds the
//! least that shows a difference. What is left out stands in [`exclusions`], and only there.

pub mod collections;
pub mod exclusions;
pub mod generate;
pub mod pair;
pub mod quotas;
pub mod random;
pub mod render;
pub mod shrink;
pub mod steps;

use std::hash::{BuildHasher, RandomState};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::ensemble::Ensemble;
use crate::servers::{Kind, Server, root};
use exclusions::Purpose;
use generate::Generator;
use pair::{CLIENTS, Compared, Pair, Side, Started};
use render::Zxids;
use shrink::Verdict;
use steps::Step;

/// Arguments of `interop diff`.
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// Operations to compare in all, spread over the configurations
    #[arg(long, default_value_t = 10_000)]
    ops: u64,
    /// Go on for so many minutes instead
    #[arg(long, conflicts_with = "ops")]
    minutes: Option<u64>,
    /// Of the random numbers; a new one each time when absent
    #[arg(long)]
    seed: Option<u64>,
    /// Steps before the servers begin anew; a quarter where they wait for their clocks
    #[arg(long, default_value_t = 2500)]
    round: u64,
    /// Compare the genuine server with itself: proves the test
    #[arg(long)]
    self_test: bool,
    /// Go on behind a difference
    #[arg(long)]
    keep_going: bool,
    /// How long to look for the least that shows a difference
    #[arg(long, default_value_t = 5)]
    shrink_minutes: u64,
    /// Only this configuration
    #[arg(long)]
    only: Option<String>,
    /// The genuine side is an ensemble of so many servers; each client has one of them
    #[arg(long, default_value_t = 1)]
    ensemble: u16,
    /// RooKeeper's side is an ensemble of so many servers; each client has one of them
    #[arg(long, default_value_t = 1)]
    ours: u16,
    /// Running servers for the left side, instead of genuine ones started for it
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS,...")]
    left: Vec<SocketAddr>,
    /// Running servers for the right side, instead of RooKeeper started for it
    #[arg(long, value_delimiter = ',', value_name = "ADDRESS,...")]
    right: Vec<SocketAddr>,
}

impl DiffArgs {
    /// Whether one of the sides was started by somebody else.
    fn given(&self) -> bool {
        !self.left.is_empty() || !self.right.is_empty()
    }

    /// Whether one of the sides may be an ensemble.
    fn is_ensemble(&self) -> bool {
        self.ensemble > 1 || self.ours > 1 || self.given()
    }
}

/// A name and lines of zoo.cfg.
#[derive(Debug)]
struct Configuration {
    name: &'static str,
    lines: &'static [&'static str],
    purpose: Purpose,
}

const fn configuration(
    name: &'static str,
    purpose: Purpose,
    lines: &'static [&'static str],
) -> Configuration {
    Configuration {
        name,
        lines,
        purpose,
    }
}

const SUPER: &str = "DigestAuthenticationProvider.superDigest=super:D/InIHSb7yEEbrWz8b9l71RjZJU=";

const CONFIGURATIONS: &[Configuration] = &[
    configuration("default", Purpose::Compare, &[]),
    configuration("extended", Purpose::Compare, &["extendedTypesEnabled=true"]),
    configuration(
        "quota",
        Purpose::Quotas,
        &["enforceQuota=true", "extendedTypesEnabled=true"],
    ),
    configuration(
        "skip-acl",
        Purpose::Compare,
        &["skipACL=yes", "reconfigEnabled=true"],
    ),
    configuration("super", Purpose::Compare, &[SUPER, "reconfigEnabled=true"]),
    configuration(
        "expiry",
        Purpose::Expiry,
        &["tickTime=500", "maxSessionTimeout=60000"],
    ),
    configuration(
        "reaper",
        Purpose::Collections,
        &[
            "extendedTypesEnabled=true",
            "znode.container.checkIntervalMs=150",
        ],
    ),
];

/// Runs the test.
///
/// # Errors
/// When a server cannot be started or reached.
pub fn run(args: &DiffArgs) -> Result<ExitCode> {
    let seed = args
        .seed
        .unwrap_or_else(|| RandomState::new().hash_one(std::process::id()) >> 24);
    println!("seed {seed}");
    let chosen: Vec<_> = CONFIGURATIONS
        .iter()
        .filter(|known| args.only.as_ref().is_none_or(|only| only == known.name))
        .filter(|known| {
            // The others' races are enough for one server.
            !args.is_ensemble() || matches!(known.purpose, Purpose::Compare | Purpose::Collections)
        })
        .collect();
    ensure!(
        !chosen.is_empty(),
        "no configuration of the name {:?}",
        args.only
    );
    let given = args.given();
    let began = Instant::now();
    let goes_on = |compared: u64| match args.minutes {
        Some(minutes) => began.elapsed() < Duration::from_secs(60 * minutes),
        None => compared < args.ops,
    };
    let mut totals = Totals::default();
    let mut round = 0;
    while goes_on(totals.compared.requests) && (totals.differences == 0 || args.keep_going) {
        let configuration = chosen[round % chosen.len()];
        let test = Round {
            args,
            configuration,
            seed: seed.wrapping_add(round as u64),
            steps: match configuration.purpose {
                // These wait for the servers' clocks.
                Purpose::Expiry | Purpose::Collections => args.round.div_ceil(4),
                _ => args.round,
            },
        };
        test.run(&mut totals)?;
        round += 1;
        if given {
            // Servers of somebody else begin only once.
            break;
        }
    }
    if totals.differences == 0 && run_dir().exists() {
        std::fs::remove_dir_all(run_dir()).context("remove the servers' files")?;
    }
    let Compared {
        requests,
        handshakes,
        trees,
    } = totals.compared;
    println!(
        "compared: {requests} operations, {handshakes} handshakes, {trees} trees, in {round} rounds"
    );
    let differences = totals.differences;
    println!(
        "{} passed, {differences} failed",
        round as u64 - differences
    );
    Ok(if differences == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

#[derive(Debug, Default)]
struct Totals {
    differences: u64,
    compared: Compared,
}

/// One sequence against fresh servers.
struct Round<'a> {
    args: &'a DiffArgs,
    configuration: &'a Configuration,
    seed: u64,
    steps: u64,
}

impl Round<'_> {
    fn run(&self, totals: &mut Totals) -> Result<()> {
        let Configuration { name, purpose, .. } = *self.configuration;
        let purpose = match purpose {
            Purpose::Compare if self.args.is_ensemble() => Purpose::Ensembles,
            purpose => purpose,
        };
        let mut generator = Generator::new(self.seed, purpose);
        // In an ensemble zxids have an epoch that the other side does not know.
        let learns = !self.args.is_ensemble();
        let mut pair = self.start()?;
        let mut done = Vec::new();
        let mut difference = None;
        let missing = self.args.ops.saturating_sub(totals.compared.requests);
        let remaining = match self.args.minutes {
            Some(_) => self.steps,
            None => self.steps.min(missing),
        };
        while difference.is_none() && (done.len() as u64) < remaining {
            let step = generator.next_step(CLIENTS);
            difference = pair.step(&step, &mut |op, frame| {
                if learns {
                    generator.learn(op, frame);
                }
            });
            done.push(step);
        }
        let compared = pair.compared();
        drop(pair);
        totals.compared.requests += compared.requests;
        totals.compared.handshakes += compared.handshakes;
        totals.compared.trees += compared.trees;
        match difference {
            None => println!(
                "{name}: seed {}: no difference in {} operations, {} handshakes, {} trees",
                self.seed, compared.requests, compared.handshakes, compared.trees
            ),
            Some(difference) => {
                totals.differences += 1;
                self.explain(done, &difference);
            }
        }
        Ok(())
    }

    /// Prints a difference and the least that shows it.
    fn explain(&self, done: Vec<Step>, difference: &str) {
        const SHOWN: usize = 12;
        let name = self.configuration.name;
        println!("{name}: seed {}: DIFFERENCE\n{difference}", self.seed);
        let round = self.args.round;
        println!(
            "again: interop diff --seed {} --only {name} --ops {round} --round {round} \
             --ensemble {} --ours {}",
            self.seed, self.args.ensemble, self.args.ours
        );
        for (at, step) in done
            .iter()
            .enumerate()
            .skip(done.len().saturating_sub(SHOWN))
        {
            println!("  {at}: {step}");
        }
        if self.args.given() {
            // Servers of somebody else begin only once.
            return;
        }
        let began = Instant::now();
        let limit = Duration::from_secs(60 * self.args.shrink_minutes);
        let mut seen = None;
        let mut tries = 0;
        let mut judge = |steps: &[Step]| {
            if began.elapsed() > limit {
                return Verdict::Stop;
            }
            tries += 1;
            match self.replay(steps) {
                Ok(Some((at, text))) => {
                    seen = Some(text);
                    Verdict::Fails(at)
                }
                Ok(None) => Verdict::Holds,
                Err(error) => {
                    eprintln!("interop: replay: {error:#}");
                    Verdict::Stop
                }
            }
        };
        match judge(&done) {
            Verdict::Fails(_) => {}
            Verdict::Holds => {
                println!("the same steps show no difference when they are replayed: a race");
                return;
            }
            Verdict::Stop => return,
        }
        let least = shrink::shrink(done, &Step::simpler, &mut judge);
        println!("least sequence, after {tries} replays:");
        for (at, step) in least.iter().enumerate() {
            println!("  {at}: {step}");
        }
        println!("{}", seen.unwrap_or_default());
    }

    /// How many steps it takes fresh servers to differ, and how they do.
    fn replay(&self, steps: &[Step]) -> Result<Option<(usize, String)>> {
        let mut pair = self.start()?;
        for (at, step) in steps.iter().enumerate() {
            if let Some(difference) = pair.step(step, &mut |_, _| {}) {
                return Ok(Some((at + 1, difference)));
            }
        }
        Ok(None)
    }

    fn start(&self) -> Result<Pair> {
        let zxids = match self.configuration.purpose {
            Purpose::Collections => Zxids::No,
            _ if self.args.is_ensemble() => Zxids::WithoutEpoch,
            _ => Zxids::Whole,
        };
        Pair::open([self.left()?, self.right()?], zxids)
    }

    fn dir(&self, side: &str) -> PathBuf {
        run_dir().join(format!("{}-{side}", self.configuration.name))
    }

    fn lines(&self) -> Vec<&'static str> {
        let mut lines = self.configuration.lines.to_vec();
        if self.configuration.purpose != Purpose::Collections {
            // Collections would take zxids at moments of their own.
            lines.push("znode.container.checkIntervalMs=3600000");
        }
        lines
    }

    fn left(&self) -> Result<Side> {
        if !self.args.left.is_empty() {
            return Ok(Side::running(&self.args.left));
        }
        self.genuine("left")
    }

    fn right(&self) -> Result<Side> {
        if !self.args.right.is_empty() {
            return Ok(Side::running(&self.args.right));
        }
        if self.args.self_test {
            return self.genuine("right");
        }
        self.fresh(Kind::Roo, self.args.ours, "right")
    }

    fn genuine(&self, side: &str) -> Result<Side> {
        self.fresh(Kind::Apache, self.args.ensemble, side)
    }

    /// A server or an ensemble that knows nothing yet.
    fn fresh(&self, kind: Kind, count: u16, side: &str) -> Result<Side> {
        let dir = self.dir(side);
        let lines = self.lines();
        if count > 1 {
            return Ok(Side::ensemble(Ensemble::start(
                kind, count, 0, &dir, &lines,
            )?));
        }
        clear(&dir)?;
        Ok(Side::server(Server::start(kind, &dir, &lines)?))
    }
}

impl Side {
    fn running(addresses: &[SocketAddr]) -> Self {
        Self {
            addresses: addresses.to_vec(),
            started: Started::Elsewhere,
        }
    }

    fn server(server: Server) -> Self {
        Self {
            addresses: vec![server.address],
            started: Started::Server(server),
        }
    }

    fn ensemble(ensemble: Ensemble) -> Self {
        Self {
            addresses: ensemble.addresses(),
            started: Started::Ensemble(ensemble),
        }
    }
}

/// Where the servers of this run have their files; runs do not disturb each other.
fn run_dir() -> PathBuf {
    root()
        .join("target/interop/diff")
        .join(std::process::id().to_string())
}

fn clear(dir: &std::path::Path) -> Result<()> {
    for path in [dir.to_path_buf(), dir.with_extension("log")] {
        let removed = if path.is_dir() {
            std::fs::remove_dir_all(&path)
        } else if path.exists() {
            std::fs::remove_file(&path)
        } else {
            Ok(())
        };
        removed.with_context(|| format!("remove {}", path.display()))?;
    }
    Ok(())
}
