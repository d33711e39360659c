//! The loop of the thread that owns the replica: events in, effects out, then what is committed
//! is applied under the state's lock. It does not block: what takes time is handed to the queues of
//! other threads, but for the sync of a few records by a server alone that has nothing else to do
//! ([`Storage`]).

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use roo_peer::{PeerLinks, Permit};
use roo_proto::ids::Time;
use roo_proto::op_code;
use roo_replica::effect::Effect;
use roo_replica::event::Event;
use roo_replica::peer_message::PeerMessage;
use roo_replica::questions::Question;
use roo_replica::{Replica, Role};
use roo_state::state::State;
use roo_zab::effect::CloseReason;
use roo_zab::message::{LinkId, Message, PeerState};

use crate::backlog::{Backlog, brings_record};
use crate::client::io_thread::Sockets;
use crate::dispatcher::Dispatcher;
use crate::gather::Gather;
use crate::histogram::Runs;
use crate::limits;
use crate::peer_inbox::PeerInbox;
use crate::queue::BatchQueue;
use crate::resync::{HistoryInput, HistoryJob};
use crate::shared_state::{Input, Shared};
use crate::snapshot_thread::SnapshotInput;
use crate::stats::{Counters, Tally, in_ms};
use crate::storage_thread::{Storage, StorageInput};

/// The ways to the other servers of an ensemble.
pub struct Ensemble {
    /// The links.
    pub links: Arc<dyn PeerLinks>,
    /// Where what they bring comes in.
    pub inbox: Arc<PeerInbox>,
    /// Whoever reads the log for learners.
    pub history: Arc<BatchQueue<HistoryInput>>,
}

/// See the module.
pub struct ReplicaLoop {
    /// What the server shares.
    pub shared: Arc<Shared>,
    /// The replica.
    pub replica: Replica,
    /// Whoever writes the log.
    pub storage: Arc<Storage>,
    /// Whoever writes snapshots.
    pub snapshots: SyncSender<SnapshotInput>,
    /// The other servers; `None` without an ensemble.
    pub ensemble: Option<Ensemble>,
    /// Whether there is a log that snapshots shorten.
    pub keeps_log: bool,
    /// The sockets of each I/O thread.
    pub sockets: Vec<Arc<Mutex<Sockets>>>,
    /// What is measured of the ways to a leader.
    pub ways: Ways,
    /// What comes faster than the disk takes it.
    pub backlog: Backlog,
    /// Whether a sync waits for more.
    pub gather: Gather,
}

/// When this server began what it does to have a leader.
#[derive(Debug, Default)]
pub struct Ways {
    /// What Zab does, and since when.
    doing: Option<(PeerState, Time)>,
    /// Since when there has been no leader.
    leaderless: Option<Time>,
    /// When it was last said that the leader is older than what this server has promised.
    stale: Option<Time>,
}

/// What one round of the loop hands over.
#[derive(Default)]
struct Handover {
    records: Vec<StorageInput>,
    /// Only what is told to connections needs their threads' locks, and those the state's.
    told: Vec<Effect>,
    /// What must see everything applied that was committed before.
    after_commit: Vec<SnapshotInput>,
}

impl ReplicaLoop {
    /// Works until it is told to stop.
    pub fn run(&mut self) {
        let shared = Arc::clone(&self.shared);
        let mut batch = Vec::new();
        let mut effects = Vec::new();
        let mut handover = Handover::default();
        self.ways.leaderless = Some(shared.clock.now());
        self.replica.start(shared.clock.now(), &mut effects);
        loop {
            self.execute(&mut effects, &mut handover);
            self.measure_election();
            if self.replica.can_commit() {
                self.commit(&mut effects, &mut handover);
            }
            for input in handover.after_commit.drain(..) {
                self.snapshot(input);
            }
            // Last, so that whoever waits for what is committed does not wait for this.
            let patience = self.write_light(&mut handover.records);
            let wait = self.replica.next_deadline().map_or(patience, |at| {
                let left = Duration::from_millis(at.millis_since(shared.clock.now()));
                left.min(patience)
            });
            shared.inbox.take(wait, &mut batch);
            self.backlog
                .release(shared.storage_bytes.load(Ordering::SeqCst));
            let (queued, began) = (batch.len(), Instant::now());
            if self.handle(&mut batch, &mut effects) {
                return;
            }
            if queued > 0 {
                let stats = &shared.stats;
                stats.prep_queue_size.add(queued as u64);
                stats.prep_process_time.add(in_ms(began.elapsed()));
            }
        }
    }

