//! `export`: a subtree into a file or a directory.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use jiff::Timestamp;
use rustix::io::Errno;
use rustix::process::{Pid, test_kill_process};
use serde_json::json;

use super::archive::{self, Entry, FORMAT, NODE_FILE, folder_name};
use crate::connect::{Exit, Failure};
use crate::shell::Shell;
use crate::shell::errors::{check_path, refused};
use crate::shell::walk::{Walk, Whole, wholes};

/// Arguments of `roo export`.
#[derive(Args, Debug)]
pub(crate) struct ExportArguments {
    /// The node that is exported with all below it.
    path: String,
    /// A file; a directory if it ends with / or is one; - for standard output.
    target: String,
    /// Replaces a file that exists. A directory must be empty or new.
    #[arg(long)]
    overwrite: bool,
}

/// What was seen on the way.
#[derive(Default)]
struct Seen {
    nodes: usize,
    ephemeral: usize,
    changed: usize,
    hidden: usize,
}

/// Where the nodes go.
enum Sink {
    Stream(Box<dyn Write>, bool),
    File {
        out: BufWriter<File>,
        unfinished: PathBuf,
        target: PathBuf,
        first: bool,
    },
    Folder {
        unfinished: PathBuf,
        target: PathBuf,
    },
}

/// Exports.
pub(super) async fn run(shell: &mut Shell, arguments: &ExportArguments) -> Result<(), Failure> {
    let path = arguments.path.as_str();
    check_path(path)?;
    let client = shell.client()?;
    // What is read from here on is at least as new as everything that was written before.
    let synced = client.sync(path).await;
    synced.map_err(|error| refused(&error, path))?;
    let began = client.last_zxid();
    let tree = Walk::new(&client, path).children().await;
    let paths = tree.paths()?;
    let mut sink = Sink::open(arguments)?;
    let progress = shell.doing.begin(&shell.out, "exporting", paths.len());
    let mut seen = Seen::default();
    let mut done = sink.begin(path);
    if done.is_ok() {
        let written = wholes(&client, &paths, |whole| {
            seen.count(&whole, began.0);
            sink.put(path, &whole)?;
            progress.add(1);
            Ok(())
        });
        done = written.await;
    }
    drop(progress);
    shell.doing.clear();
    let done = done.and_then(|()| sink.end());
    if let Err(failure) = done {
        sink.abandon();
        return Err(failure);
    }
    seen.tell(shell, arguments)
}

impl Seen {
    fn count(&mut self, whole: &Whole, began: i64) {
        let stat = &whole.node.stat;
        self.nodes += 1;
        self.ephemeral +=
            usize::from(crate::shell::output::kind(stat.ephemeral_owner) == "ephemeral");
        self.changed += usize::from(stat.mzxid > began || stat.pzxid > began);
        self.hidden += usize::from(archive::is_hidden(&whole.acl));
    }

    fn tell(&self, shell: &mut Shell, arguments: &ExportArguments) -> Result<(), Failure> {
        let Self {
            nodes,
            ephemeral,
            changed,
            hidden,
        } = *self;
        if changed > 0 {
            shell.out.note(format!(
                "warning: {changed} nodes changed while they were exported: the file is no snapshot"
            ));
        }
        if hidden > 0 {
            shell.out.note(format!(
                "warning: the ACLs of {hidden} nodes hide their digests from this session, and are \
                 exported so: export with --auth of somebody who may administer them"
            ));
        }
        if shell.out.json && arguments.target != "-" {
            let object = json!({
                "path": arguments.path, "target": arguments.target, "nodes": nodes,
                "ephemeral": ephemeral, "changed": changed, "hidden_acls": hidden,
            });
            return shell.out.json(&object);
        }
        let of_those = match ephemeral {
            0 => String::new(),
            count => format!(", {count} of them ephemeral"),
        };
        let target = &arguments.target;
        let path = &arguments.path;
        shell.out.note(format!(
            "exported {nodes} nodes from {path} to {target}{of_those}"
        ));
        Ok(())
    }
}

/// Whether a name means a directory.
pub(super) fn is_folder(name: &str) -> bool {
    name.ends_with('/') || Path::new(name).is_dir()
}

fn unwritten(path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{} cannot be written: {error}", path.display()))
}

fn unprinted(error: &io::Error) -> Failure {
    match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::Enough, ""),
        _ => unwritten(Path::new("standard output"), error),
    }
}

impl Sink {
    fn open(arguments: &ExportArguments) -> Result<Self, Failure> {
        let name = arguments.target.as_str();
        if name == "-" {
            return Ok(Self::Stream(Box::new(BufWriter::new(io::stdout())), true));
        }
        let target = PathBuf::from(name.trim_end_matches('/'));
        if is_folder(name) {
            let is_taken = fs::read_dir(&target).is_ok_and(|mut found| found.next().is_some());
            if is_taken || target.is_file() {
                return Err(Failure::failed(format!(
                    "{name} is not empty: name a new directory"
                )));
            }
            let unfinished = beside(&target);
            fs::create_dir_all(&unfinished).map_err(|error| unwritten(&unfinished, &error))?;
            return Ok(Self::Folder { unfinished, target });
        }
        if target.exists() && !arguments.overwrite {
            return Err(Failure::failed(format!(
                "{name} exists: name another file, or replace it with --overwrite"
            )));
        }
        let unfinished = beside(&target);
        let out = File::create(&unfinished).map_err(|error| unwritten(&unfinished, &error))?;
        Ok(Self::File {
            out: BufWriter::new(out),
            unfinished,
            target,
            first: true,
        })
    }

