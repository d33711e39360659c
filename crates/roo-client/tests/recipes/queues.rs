//! Queues: no item is lost, none comes from nowhere.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use roo_client::recipes::{Lost, Queue, QueueLayout};
use roo_client::{ErrorKind, Multi, NodeKind, Version};
use roo_proto::op_code;
use tokio::task::JoinSet;

use crate::relay::Fate;
use crate::stage::{Stage, children, soon};

const LAYOUTS: [QueueLayout; 4] = [
    QueueLayout::CuratorSimple,
    QueueLayout::Curator,
    QueueLayout::Kazoo,
    QueueLayout::KazooLocking,
];

#[tokio::test]
async fn items_come_in_the_order_in_which_they_were_put() {
    let stage = Stage::new();
    let client = stage.client().await;
    for layout in LAYOUTS {
        let queue = Queue::with_layout(&client, &format!("/{layout:?}"), layout);
        queue.put_all(&["a", "b"]).await.unwrap();
        queue.put("c").await.unwrap();
        assert_eq!(queue.len().await.unwrap(), 3);
        let first = queue.take().await.unwrap();
        assert_eq!(first.data(), "a");
        assert_eq!(queue.pop().await.unwrap(), ["b"], "a is taken");
        first.put_back().await.unwrap();
        let first = queue.take().await.unwrap();
        assert_eq!(first.data(), "a");
        first.done().await.unwrap();
        queue
            .try_take()
            .await
            .unwrap()
            .unwrap()
            .done()
            .await
            .unwrap();
        assert!(queue.try_take().await.unwrap().is_none());
        assert!(queue.is_empty().await.unwrap());
    }
}

#[tokio::test]
async fn priorities_go_before_order() {
    let stage = Stage::new();
    let client = stage.client().await;
    let queue = Queue::with_layout(&client, "/q", QueueLayout::Kazoo);
    queue.put("usual").await.unwrap();
    queue.put_with_priority(&["urgent"], 1).await.unwrap();
    assert_eq!(queue.pop().await.unwrap(), ["urgent"]);
    assert!(queue.put_with_priority(&["x"], 1000).await.is_err());
}

#[tokio::test]
async fn popping_gives_each_item_once_while_connections_break() {
    const EACH: usize = 15;
    let stage = Stage::new();
    let mut tasks = JoinSet::new();
    let found: Arc<Mutex<BTreeMap<String, usize>>> = Arc::default();
    for every in 2..5 {
        let (producer, first) = stage.relayed().await;
        let (consumer, second) = stage.relayed().await;
        first.storm(every);
        second.storm(every + 1);
        tasks.spawn(async move {
            let queue = Queue::new(&producer, "/q");
            for item in 0..EACH {
                queue.put(format!("{every}-{item}")).await.unwrap();
            }
            assert!(first.cuts() > 2);
        });
        let found = Arc::clone(&found);
        tasks.spawn(async move {
            let queue = Queue::new(&consumer, "/q");
            for _ in 0..EACH {
                for data in queue.pop().await.unwrap() {
                    let text = String::from_utf8(data.to_vec()).unwrap();
                    *found.lock().unwrap().entry(text).or_default() += 1;
                }
            }
            assert!(second.cuts() > 2);
        });
    }
    soon(async { while tasks.join_next().await.transpose().unwrap().is_some() {} }).await;
    let found = found.lock().unwrap();
    assert_eq!(found.len(), 3 * EACH);
    assert!(found.values().all(|times| *times == 1), "{found:?}");
}

#[tokio::test]
async fn taking_finishes_each_item_once_while_connections_break() {
    const EACH: usize = 10;
    let stage = Stage::new();
    let producer = stage.client().await;
    let items: Vec<String> = (0..3 * EACH).map(|item| item.to_string()).collect();
    Queue::new(&producer, "/q").put_all(&items).await.unwrap();
    let mut tasks = JoinSet::new();
    for every in 2..5 {
        let (client, relay) = stage.relayed().await;
        relay.storm(every);
        tasks.spawn(async move {
            let queue = Queue::new(&client, "/q");
            let mut found = Vec::new();
            for _ in 0..EACH {
                let item = queue.take().await.unwrap();
                found.push(item.data());
                item.done().await.unwrap();
            }
            drop(relay);
            found
        });
    }
    let mut found = Vec::new();
    soon(async {
        while let Some(some) = tasks.join_next().await {
            found.extend(some.unwrap());
        }
    })
    .await;
    found.sort();
    let mut items = items;
    items.sort();
    assert_eq!(found, items);
}

