//! The first steps with a client: `cargo run -p roo-client --example first_steps -- HOSTS`.
#![allow(clippy::print_stdout)] // It shows something.

use roo_client::{
    Client, ErrorKind, EventKind, Multi, NodeKind, Options, Result, Version, WatchMode,
};

/// What the example does; the tests run it too.
pub(crate) async fn run(hosts: &str) -> Result<()> {
    let client = Client::connect(hosts, Options::default()).await?;
    println!("session {} at {:?}", client.session_id(), client.server());

    // A setting that others may watch.
    client.create_parents("/demo/settings/limit").await?;
    match client
        .create("/demo/settings/limit", "100", NodeKind::Persistent)
        .await
    {
        Err(error) if *error.kind() == ErrorKind::NodeExists => {}
        other => println!("created {}", other?.path),
    }
    let mut changes = client
        .watch("/demo", WatchMode::PersistentRecursive)
        .await?;

    // Change it only if nobody else has.
    let node = client.get("/demo/settings/limit").await?;
    let stat = client
        .set("/demo/settings/limit", "200", node.stat.version)
        .await?;
    println!(
        "version {} by transaction {}",
        stat.version,
        client.last_zxid()
    );

    // All or nothing.
    let both = Multi::new()
        .check("/demo/settings/limit", stat.version)
        .create(
            "/demo/settings/member-",
            "me",
            NodeKind::EphemeralSequential,
        );
    client.multi(both).await?;
    for _ in 0..2 {
        if let Some(event) = changes.next().await {
            println!("{:?} {}", event.kind, event.path);
            assert!(matches!(
                event.kind,
                EventKind::DataChanged | EventKind::Created
            ));
        }
    }

    let stale = client.delete("/demo/settings/limit", Version::Exactly(stat.version + 1));
    if let Err(error) = stale.await {
        println!("refused: {error}");
    }
    println!("{} nodes deleted", client.delete_all("/demo").await?);
    client.close().await
}

#[allow(dead_code)] // The tests have a main of their own.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let hosts = std::env::args().nth(1);
    run(hosts.as_deref().unwrap_or("127.0.0.1:2181")).await
}
