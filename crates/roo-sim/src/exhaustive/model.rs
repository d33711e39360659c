//! Three servers without bytes: disks are lists, links are queues, time passes when nothing else
//! happens. Cheap to copy, so that a search can go both ways from any step.

mod fingerprint;
mod links;
mod turns;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use roo_proto::ensemble::{Ensemble, Member, MemberRole, Voting};
use roo_proto::ids::{ServerId, Time, Zxid};
use roo_zab::config::Recovered;
use roo_zab::effect::Role;
use roo_zab::event::{EpochKind, History};
use roo_zab::message::LinkId;
use roo_zab::{Effect, Event, Message, Notification, Proposal, Zab};

use super::Budget;
use crate::fact::{Entry, Fact};
use crate::invariants::{Invariants, Violation, conduct};
use crate::options::Options;
use crate::process::config;
use crate::storage::{entry_of, record};
use fingerprint::NodePrint;
use turns::{Channel, Turns};

/// Steps that a run may take at most.
const MAX_STEPS: u64 = 900;
/// Times that time may pass behind the last disruption: enough for an election and a
/// synchronisation.
const MAX_PATIENCE: u64 = 150;
/// Transactions in a run.
const TRANSACTIONS: u64 = 4;

/// Something that goes wrong; servers are counted from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disruption {
    /// A server crashes; what was on its way to the disk is lost, or there.
    Crash { server: usize, is_kept: bool },
    /// A server is cut off for a while.
    Partition { server: usize },
    /// Whatever is next comes last.
    Delay,
}

#[derive(Clone, Debug)]
enum Packet {
    Opened,
    Zab(Message),
    /// The content of a snapshot.
    Content(Vec<Entry>),
    Closed,
}

/// Who dialled, and what it calls the link.
type LinkKey = (usize, LinkId);

#[derive(Clone, Debug)]
struct Link {
    ends: [Option<(usize, LinkId)>; 2],
    target: usize,
    queues: [VecDeque<Packet>; 2],
}

#[derive(Clone, Debug)]
enum Job {
    Append(Proposal),
    Epoch(EpochKind, u32),
    Truncate(Zxid),
    Install(LinkId, Zxid, Vec<Entry>),
    History(LinkId, Zxid, Zxid),
}

#[derive(Clone, Debug, Default)]
struct Disk {
    log: Vec<Entry>,
    /// The zxid of the state, where it is higher than that of the last entry.
    floor: Zxid,
    accepted: u32,
    current: u32,
}

#[derive(Clone, Debug)]
struct Node {
    zab: Option<Zab>,
    role: Role,
    disk: Disk,
    jobs: VecDeque<Job>,
    /// What it tells itself.
    own: VecDeque<Event>,
    applied: Vec<Entry>,
    state_zxid: Zxid,
    contents: BTreeMap<LinkId, Option<Vec<Entry>>>,
    wanted: BTreeMap<LinkId, Zxid>,
    next_accepted: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Model {
    options: Arc<Options>,
    ensemble: Arc<Ensemble>,
    nodes: Vec<Node>,
    /// Of each node as it is now, once it was asked for.
    prints: Vec<Option<NodePrint>>,
    links: BTreeMap<LinkKey, Link>,
    elections: BTreeMap<(usize, usize), Notification>,
    turns: Turns,
    now: u64,
    cut_off: BTreeMap<usize, u64>,
    /// The bytes of each transaction, by its entry's id.
    contents: BTreeMap<u64, Bytes>,
    proposed: u64,
    patience: u64,
    invariants: Invariants,
    pub(super) steps: u64,
    pub(super) violation: Option<Violation>,
}

impl Model {
    pub(super) fn new(options: &Options) -> Self {
        let node = Node {
            zab: None,
            role: Role::Looking,
            disk: Disk::default(),
            jobs: VecDeque::new(),
            own: VecDeque::new(),
            applied: Vec::new(),
            state_zxid: Zxid::ZERO,
            contents: BTreeMap::new(),
            wanted: BTreeMap::new(),
            next_accepted: 1,
        };
        let member = Member {
            addresses: Vec::new(),
            role: MemberRole::Voter,
            client: None,
        };
        let members = (1..=3).map(|id| (ServerId(id), member.clone())).collect();
        let ensemble = Arc::new(Ensemble {
            version: 0,
            members,
            voting: Voting::Majority,
        });
        let mut model = Self {
            options: Arc::new(options.clone()),
            ensemble: Arc::clone(&ensemble),
            nodes: vec![node; 3],
            prints: vec![None; 3],
            links: BTreeMap::new(),
            elections: BTreeMap::new(),
            turns: Turns::default(),
            now: 1000,
            cut_off: BTreeMap::new(),
            contents: BTreeMap::new(),
            proposed: 0,
            patience: MAX_PATIENCE,
            invariants: Invariants::new(&ensemble),
            steps: 0,
            violation: None,
        };
        for server in 0..3 {
            model.start(server);
        }
        model
    }

