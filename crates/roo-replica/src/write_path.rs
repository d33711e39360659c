//! The way of a write, top to bottom: prepare, propose, log, commit, apply, reply.
//!
//! A server without an ensemble decides alone: what its own log holds durably is committed. In an
//! ensemble Zab says what is committed. What a session sends behind a write waits in the same
//! queue, so that each session sees its own requests in order.

use alloc::vec::Vec;

use bytes::Bytes;
use roo_proto::acl::Id;
use roo_proto::ensemble::Ensemble;
use roo_proto::ensemble::reconfig::{self, Standing};
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Time, WallTime, Zxid};
use roo_proto::op_code;
use roo_proto::reply::{self, WriteResult};
use roo_proto::request::{Reconfig, Request};
use roo_proto::txn::{self, Txn, TxnDigest, TxnHeader};
use roo_state::expiry::{self, ExpiryRules};
use roo_state::prepare::{self, Prepared};
use roo_state::state::{Outcome, State};
use roo_zab::Proposal;

use crate::effect::{CloseReason, Deliveries, Effect};
use crate::intake::handshake_response;
use crate::peer_message::{PeerMessage, ensemble_of};
use crate::peers::Ready;
use crate::read_path::read_in_turn;
use crate::replica::{InFlight, Origin, Replica, Role, Waiting};
use crate::requests::room_of;
use crate::sessions::Owner;

impl Replica {
    /// The header of the next transaction; `None` if this server may not give out zxids.
    pub(crate) fn header(
        &self,
        session: SessionId,
        cxid: i32,
        wall: WallTime,
    ) -> Option<TxnHeader> {
        let zxid = match self.role {
            Role::Standalone => self.proposed.next(),
            Role::Leading { .. } => self.zab()?.next_zxid()?,
            Role::Looking | Role::ReadOnly | Role::Learning { .. } => return None,
        };
        Some(TxnHeader {
            client_id: session.0,
            cxid,
            zxid,
            time: wall.0,
        })
    }

    pub(crate) fn prepare(
        &mut self,
        state: &State,
        header: &TxnHeader,
        ids: &[Id],
        body: &Bytes,
        request: &Request<'_>,
    ) -> Prepared {
        if let Request::Reconfig(reconfig) = request
            && self.config.prepare.reconfig_enabled
            && self.peers.is_some()
        {
            return self.prepare_reconfig(state, header, ids, reconfig);
        }
        let rules = &self.config.prepare;
        prepare::prepare(state, &mut self.overlay, rules, header, ids, body, request)
    }

    /// The rules about ensembles are the quorum's business, the permission the state's.
    fn prepare_reconfig(
        &mut self,
        state: &State,
        header: &TxnHeader,
        ids: &[Id],
        request: &Reconfig<'_>,
    ) -> Prepared {
        let Some(zab) = self.peers.as_ref().map(|peers| &peers.zab) else {
            return refusal(ErrorCode::UNIMPLEMENTED);
        };
        let standing = Standing {
            committed: zab.ensemble(),
            last_seen: zab.last_seen_ensemble(),
            fewest_voters: self.config.min_voters,
        };
        let next = match reconfig::plan(request, &standing, header.zxid) {
            Ok(next) => next,
            Err(refused) => return refusal(refused.code),
        };
        if !zab.is_in_step(&next) {
            return refusal(ErrorCode::NEW_CONFIG_NO_QUORUM);
        }
        let text = next.to_text();
        let rules = &self.config.prepare;
        prepare::prepare_reconfig(state, &mut self.overlay, rules, header, ids, &text)
    }

    /// Gives a transaction its place in the order and sends it to the log, and to the learners.
    pub(crate) fn propose(
        &mut self,
        now: Time,
        header: TxnHeader,
        prepared: Prepared,
        origin: Origin,
        effects: &mut Vec<Effect>,
    ) {
        let ensemble = ensemble_of(&prepared.txn);
        let Prepared { txn, digest } = prepared;
        // Written into a buffer that has its size already: one that grows is copied at each step.
        self.record.clear();
        txn::encode_record(&mut self.record, &header, &txn, digest);
        let record = self.records.copy(&self.record);
        let zxid = header.zxid;
        self.proposed = zxid;
        self.in_flight.push_back(InFlight::Txn {
            header,
            txn,
            digest,
            origin,
        });
        if self.peers.is_none() {
            self.append(zxid, record, effects);
            return;
        }
        let proposal = Proposal {
            zxid,
            txn: record,
            ensemble,
        };
        self.zab_event(now, roo_zab::Event::Propose { proposal }, effects);
    }

