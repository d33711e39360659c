//! The clock of every session: who lives, until when, and on which connection. Java:
//! `SessionTrackerImpl`, `ExpiryQueue`.
//!
//! Sessions expire in buckets of one tick, so that a session lives up to one tick longer than its
//! timeout, never shorter. A touch only moves the session's own time; it changes buckets when
//! its bucket comes up.

use alloc::collections::{BTreeMap, VecDeque};
use alloc::vec::Vec;

use hashbrown::{HashMap, HashSet};
use roo_proto::ids::{SessionId, Time, Zxid};

use roo_zab::message::LinkId;

use crate::event::ConnId;

/// Who may write for a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Owner {
    /// A client's connection to this server.
    Connection(ConnId),
    /// The learner behind a link, whose client it is.
    Link(LinkId),
}

/// A living session.
#[derive(Clone, Copy, Debug)]
pub struct Tracked {
    /// Negotiated timeout, ms.
    pub timeout_ms: i32,
    /// End of the bucket in which it expires unless touched.
    pub expires_at: Time,
    /// The bucket that holds it; in others it stands by mistake.
    bucket: Time,
    /// Who may write for it.
    pub owner: Option<Owner>,
    /// Its end is on the way.
    pub closing: bool,
    /// The last transaction that can be for what the session asked of another server.
    pub since: Zxid,
    /// Only this server knows it; it lives and ends without a transaction.
    pub local: bool,
}

/// How many sessions that have ended are remembered: more than can end while a learner's request
/// is on its way.
const ENDED_REMEMBERED: usize = 10_000;

/// See the module.
#[derive(Debug)]
pub struct Sessions {
    tick_ms: u64,
    live: HashMap<SessionId, Tracked>,
    /// The last sessions that ended though others knew them, and their order.
    ended: HashSet<SessionId>,
    ended_in_order: VecDeque<SessionId>,
    buckets: BTreeMap<Time, Vec<SessionId>>,
    next_id: SessionId,
}

impl Sessions {
    /// No session; the next one gets `first_id`. `tick_ms` is at least 1.
    #[must_use]
    pub fn new(tick_ms: u64, first_id: SessionId) -> Self {
        Self {
            tick_ms: tick_ms.max(1),
            live: HashMap::new(),
            ended: HashSet::new(),
            ended_in_order: VecDeque::new(),
            buckets: BTreeMap::new(),
            next_id: first_id,
        }
    }

    fn bucket(&self, now: Time, timeout_ms: i32) -> Time {
        let due = now.0 + u64::try_from(timeout_ms).unwrap_or(0);
        Time((due / self.tick_ms + 1) * self.tick_ms)
    }

    /// A session id never used before.
    pub fn allocate(&mut self) -> SessionId {
        let id = self.next_id;
        self.next_id = SessionId(id.0.wrapping_add(1));
        id
    }

    /// Begins to watch over a session, with its full timeout from now on.
    pub fn track(&mut self, now: Time, session: SessionId, timeout_ms: i32, owner: Option<Owner>) {
        let expires_at = self.bucket(now, timeout_ms);
        self.live.insert(
            session,
            Tracked {
                timeout_ms,
                expires_at,
                bucket: expires_at,
                owner,
                closing: false,
                since: Zxid::ZERO,
                local: false,
            },
        );
        self.buckets.entry(expires_at).or_default().push(session);
    }

    /// Begins to watch over a session that only this server knows.
    pub fn track_local(&mut self, now: Time, session: SessionId, timeout_ms: i32, owner: Owner) {
        self.track(now, session, timeout_ms, Some(owner));
        if let Some(tracked) = self.live.get_mut(&session) {
            tracked.local = true;
        }
    }

    /// A session is no longer this server's alone. `attended` tells whether another server watches
    /// over it from here on.
    pub fn make_global(&mut self, session: SessionId, attended: bool) {
        if let Some(tracked) = self.live.get_mut(&session) {
            tracked.local = false;
            if attended {
                tracked.expires_at = Time(u64::MAX);
            }
        }
    }

    /// Sessions that only this server knows.
    #[must_use]
    pub fn local_count(&self) -> usize {
        self.live.values().filter(|tracked| tracked.local).count()
    }

