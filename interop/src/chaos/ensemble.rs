//! The servers as processes, and the links between them.
//!
//! Each server reaches each other one through a relay of its own: server i's line for server j
//! names the relay of (i, j), its line for itself the port where it listens.

use std::fs::{self, File};
use std::io::Write;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};

use super::dice::{Dice, fresh_seed};
use crate::proxy::Proxy;
use crate::servers::{ask_word, pause, roo_binary};

/// How long servers may take to stand again once nothing troubles them. Machines that run this
/// may be busy with something else.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// Below the ports that systems give to outgoing connections: a killed server's port must not be
/// taken by one.
const PORTS: (u64, u64) = (11_000, 31_000);

/// Whether servers reach each other directly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Links {
    Direct,
    Relayed,
}

struct Member {
    client: SocketAddr,
    dir: PathBuf,
    child: Option<Child>,
    stopped: bool,
}

/// See the module. Servers are named by their index; the id is one more.
pub(super) struct Ensemble {
    members: Vec<Member>,
    relays: Vec<Vec<Option<Proxy>>>,
}

/// What the servers have said of themselves last, in their logs.
#[derive(Clone, Debug, Default)]
pub(super) struct View {
    pub(super) leader: Option<usize>,
    /// Those that serve the leader's epoch.
    pub(super) followers: Vec<usize>,
}

/// Written to a log before the process that writes the rest.
const STARTED: &str = "--- started by chaos";

/// The epoch in which a server serves, and whether it leads.
fn role_of(log: &str) -> Option<(u64, bool)> {
    let life = log.rsplit(STARTED).next()?;
    let says = |line: &&str| {
        ["this server leads", "this server follows", "no leader"]
            .iter()
            .any(|words| line.contains(words))
    };
    let line = life.lines().rfind(says)?;
    let epoch = line.split("epoch=").nth(1)?.split(' ').next()?;
    Some((epoch.trim().parse().ok()?, line.contains("leads")))
}

impl Ensemble {
    /// Writes the configurations; starts nobody.
    pub(super) fn prepare(base: &Path, size: usize, links: Links, lines: &[&str]) -> Result<Self> {
        // Left by an earlier run, or not there.
        let _ = fs::remove_dir_all(base);
        let ports = free_ports(2 * size)?;
        let (clients, peers) = ports.split_at(size);
        let mut relays = Vec::new();
        let mut members = Vec::new();
        for (me, client) in clients.iter().enumerate() {
            let mut row = Vec::new();
            let dir = base.join(format!("{}", me + 1));
            let data = dir.join("data");
            fs::create_dir_all(&data)?;
            fs::write(data.join("myid"), format!("{}\n", me + 1))?;
            let mut config = format!(
                "dataDir={}\nclientPort={client}\nclientPortAddress=127.0.0.1\n\
                 maxClientCnxns=0\n4lw.commands.whitelist=*\n",
                data.display()
            );
            for (other, peer) in peers.iter().enumerate() {
                let own = SocketAddr::from(([127, 0, 0, 1], *peer));
                let relay = (other != me && links == Links::Relayed)
                    .then(|| Proxy::start(own))
                    .transpose()?;
                let address = relay.as_ref().map_or(own, |relay| relay.address);
                // The election port is accepted and not used.
                let election = address.port() ^ 1;
                config.push_str(&format!("server.{}={address}:{election}\n", other + 1));
                row.push(relay);
            }
            for line in lines {
                config.push_str(line);
                config.push('\n');
            }
            fs::write(dir.join("zoo.cfg"), config)?;
            relays.push(row);
            members.push(Member {
                client: SocketAddr::from(([127, 0, 0, 1], *client)),
                dir,
                child: None,
                stopped: false,
            });
        }
        Ok(Self { members, relays })
    }

    pub(super) fn size(&self) -> usize {
        self.members.len()
    }

    pub(super) fn clients(&self) -> Vec<SocketAddr> {
        self.members.iter().map(|member| member.client).collect()
    }

    pub(super) fn client(&self, server: usize) -> SocketAddr {
        self.members[server].client
    }

    /// What a server has written to its standard outputs.
    pub(super) fn log(&self, server: usize) -> String {
        fs::read_to_string(self.members[server].dir.join("log")).unwrap_or_default()
    }

    pub(super) fn pid(&self, server: usize) -> Option<u32> {
        self.members[server].child.as_ref().map(Child::id)
    }

    pub(super) fn start(&mut self, server: usize) -> Result<()> {
        let member = &mut self.members[server];
        ensure!(member.child.is_none(), "server {} runs", server + 1);
        let mut log = File::options()
            .create(true)
            .append(true)
            .open(member.dir.join("log"))?;
        writeln!(log, "{STARTED}")?;
        let child = Command::new(roo_binary())
            .arg("server")
            .arg(member.dir.join("zoo.cfg"))
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .context("start roo")?;
        member.child = Some(child);
        Ok(())
    }

    /// Starts whoever does not run.
    pub(super) fn start_all(&mut self) -> Result<()> {
        for server in 0..self.size() {
            if self.members[server].child.is_none() {
                self.start(server)?;
            }
        }
        Ok(())
    }

    fn signal(&self, server: usize, signal: Signal) -> Result<()> {
        if let Some(child) = &self.members[server].child {
            kill_process(Pid::from_child(child), signal)?;
        }
        Ok(())
    }

    /// kill -9.
    pub(super) fn kill(&mut self, server: usize) -> Result<()> {
        self.signal(server, Signal::KILL)?;
        self.bury(server)
    }

