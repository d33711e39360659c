//! What the shell has beyond zkCli.
//!
//! [`tree`], [`find`] and [`du`] look; [`copy`] is `cp` and `mv`; [`export`] and [`import`] carry
//! a subtree to files and back, in the form of [`archive`]; [`watch`] shows changes as they come.

mod archive;
mod copy;
mod du;
mod export;
mod find;
mod import;
mod tree;
mod watch;

use clap::{Arg, ArgAction, Command, FromArgMatches, Subcommand};

use super::Shell;
use crate::connect::Failure;

/// Our commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Extra {
    /// Draws a subtree.
    #[command(after_help = "Examples:
  roo tree /
  roo tree --depth 2 --sizes /app")]
    Tree(tree::TreeArguments),
    /// Finds nodes by name, age, size or owner.
    ///
    /// What is asked for must all hold. Nodes are printed parents first, a path a line; --json
    /// prints an object a line, with the node's stat.
    #[command(after_help = "Examples:
  roo find /app --name 'job-*'
  roo find / --larger 100K
  roo find / --ephemeral --older 1h
  roo find /app --name '*.tmp' | while read -r node; do roo delete \"$node\"; done")]
    Find(find::FindArguments),
    /// Sums up the data and the nodes of subtrees, the largest first.
    #[command(after_help = "Examples:
  roo du /
  roo du --depth 2 --bytes /app")]
    Du(du::DuArguments),
    /// Copies a node, or with -r a subtree, in one transaction.
    ///
    /// Data and ACLs are kept. A copy is made whole or not at all: what does not fit into one
    /// transaction (1 MiB) is refused, as is a target that exists. Servers do not tell whether a
    /// node is a container or has a time to live: the copies are persistent.
    #[command(after_help = "Examples:
  roo cp /app/config /app/config.old
  roo cp -r /app /app-backup")]
    Cp(copy::CpArguments),
    /// Moves a subtree in one transaction.
    ///
    /// Nobody sees half of it: the new nodes come and the old ones go together, and if any of them
    /// has changed meanwhile, nothing is done. What does not fit into one transaction (1 MiB) is
    /// refused, as are ephemeral nodes, which belong to their sessions. Servers do not tell whether
    /// a node is a container or has a time to live: the moved nodes are persistent.
    #[command(after_help = "Examples:
  roo mv /app/config.new /app/config.next")]
    Mv(copy::MvArguments),
    /// Writes a subtree to a file, or to a directory, as JSON.
    ///
    /// Values are exact to the byte: text where they are UTF-8, else base64. ACLs are kept, and
    /// ephemeral nodes are marked; servers do not tell which nodes are containers or have a time
    /// to live, so those are noted as persistent (kind container, or ttl with ttl_ms, may be
    /// written into the file). A file holds all nodes, a line each; in a directory (a name that ends with / or is
    /// one) each node is a folder with a node.json. The file appears when it is complete. It is no
    /// snapshot: nodes that changed meanwhile are counted in a warning.
    #[command(after_help = "Examples:
  roo export /app app.json
  roo export /app app/             a folder for each node, for git
  roo export /app - | gzip > app.json.gz")]
    Export(export::ExportArguments),
    /// Makes the nodes that `export` wrote.
    ///
    /// Everything is checked before the first change. What fits into one transaction (1 MiB) is
    /// made whole or not at all; more is made in transactions, parents first, and if one fails
    /// it is said how many nodes are there (exit code 5). Ephemeral nodes are left out.
    #[command(after_help = "Examples:
  roo import app.json /app --dry-run
  roo import app.json /copy/of/app
  roo import --overwrite app/ /app")]
    Import(import::ImportArguments),
    /// Prints changes as they happen, until ctrl-C.
    ///
    /// Needs a server of version 3.6 or later. When the connection was lost and found again, a
    /// line says Gap: changes in between were missed.
    #[command(after_help = "Examples:
  roo watch /app
  roo watch --json --value /app/config | jq -r .text
  roo watch --count 1 /app/ready && echo it has come")]
    Watch(watch::WatchArguments),
}

/// Our commands as clap shows them, with the option that all of them have.
pub(super) fn commands() -> Vec<Command> {
    let all = Extra::augment_subcommands(Command::new("roo"));
    all.get_subcommands().cloned().map(with_json).collect()
}

/// Adds the option for JSON.
pub(super) fn with_json(command: Command) -> Command {
    command.arg(
        Arg::new("json")
            .long("json")
            .action(ArgAction::SetTrue)
            .help("Prints JSON instead"),
    )
}

/// One of them.
pub(super) fn command(name: &str) -> Option<Command> {
    commands()
        .into_iter()
        .find(|command| command.get_name() == name)
}

/// Whether it is one of them.
pub(super) fn is_command(name: &str) -> bool {
    Extra::has_subcommand(name)
}

/// Runs words that were typed in the shell.
pub(super) async fn run_words(shell: &mut Shell, words: &[String]) -> Result<(), Failure> {
    let parser = Command::new("roo")
        .no_binary_name(true)
        .disable_help_subcommand(true)
        .subcommands(commands());
    let parsed = parser.try_get_matches_from(words);
    let parsed = parsed.and_then(|matches| Extra::from_arg_matches(&matches));
    match parsed {
        Ok(extra) => run(shell, extra).await,
        Err(error) if error.exit_code() == 0 => shell.out.text(&error.to_string()),
        Err(error) => Err(Failure::usage(error.to_string().trim_end().to_owned())),
    }
}

/// Runs one of them.
pub(super) async fn run(shell: &mut Shell, extra: Extra) -> Result<(), Failure> {
    match extra {
        Extra::Tree(arguments) => tree::run(shell, &arguments).await,
        Extra::Find(arguments) => find::run(shell, &arguments).await,
        Extra::Du(arguments) => du::run(shell, &arguments).await,
        Extra::Cp(arguments) => copy::cp(shell, &arguments).await,
        Extra::Mv(arguments) => copy::mv(shell, &arguments).await,
        Extra::Export(arguments) => export::run(shell, &arguments).await,
        Extra::Import(arguments) => import::run(shell, &arguments).await,
        Extra::Watch(arguments) => watch::run(shell, &arguments).await,
    }
}

/// Reads a size: bytes, or with K, M or G behind it, in powers of 1024.
fn parse_size(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is no size: write for example 512, 10K, 1M");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    let factor = match text.get(digits.len()..) {
        Some("" | "B") => 1,
        Some("K" | "k") => 1 << 10,
        Some("M") => 1 << 20,
        Some("G") => 1 << 30,
        _ => return Err(wrong()),
    };
    number.checked_mul(factor).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_commands_are_sound() {
        for command in commands() {
            command.debug_assert();
        }
        assert!(is_command("tree") && !is_command("ls"));
    }

    #[test]
    fn sizes_are_powers_of_1024() {
        assert_eq!(parse_size("512"), Ok(512));
        assert_eq!(parse_size("10K"), Ok(10_240));
        assert_eq!(parse_size("1M"), Ok(1 << 20));
        for wrong in ["", "K", "-1", "1T", "1.5M", "99999999999G"] {
            assert!(parse_size(wrong).is_err(), "{wrong}");
        }
    }
}
