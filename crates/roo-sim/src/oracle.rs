//! What clients may be told, checked against what was committed: every reply carries the zxid at
//! which it is true, so that each can be checked on its own, in linear time.

use std::collections::BTreeMap;

use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::op_code;
use roo_proto::txn::TxnHeader;

use crate::fact::{Entry, EntryMap};
use crate::sessions::Sessions;

/// The data of a node, or `None` where there is none.
type Data = Option<Vec<u8>>;

/// What a transaction left at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// Where.
    pub path: String,
    /// The data, or `None` if the node is gone.
    pub data: Option<Vec<u8>>,
}

/// What a transaction did, the same on every server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TxnEffect {
    /// Whose request it was.
    pub session: SessionId,
    /// Its xid.
    pub cxid: i32,
    /// What it was.
    pub op: i32,
    /// What came of it.
    pub code: ErrorCode,
    /// What changed.
    pub changes: Vec<Changed>,
    /// The tree's digest behind it, if anything changed.
    pub digest: Option<u64>,
}

impl TxnEffect {
    /// One that has changed nothing yet.
    #[must_use]
    pub const fn new(header: &TxnHeader, op: i32, code: ErrorCode) -> Self {
        Self {
            session: SessionId(header.client_id),
            cxid: header.cxid,
            op,
            code,
            changes: Vec::new(),
            digest: None,
        }
    }
}

/// A write that was asked for, or a read.
#[derive(Clone, Debug)]
pub struct Asked {
    /// By which session.
    pub session: SessionId,
    /// Its xid.
    pub xid: i32,
    /// What.
    pub op: i32,
    /// Where.
    pub path: String,
    /// The last write that was answered to anybody before this was asked.
    pub floor: Zxid,
    /// Whether it must see every write that was answered before: a quorum read, or one behind a
    /// sync.
    pub must_see: Zxid,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    effects: EntryMap<TxnEffect>,
    /// What is committed, as far as it was looked at.
    committed: usize,
    by_zxid: BTreeMap<Zxid, TxnEffect>,
    /// What each path held, from when on.
    values: BTreeMap<String, Vec<(Zxid, Data)>>,
    /// When each session ended.
    ended: BTreeMap<SessionId, Zxid>,
    /// The last request of each session that took its place: clients count them up.
    last_cxid: BTreeMap<SessionId, i32>,
    /// The last write that was answered.
    pub answered: Zxid,
    /// Who knows which session.
    pub sessions: Sessions,
}

impl Oracle {
    /// A server has applied a transaction.
    ///
    /// # Errors
    /// If it did something else on another server.
    pub fn applied(&mut self, entry: Entry, effect: TxnEffect) -> Result<(), String> {
        match self.effects.get(&entry) {
            Some(known) if *known != effect => Err(format!(
                "{entry:?} did {effect:?} on one server and {known:?} on another"
            )),
            Some(_) => Ok(()),
            None => {
                self.effects.insert(entry, effect);
                Ok(())
            }
        }
    }

    /// More is committed.
    ///
    /// # Errors
    /// If a session that has ended does something, or a request takes its place twice, or behind
    /// one that its session asked later.
    pub fn committed(&mut self, committed: &[Entry]) -> Result<(), String> {
        while let Some(entry) = committed.get(self.committed) {
            let Some(effect) = self.effects.get(entry) else {
                return Err(format!("{entry:?} is committed and nobody applied it"));
            };
            self.committed += 1;
            let zxid = entry.zxid;
            if effect.code == ErrorCode::OK && effect.session != SessionId(0) {
                // One may ask for the end of a session that has just expired.
                if let Some(end) = self.ended.get(&effect.session)
                    && effect.op != op_code::CLOSE_SESSION
                {
                    return Err(format!(
                        "session {} ended at {end} and does {effect:?} at {zxid}",
                        effect.session
                    ));
                }
                if effect.op == op_code::CLOSE_SESSION {
                    self.ended.insert(effect.session, zxid);
                }
            }
            self.sessions.committed(zxid, effect)?;
            if takes_its_place(effect) {
                let last = self.last_cxid.entry(effect.session).or_insert(0);
                if effect.cxid <= *last {
                    return Err(format!(
                        "{effect:?} at {zxid} comes behind request {last} of its session"
                    ));
                }
                *last = effect.cxid;
            }
            for changed in &effect.changes {
                let values = self.values.entry(changed.path.clone()).or_default();
                values.push((zxid, changed.data.clone()));
            }
            self.by_zxid.insert(zxid, effect.clone());
        }
        Ok(())
    }

