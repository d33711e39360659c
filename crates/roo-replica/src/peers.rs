//! The part of a replica that an ensemble needs: Zab below, the other servers' replicas beside it,
//! and what a change of role means.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::sync::Arc;
use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::acl::Id;
use roo_proto::ensemble::Ensemble;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{ServerId, SessionId, Time, WallTime, Zxid};
use roo_proto::op_code;
use roo_proto::request;
use roo_state::prepare::{self, Prepared};
use roo_state::state::State;
use roo_zab::message::LinkId;
use roo_zab::{Message, Proposal, Zab, effect};

use crate::effect::{CloseReason, Deliveries, Effect};
use crate::event::ConnId;
use crate::intake::{close, handshake_response};
use crate::local_sessions::makes_ephemeral;
use crate::peer_message::PeerMessage;
use crate::read_path::{Asker, Rounds};
use crate::replica::{InFlight, LocalSessions, Origin, Replica, Role};
use crate::requests::{Asked, Owed, room_of};
use crate::sessions::Owner;
use crate::write_path::refusal;

/// What [`Replica::commit`] has to do, in this order.
#[derive(Debug)]
pub(crate) enum Ready {
    /// Committed, and not decided by this server in its present role.
    Proposal(Proposal),
    /// Everything before it belongs to the old role.
    Role(effect::Role),
    /// An ensemble is in force.
    Ensemble(Arc<Ensemble>),
    /// There has been no leader for too long.
    ReadOnly,
    /// The state is to be replaced, now that nobody reads it.
    Replace(roo_zab::Effect),
}

/// A client that came back and waits for the leader's word.
#[derive(Clone, Copy, Debug)]
struct Revalidating {
    session: SessionId,
    conn: ConnId,
    timeout_ms: i32,
    read_only: Option<bool>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) zab: Zab,
    pub(crate) ready: VecDeque<Ready>,
    /// Answers to `sync` that no request has used yet; below 0 for those that come too late.
    pub(crate) syncs_done: i64,
    /// Sessions heard from since the leader last asked, with their timeouts.
    pub(crate) touched: BTreeMap<SessionId, i32>,
    pub(crate) rounds: Rounds,
    /// Questions to this leader that wait for a quorum's word, with what was committed when they
    /// came.
    pub(crate) questions: VecDeque<(Asker, Zxid)>,
    revalidating: Vec<Revalidating>,
    /// The state is being replaced by a part of itself, or by the leader's: nobody may read it.
    pub(crate) is_replacing: bool,
    /// What this learner has asked its leader.
    pub(crate) asked: Asked,
    /// What this leader has been asked by its learners.
    pub(crate) owed: Owed,
    /// Learners that are to be sent a snapshot, and how far it must go at least.
    pub(crate) snapshots: VecDeque<(LinkId, Zxid)>,
    zab_effects: Vec<roo_zab::Effect>,
}

impl Peers {
    pub(crate) fn new(zab: Zab) -> Self {
        Self {
            zab,
            ready: VecDeque::new(),
            syncs_done: 0,
            touched: BTreeMap::new(),
            rounds: Rounds::new(),
            questions: VecDeque::new(),
            revalidating: Vec::new(),
            is_replacing: false,
            asked: Asked::default(),
            owed: Owed::default(),
            snapshots: VecDeque::new(),
            zab_effects: Vec::new(),
        }
    }

    pub(crate) fn revalidate(
        &mut self,
        session: SessionId,
        conn: ConnId,
        timeout_ms: i32,
        read_only: Option<bool>,
    ) {
        self.revalidating.push(Revalidating {
            session,
            conn,
            timeout_ms,
            read_only,
        });
    }

    pub(crate) fn forget_handshake(&mut self, conn: ConnId) {
        // The leader's answers come in the order of the questions, so the place stays.
        for waiting in &mut self.revalidating {
            if waiting.conn == conn {
                waiting.conn = ConnId::NONE;
            }
        }
    }

    /// Forgets what belongs to the role that ends.
    fn reset(&mut self) {
        self.syncs_done = 0;
        self.touched.clear();
        self.rounds = Rounds::new();
        self.questions.clear();
        self.revalidating.clear();
        self.asked.clear();
        self.owed.clear();
    }
}

