//! The servers that are compared, each a process on a free port with an empty data directory,
//! killed when it is dropped.
//!
//! Not `crate::servers`: those trade durability and memory for speed of tests, these run by their
//! defaults.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use super::BenchArgs;

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Kind {
    Apache,
    Roo,
    Null,
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Apache, Self::Roo, Self::Null];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Apache => "apache",
            Self::Roo => "roo",
            Self::Null => "null",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

const START_PATIENCE: Duration = Duration::from_secs(180);
/// Short, for the time of a start is measured.
const RETRY_INTERVAL: Duration = Duration::from_millis(1);
/// Ports of a server: for the leader's learners, for elections, for clients.
const PORTS: usize = 3;

/// A running server, or all servers of an ensemble.
pub(super) struct Server {
    members: Vec<Member>,
    /// Lines of every zoo.cfg that name the servers.
    list: Vec<String>,
}

struct Member {
    kind: Kind,
    program: PathBuf,
    dir: PathBuf,
    id: usize,
    port: u16,
    child: Option<Child>,
}

impl Server {
    /// Starts so many servers, by their defaults but for `settings`, lines of their zoo.cfg, and
    /// waits until each opens a session.
    pub(super) fn start(
        args: &BenchArgs,
        kind: Kind,
        count: usize,
        settings: &[&str],
    ) -> Result<Self> {
        let dir = std::path::absolute(args.out.join(kind.name()))?;
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("empty {}", dir.display()))?;
        }
        let program = match kind {
            Kind::Apache => PathBuf::from("java"),
            Kind::Roo => std::path::absolute(&args.roo)?,
            Kind::Null => std::path::absolute(args.generator())?,
        };
        let ports = crate::servers::free_ports(PORTS * count)?;
        let list = (1..)
            .zip(ports.chunks_exact(PORTS))
            .filter(|_| count > 1)
            .map(|(id, ports)| format!("server.{id}=127.0.0.1:{}:{}", ports[0], ports[1]))
            .collect();
        let members = (1..)
            .zip(ports.chunks_exact(PORTS))
            .map(|(id, ports)| Member {
                kind,
                program: program.clone(),
                dir: dir.join(id.to_string()),
                id,
                port: ports[2],
                child: None,
            })
            .collect();
        let mut server = Self { members, list };
        server.launch(settings)?;
        Ok(server)
    }

    /// Kills every server and starts it again on its files, with these lines instead of those it
    /// had; how long it takes until each opens a session.
    pub(super) fn restart(&mut self, settings: &[&str]) -> Result<Duration> {
        for member in &mut self.members {
            member.kill()?;
        }
        self.launch(settings)
    }

    fn launch(&mut self, settings: &[&str]) -> Result<Duration> {
        let list = self.list.iter().map(String::as_str);
        let lines: Vec<&str> = settings.iter().copied().chain(list).collect();
        for member in &mut self.members {
            member.configure(&lines)?;
        }
        let began = Instant::now();
        for member in &mut self.members {
            member.launch()?;
        }
        for member in &mut self.members {
            member.await_session()?;
        }
        Ok(began.elapsed())
    }

    /// Ends a server as a power failure of the process does.
    pub(super) fn kill(&mut self, index: usize) -> Result<()> {
        self.members[index].kill()
    }

    /// Starts it again and waits until it serves.
    pub(super) fn come_back(&mut self, index: usize) -> Result<()> {
        self.members[index].launch()?;
        self.members[index].await_session()
    }

    /// Where clients connect: every server, as `roo bench` takes them.
    pub(super) fn address(&self) -> String {
        let addresses: Vec<String> = self.addresses().iter().map(ToString::to_string).collect();
        addresses.join(",")
    }

    /// The same one by one.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(Member::address).collect()
    }

    /// Every process, as `roo bench` takes them.
    pub(super) fn pids(&self) -> String {
        let pids: Vec<String> = self.process_ids().iter().map(ToString::to_string).collect();
        pids.join(",")
    }

    /// The same one by one.
    pub(super) fn process_ids(&self) -> Vec<u32> {
        let children = self.members.iter().filter_map(|one| one.child.as_ref());
        children.map(Child::id).collect()
    }

    /// Where the first one's logs and snapshots are.
    pub(super) fn files_dir(&self) -> Result<PathBuf> {
        let first = self.members.first().context("no server runs")?;
        Ok(first.data_dir().join("version-2"))
    }

    /// What the processes have resident.
    pub(super) fn resident_bytes(&self) -> Result<f64> {
        let of = |pid: u32| -> Result<f64> {
            let path = format!("/proc/{pid}/status");
            let status = std::fs::read_to_string(&path).context(path)?;
            let line = status
                .lines()
                .find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
            let kib: f64 = line.context("no VmRSS")?.trim().parse()?;
            Ok(kib * 1024.0)
        };
        self.process_ids().into_iter().map(of).sum()
    }

    /// The answer of a server to a four-letter word.
    pub(super) fn word(&self, index: usize, word: &str) -> Result<String> {
        let mut stream = TcpStream::connect(self.members[index].address())?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        stream.write_all(word.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// Waits until a server leads; the first of those that follow, or the one that leads.
    pub(super) fn await_role(&self, role: &str) -> Result<usize> {
        let said = format!("Mode: {role}\n");
        let began = Instant::now();
        loop {
            let is = |&index: &usize| {
                self.word(index, "srvr")
                    .is_ok_and(|all| all.contains(&said))
            };
            if let Some(index) = (0..self.members.len()).find(is) {
                return Ok(index);
            }
            ensure!(began.elapsed() < START_PATIENCE, "no server is {role}");
            crate::servers::pause(Duration::from_millis(20));
        }
    }

    /// Waits until a figure of the first server's mntr is so large.
    pub(super) fn await_at_least(&self, name: &str, wanted: u64) -> Result<()> {
        let began = Instant::now();
        loop {
            let answer = self.word(0, "mntr")?;
            let value = answer
                .lines()
                .find_map(|line| line.strip_prefix(name)?.trim().parse::<u64>().ok());
            if value.is_some_and(|value| value >= wanted) {
                return Ok(());
            }
            ensure!(
                began.elapsed() < START_PATIENCE,
                "{name} is {value:?}, below {wanted}"
            );
            crate::servers::pause(Duration::from_millis(50));
        }
    }
}

impl Member {
    fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.port))
    }

    fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    fn config(&self) -> PathBuf {
        self.dir.join("zoo.cfg")
    }

    fn configure(&self, settings: &[&str]) -> Result<()> {
        let data_dir = self.data_dir();
        std::fs::create_dir_all(&data_dir).with_context(|| data_dir.display().to_string())?;
        std::fs::write(data_dir.join("myid"), format!("{}\n", self.id))?;
        let mut text = format!(
            "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={}\n\
             clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n\
             4lw.commands.whitelist=srvr,mntr\n",
            data_dir.display(),
            self.port
        );
        for setting in settings {
            writeln!(text, "{setting}")?;
        }
        let path = self.config();
        std::fs::write(&path, text).with_context(|| path.display().to_string())
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(&self.program);
        match self.kind {
            Kind::Apache => apache_arguments(&mut command, &self.config())?,
            Kind::Roo => {
                command.arg("server").arg(self.config());
            }
            Kind::Null => {
                command.args(["bench", "--null-server", &self.port.to_string()]);
            }
        }
        let log = File::create(self.dir.join("log"))?;
        let child = command
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {}", self.kind))?;
        self.child = Some(child);
        Ok(())
    }

    fn await_session(&mut self) -> Result<()> {
        let began = Instant::now();
        while !opens_session(self.address()) {
            let child = self.child.as_mut().context("it was not started")?;
            if let Some(status) = child.try_wait()? {
                bail!(
                    "{} ended with {status}; it says: {}",
                    self.kind,
                    self.tail()
                );
            }
            ensure!(
                began.elapsed() < START_PATIENCE,
                "{} opens no session within {START_PATIENCE:?}; it says: {}",
                self.kind,
                self.tail()
            );
            std::thread::park_timeout(RETRY_INTERVAL);
        }
        Ok(())
    }

    fn kill(&mut self) -> Result<()> {
        if let Some(mut child) = self.child.take() {
            child.kill()?;
            child.wait()?;
        }
        Ok(())
    }

    /// The last lines that it has written.
    fn tail(&self) -> String {
        let text = std::fs::read_to_string(self.dir.join("log")).unwrap_or_default();
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" / ")
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself; nothing of it is needed any more.
        let _ = self.kill();
    }
}

/// The heap is the JVM's default, the collector G1 whatever the machine's size.
fn apache_arguments(java: &mut Command, config: &Path) -> Result<()> {
    java.args(["-XX:+UseG1GC", "-cp"])
        .arg(crate::apache::class_path()?)
        .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(config);
    Ok(())
}

/// Opens and closes a session.
fn opens_session(address: SocketAddr) -> bool {
    let attempt = || -> std::io::Result<()> {
        let mut stream = TcpStream::connect(address)?;
        stream.set_read_timeout(Some(Duration::from_secs(5)))?;
        let mut connect = [0; 49];
        connect[3] = 45;
        connect[18] = 0x27; // a timeout of about 10 s
        connect[31] = 16; // passwd
        stream.write_all(&connect)?;
        let mut answer = [0; 41];
        stream.read_exact(&mut answer)?;
        let close_session = [0, 0, 0, 8, 0, 0, 0, 1, 0xff, 0xff, 0xff, 0xf5];
        stream.write_all(&close_session)
    };
    attempt().is_ok()
}
