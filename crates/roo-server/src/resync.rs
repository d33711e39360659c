//! What a leader demands of this server's history (TRUNC, SNAP), and the log that this server
//! reads for its learners. All of it touches the disk; the storage thread does the first part, in
//! its order, a thread of its own the second.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Receiver;

use bytes::Bytes;
use crc32fast::Hasher;
use roo_peer::PeerLinks;
use roo_proto::ids::Zxid;
use roo_replica::event::Event;
use roo_replica::peer_message::{PeerMessage, proposal_of};
use roo_state::state::State;
use roo_store::data_dir::DataDir;
use roo_store::disk::Disk;
use roo_store::error::StoreError;
use roo_store::file_name::{Compression, list_snapshots};
use roo_store::history::{self, HistoryReader};
use roo_store::log::writer::LogWriter;
use roo_store::rewind;
use roo_store::snapshot_file::SnapshotWriter;
use roo_zab::event::History;
use roo_zab::message::LinkId;

use crate::limits;
use crate::loading::{self, LoadSettings};
use crate::member;
use crate::peer_inbox::SlicePart;
use crate::queue::BatchQueue;
use crate::shared_state::{Input, Shared};
use crate::snapshot_thread::trailer;

/// What giving up a part of the history takes.
pub struct Rewinder {
    /// What the server shares.
    pub shared: Arc<Shared>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Where the files are.
    pub dir: Arc<DataDir>,
    /// How to load what is left.
    pub load: LoadSettings,
    /// How snapshots are written.
    pub compression: Compression,
    /// Whether the last zxid is written behind the digest.
    pub with_last_zxid: bool,
}

/// Why no snapshot was installed.
enum NotInstalled {
    /// The leader, or the way to it, failed: everything is as before.
    Peer(String),
    /// The disk failed.
    Store(StoreError),
}

impl From<StoreError> for NotInstalled {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

impl Rewinder {
    fn replace_state(&self, state: State) {
        let mut current = self.shared.state.write();
        // A snapshot that is being written is of a state that is no more.
        self.shared.state_generation.fetch_add(1, Ordering::SeqCst);
        *current = state;
    }

    /// Gives the memory of the old state back before the new one is loaded.
    fn drop_state(&self) {
        self.replace_state(State::new(self.load.rules, self.load.hash_seed));
    }

    /// Cuts the log behind `after`; loads the state anew if it holds any of what is cut.
    ///
    /// # Errors
    /// When the disk refuses or what is left cannot be loaded: the server must end.
    pub fn truncate(&self, log: &mut LogWriter, after: Zxid) -> Result<(), StoreError> {
        let had = self.shared.state.read().last_zxid();
        tracing::info!(%after, %had, "the leader demands to drop the end of the log");
        rewind::truncate(&self.disk, &self.dir, log, after, self.load.max_record)?;
        if had > after {
            self.drop_state();
            let mut loaded = loading::load(&self.disk, &self.dir, &self.load)?;
            member::show_ensemble(&mut loaded.state, &self.shared.ensemble.lock());
            self.replace_state(loaded.state);
        }
        let last = after;
        self.zab(roo_zab::Event::Truncated { last });
        Ok(())
    }

    /// Replaces log and state by the snapshot whose slices come in.
    ///
    /// # Errors
    /// When the disk refuses or the snapshot, once written, cannot be loaded: the server must end.
    pub fn install(
        &self,
        log: &mut LogWriter,
        link: LinkId,
        zxid: Zxid,
        slices: Option<Receiver<SlicePart>>,
    ) -> Result<(), StoreError> {
        match self.try_install(log, zxid, slices) {
            Ok(()) => {
                self.zab(roo_zab::Event::SnapshotInstalled { link, zxid });
                Ok(())
            }
            Err(NotInstalled::Peer(why)) => {
                tracing::warn!(%zxid, "the leader's snapshot is given up: {why}");
                self.zab(roo_zab::Event::SnapshotFailed { link });
                Ok(())
            }
            Err(NotInstalled::Store(error)) => Err(error),
        }
    }

    fn try_install(
        &self,
        log: &mut LogWriter,
        zxid: Zxid,
        slices: Option<Receiver<SlicePart>>,
    ) -> Result<(), NotInstalled> {
        let slices = slices.ok_or_else(|| NotInstalled::Peer("its link is gone".into()))?;
        let mut file = SnapshotWriter::create(
            Arc::clone(&self.disk),
            &self.dir.snapshots,
            zxid,
            self.compression,
        )?;
        let digest = receive(&slices, &mut file)?;
        drop(slices);
        rewind::before_snapshot(&self.disk, &self.dir, log, zxid, self.load.max_record)?;
        let trailer = trailer(zxid, digest, self.with_last_zxid);
        let path = file.finish(trailer)?;
        // First, so that whoever misses a file that goes now can tell why.
        self.drop_state();
        rewind::after_snapshot(&self.disk, &self.dir, log, &path)?;
        self.replace_state(self.load_installed(&path)?);
        tracing::info!(%zxid, path = %path.display(), "the leader's snapshot is installed");
        Ok(())
    }

