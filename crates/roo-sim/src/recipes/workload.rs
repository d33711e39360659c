//! What users do: each a few of the recipes at once, again and again, then each once more in peace.

mod following;
mod gathering;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use roo_client::recipes::{
    Candidate, Counter, Encoding, Ids, Lock, Queue, Reign, RwLock, Semaphore,
};
use roo_client::{Bytes, Client, ErrorKind, Multi, NodeKind, Result, Version, Zxid};

use super::ledger::{Claim, Ledger, PERMITS, What};
use super::naive::{self, Naive};
use crate::users::Task;
use crate::users::desk::Desk;

pub use following::ARRIVE;

/// What all users share, as if there were no network between them.
#[derive(Debug, Default)]
pub struct Shared {
    pub(super) ledger: Mutex<Ledger>,
    /// What is done wrongly, to see that it is noticed.
    pub naive: Option<Naive>,
    /// Which recipes are used, a bit for each.
    pub mix: u64,
}

impl Shared {
    /// See [`Ledger`].
    pub fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One process of a user.
#[derive(Clone)]
pub(super) struct Life {
    pub(super) user: usize,
    pub(super) life: u64,
    pub(super) client: Client,
    pub(super) desk: Arc<Desk>,
    pub(super) shared: Arc<Shared>,
}

/// The program of a user.
#[must_use]
pub fn program(
    shared: &Arc<Shared>,
    user: usize,
    life: u64,
    client: &Client,
    desk: &Arc<Desk>,
) -> Vec<Task> {
    let life = Life {
        user,
        life,
        client: client.clone(),
        desk: Arc::clone(desk),
        shared: Arc::clone(shared),
    };
    vec![Box::pin(async move {
        if live(&life).await.is_ok() {
            life.desk.satisfy();
        }
        let _doing = Doing::begin(&life, "close");
        // What is left to tidy up goes with the session.
        let _ = life.client.close().await;
    })]
}

/// All at once, until the first one meets the end of the session.
async fn live(life: &Life) -> Result<()> {
    life.client.connected().await?;
    prepare(life).await?;
    let tasks: [std::pin::Pin<Box<dyn Future<Output = Result<()>> + '_>>; 14] = [
        Box::pin(repeat(life, 0, "lock", lock)),
        Box::pin(repeat(life, 1, "read_or_write", read_or_write)),
        Box::pin(repeat(life, 2, "count", count)),
        Box::pin(repeat(life, 3, "count_by_name", count_by_name)),
        Box::pin(repeat(life, 4, "put", put)),
        Box::pin(consume(life)),
        Box::pin(repeat(life, 6, "lead", lead)),
        Box::pin(repeat(life, 7, "lease", lease)),
        Box::pin(following::change_and_follow(life)),
        Box::pin(repeat(life, 8, "draw", draw)),
        Box::pin(repeat(life, 9, "gate", gathering::gate)),
        Box::pin(repeat(life, 10, "meet", gathering::meet)),
        Box::pin(repeat(life, 11, "join", gathering::join)),
        Box::pin(repeat(life, 11, "be_the_one", gathering::be_the_one)),
    ];
    let outcomes = futures_util::future::try_join_all(tasks).await?;
    drop(outcomes);
    drain(life).await?;
    let _doing = Doing::begin(life, "await_former_lives");
    gathering::await_former_lives(life).await
}

async fn prepare(life: &Life) -> Result<()> {
    for path in ["/ledger", "/term", "/q"] {
        ensure(life, path, b"").await?;
    }
    following::prepare(life).await
}

/// Makes a node that may be there.
pub(super) async fn ensure(life: &Life, path: &str, data: &[u8]) -> Result<()> {
    loop {
        match life.client.create(path, data, NodeKind::Persistent).await {
            Ok(_) => return Ok(()),
            Err(error) if *error.kind() == ErrorKind::NodeExists => return Ok(()),
            Err(error) if *error.kind() == ErrorKind::ConnectionLoss => {}
            Err(error) => return Err(error),
        }
    }
}

/// What ends a life is an error; what a recipe or the network refuses is not.
fn settle(outcome: Result<()>) -> Result<()> {
    match outcome {
        Err(error) if error.session_lost() => Err(error),
        _ => Ok(()),
    }
}

async fn repeat(
    life: &Life,
    bit: u64,
    name: &'static str,
    what: impl AsyncFn(&Life) -> Result<()>,
) -> Result<()> {
    if life.shared.mix >> bit & 1 == 0 {
        return Ok(());
    }
    loop {
        let is_last = life.desk.is_ending();
        let doing = Doing::begin(life, name);
        settle(what(life).await)?;
        drop(doing);
        if is_last {
            return Ok(());
        }
        life.desk.nap(60_000).await;
    }
}

/// Notes what a user is about.
struct Doing<'a>(&'a Life, &'static str);

impl<'a> Doing<'a> {
    fn begin(life: &'a Life, what: &'static str) -> Self {
        life.shared.ledger().doing.insert((life.user, what));
        Self(life, what)
    }
}

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        self.0.shared.ledger().doing.remove(&(self.0.user, self.1));
    }
}

