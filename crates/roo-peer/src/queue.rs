//! What waits to be sent on a link: bounded by bytes, filled by threads that must not wait (or
//! may, for bulk), emptied in batches by the one task that writes.

use std::collections::VecDeque;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use parking_lot::{Condvar, Mutex, MutexGuard};
use roo_replica::peer_message::PeerMessage;

use crate::parameters::BATCH_BYTES;
use crate::weight;

pub(crate) struct SendQueue {
    limit: usize,
    bulk_limit: usize,
    state: Mutex<State>,
    room: Condvar,
}

struct State {
    messages: VecDeque<PeerMessage>,
    bytes: usize,
    /// Counts the batches that the writer has taken.
    taken: u64,
    end: End,
    writer: Option<Waker>,
}

enum End {
    Open,
    /// Nothing more is accepted; these are the last words.
    Closing(String),
    Gone,
}

/// What the writer gets.
#[derive(Debug)]
pub(crate) enum Batch {
    Messages(Vec<PeerMessage>),
    /// Last words; `End` follows.
    Close(String),
    End,
}

/// Why bulk was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoRoom {
    Gone,
    /// The peer has taken nothing for too long.
    Stuck,
}

/// Why a message was not accepted.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Gone,
    /// So many bytes wait already.
    Over(usize),
}

impl SendQueue {
    pub(crate) fn new(limit: usize, bulk_limit: usize) -> Self {
        Self {
            limit,
            bulk_limit,
            state: Mutex::new(State {
                messages: VecDeque::new(),
                bytes: 0,
                taken: 0,
                end: End::Open,
                writer: None,
            }),
            room: Condvar::new(),
        }
    }

    pub(crate) fn push(&self, message: PeerMessage) -> Result<(), Full> {
        let bytes = weight::of(&message);
        let mut state = self.state.lock();
        if !matches!(state.end, End::Open) {
            return Err(Full::Gone);
        }
        if state.bytes > 0 && state.bytes + bytes > self.limit {
            return Err(Full::Over(state.bytes));
        }
        state.append(message, bytes);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Ok(())
    }

    /// Waits for room.
    pub(crate) fn push_bulk(&self, message: PeerMessage, patience: Duration) -> Result<(), NoRoom> {
        let bytes = weight::of(&message);
        let fits = |waiting: usize| waiting == 0 || waiting + bytes <= self.bulk_limit;
        let mut state = self.wait_until(fits, patience)?;
        state.append(message, bytes);
        let writer = state.writer.take();
        drop(state);
        wake(writer);
        Ok(())
    }

    /// Waits until less waits to be sent than bulk may take.
    pub(crate) fn wait_for_room(&self, patience: Duration) -> Result<(), NoRoom> {
        let fits = |waiting: usize| waiting <= self.bulk_limit;
        self.wait_until(fits, patience).map(drop)
    }

    /// Waits while the peer takes something now and then.
    fn wait_until(
        &self,
        fits: impl Fn(usize) -> bool,
        patience: Duration,
    ) -> Result<MutexGuard<'_, State>, NoRoom> {
        let mut state = self.state.lock();
        while matches!(state.end, End::Open) && !fits(state.bytes) {
            let taken = state.taken;
            let timed_out = self.room.wait_for(&mut state, patience).timed_out();
            if timed_out && state.taken == taken && !fits(state.bytes) {
                return Err(NoRoom::Stuck);
            }
        }
        match state.end {
            End::Open => Ok(state),
            End::Closing(_) | End::Gone => Err(NoRoom::Gone),
        }
    }

    /// Accepts nothing more; the writer gets what waits, and then the last words.
    pub(crate) fn close(&self, last_words: String) {
        self.end(End::Closing(last_words), |_| {});
    }

    /// Drops what waits, and then as [`SendQueue::close`].
    pub(crate) fn cut(&self, last_words: String) {
        self.end(End::Closing(last_words), State::clear);
    }

    /// Drops what waits; the writer ends.
    pub(crate) fn abandon(&self) {
        self.end(End::Gone, State::clear);
    }

    fn end(&self, end: End, first: impl FnOnce(&mut State)) {
        let mut state = self.state.lock();
        first(&mut state);
        // Who was told of the end is not told again, and last words stand against oblivion.
        if matches!(state.end, End::Open) {
            state.end = end;
        }
        let writer = state.writer.take();
        drop(state);
        self.room.notify_all();
        wake(writer);
    }

    /// The next messages, up to [`BATCH_BYTES`] and at least one.
    pub(crate) fn poll_batch(&self, context: &mut Context<'_>) -> Poll<Batch> {
        let mut state = self.state.lock();
        if state.messages.is_empty() {
            return match std::mem::replace(&mut state.end, End::Gone) {
                End::Open => {
                    state.end = End::Open;
                    state.writer = Some(context.waker().clone());
                    Poll::Pending
                }
                End::Closing(last_words) => Poll::Ready(Batch::Close(last_words)),
                End::Gone => Poll::Ready(Batch::End),
            };
        }
        let mut batch = Vec::new();
        let mut taken = 0;
        while let Some(message) = state.messages.front() {
            let bytes = weight::of(message);
            if taken > 0 && taken + bytes > BATCH_BYTES {
                break;
            }
            taken += bytes;
            batch.extend(state.messages.pop_front());
        }
        state.bytes -= taken;
        state.taken += 1;
        drop(state);
        self.room.notify_all();
        Poll::Ready(Batch::Messages(batch))
    }
}

impl State {
    fn append(&mut self, message: PeerMessage, bytes: usize) {
        self.messages.push_back(message);
        self.bytes += bytes;
    }

    fn clear(&mut self) {
        self.messages.clear();
        self.bytes = 0;
    }
}

fn wake(writer: Option<Waker>) {
    if let Some(writer) = writer {
        writer.wake();
    }
}
