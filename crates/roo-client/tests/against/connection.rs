use std::time::Duration;

use roo_client::{Client, ErrorKind, NodeKind, Options, SessionState, Version, WatchEnd};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpListener;

use crate::server::{Relay, Server, Way, connect, soon};

fn hasty() -> Options {
    Options {
        first_connection_wait: Duration::from_millis(300),
        ..Options::default()
    }
}

#[test]
fn proofs_of_identities_are_not_shown() {
    let options = Options {
        auth: vec![("digest".into(), b"ann:secret".to_vec())],
        ..Options::default()
    };
    let shown = format!("{options:?}");
    let bytes = format!("{:?}", b"ann:secret");
    assert!(shown.contains("digest") && !shown.contains("secret") && !shown.contains(&bytes));
}

#[tokio::test]
async fn who_speaks_something_else_is_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let web = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
        }
    });
    let error = soon(Client::connect(&address.to_string(), Options::default())).await;
    let error = error.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::NotZooKeeper(_)));
    let text = error.to_string();
    assert!(
        text.contains("HTTP/1.1") && text.contains(&address.to_string()),
        "{text}"
    );
    assert!(!text.contains('\n'));
    web.abort();
}

#[tokio::test]
async fn hosts_that_do_not_answer_are_named() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let closed = listener.local_addr().unwrap();
    drop(listener);
    let hosts = format!("{closed},no-such-host.invalid:2181");
    let error = soon(Client::connect(&hosts, hasty())).await.unwrap_err();
    let text = error.to_string();
    assert!(matches!(error.kind(), ErrorKind::Unreachable(_)), "{text}");
    assert!(text.contains(&closed.to_string()), "{text}");
    assert!(text.contains("no-such-host.invalid"), "{text}");
    let error = Client::connect("a:b", hasty()).await.unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::BadConnectString(_)));
}

#[tokio::test]
async fn a_host_that_is_down_does_not_matter_while_another_is_up() {
    let server = Server::start();
    let hosts = format!("127.0.0.1:1,{},127.0.0.1:2", server.address);
    for _ in 0..5 {
        let client = connect(&hosts, Options::default()).await;
        assert_eq!(client.server(), Some(server.address));
        assert_eq!(client.state(), SessionState::Connected);
    }
}

#[tokio::test]
async fn a_refused_identity_is_told_by_connect() {
    let server = Server::start();
    let options = Options {
        auth: vec![("nonsense".into(), Vec::new())],
        ..Options::default()
    };
    let client = soon(Client::connect(&server.address.to_string(), options)).await;
    // The session may be told of before the refusal comes.
    let error = match client {
        Err(error) => error,
        Ok(client) => soon(client.get("/")).await.unwrap_err(),
    };
    assert_eq!(*error.kind(), ErrorKind::AuthFailed);
}

#[tokio::test]
async fn reads_wait_for_the_next_connection_and_writes_fail() {
    let server = Server::start();
    let mut relay = Relay::start(server.address).await;
    let client = connect(&relay.address.to_string(), Options::default()).await;
    let id = client.session_id();
    let mut states = client.session_events();
    relay.stall().await;
    let write = tokio::spawn({
        let client = client.clone();
        async move { client.create("/w", "", NodeKind::Persistent).await }
    });
    let read = tokio::spawn({
        let client = client.clone();
        async move { client.exists("/").await }
    });
    // Whoever waits for a place in line is behind the two.
    let close_by = client.exists("/");
    tokio::pin!(close_by);
    assert!(futures_util::poll!(&mut close_by).is_pending());
    relay.set(Way::Cut);
    assert_eq!(soon(states.next()).await, Some(SessionState::Disconnected));
    let error = soon(write).await.unwrap().unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::ConnectionLoss);
    assert!(error.is_retryable() && error.outcome_unknown() && !error.session_lost());
    assert!(error.to_string().contains("not known"), "{error}");
    relay.set(Way::Open);
    assert!(soon(read).await.unwrap().unwrap().is_some());
    assert!(soon(close_by).await.unwrap().is_some());
    assert_eq!(client.session_id(), id);
    assert_eq!(client.exists("/w").await.unwrap(), None);
}

#[tokio::test]
async fn a_lost_session_ends_everything() {
    let server = Server::start();
    let relay = Relay::start(server.address).await;
    let options = Options {
        session_timeout: Duration::from_millis(300),
        ..Options::default()
    };
    let client = connect(&relay.address.to_string(), options).await;
    let other = server.client().await;
    client.create("/e", "", NodeKind::Ephemeral).await.unwrap();
    let (_, gone) = other.exists_and_watch("/e").await.unwrap();
    let (_, watch) = client.exists_and_watch("/x").await.unwrap();
    let mut states = client.session_events();
    relay.set(Way::Cut);
    let waiting = client.get("/e");
    let waiting = soon(waiting).await.unwrap_err();
    assert!(waiting.session_lost());
    assert_eq!(*waiting.kind(), ErrorKind::SessionExpired);
    assert_eq!(soon(states.next()).await, Some(SessionState::Disconnected));
    assert_eq!(soon(states.next()).await, Some(SessionState::Expired));
    assert_eq!(soon(states.next()).await, None);
    assert_eq!(soon(watch).await, Err(WatchEnd::SessionExpired));
    assert!(soon(gone).await.is_ok());
    assert!(
        client
            .create("/y", "", NodeKind::Ephemeral)
            .await
            .unwrap_err()
            .session_lost()
    );
    assert!(client.close().await.is_ok());
    assert_eq!(client.state(), SessionState::Expired);
}

