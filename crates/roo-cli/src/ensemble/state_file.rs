//! The folder of an ensemble and the file `ensemble.json` in it: which servers there are, at which
//! ports, and as which processes they were last started.
//!
//! A number of a process may mean another one after a while, so nothing is believed of it but what
//! the system says: when it began and with which arguments.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};
use serde::{Deserialize, Serialize};

/// A process, known again by the time at which it began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Process {
    pub(super) pid: i32,
    /// In the system's ticks since it began itself.
    pub(super) began: u64,
}

/// A server of the ensemble.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Server {
    pub(super) id: u16,
    pub(super) client_port: u16,
    pub(super) peer_port: u16,
    /// As it was last started.
    pub(super) process: Option<Process>,
}

/// The content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ensemble {
    /// `roo ensemble up`, which watches over the servers.
    pub(super) runner: Option<Process>,
    pub(super) servers: Vec<Server>,
}

impl Ensemble {
    pub(super) fn server(&self, id: u16) -> Result<&Server> {
        let found = self.servers.iter().find(|server| server.id == id);
        found.with_context(|| {
            let ids: Vec<String> = self.servers.iter().map(|s| s.id.to_string()).collect();
            format!("there is no server {id}: there are {}", ids.join(", "))
        })
    }
}

/// The folder.
#[derive(Clone, Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

const FILE: &str = "ensemble.json";

impl Folder {
    /// A folder that need not be there yet.
    pub(super) fn new(path: &Path) -> Result<Self> {
        let path = std::path::absolute(path).with_context(|| path.display().to_string())?;
        Ok(Self { path })
    }

    pub(super) fn display(&self) -> std::path::Display<'_> {
        self.path.display()
    }

    /// The directory of a server's data.
    pub(super) fn data_dir(&self, id: u16) -> PathBuf {
        self.path.join(id.to_string())
    }

    /// What the file says.
    pub(super) fn load(&self) -> Result<Ensemble> {
        let found = self.find()?;
        found.with_context(|| {
            let path = self.display();
            format!("there is no ensemble in {path}: `roo ensemble up` makes one, --dir names another folder")
        })
    }

    /// The same; `None` if the folder is not there, or empty.
    pub(super) fn find(&self) -> Result<Option<Ensemble>> {
        let file = self.path.join(FILE);
        match fs::read_to_string(&file) {
            Ok(text) => {
                let state = serde_json::from_str(&text);
                state.map(Some).with_context(|| {
                    let file = file.display();
                    format!("{file} is no file of `roo ensemble up`: move the folder away, or choose another with --dir")
                })
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                let Ok(mut entries) = fs::read_dir(&self.path) else {
                    return Ok(None);
                };
                if entries.next().is_some() {
                    bail!(
                        "{} holds files that `roo ensemble up` has not made: choose another folder with --dir",
                        self.display()
                    );
                }
                Ok(None)
            }
            Err(error) => Err(error).with_context(|| file.display().to_string()),
        }
    }

    /// Replaces the file as a whole.
    pub(super) fn save(&self, state: &Ensemble) -> Result<()> {
        fs::create_dir_all(&self.path).with_context(|| self.display().to_string())?;
        let (file, new) = (self.path.join(FILE), self.path.join("ensemble.json.new"));
        let text = serde_json::to_string_pretty(state)?;
        fs::write(&new, text + "\n").with_context(|| new.display().to_string())?;
        fs::rename(&new, &file).with_context(|| file.display().to_string())
    }

    /// Leaves word for the runner that a server shall be started.
    pub(super) fn ask_to_start(&self, id: u16) -> Result<()> {
        let file = self.request(id);
        fs::write(&file, "").with_context(|| file.display().to_string())
    }

    /// Whether somebody has left that word; it is taken away.
    pub(super) fn take_request(&self, id: u16) -> bool {
        fs::remove_file(self.request(id)).is_ok()
    }

    fn request(&self, id: u16) -> PathBuf {
        self.path.join(format!("start.{id}"))
    }

    /// Whether a server runs: as the process that the file names, and on its directory.
    pub(super) fn is_running(&self, server: &Server) -> bool {
        let dir = self.data_dir(server.id).display().to_string();
        server.process.is_some_and(|process| {
            let arguments = arguments_of(process);
            arguments.iter().any(|argument| argument == "server") && arguments.contains(&dir)
        })
    }

    /// Whether a process is a `roo ensemble up` that still runs.
    #[allow(clippy::unused_self)] // It reads as a question about the folder's runner.
    pub(super) fn is_runner(&self, runner: Process) -> bool {
        let arguments = arguments_of(runner);
        ["ensemble", "up"]
            .iter()
            .all(|word| arguments.iter().any(|argument| argument == word))
    }
}

/// A process by its number, as it is now.
pub(super) fn process(pid: u32) -> Option<Process> {
    let pid = i32::try_from(pid).ok()?;
    let began = began(pid)?;
    Some(Process { pid, began })
}

/// When a process began; `None` if there is none, or only what its parent has not taken note of.
fn began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it may hold anything, brackets and blanks too.
    let (_, rest) = stat.rsplit_once(") ")?;
    let mut fields = rest.split(' ');
    if matches!(fields.next(), Some("Z" | "X")) {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

/// The arguments of a process; none if it is another one by now.
fn arguments_of(process: Process) -> Vec<String> {
    if began(process.pid) != Some(process.began) {
        return Vec::new();
    }
    let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    let arguments = line.split(|byte| *byte == 0);
    arguments
        .map(|argument| String::from_utf8_lossy(argument).into_owned())
        .collect()
}

/// Sends a signal to a process that was just found to be ours.
pub(super) fn signal(pid: i32, signal: Signal) -> Result<()> {
    let process = Pid::from_raw(pid).context("a process has a number above 0")?;
    kill_process(process, signal).with_context(|| format!("signal process {pid}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(process: Option<Process>) -> Server {
        Server {
            id: 1,
            client_port: 1,
            peer_port: 2,
            process,
        }
    }

    #[test]
    fn a_number_that_another_process_has_is_not_taken_for_a_server() {
        let folder = Folder::new(Path::new("nowhere")).unwrap();
        let me = process(std::process::id()).unwrap();
        assert!(!folder.is_running(&server(Some(me))), "no server");
        assert!(!folder.is_runner(me));
        let older = Process {
            began: me.began + 1,
            ..me
        };
        assert_eq!(arguments_of(older), Vec::<String>::new());
        assert!(!arguments_of(me).is_empty());
        assert!(!folder.is_running(&server(None)));
    }

    #[test]
    fn a_folder_of_somebody_else_is_not_used() {
        let dir = std::env::temp_dir().join(format!("roo-ensemble-{}", std::process::id()));
        let folder = Folder::new(&dir).unwrap();
        assert_eq!(folder.find().unwrap(), None, "not there yet");
        fs::create_dir_all(&dir).unwrap();
        fs::write(dir.join("thesis.txt"), "precious").unwrap();
        let error = folder.find().unwrap_err().to_string();
        assert!(error.contains("has not made"), "{error}");
        fs::write(dir.join(FILE), "{\"servers\": 3}").unwrap();
        let error = folder.find().unwrap_err().to_string();
        assert!(error.contains("no file of"), "{error}");
        let state = Ensemble {
            runner: None,
            servers: vec![server(None)],
        };
        folder.save(&state).unwrap();
        assert_eq!(folder.find().unwrap(), Some(state));
        fs::remove_dir_all(&dir).unwrap();
    }
}
