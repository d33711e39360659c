//! What goes wrong, when, and how it is mended.

use std::io;
use std::path::{Path, PathBuf};

use crate::options::Groups;
use crate::world::{Damage, Happening, World};

/// See the module. Servers are counted from 0.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields say what they are.
pub enum Fault {
    /// A process starts.
    Start { server: usize },
    /// A process ends at some effect boundary soon, or now; or all of them do.
    Crash,
    /// A process stands still for a while.
    Pause,
    /// It goes on.
    Resume { server: usize, life: u64 },
    /// Packets between some servers stand still for a while.
    Partition,
    /// They flow again.
    Heal { ways: Vec<(usize, usize)> },
    /// A link is reset.
    Reset,
    /// A clock runs at another rate, and the wall clock jumps by up to a day.
    Skew,
    /// A disk fails after a few more steps; the process ends then.
    DiskFailure,
    /// A byte of a stopped process's disk changes.
    Rot,
    /// The damaged disk is replaced by its backup of that moment.
    Restore { server: usize },
    /// A server writes a snapshot and purges old files.
    Snapshot,
    /// An operator changes the ensemble.
    Reconfigure,
}

impl World {
    /// The first of each kind that this seed has.
    pub fn schedule_faults(&mut self) {
        for fault in [
            Fault::Crash,
            Fault::Pause,
            Fault::Partition,
            Fault::Reset,
            Fault::Skew,
            Fault::DiskFailure,
            Fault::Rot,
            Fault::Snapshot,
            Fault::Reconfigure,
        ] {
            self.schedule_next(fault);
        }
    }

    fn rate(&self, fault: &Fault) -> u64 {
        let options = &self.options;
        match fault {
            Fault::Crash => options.crashes,
            Fault::Pause => options.pauses,
            Fault::Partition => options.partition_rate().0,
            Fault::Reset => options.resets,
            Fault::Skew => options.skews,
            Fault::DiskFailure => options.disk_failures,
            Fault::Rot => options.rot,
            Fault::Snapshot => options.snapshots,
            Fault::Reconfigure => options.reconfigurations,
            Fault::Start { .. }
            | Fault::Resume { .. }
            | Fault::Heal { .. }
            | Fault::Restore { .. } => 0,
        }
    }

    fn schedule_next(&mut self, fault: Fault) {
        let rate = self.rate(&fault);
        if let Some(most) = 2_000_000_000_u64.checked_div(rate) {
            let us = self.rng.below(most);
            self.after(us, Happening::Fault(fault));
        }
    }

    pub(crate) fn on_fault(&mut self, fault: Fault) {
        if !self.is_stormy {
            if let Fault::Start { server } = fault {
                self.start(server);
            }
            return;
        }
        self.schedule_next(fault.clone());
        match fault {
            Fault::Start { server } => self.start(server),
            Fault::Crash => self.begin_crash(),
            Fault::Pause => self.begin_pause(),
            Fault::Resume { server, life } => {
                if self.servers[server].life == life {
                    self.resume(server);
                }
            }
            Fault::Partition => self.begin_partition(),
            Fault::Heal { ways } => self.heal(&ways),
            Fault::Reset => {
                let links: Vec<usize> = self.network.links.keys().copied().collect();
                if !links.is_empty() {
                    let link = self.rng.pick(&links);
                    self.reset_link(link);
                }
            }
            Fault::Skew => {
                let server = self.rng.index(self.servers.len());
                let rate = self.rng.between(800, 1250);
                let now = self.now;
                self.servers[server].clock.set_rate(now, rate);
                let day_ms = 86_400_000;
                let ahead = self.rng.below(2 * day_ms).cast_signed() - day_ms.cast_signed();
                self.servers[server].wall_ahead_ms = ahead;
                self.rearm(server);
            }
            Fault::DiskFailure => {
                let server = self.rng.index(self.servers.len());
                let kind = self
                    .rng
                    .pick(&[io::ErrorKind::StorageFull, io::ErrorKind::Other]);
                let step = self.rng.below(8);
                let disk = &self.servers[server].storage.disk;
                disk.fail_from(disk.steps() + step, kind);
            }
            Fault::Rot => self.rot(),
            Fault::Restore { server } => {
                self.restore(server);
                self.start(server);
            }
            Fault::Snapshot => self.take_snapshot(),
            Fault::Reconfigure => self.reconfigure(),
        }
    }

    fn begin_crash(&mut self) {
        if self.rng.chance(self.options.crash_all) {
            for server in 0..self.servers.len() {
                self.crash(server);
            }
            return;
        }
        let server = self.victim();
        if self.servers[server].paused || self.rng.chance(300) {
            self.crash(server);
        } else if self.servers[server].is_up() {
            self.servers[server].crash_in = Some(self.rng.below(10));
        }
    }

    /// Any server, but the leader more often: it has most to lose.
    fn victim(&mut self) -> usize {
        match self.leader() {
            Some(leader) if self.rng.chance(300) => leader,
            _ => self.rng.index(self.servers.len()),
        }
    }

    fn begin_pause(&mut self) {
        let server = self.victim();
        if self.servers[server].is_up() && !self.servers[server].paused {
            self.servers[server].paused = true;
            let life = self.servers[server].life;
            let us = self.rng.below(self.options.pause_max_ms * 1000);
            self.after(us, Happening::Fault(Fault::Resume { server, life }));
        }
    }

