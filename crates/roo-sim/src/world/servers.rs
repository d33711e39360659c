//! The servers of a world: what they are told, what they want done, how they start and end.

use std::sync::Arc;

use roo_proto::ensemble::Ensemble;
use roo_proto::ids::{ServerId, SessionId, Time, WallTime, Zxid};
use roo_proto::{op_code, txn};
use roo_replica::event::{ConnId, Event as ReplicaEvent};
use roo_replica::peer_message::PeerMessage;
use roo_replica::replica::LocalSessions;
use roo_state::state::State;
use roo_store::error::StoreError;
use roo_zab::effect::Role;
use roo_zab::{Effect, Event, Message, Proposal};

use crate::fact::{Entry, Fact};
use crate::faults::Fault;
use crate::invariants::conduct;
use crate::process::{Brain, Sending};
use crate::storage::{self, Found, Job};
use crate::whole::{self, Act, Whole};

use super::{Happening, World};

impl World {
    /// Hands an event to a server, or keeps it while the server is paused.
    pub fn give(&mut self, server: usize, event: Event) {
        let process = &mut self.servers[server];
        if process.paused {
            process.inbox.push_back(event);
            return;
        }
        if self.is_verbose {
            let id = self.servers[server].id.0;
            self.say(|_| format!("  {id} <- {event:?}"));
        }
        let now = self.servers[server].clock.time(self.now);
        let mut acts = Vec::new();
        match &mut self.servers[server].brain {
            None => return,
            Some(Brain::Zab(zab)) => {
                let mut effects = Vec::new();
                zab.handle(now, event, &mut effects);
                acts.extend(effects.into_iter().map(Act::Zab));
            }
            Some(Brain::Whole(_)) => {
                let wall = wall(self.now, self.servers[server].wall_ahead_ms);
                if let Some(whole) = self.servers[server].whole() {
                    whole.handle(now, wall, replica_event(event), &mut acts);
                }
            }
        }
        self.execute_all(server, acts);
    }

    /// Lets a whole server do something.
    pub(super) fn with_whole(
        &mut self,
        server: usize,
        work: impl FnOnce(&mut Whole, Time, WallTime, &mut Vec<Act>),
    ) {
        let now = self.servers[server].clock.time(self.now);
        let wall = wall(self.now, self.servers[server].wall_ahead_ms);
        let mut acts = Vec::new();
        if let Some(whole) = self.servers[server].whole() {
            work(whole, now, wall, &mut acts);
            self.execute_all(server, acts);
        }
    }

    pub(super) fn give_replica(&mut self, server: usize, event: ReplicaEvent) {
        self.with_whole(server, |whole, now, wall, acts| {
            whole.handle(now, wall, event, acts);
        });
    }

    /// A client's packet.
    pub(crate) fn give_packet(&mut self, server: usize, conn: ConnId, packet: &[u8]) {
        self.with_whole(server, |whole, now, wall, acts| {
            whole.packet(now, wall, conn, packet, acts);
        });
    }

    /// A question of a server's I/O thread is answered.
    pub(super) fn on_shown(&mut self, server: usize, life: u64, nth: u64) {
        if self.servers[server].life != life {
            return;
        }
        if self.servers[server].paused {
            self.after(5_000, Happening::Shown { server, life, nth });
            return;
        }
        self.counts.answers_of_leaders += 1;
        self.with_whole(server, |whole, now, wall, acts| {
            whole.serve_shown(now, wall, nth, acts);
        });
    }

    pub(super) fn forget_client(&mut self, server: usize, conn: ConnId) {
        self.with_whole(server, |whole, now, wall, acts| {
            whole.disconnect(now, wall, conn, acts);
        });
    }

