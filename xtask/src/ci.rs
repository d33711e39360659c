//! `cargo xtask ci`: one command that proves the tree, for developers and for CI alike.

use std::time::Instant;

use anyhow::Result;

use crate::{interop, tidy};

type Step = (&'static str, fn() -> Result<()>);

const STEPS: &[Step] = &[
    ("format", || {
        crate::run("cargo", &["fmt", "--all", "--check"], &[])
    }),
    ("tidy", tidy::run),
    ("lints", || {
        crate::run(
            "cargo",
            &[
                "clippy",
                "--workspace",
                "--all-targets",
                "--",
                "--deny",
                "warnings",
            ],
            &[],
        )
    }),
    ("docs", || {
        let strict = [("RUSTDOCFLAGS", "--deny warnings")];
        crate::run("cargo", &["doc", "--workspace", "--no-deps"], &strict)
    }),
    ("tests", || {
        crate::run("cargo", &["test", "--workspace"], &[])
    }),
    // Rounds so short that each configuration has one.
    ("simulation", || {
        // The same seeds each time, then fresh ones, which are printed.
        sim(&["--seed", "1", "--seeds", "300"])?;
        sim(&["--seeds", "300", "--minutes", "1"])?;
        sim(&["--recipes", "--seed", "1", "--seeds", "60"])?;
        sim(&["--exhaustive", "--disruptions", "1"])
    }),
    ("differential", || {
        peers(&["diff", "--ops", "11000", "--round", "1000", "--seed", "1"])
    }),
    ("fresh seed", || {
        peers(&["diff", "--ops", "4000", "--round", "350"])
    }),
    ("ensembles", || {
        let servers = ["--ensemble", "3", "--ours", "3"];
        let arguments = ["diff", "--ops", "2000", "--round", "250", "--seed", "1"];
        peers(&[&arguments[..], &servers[..]].concat())
    }),
    ("directories", || peers(&["exchange"])),
    ("clients", || peers(&["clients"])),
    ("versions", || peers(&["versions"])),
    ("recipes", || peers(&["recipes"])),
    ("reconfig", || peers(&["reconfig"])),
    ("quorums", || peers(&["quorums"])),
    ("reads", || peers(&["reads", "--rounds", "50"])),
    ("words", || peers(&["ops"])),
    ("book", || crate::book::run(&[])),
    ("wrong ensembles", || peers(&["ensemble-errors"])),
    ("chaos", || peers(&["chaos", "--minutes", "2"])),
    ("abuse", || peers(&["abuse"])),
    ("instructions", || peers(&["instructions"])),
];

fn sim(arguments: &[&str]) -> Result<()> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    crate::sim(&arguments)
}

fn peers(arguments: &[&str]) -> Result<()> {
    let arguments: Vec<String> = arguments.iter().map(|text| (*text).to_owned()).collect();
    interop(&arguments)
}

/// Runs every step, even behind one that failed, and says what each took.
pub(crate) fn run() -> Result<()> {
    let steps = STEPS;
    let mut failed = Vec::new();
    let mut table = String::from("\nstep            seconds\n");
    for (name, step) in steps {
        let began = Instant::now();
        let outcome = step();
        let mark = match outcome {
            Ok(()) => "ok",
            Err(error) => {
                eprintln!("{name}: {error:#}");
                failed.push(*name);
                "FAILED"
            }
        };
        table.push_str(&format!(
            "{name:<14} {:>8.1}  {mark}\n",
            began.elapsed().as_secs_f64()
        ));
    }
    println!("{table}");
    println!(
        "{} passed, {} failed",
        steps.len() - failed.len(),
        failed.len()
    );
    anyhow::ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
