//! Semaphores, elections, barriers and groups.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use roo_client::ErrorKind;
use roo_client::recipes::{
    Barrier, Candidate, ContenderOptions, DoubleBarrier, Group, InDoubt, Latch, Layout, Lost,
    Reign, Semaphore,
};
use roo_proto::op_code;
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use crate::relay::Fate;
use crate::stage::{Stage, children, soon};

#[tokio::test]
async fn no_more_leases_are_held_than_there_are_permits() {
    let stage = Stage::new();
    for layout in [Layout::Curator, Layout::Kazoo] {
        let path = format!("/sem-{layout:?}");
        let held = Arc::new(AtomicUsize::new(0));
        let most = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for every in 3..8 {
            let (client, relay) = stage.relayed().await;
            relay.storm(every);
            let options = ContenderOptions {
                layout,
                ..ContenderOptions::default()
            };
            let semaphore = Semaphore::with_options(&client, &path, 2, options);
            let (held, most) = (Arc::clone(&held), Arc::clone(&most));
            tasks.spawn(async move {
                for _ in 0..4 {
                    let lease = semaphore.acquire().await.unwrap();
                    let now = held.fetch_add(1, Ordering::SeqCst) + 1;
                    most.fetch_max(now, Ordering::SeqCst);
                    client.sync("/").await.unwrap();
                    held.fetch_sub(1, Ordering::SeqCst);
                    lease.give_back().await.unwrap();
                }
                drop(relay);
            });
        }
        soon(async { while tasks.join_next().await.transpose().unwrap().is_some() {} }).await;
        assert!(most.load(Ordering::SeqCst) <= 2);
    }
}

#[tokio::test]
async fn the_newest_leases_are_asked_back_when_permits_become_fewer() {
    let stage = Stage::new();
    let clients = stage.clients(3).await;
    Semaphore::set_permits(&clients[0], "/permits", 2)
        .await
        .unwrap();
    let semaphore = |at: usize| Semaphore::shared(&clients[at], "/sem", "/permits");
    let old = semaphore(0).acquire().await.unwrap();
    let new = semaphore(1).acquire().await.unwrap();
    let third = semaphore(2);
    let third = tokio::spawn(async move { third.acquire().await });
    children(&clients[0], "/sem/leases", 3).await;
    Semaphore::set_permits(&clients[0], "/permits", 1)
        .await
        .unwrap();
    soon(new.asked_to_return()).await.unwrap();
    new.give_back().await.unwrap();
    old.give_back().await.unwrap();
    let lease = soon(third).await.unwrap().unwrap();
    Semaphore::set_permits(&clients[0], "/permits", 3)
        .await
        .unwrap();
    let more = semaphore(0).try_acquire().await.unwrap();
    assert!(more.is_some());
    assert_eq!(semaphore(0).held().await.unwrap(), 2);
    assert!(lease.is_held().await.unwrap());
}

#[tokio::test]
async fn a_number_of_permits_that_differs_from_kazoos_is_refused() {
    let stage = Stage::new();
    let client = stage.client().await;
    let options = ContenderOptions {
        layout: Layout::Kazoo,
        ..ContenderOptions::default()
    };
    let two = Semaphore::with_options(&client, "/sem", 2, options.clone());
    two.acquire().await.unwrap().give_back().await.unwrap();
    assert_eq!(client.get("/sem").await.unwrap().data, "2");
    let three = Semaphore::with_options(&client, "/sem", 3, options);
    let error = three.acquire().await.unwrap_err();
    assert!(
        error.to_string().contains("2 permits there, 3 here"),
        "{error}"
    );
    // What it held on the way is given up.
    soon(two.acquire())
        .await
        .unwrap()
        .give_back()
        .await
        .unwrap();
}

