//! RooKeeper's ensembles as processes of ours, each server with a directory, ports and a
//! configuration that a test may spoil.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::servers::{pause, roo_binary};

/// Nothing that is waited for takes so long, also on a machine with much else to do.
const LIMIT: Duration = Duration::from_secs(60);

/// The ports of one server.
#[derive(Clone, Copy, Debug)]
pub struct Ports {
    /// For servers.
    pub peer: u16,
    /// For elections; nobody listens there, but Apache's syntax wants it.
    pub election: u16,
    /// For clients.
    pub client: u16,
}

impl Ports {
    /// Three that are free.
    ///
    /// # Errors
    /// When the system has none.
    pub fn free() -> Result<Self> {
        let [peer, election, client] = [(); 3].map(|()| TcpListener::bind("127.0.0.1:0"));
        let (peer, election, client) = (peer?, election?, client?);
        Ok(Self {
            peer: peer.local_addr()?.port(),
            election: election.local_addr()?.port(),
            client: client.local_addr()?.port(),
        })
    }

    /// As it stands behind `server.N=`.
    #[must_use]
    pub fn line(&self, role: &str) -> String {
        let Self {
            peer,
            election,
            client,
        } = self;
        format!("127.0.0.1:{peer}:{election}:{role};127.0.0.1:{client}")
    }
}

/// Where the servers of an ensemble are; the first ones vote.
#[derive(Clone, Debug)]
pub struct Plan {
    /// The directory of all of them.
    pub work: PathBuf,
    /// Their ports, server 1 first.
    pub ports: Vec<Ports>,
    /// How many vote.
    pub voters: usize,
    /// Lines that stand in every configuration.
    pub common: String,
}

impl Plan {
    /// A plan in an empty directory.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(work: PathBuf, voters: usize, observers: usize) -> Result<Self> {
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        fs::create_dir_all(&work)?;
        let ports = (0..voters + observers).map(|_| Ports::free());
        Ok(Self {
            work,
            ports: ports.collect::<Result<_>>()?,
            voters,
            common: "tickTime=2000\ninitLimit=10\nsyncLimit=5\n4lw.commands.whitelist=*\n\
                     extendedTypesEnabled=true\npreAllocSize=1024\n"
                .to_owned(),
        })
    }

    /// The data directory of a server.
    #[must_use]
    pub fn dir(&self, id: usize) -> PathBuf {
        self.work.join(id.to_string())
    }

    /// The server lines.
    #[must_use]
    pub fn server_lines(&self) -> String {
        let line = |(index, ports): (usize, &Ports)| {
            let role = if index < self.voters {
                "participant"
            } else {
                "observer"
            };
            format!("server.{}={}\n", index + 1, ports.line(role))
        };
        self.ports.iter().enumerate().map(line).collect()
    }

    /// Starts a server with the configuration that it should have.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start(&self, id: usize, extra: &str) -> Result<Member> {
        self.start_with(id, id, &self.server_lines(), extra)
    }

    /// Starts a server on the directory of `id` that believes to be `my_id`.
    ///
    /// # Errors
    /// When the process cannot be started.
    pub fn start_with(
        &self,
        id: usize,
        my_id: usize,
        servers: &str,
        extra: &str,
    ) -> Result<Member> {
        let dir = self.dir(id);
        fs::create_dir_all(&dir)?;
        fs::write(dir.join("myid"), format!("{my_id}\n"))?;
        let common = &self.common;
        let config = format!("{common}dataDir={}\n{servers}{extra}", dir.display());
        let ports = self.ports.get(id - 1).context("a server of the plan")?;
        Member::start(&dir, &config, ports.client)
    }
}

/// A running server; it ends when this is dropped.
#[derive(Debug)]
pub struct Member {
    /// Where clients connect.
    pub client: SocketAddr,
    log: PathBuf,
    child: Child,
}

impl Member {
    fn start(dir: &Path, config: &str, client: u16) -> Result<Self> {
        let file = dir.with_extension("cfg");
        fs::write(&file, config)?;
        let log = dir.with_extension("log");
        let output = File::create(&log)?;
        let child = Command::new(roo_binary())
            .arg("server")
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {}", roo_binary().display()))?;
        Ok(Self {
            client: SocketAddr::from(([127, 0, 0, 1], client)),
            log,
            child,
        })
    }

    /// The answer to a four-letter word.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn word(&self, word: &str) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.client, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(word.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What it has written since it was started.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits until an answer to a word contains a text.
    ///
    /// # Errors
    /// When it never does, or the server ends.
    pub fn await_word(&mut self, word: &str, text: &str) -> Result<()> {
        let began = Instant::now();
        let mut answer = String::new();
        while began.elapsed() < LIMIT {
            if let Some(status) = self.child.try_wait()? {
                bail!("the server ended with {status}:\n{}", self.output());
            }
            answer = self.word(word).unwrap_or_default();
            if answer.contains(text) {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        bail!(
            "{word} never says {text:?} but {answer:?}:\n{}",
            self.output()
        )
    }

    /// Waits until its output contains every one of some texts, in one line.
    ///
    /// # Errors
    /// When it never does.
    pub fn await_line(&mut self, texts: &[&str]) -> Result<String> {
        let began = Instant::now();
        loop {
            let ended = self.child.try_wait()?.is_some();
            let output = self.output();
            let says = |line: &&str| texts.iter().all(|text| line.contains(text));
            if let Some(line) = output.lines().find(says) {
                return Ok(line.to_owned());
            }
            if ended || began.elapsed() > LIMIT {
                bail!("no line says {texts:?}:\n{output}");
            }
            pause(Duration::from_millis(20));
        }
    }

    /// Waits until it ends by itself.
    ///
    /// # Errors
    /// When it does not.
    pub fn await_end(&mut self) -> Result<ExitStatus> {
        let began = Instant::now();
        while began.elapsed() < LIMIT {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            pause(Duration::from_millis(20));
        }
        bail!("the server does not end:\n{}", self.output())
    }

    /// Whether it still runs.
    ///
    /// # Errors
    /// When the system does not say.
    pub fn lives(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_none())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// When it cannot be asked, or does not end.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        self.await_end()?;
        Ok(())
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
