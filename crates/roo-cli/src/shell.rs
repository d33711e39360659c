//! The shell and the commands that look at a tree and change it, in the shell or one by one from
//! the command line. What zkCli has, is as in zkCli: options, output, words of errors.
//!
//! In reading order: [`entry`] how a command line gets here, [`interactive`] lines of a terminal
//! or a script, [`Shell::command`] one of them, [`zk`] the commands of zkCli, [`extra`] ours.

mod entry;
mod errors;
mod events;
mod extra;
mod interactive;
mod line;
mod options;
mod output;
mod progress;
mod table;
mod walk;
mod zk;

use std::time::Duration;

use roo_client::{Client, SessionState};

use crate::connect::{ConnectArguments, Exit, Failure};
use events::Events;
use output::Output;
use progress::Doing;

pub(crate) use entry::{augment, recognise, run_extra};
pub(crate) use extra::Extra;

/// How long a server may take to close a session.
const CLOSING_MAX: Duration = Duration::from_secs(2);

/// One user's place: a session, what is printed of it, and what was typed.
pub(super) struct Shell {
    out: Output,
    events: Events,
    arguments: ConnectArguments,
    client: Option<Client>,
    history: Vec<String>,
    print_watches: bool,
    doing: Doing,
}

/// Whether there is a next line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Flow {
    /// There may be.
    Continue,
    /// `quit` was typed.
    Quit,
}

impl Shell {
    fn new(arguments: ConnectArguments, json: bool) -> Self {
        let mut out = Output::standard();
        out.json = json;
        Self {
            out,
            events: Events::new(),
            arguments,
            client: None,
            history: Vec::new(),
            print_watches: true,
            doing: Doing::default(),
        }
    }

    /// Opens a session with the servers of the arguments.
    async fn connect(&mut self) -> Result<(), Failure> {
        let client = self.arguments.connect().await?;
        self.events.session(&client);
        self.client = Some(client);
        Ok(())
    }

    /// The session's client, for commands, which run only while there is one.
    fn client(&self) -> Result<Client, Failure> {
        let client = self.client.clone();
        client.ok_or_else(|| Failure::new(Exit::NoConnection, "not connected"))
    }

    fn is_alive(&self) -> bool {
        let state = self.client.as_ref().map(Client::state);
        state.is_some_and(|state| !state.is_final())
    }

    /// Ends the session, and with it its ephemeral nodes.
    async fn close(&mut self) {
        if let Some(client) = &self.client
            && !client.state().is_final()
        {
            // A session that cannot be closed any more ends by itself.
            let _ = tokio::time::timeout(CLOSING_MAX, client.close()).await;
        }
    }

    fn prompt(&self) -> String {
        let state = match self.client.as_ref().map(Client::state) {
            Some(SessionState::Connected) => "CONNECTED",
            Some(SessionState::ConnectedReadOnly) => "CONNECTEDREADONLY",
            Some(SessionState::Connecting | SessionState::Disconnected) => "CONNECTING",
            Some(SessionState::AuthFailed) => "AUTH_FAILED",
            Some(SessionState::Expired | SessionState::Closed) | None => "CLOSED",
        };
        let host = self.arguments.servers();
        let number = self.history.len();
        format!("[zk: {host}({state}) {number}] ")
    }

    /// One line that was typed.
    async fn line(&mut self, line: &str) -> Result<Flow, Failure> {
        let words = line::words(line);
        self.history.push(line.to_owned());
        if words.first().is_some_and(|name| name == "redo") && words.len() > 1 {
            let number = words.get(1).and_then(|text| decode(text));
            // The last one is this line itself.
            let earlier = self.history.len() - 1;
            let number = number.filter(|number| *number < earlier);
            let Some(again) = number.and_then(|number| self.history.get(number)).cloned() else {
                return Err(Failure::failed("Command index out of range"));
            };
            let words = line::words(&again);
            if words.first().is_some_and(|name| name == "redo") {
                return Err(Failure::failed("No redoing redos"));
            }
            if let Some(last) = self.history.last_mut() {
                *last = again;
            }
            return self.command(&words).await;
        }
        self.command(&words).await
    }