    /// Applies and answers what is committed.
    fn commit(&mut self, effects: &mut Vec<Effect>, handover: &mut Handover) {
        let shared = Arc::clone(&self.shared);
        let mut state = shared.state.write();
        let mut dispatcher = Dispatcher::new(&shared);
        let (now, before) = (shared.clock.now(), self.replica.role());
        self.replica
            .commit(now, &mut state, &mut dispatcher, effects);
        let has_time = self.gather.answered(handover.records.len(), Instant::now());
        let left = dispatcher.finish(has_time);
        drop(state);
        self.send_mail(&left);
        self.measure_role(before, now);
        self.execute(effects, handover);
    }

    /// Makes the few records durable that need no detour, if it does not wait for more; for how
    /// long to wait for anything.
    fn write_light(&mut self, records: &mut Vec<StorageInput>) -> Duration {
        let count = records.len();
        if count > 0 {
            let began = Instant::now();
            if let Some(patience) = self.gather.patience(count, began) {
                return patience;
            }
            self.storage.write_now(records);
            self.gather.synced(count, began.elapsed());
        }
        limits::LONG_WAIT
    }

    /// Java: `ServerMetrics.LOOKING_COUNT` and `ELECTION_TIME`.
    fn measure_election(&mut self) {
        let Some(zab) = self.replica.zab() else {
            return;
        };
        let state = zab.state();
        if self.ways.doing.is_some_and(|(before, _)| before == state) {
            return;
        }
        let (now, stats) = (self.shared.clock.now(), &self.shared.stats);
        if state == PeerState::Looking {
            Counters::inc(&stats.counters.looking_count);
        } else if let Some((PeerState::Looking, since)) = self.ways.doing {
            stats.election_time.add(now.millis_since(since));
        }
        self.ways.doing = Some((state, now));
    }

    /// How long it took to have a leader, and to catch up with it. Java:
    /// `ServerMetrics.UNAVAILABLE_TIME`, `FOLLOWER_SYNC_TIME` and others.
    fn measure_role(&mut self, before: Role, now: Time) {
        let role = self.replica.role();
        if role == before {
            return;
        }
        let (Role::Leading { .. } | Role::Learning { .. }) = role else {
            self.ways.leaderless.get_or_insert(now);
            return;
        };
        let stats = &self.shared.stats;
        if let Some(since) = self.ways.leaderless.take() {
            let missed = now.millis_since(since);
            stats.unavailable_time.add(missed);
            if role.decides() {
                stats.leader_unavailable_time.add(missed);
            }
        }
        // Compat: C-71 the connection to the leader counts.
        let elected = self.ways.doing.map_or(now, |(_, since)| since);
        let took = now.millis_since(elected);
        match role {
            Role::Learning { observer: true, .. } => stats.observer_sync_time.add(took),
            Role::Learning { .. } => stats.follower_sync_time.add(took),
            Role::Standalone | Role::Looking | Role::ReadOnly | Role::Leading { .. } => {}
        }
    }

    /// Gives the replica what has come; true when the server ends.
    fn handle(&mut self, batch: &mut Vec<Input>, effects: &mut Vec<Effect>) -> bool {
        let shared = Arc::clone(&self.shared);
        let (now, wall) = (shared.clock.now(), shared.clock.wall());
        let state = shared.state.read();
        let mut queue_times = Runs::of(&shared.stats.prep_queue_time);
        for input in batch.drain(..) {
            match input {
                Input::Event(event) => {
                    let (mut began, stats) = (None, &shared.stats);
                    if let Event::Requested(request) = &event {
                        queue_times.add(now.millis_since(request.arrived));
                        began = (request.op == op_code::CLOSE_SESSION).then(Instant::now);
                    }
                    self.replica.handle(now, wall, &state, event, effects);
                    if let Some(began) = began {
                        stats.close_session_prep_time.add(in_ms(began.elapsed()));
                    }
                }
                Input::Peer { event, permit } => {
                    if is_ping(&event) {
                        self.touch(&state, effects);
                    }
                    let brings_record = brings_record(&event);
                    self.replica.handle(now, wall, &state, event, effects);
                    if brings_record && let Some(permit) = permit {
                        self.hold_back(permit);
                    }
                }
                Input::Query(query) => query(&self.replica),
                Input::Stop => return true,
            }
        }
        if self.replica.next_deadline().is_some_and(|at| now >= at) {
            self.touch(&state, effects);
            self.replica
                .handle(now, wall, &state, Event::DeadlineReached, effects);
        }
        false
    }

    /// A record has come; its room is given back when the disk keeps up.
    fn hold_back(&mut self, permit: Permit) {
        let queued = self.shared.storage_bytes.load(Ordering::SeqCst);
        if self.backlog.keep(permit, queued) {
            Counters::inc(&self.shared.stats.counters.storage_queue);
        }
    }

    /// Tells the replica which sessions were heard from.
    fn touch(&mut self, state: &State, effects: &mut Vec<Effect>) {
        let shared = Arc::clone(&self.shared);
        let (now, wall) = (shared.clock.now(), shared.clock.wall());
        for io in &shared.io {
            io.shared.lock().take_touches(|session, at| {
                let event = Event::Touched { session, at };
                self.replica.handle(now, wall, state, event, effects);
            });
        }
    }

