//! One data directory, opened by both servers in turn.

use std::process::ExitCode;

use anyhow::Result;
use clap::Args;

/// Arguments of `interop exchange`.
#[derive(Args, Debug)]
pub struct ExchangeArgs {
    /// How often the directory changes hands.
    #[arg(long, default_value_t = 6)]
    rounds: u32,
}

/// Runs the test.
///
/// # Errors
/// When a server cannot be started or reached.
pub fn run(_args: &ExchangeArgs) -> Result<ExitCode> {
    Ok(ExitCode::SUCCESS)
}
