//! Every refusal that a reconfiguration knows, in the order in which the server looks for them.

use std::path::Path;

use anyhow::{Context, Result, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::{LINES, SUPER};
use crate::ensemble::{Ensemble, Part};
use crate::servers::{Kind, Server};
use crate::session::{Change, Session, op};

/// A change and the number of its answer.
struct Case<'a> {
    what: &'static str,
    who: Who,
    change: Change<'a>,
    answer: i32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Who {
    Anybody,
    Super,
}

const OK: i32 = 0;
const MARSHALLING_ERROR: i32 = -5;
const UNIMPLEMENTED: i32 = -6;
const BAD_ARGUMENTS: i32 = -8;
const NEW_CONFIG_NO_QUORUM: i32 = -13;
const RECONFIG_IN_PROGRESS: i32 = -14;
const NO_AUTH: i32 = -102;
const BAD_VERSION: i32 = -103;
const RECONFIG_DISABLED: i32 = -123;

const NOTHING: Change<'_> = Change {
    joining: None,
    leaving: None,
    members: None,
    version: None,
};

const fn joining(text: &str) -> Change<'_> {
    Change {
        joining: Some(text),
        ..NOTHING
    }
}

const fn leaving(text: &str) -> Change<'_> {
    Change {
        leaving: Some(text),
        ..NOTHING
    }
}

const fn members(text: &str) -> Change<'_> {
    Change {
        members: Some(text),
        ..NOTHING
    }
}

/// Asks for all of them.
///
/// # Errors
/// When an answer is another one.
pub(super) fn ask_for_all(kind: Kind, dir: &Path) -> Result<()> {
    let mut asked = alone(kind, dir)?;
    asked += disabled(kind, dir)?;
    let mut ensemble = Ensemble::start(kind, 3, 0, &dir.join("refusals"), LINES)?;
    asked += refused_by_members(&ensemble)?;
    asked += in_progress(&ensemble)?;
    ensemble.examine()?;
    println!("ok {asked} refused or empty changes were answered as they should be");
    Ok(())
}

fn ask(session: &mut Session, case: &Case<'_>) -> Result<()> {
    let reply = session.reconfig(&case.change)?;
    let (what, answer) = (case.what, case.answer);
    ensure!(
        reply.error == answer,
        "{what}: {}, not {answer}",
        reply.error
    );
    // The connection must have survived.
    session.get("/").with_context(|| format!("behind {what}"))?;
    Ok(())
}

/// One server that is no ensemble.
fn alone(kind: Kind, dir: &Path) -> Result<usize> {
    let tell = |what: &'static str, answer| Case {
        what,
        who: Who::Super,
        change: leaving("7"),
        answer,
    };
    let off = tell("a lone server, reconfiguration off", RECONFIG_DISABLED);
    let on = tell("a lone server, reconfiguration on", UNIMPLEMENTED);
    let runs = [("off", SUPER, off), ("on", "reconfigEnabled=true", on)];
    let asked = runs.len();
    for (name, line, case) in runs {
        let server = Server::start(kind, &dir.join(name), &[line])?;
        ask(&mut Session::open(server.address)?, &case)?;
        server.stop()?;
    }
    Ok(asked)
}

/// An ensemble that cannot be changed.
fn disabled(kind: Kind, dir: &Path) -> Result<usize> {
    let ensemble = Ensemble::start(kind, 3, 0, &dir.join("disabled"), &[SUPER])?;
    let case = Case {
        what: "an ensemble, reconfiguration off",
        who: Who::Super,
        change: leaving("3"),
        answer: RECONFIG_DISABLED,
    };
    for address in ensemble.addresses() {
        let mut session = Session::open(address)?;
        session.auth("digest", "super:test")?;
        ask(&mut session, &case)?;
    }
    Ok(ensemble.members.len())
}

fn refused_by_members(ensemble: &Ensemble) -> Result<usize> {
    let itself = ensemble.members[2].whole_line(Part::Participant);
    let observers: Vec<String> = ensemble
        .members
        .iter()
        .map(|member| member.whole_line(Part::Observer))
        .collect();
    let observers = observers.join(",");
    // Nobody listens there.
    let absent: Vec<String> = (4..8)
        .map(|id| format!("server.{id}=127.0.0.1:{id}:1{id}:participant;127.0.0.1:2{id}"))
        .collect();
    let absent = absent.join(",");
    let too_old = Change {
        version: Some(0x77),
        ..joining(&itself)
    };
    let by_super = |what, change, answer| Case {
        what,
        who: Who::Super,
        change,
        answer,
    };
    let by_anybody = |what, change, answer| Case {
        who: Who::Anybody,
        ..by_super(what, change, answer)
    };
    let no_port = "server.4=127.0.0.1:4:14:participant";
    let cases = [
        by_anybody("another version, by anybody", too_old, BAD_VERSION),
        by_super("another version", too_old, BAD_VERSION),
        by_super(
            "a server without a number",
            joining("nonsense"),
            BAD_ARGUMENTS,
        ),
        by_super(
            "a server without a port for clients",
            joining(no_port),
            BAD_ARGUMENTS,
        ),
        by_super("a word for a number", leaving("x"), MARSHALLING_ERROR),
        by_super("too few voters left", leaving("1,2,3"), BAD_ARGUMENTS),
        by_super("observers only", members(&observers), MARSHALLING_ERROR),
        by_super(
            "a quorum that is not there",
            joining(&absent),
            NEW_CONFIG_NO_QUORUM,
        ),
        by_anybody(
            "the same by anybody",
            joining(&absent),
            NEW_CONFIG_NO_QUORUM,
        ),
        by_anybody("no permission", joining(&itself), NO_AUTH),
        by_super("nothing at all", NOTHING, OK),
    ];
    for address in ensemble.addresses() {
        for case in &cases {
            let mut session = Session::open(address)?;
            if case.who == Who::Super {
                session.auth("digest", "super:test")?;
            }
            ask(&mut session, case)?;
        }
    }
    Ok(cases.len() * ensemble.members.len())
}

/// Two changes at once: while the followers stand still the first cannot be committed.
fn in_progress(ensemble: &Ensemble) -> Result<usize> {
    let leader = ensemble.await_leader()?;
    let mut session = Session::open(ensemble.addresses()[leader])?;
    session.auth("digest", "super:test")?;
    let members = ensemble.members.iter().enumerate();
    let followers: Vec<Pid> = members
        .filter(|(index, _)| *index != leader)
        .filter_map(|(_, member)| member.pid())
        .collect();
    for follower in &followers {
        kill_process(*follower, Signal::STOP)?;
    }
    let line = ensemble.members[2].whole_line(Part::Participant);
    for xid in [1, 2] {
        session.send(xid, op::RECONFIG, &joining(&line).body())?;
    }
    for follower in &followers {
        kill_process(*follower, Signal::CONT)?;
    }
    for (xid, answer) in [(1, OK), (2, RECONFIG_IN_PROGRESS)] {
        let reply = session.receive(xid)?;
        ensure!(
            reply.error == answer,
            "the one of two changes with xid {xid}: {}, not {answer}",
            reply.error
        );
    }
    Ok(2)
}