#[tokio::test]
async fn leaders_follow_each_other_in_growing_terms() {
    let stage = Stage::new();
    let clients = stage.clients(3).await;
    let latch = |at: usize| Latch::new(&clients[at], "/leader", &format!("host-{at}"));
    let first = latch(0).lead().await.unwrap();
    let (second, third) = (latch(1), latch(2));
    let second = tokio::spawn(async move { second.lead().await });
    children(&clients[0], "/leader", 2).await;
    let third = tokio::spawn(async move { third.lead().await });
    children(&clients[0], "/leader", 3).await;
    assert_eq!(
        latch(2).leader().await.unwrap().unwrap().identifier,
        "host-0"
    );
    stage.kill(&clients[0]).await;
    let second = soon(second).await.unwrap().unwrap();
    assert!(matches!(soon(first.lost()).await, Lost::Session));
    assert!(second.term() > first.term());
    let term = second.term();
    second.resign().await.unwrap();
    assert!(soon(third).await.unwrap().unwrap().term() > term);
}

#[tokio::test]
async fn a_leader_that_is_asked_hands_over_in_good_order() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let candidates: Vec<Candidate> = clients
        .iter()
        .map(|client| Candidate::new(client, "/leader", "x"))
        .collect();
    let working = Arc::new(AtomicUsize::new(0));
    let reign = |candidate: Candidate, working: Arc<AtomicUsize>| async move {
        candidate
            .reign(async |leadership| {
                assert_eq!(working.fetch_add(1, Ordering::SeqCst), 0);
                leadership.asked_to_hand_over().await.unwrap();
                working.fetch_sub(1, Ordering::SeqCst);
                leadership.term()
            })
            .await
    };
    let first = tokio::spawn(reign(candidates[0].clone(), Arc::clone(&working)));
    children(&clients[0], "/leader", 1).await;
    let second = tokio::spawn(reign(candidates[1].clone(), Arc::clone(&working)));
    children(&clients[0], "/leader", 2).await;
    let mut terms = Vec::new();
    for task in [first, second] {
        candidates[0].ask_to_hand_over().await.unwrap();
        match soon(task).await.unwrap().unwrap() {
            Reign::Finished(term) => terms.push(term),
            other => panic!("{other:?}"),
        }
    }
    assert!(terms[0] < terms[1]);
    children(&clients[0], "/leader", 0).await;
}

#[tokio::test]
async fn what_a_leader_does_is_cut_short_when_it_is_lost() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let candidate = Candidate::new(&client, "/leader", "x");
    let waiting = candidate.reign(async |_| std::future::pending::<()>().await);
    let kill = async {
        children(&stage.client().await, "/leader", 1).await;
        stage.kill(&client).await;
    };
    let both = Box::pin(async { tokio::join!(waiting, kill) });
    let (reign, ()) = soon(both).await;
    assert!(matches!(reign.unwrap(), Reign::Lost(Lost::Session)));

    let (client, second) = stage.relayed().await;
    let options = ContenderOptions::default();
    let candidate = Candidate::with_options(&client, "/leader", options, InDoubt::Stop);
    let (begun, begins) = oneshot::channel();
    let waiting = candidate.reign(async |_| {
        begun.send(()).unwrap();
        std::future::pending::<()>().await;
    });
    let cut = async {
        begins.await.unwrap();
        second.cut();
    };
    let both = Box::pin(async { tokio::join!(waiting, cut) });
    let (reign, ()) = soon(both).await;
    assert!(matches!(reign.unwrap(), Reign::Doubted));
    children(&client, "/leader", 0).await;
    drop(relay);
}

#[tokio::test]
async fn a_gate_opens_for_all_who_wait() {
    let stage = Stage::new();
    let (client, relay) = stage.relayed().await;
    let gate = Barrier::new(&client, "/gates/one");
    relay.next(op_code::CREATE2, Fate::ReplyLost);
    soon(gate.close()).await.unwrap();
    gate.close().await.unwrap();
    assert!(gate.is_closed().await.unwrap());
    let mut tasks = JoinSet::new();
    for client in stage.clients(3).await {
        tasks.spawn(async move { Barrier::new(&client, "/gates/one").wait().await });
    }
    relay.next(op_code::DELETE, Fate::ReplyLost);
    soon(gate.open()).await.unwrap();
    soon(async {
        while let Some(waited) = tasks.join_next().await {
            waited.unwrap().unwrap();
        }
    })
    .await;
    gate.open().await.unwrap();
}

