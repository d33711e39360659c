//! `roo top`: the servers of an ensemble side by side, as they say themselves in answer to
//! four-letter words, again every second. [`ask`] asks them, [`facts`] understands the answers,
//! [`show`] draws them, [`keys`] are what is typed meanwhile.

mod ask;
mod facts;
mod keys;
mod show;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;
use futures_util::future::join_all;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval};

use crate::connect::{self, ConnectArguments, Exit, Failure, parse_duration};
use ask::Place;
use facts::{Facts, Rates};
use keys::{Key, Keys};

/// Arguments of `roo top`.
#[derive(Args, Debug)]
#[command(
    after_long_help = "Columns: ZXID the last transaction a server has applied; LAG how many it is behind the \
newest shown; SESSIONS of the ensemble, where the server may be asked mntr; CONNS connections to this server; \
QUEUED requests that wait; IN/S and OUT/S packets a second since the last look, the questions of this command among them; AVG and MAX milliseconds \
a request took, R99 and W99 those in which 99 of 100 reads and writes were done, since the server was started or its \
statistics were reset. Below them stand the top-level nodes that are written most.

Keys: q or ctrl-C ends it, s sorts by the next of server, lag, packets and latency, p or space stops and goes on, \
h shows the keys.

Servers must allow the word srvr, as they do by default; with mntr and conf in 4lw.commands.whitelist more is shown. \
A server that does not answer is shown as down, with the reason.

Exit codes: 0 a server answered, 2 wrong arguments, 3 none did.

Examples:
  roo top                              on a terminal, until q
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
#[derive(Clone, Debug)]
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
    let (places, note) = match arguments.only_given {
        true if given.is_empty() => {
            let text = "--only-given wants the servers by name: dns-srv:// names none";
            return Err(Failure::usage(text));
        }
        true => (given, None),
        false => ask::ensemble(&connect, given).await?,
    };
    let places = ask::by_id(places).await;
    let is_screen = io::stdout().is_terminal() && !arguments.once && !arguments.json;
    let mut ends = Ends::listen()?;
    let mut ticks = interval(arguments.interval);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut last: BTreeMap<String, (Instant, Facts)> = BTreeMap::new();
    let screen = is_screen.then(|| (show::Screen::open(), Keys::listen()));
    if let Some((_screen, keys)) = screen {
        let viewer = Viewer {
            places: &places,
            note: note.as_deref(),
            view: View::default(),
        };
        return viewer.run(ticks, keys, ends).await;
    }
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            ended = ends.next() => return ended,
        }
        let rows = tokio::select! {
            rows = look(&places, &mut last) => rows,
            ended = ends.next() => return ended,
        };
        let text = if arguments.json {
            show::object(&rows).to_string() + "\n"
        } else {
            show::table(&rows, note.as_deref())
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

/// How the servers are shown on a terminal.
#[derive(Clone, Copy, Debug, Default)]
struct View {
    sort: Sort,
    is_paused: bool,
    has_help: bool,
}

/// The order of the servers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Sort {
    /// As the ensemble's list has them.
    #[default]
    Server,
    /// Who is behind most first.
    Lag,
    /// Who has most to do first.
    Packets,
    /// Who is slowest first.
    Latency,
}

impl Sort {
    const fn next(self) -> Self {
        match self {
            Self::Server => Self::Lag,
            Self::Lag => Self::Packets,
            Self::Packets => Self::Latency,
            Self::Latency => Self::Server,
        }
    }
}

/// A terminal on which the servers are shown until somebody has seen enough.
struct Viewer<'a> {
    places: &'a [Place],
    note: Option<&'a str>,
    view: View,
}

impl Viewer<'_> {
    async fn run(
        mut self,
        mut ticks: Interval,
        mut keys: Keys,
        mut ends: Ends,
    ) -> Result<ExitCode, Failure> {
        let mut last = BTreeMap::new();
        let mut rows = Vec::new();
        loop {
            let key = tokio::select! {
                ended = ends.next() => return ended,
                key = keys.next() => Some(key),
                _ = ticks.tick() => None,
            };
            match key {
                Some(Key::Quit) => return Ok(ExitCode::SUCCESS),
                Some(Key::Sort) => self.view.sort = self.view.sort.next(),
                Some(Key::Pause) => self.view.is_paused = !self.view.is_paused,
                Some(Key::Help) => self.view.has_help = !self.view.has_help,
                Some(Key::Other) => continue,
                None if self.view.is_paused => continue,
                None => {
                    rows = tokio::select! {
                        rows = look(self.places, &mut last) => rows,
                        ended = ends.next() => return ended,
                    };
                }
            }
            print(&show::screen(&rows, self.note, self.view))?;
        }
    }
}

/// The signals that end it, so that the terminal is as before in any case.
struct Ends {
    terminate: Signal,
    hang_up: Signal,
}

impl Ends {
    fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            let failed = |error| Failure::failed(format!("cannot listen for signals: {error}"));
            signal(kind).map_err(failed)
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            hang_up: listen(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Result<ExitCode, Failure> {
        let number = tokio::select! {
            // It is how one ends a display.
            _ = tokio::signal::ctrl_c() => return Ok(ExitCode::SUCCESS),
            _ = self.terminate.recv() => 15,
            _ = self.hang_up.recv() => 1,
        };
        Err(Failure::new(Exit::Signal(number), ""))
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
