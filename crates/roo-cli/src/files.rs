//! `roo log` and `roo snapshot`: what is in the files, ours or Apache's, and whether it is sound.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use roo_proto::ids::Zxid;
use roo_proto::txn;
use roo_server::loading::{LoadSettings, load_snapshot};
use roo_state::state::{Rules, State};
use roo_store::disk::{Disk, OsDisk};
use roo_store::error::StoreError;
use roo_store::file_name::{SnapshotFile, list_logs, list_snapshots};
use roo_store::log::reader::{Ending, FileReader, LogReader};

/// Longest record that is shown.
const MAX_RECORD: usize = i32::MAX as usize;

/// Arguments of `roo log` and `roo snapshot`.
#[derive(Args, Debug)]
pub(crate) struct FileArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Shows the content, a line for each record or node.
    Dump {
        /// A file, or the directory that holds such files.
        path: PathBuf,
    },
    /// Says whether it is sound; the exit code is 1 when it is not.
    Check {
        /// A file, or the directory that holds such files.
        path: PathBuf,
    },
}

impl Action {
    fn path(&self) -> &Path {
        match self {
            Self::Dump { path } | Self::Check { path } => path,
        }
    }

    const fn shows(&self) -> bool {
        matches!(self, Self::Dump { .. })
    }
}

/// `roo log`: single files one by one; a directory also for records missing between them.
pub(crate) fn logs(arguments: &FileArguments) -> Result<ExitCode> {
    let disk: Arc<dyn Disk> = Arc::new(OsDisk);
    let (path, shows) = (arguments.action.path(), arguments.action.shows());
    if !path.is_dir() {
        log_file(disk.as_ref(), path, shows)?;
        return Ok(ExitCode::SUCCESS);
    }
    let logs = list_logs(disk.as_ref(), path)?;
    let first = logs.first().context("no log.ZXID in this directory")?;
    for log in &logs {
        log_file(disk.as_ref(), &log.path, shows)?;
    }
    let before_first = Zxid(first.zxid.0.saturating_sub(1));
    let mut all = LogReader::after(Arc::clone(&disk), path, before_first, MAX_RECORD)?;
    while all.next_record()?.is_some() {}
    println!(
        "{}: {} records without a gap, up to {}",
        path.display(),
        all.records(),
        all.last_zxid()
    );
    Ok(ExitCode::SUCCESS)
}

fn log_file(disk: &dyn Disk, path: &Path, shows: bool) -> Result<()> {
    let mut reader = FileReader::open(disk, path, MAX_RECORD)?;
    let mut records = 0;
    while let Some(record) = reader.next_record()? {
        records += 1;
        let (header, txn, digest) = txn::decode_record(record.payload).map_err(|error| {
            let (file, offset) = (path.to_path_buf(), record.offset);
            let advice = "the file is not as a server writes it".into();
            StoreError::Corrupt {
                file,
                offset,
                what: error.to_string(),
                advice,
            }
        })?;
        if shows {
            let digest = digest.map_or_else(String::new, |d| {
                format!(" digest {}", d.tree_digest.cast_unsigned())
            });
            println!(
                "{:>10} {} time {} session 0x{:x} cxid {} {txn:?}{digest}",
                record.offset, header.zxid, header.time, header.client_id, header.cxid
            );
        }
    }
    match reader.ending() {
        Some(Ending::Torn(tail)) => println!(
            "{}: {records} records, then {} bytes of one that was never finished",
            path.display(),
            tail.bytes
        ),
        _ => println!("{}: {records} records", path.display()),
    }
    Ok(())
}

/// `roo snapshot`.
pub(crate) fn snapshots(arguments: &FileArguments) -> Result<ExitCode> {
    let disk = OsDisk;
    let (path, shows) = (arguments.action.path(), arguments.action.shows());
    let dir = if path.is_dir() {
        path
    } else {
        path.parent().unwrap_or(Path::new("."))
    };
    let dir = if dir.as_os_str().is_empty() {
        Path::new(".")
    } else {
        dir
    };
    let name = path.file_name();
    let files: Vec<SnapshotFile> = list_snapshots(&disk, dir)?
        .into_iter()
        .filter(|file| path.is_dir() || file.path.file_name() == name)
        .collect();
    anyhow::ensure!(
        !files.is_empty(),
        "{}: no snapshot.ZXID here",
        path.display()
    );
    let settings = LoadSettings {
        rules: Rules {
            extended_types: true,
            ..Rules::default()
        },
        hash_seed: 1,
        max_record: MAX_RECORD,
        trust_empty: false,
    };
    let mut sound = true;
    for file in &files {
        match load_snapshot(&disk, file, &settings) {
            Ok((state, _)) => show(file, &state, shows),
            Err(error) => {
                eprintln!("roo: {error}");
                sound = false;
            }
        }
    }
    Ok(if sound {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn show(file: &SnapshotFile, state: &State, shows: bool) {
    let tree = &state.tree;
    if shows {
        for (session, timeout_ms) in state.sessions() {
            println!("session {session} timeout {timeout_ms}");
        }
        for id in std::iter::once(state.root()).chain(tree.descendant_ids(state.root())) {
            let data = tree
                .data(id)
                .map_or_else(|| "null".into(), |d| format!("\"{}\"", d.escape_ascii()));
            let acl: Vec<String> = tree
                .acls
                .list(tree.acl_id(id))
                .iter()
                .map(|acl| format!("{}:{}:{}", acl.id.scheme, acl.id.id, acl.perms))
                .collect();
            println!(
                "{} {data} {} {:?}",
                tree.path_of(id),
                acl.join(","),
                tree.persisted(id)
            );
        }
    }
    println!(
        "{}: {} nodes, {} sessions, digest {}",
        file.path.display(),
        tree.node_count(),
        state.sessions().len(),
        state.digest()
    );
}
