//! `cargo xtask book`: builds the book, runs what it shows, and leaves it in target/book.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};

use crate::root;

/// The newest that was tried. It is a program, not a library: it brings a hundred crates along
/// that nothing else needs, and a licence that the product does not take in.
const MDBOOK: &str = "0.5.4";

/// Builds and runs.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    build()?;
    let mut call = vec!["book".to_owned()];
    call.extend_from_slice(arguments);
    crate::interop(&call)
}

fn build() -> Result<()> {
    let program = mdbook()?;
    crate::run(&program.display().to_string(), &["build", "docs/book"], &[])
}

/// The program, compiled once into target/tools without what it needs to serve and watch.
fn mdbook() -> Result<PathBuf> {
    let home = root().join("target/tools");
    let program = home.join("bin/mdbook");
    let version = Command::new(&program).arg("--version").output();
    let wanted = format!("mdbook v{MDBOOK}");
    if version.is_ok_and(|output| String::from_utf8_lossy(&output.stdout).trim() == wanted) {
        return Ok(program);
    }
    let home = home.to_str().context("a path in UTF-8")?;
    let install = [
        "install",
        "mdbook",
        "--version",
        MDBOOK,
        "--locked",
        "--debug",
    ];
    let place = [
        "--quiet",
        "--no-default-features",
        "--root",
        home,
        "--force",
    ];
    let target = format!("{home}/build");
    crate::run(
        "cargo",
        &[&install[..], &place[..], &["--target-dir", &target]].concat(),
        &[],
    )?;
    Ok(program)
}
