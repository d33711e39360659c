//! Completes commands, their options, and paths as the server knows them.

use std::sync::mpsc as blocking;
use std::time::Duration;

use rustyline::completion::{Completer, Pair};
use rustyline::highlight::Highlighter;
use rustyline::hint::Hinter;
use rustyline::validate::Validator;
use rustyline::{Context, Helper};
use tokio::sync::mpsc;

use super::Input;
use crate::shell::{entry, line, walk};

/// How long a server may take before completion gives up.
pub(super) const PATIENCE: Duration = Duration::from_secs(2);

/// What helps somebody who types.
pub(super) struct Typing {
    inputs: mpsc::Sender<Input>,
}

impl Typing {
    /// Asks for names through this channel.
    pub(super) const fn new(inputs: mpsc::Sender<Input>) -> Self {
        Self { inputs }
    }

    fn children(&self, path: &str) -> Vec<String> {
        let (sender, receiver) = blocking::channel();
        let ask = Input::Complete(path.to_owned(), sender);
        if self.inputs.blocking_send(ask).is_err() {
            return Vec::new();
        }
        receiver.recv_timeout(PATIENCE * 2).unwrap_or_default()
    }
}

/// What may stand in the place of the last word of a line: each with what is shown of it.
fn candidates(
    text: &str,
    children: impl Fn(&str) -> Vec<String>,
) -> (usize, Vec<(String, String)>) {
    let (start, word, place) = line::last_word(text);
    let name = line::words(text).into_iter().next().unwrap_or_default();
    let starting = |known: Vec<String>| {
        let fitting = known.into_iter().filter(|known| known.starts_with(&word));
        fitting.map(|known| (known.clone(), known)).collect()
    };
    let found = if place == 0 {
        let mut names: Vec<String> = entry::overview()
            .into_iter()
            .map(|(name, _)| name)
            .collect();
        names.push("help".to_owned());
        starting(names)
    } else if name == "help" {
        starting(
            entry::overview()
                .into_iter()
                .map(|(name, _)| name)
                .collect(),
        )
    } else if word.starts_with('-') {
        starting(entry::describe(&name).map(options).unwrap_or_default())
    } else if word.starts_with('/') {
        let (parent, prefix) = match word.rsplit_once('/') {
            Some(("", prefix)) => ("/", prefix),
            Some((parent, prefix)) => (parent, prefix),
            None => ("/", ""),
        };
        let names = children(parent);
        let fitting = names.into_iter().filter(|name| name.starts_with(prefix));
        fitting
            .map(|name| (line::quoted(&walk::join(parent, &name)), name))
            .collect()
    } else {
        Vec::new()
    };
    (start, found)
}

fn options(command: clap::Command) -> Vec<String> {
    let mut options = Vec::new();
    for arg in command.get_arguments() {
        options.extend(arg.get_short().map(|letter| format!("-{letter}")));
        options.extend(arg.get_long().map(|name| format!("--{name}")));
    }
    options
}

impl Completer for Typing {
    type Candidate = Pair;

    fn complete(
        &self,
        line: &str,
        pos: usize,
        _: &Context<'_>,
    ) -> rustyline::Result<(usize, Vec<Pair>)> {
        let text = line.get(..pos).unwrap_or(line);
        let (start, found) = candidates(text, |path| self.children(path));
        let pairs = found.into_iter().map(|(replacement, display)| Pair {
            display,
            replacement,
        });
        Ok((start, pairs.collect()))
    }
}

impl Helper for Typing {}
impl Highlighter for Typing {}
impl Validator for Typing {}
impl Hinter for Typing {
    type Hint = String;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(text: &str) -> (usize, Vec<String>) {
        let children = |path: &str| match path {
            "/" => vec![
                "app".to_owned(),
                "apple pie".to_owned(),
                "zookeeper".to_owned(),
            ],
            "/app" => vec!["config".to_owned()],
            _ => Vec::new(),
        };
        let (start, found) = candidates(text, children);
        (start, found.into_iter().map(|(text, _)| text).collect())
    }

    #[test]
    fn commands_options_and_paths_are_completed() {
        assert_eq!(
            complete("getA"),
            (
                0,
                vec!["getAcl".to_owned(), "getAllChildrenNumber".to_owned()]
            )
        );
        let (at, options) = complete("ls -");
        assert_eq!(at, 3);
        assert!(options.contains(&"-R".to_owned()), "{options:?}");
        assert_eq!(
            complete("get /ap"),
            (4, vec!["/app".to_owned(), "\"/apple pie\"".to_owned()])
        );
        assert_eq!(complete("get /app/"), (4, vec!["/app/config".to_owned()]));
        assert_eq!(
            complete("get \"/apple"),
            (4, vec!["\"/apple pie\"".to_owned()])
        );
        assert_eq!(complete("set /app dat"), (9, Vec::new()));
    }
}
