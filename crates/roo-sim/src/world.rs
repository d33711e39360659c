//! The clock, the queue of what is to happen, and the network between the processes. Everything
//! happens in the order of (virtual time, order of scheduling), in one thread.

mod disks;
pub(crate) mod ensembles;
mod servers;
mod wires;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use roo_proto::ensemble::Ensemble;
use roo_proto::ids::ServerId;
use roo_replica::event::{ConnId, Event as ReplicaEvent};
use roo_zab::effect::Role;
use roo_zab::message::LinkId;
use roo_zab::{Event, Proposal};

use crate::clients::{Client, ClientConn};
use crate::fact::{Entry, Fact};
use crate::faults::Fault;
use crate::invariants::{Invariants, Violation};
use crate::network::Network;
use crate::options::Options;
use crate::oracle::Oracle;
use crate::process::{Clock, Process};
use crate::recipes::workload::Shared;
use crate::rng::Rng;
use crate::storage::{self};
use crate::users::{UserHappening, Users};

/// Something that is going to happen. Servers are counted from 0, lives tell whether it is still
/// the same process.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields say what they are.
pub enum Happening {
    /// A packet is there for an end of a link.
    Packet { link: usize, side: usize },
    /// A dialled server hears of it.
    Dialled { link: usize },
    /// An end learns that its link is gone.
    LinkLost { link: usize, side: usize },
    /// An election message is there.
    Election { from: usize, to: usize },
    /// The way between two servers is open or closed, as one of them notices.
    Way {
        at: usize,
        life: u64,
        peer: usize,
        open: bool,
    },
    /// A deadline.
    Deadline { server: usize, life: u64 },
    /// The disk has finished something.
    Disk {
        server: usize,
        life: u64,
        lane: usize,
    },
    /// Another part of a snapshot can be sent.
    Slice {
        server: usize,
        life: u64,
        link: LinkId,
    },
    /// An event of a server's own making.
    Own {
        server: usize,
        life: u64,
        event: Event,
    },
    /// A snapshot goes to the disk's queue; then another may be asked for.
    SnapshotEnded { server: usize, life: u64 },
    /// A server's I/O thread hears that its nth question is answered.
    Shown { server: usize, life: u64, nth: u64 },
    /// A client does something.
    ClientTurn { client: usize },
    /// A client's packet is there.
    ClientUp { conn: ConnId },
    /// A server's bytes are there.
    ClientDown { conn: ConnId },
    /// A server learns that a client is gone.
    ClientGone {
        server: usize,
        life: u64,
        conn: ConnId,
    },
    /// Something happens to a user.
    User(UserHappening),
    /// Clients want something written.
    Workload,
    /// Something goes wrong, or is mended.
    Fault(Fault),
}

/// Of what there was how much; for the report and to see that seeds do something.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Counts {
    pub happenings: u64,
    pub proposals: u64,
    pub committed: u64,
    pub epochs: u64,
    pub crashes: u64,
    pub truncations: u64,
    pub snapshots_installed: u64,
    pub histories_read: u64,
    pub refused_starts: u64,
    pub reconfigurations: u64,
    pub local_sessions: u64,
    pub upgrades: u64,
    pub read_only_answers: u64,
    pub answers_of_leaders: u64,
}

impl Counts {
    /// Adds those of another run.
    pub const fn add(&mut self, other: &Self) {
        self.happenings += other.happenings;
        self.proposals += other.proposals;
        self.committed += other.committed;
        self.epochs += other.epochs;
        self.crashes += other.crashes;
        self.truncations += other.truncations;
        self.snapshots_installed += other.snapshots_installed;
        self.histories_read += other.histories_read;
        self.refused_starts += other.refused_starts;
        self.reconfigurations += other.reconfigurations;
        self.local_sessions += other.local_sessions;
        self.upgrades += other.upgrades;
        self.read_only_answers += other.read_only_answers;
        self.answers_of_leaders += other.answers_of_leaders;
    }
}

/// See the module.
#[derive(Debug)]
pub struct World {
    /// The seed's options.
    pub options: Options,
    /// Chance.
    pub rng: Rng,
    /// Virtual time, microseconds.
    pub now: u64,
    queue: BTreeMap<(u64, u64), Happening>,
    scheduled: u64,
    /// The network.
    pub network: Network,
    /// The servers.
    pub servers: Vec<Process>,
    invariants: Invariants,
    /// What was broken first.
    pub violation: Option<Violation>,
    /// See the type.
    pub counts: Counts,
    /// Whether faults still happen.
    pub is_stormy: bool,
    /// Makes contents unique.
    pub next_entry: u64,
    /// A hash over everything that happened: equal for equal runs.
    pub trace: u64,
    /// Prints what happens.
    pub is_verbose: bool,
    /// The clients, their connections, and what they may be told.
    pub clients: Vec<Client>,
    /// See above.
    pub conns: BTreeMap<ConnId, ClientConn>,
    /// See above.
    pub oracle: Oracle,
    /// The text of each ensemble that a client was shown.
    pub shown: BTreeMap<i64, String>,
    /// Of the next connection.
    pub next_conn: u64,
    /// Which whole server has led which epoch.
    led: BTreeSet<(usize, u32)>,
    /// Whether clients have nothing to ask.
    pub is_quiet: bool,
    /// What was damaged on which disk.
    pub damages: BTreeMap<usize, Damage>,
    /// Processes with the real client in them.
    pub users: Users,
    /// What they do, if that is to be checked.
    pub recipes: Option<Arc<Shared>>,
}

