//! `import`: what `export` wrote, back into a tree.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;

use clap::Args;
use roo_client::Acl;
use roo_client::{Client, CreateOptions, ErrorKind, Multi, NodeKind, Version};
use serde_json::json;

use super::archive::{self, Entry};
use super::copy::{PACKET_MAX, acl_bytes};
use super::export::is_folder;
use crate::connect::{Exit, Failure, in_one_line};
use crate::shell::Shell;
use crate::shell::errors::{check_path, refused};
use crate::shell::progress::Progress;
use crate::shell::walk::{Whole, join, wholes};

/// Arguments of `roo import`.
#[derive(Args, Debug)]
pub(crate) struct ImportArguments {
    /// A file or a directory that `roo export` wrote; - for standard input.
    source: String,
    /// The node that it becomes. What is missing above it is made too.
    path: String,
    /// Says what would be done, and does nothing.
    #[arg(long)]
    dry_run: bool,
    /// Gives nodes that exist the data and the ACL of the file. Nodes that the file does not have
    /// stay.
    #[arg(long, conflicts_with = "merge")]
    overwrite: bool,
    /// Leaves nodes that exist as they are, and makes the others.
    #[arg(long)]
    merge: bool,
}

/// A node to be, checked.
struct Node {
    path: String,
    data: Option<Vec<u8>>,
    kind: NodeKind,
    acl: Vec<Acl>,
}

/// What is to be done with a node.
enum Step {
    Create,
    /// Its data, only if it has this version still.
    Set(i32),
    /// Its ACL, only if that has this version still.
    SetAcl(i32),
}

/// Everything that is to be done, and what is left alone.
struct Plan {
    nodes: Vec<Node>,
    /// With the place of the node.
    steps: Vec<(usize, Step)>,
    same: usize,
    left: usize,
    ephemeral: usize,
}

/// Imports.
pub(super) async fn run(shell: &mut Shell, arguments: &ImportArguments) -> Result<(), Failure> {
    let path = arguments.path.as_str();
    check_path(path)?;
    let entries = read(&arguments.source)?;
    let (nodes, ephemeral) = nodes(&arguments.source, path, &entries)?;
    let client = shell.client()?;
    let plan = plan(&client, nodes, ephemeral, arguments).await?;
    if arguments.dry_run {
        return show(shell, &plan);
    }
    let above = path.rsplit_once('/').map_or("", |(above, _)| above);
    if !above.is_empty() {
        let made = client.create_parents(path).await;
        made.map_err(|error| refused(&error, above))?;
    }
    let progress = shell.doing.begin(&shell.out, "importing", plan.steps.len());
    let done = carry_out(&client, &plan, &progress).await;
    drop(progress);
    let all = plan.steps.len();
    if let Err((done, why)) = done {
        let exit = match why.exit {
            Exit::Lost => Exit::Lost,
            _ if done > 0 => Exit::HalfDone,
            exit => exit,
        };
        let text = if done == 0 {
            format!("nothing was imported: {why}")
        } else {
            format!(
                "{done} of {all} changes were made, then: {why}: run it again with --merge or --overwrite"
            )
        };
        return Err(Failure::new(exit, text));
    }
    tell(shell, &plan, arguments)
}

fn read(source: &str) -> Result<Vec<Entry>, Failure> {
    if source == "-" {
        let mut text = String::new();
        io::stdin()
            .read_to_string(&mut text)
            .map_err(|error| Failure::failed(format!("standard input cannot be read: {error}")))?;
        return archive::read(&text, "standard input");
    }
    if is_folder(source) {
        return archive::read_folder(Path::new(source));
    }
    let text = fs::read_to_string(source)
        .map_err(|error| Failure::failed(format!("{source} cannot be read: {error}")))?;
    archive::read(&text, source)
}

