//! The way out: calls, identities, pings, watches registered again.

use bytes::Bytes;
use roo_proto::ids::{SessionId, Time};
use roo_proto::reply::{XID_AUTH, XID_PING, XID_SET_WATCHES};
use roo_proto::request::Request;

use super::sent::{Auth, Sent, SentWhat};
use super::watches::{Removed, Unwatching};
use super::{
    Call, CallId, Closing, Effect, Failure, LinkId, Notice, Phase, Secret, Session, WatcherId, Why,
};
use crate::state::SessionState;

/// Java: `MAX_SEND_PING_INTERVAL`.
const PING_INTERVAL_MAX_MS: u64 = 10_000;

impl Session {
    /// A connection is there: identities first, then the watches, then what waited.
    pub(super) fn begin_serving(&mut self, now: Time, effects: &mut Vec<Effect>) {
        for at in 0..self.auths.len() {
            self.send_auth(now, at, effects);
        }
        self.watches.begin_gap();
        let mut packets = Vec::new();
        for batch in self.watches.batches(self.zxid_relative.0) {
            packets.push((
                frame(&Request::SetWatches(batch.watches), XID_SET_WATCHES),
                batch.told,
            ));
        }
        for (frame, told) in packets {
            let what = SentWhat::SetWatches { told };
            self.sent.push_back(Sent {
                xid: XID_SET_WATCHES,
                what,
            });
            self.send(now, frame, effects);
        }
        self.send_queued(now, effects);
    }

    /// Sends what waits, as much as may be under way at once.
    pub(super) fn send_queued(&mut self, now: Time, effects: &mut Vec<Effect>) {
        if self.link().is_none() {
            return;
        }
        while self.sent.len() < self.options.in_flight_max.max(1)
            && let Some(call) = self.queue.pop_front()
        {
            self.send_call(now, call, effects);
        }
        let must_close = self.closing.as_ref().is_some_and(|c| !c.is_sent);
        if must_close && self.queue.is_empty() {
            self.send_close(now, effects);
        }
    }

    pub(super) fn link(&self) -> Option<LinkId> {
        match self.phase {
            Phase::Connected { link, .. } => Some(link),
            _ => None,
        }
    }

    fn send(&mut self, now: Time, frame: Bytes, effects: &mut Vec<Effect>) {
        if let Some(link) = self.link() {
            self.last_sent = now;
            effects.push(Effect::Send { link, frame });
        }
    }

    fn xid(&mut self) -> i32 {
        let xid = self.next_xid;
        self.next_xid = self.next_xid.checked_add(1).unwrap_or(1);
        xid
    }

    pub(super) fn on_submit(&mut self, now: Time, call: Call, effects: &mut Vec<Effect>) {
        if self.closing.is_some() {
            let failure = Failure {
                why: Why::Closed,
                sent: false,
            };
            complete(call.id, Err(failure), effects);
            return;
        }
        if let Some(timeout) = self.options.request_timeout
            && !call.is_patient
        {
            self.deadlines.push_back((now.after(timeout), call.id));
        }
        self.queue.push_back(call);
        self.send_queued(now, effects);
    }

    fn send_call(&mut self, now: Time, call: Call, effects: &mut Vec<Effect>) {
        // A call that is made again gets another number: numbers only grow, so that no server
        // takes it for what it was asked before.
        let xid = self.xid();
        let (sent, frame) = call.send(xid, &mut self.room);
        self.sent.push_back(sent);
        self.send(now, frame, effects);
    }

    pub(super) fn on_authenticate(
        &mut self,
        now: Time,
        call: Option<CallId>,
        scheme: &str,
        data: Secret,
        effects: &mut Vec<Effect>,
    ) {
        self.auths.push(Auth::new(scheme, data, call));
        if self.link().is_some() {
            self.send_auth(now, self.auths.len() - 1, effects);
        }
    }

    fn send_auth(&mut self, now: Time, at: usize, effects: &mut Vec<Effect>) {
        let Some(auth) = self.auths.get(at) else {
            return;
        };
        let request = Request::Auth {
            scheme: Some(auth.scheme.as_str().into()),
            data: Some(&auth.data.0),
        };
        let frame = frame(&request, XID_AUTH);
        self.auths_sent.push_back(at);
        self.send(now, frame, effects);
    }

