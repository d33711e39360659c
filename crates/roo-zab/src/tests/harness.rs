//! Servers, their disks, and the network between them. Everything that can happen is a choice;
//! a test makes them in order or by chance.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::format;
use std::string::{String, ToString};
use std::sync::Arc;
use std::vec;
use std::vec::Vec;

use bytes::Bytes;
use roo_proto::ensemble::{Ensemble, Member, MemberRole, PeerAddress, Voting};
use roo_proto::ids::{ServerId, Time, Zxid};

use crate::effect::CloseReason;
use crate::event::{EpochKind, History};
use crate::message::LinkId;
use crate::{Config, Effect, Event, Message, Notification, Proposal, Recovered, Role, Zab};

/// What a disk holds.
#[derive(Clone)]
pub(super) struct Disk {
    pub(super) accepted: u32,
    pub(super) current: u32,
    /// Everything up to the end; the log has it from `log_from` on, a snapshot what is before.
    pub(super) history: Vec<Proposal>,
    pub(super) log_from: usize,
    /// Of the snapshot, which may be the beginning of an epoch.
    pub(super) snapshot: Zxid,
    pub(super) ensemble: Arc<Ensemble>,
    pub(super) next: Option<Arc<Ensemble>>,
}

impl Disk {
    fn last(&self) -> Zxid {
        let last = self.history.last().map_or(Zxid::ZERO, |record| record.zxid);
        last.max(self.snapshot)
    }

    fn execute(&mut self, op: Op) -> Option<Event> {
        Some(match op {
            Op::Append(proposal) => {
                let zxid = proposal.zxid;
                assert!(
                    zxid > self.last(),
                    "the log goes back from {} to {zxid}",
                    self.last()
                );
                self.history.push(proposal);
                Event::LogDurable { upto: zxid }
            }
            Op::Epoch(which, epoch) => {
                match which {
                    EpochKind::Accepted => self.accepted = epoch,
                    EpochKind::Current => self.current = epoch,
                }
                Event::EpochDurable { which, epoch }
            }
            Op::Truncate(after) => {
                self.history.retain(|record| record.zxid <= after);
                self.log_from = self.log_from.min(self.history.len());
                self.snapshot = self.snapshot.min(after);
                Event::Truncated { last: self.last() }
            }
            Op::Install(link, zxid, history) => {
                self.history = history;
                self.log_from = self.history.len();
                self.snapshot = zxid;
                Event::SnapshotInstalled { link, zxid }
            }
            Op::Failed(link) => Event::SnapshotFailed { link },
            Op::Next(ensemble) => {
                self.next = Some(ensemble);
                return None;
            }
            Op::Forget => {
                self.next = None;
                return None;
            }
            Op::Activate(ensemble) => {
                self.ensemble = ensemble;
                return None;
            }
        })
    }
}

#[derive(Clone, Debug)]
enum Op {
    Append(Proposal),
    Epoch(EpochKind, u32),
    Truncate(Zxid),
    Install(LinkId, Zxid, Vec<Proposal>),
    Failed(LinkId),
    Next(Arc<Ensemble>),
    Forget,
    Activate(Arc<Ensemble>),
}

#[derive(Clone, Debug)]
enum Packet {
    Message(Message),
    Slices(Zxid, Vec<Proposal>),
    Close,
}

impl Packet {
    const fn is_ack(&self) -> bool {
        matches!(self, Self::Message(Message::Ack { .. }))
    }
}

struct Pipe {
    from: ServerId,
    to: ServerId,
    /// The receiver's name for the link, and the sender's.
    link: LinkId,
    twin: LinkId,
    packets: VecDeque<(u64, Packet)>,
}

/// One server.
pub(super) struct Node {
    pub(super) zab: Option<Zab>,
    pub(super) disk: Disk,
    ops: VecDeque<(u64, Op)>,
    /// What it has applied.
    pub(super) state: Vec<Proposal>,
    pub(super) state_zxid: Zxid,
    pub(super) role: Role,
    next_accepted: u64,
    /// The link that a snapshot is received from.
    installing: Option<(LinkId, Zxid)>,
    pub(super) confirmed: usize,
    /// Readings and sendings for learners that are under way.
    jobs: VecDeque<(u64, Job)>,
}

/// A reading or a sending, and what goes to the link when it is done.
struct Job {
    event: Event,
    packets: Option<(LinkId, [Packet; 2])>,
}

