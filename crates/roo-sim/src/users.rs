//! Users: processes with the real client in them, its session machine, its calls and its recipes.
//! What the client's driver does on sockets and timers is done here with the world's connections
//! and clock; the futures of the program are polled in the same one thread. A user may stand still,
//! die and be born again; its connections may break with requests or replies on the way.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use roo_client::hosts::{Hosts, Servers};
use roo_client::session::{Effect, Event, LinkId, Session};
use roo_client::{BackOff, Client, Hub, Options};
use roo_proto::ids::Time;
use roo_replica::event::ConnId;

use crate::world::{Happening, World};

pub mod desk;

use desk::Desk;

/// Something that is going to happen to users.
#[derive(Clone, Debug)]
#[allow(missing_docs)] // The fields say what they are.
pub enum UserHappening {
    /// A process starts.
    Born { user: usize },
    /// A connection comes about, or does not.
    Linked {
        user: usize,
        life: u64,
        link: LinkId,
        server: usize,
    },
    /// A packet is there for a server.
    Up { conn: ConnId },
    /// Bytes, or the end, are there for a user.
    Down { conn: ConnId },
    /// A timer.
    Alarm { user: usize, life: u64 },
    /// It goes on.
    Resume { user: usize, life: u64 },
    /// Something goes wrong.
    Fault,
}

/// How often what goes wrong with users: expected events per virtual second of all of them
/// together, times 1000.
#[derive(Clone, Copy, Debug, Default)]
#[allow(missing_docs)] // The names say it.
pub struct UserFaults {
    pub cuts: u64,
    pub pauses: u64,
    pub pause_max_ms: u64,
    pub deaths: u64,
}

/// What a user's program is: tasks for a client, given a place to sleep and draw at.
pub type Program = Arc<dyn Fn(usize, u64, &Client, &Arc<Desk>) -> Vec<Task>>;

/// One of a program's tasks.
pub type Task = Pin<Box<dyn Future<Output = ()>>>;

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

struct Running {
    task: Task,
    flag: Arc<Flag>,
}

/// A living process.
struct Process {
    session: Session,
    hub: Hub,
    hub_flag: Arc<Flag>,
    effects: Vec<Effect>,
    desk: Arc<Desk>,
    tasks: Vec<Running>,
    /// The attempt that is under way.
    opening: Option<LinkId>,
    /// The open connection.
    conn: Option<ConnId>,
    is_paused: bool,
    alarm: Option<u64>,
}

/// A user: at most one process at a time.
#[derive(Default)]
pub struct User {
    life: u64,
    process: Option<Process>,
    /// Has done all that it will.
    is_finished: bool,
}

/// The two directions of a connection.
#[derive(Debug)]
struct UserConn {
    user: usize,
    life: u64,
    link: LinkId,
    server: usize,
    server_life: u64,
    up: VecDeque<Vec<u8>>,
    /// What arrives at once, `None` for the end.
    down: VecDeque<Option<Vec<Bytes>>>,
    last: [u64; 2],
    /// The user's end is gone; what is left on the way up still arrives.
    is_gone: bool,
}

/// All users.
#[derive(Default)]
pub struct Users {
    /// In the order of their numbers.
    pub list: Vec<User>,
    conns: BTreeMap<ConnId, UserConn>,
    program: Option<Program>,
    /// See the type.
    pub faults: UserFaults,
    /// Whether programs come to their end.
    pub is_ending: bool,
    /// How often the process of a user died or its session ended.
    pub lives: u64,
    /// How often a connection was cut.
    pub cuts: u64,
}

impl fmt::Debug for Users {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Users")
            .field("count", &self.list.len())
            .field("conns", &self.conns)
            .finish_non_exhaustive()
    }
}

impl World {
    /// Lets so many users run a program.
    pub fn add_users(&mut self, count: usize, faults: UserFaults, program: Program) {
        self.users.program = Some(program);
        self.users.faults = faults;
        for user in 0..count {
            self.users.list.push(User::default());
            let us = self.rng.below(100_000);
            self.after(us, Happening::User(UserHappening::Born { user }));
        }
        self.schedule_user_fault();
    }