    /// What may go wrong now and not as well later: what touches a server that the next step does
    /// not touch leads to the same state behind that step.
    pub(super) fn disruptions(&self, budget: Budget) -> Vec<Disruption> {
        let mut found = Vec::new();
        if budget.delays > 0 && self.turns.len() > 1 {
            found.push(Disruption::Delay);
        }
        let touched = self.next_touches();
        for (server, node) in self.nodes.iter().enumerate() {
            if node.zab.is_none() || !touched[server] {
                continue;
            }
            if budget.crashes > 0 {
                found.push(Disruption::Crash {
                    server,
                    is_kept: false,
                });
                let writes = |job: &Job| !matches!(job, Job::History(..));
                if node.jobs.iter().any(writes) {
                    found.push(Disruption::Crash {
                        server,
                        is_kept: true,
                    });
                }
            }
            if budget.partitions > 0 && self.cut_off.is_empty() {
                found.push(Disruption::Partition { server });
            }
        }
        found
    }

    /// Which servers the next step reads or changes.
    fn next_touches(&self) -> [bool; 3] {
        let mut touched = [false; 3];
        match self.turns.first() {
            // When time passes everybody may notice.
            None => touched = [true; 3],
            Some(Channel::Own(server) | Channel::Disk(server) | Channel::Propose(server)) => {
                touched[server] = true;
            }
            Some(Channel::Election(from, to)) => {
                touched[from] = true;
                touched[to] = true;
            }
            Some(Channel::Dial(key) | Channel::Packet(key, _)) => {
                touched[key.0] = true;
                if let Some(link) = self.links.get(&key) {
                    touched[link.target] = true;
                }
            }
        }
        touched
    }

    /// It goes wrong; what may still go wrong afterwards.
    pub(super) fn disrupt(&mut self, disruption: Disruption, budget: Budget) -> Budget {
        self.patience = MAX_PATIENCE;
        let mut left = budget;
        left.disruptions -= 1;
        match disruption {
            Disruption::Delay => {
                left.delays -= 1;
                self.turns.delay();
            }
            Disruption::Crash { server, is_kept } => {
                left.crashes -= 1;
                self.crash(server, is_kept);
            }
            Disruption::Partition { server } => {
                left.partitions -= 1;
                self.cut_off.insert(server, self.now + 500);
                self.lose_links(server);
                self.lose_elections(server);
            }
        }
        left
    }

    fn lose_elections(&mut self, server: usize) {
        let concerns = |from: usize, to: usize| from == server || to == server;
        self.elections.retain(|(from, to), _| !concerns(*from, *to));
        self.turns.forget(
            |channel| matches!(channel, Channel::Election(from, to) if concerns(*from, *to)),
        );
    }

    /// Whether only time can make anything happen.
    pub(super) fn is_quiet(&self) -> bool {
        self.turns.is_empty()
    }

    /// One step; false at the end of the run.
    pub(super) fn step(&mut self) -> bool {
        self.steps += 1;
        match self.turns.pop() {
            Some(turn) => self.take(turn),
            None => self.pass_time(),
        }
        if self.is_done() {
            return false;
        }
        if self.steps > MAX_STEPS || self.patience == 0 {
            self.fail("liveness", self.describe());
            return false;
        }
        self.violation.is_none()
    }

    /// Whether all serve, and have everything that was asked for.
    fn is_done(&self) -> bool {
        let all_serve = self.nodes.iter().all(|node| epoch(node.role).is_some());
        let first = self.nodes.first();
        let same = |node: &Node| first.is_some_and(|first| node.applied == first.applied);
        self.proposed >= TRANSACTIONS
            && all_serve
            && self.cut_off.is_empty()
            && self.nodes.iter().all(same)
            && self.turns.is_empty()
    }

    fn describe(&self) -> String {
        let nodes = self.nodes.iter().enumerate().map(|(at, node)| {
            let phase = node.zab.as_ref().map(|zab| zab.status().phase);
            format!(
                "{}: {:?} {:?} applied {}",
                at + 1,
                node.role,
                phase,
                node.applied.len()
            )
        });
        nodes.collect::<Vec<_>>().join("; ")
    }

    fn fail(&mut self, invariant: &'static str, what: String) {
        self.violation.get_or_insert(Violation { invariant, what });
    }

