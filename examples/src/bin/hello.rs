//! The first steps: make an ephemeral node, hear of a change, read it.
#![allow(clippy::print_stdout)]

use roo_client::{Client, NodeKind, Options, Result, Version};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let servers = std::env::var("ROO_SERVERS").unwrap_or_else(|_| "127.0.0.1:2181".into());
    let client = Client::connect(&servers, Options::default()).await?;

    client.create("/rust", "one", NodeKind::Ephemeral).await?;
    let (_, changed) = client.get_and_watch("/rust").await?;
    client.set("/rust", "two", Version::Any).await?;

    // A watch ends with an event, or with the session.
    if changed.await.is_ok() {
        let node = client.get("/rust").await?;
        let data = String::from_utf8_lossy(&node.data);
        println!("{data} in version {}", node.stat.version);
    }
    client.close().await
}
