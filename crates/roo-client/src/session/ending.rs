//! What is lost: with a connection, by the clock, and with the session.

use roo_proto::ids::Time;

use super::requests::complete;
use super::sent::{Sent, SentWhat};
use super::{Call, Effect, Event, Failure, Notice, OnLoss, Phase, Session, Why};
use crate::state::SessionState;
use crate::watch::WatchEnd;

impl Session {
    /// The connection is lost: what may be made again waits in front of what was not sent, in the
    /// same order; the rest fails.
    pub(super) fn lose_sent(&mut self, effects: &mut Vec<Effect>) {
        self.auths_sent.clear();
        let mut again = Vec::new();
        let mut is_closing = false;
        for Sent { what, .. } in std::mem::take(&mut self.sent) {
            match what {
                SentWhat::Call {
                    id,
                    repeat,
                    watch,
                    unwatch,
                    is_wanted,
                    is_patient,
                } => match repeat {
                    Some(frame) if is_wanted => again.push(Call {
                        id,
                        frame,
                        was_sent: true,
                        on_loss: OnLoss::Repeat,
                        watch,
                        unwatch,
                        is_patient,
                    }),
                    _ => {
                        let why = Why::ConnectionLoss;
                        complete(id, Err(Failure { why, sent: true }), effects);
                    }
                },
                SentWhat::Close => is_closing = true,
                SentWhat::SetWatches { .. } | SentWhat::Forgotten => {}
            }
        }
        for call in again.into_iter().rev() {
            self.queue.push_front(call);
        }
        if is_closing {
            self.end(SessionState::Closed, Why::Closed, effects);
        }
    }

    /// Calls whose time is over fail. What was sent keeps its place: its answer still comes.
    pub(super) fn expire_calls(&mut self, now: Time, effects: &mut Vec<Effect>) {
        while let Some((until, call)) = self.deadlines.front().copied() {
            if until > now {
                return;
            }
            self.deadlines.pop_front();
            let waiting = self.queue.iter().position(|waiting| waiting.id == call);
            let failure = |sent| Failure {
                why: Why::TimedOut,
                sent,
            };
            if let Some(at) = waiting {
                let sent = self.queue.get(at).is_some_and(|call| call.was_sent);
                self.queue.remove(at);
                complete(call, Err(failure(sent)), effects);
                continue;
            }
            let sent = self.sent.iter_mut().find_map(|sent| match &mut sent.what {
                SentWhat::Call { id, is_wanted, .. } if *id == call => Some(is_wanted),
                _ => None,
            });
            if let Some(is_wanted) = sent
                && std::mem::replace(is_wanted, false)
            {
                complete(call, Err(failure(true)), effects);
            }
        }
    }

    /// The deadlines of calls that are over are not waited for.
    pub(super) fn forget_deadlines(&mut self) {
        if self.deadlines.is_empty() {
            return;
        }
        let first = self.sent.iter().find_map(|sent| match &sent.what {
            SentWhat::Call {
                id,
                is_patient: false,
                ..
            } => Some(*id),
            _ => None,
        });
        let queued = self.queue.iter().find(|call| !call.is_patient);
        let first = first.or(queued.map(|call| call.id));
        while let Some((_, call)) = self.deadlines.front()
            && first.is_none_or(|first| *call < first)
        {
            self.deadlines.pop_front();
        }
    }

    /// The server has answered closeSession.
    pub(super) fn closed_by_server(&mut self, effects: &mut Vec<Effect>) {
        for call in self.closing.take().into_iter().flat_map(|c| c.calls) {
            let reply = super::Reply {
                zxid: self.zxid_seen,
                body: bytes::Bytes::new(),
            };
            complete(call, Ok(reply), effects);
        }
        self.end(SessionState::Closed, Why::Closed, effects);
    }

    /// The session is over for this client.
    pub(super) fn end(&mut self, state: SessionState, why: Why, effects: &mut Vec<Effect>) {
        if self.phase == Phase::Ended {
            return;
        }
        match self.phase {
            Phase::AwaitLink { link, .. }
            | Phase::AwaitHandshake { link, .. }
            | Phase::Connected { link, .. } => effects.push(Effect::CloseLink { link }),
            Phase::AwaitAddresses | Phase::AwaitBackOff { .. } | Phase::Ended => {}
        }
        if let Some((probe, _)) = self.probe.take() {
            effects.push(Effect::CloseLink { link: probe });
        }
        self.phase = Phase::Ended;
        self.status.server = None;
        self.status.end = Some(why.clone());
        self.status.state = state;
        self.tell_status(effects);
        for Sent { what, .. } in std::mem::take(&mut self.sent) {
            if let SentWhat::Call { id, .. } = what {
                let why = why.clone();
                complete(id, Err(Failure { why, sent: true }), effects);
            }
        }
        for call in std::mem::take(&mut self.queue) {
            let sent = call.was_sent;
            let why = why.clone();
            complete(call.id, Err(Failure { why, sent }), effects);
        }
        let auths = std::mem::take(&mut self.auths);
        for call in auths.into_iter().filter_map(|auth| auth.call) {
            let why = why.clone();
            complete(call, Err(Failure { why, sent: true }), effects);
        }
        for call in self.closing.take().into_iter().flat_map(|c| c.calls) {
            // Closing what is over is done; what was not heard of may live on at the servers.
            let result = match &why {
                Why::Closed if self.status.session.0 != 0 => Err(Failure {
                    why: Why::ConnectionLoss,
                    sent: true,
                }),
                _ => Ok(super::Reply {
                    zxid: self.zxid_seen,
                    body: bytes::Bytes::new(),
                }),
            };
            complete(call, result, effects);
        }
        let end = match state {
            SessionState::Expired => WatchEnd::SessionExpired,
            SessionState::AuthFailed => WatchEnd::AuthFailed,
            _ => WatchEnd::Closed,
        };
        for watcher in self.watches.drain() {
            effects.push(Effect::Tell(Notice::WatchEnded { watcher, end }));
        }
        self.deadlines.clear();
    }

    /// After the end every call fails at once, for the reason of the end; closing succeeds.
    pub(super) fn handle_ended(&mut self, event: Event, effects: &mut Vec<Effect>) {
        let why = self.status.end.clone().unwrap_or(Why::Closed);
        match event {
            Event::Submit(call) => complete(call.id, Err(Failure { why, sent: false }), effects),
            Event::Authenticate {
                call: Some(call), ..
            } => complete(call, Err(Failure { why, sent: false }), effects),
            Event::Close { call: Some(call) } => {
                let reply = super::Reply {
                    zxid: self.zxid_seen,
                    body: bytes::Bytes::new(),
                };
                complete(call, Ok(reply), effects);
            }
            Event::LinkOpened { link } => effects.push(Effect::CloseLink { link }),
            _ => {}
        }
    }
}
