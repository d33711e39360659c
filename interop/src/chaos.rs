//! `interop chaos`: an ensemble of real processes under load, and faults. Everything that the
//! servers acknowledge is written down and judged, at once and at the end.
//!
//! Reading order: `workers` (the load), `ledger` (what is judged), `recipes` (users of the real
//! client), `nemesis` (the faults), `verdict` (the end), `session` and `ensemble` (what they use).
//! `failover` and `recovery` measure.

mod dice;
mod ensemble;
mod ephemerals;
mod failover;
mod ledger;
mod nemesis;
mod recipes;
mod recovery;
mod session;
mod verdict;
mod watchers;
mod workers;

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use clap::Args;

use crate::servers::root;
use dice::{Dice, fresh_seed};
use ensemble::{Ensemble, Links, PATIENCE};
use ledger::Ledger;
use nemesis::FAULTS;
use recipes::Books;
use session::{Answer, Session};
use workers::Scene;

/// Arguments of `interop chaos`.
#[derive(Args, Debug)]
pub struct ChaosArgs {
    /// How long faults go on.
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Of the ensemble.
    #[arg(long, default_value_t = 3, value_parser = clap::value_parser!(u16).range(3..))]
    servers: u16,
    /// Of the random numbers: the order of faults, their times and the load. Threads and
    /// processes still meet as they like.
    #[arg(long)]
    seed: Option<u64>,
    /// Only faults whose name contains this.
    #[arg(long)]
    only: Option<String>,
    /// Instead of all that: measure fail-over with so many kills of the leader of three servers.
    #[arg(long, value_name = "KILLS")]
    failover: Option<usize>,
    /// Instead: measure how a follower of an ensemble with so many znodes returns.
    #[arg(long, value_name = "ZNODES", num_args = 0..=1, default_missing_value = "1000000")]
    recovery: Option<u64>,
    /// Keep logs and data directories of a run in which all was well too.
    #[arg(long)]
    keep: bool,
}

/// Lines of zoo.cfg: hung links are given up in 2 s, and snapshots are taken often.
const LINES: &[&str] = &[
    "tickTime=500",
    "initLimit=20",
    "syncLimit=4",
    "maxSessionTimeout=60000",
    "snapCount=2000",
    "commitLogCount=300",
    "preAllocSize=1024",
];

/// Runs the test.
///
/// # Errors
/// When servers cannot be started, or when what they do is wrong.
pub fn run(args: &ChaosArgs) -> Result<ExitCode> {
    let seed = args.seed.unwrap_or_else(fresh_seed);
    let dir = root().join(format!("target/interop/chaos-{}", std::process::id()));
    let outcome = if let Some(kills) = args.failover {
        failover::measure(&dir, kills, seed)
    } else if let Some(nodes) = args.recovery {
        recovery::measure(&dir, nodes, seed)
    } else {
        torment(args, seed, &dir)
    };
    outcome.with_context(|| {
        format!(
            "chaos --servers {} --seed {seed}: logs and data are in {}",
            args.servers,
            dir.display()
        )
    })?;
    if args.keep {
        println!("logs and data are in {}", dir.display());
    } else {
        std::fs::remove_dir_all(&dir)?;
    }
    Ok(ExitCode::SUCCESS)
}

fn torment(args: &ChaosArgs, seed: u64, dir: &Path) -> Result<()> {
    println!(
        "chaos: {} servers, {} minutes, --seed {seed}",
        args.servers, args.minutes
    );
    Campaign::new(args, seed, dir)?.run(args)
}

struct Campaign {
    ensemble: Ensemble,
    scene: Arc<Scene>,
    dice: Dice,
    /// Writes after each fault.
    probe: Session,
    began: Instant,
}

/// What the faults did.
#[derive(Default)]
struct Tally {
    faults: u32,
    slowest_return: Duration,
}

