use roo_client::{
    EventKind, NodeKind, Options, SessionState, Version, WatchEnd, WatchKind, WatchMode, Zxid,
};

use crate::server::{Relay, Server, Way, connect, soon};

#[tokio::test]
async fn one_shot_watches_fire_once() {
    let server = Server::start();
    let (client, other) = (server.client().await, server.client().await);
    let (absent, created) = client.exists_and_watch("/a").await.unwrap();
    assert_eq!(absent, None);
    let made = other.create("/a", "1", NodeKind::Persistent).await.unwrap();
    let event = soon(created).await.unwrap();
    assert_eq!(
        (event.kind, event.path.as_str()),
        (EventKind::Created, "/a")
    );
    assert_eq!(event.zxid, Some(made.zxid));
    let (node, changed) = client.get_and_watch("/a").await.unwrap();
    assert_eq!(node.data, "1");
    let (children, born) = client.children_and_watch("/a").await.unwrap();
    assert!(children.names.is_empty());
    other
        .create("/a/b", "", NodeKind::Persistent)
        .await
        .unwrap();
    assert_eq!(soon(born).await.unwrap().kind, EventKind::ChildrenChanged);
    let stat = other.set("/a", "2", Version::Any).await.unwrap();
    let event = soon(changed).await.unwrap();
    assert_eq!(event.kind, EventKind::DataChanged);
    assert_eq!(event.zxid, Some(Zxid(stat.mzxid)));
    let (_, gone) = client.exists_and_watch("/a/b").await.unwrap();
    other.delete_all("/a").await.unwrap();
    assert_eq!(soon(gone).await.unwrap().kind, EventKind::Deleted);
}

#[tokio::test]
async fn no_watch_is_left_by_a_call_that_fails_or_a_watch_that_is_dropped() {
    let server = Server::start();
    let client = server.client().await;
    assert!(client.get_and_watch("/absent").await.is_err());
    drop(client.exists_and_watch("/absent").await.unwrap());
    drop(client.children_and_watch("/").await.unwrap());
    drop(client.watch("/x", WatchMode::Persistent).await.unwrap());
    drop(
        client
            .watch("/y", WatchMode::PersistentRecursive)
            .await
            .unwrap(),
    );
    server.wait_for_metric("watch_count", "0").await;
}

#[tokio::test]
async fn a_recursive_stream_tells_everything_below_in_order() {
    let server = Server::start();
    let hosts = format!("{}/app", server.address);
    let client = connect(&hosts, Options::default()).await;
    client.create("/", "", NodeKind::Persistent).await.unwrap();
    let mut stream = client
        .watch("/", WatchMode::PersistentRecursive)
        .await
        .unwrap();
    client.create("/a", "", NodeKind::Persistent).await.unwrap();
    client
        .create("/a/b", "", NodeKind::Persistent)
        .await
        .unwrap();
    client.set("/a", "x", Version::Any).await.unwrap();
    client.delete("/a/b", Version::Any).await.unwrap();
    let mut told = Vec::new();
    for _ in 0..4 {
        let event = soon(stream.next()).await.unwrap();
        told.push((event.kind, event.path));
    }
    let expected = [
        (EventKind::Created, "/a"),
        (EventKind::Created, "/a/b"),
        (EventKind::DataChanged, "/a"),
        (EventKind::Deleted, "/a/b"),
    ];
    assert_eq!(told, expected.map(|(kind, path)| (kind, path.to_owned())));
    assert_eq!(stream.try_next(), None);
    assert_eq!(stream.end(), None);
    client.close().await.unwrap();
    assert_eq!(soon(stream.next()).await, None);
    assert_eq!(stream.end(), Some(WatchEnd::Closed));
}

#[tokio::test]
async fn removed_watches_say_so() {
    let server = Server::start();
    let client = server.client().await;
    let (_, one) = client.exists_and_watch("/a").await.unwrap();
    let mut stream = client.watch("/a", WatchMode::Persistent).await.unwrap();
    client
        .remove_watches("/a", WatchKind::Persistent)
        .await
        .unwrap();
    assert_eq!(soon(stream.next()).await, None);
    assert_eq!(stream.end(), Some(WatchEnd::Removed));
    client.remove_watches("/a", WatchKind::Any).await.unwrap();
    assert_eq!(soon(one).await, Err(WatchEnd::Removed));
    assert!(client.remove_watches("/a", WatchKind::Any).await.is_err());
}

#[tokio::test]
async fn watches_live_through_a_lost_connection() {
    let server = Server::start();
    let relay = Relay::start(server.address).await;
    let client = connect(&relay.address.to_string(), Options::default()).await;
    let other = server.client().await;
    other.create("/a", "", NodeKind::Persistent).await.unwrap();
    let (_, changed) = client.get_and_watch("/a").await.unwrap();
    let (_, created) = client.exists_and_watch("/b").await.unwrap();
    let (_, later) = client.children_and_watch("/a").await.unwrap();
    let mut stream = client
        .watch("/a", WatchMode::PersistentRecursive)
        .await
        .unwrap();
    let mut states = client.session_events();
    relay.set(Way::Cut);
    assert_eq!(soon(states.next()).await, Some(SessionState::Disconnected));
    other.set("/a", "missed", Version::Any).await.unwrap();
    other.create("/b", "", NodeKind::Persistent).await.unwrap();
    relay.set(Way::Open);
    assert_eq!(soon(states.next()).await, Some(SessionState::Connected));
    let event = soon(changed).await.unwrap();
    assert_eq!((event.kind, event.zxid), (EventKind::DataChanged, None));
    assert_eq!(soon(created).await.unwrap().kind, EventKind::Created);
    assert_eq!(soon(stream.next()).await.unwrap().kind, EventKind::Gap);
    other
        .create("/a/c", "", NodeKind::Persistent)
        .await
        .unwrap();
    assert_eq!(soon(later).await.unwrap().kind, EventKind::ChildrenChanged);
    assert_eq!(soon(stream.next()).await.unwrap().path, "/a/c");
}

#[tokio::test]
async fn a_stream_that_nobody_reads_ends() {
    let server = Server::start();
    let client = server.client_with(Options {
        watch_buffer_max: 3,
        ..Options::default()
    });
    let client = client.await;
    let mut stream = client
        .watch("/a", WatchMode::PersistentRecursive)
        .await
        .unwrap();
    for _ in 0..3 {
        client.create("/a", "", NodeKind::Persistent).await.unwrap();
        client.delete("/a", Version::Any).await.unwrap();
    }
    assert_eq!(stream.end(), Some(WatchEnd::Lagged));
    for _ in 0..3 {
        assert!(soon(stream.next()).await.is_some());
    }
    assert_eq!(soon(stream.next()).await, None);
    server.wait_for_metric("watch_count", "0").await;
}
