//! `cp` and `mv`: one transaction, or nothing.

use clap::Args;
use roo_client::{Acl, Client, CreateOptions, ErrorKind, Multi, Version};
use serde_json::json;

use super::archive::{self, Entry};
use crate::connect::Failure;
use crate::shell::Shell;
use crate::shell::errors::{check_path, refused};
use crate::shell::output;
use crate::shell::walk::{Walk, Whole, wholes};

/// Bytes of a transaction that every server takes: its own default limit, less its head.
pub(super) const PACKET_MAX: usize = 0xF_FFFF - 1024;

/// Arguments of `roo cp`.
#[derive(Args, Debug)]
pub(crate) struct CpArguments {
    /// What is copied.
    from: String,
    /// The new node. It must not exist, and its parent must.
    to: String,
    /// Copies everything below it too.
    #[arg(long, short)]
    recursive: bool,
    /// Leaves ephemeral nodes out instead of refusing to copy them.
    #[arg(long)]
    skip_ephemerals: bool,
}

/// Arguments of `roo mv`.
#[derive(Args, Debug)]
pub(crate) struct MvArguments {
    /// What is moved, with all below it.
    from: String,
    /// The new node. It must not exist, and its parent must.
    to: String,
}

/// `cp`.
pub(super) async fn cp(shell: &mut Shell, arguments: &CpArguments) -> Result<(), Failure> {
    let (from, to) = (arguments.from.as_str(), arguments.to.as_str());
    check_ends(from, to)?;
    let client = shell.client()?;
    let mut nodes = subtree(&client, from, arguments.recursive).await?;
    if !arguments.recursive
        && nodes
            .first()
            .is_some_and(|node| node.node.stat.num_children > 0)
    {
        return Err(Failure::failed(format!(
            "{from} has children: copy them too with -r"
        )));
    }
    let is_ephemeral = |node: &Whole| output::kind(node.node.stat.ephemeral_owner) == "ephemeral";
    if arguments.skip_ephemerals {
        nodes.retain(|node| !is_ephemeral(node));
    }
    refuse_ephemerals(&nodes, "leave them out with --skip-ephemerals")?;
    let plan = plan(&client, &nodes, from, to, false)?;
    finish(shell, plan, &nodes, from, to, "copied").await
}

/// `mv`.
pub(super) async fn mv(shell: &mut Shell, arguments: &MvArguments) -> Result<(), Failure> {
    let (from, to) = (arguments.from.as_str(), arguments.to.as_str());
    check_ends(from, to)?;
    let client = shell.client()?;
    let nodes = subtree(&client, from, true).await?;
    refuse_ephemerals(&nodes, "they go with their sessions")?;
    let plan = plan(&client, &nodes, from, to, true)?;
    finish(shell, plan, &nodes, from, to, "moved").await
}

fn check_ends(from: &str, to: &str) -> Result<(), Failure> {
    check_path(from)?;
    check_path(to)?;
    if from == "/" {
        return Err(Failure::failed("the root cannot be copied or moved"));
    }
    if roo_proto::path::is_under(to, from) {
        return Err(Failure::failed(format!("{to} lies in {from} itself")));
    }
    Ok(())
}

async fn subtree(client: &Client, from: &str, all: bool) -> Result<Vec<Whole>, Failure> {
    let mut nodes = Vec::new();
    let mut walk = Walk::new(client, from);
    if !all {
        walk.at_most(0);
    }
    let tree = walk.children().await;
    let paths = tree.paths()?;
    wholes(client, &paths, |whole| {
        nodes.push(whole);
        Ok(())
    })
    .await?;
    Ok(nodes)
}

fn refuse_ephemerals(nodes: &[Whole], advice: &str) -> Result<(), Failure> {
    let is_ephemeral = |node: &&Whole| output::kind(node.node.stat.ephemeral_owner) == "ephemeral";
    let mut ephemerals = nodes.iter().filter(is_ephemeral);
    let Some(first) = ephemerals.next() else {
        return Ok(());
    };
    let others = match ephemerals.count() {
        0 => String::new(),
        count => format!(" and {count} more"),
    };
    let path = &first.path;
    Err(Failure::failed(format!(
        "ephemeral nodes cannot change hands: {path}{others}: {advice}"
    )))
}

/// The transaction. It fails if one of the nodes has changed since it was read.
fn plan(
    client: &Client,
    nodes: &[Whole],
    from: &str,
    to: &str,
    moves: bool,
) -> Result<Multi, Failure> {
    let mut multi = Multi::new();
    let mut bytes = 0;
    for whole in nodes {
        let below = whole.path.strip_prefix(from).unwrap_or_default();
        let target = format!("{to}{below}");
        let entry = Entry::new(whole, None);
        let kind = entry.node_kind().map_err(Failure::failed)?;
        let Some(kind) = kind else {
            continue;
        };
        if archive::is_hidden(&whole.acl) {
            return Err(Failure::failed(format!(
                "the ACL of {} hides a digest from this session, and would not be kept: use --auth \
                 of somebody who may administer it",
                whole.path
            )));
        }
        bytes += 64 + 2 * (whole.path.len() + client.chroot().len()) + target.len();
        bytes += whole.node.data.len() + acl_bytes(&whole.acl);
        let mut options = CreateOptions::new(kind, whole.acl.clone());
        options.no_data = whole.node.value().is_none();
        let version = Version::Exactly(whole.node.stat.version);
        multi = multi.check(&whole.path, version);
        multi = multi.create(&target, &whole.node.data, options);
    }
    if moves {
        for whole in nodes.iter().rev() {
            let version = Version::Exactly(whole.node.stat.version);
            multi = multi.delete(&whole.path, version);
            bytes += 24 + whole.path.len();
        }
    }
    let limit = PACKET_MAX;
    if bytes > limit {
        let count = nodes.len();
        return Err(Failure::failed(format!(
            "{from} is too large for one transaction: {count} nodes need {bytes} bytes, {limit} \
             are allowed: use export and import, which work in parts"
        )));
    }
    Ok(multi)
}

/// What an ACL takes in a packet.
pub(super) fn acl_bytes(acl: &[Acl]) -> usize {
    acl.iter()
        .map(|entry| 12 + entry.id.scheme.len() + entry.id.id.len())
        .sum()
}

async fn finish(
    shell: &mut Shell,
    multi: Multi,
    nodes: &[Whole],
    from: &str,
    to: &str,
    verb: &str,
) -> Result<(), Failure> {
    let done = shell.client()?.multi(multi).await;
    done.map_err(|error| {
        // Each node's check and creation come first, in pairs, then the deletions.
        let at = error.failed_op().unwrap_or_default();
        let is_creation = at < 2 * nodes.len() && at % 2 == 1;
        let node = nodes.get(at / 2).filter(|_| is_creation);
        let target = node.and_then(|node| node.path.strip_prefix(from));
        let kind = error.kind();
        match (target, kind) {
            (Some(below), _) => refused(&error, &format!("{to}{below}")),
            (None, ErrorKind::BadVersion | ErrorKind::NotEmpty | ErrorKind::NoNode) => {
                Failure::failed(format!(
                    "{from} was changed meanwhile: nothing is {verb}; try again"
                ))
            }
            (None, _) => refused(&error, from),
        }
    })?;
    if shell.out.json {
        let count = nodes.len();
        return shell
            .out
            .json(&json!({ "from": from, "to": to, "nodes": count }));
    }
    let count = nodes.len();
    let noun = if count == 1 { "node" } else { "nodes" };
    shell.out.note(format!("{verb} {count} {noun} to {to}"));
    Ok(())
}