impl Replica {
    /// Gives Zab an event and does what it wants.
    pub(crate) fn zab_event(
        &mut self,
        now: Time,
        event: roo_zab::Event,
        effects: &mut Vec<Effect>,
    ) {
        let is_replaced = matches!(
            event,
            roo_zab::Event::Truncated { .. }
                | roo_zab::Event::SnapshotInstalled { .. }
                | roo_zab::Event::SnapshotFailed { .. }
        );
        if is_replaced && let Some(peers) = &mut self.peers {
            peers.is_replacing = false;
        }
        self.with_zab(now, effects, |zab, zab_effects| {
            zab.handle(now, event, zab_effects);
        });
    }

    pub(crate) fn with_zab(
        &mut self,
        now: Time,
        effects: &mut Vec<Effect>,
        f: impl FnOnce(&mut Zab, &mut Vec<roo_zab::Effect>),
    ) {
        let Some(peers) = &mut self.peers else {
            return;
        };
        let mut zab_effects = core::mem::take(&mut peers.zab_effects);
        f(&mut peers.zab, &mut zab_effects);
        for effect in zab_effects.drain(..) {
            self.on_zab_effect(now, effect, effects);
        }
        if let Some(peers) = &mut self.peers {
            peers.zab_effects = zab_effects;
        }
    }

    fn on_zab_effect(&mut self, now: Time, effect: roo_zab::Effect, effects: &mut Vec<Effect>) {
        let Some(peers) = &mut self.peers else {
            return;
        };
        match effect {
            roo_zab::Effect::Append { proposal } => {
                self.append(proposal.zxid, proposal.txn, effects);
            }
            roo_zab::Effect::Deliver { proposal } => {
                // What this leader has decided waits in its own queue, decoded.
                if matches!(self.role, Role::Leading { .. }) && peers.ready.is_empty() {
                    self.committed = proposal.zxid;
                } else {
                    peers.ready.push_back(Ready::Proposal(proposal));
                }
            }
            roo_zab::Effect::RoleChanged { role } => peers.ready.push_back(Ready::Role(role)),
            roo_zab::Effect::LeadershipConfirmed { count } => {
                self.on_leadership_confirmed(now, count, effects);
            }
            roo_zab::Effect::Send { link, message } => {
                if matches!(message, Message::Pong { .. }) && !peers.touched.is_empty() {
                    let sessions = core::mem::take(&mut peers.touched).into_iter().collect();
                    let message = PeerMessage::Touched { sessions };
                    effects.push(Effect::Send { link, message });
                }
                let message = PeerMessage::Zab(message);
                effects.push(Effect::Send { link, message });
            }
            roo_zab::Effect::Activate { ensemble } => {
                // The transaction of one that this leader has decided shows it at its turn.
                if !matches!(self.role, Role::Leading { .. }) {
                    let shown = Ready::Ensemble(Arc::clone(&ensemble));
                    peers.ready.push_back(shown);
                }
                effects.push(Effect::Zab(roo_zab::Effect::Activate { ensemble }));
            }
            roo_zab::Effect::Truncate { .. } | roo_zab::Effect::InstallSnapshot { .. } => {
                peers.is_replacing = true;
                if self.role == Role::ReadOnly {
                    peers.ready.push_back(Ready::Role(effect::Role::Looking));
                    peers.ready.push_back(Ready::Replace(effect));
                } else {
                    effects.push(Effect::Zab(effect));
                }
            }
            roo_zab::Effect::SendSnapshot { link } => {
                let delivered = peers.zab.status().delivered;
                peers.snapshots.push_back((link, delivered));
            }
            roo_zab::Effect::Notify { .. }
            | roo_zab::Effect::OpenLink { .. }
            | roo_zab::Effect::CloseLink { .. }
            | roo_zab::Effect::PersistEpoch { .. }
            | roo_zab::Effect::ReadHistory { .. }
            | roo_zab::Effect::PersistNextEnsemble { .. }
            | roo_zab::Effect::ForgetNextEnsemble => effects.push(Effect::Zab(effect)),
        }
    }

