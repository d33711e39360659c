//! Clients: sessions that connect, move between servers, expire, write, read and watch, by the
//! rules of real clients; and what each may be told, checked at every answer.

use std::collections::{BTreeMap, VecDeque};

use roo_proto::error_code::ErrorCode;
use roo_proto::ids::{SessionId, Zxid};
use roo_proto::jute::{self, Reader};
use roo_proto::op_code;
use roo_replica::event::ConnId;

use crate::oracle::Asked;
use crate::world::{Happening, World};

/// Paths that clients write to.
const PATHS: u64 = 5;
/// xid of setWatches.
const XID_SET_WATCHES: i32 = -8;
const XID_EVENT: i32 = -1;
const XID_PING: i32 = -2;

/// See the module.
#[derive(Clone, Debug, Default)]
pub struct Client {
    conn: Option<ConnId>,
    is_connected: bool,
    session: SessionId,
    password: Vec<u8>,
    last_zxid: Zxid,
    next_xid: i32,
    asked: VecDeque<Question>,
    /// Data watches, and the zxid at which each was set.
    watches: BTreeMap<String, Zxid>,
    /// What a read behind the last sync must see.
    synced: Zxid,
    heard: u64,
    sent: u64,
    /// Writes that were answered.
    pub done: u64,
    /// Sessions that ended under it.
    pub expired: u64,
}

#[derive(Clone, Debug)]
struct Question {
    asked: Asked,
    watches: bool,
}

/// The two directions of a connection.
#[derive(Clone, Debug)]
pub struct ClientConn {
    client: usize,
    server: usize,
    life: u64,
    up: VecDeque<Vec<u8>>,
    down: VecDeque<Option<Vec<u8>>>,
    last: [u64; 2],
}

impl World {
    fn timeout_ms(&self) -> u64 {
        self.options.tick_ms * 15
    }

    /// A client does something, or notices that nothing happens.
    pub(crate) fn on_client_turn(&mut self, at: usize) {
        let us = 1_000_000_000 / self.options.proposals.max(1) * 2;
        // Often enough for pings.
        let most = us.clamp(200, self.timeout_ms() * 1000 / 6);
        let us = self.rng.between(100, most);
        self.after(us, Happening::ClientTurn { client: at });
        let silent = self.now.saturating_sub(self.clients[at].heard);
        let timeout = self.timeout_ms() * 1000;
        let client = &self.clients[at];
        let Some(conn) = client.conn else {
            self.connect(at);
            return;
        };
        if silent > timeout * 2 / 3 {
            self.hang_up_client(conn);
        } else if client.is_connected {
            let is_idle = self.now.saturating_sub(client.sent) > timeout / 3;
            if self.is_stormy && self.rng.chance(5) {
                self.hang_up_client(conn);
            } else if !self.is_quiet && client.asked.len() < 3 {
                self.ask(at);
            } else if is_idle {
                self.send_up(conn, request(XID_PING, op_code::PING, &[]));
            }
        }
    }

    fn connect(&mut self, at: usize) {
        let server = self.rng.index(self.servers.len());
        if !self.servers[server].is_up() {
            return;
        }
        let conn = ConnId(self.next_conn);
        self.next_conn += 1;
        let known = ClientConn {
            client: at,
            server,
            life: self.servers[server].life,
            up: VecDeque::new(),
            down: VecDeque::new(),
            last: [self.now, self.now],
        };
        self.conns.insert(conn, known);
        if let Some(whole) = self.servers[server].whole() {
            whole.open(conn);
        }
        let timeout = i32::try_from(self.timeout_ms()).unwrap_or(i32::MAX);
        let client = &mut self.clients[at];
        client.conn = Some(conn);
        client.is_connected = false;
        client.heard = self.now;
        client.sent = self.now;
        client.asked.clear();
        client.synced = Zxid::ZERO;
        let mut out = Vec::new();
        jute::put_i32(&mut out, 0);
        jute::put_i64(&mut out, client.last_zxid.0);
        jute::put_i32(&mut out, timeout);
        jute::put_i64(&mut out, client.session.0);
        jute::put_buffer(&mut out, Some(&client.password));
        jute::put_bool(&mut out, false);
        self.send_up(conn, out);
    }

