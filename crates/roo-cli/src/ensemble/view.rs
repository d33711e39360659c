//! How the servers of an ensemble are, as they say themselves when asked the words `peer` and
//! `srvr`, and what is wrong in words.

use std::io::{Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Result, ensure};

use super::state_file::{Ensemble, Folder};

/// How long a server may take to answer.
const ANSWER_LIMIT: Duration = Duration::from_secs(2);

/// A longer answer is none of a server's.
const ANSWER_BYTES: u64 = 4 << 20;

/// What one server says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// As `srvr` shows it, or `looking`.
    mode: String,
    /// ms in which it has been that; `None` from `srvr`.
    since_ms: Option<u64>,
    id: Option<i64>,
    zxid: u64,
    epoch: Option<u64>,
    sessions: Option<usize>,
    leader: Option<i64>,
    /// Leader: whom it counts as in step with it.
    synced: Vec<i64>,
    voters: Option<usize>,
    name: Option<String>,
    /// The server lines.
    members: Vec<String>,
    unreachable: Vec<String>,
    /// Whom, and why.
    refused: Vec<(String, String)>,
}

/// A server and what came of asking it.
#[derive(Clone, Debug)]
pub(super) struct Look {
    /// How people name it.
    pub(super) name: String,
    pub(super) address: String,
    /// What it says, or why it says nothing.
    pub(super) answer: Result<Facts, String>,
}

