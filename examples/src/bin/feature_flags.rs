//! Feature flags with live reload: a switch on one machine is thrown on all of them.
#![allow(clippy::print_stdout)]

use roo_client::recipes::{ConfigCache, Tree};
use roo_client::{Multi, NodeKind, Result, Version};

const FLAGS: &str = "/flags";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let admin = roo_examples::connect().await?;
    admin.create(FLAGS, "", NodeKind::Persistent).await?;
    admin
        .create("/flags/new-search", "off", NodeKind::Persistent)
        .await?;
    admin
        .create("/flags/old-search", "on", NodeKind::Persistent)
        .await?;

    // In every process of the application: a tree in memory, asked as often as one likes.
    let application = roo_examples::connect().await?;
    let mut flags = ConfigCache::open(&application, FLAGS).await?;
    println!(
        "new search: {}, old search: {}",
        is_on(&flags.tree(), "new-search"),
        is_on(&flags.tree(), "old-search")
    );

    // Two switches at once: nobody ever sees both on, or both off.
    let both = Multi::new()
        .set("/flags/new-search", "on", Version::Any)
        .set("/flags/old-search", "off", Version::Any);
    admin.multi(both).await?;

    for change in flags.changed().await? {
        println!("{:?} {}", change.kind, change.path);
    }
    println!(
        "new search: {}, old search: {}",
        is_on(&flags.tree(), "new-search"),
        is_on(&flags.tree(), "old-search")
    );
    application.close().await?;
    admin.close().await
}

/// A flag that is absent is off.
fn is_on(flags: &Tree, name: &str) -> bool {
    flags
        .data(&format!("{FLAGS}/{name}"))
        .is_some_and(|data| data.as_ref() == b"on")
}
