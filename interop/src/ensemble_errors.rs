//! `interop ensemble-errors`: an ensemble whose operator errs, each time in another way. Whoever
//! is wrong must say so in one clear line and must not serve; the others go on, and nothing that
//! was acknowledged is lost.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use crate::members::{Member, Plan, Ports};
use crate::servers::root;
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
        let done = Stage::new(work).and_then(|mut stage| {
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

/// Three servers, of which 1 and 2 serve and 3 is the one that goes wrong.
struct Stage {
    plan: Plan,
    good: Vec<Member>,
    written: usize,
    /// What the servers said, for the report.
    said: Vec<String>,
}

impl Stage {
    fn new(work: PathBuf) -> Result<Self> {
        let mut plan = Plan::new(work, 3, 0)?;
        plan.common = plan.common.replace("tickTime=2000", "tickTime=500");
        Ok(Self {
            plan,
            good: Vec::new(),
            written: 0,
            said: Vec::new(),
        })
    }

    /// Starts 1 and 2, the latter leading, and lets a client write.
    fn serve(&mut self) -> Result<()> {
        self.serve_with(&self.plan.server_lines(), "")
    }

    fn serve_with(&mut self, servers: &str, extra: &str) -> Result<()> {
        for id in [1, 2] {
            self.good
                .push(self.plan.start_with(id, id, servers, extra)?);
        }
        for server in &mut self.good {
            server.await_word("srvr", "Mode: ")?;
        }
        self.write()
    }

    /// A server that is wrong.
    fn wrong(&self, my_id: usize, servers: &str, extra: &str) -> Result<Member> {
        self.plan.start_with(3, my_id, servers, extra)
    }

    fn hear(&mut self, server: usize, texts: &[&str]) -> Result<()> {
        let server = self.good.get_mut(server - 1).context("a good server")?;
        let line = server.await_line(texts)?;
        self.said.push(message(&line));
        Ok(())
    }

    /// The server must say one line and end with a code.
    fn refused(&mut self, mut server: Member, texts: &[&str], code: i32) -> Result<()> {
        let line = server.await_line(texts)?;
        let status = server.await_end()?;
        ensure!(
            status.code() == Some(code),
            "{status} instead of {code}: {line}"
        );
        self.said.push(message(&line));
        Ok(())
    }

    /// A node that must never be lost.
    fn write(&mut self) -> Result<()> {
        let server = self.good.first().context("a server")?;
        let path = format!("/n{}", self.written);
        ensure!(create(server.client, &path)? == 0, "create {path}");
        self.written += 1;
        Ok(())
    }

    /// The good servers still take writes and have every one.
    fn check(&mut self) -> Result<()> {
        self.write()?;
        for server in &self.good {
            holds(server.client, self.written)?;
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
    let servers = stage.plan.server_lines();
    let unknown = stage.wrong(7, &servers, "")?;
    stage.refused(unknown, &["myid", "7", "1, 2, 3"], 1)?;
    let contradicted = stage.wrong(3, &servers, "id=2\n")?;
    stage.refused(contradicted, &["myid", "id=2"], 2)?;
    let dir = stage.plan.dir(3);
    fs::remove_dir_all(&dir)?;
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("version-2"), "")?;
    let no_directory = stage.wrong(3, &servers, "")?;
    stage.refused(no_directory, &["version-2"], 3)
}

/// Server 3 claims to be 1, which is at another address in its own list.
fn one_id_twice(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let [one, two, three] = stage.plan.ports.as_slice() else {
        bail!("three servers");
    };
    let lines = |own: &Ports, other: &Ports| {
        format!(
            "server.1={}\nserver.2={}\nserver.3={}\n",
            own.line("participant"),
            two.line("participant"),
            other.line("participant")
        )
    };
    let mut impostor = stage.wrong(1, &lines(three, one), "")?;
    let line = impostor.await_line(&["says that it is server 1, as this one does"])?;
    stage.said.push(message(&line));
    stage.hear(2, &["two servers say that they are server 1"])?;
    stage.write()
}

/// A copy of another server's directory, its myid included, with the right list of servers.
fn copied_directory(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let (from, to) = (stage.plan.dir(2), stage.plan.dir(3));
    copy(&from, &to)?;
    // The operator forgets the myid: on the same machine, the ports of server 2 are taken.
    let forgotten = stage.wrong(2, &stage.plan.server_lines(), "")?;
    stage.refused(forgotten, &["cannot listen", "another"], 1)?;
    // With its own myid the copy is only an early backup.
    let mut corrected = stage.wrong(3, &stage.plan.server_lines(), "")?;
    corrected.await_word("srvr", "Mode: ")?;
    stage.write()?;
    holds(corrected.client, stage.written)
}

fn copy(from: &std::path::Path, to: &std::path::Path) -> Result<()> {
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
    let all = stage.plan.server_lines();
    let lines = all.lines().filter(|line| !line.starts_with("server.2"));
    let shorter: String = lines.map(|line| format!("{line}\n")).collect();
    let mut three = stage.wrong(3, &shorter, "")?;
    let line = three.await_line(&["server 2", "not in the ensemble of this server"])?;
    stage.said.push(message(&line));
    stage.write()
}

/// 1 and 2 do not know 3.
fn not_in_the_list(stage: &mut Stage) -> Result<()> {
    let all = stage.plan.server_lines();
    let lines = all.lines().filter(|line| !line.starts_with("server.3"));
    let shorter: String = lines.map(|line| format!("{line}\n")).collect();
    stage.serve_with(&shorter, "")?;
    let mut three = stage.wrong(3, &all, "")?;
    let line = three.await_line(&["does not know this server", "server.3"])?;
    stage.said.push(message(&line));
    stage.hear(1, &["server 3", "not in the ensemble of this server"])?;
    ensure!(!three.word("srvr")?.contains("Mode: "), "a stranger serves");
    Ok(())
}

fn other_ensemble(stage: &mut Stage) -> Result<()> {
    let servers = stage.plan.server_lines();
    stage.serve_with(&servers, "ensemble.name=orders\n")?;
    let mut three = stage.wrong(3, &servers, "ensemble.name=payments\n")?;
    let line = three.await_line(&["belongs to another ensemble", "server 1"])?;
    stage.said.push(message(&line));
    stage.hear(1, &["belongs to another ensemble", "server 3"])?;
    ensure!(!three.word("srvr")?.contains("Mode: "), "a stranger serves");
    let said = three.word("peer")?;
    ensure!(
        said.contains("refused 1: ") && said.contains("refused 2: "),
        "{said}"
    );
    Ok(())
}

fn garbage(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let port = stage.plan.ports.first().context("a server")?.peer;
    let texts: [&[u8]; 5] = [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"ruok",
        &[0xFF; 70_000],
        // A handshake of Apache's election: its version, its id, its address.
        b"\xFF\xFF\xFF\xFF\xFF\xFF\x00\x00\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x0elocalhost:3888",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF\xFF",
    ];
    for text in texts {
        let mut stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        // The server may have closed it by now.
        let _ = stream.write_all(text);
        let _ = stream.read_to_end(&mut Vec::new());
    }
    stage.hear(1, &["does not speak as a RooKeeper server"])
}

fn epochs(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let servers = stage.plan.server_lines();
    let dir = stage.plan.dir(3).join("version-2");
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
        let wrong = stage.wrong(3, &servers, "")?;
        stage.refused(wrong, &texts, 3)?;
    }
    Ok(())
}

/// A server that has promised a far epoch: the leader ends for it, and the next begins a later one.
fn epochs_ahead(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let dir = stage.plan.dir(3).join("version-2");
    fs::create_dir_all(&dir)?;
    fs::write(dir.join("acceptedEpoch"), "1000")?;
    fs::write(dir.join("currentEpoch"), "0")?;
    let mut ahead = stage.wrong(3, &stage.plan.server_lines(), "")?;
    for server in stage.good.iter_mut().chain([&mut ahead]) {
        server.await_word("peer", "epoch: 1001")?;
        server.await_word("srvr", "Mode: ")?;
    }
    stage.write()?;
    holds(ahead.client, stage.written)
}

fn no_quorum(stage: &mut Stage) -> Result<()> {
    let mut lonely = stage.plan.start(1, "")?;
    let line = lonely.await_line(&["no leader", "1 of 3", "2 are needed; start 2, 3"])?;
    stage.said.push(message(&line));
    let answer = lonely.word("srvr")?;
    ensure!(
        answer == "This ZooKeeper instance is not currently serving requests\n",
        "{answer}"
    );
    let refused = Client::connect(lonely.client, &Hello::default());
    ensure!(
        refused.is_err() || refused.is_ok_and(|client| client.session == 0),
        "a server alone gives out sessions"
    );
    let mut second = stage.plan.start(2, "")?;
    lonely.await_word("srvr", "Mode: ")?;
    second.await_word("srvr", "Mode: ")?;
    stage.good = vec![lonely, second];
    stage.write()
}

fn port_taken(stage: &mut Stage) -> Result<()> {
    stage.serve()?;
    let servers = stage.plan.server_lines();
    let ports = *stage.plan.ports.get(2).context("three servers")?;
    let taken = TcpListener::bind(("127.0.0.1", ports.peer))?;
    let wrong = stage.wrong(3, &servers, "electionPortBindRetry=1\n")?;
    let port = ports.peer.to_string();
    stage.refused(wrong, &["listen on", "for other servers", &port], 14)?;
    drop(taken);
    let _taken = TcpListener::bind(("127.0.0.1", ports.client))?;
    let wrong = stage.wrong(3, &servers, "")?;
    let port = ports.client.to_string();
    stage.refused(wrong, &["cannot listen", &port], 1)
}