    /// What is committed may wait behind reads; a snapshot waits for it.
    pub(crate) fn send_snapshots(&mut self, state: &State, effects: &mut Vec<Effect>) {
        let Some(peers) = &mut self.peers else {
            return;
        };
        while let Some((link, _)) = peers
            .snapshots
            .pop_front_if(|(_, delivered)| *delivered <= state.last_zxid())
        {
            effects.push(Effect::Zab(roo_zab::Effect::SendSnapshot { link }));
        }
    }

    pub(crate) fn on_peer_message(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        link: LinkId,
        message: PeerMessage,
        effects: &mut Vec<Effect>,
    ) {
        match message {
            PeerMessage::Zab(message) => {
                self.zab_event(now, roo_zab::Event::Received { link, message }, effects);
            }
            PeerMessage::Request { .. }
            | PeerMessage::Sync
            | PeerMessage::Revalidate { .. }
            | PeerMessage::Touched { .. }
            | PeerMessage::ReadIndex { .. } => {
                if let Some(peer) = self.admit(now, link, &message, effects) {
                    let learner = Learner { link, peer };
                    self.on_learners_message(now, wall, state, learner, message, effects);
                }
            }
            PeerMessage::SyncDone
            | PeerMessage::Revalidated { .. }
            | PeerMessage::ReadIndexed { .. } => {
                if matches!(self.role, Role::Learning { link: current, .. } if current == link) {
                    self.on_answer(now, message, effects);
                }
            }
            // Slices go to whoever installs the snapshot.
            PeerMessage::Slice { .. } | PeerMessage::SliceEnd { .. } => {}
        }
    }

    /// What a learner tells or asks this leader.
    fn on_learners_message(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        learner: Learner,
        message: PeerMessage,
        effects: &mut Vec<Effect>,
    ) {
        let Learner { link, peer } = learner;
        let bytes = room_of(&message);
        match message {
            PeerMessage::Request {
                session,
                cxid,
                op,
                body,
                ids,
            } => {
                let request = RemoteRequest {
                    link,
                    session,
                    cxid,
                    op,
                    body: &body,
                    ids: &ids,
                };
                let origin = Origin::Learner { peer, bytes };
                self.on_remote_request(now, wall, state, &request, origin, effects);
            }
            PeerMessage::Sync => self.in_flight.push_back(InFlight::SyncOf { link, peer }),
            PeerMessage::Revalidate {
                session,
                timeout_ms,
            } => {
                let message = PeerMessage::Revalidated {
                    session,
                    valid: self.revalidate_here(now, link, session, timeout_ms),
                    after: self.proposed,
                };
                effects.push(Effect::Send { link, message });
            }
            PeerMessage::Touched { sessions } => {
                for (session, _) in sessions {
                    self.sessions.touch(now, session);
                }
            }
            PeerMessage::ReadIndex { id } => {
                self.on_question(now, Asker::Learner { link, peer, id }, effects);
            }
            PeerMessage::Zab(_)
            | PeerMessage::Slice { .. }
            | PeerMessage::SliceEnd { .. }
            | PeerMessage::SyncDone
            | PeerMessage::Revalidated { .. }
            | PeerMessage::ReadIndexed { .. } => {}
        }
    }

    /// The leader's word on something that this learner asked.
    fn on_answer(&mut self, now: Time, message: PeerMessage, effects: &mut Vec<Effect>) {
        let Some(peers) = &mut self.peers else {
            return;
        };
        match message {
            PeerMessage::SyncDone => peers.syncs_done += 1,
            PeerMessage::ReadIndexed { id, zxid } => self.on_index(now, id, zxid, effects),
            PeerMessage::Revalidated {
                session,
                valid,
                after,
            } => {
                let at = peers.revalidating.iter().position(|w| w.session == session);
                let Some(waiting) = at.map(|at| peers.revalidating.remove(at)) else {
                    return;
                };
                if waiting.conn != ConnId::NONE {
                    self.on_revalidated(waiting, valid, after, effects);
                }
            }
            PeerMessage::Zab(_)
            | PeerMessage::Slice { .. }
            | PeerMessage::SliceEnd { .. }
            | PeerMessage::Request { .. }
            | PeerMessage::Sync
            | PeerMessage::Revalidate { .. }
            | PeerMessage::Touched { .. }
            | PeerMessage::ReadIndex { .. } => {}
        }
    }
}

