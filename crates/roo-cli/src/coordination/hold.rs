//! A program that runs for as long as something is held.

use std::ffi::OsString;
use std::process::ExitStatus;
use std::time::Duration;

use roo_client::recipes::Lost;
use roo_client::{Client, Zxid};

use super::program::{Program, ProgramArguments};
use super::signals::Signals;
use super::tenure;
use crate::connect::{Exit, Failure};

/// How the program ended.
#[derive(Debug)]
pub(super) enum Held {
    /// By itself, or by a signal that was passed on.
    Ended {
        /// How.
        status: ExitStatus,
        /// Whether a signal came to us meanwhile.
        signalled: bool,
    },
    /// It was stopped because somebody asked for what was held.
    GaveWay(ExitStatus),
    /// It was stopped because what was held was lost, or was about to be: why.
    Lost(String),
}

/// What is held: the client and the node.
#[derive(Clone, Copy, Debug)]
pub(super) struct Holding<'a> {
    pub(super) client: &'a Client,
    /// The node by which it is held.
    pub(super) node: &'a str,
}

impl Holding<'_> {
    /// Runs the program until it ends, `lost` or `asked` comes, or the session may be over soon.
    pub(super) async fn run(
        self,
        arguments: &ProgramArguments,
        environment: &[(OsString, OsString)],
        signals: &mut Signals,
        lost: impl Future<Output = Lost>,
        asked: impl Future<Output = ()>,
    ) -> Result<Held, Failure> {
        let timeout = self.client.session_timeout();
        let grace = arguments.grace.min(timeout / 2);
        // What is killed takes a moment to end.
        let reserve = grace + timeout / 20;
        let mut program = Program::start(arguments, environment)?;
        let mut signalled = false;
        let mut lost = std::pin::pin!(lost);
        let mut asked = std::pin::pin!(asked);
        let mut runs_out = std::pin::pin!(tenure::runs_out(self.client, self.node, reserve));
        loop {
            let why = tokio::select! {
                biased;
                status = program.ended() => return Ok(Held::Ended { status, signalled }),
                lost = &mut lost => describe(&lost),
                () = &mut runs_out => {
                    "no server answers, and the session may be over soon".to_owned()
                }
                signal = signals.next() => {
                    signalled = true;
                    program.pass_on(signal);
                    continue;
                }
                () = &mut asked => {
                    let stopped = program.stop(arguments.signal, arguments.grace);
                    return Ok(Held::GaveWay(stopped.await));
                }
            };
            program.stop(arguments.signal, grace).await;
            return Ok(Held::Lost(why));
        }
    }
}

/// That nobody asks.
pub(super) async fn nobody_asks() {
    std::future::pending().await
}

fn describe(lost: &Lost) -> String {
    match lost {
        Lost::Session => "the session is lost".to_owned(),
        Lost::Deleted => "somebody else deleted the node that holds it".to_owned(),
        Lost::Closed => "the client was closed".to_owned(),
        Lost::Unknown(error) => format!("whether it is held cannot be found out: {error}"),
        other => format!("it is lost: {other:?}"),
    }
}

/// The failure of a command whose program was stopped.
pub(super) fn lost(what: &str, path: &str, why: &str) -> Failure {
    let text = format!("{what} {}: {why}; CMD was stopped", path.escape_debug());
    Failure::new(Exit::Lost, text)
}

/// Gives back what was held, for a short while only: what cannot be given back goes with the
/// session, which is said.
pub(super) async fn give_back(
    what: &str,
    client: &Client,
    work: impl Future<Output = roo_client::Result<()>>,
) {
    if !matches!(
        tokio::time::timeout(super::CLOSING_MAX, work).await,
        Ok(Ok(()))
    ) {
        let timeout = client.session_timeout();
        eprintln!(
            "roo: {what}: no server answers; it is free when the session ends, in {timeout:?} or so"
        );
    }
}

/// A variable with a fencing token, in decimal digits, for `test -gt`.
pub(super) fn fencing(variable: Option<&OsString>, token: Zxid) -> Vec<(OsString, OsString)> {
    let variable = variable.cloned();
    variable
        .map(|name| (name, token.0.to_string().into()))
        .into_iter()
        .collect()
}

/// Reads the name of a variable.
pub(super) fn parse_variable(text: &str) -> Result<OsString, String> {
    if text.is_empty() || text.contains(['=', '\0']) {
        return Err(format!("{text:?} cannot be the name of a variable"));
    }
    Ok(text.into())
}

/// A time of waiting, where none at all means to look once.
pub(super) fn is_once(timeout: Option<Duration>) -> bool {
    timeout == Some(Duration::ZERO)
}
