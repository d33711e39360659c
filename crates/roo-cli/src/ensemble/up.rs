//! `roo ensemble up`: starts the servers, shows what they log, and stops them all when it ends.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::TcpListener;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, ExitCode, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::Signal;
use signal_hook::consts::{SIGCHLD, SIGINT, SIGTERM, SIGUSR1};
use signal_hook::iterator::Signals;

use super::screen::Screen;
use super::state_file::{self, Ensemble, Folder, Server};
use super::{PATIENCE, view};

const DEFAULT_SERVERS: u16 = 3;

/// More are no ensemble but a mistake.
const MOST_SERVERS: u16 = 15;

/// The first ports that are tried, those of every ZooKeeper.
const CLIENT_PORT: u16 = 2181;
const PEER_PORT: u16 = 2888;

/// Lines that may wait to be shown.
const LINES: usize = 1024;

/// Something to be shown or done.
enum Event {
    Line(u16, String),
    Status(String),
    Signal(i32),
}

/// Runs the servers until it is told to stop.
pub(super) fn run(folder: &Folder, wanted: Option<u16>) -> Result<ExitCode> {
    let mut state = prepare(folder, wanted)?;
    let (events, inbox) = mpsc::sync_channel(LINES);
    watch_signals(events.clone())?;
    state.runner = state_file::process(std::process::id());
    folder.save(&state)?;
    let mut runner = Runner {
        folder,
        state,
        children: BTreeMap::new(),
        events,
        screen: Screen::new(),
    };
    runner.introduce();
    let done = runner.start_all().and_then(|()| runner.watch(&inbox));
    let stopped = runner.stop_all(&inbox);
    let code = done?;
    stopped?;
    Ok(code)
}

/// The ensemble of the folder, or a new one; nothing of it runs.
fn prepare(folder: &Folder, wanted: Option<u16>) -> Result<Ensemble> {
    ensure!(
        wanted != Some(0),
        "0 servers are no ensemble: expected 1, 3, 5, ..."
    );
    ensure!(
        wanted.is_none_or(|servers| servers <= MOST_SERVERS),
        "more than {MOST_SERVERS} servers: each vote makes every write slower; expected 1, 3, 5, ..."
    );
    let Some(state) = folder.find()? else {
        let servers = wanted.unwrap_or(DEFAULT_SERVERS);
        if servers.is_multiple_of(2) {
            eprintln!(
                "roo: {servers} servers bear the failure of no more of them than {} do",
                servers - 1
            );
        }
        return plan(servers);
    };
    if let Some(runner) = state.runner.filter(|runner| folder.is_runner(*runner)) {
        bail!(
            "this ensemble runs already (process {}): see `roo ensemble status`, or stop it with `roo ensemble stop`",
            runner.pid
        );
    }
    let left: Vec<String> = state
        .servers
        .iter()
        .filter(|server| folder.is_running(server))
        .map(|server| server.id.to_string())
        .collect();
    ensure!(
        left.is_empty(),
        "servers {} still run, without the `roo ensemble up` that started them: stop them with `roo ensemble stop`",
        left.join(", ")
    );
    let there = state.servers.len();
    ensure!(
        wanted.is_none_or(|servers| usize::from(servers) == there),
        "the ensemble in {} has {there} servers: remove the folder to begin anew, or choose another with --dir",
        folder.display()
    );
    for port in state
        .servers
        .iter()
        .flat_map(|server| [server.client_port, server.peer_port])
    {
        ensure!(
            is_free(port),
            "another program uses port {port}, which this ensemble had before: stop that, or remove {} to begin anew with other ports",
            folder.display()
        );
    }
    Ok(state)
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}

/// Servers at the first free ports from the usual ones on.
fn plan(servers: u16) -> Result<Ensemble> {
    let mut clients = (CLIENT_PORT..PEER_PORT).filter(|port| is_free(*port));
    let mut peers = (PEER_PORT..).filter(|port| is_free(*port));
    let mut one = |id| {
        let ports = clients.next().zip(peers.next());
        let (client_port, peer_port) = ports.context("there are no free ports from 2181 on")?;
        Ok(Server {
            id,
            client_port,
            peer_port,
            process: None,
        })
    };
    let servers: Result<Vec<Server>> = (1..=servers).map(&mut one).collect();
    Ok(Ensemble {
        runner: None,
        servers: servers?,
    })
}