    /// Does what a server wants, in order; it may crash between any two of them.
    pub fn execute_all(&mut self, server: usize, acts: Vec<Act>) {
        self.note_leader(server, &acts);
        self.note_ensembles(server);
        for act in acts {
            if let Some(left) = &mut self.servers[server].crash_in {
                if *left == 0 {
                    self.crash(server);
                    break;
                }
                *left -= 1;
            }
            if self.is_verbose {
                let id = self.servers[server].id.0;
                self.say(|_| format!("  {id} -> {act:?}"));
            }
            self.act(server, act);
            if !self.servers[server].is_up() || self.violation.is_some() {
                break;
            }
        }
        if self.servers[server].is_up() {
            self.start_disk(server);
            self.arm(server);
        }
    }

    pub(super) fn act(&mut self, server: usize, act: Act) {
        match act {
            Act::Zab(effect) => self.execute(server, effect),
            Act::Peer(link, message) => self.send(server, link, message),
            Act::Applied(zxid, effect) => {
                let log = &self.servers[server].log;
                let at = log.partition_point(|entry| entry.zxid < zxid);
                match log.get(at).copied().filter(|entry| entry.zxid == zxid) {
                    Some(entry) => {
                        if let Err(what) = self.oracle.applied(entry, effect) {
                            self.break_rule("agreement of states", what);
                        }
                        self.applied(server, entry);
                    }
                    None => self.break_rule("log", format!("{zxid} is applied and not logged")),
                }
            }
            Act::Role(role) => {
                self.change_role(server, zab_role(role));
                self.check_local_sessions();
            }
            Act::ToClient(conn, bytes) => {
                let process = &mut self.servers[server];
                // What a server shows that has no leader is perhaps not committed.
                let is_alone = process.whole().is_some_and(|w| w.is_read_only());
                let history = is_alone.then(|| Arc::new(process.applied.clone()));
                self.send_down(conn, Some((bytes, history)));
            }
            Act::Shown(nth) => {
                // Another thread hears of it.
                let life = self.servers[server].life;
                let us = self.rng.below(300);
                self.after(us, Happening::Shown { server, life, nth });
            }
            Act::CloseClient(conn) => self.send_down(conn, None),
            Act::Greeted(conn, greeting) => self.on_greeted(server, conn, greeting),
            Act::Snapshot => {
                // The state may be ahead of what was executed; behind this batch it is not.
                let life = self.servers[server].life;
                let us = self.begin_fuzzily(server);
                self.after(us, Happening::SnapshotEnded { server, life });
            }
            Act::Broken(what) => self.break_rule("state", what),
        }
    }

    /// Schedules the deadline that a server now has.
    pub(super) fn arm(&mut self, server: usize) {
        let process = &mut self.servers[server];
        let Some(deadline) = process.next_deadline() else {
            process.deadline = None;
            return;
        };
        let at = process.clock.when(deadline, self.now);
        if process.deadline != Some(at) {
            process.deadline = Some(at);
            let life = process.life;
            let us = at - self.now;
            self.after(us, Happening::Deadline { server, life });
        }
    }

    /// Its clock has changed: deadlines are elsewhere.
    pub fn rearm(&mut self, server: usize) {
        if self.servers[server].is_up() {
            self.servers[server].deadline = None;
            self.arm(server);
        }
    }

