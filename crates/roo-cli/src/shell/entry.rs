//! How a command line gets to the shell. Commands of zkCli are recognised before clap sees them,
//! for zkCli's options are not clap's; clap shows them in `--help` and completes them.

use std::process::ExitCode;

use clap::{Args, Command};

use super::extra::{self, Extra};
use super::{Flow, Shell, interactive, table};
use crate::connect::{ConnectArguments, Exit, Failure, block_on, parse_duration};

/// What was asked for.
#[derive(Debug)]
pub(crate) struct Request {
    connect: ConnectArguments,
    json: bool,
    what: What,
}

#[derive(Debug)]
enum What {
    /// A command of zkCli.
    OneShot(Vec<String>),
    /// The shell, or one command as zkCli runs it.
    Shell(Option<Vec<String>>),
    /// The words cannot be read.
    Wrong(Failure),
}

/// Adds the commands that clap is to show to `roo`.
pub(crate) fn augment(command: Command) -> Command {
    let mut command = command.subcommand(shell_command());
    for spec in table::SPECS.iter().filter(|spec| spec.one_shot) {
        command = command.subcommand(with_connection(table::clap_command(spec)));
    }
    for ours in extra::commands() {
        let name = ours.get_name().to_owned();
        command =
            command.mut_subcommand(name, |command| extra::with_json(with_connection(command)));
    }
    command
}

/// Adds the options of a connection to a command that speaks to a server; where the command has a
/// `-s` of its own, the servers are named by `--server` behind it.
fn with_connection(command: Command) -> Command {
    let taken = command
        .get_arguments()
        .any(|arg| arg.get_short() == Some('s'));
    let command = ConnectArguments::augment_args(command);
    if taken {
        command.mut_arg("server", |arg| arg.short(None))
    } else {
        command
    }
}

fn shell_command() -> Command {
    let command = Command::new("shell")
        .about("Opens a shell, as zkCli.sh does, or runs one command in its way")
        .long_about(
            "Opens a shell, as zkCli.sh does: its commands, options, output and exit codes are \
             zkCli's, so that scripts go on working. Without a terminal, commands are read from \
             standard input, a line each.\n\nzkCli's own options are understood too: -server, \
             -timeout, -r, -waitforconnection.",
        )
        .after_help(
            "Examples:
  roo shell                                   on 127.0.0.1:2181
  roo shell -s zk1:2181,zk2:2181/app          with a chroot
  echo 'ls /' | roo shell                     a script
  roo shell -server zk1:2181 -timeout 5000 ls /   as zkCli.sh is called

Keys: Tab completes commands, options and paths; Ctrl-R searches the history, which is kept in
$XDG_STATE_HOME/roo/history (a line that begins with a space is not, nor is addauth); Ctrl-C stops
a command; Ctrl-D ends the shell.",
        )
        .arg(
            clap::Arg::new("words")
                .value_name("COMMAND")
                .num_args(0..)
                .trailing_var_arg(true)
                .help("One command with its arguments, instead of a shell"),
        );
    with_connection(command)
}

/// How a command looks in `help`; the connection is the shell's.
pub(super) fn describe(name: &str) -> Option<Command> {
    match table::find(name) {
        Some(spec) => Some(table::clap_command(spec)),
        None => extra::command(name),
    }
}

/// Names and one line about each.
pub(super) fn overview() -> Vec<(String, String)> {
    let zk = table::SPECS
        .iter()
        .map(|spec| (spec.name.to_owned(), spec.about.to_owned()));
    let ours = extra::commands().into_iter().map(|command| {
        let about = command.get_about().map(ToString::to_string);
        (command.get_name().to_owned(), about.unwrap_or_default())
    });
    let mut all: Vec<(String, String)> = zk.chain(ours).collect();
    all.sort();
    all
}

/// Takes a command line that is for the shell; others are for clap.
pub(crate) fn recognise(words: &[String]) -> Option<Request> {
    let mut connect = ConnectArguments::default();
    let mut json = false;
    let mut rest = words.iter();
    let name = loop {
        let word = rest.next()?;
        if word == "--json" {
            json = true;
        } else if !word.starts_with('-') {
            break word;
        } else if !matches!(take(&mut connect, word, &mut rest, true), Ok(true)) {
            return None;
        }
    };
    let rest = rest.as_slice();
    if name == "shell" {
        return shell(connect, json, rest);
    }
    let spec = table::find(name).filter(|spec| spec.one_shot)?;
    let own_s = spec.by_name("s").is_some();
    let mut kept = vec![name.clone()];
    let mut iter = rest.iter();
    while let Some(word) = iter.next() {
        if word == "--" {
            kept.push(word.clone());
            kept.extend(iter.cloned());
            break;
        }
        match (word.as_str(), take(&mut connect, word, &mut iter, !own_s)) {
            ("--help" | "-h", _) => return None,
            ("--json", _) => json = true,
            (_, Ok(true)) => {}
            (_, Ok(false)) => kept.push(word.clone()),
            (_, Err(failure)) => return Some(wrong(failure)),
        }
    }
    Some(Request {
        connect,
        json,
        what: What::OneShot(kept),
    })
}

