//! Users of the client's recipes, beside the other workers: each is a thread with a runtime, a
//! client and a session of its own, and does everything at once, again and again. It stands still
//! for longer than its session lasts, as a process does that is suspended, and dies and comes back
//! with a new session. At the end it does everything once more in peace.
//!
//! Reading order: `programs` (what they do), `ledger`, `followed` and `together` (what is judged).

mod followed;
mod ledger;
mod programs;
mod together;

use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use roo_client::recipes::Group;
use roo_client::{BackOff, Client, Options};

use super::dice::Dice;
use super::ensemble::PATIENCE;
use super::ledger::Found;
use super::workers::Scene;
use crate::servers::pause;
use followed::Versions;
use ledger::{Additions, Drawn, Fenced, Gate, Items, Line, Sharing};
use together::Together;

/// Where the recipes' nodes are.
pub(super) const ROOT: &str = "/chaos/recipes";
const LOCK: &str = "/chaos/recipes/lock";
const RW_LOCK: &str = "/chaos/recipes/rw-lock";
const SEMAPHORE: &str = "/chaos/recipes/semaphore";
const ELECTION: &str = "/chaos/recipes/election";
const LEDGER: &str = "/chaos/recipes/ledger";
const TERM: &str = "/chaos/recipes/term";
const COUNT: &str = "/chaos/recipes/count";
const NAMED: &str = "/chaos/recipes/named";
/// Whose items are taken and removed.
const QUEUE: &str = "/chaos/recipes/queue";
/// Whose items are popped too, so that some may be lost.
const POP_QUEUE: &str = "/chaos/recipes/pop-queue";
const IDS: &str = "/chaos/recipes/ids";
const GROUP: &str = "/chaos/recipes/group";
const GATE: &str = "/chaos/recipes/gate";
/// Nodes that are always changed together.
const SET: &str = "/chaos/recipes/set";
/// And one outside of their tree, which comes and goes with them.
const LIMIT: &str = "/chaos/recipes/limit";
/// Where the double barriers are, each of which is used once.
const TOGETHER: &str = "/chaos/recipes/together";
/// Is set to see that a session lives.
const PULSE: &str = "/chaos/recipes/pulse";
const SET_NODES: [&str; 3] = [
    "/chaos/recipes/set/a",
    "/chaos/recipes/set/b",
    "/chaos/recipes/set/c",
];

/// Directories that are made beforehand: those that recipes make are containers, which servers
/// delete some time after they were used, and the servers are compared at the end.
const DIRECTORIES: &[&str] = &[
    ROOT,
    LOCK,
    RW_LOCK,
    SEMAPHORE,
    "/chaos/recipes/semaphore/leases",
    "/chaos/recipes/semaphore/locks",
    ELECTION,
    LEDGER,
    TERM,
    "/chaos/recipes/count-receipts",
    "/chaos/recipes/named-receipts",
    QUEUE,
    "/chaos/recipes/queue-locks",
    "/chaos/recipes/queue-receipts",
    POP_QUEUE,
    "/chaos/recipes/pop-queue-locks",
    "/chaos/recipes/pop-queue-receipts",
    "/chaos/recipes/ids-receipts",
    GROUP,
    TOGETHER,
    PULSE,
    SET,
    SET_NODES[0],
    SET_NODES[1],
    SET_NODES[2],
];

/// Those of them that are empty when everybody has finished.
const EMPTY_AT_LAST: &[&str] = &[
    LOCK,
    RW_LOCK,
    "/chaos/recipes/semaphore/leases",
    "/chaos/recipes/semaphore/locks",
    ELECTION,
    QUEUE,
    "/chaos/recipes/queue-locks",
    POP_QUEUE,
    "/chaos/recipes/pop-queue-locks",
    GROUP,
];

/// Shares of the semaphore.
const SHARES: u32 = 2;

/// Timeout of a user's session: less than most faults and many pauses last.
const SESSION_TIMEOUT: Duration = Duration::from_secs(2);

/// Users must finish so soon once nothing troubles them.
const END_LIMIT: Duration = PATIENCE;