/// Shows every server; the exit code says whether a quorum serves.
pub(super) fn run(folder: &Folder, servers: &[String]) -> Result<ExitCode> {
    let looks = if servers.is_empty() {
        of_folder(folder, &folder.load()?)
    } else {
        ensure!(
            servers.iter().all(|server| server.contains(':')),
            "--servers: expected HOST:PORT, the port for clients"
        );
        servers.iter().map(|server| look(server, server)).collect()
    };
    print!("{}", table(&looks));
    for trouble in troubles(&looks) {
        println!("! {trouble}");
    }
    let verdict = verdict(&looks);
    println!("{}", verdict.text);
    Ok(if verdict.serves {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Asks every server of the folder.
pub(super) fn of_folder(folder: &Folder, state: &Ensemble) -> Vec<Look> {
    let one = |server: &super::state_file::Server| {
        let address = format!("127.0.0.1:{}", server.client_port);
        let mut look = look(&server.id.to_string(), &address);
        if !folder.is_running(server) {
            let why = match (&look.answer, server.process) {
                (Ok(_), _) => "another program answers at its port".to_owned(),
                (Err(_), Some(process)) => {
                    format!("not running: process {} has ended", process.pid)
                }
                (Err(_), None) => "not running: it was stopped".to_owned(),
            };
            look.answer = Err(why);
        }
        look
    };
    state.servers.iter().map(one).collect()
}

fn look(name: &str, address: &str) -> Look {
    let answer = ask(address, "peer").and_then(|answer| {
        if answer.contains("not in the whitelist") {
            read_srvr(&ask(address, "srvr")?)
        } else {
            read_peer(&answer)
        }
    });
    Look {
        name: name.to_owned(),
        address: address.to_owned(),
        answer,
    }
}

/// The answer to a word, or why there is none.
fn ask(address: &str, word: &str) -> Result<String, String> {
    let talk = || -> std::io::Result<String> {
        let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "no such host");
        for address in address.to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, ANSWER_LIMIT) {
                Ok(mut stream) => {
                    stream.set_read_timeout(Some(ANSWER_LIMIT))?;
                    stream.write_all(word.as_bytes())?;
                    let mut answer = String::new();
                    stream.take(ANSWER_BYTES).read_to_string(&mut answer)?;
                    return Ok(answer);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    };
    talk().map_err(|error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => {
            format!("no answer within {} s", ANSWER_LIMIT.as_secs())
        }
        _ => format!("not reachable: {error}"),
    })
}

fn read_peer(answer: &str) -> Result<Facts, String> {
    let mut facts = Facts::default();
    for line in answer.lines() {
        if line.starts_with("server.") {
            facts.members.push(line.to_owned());
        }
        let Some((key, value)) = line.split_once(": ") else {
            continue;
        };
        match key.split_once(' ').unwrap_or((key, "")) {
            ("mode", _) => value.clone_into(&mut facts.mode),
            ("since", _) => facts.since_ms = value.parse().ok(),
            ("applied", _) => facts.zxid = zxid(value),
            ("sessions", _) => facts.sessions = value.parse().ok(),
            ("id", _) => facts.id = value.parse().ok(),
            ("ensemble", _) => facts.name = Some(value.to_owned()),
            ("epoch", _) => facts.epoch = value.parse().ok(),
            ("leader", _) => facts.leader = value.parse().ok(),
            ("voters", _) => facts.voters = value.parse().ok(),
            ("learner", learner) if value.starts_with("follower synced") => {
                facts.synced.extend(learner.parse::<i64>());
            }
            ("peer", peer) if value.starts_with("unreachable") => {
                facts.unreachable.push(peer.to_owned());
            }
            ("refused", peer) => {
                let text = value.splitn(3, ' ').nth(2).unwrap_or(value);
                facts.refused.push((peer.to_owned(), text.to_owned()));
            }
            _ => {}
        }
    }
    known(facts)
}

/// What servers say that do not know the word `peer`, or must not answer it.
fn read_srvr(answer: &str) -> Result<Facts, String> {
    let mut facts = Facts::default();
    if answer.contains("not currently serving") {
        "looking".clone_into(&mut facts.mode);
    }
    for line in answer.lines() {
        match line.split_once(": ") {
            Some(("Mode", mode)) => mode.clone_into(&mut facts.mode),
            Some(("Zxid", value)) => facts.zxid = zxid(value),
            _ => {}
        }
    }
    known(facts)
}

fn known(facts: Facts) -> Result<Facts, String> {
    if facts.mode.is_empty() {
        Err("what answers there is no RooKeeper that may be asked peer or srvr".to_owned())
    } else {
        Ok(facts)
    }
}

fn zxid(text: &str) -> u64 {
    u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap_or(0)
}

/// The farthest state that any server has.
fn newest(looks: &[Look]) -> u64 {
    let zxids = looks.iter().filter_map(|look| look.answer.as_ref().ok());
    zxids.map(|facts| facts.zxid).max().unwrap_or(0)
}

fn table(looks: &[Look]) -> String {
    let newest = newest(looks);
    let or_dash = |value: Option<String>| value.unwrap_or_else(|| "-".to_owned());
    let mut rows = vec![
        [
            "server", "role", "epoch", "zxid", "lag", "sessions", "clients",
        ]
        .map(str::to_owned),
    ];
    for look in looks {
        let cells = match &look.answer {
            Err(_) => ["down", "-", "-", "-", "-"].map(str::to_owned),
            Ok(facts) => [
                facts.mode.clone(),
                or_dash(facts.epoch.map(|epoch| epoch.to_string())),
                format!("0x{:x}", facts.zxid),
                lag(newest, facts.zxid),
                or_dash(facts.sessions.map(|count| count.to_string())),
            ],
        };
        let [role, epoch, zxid, lag, sessions] = cells;
        rows.push([
            look.name.clone(),
            role,
            epoch,
            zxid,
            lag,
            sessions,
            look.address.clone(),
        ]);
    }
    let mut widths = [0; 7];
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = cell.len().max(*width);
        }
    }
    let mut out = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths);
        let line: Vec<String> = cells.map(|(cell, w)| format!("{cell:<w$}")).collect();
        out.push_str(line.join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// Transactions behind, which can be counted only within an epoch.
fn lag(newest: u64, zxid: u64) -> String {
    match (newest >> 32) - (zxid >> 32) {
        0 => (newest - zxid).to_string(),
        1 => "an epoch".to_owned(),
        epochs => format!("{epochs} epochs"),
    }
}

/// What is wrong, one sentence each.
fn troubles(looks: &[Look]) -> Vec<String> {
    let mut out = Vec::new();
    for look in looks {
        let name = &look.name;
        let facts = match &look.answer {
            Ok(facts) => facts,
            Err(why) => {
                out.push(format!("server {name}: {why}"));
                continue;
            }
        };
        let is_serving = !matches!(facts.mode.as_str(), "looking" | "read-only");
        if !is_serving {
            let long = facts
                .since_ms
                .map_or_else(String::new, |ms| format!(" for {}", span(ms)));
            let far = if facts.unreachable.is_empty() {
                String::new()
            } else {
                format!("; it does not reach {}", facts.unreachable.join(", "))
            };
            out.push(format!("server {name}: no leader{long}{far}"));
        }
        for (peer, text) in &facts.refused {
            let who = if peer == "?" { "somebody" } else { peer };
            out.push(format!("server {name} and {who} do not talk: {text}"));
        }
        if let (Ok(shown), Some(id)) = (name.parse::<i64>(), facts.id)
            && shown != id
        {
            out.push(format!("server {name} says that it is server {id}"));
        }
    }
    out.extend(disagreements(looks));
    out
}

/// Servers that cannot belong to one ensemble.
fn disagreements(looks: &[Look]) -> Vec<String> {
    let mut out = Vec::new();
    let heard: Vec<(&str, &Facts)> = looks
        .iter()
        .filter_map(|look| Some((look.name.as_str(), look.answer.as_ref().ok()?)))
        .collect();
    let Some(((first, reference), rest)) = heard.split_first() else {
        return out;
    };
    for (name, facts) in rest {
        if facts.name != reference.name {
            let shown = |facts: &Facts| facts.name.clone().unwrap_or_else(|| "no name".into());
            out.push(format!(
                "servers {first} and {name} have other ensemble.names: {} and {}",
                shown(reference),
                shown(facts)
            ));
        }
        let known = !facts.members.is_empty() && !reference.members.is_empty();
        if known && facts.members != reference.members {
            let alone = |a: &Facts, b: &Facts| {
                let lines = a.members.iter().filter(|line| !b.members.contains(line));
                lines.map(String::as_str).collect::<Vec<_>>().join(" ")
            };
            out.push(format!(
                "servers {first} and {name} have other lists of servers: only {first} has [{}], \
                 only {name} has [{}]",
                alone(reference, facts),
                alone(facts, reference)
            ));
        }
    }
    let leaders: Vec<&str> = heard
        .iter()
        .filter(|(_, facts)| facts.mode == "leader")
        .map(|(name, _)| *name)
        .collect();
    if leaders.len() > 1 {
        out.push(format!(
            "servers {} lead: they are of different ensembles, or all but one are about to notice",
            leaders.join(" and ")
        ));
    }
    out
}

fn span(ms: u64) -> String {
    match ms / 1000 {
        0 => format!("{ms} ms"),
        s @ 1..=119 => format!("{s} s"),
        s @ 120..=7199 => format!("{} min", s / 60),
        s => format!("{} h", s / 3600),
    }
}

/// Whether writes are taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) serves: bool,
    pub(super) text: String,
}

