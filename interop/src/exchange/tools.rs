//! The tools of both for logs and snapshots, on the files that a killed server has left: they must
//! see the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};

use crate::apache;
use crate::servers::roo_binary;

/// The logs are sound for ours, and the newest log and sound snapshot the same for both. Apache
/// writes snapshots in place: the one that it was killed at is no snapshot.
pub(super) fn agree(files: &Path) -> Result<()> {
    roo(&["log", "check"], files)?;
    let log = newest(files, "log.", |_| true)?;
    let (theirs, ours) = (
        java("persistence.TxnLogToolkit", &log)?,
        roo(&["log", "dump"], &log)?,
    );
    let theirs: Vec<&str> = theirs
        .lines()
        .filter_map(|line| word_behind(line, " zxid "))
        .collect();
    let ours: Vec<&str> = ours
        .lines()
        .filter(|line| line.contains(" session 0x"))
        .filter_map(|line| line.split_whitespace().nth(1))
        .collect();
    ensure!(
        !ours.is_empty() && theirs == ours,
        "{}: Apache's tool reads {theirs:?}, ours {ours:?}",
        log.display()
    );
    let is_sound = |path: &Path| roo(&["snapshot", "check"], path).is_ok();
    let snapshot = newest(files, "snapshot.", is_sound)?;
    let theirs = java("SnapshotFormatter", &snapshot)?
        .matches("pZxid = ")
        .count();
    let ours = roo(&["snapshot", "dump"], &snapshot)?
        .lines()
        .filter(|line| line.starts_with('/') && line.contains(" StatPersisted "))
        .count();
    ensure!(
        ours > 0 && theirs == ours,
        "{}: Apache's tool reads {theirs} nodes, ours {ours}",
        snapshot.display()
    );
    Ok(())
}

fn word_behind<'a>(line: &'a str, mark: &str) -> Option<&'a str> {
    line.split_once(mark)?.1.split_whitespace().next()
}

/// The file of the highest zxid that is as it should be; temporary ones have other names.
fn newest(files: &Path, prefix: &str, is_sound: impl Fn(&Path) -> bool) -> Result<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(files)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let zxid = name
            .strip_prefix(prefix)
            .and_then(|rest| rest.split('.').next())
            .and_then(|zxid| u64::from_str_radix(zxid, 16).ok());
        if let Some(zxid) = zxid.filter(|_| !name.contains("tmp")) {
            all.push((zxid, path.clone()));
        }
    }
    all.sort();
    all.into_iter()
        .rev()
        .map(|(_, path)| path)
        .find(|path| is_sound(path))
        .with_context(|| format!("no sound {prefix}* in {}", files.display()))
}

fn roo(words: &[&str], path: &Path) -> Result<String> {
    output(Command::new(roo_binary()).args(words).arg(path))
}

fn java(class: &str, path: &Path) -> Result<String> {
    let class = format!("org.apache.zookeeper.server.{class}");
    let mut java = Command::new("java");
    output(
        java.arg("-cp")
            .arg(apache::class_path()?)
            .arg(class)
            .arg(path),
    )
}

fn output(command: &mut Command) -> Result<String> {
    let output = command
        .output()
        .with_context(|| format!("start {command:?}"))?;
    ensure!(
        output.status.success(),
        "{command:?}: {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}