    pub(super) fn execute(&mut self, server: usize, effect: Effect) {
        match effect {
            Effect::Notify { to, notification } => {
                if let Some(to) = self.position(to) {
                    self.network.channel(server, to).pending = Some(notification);
                    self.flush_election(server, to);
                }
            }
            Effect::OpenLink { link, to } => self.dial(server, link, to),
            Effect::CloseLink { link, why } => {
                if let Err(what) = conduct::check(why) {
                    let id = self.servers[server].id.0;
                    self.break_rule("conduct", format!("at server {id} {what}"));
                }
                self.hang_up(server, link);
            }
            Effect::Send { link, message } => self.send(server, link, PeerMessage::Zab(message)),
            Effect::Append { proposal } => self.append(server, proposal),
            Effect::Truncate { after } => {
                self.counts.truncations += 1;
                let process = &mut self.servers[server];
                process.old_log.get_or_insert_with(|| process.log.clone());
                process.log.retain(|entry| entry.zxid <= after);
                process.storage.lanes[0].push_back(Job::Truncate(after));
            }
            Effect::PersistEpoch { which, epoch } => {
                let process = &mut self.servers[server];
                let lane = process.epoch_lane;
                process.storage.lanes[lane].push_back(Job::Epoch(which, epoch));
            }
            Effect::ReadHistory { link, from, upto } => {
                self.counts.histories_read += 1;
                let job = Job::History(link, from, upto);
                self.servers[server].storage.lanes[0].push_back(job);
            }
            Effect::SendSnapshot { link } => {
                let process = &mut self.servers[server];
                let zxid = process.state_zxid;
                let sending = Sending {
                    zxid,
                    length: 0,
                    parts: None,
                };
                process.sending.insert(link, sending);
                let life = process.life;
                let us = self.delay();
                self.after(us, Happening::Slice { server, life, link });
            }
            Effect::InstallSnapshot { link, .. } => {
                match self.servers[server].receiving.get_mut(&link) {
                    Some(receiving) => receiving.is_wanted = true,
                    // The link broke before this server got so far.
                    None => self.own(server, Event::SnapshotFailed { link }),
                }
                self.install(server, link);
            }
            Effect::Deliver { proposal } => self.deliver(server, &proposal),
            Effect::RoleChanged { role } => self.change_role(server, role),
            Effect::PersistNextEnsemble { ensemble } => {
                self.ensemble_job(server, Job::NextEnsemble(ensemble));
            }
            Effect::ForgetNextEnsemble => self.ensemble_job(server, Job::ForgetNextEnsemble),
            Effect::Activate { ensemble } => self.ensemble_job(server, Job::Activate(ensemble)),
            Effect::LeadershipConfirmed { .. } => {}
        }
    }

    fn ensemble_job(&mut self, server: usize, job: Job) {
        if self.options.reconfigurations > 0 {
            self.servers[server].storage.lanes[0].push_back(job);
        }
    }

    pub(super) fn position(&self, id: ServerId) -> Option<usize> {
        let at = usize::try_from(id.0).ok()?.checked_sub(1)?;
        (at < self.servers.len()).then_some(at)
    }

    pub(super) fn append(&mut self, server: usize, proposal: Proposal) {
        let entry = storage::entry_of(&proposal.txn);
        let process = &mut self.servers[server];
        let is_leading = matches!(process.role, Role::Leading { .. });
        if is_leading && self.options.reconfigurations > 0 {
            self.note_change(server, entry, &proposal);
        }
        if is_leading && self.options.local_sessions == LocalSessions::Upgrading {
            self.note_session(&proposal);
        }
        let process = &mut self.servers[server];
        if let Role::Leading { epoch } = process.role
            && !self.clients.is_empty()
        {
            self.counts.proposals += 1;
            let server = process.id;
            self.observe(&Fact::Broadcast {
                server,
                epoch,
                entry,
            });
        }
        let process = &mut self.servers[server];
        process.log.push(entry);
        process.storage.lanes[0].push_back(Job::Append(proposal));
        let (id, epoch) = (process.id, process.epoch());
        if let Some(epoch) = epoch {
            self.observe(&Fact::Logged {
                server: id,
                epoch,
                entry,
            });
        }
    }

    /// A leader knows a session from the moment at which it proposes it.
    fn note_session(&mut self, proposal: &Proposal) {
        if let Ok((header, txn, _)) = txn::decode_record(&proposal.txn)
            && txn.op() == op_code::CREATE_SESSION
        {
            self.oracle.sessions.proposed(SessionId(header.client_id));
        }
    }

    pub(super) fn deliver(&mut self, server: usize, proposal: &Proposal) {
        self.applied(server, storage::entry_of(&proposal.txn));
    }

    pub(super) fn applied(&mut self, server: usize, entry: Entry) {
        let process = &mut self.servers[server];
        process.applied.push(entry);
        process.state_zxid = process.state_zxid.max(entry.zxid);
        if let Some(epoch) = process.epoch() {
            let server = process.id;
            self.counts.committed += 1;
            self.observe(&Fact::Delivered {
                server,
                epoch,
                entry,
            });
            self.tell_oracle();
        }
    }