    /// Sends a record to the log; now and then it is time for a snapshot.
    pub(crate) fn append(&mut self, zxid: Zxid, record: Bytes, effects: &mut Vec<Effect>) {
        let due = self.snapshotting.on_append(record.len());
        effects.push(Effect::Append { zxid, record });
        if due {
            effects.push(Effect::RollLog);
            // A server that looks for a leader may hold what will never be committed.
            if self.role.serves() && self.snapshotting.try_start() {
                effects.push(Effect::TakeSnapshot);
            }
        }
    }

    pub(crate) fn expire_sessions(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        effects: &mut Vec<Effect>,
    ) {
        for session in self.sessions.expire(now) {
            if self.sessions.find(session).is_some_and(|t| t.local) {
                self.end_local_session(session, CloseReason::SessionExpired, effects);
                continue;
            }
            let Some(header) = self.header(session, 0, wall) else {
                return;
            };
            let prepared = self.prepare(state, &header, &[], &Bytes::new(), &Request::CloseSession);
            self.propose(now, header, prepared, Origin::Elsewhere, effects);
        }
    }

    pub(crate) fn collect_nodes(
        &mut self,
        now: Time,
        wall: WallTime,
        state: &State,
        effects: &mut Vec<Effect>,
    ) {
        let quota = self.reaper.quota(now);
        if quota == 0 {
            return;
        }
        let rules = ExpiryRules {
            max_never_used_ms: self.config.reaper.max_never_used_ms,
        };
        for path in expiry::candidates(state, wall, &rules, quota) {
            let Some(header) = self.header(SessionId(0), 0, wall) else {
                return;
            };
            let request = Request::DeleteContainer { path: path.into() };
            let prepared = self.prepare(state, &header, &[], &Bytes::new(), &request);
            self.propose(now, header, prepared, Origin::Elsewhere, effects);
        }
    }

    /// Whether the oldest place in the order can be served, as far as one can tell without the
    /// state.
    pub(crate) fn head_is_ready(&self) -> bool {
        match self.in_flight.front() {
            None | Some(InFlight::Forwarded { .. }) => false,
            Some(InFlight::Txn { header, .. }) => header.zxid <= self.committed,
            Some(InFlight::Read { round, .. }) => self.round_is_answered(*round),
            Some(InFlight::Sync(_)) => self.peers.as_ref().is_some_and(|p| p.syncs_done > 0),
            Some(InFlight::SyncOf { .. } | InFlight::Refused { .. } | InFlight::Answer { .. }) => {
                true
            }
        }
    }

    /// Applies what is committed and answers what waited for it, in order.
    pub fn commit(
        &mut self,
        now: Time,
        state: &mut State,
        deliveries: &mut dyn Deliveries,
        effects: &mut Vec<Effect>,
    ) {
        loop {
            self.commit_in_flight(state, deliveries, effects);
            let Some(ready) = self.peers.as_mut().and_then(|p| p.ready.pop_front()) else {
                break;
            };
            match ready {
                Ready::Proposal(proposal) => {
                    self.apply_proposal(state, &proposal, deliveries, effects);
                }
                Ready::Role(role) => self.change_role(now, role, state, deliveries),
                Ready::ReadOnly => self.become_read_only(deliveries),
                Ready::Replace(effect) => effects.push(Effect::Zab(effect)),
                Ready::Ensemble(ensemble) => show_ensemble(state, &ensemble, deliveries),
            }
        }
        self.send_snapshots(state, effects);
        self.show(state, effects);
    }

    fn commit_in_flight(
        &mut self,
        state: &mut State,
        deliveries: &mut dyn Deliveries,
        effects: &mut Vec<Effect>,
    ) {
        while self.head_is_ready() {
            if let Some(InFlight::Read { round, .. }) = self.in_flight.front()
                && !self.round_is_visible(state, *round)
            {
                return;
            }
            self.serve_next(state, deliveries, effects);
        }
    }

    /// Serves the oldest place in the order.
    fn serve_next(
        &mut self,
        state: &mut State,
        deliveries: &mut dyn Deliveries,
        effects: &mut Vec<Effect>,
    ) {
        match self.in_flight.pop_front() {
            Some(InFlight::Txn {
                header,
                txn,
                digest,
                origin,
            }) => self.apply(state, header, txn, digest, origin, deliveries),
            Some(InFlight::Read { ordered, .. }) => {
                read_in_turn(state, &ordered, self.config.max_field_bytes, deliveries);
            }
            Some(InFlight::Sync(ordered)) => {
                if let Some(peers) = &mut self.peers {
                    peers.syncs_done -= 1;
                }
                self.is_answered(room_of(&PeerMessage::Sync), effects);
                read_in_turn(state, &ordered, self.config.max_field_bytes, deliveries);
            }
            Some(InFlight::SyncOf { link, peer }) => {
                self.has_answered(peer, room_of(&PeerMessage::Sync));
                effects.push(Effect::Send {
                    link,
                    message: PeerMessage::SyncDone,
                });
            }
            Some(InFlight::Refused {
                conn,
                xid,
                code,
                close,
            }) => {
                // A session's answers never go back in time: those before it are as late.
                let zxid = state.last_zxid();
                deliveries.reply(conn, &mut |out| reply::header_only(out, xid, zxid, code));
                if close {
                    deliveries.close(conn, CloseReason::SessionClosed);
                }
            }
            Some(InFlight::Answer {
                conn,
                frames,
                close,
            }) => {
                deliveries.reply(conn, &mut |out| out.extend_from_slice(&frames));
                if close {
                    deliveries.close(conn, CloseReason::SessionClosed);
                }
            }
            // Its transaction answers it.
            Some(InFlight::Forwarded { bytes, .. }) => self.is_answered(bytes, effects),
            None => {}
        }
    }

