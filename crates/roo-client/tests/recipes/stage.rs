//! A server, and clients of it.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use roo_client::{BackOff, Client, ErrorKind, Options};
use roo_proto::{jute, op_code};
use roo_server::config::ServerConfig;
use roo_server::node::Node;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::relay::Relay;

/// Nothing that a test waits for takes so long.
const DEADLINE: Duration = Duration::from_secs(60);

/// See the module.
pub(crate) struct Stage {
    node: Option<Node>,
    address: SocketAddr,
    _dir: tempfile::TempDir,
}

impl Stage {
    pub(crate) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let config = ServerConfig {
            client_address: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            data_dir: dir.path().to_path_buf(),
            data_log_dir: dir.path().to_path_buf(),
            io_threads: 1,
            pre_alloc_size: 0,
            ..ServerConfig::default()
        };
        let node = Node::start(config).unwrap();
        Self {
            address: node.address().unwrap(),
            node: Some(node),
            _dir: dir,
        }
    }

    /// A session on a connection of its own.
    pub(crate) async fn client(&self) -> Client {
        connect(self.address).await
    }

    pub(crate) async fn clients(&self, count: usize) -> Vec<Client> {
        let mut clients = Vec::new();
        for _ in 0..count {
            clients.push(self.client().await);
        }
        clients
    }

    /// A session behind a relay.
    pub(crate) async fn relayed(&self) -> (Client, Relay) {
        let relay = Relay::start(self.address).await;
        (connect(relay.address).await, relay)
    }

    /// Ends a session, as its expiry does, without its client's doing.
    pub(crate) async fn kill(&self, client: &Client) {
        let known = client.credentials();
        let mut handshake = Vec::new();
        jute::put_i32(&mut handshake, 0);
        jute::put_i64(&mut handshake, 0);
        jute::put_i32(&mut handshake, 30_000);
        jute::put_i64(&mut handshake, known.session.0);
        jute::put_buffer(&mut handshake, Some(&known.password));
        let mut end = Vec::new();
        jute::put_i32(&mut end, 1);
        jute::put_i32(&mut end, op_code::CLOSE_SESSION);
        let mut both = Vec::new();
        for packet in [handshake, end] {
            jute::put_buffer(&mut both, Some(&packet));
        }
        // The client comes back at once for its session, and may be faster. Two answers are the
        // end, and so is one that names no session.
        let is_over = |answers: &[u8]| answers.len() > 44 || answers.get(12..20) == Some(&[0; 8]);
        let mut answers = Vec::new();
        while !is_over(&answers) {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(&both).await.unwrap();
            answers.clear();
            let _ = stream.read_to_end(&mut answers).await;
        }
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(node) = self.node.take() {
            node.stop();
        }
    }
}

fn options() -> Options {
    Options {
        session_timeout: Duration::from_secs(30),
        back_off: BackOff {
            first: Duration::from_millis(1),
            max: Duration::from_millis(20),
        },
        ..Options::default()
    }
}

async fn connect(address: SocketAddr) -> Client {
    Client::connect(&address.to_string(), options())
        .await
        .unwrap()
}

/// Fails the test instead of waiting forever.
#[track_caller]
pub(crate) fn soon<T>(what: impl Future<Output = T>) -> impl Future<Output = T> {
    let place = std::panic::Location::caller();
    async move {
        let waited = tokio::time::timeout(DEADLINE, what).await;
        waited.unwrap_or_else(|_| panic!("nothing happened for {DEADLINE:?} at {place}"))
    }
}

/// Waits until so many children are below `path`.
pub(crate) async fn children(client: &Client, path: &str, count: usize) -> Vec<String> {
    soon(async {
        loop {
            match client.children_and_watch(path).await {
                Ok((children, _)) if children.names.len() == count => return children.names,
                Ok((_, watch)) => {
                    watch.await.unwrap();
                }
                Err(error) if *error.kind() == ErrorKind::NoNode && count == 0 => {
                    return Vec::new();
                }
                Err(error) if *error.kind() == ErrorKind::NoNode => {
                    let (present, watch) = client.exists_and_watch(path).await.unwrap();
                    if present.is_none() {
                        watch.await.unwrap();
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
    })
    .await
}
