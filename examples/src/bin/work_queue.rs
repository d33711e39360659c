//! A queue of work: each item is done once, also when a worker dies in the middle of one.
#![allow(clippy::print_stdout)]

use roo_client::recipes::Queue;
use roo_client::{Client, Multi, NodeKind, Result};

const QUEUE: &str = "/import/files";
const DONE: &str = "/import/done";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let producer = roo_examples::connect().await?;
    producer.create_parents(&format!("{DONE}/x")).await?;
    let queue = Queue::new(&producer, QUEUE);
    queue.put_all(&["a.csv", "b.csv", "c.csv"]).await?;

    // A worker takes an item and dies: the item is free again when its session is over.
    let doomed = roo_examples::connect().await?;
    let item = Queue::new(&doomed, QUEUE).take().await?;
    println!("taken and not finished: {}", text(&item.data()));
    doomed.close().await?;
    drop(item);

    let worker = roo_examples::connect().await?;
    work(&worker, 3).await?;
    let mut done = producer.children(DONE).await?.names;
    done.sort();
    println!("done: {done:?}, left: {}", queue.len().await?);
    worker.close().await?;
    producer.close().await
}

/// Takes items and finishes each together with its result: both happen, or neither.
async fn work(client: &Client, items: usize) -> Result<()> {
    let queue = Queue::new(client, QUEUE);
    for _ in 0..items {
        let item = queue.take().await?;
        let name = text(&item.data());
        let result = format!("{DONE}/{name}");
        let both = Multi::new().create(&result, "1,024 rows", NodeKind::Persistent);
        client.multi(item.fence(both)).await?;
        item.forget_after();
        println!("finished: {name}");
    }
    Ok(())
}

fn text(data: &[u8]) -> String {
    String::from_utf8_lossy(data).into_owned()
}
