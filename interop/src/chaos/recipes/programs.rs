//! What a user does with each recipe.

mod following;
mod gathering;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use roo_client::recipes::{
    Candidate, Counter, Encoding, Ids, Latch, Leadership, Lease, Lock, LockGuard, Queue, Reign,
    RwLock, Semaphore,
};
use roo_client::{Client, ErrorKind, Multi, OpResult, Version};

use super::ledger::{Fenced, Holding, Line};
use super::{
    Book, COUNT, ELECTION, IDS, LEDGER, LOCK, Life, NAMED, POP_QUEUE, QUEUE, RW_LOCK, SEMAPHORE,
    SHARES, TERM,
};

/// Does everything at once until the run is over, and each thing once more then.
pub(super) async fn run(life: &Life<'_>) -> Result<()> {
    tokio::try_join!(
        repeat(life, "lock", lock),
        repeat(life, "read or write", read_or_write),
        repeat(life, "lease", lease),
        repeat(life, "lead", lead),
        repeat(life, "count", count),
        repeat(life, "count by name", count_by_name),
        repeat(life, "put", put),
        consume(life),
        repeat(life, "draw", draw),
        repeat(life, "gate", gathering::gate),
        repeat(life, "meet", gathering::meet),
        following::change(life),
        following::follow_tree(life),
        following::follow_node(life),
    )?;
    drain(life).await
}

async fn repeat<'a>(
    life: &'a Life<'a>,
    name: &'static str,
    what: impl AsyncFn(&'a Life<'a>) -> Result<()>,
) -> Result<()> {
    loop {
        let is_last = life.is_ending();
        let doing = life.doing(name);
        what(life).await.context(name)?;
        drop(doing);
        if is_last {
            return Ok(());
        }
        life.nap(60).await;
    }
}

/// Gives up waiting now and then.
async fn patiently<T>(
    life: &Life<'_>,
    wait: impl Future<Output = roo_client::Result<T>>,
) -> Result<Option<T>> {
    if life.is_ending() || life.user.below(4) > 0 {
        return Ok(Some(wait.await?));
    }
    let limit = life.user.time(0, 300);
    Ok(tokio::time::timeout(limit, wait).await.ok().transpose()?)
}

/// Something that is held.
enum Tenure<'a> {
    Lock(&'a LockGuard),
    Lease(&'a Lease),
    Term(&'a Leadership),
}

impl Tenure<'_> {
    fn token(&self) -> i64 {
        match self {
            Self::Lock(guard) => guard.fencing_token().0,
            Self::Lease(lease) => lease.token().0,
            Self::Term(leadership) => leadership.term().0,
        }
    }

    fn fence(&self, multi: Multi) -> Multi {
        match self {
            Self::Lock(guard) => guard.fence(multi),
            Self::Lease(lease) => lease.fence(multi),
            Self::Term(leadership) => leadership.fence(multi),
        }
    }

    async fn is_held(&self) -> roo_client::Result<bool> {
        match self {
            Self::Lock(guard) => guard.is_held().await,
            Self::Lease(lease) => lease.is_held().await,
            Self::Term(leadership) => leadership.is_held().await,
        }
    }
}

/// Where what is held stands in the book.
type Which<T> = fn(&mut Book) -> &mut T;

/// Holds for a while, does something, and asks whether it still holds.
async fn hold(
    life: &Life<'_>,
    line: Which<Line>,
    holding: Holding,
    tenure: &Tenure<'_>,
    work: impl AsyncFnOnce() -> Result<()>,
) -> Result<()> {
    let token = tenure.token();
    let place = line(&mut life.book()).acquired(holding, token)?;
    life.nap(10).await;
    work().await?;
    let moment = line(&mut life.book()).moment();
    if tenure.is_held().await? {
        line(&mut life.book()).held(place, moment)?;
    }
    Ok(())
}

/// Whether a write took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Written {
    Yes,
    /// Or nobody knows: nothing more is written then.
    No,
}

/// Writes to a node, which is fenced, and to a resource outside, which looks at tokens.
async fn write(
    life: &Life<'_>,
    line: Which<Line>,
    node: Which<Fenced>,
    path: &'static str,
    tenure: &Tenure<'_>,
) -> Result<()> {
    for _ in 0..1 + life.user.below(3) {
        if write_node(life, node, path, tenure).await? == Written::No {
            return Ok(());
        }
        life.nap(5).await;
        life.stand_still();
        // Whoever has stood still may be late, and does not know.
        let is_taken = line(&mut life.book()).write_outside(tenure.token());
        if !is_taken {
            ensure!(
                !tenure.is_held().await?,
                "token {:x} is refused although it is the holder's",
                tenure.token()
            );
            return Ok(());
        }
    }
    Ok(())
}

