//! What this process does in each scenario, and what must hold afterwards.

use std::collections::BTreeMap;
use std::fs;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use roo_client::Client;
use roo_client::recipes::{
    Barrier, Candidate, ContenderOptions, Counter, DoubleBarrier, Encoding, Group, Latch, Layout,
    Lock, LockGuard, Queue, QueueLayout, Reign, RwLock, Semaphore,
};

use super::{Meeting, Scenario};

/// What we do, running.
pub(crate) type Running = Pin<Box<dyn Future<Output = Result<()>>>>;

const NAME: &str = "rust";
const JAVA: &[&str] = &["java"];
const PYTHON: &[&str] = &["python"];
const BOTH: &[&str] = &["java", "python"];

macro_rules! scenario {
    ($name:literal, $with:expr, $number:expr, $ours:expr, $check:expr) => {
        Scenario {
            name: $name,
            with: $with,
            number: $number,
            ours: |client, meeting| Box::pin($ours(client, meeting)),
            check: $check,
        }
    };
}

pub(super) const ALL: &[Scenario] = &[
    scenario!("lock", BOTH, None, lock, |m, n| turns_grew(m, "lock", n)),
    scenario!("klock", PYTHON, None, klock, |m, n| turns_grew(
        m, "klock", n
    )),
    scenario!("rw", BOTH, None, rw, nothing),
    scenario!("krw", PYTHON, None, krw, nothing),
    scenario!("latch", BOTH, None, latch, |m, n| turns_grew(m, "latch", n)),
    scenario!("select", JAVA, None, select, |m, n| turns(m, "select", n)),
    scenario!("sem", JAVA, None, sem, nothing),
    scenario!("ksem", PYTHON, None, ksem, nothing),
    scenario!("count", JAVA, None, count, nothing),
    scenario!("icount", BOTH, None, icount, nothing),
    scenario!("kcount", PYTHON, None, kcount, nothing),
    scenario!("barrier", BOTH, None, barrier, nothing),
    scenario!("double", BOTH, Some(3), double, nothing),
    scenario!("squeue", JAVA, None, squeue, |m, n| items(m, "squeue", n)),
    scenario!("queue", JAVA, None, queue, |m, n| items(m, "queue", n)),
    scenario!("kqueue", PYTHON, None, kqueue, |m, n| items(m, "kqueue", n)),
    scenario!("klqueue", PYTHON, None, klqueue, |m, n| items(
        m, "klqueue", n
    )),
    scenario!("group", JAVA, Some(2), group, nothing),
];

fn nothing(_: &Meeting, _: usize) -> Result<()> {
    Ok(())
}

/// Each has taken all its turns.
fn turns(meeting: &Meeting, what: &str, participants: usize) -> Result<()> {
    let mut counts = BTreeMap::new();
    for line in meeting.noted(what) {
        let name = line.split(' ').next().unwrap_or_default().to_owned();
        *counts.entry(name).or_insert(0) += 1;
    }
    let is_right = counts.len() == participants && counts.values().all(|n| *n == meeting.number);
    ensure!(is_right, "turns taken: {counts:?}");
    Ok(())
}

/// And the fencing tokens grew from holder to holder.
fn turns_grew(meeting: &Meeting, what: &str, participants: usize) -> Result<()> {
    turns(meeting, what, participants)?;
    let mut last = 0;
    for line in meeting.noted(what) {
        let token: i64 = line.split(' ').nth(1).context("a token")?.parse()?;
        ensure!(token > last, "{line} behind {last}");
        last = token;
    }
    Ok(())
}

/// Each item came out once.
fn items(meeting: &Meeting, what: &str, participants: usize) -> Result<()> {
    let mut found = meeting.noted(what);
    found.sort_unstable();
    let count = found.len();
    found.dedup();
    let expected = meeting.number * participants;
    ensure!(
        found.len() == expected && count == expected,
        "{count} items came out, {} different ones of {expected}",
        found.len()
    );
    Ok(())
}

fn named(layout: Layout) -> ContenderOptions {
    ContenderOptions {
        layout,
        identifier: NAME.into(),
        ..ContenderOptions::default()
    }
}

