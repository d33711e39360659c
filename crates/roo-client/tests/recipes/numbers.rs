//! Counters and ids: exact, whatever is lost.

use std::collections::BTreeSet;

use roo_client::NodeKind;
use roo_client::recipes::{Counter, Encoding, Ids};
use roo_proto::op_code;
use tokio::task::JoinSet;

use crate::relay::Fate;
use crate::stage::{Stage, soon};

#[tokio::test]
async fn no_change_is_lost_or_made_twice_while_connections_break() {
    const EACH: i64 = 25;
    let stage = Stage::new();
    let mut tasks = JoinSet::new();
    for every in 2..6 {
        let (client, relay) = stage.relayed().await;
        relay.storm(every);
        tasks.spawn(async move {
            let counter = Counter::new(&client, "/numbers/count");
            let mut sums = Vec::new();
            for _ in 0..EACH {
                sums.push(counter.add(1).await.unwrap());
            }
            assert!(relay.cuts() > 3);
            sums
        });
    }
    let mut sums = BTreeSet::new();
    soon(async {
        while let Some(found) = tasks.join_next().await {
            sums.extend(found.unwrap());
        }
    })
    .await;
    assert_eq!(sums, (1..=4 * EACH).collect());
    let observer = stage.client().await;
    let counter = Counter::new(&observer, "/numbers/count");
    assert_eq!(counter.get_latest().await.unwrap(), 4 * EACH);
}

#[tokio::test]
async fn a_lost_reply_is_found_in_the_receipt() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let counter = Counter::new(&client, "/count");
    assert_eq!(counter.add(5).await.unwrap(), 5);
    relay.next(op_code::MULTI, Fate::ReplyLost);
    assert_eq!(soon(counter.add(2)).await.unwrap(), 7);
    relay.next(op_code::MULTI, Fate::RequestLost);
    assert_eq!(soon(counter.add(2)).await.unwrap(), 9);
    relay.next(op_code::MULTI, Fate::ReplyLost);
    assert_eq!(soon(counter.set(1)).await.unwrap(), 9, "what it was");
    relay.next(op_code::MULTI, Fate::ReplyLost);
    assert!(soon(counter.compare_and_set(1, 3)).await.unwrap());
    assert!(!counter.compare_and_set(1, 4).await.unwrap());
    assert_eq!(counter.get().await.unwrap(), 3);
    assert_eq!(relay.cuts(), 4);
}

#[tokio::test]
async fn a_reply_that_was_lost_before_others_changed_the_number_is_still_found() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let other = Counter::new(&stage.client().await, "/count");
    let counter = Counter::new(&client, "/count");
    counter.add(1).await.unwrap();
    relay.next(op_code::MULTI, Fate::ReplyLost);
    // Nothing is asked before the other has changed the number.
    relay.next(op_code::MULTI, Fate::RequestLost);
    let (mine, theirs) = soon(async { tokio::join!(counter.add(10), other.add(100)) }).await;
    let (mine, theirs) = (mine.unwrap(), theirs.unwrap());
    assert!(
        [(11, 111), (111, 101)].contains(&(mine, theirs)),
        "{mine} {theirs}"
    );
    assert_eq!(other.get_latest().await.unwrap(), 111);
}

#[tokio::test]
async fn numbers_stand_in_the_encodings_of_others() {
    let stage = Stage::new();
    let client = stage.client().await;
    let cases: [(&str, Encoding, &[u8]); 3] = [
        ("/long", Encoding::Long, &[0, 0, 0, 0, 0, 0, 1, 4]),
        ("/int", Encoding::Int, &[0, 0, 1, 4]),
        ("/decimal", Encoding::Decimal, b"260"),
    ];
    for (path, encoding, bytes) in cases {
        let counter = Counter::with_encoding(&client, path, encoding);
        assert_eq!(counter.add(260).await.unwrap(), 260);
        assert_eq!(client.get(path).await.unwrap().data, bytes);
    }
    client
        .create("/text", "abc", NodeKind::Persistent)
        .await
        .unwrap();
    let error = Counter::new(&client, "/text").add(1).await.unwrap_err();
    assert!(error.to_string().contains("/text"), "{error}");
    assert_eq!(client.get("/text").await.unwrap().data, "abc");
}

#[tokio::test]
async fn a_number_that_has_no_place_is_refused_and_nothing_changes() {
    let stage = Stage::new();
    let client = stage.client().await;
    let counter = Counter::with_encoding(&client, "/int", Encoding::Int);
    counter.set(i32::MAX.into()).await.unwrap();
    assert!(counter.add(1).await.is_err());
    assert_eq!(counter.add(-1).await.unwrap(), i64::from(i32::MAX) - 1);
}

#[tokio::test]
async fn a_change_with_a_name_is_made_once_across_sessions() {
    let stage = Stage::new();
    let before = stage.client().await;
    let counter = Counter::with_writer(&before, "/count", Encoding::Long, "worker-1");
    assert_eq!(counter.add_once("job-1", 5).await.unwrap(), 5);
    assert_eq!(counter.add_once("job-1", 5).await.unwrap(), 5);
    drop(counter);
    stage.kill(&before).await;
    let after = stage.client().await;
    let counter = Counter::with_writer(&after, "/count", Encoding::Long, "worker-1");
    assert_eq!(counter.add_once("job-1", 5).await.unwrap(), 5);
    assert_eq!(counter.add_once("job-2", 5).await.unwrap(), 10);
}

#[tokio::test]
async fn a_call_that_is_dropped_disturbs_no_later_one() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let observer = stage.client().await;
    let counter = std::sync::Arc::new(Counter::new(&client, "/count"));
    counter.add(1).await.unwrap();
    relay.next(op_code::MULTI, Fate::ReplyHeld);
    let (_, watch) = observer.get_and_watch("/count").await.unwrap();
    let dropped = tokio::spawn({
        let counter = std::sync::Arc::clone(&counter);
        async move { counter.add(10).await }
    });
    soon(watch).await.unwrap();
    dropped.abort();
    assert!(dropped.await.unwrap_err().is_cancelled());
    relay.let_go();
    assert_eq!(soon(counter.add(100)).await.unwrap(), 111);
}

#[tokio::test]
async fn nobody_gets_an_id_twice() {
    let stage = Stage::new();
    let mut tasks = JoinSet::new();
    for every in 2..5 {
        let (client, relay) = stage.relayed().await;
        relay.storm(every);
        tasks.spawn(async move {
            let ids = Ids::new(&client, "/ids", 3);
            let mut found = Vec::new();
            for _ in 0..20 {
                found.push(ids.next().await.unwrap());
            }
            assert!(found.is_sorted());
            drop(relay);
            found
        });
    }
    let mut all = BTreeSet::new();
    soon(async {
        while let Some(found) = tasks.join_next().await {
            all.extend(found.unwrap());
        }
    })
    .await;
    assert_eq!(all.len(), 60);
    assert_eq!(all.first(), Some(&1));
}