/// What all users have noted.
#[derive(Debug)]
struct Book {
    lock: Line,
    rw_lock: Line,
    semaphore: Line,
    election: Line,
    ledger: Fenced,
    term: Fenced,
    count: Additions,
    named: i64,
    items: Items,
    pop_items: Items,
    ids: Drawn,
    gate: Gate,
    together: Together,
    config: Versions,
    lives: u64,
    /// What each user is about.
    doing: BTreeSet<(String, &'static str)>,
}

/// Shared by all users.
#[derive(Debug)]
pub(super) struct Books(Mutex<Book>);

impl Default for Books {
    fn default() -> Self {
        Self(Mutex::new(Book {
            lock: Line::new(Sharing::One),
            rw_lock: Line::new(Sharing::ReadersOrOneWriter),
            semaphore: Line::new(Sharing::AtMost(2)),
            election: Line::new(Sharing::One),
            ledger: Fenced::default(),
            term: Fenced::default(),
            count: Additions::default(),
            named: 0,
            items: Items::default(),
            pop_items: Items::default(),
            ids: Drawn::default(),
            gate: Gate::default(),
            together: Together::default(),
            config: Versions::default(),
            lives: 0,
            doing: BTreeSet::new(),
        }))
    }
}

impl Books {
    fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Judges the tree of one server when all users have finished.
    pub(super) fn judge(&self, tree: &BTreeMap<String, Found>) -> Result<()> {
        let mut book = self.open();
        let number = |path: &str| -> Result<i64> {
            match tree.get(path) {
                Some(found) => found.data.parse().context(path.to_owned()),
                None => Ok(0),
            }
        };
        book.count.judge(number(COUNT)?).context(COUNT)?;
        let named = number(NAMED)?;
        ensure!(
            named == book.named,
            "{NAMED}: {named} after {} changes that were finished",
            book.named
        );
        for path in [LEDGER, TERM] {
            let found = tree.get(path).with_context(|| format!("{path} is gone"))?;
            let node = if path == LEDGER {
                &mut book.ledger
            } else {
                &mut book.term
            };
            node.observe(found.version, &found.data).context(path)?;
        }
        book.items.judge().context(QUEUE)?;
        book.pop_items.judge().context(POP_QUEUE)?;
        judge_config(&mut book.config, tree)?;
        let member = tree.keys().find(|path| is_member(path));
        ensure!(member.is_none(), "{member:?} is left behind");
        for directory in EMPTY_AT_LAST {
            let left = tree.keys().find(|path| {
                path.strip_prefix(directory)
                    .is_some_and(|rest| rest.starts_with('/'))
            });
            let is_made = left.is_some_and(|path| !DIRECTORIES.contains(&path.as_str()));
            ensure!(!is_made, "{left:?} is left behind");
        }
        Ok(())
    }

    /// How much there was to judge.
    pub(super) fn figures(&self) -> String {
        let book = self.open();
        let lines = [&book.lock, &book.rw_lock, &book.semaphore, &book.election];
        let [locks, rw_locks, leases, terms] = lines.map(Line::count);
        let late: u64 = lines.map(|line| line.refused).iter().sum();
        format!(
            "users in {} sessions: {locks} locks, {rw_locks} read or write locks, {leases} leases, \
             {terms} terms, {late} late writes refused, {} additions, {} named ones, {} items \
             queued, {} numbers drawn, {} gates passed, {} double barriers left, {} trees seen, {} \
             nodes given",
            book.lives,
            book.count.count(),
            book.named,
            book.items.count() + book.pop_items.count(),
            book.ids.count(),
            book.gate.count(),
            book.together.count(),
            book.config.trees,
            book.config.nodes
        )
    }
}

/// All that was shown, and the nodes themselves.
fn judge_config(config: &mut Versions, tree: &BTreeMap<String, Found>) -> Result<()> {
    for path in SET_NODES {
        let found = tree.get(path).with_context(|| format!("{path} is gone"))?;
        let version = i64::from(found.version);
        if version > 0 {
            config.observe(version, found.mzxid).context(path)?;
            ensure!(found.data == version.to_string(), "{path}: {found:?}");
        }
        let limit = tree.get(LIMIT).map(|found| found.data.clone());
        let expected = Versions::node_of(version).map(|version| version.to_string());
        ensure!(limit == expected, "{LIMIT} is {limit:?}, not {expected:?}");
    }
    config.judge().context(SET)
}

/// Whether somebody is in a double barrier.
fn is_member(path: &str) -> bool {
    let below = path.strip_prefix(TOGETHER);
    let names: Vec<&str> = below.unwrap_or_default().split('/').collect();
    matches!(names[..], ["", _, name] if name != "ready")
}

/// The nodes that must be there before.
pub(super) fn directories() -> impl Iterator<Item = &'static str> {
    DIRECTORIES.iter().copied()
}

/// The user's process has died.
#[derive(Debug)]
struct Died;

impl std::fmt::Display for Died {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("died")
    }
}

impl std::error::Error for Died {}

/// Whether this ends a life, and nothing is wrong.
fn is_end_of_life(error: &anyhow::Error) -> bool {
    error.is::<Died>()
        || error
            .downcast_ref()
            .is_some_and(roo_client::Error::session_lost)
}

/// What a user keeps over its lives, as on a disk.
struct User<'a> {
    scene: &'a Scene,
    name: &'a str,
    dice: RefCell<Dice>,
    /// The named change that it is about.
    change: Cell<u64>,
    /// How many items it has begun to put.
    items: Cell<u64>,
}

/// One process of a user.
struct Life<'a> {
    user: &'a User<'a>,
    number: u64,
    client: Client,
}

