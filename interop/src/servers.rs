//! Real servers as processes of ours: a genuine one or RooKeeper's, behind one interface.

use std::ffi::OsString;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use crate::apache::{self, Release};

/// Which server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The release of Apache ZooKeeper that RooKeeper is compared with.
    Apache,
    /// Another release.
    Older(Release),
    /// RooKeeper, as `cargo build --release` makes it.
    Roo,
}

impl Kind {
    /// Which release of Apache ZooKeeper it is, if it is one.
    #[must_use]
    pub const fn release(self) -> Option<Release> {
        match self {
            Self::Apache => Some(apache::NEWEST),
            Self::Older(release) => Some(release),
            Self::Roo => None,
        }
    }
}

/// The root of the repository. Cargo says where it is now; where it was built is another place if
/// the tree has moved since.
#[must_use]
pub fn root() -> PathBuf {
    let here = std::env::var_os("CARGO_MANIFEST_DIR");
    let here = here.map_or_else(|| env!("CARGO_MANIFEST_DIR").into(), PathBuf::from);
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

/// Waits for a child to end; `None` if it took longer than `limit` and was killed.
///
/// # Errors
/// When the system does not tell, or does not kill it.
pub fn await_child(child: &mut Child, limit: Duration) -> Result<Option<ExitStatus>> {
    let began = Instant::now();
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        if began.elapsed() > limit {
            child.kill()?;
            child.wait()?;
            return Ok(None);
        }
        pause(Duration::from_millis(5));
    }
}