    /// What a path held at a zxid.
    #[must_use]
    pub fn value_at(&self, path: &str, zxid: Zxid) -> Option<&[u8]> {
        let values = self.values.get(path)?;
        let at = values.partition_point(|(from, _)| *from <= zxid);
        values.get(at.checked_sub(1)?)?.1.as_deref()
    }

    /// What a path holds in a history that is perhaps not committed, up to a zxid.
    #[must_use]
    pub fn value_in(&self, history: &[Entry], path: &str, zxid: Zxid) -> Option<&[u8]> {
        let upto = history.iter().rev().filter(|entry| entry.zxid <= zxid);
        let effects = upto.filter_map(|entry| self.effects.get(entry));
        let mut changes = effects.flat_map(|effect| effect.changes.iter().rev());
        changes.find(|change| change.path == path)?.data.as_deref()
    }

    /// All that a path ever held, in order.
    pub fn history(&self, path: &str) -> impl Iterator<Item = &[u8]> {
        let values = self.values.get(path).into_iter().flatten();
        values.filter_map(|(_, data)| data.as_deref())
    }

    /// What each node below a prefix first held.
    pub fn created_below(&self, prefix: &str) -> impl Iterator<Item = &[u8]> {
        let values = self.below(prefix);
        values.filter_map(|(_, values)| values.first()?.1.as_deref())
    }

    /// Nodes below a prefix that are there.
    pub fn present_below(&self, prefix: &str) -> impl Iterator<Item = &str> {
        let values = self.below(prefix);
        let present = values.filter(|(_, values)| values.last().is_some_and(|v| v.1.is_some()));
        present.map(|(path, _)| path.as_str())
    }

    /// What each path below a prefix held, from when on.
    pub fn below(&self, prefix: &str) -> impl Iterator<Item = (&String, &Vec<(Zxid, Data)>)> {
        let from = self.values.range(prefix.to_owned()..);
        let prefix = prefix.to_owned();
        from.take_while(move |(path, _)| path.starts_with(&prefix))
    }

    /// The first change of a path behind a zxid.
    #[must_use]
    pub fn first_change(&self, path: &str, after: Zxid) -> Option<Zxid> {
        let values = self.values.get(path)?;
        let at = values.partition_point(|(from, _)| *from <= after);
        values.get(at).map(|(zxid, _)| *zxid)
    }

    /// When a session ended, if it did.
    #[must_use]
    pub fn end_of(&self, session: SessionId) -> Option<Zxid> {
        self.ended.get(&session).copied()
    }

    /// A client got an answer to a write.
    ///
    /// # Errors
    /// If the write is not committed there, or stands before one that was answered before it was
    /// asked for.
    pub fn wrote(&mut self, asked: &Asked, zxid: Zxid, code: ErrorCode) -> Result<(), String> {
        let Some(effect) = self.by_zxid.get(&zxid) else {
            return Err(format!(
                "{asked:?} is answered at {zxid}, which is not committed"
            ));
        };
        if effect.session != asked.session || effect.cxid != asked.xid {
            return Err(format!(
                "{asked:?} is answered at {zxid}, which is {effect:?}"
            ));
        }
        if effect.code != code && asked.op != op_code::MULTI {
            return Err(format!("{asked:?} is answered {code:?}, but is {effect:?}"));
        }
        if zxid <= asked.floor {
            return Err(format!(
                "{asked:?} has its place at {zxid}, before a write that was answered earlier"
            ));
        }
        self.answered = self.answered.max(zxid);
        Ok(())
    }

    /// A client got an answer to a read of data from a server without a leader, which had this
    /// history.
    ///
    /// # Errors
    /// If it is not what the server had there.
    pub fn read_alone(
        &self,
        asked: &Asked,
        zxid: Zxid,
        data: Option<&[u8]>,
        history: &[Entry],
    ) -> Result<(), String> {
        let expected = self.value_in(history, &asked.path, zxid);
        require_same(asked, zxid, expected, data)
    }

    /// A client got an answer to a read of data.
    ///
    /// # Errors
    /// If it is not what was there, or misses what it must show.
    pub fn read(&self, asked: &Asked, zxid: Zxid, data: Option<&[u8]>) -> Result<(), String> {
        require_same(asked, zxid, self.value_at(&asked.path, zxid), data)?;
        if zxid < asked.must_see {
            return Err(format!("{asked:?} is answered at {zxid}, too early"));
        }
        Ok(())
    }
}

fn require_same(
    asked: &Asked,
    zxid: Zxid,
    expected: Option<&[u8]>,
    data: Option<&[u8]>,
) -> Result<(), String> {
    if expected == data {
        return Ok(());
    }
    Err(format!(
        "{asked:?} is answered {data:?} at {zxid}, where it was {expected:?}"
    ))
}

