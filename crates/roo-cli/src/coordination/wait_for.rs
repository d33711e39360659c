//! `roo wait-for`.

use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use roo_client::{Client, Error, ErrorKind, OneWatch, WatchEnd};
use serde_json::json;

use super::signals::Signals;
use crate::connect::{ConnectArguments, Exit, Failure, parse_duration};

#[derive(Args, Debug)]
pub(crate) struct WaitForArguments {
    /// The node.
    path: String,
    /// Waits until the node's data is this.
    #[arg(
        long,
        value_name = "VALUE",
        conflicts_with = "gone",
        allow_hyphen_values = true
    )]
    value: Option<String>,
    /// Waits until the node does not exist.
    #[arg(long)]
    gone: bool,
    /// How long to wait; 0: only look.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Prints an object when it is so, with the node's version unless it is gone.
    #[arg(long)]
    pub(super) json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// What was found.
enum Found {
    /// It is so, with the node's version if there is one.
    Yes(Option<i32>),
    /// Not yet; this tells when to look again.
    NotYet(OneWatch),
    /// The node changed while we looked.
    Unclear,
}

pub(super) async fn run(
    arguments: WaitForArguments,
    before: &ConnectArguments,
) -> Result<ExitCode, Failure> {
    let mut signals = Signals::listen()?;
    let client = super::session(&arguments.connect.clone().or(before), &mut signals).await?;
    let is_once = super::hold::is_once(arguments.timeout);
    let timeout = arguments.timeout.filter(|_| !is_once);
    let what = format!("wait-for {}", arguments.path.escape_debug());
    let work = until(&client, &arguments, is_once);
    let done = super::wait(&what, timeout, &mut signals, work).await;
    super::close(&client).await;
    let version = done?;
    if arguments.json {
        super::print(json!({ "path": arguments.path, "version": version }))?;
    }
    Ok(ExitCode::SUCCESS)
}

async fn until(
    client: &Client,
    arguments: &WaitForArguments,
    is_once: bool,
) -> Result<Option<i32>, Failure> {
    let path = &arguments.path;
    loop {
        match look(client, arguments).await? {
            Found::Yes(version) => return Ok(version),
            Found::Unclear => {}
            Found::NotYet(_) if is_once => {
                let text = format!("wait-for {}: it is not so", path.escape_debug());
                return Err(Failure::new(Exit::TimedOut, text));
            }
            Found::NotYet(watch) => match watch.await {
                Ok(_) | Err(WatchEnd::Removed | WatchEnd::Lagged) => {}
                Err(end) => {
                    let text = format!("wait-for {}: {end}", path.escape_debug());
                    return Err(Failure::new(Exit::Lost, text));
                }
            },
        }
    }
}

async fn look(client: &Client, arguments: &WaitForArguments) -> Result<Found, Error> {
    let path = &arguments.path;
    if let Some(value) = &arguments.value {
        match client.get_and_watch(path).await {
            Ok((node, _)) if node.data == value.as_bytes() => {
                return Ok(Found::Yes(Some(node.stat.version)));
            }
            Ok((_, watch)) => return Ok(Found::NotYet(watch)),
            Err(error) if *error.kind() == ErrorKind::NoNode => {}
            Err(error) => return Err(error),
        }
    }
    let (present, watch) = client.exists_and_watch(path).await?;
    Ok(match present {
        None if arguments.gone => Found::Yes(None),
        None => Found::NotYet(watch),
        Some(_) if arguments.value.is_some() => Found::Unclear,
        Some(_) if arguments.gone => Found::NotYet(watch),
        Some(stat) => Found::Yes(Some(stat.version)),
    })
}
