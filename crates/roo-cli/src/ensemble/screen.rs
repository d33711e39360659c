//! The terminal of `roo ensemble up`: the servers' lines, each with the server's number before it,
//! and one line below them that says how the ensemble is. Without a terminal, that line is written
//! only when it changes, and nothing is coloured.

use std::io::{IsTerminal, Write};

/// See the module.
#[derive(Debug)]
pub(super) struct Screen {
    is_terminal: bool,
    status: String,
}

/// Colours that can be told apart on dark and on light ground.
const COLOURS: [u8; 6] = [36, 33, 35, 32, 34, 31];

impl Screen {
    pub(super) fn new() -> Self {
        Self {
            is_terminal: std::io::stdout().is_terminal(),
            status: String::new(),
        }
    }

    /// A line of a server's.
    pub(super) fn server(&mut self, id: u16, line: &str) {
        let colour = COLOURS[usize::from(id.saturating_sub(1)) % COLOURS.len()];
        self.line(&self.label(&id.to_string(), colour), line);
    }

    /// A line of ours.
    pub(super) fn say(&mut self, line: &str) {
        self.line(&self.label("-", 1), line);
    }

    fn label(&self, name: &str, colour: u8) -> String {
        if self.is_terminal {
            format!("\x1b[{colour}m[{name}]\x1b[0m")
        } else {
            format!("[{name}]")
        }
    }

    fn line(&mut self, label: &str, line: &str) {
        let mut out = std::io::stdout().lock();
        // A terminal that is gone is no reason to stop the servers.
        let _ = if self.is_terminal {
            write!(
                out,
                "\r\x1b[2K{label} {line}\r\n\x1b[7m{}\x1b[0m",
                self.status
            )
        } else {
            writeln!(out, "{label} {line}")
        };
        let _ = out.flush();
    }

    /// How the ensemble is.
    pub(super) fn status(&mut self, status: String) {
        if status == self.status {
            return;
        }
        self.status = status;
        if self.is_terminal {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[2K\x1b[7m{}\x1b[0m", self.status);
            let _ = out.flush();
        } else {
            let status = self.status.clone();
            self.say(&status);
        }
    }

    /// No status line any more.
    pub(super) fn end(&mut self) {
        self.status.clear();
        if self.is_terminal {
            let mut out = std::io::stdout().lock();
            let _ = write!(out, "\r\x1b[2K");
            let _ = out.flush();
        }
    }
}
