//! `failover`: the leader of three is killed; how long nobody's write is acknowledged.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};

use super::Run;
use super::figures::{Figures, Spread};
use super::goals::{WRITE_GAP_MAX, WRITE_GAP_MEDIAN};
use super::servers::{Kind, Server};
use crate::servers::{PATIENCE, pause};
use crate::session::Session;

const KILLS: usize = 10;
const NODE: &str = "/failover";
/// Between two attempts of a client to connect.
const ATTEMPT_INTERVAL: Duration = Duration::from_millis(3);
/// Without load, so that every server has all there is before the next kill.
const REST: Duration = Duration::from_millis(500);

/// A client at a follower writes when the leader has been killed.
pub(super) fn measure(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let mut server = Server::start(run.args, kind, 3, &[])?;
    let mut gaps = Vec::new();
    for kill in 0..KILLS {
        let leader = server.await_role("leader")?;
        let mut others = server.addresses();
        others.remove(leader);
        let mut session = Session::open(others[kill % others.len()])?;
        if kill == 0 {
            session.create(NODE, b"")?;
        }
        session.set(NODE, b"before")?;
        pause(REST);
        let began = Instant::now();
        server.kill(leader)?;
        write(&mut session, &others)?;
        gaps.push(began.elapsed().as_secs_f64() * 1e3);
        server.come_back(leader)?;
    }
    if let Some(spread) = Spread::of(&gaps) {
        figures.add("failover", kind, WRITE_GAP_MEDIAN, spread.median);
        figures.add("failover", kind, WRITE_GAP_MAX, spread.max);
    }
    Ok(())
}

/// Writes until a write is acknowledged, at whichever server takes the session.
fn write(session: &mut Session, servers: &[SocketAddr]) -> Result<()> {
    let began = Instant::now();
    for server in servers.iter().cycle() {
        if session.set(NODE, b"after").is_ok() {
            return Ok(());
        }
        ensure!(began.elapsed() < PATIENCE, "no write is acknowledged");
        // A server that cannot serve yet refuses: the next attempt is at another.
        if session.resume(*server).is_err() {
            pause(ATTEMPT_INTERVAL);
        }
    }
    Ok(())
}
