//! One node of configuration, followed.

use crate::{Client, ErrorKind, Node, OneWatch, Result};

use super::outcome::{is, look_again};

/// Follows one node. Curator: `NodeCache`. kazoo: `DataWatch`. For a subtree see
/// [`super::ConfigCache`].
///
/// # Guarantees
/// Gives the node as it is, then again each time it is different, in order; changes that follow each
/// other fast are given as one, but the last is never left out. It knows servers of all versions.
///
/// *Disconnected*: it waits; what changed meanwhile is found afterwards. *Session lost*: it fails.
/// *Clock stands still*, *outcome unknown*: it only reads.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::ConfigWatcher;
/// let mut watcher = ConfigWatcher::new(&client, "/config/limits");
/// loop {
///     match watcher.next().await? {
///         Some(node) => println!("{:?}", node.data),
///         None => println!("absent"),
///     }
/// }
/// # }
/// ```
#[derive(Debug)]
pub struct ConfigWatcher {
    client: Client,
    path: String,
    /// The zxid of the last change that was given, `None` for an absent node.
    given: Option<Option<i64>>,
    watch: Option<OneWatch>,
}

impl ConfigWatcher {
    /// Follows the node at `path`, which need not exist; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self {
            client: client.clone(),
            path: path.to_owned(),
            given: None,
            watch: None,
        }
    }

    /// The node, `None` while it does not exist: at once the first time, then when it is different.
    /// Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the session is lost, or the node may not be read.
    pub async fn next(&mut self) -> Result<Option<Node>> {
        loop {
            if let Some(watch) = &mut self.watch {
                let fired = watch.await;
                self.watch = None;
                if let Err(end) = fired {
                    look_again(end, &self.path)?;
                }
            }
            let (node, watch) = match self.client.get_and_watch(&self.path).await {
                Ok((node, watch)) => (Some(node), watch),
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    let (present, watch) = self.client.exists_and_watch(&self.path).await?;
                    if present.is_some() {
                        continue;
                    }
                    (None, watch)
                }
                Err(error) => return Err(error),
            };
            self.watch = Some(watch);
            let version = node.as_ref().map(|node| node.stat.mzxid);
            if self.given != Some(version) {
                self.given = Some(version);
                return Ok(node);
            }
        }
    }
}
