//! A server for a test, and a relay in front of it whose connections can be cut.

use std::future::Future;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

use roo_client::{Client, Options};
use roo_server::config::ServerConfig;
use roo_server::node::Node;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

/// Nothing that a test waits for takes so long.
const DEADLINE: Duration = Duration::from_secs(20);

/// A server and its directory.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    _node: Node,
    _dir: TempDir,
}

impl Server {
    pub(crate) fn start() -> Self {
        Self::with(|_| {})
    }

    pub(crate) fn with(change: impl FnOnce(&mut ServerConfig)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut config = ServerConfig {
            client_address: Some(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0)),
            data_dir: dir.path().to_path_buf(),
            data_log_dir: dir.path().to_path_buf(),
            io_threads: 1,
            pre_alloc_size: 0,
            force_sync: false,
            tick_time_ms: 100,
            min_session_timeout_ms: 200,
            max_session_timeout_ms: 60_000,
            extended_types_enabled: true,
            enforce_quota: true,
            four_letter_words: vec!["*".into()],
            ..ServerConfig::default()
        };
        change(&mut config);
        let node = Node::start(config).unwrap();
        Self {
            address: node.address().unwrap(),
            _node: node,
            _dir: dir,
        }
    }

    pub(crate) async fn client(&self) -> Client {
        self.client_with(Options::default()).await
    }

    pub(crate) async fn client_with(&self, options: Options) -> Client {
        connect(&self.address.to_string(), options).await
    }

    /// Asks for a metric until it is `wanted`.
    pub(crate) async fn wait_for_metric(&self, name: &str, wanted: &str) {
        let until = Instant::now() + DEADLINE;
        loop {
            let mut stream = TcpStream::connect(self.address).await.unwrap();
            stream.write_all(b"mntr").await.unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).await.unwrap();
            let prefix = format!("zk_{name}\t");
            let value = answer.lines().find_map(|line| line.strip_prefix(&prefix));
            let value = value.unwrap_or_else(|| panic!("mntr does not show {name}"));
            if value == wanted {
                return;
            }
            assert!(Instant::now() < until, "{name} stays at {value}");
            tokio::task::yield_now().await;
        }
    }
}

pub(crate) async fn connect(hosts: &str, options: Options) -> Client {
    soon(Client::connect(hosts, options)).await.unwrap()
}

/// Waits, but not for ever.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("in time")
}

/// What a relay does with its connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    Open,
    /// Bytes of clients are taken and go nowhere.
    Stalled,
    /// Every connection is closed, and each new one at once.
    Cut,
}

/// A relay to a server.
pub(crate) struct Relay {
    pub(crate) address: SocketAddr,
    way: watch::Sender<Way>,
    stalled: watch::Receiver<u32>,
    task: JoinHandle<()>,
}

impl Relay {
    pub(crate) async fn start(to: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, seen) = watch::channel(Way::Open);
        let (sender, stalled) = watch::channel(0);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (seen, stalled) = (seen.clone(), sender.clone());
                connections.spawn(relay(client, to, seen, stalled));
            }
        });
        Self {
            address,
            way,
            stalled,
            task,
        }
    }

    pub(crate) fn set(&self, way: Way) {
        self.way.send_replace(way);
    }

    /// Stalls the one connection there is.
    pub(crate) async fn stall(&mut self) {
        self.stalled.borrow_and_update();
        self.set(Way::Stalled);
        soon(self.stalled.changed()).await.unwrap();
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn relay(
    mut client: TcpStream,
    to: SocketAddr,
    mut way: watch::Receiver<Way>,
    stalled: watch::Sender<u32>,
) {
    if *way.borrow() == Way::Cut {
        return;
    }
    let Ok(mut server) = TcpStream::connect(to).await else {
        return;
    };
    loop {
        let now = *way.borrow_and_update();
        match now {
            Way::Cut => return,
            Way::Open => tokio::select! {
                _ = copy_bidirectional(&mut client, &mut server) => return,
                _ = way.changed() => {}
            },
            Way::Stalled => {
                let mut bytes = [0; 4096];
                stalled.send_modify(|count| *count += 1);
                tokio::select! {
                    read = client.read(&mut bytes) => if matches!(read, Ok(0) | Err(_)) { return },
                    _ = way.changed() => {}
                }
            }
        }
    }
}
