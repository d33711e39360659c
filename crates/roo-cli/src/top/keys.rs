//! What is typed while the servers are shown.

use std::future::pending;
use std::io::{self, IsTerminal};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::io::{AsyncReadExt, Stdin};

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// No further look.
    Quit,
    /// The next order of the servers.
    Sort,
    /// No looks until it is pressed again.
    Pause,
    /// Shows the keys, or hides them.
    Help,
    /// Nothing.
    Other,
}

impl Key {
    const fn of(byte: u8) -> Self {
        match byte {
            b'q' | b'Q' => Self::Quit,
            b's' | b'S' => Self::Sort,
            b'p' | b'P' | b' ' => Self::Pause,
            b'h' | b'H' | b'?' => Self::Help,
            _ => Self::Other,
        }
    }
}

/// A terminal that gives each key at once and does not show it; it is as before when this is
/// dropped. Without a terminal no key ever comes.
pub(super) struct Keys(Option<(Stdin, Termios)>);

impl Keys {
    pub(super) fn listen() -> Self {
        if !io::stdin().is_terminal() {
            return Self(None);
        }
        let Ok(before) = tcgetattr(io::stdin()) else {
            return Self(None);
        };
        let mut mode = before.clone();
        // Ctrl-C remains a signal.
        mode.local_modes
            .remove(LocalModes::ICANON | LocalModes::ECHO);
        match tcsetattr(io::stdin(), OptionalActions::Now, &mode) {
            Ok(()) => Self(Some((tokio::io::stdin(), before))),
            Err(_) => Self(None),
        }
    }

    /// The next key. Dropping the future loses none.
    pub(super) async fn next(&mut self) -> Key {
        let Some((input, _)) = &mut self.0 else {
            return pending().await;
        };
        match input.read_u8().await {
            Ok(byte) => Key::of(byte),
            // The terminal is gone, and its signal on the way.
            Err(_) => pending().await,
        }
    }
}

impl Drop for Keys {
    fn drop(&mut self) {
        if let Some((_, before)) = &self.0 {
            // A terminal that is gone needs no mending.
            let _ = tcsetattr(io::stdin(), OptionalActions::Now, before);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_known_by_their_letter() {
        let keys = [b'q', b's', b' ', b'?', b'x'].map(Key::of);
        let expected = [Key::Quit, Key::Sort, Key::Pause, Key::Help, Key::Other];
        assert_eq!(keys, expected);
    }
}
