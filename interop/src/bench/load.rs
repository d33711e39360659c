//! `roo bench` as the load of every row: one call, one JSON object.

use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::BenchArgs;
use super::figures::Figures;
use super::goals::{P50, P99, PER_CPU, RATE};
use super::servers::{Kind, Server};

/// What a load came to.
pub(super) struct Outcome(Value);

impl Outcome {
    /// A field by its JSON pointer.
    pub(super) fn field(&self, pointer: &str) -> Result<f64> {
        let value = self.0.pointer(pointer).and_then(Value::as_f64);
        value.with_context(|| format!("roo bench reports no {pointer}"))
    }

    /// Requests per second of the servers' CPU time.
    pub(super) fn per_cpu(&self) -> Result<f64> {
        self.field("/server/requests_per_cpu_second")
    }

    /// Seconds of the servers' CPU time.
    pub(super) fn cpu_seconds(&self) -> Result<f64> {
        self.field("/server/cpu_seconds")
    }

    /// Adds what every row of requests has.
    pub(super) fn record(
        &self,
        row: &'static str,
        kind: Kind,
        figures: &mut Figures,
    ) -> Result<()> {
        figures.add(row, kind, RATE, self.field("/per_second")?);
        figures.add(row, kind, PER_CPU, self.per_cpu()?);
        figures.add(row, kind, P50, self.field("/latency/p50_us")?);
        figures.add(row, kind, P99, self.field("/latency/p99_us")?);
        Ok(())
    }

    /// Latency over time, as points of a line: seconds and a field of each slice.
    pub(super) fn over_time(&self, field: &str) -> Vec<(f64, f64)> {
        let slices = self.0.get("timeline").and_then(Value::as_array);
        slices
            .into_iter()
            .flatten()
            .filter_map(|slice| Some((slice.get("second")?.as_f64()?, slice.get(field)?.as_f64()?)))
            .collect()
    }
}

/// Runs a load against `server` to its end.
pub(super) fn run(args: &BenchArgs, server: &Server, options: &[&str]) -> Result<Outcome> {
    run_at(args, server, &server.address(), options)
}

/// The same against these of its addresses.
pub(super) fn run_at(
    args: &BenchArgs,
    server: &Server,
    addresses: &str,
    options: &[&str],
) -> Result<Outcome> {
    let output = command(args, server, addresses)
        .args(options)
        .output()
        .with_context(|| format!("run {}", args.generator().display()))?;
    ensure!(
        output.status.success(),
        "roo bench {}: {}{}",
        options.join(" "),
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout)
    );
    let value = serde_json::from_slice(&output.stdout).context("read the generator's JSON")?;
    Ok(Outcome(value))
}

/// A load that goes on beside something else, until it ends or is dropped.
pub(super) struct Background(Child);

impl Background {
    /// Starts it.
    pub(super) fn start(args: &BenchArgs, server: &Server, options: &[&str]) -> Result<Self> {
        let child = command(args, server, &server.address())
            .args(options)
            .stdout(Stdio::null())
            .spawn()
            .context("start a load")?;
        Ok(Self(child))
    }

    /// Whether it has come to its end.
    ///
    /// # Errors
    /// When that was a failure.
    pub(super) fn is_over(&mut self) -> Result<bool> {
        let status = self.0.try_wait()?;
        if let Some(status) = status {
            ensure!(status.success(), "the load failed: {status}");
        }
        Ok(status.is_some())
    }
}

impl Drop for Background {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn command(args: &BenchArgs, server: &Server, addresses: &str) -> Command {
    let mut command = Command::new(args.generator());
    command.args(["bench", "--json", "-s", addresses]);
    command.args(["--server-pid", &server.pids()]);
    command
}
