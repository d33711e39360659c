//! What to do when nobody can tell whether a write took effect: ask, in the same session, behind a
//! write that does nothing.
//!
//! That write is what makes the answer certain. What was under way when its connection broke has
//! either reached the leader before this session came to another server, and then it is ordered
//! before, or it never will: the leader refuses it as that of a session that has moved. And a
//! server answers a write when it has applied all that is ordered before it. A read alone may be
//! served by a server that has yet to learn of the first write, and `sync` waits for what was
//! proposed on some servers, for what was committed on others.

use crate::Acl;
use crate::{
    Client, CreateOptions, Error, ErrorKind, NodeKind, Result, Stat, Version, WatchEnd, Zxid,
};

use super::names::{child, uuid};

/// Whether a call was cut off, so that it is to be asked what became of it.
pub(super) fn is_cut_off(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionLoss)
}

pub(super) fn is(error: &Error, kind: &ErrorKind) -> bool {
    error.kind() == kind
}

/// Waits until this session sees all that anybody was answered before.
pub(super) async fn catch_up(client: &Client, path: &str) -> Result<()> {
    loop {
        match client.sync(path).await {
            Err(error) if is_cut_off(&error) => {}
            other => return other,
        }
    }
}

/// Waits until what this session wrote before has come about or never will: what is read then is
/// the outcome.
pub(super) async fn settle(client: &Client, path: &str) -> Result<()> {
    // Nobody has a node of this name, so that it is refused, and refusals are ordered too.
    let name = format!("_c_{}-fence", uuid(client.unique()));
    let fence = child(path, &name);
    loop {
        match client.delete(&fence, Version::Any).await {
            Ok(()) => return Ok(()),
            Err(error) if is_cut_off(&error) => {}
            Err(error) if error.session_lost() || is(&error, &ErrorKind::TimedOut) => {
                return Err(error);
            }
            Err(_) => return Ok(()),
        }
    }
}

/// The present node at `path`, if this session owns it.
pub(super) async fn owned(client: &Client, path: &str) -> Result<Option<Stat>> {
    let stat = client.exists(path).await?;
    Ok(stat.filter(|stat| stat.ephemeral_owner == client.session_id().0))
}

/// The same, when all that was written before has come about or never will.
pub(super) async fn settled(client: &Client, path: &str) -> Result<Option<Stat>> {
    settle(client, path).await?;
    owned(client, path).await
}

/// A directory for a recipe: a container, so that it goes when it is no longer used, with
/// persistent ancestors.
pub(super) async fn directory(client: &Client, path: &str, acl: &[Acl]) -> Result<()> {
    loop {
        let options = CreateOptions {
            kind: NodeKind::Container,
            acl: acl.to_vec(),
            no_data: false,
        };
        match client.create(path, b"", options).await {
            Ok(_) => return Ok(()),
            Err(error) if is(&error, &ErrorKind::NodeExists) => return Ok(()),
            Err(error) if is(&error, &ErrorKind::NoNode) => client.create_parents(path).await?,
            Err(error) if is_cut_off(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// A node that was made: its name and the zxid of its creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Made {
    pub(super) name: String,
    pub(super) zxid: Zxid,
}

/// Makes `directory/prefix<sequence>` for this session, exactly once however often the connection
/// breaks: no other name begins with `prefix`.
pub(super) async fn make_sequential(
    client: &Client,
    dir: &str,
    prefix: &str,
    data: &[u8],
    acl: &[Acl],
) -> Result<Made> {
    loop {
        let options = CreateOptions {
            kind: NodeKind::EphemeralSequential,
            acl: acl.to_vec(),
            no_data: false,
        };
        match client.create(&child(dir, prefix), data, options).await {
            Ok(created) => {
                return Ok(Made {
                    name: last_component(&created.path).to_owned(),
                    zxid: Zxid(created.stat.czxid),
                });
            }
            Err(error) if is(&error, &ErrorKind::NoNode) => directory(client, dir, acl).await?,
            Err(error) if is_cut_off(&error) => {
                if let Some(made) = find(client, dir, prefix).await? {
                    return Ok(made);
                }
            }
            Err(error) => return Err(error),
        }
    }
}

/// This session's node in `dir` whose name begins with `prefix`, after all that was written before.
pub(super) async fn find(client: &Client, dir: &str, prefix: &str) -> Result<Option<Made>> {
    settle(client, dir).await?;
    let names = match client.children(dir).await {
        Ok(children) => children.names,
        Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(None),
        Err(error) => return Err(error),
    };
    for name in names.into_iter().filter(|name| name.starts_with(prefix)) {
        if let Some(stat) = owned(client, &child(dir, &name)).await? {
            let zxid = Zxid(stat.czxid);
            return Ok(Some(Made { name, zxid }));
        }
    }
    Ok(None)
}

/// Deletes `path`; that it is gone already is as good. Only for names that are never used again.
pub(super) async fn delete(client: &Client, path: &str) -> Result<()> {
    loop {
        match client.delete(path, Version::Any).await {
            Ok(()) => return Ok(()),
            Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(()),
            Err(error) if is_cut_off(&error) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Deletes the node at `path` that was made at `czxid`, and no later one of that name.
pub(super) async fn delete_made_at(client: &Client, path: &str, czxid: Zxid) -> Result<()> {
    loop {
        match client.exists(path).await? {
            Some(stat) if stat.czxid == czxid.0 => {}
            _ => return Ok(()),
        }
        match client.delete(path, Version::Any).await {
            Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(()),
            Err(error) if is_cut_off(&error) => settle(client, path).await?,
            other => return other,
        }
    }
}

/// What follows from the end of a watch: an error when the session has ended, and else that one
/// must look again.
pub(super) fn look_again(end: WatchEnd, path: &str) -> Result<()> {
    let kind = match end {
        WatchEnd::Removed | WatchEnd::Lagged => return Ok(()),
        WatchEnd::SessionExpired => ErrorKind::SessionExpired,
        WatchEnd::AuthFailed => ErrorKind::AuthFailed,
        WatchEnd::Closed => ErrorKind::Closed,
    };
    Err(Error::new(kind, "watch").at(path))
}

/// What stands in a node is not what the recipe keeps there.
pub(super) fn bad_data(path: &str, what: &str) -> Error {
    Error::new(ErrorKind::BadArguments(what.to_owned()), "read").at(path)
}

/// The part of `path` behind its last slash.
pub(super) fn last_component(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
