//! Who may know a session, and what was refused for good. A session that a server gave out alone
//! is known to that server only, in that life of it, until a transaction makes it global; before
//! that it owns nothing. What a server answered without a transaction is never committed. A
//! read-only server writes nothing, and tells nobody that a session has ended.

use std::collections::{BTreeMap, BTreeSet};

use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::op_code;

use crate::oracle::TxnEffect;

/// Paths of ephemeral nodes begin with it, and no others do.
pub const EPHEMERALS: &str = "/e";

/// A server in one of its lives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Counted from 0.
    pub server: usize,
    /// Which life.
    pub life: u64,
    /// Whether it has no leader and serves reads.
    pub is_read_only: bool,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Sessions {
    local: BTreeMap<SessionId, Place>,
    global: BTreeMap<SessionId, Zxid>,
    /// Those that a leader has made global, committed or not.
    proposed: BTreeSet<SessionId>,
    refused: BTreeSet<(SessionId, i32)>,
    denied: BTreeSet<SessionId>,
    /// Local sessions that became global.
    pub upgrades: u64,
}

impl Sessions {
    /// A server has given out a session without a transaction.
    ///
    /// # Errors
    /// If it was given out before.
    pub fn gave(&mut self, session: SessionId, place: Place) -> Result<(), String> {
        match self.local.insert(session, place) {
            None if !self.global.contains_key(&session) => Ok(()),
            _ => Err(format!("session {session} is given out twice")),
        }
    }

    /// A leader makes a session known to all.
    pub fn proposed(&mut self, session: SessionId) {
        self.proposed.insert(session);
    }

    /// Whether a session is known to one server alone, and to which.
    #[must_use]
    pub fn only_at(&self, session: SessionId) -> Option<Place> {
        let place = self.local.get(&session).copied();
        place.filter(|_| !self.global.contains_key(&session))
    }

