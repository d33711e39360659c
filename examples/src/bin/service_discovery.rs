//! Service discovery: instances say where they are, and whoever calls them always knows the list.
#![allow(clippy::print_stdout)]

use roo_client::recipes::{Group, Member};
use roo_client::{Client, Result};

const SERVICE: &str = "/services/search";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let caller = roo_examples::connect().await?;
    let service = Group::new(&caller, SERVICE);
    let mut known: Vec<Member> = Vec::new();

    // Two instances start, as processes of their own in real life.
    let (one, two) = (
        roo_examples::connect().await?,
        roo_examples::connect().await?,
    );
    let _first = register(&one, "host-1", "10.0.0.1:8080").await?;
    known = service.changed(&known).await?;
    println!("after the first start:  {}", addresses(&known));

    let second = register(&two, "host-2", "10.0.0.2:8080").await?;
    known = service.changed(&known).await?;
    println!("after the second start: {}", addresses(&known));

    // One leaves in order, the other simply ends; if it crashed, its session's timeout would pass.
    second.leave().await?;
    known = service.changed(&known).await?;
    println!("after one has left:     {}", addresses(&known));
    one.close().await?;
    known = service.changed(&known).await?;
    println!("after the other ended:  {}", addresses(&known));

    two.close().await?;
    caller.close().await
}

/// What an instance does when it is ready to serve, and not earlier.
async fn register(
    client: &Client,
    name: &str,
    address: &str,
) -> Result<roo_client::recipes::Membership> {
    Group::new(client, SERVICE)
        .join_when_free(name, address)
        .await
}

fn addresses(members: &[Member]) -> String {
    let list: Vec<_> = members
        .iter()
        .map(|member| String::from_utf8_lossy(&member.data))
        .collect();
    format!("[{}]", list.join(", "))
}
