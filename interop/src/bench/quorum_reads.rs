//! `quorum-reads`: reads at one follower of three, plain ones and linearizable ones.

use anyhow::Result;

use super::figures::Figures;
use super::goals::QUORUM_PART;
use super::servers::{Kind, Server};
use super::{Run, load, streams};

/// Apache's servers know no such reads.
pub(super) fn measure(run: &Run<'_>, kind: Kind, figures: &mut Figures) -> Result<()> {
    let local = reads(run, kind, "readMode=local")?;
    let quorum = reads(run, kind, "readMode=quorum")?;
    figures.add("quorum-reads", kind, QUORUM_PART, quorum / local);
    Ok(())
}

fn reads(run: &Run<'_>, kind: Kind, mode: &str) -> Result<f64> {
    let server = Server::start(run.args, kind, 3, &[mode])?;
    streams::warm_up(run, &server)?;
    let follower = server.await_role("follower")?;
    let address = server.addresses()[follower].to_string();
    let seconds = run.args.seconds.to_string();
    let options = ["read", "-c", "50", "-d", "10", "-t", &seconds];
    load::run_at(run.args, &server, &address, &options)?.field("/per_second")
}
