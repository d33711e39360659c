//! What the commands have in common in which contenders stand in line: `roo lock`, `roo elect`.

use std::ffi::OsString;
use std::time::Duration;

use clap::Args;
use roo_client::recipes::Contender;
use serde_json::json;

use super::hold;
use super::program::ProgramArguments;
use crate::connect::{ConnectArguments, Failure, parse_duration};

// No doc comment: clap would show it as the description of each command.
#[derive(Args, Debug)]
pub(crate) struct LineArguments {
    /// The node of the lock or the election.
    pub(super) path: String,
    /// How long to wait in line; 0: take the lock only if it is free now.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    pub(super) timeout: Option<Duration>,
    /// Gives CMD the fencing token (the leader's term) in this variable: a number that grows from
    /// holder to holder.
    #[arg(long, value_name = "VAR", value_parser = hold::parse_variable)]
    pub(super) fencing_env: Option<OsString>,
    /// What others see of who holds or waits. [default: the host's name and the process's id]
    #[arg(long, value_name = "NAME", default_value_t = default_id(), hide_default_value = true)]
    pub(super) id: String,
    /// Prints who holds or leads and who waits, in order, instead of running anything.
    #[arg(long, conflicts_with = "command")]
    pub(super) list: bool,
    /// Prints an object a line with --list.
    #[arg(long, requires = "list")]
    pub(super) json: bool,
    #[command(flatten)]
    pub(super) program: ProgramArguments,
    #[command(flatten)]
    pub(super) connect: ConnectArguments,
}

/// The host's name and the process's id.
fn default_id() -> String {
    let host = rustix::system::uname();
    let host = host.nodename().to_string_lossy().into_owned();
    format!("{host}:{}", std::process::id())
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