    /// What is committed must reach the state even if it stands behind a read that can no longer
    /// be served: nobody delivers it again.
    pub(crate) fn apply_what_is_committed(
        &mut self,
        state: &mut State,
        deliveries: &mut dyn Deliveries,
    ) {
        for waiting in core::mem::take(&mut self.in_flight) {
            match waiting {
                InFlight::Txn {
                    header,
                    txn,
                    digest,
                    origin,
                } if header.zxid <= self.committed => {
                    // An answer must not overtake that of a read which will not come; the
                    // connection ends.
                    let origin = match origin {
                        Origin::Client(_) => Origin::Elsewhere,
                        Origin::Handshake { .. }
                        | Origin::Upgrade
                        | Origin::Learner { .. }
                        | Origin::Elsewhere => origin,
                    };
                    self.apply(state, header, txn, digest, origin, deliveries);
                }
                InFlight::Txn { .. }
                | InFlight::Forwarded { .. }
                | InFlight::Read { .. }
                | InFlight::Sync(_)
                | InFlight::SyncOf { .. }
                | InFlight::Refused { .. }
                | InFlight::Answer { .. } => self.in_flight.push_back(waiting),
            }
        }
    }

    /// Applies what the leader has committed.
    fn apply_proposal(
        &mut self,
        state: &mut State,
        proposal: &Proposal,
        deliveries: &mut dyn Deliveries,
        effects: &mut Vec<Effect>,
    ) {
        let (header, txn, digest) = match txn::decode_record(&proposal.txn) {
            Ok(record) if record.0.zxid == proposal.zxid => record,
            Ok(_) => {
                deliveries.undecodable(proposal.zxid, "its header names another zxid");
                return;
            }
            Err(_) => {
                deliveries.undecodable(proposal.zxid, "it is no transaction known here");
                return;
            }
        };
        let origin = self.serve_up_to(state, &header, &txn, deliveries, effects);
        self.apply(state, header, txn, digest, origin, deliveries);
    }

    /// Takes the oldest request that was sent to the leader out of the queue if this transaction
    /// is for it. The leader's answers to what stands before it may come later than its commit;
    /// but they are as good as given: the leader has committed, as the leader, what it was asked
    /// after them, and the state holds everything that it proposed before.
    fn serve_up_to(
        &mut self,
        state: &mut State,
        header: &TxnHeader,
        txn: &Txn,
        deliveries: &mut dyn Deliveries,
        effects: &mut Vec<Effect>,
    ) -> Origin {
        let is_sent = |waiting: &InFlight| matches!(waiting, InFlight::Forwarded { .. });
        let Some(at) = self.in_flight.iter().position(is_sent) else {
            return Origin::Elsewhere;
        };
        let origin = match self.in_flight.get(at) {
            // Its session may have come from another server, and begun to count its requests anew.
            Some(InFlight::Forwarded {
                session,
                cxid,
                since,
                origin,
                ..
            }) if session.0 == header.client_id
                && *cxid == header.cxid
                && header.zxid > *since
                && may_answer(txn, origin) =>
            {
                *origin
            }
            _ => return Origin::Elsewhere,
        };
        for _ in 0..=at {
            self.serve_next(state, deliveries, effects);
        }
        origin
    }

