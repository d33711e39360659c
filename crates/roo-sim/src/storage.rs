//! One server's disk and the thread that owns it: takes all the records there are, writes them in
//! one go and syncs once; epochs, cuts and snapshots have their turn in between. The files are
//! written by roo-store; what is in a record or a snapshot is a list of entries.

mod ensemble_files;

use std::collections::VecDeque;
use std::hash::Hasher;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::Zxid;
use roo_proto::txn::{self, Txn, TxnHeader};
use roo_replica::peer_message::proposal_of;
use roo_store::data_dir::DataDir;
use roo_store::disk::Disk;
use roo_store::epoch_file::{self, EpochFile, Epochs};
use roo_store::error::StoreError;
use roo_store::file_name::Compression;
use roo_store::history::HistoryReader;
use roo_store::log::record::encode_record;
use roo_store::log::writer::{LogOptions, LogWriter};
use roo_store::recovery::Replayed;
use roo_store::sim_disk::SimDisk;
use roo_store::snapshot_file::{SnapshotReader, SnapshotWriter, Trailer};
use roo_store::{recovery, retention, rewind};
use roo_zab::event::{EpochKind, History};
use roo_zab::message::LinkId;
use roo_zab::{Event, Proposal};

use crate::fact::{Entry, Mixer};

/// Longest record that is read.
const MAX_PAYLOAD: usize = 1 << 16;

/// The record of an entry.
#[must_use]
pub fn record(entry: Entry, filler: usize) -> Bytes {
    let mut payload = vec![0; 32 + filler];
    payload[12..20].copy_from_slice(&entry.zxid.0.to_be_bytes());
    payload[20..28].copy_from_slice(&entry.id.to_be_bytes());
    Bytes::from(payload)
}

/// The record of an entry that changes the ensemble, as a whole server's.
#[must_use]
pub fn reconfig_record(entry: Entry, ensemble: &Ensemble) -> Bytes {
    let header = TxnHeader {
        client_id: 0,
        cxid: 0,
        zxid: entry.zxid,
        time: entry.id.cast_signed(),
    };
    let change = Txn::Reconfig {
        path: "/zookeeper/config".to_owned(),
        data: Some(ensemble.to_text().into()),
        version: -1,
    };
    let mut out = Vec::new();
    txn::encode_record(&mut out, &header, &change, None);
    Bytes::from(out)
}

/// The entry in a record; entries that cannot be read have an id of their own.
#[must_use]
pub fn entry_of(payload: &[u8]) -> Entry {
    let mut hasher = Mixer::default();
    hasher.write(payload);
    let zxid = payload.get(12..20).unwrap_or_default();
    Entry {
        zxid: Zxid(number(zxid).cast_signed()),
        id: hasher.finish(),
    }
}

/// The body of a snapshot: its zxid, the number of entries, the entries, and the length and the
/// bytes of a state.
#[must_use]
pub fn snapshot_body(zxid: Zxid, entries: &[Entry], state: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(24 + entries.len() * 16 + state.len());
    body.extend_from_slice(&zxid.0.to_be_bytes());
    body.extend_from_slice(&(entries.len() as u64).to_be_bytes());
    for entry in entries {
        body.extend_from_slice(&entry.zxid.0.to_be_bytes());
        body.extend_from_slice(&entry.id.to_be_bytes());
    }
    body.extend_from_slice(&(state.len() as u64).to_be_bytes());
    body.extend_from_slice(state);
    body
}

fn number(bytes: &[u8]) -> u64 {
    bytes.try_into().map_or(0, u64::from_be_bytes)
}

/// The bytes of the state in a snapshot's body.
#[must_use]
pub fn state_of(body: &[u8]) -> &[u8] {
    let entries = usize::try_from(number(body.get(8..16).unwrap_or_default()));
    body.get(24 + entries.unwrap_or(0) * 16..)
        .unwrap_or_default()
}

/// The entries of a snapshot's body.
#[must_use]
pub fn entries_of(body: &[u8]) -> Vec<Entry> {
    let count = usize::try_from(number(body.get(8..16).unwrap_or_default()));
    let chunks = body.get(16..).unwrap_or_default().chunks_exact(16);
    chunks
        .take(count.unwrap_or(0))
        .map(|chunk| Entry {
            zxid: Zxid(number(&chunk[..8]).cast_signed()),
            id: number(&chunk[8..]),
        })
        .collect()
}

