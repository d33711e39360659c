//! Devices that come and go: gateways speak for them, and a registry always knows who is online.
#![allow(clippy::print_stdout)]

use std::collections::BTreeSet;

use roo_client::{Client, EventKind, NodeKind, Result, WatchMode};

const DEVICES: &str = "/devices";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let registry = roo_examples::connect().await?;
    registry.create(DEVICES, "", NodeKind::Persistent).await?;
    let mut events = registry
        .watch(DEVICES, WatchMode::PersistentRecursive)
        .await?;
    let mut online: BTreeSet<String> = BTreeSet::new();

    let (north, south) = (
        roo_examples::connect().await?,
        roo_examples::connect().await?,
    );
    announce(&north, "meter-1", "north").await?;
    announce(&north, "meter-2", "north").await?;
    announce(&south, "valve-9", "south").await?;
    // The gateway in the north fails: all of its devices are gone with its session.
    north.close().await?;

    for _ in 0..5 {
        let Some(event) = events.next().await else {
            break;
        };
        let name = event
            .path
            .trim_start_matches(DEVICES)
            .trim_start_matches('/');
        match event.kind {
            EventKind::Created => {
                online.insert(name.to_owned());
                println!("+ {name}");
            }
            EventKind::Deleted => {
                online.remove(name);
                println!("- {name}");
            }
            // After a reconnection the truth is read anew.
            EventKind::Gap => {
                online = registry
                    .children(DEVICES)
                    .await?
                    .names
                    .into_iter()
                    .collect()
            }
            _ => {}
        }
    }
    println!("online: {online:?}");
    south.close().await?;
    registry.close().await
}

/// A device that a gateway sees: an ephemeral node of the gateway's session.
async fn announce(gateway: &Client, device: &str, place: &str) -> Result<()> {
    let path = format!("{DEVICES}/{device}");
    gateway.create(&path, place, NodeKind::Ephemeral).await?;
    Ok(())
}
