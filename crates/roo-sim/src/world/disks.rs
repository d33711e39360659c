//! The disks of a world, and the snapshots that are read from and written to them.

use roo_proto::ids::Zxid;
use roo_replica::peer_message::PeerMessage;
use roo_zab::event::EpochKind;
use roo_zab::message::LinkId;
use roo_zab::{Event, Message};

use crate::fact::{Entry, Fact};
use crate::storage::{self, Done, Found, Job};
use crate::whole::Whole;

use super::{Happening, World};

impl World {
    pub(super) fn start_disk(&mut self, server: usize) {
        for lane in 0..2 {
            match self.servers[server].storage.begin(lane) {
                Ok(false) => {}
                Ok(true) => {
                    let us = self.sync_time();
                    let life = self.servers[server].life;
                    self.after(us, Happening::Disk { server, life, lane });
                }
                Err(_) => {
                    self.crash(server);
                    return;
                }
            }
        }
    }

    pub(super) fn sync_time(&mut self) -> u64 {
        let usual = self
            .rng
            .between(self.options.sync_min_us, self.options.sync_max_us);
        if self.is_stormy && self.rng.chance(self.options.sync_stall) {
            usual + self.rng.below(self.options.tick_ms * 5_000)
        } else {
            usual
        }
    }

    pub(super) fn on_disk(&mut self, server: usize, lane: usize) {
        // A process that stands still hears of it later; the kernel does not.
        let Ok(done) = self.servers[server].storage.finish(lane) else {
            self.crash(server);
            return;
        };
        for done in done {
            match done {
                Done::Event(event) => {
                    self.note_disk(server, &event);
                    self.give(server, event);
                }
                Done::Activated(version) => self.servers[server].safe_version = version,
                Done::Reloaded(event, found) => {
                    self.reloaded(server, event, &found);
                }
            }
            if !self.servers[server].is_up() {
                return;
            }
        }
        self.start_disk(server);
    }

    fn note_disk(&mut self, server: usize, event: &Event) {
        match *event {
            Event::LogDurable { upto } => self.log_is_durable(server, upto),
            Event::EpochDurable {
                which: EpochKind::Accepted,
                epoch,
            } => {
                let server = self.servers[server].id;
                self.observe(&Fact::Promised { server, epoch });
            }
            _ => {}
        }
    }

    pub(super) fn log_is_durable(&mut self, server: usize, upto: Zxid) {
        let process = &mut self.servers[server];
        // While a cut is waiting, the log in memory is ahead of the order of the jobs.
        let log = process.old_log.as_ref().unwrap_or(&process.log);
        let known = process.durable.len();
        let new = log.get(known..).unwrap_or_default().iter();
        let new: Vec<Entry> = new.take_while(|e| e.zxid <= upto).copied().collect();
        process.durable.extend_from_slice(&new);
        let id = process.id;
        if self.may_vote(server) {
            for entry in new {
                self.observe(&Fact::Durable { server: id, entry });
            }
        }
    }

    /// The log was cut or replaced: state and log are what the disk says.
    pub(super) fn reloaded(&mut self, server: usize, event: Event, found: &Found) {
        let (entries, last) = (found.entries.clone(), found.last);
        if matches!(event, Event::SnapshotInstalled { .. }) {
            self.counts.snapshots_installed += 1;
        }
        let process = &mut self.servers[server];
        process.old_log = None;
        // A state that ends before the cut stays as it is.
        let is_kept = matches!(event, Event::Truncated { .. }) && process.state_zxid <= last;
        if !is_kept {
            process.applied.clone_from(&entries);
            process.state_zxid = last;
            let zab = self.servers[server].zab();
            let ensemble = zab.map(|zab| zab.ensemble().clone()).unwrap_or_default();
            let state = self.rebuild(found, &ensemble);
            if let (Some(whole), Some(state)) = (self.servers[server].whole(), state) {
                whole.state = state;
            }
        }
        let process = &mut self.servers[server];
        let id = process.id;
        if entries != process.log {
            let what = format!(
                "server {} reloads {entries:?} instead of {:?}",
                process.id.0, process.log
            );
            self.break_rule("store", what);
        }
        self.servers[server].durable.clone_from(&entries);
        if self.may_vote(server) {
            self.observe(&Fact::DurableIs {
                server: id,
                history: entries,
            });
        }
        self.give(server, event);
    }

    pub(super) fn send_slice(&mut self, server: usize, link: LinkId) {
        let process = &mut self.servers[server];
        let Some(sending) = process.sending.get_mut(&link) else {
            return;
        };
        let zxid = sending.zxid;
        let message = match &mut sending.parts {
            None => {
                let zxid = process.state_zxid;
                let state = process.whole().map(Whole::snapshot).unwrap_or_default();
                let body = storage::snapshot_body(zxid, &process.applied, &state);
                let Some(sending) = process.sending.get_mut(&link) else {
                    return;
                };
                sending.zxid = zxid;
                let size = body.len() / 3 + 1;
                sending.length = body.len() as u64;
                sending.parts = Some(body.chunks(size).map(<[u8]>::to_vec).collect());
                let zxid = sending.zxid;
                PeerMessage::Zab(Message::Snap { zxid })
            }
            Some(parts) => match parts.pop_front() {
                Some(bytes) => PeerMessage::Slice {
                    bytes: bytes.into(),
                },
                None => {
                    let length = sending.length;
                    process.sending.remove(&link);
                    let end = PeerMessage::SliceEnd {
                        length,
                        crc32: 0,
                        digest: None,
                    };
                    self.send(server, link, end);
                    self.give(server, Event::SnapshotSent { link, zxid });
                    return;
                }
            },
        };
        self.send(server, link, message);
        self.next_slice(server, link);
    }

    /// A server writes a snapshot of what it has applied, unless its history is being replaced.
    pub fn snapshot(&mut self, server: usize) {
        let process = &mut self.servers[server];
        if process.epoch().is_some() && process.old_log.is_none() {
            let state = process.whole().map(Whole::snapshot).unwrap_or_default();
            let whole = (process.state_zxid, process.applied.len());
            let (zxid, count) = process.fuzzy.take().unwrap_or(whole);
            let applied = process.applied.get(..count).unwrap_or_default();
            let body = storage::snapshot_body(zxid, applied, &state);
            let job = Job::Snapshot(zxid, body);
            process.storage.lanes[0].push_back(job);
            self.start_disk(server);
        }
    }

    /// With the bug of ZOOKEEPER-3144 a snapshot begins now and is of what there is later; how
    /// much later, in us.
    #[cfg(feature = "rebreak")]
    pub(super) fn begin_fuzzily(&mut self, server: usize) -> u64 {
        if !self.options.are_snapshots_fuzzy {
            return 0;
        }
        let process = &mut self.servers[server];
        process.fuzzy = Some((process.state_zxid, process.applied.len()));
        self.rng.below(self.options.tick_ms * 1000)
    }

    /// Snapshots are exact.
    #[cfg(not(feature = "rebreak"))]
    pub(super) const fn begin_fuzzily(&mut self, _: usize) -> u64 {
        0
    }

    pub(super) fn next_slice(&mut self, server: usize, link: LinkId) {
        let life = self.servers[server].life;
        let us = self.delay();
        self.after(us, Happening::Slice { server, life, link });
    }
}