    fn execute(&mut self, effects: &mut Vec<Effect>, handover: &mut Handover) {
        if effects.is_empty() {
            return;
        }
        let (began, queued) = (Instant::now(), self.shared.clock.now());
        let mut proposals = Tally::default();
        for effect in effects.drain(..) {
            match effect {
                Effect::Append { zxid, record } => {
                    proposals.add(record.len() as u64);
                    handover.records.push(StorageInput::Append {
                        zxid,
                        record,
                        queued,
                    });
                }
                Effect::RollLog => {
                    handover.records.push(StorageInput::Roll);
                    handover.after_commit.push(SnapshotInput::Due);
                }
                Effect::TakeSnapshot if !self.keeps_log => {
                    self.shared.inbox.push(Input::Event(Event::SnapshotEnded));
                }
                Effect::TakeSnapshot => handover.after_commit.push(SnapshotInput::Take),
                Effect::Connected { .. } | Effect::Close { .. } => handover.told.push(effect),
                Effect::Shown(question) => self.tell_shown(question),
                Effect::Send { link, message } => self.send(link, message),
                Effect::Zab(effect) => self.execute_zab(effect, handover),
            }
        }
        self.tell(&mut handover.told);
        self.count_proposals(&proposals);
        if !self.writes_now(&handover.records) {
            self.storage.write_soon(&mut handover.records);
            self.gather.synced(0, Duration::ZERO);
        }
        let took = in_ms(began.elapsed());
        self.shared.stats.proposal_process_time.add(took);
    }

    /// Whether to make records durable without a detour. A member of an ensemble does not: while
    /// its disk stalls, its leader or its followers go on, and must hear of it and of its sessions.
    fn writes_now(&self, records: &[StorageInput]) -> bool {
        self.ensemble.is_none() && self.storage.is_light(records)
    }

    /// The thread takes the state's lock before it serves, and so sees what is shown.
    fn tell_shown(&self, question: Question) {
        if let Some(io) = self.shared.io.get(question.asker) {
            io.answered.store(question.number, Ordering::SeqCst);
            io.notify();
        }
    }

    fn tell_closed(&mut self, link: LinkId, why: CloseReason) {
        let now = self.shared.clock.now();
        if why == CloseReason::TooManyRequests {
            Counters::inc(&self.shared.stats.counters.learner_request);
            tracing::warn!(
                ?link,
                "a learner asks for more at once than any that keeps the rules; its link is \
                 closed: bring it to the version of its leader"
            );
            return;
        }
        let lately = |said: Time| now.millis_since(said) < limits::COMPLAIN_AGAIN_MS;
        if why != CloseReason::StaleEpoch {
            tracing::info!(?link, ?why, "link to another server closed");
        } else if !self.ways.stale.is_some_and(lately) {
            self.ways.stale = Some(now);
            tracing::warn!(
                "the leader's epoch is older than one that this server has promised \
                 (acceptedEpoch): it joins when a new leader is elected; if acceptedEpoch was \
                 edited or the directory restored, move the directory away and let the server \
                 copy everything"
            );
        }
    }

    /// Records are about to be given to the log.
    fn count_proposals(&self, sizes: &Tally) {
        if sizes.count == 0 {
            return;
        }
        let bytes = usize::try_from(sizes.total).unwrap_or(usize::MAX);
        self.shared.storage_bytes.fetch_add(bytes, Ordering::SeqCst);
        let stats = &self.shared.stats;
        let add = |counter: &AtomicU64| counter.fetch_add(sizes.count, Ordering::Relaxed);
        let role = self.replica.role();
        if role.decides() {
            add(&stats.counters.outstanding_changes_queued);
        }
        match role {
            Role::Leading { .. } => {
                add(&stats.counters.proposal_count);
                stats.proposal_size.merge(sizes);
                stats
                    .last_proposal_size
                    .store(sizes.last, Ordering::Relaxed);
            }
            Role::Learning {
                observer: false, ..
            } => {
                add(&stats.counters.learner_proposal_received_count);
            }
            Role::Standalone | Role::Looking | Role::ReadOnly | Role::Learning { .. } => {}
        }
    }

    fn count_message(&self, message: &PeerMessage) {
        let counters = &self.shared.stats.counters;
        match message {
            PeerMessage::Zab(Message::Diff { .. }) => Counters::inc(&counters.diff_count),
            PeerMessage::Zab(Message::Snap { .. }) => Counters::inc(&counters.snap_count),
            PeerMessage::Revalidated { .. } => Counters::inc(&counters.revalidate_count),
            _ => {}
        }
    }

