//! `roo mirror`: keeps a directory of files and a subtree equal, once or live.
//!
//! [`plan`] compares both sides with what they held when they were last equal, which [`state`]
//! remembers; [`remote`] reads and changes the subtree, by [`image`] as it was at one moment,
//! [`local`] the files of the directory, [`sets`] a directory that shows whole sets; [`step`] is one
//! comparison with what follows from it, [`follow`] repeats it whenever something changes,
//! [`report`] tells of it.

mod follow;
mod image;
mod local;
mod plan;
mod remote;
mod report;
mod sets;
mod state;
mod step;

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::{Args, Subcommand};
use roo_client::Acl;

use crate::connect::{self, ConnectArguments, Exit, Failure, parse_duration};
use report::Report;
use step::{Outcome, Step};

/// Arguments of `roo mirror`.
#[derive(Args, Debug)]
pub(crate) struct MirrorArguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Makes a subtree equal to a directory.
    ///
    /// Each file becomes a node, each directory a node with children; empty directories, hidden
    /// files and what editors leave while they work (names that begin with a dot, end with ~, .tmp,
    /// .swp or .swx, or stand between #) are left out, as are links that lead out of the directory.
    /// All changes are made in one transaction, so that no reader sees half of a set; what does not
    /// fit into one (1 MiB) is refused unless --not-atomic allows several.
    ///
    /// What was changed in the subtree since both were last equal is not overwritten: it is named,
    /// nothing is done, and the exit code is 1. What both held last stands in DIR/.roo-mirror.json.
    #[command(
        after_help = "Exit codes: 0 equal, 1 refused or in conflict, 2 wrong arguments, \
3 no server, 4 connection lost, 5 done in part (--not-atomic).

Examples:
  roo mirror push conf /app/conf                  once
  roo mirror push conf /app/conf --dry-run        shows what would be done
  roo mirror push conf /app/conf --delete         what is deleted here goes there too
  roo mirror push conf /app/conf --delete --follow
                                                  and goes on whenever a file is saved
  roo -s zk1,zk2,zk3 mirror push . /app --ignore '*.bak' --force"
    )]
    Push(PushArguments),
    /// Makes a directory equal to a subtree.
    ///
    /// Each node without children becomes a file, each with children a directory. The directory
    /// shows a whole set of files at a time, as a mounted ConfigMap of Kubernetes does: the names
    /// in it are links through ..data, which leads to the set, and one rename shows the next. Who
    /// reads several files and wants them from one set resolves ..data once and reads below it; the
    /// last set stays until the next comes. With --plain the files are ordinary ones, each replaced
    /// whole, but one after another.
    ///
    /// What was changed in the directory since both were last equal is not overwritten: it is
    /// named, nothing is done, and the exit code is 1.
    #[command(
        after_help = "Exit codes: 0 equal, 1 refused or in conflict, 2 wrong arguments, \
3 no server, 4 connection lost.

Examples:
  roo mirror pull /app/conf /etc/app              once
  roo mirror pull /app/conf /etc/app --delete --follow --exec 'systemctl reload app'
                                                  live; the program reads its files again
  roo mirror pull /app/conf conf --plain          ordinary files, to edit and to push
  roo mirror pull /app/secrets /run/app --mode 0600 --follow"
    )]
    Pull(PullArguments),
}

/// What both directions know.
#[derive(Args, Clone, Debug)]
struct Common {
    /// Goes on: waits for changes of either side, through reconnections and new sessions.
    #[arg(long, short)]
    follow: bool,
    /// Deletes in the target what is gone from the source and was equal before; what was never
    /// equal only with --force too.
    #[arg(long)]
    delete: bool,
    /// The source is right wherever both sides differ.
    #[arg(long)]
    force: bool,
    /// Shows what would be done, and does nothing.
    #[arg(long, short = 'n', conflicts_with_all = ["follow", "exec"])]
    dry_run: bool,
    /// Runs a command (sh -c) after each change, with ROO_MIRROR_CHANGED (the paths, one a line),
    /// ROO_MIRROR_DIR and ROO_MIRROR_PATH. It is run again after a restart if it did not end well.
    #[arg(long, value_name = "COMMAND")]
    exec: Option<String>,
    /// Leaves out files and nodes of this name: * is any text, ? any character; may be repeated.
    #[arg(long, value_name = "PATTERN")]
    ignore: Vec<String>,
    /// With --follow: how long the directory must be quiet before it is read, so that files that
    /// are saved together go together.
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = parse_duration)]
    settle: Duration,
    /// Prints a JSON object for each comparison.
    #[arg(long)]
    json: bool,
}

#[derive(Args, Debug)]
struct PushArguments {
    /// The directory.
    dir: PathBuf,
    /// The top node of the subtree. It is made if it is missing, with those above it.
    path: String,
    #[command(flatten)]
    common: Common,
    /// Makes what does not fit into one transaction in several: readers see the steps.
    #[arg(long)]
    not_atomic: bool,
    /// The access control list of new nodes, as SCHEME:ID:PERMISSIONS,... [default: world:anyone:cdrwa]
    #[arg(long, value_name = "ACL", value_parser = parse_acl)]
    acl: Option<AclList>,
    #[command(flatten)]
    connect: ConnectArguments,
}