    /// Remembers a session of a client of this server, whose end another server decides.
    pub fn attend(&mut self, session: SessionId, timeout_ms: i32, owner: Option<Owner>) {
        self.live.insert(
            session,
            Tracked {
                timeout_ms,
                expires_at: Time(u64::MAX),
                bucket: Time(u64::MAX),
                owner,
                closing: false,
                since: Zxid::ZERO,
                local: false,
            },
        );
    }

    /// Transactions of this session up to `since` are not for what its new connection asks.
    pub fn begin_after(&mut self, session: SessionId, since: Zxid) {
        if let Some(tracked) = self.live.get_mut(&session) {
            tracked.since = since;
        }
    }

    /// Forgets every session; ids go on where they were.
    pub fn clear(&mut self) {
        self.live.clear();
        self.ended.clear();
        self.ended_in_order.clear();
        self.buckets.clear();
    }

    /// Gives a session an owner.
    pub fn own(&mut self, session: SessionId, owner: Owner) {
        if let Some(tracked) = self.live.get_mut(&session) {
            tracked.owner = Some(owner);
        }
    }

    /// Gives a session another owner and timeout.
    pub fn attach(&mut self, now: Time, session: SessionId, timeout_ms: i32, owner: Owner) {
        let expires_at = self.bucket(now, timeout_ms);
        if let Some(tracked) = self.live.get_mut(&session) {
            tracked.timeout_ms = timeout_ms;
            tracked.owner = Some(owner);
            // A shorter timeout may lie before the bucket that holds the session.
            if expires_at < tracked.bucket {
                tracked.bucket = expires_at;
                self.buckets.entry(expires_at).or_default().push(session);
            }
            tracked.expires_at = expires_at;
        }
    }

    /// The session, if it lives.
    #[must_use]
    pub fn find(&self, session: SessionId) -> Option<&Tracked> {
        self.live.get(&session)
    }

    /// Something was heard from a session.
    pub fn touch(&mut self, at: Time, session: SessionId) {
        let tick_ms = self.tick_ms;
        if let Some(tracked) = self.live.get_mut(&session) {
            let due = at.0 + u64::try_from(tracked.timeout_ms).unwrap_or(0);
            let expires_at = Time((due / tick_ms + 1) * tick_ms);
            tracked.expires_at = tracked.expires_at.max(expires_at);
        }
    }

    /// Its connection is gone.
    pub fn detach(&mut self, session: SessionId, conn: ConnId) {
        if let Some(tracked) = self.live.get_mut(&session)
            && tracked.owner == Some(Owner::Connection(conn))
        {
            tracked.owner = None;
        }
    }

    /// Its end is on the way: it can no longer be resumed.
    pub fn close(&mut self, session: SessionId) {
        if let Some(tracked) = self.live.get_mut(&session) {
            tracked.closing = true;
        }
    }

    /// It has ended.
    pub fn remove(&mut self, session: SessionId) -> Option<Tracked> {
        let tracked = self.live.remove(&session)?;
        if !tracked.local && self.ended.insert(session) {
            self.ended_in_order.push_back(session);
            if self.ended_in_order.len() > ENDED_REMEMBERED
                && let Some(oldest) = self.ended_in_order.pop_front()
            {
                self.ended.remove(&oldest);
            }
        }
        Some(tracked)
    }

    /// Whether a session that others knew has ended here lately.
    #[must_use]
    pub fn has_ended(&self, session: SessionId) -> bool {
        self.ended.contains(&session)
    }

