//! `interop ensemble-errors`: an ensemble whose operator errs, each time in another way. Whoever
//! is wrong must say so in one clear line and must not serve; the others go on, and nothing that
//! was acknowledged is lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::ensemble::{Ensemble, Member};
use crate::servers::{Kind, root};
use crate::wire::{Client, Hello, In, Out};

/// Arguments of `interop ensemble-errors`.
#[derive(Args, Debug)]
pub struct ErrorsArgs {
    /// Only the errors whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

type Case = (&'static str, fn(&mut Stage) -> Result<()>);

const CASES: &[Case] = &[
    ("wrong-myid", wrong_my_id),
    ("one-id-twice", one_id_twice),
    ("copied-directory", copied_directory),
    ("other-lists", other_lists),
    ("not-in-the-list", not_in_the_list),
    ("other-ensemble", other_ensemble),
    ("garbage", garbage),
    ("epochs", epochs),
    ("epochs-ahead", epochs_ahead),
    ("no-quorum", no_quorum),
    ("port-taken", port_taken),
];

/// Commits every error, each on a stage of its own.
///
/// # Errors
/// When the stage cannot be built.
pub fn run(arguments: &ErrorsArgs) -> Result<ExitCode> {
    let only = arguments.only.as_deref().unwrap_or_default();
    let mut failed = 0;
    for (name, case) in CASES.iter().filter(|(name, _)| name.contains(only)) {
        let began = Instant::now();
        let work = root().join("target/interop/ensemble-errors").join(name);
        let done = Stage::new(&work).and_then(|mut stage| {
            case(&mut stage)?;
            stage.check()?;
            Ok(stage.said)
        });
        let took = began.elapsed().as_secs_f64();
        match done {
            Ok(said) => {
                println!("ok {name} ({took:.1} s)");
                for line in said {
                    println!("     {line}");
                }
            }
            Err(error) => {
                failed += 1;
                println!("FAILED {name} ({took:.1} s): {error:#}");
            }
        }
    }
    println!("{failed} failed");
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

const SERVERS: u16 = 3;
const GOOD: [u16; 2] = [1, 2];
const WRONG: u16 = 3;

const LINES: &[&str] = &["tickTime=500", "initLimit=10", "syncLimit=5"];

/// Three servers, of which 1 and 2 serve and 3 is the one that goes wrong.
struct Stage {
    ensemble: Ensemble,
    written: usize,
    /// What the servers said, for the report.
    said: Vec<String>,
}

impl Stage {
    fn new(work: &Path) -> Result<Self> {
        Ok(Self {
            ensemble: Ensemble::prepare(Kind::Roo, SERVERS, work)?,
            written: 0,
            said: Vec::new(),
        })
    }

    /// The list of servers as it should be.
    fn list(&self) -> Vec<String> {
        self.ensemble.whole_lines(SERVERS)
    }

    /// The list without a server.
    fn list_without(&self, server: &str) -> Vec<String> {
        let mut list = self.list();
        list.retain(|line| !line.starts_with(server));
        list
    }

    /// Starts a server on the directory of `id` that believes to be `my_id`.
    fn start(&mut self, id: u16, my_id: u16, list: &[String], extra: &[&str]) -> Result<()> {
        let list = list.iter().map(String::as_str);
        let lines: Vec<&str> = LINES.iter().chain(extra).copied().chain(list).collect();
        self.member(id)?.launch_as(my_id, &lines)
    }

    fn member(&mut self, id: u16) -> Result<&mut Member> {
        let at = usize::from(id - 1);
        self.ensemble.members.get_mut(at).context("a server")
    }

    fn address(&self, id: u16) -> SocketAddr {
        self.ensemble.members[usize::from(id - 1)].address()
    }

    /// Starts 1 and 2, the latter leading, and lets a client write.
    fn serve(&mut self) -> Result<()> {
        self.serve_with(&self.list(), &[])
    }

    fn serve_with(&mut self, list: &[String], extra: &[&str]) -> Result<()> {
        for id in GOOD {
            self.start(id, id, list, extra)?;
        }
        for id in GOOD {
            self.serves(id)?;
        }
        self.write()
    }

    /// Waits until a server serves.
    fn serves(&mut self, id: u16) -> Result<()> {
        self.member(id)?.server()?.await_word("srvr", "Mode: ")
    }

    /// Starts the server that is wrong.
    fn wrong(&mut self, my_id: u16, list: &[String], extra: &[&str]) -> Result<()> {
        self.start(WRONG, my_id, list, extra)
    }

    /// A server must say this in one line.
    fn hear(&mut self, id: u16, texts: &[&str]) -> Result<()> {
        let line = self.member(id)?.server()?.await_line(texts)?;
        self.said.push(message(&line));
        Ok(())
    }

    /// The server that is wrong must say this in one line and end with a code.
    fn refused(&mut self, texts: &[&str], code: i32) -> Result<()> {
        self.hear(WRONG, texts)?;
        let status = self.member(WRONG)?.server()?.await_end()?;
        ensure!(
            status.code() == Some(code),
            "{status} instead of {code}: {:?}",
            self.said.last()
        );
        self.member(WRONG)?.kill()
    }

    /// A node that must never be lost.
    fn write(&mut self) -> Result<()> {
        let path = format!("/n{}", self.written);
        ensure!(create(self.address(1), &path)? == 0, "create {path}");
        self.written += 1;
        Ok(())
    }

    /// The good servers still take writes and have every one.
    fn check(&mut self) -> Result<()> {
        self.write()?;
        for id in GOOD {
            holds(self.address(id), self.written)?;
        }
        Ok(())
    }
}

/// A line of the log without its time.
fn message(line: &str) -> String {
    let rest = line.split_once(" WARN ").or(line.split_once(" INFO "));
    rest.map_or(line, |(_, text)| text).to_owned()
}

fn create(address: SocketAddr, path: &str) -> Result<i32> {
    let mut client = Client::connect(address, &Hello::default())?;
    let acl = Out::default().int(1).int(31).text("world").text("anyone");
    let body = Out::default().text(path).buffer(None).raw(&acl.0).int(0);
    call(&mut client, 1, 1, &body.0)
}

fn call(client: &mut Client, xid: i32, op: i32, body: &[u8]) -> Result<i32> {
    client.send(xid, op, body)?;
    let frames = client.receive_until(xid)?;
    let reply = frames.last().context("a reply")?;
    let mut reader = In(reply);
    ensure!(reader.int()? == xid, "a reply to {xid}");
    reader.long()?;
    reader.int()
}

/// Every node that was written is there, after a sync.
fn holds(address: SocketAddr, nodes: usize) -> Result<()> {
    let mut client = Client::connect(address, &Hello::default())?;
    ensure!(call(&mut client, 1, 9, &Out::default().text("/").0)? == 0);
    for n in 0..nodes {
        let path = format!("/n{n}");
        let body = Out::default().text(&path).flag(false);
        let xid = i32::try_from(n)? + 2;
        let code = call(&mut client, xid, 3, &body.0)?;
        ensure!(code == 0, "{path} is lost at {address}: {code}");
    }
    Ok(())
}

fn wrong_my_id(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let list = stage.list();
    stage.wrong(7, &list, &[])?;
    stage.refused(&["myid", "7", "1, 2, 3"], 1)?;
    stage.wrong(3, &list, &["id=2"])?;
    stage.refused(&["myid", "id=2"], 2)?;
    let dir = stage.member(WRONG)?.data_dir().to_owned();
    fs::remove_dir_all(&dir)?;
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("version-2"), "")?;
    stage.wrong(3, &list, &[])?;
    stage.refused(&["version-2"], 3)
}

/// Server 3 claims to be 1, which is at another address in its own list.
fn one_id_twice(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let [one, two, three] = &stage.list()[..] else {
        bail!("three servers");
    };
    let list = [
        three.replace("server.3", "server.1"),
        two.clone(),
        one.replace("server.1", "server.3"),
    ];
    stage.wrong(1, &list, &[])?;
    stage.hear(WRONG, &["says that it is server 1, as this one does"])?;
    stage.hear(2, &["two servers say that they are server 1"])?;
    stage.write()
}

/// A copy of another server's directory, its myid included, with the right list of servers.
fn copied_directory(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let list = stage.list();
    let from = stage.member(2)?.data_dir().to_owned();
    let to = stage.member(WRONG)?.data_dir().to_owned();
    copy(&from, &to)?;
    // The operator forgets the myid: on the same machine, the ports of server 2 are taken.
    let port = format!("clientPort={}", stage.address(2).port());
    stage.wrong(2, &list, &[&port])?;
    stage.refused(&["cannot listen", "another"], 1)?;
    // With its own myid the copy is only an early backup.
    stage.wrong(3, &list, &[])?;
    stage.serves(WRONG)?;
    stage.write()?;
    holds(stage.address(WRONG), stage.written)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// 3 knows an ensemble of 1 and 3 only, 2 does not answer to it.
fn other_lists(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let shorter = stage.list_without("server.2");
    stage.wrong(3, &shorter, &[])?;
    stage.hear(WRONG, &["server 2", "not in the ensemble of this server"])?;
    stage.write()
}

/// 1 and 2 do not know 3.
fn not_in_the_list(stage: &mut Stage) -> Result<()> {
    let shorter = stage.list_without("server.3");
    stage.serve_with(&shorter, &[])?;
    let list = stage.list();
    stage.wrong(3, &list, &[])?;
    stage.hear(WRONG, &["does not know this server", "server.3"])?;
    stage.hear(1, &["server 3", "not in the ensemble of this server"])?;
    ensure!(stage.member(WRONG)?.mode().is_none(), "a stranger serves");
    Ok(())
}

fn other_ensemble(stage: &mut Stage) -> Result<()> {
    let list = stage.list();
    stage.serve_with(&list, &["ensemble.name=orders"])?;
    stage.wrong(3, &list, &["ensemble.name=payments"])?;
    stage.hear(WRONG, &["belongs to another ensemble", "server 1"])?;
    stage.hear(1, &["belongs to another ensemble", "server 3"])?;
    ensure!(stage.member(WRONG)?.mode().is_none(), "a stranger serves");
    let stranger = stage.member(WRONG)?.server()?;
    stranger.await_word("peer", "refused 1: ")?;
    stranger.await_word("peer", "refused 2: ")
}

fn garbage(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let peers = stage.member(1)?.peers();
    let texts: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"ruok",
        &[0xFF; 70_000],
        // A handshake of Apache's election: its version, its id, its address.
        b"\xFF\xFF\xFF\xFF\xFF\xFF\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x0elocalhost:3888",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    ];
    for text in texts {
        let mut stream = TcpStream::connect(peers)?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // The server may have closed it by now.
        let _ = stream.write_all(text);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    stage.hear(1, &["does not speak as a RooKeeper server"])
}

fn epochs(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let list = stage.list();
    let dir = stage.member(WRONG)?.data_dir().join("version-2");
    fs::create_dir_all(&dir)?;
    for (accepted, current, texts) in [
        ("one", "0", ["acceptedEpoch", "\"one\""]),
        ("-1", "0", ["acceptedEpoch", "\"-1\""]),
        ("1", "99999999999", ["currentEpoch", "99999999999"]),
        ("1", "", ["currentEpoch", "\"\""]),
        ("1", "2", ["acceptedEpoch", "currentEpoch says 2"]),
    ] {
        fs::write(dir.join("acceptedEpoch"), accepted)?;
        fs::write(dir.join("currentEpoch"), current)?;
        stage.wrong(3, &list, &[])?;
        stage.refused(&texts, 3)?;
    }
    Ok(())
}

/// A server that has promised a far epoch: the leader ends for it, and the next begins a later one.
fn epochs_ahead(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let list = stage.list();
    let dir = stage.member(WRONG)?.data_dir().join("version-2");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("acceptedEpoch"), "1000")?;
    fs::write(dir.join("currentEpoch"), "0")?;
    stage.wrong(3, &list, &[])?;
    for id in 1..=SERVERS {
        let server = stage.member(id)?.server()?;
        server.await_word("peer", "epoch: 1001")?;
        server.await_word("srvr", "Mode: ")?;
    }
    stage.write()?;
    holds(stage.address(WRONG), stage.written)
}

fn no_quorum(stage: &mut Stage) -> Result<()> {
    let list = stage.list();
    stage.start(1, 1, &list, &[])?;
    stage.hear(1, &["no leader", "1 of 3", "2 are needed; start 2, 3"])?;
    let answer = stage.member(1)?.server()?.word("srvr")?;
    ensure!(
        answer == "This ZooKeeper instance is not currently serving requests\n",
        "{answer}"
    );
    let refused = Client::connect(stage.address(1), &Hello::default());
    ensure!(
        refused.is_err() || refused.is_ok_and(|client| client.session == 0),
        "a server alone gives out sessions"
    );
    stage.start(2, 2, &list, &[])?;
    for id in GOOD {
        stage.serves(id)?;
    }
    stage.write()
}

fn port_taken(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let list = stage.list();
    let peers = stage.member(WRONG)?.peers();
    let taken = TcpListener::bind(peers)?;
    stage.wrong(3, &list, &["electionPortBindRetry=1"])?;
    let port = peers.port().to_string();
    stage.refused(&["listen on", "for other servers", &port], 14)?;
    drop(taken);
    let clients = stage.address(WRONG);
    let _taken = TcpListener::bind(clients)?;
    stage.wrong(3, &list, &[])?;
    let port = clients.port().to_string();
    stage.refused(&["cannot listen", &port], 1)
}