    fn send_up(&mut self, conn: ConnId, packet: Vec<u8>) {
        let ready = self.now + self.delay();
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        known.last[0] = known.last[0].max(ready);
        known.up.push_back(packet);
        let at = known.last[0];
        let client = known.client;
        self.clients[client].sent = self.now;
        self.after(at - self.now, Happening::ClientUp { conn });
    }

    pub(crate) fn send_down(&mut self, conn: ConnId, bytes: Option<Vec<u8>>) {
        if self.send_to_user(conn, bytes.as_ref()) {
            return;
        }
        let ready = self.now + self.delay();
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        known.last[1] = known.last[1].max(ready);
        known.down.push_back(bytes);
        let at = known.last[1];
        self.after(at - self.now, Happening::ClientDown { conn });
    }

    /// The client's end is gone; the server hears of it.
    fn hang_up_client(&mut self, conn: ConnId) {
        let Some(known) = self.conns.remove(&conn) else {
            return;
        };
        let client = &mut self.clients[known.client];
        if client.conn == Some(conn) {
            client.conn = None;
            client.is_connected = false;
        }
        let us = self.delay();
        let gone = Happening::ClientGone {
            server: known.server,
            life: known.life,
            conn,
        };
        self.after(us, gone);
    }

    /// A server is gone, with all its connections.
    pub(crate) fn lose_clients(&mut self, server: usize) {
        let mine: Vec<ConnId> = self
            .conns
            .iter()
            .filter(|(_, known)| known.server == server)
            .map(|(conn, _)| *conn)
            .collect();
        for conn in mine.into_iter().chain(self.conns_of_users(server)) {
            self.send_down(conn, None);
        }
    }

    pub(crate) fn on_client_up(&mut self, conn: ConnId) {
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        let (server, life) = (known.server, known.life);
        if self.servers[server].paused {
            self.after(5_000, Happening::ClientUp { conn });
            return;
        }
        let Some(packet) = known.up.pop_front() else {
            return;
        };
        if self.servers[server].life == life {
            self.give_packet(server, conn, &packet);
        }
    }

    pub(crate) fn on_client_down(&mut self, conn: ConnId) {
        let Some(known) = self.conns.get_mut(&conn) else {
            return;
        };
        let at = known.client;
        let Some(bytes) = known.down.pop_front() else {
            return;
        };
        let Some(bytes) = bytes else {
            self.hang_up_client(conn);
            return;
        };
        self.clients[at].heard = self.now;
        let mut rest = bytes.as_slice();
        while let Some((length, tail)) = rest.split_first_chunk::<4>() {
            let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(0);
            let Some((frame, tail)) = tail.split_at_checked(length) else {
                break;
            };
            rest = tail;
            let heard = self.hear(at, frame);
            if let Err(what) = heard {
                self.break_rule("clients", format!("client {at}: {what}"));
                return;
            }
            if self.clients[at].conn != Some(conn) {
                return;
            }
        }
    }

    fn hear(&mut self, at: usize, frame: &[u8]) -> Result<(), String> {
        let mut r = Reader::new(frame);
        let bad = |_| "a frame that ends early".to_owned();
        if !self.clients[at].is_connected {
            let _version = r.i32().map_err(bad)?;
            let _timeout = r.i32().map_err(bad)?;
            let session = SessionId(r.i64().map_err(bad)?);
            let password = r.buffer().map_err(bad)?.unwrap_or_default().to_vec();
            self.connected(at, session, password);
            return Ok(());
        }
        let xid = r.i32().map_err(bad)?;
        let zxid = Zxid(r.i64().map_err(bad)?);
        let code = ErrorCode(r.i32().map_err(bad)?);
        match xid {
            XID_EVENT => {
                let _kind = r.i32().map_err(bad)?;
                let _state = r.i32().map_err(bad)?;
                let path = r.required_string().map_err(bad)?;
                match self.clients[at].watches.remove(path.as_ref()) {
                    Some(_) => Ok(()),
                    None => Err(format!("an event at {path}, where it has no watch")),
                }
            }
            XID_PING | XID_SET_WATCHES => Ok(()),
            _ => self.answered(at, xid, zxid, code, &mut r),
        }
    }

