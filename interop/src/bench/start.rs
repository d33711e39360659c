//! `start`: how large the program is, what an empty server takes, and how soon it answers.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use super::Run;
use super::figures::Figures;
use super::goals::{BINARY, FIRST_ANSWER, RSS_EMPTY};
use super::servers::{Kind, Server};

/// Measures a server that has just opened its first session. It is started twice: the program is
/// in the page cache the second time, and the directory is there.
pub(super) fn measure(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let mut server = Server::start(run.args, kind, 1, &[])?;
    let took = server.restart(&[])?;
    figures.add("start", kind, FIRST_ANSWER, took.as_secs_f64() * 1e3);
    figures.add("start", kind, RSS_EMPTY, server.resident_bytes()? / 1e6);
    let bytes = match kind {
        Kind::Apache => jars_bytes()?,
        Kind::Roo | Kind::Null => stripped_bytes(&run.args.roo, &run.args.out)?,
    };
    figures.add("start", kind, BINARY, bytes / 1e6);
    Ok(())
}

/// The program as packages ship it. The release build keeps line tables for backtraces, which are
/// not part of what is loaded.
fn stripped_bytes(program: &Path, out: &Path) -> Result<f64> {
    let stripped = out.join("stripped");
    let status = Command::new("strip")
        .arg("-o")
        .args([&stripped, program])
        .status()
        .context("start strip")?;
    ensure!(status.success(), "strip failed: {status}");
    let bytes = std::fs::metadata(&stripped)?.len();
    std::fs::remove_file(&stripped)?;
    as_f64(bytes)
}

/// The archives that Apache's server is made of, without the Java machine.
fn jars_bytes() -> Result<f64> {
    let path = crate::apache::class_path()?;
    let path = path.to_string_lossy();
    let jars = path.split("/*").next().unwrap_or_default();
    let mut bytes = 0;
    for entry in std::fs::read_dir(jars).with_context(|| jars.to_owned())? {
        bytes += entry?.metadata()?.len();
    }
    as_f64(bytes)
}

fn as_f64(bytes: u64) -> Result<f64> {
    Ok(f64::from(u32::try_from(bytes)?))
}
