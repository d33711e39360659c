//! The thread that writes snapshots, slice by slice while everybody else works, and removes files
//! that are no longer needed.
//!
//! A snapshot written as fast as it goes keeps a core and the disk to itself, and those who answer
//! clients wait for both; so it pauses after each part, as long as nothing waits for its end.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use crc32fast::Hasher;
use parking_lot::RwLockWriteGuard;
use roo_peer::{LinkGone, PeerLinks};
use roo_proto::ids::Zxid;
use roo_proto::txn::DIGEST_VERSION;
use roo_replica::event::Event;
use roo_replica::peer_message::PeerMessage;
use roo_state::snapshot::SnapshotMeta;
use roo_store::data_dir::DataDir;
use roo_store::disk::Disk;
use roo_store::error::StoreError;
use roo_store::file_name::Compression;
use roo_store::retention;
use roo_store::snapshot_file::{SnapshotDigest, SnapshotWriter, Trailer};
use roo_zab::effect::CloseReason;
use roo_zab::message::LinkId;

use crate::limits;
use crate::shared_state::{Input, Shared};
use crate::stats::{Counters, in_ms};

/// What the snapshot thread is told.
#[derive(Debug)]
pub enum SnapshotInput {
    /// Write a snapshot.
    Take,
    /// Send one to a learner.
    Send {
        /// Its link.
        link: LinkId,
    },
    /// The next snapshot is due: one under way makes more haste, or the log grows long behind it.
    Due,
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
    /// The ways to the learners, in an ensemble.
    pub links: Option<Arc<dyn PeerLinks>>,
    /// Snapshots to keep, and how often the others are removed; `None` never.
    pub purge: Option<(usize, Duration)>,
}

impl SnapshotThread {
    /// Works until it is told to stop.
    pub fn run(self) {
        let mut next_purge = Instant::now();
        // What came while a snapshot was written.
        let mut waiting = None;
        loop {
            let wait = match self.purge {
                Some(_) => next_purge.saturating_duration_since(Instant::now()),
                None => Duration::from_secs(3600),
            };
            match waiting
                .take()
                .map_or_else(|| self.inbox.recv_timeout(wait), Ok)
            {
                Ok(SnapshotInput::Take) => waiting = self.take_snapshot(),
                Ok(SnapshotInput::Send { link }) => self.send_snapshot(link),
                Ok(SnapshotInput::Stop) | Err(RecvTimeoutError::Disconnected) => return,
                Ok(SnapshotInput::Due) | Err(RecvTimeoutError::Timeout) => {}
            }
            if let Some((retain, interval)) = self.purge
                && Instant::now() >= next_purge
            {
                next_purge = Instant::now() + interval;
                self.purge(retain);
            }
        }
    }

    /// Returns what came meanwhile and is to be done next.
    fn take_snapshot(&self) -> Option<SnapshotInput> {
        let began = Instant::now();
        let generation = self.shared.state_generation.load(Ordering::SeqCst);
        let mut pace = Pace::QUIET;
        match self.write(|| pace.pause(&self.inbox)) {
            Ok(path) => {
                let ms = in_ms(began.elapsed());
                tracing::info!(path = %path.display(), ms, "snapshot written");
            }
            // Its file may have gone with the others of the old state.
            Err(error) if self.is_replaced(generation) => {
                tracing::info!(%error, "a snapshot is given up, its state has been replaced");
            }
            Err(error) => {
                self.shared.state.write().abort_snapshot();
                Counters::inc(&self.shared.stats.counters.snapshot_error_count);
                tracing::error!(%error, "cannot write a snapshot; the log still holds everything");
            }
        }
        self.shared.inbox.push(Input::Event(Event::SnapshotEnded));
        pace.into_waiting()
    }

    fn is_replaced(&self, generation: u64) -> bool {
        self.shared.state_generation.load(Ordering::SeqCst) != generation
    }

