//! `du`: where the data is.

use std::collections::BTreeMap;

use clap::Args;
use serde_json::json;

use crate::connect::Failure;
use crate::shell::Shell;
use crate::shell::errors::check_path;
use crate::shell::output;
use crate::shell::walk::{Walk, depth};

/// Arguments of `roo du`.
#[derive(Args, Debug)]
pub(crate) struct DuArguments {
    /// Where to begin.
    #[arg(default_value = "/")]
    path: String,
    /// How many levels below it are listed.
    #[arg(long, short = 'd', value_name = "LEVELS", default_value_t = 1)]
    depth: usize,
    /// Prints bytes instead of KiB and MiB.
    #[arg(long, short = 'b')]
    bytes: bool,
}

/// Sums it up.
pub(super) async fn run(shell: &mut Shell, arguments: &DuArguments) -> Result<(), Failure> {
    let top = arguments.path.as_str();
    check_path(top)?;
    let client = shell.client()?;
    let mut tree = Walk::new(&client, top).children().await;
    let unreadable = tree.readable()?;
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for path in tree.paths()? {
        let Some(stat) = tree.stat(path) else {
            continue;
        };
        let bytes = u64::try_from(stat.data_length).unwrap_or_default();
        for above in listed(path, top, arguments.depth) {
            let (sum, nodes) = sums.entry(above).or_default();
            *sum += bytes;
            *nodes += 1;
        }
    }
    let mut sums: Vec<(&str, (u64, u64))> = sums.into_iter().collect();
    sums.sort_by(|(a, left), (b, right)| right.cmp(left).then(a.cmp(b)));
    for (path, (bytes, nodes)) in sums {
        if shell.out.json {
            let object = json!({ "path": path, "bytes": bytes, "nodes": nodes });
            shell.out.json(&object)?;
        } else {
            let size = match arguments.bytes {
                true => bytes.to_string(),
                false => output::size(bytes),
            };
            let noun = if nodes == 1 { "node " } else { "nodes" };
            shell
                .out
                .line(format!("{size:>12} {nodes:>9} {noun}  {path}"))?;
        }
    }
    unreadable.told()
}

/// The paths in whose sums a node counts: from `top` down to itself, as far as they are listed.
fn listed<'p>(path: &'p str, top: &str, levels: usize) -> Vec<&'p str> {
    let first = depth(top);
    let mut above = Vec::new();
    if top == "/" {
        above.push(path.get(..1).unwrap_or(path));
    }
    let ends = path.match_indices('/').map(|(at, _)| at).skip(1);
    for end in ends.chain([path.len()]) {
        let part = path.get(..end).unwrap_or(path);
        let level = depth(part);
        if part != "/" && level >= first.max(1) && level <= first + levels {
            above.push(part);
        }
    }
    above
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_counts_for_what_is_above_it() {
        assert_eq!(listed("/a/b/c", "/", 1), ["/", "/a"]);
        assert_eq!(listed("/a/b/c", "/a", 1), ["/a", "/a/b"]);
        assert_eq!(listed("/", "/", 1), ["/"]);
        assert_eq!(listed("/a", "/a", 0), ["/a"]);
        assert_eq!(listed("/a/b/c", "/", 9), ["/", "/a", "/a/b", "/a/b/c"]);
    }
}
