//! Numbers that nobody gets twice.

use tokio::sync::Mutex;

use crate::{Client, Result};

use super::counter::{Counter, Encoding};

/// Numbers that nobody else gets, drawn from a counter in blocks.
///
/// # Guarantees
/// A number is given once, by all processes that draw from the same path together, whatever is lost
/// and whoever crashes. Each process gets growing numbers. Numbers are left out: what a process does
/// not use of its block is gone with it, and a block whose arrival it never learnt of too.
///
/// *Disconnected*: numbers of the present block are given without asking. *Session lost*: the same,
/// then the call fails. *Outcome unknown*: handled by [`Counter`], or a block is left out. *Clock
/// stands still*: nothing depends on time.
///
/// # Nodes
/// A [`Counter`] at the path: the highest number that was given out.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::Ids;
/// let ids = Ids::new(&client, "/ids/invoice", 100);
/// let id = ids.next().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Ids {
    counter: Counter,
    block: u32,
    left: Mutex<std::ops::Range<i64>>,
}

impl Ids {
    /// Numbers from the counter at `path`, so many at a time, at least one; nothing is done yet.
    /// The first of all is 1.
    #[must_use]
    pub fn new(client: &Client, path: &str, block: u32) -> Self {
        Self {
            counter: Counter::with_encoding(client, path, Encoding::Long),
            block: block.max(1),
            left: Mutex::new(0..0),
        }
    }

    /// A number.
    ///
    /// # Errors
    /// As [`Counter::add`]; none of numbers that are left of a block.
    pub async fn next(&self) -> Result<i64> {
        let mut left = self.left.lock().await;
        loop {
            if let Some(number) = left.next() {
                return Ok(number);
            }
            let last = self.counter.add(self.block.into()).await?;
            let first = last - i64::from(self.block) + 1;
            *left = first..last.saturating_add(1);
        }
    }
}