/// The answer of a server to a four-letter word.
///
/// # Errors
/// When it does not answer in time.
pub fn ask_word(server: SocketAddr, word: &str, limit: Duration) -> Result<String> {
    let mut stream = TcpStream::connect_timeout(&server, limit)?;
    stream.set_read_timeout(Some(limit))?;
    stream.write_all(word.as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
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

/// Below the ports that systems give to outgoing connections, which must not take the port of a
/// server that is not started yet, or was killed and comes back.
const PORTS: (u16, u16) = (11_000, 31_000);

/// So many different ports that nobody has at the moment.
///
/// # Errors
/// When there are none.
pub fn free_ports(count: usize) -> Result<Vec<u16>> {
    free_ports_in(PORTS, count)
}

/// The same within bounds.
///
/// # Errors
/// When there are none.
pub fn free_ports_in(bounds: (u16, u16), count: usize) -> Result<Vec<u16>> {
    // All are held until the last is there, or one could come twice.
    let mut held = Vec::new();
    for salt in 0..10_000_u32 {
        if held.len() == count {
            break;
        }
        let chance = RandomState::new().hash_one(salt) % u64::from(bounds.1 - bounds.0);
        let port = bounds.0 + u16::try_from(chance)?;
        held.extend(TcpListener::bind(("127.0.0.1", port)));
    }
    ensure!(held.len() == count, "no free ports in {bounds:?}");
    held.iter()
        .map(|listener| Ok(listener.local_addr()?.port()))
        .collect()
}

/// The text of zoo.cfg; `lines` take precedence.
fn configuration(kind: Kind, data_dir: &Path, port: u16, lines: &[&str]) -> String {
    let admin = kind
        .release()
        .map(|_| "admin.enableServer=false".to_owned());
    [
        "tickTime=2000".to_owned(),
        format!("dataDir={}", data_dir.display()),
        format!("clientPort={port}"),
        "clientPortAddress=127.0.0.1".to_owned(),
        "maxClientCnxns=0".to_owned(),
        "4lw.commands.whitelist=*".to_owned(),
        "preAllocSize=1024".to_owned(),
    ]
    .into_iter()
    .chain(admin)
    .filter(|line| {
        let key = line.split('=').next();
        !lines.iter().any(|other| other.split('=').next() == key)
    })
    .chain(lines.iter().map(|line| (*line).to_owned()))
    .fold(String::new(), |text, line| text + &line + "\n")
}

/// How long a server may take to answer a four-letter word.
const WORD_LIMIT: Duration = Duration::from_secs(60);

/// The same where it is asked again: a genuine server that is asked too early never answers.
const ATTEMPT_LIMIT: Duration = Duration::from_secs(5);

/// How long servers may take to do what is waited for. Machines that run this may be busy with
/// something else.
pub const PATIENCE: Duration = Duration::from_secs(180);

impl Server {
    /// Starts a server on a directory, with further lines of zoo.cfg, and waits until it serves.
    /// Keys that Apache takes only as system properties are given as such.
    ///
    /// # Errors
    /// When it does not serve.
    pub fn start(kind: Kind, data_dir: &Path, lines: &[&str]) -> Result<Self> {
        let port = free_ports(1)?.into_iter().next().context("a port")?;
        let mut server = Self::launch(kind, data_dir, port, lines)?;
        server.await_service()?;
        Ok(server)
    }

    /// The same on this port for clients and without waiting: the members of an ensemble serve
    /// only together.
    ///
    /// # Errors
    /// When its files cannot be written or it cannot be started.
    pub fn launch(kind: Kind, data_dir: &Path, port: u16, lines: &[&str]) -> Result<Self> {
        fs::create_dir_all(data_dir)?;
        let text = configuration(kind, data_dir, port, lines);
        fs::write(data_dir.with_extension("cfg"), text)?;
        Self::launch_again(kind, data_dir, port)
    }

    /// The same with the zoo.cfg that is there, which the server may have rewritten. Keys that
    /// Apache takes only as system properties are read from it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn launch_again(kind: Kind, data_dir: &Path, port: u16) -> Result<Self> {
        Self::launch_by(&[], kind, data_dir, port)
    }

    /// Starts a server as an argument of another program, such as a profiler, which it becomes.
    ///
    /// # Errors
    /// As [`Server::launch`].
    pub fn launch_under(
        program: &[String],
        kind: Kind,
        data_dir: &Path,
        lines: &[&str],
    ) -> Result<Self> {
        let port = free_ports(1)?.into_iter().next().context("a port")?;
        fs::create_dir_all(data_dir)?;
        let text = configuration(kind, data_dir, port, lines);
        fs::write(data_dir.with_extension("cfg"), text)?;
        Self::launch_by(program, kind, data_dir, port)
    }

    fn launch_by(program: &[String], kind: Kind, data_dir: &Path, port: u16) -> Result<Self> {
        let base = data_dir.with_extension("cfg");
        let log = data_dir.with_extension("log");
        let output = File::options().create(true).append(true).open(&log)?;
        let mut command = match kind.release() {
            Some(release) => {
                let mut java = Command::new("java");
                java.arg("-cp").arg(apache::class_path_of(release)?);
                java.arg("-Dzookeeper.forceSync=no").arg("-Xmx1g");
                // Releases before 3.8 look for the beans of a log library that is not there.
                java.arg("-Dzookeeper.jmx.log4j.disable=true");
                let text = fs::read_to_string(&base)?;
                for line in text.lines().filter(|line| line.starts_with("znode.")) {
                    java.arg(format!("-D{line}"));
                }
                java.arg("org.apache.zookeeper.server.quorum.QuorumPeerMain")
                    .arg(&base);
                java
            }
            None => {
                let mut words = program
                    .iter()
                    .map(OsString::from)
                    .chain([roo_binary().into()]);
                let mut roo = Command::new(words.next().unwrap_or_default());
                roo.args(words).arg("server").arg(&base);
                roo
            }
        };
        let child = command
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| format!("start {kind:?}"))?;
        Ok(Self {
            kind,
            address: SocketAddr::from(([127, 0, 0, 1], port)),
            log,
            child,
        })
    }

    /// Waits until it serves clients.
    ///
    /// # Errors
    /// When it ends, or does not in [`PATIENCE`].
    pub fn await_service(&mut self) -> Result<()> {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            self.check()?;
            if self
                .word_within("srvr", ATTEMPT_LIMIT)
                .is_ok_and(|answer| answer.contains("Mode: "))
            {
                return Ok(());
            }
            pause(Duration::from_millis(20));
        }
        bail!("{:?} does not serve:\n{}", self.kind, self.output())
    }

    /// Looks whether it still runs.
    ///
    /// # Errors
    /// When it has ended.
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{:?} ended with {status}:\n{}", self.kind, self.output());
        }
        Ok(())
    }

    /// The answer to a four-letter word.
    ///
    /// # Errors
    /// When the server does not answer.
    pub fn word(&self, word: &str) -> Result<String> {
        self.word_within(word, WORD_LIMIT)
    }

    fn word_within(&self, word: &str, limit: Duration) -> Result<String> {
        ask_word(self.address, word, limit)
    }

    /// Waits until an answer to a word contains a text.
    ///
    /// # Errors
    /// When it never does, or the server ends.
    pub fn await_word(&mut self, word: &str, text: &str) -> Result<()> {
        let began = Instant::now();
        let mut answer = String::new();
        while began.elapsed() < PATIENCE {
            self.check()?;
            answer = self.word_within(word, ATTEMPT_LIMIT).unwrap_or_default();
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

    /// Waits until its output has one line with all of some texts, which it gives.
    ///
    /// # Errors
    /// When it never has.
    pub fn await_line(&mut self, texts: &[&str]) -> Result<String> {
        let began = Instant::now();
        loop {
            let ended = self.child.try_wait()?.is_some();
            let output = self.output();
            let says = |line: &&str| texts.iter().all(|text| line.contains(text));
            if let Some(line) = output.lines().find(says) {
                return Ok(line.to_owned());
            }
            if ended || began.elapsed() > PATIENCE {
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
        while began.elapsed() < PATIENCE {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            pause(Duration::from_millis(20));
        }
        bail!("the server does not end:\n{}", self.output())
    }

    /// What `srvr` calls its mode; `None` when it does not serve.
    #[must_use]
    pub fn mode(&self) -> Option<String> {
        let answer = self.word_within("srvr", ATTEMPT_LIMIT).ok()?;
        let mode = answer.lines().find_map(|line| line.strip_prefix("Mode: "));
        mode.map(str::to_owned)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_port_is_given_twice() {
        let mut ports = free_ports(20).unwrap();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 20);
    }

    #[test]
    fn lines_of_a_test_replace_those_of_every_server() {
        let text = configuration(Kind::Roo, Path::new("/d"), 7, &["tickTime=500", "x=1"]);
        assert_eq!(text.matches("tickTime=").count(), 1);
        assert!(
            text.contains("tickTime=500\n") && text.ends_with("x=1\n"),
            "{text}"
        );
        assert!(text.contains("dataDir=/d\nclientPort=7\n"), "{text}");
    }
}
