//! Locks, elections, counters, barriers and groups for scripts: the client's recipes, and a program
//! that runs for as long as something is held. Nothing is decided here that the recipes decide.
//!
//! In reading order: [`hold`] runs the program while [`tenure`] makes sure of the session,
//! [`program`] starts and stops it, [`watchdog`] stops it when we are killed, [`signals`] are those
//! that we get; [`mod@line`] what the commands have in common in which one stands in line; then a file for
//! each command.

mod barrier;
mod counter;
mod elect;
mod hold;
mod line;
mod lock;
mod member;
mod program;
mod signals;
mod tenure;
mod wait_for;
mod watchdog;

use std::pin::Pin;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use roo_client::Client;

use crate::connect::{self, ConnectArguments, Exit, Failure};
use signals::Signals;

/// How long a server may take to free what was held, and to close the session.
const CLOSING_MAX: Duration = Duration::from_secs(2);

/// What every command that runs a program says at the end of its help.
macro_rules! help {
    ($examples:literal) => {
        concat!(
            "Examples:\n",
            $examples,
            "

Exit codes: those of CMD, and 128 and the number of the signal that ended it. When it is roo that
fails, it says so in one line on standard error that begins with \"roo:\", and exits with
  1    a server refused it: no permission, a path that is none
  2    the command line is wrong
  3    no server could be reached
  4    what was held was lost, or was about to be, and CMD was stopped
  124  the time of --timeout ran out, and CMD was not run
  126  CMD cannot be run
  127  there is no such CMD
  130  and the like: a signal came before CMD was run
--failure-code gives those of 1, 3, 4 and 124 another number, to tell them from CMD's.

While CMD runs: it is a group of processes of its own, unless standard input is a terminal; INT,
TERM, HUP, QUIT, USR1 and USR2 are passed on to the group. It is stopped, all of the group, by
--signal and after --grace by KILL, so early that nothing of it runs when the session's timeout
(--session-timeout) is over; and also when roo itself is killed."
        )
    };
}

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Coordination {
    /// Runs a program while holding a lock.
    ///
    /// Waits for the lock at PATH, runs CMD, and frees the lock when CMD ends, however it ends.
    /// Those who wait get it in the order in which they came. The node at PATH is made if need be.
    /// The lock is that of Curator's InterProcessMutex: programs in Java, and in Rust by
    /// roo-client, may take part.
    ///
    /// No lock over a network can stop a holder that stands still for longer than its session's
    /// timeout and then goes on. Where that matters, --fencing-env gives CMD a number that grows
    /// from holder to holder: what CMD writes to should refuse a lower one than it has seen.
    #[command(after_help = help!("  roo lock /locks/backup -- /usr/local/bin/backup --full
  roo lock /locks/backup --timeout 0 -- backup || echo 'somebody else is at it'
  roo lock /locks/ledger --fencing-env TOKEN -- sh -c 'write-ledger --token $TOKEN'
  roo lock /locks/deploy --signal INT --grace 20s --session-timeout 60s -- deploy
  roo lock /locks/deploy --list"))]
    Lock(line::LineArguments),
    /// Runs a program while being the leader.
    ///
    /// Stands for the leadership at PATH, runs CMD when it is had, and hands over when CMD ends. With
    /// --again it stands again then, at the end of the line, until a signal comes. A leader that is
    /// asked to hand over (--hand-over, or Curator's Revoker) stops CMD in good order, and resigns
    /// when it has ended. The nodes are those of Curator's LeaderLatch.
    #[command(after_help = help!("  roo elect /leaders/scheduler -- scheduler
  roo elect /leaders/scheduler --id \"$HOSTNAME\" --again -- scheduler
  roo elect /leaders/scheduler --fencing-env TERM_NUMBER -- sh -c 'scheduler --term $TERM_NUMBER'
  roo elect /leaders/scheduler --list       the leader first
  roo elect /leaders/scheduler --hand-over  asks the leader to let the next one lead"))]
    Elect(elect::ElectArguments),
    /// Reads and changes a number that many change.
    ///
    /// Prints the number at PATH, after the change if there is one: +N adds, -N subtracts, =N sets.
    /// A number that does not exist is 0. Each change is made exactly once if the command succeeds,
    /// also when connections break on the way; if it fails with code 4, the line says whether the
    /// change may have been made.
    #[command(after_help = "Examples:
  roo counter /counters/builds            prints it
  build=$(roo counter /counters/builds +1)
  roo counter /counters/free -1
  roo counter /counters/free =100
  roo counter /counters/orders +1 --writer host-1 --change order-4711
                                          once, however often this line is run

Exit codes: 0 done; 1 refused, or no place for the number; 2 wrong arguments; 3 no server;
4 connection or session lost.")]
    Counter(counter::CounterArguments),
    /// Waits until so many processes have come, and again until all have gone.
    ///
    /// Comes to the barrier at PATH and waits until --size processes are there. Then CMD is run, if
    /// there is one; then it leaves, and waits until all others have left or lost their sessions.
    /// So all begin together and end together. The nodes are those of Curator's
    /// DistributedDoubleBarrier.
    #[command(after_help = help!("  roo barrier /barriers/start --size 3
  roo barrier /barriers/load --size 3 --timeout 5m -- load-test --for 60s"))]
    Barrier(barrier::BarrierArguments),
    /// Is a member of a group while a program runs, or lists the members.
    ///
    /// Makes an ephemeral node NAME below PATH with the data, runs CMD, and deletes the node when
    /// CMD ends. Without NAME and CMD the members are listed. The nodes are those of Curator's
    /// GroupMember.
    #[command(after_help = help!("  roo member /services/search \"$HOSTNAME\" --data 10.0.0.1:8080 -- search-server
  roo member /services/search               prints name, a tab, and data of each member
  roo member /services/search --json | jq -r .id"))]
    Member(member::MemberArguments),
    /// Waits until a node exists, has a value, or is gone.
    ///
    /// Ends as soon as it is so: at once, if it is so already. What is so for a short time only may
    /// be missed.
    #[command(after_help = "Examples:
  roo wait-for /app/ready && start-app
  roo wait-for /app/state --value green --timeout 5m || exit 1
  roo wait-for /locks/maintenance --gone

Exit codes: 0 it is so; 1 a server refused it; 2 wrong arguments; 3 no server; 4 session lost;
124 the time of --timeout ran out; 130 and the like: ended by a signal.")]
    WaitFor(wait_for::WaitForArguments),
    #[command(name = watchdog::NAME, hide = true)]
    Watchdog,
}