    /// Asks it to end, and waits.
    pub(super) fn stop(&mut self, server: usize) -> Result<()> {
        self.signal(server, Signal::TERM)?;
        self.bury(server)
    }

    fn bury(&mut self, server: usize) -> Result<()> {
        let member = &mut self.members[server];
        member.stopped = false;
        if let Some(mut child) = member.child.take() {
            child.wait()?;
        }
        Ok(())
    }

    /// SIGSTOP; returns when the process has stopped.
    pub(super) fn freeze(&mut self, server: usize) -> Result<()> {
        self.members[server].stopped = true;
        self.signal(server, Signal::STOP)?;
        let Some(pid) = self.pid(server) else {
            return Ok(());
        };
        let began = Instant::now();
        while !fs::read_to_string(format!("/proc/{pid}/status"))?.contains("State:\tT") {
            ensure!(
                began.elapsed() < PATIENCE,
                "server {} does not stop",
                server + 1
            );
            pause(Duration::from_millis(1));
        }
        Ok(())
    }

    /// SIGCONT.
    pub(super) fn thaw(&mut self, server: usize) -> Result<()> {
        self.members[server].stopped = false;
        self.signal(server, Signal::CONT)
    }

    /// Empties the data directory of a server that does not run.
    pub(super) fn wipe(&self, server: usize) -> Result<()> {
        let data = self.members[server].dir.join("data");
        fs::remove_dir_all(&data)?;
        fs::create_dir_all(&data)?;
        fs::write(data.join("myid"), format!("{}\n", server + 1))?;
        Ok(())
    }

    /// The relays of both directions between two servers.
    pub(super) fn between(&self, one: usize, other: usize) -> impl Iterator<Item = &Proxy> {
        [&self.relays[one][other], &self.relays[other][one]]
            .into_iter()
            .flatten()
    }

    /// The relays between a server and all others.
    pub(super) fn around(&self, server: usize) -> impl Iterator<Item = &Proxy> {
        (0..self.size()).flat_map(move |other| self.between(server, other))
    }

    pub(super) fn all_links(&self) -> impl Iterator<Item = &Proxy> {
        self.relays.iter().flatten().flatten()
    }

    /// Whether a process has ended that nobody has killed; says which.
    pub(super) fn fallen(&mut self) -> Result<Option<String>> {
        for (index, member) in self.members.iter_mut().enumerate() {
            if let Some(child) = &mut member.child
                && let Some(status) = child.try_wait()?
            {
                return Ok(Some(format!(
                    "server {} ended by itself: {status}",
                    index + 1
                )));
            }
        }
        Ok(None)
    }

    /// The answer of a server to a four-letter word.
    pub(super) fn word(&self, server: usize, word: &str) -> Result<String> {
        ask_word(self.client(server), word, Duration::from_secs(2))
    }

    /// Of all that run.
    pub(super) fn view(&self) -> View {
        let running = |server: &usize| {
            let member = &self.members[*server];
            member.child.is_some() && !member.stopped
        };
        let roles: Vec<_> = (0..self.size())
            .filter(running)
            .filter_map(|server| Some((server, role_of(&self.log(server))?)))
            .collect();
        let leads = roles.iter().filter(|(_, (_, leads))| *leads);
        let Some((leader, (epoch, _))) = leads.max_by_key(|(_, (epoch, _))| epoch) else {
            return View::default();
        };
        let follows =
            |(server, role): &(usize, (u64, bool))| (*role == (*epoch, false)).then_some(*server);
        View {
            leader: Some(*leader),
            followers: roles.iter().filter_map(follows).collect(),
        }
    }

    /// Waits until there is a leader with a quorum; who it is.
    pub(super) fn await_leader(&self) -> Result<usize> {
        let began = Instant::now();
        loop {
            let view = self.view();
            if let Some(leader) = view.leader
                && view.followers.len() >= self.size() / 2
            {
                return Ok(leader);
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "no leader in {PATIENCE:?}: {view:?}"
            );
            pause(Duration::from_millis(20));
        }
    }

    /// Waits until all servers serve one leader.
    pub(super) fn await_whole(&mut self) -> Result<View> {
        let began = Instant::now();
        loop {
            if let Some(fallen) = self.fallen()? {
                bail!(fallen);
            }
            let view = self.view();
            if view.leader.is_some() && view.followers.len() + 1 == self.size() {
                return Ok(view);
            }
            ensure!(
                began.elapsed() < PATIENCE,
                "the ensemble is not whole in {PATIENCE:?}: {view:?}"
            );
            pause(Duration::from_millis(20));
        }
    }

    /// Ends all trouble that is not of the disks.
    pub(super) fn heal(&mut self) -> Result<()> {
        for link in self.all_links() {
            link.open();
        }
        for server in 0..self.size() {
            self.thaw(server)?;
        }
        self.start_all()
    }
}

impl Drop for Ensemble {
    fn drop(&mut self) {
        for member in &mut self.members {
            if let Some(child) = &mut member.child {
                // It may have ended already.
                let _ = child.kill();
                let _ = child.wait();
            }
        }
    }
}

fn free_ports(count: usize) -> Result<Vec<u16>> {
    let mut dice = Dice::new(fresh_seed());
    let mut ports: Vec<u16> = Vec::new();
    for _ in 0..10_000 {
        let port = u16::try_from(dice.between(PORTS.0, PORTS.1))?;
        if !ports.contains(&port) && TcpListener::bind(("127.0.0.1", port)).is_ok() {
            ports.push(port);
        }
        if ports.len() == count {
            return Ok(ports);
        }
    }
    bail!("no free ports between {} and {}", PORTS.0, PORTS.1)
}
