//! `roo lock`.

use std::ffi::OsString;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use roo_client::Client;
use roo_client::recipes::{Contender, ContenderOptions, Lock, LockGuard};
use serde_json::json;

use super::hold::{self, Held, Holding};
use super::program::{self, ProgramArguments};
use super::signals::Signals;
use crate::connect::{ConnectArguments, Exit, Failure, parse_duration};

#[derive(Args, Debug)]
pub(crate) struct LockArguments {
    /// The lock's node.
    path: String,
    /// How long to wait for the lock; 0: take it only if it is free now.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    timeout: Option<Duration>,
    /// Gives CMD the fencing token in this variable: a number that grows from holder to holder.
    #[arg(long, value_name = "VAR", value_parser = hold::parse_variable)]
    fencing_env: Option<OsString>,
    /// What others see of who holds or waits. [default: the host's name and the process's id]
    #[arg(long, value_name = "NAME", default_value_t = default_id(), hide_default_value = true)]
    id: String,
    /// Prints who holds and who waits, in order, instead of running anything.
    #[arg(long, conflicts_with = "command")]
    list: bool,
    /// Prints an object a line with --list.
    #[arg(long, requires = "list")]
    json: bool,
    #[command(flatten)]
    pub(super) program: ProgramArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// The host's name and the process's id.
pub(super) fn default_id() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
}

pub(super) async fn run(
    arguments: LockArguments,
    before: &ConnectArguments,
) -> Result<ExitCode, Failure> {
    if arguments.program.command.is_empty() && !arguments.list {
        return Err(Failure::usage("lock: there is no CMD: write it behind --"));
    }
    let mut signals = Signals::listen()?;
    let client = super::session(&arguments.connect.clone().or(before), &mut signals).await?;
    let done = with(&client, &arguments, &mut signals).await;
    super::close(&client).await;
    done
}

async fn with(
    client: &Client,
    arguments: &LockArguments,
    signals: &mut Signals,
) -> Result<ExitCode, Failure> {
    let path = &arguments.path;
    let options = ContenderOptions {
        identifier: arguments.id.clone().into(),
        ..ContenderOptions::default()
    };
    let lock = Lock::with_options(client, path, options);
    if arguments.list {
        print(&lock.contenders().await?, arguments.json)?;
        return Ok(ExitCode::SUCCESS);
    }
    let guard = acquire(&lock, arguments, signals).await?;
    let node = guard.path();
    let environment = hold::fencing(arguments.fencing_env.as_ref(), guard.fencing_token());
    let holding = Holding {
        client,
        node: &node,
    };
    let lost = guard.lost();
    let held = holding.run(
        &arguments.program,
        &environment,
        signals,
        lost,
        hold::nobody_asks(),
    );
    let status = match held.await? {
        Held::Lost(why) => return Err(hold::lost("lock", path, &why)),
        Held::Ended { status, .. } | Held::GaveWay(status) => status,
    };
    hold::give_back(&format!("lock {path}"), client, guard.release()).await;
    Ok(program::code(status))
}

async fn acquire(
    lock: &Lock,
    arguments: &LockArguments,
    signals: &mut Signals,
) -> Result<LockGuard, Failure> {
    let what = format!("lock {}", arguments.path.escape_debug());
    if hold::is_once(arguments.timeout) {
        let taken = async { Ok(lock.try_acquire().await?) };
        let taken = super::wait(&what, None, signals, taken).await?;
        let text = format!("{what}: somebody else holds it");
        return taken.ok_or_else(|| Failure::new(Exit::TimedOut, text));
    }
    let acquired = async { Ok(lock.acquire().await?) };
    super::wait(&what, arguments.timeout, signals, acquired).await
}

/// Prints those who stand in line.
pub(super) fn print(contenders: &[Contender], json: bool) -> Result<(), Failure> {
    for contender in contenders {
        let id = String::from_utf8_lossy(&contender.identifier);
        if json {
            super::print(json!({
                "id": id,
                "path": contender.path,
                "token": contender.token.0,
                "session": format!("{:#x}", contender.session.0),
            }))?;
        } else {
            super::print(id.escape_debug())?;
        }
    }
    Ok(())
}