/// The nodes to be, each after its parent, and how many ephemeral ones are left out.
fn nodes(source: &str, top: &str, entries: &[Entry]) -> Result<(Vec<Node>, usize), Failure> {
    let mut nodes: Vec<Node> = Vec::with_capacity(entries.len());
    let mut seen = HashMap::new();
    let mut ephemeral = 0;
    for entry in entries {
        let relative = entry.path.as_deref().unwrap_or_default();
        let path = if relative.is_empty() {
            top.to_owned()
        } else {
            join(top, relative)
        };
        let wrong = |why: &str| {
            let text = format!("{source}: node {relative:?}: {why}");
            Failure::failed(in_one_line(&text))
        };
        check_path(&path).map_err(|failure| wrong(&failure.text))?;
        let parent = relative.rsplit_once('/').map_or("", |(above, _)| above);
        if !relative.is_empty() && seen.get(parent) != Some(&true) {
            let ephemeral = seen.contains_key(parent);
            let why = if ephemeral {
                "its parent is ephemeral"
            } else {
                "its parent is missing"
            };
            return Err(wrong(why));
        }
        let kind = entry.node_kind().map_err(|why| wrong(&why))?;
        if seen.insert(relative, kind.is_some()).is_some() {
            return Err(wrong("it stands there twice"));
        }
        let acl = entry.acl().map_err(|why| wrong(&why))?;
        if archive::is_hidden(&acl) {
            return Err(wrong(
                "its ACL has x for a digest that was hidden from whoever exported it: export it \
                 with --auth, or write the digest",
            ));
        }
        let data = entry.data().map_err(|why| wrong(&why))?;
        let Some(kind) = kind else {
            ephemeral += 1;
            continue;
        };
        let node = Node {
            path,
            data: data.map(std::borrow::Cow::into_owned),
            kind,
            acl,
        };
        if node.bytes() > PACKET_MAX {
            let bytes = node.data.as_ref().map_or(0, Vec::len);
            return Err(wrong(&format!(
                "it has {bytes} bytes, more than fit into a request ({PACKET_MAX})"
            )));
        }
        nodes.push(node);
    }
    if !seen.contains_key("") {
        return Err(Failure::failed(format!("{source} has no nodes")));
    }
    Ok((nodes, ephemeral))
}

impl Node {
    /// What it takes in a packet, with room for a chroot.
    fn bytes(&self) -> usize {
        let data = self.data.as_ref().map_or(0, Vec::len);
        512 + data + self.path.len() + acl_bytes(&self.acl)
    }

    /// Whether a node of the tree is as it should be: data, then ACL.
    fn same(&self, there: &Whole) -> (bool, bool) {
        (
            there.node.value() == self.data.as_deref(),
            there.acl == self.acl,
        )
    }
}

/// Compares with what is there.
async fn plan(
    client: &Client,
    nodes: Vec<Node>,
    ephemeral: usize,
    arguments: &ImportArguments,
) -> Result<Plan, Failure> {
    let mut there = HashMap::new();
    let paths: Vec<&str> = nodes.iter().map(|node| node.path.as_str()).collect();
    wholes(client, &paths, |whole| {
        there.insert(whole.path.clone(), whole);
        Ok(())
    })
    .await?;
    let mut plan = Plan {
        nodes: Vec::new(),
        steps: Vec::new(),
        same: 0,
        left: 0,
        ephemeral,
    };
    let mut conflict = None;
    for (at, node) in nodes.iter().enumerate() {
        let Some(whole) = there.get(&node.path) else {
            plan.steps.push((at, Step::Create));
            continue;
        };
        let (data, acl) = node.same(whole);
        if data && acl {
            plan.same += 1;
        } else if arguments.overwrite {
            let stat = &whole.node.stat;
            if !data {
                plan.steps.push((at, Step::Set(stat.version)));
            }
            if !acl {
                plan.steps.push((at, Step::SetAcl(stat.aversion)));
            }
        } else {
            plan.left += 1;
            conflict.get_or_insert(node.path.clone());
        }
    }
    if let Some(first) = conflict.filter(|_| !arguments.merge) {
        let others = match plan.left - 1 {
            0 => String::new(),
            count => format!(" and {count} more"),
        };
        return Err(Failure::failed(format!(
            "nothing was imported: {first}{others} exist and are different: change them with \
             --overwrite or leave them with --merge"
        )));
    }
    plan.nodes = nodes;
    Ok(plan)
}

/// Does it in transactions, each as large as fits; an error comes with how many steps were done.
async fn carry_out(
    client: &Client,
    plan: &Plan,
    progress: &Progress,
) -> Result<(), (usize, Failure)> {
    let mut done = 0;
    while let Some((at, step)) = plan.steps.get(done) {
        let count = match (step, plan.nodes.get(*at)) {
            (Step::SetAcl(version), Some(node)) => {
                // No transaction can do that.
                let changed = client.set_acl(&node.path, &node.acl, *version).await;
                changed.map_err(|error| (done, refused(&error, &node.path)))?;
                1
            }
            _ => transaction(client, plan, done).await?,
        };
        done += count;
        progress.add(count);
    }
    Ok(())
}

