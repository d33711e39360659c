//! What all examples share: which servers they talk to. Each of the programs in `src/bin` plays
//! all parts of its case by itself, with a session for each, and is shown in the book.

use std::time::Duration;

use roo_client::{Client, Options, Result};

/// A session of its own at the servers that `ROO_SERVERS` names, else at 127.0.0.1:2181.
///
/// # Errors
/// As those of [`Client::connect`].
pub async fn connect() -> Result<Client> {
    let servers = std::env::var("ROO_SERVERS").unwrap_or_else(|_| "127.0.0.1:2181".into());
    let options = Options {
        session_timeout: Duration::from_secs(10),
        ..Options::default()
    };
    Client::connect(&servers, options).await
}
