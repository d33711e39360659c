//! `roo elect`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use roo_client::recipes::{Latch, Leadership};
use roo_client::{Client, ErrorKind, Version};

use super::hold::{self, Held, Holding};
use super::line::{self, LineArguments};
use super::program;
use super::signals::Signals;
use crate::connect::{ConnectArguments, Exit, Failure, parse_duration};

/// What Curator's `Revoker` writes into the node of who shall give way.
const GIVE_WAY: &[u8] = b"__REVOKE__";

#[derive(Args, Debug)]
pub(crate) struct ElectArguments {
    #[command(flatten)]
    pub(super) line: LineArguments,
    /// Stands again when CMD has ended or the leadership was lost, with a new session if need be.
    #[arg(long, conflicts_with_all = ["timeout", "list"])]
    again: bool,
    /// How long to wait before standing again.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_duration)]
    pause: Duration,
    /// Asks the leader to hand over, instead of standing; it may take a while, or refuse.
    #[arg(long, conflicts_with_all = ["command", "again", "list"])]
    hand_over: bool,
}

/// Whether a turn at the leadership was the last one.
#[derive(PartialEq, Eq)]
enum Last {
    Yes,
    No,
}

pub(super) async fn run(
    arguments: ElectArguments,
    before: &ConnectArguments,
) -> Result<ExitCode, Failure> {
    let looks = arguments.line.list || arguments.hand_over;
    if arguments.line.program.command.is_empty() && !looks {
        return Err(Failure::usage("elect: there is no CMD: write it behind --"));
    }
    let mut signals = Signals::listen()?;
    let connect = arguments.line.connect.clone().or(before);
    let mut client = super::session(&connect, &mut signals).await?;
    if looks {
        let done = look(&client, &arguments).await;
        super::close(&client).await;
        return done.map(|()| ExitCode::SUCCESS);
    }
    loop {
        let turn = turn(&client, &arguments, &mut signals).await;
        match turn {
            Ok((code, last)) => {
                if last == Last::Yes || !arguments.again {
                    super::close(&client).await;
                    return Ok(code);
                }
            }
            Err(failure) => {
                super::close(&client).await;
                if failure.exit != Exit::Lost || !arguments.again {
                    return Err(failure);
                }
                eprintln!("roo: {failure}; standing again");
            }
        }
        let pause = async {
            tokio::time::sleep(arguments.pause).await;
            Ok(())
        };
        let paused = super::wait("elect", None, &mut signals, pause).await;
        if paused.is_err() {
            super::close(&client).await;
        }
        paused?;
        while client.state().is_final() {
            match super::session(&connect, &mut signals).await {
                Ok(next) => client = next,
                Err(failure) if failure.exit == Exit::NoConnection => {
                    eprintln!("roo: {failure}; trying again");
                }
                Err(failure) => return Err(failure),
            }
        }
    }
}

/// Stands once, and runs the program while it leads.
async fn turn(
    client: &Client,
    arguments: &ElectArguments,
    signals: &mut Signals,
) -> Result<(ExitCode, Last), Failure> {
    let path = &arguments.line.path;
    let latch = Latch::new(client, path, &arguments.line.id);
    let what = format!("elect {}", path.escape_debug());
    let leads = async { Ok(latch.lead().await?) };
    let leadership = super::wait(&what, arguments.line.timeout, signals, leads).await?;
    let node = leadership.path();
    let environment = hold::fencing(arguments.line.fencing_env.as_ref(), leadership.term());
    let holding = Holding {
        client,
        node: &node,
    };
    let held = holding.run(
        &arguments.line.program,
        &environment,
        signals,
        leadership.lost(),
        asked(&leadership),
    );
    let (code, last) = match held.await? {
        Held::Lost(why) => return Err(hold::lost("elect", path, &why)),
        Held::GaveWay(status) => (program::code(status), Last::No),
        Held::Ended { status, signalled } => {
            let last = if signalled { Last::Yes } else { Last::No };
            (program::code(status), last)
        }
    };
    hold::give_back(&what, client, leadership.resign()).await;
    Ok((code, last))
}

/// Waits until somebody asks for the leadership.
async fn asked(leadership: &Leadership) {
    if leadership.asked_to_hand_over().await.is_err() {
        // That it is lost is told by others.
        hold::nobody_asks().await;
    }
}

/// Shows the candidates, or asks the leader to go.
async fn look(client: &Client, arguments: &ElectArguments) -> Result<(), Failure> {
    let path = &arguments.line.path;
    let latch = Latch::new(client, path, &arguments.line.id);
    if arguments.line.list {
        return line::print(&latch.candidates().await?, arguments.line.json);
    }
    let Some(leader) = latch.leader().await? else {
        let text = format!("elect {}: nobody leads", path.escape_debug());
        return Err(Failure::failed(text));
    };
    match client.set(&leader.path, GIVE_WAY, Version::Any).await {
        Ok(_) => Ok(()),
        // It has gone by itself.
        Err(error) if *error.kind() == ErrorKind::NoNode => Ok(()),
        Err(error) => Err(error.into()),
    }
}