    fn send(&self, link: LinkId, message: PeerMessage) {
        self.count_message(&message);
        if let Some(ensemble) = &self.ensemble {
            ensemble.links.send(link, message);
        }
    }

    fn execute_zab(&mut self, effect: roo_zab::Effect, handover: &mut Handover) {
        if let roo_zab::Effect::CloseLink { link, why } = effect {
            self.tell_closed(link, why);
        }
        let Some(ensemble) = &self.ensemble else {
            return;
        };
        let links = &ensemble.links;
        match effect {
            roo_zab::Effect::Notify { to, notification } => links.notify(to, notification),
            roo_zab::Effect::OpenLink { link, to } => links.open(link, to),
            roo_zab::Effect::CloseLink { link, why } => {
                links.close(link, why);
                ensemble.inbox.slices.end(link);
            }
            roo_zab::Effect::Truncate { after } => {
                handover.records.push(StorageInput::Truncate { after });
            }
            roo_zab::Effect::PersistEpoch { which, epoch } => {
                handover
                    .records
                    .push(StorageInput::PersistEpoch { which, epoch });
            }
            roo_zab::Effect::ReadHistory { link, from, upto } => {
                let job = HistoryJob { link, from, upto };
                ensemble.history.push(HistoryInput::Read(job));
            }
            roo_zab::Effect::SendSnapshot { link } => {
                handover.after_commit.push(SnapshotInput::Send { link });
            }
            roo_zab::Effect::InstallSnapshot { link, zxid } => {
                let slices = ensemble.inbox.slices.take(link);
                handover
                    .records
                    .push(StorageInput::Install { link, zxid, slices });
            }
            roo_zab::Effect::PersistNextEnsemble { ensemble } => {
                handover.records.push(StorageInput::NextEnsemble(ensemble));
            }
            roo_zab::Effect::ForgetNextEnsemble => {
                handover.records.push(StorageInput::ForgetNextEnsemble);
            }
            roo_zab::Effect::Activate { ensemble: members } => {
                links.set_ensemble(&members);
                *self.shared.ensemble.lock() = Arc::clone(&members);
                handover.records.push(StorageInput::Activate(members));
            }
            // The replica does these itself.
            roo_zab::Effect::Send { .. }
            | roo_zab::Effect::Append { .. }
            | roo_zab::Effect::Deliver { .. }
            | roo_zab::Effect::RoleChanged { .. }
            | roo_zab::Effect::LeadershipConfirmed { .. } => {}
        }
    }

    fn snapshot(&self, input: SnapshotInput) {
        let refused = match self.snapshots.try_send(input) {
            Ok(()) => return,
            Err(TrySendError::Full(input) | TrySendError::Disconnected(input)) => input,
        };
        match refused {
            SnapshotInput::Take => self.shared.inbox.push(Input::Event(Event::SnapshotEnded)),
            SnapshotInput::Send { link } => {
                tracing::warn!(
                    ?link,
                    "too many learners want a snapshot; this one comes again"
                );
                if let Some(ensemble) = &self.ensemble {
                    ensemble.links.close(link, CloseReason::RoleChanged);
                    let event = Event::Zab(roo_zab::Event::LinkClosed { link });
                    self.shared.inbox.push(Input::Event(event));
                }
            }
            // Whoever has so much to do hurries.
            SnapshotInput::Due | SnapshotInput::Stop => {}
        }
    }

    fn tell(&self, told: &mut Vec<Effect>) {
        if told.is_empty() {
            return;
        }
        let shared = Arc::clone(&self.shared);
        let state = shared.state.read();
        let mut dispatcher = Dispatcher::new(&shared);
        for effect in told.drain(..) {
            match effect {
                Effect::Connected { conn, response } => dispatcher.handshake(conn, &response),
                Effect::Close { conn, why } => dispatcher.cut(conn, why),
                Effect::Append { .. }
                | Effect::RollLog
                | Effect::TakeSnapshot
                | Effect::Shown(_)
                | Effect::Send { .. }
                | Effect::Zab(_) => {}
            }
        }
        // Without time everybody is woken.
        let _ = dispatcher.finish(false);
        drop(state);
    }

    /// Sends what is in the mailboxes of threads that sleep: to wake one takes as long as to send
    /// ten replies.
    fn send_mail(&self, threads: &[usize]) {
        for index in threads {
            let (Some(io), Some(sockets)) = (self.shared.io.get(*index), self.sockets.get(*index))
            else {
                continue;
            };
            if sockets
                .try_lock()
                .is_none_or(|mut sockets| sockets.send_mail())
            {
                io.notify();
            }
        }
    }
}

/// The answer to a ping names the sessions heard from.
fn is_ping(event: &Event) -> bool {
    matches!(
        event,
        Event::Received {
            message: PeerMessage::Zab(Message::Ping { .. }),
            ..
        }
    )
}