    fn begin(&mut self, path: &str) -> Result<(), Failure> {
        let time = Timestamp::now().to_string();
        let head = format!(
            "{{\"roo_export\": {FORMAT}, \"path\": {}, \"time\": {}, \"nodes\": [",
            json!(path),
            json!(time)
        );
        self.text(&head)
    }

    fn text(&mut self, text: &str) -> Result<(), Failure> {
        match self {
            Self::Folder { .. } => Ok(()),
            Self::Stream(out, _) => out
                .write_all(text.as_bytes())
                .map_err(|error| unprinted(&error)),
            Self::File {
                out, unfinished, ..
            } => out
                .write_all(text.as_bytes())
                .map_err(|error| unwritten(unfinished, &error)),
        }
    }

    fn put(&mut self, top: &str, whole: &Whole) -> Result<(), Failure> {
        let below = whole.path.strip_prefix(top).unwrap_or(&whole.path);
        let below = below.trim_start_matches('/');
        if let Self::Folder { unfinished, .. } = self {
            let names = below.split('/').filter(|name| !name.is_empty());
            let folder = names.fold(unfinished.clone(), |folder, name| {
                folder.join(folder_name(name))
            });
            fs::create_dir_all(&folder).map_err(|error| unwritten(&folder, &error))?;
            let text = serde_json::to_string_pretty(&Entry::new(whole, None));
            let text = text.map_err(|error| Failure::failed(error.to_string()))?;
            let file = folder.join(NODE_FILE);
            return fs::write(&file, text + "\n").map_err(|error| unwritten(&file, &error));
        }
        let entry = Entry::new(whole, Some(below.to_owned()));
        let text = serde_json::to_string(&entry);
        let text = text.map_err(|error| Failure::failed(error.to_string()))?;
        let first = match self {
            Self::Stream(_, first) | Self::File { first, .. } => std::mem::take(first),
            Self::Folder { .. } => false,
        };
        self.text(if first { "\n" } else { ",\n" })?;
        self.text(&text)
    }

    /// Makes it appear under its name.
    fn end(&mut self) -> Result<(), Failure> {
        self.text("\n]}\n")?;
        match self {
            Self::Stream(out, _) => out.flush().map_err(|error| unprinted(&error)),
            Self::File {
                out,
                unfinished,
                target,
                ..
            } => {
                let written = out.flush().and_then(|()| out.get_ref().sync_all());
                written
                    .and_then(|()| appear(unfinished, target))
                    .map_err(|error| unwritten(target, &error))
            }
            Self::Folder { unfinished, target } => {
                // All its files in one go, however many there are.
                rustix::fs::sync();
                // An empty directory is replaced.
                appear(unfinished, target).map_err(|error| unwritten(target, &error))
            }
        }
    }

    /// Leaves nothing behind.
    fn abandon(&self) {
        match self {
            Self::Stream(..) => {}
            // What cannot be removed bears a name that says what it is.
            Self::File { unfinished, .. } => drop(fs::remove_file(unfinished)),
            Self::Folder { unfinished, .. } => drop(fs::remove_dir_all(unfinished)),
        }
    }
}

/// Gives what is complete its name, so that it has it after a power failure too.
fn appear(unfinished: &Path, target: &Path) -> io::Result<()> {
    fs::rename(unfinished, target)?;
    File::open(parent(target))?.sync_all()
}

fn parent(target: &Path) -> &Path {
    let parent = target.parent();
    let parent = parent.filter(|parent| !parent.as_os_str().is_empty());
    parent.unwrap_or(Path::new("."))
}

/// The name of what is not complete yet, with the number of the process that writes it. What
/// exports that were killed have left of the same target goes.
fn beside(target: &Path) -> PathBuf {
    let name = target.file_name().and_then(|name| name.to_str());
    let prefix = format!(".{}.unfinished-", name.unwrap_or("export"));
    let found = fs::read_dir(parent(target)).into_iter().flatten().flatten();
    for left in found {
        let name = left.file_name();
        let writer = name.to_str().and_then(|name| name.strip_prefix(&prefix));
        let writer = writer.and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        if writer.is_some_and(|pid| test_kill_process(pid) == Err(Errno::SRCH)) {
            // What cannot be removed stands in nobody's way.
            let _ = fs::remove_file(left.path()).or_else(|_| fs::remove_dir_all(left.path()));
        }
    }
    target.with_file_name(format!("{prefix}{}", std::process::id()))
}