    /// Nobody waits for a call any more: if it was not sent it never will be.
    pub(super) fn on_cancel(&mut self, call: CallId, effects: &mut Vec<Effect>) {
        if let Some(at) = self.queue.iter().position(|waiting| waiting.id == call) {
            self.queue.remove(at);
            let failure = Failure {
                why: Why::ConnectionLoss,
                sent: false,
            };
            complete(call, Err(failure), effects);
            return;
        }
        for sent in &mut self.sent {
            if let SentWhat::Call { id, is_wanted, .. } = &mut sent.what
                && *id == call
            {
                *is_wanted = false;
            }
        }
    }

    /// Nobody waits for a watch any more: the server is told, unless somebody else needs it.
    pub(super) fn on_unwatch(&mut self, now: Time, watcher: WatcherId, effects: &mut Vec<Effect>) {
        match self.watches.remove(watcher) {
            Removed::OthersLeft | Removed::Unknown => {}
            Removed::Last(what, path) => {
                if self.link().is_some() && !self.is_setting_watch(what, &path) {
                    let what = self.understood_everywhere(what, &path);
                    let xid = self.xid();
                    let request = Request::RemoveWatches {
                        path: Some(path.into()),
                        kind: what as i32,
                    };
                    let frame = frame(&request, xid);
                    self.sent.push_back(Sent {
                        xid,
                        what: SentWhat::Forgotten,
                    });
                    self.send(now, frame, effects);
                }
            }
        }
    }

    /// Servers before 3.9 do not know the kinds of streams: where there is nothing else on the
    /// path, any watch is meant.
    fn understood_everywhere(&self, what: Unwatching, path: &str) -> Unwatching {
        let is_stream = matches!(
            what,
            Unwatching::Persistent | Unwatching::PersistentRecursive
        );
        let is_alone = !self.watches.are_on(path) && !self.is_setting_watch(Unwatching::Any, path);
        if is_stream && is_alone {
            Unwatching::Any
        } else {
            what
        }
    }

    /// Whether a call under way sets such a watch too: taking it back would overtake its answer.
    fn is_setting_watch(&self, what: Unwatching, path: &str) -> bool {
        self.sent.iter().any(|sent| match &sent.what {
            SentWhat::Call {
                watch: Some(watch), ..
            } => watch.path == path && what.covers(watch.by.table(true)),
            _ => false,
        })
    }

    pub(super) fn on_close(&mut self, now: Time, call: Option<CallId>, effects: &mut Vec<Effect>) {
        if let Some(closing) = &mut self.closing {
            closing.calls.extend(call);
            return;
        }
        self.closing = Some(Closing {
            calls: call.into_iter().collect(),
            until: now.after(self.options.connect_timeout),
            is_sent: false,
        });
        if self.link().is_some() {
            self.send_queued(now, effects);
        } else if self.status.session == SessionId(0) {
            // There is nothing at any server that could be closed.
            self.end(SessionState::Closed, Why::Closed, effects);
        }
    }

    fn send_close(&mut self, now: Time, effects: &mut Vec<Effect>) {
        let xid = self.xid();
        if let Some(closing) = &mut self.closing {
            closing.is_sent = true;
        }
        self.sent.push_back(Sent {
            xid,
            what: SentWhat::Close,
        });
        self.send(now, frame(&Request::CloseSession, xid), effects);
    }

    fn timeout_ms(&self) -> u64 {
        u64::try_from(self.status.timeout.as_millis()).unwrap_or(u64::MAX)
    }

    /// A server that says nothing for two thirds of the timeout is given up, so that a third is
    /// left to find another. Java: `readTimeout`.
    pub(super) fn silence_deadline(&self) -> Time {
        Time(self.last_heard.0.saturating_add(self.timeout_ms() * 2 / 3))
    }

    pub(super) fn ping_deadline(&self) -> Time {
        let interval = (self.timeout_ms() / 3).min(PING_INTERVAL_MAX_MS);
        Time(self.last_sent.0.saturating_add(interval))
    }

    pub(super) fn ping_if_idle(&mut self, now: Time, link: LinkId, effects: &mut Vec<Effect>) {
        if self.ping_deadline() <= now {
            self.last_sent = now;
            let frame = frame(&Request::Ping, XID_PING);
            effects.push(Effect::Send { link, frame });
        }
    }
}

pub(super) fn complete(
    call: CallId,
    result: Result<super::Reply, Failure>,
    effects: &mut Vec<Effect>,
) {
    effects.push(Effect::Tell(Notice::Completed {
        call,
        result,
        is_watching: false,
    }));
}

fn frame(request: &Request<'_>, xid: i32) -> Bytes {
    let mut frame = Vec::new();
    request.encode_frame(&mut frame, xid);
    frame.into()
}
