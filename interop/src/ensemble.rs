//! Ensembles of real servers, genuine ones or RooKeeper's: who is a member, and the start, the end
//! and the return of each.
//!
//! It knows nothing of what clients do with them, and puts nothing between them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Pid;

pub use crate::servers::PATIENCE;
use crate::servers::{Kind, Server, free_ports, pause};

/// Ports of a server: for the leader's learners, for elections, for clients.
const PORTS: usize = 3;

/// What a server does in its ensemble.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum Part {
    Participant,
    Observer,
}

impl Part {
    /// As the list of servers names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Participant => "participant",
            Self::Observer => "observer",
        }
    }
}

/// One server: what it is called and where it is. It may run or not.
pub struct Member {
    /// Its number, `myid`.
    pub id: u16,
    kind: Kind,
    ports: [u16; PORTS],
    data_dir: PathBuf,
    server: Option<Server>,
}

impl Member {
    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[2]))
    }

    /// Where other servers connect.
    #[must_use]
    pub fn peers(&self) -> SocketAddr {
        SocketAddr::from(([127, 0, 0, 1], self.ports[0]))
    }

    /// Its line in the list of servers, without the ports of clients, which stand in its own file.
    #[must_use]
    pub fn line(&self, part: Part) -> String {
        let [learners, elections, _] = self.ports;
        format!(
            "server.{}=127.0.0.1:{learners}:{elections}:{}",
            self.id,
            part.name()
        )
    }

    /// The same with the address for clients: what a reconfiguration names.
    #[must_use]
    pub fn whole_line(&self, part: Part) -> String {
        format!("{};{}", self.line(part), self.address())
    }

    /// The file that it is started with.
    #[must_use]
    pub fn config_file(&self) -> PathBuf {
        self.data_dir.with_extension("cfg")
    }

    /// Where its database is.
    #[must_use]
    pub fn data_dir(&self) -> &Path {
        &self.data_dir
    }

    /// Starts it with these lines in its zoo.cfg, without waiting.
    ///
    /// # Errors
    /// When its files cannot be written or it cannot be started.
    pub fn launch(&mut self, lines: &[&str]) -> Result<()> {
        self.launch_as(self.id, lines)
    }

    /// The same with another number in its `myid`, and on what is in its directory.
    ///
    /// # Errors
    /// When its files cannot be written or it cannot be started.
    pub fn launch_as(&mut self, my_id: u16, lines: &[&str]) -> Result<()> {
        ensure!(self.server.is_none(), "server {} runs", self.id);
        fs::create_dir_all(&self.data_dir)?;
        fs::write(self.data_dir.join("myid"), my_id.to_string())?;
        // What an earlier one has said is not its own.
        fs::write(self.data_dir.with_extension("log"), "")?;
        let server = Server::launch(self.kind, &self.data_dir, self.ports[2], lines)?;
        self.server = Some(server);
        Ok(())
    }

    /// Starts it again on what it has on its disk.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn come_back(&mut self) -> Result<()> {
        ensure!(self.server.is_none(), "server {} runs", self.id);
        let server = Server::launch_again(self.kind, &self.data_dir, self.ports[2])?;
        self.server = Some(server);
        Ok(())
    }

    /// Ends it as a power failure of the process does.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), Server::kill)
    }

    /// Asks it to end, and waits.
    ///
    /// # Errors
    /// When it cannot be asked.
    pub fn stop(&mut self) -> Result<()> {
        self.server.take().map_or(Ok(()), Server::stop)
    }

    /// The process that serves.
    ///
    /// # Errors
    /// When it was not started, or has been stopped.
    pub fn server(&mut self) -> Result<&mut Server> {
        let server = self.server.as_mut();
        server.with_context(|| format!("server {} was not started", self.id))
    }

    /// What `srvr` calls its mode; `None` when it does not serve.
    #[must_use]
    pub fn mode(&self) -> Option<String> {
        self.server.as_ref()?.mode()
    }

    /// A figure of `mntr`; `None` when it does not serve or does not know it.
    #[must_use]
    pub fn figure(&self, name: &str) -> Option<String> {
        let answer = self.server.as_ref()?.word("mntr").ok()?;
        let line = answer.lines().find_map(|line| line.strip_prefix(name));
        line.map(|value| value.trim().to_owned())
    }

    /// Waits until `srvr` calls its mode so.
    ///
    /// # Errors
    /// When it ends, or does not in [`PATIENCE`].
    pub fn await_mode(&mut self, wanted: &str) -> Result<()> {
        let id = self.id;
        let waited = self
            .server()?
            .await_word("srvr", &format!("Mode: {wanted}\n"));
        waited.with_context(|| format!("server {id}"))
    }

    /// Its process, if it runs.
    #[must_use]
    pub fn pid(&self) -> Option<Pid> {
        let pid = i32::try_from(self.server.as_ref()?.pid()).ok()?;
        Pid::from_raw(pid)
    }

    /// Whether it runs.
    #[must_use]
    pub const fn runs(&self) -> bool {
        self.server.is_some()
    }

    /// What it has written to its standard outputs.
    #[must_use]
    pub fn output(&self) -> String {
        self.server.as_ref().map(Server::output).unwrap_or_default()
    }

    /// # Errors
    /// When its process has ended by itself.
    fn check(&mut self) -> Result<()> {
        let id = self.id;
        let checked = self.server()?.check();
        checked.with_context(|| format!("server {id}"))
    }
}