impl Job {
    const fn read(link: LinkId, history: History) -> Self {
        Self {
            event: Event::HistoryRead { link, history },
            packets: None,
        }
    }
}

/// Everything, and what must hold of it.
pub(super) struct World {
    pub(super) now: Time,
    pub(super) nodes: BTreeMap<ServerId, Node>,
    pub(super) config: Config,
    #[cfg(feature = "rebreak")]
    pub(super) rebreak: crate::rebreak::Rebreak,
    pipes: Vec<Pipe>,
    dials: VecDeque<(u64, ServerId, LinkId, ServerId)>,
    notices: BTreeMap<(ServerId, ServerId), (u64, Notification)>,
    /// Pairs between which nothing passes.
    pub(super) cut: BTreeSet<(ServerId, ServerId)>,
    /// Servers whose acknowledgements do not get through.
    pub(super) held_acks: BTreeSet<ServerId>,
    /// Servers whose disks do nothing.
    pub(super) held_disks: BTreeSet<ServerId>,
    sequence: u64,
    /// What was ever delivered, in order.
    pub(super) agreed: Vec<Proposal>,
    proposed: BTreeSet<Zxid>,
    leaders: BTreeMap<u32, ServerId>,
    /// What happened, for transcripts.
    pub(super) log: Vec<String>,
    /// How many records a reading returns at once.
    pub(super) chunk: usize,
}

/// Something that may happen now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Choice {
    Storage(ServerId),
    Job(ServerId),
    Pipe(usize),
    Dial(usize),
    Notice(ServerId, ServerId),
}

pub(super) fn config(me: ServerId) -> Config {
    Config {
        me,
        tick_ms: 100,
        init_limit: 10,
        sync_limit: 5,
        finalize_wait_ms: 200,
        min_notification_ms: 200,
        max_notification_ms: 2_000,
        connect_retry_ms: 20,
        commit_log_count: 500,
        commit_log_bytes: 1 << 20,
        force_snapshot_sync: false,
        reconfig_enabled: false,
    }
}

pub(super) fn ensemble(version: i64, voters: &[i64], observers: &[i64]) -> Arc<Ensemble> {
    let member = |role, id: &i64| {
        let host = format!("host{id}");
        let member = Member {
            addresses: vec![PeerAddress {
                host,
                peer_port: 2888,
                election_port: Some(3888),
            }],
            role,
            client: None,
        };
        (ServerId(*id), member)
    };
    let voters = voters.iter().map(|id| member(MemberRole::Voter, id));
    let observers = observers.iter().map(|id| member(MemberRole::Observer, id));
    Arc::new(Ensemble {
        version,
        members: voters.chain(observers).collect(),
        voting: Voting::Majority,
    })
}

impl World {
    pub(super) fn new(config: Config) -> Self {
        Self {
            now: Time(1_000),
            nodes: BTreeMap::new(),
            config,
            #[cfg(feature = "rebreak")]
            rebreak: crate::rebreak::Rebreak::default(),
            pipes: Vec::new(),
            dials: VecDeque::new(),
            notices: BTreeMap::new(),
            cut: BTreeSet::new(),
            held_acks: BTreeSet::new(),
            held_disks: BTreeSet::new(),
            sequence: 0,
            agreed: Vec::new(),
            proposed: BTreeSet::new(),
            leaders: BTreeMap::new(),
            log: Vec::new(),
            chunk: 2,
        }
    }

    /// A server with an empty disk, not running.
    pub(super) fn add(&mut self, id: ServerId, ensemble: &Arc<Ensemble>) {
        let disk = Disk {
            accepted: 0,
            current: 0,
            history: Vec::new(),
            log_from: 0,
            snapshot: Zxid::ZERO,
            ensemble: Arc::clone(ensemble),
            next: None,
        };
        let node = Node {
            zab: None,
            disk,
            ops: VecDeque::new(),
            state: Vec::new(),
            state_zxid: Zxid::ZERO,
            role: Role::Looking,
            next_accepted: 1,
            installing: None,
            confirmed: 0,
            jobs: VecDeque::new(),
        };
        self.nodes.insert(id, node);
    }

