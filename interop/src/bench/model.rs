//! The paper model: what a request, a znode and a session cost one server, measured small, and what
//! that allows on machines that are not here.
//!
//! It assumes that a cost per request stays what it is, that I/O threads share nothing but reads of
//! the state (the curve by I/O threads shows how far that holds), and that the threads there is one
//! of are the limit of writes. It knows nothing of memory bandwidth, caches and several sockets.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

use super::servers::{Kind, Server};
use super::table::number;
use super::{Run, load, million, progress, streams};

/// Requests of each kind that are measured.
const REQUESTS: u32 = 400_000;
const ZNODES: u32 = 200_000;
const SESSIONS: u32 = 2_000;
/// Sizes of machines that are looked at.
const CORES: [u32; 4] = [4, 8, 16, 64];
const FOLLOWERS: f64 = 2.0;
/// Writes that share a sync at most, `maxBatchSize`.
const BATCH: f64 = 1_000.0;
/// What a link of 10 Gbit/s carries.
const LINK_BYTES: f64 = 1.25e9;

/// The kinds of requests: a name, and the workload of `roo bench`.
const REQUEST_KINDS: [(&str, &str); 3] = [("get", "read"), ("set", "write"), ("create", "create")];

/// CPU time of a request in microseconds, by kind of thread.
type Costs = BTreeMap<String, f64>;

/// The threads of which a server has one each.
const SINGLE_THREADS: [&str; 2] = ["roo-replica", "roo-storage"];

/// Measures, and says what follows, also of a sync that takes so long.
pub(super) fn run(run: &Run<'_>, fsync_us: f64) -> Result<String> {
    let server = Server::start(run.args, Kind::Roo, 1, &[])?;
    streams::warm_up(run, &server)?;
    let costs = REQUEST_KINDS
        .iter()
        .map(|(name, workload)| {
            progress(&format!("model: CPU of {name}"))?;
            Ok((*name, costs(run, &server, workload)?))
        })
        .collect::<Result<Vec<_>>>()?;
    let alone = loopback_bytes(run, &server)?;
    drop(server);
    let (znode, session) = memory(run)?;
    progress("model: bytes between servers")?;
    let ensemble = Server::start(run.args, Kind::Roo, 3, &[])?;
    streams::warm_up(run, &ensemble)?;
    let together = loopback_bytes(run, &ensemble)?;
    let between = (together - alone) / FOLLOWERS;
    let mut text = describe(&costs, znode, session, between);
    text += &format!(
        "\nUp to {BATCH} writes share a sync: one of {} us allows {} writes a second, if so many \
         wait.\n",
        number(fsync_us),
        number(BATCH * 1e6 / fsync_us)
    );
    Ok(text)
}

/// What a request of this workload costs each kind of thread.
fn costs(run: &Run<'_>, server: &Server, workload: &str) -> Result<Costs> {
    let pid = *server.process_ids().first().context("no server runs")?;
    let requests = run.scaled(REQUESTS);
    let before = thread_us(pid)?;
    load::run(
        run.args,
        server,
        &load_options(workload, &requests.to_string()),
    )?;
    let after = thread_us(pid)?;
    let spent = |(name, us): (&String, &f64)| {
        let us = us - before.get(name).copied().unwrap_or(0.0);
        (name.clone(), us / f64::from(requests))
    };
    Ok(after.iter().map(spent).collect())
}

/// Few keys and a root that stays, so that nearly all of the requests are those of the workload.
fn load_options<'a>(workload: &'a str, requests: &'a str) -> [&'a str; 13] {
    [
        workload,
        "-c",
        "50",
        "-d",
        "10",
        "--value-size",
        "100",
        "--keys",
        "100",
        "--root",
        "/model",
        "-n",
        requests,
    ]
}

/// The unit of CPU times in /proc is 1/100 s on every Linux.
const US_PER_TICK: f64 = 10_000.0;

/// CPU time of a process by kind of thread: by their names without a number. A thread that ends
/// meanwhile is none of the server's own.
fn thread_us(pid: u32) -> Result<BTreeMap<String, f64>> {
    let mut sums = BTreeMap::new();
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(stat) = fs::read_to_string(task?.path().join("stat")) else {
            continue;
        };
        let (name, us) = name_and_us(&stat).with_context(|| format!("an odd line: {stat}"))?;
        *sums.entry(name).or_default() += us;
    }
    Ok(sums)
}

/// The name is the 2nd field, in brackets; utime and stime are the 14th and 15th.
fn name_and_us(stat: &str) -> Option<(String, f64)> {
    let (_, rest) = stat.split_once('(')?;
    let (name, rest) = rest.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: f64 = fields.next()?.parse().ok()?;
    let system: f64 = fields.next()?.parse().ok()?;
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let name = name.trim_end_matches('-').to_owned();
    Some((name, (user + system) * US_PER_TICK))
}

/// Bytes that pass the loopback device for a set of 100 bytes, all on this machine together. The
/// clients are at every server alike, so that two thirds of what they send is forwarded.
fn loopback_bytes(run: &Run<'_>, server: &Server) -> Result<f64> {
    let requests = run.scaled(REQUESTS / 4);
    let before = loopback_sent()?;
    load::run(
        run.args,
        server,
        &load_options("write", &requests.to_string()),
    )?;
    Ok((loopback_sent()? - before) / f64::from(requests))
}