/// As many of the next steps as fit into one.
async fn transaction(
    client: &Client,
    plan: &Plan,
    first: usize,
) -> Result<usize, (usize, Failure)> {
    let mut multi = Multi::new();
    let mut bytes = 0;
    for (at, step) in plan.steps.iter().skip(first) {
        let Some(node) = plan.nodes.get(*at) else {
            break;
        };
        bytes += node.bytes();
        if bytes > PACKET_MAX && !multi.is_empty() {
            break;
        }
        let data = node.data.as_deref().unwrap_or_default();
        multi = match step {
            Step::Create => {
                let mut options = CreateOptions::new(node.kind, node.acl.clone());
                options.no_data = node.data.is_none();
                multi.create(&node.path, data, options)
            }
            Step::Set(version) => multi.set(&node.path, data, Version::Exactly(*version)),
            Step::SetAcl(_) => break,
        };
    }
    let count = multi.len();
    client.multi(multi).await.map_err(|error| {
        let step = plan.steps.get(first + error.failed_op().unwrap_or(0));
        let node = step.and_then(|(at, _)| plan.nodes.get(*at));
        let path = node.map(|node| node.path.as_str()).unwrap_or_default();
        let failure = match error.kind() {
            ErrorKind::BadVersion | ErrorKind::NodeExists => {
                Failure::failed(format!("{path} was changed meanwhile"))
            }
            _ => refused(&error, path),
        };
        (first, failure)
    })?;
    Ok(count)
}

fn show(shell: &mut Shell, plan: &Plan) -> Result<(), Failure> {
    for (at, step) in &plan.steps {
        let Some(node) = plan.nodes.get(*at) else {
            continue;
        };
        let verb = match step {
            Step::Create => "create",
            Step::Set(_) => "set",
            Step::SetAcl(_) => "setAcl",
        };
        let path = &node.path;
        let bytes = node.data.as_ref().map_or(0, Vec::len);
        if shell.out.json {
            let object = json!({ "would": verb, "path": path, "bytes": bytes });
            shell.out.json(&object)?;
        } else {
            shell.out.line(format!("{verb} {path} ({bytes} bytes)"))?;
        }
    }
    let count = plan.steps.len();
    shell
        .out
        .note(format!("{count} changes would be made, {}", rest(plan)));
    Ok(())
}

fn rest(plan: &Plan) -> String {
    let Plan {
        same,
        left,
        ephemeral,
        ..
    } = plan;
    format!(
        "{same} nodes are so already, {left} differ and stay, {ephemeral} ephemeral ones are left out"
    )
}

fn tell(shell: &mut Shell, plan: &Plan, arguments: &ImportArguments) -> Result<(), Failure> {
    let count = plan.steps.len();
    if shell.out.json {
        return shell.out.json(&json!({
            "path": arguments.path, "changes": count, "same": plan.same, "left": plan.left,
            "ephemeral": plan.ephemeral,
        }));
    }
    let path = &arguments.path;
    shell.out.note(format!(
        "imported into {path}: {count} changes made, {}",
        rest(plan)
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(path: &str) -> Entry {
        Entry {
            path: Some(path.to_owned()),
            kind: "persistent".to_owned(),
            acl: vec!["world:anyone:cdrwa".to_owned()],
            ..Entry::default()
        }
    }

    #[test]
    fn everything_is_checked_before_anything_is_done() {
        let good = [entry(""), entry("a"), entry("a/b")];
        let (made, ephemeral) = nodes("file", "/x", &good).unwrap();
        let paths: Vec<&str> = made.iter().map(|node| node.path.as_str()).collect();
        assert_eq!(paths, ["/x", "/x/a", "/x/a/b"]);
        assert_eq!(ephemeral, 0);
        let cases: [(&str, Vec<Entry>); 6] = [
            ("its parent is missing", vec![entry(""), entry("a/b")]),
            (
                "it stands there twice",
                vec![entry(""), entry("a"), entry("a")],
            ),
            ("relative paths not allowed", vec![entry(""), entry("..")]),
            ("has no nodes", vec![]),
            (
                "is none",
                vec![Entry {
                    kind: "strange".to_owned(),
                    ..entry("")
                }],
            ),
            (
                "more than fit into a request",
                vec![Entry {
                    text: Some("x".repeat(2 << 20)),
                    ..entry("")
                }],
            ),
        ];
        for (expected, entries) in cases {
            let said = nodes("file", "/x", &entries).map(|_| ()).unwrap_err().text;
            assert!(said.contains(expected), "{said}");
        }
    }
}
