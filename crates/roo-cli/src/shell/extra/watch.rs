//! `watch`: changes as a live stream.

use clap::Args;
use jiff::Timestamp;
use roo_client::{Client, EventKind, WatchEnd, WatchEvent, WatchMode};
use serde_json::{Map, Value};

use crate::connect::{Exit, Failure};
use crate::shell::Shell;
use crate::shell::errors::{check_path, refused};
use crate::shell::events::kind_name;
use crate::shell::output;

/// Arguments of `roo watch`.
#[derive(Args, Debug)]
pub(crate) struct WatchArguments {
    /// The node; it need not exist yet.
    path: String,
    /// Only the node itself and its children's names, not everything below it.
    #[arg(long)]
    node: bool,
    /// Prints the data that a node has after the change, as it is read then.
    #[arg(long)]
    value: bool,
    /// Ends after so many changes, with exit code 0.
    #[arg(long, value_name = "NUMBER")]
    count: Option<u64>,
}

/// Prints changes until the session ends.
pub(super) async fn run(shell: &mut Shell, arguments: &WatchArguments) -> Result<(), Failure> {
    let path = arguments.path.as_str();
    check_path(path)?;
    let client = shell.client()?;
    let mode = if arguments.node {
        WatchMode::Persistent
    } else {
        WatchMode::PersistentRecursive
    };
    let watch = client.watch(path, mode).await;
    let mut watch = watch.map_err(|error| match error.kind() {
        roo_client::ErrorKind::Unimplemented => Failure::failed(
            "the server is older than 3.6 and cannot watch so: in the shell, use get -w and ls -w",
        ),
        _ => refused(&error, path),
    })?;
    let mut left = arguments.count;
    while left != Some(0) {
        let Some(event) = watch.next().await else {
            let why = watch.end().unwrap_or(WatchEnd::Closed);
            return Err(Failure::new(Exit::Lost, format!("{why}: {path}")));
        };
        if event.kind != EventKind::Gap
            && let Some(left) = &mut left
        {
            *left -= 1;
        }
        print(shell, &client, arguments, &event).await?;
        shell.out.flush()?;
    }
    Ok(())
}

async fn print(
    shell: &mut Shell,
    client: &Client,
    arguments: &WatchArguments,
    event: &WatchEvent,
) -> Result<(), Failure> {
    let kind = kind_name(event.kind).unwrap_or("Gap");
    let has_value = matches!(event.kind, EventKind::Created | EventKind::DataChanged);
    let node = if arguments.value && has_value {
        // It may be gone again, or not for us to read; the event is told all the same.
        client.get(&event.path).await.ok()
    } else {
        None
    };
    let time = Timestamp::now().to_string();
    let zxid = event.zxid.map(|zxid| format!("{:#x}", zxid.0));
    if shell.out.json {
        let mut object = Map::new();
        object.insert("time".to_owned(), time.into());
        object.insert("event".to_owned(), kind.into());
        object.insert("path".to_owned(), event.path.as_str().into());
        if let Some(zxid) = zxid {
            object.insert("zxid".to_owned(), zxid.into());
        }
        if let Some(node) = &node {
            output::put_data(&mut object, node.value());
            object.insert("version".to_owned(), node.stat.version.into());
        }
        return shell.out.json(&Value::Object(object));
    }
    let zxid = zxid.map(|zxid| format!(" {zxid}")).unwrap_or_default();
    shell
        .out
        .line(format!("{time} {kind} {}{zxid}", event.path))?;
    match node {
        Some(node) => shell.out.data(&node.data),
        None => Ok(()),
    }
}
