//! Commands that change nodes.

use std::time::Duration;

use roo_client::{CreateOptions, ErrorKind, Multi, NodeKind, Version, acls};
use serde_json::json;

use super::super::Shell;
use super::super::errors::{check_path, check_sequential, keeper, refused};
use super::super::options::Given;
use super::super::output;
use super::super::progress::Progress;
use super::super::table::Spec;
use super::super::walk::Walk;
use super::acl;
use crate::connect::{Exit, Failure};

/// Bytes of a transaction's requests that always fit into a packet.
const TRANSACTION_MAX: usize = 900_000;
/// The longest time to live, in ms.
const TTL_MAX: i64 = (1 << 40) - 1;

/// `create`.
pub(super) async fn create(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    let kind = kind(&given)?;
    let data = match (given.word(1), given.has("base64")) {
        (Some(text), true) => Some(decoded(text)?),
        (Some(text), false) => Some(text.as_bytes().to_vec()),
        (None, _) => None,
    };
    let acl = match given.word(2) {
        Some(text) => acl::parse(&mut shell.out, text),
        None => acls::open(),
    };
    if kind.is_sequential() {
        check_sequential(path)?;
    } else {
        check_path(path)?;
    }
    if acl.is_empty() {
        shell.out.note("KeeperErrorCode = InvalidACL");
        return Err(Failure::failed("Acl is not valid : null"));
    }
    let client = shell.client()?;
    if given.has("parents") {
        let made = client.create_parents(path).await;
        made.map_err(|error| refused(&error, error.path().unwrap_or(path)))?;
    }
    let mut options = CreateOptions::new(kind, acl);
    options.no_data = data.is_none();
    let done = client
        .create(path, data.as_deref().unwrap_or_default(), options)
        .await;
    let created = done.map_err(|error| {
        match error.kind() {
            ErrorKind::EphemeralOnLocalSession => shell
                .out
                .note("Unable to create ephemeral node on a local session"),
            ErrorKind::InvalidAcl => shell.out.note(keeper(error.code(), path)),
            _ => {}
        }
        refused(&error, path)
    })?;
    if shell.out.json {
        let stat = output::stat_json(&created.stat);
        return shell
            .out
            .json(&json!({ "path": created.path, "stat": stat }));
    }
    shell.out.note(format!("Created {}", created.path));
    Ok(())
}

/// What kind of node the options ask for; the refusals are zkCli's.
fn kind(given: &Given) -> Result<NodeKind, Failure> {
    let (ephemeral, sequential) = (given.has("e"), given.has("s"));
    let (container, ttl) = (given.has("c"), given.has("t"));
    if container && (ephemeral || sequential) {
        return Err(Failure::usage(
            "-c cannot be combined with -s or -e. Containers cannot be ephemeral or sequential.",
        ));
    }
    let ttl_ms = match given.value("t") {
        None => 0,
        Some(text) => text
            .parse::<i64>()
            .map_err(|_| Failure::usage("-t argument must be a long value"))?,
    };
    if ttl && ephemeral {
        return Err(Failure::usage("TTLs cannot be used with Ephemeral znodes"));
    }
    if ttl && container {
        return Err(Failure::usage("TTLs cannot be used with Container znodes"));
    }
    if ttl && !(1..=TTL_MAX).contains(&ttl_ms) {
        return Err(Failure::usage(format!(
            "ttl must be positive and cannot be larger than: {TTL_MAX}"
        )));
    }
    let lifetime = Duration::from_millis(ttl_ms.unsigned_abs());
    Ok(match (ephemeral, sequential, container, ttl) {
        (true, true, _, _) => NodeKind::EphemeralSequential,
        (true, false, _, _) => NodeKind::Ephemeral,
        (_, true, _, true) => NodeKind::PersistentSequentialTtl(lifetime),
        (_, true, _, false) => NodeKind::PersistentSequential,
        (_, _, true, _) => NodeKind::Container,
        (_, _, _, true) => NodeKind::PersistentTtl(lifetime),
        _ => NodeKind::Persistent,
    })
}

fn decoded(text: &str) -> Result<Vec<u8>, Failure> {
    output::from_base64(text)
        .map_err(|error| Failure::usage(format!("the data is not base64: {error}")))
}

/// `set`.
pub(super) async fn set(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let (Some(path), Some(text)) = (given.word(0), given.word(1)) else {
        return Err(Failure::usage(spec.usage()));
    };
    let data = if given.has("b") {
        decoded(text)?
    } else {
        text.as_bytes().to_vec()
    };
    let version = super::version(&given)?;
    check_path(path)?;
    let done = shell.client()?.set(path, data, version).await;
    let stat = done.map_err(|error| refused(&error, path))?;
    if shell.out.json {
        let stat = output::stat_json(&stat);
        return shell.out.json(&json!({ "path": path, "stat": stat }));
    }
    if given.has("s") {
        shell.out.stat(&stat)?;
    }
    Ok(())
}

