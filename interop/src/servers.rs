//! Real servers as processes of ours: a genuine one or RooKeeper's, behind one interface.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::apache;

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Apache ZooKeeper 3.9.5.
    Apache,
    /// RooKeeper, as `cargo build --release` makes it.
    Roo,
}

/// The root of the repository.
#[must_use]
pub fn root() -> PathBuf {
    let here = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    here.parent().map(PathBuf::from).unwrap_or(here)
}

/// The server to test: the release build, or what `ROO` names.
#[must_use]
pub fn roo_binary() -> PathBuf {
    std::env::var_os("ROO").map_or_else(|| root().join("target/release/roo"), PathBuf::from)
}

/// Waits without an event to wait for; only between polls of a foreign process.
pub fn pause(time: Duration) {
    let (_sender, receiver) = mpsc::channel::<()>();
    let _ = receiver.recv_timeout(time);
}

/// A running server; it ends when this is dropped.
pub struct Server {
    /// Which one.
    pub kind: Kind,
    /// Where clients connect.
    pub address: SocketAddr,
    /// Where its output goes.
    pub log: PathBuf,
    child: Child,
}

/// How long a server may take to answer.
const START_LIMIT: Duration = Duration::from_secs(60);

impl Server {
    /// Starts a server on a directory, with further lines of zoo.cfg, and waits until it serves.
    /// Keys that Apache takes only as system properties are given as such.
    ///
    /// # Errors
    /// When it does not serve.
    pub fn start(kind: Kind, data_dir: &Path, lines: &[&str]) -> Result<Self> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        fs::create_dir_all(data_dir)?;
        let base = data_dir.with_extension("cfg");
        let mut config = format!(
            "tickTime=2000\ndataDir={}\nclientPort={port}\nclientPortAddress=127.0.0.1\n\
             maxClientCnxns=0\n4lw.commands.whitelist=*\npreAllocSize=1024\n",
            data_dir.display()
        );
        if kind == Kind::Apache {
            config.push_str("admin.enableServer=false\n");
        }
        for line in lines {
            config.push_str(line);
            config.push('\n');
        }
        fs::write(&base, config)?;
        let log = data_dir.with_extension("log");
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = match kind {
            Kind::Apache => {
                let mut java = Command::new("java");
                java.arg("-cp").arg(apache::class_path()?);
                java.arg("-Dzookeeper.forceSync=no").arg("-Xmx1g");
                for line in lines.iter().filter(|line| line.starts_with("znode.")) {
                    java.arg(format!("-D{line}"));
                }
                java.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
                    .arg(&base);
                java
            }
            Kind::Roo => {
                let mut roo = Command::new(roo_binary());
                roo.arg("server").arg(&base);
                roo
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {kind:?}"))?;
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let mut server = Self {
            kind,
            address,
            log,
            child,
        };
        server.await_service()?;
        Ok(server)
    }

    fn await_service(&mut self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < START_LIMIT {
            if let Some(status) = self.child.try_wait()? {
                bail!("{:?} ended with {status}:\n{}", self.kind, self.output());
            }
            if self
                .word("srvr")
                .is_ok_and(|answer| answer.contains("Mode: "))
            {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        bail!("{:?} does not serve:\n{}", self.kind, self.output())
    }

    /// The answer to a four-letter word.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn word(&self, word: &str) -> Result<String> {
        let mut stream = TcpStream::connect_timeout(&self.address, Duration::from_secs(2))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        stream.write_all(word.as_bytes())?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        Ok(answer)
    }

    /// What it has written to its standard outputs.
    #[must_use]
    pub fn output(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process id.
    #[must_use]
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Ends it as a power failure of the process does.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn stop(mut self) -> Result<()> {
        Command::new("kill")
            .arg(self.child.id().to_string())
            .status()?;
        self.child.wait()?;
        Ok(())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
