//! The program that is run, with all that it starts: beginning, signals, and the end.

use std::ffi::{OsStr, OsString};
use std::io::{self, ErrorKind, IsTerminal as _};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{ExitCode, ExitStatus};
use std::time::Duration;

use clap::Args;
use rustix::process::{
    Pid, Signal, kill_process, kill_process_group, test_kill_process, test_kill_process_group,
};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep_until};

use super::signals::{self, Named};
use super::watchdog::Watchdog;
use crate::connect::{Exit, Failure, parse_duration};

/// How often it is looked whether what was told to end has ended: nobody tells of other people's
/// children.
const LOOKING: Duration = Duration::from_millis(20);

// What to run and how to stop it. (No doc comment: clap would show it as the description of each
// command.)
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Program")]
pub(super) struct ProgramArguments {
    /// The signal that stops CMD: TERM, INT, HUP, QUIT, USR1, USR2, ALRM, KILL.
    #[arg(long, value_name = "SIGNAL", default_value = "TERM", value_parser = signals::parse)]
    pub(super) signal: Named,
    /// How long after the signal CMD is killed; at most half of the session's timeout when the
    /// session is at stake.
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = parse_duration)]
    pub(super) grace: Duration,
    /// The exit code for failures of roo's own, instead of 1, 3, 4 and 124.
    #[arg(long, value_name = "CODE")]
    pub(super) failure_code: Option<u8>,
    /// The program and its arguments, behind `--`.
    #[arg(last = true, value_name = "CMD")]
    pub(super) command: Vec<OsString>,
}

/// Who gets the signals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// The program and all that it started.
    Group(Pid),
    /// The program alone: it shares our group.
    Single(Pid),
}

impl Target {
    /// Sends a signal; whoever has ended does not mind.
    pub(super) fn send(self, signal: Signal) {
        let _ = match self {
            Self::Group(pid) => kill_process_group(pid, signal),
            Self::Single(pid) => kill_process(pid, signal),
        };
    }

    fn is_there(self) -> bool {
        let tested = match self {
            Self::Group(pid) => test_kill_process_group(pid),
            Self::Single(pid) => test_kill_process(pid),
        };
        tested != Err(rustix::io::Errno::SRCH)
    }

    /// Sends the signal, and KILL if it has not ended after `grace`.
    pub(super) async fn stop(self, signal: Signal, grace: Duration) {
        let until = Instant::now() + grace;
        self.send(signal);
        // Whoever is suspended gets no signal but this one.
        self.send(Signal::CONT);
        while self.is_there() {
            if Instant::now() >= until {
                self.send(Signal::KILL);
                return;
            }
            sleep_until(until.min(Instant::now() + LOOKING)).await;
        }
    }
}

/// A program that runs. Dropping it kills it.
#[derive(Debug)]
pub(super) struct Program {
    child: Child,
    target: Target,
    watchdog: Watchdog,
}

impl Program {
    /// Starts it with variables of the environment.
    ///
    /// # Errors
    /// With [`Exit::NoCommand`] if there is none, with [`Exit::CannotRun`] if it cannot be run.
    pub(super) fn start(
        arguments: &ProgramArguments,
        environment: &[(OsString, OsString)],
    ) -> Result<Self, Failure> {
        let Some((name, rest)) = arguments.command.split_first() else {
            return Err(Failure::usage("there is no CMD: write it behind --"));
        };
        let mut watchdog = Watchdog::start()?;
        let mut command = Command::new(name);
        command.args(rest).kill_on_drop(true);
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        // A group of its own could not read the terminal, nor get its ctrl-C.
        let is_alone = io::stdin().is_terminal();
        if !is_alone {
            command.process_group(0);
        }
        let child = command.spawn().map_err(|error| unstarted(name, &error))?;
        let pid = child
            .id()
            .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
        let Some(pid) = pid else {
            return Err(Failure::failed("the program has no process id"));
        };
        let target = if is_alone {
            Target::Single(pid)
        } else {
            Target::Group(pid)
        };
        watchdog.watch(target, arguments.signal.0, arguments.grace);
        Ok(Self {
            child,
            target,
            watchdog,
        })
    }

    /// Waits until it ends. Dropping the future loses nothing.
    pub(super) async fn ended(&mut self) -> ExitStatus {
        let status = match self.child.wait().await {
            Ok(status) => status,
            // Somebody else has waited for it: it has ended.
            Err(_) => ExitStatus::from_raw(0),
        };
        self.watchdog.dismiss();
        status
    }

    /// Passes on a signal that came to us.
    pub(super) fn pass_on(&self, signal: Named) {
        let has_it = matches!(self.target, Target::Single(_)) && signal.is_from_a_terminal();
        if !has_it {
            self.target.send(signal.0);
        }
    }

    /// Stops it and all that it started, and waits until it has ended.
    pub(super) async fn stop(&mut self, signal: Named, grace: Duration) -> ExitStatus {
        let target = self.target;
        let (status, ()) = tokio::join!(self.ended(), target.stop(signal.0, grace));
        status
    }
}

fn unstarted(name: &OsStr, error: &io::Error) -> Failure {
    let name = name.to_string_lossy();
    let exit = match error.kind() {
        ErrorKind::NotFound => Exit::NoCommand,
        _ => Exit::CannotRun,
    };
    Failure::new(exit, format!("cannot run {name:?}: {error}"))
}

/// The exit code of a program that has ended so.
pub(super) fn code(status: ExitStatus) -> ExitCode {
    let number = status
        .code()
        .or_else(|| status.signal().map(|signal| 128 + signal));
    ExitCode::from(
        number
            .and_then(|number| u8::try_from(number).ok())
            .unwrap_or(1),
    )
}
