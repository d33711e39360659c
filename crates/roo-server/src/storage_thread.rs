//! The thread that owns the log: takes all the records there are, writes them in one go, syncs
//! once, and says how far the log is durable. An idle server syncs at once; it waits to fill a
//! batch only if the operator wants it to ([`crate::group_commit`]). While it has nothing to do,
//! [`Storage`] lets a caller write a few records itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use bytes::Bytes;
use parking_lot::Mutex;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{Time, Zxid};
use roo_replica::event::Event;
use roo_store::epoch_file::{self, EpochFile};
use roo_store::error::StoreError;
use roo_store::log::record::encode_record;
use roo_store::log::writer::LogWriter;
use roo_zab::event::EpochKind;
use roo_zab::message::LinkId;

use crate::fatal::fatal;
use crate::group_commit::GroupCommit;
use crate::histogram::Runs;
use crate::limits;
use crate::member::DynamicFiles;
use crate::peer_inbox::SlicePart;
use crate::queue::BatchQueue;
use crate::resync::Rewinder;
use crate::shared_state::{Input, Shared};
use crate::stats::{Counters, in_ms};

/// What the storage thread is told.
#[derive(Debug)]
pub enum StorageInput {
    /// Append a record.
    Append {
        /// Its zxid.
        zxid: Zxid,
        /// Its payload.
        record: Bytes,
        /// When it was put in.
        queued: Time,
    },
    /// The next record opens a new file.
    Roll,
    /// Write an epoch file.
    PersistEpoch {
        /// Which.
        which: EpochKind,
        /// Its value.
        epoch: u32,
    },
    /// Drop the end of the log.
    Truncate {
        /// The last zxid to keep.
        after: Zxid,
    },
    /// Replace everything by a leader's snapshot.
    Install {
        /// Where it comes from.
        link: LinkId,
        /// The zxid of its state.
        zxid: Zxid,
        /// Its slices.
        slices: Option<Receiver<SlicePart>>,
    },
    /// Remember an ensemble that is proposed.
    NextEnsemble(Arc<Ensemble>),
    /// Forget the ensemble that was proposed.
    ForgetNextEnsemble,
    /// Write down the ensemble that is in force.
    Activate(Arc<Ensemble>),
    /// Sync what there is and end.
    Stop,
}

/// The way to the log: its thread, or no detour at all while that has nothing to do and the disk
/// is quick. To wake a thread and be woken by it again takes some 50 us, half as long as a quick
/// disk syncs: with one client a write took 190 us instead of 240 us.
pub struct Storage {
    queue: BatchQueue<StorageInput>,
    /// What the thread was given and has not finished.
    owed: AtomicUsize,
    /// The last sync was a quick one.
    is_quick: AtomicBool,
    /// Nobody delays a sync to share it among more writes.
    is_prompt: bool,
    keeper: Mutex<LogKeeper>,
}

impl Storage {
    /// The way to a log.
    #[must_use]
    pub fn new(keeper: LogKeeper) -> Self {
        Self {
            queue: BatchQueue::default(),
            owed: AtomicUsize::new(0),
            is_quick: AtomicBool::new(true),
            is_prompt: keeper.group_commit.flush_delay.is_zero(),
            keeper: Mutex::new(keeper),
        }
    }

    /// Whether the caller had better write this itself. Whoever feeds the thread asks, so it stays
    /// true.
    #[must_use]
    pub fn is_light(&self, batch: &[StorageInput]) -> bool {
        let is_record = |input| matches!(input, &StorageInput::Append { .. });
        self.is_prompt
            && batch.len() <= limits::SYNC_AT_ONCE
            && self.is_quick.load(Ordering::Relaxed)
            && self.owed.load(Ordering::Acquire) == 0
            && batch.iter().all(is_record)
    }

    /// Makes a batch durable before it returns; the thread must have nothing to do.
    pub fn write_now(&self, batch: &mut Vec<StorageInput>) {
        self.work(&mut self.keeper.lock(), batch);
    }

    /// Gives a batch to the thread.
    pub fn write_soon(&self, batch: &mut Vec<StorageInput>) {
        self.owed.fetch_add(batch.len(), Ordering::AcqRel);
        self.queue.push_all(batch);
    }

    /// Ends the thread when it has synced what there is.
    pub fn stop(&self) {
        self.write_soon(&mut vec![StorageInput::Stop]);
    }