impl Campaign {
    fn new(args: &ChaosArgs, seed: u64, dir: &Path) -> Result<Self> {
        let mut dice = Dice::new(seed);
        let ensemble = Ensemble::prepare(dir, args.servers.into(), Links::Relayed, LINES)?;
        let scene = Arc::new(Scene {
            clients: ensemble.clients(),
            ledger: Ledger::default(),
            recipes: Books::default(),
            over: AtomicBool::new(false),
        });
        let probe = scene.session(&mut dice);
        Ok(Self {
            ensemble,
            scene,
            dice,
            probe,
            began: Instant::now(),
        })
    }

    fn run(mut self, args: &ChaosArgs) -> Result<()> {
        self.ensemble.start_all()?;
        self.ensemble.await_whole()?;
        workers::lay_out(&self.scene, &mut self.dice)?;
        let threads = workers::start(&self.scene, &mut self.dice);
        let tally = self.trouble(args);
        // Whatever it was, the workers end and the verdict is asked for.
        let healed = self.ensemble.heal();
        let whole = self.ensemble.await_whole();
        self.scene.over.store(true, Ordering::SeqCst);
        for thread in threads {
            thread
                .join()
                .map_err(|_| anyhow!("a worker has panicked"))?;
        }
        self.probe.close()?;
        self.complain()?;
        let tally = tally?;
        healed?;
        whole?;
        let nodes = verdict::judge(&self.ensemble, &self.scene, &mut self.dice)?;
        let figures = self.scene.ledger.figures();
        println!(
            "{} faults; {} writes acknowledged, {} of unknown end, {} locks; {nodes} nodes, equal \
             on all servers; slowest return to service {} ms; nothing lost, no session lost",
            tally.faults,
            figures.writes,
            figures.unknown,
            figures.grants,
            tally.slowest_return.as_millis()
        );
        println!("{}", self.scene.recipes.figures());
        self.examine_logs()
    }

    fn trouble(&mut self, args: &ChaosArgs) -> Result<Tally> {
        let mut tally = Tally::default();
        let end = Instant::now() + Duration::from_secs_f64(args.minutes * 60.0);
        let mut faults: Vec<_> = FAULTS
            .iter()
            .filter(|fault| {
                args.only
                    .as_deref()
                    .is_none_or(|only| fault.name.contains(only))
            })
            .collect();
        ensure!(!faults.is_empty(), "no fault has that name");
        loop {
            self.dice.shuffle(&mut faults);
            for fault in &faults {
                if Instant::now() > end {
                    return Ok(tally);
                }
                let at = self.began.elapsed().as_secs_f64();
                (fault.strike)(&mut self.ensemble, &mut self.dice).context(fault.name)?;
                let took = self.await_service(&mut tally).context(fault.name)?;
                println!(
                    "{at:>7.1} s  {:<46} serves after {} ms",
                    fault.name,
                    took.as_millis()
                );
                tally.faults += 1;
                self.complain()?;
            }
        }
    }

    /// Waits for an acknowledged write; how long that took.
    fn await_service(&mut self, tally: &mut Tally) -> Result<Duration> {
        let began = Instant::now();
        loop {
            if let Answer::Reply(reply) = self.probe.set("/chaos", "served")? {
                ensure!(
                    reply.error == 0,
                    "the probe is answered with {}",
                    reply.error
                );
                break;
            }
            ensure!(began.elapsed() < PATIENCE, "no service in {PATIENCE:?}");
            self.complain()?;
        }
        if let Some(fallen) = self.ensemble.fallen()? {
            bail!(fallen);
        }
        let took = began.elapsed();
        tally.slowest_return = tally.slowest_return.max(took);
        Ok(took)
    }

    fn complain(&self) -> Result<()> {
        let violations = self.scene.ledger.violations();
        ensure!(violations.is_empty(), "{}", violations.join("\n"));
        Ok(())
    }

    /// Servers must not have blamed themselves.
    fn examine_logs(&self) -> Result<()> {
        for server in 0..self.ensemble.size() {
            let log = self.ensemble.log(server);
            let line = log
                .lines()
                .find(|line| line.contains(" ERROR ") || line.contains("panicked"));
            ensure!(line.is_none(), "server {} says: {line:?}", server + 1);
        }
        Ok(())
    }
}
