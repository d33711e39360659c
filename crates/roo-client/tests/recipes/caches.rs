//! Configuration in memory.

use roo_client::recipes::{CacheLimits, ChangeKind, ConfigCache, ConfigWatcher};
use roo_client::{Multi, NodeKind, Version};

use crate::stage::{Stage, soon};

#[tokio::test]
async fn a_cache_follows_its_tree() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let mut cache = ConfigCache::open(&clients[0], "/config").await.unwrap();
    assert!(cache.tree().is_empty());
    let writer = &clients[1];
    writer
        .create("/config", "", NodeKind::Persistent)
        .await
        .unwrap();
    writer
        .create("/config/a", "1", NodeKind::Persistent)
        .await
        .unwrap();
    writer
        .create("/config/a/b", "2", NodeKind::Persistent)
        .await
        .unwrap();
    while cache.tree().len() < 3 {
        soon(cache.changed()).await.unwrap();
    }
    let before = cache.tree();
    assert_eq!(before.data("/config/a/b").unwrap(), "2");
    assert_eq!(before.children("/config").collect::<Vec<_>>(), ["a"]);
    assert_eq!(before.get("/config").unwrap().stat.num_children, 1);
    writer.set("/config/a", "3", Version::Any).await.unwrap();
    let changes = soon(cache.changed()).await.unwrap();
    assert_eq!(
        (changes[0].path.as_str(), changes[0].kind),
        ("/config/a", ChangeKind::Set)
    );
    assert_eq!(
        before.data("/config/a").unwrap(),
        "1",
        "a tree stays as it is"
    );
    writer.delete_all("/config").await.unwrap();
    while !cache.tree().is_empty() {
        soon(cache.changed()).await.unwrap();
    }
    assert!(cache.tree().as_of() > before.as_of());
}

#[tokio::test]
async fn no_tree_shows_half_of_a_set() {
    let stage = Stage::new();
    let (reader, relay) = stage.relayed().await;
    let writer = stage.client().await;
    writer
        .create("/set", "", NodeKind::Persistent)
        .await
        .unwrap();
    let names: Vec<String> = (0..10).map(|name| format!("/set/{name}")).collect();
    for name in &names {
        writer
            .create(name, "0", NodeKind::Persistent)
            .await
            .unwrap();
    }
    let mut cache = ConfigCache::open(&reader, "/set").await.unwrap();
    let write = async {
        for round in 1..=200 {
            let mut multi = Multi::new();
            for name in &names {
                multi = multi.set(name, round.to_string(), Version::Any);
            }
            writer.multi(multi).await.unwrap();
            if round % 50 == 0 {
                relay.cut();
            }
        }
    };
    let read = async {
        let mut last = 0;
        while last < 200 {
            let tree = cache.tree();
            let values: Vec<&[u8]> = names
                .iter()
                .map(|name| &tree.data(name).unwrap()[..])
                .collect();
            assert!(values.iter().all(|value| *value == values[0]), "{values:?}");
            let value: u32 = std::str::from_utf8(values[0]).unwrap().parse().unwrap();
            assert!(value >= last);
            last = value;
            if last < 200 {
                soon(cache.changed()).await.unwrap();
            }
        }
    };
    soon(async { tokio::join!(write, read) }).await;
}

#[tokio::test]
async fn what_changed_while_the_connection_was_lost_is_found() {
    let stage = Stage::new();
    let (reader, relay) = stage.relayed().await;
    let writer = stage.client().await;
    writer.create("/c", "", NodeKind::Persistent).await.unwrap();
    writer
        .create("/c/old", "", NodeKind::Persistent)
        .await
        .unwrap();
    let mut cache = ConfigCache::open(&reader, "/c").await.unwrap();
    let mut watcher = ConfigWatcher::new(&reader, "/c/new");
    assert!(watcher.next().await.unwrap().is_none());
    relay.cut();
    writer.delete("/c/old", Version::Any).await.unwrap();
    writer
        .create("/c/new", "x", NodeKind::Persistent)
        .await
        .unwrap();
    while cache.tree().data("/c/new").is_none() || cache.tree().get("/c/old").is_some() {
        soon(cache.changed()).await.unwrap();
    }
    assert_eq!(soon(watcher.next()).await.unwrap().unwrap().data, "x");
}

#[tokio::test]
async fn a_tree_over_the_limits_is_refused_and_read_when_it_fits() {
    let stage = Stage::new();
    let client = stage.client().await;
    client.create("/c", "", NodeKind::Persistent).await.unwrap();
    let limits = CacheLimits {
        nodes_max: 2,
        bytes_max: 10,
    };
    let mut cache = ConfigCache::open_with_limits(&client, "/c", limits)
        .await
        .unwrap();
    client
        .create("/c/a", "0123456789ab", NodeKind::Persistent)
        .await
        .unwrap();
    let error = soon(cache.changed()).await.unwrap_err();
    assert!(error.to_string().contains("10 bytes"), "{error}");
    client.set("/c/a", "x", Version::Any).await.unwrap();
    soon(cache.changed()).await.unwrap();
    assert_eq!(cache.tree().len(), 2);
}

#[tokio::test]
async fn a_cache_whose_session_is_lost_says_so_and_keeps_its_tree() {
    let stage = Stage::new();
    let client = stage.client().await;
    client
        .create("/c", "x", NodeKind::Persistent)
        .await
        .unwrap();
    let mut cache = ConfigCache::open(&client, "/c").await.unwrap();
    stage.kill(&client).await;
    let error = soon(cache.changed()).await.unwrap_err();
    assert!(error.session_lost(), "{error}");
    assert_eq!(cache.tree().data("/c").unwrap(), "x");
}

#[tokio::test]
async fn a_watcher_gives_the_last_of_many_changes() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let mut watcher = ConfigWatcher::new(&clients[0], "/file");
    assert!(watcher.next().await.unwrap().is_none());
    clients[1]
        .create("/file", "0", NodeKind::Persistent)
        .await
        .unwrap();
    assert_eq!(soon(watcher.next()).await.unwrap().unwrap().data, "0");
    for text in ["1", "2", "3"] {
        clients[1].set("/file", text, Version::Any).await.unwrap();
    }
    let mut last = soon(watcher.next()).await.unwrap().unwrap();
    while last.data != "3" {
        last = soon(watcher.next()).await.unwrap().unwrap();
    }
    clients[1].delete("/file", Version::Any).await.unwrap();
    assert!(soon(watcher.next()).await.unwrap().is_none());
}
