//! The machine by scripts: what it is told, and every line of what it does.

use std::net::{IpAddr, Ipv4Addr};

use roo_proto::connect::{ConnectRequest, ConnectResponse};
use roo_proto::reply::{self, EventType};
use roo_proto::request::{self, Request, RequestHeader};

use super::watches::WatchedBy;
use super::*;
use crate::options::{BackOff, Credentials};

mod calls;
mod connecting;
mod watching;

/// A session, its clock, and what it did since it was last asked.
struct Script {
    session: Session,
    now: Time,
    effects: Vec<Effect>,
    link: LinkId,
    probe: LinkId,
    /// The addresses tried, by the number of the server.
    tried: Vec<u8>,
    lines: Vec<String>,
}

fn options() -> Options {
    Options {
        session_timeout: Duration::from_secs(30),
        back_off: BackOff {
            first: Duration::from_millis(100),
            max: Duration::from_secs(1),
        },
        ..Options::default()
    }
}

fn address(server: u8) -> SocketAddr {
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 0, 0, server)), 2181)
}

fn server(address: SocketAddr) -> u8 {
    match address.ip() {
        IpAddr::V4(ip) => ip.octets()[3],
        IpAddr::V6(_) => 0,
    }
}

impl Script {
    fn new(options: Options) -> Self {
        Self::with_seed(options, 7)
    }

    fn with_seed(options: Options, seed: u64) -> Self {
        let mut effects = Vec::new();
        let now = Time(1_000_000);
        let session = Session::new(options, seed, now, &mut effects);
        let mut script = Self {
            session,
            now,
            effects,
            link: LinkId(0),
            probe: LinkId(0),
            tried: Vec::new(),
            lines: Vec::new(),
        };
        script.note();
        script
    }

    /// A session that is connected to the only server, and nothing said yet.
    fn connected(options: Options) -> Self {
        let mut script = Self::new(options);
        script.resolved(&[1]).opened().accept(0x51, 30_000);
        script.said();
        script
    }

    fn tell(&mut self, event: Event) -> &mut Self {
        self.session.handle(self.now, event, &mut self.effects);
        self.note();
        self
    }

    fn resolved(&mut self, servers: &[u8]) -> &mut Self {
        self.tell(Event::Resolved {
            places: servers
                .iter()
                .map(|server| address(*server).into())
                .collect(),
            failures: Vec::new(),
        })
    }

    fn opened(&mut self) -> &mut Self {
        self.tell(Event::LinkOpened { link: self.link })
    }

    fn broke(&mut self, why: &str) -> &mut Self {
        self.tell(Event::LinkClosed {
            link: self.link,
            why: why.into(),
        })
    }

    fn packet(&mut self, frame: &[u8]) -> &mut Self {
        self.tell(Event::Received {
            link: self.link,
            packet: Bytes::copy_from_slice(&frame[4..]),
        })
    }

    fn handshake(&mut self, session: i64, timeout_ms: i32, read_only: bool) -> &mut Self {
        let mut frame = Vec::new();
        let response = ConnectResponse {
            timeout_ms,
            session: SessionId(session),
            password: [9; 16],
            read_only: Some(read_only),
        };
        response.encode_frame(&mut frame);
        self.packet(&frame)
    }

    fn accept(&mut self, session: i64, timeout_ms: i32) -> &mut Self {
        self.handshake(session, timeout_ms, false)
    }

    fn answer(&mut self, xid: i32, zxid: i64, err: ErrorCode) -> &mut Self {
        let mut frame = Vec::new();
        reply::header_only(&mut frame, xid, Zxid(zxid), err);
        self.packet(&frame)
    }

    fn ok(&mut self, xid: i32, zxid: i64) -> &mut Self {
        self.answer(xid, zxid, ErrorCode::OK)
    }

    fn event(&mut self, zxid: i64, event: EventType, path: &str) -> &mut Self {
        let mut frame = Vec::new();
        reply::watch_event(&mut frame, Zxid(zxid), event, path);
        self.packet(&frame)
    }

    fn submit(
        &mut self,
        id: u64,
        request: &Request<'_>,
        watch: Option<(u64, WatchedBy)>,
    ) -> &mut Self {
        let mut frame = Vec::new();
        request.encode_frame(&mut frame, 0);
        let path = match request {
            Request::Exists { path, .. }
            | Request::GetData { path, .. }
            | Request::GetChildren { path, .. }
            | Request::AddWatch {
                path: Some(path), ..
            } => path.clone().into_owned(),
            _ => String::new(),
        };
        let is_write = roo_proto::op_code::is_write(request.op());
        self.tell(Event::Submit(Call {
            id: CallId(id),
            frame: frame.into(),
            was_sent: false,
            on_loss: if is_write {
                OnLoss::Fail
            } else {
                OnLoss::Repeat
            },
            watch: watch.map(|(watcher, by)| {
                Box::new(NewWatch {
                    watcher: WatcherId(watcher),
                    by,
                    path,
                })
            }),
            unwatch: None,
            is_patient: false,
        }))
    }

