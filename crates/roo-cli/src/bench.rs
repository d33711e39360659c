//! `roo bench`: a load generator for any ZooKeeper server, and a null server that shows its limit.
//!
//! It is built not to be the bottleneck: few threads, non-blocking sockets, frames that are encoded
//! once and then only patched, replies of which only the head is read. It therefore does not check
//! what the server answers beyond length, xid and error code: the differential test does that.
//!
//! Reading order: `workload` (what is sent), `worker` (when), `connection` and `wire` (how),
//! `tally`, `timeline` and `report` (what is counted), `sessions` and `fanout` (the two loads that
//! are no stream of requests), `control` (znodes before and after), `null_server`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail, ensure};

use clock::now_ns;
use control::Control;
use process::Usage;
use report::{Latency, Report, Settings, Spent};
use sessions::{Crowd, Targets, close_all, keep_all, open_all};
use tally::{Kept, Tally};
use worker::{Lane, Schedule};
use workload::{Plan, Shape, Source, Workload};

pub(crate) use options::BenchArgs;

mod clock;
mod connection;
mod control;
mod fanout;
mod null_server;
mod options;
mod process;
mod report;
mod sessions;
mod tally;
#[cfg(test)]
mod tests;
mod timeline;
mod wire;
mod worker;
mod workload;

