//! The thread that writes snapshots, slice by slice while everybody else works, and removes files
//! that are no longer needed.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use roo_proto::txn::DIGEST_VERSION;
use roo_replica::event::Event;
use roo_store::data_dir::DataDir;
use roo_store::disk::Disk;
use roo_store::error::StoreError;
use roo_store::file_name::Compression;
use roo_store::retention;
use roo_store::snapshot_file::{SnapshotDigest, SnapshotWriter, Trailer};

use crate::limits;
use crate::shared_state::{Input, Shared};
use crate::stats::{Counters, in_ms};

/// What the snapshot thread is told.
#[derive(Debug)]
pub enum SnapshotInput {
    /// Write a snapshot.
    Take,
    /// The server ends.
    Stop,
}

/// See the module.
pub struct SnapshotThread {
    /// What the server shares.
    pub shared: Arc<Shared>,
    /// Where the work comes from.
    pub inbox: Receiver<SnapshotInput>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Where the files go.
    pub dir: Arc<DataDir>,
    /// How they are compressed.
    pub compression: Compression,
    /// Whether the last zxid is written behind the digest.
    pub with_last_zxid: bool,
    /// Snapshots to keep, and how often the others are removed; `None` never.
    pub purge: Option<(usize, Duration)>,
}

impl SnapshotThread {
    /// Works until it is told to stop.
    pub fn run(self) {
        let mut next_purge = Instant::now();
        loop {
            let wait = match self.purge {
                Some(_) => next_purge.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            match self.inbox.recv_timeout(wait) {
                Ok(SnapshotInput::Take) => self.take_snapshot(),
                Ok(SnapshotInput::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some((retain, interval)) = self.purge
                && Instant::now() >= next_purge
            {
                next_purge = Instant::now() + interval;
                self.purge(retain);
            }
        }
    }

    fn take_snapshot(&self) {
        let began = Instant::now();
        match self.write() {
            Ok(path) => {
                let ms = in_ms(began.elapsed());
                tracing::info!(path = %path.display(), ms, "snapshot written");
            }
            Err(error) => {
                self.shared.state.write().abort_snapshot();
                Counters::inc(&self.shared.stats.counters.snapshot_error_count);
                tracing::error!(%error, "cannot write a snapshot; the log still holds everything");
            }
        }
        self.shared.inbox.push(Input::Event(Event::SnapshotEnded));
    }

    /// Writes a snapshot of the state as it is now.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self) -> Result<PathBuf, StoreError> {
        let began = Instant::now();
        let mut slice = Vec::new();
        let meta = self.shared.state.write().begin_snapshot(&mut slice);
        let mut file = SnapshotWriter::create(
            Arc::clone(&self.disk),
            &self.dir.snapshots,
            meta.zxid,
            self.compression,
        )?;
        loop {
            let done = self
                .shared
                .state
                .write()
                .snapshot_slice(limits::SNAPSHOT_SLICE_NODES, &mut slice);
            file.write(&slice)?;
            slice.clear();
            if done {
                break;
            }
        }
        let zxid = meta.zxid;
        let digest = meta.digest.map(|digest| SnapshotDigest {
            zxid,
            version: DIGEST_VERSION,
            digest,
        });
        // A reader with digests takes a lone zxid for a digest.
        let last_zxid = (self.with_last_zxid && digest.is_some()).then_some(zxid);
        let path = file.finish(Trailer { digest, last_zxid })?;
        self.shared.stats.snapshot_time.add(in_ms(began.elapsed()));
        Ok(path)
    }

    fn purge(&self, retain: usize) {
        match retention::purge(self.disk.as_ref(), &self.dir, retain) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!(files = removed.len(), "old snapshots and logs removed"),
            Err(error) => tracing::error!(%error, "cannot remove old snapshots and logs"),
        }
    }
}
