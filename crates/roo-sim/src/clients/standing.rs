//! What servers may tell clients of themselves and of the clients' sessions: who can write, whose
//! session it is, and which servers the ensemble has.

use roo_proto::ensemble::Ensemble;
use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::op_code;
use roo_replica::event::ConnId;
use roo_replica::replica::LocalSessions;

use crate::oracle::Asked;
use crate::process::Brain;
use crate::sessions::Place;
use crate::whole::Greeting;
use crate::world::World;

impl World {
    /// A write was answered: at its transaction's place, or without one.
    pub(super) fn write_answered(
        &mut self,
        at: usize,
        asked: &Asked,
        zxid: Zxid,
        code: ErrorCode,
    ) -> Result<(), String> {
        let sessions = &mut self.oracle.sessions;
        let is_global = sessions.is_global(asked.session, zxid);
        let client = &mut self.clients[at];
        let is_closed = asked.op == op_code::CLOSE_SESSION && code == ErrorCode::OK;
        if asked.op == op_code::CLOSE_SESSION {
            client.session = SessionId(0);
            client.password = Vec::new();
            client.watches.clear();
            client.has_written = false;
        }
        match code {
            ErrorCode::NOT_READ_ONLY | ErrorCode::EPHEMERAL_ON_LOCAL_SESSION => {
                let is_right = match code {
                    ErrorCode::NOT_READ_ONLY => client.is_read_only,
                    _ => !is_global,
                };
                if !is_right {
                    return Err(format!("{asked:?} is refused at {zxid}: {code:?}"));
                }
                sessions.refused(asked.session, asked.xid);
                Ok(())
            }
            // Nobody else knows it, so nobody else is told.
            ErrorCode::OK if is_closed && !is_global => Ok(()),
            _ if client.is_read_only => Err(format!(
                "{asked:?} is answered {code:?} by a server without a leader"
            )),
            _ => {
                client.done += 1;
                self.oracle.wrote(asked, zxid, code)
            }
        }
    }

    /// What /zookeeper/config holds: each version is one ensemble, and none comes before an older
    /// one.
    pub(super) fn shown_ensemble(&mut self, at: usize, data: &[u8]) -> Result<(), String> {
        let text = String::from_utf8_lossy(data);
        let shown = Ensemble::parse(&text).map_err(|error| format!("{text}: {error}"))?;
        let client = &mut self.clients[at];
        let version = shown.version;
        let is_back = version < client.ensemble && !client.is_read_only;
        if is_back {
            return Err(format!(
                "the ensemble {version:x} is shown behind {:x}",
                client.ensemble
            ));
        }
        client.ensemble = client.ensemble.max(version);
        let known = self.shown.entry(version);
        let known = known.or_insert_with(|| text.clone().into_owned());
        if version != 0 && *known != text {
            return Err(format!(
                "the ensemble {version:x} is {text}, and was {known}"
            ));
        }
        Ok(())
    }

    /// A server has answered a handshake by itself.
    pub(crate) fn on_greeted(&mut self, server: usize, conn: ConnId, greeting: Greeting) {
        let Some(known) = self.conns.get(&conn) else {
            return;
        };
        let (presented, life) = (known.presented, known.life);
        let place = Place {
            server,
            life,
            is_read_only: greeting.is_read_only,
        };
        let sessions = &mut self.oracle.sessions;
        let outcome = if greeting.session == SessionId(0) {
            sessions.denied(presented, place)
        } else if presented == SessionId(0) {
            self.counts.local_sessions += 1;
            sessions.gave(greeting.session, place)
        } else {
            sessions.resumed(greeting.session, place)
        };
        if let Err(what) = outcome {
            self.break_rule("sessions", what);
        }
    }

    /// A session that one server gave out is known to no other.
    pub(crate) fn check_local_sessions(&mut self) {
        if self.options.local_sessions == LocalSessions::Upgrading {
            // The leader knows one before its transaction is committed.
            return;
        }
        let mut wrong = None;
        for (session, place) in self.oracle.sessions.local() {
            for (at, server) in self.servers.iter().enumerate() {
                let Some(Brain::Whole(whole)) = &server.brain else {
                    continue;
                };
                let is_its_own = (at, server.life) == (place.server, place.life);
                let is_tracked = whole.replica.sessions().find(session).is_some();
                if is_tracked && !is_its_own && !whole.state.sessions().contains_key(&session) {
                    wrong.get_or_insert((session, place, server.id));
                }
            }
        }
        if let Some((session, place, server)) = wrong {
            let what = format!("server {} knows session {session} of {place:?}", server.0);
            self.break_rule("sessions", what);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clients::Client;
    use crate::options::Options;

    const S: SessionId = SessionId(7);
    const AT: Zxid = Zxid::new(1, 1);

    fn world(is_read_only: bool) -> World {
        let mut options = Options::draw(1).plain();
        options.clients = 1;
        let mut world = World::new(options);
        world.clients[0] = Client {
            session: S,
            is_read_only,
            ..Client::default()
        };
        world
    }

    fn asked(op: i32) -> Asked {
        Asked {
            session: S,
            xid: 1,
            op,
            path: "/p".to_owned(),
            floor: Zxid::ZERO,
            must_see: Zxid::ZERO,
        }
    }

    #[test]
    fn fires_when_a_server_without_a_leader_acknowledges_a_write() {
        let answer = |op, code| world(true).write_answered(0, &asked(op), AT, code);
        for code in [ErrorCode::OK, ErrorCode::NO_NODE] {
            assert!(answer(op_code::SET_DATA, code).is_err());
        }
        assert!(answer(op_code::SET_DATA, ErrorCode::NOT_READ_ONLY).is_ok());
        // The end of a session that only this server knows is no write.
        assert!(answer(op_code::CLOSE_SESSION, ErrorCode::OK).is_ok());
    }

    #[test]
    fn fires_when_a_write_is_refused_without_a_reason() {
        let answer = |code| world(false).write_answered(0, &asked(op_code::CREATE), AT, code);
        assert!(answer(ErrorCode::NOT_READ_ONLY).is_err());
        assert!(answer(ErrorCode::EPHEMERAL_ON_LOCAL_SESSION).is_ok());
        let mut world = world(false);
        let mut created = crate::oracle::TxnEffect::new(
            &roo_proto::txn::TxnHeader::default(),
            op_code::CREATE_SESSION,
            ErrorCode::OK,
        );
        created.session = S;
        world.oracle.sessions.committed(AT, &created).unwrap();
        let code = ErrorCode::EPHEMERAL_ON_LOCAL_SESSION;
        let refused = world.write_answered(0, &asked(op_code::CREATE), AT, code);
        assert!(refused.is_err());
    }

    #[test]
    fn fires_when_an_ensemble_goes_back_or_a_version_is_two() {
        let text = |version: i64, server: &str| format!("server.{server}\nversion={version:x}");
        let (a, b) = ("1=h1:1:2:participant;h1:3", "2=h2:1:2:participant;h2:3");
        let mut world = world(false);
        let mut show = |text: &str| world.shown_ensemble(0, text.as_bytes());
        assert!(show(&text(5, a)).is_ok());
        assert!(show(&text(5, a)).is_ok());
        assert!(show(&text(5, b)).is_err());
        assert!(show(&text(4, b)).is_err());
        assert!(show("nonsense").is_err());
    }
}
