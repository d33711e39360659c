//! The commands of zkCli, each with its options, its output and its words for what goes wrong.
//!
//! By what they do: [`read`], [`mod@write`], [`quota`], [`admin`], [`watches`].

mod acl;
mod admin;
mod quota;
mod read;
mod watches;
mod write;

use super::Shell;
use super::options::Given;
use super::table::Spec;
use crate::connect::Failure;

/// Runs a command that needs a session.
pub(super) async fn run(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    match spec.name {
        "ls" => read::ls(shell, spec, given).await,
        "get" => read::get(shell, spec, given).await,
        "stat" => read::stat(shell, spec, given).await,
        "getAcl" => read::get_acl(shell, spec, given).await,
        "getAllChildrenNumber" => read::count(shell, spec, given).await,
        "getEphemerals" => read::ephemerals(shell, given).await,
        "create" => write::create(shell, spec, given).await,
        "set" => write::set(shell, spec, given).await,
        "setAcl" => write::set_acl(shell, spec, given).await,
        "delete" => write::delete(shell, spec, given).await,
        "deleteall" => write::delete_all(shell, spec, given).await,
        "setquota" => quota::set(shell, spec, given).await,
        "listquota" => quota::list(shell, spec, given).await,
        "delquota" => quota::delete(shell, spec, given).await,
        "config" => admin::config(shell, given).await,
        "reconfig" => admin::reconfig(shell, spec, given).await,
        "sync" => admin::sync(shell, spec, given).await,
        "whoami" => admin::who_am_i(shell).await,
        "addauth" => admin::add_auth(shell, spec, given).await,
        "version" => admin::version(shell, spec, given),
        "addWatch" => watches::add(shell, spec, given).await,
        "removewatches" => watches::remove(shell, spec, given).await,
        _ => Ok(()),
    }
}

/// The first word, or zkCli's text of usage.
fn path<'g>(spec: &Spec, given: &'g Given) -> Result<&'g str, Failure> {
    given.word(0).ok_or_else(|| Failure::usage(spec.usage()))
}

/// The version that a change is for.
fn version(given: &Given) -> Result<roo_client::Version, Failure> {
    let Some(text) = given.value("v") else {
        return Ok(roo_client::Version::Any);
    };
    let number: i32 = text
        .parse()
        .map_err(|_| Failure::usage("-v argument must be an int value"))?;
    Ok(match number {
        -1 => roo_client::Version::Any,
        number => roo_client::Version::Exactly(number),
    })
}

/// Takes a word too many for a wish to watch, as the zkCli of old did.
fn watch_word(shell: &mut Shell, given: &mut Given, old: &str, new: &str) {
    if given.words.len() > 1 {
        shell.out.note(format!(
            "'{old} path [watch]' has been deprecated. Please use '{new}' instead."
        ));
        given.add("w");
    }
}