    /// More may be committed.
    pub(super) fn tell_oracle(&mut self) {
        if self.clients.is_empty() || self.violation.is_some() {
            return;
        }
        let committed = self.invariants.commit_consistency.committed();
        if let Err(what) = self.oracle.committed(committed) {
            self.break_rule("sessions", what);
        }
    }

    pub(super) fn establish(&mut self, server: usize, epoch: u32, history: Vec<Entry>) {
        self.counts.epochs += 1;
        let server = self.servers[server].id;
        self.observe(&Fact::Established {
            server,
            epoch,
            history,
        });
    }

    /// A whole server leads as soon as its half of Zab does: it tells its learners before it has
    /// applied everything itself, and may have stepped down by then.
    pub(super) fn note_leader(&mut self, server: usize, acts: &[Act]) {
        let process = &self.servers[server];
        let (Some(Brain::Whole(_)), Some(zab)) = (&process.brain, process.zab()) else {
            return;
        };
        let told = |act: &Act| matches!(act, Act::Peer(_, PeerMessage::Zab(Message::UpToDate)));
        let epoch = match zab.role() {
            Role::Leading { epoch } => epoch,
            Role::Looking if acts.iter().any(told) => zab.status().epoch,
            Role::Looking | Role::Following { .. } | Role::Observing { .. } => return,
        };
        // A leader that stood still may begin its epoch when a later one has begun already.
        if self.led.insert((server, epoch)) {
            let end = zab.status().delivered;
            let history = process.log.iter().filter(|entry| entry.zxid <= end);
            let history = history.copied().collect();
            self.establish(server, epoch, history);
        }
    }

    /// The state that a disk holds, for a whole server.
    pub(super) fn rebuild(&mut self, found: &Found, ensemble: &Ensemble) -> Option<State> {
        if self.clients.is_empty() {
            return None;
        }
        let (mut state, effects) = match whole::rebuild(found) {
            Ok(built) => built,
            Err(what) => {
                self.break_rule("state", what);
                return None;
            }
        };
        let first = found.entries.len() - effects.len();
        for (entry, (_, effect)) in found.entries.iter().skip(first).zip(effects) {
            if let Err(what) = self.oracle.applied(*entry, effect) {
                self.break_rule("agreement of states", what);
            }
        }
        // Nobody watches it yet.
        let _ = state.set_config(ensemble.to_text().as_bytes(), ensemble.version);
        Some(state)
    }

    pub(super) fn change_role(&mut self, server: usize, role: Role) {
        let process = &mut self.servers[server];
        process.role = role;
        let id = process.id;
        let Some(epoch) = process.epoch() else {
            self.observe(&Fact::Stopped { server: id });
            return;
        };
        process.state_zxid = process.state_zxid.max(Zxid::new(epoch, 0));
        let (history, log) = (process.applied.clone(), process.log.clone());
        if matches!(role, Role::Leading { .. }) && self.clients.is_empty() {
            self.establish(server, epoch, history.clone());
        }
        if !matches!(role, Role::Observing { .. }) {
            self.observe(&Fact::LogIs {
                server: id,
                epoch,
                log,
            });
        }
        self.observe(&Fact::Serving {
            server: id,
            epoch,
            history,
        });
        self.tell_oracle();
    }