/// A learner of this leader.
#[derive(Clone, Copy, Debug)]
struct Learner {
    link: LinkId,
    peer: ServerId,
}

/// A learner's client's request, at the leader.
struct RemoteRequest<'a> {
    link: LinkId,
    session: SessionId,
    cxid: i32,
    op: i32,
    body: &'a Bytes,
    ids: &'a [Id],
}

impl Replica {
    fn on_revalidated(
        &mut self,
        waiting: Revalidating,
        valid: bool,
        after: Zxid,
        effects: &mut Vec<Effect>,
    ) {
        let Revalidating {
            session,
            conn,
            timeout_ms,
            read_only,
        } = waiting;
        if valid {
            // Another connection may have come back in the meantime, and was before this one.
            let older = self.sessions.find(session).and_then(|t| t.owner);
            if let Some(Owner::Connection(older)) = older.filter(|o| *o != Owner::Connection(conn))
            {
                close(effects, older, CloseReason::SessionMoved);
            }
            let owner = Some(Owner::Connection(conn));
            self.sessions.attend(session, timeout_ms, owner);
            self.sessions.begin_after(session, after);
        }
        let response = handshake_response(session, timeout_ms, valid, read_only);
        effects.push(Effect::Connected { conn, response });
    }

    /// Whether a session lives; from here on it belongs to the learner.
    fn revalidate_here(
        &mut self,
        now: Time,
        link: LinkId,
        session: SessionId,
        timeout_ms: i32,
    ) -> bool {
        // A session that only this server knows is no session elsewhere.
        let lives = self
            .sessions
            .find(session)
            .is_some_and(|tracked| !tracked.closing && !tracked.local);
        if lives {
            self.sessions
                .attach(now, session, timeout_ms, Owner::Link(link));
        }
        lives
    }