fn wrong(failure: Failure) -> Request {
    Request {
        connect: ConnectArguments::default(),
        json: false,
        what: What::Wrong(failure),
    }
}

/// The words behind `shell`: ours and zkCli's options, then perhaps a command.
fn shell(mut connect: ConnectArguments, mut json: bool, words: &[String]) -> Option<Request> {
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let mut value = || {
            rest.next().cloned().ok_or_else(|| {
                Failure::usage(format!("Error: no argument found for option {word}"))
            })
        };
        let taken = match word.as_str() {
            "--help" | "-h" => return None,
            "--json" => {
                json = true;
                Ok(true)
            }
            "-r" => {
                connect.read_only = true;
                Ok(true)
            }
            // We always wait.
            "-waitforconnection" => Ok(true),
            "-server" => value().map(|hosts| {
                connect.server = Some(hosts);
                true
            }),
            "-timeout" => value().and_then(|text| {
                let time = parse_duration(&text).map_err(Failure::usage)?;
                connect.session_timeout = Some(time);
                Ok(true)
            }),
            "-client-configuration" => Err(Failure::usage(
                "-client-configuration names a file for Java: give the options themselves",
            )),
            option if option.starts_with('-') => take(&mut connect, option, &mut rest, true),
            _ => {
                let command = std::iter::once(word).chain(rest).cloned().collect();
                return Some(Request {
                    connect,
                    json,
                    what: What::Shell(Some(command)),
                });
            }
        };
        match taken {
            Ok(true) => {}
            Ok(false) => return None,
            Err(failure) => return Some(wrong(failure)),
        }
    }
    Some(Request {
        connect,
        json,
        what: What::Shell(None),
    })
}

/// Takes an option of the connection, in any of its forms. `false` if the word is none.
fn take<'w>(
    connect: &mut ConnectArguments,
    word: &str,
    rest: &mut impl Iterator<Item = &'w String>,
    short: bool,
) -> Result<bool, Failure> {
    if word == "--read-only" {
        connect.read_only = true;
        return Ok(true);
    }
    let names = [
        "--server",
        "--session-timeout",
        "--timeout",
        "--connect-timeout",
        "--auth",
    ];
    let (name, given) = match word.split_once('=') {
        Some((name, value)) if names.contains(&name) => (name, Some(value.to_owned())),
        _ if names.contains(&word) => (word, None),
        _ => match word.strip_prefix("-s") {
            Some("") if short => ("--server", None),
            // `-sHOSTS`, but not words such as -server.
            Some(hosts) if short && hosts.contains(['.', ':']) => {
                ("--server", Some(hosts.to_owned()))
            }
            _ => return Ok(false),
        },
    };
    let value = given.or_else(|| rest.next().cloned());
    let value = value.ok_or_else(|| Failure::usage(format!("{name} needs a value behind it")))?;
    let time = |text: &str| parse_duration(text).map_err(Failure::usage);
    match name {
        "--server" => connect.server = Some(value),
        "--connect-timeout" => connect.connect_timeout = Some(time(&value)?),
        "--auth" => {
            let auth = crate::connect::parse_auth(&value).map_err(Failure::usage)?;
            connect.auth.push(auth);
        }
        _ => connect.session_timeout = Some(time(&value)?),
    }
    Ok(true)
}

impl Request {
    /// Does it.
    pub(crate) fn run(self) -> ExitCode {
        let Self {
            connect,
            json,
            what,
        } = self;
        match what {
            What::Wrong(failure) => failure.tell(""),
            What::OneShot(words) => told(block_on(async move {
                let mut shell = Shell::new(connect, json);
                shell.once(async |shell| shell.command(&words).await).await
            })),
            What::Shell(Some(words)) => {
                let done = block_on(async move {
                    let mut shell = Shell::new(connect, json);
                    shell.once(async |shell| shell.command(&words).await).await
                });
                done.unwrap_or_else(|failure| {
                    failure.tell("");
                    ExitCode::from(zkcli_code(failure.exit))
                })
            }
            What::Shell(None) => told(block_on(async move {
                let shell = Shell::new(connect, json);
                interactive::run(shell).await
            })),
        }
    }
}

