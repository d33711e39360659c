//! `roo top`: the servers of an ensemble side by side, as they say themselves in answer to
//! four-letter words, again every second. [`ask`] asks them, [`facts`] understands the answers,
//! [`show`] draws them.

mod ask;
mod facts;
mod show;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::connect::{self, ConnectArguments, Exit, Failure, parse_duration};
use ask::Place;
use facts::{Facts, Rates};

/// Arguments of `roo top`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Columns: ZXID the last transaction a server has applied; LAG how many it is behind the \
newest shown; SESSIONS of the ensemble, where the server may be asked mntr; CONNS connections to this server; \
QUEUED requests that wait; IN/S and OUT/S packets a second since the last look, the questions of this command among them; AVG and MAX milliseconds \
a request took, since the server was started or its statistics were reset.

Servers must allow the word srvr, as they do by default; with mntr in 4lw.commands.whitelist more is shown. \
A server that does not answer is shown as down, with the reason.

Exit codes: 0 a server answered, 2 wrong arguments, 3 none did.

Examples:
  roo top                              on a terminal, until ctrl-C
  roo -s zk1:2181 top                  all servers of the ensemble that zk1 belongs to
  roo -s zk1:2181,zk2:2181 top --once  one look, as a table
  roo top --json --interval 10s >> ensemble.jsonl"
)]
pub(crate) struct TopArguments {
    /// Looks once.
    #[arg(long)]
    once: bool,
    /// How long to wait between two looks.
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = parse_interval)]
    interval: Duration,
    /// Shows only the servers that are named by -s, and asks none of them for the others.
    #[arg(long)]
    only_given: bool,
    /// Prints a JSON object for each look.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connect: ConnectArguments,
}

fn parse_interval(text: &str) -> Result<Duration, String> {
    let time = parse_duration(text)?;
    if time < Duration::from_millis(100) {
        return Err("at least 100ms: servers have other work".to_owned());
    }
    Ok(time)
}

/// One server in one look.
#[derive(Debug)]
struct Row {
    place: Place,
    /// What it says, or why it says nothing.
    answer: Result<Facts, String>,
    /// Nothing at the first look.
    rates: Option<Rates>,
}

/// Does what was asked; `before` stood before the command's name.
pub(crate) fn run(arguments: TopArguments, before: &ConnectArguments) -> ExitCode {
    let connect = arguments.connect.clone().or(before);
    connect::run(watch(arguments, connect))
}

async fn watch(arguments: TopArguments, connect: ConnectArguments) -> Result<ExitCode, Failure> {
    let given = ask::given(&connect.servers())?;
    let (places, note) = if arguments.only_given {
        (given, None)
    } else {
        ask::ensemble(&connect, given).await
    };
    let is_screen = io::stdout().is_terminal() && !arguments.once && !arguments.json;
    let mut ticks = interval(arguments.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: BTreeMap<String, (Instant, Facts)> = BTreeMap::new();
    let _screen = is_screen.then(show::Screen::open);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        }
        let rows = tokio::select! {
            rows = look(&places, &mut last) => rows,
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
        };
        let text = match (arguments.json, is_screen) {
            (true, _) => show::object(&rows).to_string() + "\n",
            (false, true) => show::screen(&rows, note.as_deref()),
            (false, false) => show::table(&rows, note.as_deref()),
        };
        print(&text)?;
        if arguments.once {
            if rows.iter().all(|row| row.answer.is_err()) {
                let text = "none of these servers answers: are they running, and is this their port for clients?";
                return Err(Failure::new(Exit::NoConnection, text));
            }
            return Ok(ExitCode::SUCCESS);
        }
    }
}

/// Asks all servers at once.
async fn look(places: &[Place], last: &mut BTreeMap<String, (Instant, Facts)>) -> Vec<Row> {
    let answers = places.iter().map(|place| async move {
        let answer = ask::facts(&place.address).await;
        (place, Instant::now(), answer)
    });
    let answers = join_all(answers).await;
    let rows = answers.into_iter().map(|(place, now, answer)| {
        let before = last.remove(&place.address);
        let rates = match (&answer, &before) {
            (Ok(facts), Some((then, before))) => facts.since(before, now.duration_since(*then)),
            _ => None,
        };
        if let Ok(facts) = &answer {
            last.insert(place.address.clone(), (now, facts.clone()));
        }
        Row {
            place: place.clone(),
            answer,
            rates,
        }
    });
    rows.collect()
}

fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let done = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    done.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::Enough, ""),
        _ => Failure::failed(format!("cannot print: {error}")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn looks_are_not_too_frequent() {
        assert_eq!(parse_interval("2s"), Ok(Duration::from_secs(2)));
        assert!(parse_interval("1ms").is_err() && parse_interval("x").is_err());
    }
}
