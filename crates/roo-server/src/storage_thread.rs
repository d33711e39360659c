//! The thread that owns the log: takes all the records there are, writes them in one go, syncs
//! once, and says how far the log is durable. An idle server syncs at once; it never waits to
//! fill a batch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use roo_proto::ids::Zxid;
use roo_replica::event::Event;
use roo_store::error::StoreError;
use roo_store::log::record::encode_record;
use roo_store::log::writer::LogWriter;

use crate::queue::BatchQueue;
use crate::shared_state::{Input, Shared};
use crate::stats::Counters;

/// What the storage thread is told.
#[derive(Debug)]
pub enum StorageInput {
    /// Append a record.
    Append {
        /// Its zxid.
        zxid: Zxid,
        /// Its payload.
        record: Vec<u8>,
    },
    /// The next record opens a new file.
    Roll,
    /// Sync what there is and end.
    Stop,
}

/// See the module.
pub struct StorageThread {
    /// What the server shares.
    pub shared: Arc<Shared>,
    /// Where the work comes from.
    pub queue: Arc<BatchQueue<StorageInput>>,
    /// The log.
    pub writer: LogWriter,
    /// A sync that takes longer is complained about.
    pub warning_threshold: Duration,
}

impl StorageThread {
    /// Works until it is told to stop.
    ///
    /// # Errors
    /// When the disk refuses: nothing that was not acknowledged may be acknowledged then.
    pub fn run(mut self) -> Result<(), StoreError> {
        let mut batch = Vec::new();
        let mut bytes = Vec::new();
        loop {
            self.queue.take(Duration::from_secs(3600), &mut batch);
            if self.work(&mut batch, &mut bytes)? {
                return Ok(());
            }
        }
    }

    /// Writes and syncs a batch; true when it was the last one.
    fn work(
        &mut self,
        batch: &mut Vec<StorageInput>,
        bytes: &mut Vec<u8>,
    ) -> Result<bool, StoreError> {
        let mut first = None;
        let mut last = None;
        let mut stop = false;
        let mut records = 0;
        for input in batch.drain(..) {
            match input {
                StorageInput::Append { zxid, record } => {
                    first.get_or_insert(zxid);
                    last = Some(zxid);
                    records += 1;
                    encode_record(bytes, &[&record]);
                }
                StorageInput::Roll => {
                    write(&mut self.writer, &mut first, bytes)?;
                    self.writer.roll();
                }
                StorageInput::Stop => stop = true,
            }
        }
        write(&mut self.writer, &mut first, bytes)?;
        if let Some(upto) = last {
            let began = Instant::now();
            self.writer.sync()?;
            self.account(began.elapsed(), records);
            self.shared
                .inbox
                .push(Input::Event(Event::LogDurable { upto }));
        }
        Ok(stop)
    }

    fn account(&self, took: Duration, records: u64) {
        let stats = &self.shared.stats;
        stats
            .fsync_time
            .add(u64::try_from(took.as_millis()).unwrap_or(u64::MAX));
        stats.sync_batch_size.add(records);
        stats
            .counters
            .sync_processor_request_queued
            .fetch_add(records, std::sync::atomic::Ordering::Relaxed);
        if took > self.warning_threshold {
            Counters::inc(&stats.counters.fsync_threshold_exceed_count);
            tracing::warn!(
                ms = took.as_millis(),
                "syncing the log took long: clients wait for the disk"
            );
        }
    }
}

fn write(
    writer: &mut LogWriter,
    first: &mut Option<Zxid>,
    bytes: &mut Vec<u8>,
) -> Result<(), StoreError> {
    if let Some(first) = first.take() {
        writer.append(first, bytes)?;
    }
    bytes.clear();
    // One huge batch should not keep its memory for ever.
    bytes.shrink_to(16 << 20);
    Ok(())
}
