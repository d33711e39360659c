//! Events of watches and of the session on their way to the screen.

use std::cell::Cell;
use std::collections::VecDeque;

use roo_client::{Client, EventKind, OneWatch, SessionState, WatchEnd, WatchEvent, WatchStream};
use tokio::sync::mpsc;

/// Events that may wait to be printed. Limit: pieces; watches wait in the client beyond.
const WAITING_MAX: usize = 1000;
/// Printed events that are remembered, for a second watch tells of the same again.
const REMEMBERED: usize = 64;

/// The kinds of watches, as zkCli tells that they were removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Source {
    /// Data and existence.
    Data,
    /// Children.
    Children,
    /// Those of `addWatch`.
    Persistent,
}

/// What there is to print.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Event {
    /// A node changed.
    Changed(WatchEvent),
    /// A watch was removed.
    Removed(Source, String),
    /// The session is in another state.
    Session(SessionState),
}

/// Where events are gathered: one for a shell, whatever its session.
pub(super) struct Events {
    sender: mpsc::Sender<(Event, u64)>,
    receiver: mpsc::Receiver<(Event, u64)>,
    printed: VecDeque<(Event, u64)>,
    /// The number of the next watch.
    next: Cell<u64>,
}

impl Events {
    /// Nothing has happened yet.
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::channel(WAITING_MAX);
        Self {
            sender,
            receiver,
            printed: VecDeque::new(),
            next: Cell::new(1),
        }
    }

    fn number(&self) -> u64 {
        self.next.replace(self.next.get() + 1)
    }

    /// Waits for a watch that fires once.
    pub(super) fn once(&self, watch: OneWatch, source: Source, path: &str) {
        let (sender, path, number) = (self.sender.clone(), path.to_owned(), self.number());
        tokio::spawn(async move {
            let event = match watch.await {
                Ok(event) => Event::Changed(event),
                Err(WatchEnd::Removed) => Event::Removed(source, path),
                // The session's state is told once, not by each watch.
                Err(_) => return,
            };
            // Nobody is left to be told when that fails.
            let _ = sender.send((event, number)).await;
        });
    }

    /// Waits for all that a watch tells.
    pub(super) fn all(&self, mut watch: WatchStream, path: &str) {
        let (sender, path, number) = (self.sender.clone(), path.to_owned(), self.number());
        tokio::spawn(async move {
            while let Some(event) = watch.next().await {
                if event.kind == EventKind::Gap {
                    continue;
                }
                if sender.send((Event::Changed(event), number)).await.is_err() {
                    return;
                }
            }
            if watch.end() == Some(WatchEnd::Removed) {
                let removed = Event::Removed(Source::Persistent, path);
                // Nobody is left to be told when that fails.
                let _ = sender.send((removed, number)).await;
            }
        });
    }

    /// Waits for what becomes of a session.
    pub(super) fn session(&self, client: &Client) {
        let sender = self.sender.clone();
        let mut states = client.session_events();
        tokio::spawn(async move {
            while let Some(state) = states.next().await {
                if sender.send((Event::Session(state), 0)).await.is_err() {
                    return;
                }
            }
        });
    }

    /// The text of the next event, once there is one. Dropping the future loses nothing.
    pub(super) async fn next(&mut self) -> String {
        loop {
            // This end holds a sender, so there is always a next one to wait for.
            if let Some((event, number)) = self.receiver.recv().await
                && let Some(text) = self.first_time(event, number)
            {
                return text;
            }
        }
    }

    /// The text of an event that is there.
    pub(super) fn ready(&mut self) -> Option<String> {
        while let Ok((event, number)) = self.receiver.try_recv() {
            if let Some(text) = self.first_time(event, number) {
                return Some(text);
            }
        }
        None
    }

    /// Two watches of one node tell of one change twice; a change has a transaction. One watch
    /// that tells the same again has seen it twice.
    fn first_time(&mut self, event: Event, number: u64) -> Option<String> {
        let mut printed = self.printed.iter();
        let is_known = match &event {
            Event::Changed(change) if change.zxid.is_none() => false,
            Event::Changed(_) => printed.any(|(other, by)| *other == event && *by != number),
            Event::Removed(..) => printed.next_back().is_some_and(|(last, _)| *last == event),
            Event::Session(_) => false,
        };
        if is_known {
            return None;
        }
        let text = text(&event);
        self.printed.push_back((event, number));
        if self.printed.len() > REMEMBERED {
            self.printed.pop_front();
        }
        text
    }
}

/// An event in the words of Java's `WatchedEvent`, between the lines that zkCli puts around it.
fn text(event: &Event) -> Option<String> {
    let (state, kind, path, zxid) = match event {
        Event::Changed(change) => (
            "SyncConnected",
            kind_name(change.kind)?,
            change.path.as_str(),
            change.zxid.map_or(-1, |zxid| zxid.0),
        ),
        Event::Removed(source, path) => {
            let kind = match source {
                Source::Data => "DataWatchRemoved",
                Source::Children => "ChildWatchRemoved",
                Source::Persistent => "PersistentWatchRemoved",
            };
            ("SyncConnected", kind, path.as_str(), -1)
        }
        Event::Session(state) => (state_name(*state)?, "None", "null", -1),
    };
    Some(format!(
        "\nWATCHER::\n\nWatchedEvent state:{state} type:{kind} path:{path} zxid: {zxid}"
    ))
}

/// Java's name of a change.
pub(super) const fn kind_name(kind: EventKind) -> Option<&'static str> {
    Some(match kind {
        EventKind::Created => "NodeCreated",
        EventKind::Deleted => "NodeDeleted",
        EventKind::DataChanged => "NodeDataChanged",
        EventKind::ChildrenChanged => "NodeChildrenChanged",
        _ => return None,
    })
}

/// Java's name of a state, if it tells of it.
const fn state_name(state: SessionState) -> Option<&'static str> {
    Some(match state {
        SessionState::Connected => "SyncConnected",
        SessionState::ConnectedReadOnly => "ConnectedReadOnly",
        SessionState::Disconnected => "Disconnected",
        SessionState::AuthFailed => "AuthFailed",
        SessionState::Expired => "Expired",
        SessionState::Closed => "Closed",
        SessionState::Connecting => return None,
    })
}

#[cfg(test)]
mod tests {
    use roo_client::Zxid;

    use super::*;

    fn changed(zxid: Option<i64>) -> Event {
        Event::Changed(WatchEvent {
            kind: EventKind::DataChanged,
            path: "/z".to_owned(),
            zxid: zxid.map(Zxid),
        })
    }

    #[test]
    fn an_event_reads_as_in_zkcli() {
        assert_eq!(
            text(&changed(Some(8))).unwrap(),
            "\nWATCHER::\n\nWatchedEvent state:SyncConnected type:NodeDataChanged path:/z zxid: 8"
        );
        assert_eq!(
            text(&Event::Session(SessionState::Closed)).unwrap(),
            "\nWATCHER::\n\nWatchedEvent state:Closed type:None path:null zxid: -1"
        );
    }

    #[test]
    fn a_change_is_told_once_however_many_watches_see_it() {
        let mut events = Events::new();
        assert!(events.first_time(changed(Some(8)), 1).is_some());
        assert!(events.first_time(changed(Some(8)), 2).is_none());
        assert!(events.first_time(changed(Some(9)), 2).is_some());
        // One transaction may do a thing twice.
        assert!(events.first_time(changed(Some(9)), 2).is_some());
        // Old servers do not say which transaction it was.
        assert!(events.first_time(changed(None), 1).is_some());
        assert!(events.first_time(changed(None), 1).is_some());
    }
}