#[tokio::test]
async fn all_begin_and_end_together() {
    let stage = Stage::new();
    let inside = Arc::new(AtomicUsize::new(0));
    let mut tasks = JoinSet::new();
    for (at, layout) in [
        Layout::Curator,
        Layout::Kazoo,
        Layout::Curator,
        Layout::Kazoo,
    ]
    .into_iter()
    .enumerate()
    {
        let (client, relay) = stage.relayed().await;
        relay.storm(2);
        let inside = Arc::clone(&inside);
        tasks.spawn(async move {
            let barrier = DoubleBarrier::with_layout(&client, "/together", 4, layout);
            inside.fetch_add(1, Ordering::SeqCst);
            let entered = barrier.enter().await.unwrap();
            assert_eq!(inside.load(Ordering::SeqCst) % 100, 4, "member {at}");
            inside.fetch_add(100, Ordering::SeqCst);
            entered.leave().await.unwrap();
            assert_eq!(inside.load(Ordering::SeqCst) / 100, 4, "member {at}");
            drop(relay);
        });
    }
    soon(async { while tasks.join_next().await.transpose().unwrap().is_some() {} }).await;
}

#[tokio::test]
async fn a_member_that_dies_does_not_keep_the_others_from_leaving() {
    let stage = Stage::new();
    let clients = stage.clients(3).await;
    let enter = |at: usize| {
        let barrier = DoubleBarrier::new(&clients[at], "/together", 3);
        tokio::spawn(async move { barrier.enter().await })
    };
    let tasks = [enter(0), enter(1), enter(2)];
    let mut entered = Vec::new();
    for task in tasks {
        entered.push(soon(task).await.unwrap().unwrap());
    }
    let last = entered.pop().unwrap();
    let mut leaving = JoinSet::new();
    for member in entered {
        leaving.spawn(member.leave());
    }
    stage.kill(&clients[2]).await;
    soon(async {
        while let Some(left) = leaving.join_next().await {
            left.unwrap().unwrap();
        }
    })
    .await;
    assert!(soon(last.leave()).await.unwrap_err().session_lost());
}

#[tokio::test]
async fn members_come_and_go_with_their_sessions() {
    let stage = Stage::new();
    let observer = stage.client().await;
    let group = Group::new(&observer, "/group");
    let (client, relay) = stage.relayed().await;
    let join = Group::new(&client, "/group");
    assert!(group.members().await.unwrap().is_empty());
    relay.next(op_code::CREATE2, Fate::ReplyLost);
    relay.next(op_code::CREATE2, Fate::ReplyLost);
    let a = soon(join.join("a", "1")).await.unwrap();
    let known = soon(group.changed(&[])).await.unwrap();
    assert_eq!(known[0].id, "a");
    assert_eq!(known[0].joined, a.joined());
    let error = group.join("a", "2").await.unwrap_err();
    assert_eq!(*error.kind(), ErrorKind::NodeExists);
    let again = tokio::spawn({
        let group = group.clone();
        async move { group.join_when_free("a", "2").await }
    });
    stage.kill(&client).await;
    let second = soon(again).await.unwrap().unwrap();
    assert!(matches!(soon(a.lost()).await, Lost::Session));
    drop(a);
    second.set_data("3").await.unwrap();
    let now = group.members().await.unwrap();
    assert_eq!((now.len(), now[0].data.as_ref()), (1, b"3".as_ref()));
    second.leave().await.unwrap();
    assert!(group.members().await.unwrap().is_empty());
}

#[tokio::test]
async fn a_membership_that_is_dropped_ends() {
    let stage = Stage::new();
    let clients = stage.clients(2).await;
    let member = Group::new(&clients[0], "/group")
        .join("a", "")
        .await
        .unwrap();
    children(&clients[1], "/group", 1).await;
    drop(member);
    children(&clients[1], "/group", 0).await;
}