    pub(super) fn start(&mut self, id: ServerId) {
        let mut own = self.config.clone();
        own.me = id;
        let (now, node) = (self.now, self.nodes.get_mut(&id).unwrap());
        assert!(node.zab.is_none(), "it runs");
        let recovered = Recovered {
            accepted_epoch: node.disk.accepted,
            current_epoch: node.disk.current,
            last_zxid: node.disk.last(),
            ensemble: Arc::clone(&node.disk.ensemble),
            next_ensemble: node.disk.next.clone(),
        };
        node.state = node.disk.history.clone();
        node.state_zxid = node.disk.last();
        node.role = Role::Looking;
        node.installing = None;
        let zab = Zab::new(own, recovered, now);
        #[cfg(feature = "rebreak")]
        let zab = {
            let mut zab = zab;
            zab.set_rebreak(self.rebreak);
            zab
        };
        node.zab = Some(zab);
        let mut effects = Vec::new();
        node.zab.as_mut().unwrap().start(now, &mut effects);
        self.execute(id, effects);
        for peer in self.running() {
            if peer != id && self.connected(id, peer) {
                self.handle(peer, Event::Reachable { peer: id });
                self.handle(id, Event::Reachable { peer });
            }
        }
    }

    /// The process ends. `kept` of what was on its way to the disk has arrived there.
    pub(super) fn crash(&mut self, id: ServerId, kept: usize) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.zab = None;
        for (_, op) in node.ops.drain(..).take(kept) {
            node.disk.execute(op);
        }
        node.ops.clear();
        node.jobs.clear();
        node.installing = None;
        node.role = Role::Looking;
        self.dials.retain(|(_, from, _, _)| *from != id);
        self.notices
            .retain(|(from, to), _| *from != id && *to != id);
        self.pipes.retain(|pipe| pipe.to != id);
        let sequence = self.next_sequence();
        for pipe in self.pipes.iter_mut().filter(|pipe| pipe.from == id) {
            pipe.packets.push_back((sequence, Packet::Close));
            // The next process names its links anew.
            pipe.twin = LinkId(u64::MAX);
        }
    }

    /// The peers of a server that has crashed find out.
    pub(super) fn tell_unreachable(&mut self, id: ServerId) {
        for peer in self.running() {
            if peer != id {
                self.handle(peer, Event::Unreachable { peer: id });
            }
        }
    }

    pub(super) fn running(&self) -> Vec<ServerId> {
        self.nodes
            .iter()
            .filter(|(_, node)| node.zab.is_some())
            .map(|(id, _)| *id)
            .collect()
    }

    pub(super) fn zab(&self, id: ServerId) -> &Zab {
        self.nodes.get(&id).unwrap().zab.as_ref().unwrap()
    }

    pub(super) fn node(&self, id: ServerId) -> &Node {
        self.nodes.get(&id).unwrap()
    }

    /// The server that may propose, if there is one; of two the one with the later epoch.
    pub(super) fn leader(&self) -> Option<ServerId> {
        self.running()
            .into_iter()
            .filter(|id| self.zab(*id).next_zxid().is_some())
            .max_by_key(|id| self.zab(*id).status().epoch)
    }

    pub(super) fn propose(&mut self, id: ServerId, text: &str) -> Option<Zxid> {
        let zxid = self.zab(id).next_zxid()?;
        self.propose_at(id, zxid, text, None);
        Some(zxid)
    }

    pub(super) fn propose_at(
        &mut self,
        id: ServerId,
        zxid: Zxid,
        text: &str,
        ensemble: Option<Arc<Ensemble>>,
    ) {
        let txn = Bytes::from(text.to_string());
        self.proposed.insert(zxid);
        let proposal = Proposal {
            zxid,
            txn,
            ensemble,
        };
        self.handle(id, Event::Propose { proposal });
    }

    pub(super) fn connected(&self, a: ServerId, b: ServerId) -> bool {
        !self.cut.contains(&(a, b))
    }

    pub(super) fn handle(&mut self, id: ServerId, event: Event) {
        let now = self.now;
        let node = self.nodes.get_mut(&id).unwrap();
        let Some(zab) = &mut node.zab else {
            return;
        };
        let mut effects = Vec::new();
        zab.handle(now, event, &mut effects);
        self.execute(id, effects);
    }

    const fn next_sequence(&mut self) -> u64 {
        self.sequence += 1;
        self.sequence
    }

    fn execute(&mut self, id: ServerId, effects: Vec<Effect>) {
        for effect in effects {
            let sequence = self.next_sequence();
            self.execute_one(id, sequence, effect);
        }
    }

    fn execute_one(&mut self, id: ServerId, sequence: u64, effect: Effect) {
        match effect {
            Effect::Notify { to, notification } => {
                assert_ne!(to, id, "a notification to oneself");
                self.notices.insert((id, to), (sequence, notification));
            }
            Effect::OpenLink { link, to } => {
                assert_eq!(link.0 % 2, 0, "a dialled link's id is even");
                self.dials.push_back((sequence, id, link, to));
            }
            Effect::CloseLink { link, why } => {
                let is_fault = matches!(why, CloseReason::UnexpectedPacket | CloseReason::Gap);
                assert!(
                    !is_fault,
                    "{} breaks with a server like itself: {why:?}",
                    id.0
                );
                self.close(id, link, &format!("{why:?}"));
            }
            Effect::Send { link, message } => {
                if let Message::AckEpoch { last_zxid, .. } = message {
                    let last = self.node(id).disk.last();
                    assert!(last_zxid <= last, "{} promises what it may lose", id.0);
                }
                self.send(id, link, Packet::Message(message));
            }
            Effect::Deliver { proposal } => self.deliver(id, proposal),
            Effect::RoleChanged { role } => self.change_role(id, role),
            Effect::SendSnapshot { link } => {
                let node = self.nodes.get_mut(&id).unwrap();
                let zxid = node.state_zxid;
                let snap = Packet::Message(Message::Snap { zxid });
                let slices = Packet::Slices(zxid, node.state.clone());
                let job = Job {
                    event: Event::SnapshotSent { link, zxid },
                    packets: Some((link, [snap, slices])),
                };
                node.jobs.push_back((sequence, job));
            }
            Effect::ReadHistory { link, from, upto } => self.read(id, sequence, link, from, upto),
            Effect::InstallSnapshot { link, zxid } => {
                let node = self.nodes.get_mut(&id).unwrap();
                assert!(node.installing.is_none(), "two snapshots at once");
                node.installing = Some((link, zxid));
            }
            Effect::LeadershipConfirmed { count } => {
                self.nodes.get_mut(&id).unwrap().confirmed += count;
            }
            Effect::Append { proposal } => self.store(id, sequence, Op::Append(proposal)),
            Effect::Truncate { after } => self.store(id, sequence, Op::Truncate(after)),
            Effect::PersistEpoch { which, epoch } => {
                self.store(id, sequence, Op::Epoch(which, epoch));
            }
            Effect::PersistNextEnsemble { ensemble } => {
                self.store(id, sequence, Op::Next(ensemble));
            }
            Effect::ForgetNextEnsemble => self.store(id, sequence, Op::Forget),
            Effect::Activate { ensemble } => self.store(id, sequence, Op::Activate(ensemble)),
        }
    }

    fn store(&mut self, id: ServerId, sequence: u64, op: Op) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.ops.push_back((sequence, op));
    }

    fn read(&mut self, id: ServerId, sequence: u64, link: LinkId, from: Zxid, upto: Zxid) {
        let chunk = self.chunk;
        let node = self.nodes.get_mut(&id).unwrap();
        let log = &node.disk.history[node.disk.log_from..];
        let Some(anchor) = log.iter().rposition(|record| record.zxid <= from) else {
            let history = History::Unavailable;
            node.jobs.push_back((sequence, Job::read(link, history)));
            return;
        };
        let records: Vec<_> = log[anchor..]
            .iter()
            .filter(|record| record.zxid <= upto)
            .cloned()
            .collect();
        let parts = records.chunks(chunk).count();
        for (at, part) in records.chunks(chunk).enumerate() {
            let history = History::Records {
                records: part.to_vec(),
                end: at + 1 == parts,
            };
            node.jobs.push_back((sequence, Job::read(link, history)));
        }
    }

    fn send(&mut self, id: ServerId, link: LinkId, packet: Packet) {
        let sequence = self.next_sequence();
        let mut pipes = self.pipes.iter_mut();
        if let Some(pipe) = pipes.find(|pipe| pipe.from == id && pipe.twin == link) {
            pipe.packets.push_back((sequence, packet));
        }
    }

    fn close(&mut self, id: ServerId, link: LinkId, why: &str) {
        self.log.push(format!("{} closes a link: {why}", id.0));
        self.send(id, link, Packet::Close);
        self.dials
            .retain(|(_, from, dialled, _)| !(*from == id && *dialled == link));
        self.pipes
            .retain(|pipe| !(pipe.to == id && pipe.link == link));
        self.fail_installation(id, link);
    }

    fn fail_installation(&mut self, id: ServerId, link: LinkId) {
        let sequence = self.next_sequence();
        let node = self.nodes.get_mut(&id).unwrap();
        if node.installing.is_some_and(|(from, _)| from == link) {
            node.installing = None;
            node.ops.push_back((sequence, Op::Failed(link)));
        }
    }

    fn deliver(&mut self, id: ServerId, proposal: Proposal) {
        let zxid = proposal.zxid;
        assert!(
            self.proposed.contains(&zxid),
            "integrity: {zxid} was never proposed"
        );
        let node = self.nodes.get_mut(&id).unwrap();
        assert!(zxid > node.state_zxid, "{} delivers {zxid} again", id.0);
        node.state.push(proposal);
        node.state_zxid = zxid;
        self.agree(id);
    }

    /// Everything that a server holds when it delivers or serves is agreed upon.
    fn agree(&mut self, id: ServerId) {
        let state = &self.nodes.get(&id).unwrap().state;
        let common = state.len().min(self.agreed.len());
        assert_eq!(
            zxids(&state[..common]),
            zxids(&self.agreed[..common]),
            "agreement: {} holds another history",
            id.0
        );
        assert_eq!(state[..common], self.agreed[..common], "agreement");
        self.agreed.extend_from_slice(&state[common..]);
    }

    fn change_role(&mut self, id: ServerId, role: Role) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.role = role;
        self.log.push(format!("{} is {}", id.0, role_text(role)));
        let epoch = match role {
            Role::Looking => return,
            Role::Leading { epoch }
            | Role::Following { epoch, .. }
            | Role::Observing { epoch, .. } => epoch,
        };
        node.state_zxid = node.state_zxid.max(Zxid::new(epoch, 0));
        if matches!(role, Role::Leading { .. }) {
            let first = self.leaders.insert(epoch, id);
            assert_eq!(first, None, "primary uniqueness: two led epoch {epoch}");
        }
        // A leader may find out late that it was established; what later epochs did meanwhile it
        // need not have.
        let before = |record: &&Proposal| record.zxid.epoch() < epoch;
        let needed = self.agreed.iter().filter(before).count();
        let held = self.node(id).state.len();
        assert!(
            held >= needed,
            "primary integrity: {} serves epoch {epoch} without {:?}",
            id.0,
            zxids(&self.agreed[held..needed])
        );
        self.agree(id);
    }

    /// What may happen now, the oldest first.
    pub(super) fn choices(&self) -> Vec<Choice> {
        let mut all = Vec::new();
        for (id, node) in &self.nodes {
            if let Some((sequence, _)) = node.ops.front()
                && !self.held_disks.contains(id)
            {
                all.push((*sequence, Choice::Storage(*id)));
            }
            if let Some((sequence, _)) = node.jobs.front() {
                all.push((*sequence, Choice::Job(*id)));
            }
        }
        for (at, pipe) in self.pipes.iter().enumerate() {
            if let Some((sequence, packet)) = pipe.packets.front()
                && self.connected(pipe.from, pipe.to)
                && !(packet.is_ack() && self.held_acks.contains(&pipe.from))
            {
                all.push((*sequence, Choice::Pipe(at)));
            }
        }
        for (at, (sequence, ..)) in self.dials.iter().enumerate() {
            all.push((*sequence, Choice::Dial(at)));
        }
        for ((from, to), (sequence, _)) in &self.notices {
            if self.connected(*from, *to) {
                all.push((*sequence, Choice::Notice(*from, *to)));
            }
        }
        all.sort_by_key(|(sequence, _)| *sequence);
        all.into_iter().map(|(_, choice)| choice).collect()
    }

    pub(super) fn choose(&mut self, choice: Choice) {
        match choice {
            Choice::Storage(id) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if let Some((_, op)) = node.ops.pop_front() {
                    let reloads = matches!(op, Op::Truncate(_) | Op::Install(..));
                    let event = node.disk.execute(op);
                    if reloads && node.disk.last() < node.state_zxid
                        || matches!(event, Some(Event::SnapshotInstalled { .. }))
                    {
                        node.state.clone_from(&node.disk.history);
                        node.state_zxid = node.disk.last();
                    }
                    if let Some(event) = event {
                        self.handle(id, event);
                    }
                }
            }
            Choice::Job(id) => {
                let node = self.nodes.get_mut(&id).unwrap();
                if let Some((_, job)) = node.jobs.pop_front() {
                    if let Some((link, packets)) = job.packets {
                        for packet in packets {
                            self.send(id, link, packet);
                        }
                    }
                    self.handle(id, job.event);
                }
            }
            Choice::Pipe(at) => self.receive(at),
            Choice::Dial(at) => self.connect(at),
            Choice::Notice(from, to) => {
                if let Some((_, notification)) = self.notices.remove(&(from, to)) {
                    self.log.push(notice_text(from, to, &notification));
                    self.handle(to, Event::Notified { from, notification });
                }
            }
        }
    }

    fn connect(&mut self, at: usize) {
        let Some((_, from, link, to)) = self.dials.remove(at) else {
            return;
        };
        let target = self.nodes.get(&to);
        let is_up = target.is_some_and(|node| node.zab.is_some());
        if !is_up || !self.connected(from, to) || !self.connected(to, from) {
            self.handle(from, Event::LinkClosed { link });
            return;
        }
        let target = self.nodes.get_mut(&to).unwrap();
        let accepted = LinkId(target.next_accepted);
        target.next_accepted += 2;
        for (from, to, link, twin) in [(from, to, accepted, link), (to, from, link, accepted)] {
            self.pipes.push(Pipe {
                from,
                to,
                link,
                twin,
                packets: VecDeque::new(),
            });
        }
        self.handle(
            to,
            Event::LinkAccepted {
                link: accepted,
                peer: from,
            },
        );
        self.handle(from, Event::LinkOpened { link });
    }

    fn receive(&mut self, at: usize) {
        let pipe = &mut self.pipes[at];
        let (from, to, link) = (pipe.from, pipe.to, pipe.link);
        let Some((_, packet)) = pipe.packets.pop_front() else {
            return;
        };
        match packet {
            Packet::Message(message) => {
                self.log.push(message_text(from, to, &message));
                self.handle(to, Event::Received { link, message });
            }
            Packet::Slices(zxid, history) => {
                let sequence = self.next_sequence();
                let node = self.nodes.get_mut(&to).unwrap();
                if node.installing == Some((link, zxid)) {
                    node.installing = None;
                    let op = Op::Install(link, zxid, history);
                    node.ops.push_back((sequence, op));
                }
            }
            Packet::Close => {
                self.pipes.remove(at);
                let sequence = self.next_sequence();
                let is_back = |pipe: &&mut Pipe| pipe.from == to && pipe.twin == link;
                if let Some(back) = self.pipes.iter_mut().find(is_back) {
                    back.packets.push_back((sequence, Packet::Close));
                    back.twin = LinkId(u64::MAX);
                }
                self.fail_installation(to, link);
                self.handle(to, Event::LinkClosed { link });
            }
        }
    }

    /// What a server has sent and nobody has received is lost.
    pub(super) fn lose_sent(&mut self, id: ServerId) {
        for pipe in self.pipes.iter_mut().filter(|pipe| pipe.from == id) {
            pipe.packets.clear();
        }
    }

    /// A history that would take too long to write.
    pub(super) fn pretend(&mut self, id: ServerId, last: Zxid) {
        let node = self.nodes.get_mut(&id).unwrap();
        node.disk.snapshot = last;
        node.state_zxid = last;
        node.zab.as_mut().unwrap().pretend(last);
    }

    /// A server's log is purged: what it holds is in its snapshots.
    pub(super) fn purge(&mut self, id: ServerId) {
        let disk = &mut self.nodes.get_mut(&id).unwrap().disk;
        disk.log_from = disk.history.len();
    }

    /// Breaks every link between two servers, losing what is under way.
    pub(super) fn break_links(&mut self, a: ServerId, b: ServerId) {
        let sequence = self.next_sequence();
        for pipe in &mut self.pipes {
            if (pipe.from, pipe.to) == (a, b) || (pipe.from, pipe.to) == (b, a) {
                pipe.packets.clear();
                pipe.packets.push_back((sequence, Packet::Close));
            }
        }
    }

    /// Lets everything happen that can happen at this instant, the oldest first.
    pub(super) fn settle(&mut self) {
        for _ in 0..100_000 {
            let Some(choice) = self.choices().first().copied() else {
                return;
            };
            self.choose(choice);
        }
        panic!("it does not come to rest");
    }

    /// Lets the oldest thing happen that can, or the next deadline come.
    #[cfg(feature = "rebreak")]
    pub(super) fn step_once(&mut self) {
        if let Some(choice) = self.choices().first().copied() {
            self.choose(choice);
        } else if let Some((at, id)) = self.next_deadline() {
            self.now = self.now.max(at);
            self.handle(id, Event::DeadlineReached);
        }
    }

    /// Lets time pass, and what happens meanwhile.
    pub(super) fn advance(&mut self, ms: u64) {
        let end = Time(self.now.0 + ms);
        self.settle();
        while let Some((at, id)) = self.next_deadline().filter(|(at, _)| *at <= end) {
            self.now = self.now.max(at);
            self.handle(id, Event::DeadlineReached);
            self.settle();
        }
        self.now = end;
    }

    pub(super) fn next_deadline(&self) -> Option<(Time, ServerId)> {
        self.running()
            .into_iter()
            .filter_map(|id| self.zab(id).next_deadline().map(|at| (at, id)))
            .min()
    }
}