/// What a start finds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found {
    /// The whole history.
    pub entries: Vec<Entry>,
    /// The end of it, which may be the beginning of an epoch without any entry.
    pub last: Zxid,
    /// The epoch files.
    pub epochs: Epochs,
    /// The state in the snapshot, and its zxid.
    pub state: Vec<u8>,
    /// See above.
    pub base: Zxid,
    /// The records behind it.
    pub records: Vec<Vec<u8>>,
    /// The ensemble in force, and a proposed one.
    pub ensemble: Arc<Ensemble>,
    /// See above.
    pub next_ensemble: Option<Arc<Ensemble>>,
}

/// What the thread is asked to do, in order.
#[derive(Clone, Debug)]
pub enum Job {
    /// Append a record.
    Append(Proposal),
    /// Write an epoch file.
    Epoch(EpochKind, u32),
    /// Cut the log.
    Truncate(Zxid),
    /// Put a leader's snapshot in place of everything.
    Install(LinkId, Zxid, Vec<u8>),
    /// Read old records.
    History(LinkId, Zxid, Zxid),
    /// Write a snapshot of the applied state, and perhaps purge old files.
    Snapshot(Zxid, Vec<u8>),
    /// Remember an ensemble that is proposed.
    NextEnsemble(Arc<Ensemble>),
    /// Forget the ensemble that was proposed.
    ForgetNextEnsemble,
    /// Write down the ensemble that is in force.
    Activate(Arc<Ensemble>),
}

/// What has come of it.
#[derive(Clone, Debug)]
pub enum Done {
    /// To tell the core.
    Event(Event),
    /// The log is cut, and the state is what the disk says now.
    Reloaded(Event, Found),
    /// The ensemble of this version is in force, and the disk says so.
    Activated(i64),
}

/// See the module.
pub struct Storage {
    /// The disk; it outlives the process.
    pub disk: SimDisk,
    shared: Arc<dyn Disk>,
    dir: Option<DataDir>,
    log: Option<LogWriter>,
    options: LogOptions,
    /// What is to be done, by lane: everything in the first, or epochs in the second.
    pub lanes: [VecDeque<Job>; 2],
    /// The state of a new server.
    initial: Vec<u8>,
    /// The ensemble that it knows before any other.
    first: Arc<Ensemble>,
    /// Whether the ensemble may change.
    is_changing: bool,
    /// What each lane is doing.
    pub busy: [Vec<Job>; 2],
}

impl std::fmt::Debug for Storage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Storage").finish_non_exhaustive()
    }
}

impl Storage {
    /// A new disk.
    #[must_use]
    pub fn new(
        segment_bytes: u64,
        initial: Vec<u8>,
        first: Arc<Ensemble>,
        is_changing: bool,
    ) -> Self {
        let disk = SimDisk::new();
        Self {
            shared: Arc::new(disk.clone()),
            disk,
            dir: None,
            log: None,
            options: LogOptions {
                preallocate: 512,
                size_limit: segment_bytes,
                force_sync: true,
                direct: true,
            },
            lanes: [VecDeque::new(), VecDeque::new()],
            initial,
            first,
            is_changing,
            busy: [Vec::new(), Vec::new()],
        }
    }

    /// The process is gone.
    pub fn stop(&mut self) {
        self.dir = None;
        self.log = None;
        self.lanes = [VecDeque::new(), VecDeque::new()];
        self.busy = [Vec::new(), Vec::new()];
    }

    /// A process starts on this disk.
    ///
    /// # Errors
    /// When the store refuses.
    pub fn start(&mut self) -> Result<Found, StoreError> {
        let root = PathBuf::from("/d");
        let dir = DataDir::open(&self.disk, &root, &root, true)?;
        let is_new = recovery::snapshots(&self.disk, &dir.snapshots)?
            .candidates
            .is_empty()
            && !recovery::has_records(&self.disk, &dir.logs, MAX_PAYLOAD)?;
        self.log = Some(LogWriter::new(
            Arc::clone(&self.shared),
            dir.logs.clone(),
            self.options,
        ));
        self.dir = Some(dir);
        if is_new {
            let body = snapshot_body(Zxid::ZERO, &[], &self.initial);
            self.write_snapshot(Zxid::ZERO, &body)?;
        }
        let (found, snapshot, replayed) = self.load()?;
        let logs = &self.opened()?.logs;
        recovery::settle(&self.disk, logs, Some(&snapshot), &replayed)?;
        Ok(found)
    }

