//! `tree`: a drawing of a subtree.

use clap::Args;
use serde_json::{Value, json};

use crate::connect::Failure;
use crate::shell::Shell;
use crate::shell::errors::check_path;
use crate::shell::output::{self, Colour};
use crate::shell::walk::{Tree, Walk, depth, join};

/// Arguments of `roo tree`.
#[derive(Args, Debug)]
pub(crate) struct TreeArguments {
    /// Where to begin.
    #[arg(default_value = "/")]
    path: String,
    /// How many levels below it to draw.
    #[arg(long, short = 'L', value_name = "LEVELS")]
    depth: Option<usize>,
    /// Says how much data each node has.
    #[arg(long)]
    sizes: bool,
}

/// Draws it.
pub(super) async fn run(shell: &mut Shell, arguments: &TreeArguments) -> Result<(), Failure> {
    let path = arguments.path.as_str();
    check_path(path)?;
    let client = shell.client()?;
    let mut walk = Walk::new(&client, path);
    if let Some(levels) = arguments.depth {
        walk.at_most(levels);
    }
    let mut tree = walk.children().await;
    let unreadable = tree.readable()?;
    if shell.out.json {
        let object = object(&tree, path, depth(path), arguments)?;
        shell.out.json(&object)?;
        return unreadable.told();
    }
    shell.out.line(label(shell, &tree, path, path, arguments))?;
    let mut count = 1_usize;
    let mut pending: Vec<(String, String, bool)> = Vec::new();
    push(&mut pending, &tree, path, "", arguments)?;
    while let Some((node, indent, is_last)) = pending.pop() {
        let name = node.rsplit('/').next().unwrap_or_default().to_owned();
        // A branch, and a corner at the last one.
        let branch = if is_last {
            "\u{2514}\u{2500}\u{2500} "
        } else {
            "\u{251C}\u{2500}\u{2500} "
        };
        let label = label(shell, &tree, &node, &name, arguments);
        shell.out.line(format!("{indent}{branch}{label}"))?;
        count += 1;
        let below = if is_last { "    " } else { "\u{2502}   " };
        push(
            &mut pending,
            &tree,
            &node,
            &format!("{indent}{below}"),
            arguments,
        )?;
    }
    shell.out.line(format!("\n{count} nodes"))?;
    unreadable.told()
}

/// The children of a node, the first one on top.
fn push(
    pending: &mut Vec<(String, String, bool)>,
    tree: &Tree,
    node: &str,
    indent: &str,
    arguments: &TreeArguments,
) -> Result<(), Failure> {
    let levels = depth(node) - depth(&arguments.path);
    if arguments.depth.is_some_and(|max| levels >= max) {
        return Ok(());
    }
    let names = tree.names(node)?;
    for (at, name) in names.iter().enumerate().rev() {
        pending.push((join(node, name), indent.to_owned(), at + 1 == names.len()));
    }
    Ok(())
}

fn label(shell: &Shell, tree: &Tree, node: &str, name: &str, arguments: &TreeArguments) -> String {
    let stat = tree.stat(node);
    let colour = match stat {
        Some(stat) if output::kind(stat.ephemeral_owner) == "ephemeral" => Some(Colour::Yellow),
        Some(stat) if stat.num_children > 0 => Some(Colour::Blue),
        _ => None,
    };
    let mut label = match colour {
        Some(colour) => shell.out.paint(colour, name),
        None => name.to_owned(),
    };
    if let Some(stat) = stat.filter(|_| arguments.sizes) {
        let size = output::size(u64::try_from(stat.data_length).unwrap_or_default());
        label = format!(
            "{label}  {}",
            shell.out.paint(Colour::Grey, &format!("({size})"))
        );
    }
    label
}

fn object(
    tree: &Tree,
    node: &str,
    top: usize,
    arguments: &TreeArguments,
) -> Result<Value, Failure> {
    let mut children = Vec::new();
    if arguments.depth.is_none_or(|max| depth(node) - top < max) {
        for name in tree.names(node)? {
            children.push(object(tree, &join(node, name), top, arguments)?);
        }
    }
    let mut object = json!({ "path": node, "children": children });
    if let Some(stat) = tree.stat(node) {
        object["kind"] = output::kind(stat.ephemeral_owner).into();
        object["data_length"] = stat.data_length.into();
    }
    Ok(object)
}