async fn write_node(
    life: &Life<'_>,
    node: Which<Fenced>,
    path: &'static str,
    tenure: &Tenure<'_>,
) -> Result<Written> {
    let read = life.client.get(path).await?;
    let text = std::str::from_utf8(&read.data)?;
    node(&mut life.book()).observe(read.stat.version, text)?;
    let data = Fenced::next(tenure.token(), text)?;
    life.nap(3).await;
    let set = tenure.fence(Multi::new().set(path, &data, Version::Any));
    match life.client.multi(set).await {
        Ok(results) => {
            let stat = results.iter().find_map(|result| match result {
                OpResult::Set(stat) => Some(stat),
                _ => None,
            });
            let stat = stat.context("a set without a stat")?;
            node(&mut life.book()).observe(stat.version, &data)?;
            Ok(Written::Yes)
        }
        Err(error) if *error.kind() == ErrorKind::ConnectionLoss => Ok(Written::No),
        Err(error) if *error.kind() == ErrorKind::NoNode => {
            ensure!(
                !tenure.is_held().await?,
                "the fence of a holder is refused: {error}"
            );
            Ok(Written::No)
        }
        Err(error) => Err(error.into()),
    }
}

async fn lock(life: &Life<'_>) -> Result<()> {
    let lock = Lock::new(&life.client, LOCK);
    let Some(guard) = patiently(life, lock.acquire()).await? else {
        return Ok(());
    };
    let tenure = Tenure::Lock(&guard);
    let line: Which<Line> = |book| &mut book.lock;
    hold(life, line, Holding::Alone, &tenure, async || {
        write(life, line, |book| &mut book.ledger, LEDGER, &tenure).await
    })
    .await?;
    release(life, guard).await
}

/// By a call, or as it goes when nobody waits for it.
async fn release(life: &Life<'_>, guard: LockGuard) -> Result<()> {
    if life.user.below(5) == 0 && !life.is_ending() {
        drop(guard);
        return Ok(());
    }
    Ok(guard.release().await?)
}

async fn read_or_write(life: &Life<'_>) -> Result<()> {
    let lock = RwLock::new(&life.client, RW_LOCK);
    let (holding, guard) = if life.user.below(3) == 0 {
        (Holding::Alone, patiently(life, lock.write()).await?)
    } else {
        (Holding::Shared, patiently(life, lock.read()).await?)
    };
    let Some(guard) = guard else { return Ok(()) };
    let tenure = Tenure::Lock(&guard);
    let work = async || Ok(());
    hold(life, |book| &mut book.rw_lock, holding, &tenure, work).await?;
    release(life, guard).await
}

async fn lease(life: &Life<'_>) -> Result<()> {
    let semaphore = Semaphore::new(&life.client, SEMAPHORE, SHARES);
    let Some(lease) = patiently(life, semaphore.acquire()).await? else {
        return Ok(());
    };
    let tenure = Tenure::Lease(&lease);
    let line: Which<Line> = |book| &mut book.semaphore;
    hold(life, line, Holding::Shared, &tenure, async || Ok(())).await?;
    Ok(lease.give_back().await?)
}

/// In both ways in which one may lead.
async fn lead(life: &Life<'_>) -> Result<()> {
    let line: Which<Line> = |book| &mut book.election;
    let reign = async |leadership: &Leadership| -> Result<()> {
        let tenure = Tenure::Term(leadership);
        hold(life, line, Holding::Alone, &tenure, async || {
            write(life, line, |book| &mut book.term, TERM, &tenure).await
        })
        .await
    };
    if life.user.below(2) == 0 {
        let latch = Latch::new(&life.client, ELECTION, life.user.name);
        if let Some(leadership) = patiently(life, latch.lead()).await? {
            reign(&leadership).await?;
            leadership.resign().await?;
        }
        return Ok(());
    }
    let candidate = Candidate::new(&life.client, ELECTION, life.user.name);
    match Box::pin(patiently(life, candidate.reign(reign))).await? {
        Some(Reign::Finished(outcome)) => outcome,
        _ => Ok(()),
    }
}

fn counter(client: &Client) -> Counter {
    Counter::with_encoding(client, COUNT, Encoding::Decimal)
}

async fn count(life: &Life<'_>) -> Result<()> {
    let counter = counter(&life.client);
    for _ in 0..3 {
        life.book().count.begin();
        match counter.add(1).await {
            Ok(sum) => life.book().count.done(sum)?,
            Err(error) => {
                if !error.outcome_unknown() {
                    life.book().count.failed();
                }
                return unless_unknown(error);
            }
        }
    }
    Ok(())
}