fn watch_signals(events: SyncSender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGUSR1, SIGCHLD])?;
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            for signal in signals.forever() {
                if events.send(Event::Signal(signal)).is_err() {
                    return;
                }
            }
        })?;
    Ok(())
}

struct Runner<'a> {
    folder: &'a Folder,
    state: Ensemble,
    children: BTreeMap<u16, Child>,
    events: SyncSender<Event>,
    screen: Screen,
}

impl Runner<'_> {
    fn introduce(&mut self) {
        let ports = self.state.servers.iter();
        let hosts: Vec<String> = ports
            .map(|server| format!("127.0.0.1:{}", server.client_port))
            .collect();
        println!("servers  {}", self.state.servers.len());
        println!("data     {}", self.folder.display());
        println!("connect  zkCli.sh -server {}", hosts.join(","));
        println!("look     roo ensemble status | kill ID | start ID | stop");
        println!("stop     ctrl-C");
    }

    fn start_all(&mut self) -> Result<()> {
        let ids: Vec<u16> = self.state.servers.iter().map(|server| server.id).collect();
        for id in ids {
            // What was asked of an earlier runner.
            self.folder.take_request(id);
            self.start(id)?;
        }
        Ok(())
    }

    /// Starts one server; its own group keeps the terminal's ctrl-C from it.
    fn start(&mut self, id: u16) -> Result<()> {
        let peers: Vec<String> = self
            .state
            .servers
            .iter()
            .map(|server| format!("{}=127.0.0.1:{}", server.id, server.peer_port))
            .collect();
        let port = self.state.server(id)?.client_port;
        let program = std::env::current_exe().context("find this program")?;
        let mut child = Command::new(program)
            .arg("server")
            .args(["--id", &id.to_string(), "--peers", &peers.join(",")])
            .args(["--client-port", &port.to_string()])
            .args(["-D", "zookeeper.clientPortAddress=127.0.0.1"])
            .args(["-D", "zookeeper.4lw.commands.whitelist=*"])
            .arg("--data-dir")
            .arg(self.folder.data_dir(id))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()
            .with_context(|| format!("start server {id}"))?;
        let outputs = [
            child.stdout.take().map(boxed),
            child.stderr.take().map(boxed),
        ];
        for output in outputs.into_iter().flatten() {
            let events = self.events.clone();
            thread::Builder::new().spawn(move || forward(id, output, &events))?;
        }
        let process = state_file::process(child.id());
        for server in &mut self.state.servers {
            if server.id == id {
                server.process = process;
            }
        }
        self.children.insert(id, child);
        self.folder.save(&self.state)
    }

    /// Until a signal says stop, or no server is left that somebody might want back.
    fn watch(&mut self, inbox: &Receiver<Event>) -> Result<ExitCode> {
        let _status = self.watch_status()?;
        let mut failed = 0;
        loop {
            match inbox.recv()? {
                Event::Line(id, line) => self.screen.server(id, &line),
                Event::Status(status) => self.screen.status(status),
                Event::Signal(SIGUSR1) => {
                    // Of two signals that wait, the later one may come first: whoever is to be
                    // started may be known here as one that still runs.
                    failed += self.reap()?;
                    self.start_requested();
                }
                Event::Signal(SIGCHLD) => {
                    failed += self.reap()?;
                    if self.children.is_empty() && failed > 0 {
                        self.drain(inbox);
                        self.screen.end();
                        self.screen.say("no server is left");
                        return Ok(ExitCode::FAILURE);
                    }
                }
                Event::Signal(_) => return Ok(ExitCode::SUCCESS),
            }
        }
    }

    /// A thread that asks the servers each second, until the sender is dropped.
    fn watch_status(&self) -> Result<Sender<()>> {
        let (stop, stopped) = mpsc::channel();
        let (folder, events) = (self.folder.clone(), self.events.clone());
        thread::Builder::new().spawn(move || {
            while stopped.recv_timeout(Duration::from_secs(1)) == Err(RecvTimeoutError::Timeout) {
                if let Ok(state) = folder.load() {
                    let status = view::summary(&view::of_folder(&folder, &state));
                    if events.send(Event::Status(status)).is_err() {
                        return;
                    }
                }
            }
        })?;
        Ok(stop)
    }

    fn start_requested(&mut self) {
        let ids: Vec<u16> = self.state.servers.iter().map(|server| server.id).collect();
        for id in ids {
            if self.folder.take_request(id) && !self.children.contains_key(&id) {
                self.screen.say(&format!("starting server {id}"));
                if let Err(error) = self.start(id) {
                    self.screen.say(&format!("{error:#}"));
                }
            }
        }
    }

    /// Takes note of servers that have ended; how many of them did so by themselves.
    fn reap(&mut self) -> Result<usize> {
        let mut ended: Vec<(u16, ExitStatus)> = Vec::new();
        for (id, child) in &mut self.children {
            if let Some(status) = child.try_wait()? {
                ended.push((*id, status));
            }
        }
        for (id, status) in &ended {
            self.children.remove(id);
            let how = status.signal().map_or_else(
                || format!("ended with {status}"),
                |signal| format!("was ended by signal {signal}"),
            );
            let hint = format!("server {id} {how}; `roo ensemble start {id}` brings it back");
            self.screen.say(&hint);
        }
        let by_itself = |(_, status): &&(u16, ExitStatus)| status.signal().is_none();
        Ok(ended.iter().filter(by_itself).count())
    }

    /// Shows what the servers have said before they ended.
    fn drain(&mut self, inbox: &Receiver<Event>) {
        while let Ok(event) = inbox.recv_timeout(Duration::from_millis(100)) {
            if let Event::Line(id, line) = event {
                self.screen.server(id, &line);
            }
        }
    }

    /// Asks all servers to stop and shows what they say meanwhile; the second ctrl-C, or too
    /// much patience, ends them at once.
    fn stop_all(&mut self, inbox: &Receiver<Event>) -> Result<()> {
        self.screen.end();
        self.signal_all(Signal::TERM)?;
        let began = Instant::now();
        while !self.children.is_empty() {
            match inbox.recv_timeout(Duration::from_millis(100)) {
                Ok(Event::Line(id, line)) => self.screen.server(id, &line),
                Ok(Event::Signal(SIGINT | SIGTERM)) => self.signal_all(Signal::KILL)?,
                Ok(Event::Signal(_) | Event::Status(_)) | Err(_) => {}
            }
            if began.elapsed() > PATIENCE {
                self.signal_all(Signal::KILL)?;
            }
            self.children
                .retain(|_, child| !matches!(child.try_wait(), Ok(Some(_))));
        }
        self.drain(inbox);
        for server in &mut self.state.servers {
            server.process = None;
        }
        self.state.runner = None;
        self.folder.save(&self.state)?;
        self.screen.say("stopped");
        Ok(())
    }

    fn signal_all(&self, signal: Signal) -> Result<()> {
        for child in self.children.values() {
            // They are children that nobody has waited for: the number is theirs.
            let pid = i32::try_from(child.id()).context("a number of a process")?;
            state_file::signal(pid, signal)?;
        }
        Ok(())
    }
}

fn boxed(output: impl Read + Send + 'static) -> Box<dyn Read + Send> {
    Box::new(output)
}

/// Hands over what a server writes, line by line, whatever bytes it writes.
fn forward(id: u16, output: Box<dyn Read + Send>, events: &SyncSender<Event>) {
    let mut output = BufReader::new(output);
    let mut line = Vec::new();
    while output.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line).trim_end().to_owned();
        if events.send(Event::Line(id, text)).is_err() {
            return;
        }
        line.clear();
    }
}
