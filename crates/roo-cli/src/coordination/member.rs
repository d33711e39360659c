//! `roo member`.

use std::process::ExitCode;

use clap::Args;
use roo_client::Client;
use roo_client::recipes::{Group, Membership};
use serde_json::json;

use super::hold::{self, Held, Holding};
use super::program::{self, ProgramArguments};
use super::signals::Signals;
use crate::connect::{ConnectArguments, Failure};

#[derive(Args, Debug)]
pub(crate) struct MemberArguments {
    /// The group's node.
    path: String,
    /// The member's name, without slashes.
    #[arg(requires = "command")]
    name: Option<String>,
    /// What the member says of itself.
    #[arg(
        long,
        value_name = "DATA",
        default_value = "",
        requires = "name",
        hide_default_value = true
    )]
    data: String,
    /// Waits while the name is another session's: perhaps of this host before it crashed.
    #[arg(long, requires = "name")]
    wait: bool,
    /// Prints an object a line.
    #[arg(long, conflicts_with = "name")]
    json: bool,
    #[command(flatten)]
    pub(super) program: ProgramArguments,
    #[command(flatten)]
    connect: ConnectArguments,
}

pub(super) async fn run(
    arguments: MemberArguments,
    before: &ConnectArguments,
) -> Result<ExitCode, Failure> {
    if arguments.name.is_none() && !arguments.program.command.is_empty() {
        return Err(Failure::usage(
            "member: there is no NAME: write it behind PATH",
        ));
    }
    let mut signals = Signals::listen()?;
    let client = super::session(&arguments.connect.clone().or(before), &mut signals).await?;
    let done = match &arguments.name {
        Some(name) => stay(&client, name, &arguments, &mut signals).await,
        None => list(&client, &arguments).await,
    };
    super::close(&client).await;
    done
}

async fn stay(
    client: &Client,
    name: &str,
    arguments: &MemberArguments,
    signals: &mut Signals,
) -> Result<ExitCode, Failure> {
    let path = &arguments.path;
    let what = format!("member {} {}", path.escape_debug(), name.escape_debug());
    if name.is_empty() || name.contains('/') {
        let text = format!("{what}: a name is not empty and has no slash");
        return Err(Failure::failed(text));
    }
    if !path.starts_with('/') {
        let text = format!("{what}: the path does not begin with a slash");
        return Err(Failure::failed(text));
    }
    let group = Group::new(client, path);
    let joined = async {
        Ok(if arguments.wait {
            group.join_when_free(name, &arguments.data).await?
        } else {
            group.join(name, &arguments.data).await?
        })
    };
    let membership: Membership = super::wait(&what, None, signals, joined).await?;
    let node = format!("{}/{name}", path.trim_end_matches('/'));
    let holding = Holding {
        client,
        node: &node,
    };
    let held = holding.run(
        &arguments.program,
        &[],
        signals,
        membership.lost(),
        hold::nobody_asks(),
    );
    let status = match held.await? {
        Held::Lost(why) => return Err(hold::lost("member", &node, &why)),
        Held::Ended { status, .. } | Held::GaveWay(status) => status,
    };
    hold::give_back(&what, client, membership.leave()).await;
    Ok(program::code(status))
}

async fn list(client: &Client, arguments: &MemberArguments) -> Result<ExitCode, Failure> {
    for member in Group::new(client, &arguments.path).members().await? {
        let data = String::from_utf8_lossy(&member.data);
        if arguments.json {
            super::print(json!({
                "id": member.id,
                "data": data,
                "joined": member.joined.0,
                "session": format!("{:#x}", member.session.0),
            }))?;
        } else {
            super::print(format_args!("{}\t{}", member.id, data.escape_debug()))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