/// Whether a quorum serves, in words. Weights are not considered.
pub(super) fn verdict(looks: &[Look]) -> Verdict {
    let heard = || {
        looks
            .iter()
            .filter_map(|l| Some((&l.name, l.answer.as_ref().ok()?)))
    };
    if let [look] = looks
        && let Ok(facts) = &look.answer
        && facts.mode == "standalone"
    {
        let text = "the server serves alone".to_owned();
        return Verdict { serves: true, text };
    }
    let observers = heard()
        .filter(|(_, facts)| facts.mode == "observer")
        .count();
    let voters = heard().find_map(|(_, facts)| facts.voters);
    let voters = voters.unwrap_or(looks.len() - observers);
    let needed = voters / 2 + 1;
    let Some((leader, lead)) = heard().find(|(_, facts)| facts.mode == "leader") else {
        let running = heard().count() - observers;
        let text = format!(
            "no quorum serves: {running} of {voters} voting servers answer, none leads, {needed} \
             are needed"
        );
        return Verdict {
            serves: false,
            text,
        };
    };
    // A server calls itself a follower as soon as it has found the leader; only when the leader
    // says so too is it in step. Who answers `srvr` alone says neither.
    let follows = |facts: &Facts| {
        let is_its = facts.leader.is_none() || facts.leader == lead.id;
        let is_synced = match (lead.id, facts.id) {
            (Some(_), Some(id)) => lead.synced.contains(&id),
            _ => true,
        };
        facts.mode == "follower" && is_its && is_synced
    };
    let together = 1 + heard().filter(|(_, facts)| follows(facts)).count();
    let serves = together >= needed;
    let text = if serves {
        format!(
            "a quorum serves: server {leader} leads, {together} of {voters} voting servers are with it"
        )
    } else {
        format!(
            "no quorum serves: server {leader} leads, but only {together} of {voters} voting \
             servers are with it, {needed} are needed"
        )
    };
    Verdict { serves, text }
}