/// Runs one of them.
pub(crate) fn run(command: Coordination, before: &ConnectArguments) -> ExitCode {
    let work: Pin<Box<dyn Future<Output = _> + '_>>;
    let (mut own_code, mut json) = (None, false);
    match command {
        Coordination::Lock(arguments) => {
            own_code = arguments.program.failure_code;
            work = Box::pin(lock::run(arguments, before));
        }
        Coordination::Elect(arguments) => {
            own_code = arguments.line.program.failure_code;
            work = Box::pin(elect::run(arguments, before));
        }
        Coordination::Counter(arguments) => {
            json = arguments.json;
            work = Box::pin(counter::run(arguments, before));
        }
        Coordination::Barrier(arguments) => {
            own_code = arguments.program.failure_code;
            work = Box::pin(barrier::run(arguments, before));
        }
        Coordination::Member(arguments) => {
            own_code = arguments.program.failure_code;
            work = Box::pin(member::run(arguments, before));
        }
        Coordination::WaitFor(arguments) => {
            json = arguments.json;
            work = Box::pin(wait_for::run(arguments, before));
        }
        Coordination::Watchdog => return watchdog::run(),
    }
    ended(connect::block_on(work), own_code, json)
}

/// Tells a failure, and gives the code to end with.
fn ended(done: Result<ExitCode, Failure>, own_code: Option<u8>, json: bool) -> ExitCode {
    let failure = match done {
        Ok(code) => return code,
        Err(failure) => failure,
    };
    let exit = failure.exit;
    let code = if json {
        failure.in_json().tell("")
    } else {
        failure.tell("roo: ")
    };
    match (own_code, exit) {
        (Some(own), Exit::Failed | Exit::NoConnection | Exit::Lost | Exit::TimedOut) => {
            ExitCode::from(own)
        }
        _ => code,
    }
}

/// Waits for something for so long, unless a signal comes.
async fn wait<T>(
    what: &str,
    timeout: Option<Duration>,
    signals: &mut Signals,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let too_late = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        biased;
        signal = signals.next() => Err(Failure::new(Exit::Signal(signal.code()), "")),
        done = work => done,
        () = too_late => {
            let waited = timeout.unwrap_or_default();
            Err(Failure::new(Exit::TimedOut, format!("{what}: not within {waited:?}")))
        }
    }
}

/// A session, unless a signal comes first.
async fn session(arguments: &ConnectArguments, signals: &mut Signals) -> Result<Client, Failure> {
    wait("connect", None, signals, arguments.connect()).await
}

/// Ends the session, and with it what it held.
async fn close(client: &Client) {
    if !client.state().is_connected() {
        return;
    }
    // A session that cannot be closed ends by its timeout.
    let _ = tokio::time::timeout(CLOSING_MAX, client.close()).await;
}

/// Writes a line of the result.
fn print(line: impl std::fmt::Display) -> Result<(), Failure> {
    use std::io::Write as _;
    match writeln!(std::io::stdout(), "{line}") {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
            Err(Failure::new(Exit::Enough, ""))
        }
        Err(error) => Err(Failure::failed(format!("cannot write the output: {error}"))),
    }
}