    /// Those sessions, with their servers.
    pub fn local(&self) -> impl Iterator<Item = (SessionId, Place)> + '_ {
        let is_local = |(session, _): &(&SessionId, &Place)| !self.global.contains_key(*session);
        let local = self.local.iter().filter(is_local);
        local.map(|(session, place)| (*session, *place))
    }

    /// Whether a transaction has made a session known to all, up to this zxid.
    #[must_use]
    pub fn is_global(&self, session: SessionId, upto: Zxid) -> bool {
        self.global.get(&session).is_some_and(|zxid| *zxid <= upto)
    }

    /// A server has taken a client's session back.
    ///
    /// # Errors
    /// If it cannot know it.
    pub fn resumed(&self, session: SessionId, place: Place) -> Result<(), String> {
        match self.only_at(session) {
            Some(known)
                if (known.server, known.life) != (place.server, place.life)
                    && !self.proposed.contains(&session) =>
            {
                let known = format!("only {known:?} knows it");
                Err(format!(
                    "session {session} is resumed at {place:?}, and {known}"
                ))
            }
            None if place.is_read_only => Err(format!(
                "session {session} is resumed at {place:?}, which cannot know whether it lives"
            )),
            _ => Ok(()),
        }
    }

    /// A server has told a client that its session is no more.
    ///
    /// # Errors
    /// If it cannot know that.
    pub fn denied(&mut self, session: SessionId, place: Place) -> Result<(), String> {
        if place.is_read_only && self.only_at(session).is_none() {
            return Err(format!(
                "session {session} is told at {place:?}, which has no leader, that it has ended"
            ));
        }
        self.denied.insert(session);
        Ok(())
    }

    /// Sessions that somebody was told have ended, and that have not.
    pub fn wrongly_denied(
        &self,
        has_ended: impl Fn(SessionId) -> bool,
    ) -> impl Iterator<Item = SessionId> {
        let global = self.denied.iter().copied();
        let global = global.filter(|session| self.global.contains_key(session));
        global.filter(move |session| !has_ended(*session))
    }

    /// A client's request was answered without a transaction.
    pub fn refused(&mut self, session: SessionId, xid: i32) {
        self.refused.insert((session, xid));
    }

    /// A transaction is committed.
    ///
    /// # Errors
    /// If its session may not do that.
    pub fn committed(&mut self, zxid: Zxid, effect: &TxnEffect) -> Result<(), String> {
        let session = effect.session;
        if session == SessionId(0) || effect.code != ErrorCode::OK {
            return Ok(());
        }
        if effect.op == op_code::CREATE_SESSION {
            self.upgrades += u64::from(self.local.contains_key(&session));
            self.global.entry(session).or_insert(zxid);
            return Ok(());
        }
        if self.refused.contains(&(session, effect.cxid)) {
            return Err(format!(
                "{effect:?} is committed at {zxid}, and was refused"
            ));
        }
        let Some(place) = self.only_at(session) else {
            return Ok(());
        };
        if place.is_read_only {
            return Err(format!(
                "{effect:?} is committed at {zxid}, of a session of a server without a leader"
            ));
        }
        let is_owned = |path: &str| path.starts_with(EPHEMERALS);
        let mut changes = effect.changes.iter();
        if changes.any(|change| change.data.is_some() && is_owned(&change.path)) {
            return Err(format!(
                "{effect:?} makes an ephemeral at {zxid}, of a session that only {place:?} knows"
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use roo_proto::txn::TxnHeader;

    use super::*;
    use crate::oracle::Changed;

    const S: SessionId = SessionId(7);
    const AT: Zxid = Zxid::new(1, 1);

    const fn place(server: usize, is_read_only: bool) -> Place {
        Place {
            server,
            life: 0,
            is_read_only,
        }
    }

    fn effect(op: i32, path: &str) -> TxnEffect {
        let header = TxnHeader {
            client_id: S.0,
            cxid: 3,
            zxid: AT,
            time: 0,
        };
        let mut effect = TxnEffect::new(&header, op, ErrorCode::OK);
        effect.changes.push(Changed {
            path: path.to_owned(),
            data: Some(Vec::new()),
        });
        effect
    }

    fn with_local(is_read_only: bool) -> Sessions {
        let mut sessions = Sessions::default();
        sessions.gave(S, place(0, is_read_only)).unwrap();
        sessions
    }

    fn made_global(mut sessions: Sessions) -> Sessions {
        let create = effect(op_code::CREATE_SESSION, "");
        sessions.committed(AT, &create).unwrap();
        sessions
    }

    #[test]
    fn fires_when_another_server_knows_a_local_session() {
        let sessions = with_local(false);
        assert!(sessions.resumed(S, place(0, false)).is_ok());
        assert!(sessions.resumed(S, place(1, false)).is_err());
        let later = Place {
            life: 1,
            ..place(0, false)
        };
        assert!(sessions.resumed(S, later).is_err());
        assert!(sessions.clone().gave(S, place(1, false)).is_err());
        assert!(made_global(sessions).resumed(S, place(1, false)).is_ok());
    }

    #[test]
    fn fires_when_a_local_session_owns_a_node() {
        let mut sessions = with_local(false);
        let ephemeral = effect(op_code::CREATE, "/e1");
        assert!(
            sessions
                .committed(AT, &effect(op_code::CREATE, "/p"))
                .is_ok()
        );
        assert!(sessions.committed(AT, &ephemeral).is_err());
        assert!(made_global(sessions).committed(AT, &ephemeral).is_ok());
    }

    #[test]
    fn fires_when_a_read_only_server_writes_or_says_what_it_cannot_know() {
        let mut sessions = with_local(true);
        assert!(
            sessions
                .committed(AT, &effect(op_code::CREATE, "/p"))
                .is_err()
        );
        let other = SessionId(8);
        assert!(sessions.resumed(other, place(0, true)).is_err());
        assert!(sessions.denied(other, place(0, true)).is_err());
        assert!(sessions.denied(other, place(0, false)).is_ok());
    }

    #[test]
    fn fires_when_what_was_refused_is_committed() {
        let mut sessions = Sessions::default();
        sessions.refused(S, 3);
        assert!(
            sessions
                .committed(AT, &effect(op_code::CREATE, "/p"))
                .is_err()
        );
    }

    #[test]
    fn fires_when_a_session_that_lives_was_called_dead() {
        let mut sessions = made_global(Sessions::default());
        sessions.denied(S, place(0, false)).unwrap();
        assert_eq!(sessions.wrongly_denied(|_| false).next(), Some(S));
        assert_eq!(sessions.wrongly_denied(|_| true).next(), None);
    }
}