    /// Every request of a learner becomes one transaction: the learner waits for it.
    fn on_remote_request(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        request: &RemoteRequest<'_>,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let RemoteRequest {
            link,
            session,
            cxid,
            op,
            body,
            ids,
        } = *request;
        let Some(header) = self.header(session, cxid, wall) else {
            return;
        };
        let prepared = if op == op_code::CREATE_SESSION {
            self.create_remote_session(now, state, link, session, body)
        } else {
            let refused = self.refuse_remote(request);
            if op == op_code::CLOSE_SESSION {
                self.sessions.close(session);
            }
            match request::decode(op, body, self.config.max_field_bytes) {
                _ if refused.is_some() => refusal(refused.unwrap_or(ErrorCode::SYSTEM_ERROR)),
                Ok(request) => self.prepare(state, &header, ids, body, &request),
                Err(_) => refusal(ErrorCode::MARSHALLING_ERROR),
            }
        };
        self.propose(now, header, prepared, origin, effects);
    }

    fn create_remote_session(
        &mut self,
        now: Time,
        state: &State,
        link: LinkId,
        session: SessionId,
        body: &[u8],
    ) -> Prepared {
        let Some(timeout) = body.first_chunk::<4>() else {
            return refusal(ErrorCode::MARSHALLING_ERROR);
        };
        let timeout_ms = i32::from_be_bytes(*timeout);
        let owner = Some(Owner::Link(link));
        self.sessions.track(now, session, timeout_ms, owner);
        prepare::prepare_create_session(state, &mut self.overlay, timeout_ms)
    }

    /// Why a learner's request is not even looked at. The end of a session is never refused.
    /// Java: `SessionTrackerImpl.checkSession`.
    fn refuse_remote(&self, request: &RemoteRequest<'_>) -> Option<ErrorCode> {
        let RemoteRequest {
            link,
            session,
            op,
            body,
            ..
        } = *request;
        if op == op_code::CLOSE_SESSION {
            return None;
        }
        match self.sessions.find(session) {
            // It may be a local session of the learner's; one that owns nodes is known here, and
            // one that has just ended was: the learner had not heard of that.
            None if self.config.local_sessions != LocalSessions::Off
                && !self.sessions.has_ended(session)
                && !makes_ephemeral(op, body, self.config.max_field_bytes) =>
            {
                None
            }
            None => Some(ErrorCode::SESSION_EXPIRED),
            Some(tracked) if tracked.closing => Some(ErrorCode::SESSION_EXPIRED),
            Some(tracked) => match tracked.owner {
                Some(Owner::Link(owner)) if owner == link => None,
                // Who brings a session here has its leader's word for it, so this is what a client
                // left behind that has been elsewhere since.
                None | Some(Owner::Link(_) | Owner::Connection(_)) => {
                    Some(ErrorCode::SESSION_MOVED)
                }
            },
        }
    }

    /// Ends the old role and begins the new one. No client keeps its connection: what it has
    /// asked for may be lost, and its session may have moved.
    pub(crate) fn change_role(
        &mut self,
        now: Time,
        role: effect::Role,
        state: &mut State,
        deliveries: &mut dyn Deliveries,
    ) {
        self.apply_what_is_committed(state, deliveries);
        self.close_handshakes(deliveries);
        self.in_flight.clear();
        self.overlay.clear();
        self.sessions.clear();
        if let Some(peers) = &mut self.peers {
            peers.reset();
        }
        self.role = match role {
            effect::Role::Looking => Role::Looking,
            effect::Role::Leading { epoch } => Role::Leading { epoch },
            effect::Role::Following {
                leader,
                link,
                epoch,
            } => Role::Learning {
                leader,
                link,
                epoch,
                observer: false,
            },
            effect::Role::Observing {
                leader,
                link,
                epoch,
            } => Role::Learning {
                leader,
                link,
                epoch,
                observer: true,
            },
        };
        match self.role {
            Role::Leading { epoch } => {
                self.adopt_epoch(state, epoch);
                self.proposed = state.last_zxid();
                self.committed = state.last_zxid();
                self.track_all(now, state);
                self.reaper.restart(now);
            }
            Role::Learning { epoch, .. } => self.adopt_epoch(state, epoch),
            Role::Looking | Role::Standalone | Role::ReadOnly => {}
        }
        self.looking_since = now;
        deliveries.role_changed(self.role, self.reads_in_rounds());
    }

    /// When a server that looks for a leader serves reads without one.
    pub(crate) fn read_only_at(&self) -> Option<Time> {
        let after = self.config.read_only_after_ms?;
        let is_whole = self.peers.as_ref().is_some_and(|p| !p.is_replacing);
        (self.role == Role::Looking && is_whole)
            .then(|| Time(self.looking_since.0.saturating_add(after)))
    }

    /// Serves reads from here on, if there was no leader for too long.
    pub(crate) fn serve_reads_at_last(&mut self, now: Time) {
        if self.read_only_at().is_some_and(|at| at <= now)
            && let Some(peers) = &mut self.peers
            && peers.ready.is_empty()
        {
            peers.ready.push_back(Ready::ReadOnly);
        }
    }

    pub(crate) fn become_read_only(&mut self, deliveries: &mut dyn Deliveries) {
        if self.read_only_at().is_some() {
            self.role = Role::ReadOnly;
            deliveries.role_changed(self.role, false);
        }
    }

    /// Clients without a session yet are told too.
    fn close_handshakes(&self, deliveries: &mut dyn Deliveries) {
        for waiting in &self.in_flight {
            if let InFlight::Txn {
                origin: Origin::Handshake { conn, .. },
                ..
            }
            | InFlight::Forwarded {
                origin: Origin::Handshake { conn, .. },
                ..
            } = waiting
            {
                deliveries.close(*conn, CloseReason::NotServing);
            }
        }
        for waiting in self.peers.iter().flat_map(|peers| &peers.revalidating) {
            if waiting.conn != ConnId::NONE {
                deliveries.close(waiting.conn, CloseReason::NotServing);
            }
        }
    }

    /// A client that has seen the new leader's first zxid is welcome everywhere in its epoch.
    fn adopt_epoch(&self, state: &mut State, epoch: u32) {
        let first = Zxid::new(epoch, 0);
        if state.last_zxid() < first {
            state.set_last_zxid(first);
        }
    }
}