#[tokio::test]
async fn an_item_of_a_dead_taker_goes_to_the_next() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let first = Queue::new(&clients[0], "/q");
    first.put("x").await.unwrap();
    let taken = first.take().await.unwrap();
    let second = Queue::new(&clients[1], "/q");
    assert!(second.try_take().await.unwrap().is_none());
    let next = tokio::spawn(async move { second.take().await });
    stage.kill(&clients[0]).await;
    let next = soon(next).await.unwrap().unwrap();
    assert_eq!(next.data(), "x");
    assert!(next.token() > taken.token());
    assert!(matches!(soon(taken.lost()).await, Lost::Session));
    assert!(taken.done().await.unwrap_err().session_lost());
    next.done().await.unwrap();
}

#[tokio::test]
async fn a_dropped_item_is_given_again() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let first = Queue::new(&clients[0], "/q");
    first.put("x").await.unwrap();
    drop(first.take().await.unwrap());
    let again = soon(Queue::new(&clients[1], "/q").take()).await.unwrap();
    assert_eq!(again.data(), "x");
}

#[tokio::test]
async fn a_take_that_is_dropped_unlocks_only_its_own() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let observer = stage.client().await;
    let queue = Arc::new(Queue::new(&client, "/q"));
    queue.put("x").await.unwrap();
    queue.take().await.unwrap().put_back().await.unwrap();
    relay.next(op_code::CREATE2, Fate::ReplyHeld);
    let taking = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.take().await.map(drop) }
    });
    children(&observer, "/q-locks", 1).await;
    taking.abort();
    assert!(taking.await.unwrap_err().is_cancelled());
    relay.let_go();
    children(&observer, "/q-locks", 0).await;
    // Another's lock is none of ours.
    let other = Queue::new(&observer, "/q").take().await.unwrap();
    let taking = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.take().await.map(drop) }
    });
    client.sync("/q").await.unwrap();
    taking.abort();
    let _ = taking.await;
    client.sync("/q").await.unwrap();
    assert_eq!(children(&observer, "/q-locks", 1).await.len(), 1);
    other.done().await.unwrap();
}

#[tokio::test]
async fn what_is_done_with_an_item_is_done_once_if_it_is_fenced() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let queue = Queue::new(&clients[0], "/q");
    queue.put("x").await.unwrap();
    let item = queue.take().await.unwrap();
    let work = || item.fence(Multi::new().create("/result", item.data(), NodeKind::Persistent));
    clients[0].multi(work()).await.unwrap();
    let error = clients[0].multi(work()).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NodeExists);
    item.forget_after();
    assert!(queue.is_empty().await.unwrap());
    children(&clients[1], "/q-locks", 0).await;
}

#[tokio::test]
async fn a_foreign_node_in_the_queue_is_left_alone() {
    let stage = Stage::new();
    let client = stage.client().await;
    let queue = Queue::with_layout(&client, "/q", QueueLayout::Curator);
    queue.put("x").await.unwrap();
    client
        .create("/q/readme", "", NodeKind::Persistent)
        .await
        .unwrap();
    queue.pop().await.unwrap();
    assert!(queue.try_take().await.unwrap().is_none());
    client
        .create("/q/queue-0000000099", "raw", NodeKind::Persistent)
        .await
        .unwrap();
    let error = queue.take().await.unwrap_err();
    assert!(error.to_string().contains("/q/queue-0000000099"), "{error}");
}

#[tokio::test]
async fn a_list_of_items_that_others_have_removed_costs_one_try() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let observer = stage.client().await;
    let queue = Arc::new(Queue::new(&client, "/q"));
    queue.put_all(&["x"; 20]).await.unwrap();
    let warm = queue.take().await.unwrap();
    warm.done().await.unwrap();
    relay.next(op_code::CREATE2, Fate::ReplyHeld);
    let taking = tokio::spawn({
        let queue = Arc::clone(&queue);
        async move { queue.try_take().await.map(|item| item.is_none()) }
    });
    // The first one is locked; all of them go before it is known.
    children(&observer, "/q-locks", 1).await;
    for name in observer.children("/q").await.unwrap().names {
        let path = format!("/q/{name}");
        observer.delete(&path, Version::Any).await.unwrap();
    }
    let before = observer.last_zxid();
    relay.let_go();
    assert!(soon(taking).await.unwrap().unwrap());
    let made = observer.create("/mark", "", NodeKind::Persistent).await;
    let writes = made.unwrap().zxid.0 - before.0 - 1;
    // The fence and the deletion of the lock.
    assert_eq!(writes, 2, "the lock is taken back, and no other is made");
}
