//! `roo bench`: a load generator for any ZooKeeper server, and a null server that shows its limit.
//!
//! It is built not to be the bottleneck: few threads, non-blocking sockets, frames that are encoded
//! once and then only patched, replies of which only the head is read. It therefore does not check
//! what the server answers beyond length, xid and error code: the differential test does that.
//!
//! Reading order: `workload` (what is sent), `worker` (when), `connection` and `wire` (how),
//! `tally` and `report` (what is counted), `sessions` and `fanout` (the two loads that are no stream
//! of requests), `control` (znodes before and after), `null_server`.

use std::io::Write as _;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use clock::now_ns;
use control::Control;
use process::Usage;
use report::{Latency, Report, Settings, Spent};
use sessions::{Crowd, close_all, open_all};
use tally::Tally;
use worker::{Lane, Schedule};
use workload::{Plan, Source, Workload};

mod clock;
mod connection;
mod control;
mod fanout;
mod null_server;
mod process;
mod report;
mod sessions;
mod tally;
#[cfg(test)]
mod tests;
mod wire;
mod worker;
mod workload;

/// Measure a ZooKeeper server (any, not only this one)
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct BenchArgs {
    /// What to run, one after the other
    #[arg(value_name = "WORKLOAD", default_value = "read", num_args = 1..)]
    workloads: Vec<Workload>,
    /// Servers; connections are spread over them
    #[arg(
        short,
        long,
        value_name = "HOST:PORT,...",
        default_value = "127.0.0.1:2181"
    )]
    #[arg(value_delimiter = ',')]
    servers: Vec<String>,
    /// Connections, each with a session of its own
    #[arg(short, long, default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..))]
    connections: u32,
    /// Requests under way per connection
    #[arg(short, long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    depth: u32,
    /// Measured time in seconds [default: 5, or until -n requests are done]
    #[arg(short = 't', long)]
    seconds: Option<f64>,
    /// Requests to send, without warm-up (sessions to open, znodes to fill)
    #[arg(short = 'n', long)]
    requests: Option<u64>,
    /// Seconds of the same load before the measured time
    #[arg(long, default_value_t = 1.0)]
    warm_up: f64,
    /// Bytes of a value
    #[arg(long, default_value_t = 1024)]
    value_size: usize,
    /// Znodes that are read and set
    #[arg(long, default_value_t = 1000, value_parser = clap::value_parser!(u32).range(1..))]
    keys: u32,
    /// Children of the directory that is listed [default: 10; 100 for mixed]
    #[arg(long)]
    children: Option<u32>,
    /// Requests per second in an open loop: latency counts from when a request was due
    #[arg(long)]
    rate: Option<f64>,
    /// Threads of the load generator
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    threads: u32,
    /// Session timeout to ask for
    #[arg(long, default_value_t = 30_000, value_parser = clap::value_parser!(i32).range(1..))]
    session_timeout_ms: i32,
    /// Processes of the servers on this machine, to report their CPU time and memory
    #[arg(long, value_name = "PID,...", value_delimiter = ',')]
    server_pid: Vec<u32>,
    /// Write every reply's time and latency to a file (CSV, nanoseconds, monotonic clock)
    #[arg(long, value_name = "FILE")]
    samples: Option<PathBuf>,
    /// Leave the znodes of the run (fill always does)
    #[arg(long)]
    keep: bool,
    /// Print one JSON object per workload instead of a table
    #[arg(long)]
    json: bool,
    /// Be a null server on this port: fixed answers, the limit of sockets and load generator
    #[arg(long, value_name = "PORT")]
    null_server: Option<u16>,
}

/// Runs the workloads and prints their figures.
pub(crate) fn run(args: BenchArgs) -> Result<ExitCode> {
    if let Some(port) = args.null_server {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = null_server::NullServer::bind(address, args.value_size)?;
        writeln!(std::io::stdout(), "null server on {}", server.local_addr()?)?;
        server.serve()?;
    }
    let bench = Bench::new(args)?;
    let mut out = std::io::stdout().lock();
    if !bench.args.json {
        Report::write_table_head(&mut out)?;
    }
    let mut failed = false;
    for &workload in &bench.args.workloads {
        let report = bench.measure(workload).with_context(|| workload.name())?;
        failed |= !report.errors.is_empty();
        if bench.args.json {
            writeln!(out, "{}", serde_json::to_string(&report)?)?;
        } else {
            report.write_table_line(&mut out)?;
        }
        out.flush()?;
    }
    Ok(if failed {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    })
}

