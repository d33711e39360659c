//! Who is there.

use bytes::Bytes;

use crate::Acl;
use crate::{
    Client, CreateOptions, ErrorKind, NodeKind, OneWatch, Result, SessionId, Version, Zxid, acls,
};

use super::line::Lost;
use super::names::child;
use super::outcome::{
    delete_made_at, directory, is, is_cut_off, look_again, owned, settle, settled,
};

/// A group whose members are there for as long as their sessions live. Curator: `GroupMember`.
///
/// # Guarantees
/// - A member is listed from the time [`Group::join`] returned until it leaves or its session ends.
/// - Two living sessions are not members under one id.
/// - [`Group::changed`] wakes at least once after the last of several changes.
///
/// # When things go wrong
/// - *Disconnected*, *clock stands still*: a member stays listed for as long as its session lives,
///   so that one that is listed may be dead for up to its session's timeout.
/// - *Session lost*: the member is gone, [`Membership::lost`] says so; join again with a new client.
/// - *Outcome unknown*: joining looks after a reconnection who owns the node.
///
/// # Nodes
/// `<id>` below the path, ephemeral, with the member's data.
///
/// ```no_run
/// # async fn example(client: roo_client::Client) -> roo_client::Result<()> {
/// use roo_client::recipes::Group;
/// let group = Group::new(&client, "/services/search");
/// let membership = group.join("host-1", "10.0.0.1:8080").await?;
/// for member in group.members().await? {
///     println!("{} at {:?}", member.id, member.data);
/// }
/// membership.leave().await
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct Group {
    client: Client,
    path: String,
    acl: Vec<Acl>,
}

/// One that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its id.
    pub id: String,
    /// What it says of itself.
    pub data: Bytes,
    /// The zxid at which it joined.
    pub joined: Zxid,
    /// Its session.
    pub session: SessionId,
}

impl Group {
    /// The group at `path`; nothing is done yet.
    #[must_use]
    pub fn new(client: &Client, path: &str) -> Self {
        Self {
            client: client.clone(),
            path: path.to_owned(),
            acl: acls::open(),
        }
    }

