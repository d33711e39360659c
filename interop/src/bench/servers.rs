//! The servers that are compared, each a process on a free port with an empty data directory,
//! killed when it is dropped.

use std::fmt::{self, Write as _};
use std::fs::File;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

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

const START_PATIENCE: Duration = Duration::from_secs(60);
const RETRY_INTERVAL: Duration = Duration::from_millis(20);

/// A running server, or all servers of an ensemble.
pub(super) struct Server {
    members: Vec<Member>,
}

struct Member {
    child: Child,
    port: u16,
    data_dir: PathBuf,
}

impl Server {
    /// Starts as many servers as are asked for, by their defaults but for `settings`, lines of
    /// their zoo.cfg, and waits until each opens a session.
    pub(super) fn start(args: &BenchArgs, kind: Kind, settings: &[&str]) -> Result<Self> {
        let dir = std::path::absolute(args.out.join(kind.name()))?;
        if dir.exists() {
            std::fs::remove_dir_all(&dir).with_context(|| format!("empty {}", dir.display()))?;
        }
        let count = usize::from(args.ensemble);
        let ports = crate::servers::free_ports(3 * count)?;
        let lines: Vec<String> = (1..)
            .zip(ports.chunks(3))
            .filter(|_| count > 1)
            .map(|(id, ports)| match ports {
                [peers, election, _] => format!("server.{id}=127.0.0.1:{peers}:{election}"),
                _ => String::new(),
            })
            .collect();
        let settings: Vec<&str> = settings
            .iter()
            .copied()
            .chain(lines.iter().map(String::as_str))
            .collect();
        let mut server = Self {
            members: Vec::new(),
        };
        for (id, port) in (1..).zip(ports.iter().skip(2).step_by(3)) {
            let dir = dir.join(id.to_string());
            let member = Member::start(args, kind, &dir, *port, id, &settings)?;
            server.members.push(member);
        }
        for (id, member) in (1..).zip(&mut server.members) {
            member.wait_until_serving().with_context(|| {
                let log = dir.join(format!("{id}/log"));
                format!("{kind} does not start; it says: {}", tail(&log))
            })?;
        }
        Ok(server)
    }

    /// Where clients connect: every server, as `roo bench` takes them.
    pub(super) fn address(&self) -> String {
        let address = |member: &Member| member.address();
        let addresses: Vec<String> = self.members.iter().map(address).collect();
        addresses.join(",")
    }

    /// Every process, likewise.
    pub(super) fn pids(&self) -> String {
        let pid = |member: &Member| member.child.id().to_string();
        let pids: Vec<String> = self.members.iter().map(pid).collect();
        pids.join(",")
    }

    /// Where the first one's logs and snapshots are.
    pub(super) fn files_dir(&self) -> Result<PathBuf> {
        let first = self.members.first().context("no server runs")?;
        Ok(first.data_dir.join("version-2"))
    }
}

impl Member {
    fn start(
        args: &BenchArgs,
        kind: Kind,
        dir: &Path,
        port: u16,
        id: u32,
        settings: &[&str],
    ) -> Result<Self> {
        let data_dir = dir.join("data");
        std::fs::create_dir_all(&data_dir).with_context(|| data_dir.display().to_string())?;
        std::fs::write(data_dir.join("myid"), format!("{id}\n"))?;
        let config = write_config(dir, &data_dir, port, settings)?;
        let mut command = match kind {
            Kind::Apache => apache_command(&config)?,
            Kind::Roo => {
                let mut command = Command::new(std::path::absolute(&args.roo)?);
                command.arg("server").arg(&config);
                command
            }
            Kind::Null => {
                let mut command = Command::new(std::path::absolute(args.generator())?);
                command.args(["bench", "--null-server", &port.to_string()]);
                command
            }
        };
        let log = File::create(dir.join("log"))?;
        let child = command
            .current_dir(dir)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("start {kind}"))?;
        Ok(Self {
            child,
            port,
            data_dir,
        })
    }

    fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    fn wait_until_serving(&mut self) -> Result<()> {
        let deadline = Instant::now() + START_PATIENCE;
        while !opens_session(&self.address()) {
            if let Some(status) = self.child.try_wait()? {
                bail!("it ended with {status}");
            }
            if Instant::now() > deadline {
                bail!("no session within {START_PATIENCE:?}");
            }
            std::thread::park_timeout(RETRY_INTERVAL);
        }
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended by itself; nothing of it is needed any more.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn write_config(dir: &Path, data_dir: &Path, port: u16, settings: &[&str]) -> Result<PathBuf> {
    let mut text = format!(
        "tickTime=2000\ninitLimit=10\nsyncLimit=5\ndataDir={}\nclientPort={port}\n\
         clientPortAddress=127.0.0.1\nmaxClientCnxns=0\nadmin.enableServer=false\n",
        data_dir.display()
    );
    for setting in settings {
        writeln!(text, "{setting}")?;
    }
    let path = dir.join("zoo.cfg");
    std::fs::write(&path, text).with_context(|| path.display().to_string())?;
    Ok(path)
}

/// The heap is the JVM's default, the collector G1 whatever the machine's size.
fn apache_command(config: &Path) -> Result<Command> {
    let mut command = Command::new("java");
    command
        .args(["-XX:+UseG1GC", "-cp"])
        .arg(crate::apache::class_path()?)
        .arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
        .arg(config);
    Ok(command)
}

/// Opens and closes a session.
fn opens_session(address: &str) -> bool {
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

fn tail(path: &Path) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(5)..].join(" / ")
}