/// One life after the other, until one has come to its end in peace.
pub(super) fn live_with_recipes(scene: &Scene, name: &str, dice: Dice) -> Result<()> {
    let user = User {
        scene,
        name,
        dice: RefCell::new(dice),
        change: Cell::new(1),
        items: Cell::new(0),
    };
    for number in 1.. {
        scene.recipes.open().lives += 1;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        // With the runtime the connection ends, but not the session.
        match runtime.block_on(live(&user, number)) {
            Err(error) if is_end_of_life(&error) => {}
            outcome => return outcome,
        }
    }
    Ok(())
}

async fn live(user: &User<'_>, number: u64) -> Result<()> {
    tokio::select! {
        outcome = work(user, number) => outcome,
        outcome = meet_misfortune(user) => outcome,
        outcome = watch_the_end(user) => outcome,
    }
}

async fn work(user: &User<'_>, number: u64) -> Result<()> {
    let hosts: Vec<String> = user.scene.clients.iter().map(ToString::to_string).collect();
    let options = Options {
        session_timeout: SESSION_TIMEOUT,
        connect_timeout: SESSION_TIMEOUT / 4,
        first_connection_wait: END_LIMIT,
        back_off: BackOff {
            first: Duration::from_millis(5),
            max: Duration::from_millis(200),
        },
        ..Options::default()
    };
    let client = Client::connect(&hosts.join(","), options).await?;
    let life = Life {
        user,
        number,
        client,
    };
    let group = Group::new(&life.client, GROUP);
    let me = life.name();
    let membership = group.join(&me, "").await?;
    let is_listed = async || -> Result<bool> {
        let members = group.members().await?;
        Ok(members.iter().any(|member| member.id == me))
    };
    ensure!(is_listed().await?, "{me} has joined and is not listed");
    Box::pin(programs::run(&life)).await?;
    await_former_lives(&life, &group).await?;
    membership.leave().await?;
    ensure!(!is_listed().await?, "{me} has left and is listed");
    // Without an answer the session may last, and what belongs to it.
    let closed = life.client.close().await;
    closed.map_err(|_| Died.into())
}

/// Waits until the sessions of this user's former lives have ended, and with them whatever they had.
async fn await_former_lives(life: &Life<'_>, group: &Group) -> Result<()> {
    let _doing = life.doing("wait for the end of former lives");
    let mut members = group.members().await?;
    while members.iter().any(|member| life.is_former(&member.id)) {
        members = group.changed(&members).await?;
    }
    Ok(())
}

/// The whole thread stands still now and then, or its process dies.
async fn meet_misfortune(user: &User<'_>) -> Result<()> {
    loop {
        tokio::time::sleep(user.time(1_000, 10_000)).await;
        if user.scene.is_over() {
            std::future::pending::<()>().await;
        }
        match user.below(3) {
            0 => bail!(Died),
            _ => pause(user.time(10, 2_500)),
        }
    }
}

/// A user must come to its end once nothing troubles it.
async fn watch_the_end(user: &User<'_>) -> Result<()> {
    while !user.scene.is_over() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(END_LIMIT).await;
    let doing = user.scene.recipes.open().doing.clone();
    bail!("not finished {END_LIMIT:?} after the last fault: {doing:?}")
}

impl User<'_> {
    fn below(&self, n: usize) -> usize {
        self.dice.borrow_mut().below(n)
    }

    fn time(&self, low_ms: u64, high_ms: u64) -> Duration {
        Duration::from_millis(self.dice.borrow_mut().between(low_ms, high_ms))
    }
}

impl Life<'_> {
    /// Of this process.
    fn name(&self) -> String {
        format!("{}.{}", self.user.name, self.number)
    }

    /// Whether that is the name of an earlier life of the same user.
    fn is_former(&self, name: &str) -> bool {
        let life = name
            .strip_prefix(self.user.name)
            .and_then(|rest| rest.strip_prefix('.'));
        life.is_some() && name != self.name()
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.user.scene.recipes.open()
    }

    fn is_ending(&self) -> bool {
        self.user.scene.is_over()
    }

    async fn nap(&self, most_ms: u64) {
        tokio::time::sleep(self.user.time(0, most_ms)).await;
    }

    /// The whole process stands still now and then, for longer than its session lasts.
    fn stand_still(&self) {
        if !self.is_ending() && self.user.below(100) == 0 {
            pause(self.user.time(3_000, 5_000));
        }
    }

    /// Notes what this user is about.
    fn doing(&self, what: &'static str) -> Doing<'_> {
        self.book().doing.insert((self.user.name.to_owned(), what));
        Doing(self, what)
    }
}

struct Doing<'a>(&'a Life<'a>, &'static str);

impl Drop for Doing<'_> {
    fn drop(&mut self) {
        let Self(life, what) = self;
        let key = (life.user.name.to_owned(), *what);
        life.book().doing.remove(&key);
    }
}