pub(super) fn zxids(history: &[Proposal]) -> Vec<Zxid> {
    history.iter().map(|record| record.zxid).collect()
}

/// A zxid as epoch and counter.
pub(super) fn short(zxid: Zxid) -> String {
    format!("{}.{}", zxid.epoch(), zxid.counter())
}

fn role_text(role: Role) -> String {
    match role {
        Role::Looking => "looking".to_string(),
        Role::Leading { epoch } => format!("leading epoch {epoch}"),
        Role::Following { leader, epoch, .. } => format!("following {} in epoch {epoch}", leader.0),
        Role::Observing { leader, epoch, .. } => format!("observing {} in epoch {epoch}", leader.0),
    }
}

fn notice_text(from: ServerId, to: ServerId, notice: &Notification) -> String {
    let vote = notice.vote;
    let leader = match vote.leader {
        crate::message::NO_VOTE => "nobody".to_string(),
        ServerId(id) => id.to_string(),
    };
    let zxid = match vote.zxid {
        Zxid(i64::MIN) => "none".to_string(),
        zxid => short(zxid),
    };
    format!(
        "E {}>{} {:?} for {leader} ({}, {zxid}) round {} version {:x}",
        from.0, to.0, notice.state, vote.peer_epoch, notice.round, notice.ensemble.version
    )
}

