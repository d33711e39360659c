//! `roo lock`.

use std::process::ExitCode;

use roo_client::Client;
use roo_client::recipes::{ContenderOptions, Lock, LockGuard};

use super::hold::{self, Held, Holding};
use super::line::{self, LineArguments};
use super::program;
use super::signals::Signals;
use crate::connect::{ConnectArguments, Exit, Failure};

pub(super) async fn run(
    arguments: LineArguments,
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
    arguments: &LineArguments,
    signals: &mut Signals,
) -> Result<ExitCode, Failure> {
    let path = &arguments.path;
    let options = ContenderOptions {
        identifier: arguments.id.clone().into(),
        ..ContenderOptions::default()
    };
    let lock = Lock::with_options(client, path, options);
    if arguments.list {
        line::print(&lock.contenders().await?, arguments.json)?;
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
    arguments: &LineArguments,
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