    fn observe(&mut self, fact: &Fact) {
        if let Err(violation) = self.invariants.observe(fact) {
            self.violation.get_or_insert(violation);
        }
    }

    /// Nothing is under way: stopped servers start, partitions end, deadlines come.
    fn pass_time(&mut self) {
        for server in 0..3 {
            if self.nodes[server].zab.is_none() {
                self.start(server);
                return;
            }
        }
        self.patience -= 1;
        self.prints = vec![None; 3];
        let deadlines = self.nodes.iter().filter_map(|node| {
            let zab = node.zab.as_ref()?;
            zab.next_deadline().map(|at| at.0)
        });
        let heals = self.cut_off.values().copied();
        let next = deadlines.chain(heals).min().unwrap_or(self.now + 1);
        self.now = self.now.max(next);
        let healed: BTreeSet<usize> = self
            .cut_off
            .iter()
            .filter(|(_, until)| **until <= self.now)
            .map(|(server, _)| *server)
            .collect();
        for server in healed {
            self.cut_off.remove(&server);
            self.tell_reachable(server);
        }
        for server in 0..3 {
            let due = self.nodes[server].zab.as_ref().and_then(Zab::next_deadline);
            if due.is_some_and(|due| due.0 <= self.now) {
                self.own(server, Event::DeadlineReached);
            }
        }
        let leader = (0..3).find(|at| matches!(self.nodes[*at].role, Role::Leading { .. }));
        if let Some(leader) = leader
            && self.proposed < TRANSACTIONS
        {
            self.turns.push(Channel::Propose(leader));
        }
    }

    fn tell_reachable(&mut self, server: usize) {
        for peer in 0..3 {
            if peer != server && self.nodes[peer].zab.is_some() {
                let (a, b) = (id(server), id(peer));
                self.own(server, Event::Reachable { peer: b });
                self.own(peer, Event::Reachable { peer: a });
            }
        }
    }

    fn own(&mut self, server: usize, event: Event) {
        self.node(server).own.push_back(event);
        self.turns.push(Channel::Own(server));
    }

    /// A node that changes.
    fn node(&mut self, server: usize) -> &mut Node {
        self.prints[server] = None;
        &mut self.nodes[server]
    }

    fn start(&mut self, server: usize) {
        self.prints[server] = None;
        let node = &mut self.nodes[server];
        node.applied.clone_from(&node.disk.log);
        let last = node.disk.log.last().map_or(Zxid::ZERO, |entry| entry.zxid);
        let last = last.max(node.disk.floor);
        // As roo_store::epoch_file::load.
        node.disk.current = node.disk.current.max(last.epoch());
        node.state_zxid = last;
        let recovered = Recovered {
            accepted_epoch: node.disk.accepted,
            current_epoch: node.disk.current,
            last_zxid: last,
            ensemble: Arc::clone(&self.ensemble),
            next_ensemble: None,
        };
        let mut zab = Zab::new(config(id(server), &self.options), recovered, Time(self.now));
        #[cfg(feature = "rebreak")]
        if let Some(bug) = self.options.bug {
            zab.set_rebreak(roo_zab::rebreak::Rebreak::with(bug));
        }
        let mut effects = Vec::new();
        zab.start(Time(self.now), &mut effects);
        node.zab = Some(zab);
        let history = node.disk.log.clone();
        self.observe(&Fact::DurableIs {
            server: id(server),
            history,
        });
        self.execute_all(server, effects);
        if !self.cut_off.contains_key(&server) {
            self.tell_reachable(server);
        }
    }

    fn crash(&mut self, server: usize, is_kept: bool) {
        let jobs = std::mem::take(&mut self.node(server).jobs);
        if is_kept {
            for job in jobs {
                self.write(server, &job);
            }
        }
        let node = &mut self.nodes[server];
        node.zab = None;
        node.role = Role::Looking;
        node.own.clear();
        node.contents.clear();
        node.wanted.clear();
        node.next_accepted = 1;
        // What it had applied is nothing to anybody: it starts with what its disk holds.
        node.applied.clear();
        node.state_zxid = Zxid::ZERO;
        self.turns.forget(|channel| {
            let own = [
                Channel::Own(server),
                Channel::Disk(server),
                Channel::Propose(server),
            ];
            own.contains(channel)
        });
        self.observe(&Fact::Stopped { server: id(server) });
        self.lose_links(server);
        self.lose_elections(server);
        for peer in 0..3 {
            if peer != server && self.nodes[peer].zab.is_some() {
                self.own(peer, Event::Unreachable { peer: id(server) });
            }
        }
    }

