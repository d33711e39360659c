//! `roo snapshot`: sessions and nodes one by one, and whether seals and digest fit.

use std::path::Path;

use anyhow::Result;
use roo_client::acls;
use roo_server::loading::{ReadSnapshot, read_snapshot};
use roo_store::disk::OsDisk;
use roo_store::file_name::{SnapshotFile, list_snapshots};
use serde_json::json;

use super::{Report, directory, json as as_json, settings, words};

/// Shows sessions and nodes; true when all of it could be read.
pub(super) fn dump(path: &Path, report: &mut Report<'_>) -> Result<bool> {
    read(path, report, true)
}

/// Reads all of it; true when it is sound.
pub(super) fn check(path: &Path, report: &mut Report<'_>) -> Result<bool> {
    read(path, report, false)
}

fn read(path: &Path, report: &mut Report<'_>, shows: bool) -> Result<bool> {
    let mut files = list_snapshots(&OsDisk, directory(path))?;
    if !path.is_dir() {
        files.retain(|file| file.path.file_name() == path.file_name());
    }
    anyhow::ensure!(
        !files.is_empty(),
        "{}: no snapshot.ZXID here",
        path.display()
    );
    for file in &files {
        match read_snapshot(&OsDisk, file, &settings()) {
            Ok(read) => {
                if shows {
                    content(&read, report)?;
                }
                summary(file, &read, report)?;
            }
            Err(error) => report.unsound(&file.path, &error)?,
        }
    }
    Ok(report.sound)
}

fn content(read: &ReadSnapshot, report: &mut Report<'_>) -> Result<()> {
    let state = &read.state;
    for (session, timeout_ms) in state.sessions() {
        report.line(
            || format!("session {session} timeout {timeout_ms}"),
            || json!({ "session": as_json::session(session.0), "timeoutMs": timeout_ms }),
        )?;
    }
    let tree = &state.tree;
    for id in std::iter::once(state.root()).chain(tree.descendant_ids(state.root())) {
        let (path, data, stat) = (tree.path_of(id), tree.data(id), tree.persisted(id));
        let acl = tree.acls.list(tree.acl_id(id));
        report.line(
            || {
                let (path, data) = (words::path(&path), words::data(data));
                format!("{path} {data} {} {stat:?}", acls::format(acl))
            },
            || {
                json!({
                    "path": path, "data": as_json::data(data), "acl": as_json::acl(acl),
                    "stat": as_json::stat(&stat),
                })
            },
        )?;
    }
    Ok(())
}

fn summary(file: &SnapshotFile, read: &ReadSnapshot, report: &mut Report<'_>) -> Result<()> {
    let state = &read.state;
    let (nodes, sessions) = (state.tree.node_count(), state.sessions().len());
    let (digest, matches) = (state.digest(), read.digest_matches());
    let stored = read.trailer.digest;
    report.line(
        || {
            let verdict = match (matches, stored) {
                (Some(true), _) => "as the file says",
                (Some(false), _) => "NOT as the file says",
                (None, Some(_)) => "the one in the file is of another moment",
                (None, None) => "none in the file",
            };
            format!(
                "{}: {nodes} nodes, {sessions} sessions, digest {digest} ({verdict})",
                file.path.display()
            )
        },
        || {
            json!({
                "file": file.path, "zxid": as_json::zxid(file.zxid), "nodes": nodes,
                "sessions": sessions, "digest": digest, "digestMatches": matches,
                "digestInFile": stored.map(|stored| json!({
                    "zxid": as_json::zxid(stored.zxid), "version": stored.version,
                    "tree": stored.digest,
                })),
            })
        },
    )?;
    if matches == Some(false) {
        report.unsound(&file.path, &"its digest is not that of its tree")?;
    }
    Ok(())
}