/// Looks again in a moment; only where foreign processes tell by files.
async fn until(holds: impl Fn() -> Result<bool>) -> Result<()> {
    while !holds()? {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    Ok(())
}

fn hold(meeting: &Meeting, what: &str, token: i64) -> Result<()> {
    meeting.alone(what, || meeting.note(what, &format!("{NAME} {token}")))
}

async fn take_turns(lock: Lock, meeting: Meeting, what: &str) -> Result<()> {
    for _ in 0..meeting.number {
        let guard = lock.acquire().await?;
        hold(&meeting, what, guard.fencing_token().0)?;
        guard.release().await?;
    }
    Ok(())
}

async fn lock(client: Client, meeting: Meeting) -> Result<()> {
    let lock = Lock::with_options(&client, "/lock", named(Layout::Curator));
    take_turns(lock, meeting, "lock").await
}

async fn klock(client: Client, meeting: Meeting) -> Result<()> {
    let lock = Lock::with_options(&client, "/klock", named(Layout::Kazoo));
    take_turns(lock, meeting, "klock").await
}

async fn read_and_write(lock: RwLock, meeting: Meeting, what: &str) -> Result<()> {
    let release = async |guard: LockGuard| guard.release().await;
    for _ in 0..meeting.number {
        let guard = lock.write().await?;
        meeting.alone(what, || {
            let readers = meeting.count(&format!("{what}-reader-"))?;
            ensure!(readers == 0, "{readers} readers beside a writer");
            Ok(())
        })?;
        release(guard).await?;
        let guard = lock.read().await?;
        let path = meeting.shared(&format!("{what}-reader-{NAME}"));
        fs::write(&path, "")?;
        let inside = meeting.shared(&format!("{what}-inside"));
        ensure!(!inside.exists(), "a writer beside a reader");
        fs::remove_file(path)?;
        release(guard).await?;
    }
    Ok(())
}

async fn rw(client: Client, meeting: Meeting) -> Result<()> {
    let lock = RwLock::with_options(&client, "/rw", named(Layout::Curator));
    read_and_write(lock, meeting, "rw").await
}

async fn krw(client: Client, meeting: Meeting) -> Result<()> {
    let lock = RwLock::with_options(&client, "/krw", named(Layout::Kazoo));
    read_and_write(lock, meeting, "krw").await
}

async fn latch(client: Client, meeting: Meeting) -> Result<()> {
    let latch = Latch::new(&client, "/latch", NAME);
    for _ in 0..meeting.number {
        let leadership = latch.lead().await?;
        let leader = latch.leader().await?.context("a leader")?;
        ensure!(leader.identifier == NAME, "another leads");
        hold(&meeting, "latch", leadership.term().0)?;
        leadership.resign().await?;
    }
    Ok(())
}

async fn select(client: Client, meeting: Meeting) -> Result<()> {
    let candidate = Candidate::new(&client, "/select", NAME);
    for _ in 0..meeting.number {
        let reign = candidate
            .reign(async |_| hold(&meeting, "select", 0))
            .await?;
        let Reign::Finished(outcome) = reign else {
            anyhow::bail!("the leadership was lost");
        };
        outcome?;
    }
    Ok(())
}

async fn take_leases(semaphore: Semaphore, meeting: Meeting, what: &str) -> Result<()> {
    for _ in 0..meeting.number {
        let lease = semaphore.acquire().await?;
        let path = meeting.shared(&format!("{what}-slot-{NAME}"));
        fs::File::create_new(&path)?;
        let slots = meeting.count(&format!("{what}-slot-"))?;
        ensure!(slots <= 2, "{slots} leases");
        fs::remove_file(path)?;
        lease.give_back().await?;
    }
    Ok(())
}

async fn sem(client: Client, meeting: Meeting) -> Result<()> {
    let semaphore = Semaphore::with_options(&client, "/sem", 2, named(Layout::Curator));
    take_leases(semaphore, meeting, "sem").await
}

async fn ksem(client: Client, meeting: Meeting) -> Result<()> {
    let semaphore = Semaphore::with_options(&client, "/ksem", 2, named(Layout::Kazoo));
    take_leases(semaphore, meeting, "ksem").await
}

/// Adds our part, and waits until the others have added theirs.
async fn add_up(counter: Counter, meeting: Meeting, participants: i64) -> Result<()> {
    let number = i64::try_from(meeting.number)?;
    for _ in 0..meeting.number {
        counter.add(1).await?;
    }
    let mut value = counter.get_latest().await?;
    while value != participants * number {
        ensure!(value < participants * number, "{value} is too much");
        tokio::time::sleep(Duration::from_millis(10)).await;
        value = counter.get_latest().await?;
    }
    Ok(())
}

async fn count(client: Client, meeting: Meeting) -> Result<()> {
    add_up(Counter::new(&client, "/count"), meeting, 2).await
}

async fn icount(client: Client, meeting: Meeting) -> Result<()> {
    let counter = Counter::with_encoding(&client, "/icount", Encoding::Int);
    add_up(counter, meeting, 3).await
}

async fn kcount(client: Client, meeting: Meeting) -> Result<()> {
    let counter = Counter::with_encoding(&client, "/kcount", Encoding::Decimal);
    add_up(counter, meeting, 2).await
}

async fn barrier(client: Client, meeting: Meeting) -> Result<()> {
    let gate = Barrier::new(&client, "/gate");
    gate.close().await?;
    fs::write(meeting.shared("gate-closed"), "")?;
    until(|| Ok(meeting.count("gate-waits-")? == BOTH.len())).await?;
    // They say so just before they wait; whoever waits watches.
    until(|| Ok(meeting.watchers("/gate")? == BOTH.len())).await?;
    fs::write(meeting.shared("gate-open"), "")?;
    gate.open().await?;
    Ok(())
}

async fn double(client: Client, meeting: Meeting) -> Result<()> {
    let barrier = DoubleBarrier::new(&client, "/together", meeting.number);
    fs::write(meeting.shared("double-came-rust"), "")?;
    let entered = barrier.enter().await?;
    let came = meeting.count("double-came-")?;
    ensure!(came == meeting.number, "in when {came} had come");
    fs::write(meeting.shared("double-in-rust"), "")?;
    until(|| Ok(meeting.count("double-in-")? == meeting.number)).await?;
    fs::write(meeting.shared("double-goes-rust"), "")?;
    entered.leave().await?;
    let goes = meeting.count("double-goes-")?;
    ensure!(goes == meeting.number, "out when {goes} had gone");
    Ok(())
}

/// Puts our items and takes what is there until all have come out.
async fn put_and_take(queue: Queue, meeting: Meeting, what: &str, pops: bool) -> Result<()> {
    for item in 0..meeting.number {
        queue.put(format!("{NAME}-{item}")).await?;
    }
    while meeting.noted(what).len() < 2 * meeting.number {
        let wait = Duration::from_millis(100);
        let data = if pops {
            tokio::time::timeout(wait, queue.pop())
                .await
                .ok()
                .transpose()?
        } else {
            match queue.try_take().await? {
                None => None,
                Some(item) => {
                    let data = item.all().to_vec();
                    item.done().await?;
                    Some(data)
                }
            }
        };
        for item in data.into_iter().flatten() {
            meeting.note(what, std::str::from_utf8(&item)?)?;
        }
    }
    Ok(())
}

async fn squeue(client: Client, meeting: Meeting) -> Result<()> {
    let queue = Queue::with_layout(&client, "/squeue", QueueLayout::CuratorSimple);
    put_and_take(queue, meeting, "squeue", true).await
}

async fn queue(client: Client, meeting: Meeting) -> Result<()> {
    let queue = Queue::with_layout(&client, "/queue", QueueLayout::Curator);
    put_and_take(queue, meeting, "queue", false).await
}

async fn kqueue(client: Client, meeting: Meeting) -> Result<()> {
    let queue = Queue::with_layout(&client, "/kqueue", QueueLayout::Kazoo);
    put_and_take(queue, meeting, "kqueue", true).await
}

async fn klqueue(client: Client, meeting: Meeting) -> Result<()> {
    let queue = Queue::with_layout(&client, "/klqueue", QueueLayout::KazooLocking);
    put_and_take(queue, meeting, "klqueue", false).await
}

async fn group(client: Client, meeting: Meeting) -> Result<()> {
    let group = Group::new(&client, "/group");
    let membership = group.join(NAME, NAME).await?;
    let mut members = group.members().await?;
    while members.len() < meeting.number {
        members = group.changed(&members).await?;
    }
    ensure!(members[0].id == "java" && members[0].data == "java");
    // Whoever is seen may go.
    fs::write(meeting.shared("group-seen"), "")?;
    while members.len() == meeting.number {
        members = group.changed(&members).await?;
    }
    membership.leave().await?;
    ensure!(client.exists("/group/rust").await?.is_none());
    Ok(())
}