fn loopback_sent() -> Result<f64> {
    let text = fs::read_to_string("/proc/net/dev")?;
    let line = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("lo:"));
    let bytes = line.and_then(|line| line.split_whitespace().nth(8));
    Ok(bytes.context("no loopback device")?.parse()?)
}

/// Resident bytes of a znode of 100 bytes and of a session.
fn memory(run: &Run<'_>) -> Result<(f64, f64)> {
    progress("model: memory")?;
    let server = Server::start(run.args, Kind::Roo, 1, &[])?;
    let filled = million::fill(run, &server, run.scaled(ZNODES))?;
    let znode = filled.field("/extra/rss_bytes_per_znode")?;
    let count = run.scaled(SESSIONS).to_string();
    let opened = load::run(run.args, &server, &["sessions", "-n", &count, "-t", "0.1"])?;
    Ok((znode, opened.field("/extra/rss_bytes_per_session")?))
}

fn describe(costs: &[(&str, Costs)], znode: f64, session: f64, between: f64) -> String {
    let names: Vec<&String> = costs
        .iter()
        .flat_map(|(_, costs)| costs)
        .filter(|(_, us)| **us >= 0.05)
        .map(|(name, _)| name)
        .collect::<std::collections::BTreeSet<_>>()
        .into_iter()
        .collect();
    let mut text = String::from("| us of CPU of one request, values of 100 B |");
    for name in &names {
        text += &format!(" {name} |");
    }
    text += &format!(" all |\n|---|{}---|\n", "---|".repeat(names.len()));
    for (request, costs) in costs {
        text += &format!("| {request} |");
        for name in &names {
            text += &format!(" {} |", number(costs.get(*name).copied().unwrap_or(0.0)));
        }
        text += &format!(" {} |\n", number(costs.values().sum()));
    }
    text += &format!(
        "\nA znode of 100 B takes {} bytes, an idle session {}: 64 GiB hold {} million such znodes.\n\
         A set of 100 B is {} bytes between servers for each follower, forwarding and \
         acknowledgements included: a link of 10 Gbit/s at the leader of three carries {} a second.\n",
        number(znode),
        number(session),
        number(64.0 * 1024.0_f64.powi(3) / znode / 1e6),
        number(between),
        number(LINK_BYTES / (between * FOLLOWERS).max(1.0)),
    );
    text += &limits(costs);
    text
}

/// Requests per second that a number of cores allows.
fn limits(costs: &[(&str, Costs)]) -> String {
    let of = |name: &str| {
        let found = costs.iter().find(|(request, _)| *request == name);
        found.map(|(_, costs)| costs.clone()).unwrap_or_default()
    };
    let (get, set) = (of("get"), of("set"));
    let nine_of_ten = mixed(&get, &set, 0.1);
    let loads = [
        ("get", get),
        ("set", set),
        ("create", of("create")),
        ("90 % get, 10 % set", nine_of_ten),
    ];
    let mut text = String::from("\n| at most per second, one server |");
    for cores in CORES {
        text += &format!(" {cores} cores |");
    }
    text += &format!(" limit |\n|---|{}---|\n", "---|".repeat(CORES.len()));
    for (name, costs) in loads {
        let (single, limit) = single_limit(&costs);
        text += &format!("| {name} |");
        for cores in CORES {
            let by_cores = f64::from(cores) * 1e6 / costs.values().sum::<f64>().max(0.001);
            text += &format!(" {} |", number(by_cores.min(limit)));
        }
        match single {
            Some(name) => text += &format!(" {name}: {} |\n", number(limit)),
            None => text += " cores |\n",
        }
    }
    text
}

/// What a request of a mixture costs.
fn mixed(most: &Costs, few: &Costs, part: f64) -> Costs {
    let mut sum: Costs = most
        .iter()
        .map(|(name, us)| (name.clone(), us * (1.0 - part)))
        .collect();
    for (name, us) in few {
        *sum.entry(name.clone()).or_default() += us * part;
    }
    sum
}

/// The busiest of the threads there is one of, and how many requests it can take a second.
fn single_limit(costs: &Costs) -> (Option<&'static str>, f64) {
    let us = |name: &str| costs.get(name).copied().unwrap_or(0.0);
    let busiest = SINGLE_THREADS
        .into_iter()
        .max_by(|one, other| us(one).total_cmp(&us(other)));
    match busiest {
        Some(name) if us(name) > 0.01 => (Some(name), 1e6 / us(name)),
        _ => (None, f64::INFINITY),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn costs(io: f64, replica: f64) -> Costs {
        [("roo-io", io), ("roo-replica", replica)]
            .map(|(name, us)| (name.to_owned(), us))
            .into()
    }

    #[test]
    fn reads_grow_with_cores_and_writes_up_to_one_thread() {
        let text = limits(&[("get", costs(2.0, 0.0)), ("set", costs(3.0, 2.0))]);
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        assert_eq!(
            line("| get"),
            "| get | 2,000,000 | 4,000,000 | 8,000,000 | 32,000,000 | cores |"
        );
        assert_eq!(
            line("| set"),
            "| set | 500,000 | 500,000 | 500,000 | 500,000 | roo-replica: 500,000 |"
        );
    }

    #[test]
    fn threads_are_told_apart_by_their_names_without_numbers() {
        let stat = "12 (roo-io-1) S 1 2 3 4 5 6 7 8 9 10 3 2 0 0 20 0";
        assert_eq!(name_and_us(stat), Some(("roo-io".to_owned(), 50_000.0)));
        assert!(!thread_us(std::process::id()).unwrap().is_empty());
    }
}