    /// Writes a snapshot of the state as it is now, and calls `pause` after each part.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, mut pause: impl FnMut()) -> Result<PathBuf, StoreError> {
        let began = Instant::now();
        let mut slices = self.begin(limits::SNAPSHOT_WRITE_BYTES);
        let SnapshotMeta { zxid, digest, .. } = slices.meta;
        let mut file = SnapshotWriter::create(
            Arc::clone(&self.disk),
            &self.dir.snapshots,
            zxid,
            self.compression,
        )?;
        while let Some(bytes) = slices.next().map_err(|StateReplaced| replaced(&self.dir))? {
            file.write(bytes)?;
            pause();
        }
        let trailer = trailer(zxid, digest, self.with_last_zxid);
        let path = file.finish(trailer)?;
        self.shared.stats.snapshot_time.add(in_ms(began.elapsed()));
        Ok(path)
    }

    /// Sends the state as it is now to a learner, slice by slice, never more of it in memory than
    /// its link's queue takes.
    fn send_snapshot(&self, link: LinkId) {
        let Some(links) = &self.links else {
            return;
        };
        let began = Instant::now();
        let mut slices = self.begin(limits::SNAPSHOT_PART_BYTES);
        let zxid = slices.meta.zxid;
        match stream(links.as_ref(), link, &mut slices) {
            Ok(bytes) => {
                let ms = began.elapsed().as_millis();
                tracing::info!(?link, %zxid, bytes, ms, "snapshot sent to a learner");
                let event = roo_zab::Event::SnapshotSent { link, zxid };
                self.shared.inbox.push(Input::Event(Event::Zab(event)));
            }
            Err(NotSent) => {
                tracing::warn!(?link, %zxid, "a learner left while it was sent a snapshot");
                links.close(link, CloseReason::RoleChanged);
                // Whoever closes a link hears no more of it from there.
                let event = roo_zab::Event::LinkClosed { link };
                self.shared.inbox.push(Input::Event(Event::Zab(event)));
                slices.abort();
            }
        }
    }

    fn begin(&self, part_bytes: usize) -> Slices<'_> {
        let mut bytes = Vec::new();
        let mut state = self.shared.state.write();
        let meta = state.begin_snapshot(&mut bytes);
        let generation = self.shared.state_generation.load(Ordering::SeqCst);
        drop(state);
        Slices {
            shared: &self.shared,
            meta,
            generation,
            part_bytes,
            bytes,
            fresh: true,
            done: false,
        }
    }

    fn purge(&self, retain: usize) {
        match retention::purge(self.disk.as_ref(), &self.dir, retain) {
            Ok(removed) if removed.is_empty() => {}
            Ok(removed) => tracing::info!(files = removed.len(), "old snapshots and logs removed"),
            Err(error) => tracing::error!(%error, "cannot remove old snapshots and logs"),
        }
    }
}

/// How a snapshot is written to its file.
enum Pace {
    /// With pauses, the shorter the more snapshots have become due since it began.
    Paced {
        /// How many.
        due: u32,
    },
    /// Without, because something else waits for its end; here it is if it is to be done next.
    Hurried(Option<SnapshotInput>),
}

impl Pace {
    const QUIET: Self = Self::Paced { due: 0 };

    /// Leaves cores and disk to others for a moment.
    fn pause(&mut self, inbox: &Receiver<SnapshotInput>) {
        let Self::Paced { due } = self else {
            return;
        };
        // The pause does not depend on the size of the part: a longer one would let more changes
        // gather for the next part, and that would wait longer still.
        match inbox.recv_timeout(limits::SNAPSHOT_PAUSE / (*due + 1)) {
            Err(RecvTimeoutError::Timeout) => {}
            Ok(SnapshotInput::Due) => *due += 1,
            Err(RecvTimeoutError::Disconnected) => *self = Self::Hurried(None),
            Ok(input) => *self = Self::Hurried(Some(input)),
        }
    }

    fn into_waiting(self) -> Option<SnapshotInput> {
        match self {
            Self::Paced { .. } => None,
            Self::Hurried(waiting) => waiting,
        }
    }
}

/// What stands behind the state in a snapshot file.
pub(crate) fn trailer(zxid: Zxid, digest: Option<u64>, with_last_zxid: bool) -> Trailer {
    let digest = digest.map(|digest| SnapshotDigest {
        zxid,
        version: DIGEST_VERSION,
        digest,
    });
    // A reader with digests takes a lone zxid for a digest.
    let last_zxid = (with_last_zxid && digest.is_some()).then_some(zxid);
    Trailer { digest, last_zxid }
}

/// A snapshot on its way out, whoever takes it.
struct Slices<'a> {
    shared: &'a Shared,
    meta: SnapshotMeta,
    generation: u64,
    /// A part has at least so many, but the last one.
    part_bytes: usize,
    bytes: Vec<u8>,
    /// `bytes` holds the beginning, which nobody has seen.
    fresh: bool,
    done: bool,
}

