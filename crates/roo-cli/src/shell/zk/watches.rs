//! `addWatch` and `removewatches`.

use roo_client::{WatchKind, WatchMode};

use super::super::Shell;
use super::super::errors::{check_path, refused};
use super::super::options::Given;
use super::super::table::Spec;
use crate::connect::Failure;

/// `addWatch`: until the session ends.
pub(super) async fn add(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let usage = || Failure::usage(spec.usage());
    let [path] = given.words.as_slice() else {
        return Err(usage());
    };
    let mode = match given.value("m").map(str::to_uppercase).as_deref() {
        None | Some("PERSISTENT_RECURSIVE") => WatchMode::PersistentRecursive,
        Some("PERSISTENT") => WatchMode::Persistent,
        Some(_) => return Err(usage()),
    };
    check_path(path)?;
    let watch = shell.client()?.watch(path, mode).await;
    let watch = watch.map_err(|error| refused(&error, path))?;
    shell.events.all(watch, path);
    Ok(())
}

/// `removewatches`.
pub(super) async fn remove(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    let kinds = [
        ("c", WatchKind::Children),
        ("d", WatchKind::Data),
        ("p", WatchKind::Persistent),
        ("r", WatchKind::PersistentRecursive),
    ];
    let chosen = kinds.iter().find(|(option, _)| given.has(option));
    let kind = chosen.map_or(WatchKind::Any, |(_, kind)| *kind);
    check_path(path)?;
    let done = shell.client()?.remove_watches(path, kind).await;
    done.map_err(|error| refused(&error, path))
}