    /// Full (two groups), partial (one pair), one-way, or flapping.
    fn begin_partition(&mut self) {
        let count = self.servers.len();
        let mut ways = Vec::new();
        let (a, b) = (self.victim(), self.rng.index(count));
        match self.rng.below(4) {
            0 => {
                let group = self.rng.next_u64();
                let side = |server: usize| group >> (server % 64) & 1;
                for from in 0..count {
                    for to in 0..count {
                        if side(from) != side(to) {
                            ways.push((from, to));
                        }
                    }
                }
            }
            1 => ways.extend([(a, b), (b, a)]),
            2 => ways.push((a, b)),
            _ => {
                for other in 0..count {
                    ways.extend([(a, other), (other, a)]);
                }
            }
        }
        ways.retain(|(from, to)| from != to);
        let flaps = if self.rng.chance(200) { 4 } else { 1 };
        let longest = self.options.partition_rate().1 * 1000;
        for _ in 0..flaps {
            let us = self.rng.below(longest);
            for (from, to) in &ways {
                self.network.block(*from, *to);
            }
            let ways = ways.clone();
            self.after(us, Happening::Fault(Fault::Heal { ways }));
        }
        self.notice(&ways, false);
    }

    /// Some of those concerned notice, others only by silence.
    fn notice(&mut self, ways: &[(usize, usize)], open: bool) {
        for (from, to) in ways {
            if self.servers[*from].is_up() && (open || self.rng.chance(300)) {
                self.way(*from, *to, open);
            }
        }
    }

    fn heal(&mut self, ways: &[(usize, usize)]) {
        for (from, to) in ways {
            self.network.unblock(*from, *to);
        }
        let open: Vec<(usize, usize)> = ways
            .iter()
            .copied()
            .filter(|(a, b)| !self.network.is_blocked(*a, *b) && !self.network.is_blocked(*b, *a))
            .collect();
        self.notice(&open, true);
        self.resume_links();
    }

    /// A minority of the voters may have damaged disks at a time: more could lose everything.
    fn rot(&mut self) {
        let damaged = self.servers.iter().filter(|s| s.is_damaged).count();
        let server = self.rng.index(self.servers.len());
        let is_candidate = !self.servers[server].is_up() && !self.servers[server].is_damaged;
        if !is_candidate || (damaged + 1) * 2 > self.options.voters {
            return;
        }
        if self.options.groups != Groups::Off && !self.is_whole_without(server) {
            return;
        }
        // The epoch files have no checksum: Apache's format cannot tell that they are damaged.
        let files = self.servers[server].storage.disk.files();
        let has_checksums = |path: &Path| {
            let name = path.file_name().and_then(|name| name.to_str());
            name.is_some_and(|name| name.starts_with("log.") || name.starts_with("snapshot."))
        };
        let files: Vec<_> = files
            .into_iter()
            .filter(|(path, content)| !content.is_empty() && has_checksums(path))
            .collect();
        if files.is_empty() {
            return;
        }
        let (path, content) = &files[self.rng.index(files.len())];
        let at = self.rng.index(content.len());
        let mask = 1 << self.rng.below(8);
        let mut content = content.clone();
        content[at] ^= mask;
        self.servers[server].storage.disk.flip(path, at, mask);
        self.servers[server].is_damaged = true;
        let path = path.clone();
        let damage = Damage {
            path,
            at,
            mask,
            content,
        };
        self.damages.insert(server, damage);
        let us = self.rng.below(self.options.down_max_ms * 3_000);
        self.after(us, Happening::Fault(Fault::Restore { server }));
    }

    /// The operator puts the file back, if it is still the damaged one.
    fn restore(&mut self, server: usize) {
        if self.servers[server].is_up() {
            return;
        }
        let Some(damage) = self.damages.get(&server) else {
            return;
        };
        let disk = &self.servers[server].storage.disk;
        let is_same = |(path, content): &(PathBuf, Vec<u8>)| {
            *path == damage.path && *content == damage.content
        };
        if disk.files().iter().any(is_same) {
            disk.flip(&damage.path, damage.at, damage.mask);
            self.servers[server].is_damaged = false;
            self.damages.remove(&server);
        }
    }

    fn take_snapshot(&mut self) {
        let server = self.rng.index(self.servers.len());
        self.snapshot(server);
    }

    /// The end of the storm: everything is mended, and every server runs.
    pub fn calm(&mut self) {
        self.is_stormy = false;
        self.network.unblock_all();
        for server in 0..self.servers.len() {
            self.restore(server);
        }
        let now = self.now;
        for server in 0..self.servers.len() {
            self.servers[server].crash_in = None;
            self.servers[server].clock.set_rate(now, 1000);
            let disk = &self.servers[server].storage.disk;
            disk.fail_from(u64::MAX, io::ErrorKind::Other);
            if self.servers[server].paused {
                self.resume(server);
            }
        }
        for server in 0..self.servers.len() {
            if self.servers[server].is_up() {
                self.rearm(server);
            } else {
                self.start(server);
            }
        }
        self.resume_links();
        for a in 0..self.servers.len() {
            for b in 0..self.servers.len() {
                if a != b {
                    self.way(a, b, true);
                }
            }
        }
    }
}