    fn write(&mut self, id: u64) -> &mut Self {
        let request = Request::SetData {
            path: Some("/w".into()),
            data: None,
            version: -1,
        };
        self.submit(id, &request, None)
    }

    fn read(&mut self, id: u64) -> &mut Self {
        let request = Request::GetData {
            path: "/r".into(),
            watch: false,
        };
        self.submit(id, &request, None)
    }

    /// Goes on to the next deadline.
    fn wait(&mut self) -> u64 {
        let next = self.session.next_deadline().expect("a deadline");
        let waited = next.millis_since(self.now);
        self.now = self.now.max(next);
        self.tell(Event::DeadlineReached);
        waited
    }

    /// Lets time pass, stopping at each deadline.
    fn pass(&mut self, ms: u64) -> &mut Self {
        let end = Time(self.now.0 + ms);
        while let Some(next) = self.session.next_deadline()
            && next <= end
        {
            self.now = self.now.max(next);
            self.tell(Event::DeadlineReached);
        }
        self.now = end;
        self
    }

    fn said(&mut self) -> Vec<String> {
        std::mem::take(&mut self.lines)
    }

    fn note(&mut self) {
        for effect in std::mem::take(&mut self.effects) {
            let line = match effect {
                Effect::Resolve => "resolve".into(),
                Effect::OpenLink { link, address } => {
                    self.link = link;
                    self.tried.push(server(address));
                    "open".into()
                }
                Effect::Send { link, frame } => {
                    assert_eq!(link, self.link, "sent to a link that is not open");
                    describe(&frame, self.session.status.state)
                }
                Effect::CloseLink { link } if link == self.link => "close".into(),
                Effect::CloseLink { .. } => "give up probe".into(),
                Effect::Probe { probe, address } => {
                    self.probe = probe;
                    format!("probe {}", server(address))
                }
                Effect::Tell(notice) => told(notice),
            };
            self.lines.push(line);
        }
    }
}

fn told(notice: Notice) -> String {
    match notice {
        Notice::Completed {
            call,
            result,
            is_watching,
        } => {
            let watching = if is_watching { ", watching" } else { "" };
            match result {
                Ok(_) => format!("done {}{watching}", call.0),
                Err(Failure { why, sent }) => {
                    let why = match why {
                        Why::Refused { code, .. } => code.name().to_owned(),
                        other => format!("{other:?}"),
                    };
                    let sent = if sent { "" } else { ", not sent" };
                    format!("failed {} {why}{sent}{watching}", call.0)
                }
            }
        }
        Notice::Fired {
            watcher,
            kind,
            path,
            zxid,
            is_last,
        } => {
            let zxid = zxid.map(|zxid| format!(" at {zxid}")).unwrap_or_default();
            let last = if is_last { ", last" } else { "" };
            format!("watch {}: {kind:?} {path}{zxid}{last}", watcher.0)
        }
        Notice::WatchEnded { watcher, end } => format!("watch {} ended: {end:?}", watcher.0),
        Notice::Changed(status) => format!("{:?} {}", status.state, status.session),
    }
}

/// A frame in words.
fn describe(frame: &[u8], state: SessionState) -> String {
    let packet = &frame[4..];
    if !state.is_connected()
        && let Ok(connect) = ConnectRequest::decode(packet)
    {
        return format!(
            "send connect {} after {}",
            connect.session, connect.last_zxid_seen
        );
    }
    let (header, body) = RequestHeader::split(packet).expect("a header");
    let request = request::decode(header.op, body, usize::MAX).expect("a request");
    let what = match request {
        Request::SetData { .. } => "write".into(),
        Request::GetData { watch: false, .. } => "read".into(),
        Request::Auth { scheme, .. } => format!("auth {}", scheme.unwrap_or_default()),
        Request::SetWatches(w) => format!(
            "setWatches {:?} {:?} {:?} {:?} {:?} after 0x{:x}",
            w.data, w.exist, w.child, w.persistent, w.persistent_recursive, w.relative_zxid
        ),
        Request::RemoveWatches { path, kind } => {
            format!("removeWatches {kind} {}", path.unwrap_or_default())
        }
        Request::Ping => "ping".into(),
        Request::CloseSession => "closeSession".into(),
        other => format!("op {}", other.op()),
    };
    format!("send {}: {what}", header.xid)
}