/// Gives up waiting now and then, while there is a storm.
async fn patiently<T>(life: &Life, wait: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    if life.desk.is_ending() || !life.desk.chance(250) {
        return wait.await.map(Some);
    }
    let nap = life.desk.nap(200_000);
    match futures_util::future::select(std::pin::pin!(wait), nap).await {
        futures_util::future::Either::Left((held, _)) => held.map(Some),
        futures_util::future::Either::Right(_) => Ok(None),
    }
}

fn claim(life: &Life, what: What, node: String, token: Zxid) -> Claim {
    let claim = Claim { what, node, token };
    life.shared.ledger().claim(claim.clone());
    claim
}

/// Gives a claim up when it is dropped, as everything does whose life ends.
struct Claimed<'a>(&'a Life, Claim);

impl Drop for Claimed<'_> {
    fn drop(&mut self) {
        self.0.shared.ledger().give_up(&self.1);
    }
}

/// Reads what the holder before wrote, and writes `token count` behind it.
async fn write_fenced(
    life: &Life,
    path: &str,
    token: Zxid,
    fence: impl FnOnce(Multi) -> Multi,
) -> Result<()> {
    let node = life.client.get(path).await?;
    life.desk.nap(5_000).await;
    let text = String::from_utf8_lossy(&node.data);
    let count: i64 = text
        .split_once(' ')
        .map_or(0, |(_, count)| count.parse().unwrap_or(0));
    let data = format!("{} {}", token.0, count + 1);
    let write = Multi::new().set(path, data, Version::Any);
    life.client.multi(fence(write)).await.map(|_| ())
}

async fn lock(life: &Life) -> Result<()> {
    if life.shared.naive == Some(Naive::LockTwice) {
        return naive::lock(life).await;
    }
    let lock = Lock::new(&life.client, "/lock");
    let Some(guard) = patiently(life, lock.acquire()).await? else {
        return Ok(());
    };
    let claim = claim(life, What::Lock, guard.path(), guard.fencing_token());
    let claimed = Claimed(life, claim);
    let token = guard.fencing_token();
    let wrote = write_fenced(life, "/ledger", token, |multi| guard.fence(multi)).await;
    settle(wrote)?;
    // Whoever has stood still may be late, and does not know.
    life.desk.nap(20_000).await;
    let does_look = life.shared.naive != Some(Naive::Unfenced);
    life.shared.ledger().write_outside(token, does_look);
    drop(claimed);
    if life.desk.chance(200) && !life.desk.is_ending() {
        drop(guard);
        return Ok(());
    }
    guard.release().await
}

async fn read_or_write(life: &Life) -> Result<()> {
    let lock = RwLock::new(&life.client, "/rw");
    let (what, guard) = if life.desk.chance(400) {
        (What::Writer, patiently(life, lock.write()).await?)
    } else {
        (What::Reader, patiently(life, lock.read()).await?)
    };
    let Some(guard) = guard else { return Ok(()) };
    let claimed = Claimed(life, claim(life, what, guard.path(), guard.fencing_token()));
    life.desk.nap(10_000).await;
    drop(claimed);
    guard.release().await
}

async fn count(life: &Life) -> Result<()> {
    let counter = Counter::new(&life.client, "/count");
    for _ in 0..3 {
        life.shared.ledger().unsure_additions += 1;
        let sum = match life.shared.naive {
            Some(Naive::CountAgain) => naive::add(life).await,
            _ => counter.add(1).await,
        };
        match sum {
            Ok(sum) => {
                let mut ledger = life.shared.ledger();
                ledger.unsure_additions -= 1;
                ledger.added(sum);
            }
            Err(error) => {
                if !error.outcome_unknown() {
                    life.shared.ledger().unsure_additions -= 1;
                }
                return Err(error);
            }
        }
    }
    Ok(())
}

/// A change that is known by a number on the user's disk: begun before, it is made again.
async fn count_by_name(life: &Life) -> Result<()> {
    let writer = format!("user-{}", life.user);
    let counter = Counter::with_writer(&life.client, "/named", Encoding::Long, &writer);
    let change = *life
        .shared
        .ledger()
        .named_pending
        .entry(life.user)
        .or_insert(1);
    counter.add_once(&change.to_string(), 1).await?;
    let mut ledger = life.shared.ledger();
    ledger.named_pending.insert(life.user, change + 1);
    ledger.named_done += 1;
    ledger.count("named changes");
    Ok(())
}