    /// A process starts on what its disk holds.
    pub fn start(&mut self, server: usize) {
        if self.servers[server].is_up() {
            return;
        }
        let found = match self.servers[server].storage.start() {
            Ok(found) => found,
            Err(error) => {
                self.counts.refused_starts += 1;
                self.servers[server].storage.stop();
                if matches!(error, StoreError::Io { .. }) {
                    self.servers[server].storage.disk.crash(&mut |_| 0);
                    let us = self.rng.below(self.options.down_max_ms * 1000);
                    self.after(us, Happening::Fault(Fault::Start { server }));
                } else if !self.servers[server].is_damaged {
                    let id = self.servers[server].id.0;
                    self.break_rule("store", format!("server {id} does not start: {error}"));
                }
                return;
            }
        };
        self.check_found(server, &found.entries);
        self.check_ensemble(server, &found.ensemble);
        let id = self.servers[server].id;
        let epoch = found.epochs.accepted;
        self.observe(&Fact::Promised { server: id, epoch });
        if self.may_vote(server) {
            let history = found.entries.clone();
            self.observe(&Fact::DurableIs {
                server: id,
                history,
            });
        }
        let state = self.rebuild(&found, &found.ensemble);
        let mut acts = Vec::new();
        let process = &mut self.servers[server];
        let now = process.clock.time(self.now);
        process.boot(&found, &self.options, now, state, &mut acts);
        self.execute_all(server, acts);
        for peer in 0..self.servers.len() {
            if peer != server && self.servers[peer].is_up() {
                self.way(server, peer, true);
                self.way(peer, server, true);
            }
        }
    }

    /// Whether a server's disk may ever count.
    pub(super) const fn may_vote(&self, server: usize) -> bool {
        server < self.options.voters || self.options.reconfigurations > 0
    }

    /// roo-store keeps its word: what was synced is there, and nothing that was never appended.
    pub(super) fn check_found(&mut self, server: usize, found: &[Entry]) {
        let process = &self.servers[server];
        let begins = |a: &[Entry], b: &[Entry]| b.starts_with(a);
        let ok = match &process.old_log {
            None => begins(&process.durable, found) && begins(found, &process.log),
            Some(old) => begins(found, old) || begins(found, &process.log),
        };
        if !ok {
            let what = format!(
                "server {} finds {found:?}, but {:?} was safe and {:?} appended",
                process.id.0, process.durable, process.log
            );
            self.break_rule("store", what);
        }
    }

    /// A process ends without a warning.
    pub fn crash(&mut self, server: usize) {
        if !self.servers[server].is_up() {
            return;
        }
        self.counts.crashes += 1;
        self.say(|w| format!("server {} crashes", w.servers[server].id.0));
        let id = self.servers[server].id;
        self.servers[server].stop();
        let mut rng = self.rng.fork();
        let disk = self.servers[server].storage.disk.clone();
        disk.crash(&mut |n| rng.index(n));
        self.observe(&Fact::Stopped { server: id });
        self.note_end(server);
        for (link, side, _) in self.network.links_of(server) {
            self.break_link(link, side);
        }
        self.lose_clients(server);
        for peer in 0..self.servers.len() {
            if peer != server {
                self.network.channel(server, peer).pending = None;
                if self.servers[peer].is_up() {
                    self.way(peer, server, false);
                }
            }
        }
        if self.is_stormy {
            let us = self.rng.below(self.options.down_max_ms * 1000);
            self.after(us, Happening::Fault(Fault::Start { server }));
        }
    }
}

/// A server's wall clock.
const fn wall(now: u64, ahead_ms: i64) -> WallTime {
    WallTime((1_700_000_000_000 + now / 1000).cast_signed() + ahead_ms)
}

fn replica_event(event: Event) -> ReplicaEvent {
    match event {
        Event::LogDurable { upto } => ReplicaEvent::LogDurable { upto },
        Event::Received { link, message } => ReplicaEvent::Received {
            link,
            message: PeerMessage::Zab(message),
        },
        Event::DeadlineReached => ReplicaEvent::DeadlineReached,
        event => ReplicaEvent::Zab(event),
    }
}

fn zab_role(role: roo_replica::Role) -> Role {
    match role {
        roo_replica::Role::Standalone
        | roo_replica::Role::Looking
        | roo_replica::Role::ReadOnly => Role::Looking,
        roo_replica::Role::Leading { epoch } => Role::Leading { epoch },
        roo_replica::Role::Learning {
            leader,
            link,
            epoch,
            observer,
        } => {
            if observer {
                Role::Observing {
                    leader,
                    link,
                    epoch,
                }
            } else {
                Role::Following {
                    leader,
                    link,
                    epoch,
                }
            }
        }
    }
}
