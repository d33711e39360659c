//! `--follow`: one step after another, whenever something changes on either side.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use notify::event::{AccessKind, AccessMode};
use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};
use roo_client::{Client, SessionState};
use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use super::Task;
use super::report::Report;
use super::state::PREFIX;
use super::step::{Outcome, Step};
use crate::connect::{Exit, Failure};

/// A directory in which there is never quiet is read after so many times the quiet that is wanted.
const PATIENCE: u32 = 20;

/// Follows until it is ended.
pub(super) async fn run(
    task: &Task,
    client: &mut Client,
    report: &mut Report,
) -> Result<ExitCode, Failure> {
    let directory = Directory::watch(task)?;
    let mut is_first = true;
    loop {
        let ended = session(task, client, report, &directory, &mut is_first).await;
        let Err(failure) = ended else { continue };
        if failure.exit != Exit::Lost {
            return Err(failure);
        }
        eprintln!("roo: {failure}; going on");
        let state = client.state();
        if matches!(
            state,
            SessionState::Expired | SessionState::Closed | SessionState::AuthFailed
        ) {
            *client = reconnect(task).await?;
        }
    }
}

/// A new session, as soon as there is a server.
async fn reconnect(task: &Task) -> Result<Client, Failure> {
    let mut is_told = false;
    loop {
        match task.connect.connect().await {
            // It has tried for its time: there is no need to wait here.
            Err(failure) if failure.exit == Exit::NoConnection => {
                if !std::mem::replace(&mut is_told, true) {
                    eprintln!("roo: {failure}; trying on");
                }
            }
            done => return done,
        }
    }
}

async fn session(
    task: &Task,
    client: &Client,
    report: &mut Report,
    directory: &Directory,
    is_first: &mut bool,
) -> Result<(), Failure> {
    client.connected().await?;
    let mut step = Step::new(task, client);
    let mut subtree = step.watch().await?;
    let mut told = String::new();
    loop {
        match step.run(&mut subtree, report).await {
            Ok(Outcome::Equal) => told.clear(),
            Ok(Outcome::Differs(text)) => tell_once(&mut told, text),
            Ok(Outcome::NoSource) => {
                tell_once(
                    &mut told,
                    format!("{} does not exist yet: waiting", task.path),
                );
            }
            // What is wrong later may be put right; what is wrong at the start is a mistake.
            Err(failure) if failure.exit == Exit::Failed && !*is_first => {
                tell_once(&mut told, failure.text);
            }
            Err(failure) if failure.exit == Exit::HalfDone => tell_once(&mut told, failure.text),
            Err(failure) => return Err(failure),
        }
        *is_first = false;
        tokio::select! {
            changed = subtree.changed() => changed?,
            () = directory.changed() => {}
        }
    }
}

fn tell_once(told: &mut String, text: String) {
    if *told != text {
        eprintln!("roo: {text}");
        *told = text;
    }
}

/// The directory, watched.
struct Directory {
    news: Arc<Notify>,
    settle: Duration,
    _watcher: RecommendedWatcher,
}

impl Directory {
    fn watch(task: &Task) -> Result<Self, Failure> {
        let news = Arc::new(Notify::new());
        let teller = Arc::clone(&news);
        let failed = |error: notify::Error| {
            let dir = task.dir.display();
            Failure::failed(format!("cannot watch {dir}: {error}"))
        };
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            // An error may have hidden a change.
            if event.is_ok_and(|event| !is_news(&event)) {
                return;
            }
            teller.notify_one();
        })
        .map_err(failed)?;
        let watched = watcher.watch(&task.dir, RecursiveMode::Recursive);
        watched.map_err(failed)?;
        Ok(Self {
            news,
            settle: task.common.settle,
            _watcher: watcher,
        })
    }

    /// Waits for a change, and until the directory is quiet.
    async fn changed(&self) {
        self.news.notified().await;
        let last = Instant::now() + self.settle * PATIENCE;
        while Instant::now() < last && timeout(self.settle, self.news.notified()).await.is_ok() {}
    }
}

/// Whether an event may be a change of the files: not that one was read, and nothing of our own.
fn is_news(event: &Event) -> bool {
    if let EventKind::Access(access) = event.kind
        && access != AccessKind::Close(AccessMode::Write)
    {
        return false;
    }
    let is_ours = |path: &std::path::PathBuf| {
        let name = path.file_name().unwrap_or_default();
        name.to_string_lossy().starts_with(PREFIX)
    };
    event.need_rescan() || !event.paths.iter().all(is_ours) || event.paths.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_is_no_news_and_neither_is_what_we_write() {
        let event = |kind, path: &str| Event::new(kind).add_path(path.into());
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        let read = EventKind::Access(AccessKind::Open(AccessMode::Any));
        assert!(is_news(&event(written, "/d/a")));
        assert!(!is_news(&event(read, "/d/a")));
        assert!(!is_news(&event(written, "/d/.roo-mirror.json")));
        let moved = event(EventKind::Any, "/d/.roo-mirror.0f").add_path("/d/a".into());
        assert!(is_news(&moved));
    }
}
