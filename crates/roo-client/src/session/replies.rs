//! The way in: replies matched with what was sent, watch events, the answers to identities.

use bytes::Bytes;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{Time, Zxid};
use roo_proto::reply::decode::{self, ReplyHeader};
use roo_proto::reply::{EventType, HEADER_SIZE, XID_AUTH, XID_NOTIFICATION, XID_PING};

use super::requests::complete;
use super::sent::{Sent, SentWhat};
use super::watches::{Table, WatchedBy};
use super::{Effect, Failure, LinkId, NewWatch, Notice, Phase, Reply, Session, Why};
use crate::state::SessionState;
use crate::watch::{EventKind, WatchEnd};

impl WatchedBy {
    /// Which watch the server has set, if it has: one on an absent node if there is no node.
    pub(super) const fn table(self, exists: bool) -> Table {
        match self {
            Self::Exists if !exists => Table::Exist,
            Self::Exists | Self::GetData => Table::Data,
            Self::GetChildren => Table::Child,
            Self::Persistent => Table::Persistent,
            Self::PersistentRecursive => Table::Recursive,
        }
    }
}

impl Session {
    pub(super) fn on_received(
        &mut self,
        now: Time,
        link: LinkId,
        packet: &Bytes,
        effects: &mut Vec<Effect>,
    ) {
        match self.phase {
            Phase::AwaitHandshake { link: l, .. } if l == link => {
                self.on_handshake(now, packet, effects);
            }
            Phase::Connected { link: l, .. } if l == link => {
                self.last_heard = now;
                let Some((header, _)) = ReplyHeader::split(packet) else {
                    self.drop_connection(now, link, effects);
                    return;
                };
                self.on_packet(now, link, header, packet.slice(HEADER_SIZE..), effects);
            }
            _ => {}
        }
    }

    fn drop_connection(&mut self, now: Time, link: LinkId, effects: &mut Vec<Effect>) {
        effects.push(Effect::CloseLink { link });
        self.lose_connection(now, effects);
    }

    fn on_packet(
        &mut self,
        now: Time,
        link: LinkId,
        header: ReplyHeader,
        body: Bytes,
        effects: &mut Vec<Effect>,
    ) {
        if header.zxid > self.zxid_seen {
            self.zxid_seen = header.zxid;
        }
        match header.xid {
            XID_NOTIFICATION => {
                if self.on_event(header.zxid, &body, effects).is_none() {
                    self.drop_connection(now, link, effects);
                }
            }
            XID_PING => self.see(header.zxid),
            XID_AUTH => self.on_auth_answer(header.err, effects),
            _ => {
                self.see(header.zxid);
                match self.take_sent(header) {
                    Some(sent) => self.on_reply(now, header, body, sent, effects),
                    None => self.drop_connection(now, link, effects),
                }
            }
        }
    }

    /// Every event up to this transaction has arrived: events travel before the replies that show
    /// what they tell. An event's own number says less, since others of its transaction may follow.
    fn see(&mut self, zxid: Zxid) {
        if zxid > self.zxid_relative {
            self.zxid_relative = zxid;
        }
    }

    /// Answers come in the order of requests; only the refusal of an unknown operation overtakes.
    fn take_sent(&mut self, header: ReplyHeader) -> Option<Sent> {
        if self.sent.front().is_some_and(|sent| sent.xid == header.xid) {
            return self.sent.pop_front();
        }
        if header.err != ErrorCode::UNIMPLEMENTED {
            return None;
        }
        let at = self.sent.iter().position(|sent| sent.xid == header.xid)?;
        self.sent.remove(at)
    }

    fn on_event(&mut self, zxid: Zxid, body: &[u8], effects: &mut Vec<Effect>) -> Option<()> {
        let (kind, path) = decode::watch_event(body).ok()?;
        let kind = match kind {
            EventType::NodeCreated => EventKind::Created,
            EventType::NodeDeleted => EventKind::Deleted,
            EventType::NodeDataChanged => EventKind::DataChanged,
            EventType::NodeChildrenChanged => EventKind::ChildrenChanged,
        };
        for (watcher, is_last) in self.watches.fire(kind, &path) {
            effects.push(Effect::Tell(Notice::Fired {
                watcher,
                kind,
                path: path.clone().into_owned(),
                zxid: (zxid > Zxid::ZERO).then_some(zxid),
                is_last,
            }));
        }
        Some(())
    }