    fn take(&mut self, channel: Channel) {
        match channel {
            Channel::Packet(link, side) => self.on_packet(link, side),
            Channel::Dial(link) => self.on_dial(link),
            Channel::Election(from, to) => {
                if let Some(notification) = self.elections.remove(&(from, to)) {
                    let from = id(from);
                    self.give(to, Event::Notified { from, notification });
                }
            }
            Channel::Disk(server) => {
                if let Some(job) = self.node(server).jobs.pop_front() {
                    self.on_disk(server, &job);
                }
            }
            Channel::Own(server) => {
                if let Some(event) = self.node(server).own.pop_front() {
                    self.give(server, event);
                }
            }
            Channel::Propose(server) => self.propose(server),
        }
    }

    fn propose(&mut self, server: usize) {
        let node = &self.nodes[server];
        let zxid = node.zab.as_ref().and_then(Zab::next_zxid);
        let (Some(zxid), Some(epoch)) = (zxid, epoch(node.role)) else {
            return;
        };
        if self.proposed >= TRANSACTIONS {
            return;
        }
        self.proposed += 1;
        let content = Entry {
            zxid,
            id: self.proposed,
        };
        let txn = record(content, 0);
        let entry = entry_of(&txn);
        self.contents.insert(entry.id, txn.clone());
        self.observe(&Fact::Broadcast {
            server: id(server),
            epoch,
            entry,
        });
        let proposal = Proposal {
            zxid,
            txn,
            ensemble: None,
        };
        self.give(server, Event::Propose { proposal });
    }

    fn give(&mut self, server: usize, event: Event) {
        let now = Time(self.now);
        let Some(zab) = &mut self.node(server).zab else {
            return;
        };
        let mut effects = Vec::new();
        zab.handle(now, event, &mut effects);
        self.execute_all(server, effects);
    }

    fn execute_all(&mut self, server: usize, effects: Vec<Effect>) {
        for effect in effects {
            self.execute(server, effect);
        }
    }

    fn execute(&mut self, server: usize, effect: Effect) {
        match effect {
            Effect::Notify { to, notification } => self.notify(server, to, notification),
            Effect::OpenLink { link, to } => {
                let key = (server, link);
                let link = Link {
                    ends: [Some(key), None],
                    target: position(to),
                    queues: [VecDeque::new(), VecDeque::new()],
                };
                self.links.insert(key, link);
                self.turns.push(Channel::Dial(key));
            }
            Effect::CloseLink { link, why } => {
                if let Err(what) = conduct::check(why) {
                    self.fail("conduct", format!("at server {} {what}", server + 1));
                }
                self.hang_up(server, link);
            }
            Effect::Send { link, message } => self.send(server, link, Packet::Zab(message)),
            Effect::Append { proposal } => {
                if let Some(epoch) = epoch(self.nodes[server].role) {
                    let entry = entry_of(&proposal.txn);
                    let server = id(server);
                    self.observe(&Fact::Logged {
                        server,
                        epoch,
                        entry,
                    });
                }
                self.job(server, Job::Append(proposal));
            }
            Effect::Truncate { after } => self.job(server, Job::Truncate(after)),
            Effect::PersistEpoch { which, epoch } => self.job(server, Job::Epoch(which, epoch)),
            Effect::ReadHistory { link, from, upto } => {
                self.job(server, Job::History(link, from, upto));
            }
            Effect::SendSnapshot { link } => {
                let (zxid, content) = {
                    let node = &self.nodes[server];
                    (node.state_zxid, node.applied.clone())
                };
                self.send(server, link, Packet::Zab(Message::Snap { zxid }));
                self.send(server, link, Packet::Content(content));
                self.own(server, Event::SnapshotSent { link, zxid });
            }
            Effect::InstallSnapshot { link, zxid } => {
                if self.nodes[server].contents.contains_key(&link) {
                    self.nodes[server].wanted.insert(link, zxid);
                    self.install(server, link);
                } else {
                    self.own(server, Event::SnapshotFailed { link });
                }
            }
            Effect::Deliver { proposal } => self.deliver(server, &proposal),
            Effect::RoleChanged { role } => self.change_role(server, role),
            Effect::LeadershipConfirmed { .. }
            | Effect::PersistNextEnsemble { .. }
            | Effect::ForgetNextEnsemble
            | Effect::Activate { .. } => {}
        }
    }

    fn notify(&mut self, from: usize, to: ServerId, notification: Notification) {
        let to = position(to);
        let is_cut = self.cut_off.contains_key(&from) || self.cut_off.contains_key(&to);
        if self.nodes[to].zab.is_none() || is_cut {
            return;
        }
        if self.elections.insert((from, to), notification).is_none() {
            self.turns.push(Channel::Election(from, to));
        }
    }