async fn put(life: &Life) -> Result<()> {
    let queue = Queue::new(&life.client, "/q");
    let number = life.desk.below(u64::MAX);
    let item = format!("{}-{}-{number}", life.user, life.life);
    // Whoever dies meanwhile cannot say.
    life.shared.ledger().was_put(item.clone(), false);
    let put = match life.shared.naive {
        Some(Naive::PutAgain) => naive::put(life, &item).await,
        _ => queue.put(&item).await,
    };
    if put.is_ok() {
        life.shared.ledger().was_put(item, true);
    }
    put
}

fn text(data: &[Bytes]) -> String {
    let first = data
        .first()
        .map(|data| String::from_utf8_lossy(data).into_owned());
    first.unwrap_or_default()
}

async fn consume(life: &Life) -> Result<()> {
    if life.shared.mix >> 5 & 1 == 0 {
        return Ok(());
    }
    let queue = Queue::new(&life.client, "/q");
    while !life.desk.is_ending() {
        life.desk.nap(40_000).await;
        let _doing = Doing::begin(life, "consume");
        if life.desk.chance(500) {
            settle(take(life, &queue).await)?;
        } else {
            settle(pop(life, &queue).await)?;
        }
    }
    Ok(())
}

async fn take(life: &Life, queue: &Queue) -> Result<()> {
    let Some(item) = queue.try_take().await? else {
        return Ok(());
    };
    let name = text(item.all());
    life.shared.ledger().was_taken(&name);
    life.desk.nap(20_000).await;
    if life.desk.chance(200) {
        drop(item);
        return Ok(());
    }
    life.shared.ledger().was_removed(name.clone(), false);
    item.done().await?;
    life.shared.ledger().was_removed(name, true);
    Ok(())
}

async fn pop(life: &Life, queue: &Queue) -> Result<()> {
    if queue.is_empty().await? {
        return Ok(());
    }
    if life.shared.naive == Some(Naive::PopAgain) {
        return naive::pop(life).await;
    }
    // What is popped by one whose session is lost, or who gives up, may be gone.
    life.shared.ledger().unsure_pops += 1;
    let popping = std::pin::pin!(queue.pop());
    match futures_util::future::select(popping, life.desk.nap(100_000)).await {
        futures_util::future::Either::Left((data, _)) => {
            let name = text(&data?);
            let mut ledger = life.shared.ledger();
            ledger.unsure_pops -= 1;
            ledger.was_taken(&name);
            ledger.was_removed(name, true);
            Ok(())
        }
        futures_util::future::Either::Right(_) => {
            life.shared.ledger().count("pops given up");
            Ok(())
        }
    }
}

/// The queue is emptied when nobody puts any more.
async fn drain(life: &Life) -> Result<()> {
    let _doing = Doing::begin(life, "drain");
    let queue = Queue::new(&life.client, "/q");
    while !queue.is_empty().await? {
        match queue.try_take().await? {
            None => life.desk.nap(20_000).await,
            Some(item) => {
                let name = text(item.all());
                life.shared.ledger().was_taken(&name);
                life.shared.ledger().was_removed(name.clone(), false);
                item.done().await?;
                life.shared.ledger().was_removed(name, true);
            }
        }
    }
    Ok(())
}

async fn lead(life: &Life) -> Result<()> {
    let candidate = Candidate::new(&life.client, "/lead", &life.user.to_string());
    if life.desk.chance(300) {
        candidate.ask_to_hand_over().await?;
    }
    let reign = candidate.reign(async |leadership| {
        let claim = claim(life, What::Leader, leadership.path(), leadership.term());
        let claimed = Claimed(life, claim);
        let term = leadership.term();
        let wrote = write_fenced(life, "/term", term, |multi| leadership.fence(multi)).await;
        drop(claimed);
        wrote
    });
    match patiently(life, reign).await? {
        Some(Reign::Finished(wrote)) => wrote,
        _ => Ok(()),
    }
}

async fn lease(life: &Life) -> Result<()> {
    let permits = match life.shared.naive {
        Some(Naive::MorePermits) => PERMITS + 1,
        _ => PERMITS,
    };
    let permits = u32::try_from(permits).unwrap_or(1);
    let semaphore = Semaphore::new(&life.client, "/sem", permits);
    let Some(lease) = patiently(life, semaphore.acquire()).await? else {
        return Ok(());
    };
    let claimed = Claimed(life, claim(life, What::Lease, lease.path(), lease.token()));
    life.desk.nap(20_000).await;
    drop(claimed);
    lease.give_back().await
}

async fn draw(life: &Life) -> Result<()> {
    if life.shared.naive == Some(Naive::DrawSingly) {
        let id = naive::draw(life).await?;
        life.shared.ledger().drew(id);
        return Ok(());
    }
    let ids = Ids::new(&life.client, "/ids", 3);
    for _ in 0..4 {
        let id = ids.next().await?;
        life.shared.ledger().drew(id);
    }
    Ok(())
}
