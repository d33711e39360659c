//! The zookeeper-client crate against a server: CONNECT PROXY CONTROL ALL. Prints one line per
//! case, then the counts.

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use zookeeper_client::{Acls, AddWatchMode, Client, CreateMode, Error, EventType};

/// Machines that run this may be busy with something else.
const PATIENCE: Duration = Duration::from_secs(60);

struct Cases {
    passed: u32,
    failed: u32,
}

impl Cases {
    fn check(&mut self, name: &str, holds: bool) {
        println!("{} {name}", if holds { "ok" } else { "FAIL" });
        *(if holds { &mut self.passed } else { &mut self.failed }) += 1;
    }
}

async fn run(cases: &mut Cases, arguments: &[String]) -> Result<(), Error> {
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    let client = Client::connect(&arguments[1]).await?;
    let (stat, _) = client.create("/r", b"one", &open).await?;
    cases.check("create", stat.version == 0);
    let again = client.create("/r", b"", &open).await.err();
    cases.check("create again", again == Some(Error::NodeExists));
    let (data, stat) = client.get_data("/r").await?;
    cases.check("get", data == b"one" && stat.data_length == 3);
    cases.check("set", client.set_data("/r", b"two", Some(0)).await?.version == 1);
    let other = client.set_data("/r", b"x", Some(7)).await.err();
    cases.check("set of another version", other == Some(Error::BadVersion));
    let sequential = CreateMode::PersistentSequential.with_acls(Acls::anyone_all());
    let (_, sequence) = client.create("/r/s-", b"", &sequential).await?;
    cases.check("sequential", sequence.to_string() == "0000000000");
    let container = CreateMode::Container.with_acls(Acls::anyone_all());
    cases.check("container", client.create("/r/k", b"", &container).await.is_ok());
    let ttl = CreateMode::Persistent.with_acls(Acls::anyone_all()).with_ttl(Duration::from_secs(3600));
    cases.check("ttl", client.create("/r/t", b"", &ttl).await.is_ok());
    let ephemeral = CreateMode::Ephemeral.with_acls(Acls::anyone_all());
    client.create("/r/e", b"", &ephemeral).await?;
    let child = client.create("/r/e/x", b"", &open).await.err();
    cases.check("child of an ephemeral", child == Some(Error::NoChildrenForEphemerals));
    cases.check("children", client.list_children("/r").await?.len() == 4);

    let (_, _, watcher) = client.get_and_watch_data("/r").await?;
    client.set_data("/r", b"three", None).await?;
    cases.check("data event", watcher.changed().await.event_type == EventType::NodeDataChanged);
    let mut recursive = client.watch("/r", AddWatchMode::PersistentRecursive).await?;
    client.create("/r/w", b"", &open).await?;
    client.delete("/r/w", None).await?;
    let (born, gone) = (recursive.changed().await, recursive.changed().await);
    let both = born.event_type == EventType::NodeCreated && gone.event_type == EventType::NodeDeleted;
    cases.check("recursive watch", both);

    let mut multi = client.new_multi_writer();
    multi.add_create("/m", b"1", &open)?;
    multi.add_set_data("/m", b"2", Some(0))?;
    multi.add_check_version("/m", 1)?;
    multi.add_delete("/m", Some(1))?;
    cases.check("multi", multi.commit().await.map(|results| results.len()) == Ok(4));
    let mut failing = client.new_multi_writer();
    failing.add_create("/m", b"1", &open)?;
    failing.add_delete("/absent", None)?;
    let failed = failing.commit().await.is_err();
    cases.check("multi that fails", failed && client.check_stat("/m").await?.is_none());

    client.auth("digest", b"user:secret").await?;
    let own = CreateMode::Persistent.with_acls(Acls::creator_all());
    client.create("/acl", b"", &own).await?;
    let stranger = Client::connect(&arguments[1]).await?;
    let refused = stranger.get_data("/acl").await.err();
    cases.check("who may not read", refused == Some(Error::NoAuth));

    let relayed = Client::connect(&arguments[2]).await?;
    relayed.create("/live", b"", &ephemeral).await?;
    let session = relayed.session_id();
    if let Ok(mut control) = tokio::net::TcpStream::connect(&arguments[3]).await {
        let _ = control.write_all(b"c").await;
        let _ = control.read(&mut [0]).await;
    }
    let began = Instant::now();
    let mut back = false;
    while !back && began.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(50)).await;
        back = relayed.check_stat("/live").await.is_ok();
    }
    cases.check("the same session", back && relayed.session_id() == session);
    cases.check("ephemeral still there", client.check_stat("/live").await?.is_some());
    several(cases, &arguments[4]).await
}

/// What is written at one server is read at each, behind a sync.
async fn several(cases: &mut Cases, all: &str) -> Result<(), Error> {
    let open = CreateMode::Persistent.with_acls(Acls::anyone_all());
    Client::connect(all).await?.create("/several", b"", &open).await?;
    let mut each = Vec::new();
    for host in all.split(',') {
        each.push(Client::connect(host).await?);
    }
    for (number, writer) in each.iter().enumerate() {
        let value = format!("by {number}");
        writer.set_data("/several", value.as_bytes(), None).await?;
        let mut seen = true;
        for reader in &each {
            reader.sync("/several").await?;
            seen &= reader.get_data("/several").await?.0 == value.as_bytes();
        }
        cases.check("written at one server, read at each", seen);
    }
    Ok(())
}

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    let mut cases = Cases { passed: 0, failed: 0 };
    if let Err(error) = run(&mut cases, &arguments).await {
        eprintln!("{error}");
        cases.check("to the end", false);
    }
    println!("{} passed, {} failed", cases.passed, cases.failed);
    std::process::exit(i32::from(cases.failed > 0));
}