/// The ensemble in one line.
pub(super) fn summary(looks: &[Look]) -> String {
    let one = |look: &Look| {
        let mode = look.answer.as_ref().map_or("down", |facts| &facts.mode);
        format!("{}: {mode}", look.name)
    };
    let modes: Vec<String> = looks.iter().map(one).collect();
    let word = if verdict(looks).serves {
        "serving"
    } else {
        "NO QUORUM"
    };
    format!(" {word} | {} ", modes.join(" | "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEADER: &str = "mode: leader\nsince: 4118\napplied: 0x10000011e\nsessions: 7\nid: 3\n\
        server.1=a:1\nserver.3=c:1\nversion=0\nstate: broadcast (Broadcasting)\nepoch: 1\n\
        leader: 3\nvoters: 3\nlearner 1: follower synced 0x10000011e\npeer 1: reachable 1\n\
        peer 2: unreachable 5000\nrefused 2: 12 WrongId the server at x is server 9, not 2\n";

    fn seen(name: &str, answer: Result<Facts, String>) -> Look {
        Look {
            name: name.into(),
            address: format!("127.0.0.1:{name}"),
            answer,
        }
    }

    fn follower() -> Facts {
        let text = LEADER
            .replace("mode: leader", "mode: follower")
            .replace("id: 3", "id: 1")
            .replace("0x10000011e\nsess", "0x10000011c\nsess");
        read_peer(&text).unwrap()
    }

    fn ensemble() -> Vec<Look> {
        vec![
            seen("1", Ok(follower())),
            seen("2", Err("not running: process 7 has ended".into())),
            seen("3", read_peer(LEADER)),
        ]
    }

    #[test]
    fn the_table_shows_roles_and_lag() {
        let rows: Vec<String> = table(&ensemble())
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            rows,
            [
                "server role epoch zxid lag sessions clients",
                "1 follower 1 0x10000011c 2 7 127.0.0.1:1",
                "2 down - - - - 127.0.0.1:2",
                "3 leader 1 0x10000011e 0 7 127.0.0.1:3",
            ]
        );
        assert_eq!(lag(2 << 32, 1 << 32), "an epoch");
    }

    #[test]
    fn a_leader_without_a_majority_does_not_serve() {
        let mut looks = ensemble();
        assert!(verdict(&looks).serves, "{:?}", verdict(&looks));
        looks[2].answer = read_peer(&LEADER.replace("follower synced", "follower syncing"));
        let early = verdict(&looks);
        assert!(!early.serves, "{}", early.text);
        looks[2].answer = read_peer(LEADER);
        looks[0].answer = Err("no answer".into());
        let alone = verdict(&looks);
        assert!(!alone.serves);
        assert!(alone.text.contains("only 1 of 3"), "{}", alone.text);
        looks[2].answer = read_peer("mode: looking\nsince: 61000\nvoters: 3\n");
        let nobody = verdict(&looks);
        assert!(!nobody.serves && nobody.text.contains("none leads"));
    }

    #[test]
    fn what_is_wrong_is_said_in_words() {
        let mut looks = ensemble();
        let text = troubles(&looks).join("\n");
        assert!(text.contains("server 2: not running"), "{text}");
        assert!(text.contains("3 and 2 do not talk: the server at x is server 9"));
        looks[0].answer = Ok(Facts {
            members: vec!["server.1=a:1".into()],
            name: Some("other".into()),
            ..follower()
        });
        let text = troubles(&looks).join("\n");
        assert!(
            text.contains("have other ensemble.names: other and no name"),
            "{text}"
        );
        assert!(text.contains("only 3 has [server.3=c:1]"), "{text}");
        looks[0].answer = read_peer("mode: looking\nsince: 61000\npeer 3: unreachable 3\n");
        let text = troubles(&looks).join("\n");
        assert!(
            text.contains("no leader for 61 s; it does not reach 3"),
            "{text}"
        );
    }

    #[test]
    fn servers_that_may_only_be_asked_srvr_are_understood() {
        let srvr = "Zookeeper version: 3\nZxid: 0x100000002\nMode: follower\nNode count: 5\n";
        let facts = read_srvr(srvr).unwrap();
        assert_eq!(
            (facts.mode.as_str(), facts.zxid),
            ("follower", 0x1_0000_0002)
        );
        assert!(read_srvr("HTTP/1.1 400 Bad Request").is_err());
        let looking = "This ZooKeeper instance is not currently serving requests\n";
        assert_eq!(read_srvr(looking).unwrap().mode, "looking");
    }
}
