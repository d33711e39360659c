//! Where a page is performed: a directory, programs, ports, and what runs in the background.

use std::collections::BTreeMap;
use std::env;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::page::Exchange;
use super::pattern;
use crate::apache;
use crate::clients::python_with_kazoo;
use crate::servers::{await_child, free_ports_in, pause, roo_binary, root};

/// How long a command may take. The first one of a client's package fetches it.
const LIMIT: Duration = Duration::from_secs(300);

/// How long something may take to become true.
const PATIENCE: Duration = Duration::from_secs(60);

/// Ports that pages name, for clients and for servers.
const KNOWN_PORTS: &[u16] = &[
    2181, 2182, 2183, 2184, 2185, 2888, 2889, 2890, 2891, 2892, 3888, 3889, 3890,
];

/// As wide as those of the pages, or columns would be wider.
const PORTS: (u16, u16) = (5_000, 9_999);

/// Netcat is on every administrator's machine, and not on every machine that tests.
const NC: &str = "#!/bin/bash
exec 3<>\"/dev/tcp/$1/$2\" && cat >&3 && cat <&3
";

/// See the module.
pub(super) struct Stage {
    dir: PathBuf,
    programs: PathBuf,
    /// The pages' ports and those in their place.
    ports: BTreeMap<u16, u16>,
    background: Vec<(Child, PathBuf)>,
}

impl Stage {
    /// An empty directory, and free ports.
    pub(super) fn set(name: &str) -> Result<Self> {
        let work = root().join("target/interop/book").join(name);
        if work.exists() {
            fs::remove_dir_all(&work)?;
        }
        let (dir, programs) = (work.join("page"), work.join("programs"));
        fs::create_dir_all(&dir)?;
        fs::create_dir_all(&programs)?;
        let free = free_ports_in(PORTS, KNOWN_PORTS.len())?;
        let stage = Self {
            dir,
            programs,
            ports: KNOWN_PORTS.iter().copied().zip(free).collect(),
            background: Vec::new(),
        };
        stage.program("roo", &exec(&[&roo_binary().display().to_string()]))?;
        stage.program("nc", NC)?;
        // Where the workspace is, whatever the directory of the page.
        let cargo = real("cargo")?;
        let there = root().display().to_string();
        let text = format!("#!/bin/sh\ncd '{there}' && exec '{cargo}' \"$@\"\n");
        stage.program("cargo", &text)?;
        Ok(stage)
    }

    fn program(&self, name: &str, text: &str) -> Result<()> {
        let path = self.programs.join(name);
        fs::write(&path, text)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    /// A file of the page.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.join(name);
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        Ok(fs::write(path, self.inward(text))?)
    }

    /// A lone server that answers all words.
    pub(super) fn serve(&mut self) -> Result<()> {
        self.begin(&Exchange {
            command: "roo server 2181 data -D4lw.commands.whitelist=*".into(),
            answer: ["...", "  listening  ...", "..."].map(str::to_owned).into(),
        })
    }

    /// Runs a command to its end and compares.
    pub(super) fn run(&self, exchange: &Exchange, fails: bool) -> Result<()> {
        let (status, said) = self.execute(exchange)?;
        let lines: Vec<&str> = said.lines().collect();
        ensure!(
            pattern::fits(&exchange.answer, &lines),
            "{}",
            differs(exchange, &said)
        );
        ensure!(
            status.success() != fails,
            "$ {}\nended with {status}\n{said}",
            exchange.command
        );
        Ok(())
    }

    /// Runs a command until it says what it should.
    pub(super) fn await_answer(&self, exchange: &Exchange, fails: bool) -> Result<()> {
        let began = Instant::now();
        loop {
            match self.run(exchange, fails) {
                Err(error) if began.elapsed() > PATIENCE => return Err(error),
                Err(_) => pause(Duration::from_millis(100)),
                Ok(()) => return Ok(()),
            }
        }
    }

    fn execute(&self, exchange: &Exchange) -> Result<(ExitStatus, String)> {
        let output = self.dir.with_file_name("output.txt");
        let mut child = self.command(&exchange.command, &output)?.spawn()?;
        let Some(status) = await_child(&mut child, LIMIT)? else {
            bail!(
                "$ {}\ndid not end within {LIMIT:?}:\n{}",
                exchange.command,
                self.said(&output)
            );
        };
        Ok((status, self.said(&output)))
    }

    /// Starts a command that goes on, and waits until it has said this.
    pub(super) fn begin(&mut self, exchange: &Exchange) -> Result<()> {
        let number = self.background.len();
        let output = self.dir.with_file_name(format!("background-{number}.txt"));
        let exec = format!("exec {}", exchange.command);
        let child = self.command(&exec, &output)?.spawn()?;
        self.background.push((child, output.clone()));
        let began = Instant::now();
        loop {
            // Ports that it has chosen itself are known from now on.
            self.learn_ports(&output)?;
            let said = self.said(&output);
            let lines: Vec<&str> = said.lines().collect();
            if pattern::begins(&exchange.answer, &lines) {
                return Ok(());
            }
            let ended = match self.background.last_mut() {
                Some((child, _)) => child.try_wait()?.is_some(),
                None => true,
            };
            ensure!(
                !ended && began.elapsed() < PATIENCE,
                "{}",
                differs(exchange, &said)
            );
            pause(Duration::from_millis(10));
        }
    }