/// `setAcl`, of one node or of all below it.
pub(super) async fn set_acl(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let (Some(path), Some(text)) = (given.word(0), given.word(1)) else {
        return Err(Failure::usage(spec.usage()));
    };
    let acl = acl::parse(&mut shell.out, text);
    let version = super::version(&given)?;
    check_path(path)?;
    if acl.is_empty() {
        return Err(Failure::failed("Acl is not valid : null"));
    }
    let client = shell.client()?;
    if !given.has("R") {
        let done = client.set_acl(path, &acl, version).await;
        let stat = done.map_err(|error| refused(&error, path))?;
        if shell.out.json {
            let stat = output::stat_json(&stat);
            return shell.out.json(&json!({ "path": path, "stat": stat }));
        }
        if given.has("s") {
            shell.out.stat(&stat)?;
        }
        return Ok(());
    }
    let tree = Walk::new(&client, path).children().await;
    let paths = tree.paths()?;
    let (mut changed, mut left) = (0_u64, 0_u64);
    for node in &paths {
        match client.set_acl(node, &acl, version).await {
            Ok(_) => changed += 1,
            Err(error) if matches!(error.kind(), ErrorKind::NoNode) && *node != path => {}
            Err(error) if error.session_lost() || error.outcome_unknown() => {
                let why = refused(&error, node).text;
                let all = paths.len();
                return Err(Failure::new(
                    Exit::Lost,
                    format!("{why}: {changed} of {all} nodes have the new ACL"),
                ));
            }
            Err(error) => {
                left += 1;
                shell.out.line(keeper(error.code(), node))?;
            }
        }
    }
    if left > 0 {
        let exit = if changed > 0 {
            Exit::HalfDone
        } else {
            Exit::Failed
        };
        let all = paths.len();
        return Err(Failure::new(
            exit,
            format!("{left} of {all} nodes keep their old ACL"),
        ));
    }
    if shell.out.json {
        return shell.out.json(&json!({ "path": path, "changed": changed }));
    }
    Ok(())
}

/// `delete`.
pub(super) async fn delete(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    if given.words.len() > 1 {
        shell.out.note(
            "'delete path [version]' has been deprecated. Please use 'delete [-v version] path' \
             instead.",
        );
    }
    let version = super::version(&given)?;
    check_path(path)?;
    let done = shell.client()?.delete(path, version).await;
    done.map_err(|error| refused(&error, path))?;
    if shell.out.json {
        return shell.out.json(&json!({ "deleted": path }));
    }
    Ok(())
}

/// `deleteall`: leaves first, in transactions.
pub(super) async fn delete_all(
    shell: &mut Shell,
    spec: &Spec,
    given: Given,
) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    let batch = match given.value("b").map(str::parse::<i32>) {
        None => 1000,
        Some(Ok(number)) => usize::try_from(number).unwrap_or(1).max(1),
        Some(Err(_)) => return Err(Failure::usage("-b argument must be an int value")),
    };
    check_path(path)?;
    let client = shell.client()?;
    let tree = Walk::new(&client, path).children().await;
    let mut paths = tree.paths_by_level()?;
    paths.reverse();
    let progress = shell.doing.begin(&shell.out, "deleting", paths.len());
    let deleted = delete_paths(&client, &paths, batch, &progress).await;
    drop(progress);
    match deleted {
        Ok(()) if shell.out.json => {
            let count = paths.len();
            shell.out.json(&json!({ "deleted": path, "nodes": count }))
        }
        Ok(()) => Ok(()),
        Err((done, why)) => {
            let (all, exit) = (paths.len(), why.exit);
            let exit = match exit {
                Exit::Lost => Exit::Lost,
                _ if done > 0 => Exit::HalfDone,
                exit => exit,
            };
            Err(Failure::new(
                exit,
                format!(
                    "Failed to delete some node(s) in the subtree! {done} of {all} are gone: {why}"
                ),
            ))
        }
    }
}

/// Deletes in this order; an error comes with how many were deleted before it.
async fn delete_paths(
    client: &roo_client::Client,
    paths: &[&str],
    batch: usize,
    progress: &Progress,
) -> Result<(), (usize, Failure)> {
    let mut done = 0;
    while done < paths.len() {
        let mut multi = Multi::new();
        let mut bytes = 0;
        for path in paths.iter().skip(done).take(batch) {
            bytes += path.len() + client.chroot().len() + 32;
            if bytes > TRANSACTION_MAX && !multi.is_empty() {
                break;
            }
            multi = multi.delete(path, Version::Any);
        }
        let count = multi.len();
        client.multi(multi).await.map_err(|error| {
            let at = done + error.failed_op().unwrap_or(0);
            let path = paths.get(at).copied().unwrap_or_default();
            (done, refused(&error, path))
        })?;
        done += count;
        progress.add(count);
    }
    Ok(())
}