    fn connected(&mut self, at: usize, session: SessionId, password: Vec<u8>) {
        let client = &mut self.clients[at];
        if session == SessionId(0) {
            client.session = session;
            client.password = Vec::new();
            client.watches.clear();
            client.expired += 1;
            if let Some(conn) = client.conn {
                self.hang_up_client(conn);
            }
            return;
        }
        client.session = session;
        client.password = password;
        client.is_connected = true;
        if client.watches.is_empty() {
            return;
        }
        let mut body = Vec::new();
        jute::put_i64(&mut body, client.last_zxid.0);
        jute::put_count(&mut body, client.watches.len());
        for path in client.watches.keys() {
            jute::put_string(&mut body, path);
        }
        for _ in 0..4 {
            jute::put_count(&mut body, 0);
        }
        let packet = request(XID_SET_WATCHES, op_code::SET_WATCHES2, &body);
        if let Some(conn) = client.conn {
            self.send_up(conn, packet);
        }
    }

    fn answered(
        &mut self,
        at: usize,
        xid: i32,
        zxid: Zxid,
        code: ErrorCode,
        r: &mut Reader<'_>,
    ) -> Result<(), String> {
        let client = &mut self.clients[at];
        let Some(Question { asked, watches }) = client.asked.pop_front() else {
            return Err(format!("an answer {xid} to nothing"));
        };
        if asked.xid != xid {
            return Err(format!("an answer {xid} where {} is next", asked.xid));
        }
        if zxid < client.last_zxid {
            return Err(format!(
                "an answer at {zxid} behind one at {}",
                client.last_zxid
            ));
        }
        for (path, set) in &client.watches {
            if let Some(change) = self.oracle.first_change(path, *set)
                && change <= zxid
            {
                return Err(format!(
                    "an answer at {zxid} before the event of {path}, changed at {change}, \
                     watched since {set}"
                ));
            }
        }
        client.last_zxid = zxid;
        if op_code::is_write(asked.op) {
            client.done += 1;
            if asked.op == op_code::CLOSE_SESSION {
                client.session = SessionId(0);
                client.password = Vec::new();
                client.watches.clear();
            }
            return self.oracle.wrote(&asked, zxid, code);
        }
        if asked.op == op_code::GET_DATA {
            let data = match code {
                ErrorCode::OK => {
                    let data = r.buffer().map_err(|_| "no data".to_owned())?;
                    Some(data.unwrap_or_default())
                }
                _ => None,
            };
            self.oracle.read(&asked, zxid, data)?;
            if watches && code == ErrorCode::OK {
                let set = self.clients[at].watches.entry(asked.path).or_insert(zxid);
                *set = (*set).max(zxid);
            }
        }
        Ok(())
    }

    fn ask(&mut self, at: usize) {
        let Some(conn) = self.clients[at].conn else {
            return;
        };
        let path = format!("/p{}", self.rng.below(PATHS));
        let unique = self.next_entry.to_be_bytes();
        self.next_entry += 1;
        let mut body = Vec::new();
        let mut watches = false;
        let mut target = path.clone();
        let op = match self.rng.below(100) {
            0..15 => {
                put_create(&mut body, &path, &unique, 0);
                op_code::CREATE
            }
            15..35 => {
                put_set(&mut body, &path, &unique);
                op_code::SET_DATA
            }
            35..45 => {
                jute::put_string(&mut body, &path);
                jute::put_i32(&mut body, -1);
                op_code::DELETE
            }
            45..60 => {
                target = format!("/e{at}-{}", self.rng.below(3));
                put_create(&mut body, &target, &unique, 1);
                op_code::CREATE
            }
            60..65 => {
                put_multi(&mut body, &path, &unique);
                op_code::MULTI
            }
            65..70 => {
                jute::put_string(&mut body, &path);
                op_code::SYNC
            }
            70 if self.is_stormy => op_code::CLOSE_SESSION,
            _ => {
                watches = self.rng.chance(400);
                if self.rng.chance(300) {
                    target = format!("/e{}-{}", self.rng.below(4), self.rng.below(3));
                }
                jute::put_string(&mut body, &target);
                jute::put_bool(&mut body, watches);
                op_code::GET_DATA
            }
        };
        let answered = self.oracle.answered;
        let quorum = self.options.quorum_reads;
        let client = &mut self.clients[at];
        client.next_xid += 1;
        if op == op_code::SYNC {
            client.synced = answered;
        }
        let asked = Asked {
            session: client.session,
            xid: client.next_xid,
            op,
            path: target,
            floor: answered,
            must_see: if quorum { answered } else { client.synced },
        };
        let packet = request(client.next_xid, op, &body);
        client.asked.push_back(Question { asked, watches });
        self.send_up(conn, packet);
    }
}