/// The state that a snapshot was of is no more.
struct StateReplaced;

impl Slices<'_> {
    /// The next part; `None` behind the last one.
    fn next(&mut self) -> Result<Option<&[u8]>, StateReplaced> {
        if std::mem::take(&mut self.fresh) {
            return Ok(Some(&self.bytes));
        }
        if self.done {
            return Ok(None);
        }
        self.bytes.clear();
        while !self.done && self.bytes.len() < self.part_bytes {
            let mut state = self.shared.state.write();
            if self.shared.state_generation.load(Ordering::SeqCst) != self.generation {
                return Err(StateReplaced);
            }
            self.done = state.snapshot_slice(
                limits::SNAPSHOT_SLICE_NODES,
                self.part_bytes,
                &mut self.bytes,
            );
            // Whoever waits goes next: the lock would be taken again before they are awake.
            RwLockWriteGuard::unlock_fair(state);
        }
        Ok(Some(&self.bytes))
    }

    fn abort(self) {
        let mut state = self.shared.state.write();
        if self.shared.state_generation.load(Ordering::SeqCst) == self.generation {
            state.abort_snapshot();
        }
    }
}

/// The learner is gone, or the state.
struct NotSent;

impl From<LinkGone> for NotSent {
    fn from(_: LinkGone) -> Self {
        Self
    }
}

impl From<StateReplaced> for NotSent {
    fn from(_: StateReplaced) -> Self {
        Self
    }
}

/// Sends a whole snapshot; how many bytes it had.
fn stream(links: &dyn PeerLinks, link: LinkId, slices: &mut Slices<'_>) -> Result<u64, NotSent> {
    let SnapshotMeta { zxid, digest, .. } = slices.meta;
    links.send_bulk(link, PeerMessage::Zab(roo_zab::Message::Snap { zxid }))?;
    let mut checksum = Hasher::new();
    let mut length = 0;
    while let Some(bytes) = slices.next()? {
        checksum.update(bytes);
        length += bytes.len() as u64;
        for part in bytes.chunks(limits::SNAPSHOT_PART_BYTES) {
            let bytes = Bytes::copy_from_slice(part);
            links.send_bulk(link, PeerMessage::Slice { bytes })?;
        }
    }
    let crc32 = checksum.finalize();
    let end = PeerMessage::SliceEnd {
        length,
        crc32,
        digest,
    };
    links.send_bulk(link, end)?;
    Ok(length)
}

fn replaced(dir: &DataDir) -> StoreError {
    StoreError::Layout {
        path: dir.snapshots.clone(),
        what: "the state was replaced while its snapshot was written".into(),
        advice: "nothing is lost: the next snapshot is of the new state".into(),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    #[test]
    fn a_snapshot_makes_the_more_haste_the_more_others_are_due() {
        let (inputs, inbox) = mpsc::sync_channel(1);
        let mut pace = Pace::QUIET;
        for expected in 0..20 {
            assert!(matches!(pace, Pace::Paced { due } if due == expected));
            pace.pause(&inbox);
            inputs.send(SnapshotInput::Due).unwrap();
            pace.pause(&inbox);
        }
        assert!(pace.into_waiting().is_none());
    }

    #[test]
    fn a_snapshot_hurries_when_other_work_waits_and_keeps_it() {
        let (inputs, inbox) = mpsc::sync_channel(2);
        let mut pace = Pace::QUIET;
        let link = LinkId(7);
        inputs.send(SnapshotInput::Send { link }).unwrap();
        inputs.send(SnapshotInput::Stop).unwrap();
        pace.pause(&inbox);
        pace.pause(&inbox);
        let waiting = pace.into_waiting();
        assert!(matches!(
            waiting,
            Some(SnapshotInput::Send { link: LinkId(7) })
        ));
        assert!(matches!(inbox.try_recv(), Ok(SnapshotInput::Stop)));
    }

    #[test]
    fn a_snapshot_is_not_paced_for_a_server_that_is_gone() {
        let (inputs, inbox) = mpsc::sync_channel(1);
        drop(inputs);
        let mut pace = Pace::QUIET;
        pace.pause(&inbox);
        assert!(matches!(pace, Pace::Hurried(None)));
    }
}
