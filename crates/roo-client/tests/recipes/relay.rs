//! Stands between a client and a server and loses what a test wants lost: a request before the
//! server sees it, or the reply to one that took effect. Knows frames, xids and operations.

use std::collections::{HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use roo_proto::op_code;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, JoinSet};

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// The server never sees it, and the connection breaks.
    RequestLost,
    /// It takes effect, and the connection breaks in place of the reply.
    ReplyLost,
    /// It takes effect, and its reply and all behind it wait for [`Relay::let_go`].
    ReplyHeld,
}

#[derive(Debug, Default)]
struct Plan {
    /// The next request of an operation has a fate.
    next: VecDeque<(i32, Fate)>,
    /// Every so many writes one is lost, its request and its reply by turns.
    storm: Option<u64>,
    writes: u64,
    cuts: u64,
    connections: Vec<AbortHandle>,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    held: watch::Sender<bool>,
    listening: AbortHandle,
}

impl Relay {
    pub(crate) async fn start(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let plan: Arc<Mutex<Plan>> = Arc::default();
        let (held, _) = watch::channel(true);
        let (shared, gate) = (Arc::clone(&plan), held.clone());
        let listening = tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                let (plan, gate) = (Arc::clone(&shared), gate.subscribe());
                let task = tokio::spawn(serve(stream, server, Arc::clone(&plan), gate));
                plan.lock().unwrap().connections.push(task.abort_handle());
            }
        });
        Self {
            address,
            plan,
            held,
            listening: listening.abort_handle(),
        }
    }

    /// The next request of this operation has this fate; further ones are kept in order.
    pub(crate) fn next(&self, op: i32, fate: Fate) {
        self.plan.lock().unwrap().next.push_back((op, fate));
    }

    /// Loses one of so many writes.
    pub(crate) fn storm(&self, every: u64) {
        self.plan.lock().unwrap().storm = Some(every);
    }

    /// How often a connection was cut by a fate.
    pub(crate) fn cuts(&self) -> u64 {
        self.plan.lock().unwrap().cuts
    }

    /// Breaks all connections.
    pub(crate) fn cut(&self) {
        for connection in self.plan.lock().unwrap().connections.drain(..) {
            connection.abort();
        }
    }

    /// Lets replies go that were held.
    pub(crate) fn let_go(&self) {
        self.held.send_replace(false);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.listening.abort();
        self.cut();
    }
}

impl Plan {
    fn decide(&mut self, op: i32) -> Option<Fate> {
        if self.next.front().is_some_and(|(next, _)| *next == op) {
            return self.next.pop_front().map(|(_, fate)| fate);
        }
        let every = self.storm?;
        if !op_code::is_write(op) || op == op_code::CLOSE_SESSION {
            return None;
        }
        self.writes += 1;
        if !self.writes.is_multiple_of(every) {
            return None;
        }
        let is_even = (self.writes / every).is_multiple_of(2);
        Some(if is_even {
            Fate::RequestLost
        } else {
            Fate::ReplyLost
        })
    }
}

type Fates = Arc<Mutex<HashMap<i32, Fate>>>;

async fn serve(
    stream: TcpStream,
    server: SocketAddr,
    plan: Arc<Mutex<Plan>>,
    gate: watch::Receiver<bool>,
) {
    let Ok(other) = TcpStream::connect(server).await else {
        return;
    };
    stream.set_nodelay(true).unwrap();
    other.set_nodelay(true).unwrap();
    let (client_read, client_write) = stream.into_split();
    let (server_read, server_write) = other.into_split();
    let fates = Fates::default();
    // Whichever direction ends first takes the other with it.
    let mut directions = JoinSet::new();
    directions.spawn(up(
        client_read,
        server_write,
        Arc::clone(&plan),
        Arc::clone(&fates),
    ));
    directions.spawn(down(server_read, client_write, plan, fates, gate));
    directions.join_next().await;
}

async fn frame(from: &mut OwnedReadHalf) -> Option<Vec<u8>> {
    let length = from.read_u32().await.ok()?;
    let mut frame = length.to_be_bytes().to_vec();
    frame.resize(4 + usize::try_from(length).unwrap(), 0);
    from.read_exact(&mut frame[4..]).await.ok()?;
    Some(frame)
}

fn int(frame: &[u8], at: usize) -> i32 {
    let bytes = frame
        .get(at..at + 4)
        .and_then(|bytes| bytes.try_into().ok());
    bytes.map_or(0, i32::from_be_bytes)
}

async fn up(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: Arc<Mutex<Plan>>,
    fates: Fates,
) -> Option<()> {
    let handshake = frame(&mut from).await?;
    to.write_all(&handshake).await.ok()?;
    loop {
        let request = frame(&mut from).await?;
        let (xid, op) = (int(&request, 4), int(&request, 8));
        let fate = plan.lock().unwrap().decide(op);
        if fate == Some(Fate::RequestLost) {
            plan.lock().unwrap().cuts += 1;
            return None;
        }
        if let Some(fate) = fate {
            fates.lock().unwrap().insert(xid, fate);
        }
        to.write_all(&request).await.ok()?;
    }
}

async fn down(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    plan: Arc<Mutex<Plan>>,
    fates: Fates,
    mut gate: watch::Receiver<bool>,
) -> Option<()> {
    let handshake = frame(&mut from).await?;
    to.write_all(&handshake).await.ok()?;
    loop {
        let reply = frame(&mut from).await?;
        let fate = fates.lock().unwrap().remove(&int(&reply, 4));
        match fate {
            Some(Fate::ReplyLost) => {
                plan.lock().unwrap().cuts += 1;
                return None;
            }
            Some(Fate::ReplyHeld) => {
                gate.wait_for(|held| !held).await.ok()?;
            }
            Some(Fate::RequestLost) | None => {}
        }
        to.write_all(&reply).await.ok()?;
    }
}