fn request(xid: i32, op: i32, body: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    jute::put_i32(&mut out, xid);
    jute::put_i32(&mut out, op);
    out.extend_from_slice(body);
    out
}

fn put_create(out: &mut Vec<u8>, path: &str, data: &[u8], flags: i32) {
    jute::put_string(out, path);
    jute::put_buffer(out, Some(data));
    jute::put_count(out, 1);
    jute::put_i32(out, 31);
    jute::put_string(out, "world");
    jute::put_string(out, "anyone");
    jute::put_i32(out, flags);
}

fn put_set(out: &mut Vec<u8>, path: &str, data: &[u8]) {
    jute::put_string(out, path);
    jute::put_buffer(out, Some(data));
    jute::put_i32(out, -1);
}

fn put_multi(out: &mut Vec<u8>, path: &str, data: &[u8]) {
    for path in [path, "/p0"] {
        jute::put_i32(out, op_code::SET_DATA);
        jute::put_bool(out, false);
        jute::put_i32(out, -1);
        put_set(out, path, data);
    }
    jute::put_i32(out, -1);
    jute::put_bool(out, true);
    jute::put_i32(out, -1);
}

#[cfg(test)]
mod tests {
    use roo_proto::reply::{self, EventType};
    use roo_proto::txn::TxnHeader;

    use super::*;
    use crate::fact::Entry;
    use crate::options::Options;
    use crate::oracle::{Changed, TxnEffect};

    const SET: Entry = Entry::new(1, 5, 1);

    /// A client that has asked for /a, which changed at 0x100000005.
    fn world(watched_since: Option<Zxid>) -> World {
        let mut options = Options::draw(1);
        options.clients = 1;
        let mut world = World::new(options);
        let header = TxnHeader::default();
        let mut effect = TxnEffect::new(&header, op_code::SET_DATA, ErrorCode::OK);
        effect.changes.push(Changed {
            path: "/a".to_owned(),
            data: Some(b"x".to_vec()),
        });
        world.oracle.applied(SET, effect).unwrap();
        world.oracle.committed(&[SET]).unwrap();
        let client = &mut world.clients[0];
        client.is_connected = true;
        client.last_zxid = Zxid::new(1, 3);
        if let Some(since) = watched_since {
            client.watches.insert("/a".to_owned(), since);
        }
        let asked = Asked {
            session: SessionId(1),
            xid: 7,
            op: op_code::EXISTS,
            path: "/a".to_owned(),
            floor: Zxid::ZERO,
            must_see: Zxid::ZERO,
        };
        let watches = false;
        client.asked.push_back(Question { asked, watches });
        world
    }

    fn hear(world: &mut World, write: impl FnOnce(&mut Vec<u8>)) -> Result<(), String> {
        let mut frame = Vec::new();
        write(&mut frame);
        world.hear(0, &frame[4..])
    }

    fn answer(world: &mut World, xid: i32, zxid: Zxid) -> Result<(), String> {
        hear(world, |out| {
            reply::header_only(out, xid, zxid, ErrorCode::OK);
        })
    }

    fn event(world: &mut World) -> Result<(), String> {
        hear(world, |out| {
            reply::watch_event(out, SET.zxid, EventType::NodeDataChanged, "/a");
        })
    }

    #[test]
    fn fires_when_answers_come_out_of_order_or_from_the_past() {
        assert!(answer(&mut world(None), 7, Zxid::new(1, 3)).is_ok());
        assert!(answer(&mut world(None), 8, Zxid::new(1, 3)).is_err());
        assert!(answer(&mut world(None), 7, Zxid::new(1, 2)).is_err());
    }

    #[test]
    fn fires_when_an_answer_shows_a_change_before_its_event() {
        let since = Some(Zxid::new(1, 4));
        assert!(answer(&mut world(since), 7, Zxid::new(1, 4)).is_ok());
        assert!(answer(&mut world(since), 7, SET.zxid).is_err());
        let mut told = world(since);
        event(&mut told).unwrap();
        assert!(answer(&mut told, 7, SET.zxid).is_ok());
    }

    #[test]
    fn fires_when_an_event_comes_without_a_watch_or_twice() {
        assert!(event(&mut world(None)).is_err());
        let mut told = world(Some(Zxid::new(1, 4)));
        event(&mut told).unwrap();
        assert!(event(&mut told).is_err());
    }
}