    /// Joins under an id, without slashes.
    ///
    /// # Errors
    /// [`ErrorKind::NodeExists`] when the id is another session's: perhaps of this very process
    /// before it was started again; see [`Group::join_when_free`]. When the session is lost.
    pub async fn join(&self, id: &str, data: impl AsRef<[u8]>) -> Result<Membership> {
        let path = child(&self.path, id);
        let mut membership = Membership {
            client: self.client.clone(),
            path: path.clone(),
            joined: Zxid::ZERO,
            is_member: true,
        };
        let mut is_unsure = false;
        loop {
            let options = CreateOptions {
                kind: NodeKind::Ephemeral,
                acl: self.acl.clone(),
                no_data: false,
            };
            match self.client.create(&path, data.as_ref(), options).await {
                Ok(created) => {
                    membership.joined = Zxid(created.stat.czxid);
                    return Ok(membership);
                }
                Err(error) if is(&error, &ErrorKind::NodeExists) => {
                    if is_unsure && let Some(stat) = owned(&self.client, &path).await? {
                        membership.joined = Zxid(stat.czxid);
                        return Ok(membership);
                    }
                    membership.is_member = false;
                    return Err(error);
                }
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    directory(&self.client, &self.path, &self.acl).await?;
                }
                Err(error) if is_cut_off(&error) => {
                    settle(&self.client, &path).await?;
                    is_unsure = true;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Joins as soon as the id is no other session's.
    ///
    /// # Errors
    /// When the session is lost.
    pub async fn join_when_free(&self, id: &str, data: impl AsRef<[u8]>) -> Result<Membership> {
        let path = child(&self.path, id);
        loop {
            match self.join(id, data.as_ref()).await {
                Err(error) if is(&error, &ErrorKind::NodeExists) => {}
                other => return other,
            }
            let (present, watch) = self.client.exists_and_watch(&path).await?;
            if present.is_some()
                && let Err(end) = watch.await
            {
                look_again(end, &path)?;
            }
        }
    }

    /// Who is there, by id. A list of a moment, perhaps a little old.
    ///
    /// # Errors
    /// As those of `children` and `get`.
    pub async fn members(&self) -> Result<Vec<Member>> {
        let names = match self.client.children(&self.path).await {
            Ok(children) => children.names,
            Err(error) if is(&error, &ErrorKind::NoNode) => Vec::new(),
            Err(error) => return Err(error),
        };
        self.read(names).await
    }

    /// Who is there, and a watch that fires when somebody comes or goes.
    ///
    /// # Errors
    /// As those of `children` and `get`.
    pub async fn members_and_watch(&self) -> Result<(Vec<Member>, OneWatch)> {
        loop {
            match self.client.children_and_watch(&self.path).await {
                Ok((children, watch)) => return Ok((self.read(children.names).await?, watch)),
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    directory(&self.client, &self.path, &self.acl).await?;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the members are others than `known`, by id and time of joining, and lists them.
    ///
    /// # Errors
    /// When the session is lost; as those of `children` and `get`.
    pub async fn changed(&self, known: &[Member]) -> Result<Vec<Member>> {
        let key = |member: &Member| (member.id.clone(), member.joined);
        let mut before: Vec<_> = known.iter().map(key).collect();
        before.sort_unstable();
        loop {
            let (members, watch) = self.members_and_watch().await?;
            let now: Vec<_> = members.iter().map(key).collect();
            if now != before {
                return Ok(members);
            }
            if let Err(end) = watch.await {
                look_again(end, &self.path)?;
            }
        }
    }

    async fn read(&self, mut names: Vec<String>) -> Result<Vec<Member>> {
        names.sort_unstable();
        let mut members = Vec::with_capacity(names.len());
        for id in names {
            match self.client.get(&child(&self.path, &id)).await {
                Ok(node) => members.push(Member {
                    id,
                    data: node.data,
                    joined: Zxid(node.stat.czxid),
                    session: SessionId(node.stat.ephemeral_owner),
                }),
                Err(error) if is(&error, &ErrorKind::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(members)
    }
}

/// One's own membership. Dropping it leaves some time later; [`Membership::leave`] says when it is
/// done.
#[derive(Debug)]
#[must_use = "dropping it leaves the group"]
pub struct Membership {
    client: Client,
    path: String,
    joined: Zxid,
    is_member: bool,
}

impl Membership {
    /// The zxid at which this member joined.
    #[must_use]
    pub const fn joined(&self) -> Zxid {
        self.joined
    }

    /// Sets what this member says of itself.
    ///
    /// # Errors
    /// As those of `set`.
    pub async fn set_data(&self, data: impl AsRef<[u8]>) -> Result<()> {
        loop {
            match self
                .client
                .set(&self.path, data.as_ref(), Version::Any)
                .await
            {
                Ok(_) => return Ok(()),
                Err(error) if is_cut_off(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits until the membership is lost, and says why.
    pub async fn lost(&self) -> Lost {
        loop {
            let ended = match self.client.exists_and_watch(&self.path).await {
                Ok((Some(stat), watch)) if stat.czxid == self.joined.0 => match watch.await {
                    Ok(_) => Ok(()),
                    Err(end) => look_again(end, &self.path),
                },
                Ok(_) => return Lost::Deleted,
                Err(error) => Err(error),
            };
            match ended {
                Err(error) if is(&error, &ErrorKind::Closed) => return Lost::Closed,
                Err(error) if error.session_lost() => return Lost::Session,
                Err(error) if is_cut_off(&error) => {}
                Err(error) => return Lost::Unknown(error),
                Ok(()) => {}
            }
        }
    }

    /// Leaves, and returns when the servers know it.
    ///
    /// # Errors
    /// When the session is lost, and the membership with it; as those of `delete`.
    pub async fn leave(mut self) -> Result<()> {
        delete_made_at(&self.client, &self.path, self.joined).await?;
        self.is_member = false;
        Ok(())
    }
}

impl Drop for Membership {
    fn drop(&mut self) {
        if !self.is_member {
            return;
        }
        // The id may be another's by the time a delete is repeated, or all along.
        let (client, path, joined) = (self.client.clone(), self.path.clone(), self.joined);
        self.client.background(async move {
            let joined = match joined {
                Zxid::ZERO => match settled(&client, &path).await {
                    Ok(Some(stat)) => Zxid(stat.czxid),
                    _ => return,
                },
                joined => joined,
            };
            let _ = delete_made_at(&client, &path, joined).await;
        });
    }
}