    fn on_auth_answer(&mut self, err: ErrorCode, effects: &mut Vec<Effect>) {
        let at = self.auths_sent.pop_front();
        if err != ErrorCode::OK {
            self.end(SessionState::AuthFailed, Why::AuthFailed, effects);
            return;
        }
        let auth = at.and_then(|at| self.auths.get_mut(at));
        if let Some(call) = auth.and_then(|auth| auth.call.take()) {
            let reply = Reply {
                zxid: Zxid::ZERO,
                body: Bytes::new(),
            };
            complete(call, Ok(reply), effects);
        }
    }

    fn on_reply(
        &mut self,
        now: Time,
        header: ReplyHeader,
        body: Bytes,
        sent: Sent,
        effects: &mut Vec<Effect>,
    ) {
        match sent.what {
            SentWhat::Call {
                id,
                repeat,
                watch,
                unwatch,
                is_wanted,
                ..
            } => {
                let is_unknown = header.err == ErrorCode::UNIMPLEMENTED && repeat.is_some();
                let watcher = watch.as_ref().map(|watch| watch.watcher);
                let is_watching = watch.is_some_and(|watch| self.set_watch(header.err, *watch));
                if let Some(watcher) = watcher
                    && is_watching
                    && !is_wanted
                {
                    self.on_unwatch(now, watcher, effects);
                }
                if let (Some(unwatch), ErrorCode::OK) = (unwatch, header.err) {
                    let (what, path) = *unwatch;
                    for watcher in self.watches.remove_all(what, &path) {
                        let end = WatchEnd::Removed;
                        effects.push(Effect::Tell(Notice::WatchEnded { watcher, end }));
                    }
                }
                let result = match header.err {
                    ErrorCode::OK => Ok(Reply {
                        zxid: header.zxid,
                        body,
                    }),
                    code => Err(Failure {
                        why: Why::Refused {
                            code,
                            zxid: header.zxid,
                        },
                        sent: true,
                    }),
                };
                effects.push(Effect::Tell(Notice::Completed {
                    call: id,
                    result,
                    is_watching: is_watching && is_wanted,
                }));
                self.forget_deadlines();
                match self.link() {
                    // A server that does not know an operation closes the connection behind its
                    // answer: what was sent until then would be lost without need. (It knows all
                    // writes; of those it means what it has switched off, and goes on.)
                    Some(link) if is_unknown => self.drop_connection(now, link, effects),
                    _ => self.send_queued(now, effects),
                }
            }
            SentWhat::SetWatches { told } => {
                for watcher in told {
                    self.watches.end_gap(watcher);
                    if let Some(path) = self.watches.path(watcher) {
                        effects.push(Effect::Tell(Notice::Fired {
                            watcher,
                            kind: EventKind::Gap,
                            path: path.to_owned(),
                            zxid: None,
                            is_last: false,
                        }));
                    }
                }
            }
            SentWhat::Forgotten => {}
            SentWhat::Close => {
                self.closed_by_server(effects);
            }
        }
    }

    /// Whether the server has set a watch.
    fn set_watch(&mut self, err: ErrorCode, watch: NewWatch) -> bool {
        let is_set = match err {
            ErrorCode::OK => true,
            ErrorCode::NO_NODE => watch.by == WatchedBy::Exists,
            _ => false,
        };
        if is_set {
            let table = watch.by.table(err == ErrorCode::OK);
            self.watches.add(watch.watcher, table, watch.path);
        }
        is_set
    }

    /// A reply over the limit: its call fails, the connection lives.
    pub(super) fn on_too_large(
        &mut self,
        now: Time,
        link: LinkId,
        head: &[u8],
        bytes: usize,
        effects: &mut Vec<Effect>,
    ) {
        let Phase::Connected { link: l, .. } = self.phase else {
            self.on_garbage(now, link, head, effects);
            return;
        };
        if l != link {
            return;
        }
        self.last_heard = now;
        let header = ReplyHeader::split(head).map(|(header, _)| header);
        let sent = header.and_then(|header| self.take_sent(header));
        match (header, sent) {
            (
                Some(header),
                Some(Sent {
                    what: SentWhat::Call { id, watch, .. },
                    ..
                }),
            ) => {
                self.see(header.zxid);
                if let Some(watch) = watch {
                    self.set_watch(header.err, *watch);
                }
                let why = Why::TooLarge {
                    bytes,
                    limit: self.options.max_reply_bytes,
                };
                complete(id, Err(Failure { why, sent: true }), effects);
                self.forget_deadlines();
                self.send_queued(now, effects);
            }
            _ => self.drop_connection(now, link, effects),
        }
    }
}