    /// A command with its arguments.
    async fn command(&mut self, words: &[String]) -> Result<Flow, Failure> {
        let Some((name, rest)) = words.split_first() else {
            return Ok(Flow::Continue);
        };
        let json = self.out.json;
        self.out.json |= takes_json(name) && rest.iter().any(|word| word == "--json");
        let done = self.named(name, rest, words).await;
        let done = match done {
            Err(failure) if self.out.json => Err(failure.in_json()),
            done => done,
        };
        self.out.json = json;
        done
    }

    async fn named(
        &mut self,
        name: &str,
        rest: &[String],
        words: &[String],
    ) -> Result<Flow, Failure> {
        if matches!(name, "quit" | "exit") {
            return Ok(Flow::Quit);
        }
        if name == "help" {
            self.help(rest)?;
            return Ok(Flow::Continue);
        }
        let spec = table::find(name);
        if spec.is_none() && !extra::is_command(name) {
            self.out.note(table::overview().trim_end_matches('\n'));
            return Err(Failure::new(
                Exit::NoCommand,
                format!("Command not found: Command not found {name}"),
            ));
        }
        self.builtin(name, rest).await?;
        if !self.is_alive() {
            self.out.line("Not connected")?;
            return Ok(Flow::Continue);
        }
        match spec {
            _ if matches!(name, "history" | "redo" | "printwatches" | "connect") => {}
            _ if name == "close" => self.close().await,
            Some(spec) if rest.iter().any(|word| word == "--help") => {
                let help = table::clap_command(spec).render_long_help();
                self.out.text(&help.to_string())?;
            }
            Some(spec) => {
                let given = options::read(spec, rest).map_err(Failure::usage)?;
                zk::run(self, spec, given).await?;
            }
            None => extra::run_words(self, words).await?,
        }
        Ok(Flow::Continue)
    }

    /// Commands that need no session.
    async fn builtin(&mut self, name: &str, rest: &[String]) -> Result<(), Failure> {
        match (name, rest.first()) {
            ("history", _) => {
                let first = self.history.len().saturating_sub(11);
                for (number, line) in self.history.iter().enumerate().skip(first) {
                    self.out.line(format!("{number} - {line}"))?;
                }
            }
            ("printwatches", None) => {
                let state = if self.print_watches { "on" } else { "off" };
                self.out.line(format!("printwatches is {state}"))?;
            }
            ("printwatches", Some(word)) => self.print_watches = word == "on",
            ("connect", host) => {
                self.close().await;
                if let Some(host) = host {
                    self.arguments.server = Some(host.clone());
                }
                self.connect().await?;
            }
            _ => {}
        }
        Ok(())
    }

    fn help(&mut self, rest: &[String]) -> Result<(), Failure> {
        let command = rest.first().and_then(|name| entry::describe(name));
        match (command, rest.first()) {
            (Some(mut command), _) => {
                let help = command.render_long_help();
                self.out.text(&help.to_string())
            }
            (None, Some(name)) => Err(Failure::new(
                Exit::NoCommand,
                format!("Command not found: Command not found {name}"),
            )),
            (None, None) => {
                for (name, about) in entry::overview() {
                    self.out.line(format!("  {name:<22}{about}"))?;
                }
                self.out.line("\nhelp COMMAND tells more of one.")
            }
        }
    }

    /// Prints the events that are there.
    async fn print_events(&mut self) -> Result<(), Failure> {
        // What a reply was sent behind has been read already and is on its way through the tasks.
        for _ in 0..8 {
            tokio::task::yield_now().await;
        }
        while let Some(text) = self.events.ready() {
            if self.print_watches {
                self.out.line(text)?;
            }
        }
        self.out.flush()
    }
}

/// A number as Java's `Integer.decode` reads it.
fn decode(text: &str) -> Option<usize> {
    if let Some(hex) = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")) {
        return usize::from_str_radix(hex, 16).ok();
    }
    match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => usize::from_str_radix(octal, 8).ok(),
        _ => text.parse().ok(),
    }
}

/// Whether `--json` among a command's words means ours.
fn takes_json(name: &str) -> bool {
    table::find(name).is_some() || extra::is_command(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_lines_are_read_as_java_reads_them() {
        assert_eq!(decode("12"), Some(12));
        assert_eq!(decode("0"), Some(0));
        assert_eq!(decode("0x1f"), Some(31));
        assert_eq!(decode("010"), Some(8));
        assert_eq!(decode("-1"), None);
        assert_eq!(decode("x"), None);
    }
}
