//! The programs in Java and Python: told by lines, answering by lines.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, ChildStdin, Stdio};
use std::sync::mpsc::{Receiver, channel};

use anyhow::{Context, Result, bail};

use super::LIMIT;
use crate::clients::recipe_program;

/// A running program; it ends when this is dropped.
pub(super) struct Peer {
    name: &'static str,
    child: Child,
    input: ChildStdin,
    lines: Receiver<String>,
}

impl Peer {
    /// Builds the program if need be, and starts it; it is told what the servers do not know.
    pub(super) fn start(
        name: &'static str,
        hosts: &str,
        directory: &Path,
        work: &Path,
        lacks: &[&str],
    ) -> Result<Self> {
        let log = File::create(work.join(format!("{name}.log")))?;
        let mut child = recipe_program(name)?
            .arg(hosts)
            .arg(directory)
            .env("LACKS", lacks.join(","))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .with_context(|| format!("start the program in {name}"))?;
        let input = child.stdin.take().context("an input")?;
        let output = BufReader::new(child.stdout.take().context("an output")?);
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self {
            name,
            child,
            input,
            lines,
        })
    }

    /// Lets it begin.
    pub(super) fn order(&mut self, scenario: &str, number: usize) -> Result<()> {
        writeln!(self.input, "{scenario} {number}")?;
        Ok(())
    }

    /// Waits for its verdict.
    pub(super) fn answer(&mut self, scenario: &str) -> Result<()> {
        loop {
            let Ok(line) = self.lines.recv_timeout(LIMIT) else {
                bail!("{}: no answer within {LIMIT:?}, see its log", self.name);
            };
            if line == format!("ok {scenario}") {
                return Ok(());
            }
            if let Some(why) = line.strip_prefix("FAIL ") {
                bail!("{}: {why}", self.name);
            }
        }
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
