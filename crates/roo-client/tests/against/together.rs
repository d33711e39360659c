use std::sync::Arc;

use futures_util::future::join_all;
use roo_client::{NodeKind, Version};

use crate::server::{Server, soon};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_callers_share_a_session() {
    let server = Server::start();
    let client = server.client().await;
    client
        .create("/n", "0", NodeKind::Persistent)
        .await
        .unwrap();
    let tasks = (0..8).map(|_| {
        let client = client.clone();
        tokio::spawn(async move {
            for _ in 0..50 {
                loop {
                    let node = client.get("/n").await.unwrap();
                    let number: u32 = std::str::from_utf8(&node.data).unwrap().parse().unwrap();
                    let next = (number + 1).to_string();
                    if client.set("/n", next, node.stat.version).await.is_ok() {
                        break;
                    }
                }
            }
        })
    });
    soon(join_all(tasks)).await;
    assert_eq!(client.get("/n").await.unwrap().data, "400");
}

#[tokio::test]
async fn calls_made_together_are_done_in_their_order() {
    let server = Server::start();
    let client = Arc::new(server.client().await);
    client.create("/n", "", NodeKind::Persistent).await.unwrap();
    let calls: Vec<_> = (0..5000)
        .map(|at: u32| client.set("/n", at.to_be_bytes(), Version::Any))
        .collect();
    let results = soon(join_all(calls)).await;
    for (at, result) in results.into_iter().enumerate() {
        assert_eq!(usize::try_from(result.unwrap().version).unwrap(), at + 1);
    }
}

#[tokio::test]
async fn a_dropped_call_disturbs_nothing() {
    let server = Server::start();
    let client = server.client().await;
    for at in 0..100 {
        let path = format!("/{at}");
        let mut dropped = Box::pin(client.create(&path, "", NodeKind::Persistent));
        let _ = futures_util::poll!(&mut dropped);
        drop(dropped);
        let (_, watch) = client.exists_and_watch("/w").await.unwrap();
        drop(watch);
    }
    // What was sent has taken effect.
    assert_eq!(client.children("/").await.unwrap().stat.num_children, 101);
}