/// A change that is known by a number on the user's disk: begun in an earlier life, it is made again.
async fn count_by_name(life: &Life<'_>) -> Result<()> {
    let counter = Counter::with_writer(&life.client, NAMED, Encoding::Decimal, life.user.name);
    let change = life.user.change.get();
    counter.add_once(&change.to_string(), 1).await?;
    life.user.change.set(change + 1);
    life.book().named += 1;
    Ok(())
}

/// That an outcome is not known ends nothing, unless the session is over.
fn unless_unknown(error: roo_client::Error) -> Result<()> {
    if error.outcome_unknown() && !error.session_lost() {
        return Ok(());
    }
    Err(error.into())
}

/// A queue, and what is noted of its items.
#[derive(Clone, Copy)]
struct Items {
    path: &'static str,
    book: Which<super::ledger::Items>,
}

/// Nothing is popped here, so that nothing may be lost.
const TAKEN: Items = Items {
    path: QUEUE,
    book: |book| &mut book.items,
};

const POPPED: Items = Items {
    path: POP_QUEUE,
    book: |book| &mut book.pop_items,
};

impl Items {
    fn any(life: &Life<'_>) -> Self {
        [TAKEN, POPPED][life.user.below(2)]
    }
}

async fn put(life: &Life<'_>) -> Result<()> {
    let Items { path, book } = Items::any(life);
    let number = life.user.items.get() + 1;
    life.user.items.set(number);
    let item = format!("{}-{number}", life.user.name);
    book(&mut life.book()).about_to_put(&item);
    match Queue::new(&life.client, path).put(&item).await {
        Ok(()) => {
            book(&mut life.book()).was_put(&item);
            Ok(())
        }
        Err(error) => unless_unknown(error),
    }
}

async fn consume(life: &Life<'_>) -> Result<()> {
    while !life.is_ending() {
        life.nap(60).await;
        let _doing = life.doing("consume");
        if life.user.below(3) == 0 {
            pop(life).await?;
        } else {
            take(life, Items::any(life)).await?;
        }
    }
    Ok(())
}

/// Locks an item, if there is one that is free, and removes it or gives it back.
async fn take(life: &Life<'_>, Items { path, book }: Items) -> Result<()> {
    let queue = Queue::new(&life.client, path);
    let moment = book(&mut life.book()).moment();
    let Some(item) = queue.try_take().await? else {
        return Ok(());
    };
    let name = String::from_utf8_lossy(&item.data()).into_owned();
    book(&mut life.book()).was_taken(&name, moment)?;
    life.nap(20).await;
    if life.user.below(5) == 0 && !life.is_ending() {
        drop(item);
        return Ok(());
    }
    book(&mut life.book()).about_to_remove(&name);
    match item.done().await {
        Ok(()) => book(&mut life.book()).was_removed(&name),
        Err(error) => unless_unknown(error),
    }
}

async fn pop(life: &Life<'_>) -> Result<()> {
    let Items { path, book } = POPPED;
    let queue = Queue::new(&life.client, path);
    let moment = book(&mut life.book()).moment();
    book(&mut life.book()).about_to_pop();
    let limit = Duration::from_millis(200);
    // Whoever gives up may have removed one.
    let Ok(popped) = tokio::time::timeout(limit, queue.pop()).await else {
        return Ok(());
    };
    match popped {
        Ok(data) => {
            let item = data.first().context("an item without data")?;
            let name = String::from_utf8_lossy(item).into_owned();
            book(&mut life.book()).was_popped(&name, moment)
        }
        Err(error) => unless_unknown(error),
    }
}

/// Empties the queues when this user puts nothing any more.
async fn drain(life: &Life<'_>) -> Result<()> {
    let _doing = life.doing("drain");
    for items in [TAKEN, POPPED] {
        let queue = Queue::new(&life.client, items.path);
        loop {
            take(life, items).await?;
            // What it has put in an earlier life may not be seen everywhere yet.
            let is_fresh = life.client.sync(items.path).await.is_ok();
            if is_fresh && queue.is_empty().await? {
                break;
            }
        }
    }
    Ok(())
}

async fn draw(life: &Life<'_>) -> Result<()> {
    let ids = Ids::new(&life.client, IDS, 3);
    for _ in 0..4 {
        let id = ids.next().await?;
        life.book().ids.drew(id)?;
    }
    Ok(())
}

/// That a connection has ended ends nothing.
fn unless_cut_off(error: roo_client::Error) -> Result<()> {
    match error.kind() {
        ErrorKind::ConnectionLoss => Ok(()),
        _ => Err(error.into()),
    }
}
