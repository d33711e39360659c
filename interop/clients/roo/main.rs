//! Every call of roo-client against a server: CONNECT PROXY CONTROL ALL. Prints one line per case,
//! then the counts.
#![allow(clippy::print_stdout, clippy::unwrap_used)] // A program for tests.

use std::process::ExitCode;
use std::time::Duration;

use roo_client::{
    Client, CreateOptions, ErrorKind, EventKind, Multi, MultiRead, NodeKind, OpResult, Options,
    Quota, ReadResult, Reconfig, Result, SessionState, Version, WatchEnd, WatchKind, WatchMode,
    acls,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

const PLAIN: NodeKind = NodeKind::Persistent;
/// Nothing takes so long.
const DEADLINE: Duration = Duration::from_secs(30);

struct Cases {
    passed: u32,
    failed: u32,
    /// What the server does not know.
    lacks: Vec<String>,
}

impl Cases {
    fn check(&mut self, name: &str, holds: bool) {
        println!("{} {name}", if holds { "ok" } else { "FAIL" });
        *(if holds {
            &mut self.passed
        } else {
            &mut self.failed
        }) += 1;
    }

    /// Whether the server knows something that older releases do not.
    fn has(&self, what: &str) -> bool {
        !self.lacks.iter().any(|lack| lack == what)
    }

    fn refused<T>(&mut self, name: &str, result: Result<T>, kind: &ErrorKind) {
        let holds = match result {
            Err(error) if error.kind() == kind => true,
            Err(error) => {
                println!("   {error}");
                false
            }
            Ok(_) => false,
        };
        self.check(name, holds);
    }
}

async fn connect(hosts: &str) -> Result<Client> {
    Client::connect(hosts, Options::default()).await
}

async fn nodes(cases: &mut Cases, client: &Client) -> Result<()> {
    let created = client.create("/r", "one", PLAIN).await?;
    cases.check(
        "create",
        created.path == "/r" && created.stat.czxid == created.zxid.0,
    );
    cases.refused(
        "create again",
        client.create("/r", "", PLAIN).await,
        &ErrorKind::NodeExists,
    );
    let node = client.get("/r").await?;
    cases.check("get", node.data == "one" && node.stat.data_length == 3);
    cases.check("set", client.set("/r", "two", 0).await?.version == 1);
    cases.refused(
        "set of another version",
        client.set("/r", "x", 7).await,
        &ErrorKind::BadVersion,
    );
    let created = client
        .create("/r/s-", "", NodeKind::PersistentSequential)
        .await?;
    cases.check("sequential", created.path == "/r/s-0000000000");
    let made = client.create("/r/k", "", NodeKind::Container).await;
    cases.check("container", made.is_ok());
    let hour = Duration::from_secs(3600);
    let made = client
        .create("/r/t", "", NodeKind::PersistentTtl(hour))
        .await;
    cases.check("ttl", made.is_ok());
    let made = client
        .create("/r/t", "", NodeKind::PersistentSequentialTtl(hour))
        .await?;
    cases.check("sequential ttl", made.path == "/r/t0000000003");
    client.create("/r/e", "", NodeKind::Ephemeral).await?;
    let refused = client.create("/r/e/x", "", PLAIN).await;
    cases.refused(
        "child of an ephemeral",
        refused,
        &ErrorKind::NoChildrenForEphemerals,
    );
    cases.check("children", client.children("/r").await?.names.len() == 5);
    counts(cases, client).await?;
    cases.refused(
        "not empty",
        client.delete("/r", Version::Any).await,
        &ErrorKind::NotEmpty,
    );
    client.delete("/r/e", 0).await?;
    cases.check("delete", client.exists("/r/e").await?.is_none());
    cases.refused(
        "delete again",
        client.delete("/r/e", 0).await,
        &ErrorKind::NoNode,
    );
    cases.check("sync", client.sync("/r").await.is_ok());
    cases.check("config", client.config().await.is_ok());
    let change = Reconfig::Members("server.1=127.0.0.1:1:2;3".into());
    let refused = client.reconfig(change, None).await;
    cases.refused("reconfig", refused, &ErrorKind::ReconfigDisabled);
    let large = vec![0; 2 << 20];
    let refused = client.set("/r", &large, Version::Any).await;
    let too_large = |error: roo_client::Error| matches!(error.kind(), ErrorKind::TooLarge { .. });
    cases.check("too large", refused.is_err_and(too_large));
    Ok(())
}

async fn counts(cases: &mut Cases, client: &Client) -> Result<()> {
    let count = client.descendants_count("/r").await;
    if cases.has("counts") {
        cases.check("count", count? == 5);
        cases.check("ephemerals", client.ephemerals("/r").await? == ["/r/e"]);
    } else {
        cases.refused("count", count, &ErrorKind::Unimplemented);
        let owned = client.ephemerals("/r").await;
        cases.refused("ephemerals", owned, &ErrorKind::Unimplemented);
    }
    Ok(())
}

async fn multis(cases: &mut Cases, client: &Client) -> Result<()> {
    let ops = Multi::new()
        .create("/m", "1", PLAIN)
        .create("/m/k", "", NodeKind::Container)
        .set("/m", "2", 0)
        .check("/m", 1)
        .delete("/m/k", 0);
    let results = client.multi(ops).await?;
    let good = match results.as_slice() {
        [
            OpResult::Created(created),
            OpResult::Created(_),
            OpResult::Set(stat),
            OpResult::Checked,
            OpResult::Deleted,
        ] => {
            let told = created.stat.czxid == created.zxid.0;
            created.path == "/m" && stat.version == 1 && told == cases.has("multi_stat")
        }
        _ => false,
    };
    if !good {
        println!("   {results:?}");
    }
    cases.check("multi", good);
    let ops = Multi::new()
        .set("/m", "3", 1)
        .delete("/absent", Version::Any);
    let error = client.multi(ops).await.err();
    let named = error.is_some_and(|error| {
        error.failed_op() == Some(1)
            && error.path() == Some("/absent")
            && *error.kind() == ErrorKind::NoNode
    });
    cases.check(
        "multi that fails",
        named && client.get("/m").await?.data == "2",
    );
    let ops = MultiRead::new().get("/m").children("/m").get("/absent");
    let results = client.multi_read(ops).await;
    if !cases.has("multi_read") {
        cases.refused("multi read", results, &ErrorKind::Unimplemented);
        return Ok(());
    }
    let results = results?;
    let good = match results.as_slice() {
        [
            Ok(ReadResult::Node(node)),
            Ok(ReadResult::Children(names)),
            Err(error),
        ] => node.data == "2" && names.is_empty() && *error.kind() == ErrorKind::NoNode,
        _ => false,
    };
    cases.check("multi read", good);
    Ok(())
}

/// Watches that tell once.
async fn single_watches(cases: &mut Cases, client: &Client, other: &Client) -> Result<()> {
    let (_, born) = client.exists_and_watch("/o").await?;
    let created = other.create("/o", "", PLAIN).await?;
    let event = born.await.unwrap();
    cases.check("created", event.kind == EventKind::Created);
    let zxid = cases.has("event_zxid").then_some(created.zxid);
    cases.check("zxid of an event", event.zxid == zxid);
    let (_, set) = client.get_and_watch("/o").await?;
    let (_, child) = client.children_and_watch("/o").await?;
    other.create("/o/c", "", PLAIN).await?;
    cases.check(
        "child",
        child.await.unwrap().kind == EventKind::ChildrenChanged,
    );
    other.set("/o", "x", Version::Any).await?;
    cases.check("data", set.await.unwrap().kind == EventKind::DataChanged);
    let (_, gone) = client.get_and_watch("/o/c").await?;
    other.delete("/o/c", Version::Any).await?;
    cases.check("deleted", gone.await.unwrap().kind == EventKind::Deleted);
    Ok(())
}

/// Streams of both modes. Before 3.9 a session has only one on a path: the last one.
async fn streams(cases: &mut Cases, client: &Client, other: &Client) -> Result<()> {
    let top = if cases.has("watch_modes") { "/w" } else { "/" };
    let all = client.watch(top, WatchMode::PersistentRecursive).await;
    if !cases.has("streams") {
        cases.refused("stream", all, &ErrorKind::Unimplemented);
        return Ok(());
    }
    let mut all = all?;
    let mut one = client.watch("/w", WatchMode::Persistent).await?;
    other.create("/w", "", PLAIN).await?;
    other.create("/w/c", "", PLAIN).await?;
    other.set("/w", "x", Version::Any).await?;
    other.delete("/w/c", Version::Any).await?;
    let mut told = Vec::new();
    for _ in 0..4 {
        let event = all.next().await.unwrap();
        told.push((event.kind, event.path));
    }
    let expected = [
        (EventKind::Created, "/w"),
        (EventKind::Created, "/w/c"),
        (EventKind::DataChanged, "/w"),
        (EventKind::Deleted, "/w/c"),
    ];
    let expected = expected.map(|(kind, path)| (kind, path.to_owned()));
    cases.check("recursive stream", told == expected);
    let mut told = Vec::new();
    for _ in 0..4 {
        told.push(one.next().await.unwrap().kind);
    }
    let expected = [
        EventKind::Created,
        EventKind::ChildrenChanged,
        EventKind::DataChanged,
        EventKind::ChildrenChanged,
    ];
    cases.check("stream of a node", told == expected);
    let mut kinds = (WatchKind::Persistent, WatchKind::PersistentRecursive);
    if !cases.has("watch_modes") {
        let refused = client.remove_watches("/w", kinds.0).await;
        cases.refused("kinds of streams", refused, &ErrorKind::Unimplemented);
        kinds = (WatchKind::Any, WatchKind::Any);
    }
    client.remove_watches("/w", kinds.0).await?;
    cases.check(
        "removed",
        one.next().await.is_none() && one.end() == Some(WatchEnd::Removed),
    );
    drop(all);
    // The watch taken back by dropping is gone when this is answered.
    let refused = client.remove_watches(top, kinds.1).await;
    cases.refused("taken back", refused, &ErrorKind::NoWatcher);
    Ok(())
}

async fn identities(cases: &mut Cases, client: &Client, stranger: &Client) -> Result<()> {
    client.add_auth("digest", "user:secret").await?;
    let known = client.who_am_i().await;
    if cases.has("who_am_i") {
        let known = known?;
        let mut named = known.iter().filter(|id| id.scheme == "digest");
        cases.check("who am I", named.any(|id| id.id == "user"));
    } else {
        cases.refused("who am I", known, &ErrorKind::Unimplemented);
    }
    let own = CreateOptions::new(PLAIN, acls::creator_all());
    client.create("/acl", "mine", own).await?;
    let (list, _) = client.acl("/acl").await?;
    cases.check("acl", list == [acls::digest("user", "secret")]);
    cases.refused(
        "who may not read",
        stranger.get("/acl").await,
        &ErrorKind::NoAuth,
    );
    let stat = client.set_acl("/acl", &acls::read_only(), 0).await?;
    cases.check(
        "set acl",
        stat.aversion == 1 && stranger.get("/acl").await?.data == "mine",
    );
    Ok(())
}

async fn trees(cases: &mut Cases, one: &str, root: &Client) -> Result<()> {
    let client = connect(&format!("{one}/tree/top")).await?;
    let absent = client.create("/a", "", PLAIN).await;
    let hint = absent
        .err()
        .is_some_and(|error| error.to_string().contains("/tree/top"));
    cases.check("absent chroot", hint);
    client.create_parents("/a/b/c").await?;
    cases.check("parents", root.exists("/tree/top/a/b").await?.is_some());
    let (_, grown) = client.children_and_watch("/a").await?;
    let created = client
        .create("/a/s", "", NodeKind::EphemeralSequential)
        .await?;
    cases.check("chroot", created.path == "/a/s0000000001");
    cases.check("chroot of events", grown.await.unwrap().path == "/a");
    let quota = Quota {
        nodes: Some(10),
        hard_bytes: Some(1000),
        ..Quota::default()
    };
    client.set_quota("/a", quota).await?;
    let status = client.quota("/a").await?;
    let good = status.is_some_and(|status| status.limits == quota && status.nodes == 3);
    cases.check("quota", good);
    client.delete_quota("/a").await?;
    cases.check("no quota", client.quota("/a").await?.is_none());
    cases.check("delete all", client.delete_all("/").await? == 4);
    cases.check(
        "deleted all",
        root.children("/tree").await?.names.is_empty(),
    );
    client.create_parents("/x").await?;
    client.create("/d", "", PLAIN).await?;
    client.create("/d-1", "", PLAIN).await?;
    client.delete_children_detached("/", "d-");
    client.delete_detached("/d");
    client.close().await?;
    cases.check("detached", root.exists("/tree/top/d").await?.is_none());
    Ok(())
}

/// Makes a relay do something: `c` cuts, `b` bars the door, `o` opens it.
async fn order(control: &str, what: u8) {
    let mut stream = TcpStream::connect(control).await.unwrap();
    stream.write_all(&[what]).await.unwrap();
    let _ = stream.read(&mut [0]).await;
}

async fn losses(cases: &mut Cases, proxy: &str, control: &str, other: &Client) -> Result<()> {
    let client = connect(proxy).await?;
    client.create("/live", "", NodeKind::Ephemeral).await?;
    let session = client.session_id();
    let mut states = client.session_events();
    let (_, changed) = client.get_and_watch("/live").await?;
    let mut stream = match client.watch("/live", WatchMode::PersistentRecursive).await {
        Err(_) if !cases.has("streams") => None,
        stream => Some(stream?),
    };
    order(control, b'b').await;
    cases.check(
        "disconnected",
        states.next().await == Some(SessionState::Disconnected),
    );
    let (read, ()) = tokio::join!(client.get("/live"), async {
        other.set("/live", "missed", Version::Any).await.unwrap();
        order(control, b'o').await;
    });
    cases.check("a read waits", read?.data == "missed");
    cases.check("the same session", client.session_id() == session);
    cases.check(
        "a missed event",
        changed.await.unwrap().kind == EventKind::DataChanged,
    );
    if let Some(stream) = &mut stream {
        cases.check("a gap", stream.next().await.unwrap().kind == EventKind::Gap);
        other.set("/live", "told", Version::Any).await?;
        cases.check(
            "told again",
            stream.next().await.unwrap().kind == EventKind::DataChanged,
        );
    }
    let second = Client::connect(
        proxy,
        Options {
            credentials: Some(client.credentials()),
            ..Options::default()
        },
    );
    let second = second.await?;
    let owner = second.get("/live").await?.stat.ephemeral_owner;
    cases.check("credentials", owner == second.session_id().0);
    second.close().await?;
    cases.check("closed", other.exists("/live").await?.is_none());

    let short = Options {
        session_timeout: Duration::from_secs(1),
        ..Options::default()
    };
    let client = Client::connect(proxy, short).await?;
    client.create("/dead", "", NodeKind::Ephemeral).await?;
    let (_, watch) = client.exists_and_watch("/dead").await?;
    order(control, b'b').await;
    let error = client.get("/dead").await.err();
    cases.check("expired", error.is_some_and(|error| error.session_lost()));
    cases.check("a watch ends", watch.await == Err(WatchEnd::SessionExpired));
    order(control, b'o').await;
    let (there, gone) = other.exists_and_watch("/dead").await?;
    cases.check("its ephemeral goes", there.is_none() || gone.await.is_ok());
    Ok(())
}

/// What is written at one server is read at each, behind a sync.
async fn several(cases: &mut Cases, all: &str) -> Result<()> {
    connect(all).await?.create("/several", "", PLAIN).await?;
    let mut each = Vec::new();
    for host in all.split(',') {
        each.push(connect(host).await?);
    }
    for (number, writer) in each.iter().enumerate() {
        let value = format!("by {number}");
        writer.set("/several", &value, Version::Any).await?;
        let mut seen = true;
        for reader in &each {
            reader.sync("/several").await?;
            seen &= reader.get("/several").await?.data == value;
        }
        cases.check("written at one server, read at each", seen);
    }
    Ok(())
}

async fn run(cases: &mut Cases, arguments: &[String]) -> Result<()> {
    let [_, one, proxy, control, all] = arguments else {
        println!("arguments: CONNECT PROXY CONTROL ALL");
        return Ok(());
    };
    let (client, other) = (connect(one).await?, connect(one).await?);
    nodes(cases, &client).await?;
    multis(cases, &client).await?;
    single_watches(cases, &client, &other).await?;
    streams(cases, &client, &other).await?;
    trees(cases, one, &client).await?;
    losses(cases, proxy, control, &other).await?;
    identities(cases, &client, &other).await?;
    several(cases, all).await?;
    client.close().await?;
    cases.refused("closed client", client.get("/r").await, &ErrorKind::Closed);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let lacks = std::env::var("LACKS").unwrap_or_default();
    let mut cases = Cases {
        passed: 0,
        failed: 0,
        lacks: lacks.split(',').map(str::to_owned).collect(),
    };
    match timeout(DEADLINE, run(&mut cases, &arguments)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            println!("{error}");
            cases.check("to the end", false);
        }
        Err(_) => cases.check("in time", false),
    }
    println!("{} passed, {} failed", cases.passed, cases.failed);
    ExitCode::from(u8::from(cases.failed > 0))
}