/// Servers that know each other, or may come to.
pub struct Ensemble {
    /// In the order of their numbers, from 1.
    pub members: Vec<Member>,
}

impl Ensemble {
    /// So many servers with ports of their own; none is started.
    ///
    /// # Errors
    /// When there are no ports, or something is left in the directory that cannot be removed.
    pub fn prepare(kind: Kind, count: u16, dir: &Path) -> Result<Self> {
        if dir.exists() {
            fs::remove_dir_all(dir).with_context(|| format!("remove {}", dir.display()))?;
        }
        let ports = free_ports(PORTS * usize::from(count))?;
        let members = (1..=count)
            .zip(ports.chunks_exact(PORTS))
            .map(|(id, ports)| Member {
                id,
                kind,
                ports: [ports[0], ports[1], ports[2]],
                data_dir: dir.join(id.to_string()),
                server: None,
            })
            .collect();
        Ok(Self { members })
    }

    /// Starts so many participants, and observers behind them, each with `lines` in its zoo.cfg,
    /// and waits until all of them serve.
    ///
    /// # Errors
    /// When one of them does not.
    pub fn start(
        kind: Kind,
        participants: u16,
        observers: u16,
        dir: &Path,
        lines: &[&str],
    ) -> Result<Self> {
        let mut ensemble = Self::prepare(kind, participants + observers, dir)?;
        let parts = |id: u16| match id {
            id if id > participants => Part::Observer,
            _ => Part::Participant,
        };
        ensemble.launch(parts, lines)?;
        ensemble.await_whole()?;
        Ok(ensemble)
    }

    /// Starts all servers with the same list of servers, without waiting.
    ///
    /// # Errors
    /// When one cannot be started.
    pub fn launch(&mut self, part: impl Fn(u16) -> Part, lines: &[&str]) -> Result<()> {
        let list: Vec<String> = self
            .members
            .iter()
            .map(|member| member.line(part(member.id)))
            .collect();
        for member in &mut self.members {
            let mut all = lines.to_vec();
            all.extend(LIMITS);
            all.extend(list.iter().map(String::as_str));
            if part(member.id) == Part::Observer {
                all.push("peerType=observer");
            }
            member.launch(&all)?;
        }
        Ok(())
    }

    /// Waits until every server that runs serves.
    ///
    /// # Errors
    /// When one ends, or does not serve in [`PATIENCE`].
    pub fn await_whole(&mut self) -> Result<()> {
        let began = Instant::now();
        for member in self.members.iter_mut().filter(|member| member.runs()) {
            while member.mode().is_none() {
                member.check()?;
                ensure!(
                    began.elapsed() < PATIENCE,
                    "server {} does not serve:\n{}",
                    member.id,
                    member.output()
                );
                pause(Duration::from_millis(20));
            }
        }
        Ok(())
    }

    /// The list of servers, with their addresses for clients; the first ones participate.
    #[must_use]
    pub fn whole_lines(&self, participants: u16) -> Vec<String> {
        let part = |id: u16| match id {
            id if id > participants => Part::Observer,
            _ => Part::Participant,
        };
        let line = |member: &Member| member.whole_line(part(member.id));
        self.members.iter().map(line).collect()
    }

    /// Where clients connect, all servers.
    #[must_use]
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.members.iter().map(Member::address).collect()
    }

    /// The index of the first server in this mode.
    #[must_use]
    pub fn find(&self, mode: &str) -> Option<usize> {
        let is = |member: &Member| member.mode().as_deref() == Some(mode);
        self.members.iter().position(is)
    }

    /// Waits until one of the servers that run leads; its index.
    ///
    /// # Errors
    /// When none does in [`PATIENCE`].
    pub fn await_leader(&self) -> Result<usize> {
        let began = Instant::now();
        loop {
            if let Some(leader) = self.find("leader") {
                return Ok(leader);
            }
            ensure!(began.elapsed() < PATIENCE, "no leader in {PATIENCE:?}");
            pause(Duration::from_millis(20));
        }
    }

    /// # Errors
    /// When a server has ended by itself, or has written a line of the level ERROR.
    pub fn examine(&mut self) -> Result<()> {
        for member in self.members.iter_mut().filter(|member| member.runs()) {
            member.check()?;
            let output = member.output();
            let line = output
                .lines()
                .find(|line| line.contains("ERROR") || line.contains("panicked"));
            ensure!(line.is_none(), "server {} says: {line:?}", member.id);
        }
        Ok(())
    }
}

/// Lines of zoo.cfg: long enough for a machine that is busy with something else.
pub const LIMITS: [&str; 2] = ["initLimit=20", "syncLimit=10"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_have_numbers_lines_and_ports_of_their_own() {
        let dir = Path::new("/nowhere");
        let ensemble = Ensemble::prepare(Kind::Roo, 2, dir).unwrap();
        let [one, two] = &ensemble.members[..] else {
            panic!("two")
        };
        let [learners, elections, clients] = two.ports;
        assert_eq!(
            two.whole_line(Part::Observer),
            format!("server.2=127.0.0.1:{learners}:{elections}:observer;127.0.0.1:{clients}")
        );
        assert!(one.ports.iter().all(|port| !two.ports.contains(port)));
        assert_eq!(one.config_file(), Path::new("/nowhere/1.cfg"));
    }
}