    /// What the disk holds.
    ///
    /// # Errors
    /// When acknowledged writes could be missing.
    fn load(&self) -> Result<(Found, PathBuf, Replayed), StoreError> {
        let dir = self.opened()?;
        let mut rejected: Vec<(Zxid, StoreError)> = Vec::new();
        for file in recovery::snapshots(&self.disk, &dir.snapshots)?.candidates {
            let body = match self.read_body(&file) {
                Ok(body) => body,
                Err(error) if error.is_corrupt() => {
                    rejected.push((file.zxid, error));
                    continue;
                }
                Err(error) => return Err(error),
            };
            let mut entries = entries_of(&body);
            let mut records = Vec::new();
            let mut apply = |_: Zxid, payload: &[u8]| {
                entries.push(entry_of(payload));
                records.push(payload.to_vec());
                Ok(())
            };
            let logs = &dir.logs;
            let replayed =
                recovery::replay(&self.shared, logs, file.zxid, MAX_PAYLOAD, &mut apply)?;
            let lost = |(zxid, _): &(Zxid, StoreError)| *zxid > replayed.last;
            if let Some((_, error)) = rejected.into_iter().find(lost) {
                return Err(error);
            }
            let last = replayed.last;
            let epochs = epoch_file::load(&self.disk, &dir.snapshots, last)?;
            let (ensemble, next_ensemble) = if self.is_changing {
                ensemble_files::load(&self.disk, &self.first)?
            } else {
                (Arc::clone(&self.first), None)
            };
            let found = Found {
                entries,
                last,
                epochs,
                state: state_of(&body).to_vec(),
                base: file.zxid,
                records,
                ensemble,
                next_ensemble,
            };
            return Ok((found, file.path, replayed));
        }
        Err(rejected.into_iter().next().map_or_else(
            || StoreError::Layout {
                path: dir.snapshots.clone(),
                what: "there is no snapshot".into(),
                advice: String::new(),
            },
            |(_, error)| error,
        ))
    }

    fn read_body(&self, file: &roo_store::file_name::SnapshotFile) -> Result<Vec<u8>, StoreError> {
        let mut reader = SnapshotReader::open(&self.disk, file)?;
        let mut body = vec![0; 16];
        reader.read_exact(&mut body)?;
        let count = usize::try_from(u64::from_be_bytes([
            body[8], body[9], body[10], body[11], body[12], body[13], body[14], body[15],
        ]));
        let count = count.unwrap_or(usize::MAX);
        if count > 1 << 20 {
            return Err(reader.corrupt("unreasonable number of entries"));
        }
        let mut rest = vec![0; count * 16 + 8];
        reader.read_exact(&mut rest)?;
        let length = usize::try_from(number(rest.get(count * 16..).unwrap_or_default()));
        let length = length.unwrap_or(usize::MAX);
        if length > 1 << 24 {
            return Err(reader.corrupt("unreasonable length of the state"));
        }
        let mut state = vec![0; length];
        reader.read_exact(&mut state)?;
        rest.extend_from_slice(&state);
        reader.finish()?;
        body.extend_from_slice(&rest);
        Ok(body)
    }

    fn opened(&self) -> Result<&DataDir, StoreError> {
        self.dir.as_ref().ok_or_else(stopped)
    }

    fn write_snapshot(&self, zxid: Zxid, body: &[u8]) -> Result<PathBuf, StoreError> {
        let dir = &self.opened()?.snapshots;
        let mut writer =
            SnapshotWriter::create(Arc::clone(&self.shared), dir, zxid, Compression::Plain)?;
        writer.write(body)?;
        writer.finish(Trailer {
            digest: None,
            last_zxid: Some(zxid),
        })
    }