    /// Lets every program come to its end.
    pub fn end_users(&mut self) {
        self.users.is_ending = true;
        for user in 0..self.users.list.len() {
            if let Some(process) = &mut self.users.list[user].process {
                process.is_paused = false;
                process.desk.end();
            }
            self.step_user(user);
        }
    }

    /// Whether every user has done all that it will.
    #[must_use]
    pub fn are_users_finished(&self) -> bool {
        self.users.list.iter().all(|user| user.is_finished)
    }

    /// How each user is.
    #[must_use]
    pub fn describe_users(&self) -> String {
        let users = self.users.list.iter().enumerate();
        let lines = users.map(|(at, user)| match &user.process {
            None if user.is_finished => format!("{at} finished"),
            None => format!("{at} not born"),
            Some(process) => {
                let status = process.session.status();
                let (state, tasks) = (status.state, process.tasks.len());
                format!(
                    "{at} {state:?} session {} with {tasks} tasks",
                    status.session
                )
            }
        });
        lines.collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn on_user(&mut self, happening: UserHappening) {
        match happening {
            UserHappening::Born { user } => self.give_birth(user),
            UserHappening::Linked {
                user,
                life,
                link,
                server,
            } => {
                if self.users.list[user].life == life {
                    self.user_linked(user, link, server);
                }
            }
            UserHappening::Up { conn } => self.user_up(conn),
            UserHappening::Down { conn } => self.user_down(conn),
            UserHappening::Alarm { user, life } => {
                if self.users.list[user].life == life {
                    self.step_user(user);
                }
            }
            UserHappening::Resume { user, life } => {
                if self.users.list[user].life == life
                    && let Some(process) = &mut self.users.list[user].process
                {
                    process.is_paused = false;
                    self.step_user(user);
                }
            }
            UserHappening::Fault => self.user_fault(),
        }
    }

    fn give_birth(&mut self, user: usize) {
        let known = &mut self.users.list[user];
        if known.process.is_some() || known.is_finished {
            return;
        }
        known.life += 1;
        let life = known.life;
        let timeout = std::time::Duration::from_millis(self.options.tick_ms * 15);
        let options = Options {
            session_timeout: timeout,
            connect_timeout: timeout / 3,
            first_connection_wait: std::time::Duration::from_secs(3600),
            back_off: BackOff {
                first: std::time::Duration::from_millis(5),
                max: std::time::Duration::from_millis(self.options.tick_ms),
            },
            seed: Some(self.rng.next_u64()),
            ..Options::default()
        };
        let hosts = Hosts {
            servers: Servers::Listed(Vec::new()),
            chroot: String::new(),
        };
        let (client, hub) = Client::detached(&hosts, &options);
        let mut effects = Vec::new();
        let seed = self.rng.next_u64();
        let session = Session::new(options, seed, self.user_time(), &mut effects);
        let desk = Arc::new(Desk::new(self.rng.fork(), self.now));
        if self.users.is_ending {
            desk.end();
        }
        let Some(program) = self.users.program.clone() else {
            return;
        };
        let tasks = program(user, life, &client, &desk);
        let flag = || Arc::new(Flag(AtomicBool::new(true)));
        let tasks = tasks.into_iter().map(|task| Running { task, flag: flag() });
        self.users.list[user].process = Some(Process {
            session,
            hub,
            hub_flag: flag(),
            effects,
            desk,
            tasks: tasks.collect(),
            opening: None,
            conn: None,
            is_paused: false,
            alarm: None,
        });
        self.step_user(user);
    }

    fn user_time(&self) -> Time {
        Time(self.now / 1000)
    }

    /// Lets a user do all that it can at this moment.
    fn step_user(&mut self, user: usize) {
        loop {
            let now = self.user_time();
            let Some(process) = &mut self.users.list[user].process else {
                return;
            };
            if process.is_paused {
                return;
            }
            process.desk.wake(self.now);
            if process.session.next_deadline().is_some_and(|at| at <= now) {
                let event = Event::DeadlineReached;
                process.session.handle(now, event, &mut process.effects);
            }
            let effects = std::mem::take(&mut process.effects);
            let has_effects = !effects.is_empty();
            for effect in effects {
                self.user_effect(user, effect);
            }
            let has_run = self.poll_user(user);
            if self.violation.is_some() {
                return;
            }
            if !has_effects && !has_run {
                break;
            }
        }
        self.end_or_wait(user);
    }

    /// Polls what was woken: whether anything was.
    fn poll_user(&mut self, user: usize) -> bool {
        let now = self.user_time();
        let Some(process) = &mut self.users.list[user].process else {
            return false;
        };
        let mut has_run = false;
        if process.hub_flag.0.swap(false, Ordering::Relaxed) {
            has_run = true;
            let waker = Waker::from(Arc::clone(&process.hub_flag));
            let mut cx = Context::from_waker(&waker);
            while let Poll::Ready(event) = process.hub.poll_next(&mut cx) {
                process.session.handle(now, event, &mut process.effects);
            }
        }
        process.tasks.retain_mut(|running| {
            if !running.flag.0.swap(false, Ordering::Relaxed) {
                return true;
            }
            has_run = true;
            let waker = Waker::from(Arc::clone(&running.flag));
            let mut cx = Context::from_waker(&waker);
            running.task.as_mut().poll(&mut cx).is_pending()
        });
        if has_run {
            self.check_users();
        }
        has_run
    }

    /// A process whose tasks are done is over; else it sleeps until the next deadline.
    fn end_or_wait(&mut self, user: usize) {
        let life = self.users.list[user].life;
        let now = self.now;
        let Some(process) = &mut self.users.list[user].process else {
            return;
        };
        if process.tasks.is_empty() && process.session.status().state.is_final() {
            self.bury_user(user);
            return;
        }
        let deadline = process.session.next_deadline().map(|at| at.0 * 1000);
        let next = deadline.into_iter().chain(process.desk.next()).min();
        let Some(at) = next.map(|at| at.max(now + 1)) else {
            return;
        };
        if process.alarm.is_none_or(|alarm| alarm <= now || at < alarm) {
            process.alarm = Some(at);
            self.after(
                at - now,
                Happening::User(UserHappening::Alarm { user, life }),
            );
        }
    }

    /// The process is over; another comes, unless all is done.
    fn bury_user(&mut self, user: usize) {
        let Some(process) = self.users.list[user].process.take() else {
            return;
        };
        if let Some(conn) = process.conn {
            self.hang_up_user(conn);
        }
        let has_done_all = process.desk.is_satisfied();
        self.users.lives += 1;
        if self.users.is_ending && has_done_all {
            self.users.list[user].is_finished = true;
        } else {
            let us = self.rng.below(200_000);
            self.after(us, Happening::User(UserHappening::Born { user }));
        }
    }

    fn user_effect(&mut self, user: usize, effect: Effect) {
        let now = self.user_time();
        let life = self.users.list[user].life;
        let count = self.servers.len();
        let delay = self.delay();
        let Some(process) = &mut self.users.list[user].process else {
            return;
        };
        match effect {
            Effect::Resolve => {
                let event = Event::Resolved {
                    places: (0..count).map(|server| address_of(server).into()).collect(),
                    failures: Vec::new(),
                };
                process.session.handle(now, event, &mut process.effects);
            }
            Effect::OpenLink { link, address } => {
                let server = usize::from(address.port()) - 1;
                process.opening = Some(link);
                let happening = UserHappening::Linked {
                    user,
                    life,
                    link,
                    server,
                };
                self.after(delay, Happening::User(happening));
            }
            Effect::Send { link, frame } => {
                if let Some(conn) = process.conn
                    && self.users.conns.get(&conn).is_some_and(|c| c.link == link)
                {
                    self.user_send(conn, &frame, delay);
                }
            }
            Effect::CloseLink { link } => {
                process.opening = process.opening.filter(|opening| *opening != link);
                if let Some(conn) = process.conn
                    && self.users.conns.get(&conn).is_some_and(|c| c.link == link)
                {
                    process.conn = None;
                    self.hang_up_user(conn);
                }
            }
            // Nobody answers: no server here is read-only.
            Effect::Probe { .. } => {}
            Effect::Tell(notice) => process.hub.tell(notice),
        }
    }

    fn user_linked(&mut self, user: usize, link: LinkId, server: usize) {
        let now = self.user_time();
        let is_up = self.servers[server].is_up();
        let life = self.users.list[user].life;
        let server_life = self.servers[server].life;
        let Some(process) = &mut self.users.list[user].process else {
            return;
        };
        if process.opening != Some(link) {
            return;
        }
        process.opening = None;
        let event = if is_up {
            let conn = ConnId(self.next_conn);
            self.next_conn += 1;
            process.conn = Some(conn);
            let known = UserConn {
                user,
                life,
                link,
                server,
                server_life,
                up: VecDeque::new(),
                down: VecDeque::new(),
                last: [self.now, self.now],
                is_gone: false,
            };
            self.users.conns.insert(conn, known);
            if let Some(whole) = self.servers[server].whole() {
                whole.open(conn);
            }
            Event::LinkOpened { link }
        } else {
            let why = "refused".to_owned();
            Event::LinkClosed { link, why }
        };
        let Some(process) = &mut self.users.list[user].process else {
            return;
        };
        process.session.handle(now, event, &mut process.effects);
        self.step_user(user);
    }

    fn user_send(&mut self, conn: ConnId, frame: &Bytes, delay: u64) {
        let ready = self.now + delay;
        let Some(known) = self.users.conns.get_mut(&conn) else {
            return;
        };
        known.last[0] = known.last[0].max(ready);
        known
            .up
            .push_back(frame.get(4..).unwrap_or_default().to_vec());
        let us = known.last[0] - self.now;
        self.after(us, Happening::User(UserHappening::Up { conn }));
    }

    fn user_up(&mut self, conn: ConnId) {
        let Some(known) = self.users.conns.get_mut(&conn) else {
            return;
        };
        let (server, life) = (known.server, known.server_life);
        if self.servers[server].paused {
            self.after(5_000, Happening::User(UserHappening::Up { conn }));
            return;
        }
        let Some(packet) = known.up.pop_front() else {
            return;
        };
        let is_last = known.is_gone && known.up.is_empty();
        if self.servers[server].life == life {
            self.give_packet(server, conn, &packet);
        }
        if is_last {
            self.forget_user_conn(conn);
        }
    }

    /// A server sends bytes to a user, or closes its connection: whether that is a user's.
    pub(crate) fn send_to_user(&mut self, conn: ConnId, bytes: Option<&Vec<u8>>) -> bool {
        let Some(known) = self.users.conns.get(&conn) else {
            return false;
        };
        if known.is_gone {
            return true;
        }
        match bytes.map(|bytes| packets(bytes)) {
            // What is sent at once may arrive in parts.
            Some(packets) if self.rng.chance(500) => {
                for packet in packets {
                    self.arrive_at_user(conn, Some(vec![packet]));
                }
            }
            whole => self.arrive_at_user(conn, whole),
        }
        true
    }

    fn arrive_at_user(&mut self, conn: ConnId, mut arrival: Option<Vec<Bytes>>) {
        let ready = self.now + self.delay();
        let is_read_along = self.rng.chance(300);
        let Some(known) = self.users.conns.get_mut(&conn) else {
            return;
        };
        // And is read together with what was sent before it, or not.
        if let (Some(Some(before)), Some(packets)) = (known.down.back_mut(), &mut arrival)
            && is_read_along
        {
            before.append(packets);
            return;
        }
        known.down.push_back(arrival);
        known.last[1] = known.last[1].max(ready);
        let us = known.last[1] - self.now;
        self.after(us, Happening::User(UserHappening::Down { conn }));
    }

    /// The connections of users to a server.
    pub(crate) fn conns_of_users(&self, server: usize) -> Vec<ConnId> {
        let conns = self.users.conns.iter();
        let mine = conns.filter(|(_, known)| known.server == server);
        mine.map(|(conn, _)| *conn).collect()
    }

    fn user_down(&mut self, conn: ConnId) {
        let now = self.user_time();
        let Some(known) = self.users.conns.get_mut(&conn) else {
            return;
        };
        let (user, life, link) = (known.user, known.life, known.link);
        if known.is_gone {
            return;
        }
        if self.users.list[user].life != life {
            return;
        }
        let Some(process) = &mut self.users.list[user].process else {
            return;
        };
        if process.is_paused {
            self.after(2_000, Happening::User(UserHappening::Down { conn }));
            return;
        }
        let Some(arrival) = known.down.pop_front() else {
            return;
        };
        if process.conn != Some(conn) {
            return;
        }
        match arrival {
            None => {
                process.conn = None;
                let why = "closed".to_owned();
                let event = Event::LinkClosed { link, why };
                process.session.handle(now, event, &mut process.effects);
                self.hang_up_user(conn);
            }
            Some(packets) => {
                for packet in packets {
                    let event = Event::Received { link, packet };
                    process.session.handle(now, event, &mut process.effects);
                }
            }
        }
        self.step_user(user);
    }

    /// The user's end is gone. What it sent arrives in part, in whole or not at all; the server
    /// hears of the end behind it.
    fn hang_up_user(&mut self, conn: ConnId) {
        let keep = self.rng.below(4);
        let Some(known) = self.users.conns.get_mut(&conn) else {
            return;
        };
        known.is_gone = true;
        known.down.clear();
        let length = known.up.len();
        match keep {
            0 => known.up.clear(),
            1 => known.up.truncate(length / 2),
            _ => {}
        }
        if known.up.is_empty() {
            self.forget_user_conn(conn);
        }
    }

    fn forget_user_conn(&mut self, conn: ConnId) {
        let Some(known) = self.users.conns.remove(&conn) else {
            return;
        };
        let us = self.delay();
        let gone = Happening::ClientGone {
            server: known.server,
            life: known.server_life,
            conn,
        };
        self.after(us, gone);
    }

    fn schedule_user_fault(&mut self) {
        let faults = self.users.faults;
        let rate = faults.cuts + faults.pauses + faults.deaths;
        if let Some(most) = 2_000_000_000_u64.checked_div(rate) {
            let us = self.rng.below(most);
            self.after(us, Happening::User(UserHappening::Fault));
        }
    }

    fn user_fault(&mut self) {
        if !self.is_stormy || self.users.list.is_empty() {
            return;
        }
        self.schedule_user_fault();
        let faults = self.users.faults;
        let user = self.rng.index(self.users.list.len());
        let life = self.users.list[user].life;
        let drawn = self.rng.below(faults.cuts + faults.pauses + faults.deaths);
        let pause = self.rng.below(faults.pause_max_ms * 1000);
        let Some(process) = &mut self.users.list[user].process else {
            return;
        };
        if drawn < faults.cuts {
            self.cut_user(user);
        } else if drawn < faults.cuts + faults.pauses {
            process.is_paused = true;
            self.after(pause, Happening::User(UserHappening::Resume { user, life }));
        } else {
            self.say(|_| format!("user {user} dies"));
            self.bury_user(user);
        }
    }

    /// A connection breaks under a user.
    fn cut_user(&mut self, user: usize) {
        let now = self.user_time();
        let Some(process) = &mut self.users.list[user].process else {
            return;
        };
        let Some(conn) = process.conn.take() else {
            return;
        };
        self.users.cuts += 1;
        if let Some(known) = self.users.conns.get(&conn) {
            let why = "cut".to_owned();
            let link = known.link;
            let event = Event::LinkClosed { link, why };
            process.session.handle(now, event, &mut process.effects);
        }
        self.hang_up_user(conn);
        self.step_user(user);
    }
}

/// Servers are told apart by their ports.
fn address_of(server: usize) -> SocketAddr {
    let port = u16::try_from(server + 1).unwrap_or(u16::MAX);
    SocketAddr::from(([10, 0, 0, 1], port))
}

/// The packets in what a server sends at once, without their lengths.
fn packets(bytes: &[u8]) -> Vec<Bytes> {
    let mut found = Vec::new();
    let mut rest = bytes;
    while let Some((length, tail)) = rest.split_first_chunk::<4>() {
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(0);
        let Some((packet, tail)) = tail.split_at_checked(length) else {
            break;
        };
        found.push(Bytes::copy_from_slice(packet));
        rest = tail;
    }
    found
}
