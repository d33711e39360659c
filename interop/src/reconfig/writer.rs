//! Writes that go on while the ensemble changes, and what becomes of those that were acknowledged.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, ensure};

use crate::ensemble::PATIENCE;
use crate::servers::pause;
use crate::session::Session;

/// Parent of all that is written.
pub(super) const TOP: &str = "/written";

/// Creates one node after the other, at whichever server takes it.
pub(super) struct Writer {
    over: Arc<AtomicBool>,
    thread: JoinHandle<Result<Record>>,
}

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Record {
    /// Names of nodes whose creation was acknowledged.
    pub(super) acknowledged: Vec<String>,
    /// Creations without an answer.
    pub(super) unknown: u64,
    /// The longest time between two acknowledgements.
    pub(super) longest_gap: Duration,
}

impl Writer {
    /// Starts to write; [`TOP`] is there already.
    pub(super) fn start(servers: Vec<SocketAddr>) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&over);
        let thread = std::thread::spawn(move || write(&servers, &flag));
        Self { over, thread }
    }

    /// Ends it.
    ///
    /// # Errors
    /// When it was refused, or nobody served for too long.
    pub(super) fn finish(self) -> Result<Record> {
        self.over.store(true, Ordering::SeqCst);
        self.thread
            .join()
            .map_err(|_| anyhow!("the writer has panicked"))?
    }
}

fn write(servers: &[SocketAddr], over: &AtomicBool) -> Result<Record> {
    let mut record = Record::default();
    let mut turns = servers.iter().cycle();
    let mut session = None;
    let mut last = Instant::now();
    for number in 0_u64.. {
        if over.load(Ordering::SeqCst) {
            break;
        }
        let name = format!("n{number}");
        while session.is_none() && !over.load(Ordering::SeqCst) {
            ensure!(last.elapsed() < PATIENCE, "nobody takes writes");
            let address = turns.next().context("no servers")?;
            session = Session::open(*address).ok();
            if session.is_none() {
                pause(Duration::from_millis(5));
            }
        }
        let Some(open) = &mut session else {
            break;
        };
        match open.try_create(&format!("{TOP}/{name}"), name.as_bytes()) {
            Ok(reply) => {
                ensure!(reply.error == 0, "create {name}: {}", reply.error);
                record.acknowledged.push(name);
                record.longest_gap = record.longest_gap.max(last.elapsed());
                last = Instant::now();
            }
            Err(_) => {
                record.unknown += 1;
                session = None;
            }
        }
        // Now and then another server has its turn.
        if number % 50 == 49 {
            session = None;
        }
    }
    Ok(record)
}

impl Record {
    /// Whether a server shows all that was acknowledged.
    pub(super) fn judge(&self, server: SocketAddr) -> Result<()> {
        let mut session = Session::open(server)?;
        session.sync()?;
        let there: std::collections::HashSet<String> = session.children(TOP)?.into_iter().collect();
        let lost: Vec<&String> = self
            .acknowledged
            .iter()
            .filter(|name| !there.contains(*name))
            .collect();
        ensure!(lost.is_empty(), "{server} has lost {lost:?}");
        Ok(())
    }
}