/// Runs the workloads and prints their figures.
pub(crate) fn run(args: BenchArgs) -> Result<ExitCode> {
    if let Some(port) = args.null_server {
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let answers = null_server::Answers {
            value_size: args.value_size,
            children: args.children.unwrap_or(10),
            multi_ops: args.multi_ops,
        };
        let server = null_server::NullServer::bind(address, answers)?;
        writeln!(
            std::io::stdout(),
            "{NULL_SERVER_SAYS}{}",
            server.local_addr()?
        )?;
        server.serve()?;
    }
    let bench = Bench::new(args)?;
    let mut out = std::io::stdout().lock();
    if !bench.args.json {
        Report::write_table_head(&mut out)?;
    }
    let mut failed = false;
    for &workload in &bench.args.workloads {
        let mut report = bench.measure(workload).with_context(|| workload.name())?;
        if bench.args.beside_null && workload.has_null_answers() {
            report.null = Some(bench.measure_null(workload)?.beside(&report));
        }
        failed |= !report.errors.is_empty();
        if let Some(path) = &bench.args.svg {
            bench.draw(path, &report)?;
        }
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
/// How a null server says where it is.
const NULL_SERVER_SAYS: &str = "null server on ";
/// "No end": far enough, and still no overflow when added to the clock.
const FOREVER_S: f64 = 1e6;

struct Bench {
    args: BenchArgs,
    targets: Targets,
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
        let from = args.from.clone();
        let targets = Targets { servers, from };
        Ok(Self { args, targets })
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
        let own_root = || format!("/bench-{}", std::process::id());
        let plan = Plan::new(Shape {
            workload,
            root: args.root.clone().unwrap_or_else(own_root),
            connections: args.connections,
            keys,
            children,
            value_size: args.value_size,
            multi_ops: args.multi_ops,
            flat: args.flat,
            first: args.first,
        });
        let server = self.targets.servers[0];
        let mut control = Control::connect(server)?;
        control.lay_out(&plan.shape)?;
        control.close()?;
        let outcome = body(&plan);
        if !args.keep && args.root.is_none() && workload != Workload::Fill {
            let cleared = Control::connect(server).and_then(|mut control| {
                control.clear(&plan.shape.root)?;
                control.close()
            });
            return outcome.and_then(|report| cleared.context("clear up").map(|()| report));
        }
        outcome
    }

    fn measure_stream(&self, plan: &Plan) -> Result<Report> {
        let args = &self.args;
        let workload = plan.shape.workload;
        let before = process::usage(&args.server_pid)?;
        let connections = open_all(&self.targets, args.connections, args.session_timeout_ms)?;
        let mut lanes: Vec<Lane<'_>> = (0..)
            .zip(connections)
            .map(|(i, connection)| Lane::new(connection, Source::new(plan, i)))
            .collect();
        let (tally, spent) = self.drive(&mut lanes, self.schedule(workload))?;
        if let Some(path) = &args.samples {
            write_samples(path, &tally)?;
        }
        let mut report = self.report(workload, &tally, spent);
        let each = match workload {
            Workload::Fill => Some("rss_bytes_per_znode"),
            Workload::Watches => Some("rss_bytes_per_watch"),
            _ => None,
        };
        let grown = each.and_then(|name| rss_growth(name, before, spent, report.requests));
        report.extra.extend(grown);
        if workload == Workload::CreateEphemeral && !args.keep {
            // Closing a session with very many ephemerals would be one enormous transaction.
            Control::connect(self.targets.servers[0])?.clear(&plan.shape.root)?;
        }
        let mut connections: Vec<_> = lanes.into_iter().map(|lane| lane.connection).collect();
        if workload == Workload::Watches {
            let hold_ns = clock::ns(args.seconds.unwrap_or(0.0));
            keep_all(&mut connections, now_ns() + hold_ns)?;
        }
        close_all(connections)?;
        Ok(report)
    }

    /// The same load against a null server of its own.
    fn measure_null(&self, workload: Workload) -> Result<Report> {
        let children = self.args.children;
        let children = children.unwrap_or_else(|| workload.children_default());
        let mut child = Command::new(std::env::current_exe().context("find this program")?)
            .args(["bench", "--null-server", "0"])
            .args(["--value-size", &self.args.value_size.to_string()])
            .args(["--children", &children.to_string()])
            .args(["--multi-ops", &self.args.multi_ops.to_string()])
            .stdout(Stdio::piped())
            .spawn()
            .context("start a null server")?;
        let measured = || -> Result<Report> {
            let mut line = String::new();
            let said = child
                .stdout
                .as_mut()
                .context("the output of a null server")?;
            BufReader::new(said).read_line(&mut line)?;
            let address = line.trim().strip_prefix(NULL_SERVER_SAYS);
            let args = BenchArgs {
                servers: vec![address.context("a null server says no address")?.to_owned()],
                server_pid: vec![child.id()],
                samples: None,
                svg: None,
                ..self.args.clone()
            };
            Self::new(args)?.measure(workload)
        }();
        // It serves until it is ended.
        child.kill().context("end a null server")?;
        child.wait().context("end a null server")?;
        measured.context("beside a null server")
    }

    fn draw(&self, path: &Path, report: &Report) -> Result<()> {
        let stem = path.file_stem().unwrap_or_default().to_string_lossy();
        let path = match self.args.workloads.len() {
            1 => path.to_owned(),
            _ => path.with_file_name(format!("{stem}-{}.svg", report.workload)),
        };
        let title = format!(
            "{}, {} connections x depth {}",
            report.workload, report.connections, report.depth
        );
        let slices = report.timeline.as_deref().unwrap_or_default();
        std::fs::write(&path, timeline::picture(&title, slices))
            .with_context(|| format!("write {}", path.display()))
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
            let mut tally = Tally::new(schedule.kept, schedule.measure_from_ns)?;
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
        let (requests, seconds) = match workload {
            Workload::Fill | Workload::Drain => {
                (args.requests.or(Some(FILL_DEFAULT)), args.seconds)
            }
            // Each connection comes to its own end, and -t says how long they are kept.
            Workload::Watches => (Some(u64::MAX), None),
            _ => (args.requests, args.seconds),
        };
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
        let seconds = seconds.unwrap_or(default).clamp(0.0, FOREVER_S);
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
            kept: self.kept(),
        }
    }

    fn kept(&self) -> Kept {
        Kept {
            samples: self.args.samples.is_some(),
            timeline: self.args.timeline || self.args.svg.is_some(),
        }
    }

    fn measure_fanout(&self, plan: &Plan) -> Result<Report> {
        let args = &self.args;
        let mut connections =
            open_all(&self.targets, args.connections + 1, args.session_timeout_ms)?;
        let schedule = self.schedule(plan.shape.workload);
        let mut fanout = fanout::Fanout::new(&mut connections, &plan.shape)?;
        fanout.run(schedule.measure_from_ns, u64::MAX)?;
        fanout.count_from_here(schedule.kept)?;
        let (from_ns, generator, server) = self.sample()?;
        fanout.run(schedule.end_ns, schedule.requests_max)?;
        let (to_ns, generator_end, server_end) = self.sample()?;
        let outcome = fanout.end()?;
        let spent = Spent {
            elapsed_ns: to_ns - from_ns,
            generator_cpu_ns: generator_end - generator,
            server: self.spent(server, server_end),
        };
        let mut report = self.report(plan.shape.workload, &outcome.tally, spent);
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
        let mut crowd = Crowd::new(self.targets.clone())?;
        let (from_ns, generator, server) = self.sample()?;
        crowd.open(usize::try_from(count)?, args.session_timeout_ms)?;
        let (to_ns, generator_end, server_open) = self.sample()?;
        let spent = Spent {
            elapsed_ns: to_ns - from_ns,
            generator_cpu_ns: generator_end - generator,
            server: self.spent(server, server_open),
        };
        let opening = std::mem::replace(&mut crowd.tally, Tally::new(Kept::default(), 0)?);
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