    /// Takes the next work of a lane, if it is idle; what can be written at once is.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn begin(&mut self, lane: usize) -> Result<bool, StoreError> {
        if !self.busy[lane].is_empty() {
            return Ok(false);
        }
        let Some(first) = self.lanes[lane].pop_front() else {
            return Ok(false);
        };
        let is_append = matches!(first, Job::Append(_));
        self.busy[lane].push(first);
        while is_append && matches!(self.lanes[lane].front(), Some(Job::Append(_))) {
            self.busy[lane].extend(self.lanes[lane].pop_front());
        }
        let mut bytes = Vec::new();
        let mut start = None;
        for job in &self.busy[lane] {
            if let Job::Append(proposal) = job {
                start.get_or_insert(proposal.zxid);
                encode_record(&mut bytes, &[&proposal.txn]);
            }
        }
        if let Some(start) = start {
            self.writer()?.append(start, &bytes)?;
        }
        Ok(true)
    }

    fn writer(&mut self) -> Result<&mut LogWriter, StoreError> {
        self.log.as_mut().ok_or_else(stopped)
    }

    /// Ends the work of a lane.
    ///
    /// # Errors
    /// When the disk refuses: the process must end.
    pub fn finish(&mut self, lane: usize) -> Result<Vec<Done>, StoreError> {
        let jobs = std::mem::take(&mut self.busy[lane]);
        let last = jobs.iter().rev().find_map(|job| match job {
            Job::Append(proposal) => Some(proposal.zxid),
            _ => None,
        });
        if let Some(upto) = last {
            self.writer()?.sync()?;
            return Ok(vec![Done::Event(Event::LogDurable { upto })]);
        }
        match jobs.into_iter().next() {
            None | Some(Job::Append(_)) => Ok(Vec::new()),
            Some(Job::Epoch(which, epoch)) => {
                let file = match which {
                    EpochKind::Accepted => EpochFile::Accepted,
                    EpochKind::Current => EpochFile::Current,
                };
                epoch_file::store(&self.disk, &self.opened()?.snapshots, file, epoch)?;
                Ok(vec![Done::Event(Event::EpochDurable { which, epoch })])
            }
            Some(Job::Truncate(after)) => {
                let (Some(dir), Some(log)) = (&self.dir, &mut self.log) else {
                    return Err(stopped());
                };
                rewind::truncate(&self.shared, dir, log, after, MAX_PAYLOAD)?;
                let (found, ..) = self.load()?;
                let event = Event::Truncated { last: found.last };
                Ok(vec![Done::Reloaded(event, found)])
            }
            Some(Job::Install(link, zxid, body)) => self.install(link, zxid, &body),
            Some(Job::History(link, from, upto)) => self.history(link, from, upto),
            Some(Job::NextEnsemble(ensemble)) => {
                ensemble_files::remember(&self.disk, &ensemble)?;
                Ok(Vec::new())
            }
            Some(Job::ForgetNextEnsemble) => {
                ensemble_files::forget(&self.disk)?;
                Ok(Vec::new())
            }
            Some(Job::Activate(ensemble)) => {
                ensemble_files::activate(&self.disk, &ensemble)?;
                Ok(vec![Done::Activated(ensemble.version)])
            }
            Some(Job::Snapshot(zxid, body)) => {
                self.write_snapshot(zxid, &body)?;
                self.writer()?.roll();
                retention::purge(&self.disk, self.opened()?, retention::MIN_RETAINED)?;
                Ok(Vec::new())
            }
        }
    }

    fn install(&mut self, link: LinkId, zxid: Zxid, body: &[u8]) -> Result<Vec<Done>, StoreError> {
        let (Some(dir), Some(log)) = (&self.dir, &mut self.log) else {
            return Err(stopped());
        };
        rewind::before_snapshot(&self.shared, dir, log, zxid, MAX_PAYLOAD)?;
        let path = self.write_snapshot(zxid, body)?;
        let (Some(dir), Some(log)) = (&self.dir, &mut self.log) else {
            return Err(stopped());
        };
        rewind::after_snapshot(&self.shared, dir, log, &path)?;
        let (found, ..) = self.load()?;
        let event = Event::SnapshotInstalled { link, zxid };
        Ok(vec![Done::Reloaded(event, found)])
    }

    fn history(&mut self, link: LinkId, from: Zxid, upto: Zxid) -> Result<Vec<Done>, StoreError> {
        let logs = &self.opened()?.logs;
        let part = |history| Done::Event(Event::HistoryRead { link, history });
        let reader = match HistoryReader::open(&self.shared, logs, from, upto, MAX_PAYLOAD) {
            Ok(reader) => reader,
            // The state is sound, or this server would not have started.
            Err(error) if error.is_corrupt() => None,
            Err(error) => return Err(error),
        };
        let Some(mut reader) = reader else {
            return Ok(vec![part(History::Unavailable)]);
        };
        let mut done = Vec::new();
        loop {
            let (found, end) = reader.next_records(200)?;
            let records = found
                .into_iter()
                .map(|(zxid, payload)| proposal_of(zxid, Bytes::from(payload)));
            let records = records.collect();
            done.push(part(History::Records { records, end }));
            if end {
                return Ok(done);
            }
        }
    }
}

fn stopped() -> StoreError {
    StoreError::Io {
        path: PathBuf::from("/d"),
        op: "use",
        source: Arc::new(io::Error::other("the process is gone")),
    }
}