    /// The thread: works until it is told to stop.
    pub fn run(&self) {
        let mut batch = Vec::new();
        let mut more = Vec::new();
        let mut synced = Instant::now();
        loop {
            self.queue.take(Duration::from_secs(3600), &mut batch);
            let mut keeper = self.keeper.lock();
            while let Some(wait) = keeper.patience(synced, &batch) {
                self.queue.take(wait, &mut more);
                if more.is_empty() {
                    break;
                }
                batch.append(&mut more);
            }
            let count = batch.len();
            if self.work(&mut keeper, &mut batch) {
                return;
            }
            drop(keeper);
            self.owed.fetch_sub(count, Ordering::AcqRel);
            synced = Instant::now();
        }
    }

    /// Writes and syncs a batch; true when it was the last one.
    fn work(&self, keeper: &mut LogKeeper, batch: &mut Vec<StorageInput>) -> bool {
        match keeper.work(batch) {
            Ok(stop) => {
                self.is_quick.store(keeper.is_quick, Ordering::Relaxed);
                stop
            }
            // Nothing that was not acknowledged may be acknowledged now.
            Err(error) => fatal(&format!(
                "cannot write the transaction log: {error}; nothing more is acknowledged; make \
                 room or mend the disk, then start again"
            )),
        }
    }
}

/// Whoever writes the log.
pub struct LogKeeper {
    /// What the server shares.
    shared: Arc<Shared>,
    /// The log.
    writer: LogWriter,
    /// When it is synced.
    group_commit: GroupCommit,
    /// A sync that takes longer is complained about.
    warning_threshold: Duration,
    /// What only a member of an ensemble does to its files.
    member: Option<MemberFiles>,
    /// Records that share the next sync.
    group: Group,
    /// The last sync took no longer than [`limits::QUICK_SYNC`].
    is_quick: bool,
}

/// The files of a member of an ensemble beside its log.
pub struct MemberFiles {
    /// Whoever gives up a part of the history.
    pub rewinder: Rewinder,
    /// The configuration files.
    pub dynamic: DynamicFiles,
    /// An observer that keeps nothing of its own (`syncEnabled=false`): after a start it asks its
    /// leader for everything again.
    pub keeps_log: bool,
}

impl MemberFiles {
    fn persist_epoch(&self, which: EpochKind, epoch: u32) -> Result<(), StoreError> {
        let Rewinder {
            shared, disk, dir, ..
        } = &self.rewinder;
        let file = match which {
            EpochKind::Accepted => EpochFile::Accepted,
            EpochKind::Current => EpochFile::Current,
        };
        epoch_file::store(disk.as_ref(), &dir.snapshots, file, epoch)?;
        let event = roo_zab::Event::EpochDurable { which, epoch };
        shared.inbox.push(Input::Event(Event::Zab(event)));
        Ok(())
    }
}

impl LogKeeper {
    /// Whoever writes the log; see the fields.
    #[must_use]
    pub fn new(
        shared: Arc<Shared>,
        writer: LogWriter,
        group_commit: GroupCommit,
        warning_threshold: Duration,
        member: Option<MemberFiles>,
    ) -> Self {
        Self {
            shared,
            writer,
            group_commit,
            warning_threshold,
            member,
            group: Group::default(),
            is_quick: true,
        }
    }

    /// How long to wait for more than this batch, if at all.
    fn patience(&self, synced: Instant, batch: &[StorageInput]) -> Option<Duration> {
        if self.group_commit.flush_delay.is_zero() {
            return None;
        }
        let is_record = |input: &&StorageInput| matches!(input, StorageInput::Append { .. });
        let stops = batch
            .iter()
            .any(|input| matches!(input, StorageInput::Stop));
        let records = batch.iter().filter(is_record).count();
        let wait = self.group_commit.patience(synced.elapsed(), records);
        wait.filter(|_| !stops)
    }

    /// Writes and syncs a batch; true when it was the last one.
    fn work(&mut self, batch: &mut Vec<StorageInput>) -> Result<bool, StoreError> {
        let mut stop = false;
        let shared = Arc::clone(&self.shared);
        let now = shared.clock.now();
        shared.stats.sync_queue_size.add(batch.len() as u64);
        let mut queue_times = Runs::of(&shared.stats.sync_queue_time);
        for input in batch.drain(..) {
            match input {
                StorageInput::Append { zxid, record, .. } if !self.keeps_log() => {
                    self.commit()?;
                    let bytes = &self.shared.storage_bytes;
                    bytes.fetch_sub(record.len(), Ordering::SeqCst);
                    let event = Event::LogDurable { upto: zxid };
                    self.shared.inbox.push(Input::Event(event));
                }
                StorageInput::Append {
                    zxid,
                    record,
                    queued,
                } => {
                    queue_times.add(now.millis_since(queued));
                    self.group.queued.push(queued);
                    self.group.add(zxid, &record);
                    if self.group_commit.is_full(self.group.records) {
                        self.commit()?;
                    }
                }
                StorageInput::Roll => {
                    self.group.write(&mut self.writer)?;
                    self.writer.roll();
                }
                StorageInput::Stop => stop = true,
                other => {
                    self.commit()?;
                    self.reshape(other)?;
                }
            }
        }
        self.commit()?;
        Ok(stop)
    }