fn message_text(from: ServerId, to: ServerId, message: &Message) -> String {
    let what = match message {
        Message::FollowerInfo {
            accepted_epoch,
            config_version,
            observer,
        } => {
            let name = if *observer {
                "OBSERVERINFO"
            } else {
                "FOLLOWERINFO"
            };
            format!("{name} {accepted_epoch}.0 version {config_version:x}")
        }
        Message::LeaderInfo { epoch } => format!("LEADERINFO {epoch}.0"),
        Message::AckEpoch {
            current_epoch,
            last_zxid,
        } => {
            let epoch = current_epoch.map_or("-1".to_string(), |epoch| epoch.to_string());
            format!("ACKEPOCH {} epoch {epoch}", short(*last_zxid))
        }
        Message::Diff { upto } => format!("DIFF {}", short(*upto)),
        Message::Trunc { to } => format!("TRUNC {}", short(*to)),
        Message::Snap { zxid } => format!("SNAP {}", short(*zxid)),
        Message::Proposal(proposal) => format!("PROPOSAL {}", short(proposal.zxid)),
        Message::Ack { zxid } => format!("ACK {}", short(*zxid)),
        Message::Commit { zxid } => format!("COMMIT {}", short(*zxid)),
        Message::CommitAndActivate { zxid, leader } => {
            format!("COMMITANDACTIVATE {} leader {}", short(*zxid), leader.0)
        }
        Message::Inform(proposal) => format!("INFORM {}", short(proposal.zxid)),
        Message::InformAndActivate { proposal, leader } => {
            let zxid = short(proposal.zxid);
            format!("INFORMANDACTIVATE {zxid} leader {}", leader.0)
        }
        Message::NewLeader { epoch, ensemble } => {
            format!("NEWLEADER {epoch}.0 version {:x}", ensemble.version)
        }
        Message::UpToDate => "UPTODATE".to_string(),
        Message::Ping { zxid, .. } => format!("PING {}", short(*zxid)),
        Message::Pong { .. } => "PONG".to_string(),
    };
    format!("{}>{} {what}", from.0, to.0)
}