    fn apply(
        &mut self,
        state: &mut State,
        header: TxnHeader,
        txn: Txn,
        digest: Option<TxnDigest>,
        origin: Origin,
        deliveries: &mut dyn Deliveries,
    ) {
        let mut changes = core::mem::take(&mut self.changes);
        changes.clear();
        let op = txn.op();
        let applied = state.apply(&header, txn, &mut changes);
        self.overlay.applied(header.zxid);
        if let Some(expected) = digest
            && expected.version == txn::DIGEST_VERSION
            && expected.tree_digest.cast_unsigned() != state.digest()
        {
            let expected = expected.tree_digest.cast_unsigned();
            deliveries.digest_mismatch(header.zxid, expected, state.digest());
        }
        for change in &changes {
            deliveries.changed(state, header.zxid, change);
        }
        self.changes = changes;
        let session = SessionId(header.client_id);
        let ended = matches!(applied.outcome, Outcome::SessionClosed);
        let owner = if ended {
            self.sessions.remove(session).and_then(|t| t.owner)
        } else {
            None
        };
        let conn = match origin {
            // What the leader refuses so is not answered: the client is elsewhere.
            Origin::Client(waiting) if applied.error == ErrorCode::SESSION_MOVED => {
                deliveries.close(waiting.conn, CloseReason::SessionMoved);
                Some(waiting.conn)
            }
            Origin::Client(waiting) => {
                let outcome = &applied.outcome;
                reply_to(waiting, header.zxid, applied.error, outcome, deliveries);
                Some(waiting.conn)
            }
            Origin::Handshake { conn, read_only } => {
                let timeout_ms = match applied.outcome {
                    Outcome::SessionCreated { timeout_ms } => timeout_ms,
                    Outcome::Nothing
                    | Outcome::Single(_)
                    | Outcome::Multi(_)
                    | Outcome::SessionClosed => 0,
                };
                let response = handshake_response(session, timeout_ms, true, read_only);
                deliveries.connected(conn, &response);
                Some(conn)
            }
            Origin::Learner { peer, bytes } => {
                self.has_answered(peer, bytes);
                None
            }
            Origin::Elsewhere | Origin::Upgrade => None,
        };
        deliveries.applied(conn, op, &header, applied.error);
        if let Some(Owner::Connection(owner)) = owner {
            let by_client = conn == Some(owner);
            let why = if by_client {
                CloseReason::SessionClosed
            } else {
                CloseReason::SessionExpired
            };
            deliveries.close(owner, why);
        }
    }
}

/// Whether a transaction can be what became of a request. The end of a session that expired has
/// the session's id and no cxid of its own, and a client may count from 0.
const fn may_answer(txn: &Txn, origin: &Origin) -> bool {
    let asked = match origin {
        Origin::Client(waiting) => waiting.op,
        Origin::Handshake { .. } | Origin::Upgrade => op_code::CREATE_SESSION,
        Origin::Learner { .. } | Origin::Elsewhere => return false,
    };
    match txn.op() {
        made @ (op_code::CREATE_SESSION | op_code::CLOSE_SESSION) => made == asked,
        _ => true,
    }
}

/// Shows an ensemble in /zookeeper/config, without a transaction, as Apache does.
fn show_ensemble(state: &mut State, ensemble: &Ensemble, deliveries: &mut dyn Deliveries) {
    let text = ensemble.to_text();
    if let Some(change) = state.set_config(text.as_bytes(), ensemble.version) {
        deliveries.changed(state, Zxid(ensemble.version), &change);
    }
}

pub(crate) const fn refusal(code: ErrorCode) -> Prepared {
    Prepared {
        txn: Txn::Error(code),
        digest: None,
    }
}

fn reply_to(
    waiting: Waiting,
    zxid: Zxid,
    error: ErrorCode,
    outcome: &Outcome,
    deliveries: &mut dyn Deliveries,
) {
    let Waiting { conn, xid, op } = waiting;
    deliveries.reply(conn, &mut |out| {
        let mark = reply::begin(out, xid);
        // A multi that failed is a success that reports its failure.
        let code = match outcome {
            Outcome::Multi(results) => {
                put_multi(out, results);
                ErrorCode::OK
            }
            Outcome::Single(result) if error == ErrorCode::OK => {
                put_single(out, op, result);
                ErrorCode::OK
            }
            Outcome::Nothing
            | Outcome::Single(_)
            | Outcome::SessionCreated { .. }
            | Outcome::SessionClosed => error,
        };
        reply::finish(out, mark, zxid, code);
    });
}

/// A plain create answers with the path alone, also when its flags made a container.
fn put_single(out: &mut Vec<u8>, op: i32, result: &WriteResult) {
    match result {
        WriteResult::CreatedStat { path, .. } if op == op_code::CREATE => {
            roo_proto::jute::put_string(out, path);
        }
        WriteResult::Nothing { .. }
        | WriteResult::Created { .. }
        | WriteResult::CreatedStat { .. }
        | WriteResult::Changed { .. }
        | WriteResult::Reconfigured { .. } => result.encode(out),
    }
}

fn put_multi(out: &mut Vec<u8>, results: &[Result<WriteResult, ErrorCode>]) {
    let failed = results
        .iter()
        .any(|r| r.as_ref().is_err_and(|code| *code != ErrorCode::OK));
    for result in results {
        match result {
            Ok(_) if failed => reply::multi_error(out, ErrorCode::OK),
            Ok(result) => {
                reply::multi_header(out, result.multi_op(), ErrorCode::OK);
                result.encode(out);
            }
            Err(code) => reply::multi_error(out, *code),
        }
    }
    reply::multi_end(out);
}