/// Znodes that `fill` creates and sessions that `sessions` opens unless told otherwise.
const FILL_DEFAULT: u64 = 100_000;
const SESSIONS_DEFAULT: u64 = 1_000;
const SECONDS_DEFAULT: f64 = 5.0;
/// Values beyond this would not fit into a server's default request limit.
const VALUE_SIZE_MAX: usize = 64 << 20;
/// "No end": far enough, and still no overflow when added to the clock.
const FOREVER_S: f64 = 1e6;

struct Bench {
    args: BenchArgs,
    servers: Vec<SocketAddr>,
}

impl Bench {
    fn new(args: BenchArgs) -> Result<Self> {
        ensure!(
            args.value_size <= VALUE_SIZE_MAX,
            "--value-size is at most {VALUE_SIZE_MAX}"
        );
        ensure!(
            args.rate.is_none_or(|rate| rate > 0.0),
            "--rate must be above 0"
        );
        let servers = args
            .servers
            .iter()
            .map(|server| resolve(server))
            .collect::<Result<Vec<_>>>()?;
        raise_file_limit();
        Ok(Self { args, servers })
    }

    fn measure(&self, workload: Workload) -> Result<Report> {
        match workload {
            Workload::Sessions => self.measure_sessions(),
            Workload::WatchFanout => self.on_znodes(workload, |plan| self.measure_fanout(plan)),
            _ => self.on_znodes(workload, |plan| self.measure_stream(plan)),
        }
    }

    /// Lays out the znodes, runs `body`, clears up even if it fails.
    fn on_znodes(
        &self,
        workload: Workload,
        body: impl FnOnce(&Plan) -> Result<Report>,
    ) -> Result<Report> {
        let args = &self.args;
        let keys = if workload == Workload::SingleHotGet {
            1
        } else {
            args.keys
        };
        let children = args.children.unwrap_or_else(|| workload.children_default());
        let root = format!("/bench-{}", std::process::id());
        let plan = Plan::new(workload, root, keys, children, args.value_size);
        let mut control = Control::connect(self.servers[0])?;
        control.lay_out(&plan, args.connections)?;
        control.close()?;
        let outcome = body(&plan);
        if !args.keep && workload != Workload::Fill {
            let cleared = Control::connect(self.servers[0]).and_then(|mut control| {
                control.clear(&plan)?;
                control.close()
            });
            return outcome.and_then(|report| cleared.context("clear up").map(|()| report));
        }
        outcome
    }

    fn measure_stream(&self, plan: &Plan) -> Result<Report> {
        let args = &self.args;
        let before = process::usage(&args.server_pid)?;
        let connections = open_all(&self.servers, args.connections, args.session_timeout_ms)?;
        let mut lanes: Vec<Lane<'_>> = (0..)
            .zip(connections)
            .map(|(i, connection)| Lane::new(connection, Source::new(plan, i)))
            .collect();
        let schedule = self.schedule(plan.workload);
        let (tally, spent) = self.drive(&mut lanes, schedule)?;
        if let Some(path) = &args.samples {
            write_samples(path, &tally)?;
        }
        let mut report = self.report(plan.workload, &tally, spent);
        if plan.workload == Workload::Fill {
            report.extra.extend(rss_growth(
                "rss_bytes_per_znode",
                before,
                spent,
                report.requests,
            ));
        }
        if plan.workload == Workload::CreateEphemeral && !args.keep {
            // Closing a session with very many ephemerals would be one enormous transaction.
            Control::connect(self.servers[0])?.clear(plan)?;
        }
        close_all(lanes.into_iter().map(|lane| lane.connection).collect())?;
        Ok(report)
    }