    fn load_installed(&self, path: &PathBuf) -> Result<State, StoreError> {
        let files = list_snapshots(self.disk.as_ref(), &self.dir.snapshots)?;
        let file = files
            .iter()
            .find(|file| file.path == *path)
            .ok_or_else(|| StoreError::Layout {
                path: path.clone(),
                what: "the snapshot just written is gone".into(),
                advice: "no other program may use this directory".into(),
            })?;
        let (mut state, _) = loading::load_snapshot(self.disk.as_ref(), file, &self.load)?;
        state.repair_after_load();
        Ok(state)
    }

    fn zab(&self, event: roo_zab::Event) {
        self.shared.inbox.push(Input::Event(Event::Zab(event)));
    }
}

/// Writes the slices to the file until their end; gives the tree's digest.
fn receive(
    slices: &Receiver<SlicePart>,
    file: &mut SnapshotWriter,
) -> Result<Option<u64>, NotInstalled> {
    let mut checksum = Hasher::new();
    let mut received = 0;
    loop {
        let Ok(SlicePart { message, permit }) = slices.recv() else {
            return Err(NotInstalled::Peer(format!(
                "the link broke after {received} bytes"
            )));
        };
        match message {
            PeerMessage::Slice { bytes } => {
                checksum.update(&bytes);
                received += bytes.len() as u64;
                file.write(&bytes)?;
            }
            PeerMessage::SliceEnd {
                length,
                crc32,
                digest,
            } => {
                if length != received || crc32 != checksum.clone().finalize() {
                    return Err(NotInstalled::Peer(format!(
                        "{received} bytes arrived of {length}, or others than were sent"
                    )));
                }
                return Ok(digest);
            }
            other => {
                return Err(NotInstalled::Peer(format!(
                    "{other:?} came among its slices"
                )));
            }
        }
        drop(permit);
    }
}

/// A part of the log that a learner needs.
#[derive(Clone, Copy, Debug)]
pub struct HistoryJob {
    /// The learner's link.
    pub link: LinkId,
    /// See [`roo_zab::Effect::ReadHistory`].
    pub from: Zxid,
    /// See [`roo_zab::Effect::ReadHistory`].
    pub upto: Zxid,
}

/// What the history thread is told.
#[derive(Clone, Copy, Debug)]
pub enum HistoryInput {
    /// Read.
    Read(HistoryJob),
    /// The server ends.
    Stop,
}

/// The thread that reads the log for learners.
pub struct HistoryThread {
    /// What the server shares.
    pub shared: Arc<Shared>,
    /// Where the work comes from.
    pub queue: Arc<BatchQueue<HistoryInput>>,
    /// The disk.
    pub disk: Arc<dyn Disk>,
    /// Where the files are.
    pub dir: Arc<DataDir>,
    /// The ways to the learners.
    pub links: Arc<dyn PeerLinks>,
    /// Longest record, bytes.
    pub max_record: usize,
    /// Share of the newest snapshot's size above which a log is not read (`snapshotSizeFactor`).
    pub snapshot_size_factor: f64,
}

impl HistoryThread {
    /// Works until it is told to stop.
    pub fn run(self) {
        let mut batch = Vec::new();
        loop {
            self.queue.take(limits::LONG_WAIT, &mut batch);
            for input in batch.drain(..) {
                match input {
                    HistoryInput::Read(job) => self.read(job),
                    HistoryInput::Stop => return,
                }
            }
        }
    }

    fn read(&self, job: HistoryJob) {
        match self.try_read(job) {
            Ok(true) => return,
            Ok(false) => {}
            // The purge goes on while logs are read; what it took is in a snapshot.
            Err(error) if error.is_missing() => {
                tracing::info!(%error, "a log went while it was read; the learner gets a snapshot");
            }
            // Who no longer leads may be told to cut its own log while it is read.
            Err(error) if self.links.wait_for_room(job.link).is_err() => {
                tracing::info!(%error, "the log is no longer read for a learner that has left");
            }
            Err(error) => {
                tracing::error!(%error, "cannot read the log for a learner; it gets a snapshot");
            }
        }
        self.tell(job.link, History::Unavailable);
    }

    /// Whether the learner gets its part from the log.
    fn try_read(&self, job: HistoryJob) -> Result<bool, StoreError> {
        // Nothing is read for a learner that has left, however many have come and gone.
        if self.links.wait_for_room(job.link).is_err() {
            return Ok(true);
        }
        let open = || {
            HistoryReader::open(
                &self.disk,
                &self.dir.logs,
                job.from,
                job.upto,
                self.max_record,
            )
        };
        let worth = history::worth_reading(
            self.disk.as_ref(),
            &self.dir.snapshots,
            self.snapshot_size_factor,
        )?;
        let Some(measured) = open()? else {
            return Ok(false);
        };
        if worth == 0 || measured.count_bytes(worth)? > worth {
            return Ok(false);
        }
        let Some(mut reader) = open()? else {
            return Ok(false);
        };
        loop {
            if self.links.wait_for_room(job.link).is_err() {
                return Ok(true);
            }
            let (records, end) = reader.next_records(limits::HISTORY_PART_BYTES)?;
            let records = records
                .into_iter()
                .map(|(zxid, record)| proposal_of(zxid, Bytes::from(record)))
                .collect();
            self.tell(job.link, History::Records { records, end });
            if end {
                return Ok(true);
            }
        }
    }

    fn tell(&self, link: LinkId, history: History) {
        let event = roo_zab::Event::HistoryRead { link, history };
        self.shared.inbox.push(Input::Event(Event::Zab(event)));
    }
}
