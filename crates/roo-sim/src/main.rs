//! `roo-sim`: runs seeds. Called by `cargo xtask sim`.
#![allow(clippy::print_stdout)]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use roo_sim::exhaustive::{Budget, options, search};
use roo_sim::options::Options;
use roo_sim::recipes;
use roo_sim::run::{Verdict, run};
use roo_sim::world::Counts;

const HELP: &str = "roo-sim [--seeds N] [--seed S] [--minutes M] [--jobs J] [--verbose]
roo-sim --recipes [--seeds N] [--seed S] [--minutes M] [--jobs J] [--verbose]
roo-sim --rebreak [--seeds N]
roo-sim --exhaustive [--disruptions D] [--minutes M]

  --seeds N     so many seeds (default 100)
  --seed S      begin with this one (default: drawn from the time, and printed); alone: only it
  --minutes M   end after so long
  --jobs J      so many threads, each of which runs whole seeds (default: cores)
  --verbose     print what happens
  --recipes     users with the real client and its recipes over whole ensembles
  --naive       with --recipes: do each wrong thing that its checkers know, and tell which seed
                sees it, of at most N
  --rebreak     put each known bug back and tell which seed sees it, of at most N
  --exhaustive  try every run with at most D things going wrong, for each D up to the one given
";

struct Arguments {
    seeds: u64,
    first: u64,
    minutes: u64,
    jobs: usize,
    is_verbose: bool,
    is_rebreak: bool,
    is_recipes: bool,
    is_naive: bool,
    is_exhaustive: bool,
    disruptions: u32,
}

fn arguments() -> Result<Arguments, String> {
    let mut parsed = Arguments {
        seeds: 0,
        first: 0,
        minutes: u64::MAX,
        jobs: std::thread::available_parallelism().map_or(1, usize::from),
        is_verbose: false,
        is_rebreak: false,
        is_recipes: false,
        is_naive: false,
        is_exhaustive: false,
        disruptions: 2,
    };
    let mut first = None;
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        if name == "--verbose" {
            parsed.is_verbose = true;
            continue;
        }
        if name == "--recipes" {
            parsed.is_recipes = true;
            continue;
        }
        if name == "--naive" {
            parsed.is_naive = true;
            continue;
        }
        if name == "--rebreak" {
            parsed.is_rebreak = true;
            continue;
        }
        if name == "--exhaustive" {
            parsed.is_exhaustive = true;
            continue;
        }
        let value = given
            .next()
            .ok_or_else(|| format!("{name} needs a number\n\n{HELP}"))?;
        let number: u64 = value
            .parse()
            .map_err(|_| format!("{name} {value}: expected a number\n\n{HELP}"))?;
        match name.as_str() {
            "--seeds" => parsed.seeds = number,
            "--seed" => first = Some(number),
            "--disruptions" => parsed.disruptions = u32::try_from(number).unwrap_or(1),
            "--minutes" => parsed.minutes = number,
            "--jobs" => parsed.jobs = usize::try_from(number).unwrap_or(1).max(1),
            _ => return Err(format!("{name} is not known\n\n{HELP}")),
        }
    }
    let clock = std::time::UNIX_EPOCH.elapsed().map_or(1, |d| d.as_secs());
    parsed.first = first.unwrap_or(clock * 1_000_000);
    if parsed.seeds == 0 {
        parsed.seeds = if first.is_some() { 1 } else { 100 };
    }
    Ok(parsed)
}

fn main() -> ExitCode {
    let arguments = match arguments() {
        Ok(arguments) => arguments,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::FAILURE;
        }
    };
    // A panic is a verdict; its text is printed with the seed.
    std::panic::set_hook(Box::new(|_| {}));
    if arguments.is_rebreak {
        return rebreak(&arguments);
    }
    if arguments.is_naive {
        return naive(&arguments);
    }
    if arguments.is_exhaustive {
        return exhaustive(&arguments);
    }
    println!("seeds from {}", arguments.first);
    let began = Instant::now();
    let next = AtomicU64::new(0);
    let failed = AtomicBool::new(false);
    let total = Mutex::new(Counts::default());
    let done = Mutex::new(BTreeMap::new());
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::Relaxed);
                    let is_over = began.elapsed().as_secs() / 60 >= arguments.minutes;
                    if at >= arguments.seeds || is_over {
                        next.fetch_sub(1, Ordering::Relaxed);
                        return;
                    }
                    let verdict = run_seed(&arguments, arguments.first + at, &done);
                    report(&verdict, &failed, arguments.is_recipes);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.add(&verdict.counts);
                }
            });
        }
    });
    let seeds = next.load(Ordering::Relaxed);
    let minutes = began.elapsed().as_secs_f64() / 60.0;
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    println!(
        "{seeds} seeds in {:.1} s, {:.0} a minute; {total:?}",
        minutes * 60.0,
        seeds as f64 / minutes
    );
    let done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    if arguments.is_recipes {
        println!("{done:?}");
    }
    if failed.load(Ordering::Relaxed) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