    /// When the next bucket comes up.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Time> {
        self.buckets.keys().next().copied()
    }

    /// The sessions that have not been heard of in time; they are `closing` from here on.
    pub fn expire(&mut self, now: Time) -> Vec<SessionId> {
        let mut expired = Vec::new();
        while let Some(entry) = self.buckets.first_entry()
            && *entry.key() <= now
        {
            let (come_up, held) = entry.remove_entry();
            for session in held {
                let tracked = self.live.get_mut(&session);
                let Some(tracked) = tracked.filter(|tracked| tracked.bucket == come_up) else {
                    continue;
                };
                if tracked.expires_at > now {
                    let bucket = tracked.expires_at;
                    tracked.bucket = bucket;
                    if bucket != Time(u64::MAX) {
                        self.buckets.entry(bucket).or_default().push(session);
                    }
                } else if !tracked.closing {
                    tracked.closing = true;
                    expired.push(session);
                }
            }
        }
        expired
    }

    /// Living sessions.
    #[must_use]
    pub fn len(&self) -> usize {
        self.live.len()
    }

    /// Whether no session lives.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.live.is_empty()
    }

    /// The sessions that are wanted by the time at which they expire, for `dump`.
    #[must_use]
    pub fn by_expiry(&self, wanted: impl Fn(&Tracked) -> bool) -> BTreeMap<Time, Vec<SessionId>> {
        let mut sets: BTreeMap<Time, Vec<SessionId>> = BTreeMap::new();
        for (session, tracked) in self.live.iter().filter(|(_, tracked)| wanted(tracked)) {
            sets.entry(tracked.expires_at).or_default().push(*session);
        }
        sets
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: SessionId = SessionId(1);
    const CONN: ConnId = ConnId(9);
    const OWNER: Owner = Owner::Connection(CONN);

    fn sessions() -> Sessions {
        let mut sessions = Sessions::new(2000, S);
        sessions.track(Time(1_000), S, 4_000, Some(OWNER));
        sessions
    }

    #[test]
    fn a_silent_session_expires_up_to_a_tick_late_and_never_early() {
        let mut sessions = sessions();
        assert_eq!(sessions.next_deadline(), Some(Time(6_000)));
        assert!(sessions.expire(Time(5_999)).is_empty());
        assert_eq!(sessions.expire(Time(6_000)), [S]);
        assert!(sessions.expire(Time(60_000)).is_empty());
    }

    #[test]
    fn a_touch_moves_the_end() {
        let mut sessions = sessions();
        sessions.touch(Time(5_000), S);
        assert!(sessions.expire(Time(6_000)).is_empty());
        assert_eq!(sessions.next_deadline(), Some(Time(10_000)));
        sessions.touch(Time(2_000), S);
        assert_eq!(sessions.expire(Time(10_000)), [S]);
    }

    #[test]
    fn a_shorter_timeout_counts_from_the_attachment() {
        let mut sessions = Sessions::new(1_000, S);
        sessions.track(Time(0), S, 40_000, None);
        sessions.attach(Time(0), S, 2_000, OWNER);
        assert_eq!(sessions.expire(Time(3_000)), [S]);
    }

    #[test]
    fn a_session_that_comes_back_again_and_again_takes_no_more_room() {
        let mut sessions = Sessions::new(1_000, S);
        sessions.track(Time(0), S, 10_000, None);
        let mut most = 0;
        for second in 0..1_000 {
            let now = Time(second * 1_000);
            for timeout_ms in [10_000, 2_000] {
                sessions.attach(now, S, timeout_ms, OWNER);
            }
            assert!(sessions.expire(now).is_empty());
            most = most.max(sessions.buckets.values().map(Vec::len).sum());
        }
        assert!(most <= 12, "{most}");
        assert_eq!(sessions.expire(Time(1_002_000)), [S]);
    }

    #[test]
    fn the_end_of_a_session_that_others_knew_is_remembered_for_a_while() {
        let mut sessions = sessions();
        sessions.track_local(Time(0), SessionId(2), 4_000, OWNER);
        sessions.remove(S);
        sessions.remove(SessionId(2));
        assert!(sessions.has_ended(S) && !sessions.has_ended(SessionId(2)));
        for id in 3.. {
            if !sessions.has_ended(S) {
                break;
            }
            let id = SessionId(id);
            sessions.track(Time(0), id, 4_000, None);
            sessions.remove(id);
            assert!(sessions.has_ended(id));
        }
        assert_eq!(sessions.ended.len(), ENDED_REMEMBERED);
    }

    #[test]
    fn only_the_owner_detaches() {
        let mut sessions = sessions();
        sessions.detach(S, ConnId(8));
        assert_eq!(sessions.find(S).unwrap().owner, Some(OWNER));
        sessions.detach(S, CONN);
        assert_eq!(sessions.find(S).unwrap().owner, None);
    }
}