fn told(done: Result<ExitCode, Failure>) -> ExitCode {
    done.unwrap_or_else(|failure| failure.tell(""))
}

/// The exit code that zkCli gives, which knows few of them.
pub(super) const fn zkcli_code(exit: Exit) -> u8 {
    match exit {
        Exit::Enough => 0,
        Exit::NoCommand | Exit::Interrupted | Exit::NoConnection | Exit::Signal(_) => exit.code(),
        Exit::Failed | Exit::Usage | Exit::Lost | Exit::HalfDone => 1,
        Exit::TimedOut | Exit::CannotRun => 1,
    }
}

/// Runs one of our own commands.
pub(crate) fn run_extra(extra: Extra, connect: ConnectArguments, json: bool) -> ExitCode {
    told(block_on(async move {
        let mut shell = Shell::new(connect, json);
        let work = async |shell: &mut Shell| {
            let done = extra::run(shell, extra).await;
            match done {
                Err(failure) if shell.out.json => Err(failure.in_json()),
                done => done.map(|()| Flow::Continue),
            }
        };
        shell.once(work).await
    }))
}

impl Shell {
    /// Opens a session, does one thing in it, and closes it, whatever comes of the thing.
    pub(super) async fn once(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<Flow, Failure>,
    ) -> Result<ExitCode, Failure> {
        let done = match self.connect().await {
            Ok(()) => self.unless_interrupted(work).await,
            Err(failure) if self.out.json => Err(failure.in_json()),
            Err(failure) => Err(failure),
        };
        let flushed = self.out.flush();
        self.close().await;
        done?;
        flushed?;
        Ok(ExitCode::SUCCESS)
    }

    /// Does something until it is done or ctrl-C is pressed.
    pub(super) async fn unless_interrupted(
        &mut self,
        work: impl AsyncFnOnce(&mut Self) -> Result<Flow, Failure>,
    ) -> Result<Flow, Failure> {
        let doing = self.doing.clone();
        doing.clear();
        tokio::select! {
            done = work(self) => done,
            () = interrupt() => {
                let text = doing.sentence().unwrap_or_else(|| "interrupted".to_owned());
                Err(Failure::new(Exit::Interrupted, text))
            }
        }
    }
}

/// Waits for ctrl-C; forever if it cannot be heard.
async fn interrupt() {
    if tokio::signal::ctrl_c().await.is_err() {
        std::future::pending::<()>().await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Option<Request> {
        let words: Vec<String> = line.split(' ').map(str::to_owned).collect();
        recognise(&words)
    }

    #[test]
    fn a_server_is_named_anywhere_but_where_the_letter_means_something_else() {
        for (line, server, words) in [
            ("-s h:1 ls /", Some("h:1"), &["ls", "/"] as &[&str]),
            ("ls / --server h:1", Some("h:1"), &["ls", "/"]),
            ("ls --server=h:1 -s /", Some("h:1"), &["ls", "-s", "/"]),
            ("delete -s h:1 /a", Some("h:1"), &["delete", "/a"]),
            ("get -s /a", None, &["get", "-s", "/a"]),
            ("set /a -- --server", None, &["set", "/a", "--", "--server"]),
        ] {
            let request = read(line).unwrap();
            assert_eq!(request.connect.server.as_deref(), server, "{line}");
            assert!(
                matches!(&request.what, What::OneShot(kept) if kept == words),
                "{line}: {request:?}"
            );
        }
    }

    #[test]
    fn the_shell_is_called_as_zkcli_is() {
        let request = read("shell -server h:1/app -timeout 5000 -r ls -s /").unwrap();
        assert_eq!(request.connect.server.as_deref(), Some("h:1/app"));
        let five = std::time::Duration::from_secs(5);
        assert_eq!(request.connect.session_timeout, Some(five));
        assert!(request.connect.read_only);
        assert!(matches!(request.what, What::Shell(Some(words)) if words == ["ls", "-s", "/"]));
        assert!(matches!(read("shell").unwrap().what, What::Shell(None)));
        let request = read("shell -server").unwrap();
        assert!(matches!(request.what, What::Wrong(_)), "{request:?}");
    }

    #[test]
    fn what_is_for_clap_is_left_to_it() {
        for line in [
            "server zoo.cfg",
            "ls --help",
            "shell -h",
            "tree /",
            "--nope ls /",
            "-s",
        ] {
            assert!(read(line).is_none(), "{line}");
        }
    }

    #[test]
    fn clap_takes_all_commands_together() {
        use clap::Subcommand;

        augment(Extra::augment_subcommands(Command::new("roo"))).debug_assert();
    }
}
