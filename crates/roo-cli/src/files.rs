//! `roo log` and `roo snapshot`: what is in the files, ours or Apache's, and whether it is sound.
//! They change nothing, so they may be used beside a running server.
//!
//! In reading order: [`log`], [`snapshot`], [`words`] how both look to people, [`json`] how they do to
//! programs.

mod json;
mod log;
mod snapshot;
mod words;

use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Subcommand};
use roo_server::loading::LoadSettings;
use roo_state::state::Rules;
use serde_json::Value;

/// Longest record that is shown.
const MAX_RECORD: usize = i32::MAX as usize;

/// Arguments of `roo log`.
#[derive(Args, Debug)]
pub(crate) struct LogArguments {
    #[command(subcommand)]
    action: LogAction,
}

#[derive(Debug, Subcommand)]
enum LogAction {
    /// Shows the content, a line for each record.
    Dump(Place),
    /// Says whether it is sound; the exit code is 1 when it is not.
    ///
    /// The records' digests are checked by replaying them onto a snapshot: the one that is named,
    /// or the oldest in the same directory that the records reach back to.
    Check {
        #[command(flatten)]
        place: Place,
        /// The snapshot to replay the records on.
        #[arg(long, value_name = "FILE")]
        snapshot: Option<PathBuf>,
    },
}

/// Arguments of `roo snapshot`.
#[derive(Args, Debug)]
pub(crate) struct SnapshotArguments {
    #[command(subcommand)]
    action: SnapshotAction,
}

#[derive(Debug, Subcommand)]
enum SnapshotAction {
    /// Shows the content, a line for each session and node.
    Dump(Place),
    /// Says whether it is sound; the exit code is 1 when it is not.
    Check(Place),
}

#[derive(Args, Debug)]
struct Place {
    /// A file, or the directory that holds such files.
    path: PathBuf,
    /// One JSON object a line; data is base64, zxids and sessions are strings in hex.
    #[arg(long)]
    json: bool,
}

/// `roo log`: files one by one; a directory also for records missing between them.
pub(crate) fn logs(arguments: &LogArguments) -> Result<ExitCode> {
    with_output(|out| match &arguments.action {
        LogAction::Dump(place) => log::dump(&place.path, &mut report(place, out)),
        LogAction::Check { place, snapshot } => {
            log::check(&place.path, snapshot.as_deref(), &mut report(place, out))
        }
    })
}

/// `roo snapshot`.
pub(crate) fn snapshots(arguments: &SnapshotArguments) -> Result<ExitCode> {
    with_output(|out| match &arguments.action {
        SnapshotAction::Dump(place) => snapshot::dump(&place.path, &mut report(place, out)),
        SnapshotAction::Check(place) => snapshot::check(&place.path, &mut report(place, out)),
    })
}

fn report<'o>(place: &Place, out: &'o mut dyn Write) -> Report<'o> {
    Report {
        out,
        json: place.json,
        sound: true,
    }
}

fn with_output(work: impl FnOnce(&mut dyn Write) -> Result<bool>) -> Result<ExitCode> {
    let mut out = BufWriter::new(io::stdout().lock());
    let done = work(&mut out).and_then(|sound| {
        out.flush()?;
        Ok(sound)
    });
    match done {
        Ok(true) => Ok(ExitCode::SUCCESS),
        Ok(false) => Ok(ExitCode::FAILURE),
        // Whoever reads has seen enough: `| head`.
        Err(error) if is_broken_pipe(&error) => Ok(ExitCode::SUCCESS),
        Err(error) => Err(error),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<io::Error>();
    io.is_some_and(|error| error.kind() == ErrorKind::BrokenPipe)
}

/// What is told, for people or for programs.
struct Report<'o> {
    out: &'o mut dyn Write,
    json: bool,
    sound: bool,
}

impl Report<'_> {
    /// A line; only the form that is wanted is made.
    fn line(&mut self, text: impl FnOnce() -> String, json: impl FnOnce() -> Value) -> Result<()> {
        if self.json {
            writeln!(self.out, "{}", json())?;
        } else {
            writeln!(self.out, "{}", text())?;
        }
        Ok(())
    }

    /// Something is not as it must be.
    fn unsound(&mut self, path: &Path, what: &dyn std::fmt::Display) -> Result<()> {
        self.sound = false;
        let what = what.to_string();
        self.line(
            || format!("NOT SOUND: {what}"),
            || serde_json::json!({ "file": path, "error": what }),
        )
    }
}

fn settings() -> LoadSettings {
    LoadSettings {
        rules: Rules {
            extended_types: true,
            ..Rules::default()
        },
        hash_seed: 1,
        max_record: MAX_RECORD,
        trust_empty: false,
    }
}

/// The directory of a file, or the directory itself.
fn directory(path: &Path) -> &Path {
    if path.is_dir() {
        return path;
    }
    match path.parent() {
        Some(dir) if !dir.as_os_str().is_empty() => dir,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests;