    fn keeps_log(&self) -> bool {
        self.member.as_ref().is_none_or(|member| member.keeps_log)
    }

    /// What an ensemble wants of the files beside the log's growth; everything before is durable.
    fn reshape(&mut self, input: StorageInput) -> Result<(), StoreError> {
        let Some(member) = &self.member else {
            return Ok(());
        };
        match input {
            StorageInput::PersistEpoch { which, epoch } => member.persist_epoch(which, epoch),
            StorageInput::Truncate { after } if !member.keeps_log => fatal(&format!(
                "the leader demands to drop everything behind {after}, and with syncEnabled=false \
                 there is nothing to go back to: start this observer again"
            )),
            StorageInput::Truncate { after } => member.rewinder.truncate(&mut self.writer, after),
            StorageInput::Install { link, zxid, slices } => {
                member
                    .rewinder
                    .install(&mut self.writer, link, zxid, slices)
            }
            StorageInput::NextEnsemble(ensemble) => {
                member.dynamic.remember(&ensemble);
                Ok(())
            }
            StorageInput::ForgetNextEnsemble => {
                member.dynamic.forget();
                Ok(())
            }
            StorageInput::Activate(ensemble) => {
                member.dynamic.activate(&ensemble);
                Ok(())
            }
            StorageInput::Append { .. } | StorageInput::Roll | StorageInput::Stop => Ok(()),
        }
    }

    /// Makes the group durable and says so.
    fn commit(&mut self) -> Result<(), StoreError> {
        let stats = &self.shared.stats;
        self.group.write(&mut self.writer)?;
        // Past the page cache the disk is waited for by the writes, too.
        let began = self.group.began.take().unwrap_or_else(Instant::now);
        let records = std::mem::take(&mut self.group.records);
        let durable = std::mem::take(&mut self.group.record_bytes);
        if let Some(upto) = self.group.last.take() {
            let written = Instant::now();
            stats.sync_process_time.add(in_ms(written - began));
            let syncs_zeros = self.writer.syncs_zeros();
            self.writer.sync()?;
            if !syncs_zeros {
                self.is_quick = began.elapsed() <= limits::QUICK_SYNC;
            }
            self.account(began.elapsed(), records as u64);
            let now = self.shared.clock.now();
            let mut times = Runs::of(&stats.sync_queue_and_flush_time);
            for queued in self.group.queued.drain(..) {
                times.add(now.millis_since(queued));
            }
            let waiting = &self.shared.storage_bytes;
            waiting.fetch_sub(durable, Ordering::SeqCst);
            self.shared
                .inbox
                .push(Input::Event(Event::LogDurable { upto }));
        }
        Ok(())
    }

    fn account(&self, took: Duration, records: u64) {
        let stats = &self.shared.stats;
        stats.fsync_time.add(in_ms(took));
        stats.sync_flush_time.add(in_ms(took));
        stats.sync_batch_size.add(records);
        stats
            .counters
            .sync_processor_request_queued
            .fetch_add(records, Ordering::Relaxed);
        if took > self.warning_threshold {
            Counters::inc(&stats.counters.fsync_threshold_exceed_count);
            tracing::warn!(
                ms = took.as_millis(),
                "syncing the log took long: clients wait for the disk"
            );
        }
    }
}

/// Records that share a sync.
#[derive(Debug, Default)]
struct Group {
    records: usize,
    record_bytes: usize,
    /// When the first of them were written.
    began: Option<Instant>,
    /// The first that is not written yet.
    first: Option<Zxid>,
    last: Option<Zxid>,
    /// When each of them was put in.
    queued: Vec<Time>,
    /// Those that are not written yet.
    bytes: Vec<u8>,
}

impl Group {
    fn add(&mut self, zxid: Zxid, record: &[u8]) {
        self.first.get_or_insert(zxid);
        self.last = Some(zxid);
        self.records += 1;
        self.record_bytes += record.len();
        encode_record(&mut self.bytes, &[record]);
    }

    fn write(&mut self, writer: &mut LogWriter) -> Result<(), StoreError> {
        if let Some(first) = self.first.take() {
            self.began.get_or_insert_with(Instant::now);
            writer.append(first, &self.bytes)?;
        }
        self.bytes.clear();
        // One huge batch should not keep its memory for ever.
        self.bytes.shrink_to(16 << 20);
        Ok(())
    }
}
