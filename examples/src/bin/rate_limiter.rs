//! A limit that many processes share: so many requests of a customer in an hour, counted exactly.
#![allow(clippy::print_stdout)]

use roo_client::recipes::Counter;
use roo_client::{Client, Result};

const LIMIT: i64 = 100;
/// Permits that a process fetches at once: the servers are asked for one request in so many.
const BLOCK: i64 = 8;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let (one, two) = (
        roo_examples::connect().await?,
        roo_examples::connect().await?,
    );
    // The hour is a part of the path, so that each hour begins at 0.
    let window = "/limits/customer-7/2026-11-25T18";
    let (first, second) =
        tokio::try_join!(process(&one, window, 200), process(&two, window, 200),)?;
    println!("400 requests, {} allowed", first + second);
    one.close().await?;
    two.close().await
}

/// A process with so many requests; how many of them were allowed.
async fn process(client: &Client, window: &str, requests: i64) -> Result<i64> {
    client.create_parents(window).await?;
    let mut permits = Permits {
        counter: Counter::new(client, window),
        left: 0,
        exhausted: false,
    };
    let mut allowed = 0;
    for _ in 0..requests {
        allowed += i64::from(permits.take().await?);
    }
    Ok(allowed)
}

/// Permits of one process for one window.
struct Permits {
    counter: Counter,
    left: i64,
    exhausted: bool,
}

impl Permits {
    async fn take(&mut self) -> Result<bool> {
        if self.left == 0 && !self.exhausted {
            let upto = self.counter.add(BLOCK).await?;
            // Of the last block only what lies within the limit.
            self.left = (LIMIT - (upto - BLOCK)).clamp(0, BLOCK);
            self.exhausted = upto >= LIMIT;
        }
        let granted = self.left > 0;
        self.left -= i64::from(granted);
        Ok(granted)
    }
}
