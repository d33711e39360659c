//! `interop quorums`: who votes, who leads, who serves, and how many it takes, with real processes:
//! observers, groups with weights, and leaders that serve no clients.
//!
//! With `--server apache` the same against the genuine server, which proves the test.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitCode;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::ensemble::{Ensemble, PATIENCE, Part};
use crate::reconfig::Against;
use crate::servers::{Kind, pause, root};
use crate::session::{Session, op};
use crate::wire::Out;

/// Arguments of `interop quorums`.
#[derive(Args, Debug)]
pub struct QuorumsArgs {
    /// Which servers to run against.
    #[arg(long, value_enum, default_value_t = Against::Roo)]
    server: Against,
}

type Case = (&'static str, fn(Kind, &Path) -> Result<Ensemble>);

const CASES: &[Case] = &[
    ("observers serve and do not count", observers),
    ("groups and weights decide what a quorum is", groups),
    (
        "a leader with leaderServes=no leaves clients to the others",
        leader_serves_nobody,
    ),
];

const TICK: &str = "tickTime=500";

/// Calls of [`serve`]: each has paths of its own.
static ROUND: AtomicU32 = AtomicU32::new(0);

/// Runs the test.
///
/// # Errors
/// When a server cannot be started, or anything is not as it must be.
pub fn run(arguments: &QuorumsArgs) -> Result<ExitCode> {
    let dir = root().join(format!("target/interop/quorums-{}", std::process::id()));
    for (name, case) in CASES {
        let began = Instant::now();
        let outcome = case(arguments.server.kind(), &dir);
        let mut ensemble =
            outcome.with_context(|| format!("{name}; logs and data are in {}", dir.display()))?;
        ensemble.examine().with_context(|| (*name).to_owned())?;
        println!("ok {name}: {} ms", began.elapsed().as_millis());
    }
    fs::remove_dir_all(&dir)?;
    println!("{} passed, 0 failed", CASES.len());
    Ok(ExitCode::SUCCESS)
}

fn observers(kind: Kind, dir: &Path) -> Result<Ensemble> {
    let mut ensemble = Ensemble::start(kind, 3, 1, dir, &[TICK])?;
    let observer = 3;
    ensemble.members[observer].await_mode("observer")?;
    serve(&mut ensemble, &[0, 1, 2, 3])?;
    // It comes back to the same leader.
    ensemble.members[observer].kill()?;
    serve(&mut ensemble, &[0, 1, 2])?;
    ensemble.members[observer].come_back()?;
    ensemble.members[observer].await_mode("observer")?;
    // One of three voters is no quorum, whoever observes.
    let leader = ensemble.await_leader()?;
    let follower = (0..3).find(|one| *one != leader).context("a follower")?;
    ensemble.members[leader].kill()?;
    ensemble.members[follower].kill()?;
    rest(&mut ensemble)?;
    ensemble.members[follower].come_back()?;
    ensemble.members[observer].await_mode("observer")?;
    let up: Vec<usize> = (0..4).filter(|one| *one != leader).collect();
    serve(&mut ensemble, &up)?;
    Ok(ensemble)
}

/// Group 1 needs servers 1 and 2, as 3 weighs nothing; groups 2 and 3 have one server each.
const GROUPS: &[&str] = &[
    TICK,
    "group.1=1:2:3",
    "group.2=4",
    "group.3=5",
    "weight.1=1",
    "weight.2=1",
    "weight.3=0",
    "weight.4=1",
    "weight.5=1",
];

fn groups(kind: Kind, dir: &Path) -> Result<Ensemble> {
    let mut ensemble = Ensemble::start(kind, 5, 0, dir, GROUPS)?;
    serve(&mut ensemble, &[0, 1, 2, 3, 4])?;
    let weightless = ensemble.members[2].mode();
    ensure!(
        weightless.as_deref() == Some("follower"),
        "a server without weight is {weightless:?}"
    );
    // Groups 1 and 3.
    ensemble.members[2].kill()?;
    ensemble.members[3].kill()?;
    serve(&mut ensemble, &[0, 1, 4])?;
    // Group 3 alone, with a half of group 1.
    ensemble.members[0].kill()?;
    rest(&mut ensemble)?;
    // Groups 2 and 3, with a half of group 1: three servers, two groups.
    ensemble.members[3].come_back()?;
    serve(&mut ensemble, &[1, 3, 4])?;
    ensemble.members[1].kill()?;
    // Two servers of five are enough.
    serve(&mut ensemble, &[3, 4])?;
    // Three servers of five are not: they are one group.
    for server in [0, 1, 2] {
        ensemble.members[server].come_back()?;
    }
    serve(&mut ensemble, &[0, 1, 2, 3, 4])?;
    for server in [3, 4] {
        ensemble.members[server].kill()?;
    }
    rest(&mut ensemble)?;
    ensemble.members[4].come_back()?;
    serve(&mut ensemble, &[0, 1, 2, 4])?;
    Ok(ensemble)
}

fn leader_serves_nobody(kind: Kind, dir: &Path) -> Result<Ensemble> {
    let mut ensemble = Ensemble::prepare(kind, 3, dir)?;
    ensemble.launch(|_| Part::Participant, &[TICK, "leaderServes=no"])?;
    let mut first = None;
    for _ in 0..2 {
        let followers = await_idle_leader(&ensemble, first)?;
        let leader = (0..3)
            .find(|one| !followers.contains(one) && Some(*one) != first)
            .context("a leader")?;
        ensure!(
            Session::open(ensemble.members[leader].address()).is_err(),
            "the leader gives a session"
        );
        serve(&mut ensemble, &followers)?;
        ensure!(
            Session::open(ensemble.members[leader].address()).is_err(),
            "the leader gives a session after a while"
        );
        if first.is_none() {
            // The next leader, which has served until now, must stop.
            ensemble.members[leader].kill()?;
            first = Some(leader);
        }
    }
    Ok(ensemble)
}

/// Waits until all servers that run, but the one that leads, follow; which they are.
fn await_idle_leader(ensemble: &Ensemble, down: Option<usize>) -> Result<Vec<usize>> {
    let expected = ensemble.members.len() - 1 - usize::from(down.is_some());
    let began = Instant::now();
    loop {
        let follows = |one: &usize| ensemble.members[*one].mode().as_deref() == Some("follower");
        let followers: Vec<usize> = (0..ensemble.members.len()).filter(follows).collect();
        let serving = |one: &usize| Session::open(ensemble.members[*one].address()).is_ok();
        if followers.len() == expected && followers.iter().all(serving) {
            return Ok(followers);
        }
        ensure!(began.elapsed() < PATIENCE, "only {followers:?} follow");
        pause(std::time::Duration::from_millis(20));
    }
}

/// These servers take writes, and each shows those of all.
fn serve(ensemble: &mut Ensemble, servers: &[usize]) -> Result<()> {
    let began = Instant::now();
    let path = format!("/round-{}", ROUND.fetch_add(1, Ordering::SeqCst));
    let mut pending: Vec<usize> = servers.to_vec();
    while let Some(server) = pending.last().copied() {
        let node = format!("{path}-{server}");
        let address = ensemble.members[server].address();
        let done = Session::open(address).and_then(|mut session| session.try_create(&node, b""));
        match done {
            // An answer may have been lost before.
            Ok(reply) if reply.error == 0 || reply.error == NODE_EXISTS => {
                pending.pop();
            }
            Ok(reply) => anyhow::bail!("create {node}: {}", reply.error),
            Err(error) => {
                ensure!(
                    began.elapsed() < PATIENCE,
                    "server {} does not serve: {error:#}",
                    server + 1
                );
                pause(std::time::Duration::from_millis(20));
            }
        }
    }
    for server in servers {
        let address = ensemble.members[*server].address();
        while let Err(error) = shows(address, &path, servers)? {
            ensure!(
                began.elapsed() < PATIENCE,
                "server {} does not serve: {error:#}",
                server + 1
            );
            pause(std::time::Duration::from_millis(20));
        }
    }
    Ok(())
}

/// Looks for the writes of all behind a sync. A server that is busy may lose its leader, and its
/// clients, for a while: that is no answer.
fn shows(address: SocketAddr, path: &str, writers: &[usize]) -> Result<Result<()>> {
    let session = Session::open(address).and_then(|mut session| {
        session.sync()?;
        Ok(session)
    });
    let mut session = match session {
        Ok(session) => session,
        Err(error) => return Ok(Err(error)),
    };
    for writer in writers {
        let node = Out::default().text(&format!("{path}-{writer}")).flag(false);
        match session.ask(op::EXISTS, &node.0) {
            Ok(reply) => ensure!(reply.error == 0, "{path}-{writer}: {}", reply.error),
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(()))
}

const NODE_EXISTS: i32 = -110;

/// Nobody serves any more.
fn rest(ensemble: &mut Ensemble) -> Result<()> {
    let began = Instant::now();
    for member in ensemble.members.iter().filter(|one| one.runs()) {
        while member.mode().is_some() {
            ensure!(
                began.elapsed() < PATIENCE,
                "server {} serves without a quorum",
                member.id
            );
            pause(std::time::Duration::from_millis(20));
        }
        ensure!(
            Session::open(member.address()).is_err(),
            "server {} gives a session without a quorum",
            member.id
        );
    }
    Ok(())
}
