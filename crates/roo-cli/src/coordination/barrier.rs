//! `roo barrier`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use roo_client::Client;
use roo_client::recipes::{DoubleBarrier, Entered, Lost};

use super::hold::{self, Held, Holding};
use super::program::{self, ProgramArguments};
use super::signals::Signals;
use crate::connect::{ConnectArguments, Failure, parse_duration};

#[derive(Args, Debug)]
pub(crate) struct BarrierArguments {
    /// The barrier's node.
    path: String,
    /// How many processes come to it.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    size: u32,
    /// How long to wait for the others to come.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    #[command(flatten)]
    pub(super) program: ProgramArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn run(
    arguments: BarrierArguments,
    before: &ConnectArguments,
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let client = super::session(&arguments.connect.clone().or(before), &mut signals).await?;
    let done = with(&client, &arguments, &mut signals).await;
    super::close(&client).await;
    done
}

async fn with(
    client: &Client,
    arguments: &BarrierArguments,
    signals: &mut Signals,
) -> Result<ExitCode, Failure> {
    let path = &arguments.path;
    let what = format!("barrier {}", path.escape_debug());
    let size = usize::try_from(arguments.size).unwrap_or(usize::MAX);
    let barrier = DoubleBarrier::new(client, path, size);
    let entered = async { Ok(barrier.enter().await?) };
    let entered = super::wait(&what, arguments.timeout, signals, entered).await?;
    if arguments.program.command.is_empty() {
        leave(&what, entered, signals).await?;
        return Ok(ExitCode::SUCCESS);
    }
    let holding = Holding { client, node: path };
    let held = holding.run(
        &arguments.program,
        &[],
        signals,
        session_ends(client),
        hold::nobody_asks(),
    );
    let status = match held.await? {
        Held::Lost(why) => return Err(hold::lost("barrier", path, &why)),
        Held::Ended { status, .. } | Held::GaveWay(status) => status,
    };
    leave(&what, entered, signals).await?;
    Ok(program::code(status))
}

/// Leaves together with the others.
async fn leave(what: &str, entered: Entered, signals: &mut Signals) -> Result<(), Failure> {
    let left = async { Ok(entered.leave().await?) };
    super::wait(what, None, signals, left).await
}

/// A member is there for as long as its session lives.
async fn session_ends(client: &Client) -> Lost {
    let mut events = client.session_events();
    while !client.state().is_final() && events.next().await.is_some() {}
    Lost::Session
}
