//! Signals: their names, and those that we get. What is done with them is decided elsewhere.

use std::future::poll_fn;
use std::task::Poll;

use rustix::process::Signal;
use tokio::signal::unix::{self, SignalKind};

use crate::connect::Failure;

/// A signal by its name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Named(pub(super) Signal);

const NAMES: &[(&str, Signal)] = &[
    ("HUP", Signal::HUP),
    ("INT", Signal::INT),
    ("QUIT", Signal::QUIT),
    ("KILL", Signal::KILL),
    ("USR1", Signal::USR1),
    ("USR2", Signal::USR2),
    ("ALRM", Signal::ALARM),
    ("TERM", Signal::TERM),
];

/// Those that are passed on, all but KILL and ALRM.
const PASSED_ON: &[Signal] = &[
    Signal::HUP,
    Signal::INT,
    Signal::QUIT,
    Signal::USR1,
    Signal::USR2,
    Signal::TERM,
];

impl Named {
    /// The number, for exit codes.
    pub(super) fn code(self) -> u8 {
        u8::try_from(self.0.as_raw()).unwrap_or_default()
    }

    /// Whether a terminal sends it to everybody in the foreground.
    pub(super) fn is_from_a_terminal(self) -> bool {
        matches!(self.0, Signal::INT | Signal::QUIT | Signal::HUP)
    }
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match NAMES.iter().find(|(_, signal)| *signal == self.0) {
            Some((name, _)) => f.write_str(name),
            None => write!(f, "{}", self.0.as_raw()),
        }
    }
}

/// Reads `TERM`, `SIGTERM` or `15`.
pub(super) fn parse(text: &str) -> Result<Named, String> {
    let upper = text.to_ascii_uppercase();
    let name = upper.strip_prefix("SIG").unwrap_or(&upper);
    let found = NAMES
        .iter()
        .find(|(known, signal)| *known == name || signal.as_raw().to_string() == name);
    match found {
        Some((_, signal)) => Ok(Named(*signal)),
        None => Err(format!(
            "{text:?} is no signal: write HUP, INT, QUIT, KILL, USR1, USR2, ALRM or TERM"
        )),
    }
}

/// The signals that come to this process from when it was made.
#[derive(Debug)]
pub(super) struct Signals(Vec<(Signal, unix::Signal)>);

impl Signals {
    /// Listens. What the process was started to ignore (`nohup`) stays ignored.
    pub(super) fn listen() -> Result<Self, Failure> {
        let ignored = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let ignored = ignored_in(&ignored);
        let mut streams = Vec::new();
        for signal in PASSED_ON {
            let number = signal.as_raw();
            if ignored & (1_u64 << (number - 1)) != 0 {
                continue;
            }
            let stream = unix::signal(SignalKind::from_raw(number))
                .map_err(|error| Failure::failed(format!("cannot listen to signals: {error}")))?;
            streams.push((*signal, stream));
        }
        Ok(Self(streams))
    }

    /// The next one. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> Named {
        poll_fn(|context| {
            for (signal, stream) in &mut self.0 {
                if let Poll::Ready(Some(())) = stream.poll_recv(context) {
                    return Poll::Ready(Named(*signal));
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// The bits of the signals that a process ignores, by its status in /proc.
fn ignored_in(status: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    line.and_then(|bits| u64::from_str_radix(bits.trim(), 16).ok())
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_have_names_and_numbers() {
        for text in ["TERM", "SIGTERM", "term", "15"] {
            assert_eq!(parse(text), Ok(Named(Signal::TERM)), "{text}");
        }
        assert_eq!(Named(Signal::INT).to_string(), "INT");
        for wrong in ["", "SIG", "TERMINATE", "0", "99", "-9"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ignored_signals_are_read_from_the_status() {
        assert_eq!(ignored_in("Name:\troo\nSigIgn:\t0000000000000001\n"), 1);
        assert_eq!(ignored_in(""), 0);
    }
}
