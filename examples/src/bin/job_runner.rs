//! A job runner of which exactly one instance works: the leader, fenced by its term.
#![allow(clippy::print_stdout)]

use roo_client::recipes::{Latch, Leadership};
use roo_client::{Client, ErrorKind, Multi, NodeKind, Result, Version};

const ELECTION: &str = "/jobs/leader";
const LAST_RUN: &str = "/jobs/last-run";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (one, two) = (
        roo_examples::connect().await?,
        roo_examples::connect().await?,
    );
    one.create_parents(LAST_RUN).await?;
    one.create(LAST_RUN, "never", NodeKind::Persistent).await?;

    let first = Latch::new(&one, ELECTION, "host-1").lead().await?;
    run_job(&one, &first, "host-1").await?;
    println!("last run: {}", last_run(&two).await?);

    // The second instance has been waiting all the time; the first one ends without a word.
    let stale = first.term();
    let (second, ()) = tokio::join!(
        async { Latch::new(&two, ELECTION, "host-2").lead().await },
        async { drop(first) },
    );
    let second = second?;
    println!("a later term: {}", second.term() > stale);
    run_job(&two, &second, "host-2").await?;
    println!("last run: {}", last_run(&two).await?);

    // A leader that has lost its leadership and does not know it yet changes nothing.
    let fence = second.fence(Multi::new());
    second.resign().await?;
    let late = two
        .multi(fence.set(LAST_RUN, "too late", Version::Any))
        .await;
    println!(
        "a late write is refused: {}",
        late.is_err_and(|error| matches!(error.kind(), ErrorKind::NoNode))
    );
    one.close().await?;
    two.close().await
}

/// The work, and what it leaves behind: written only if this instance leads when it is written.
async fn run_job(client: &Client, leadership: &Leadership, name: &str) -> Result<()> {
    println!("{name} works");
    let result = Multi::new().set(LAST_RUN, name, Version::Any);
    client.multi(leadership.fence(result)).await?;
    Ok(())
}

async fn last_run(client: &Client) -> Result<String> {
    client.sync(LAST_RUN).await?;
    let node = client.get(LAST_RUN).await?;
    Ok(String::from_utf8_lossy(&node.data).into_owned())
}