#[tokio::test]
async fn a_session_goes_on_in_another_client() {
    let server = Server::start();
    let first = server.client().await;
    first.create("/e", "", NodeKind::Ephemeral).await.unwrap();
    let credentials = first.credentials();
    assert!(!format!("{credentials:?}").contains("password"));
    let second = server.client_with(Options {
        credentials: Some(credentials),
        ..Options::default()
    });
    let second = second.await;
    assert_eq!(second.session_id(), first.session_id());
    assert_eq!(soon(second.ephemerals("/")).await.unwrap(), ["/e"]);
    soon(second.close()).await.unwrap();
    let hosts = server.address.to_string();
    let third = Client::connect(
        &hosts,
        Options {
            credentials: Some(credentials),
            ..Options::default()
        },
    );
    let error = soon(third).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::SessionExpired);
}

#[tokio::test]
async fn the_last_client_dropped_closes_the_session() {
    let server = Server::start();
    let client = server.client().await;
    let other = server.client().await;
    client.create("/e", "", NodeKind::Ephemeral).await.unwrap();
    let (_, gone) = other.exists_and_watch("/e").await.unwrap();
    let clone = client.clone();
    drop(client);
    assert!(clone.exists("/e").await.unwrap().is_some());
    drop(clone);
    assert!(soon(gone).await.is_ok());
}

#[tokio::test]
async fn a_closed_client_says_so() {
    let server = Server::start();
    let client = server.client().await;
    client.close().await.unwrap();
    client.close().await.unwrap();
    let error = client.get("/").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::Closed);
    assert!(error.session_lost() && !error.outcome_unknown());
    assert_eq!(client.state(), SessionState::Closed);
    assert_eq!(client.session_events().next().await, None);
}

#[tokio::test]
async fn no_more_calls_than_allowed_are_under_way() {
    let server = Server::start();
    let mut relay = Relay::start(server.address).await;
    let options = Options {
        in_flight_max: 2,
        ..Options::default()
    };
    let client = connect(&relay.address.to_string(), options).await;
    relay.stall().await;
    let mut first = Box::pin(client.create("/1", "", NodeKind::Persistent));
    let mut second = Box::pin(client.create("/2", "", NodeKind::Persistent));
    let mut third = Box::pin(client.create("/3", "", NodeKind::Persistent));
    assert!(futures_util::poll!(&mut first).is_pending());
    assert!(futures_util::poll!(&mut second).is_pending());
    assert!(futures_util::poll!(&mut third).is_pending());
    let mut states = client.session_events();
    relay.set(Way::Cut);
    assert_eq!(soon(states.next()).await, Some(SessionState::Disconnected));
    relay.set(Way::Open);
    let lost = |error: roo_client::Error| *error.kind() == ErrorKind::ConnectionLoss;
    assert!(lost(soon(first).await.unwrap_err()) && lost(soon(second).await.unwrap_err()));
    assert_eq!(soon(third).await.unwrap().path, "/3");
}

#[tokio::test]
async fn a_call_takes_no_longer_than_allowed() {
    let server = Server::start();
    let mut relay = Relay::start(server.address).await;
    let options = Options {
        request_timeout: Some(Duration::from_millis(200)),
        ..Options::default()
    };
    let client = connect(&relay.address.to_string(), options).await;
    client.create("/a", "", NodeKind::Persistent).await.unwrap();
    relay.stall().await;
    let error = soon(client.set("/a", "1", Version::Any)).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::TimedOut);
    assert!(error.outcome_unknown() && error.is_retryable());
}

#[tokio::test]
async fn deletes_that_nobody_waits_for_are_done_over_connections() {
    let server = Server::start();
    let relay = Relay::start(server.address).await;
    let client = connect(&relay.address.to_string(), Options::default()).await;
    let other = server.client().await;
    for path in ["/d", "/p", "/p/x-token-1", "/p/y-token-2", "/p/z"] {
        other.create(path, "", NodeKind::Persistent).await.unwrap();
    }
    let mut states = client.session_events();
    relay.set(Way::Cut);
    assert_eq!(soon(states.next()).await, Some(SessionState::Disconnected));
    client.delete_detached("/d");
    client.delete_children_detached("/p", "token");
    let (_, gone) = other.exists_and_watch("/p/y-token-2").await.unwrap();
    relay.set(Way::Open);
    assert!(soon(gone).await.is_ok());
    // Whoever closes first has them done.
    soon(client.close()).await.unwrap();
    assert_eq!(other.exists("/d").await.unwrap(), None);
    assert_eq!(other.children("/p").await.unwrap().names, ["z"]);
}