#[derive(Args, Debug)]
struct PullArguments {
    /// The top node of the subtree.
    path: String,
    /// The directory. It is made if it is missing.
    dir: PathBuf,
    #[command(flatten)]
    common: Common,
    /// Writes ordinary files, one after another, instead of showing whole sets through links.
    #[arg(long)]
    plain: bool,
    /// The permissions of the files, in octal. [default: as they are, new ones by umask]
    #[arg(long, value_name = "MODE", value_parser = parse_mode)]
    mode: Option<u32>,
    #[command(flatten)]
    connect: ConnectArguments,
}

/// A type of its own, as clap takes a `Vec` for an option that is repeated.
#[derive(Clone, Debug)]
struct AclList(Vec<Acl>);

fn parse_acl(text: &str) -> Result<AclList, String> {
    let list = roo_client::acls::parse(text);
    list.map(AclList).map_err(|error| error.to_string())
}

fn parse_mode(text: &str) -> Result<u32, String> {
    let mode = u32::from_str_radix(text, 8).ok();
    mode.filter(|mode| *mode <= 0o777)
        .ok_or_else(|| format!("{text:?} is no file mode: write it in octal, as 0640"))
}

/// Which side is made equal to which.
#[derive(Clone, Debug)]
enum Direction {
    Push { in_parts: bool, acl: Vec<Acl> },
    Pull { is_plain: bool, mode: Option<u32> },
}

/// What is to be done.
#[derive(Debug)]
struct Task {
    direction: Direction,
    dir: PathBuf,
    path: String,
    common: Common,
    connect: ConnectArguments,
}

/// Does what was asked; `before` stood before the command's name.
pub(crate) fn run(arguments: MirrorArguments, before: &ConnectArguments) -> ExitCode {
    let task = match arguments.command {
        Command::Push(push) => Task {
            direction: Direction::Push {
                in_parts: push.not_atomic,
                acl: push.acl.map_or_else(roo_client::acls::open, |acl| acl.0),
            },
            dir: push.dir,
            path: push.path,
            common: push.common,
            connect: push.connect.or(before),
        },
        Command::Pull(pull) => Task {
            direction: Direction::Pull {
                is_plain: pull.plain,
                mode: pull.mode,
            },
            dir: pull.dir,
            path: pull.path,
            common: pull.common,
            connect: pull.connect.or(before),
        },
    };
    connect::run(task.run())
}

impl Task {
    async fn run(mut self) -> Result<ExitCode, Failure> {
        self.check()?;
        let mut report = Report::new(&self.common);
        let mut client = self.connect.connect().await?;
        if self.common.follow {
            return follow::run(&self, &mut client, &mut report).await;
        }
        let outcome = Step::new(&self, &client).once(&mut report).await?;
        // What was done is done, whether the server still hears the farewell or not.
        let _ = client.close().await;
        match outcome {
            Outcome::Equal => Ok(ExitCode::SUCCESS),
            Outcome::NoSource => Err(Failure::failed(format!(
                "{} does not exist: there is nothing to pull, and nothing was done",
                self.path
            ))),
            Outcome::Differs(text) => Err(Failure::failed(text)),
        }
    }

    /// What can be known before the first connection.
    fn check(&mut self) -> Result<(), Failure> {
        let path = &self.path;
        if !roo_proto::path::is_valid(path) {
            return Err(Failure::usage(format!(
                "{path:?} is no path of a node: write for example /app/conf"
            )));
        }
        let is_push = matches!(self.direction, Direction::Push { .. });
        if is_push && roo_proto::path::is_under(path, "/zookeeper") {
            return Err(Failure::usage(format!("{path} belongs to the server")));
        }
        if !is_push && !self.common.dry_run {
            let made = std::fs::create_dir_all(&self.dir);
            made.map_err(|error| local::failed("cannot make", &self.dir, &error))?;
        }
        if !self.dir.is_dir() {
            let exit = if self.dir.exists() || is_push {
                Exit::Usage
            } else {
                // A dry run into a directory that is not there yet.
                return Ok(());
            };
            let text = format!("{} is no directory", self.dir.display());
            return Err(Failure::new(exit, text));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[derive(clap::Parser)]
    struct Parser {
        #[command(flatten)]
        _arguments: MirrorArguments,
    }

    #[test]
    fn the_command_is_sound() {
        Parser::command().debug_assert();
    }

    #[test]
    fn modes_are_octal() {
        assert_eq!(parse_mode("0640"), Ok(0o640));
        for wrong in ["", "8", "1777", "rw"] {
            assert!(parse_mode(wrong).is_err(), "{wrong}");
        }
    }
}
