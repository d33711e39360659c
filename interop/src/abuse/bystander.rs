//! The client that must be served whatever others do: it writes, reads and connects, one request
//! at a time, and keeps the slowest.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow, ensure};

use super::PATIENCE;
use super::crowds::create;
use crate::servers::pause;
use crate::wire::{Client, Hello, In, Out};

/// Between two rounds: the bystander is a client, not a load.
const INTERVAL: Duration = Duration::from_millis(5);

/// Every so many rounds it opens a session too.
const ROUNDS_PER_HANDSHAKE: u64 = 8;

/// What the bystander has met.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    /// Of a setData or getData.
    pub(super) slowest_reply: Duration,
    /// From connecting to the answer to the handshake.
    pub(super) slowest_handshake: Duration,
}

/// See the module.
pub(super) struct Bystander {
    stop: Sender<()>,
    rounds: Arc<AtomicU64>,
    thread: JoinHandle<Result<Account>>,
}

impl Bystander {
    pub(super) fn start(address: SocketAddr) -> Result<Self> {
        let (stop, stopped) = mpsc::channel();
        let rounds = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&rounds);
        let mut client = Client::connect(address, &Hello::default())?;
        create(&mut client, "/bystander", b"")?;
        let thread = thread::spawn(move || {
            let mut account = Account::default();
            while stopped.recv_timeout(INTERVAL) == Err(RecvTimeoutError::Timeout) {
                let round = count.load(Ordering::SeqCst);
                account.go_round(&mut client, i32::try_from(round % 1_000_000)?)?;
                if round.is_multiple_of(ROUNDS_PER_HANDSHAKE) {
                    account.shake_hands(address)?;
                }
                count.store(round + 1, Ordering::SeqCst);
            }
            Ok(account)
        });
        Ok(Self {
            stop,
            rounds,
            thread,
        })
    }

    /// Waits until the bystander has been served so many rounds more.
    pub(super) fn await_rounds(&self, more: u64) -> Result<()> {
        let goal = self.rounds.load(Ordering::SeqCst) + more;
        let began = Instant::now();
        while self.rounds.load(Ordering::SeqCst) < goal {
            ensure!(
                !self.thread.is_finished() && began.elapsed() < PATIENCE,
                "the bystander is not served"
            );
            pause(INTERVAL);
        }
        Ok(())
    }

    pub(super) fn stop(self) -> Result<Account> {
        drop(self.stop);
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("it has panicked"))?
    }
}

impl Account {
    /// A write, and a read of what was written.
    fn go_round(&mut self, client: &mut Client, round: i32) -> Result<()> {
        let began = Instant::now();
        let written = round.to_be_bytes();
        let set = Out::default().text("/bystander").buffer(Some(&written));
        client.send(1, 5, &set.int(-1).0)?;
        client.receive_until(1)?;
        let answered = Instant::now();
        client.send(2, 4, &Out::default().text("/bystander").flag(false).0)?;
        let replies = client.receive_until(2)?;
        let data = replies
            .first()
            .map(|reply| In(reply.get(16..).unwrap_or_default()).buffer())
            .transpose()?;
        ensure!(
            data.flatten() == Some(&written[..]),
            "the bystander does not read what it wrote: {replies:?}"
        );
        for took in [answered - began, answered.elapsed()] {
            self.slowest_reply = self.slowest_reply.max(took);
        }
        Ok(())
    }

    fn shake_hands(&mut self, address: SocketAddr) -> Result<()> {
        let began = Instant::now();
        let mut client = Client::connect(address, &Hello::default())?;
        ensure!(client.session != 0, "the bystander gets no session");
        self.slowest_handshake = self.slowest_handshake.max(began.elapsed());
        client.send(1, -11, &[])?;
        client.receive_until(1)?;
        Ok(())
    }
}
