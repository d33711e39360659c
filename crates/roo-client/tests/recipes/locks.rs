//! Locks of both kinds, and what may go wrong around them.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicUsize, Ordering};

use roo_client::recipes::{ContenderOptions, Layout, Lock, Lost, RwLock};
use roo_client::{ErrorKind, Multi, NodeKind, Version};
use roo_proto::op_code;
use tokio::task::JoinSet;

use crate::relay::Fate;
use crate::stage::{Stage, children, soon};

#[tokio::test]
async fn many_contenders_hold_it_one_at_a_time_with_growing_tokens() {
    let stage = Stage::new();
    let holders = Arc::new(AtomicUsize::new(0));
    let last = Arc::new(AtomicI64::new(0));
    let mut tasks = JoinSet::new();
    for client in stage.clients(8).await {
        let (holders, last) = (Arc::clone(&holders), Arc::clone(&last));
        tasks.spawn(async move {
            let lock = Lock::new(&client, "/a/lock");
            for _ in 0..5 {
                let guard = lock.acquire().await.unwrap();
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                let token = guard.fencing_token().0;
                assert!(last.swap(token, Ordering::SeqCst) < token);
                client.sync("/a").await.unwrap();
                assert_eq!(holders.fetch_sub(1, Ordering::SeqCst), 1);
                guard.release().await.unwrap();
            }
        });
    }
    soon(async { while tasks.join_next().await.transpose().unwrap().is_some() {} }).await;
}

#[tokio::test]
async fn both_layouts_share_a_lock() {
    let stage = Stage::new();
    let client = stage.client().await;
    let ours = Lock::new(&client, "/lock");
    let options = ContenderOptions {
        layout: Layout::Kazoo,
        ..ContenderOptions::default()
    };
    let theirs = Lock::with_options(&client, "/lock", options);
    for (first, second) in [(&ours, &theirs), (&theirs, &ours)] {
        let guard = first.acquire().await.unwrap();
        assert!(second.try_acquire().await.unwrap().is_none());
        guard.release().await.unwrap();
        let guard = second.try_acquire().await.unwrap().unwrap();
        guard.release().await.unwrap();
    }
}

#[tokio::test]
async fn a_lost_reply_leaves_one_node_and_the_lock() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let observer = stage.client().await;
    let lock = Lock::new(&client, "/lock");
    // The first create fails for want of the directory.
    lock.acquire().await.unwrap().release().await.unwrap();
    for fate in [Fate::ReplyLost, Fate::RequestLost] {
        relay.next(op_code::CREATE2, fate);
        let guard = soon(lock.acquire()).await.unwrap();
        let names = children(&observer, "/lock", 1).await;
        assert!(guard.path().ends_with(&names[0]));
        let stat = observer.exists(&guard.path()).await.unwrap().unwrap();
        assert_eq!(stat.czxid, guard.fencing_token().0);
        relay.next(op_code::DELETE, fate);
        soon(guard.release()).await.unwrap();
        children(&observer, "/lock", 0).await;
    }
    assert_eq!(relay.cuts(), 4);
}

#[tokio::test]
async fn a_contender_that_is_dropped_leaves_the_line() {
    let stage = Stage::new();
    let clients = stage.clients(3).await;
    let locks: Vec<Lock> = clients
        .iter()
        .map(|client| Lock::new(client, "/lock"))
        .collect();
    let guard = locks[0].acquire().await.unwrap();
    let (second, third) = (locks[1].clone(), locks[2].clone());
    let waiting = tokio::spawn(async move { second.acquire().await.map(drop) });
    children(&clients[0], "/lock", 2).await;
    let last = tokio::spawn(async move { third.acquire().await });
    children(&clients[0], "/lock", 3).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    children(&clients[0], "/lock", 2).await;
    drop(guard);
    soon(last).await.unwrap().unwrap().release().await.unwrap();
}

#[tokio::test]
async fn a_contender_that_is_dropped_before_it_knows_its_node_leaves_none() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let observer = stage.client().await;
    let lock = Lock::new(&client, "/lock");
    let first = lock.acquire().await.unwrap();
    relay.next(op_code::CREATE2, Fate::ReplyHeld);
    let waiting = tokio::spawn({
        let lock = lock.clone();
        async move { lock.acquire().await.map(drop) }
    });
    children(&observer, "/lock", 2).await;
    waiting.abort();
    assert!(waiting.await.unwrap_err().is_cancelled());
    relay.let_go();
    let names = children(&observer, "/lock", 1).await;
    assert!(first.path().ends_with(&names[0]));
    first.release().await.unwrap();
}

#[tokio::test]
async fn a_lost_session_loses_the_lock_and_the_next_one_gets_it() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let guard = Lock::new(&clients[0], "/lock").acquire().await.unwrap();
    let next = Lock::new(&clients[1], "/lock");
    let next = tokio::spawn(async move { next.acquire().await });
    stage.kill(&clients[0]).await;
    let lost = soon(guard.lost()).await;
    assert!(matches!(lost, Lost::Session), "{lost:?}");
    let after = soon(next).await.unwrap().unwrap();
    assert!(after.fencing_token() > guard.fencing_token());
    let error = guard.release().await.unwrap_err();
    assert!(error.session_lost(), "{error}");
}