    /// Runs the lanes on their threads while this one samples the server.
    fn drive(&self, lanes: &mut [Lane<'_>], schedule: Schedule) -> Result<(Tally, Spent)> {
        let threads = (self.args.threads as usize).min(lanes.len());
        let per_thread = lanes.len().div_ceil(threads);
        std::thread::scope(|scope| {
            let (done, workers_done) = mpsc::channel();
            let mut unsent = schedule.requests_max;
            let mut workers = 0;
            for lanes in lanes.chunks_mut(per_thread) {
                let done = done.clone();
                let share = schedule.requests_max.div_ceil(threads as u64).min(unsent);
                unsent -= share;
                workers += 1;
                let schedule = Schedule {
                    requests_max: share,
                    ..schedule
                };
                scope.spawn(move || {
                    // Nobody listens any more when another worker has failed.
                    let _ = done.send(worker::drive(lanes, schedule));
                });
            }
            let mut meter = Meter {
                workers_done,
                workers,
                tallies: Vec::new(),
            };
            meter.wait_until(schedule.measure_from_ns)?;
            let (from_ns, generator, server) = self.sample()?;
            meter.wait_until(schedule.end_ns)?;
            let (to_ns, generator_end, server_end) = self.sample()?;
            meter.wait_until(u64::MAX)?;
            let mut tally = Tally::new(schedule.keep_samples)?;
            for part in meter.tallies {
                tally.add(part)?;
            }
            let spent = Spent {
                elapsed_ns: to_ns.min(schedule.end_ns).max(from_ns) - from_ns,
                generator_cpu_ns: generator_end - generator,
                server: self.spent(server, server_end),
            };
            Ok((tally, spent))
        })
    }

    fn sample(&self) -> Result<(u64, u64, Usage)> {
        Ok((
            now_ns(),
            process::own_cpu_ns()?,
            process::usage(&self.args.server_pid)?,
        ))
    }

    /// CPU time between two samples, memory as in the second.
    fn spent(&self, from: Usage, to: Usage) -> Option<Usage> {
        let cpu_ns = to.cpu_ns.saturating_sub(from.cpu_ns);
        (!self.args.server_pid.is_empty()).then_some(Usage { cpu_ns, ..to })
    }

    fn schedule(&self, workload: Workload) -> Schedule {
        let args = &self.args;
        let requests = args
            .requests
            .or((workload == Workload::Fill).then_some(FILL_DEFAULT));
        let warm_up = if requests.is_some() {
            0.0
        } else {
            args.warm_up.max(0.0)
        };
        let default = if requests.is_some() {
            FOREVER_S
        } else {
            SECONDS_DEFAULT
        };
        let seconds = args.seconds.unwrap_or(default).clamp(0.0, FOREVER_S);
        let start_ns = now_ns();
        let measure_from_ns = start_ns + clock::ns(warm_up);
        let threads = f64::from(args.threads.min(args.connections));
        Schedule {
            start_ns,
            measure_from_ns,
            end_ns: measure_from_ns + clock::ns(seconds),
            requests_max: requests.unwrap_or(u64::MAX),
            depth: args.depth as usize,
            interval_ns: args.rate.map(|rate| clock::ns(threads / rate)),
            keep_samples: args.samples.is_some(),
        }
    }

    fn measure_fanout(&self, plan: &Plan) -> Result<Report> {
        let args = &self.args;
        let mut connections =
            open_all(&self.servers, args.connections + 1, args.session_timeout_ms)?;
        let schedule = self.schedule(plan.workload);
        let (from_ns, generator, server) = self.sample()?;
        let outcome = fanout::Fanout::new(&mut connections, plan)?.run(schedule)?;
        let (to_ns, generator_end, server_end) = self.sample()?;
        let spent = Spent {
            elapsed_ns: to_ns - from_ns,
            generator_cpu_ns: generator_end - generator,
            server: self.spent(server, server_end),
        };
        let mut report = self.report(plan.workload, &outcome.tally, spent);
        let each = Latency::of(&outcome.each);
        report.extra.insert("each_event_p50_us", each.p50_us);
        report.extra.insert("each_event_p99_us", each.p99_us);
        close_all(connections)?;
        Ok(report)
    }

    fn measure_sessions(&self) -> Result<Report> {
        let args = &self.args;
        let count = args.requests.unwrap_or(SESSIONS_DEFAULT);
        let hold_ns = clock::ns(args.seconds.unwrap_or(SECONDS_DEFAULT));
        let mut crowd = Crowd::new(self.servers.clone())?;
        let (from_ns, generator, server) = self.sample()?;
        crowd.open(usize::try_from(count)?, args.session_timeout_ms)?;
        let (to_ns, generator_end, server_open) = self.sample()?;
        let spent = Spent {
            elapsed_ns: to_ns - from_ns,
            generator_cpu_ns: generator_end - generator,
            server: self.spent(server, server_open),
        };
        let opening = std::mem::replace(&mut crowd.tally, Tally::new(false)?);
        crowd.hold(to_ns + hold_ns)?;
        let (_, _, server_held) = self.sample()?;
        let mut report = self.report(Workload::Sessions, &opening, spent);
        report.connections = u32::try_from(count).unwrap_or(u32::MAX);
        report.extra.extend(rss_growth(
            "rss_bytes_per_session",
            server,
            spent,
            report.requests,
        ));
        if let Some(held) = self.spent(server_open, server_held) {
            let percent = 100.0 * clock::seconds(held.cpu_ns) / clock::seconds(hold_ns).max(1e-9);
            report
                .extra
                .insert("server_cpu_percent_while_idle", percent);
        }
        if !crowd.tally.reads.is_empty() {
            report
                .extra
                .insert("ping_p50_us", Latency::of(&crowd.tally.reads).p50_us);
            report
                .extra
                .insert("ping_p99_us", Latency::of(&crowd.tally.reads).p99_us);
        }
        let closing_ns = now_ns();
        crowd.close()?;
        let closing = clock::seconds(now_ns() - closing_ns);
        report.extra.insert("close_seconds", closing);
        Ok(report)
    }

    fn report(&self, workload: Workload, tally: &Tally, spent: Spent) -> Report {
        let settings = Settings {
            connections: self.args.connections,
            depth: self.args.depth as usize,
            value_size: self.args.value_size,
            rate: self.args.rate,
        };
        Report::new(workload.name(), settings, tally, spent)
    }
}

/// Waits for moments while workers may end.
struct Meter {
    workers_done: mpsc::Receiver<Result<Tally>>,
    workers: usize,
    tallies: Vec<Tally>,
}

impl Meter {
    /// Returns at `moment_ns`, or earlier when every worker is done; fails when one has failed.
    fn wait_until(&mut self, moment_ns: u64) -> Result<()> {
        while self.tallies.len() < self.workers {
            let pause = Duration::from_nanos(moment_ns.saturating_sub(now_ns()));
            match self.workers_done.recv_timeout(pause) {
                Ok(tally) => self.tallies.push(tally?),
                Err(RecvTimeoutError::Timeout) => return Ok(()),
                Err(RecvTimeoutError::Disconnected) => bail!("a thread of the generator died"),
            }
        }
        Ok(())
    }
}

#[expect(clippy::cast_precision_loss, reason = "for people to read")]
fn rss_growth(
    name: &'static str,
    before: Usage,
    spent: Spent,
    count: u64,
) -> Option<(&'static str, f64)> {
    let grown = spent.server?.rss_bytes as f64 - before.rss_bytes as f64;
    Some((name, grown / count.max(1) as f64))
}

fn write_samples(path: &Path, tally: &Tally) -> Result<()> {
    let file = std::fs::File::create(path).with_context(|| format!("create {}", path.display()))?;
    let mut file = std::io::BufWriter::new(file);
    writeln!(file, "received_ns,latency_ns")?;
    for sample in tally.samples.iter().flatten() {
        writeln!(file, "{},{}", sample.received_ns, sample.latency_ns)?;
    }
    file.flush()
        .with_context(|| format!("write {}", path.display()))
}

fn resolve(server: &str) -> Result<SocketAddr> {
    let with_port = if server.contains(':') {
        server.to_owned()
    } else {
        format!("{server}:2181")
    };
    with_port
        .to_socket_addrs()
        .with_context(|| format!("look up {server}"))?
        .next()
        .ok_or_else(|| anyhow!("{server} has no address"))
}

/// Many connections need many file descriptors. Where this fails, opening them says so.
fn raise_file_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    let _ = setrlimit(Resource::Nofile, limit);
}
