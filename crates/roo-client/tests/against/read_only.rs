//! Servers without a quorum, which are easier played than made.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use roo_client::{
    BackOff, Client, ErrorCode, ErrorKind, NodeKind, Options, SessionId, SessionState, Zxid,
};
use roo_proto::connect::ConnectResponse;
use roo_proto::op_code;
use roo_proto::reply;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use crate::server::{connect, soon};

/// A server that has a quorum or has none.
struct Player {
    address: SocketAddr,
    has_quorum: Arc<AtomicBool>,
}

impl Player {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let has_quorum = Arc::new(AtomicBool::new(false));
        let quorum = Arc::clone(&has_quorum);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(play(stream, Arc::clone(&quorum)));
            }
        });
        Self {
            address,
            has_quorum,
        }
    }
}

/// One connection: `isro`, or a handshake and refusals of writes.
async fn play(mut stream: TcpStream, has_quorum: Arc<AtomicBool>) -> Option<()> {
    let read_only = !has_quorum.load(Ordering::Relaxed);
    let mut first = [0; 4];
    stream.read_exact(&mut first).await.ok()?;
    if first == *b"isro" {
        let answer = if read_only { "ro" } else { "rw" };
        stream.write_all(answer.as_bytes()).await.ok()?;
        return None;
    }
    let mut packet = vec![0; u32::from_be_bytes(first) as usize];
    stream.read_exact(&mut packet).await.ok()?;
    let mut out = Vec::new();
    let response = ConnectResponse {
        timeout_ms: 30_000,
        session: SessionId(if read_only { 1 } else { 2 }),
        password: [0; 16],
        read_only: Some(read_only),
    };
    response.encode_frame(&mut out);
    loop {
        stream.write_all(&out).await.ok()?;
        out.clear();
        let length = stream.read_u32().await.ok()?;
        let mut packet = vec![0; length as usize];
        stream.read_exact(&mut packet).await.ok()?;
        let (header, _) = roo_proto::request::RequestHeader::split(&packet)?;
        let refused = read_only && op_code::is_write(header.op);
        let code = if refused {
            ErrorCode::NOT_READ_ONLY
        } else {
            ErrorCode::NO_NODE
        };
        reply::header_only(&mut out, header.xid, Zxid(1), code);
    }
}

#[tokio::test]
async fn a_server_without_a_quorum_serves_until_one_with_it_is_found() {
    let (first, second) = (Player::start().await, Player::start().await);
    let hosts = format!("{},{}", first.address, second.address);
    let options = Options {
        read_only: true,
        back_off: BackOff {
            first: Duration::from_millis(10),
            max: Duration::from_millis(50),
        },
        ..Options::default()
    };
    let client = connect(&hosts, options).await;
    assert_eq!(client.state(), SessionState::ConnectedReadOnly);
    assert_eq!(client.exists("/a").await.unwrap(), None);
    let error = client
        .create("/a", "", NodeKind::Persistent)
        .await
        .unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NotReadOnly);
    assert!(error.is_retryable() && !error.outcome_unknown());
    let mut states = client.session_events();
    let other = if client.server() == Some(first.address) {
        &second
    } else {
        &first
    };
    other.has_quorum.store(true, Ordering::Relaxed);
    assert_eq!(soon(states.next()).await, Some(SessionState::Disconnected));
    assert_eq!(soon(states.next()).await, Some(SessionState::Connected));
    assert_eq!(client.server(), Some(other.address));
    assert_eq!(client.session_id(), SessionId(2));
}

#[tokio::test]
async fn who_wants_to_write_does_not_take_a_server_without_a_quorum() {
    let player = Player::start().await;
    let options = Options {
        first_connection_wait: Duration::from_millis(300),
        ..Options::default()
    };
    let error = soon(Client::connect(&player.address.to_string(), options)).await;
    let text = error.unwrap_err().to_string();
    assert!(text.contains("read-only"), "{text}");
}