/// Whether it is a client's request, and not refused for its session's sake: a connection that
/// the session has left may still bring one. The end of a session is never refused.
fn takes_its_place(effect: &TxnEffect) -> bool {
    let is_stale = matches!(
        effect.code,
        ErrorCode::SESSION_MOVED | ErrorCode::SESSION_EXPIRED
    );
    // Servers count what they do by themselves as 0.
    effect.cxid > 0 && !is_stale && effect.op != op_code::CLOSE_SESSION
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Entry = Entry::new(1, 1, 1);
    const B: Entry = Entry::new(1, 2, 2);

    fn effect(session: i64, cxid: i32, op: i32, data: &[u8]) -> TxnEffect {
        let header = TxnHeader {
            client_id: session,
            cxid,
            zxid: Zxid::ZERO,
            time: 0,
        };
        let mut effect = TxnEffect::new(&header, op, ErrorCode::OK);
        effect.changes.push(Changed {
            path: "/a".to_owned(),
            data: Some(data.to_vec()),
        });
        effect
    }

    fn asked(session: i64, xid: i32, floor: Zxid) -> Asked {
        Asked {
            session: SessionId(session),
            xid,
            op: op_code::SET_DATA,
            path: "/a".to_owned(),
            floor,
            must_see: floor,
        }
    }

    fn oracle() -> Oracle {
        let mut oracle = Oracle::default();
        oracle
            .applied(A, effect(7, 1, op_code::SET_DATA, b"x"))
            .unwrap();
        oracle
            .applied(B, effect(8, 5, op_code::SET_DATA, b"y"))
            .unwrap();
        oracle.committed(&[A, B]).unwrap();
        oracle
    }

    #[test]
    fn fires_when_servers_apply_differently() {
        let other = effect(7, 1, op_code::SET_DATA, b"z");
        assert!(oracle().applied(A, other).is_err());
    }

    #[test]
    fn fires_when_a_request_is_executed_twice_or_behind_a_later_one() {
        let execute = |cxids: [i32; 2], code| {
            let mut oracle = Oracle::default();
            for (entry, cxid) in [A, B].into_iter().zip(cxids) {
                let mut effect = effect(7, cxid, op_code::SET_DATA, b"x");
                effect.code = code;
                oracle.applied(entry, effect).unwrap();
            }
            oracle.committed(&[A, B])
        };
        assert!(execute([1, 2], ErrorCode::OK).is_ok());
        assert!(execute([1, 1], ErrorCode::OK).is_err());
        assert!(execute([2, 1], ErrorCode::OK).is_err());
        assert!(execute([2, 1], ErrorCode::NODE_EXISTS).is_err());
        assert!(execute([2, 1], ErrorCode::SESSION_MOVED).is_ok());
    }

    #[test]
    fn fires_when_an_answered_write_is_not_there_or_out_of_order() {
        let ok = ErrorCode::OK;
        assert!(oracle().wrote(&asked(7, 1, Zxid::ZERO), A.zxid, ok).is_ok());
        assert!(
            oracle()
                .wrote(&asked(7, 2, Zxid::ZERO), A.zxid, ok)
                .is_err()
        );
        assert!(oracle().wrote(&asked(7, 1, A.zxid), A.zxid, ok).is_err());
        let lost = Zxid::new(1, 9);
        assert!(oracle().wrote(&asked(7, 1, Zxid::ZERO), lost, ok).is_err());
    }

    #[test]
    fn fires_when_a_read_shows_something_else_or_too_little() {
        assert!(
            oracle()
                .read(&asked(7, 1, Zxid::ZERO), A.zxid, Some(b"x"))
                .is_ok()
        );
        assert!(
            oracle()
                .read(&asked(7, 1, Zxid::ZERO), B.zxid, Some(b"x"))
                .is_err()
        );
        assert!(
            oracle()
                .read(&asked(7, 1, B.zxid), A.zxid, Some(b"x"))
                .is_err()
        );
    }

    #[test]
    fn fires_when_a_server_without_a_leader_shows_what_it_does_not_have() {
        let read = |zxid, data| oracle().read_alone(&asked(7, 1, zxid), zxid, Some(data), &[A]);
        assert!(read(B.zxid, b"x").is_ok());
        assert!(read(B.zxid, b"y").is_err());
        assert!(read(Zxid::ZERO, b"x").is_err());
    }

    #[test]
    fn fires_when_a_session_that_ended_does_something() {
        let mut oracle = Oracle::default();
        let mut end = effect(7, 0, op_code::CLOSE_SESSION, b"");
        end.changes.clear();
        oracle.applied(A, end).unwrap();
        oracle
            .applied(B, effect(7, 5, op_code::SET_DATA, b"y"))
            .unwrap();
        assert!(oracle.committed(&[A, B]).is_err());
    }
}