/// A byte that is not what was written.
#[derive(Clone, Debug)]
pub struct Damage {
    /// In which file.
    pub path: PathBuf,
    /// At which offset.
    pub at: usize,
    /// Which bits of it.
    pub mask: u8,
    /// The file since then.
    pub content: Vec<u8>,
}

impl World {
    /// The world of a seed, with every server about to start.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let mut rng = Rng::new(options.seed);
        let count = options.voters + options.observers + options.spares;
        let first = Arc::new(ensembles::first(&options));
        let servers = (0..count)
            .map(|at| {
                let id = ServerId(i64::try_from(at).unwrap_or(0) + 1);
                let known = ensembles::known_by(id, &first, &options);
                Process::new(id, &options, Clock::new(rng.below(1 << 40)), known)
            })
            .collect();
        let mut world = Self {
            rng,
            now: 0,
            queue: BTreeMap::new(),
            scheduled: 0,
            network: Network::new(count),
            servers,
            invariants: Invariants::new(&first),
            violation: None,
            counts: Counts::default(),
            is_stormy: true,
            next_entry: 1,
            trace: 0,
            is_verbose: false,
            clients: vec![Client::default(); options.clients],
            conns: BTreeMap::new(),
            oracle: Oracle::default(),
            shown: BTreeMap::new(),
            next_conn: 1,
            led: BTreeSet::new(),
            is_quiet: false,
            damages: BTreeMap::new(),
            users: Users::default(),
            recipes: None,
            options,
        };
        for server in 0..count {
            let at = world.rng.below(50_000);
            world.after(at, Happening::Fault(Fault::Start { server }));
        }
        world.after(0, Happening::Workload);
        for client in 0..world.clients.len() {
            world.after(0, Happening::ClientTurn { client });
        }
        world.schedule_faults();
        world
    }

    /// Schedules something, so many microseconds from now.
    pub fn after(&mut self, us: u64, happening: Happening) {
        self.scheduled += 1;
        self.queue
            .insert((self.now + us, self.scheduled), happening);
    }

    /// Lets things happen until a moment, or until a property is broken.
    pub fn run_until(&mut self, until: u64) {
        while self.violation.is_none() {
            match self.queue.first_key_value() {
                Some(((at, _), _)) if *at <= until => {}
                _ => break,
            }
            let Some(((at, _), happening)) = self.queue.pop_first() else {
                break;
            };
            self.now = at;
            self.happen(happening);
        }
        self.now = self.now.max(until);
    }

    fn note(&mut self, what: &Happening) {
        self.counts.happenings += 1;
        let (kind, a, b) = match what {
            Happening::Packet { link, side } => (1, *link, *side),
            Happening::Dialled { link } => (2, *link, 0),
            Happening::LinkLost { link, side } => (3, *link, *side),
            Happening::Election { from, to } => (4, *from, *to),
            Happening::Way { at, peer, .. } => (5, *at, *peer),
            Happening::Deadline { server, .. } => (6, *server, 0),
            Happening::Disk { server, lane, .. } => (7, *server, *lane),
            Happening::Slice { server, .. } => (8, *server, 0),
            Happening::Own { server, .. } => (11, *server, 0),
            Happening::ClientTurn { client } => (12, *client, 0),
            Happening::SnapshotEnded { server, .. } => (16, *server, 0),
            Happening::ClientUp { .. } => (13, 0, 0),
            Happening::ClientDown { .. } => (14, 0, 0),
            Happening::ClientGone { server, .. } => (15, *server, 0),
            Happening::User(_) => (17, 0, 0),
            Happening::Shown { server, .. } => (18, *server, 0),
            Happening::Workload => (9, 0, 0),
            Happening::Fault(_) => (10, 0, 0),
        };
        for value in [kind, a as u64, b as u64, self.now] {
            self.trace = (self.trace ^ value)
                .wrapping_mul(0x0100_0000_01B3)
                .rotate_left(23);
        }
        if self.is_verbose {
            self.say(|_| format!("{what:?}"));
        }
    }

    /// Prints a line, if asked to.
    #[allow(clippy::print_stdout)]
    pub fn say(&self, what: impl FnOnce(&Self) -> String) {
        if self.is_verbose {
            println!("{:>10.3} ms  {}", self.now as f64 / 1000.0, what(self));
        }
    }

    /// Shows a fact to the checkers.
    pub fn observe(&mut self, fact: &Fact) {
        if self.violation.is_none()
            && let Err(violation) = self.invariants.observe(fact)
        {
            self.violation = Some(violation);
        }
    }

    /// A property is broken.
    pub fn break_rule(&mut self, invariant: &'static str, what: String) {
        if self.violation.is_none() {
            self.violation = Some(Violation { invariant, what });
        }
    }

    fn happen(&mut self, happening: Happening) {
        self.note(&happening);
        match happening {
            Happening::Packet { link, side } => self.on_packet(link, side),
            Happening::Dialled { link } => self.on_dialled(link),
            Happening::LinkLost { link, side } => self.lose_link(link, side),
            Happening::Election { from, to } => self.on_election(from, to),
            Happening::Way {
                at,
                life,
                peer,
                open,
            } => {
                let peer_id = self.servers[peer].id;
                let event = if open {
                    Event::Reachable { peer: peer_id }
                } else {
                    Event::Unreachable { peer: peer_id }
                };
                if self.servers[at].life == life {
                    self.give(at, event);
                }
            }
            Happening::Deadline { server, life } => {
                let process = &mut self.servers[server];
                if process.life == life && process.deadline == Some(self.now) {
                    process.deadline = None;
                    self.give(server, Event::DeadlineReached);
                }
            }
            Happening::Disk { server, life, lane } => {
                if self.servers[server].life == life {
                    self.on_disk(server, lane);
                }
            }
            Happening::Slice { server, life, link } => {
                if self.servers[server].life == life {
                    self.send_slice(server, link);
                }
            }
            Happening::Own {
                server,
                life,
                event,
            } => {
                if self.servers[server].life == life {
                    self.give(server, event);
                }
            }
            Happening::SnapshotEnded { server, life } => {
                if self.servers[server].life == life {
                    self.snapshot(server);
                    self.give_replica(server, ReplicaEvent::SnapshotEnded);
                }
            }
            Happening::Shown { server, life, nth } => self.on_shown(server, life, nth),
            Happening::ClientTurn { client } => self.on_client_turn(client),
            Happening::ClientUp { conn } => self.on_client_up(conn),
            Happening::ClientDown { conn } => self.on_client_down(conn),
            Happening::ClientGone { server, life, conn } => {
                if self.servers[server].life == life {
                    self.forget_client(server, conn);
                }
            }
            Happening::User(happening) => self.on_user(happening),
            Happening::Workload => self.on_workload(),
            Happening::Fault(fault) => self.on_fault(fault),
        }
    }

    /// How long a packet takes.
    pub(crate) fn delay(&mut self) -> u64 {
        let usual = self
            .rng
            .between(self.options.delay_min_us, self.options.delay_max_us);
        if self.is_stormy && self.rng.chance(self.options.delay_spike) {
            usual + self.rng.below(self.options.tick_ms * 2_000)
        } else {
            usual
        }
    }

    /// The server that leads and knows it, if any; of two, the one of the later epoch.
    #[must_use]
    pub fn leader(&self) -> Option<usize> {
        let leading = |at: &usize| matches!(self.servers[*at].role, Role::Leading { .. });
        (0..self.servers.len())
            .filter(leading)
            .max_by_key(|at| self.servers[*at].epoch())
    }

    fn on_workload(&mut self) {
        let us = 1_000_000_000 / self.options.proposals.max(1);
        let us = self.rng.between(0, us * 2);
        self.after(us, Happening::Workload);
        // Each that believes to lead is asked: an old leader must not get anything committed.
        for server in 0..self.servers.len() {
            if matches!(self.servers[server].role, Role::Leading { .. }) && self.rng.chance(700) {
                let burst = self.rng.between(1, self.options.burst);
                for _ in 0..burst {
                    self.propose(server);
                }
            }
        }
    }

    /// A leader decides a transaction.
    pub fn propose(&mut self, server: usize) -> Option<Entry> {
        self.propose_with(server, |content, rng| {
            let filler = rng.index(60);
            (storage::record(content, filler), None)
        })
    }

    /// A leader decides what `make` makes of a place and a unique number.
    fn propose_with(
        &mut self,
        server: usize,
        make: impl FnOnce(Entry, &mut Rng) -> (Bytes, Option<Arc<Ensemble>>),
    ) -> Option<Entry> {
        let process = &self.servers[server];
        if process.paused || !self.clients.is_empty() {
            return None;
        }
        let zxid = process.zab()?.next_zxid()?;
        let epoch = process.epoch()?;
        let content = Entry {
            zxid,
            id: self.next_entry,
        };
        let (txn, ensemble) = make(content, &mut self.rng);
        let entry = storage::entry_of(&txn);
        self.next_entry += 1;
        self.counts.proposals += 1;
        let id = process.id;
        self.observe(&Fact::Broadcast {
            server: id,
            epoch,
            entry,
        });
        let proposal = Proposal {
            zxid,
            txn,
            ensemble,
        };
        self.give(server, Event::Propose { proposal });
        Some(entry)
    }

    /// A paused process goes on.
    pub fn resume(&mut self, server: usize) {
        self.servers[server].paused = false;
        let waiting: VecDeque<Event> = std::mem::take(&mut self.servers[server].inbox);
        let life = self.servers[server].life;
        for event in waiting {
            if self.servers[server].life != life {
                return;
            }
            self.give(server, event);
        }
        self.rearm(server);
        self.resume_links();
    }
}
