//! The client without a runtime: a driver of a test's own, which plays the server too.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use roo_client::session::{Effect, Event, LinkId, Session};
use roo_client::{
    Client, Error, ErrorCode, ErrorKind, Hub, Options, SessionId, SessionState, Zxid, hosts,
};
use roo_proto::connect::ConnectResponse;
use roo_proto::ids::Time;
use roo_proto::reply;
use roo_proto::request::RequestHeader;

/// Sits between a client and its session, and answers every request with NONODE.
struct Driver {
    hub: Hub,
    session: Session,
    effects: Vec<Effect>,
    now: Time,
}

impl Driver {
    fn new(options: Options) -> (Client, Self) {
        let hosts = hosts::parse("one").unwrap();
        let (client, hub) = Client::detached(&hosts, &options);
        let mut effects = Vec::new();
        let session = Session::new(options, 1, Time(0), &mut effects);
        let driver = Self {
            hub,
            session,
            effects,
            now: Time(0),
        };
        (client, driver)
    }

    fn tell(&mut self, event: Event) {
        self.session.handle(self.now, event, &mut self.effects);
    }

    fn packet(&mut self, link: LinkId, frame: &[u8]) {
        let packet = roo_client::Bytes::copy_from_slice(&frame[4..]);
        self.tell(Event::Received { link, packet });
    }

    fn on_frame(&mut self, link: LinkId, frame: &[u8]) {
        let mut out = Vec::new();
        if self.session.status().state.is_connected() {
            let (header, _) = RequestHeader::split(&frame[4..]).unwrap();
            reply::header_only(&mut out, header.xid, Zxid(1), ErrorCode::NO_NODE);
        } else {
            let response = ConnectResponse {
                timeout_ms: 30_000,
                session: SessionId(5),
                password: [0; 16],
                read_only: Some(false),
            };
            response.encode_frame(&mut out);
        }
        self.packet(link, &out);
    }

    /// Does all there is to do.
    fn turn(&mut self) {
        loop {
            while let Some(event) = self.hub.try_next() {
                self.tell(event);
            }
            if self.effects.is_empty() {
                return;
            }
            for effect in std::mem::take(&mut self.effects) {
                match effect {
                    Effect::Resolve => self.tell(Event::Resolved {
                        places: vec!["10.0.0.1:2181".parse::<SocketAddr>().unwrap().into()],
                        failures: Vec::new(),
                    }),
                    Effect::OpenLink { link, .. } => self.tell(Event::LinkOpened { link }),
                    Effect::Send { link, frame } => self.on_frame(link, &frame),
                    Effect::Tell(notice) => self.hub.tell(notice),
                    Effect::CloseLink { .. } | Effect::Probe { .. } => {}
                }
            }
        }
    }
}

/// Polls once.
fn poll<T>(future: impl Future<Output = T>) -> Poll<T> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

#[test]
fn calls_need_no_runtime() {
    let (client, mut driver) = Driver::new(Options::default());
    let mut call = pin!(client.get("/a"));
    let mut cx = Context::from_waker(Waker::noop());
    assert!(call.as_mut().poll(&mut cx).is_pending());
    driver.turn();
    assert_eq!(client.state(), SessionState::Connected);
    let Poll::Ready(Err(error)) = call.as_mut().poll(&mut cx) else {
        panic!("no answer");
    };
    assert_eq!(*error.kind(), ErrorKind::NoNode);
    assert!(matches!(poll(client.connected()), Poll::Ready(Ok(()))));
}

#[test]
fn a_driver_that_is_dropped_leaves_a_closed_client() {
    let (client, mut driver) = Driver::new(Options::default());
    driver.turn();
    let mut states = client.session_events();
    let mut cx = Context::from_waker(Waker::noop());
    let mut stream = pin!(client.watch("/a", roo_client::WatchMode::Persistent));
    let mut call = pin!(client.get("/a"));
    assert!(call.as_mut().poll(&mut cx).is_pending());
    assert!(stream.as_mut().poll(&mut cx).is_pending());
    drop(driver);
    let closed = |error: &Error| *error.kind() == ErrorKind::Closed;
    assert!(matches!(call.as_mut().poll(&mut cx), Poll::Ready(Err(error)) if closed(&error)));
    assert!(matches!(poll(client.get("/b")), Poll::Ready(Err(error)) if closed(&error)));
    assert!(matches!(poll(client.close()), Poll::Ready(Ok(()))));
    assert_eq!(poll(states.next()), Poll::Ready(Some(SessionState::Closed)));
    assert_eq!(poll(states.next()), Poll::Ready(None));
}

#[test]
fn a_client_that_is_dropped_closes_its_session() {
    let (client, mut driver) = Driver::new(Options::default());
    driver.turn();
    drop(client);
    driver.turn();
    assert_eq!(driver.session.status().state, SessionState::Closed);
}