    fn job(&mut self, server: usize, job: Job) {
        self.node(server).jobs.push_back(job);
        self.turns.push(Channel::Disk(server));
    }

    /// The effect of a job on the disk.
    fn write(&mut self, server: usize, job: &Job) {
        let disk = &mut self.nodes[server].disk;
        match job {
            Job::Append(proposal) => disk.log.push(entry_of(&proposal.txn)),
            Job::Epoch(EpochKind::Accepted, epoch) => disk.accepted = *epoch,
            Job::Epoch(EpochKind::Current, epoch) => disk.current = *epoch,
            Job::Truncate(after) => {
                disk.log.retain(|entry| entry.zxid <= *after);
                disk.floor = disk.floor.min(*after);
            }
            Job::Install(_, zxid, content) => {
                disk.log.clone_from(content);
                disk.floor = *zxid;
            }
            Job::History(..) => {}
        }
    }

    fn on_disk(&mut self, server: usize, job: &Job) {
        self.write(server, job);
        let node = &mut self.nodes[server];
        let log = node.disk.log.clone();
        let end = log.last().map_or(Zxid::ZERO, |entry| entry.zxid);
        let end = end.max(node.disk.floor);
        if !matches!(job, Job::Epoch(..) | Job::History(..)) {
            let history = log.clone();
            self.observe(&Fact::DurableIs {
                server: id(server),
                history,
            });
        }
        let node = &mut self.nodes[server];
        let event = match job {
            Job::Append(proposal) => Event::LogDurable {
                upto: proposal.zxid,
            },
            Job::Epoch(which, epoch) => Event::EpochDurable {
                which: *which,
                epoch: *epoch,
            },
            Job::Truncate(_) => {
                if node.state_zxid > end {
                    node.applied = log;
                    node.state_zxid = end;
                }
                Event::Truncated { last: end }
            }
            Job::Install(link, zxid, content) => {
                node.applied.clone_from(content);
                node.state_zxid = *zxid;
                Event::SnapshotInstalled {
                    link: *link,
                    zxid: *zxid,
                }
            }
            Job::History(link, from, upto) => Event::HistoryRead {
                link: *link,
                history: history(&self.contents, &log, *from, *upto),
            },
        };
        self.give(server, event);
    }

    fn deliver(&mut self, server: usize, proposal: &Proposal) {
        let entry = entry_of(&proposal.txn);
        let node = &mut self.nodes[server];
        node.applied.push(entry);
        node.state_zxid = node.state_zxid.max(proposal.zxid);
        if let Some(epoch) = epoch(node.role) {
            let server = id(server);
            self.observe(&Fact::Delivered {
                server,
                epoch,
                entry,
            });
        }
    }

    fn change_role(&mut self, server: usize, role: Role) {
        self.nodes[server].role = role;
        let server_id = id(server);
        let Some(epoch) = epoch(role) else {
            self.observe(&Fact::Stopped { server: server_id });
            return;
        };
        let node = &mut self.nodes[server];
        node.state_zxid = node.state_zxid.max(Zxid::new(epoch, 0));
        let history = node.applied.clone();
        if let Role::Leading { epoch } = role {
            let history = history.clone();
            self.observe(&Fact::Established {
                server: server_id,
                epoch,
                history,
            });
            for _ in 0..2 {
                self.turns.push(Channel::Propose(server));
            }
        }
        self.observe(&Fact::Serving {
            server: server_id,
            epoch,
            history,
        });
    }
}

const fn epoch(role: Role) -> Option<u32> {
    match role {
        Role::Looking => None,
        Role::Leading { epoch } | Role::Following { epoch, .. } | Role::Observing { epoch, .. } => {
            Some(epoch)
        }
    }
}

fn id(server: usize) -> ServerId {
    ServerId(i64::try_from(server).unwrap_or(0) + 1)
}

fn position(id: ServerId) -> usize {
    usize::try_from(id.0 - 1).unwrap_or(0)
}

fn history(contents: &BTreeMap<u64, Bytes>, log: &[Entry], from: Zxid, upto: Zxid) -> History {
    let Some(first) = log.iter().rposition(|entry| entry.zxid <= from) else {
        return History::Unavailable;
    };
    let wanted = log.iter().skip(first).take_while(|e| e.zxid <= upto);
    let records = wanted.map(|entry| Proposal {
        zxid: entry.zxid,
        txn: contents.get(&entry.id).cloned().unwrap_or_default(),
        ensemble: None,
    });
    History::Records {
        records: records.collect(),
        end: true,
    }
}