#[tokio::test]
async fn a_lock_that_was_taken_away_fences_off_what_comes_late() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    clients[0]
        .create("/ledger", "0", NodeKind::Persistent)
        .await
        .unwrap();
    let guard = Lock::new(&clients[0], "/lock").acquire().await.unwrap();
    let change = |text: &str| guard.fence(Multi::new().set("/ledger", text, Version::Any));
    clients[0].multi(change("held")).await.unwrap();
    assert!(guard.is_held().await.unwrap());
    clients[1]
        .delete(&guard.path(), Version::Any)
        .await
        .unwrap();
    assert!(matches!(soon(guard.lost()).await, Lost::Deleted));
    assert!(!guard.is_held().await.unwrap());
    let error = clients[0].multi(change("late")).await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NoNode);
    assert_eq!(clients[1].get("/ledger").await.unwrap().data, "held");
}

#[tokio::test]
async fn a_contender_whose_node_is_deleted_stands_in_line_again() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let guard = Lock::new(&clients[0], "/lock").acquire().await.unwrap();
    let lock = Lock::new(&clients[1], "/lock");
    let next = tokio::spawn(async move { lock.acquire().await });
    let names = children(&clients[0], "/lock", 2).await;
    let other = names
        .iter()
        .find(|name| !guard.path().ends_with(*name))
        .unwrap();
    clients[0]
        .delete(&format!("/lock/{other}"), Version::Any)
        .await
        .unwrap();
    guard.release().await.unwrap();
    let after = soon(next).await.unwrap().unwrap();
    assert!(!after.path().ends_with(other));
    assert!(after.is_held().await.unwrap());
}

#[tokio::test]
async fn a_holder_can_be_asked_to_release() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let guard = Lock::new(&clients[0], "/lock").acquire().await.unwrap();
    let other = Lock::new(&clients[1], "/lock");
    let holder = other.contenders().await.unwrap().remove(0);
    assert_eq!(holder.token, guard.fencing_token());
    assert_eq!(holder.session, clients[0].session_id());
    other.ask_to_release(&holder).await.unwrap();
    soon(guard.asked_to_release()).await.unwrap();
    guard.release().await.unwrap();
    assert!(other.try_acquire().await.unwrap().is_some());
}

#[tokio::test]
async fn a_broken_connection_puts_the_lock_in_doubt_and_not_away() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let guard = Lock::new(&client, "/lock").acquire().await.unwrap();
    let cut = async {
        tokio::task::yield_now().await;
        relay.cut();
    };
    soon(async { tokio::join!(guard.in_doubt(), cut) }).await;
    assert!(soon(guard.is_held()).await.unwrap());
    soon(guard.release()).await.unwrap();
}

#[tokio::test]
async fn readers_share_and_a_writer_waits_for_those_before_it() {
    let stage = Stage::new();
    let clients = stage.clients(3).await;
    for layout in [Layout::Curator, Layout::Kazoo] {
        let options = ContenderOptions {
            layout,
            ..ContenderOptions::default()
        };
        let path = format!("/rw-{layout:?}");
        let lock = |at: usize| RwLock::with_options(&clients[at], &path, options.clone());
        let (first, second) = (lock(0).read().await.unwrap(), lock(1).read().await.unwrap());
        assert!(lock(2).try_write().await.unwrap().is_none());
        let writer = lock(2);
        let writer = tokio::spawn(async move { writer.write().await });
        children(&clients[0], &path, 3).await;
        assert!(
            lock(0).try_read().await.unwrap().is_none(),
            "the writer is before"
        );
        first.release().await.unwrap();
        let token = second.fencing_token();
        second.release().await.unwrap();
        let guard = soon(writer).await.unwrap().unwrap();
        assert!(guard.fencing_token() > token);
        let reader = lock(0);
        let reader = tokio::spawn(async move { reader.read().await });
        children(&clients[0], &path, 2).await;
        guard.release().await.unwrap();
        soon(reader)
            .await
            .unwrap()
            .unwrap()
            .release()
            .await
            .unwrap();
    }
}

#[tokio::test]
async fn connections_that_break_all_the_time_change_nothing() {
    let stage = Stage::new();
    let holders = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for every in 2..6 {
        let (client, relay) = stage.relayed().await;
        relay.storm(every);
        let holders = Arc::clone(&holders);
        tasks.spawn(async move {
            let lock = Lock::new(&client, "/lock");
            for _ in 0..10 {
                let guard = lock.acquire().await.unwrap();
                assert_eq!(holders.fetch_add(1, Ordering::SeqCst), 0);
                client.sync("/lock").await.unwrap();
                holders.fetch_sub(1, Ordering::SeqCst);
                guard.release().await.unwrap();
            }
            assert!(relay.cuts() > 3);
        });
    }
    soon(async { while tasks.join_next().await.transpose().unwrap().is_some() {} }).await;
    let observer = stage.client().await;
    children(&observer, "/lock", 0).await;
}