    /// `roo ensemble up` takes the first free ports from 2181 on.
    fn learn_ports(&mut self, output: &Path) -> Result<()> {
        let said = String::from_utf8_lossy(&fs::read(output)?).into_owned();
        let list = said.split_once("connect  zkCli.sh -server ");
        let Some((list, _)) = list.and_then(|(_, list)| list.split_once('\n')) else {
            return Ok(());
        };
        for (known, address) in KNOWN_PORTS.iter().zip(list.split(',')) {
            if let Some((_, port)) = address.rsplit_once(':') {
                self.ports.insert(*known, port.parse()?);
            }
        }
        Ok(())
    }

    fn command(&self, text: &str, output: &Path) -> Result<Command> {
        let shim = self.programs.join("python3");
        if text.contains("python3 ") && !text.contains("venv") && !shim.exists() {
            let python = python_with_kazoo()?.display().to_string();
            self.program("python3", &exec(&[&python]))?;
        }
        if text.contains("zkCli.sh") {
            let path = apache::class_path()?;
            let path = path.to_string_lossy().into_owned();
            let main = "org.apache.zookeeper.ZooKeeperMain";
            // Or what it says of the connection comes in the midst of what it answers.
            let wait = "-waitforconnection";
            self.program("zkCli.sh", &exec(&["java", "-cp", &path, main, wait]))?;
        }
        let file = File::create(output).with_context(|| output.display().to_string())?;
        let path = env::var("PATH").unwrap_or_default();
        let port = self.ports.get(&2181).copied().unwrap_or(2181);
        let mut command = Command::new("bash");
        command
            .arg("-c")
            .arg(self.inward(text))
            .current_dir(&self.dir)
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file);
        // Without a word about the port it is the usual one, on this machine.
        if text == "exec roo server" {
            command
                .env("ROO_CLIENT_PORT", port.to_string())
                .env("ROO_CLIENT_PORT_ADDRESS", "127.0.0.1");
        } else {
            command.env("ROO_SERVERS", format!("127.0.0.1:{port}"));
        }
        Ok(command)
    }

    fn said(&self, output: &Path) -> String {
        let said = fs::read(output).unwrap_or_default();
        self.outward(&without_colours(&String::from_utf8_lossy(&said)))
    }

    /// The ports of a page become those that are free.
    fn inward(&self, text: &str) -> String {
        replace_ports(text, |port| self.ports.get(&port).copied())
    }

    fn outward(&self, text: &str) -> String {
        let known = |port| self.ports.iter().find(|(_, free)| **free == port);
        replace_ports(text, |port| known(port).map(|(known, _)| *known))
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // As ctrl-C would; what has ended already does not mind.
        for (child, _) in self.background.iter_mut().rev() {
            let _ = Command::new("kill")
                .arg(child.id().to_string())
                .stderr(Stdio::null())
                .status();
            let began = Instant::now();
            while matches!(child.try_wait(), Ok(None)) {
                if began.elapsed() > PATIENCE {
                    let _ = child.kill();
                }
                pause(Duration::from_millis(5));
            }
        }
    }
}

/// Where a program is that one of the stage's own stands before.
fn real(name: &str) -> Result<String> {
    let path = env::var_os("PATH").unwrap_or_default();
    let place = env::split_paths(&path).map(|dir| dir.join(name));
    let found = place.into_iter().find(|file| file.is_file());
    let found = found.with_context(|| format!("{name} is not in the PATH"))?;
    Ok(found.display().to_string())
}

fn exec(words: &[&str]) -> String {
    let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
    format!("#!/bin/sh\nexec {} \"$@\"\n", quoted.join(" "))
}

fn differs(exchange: &Exchange, said: &str) -> String {
    format!(
        "$ {}\n--- the page says\n{}\n--- it says\n{}",
        exchange.command,
        exchange.answer.join("\n"),
        said.trim_end()
    )
}

/// Some programs paint wherever they write.
fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\u{1b}[");
    let first = pieces.next().unwrap_or_default().to_owned();
    pieces.fold(first, |text, piece| {
        let painted = piece.split_once('m').map_or(piece, |(_, rest)| rest);
        text + painted
    })
}

/// Replaces numbers that stand alone.
fn replace_ports(text: &str, other: impl Fn(u16) -> Option<u16>) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    let mut alone = true;
    while let Some(first) = rest.chars().next() {
        let digits = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
        let width = if digits > 0 { digits } else { first.len_utf8() };
        let (token, behind) = rest.split_at(width);
        let ends = !behind.starts_with(|c: char| c.is_alphanumeric() || c == '_');
        let port = token.parse().ok().and_then(&other);
        match port.filter(|_| digits > 0 && alone && ends) {
            Some(port) => out.push_str(&port.to_string()),
            None => out.push_str(token),
        }
        alone = digits == 0 && !first.is_alphanumeric() && first != '_' && first != '.';
        rest = behind;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_not_compared() {
        assert_eq!(without_colours("a\u{1b}[0mb\u{1b}[1;31mc"), "abc");
    }

    #[test]
    fn only_numbers_that_stand_alone_are_ports() {
        let other = |port| (port == 2181).then_some(7);
        assert_eq!(replace_ports("a:2181,b:2181;2181", other), "a:7,b:7;7");
        assert_eq!(
            replace_ports("12181 2181x x2181 0.2181", other),
            "12181 2181x x2181 0.2181"
        );
        assert_eq!(replace_ports("clientPort=2181\n", other), "clientPort=7\n");
    }
}