/// Each wrong thing, and the first seed from 1 that sees it.
fn naive(arguments: &Arguments) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for (naive, rule) in recipes::naive::ALL {
        let seeds = 1..=arguments.seeds.max(1);
        let found = seeds
            .clone()
            .find(|seed| recipes::is_seen(*seed, *naive, rule));
        match found {
            Some(seed) => println!("| {naive:?} | {seed} | {rule} |"),
            None => {
                code = ExitCode::FAILURE;
                println!("| {naive:?} | not seen | {rule} |");
            }
        }
    }
    code
}

fn run_seed(
    arguments: &Arguments,
    seed: u64,
    done: &Mutex<BTreeMap<&'static str, u64>>,
) -> Verdict {
    if arguments.is_recipes {
        let outcome = recipes::run(seed, None, arguments.is_verbose);
        let mut done = done.lock().unwrap_or_else(PoisonError::into_inner);
        for (what, count) in outcome.done {
            *done.entry(what).or_default() += count;
        }
        return outcome.verdict;
    }
    let options = Options::draw(seed);
    if arguments.is_verbose {
        println!("{options:#?}");
    }
    run(options, arguments.is_verbose)
}

fn exhaustive(arguments: &Arguments) -> ExitCode {
    let began = Instant::now();
    let end = match arguments.minutes {
        u64::MAX => None,
        minutes => Some(began + Duration::from_secs(60 * minutes)),
    };
    for disruptions in 1..=arguments.disruptions {
        let budget = Budget {
            crashes: 3,
            partitions: 3,
            delays: disruptions,
            disruptions,
        };
        let outcome = search(&options(), budget, end);
        println!(
            "at most {disruptions} disruptions: {} runs, {} steps, {} seen before, {}, {:.0} s",
            outcome.runs,
            outcome.steps,
            outcome.seen_before,
            if outcome.is_complete {
                "complete"
            } else {
                "NOT complete"
            },
            began.elapsed().as_secs_f64()
        );
        if let Some((violation, path)) = outcome.violation {
            println!(
                "{}: {}\n  {}",
                violation.invariant,
                violation.what,
                path.join("\n  ")
            );
            return ExitCode::FAILURE;
        }
        if !outcome.is_complete {
            break;
        }
    }
    ExitCode::SUCCESS
}

#[cfg(feature = "rebreak")]
fn rebreak(arguments: &Arguments) -> ExitCode {
    use roo_sim::rebreak::{BUGS, hunt};
    let next = AtomicU64::new(0);
    let missed = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..arguments.jobs {
            scope.spawn(|| {
                loop {
                    let at = usize::try_from(next.fetch_add(1, Ordering::Relaxed));
                    let Some((name, bug)) = BUGS.get(at.unwrap_or(usize::MAX)) else {
                        return;
                    };
                    match hunt(*bug, arguments.seeds.max(1000)) {
                        Some((seed, verdict)) => {
                            let violation = verdict.violation.map(|v| (v.invariant, v.what));
                            let (invariant, what) = violation.unwrap_or_default();
                            let what: String = what.chars().take(150).collect();
                            println!("| {name} | {seed} | {invariant} | {what} |");
                        }
                        None => {
                            missed.store(true, Ordering::Relaxed);
                            println!("| {name} | not seen | | |");
                        }
                    }
                }
            });
        }
    });
    if missed.load(Ordering::Relaxed) {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}

#[cfg(not(feature = "rebreak"))]
fn rebreak(_: &Arguments) -> ExitCode {
    eprintln!("built without the bugs: cargo xtask sim --rebreak");
    ExitCode::FAILURE
}

fn report(verdict: &Verdict, failed: &AtomicBool, is_recipes: bool) {
    if let Some(violation) = &verdict.violation {
        failed.store(true, Ordering::Relaxed);
        let mode = if is_recipes { " --recipes" } else { "" };
        println!(
            "seed {}: {}: {}\n  again: cargo xtask sim{mode} --seed {}\n  {:?}",
            verdict.seed,
            violation.invariant,
            violation.what,
            verdict.seed,
            Options::draw(verdict.seed)
        );
    }
}
