//! People in line: each contender has an ephemeral sequential node in one directory, and who is
//! served is decided by the numbers in the names. Locks, semaphores and elections stand on it.
//!
//! Why the reads may come from a server that lags: a contender's list shows its own node, so it
//! shows every node that was made before, unless that is gone for good. What such a list has too
//! much only makes one wait for a node whose end is then seen at once.

use bytes::Bytes;

use crate::Acl;
use crate::{Client, ErrorKind, Multi, Result, SessionState, Version, Zxid, acls};

use super::names::{Kind, Layout, child, hex, standing};
use super::outcome::{
    self, Made, catch_up, delete, directory, is, is_cut_off, look_again, make_sequential, owned,
    settled,
};

/// How a contender shows itself: what its node is called, says and lets others do.
#[derive(Clone, Debug)]
pub struct ContenderOptions {
    /// Whose names of nodes to use.
    pub layout: Layout,
    /// The data of the node, for whoever asks who contends: by custom a host's address or name.
    pub identifier: Bytes,
    /// Who may do what with the nodes. Contenders must be able to read each other's.
    pub acl: Vec<Acl>,
}

impl Default for ContenderOptions {
    fn default() -> Self {
        Self {
            layout: Layout::default(),
            identifier: Bytes::new(),
            acl: acls::open(),
        }
    }
}

/// One that holds or waits, as others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contender {
    /// Its node.
    pub path: String,
    /// What it says of itself.
    pub identifier: Bytes,
    /// The zxid of its node's creation: its fencing token once it holds.
    pub token: Zxid,
    /// The session that it lives in.
    pub session: crate::SessionId,
}

/// Why something is no longer held.
#[derive(Debug)]
#[non_exhaustive]
pub enum Lost {
    /// The session ended, and its ephemeral nodes with it.
    Session,
    /// The node was deleted by somebody else.
    Deleted,
    /// This client was closed.
    Closed,
    /// It cannot be found out, by this error.
    Unknown(crate::Error),
}

/// What a leader or holder finds in its node's data when it is asked to give way. Curator:
/// `Revoker`.
pub(super) const GIVE_WAY: &[u8] = b"__REVOKE__";

/// A directory in which people stand in line.
#[derive(Clone, Debug)]
pub(super) struct Line {
    pub(super) client: Client,
    pub(super) directory: String,
    pub(super) mark: &'static str,
    pub(super) options: ContenderOptions,
}

/// Whom a contender lets pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// Everybody who came before.
    Everybody,
    /// Those who came before and want to be alone.
    Exclusive,
}

/// What a look at the line shows.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Ahead {
    Nobody,
    /// The last one that is to be waited for.
    Somebody(String),
    /// One's own node is gone.
    SelfGone,
}

impl Line {
    /// Takes a place at the end of the line.
    pub(super) async fn join(&self) -> Result<Place> {
        let prefix = self.options.layout.prefix(self.client.unique(), self.mark);
        let mut place = self.place(prefix);
        let data = &self.options.identifier;
        let acl = &self.options.acl;
        let made = make_sequential(&self.client, &self.directory, &place.prefix, data, acl).await?;
        place.settle(made);
        Ok(place)
    }

    /// Takes a place whose name has no number.
    pub(super) async fn join_unordered(&self) -> Result<Place> {
        let mut place = self.place(hex(self.client.unique()));
        let name = place.prefix.clone();
        let path = child(&self.directory, &name);
        loop {
            let options = crate::CreateOptions {
                kind: crate::NodeKind::Ephemeral,
                acl: self.options.acl.clone(),
                no_data: false,
            };
            let identifier = &self.options.identifier;
            let stat = match self.client.create(&path, identifier, options).await {
                Ok(created) => Some(created.stat),
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    directory(&self.client, &self.directory, &self.options.acl).await?;
                    None
                }
                Err(error) if is_cut_off(&error) => settled(&self.client, &path).await?,
                Err(error) => return Err(error),
            };
            if let Some(stat) = stat {
                let zxid = Zxid(stat.czxid);
                place.settle(Made { name, zxid });
                return Ok(place);
            }
        }
    }

    /// Joins and waits for one's turn.
    pub(super) async fn turn(&self, rule: Rule) -> Result<Place> {
        loop {
            let mut place = self.join().await?;
            if place.wait(rule).await? {
                return Ok(place);
            }
            place.forget();
        }
    }

    /// Joins, and leaves again unless it is one's turn at once.
    pub(super) async fn turn_now(&self, rule: Rule) -> Result<Option<Place>> {
        let place = self.join().await?;
        if place.ahead(rule).await? == Ahead::Nobody {
            return Ok(Some(place));
        }
        place.leave().await?;
        Ok(None)
    }

    /// Who stands in line, those who hold first.
    pub(super) async fn contenders(&self) -> Result<Vec<Contender>> {
        catch_up(&self.client, &self.directory).await?;
        let names = match self.client.children(&self.directory).await {
            Ok(children) => children.names,
            Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut found = Vec::new();
        for name in names.iter().filter(|name| standing(name).is_some()) {
            let path = child(&self.directory, name);
            match self.client.get(&path).await {
                Ok(node) => found.push(Contender {
                    path,
                    identifier: node.data,
                    token: Zxid(node.stat.czxid),
                    session: crate::SessionId(node.stat.ephemeral_owner),
                }),
                Err(error) if is(&error, &ErrorKind::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
        found.sort_by_key(|contender| contender.token);
        Ok(found)
    }

    /// Asks one that holds to give way.
    pub(super) async fn ask_to_give_way(&self, contender: &Contender) -> Result<()> {
        loop {
            let path = &contender.path;
            match self.client.set(path, GIVE_WAY, Version::Any).await {
                Ok(_) => return Ok(()),
                Err(error) if is(&error, &ErrorKind::NoNode) => return Ok(()),
                Err(error) if is_cut_off(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn place(&self, prefix: String) -> Place {
        Place {
            client: self.client.clone(),
            directory: self.directory.clone(),
            prefix,
            made: None,
            is_ours: true,
        }
    }
}

/// A place in line. Dropping it gives it up, also while it is not yet known which it is.
#[derive(Debug)]
pub(super) struct Place {
    client: Client,
    directory: String,
    prefix: String,
    made: Option<Made>,
    is_ours: bool,
}

impl Place {
    fn settle(&mut self, made: Made) {
        self.made = Some(made);
    }

    pub(super) fn name(&self) -> &str {
        self.made.as_ref().map_or("", |made| &made.name)
    }

    pub(super) fn path(&self) -> String {
        child(&self.directory, self.name())
    }

    pub(super) fn token(&self) -> Zxid {
        self.made.as_ref().map_or(Zxid::ZERO, |made| made.zxid)
    }

    /// Waits until nobody is ahead: whether one's own node was still there then.
    pub(super) async fn wait(&self, rule: Rule) -> Result<bool> {
        loop {
            let path = match self.ahead(rule).await? {
                Ahead::Nobody => return Ok(true),
                Ahead::SelfGone => return Ok(false),
                Ahead::Somebody(name) => child(&self.directory, &name),
            };
            match self.client.get_and_watch(&path).await {
                Ok((_, watch)) => {
                    if let Err(end) = watch.await {
                        look_again(end, &path)?;
                    }
                }
                Err(error) if is(&error, &ErrorKind::NoNode) => {}
                Err(error) => return Err(error),
            }
        }
    }

    pub(super) async fn ahead(&self, rule: Rule) -> Result<Ahead> {
        match self.client.children(&self.directory).await {
            Ok(children) => Ok(ahead(&children.names, self.name(), rule)),
            Err(error) if is(&error, &ErrorKind::NoNode) => Ok(Ahead::SelfGone),
            Err(error) => Err(error),
        }
    }

    /// Adds to `multi` that this place must still be held when it takes effect.
    pub(super) fn fence(&self, multi: Multi) -> Multi {
        multi.check(&self.path(), Version::Any)
    }

    /// Whether the node is still there, as the leader knows it.
    pub(super) async fn is_held(&self) -> Result<bool> {
        let path = self.path();
        catch_up(&self.client, &path).await?;
        Ok(owned(&self.client, &path).await?.is_some())
    }

    /// Waits until the place is lost, and says why.
    pub(super) async fn lost(&self) -> Lost {
        let path = self.path();
        loop {
            let ended = match self.client.exists_and_watch(&path).await {
                Ok((Some(stat), watch)) if stat.ephemeral_owner == self.client.session_id().0 => {
                    match watch.await {
                        Ok(_) => Ok(()),
                        Err(end) => look_again(end, &path),
                    }
                }
                Ok(_) => return Lost::Deleted,
                Err(error) => Err(error),
            };
            match ended {
                Err(error) if error.session_lost() => return Lost::Session,
                Err(error) if is(&error, &ErrorKind::Closed) => return Lost::Closed,
                Err(error) if is_cut_off(&error) => {}
                Err(error) => return Lost::Unknown(error),
                Ok(()) => {}
            }
        }
    }

    /// Waits until the connection is no longer there, so that the place may be lost without one's
    /// knowing.
    pub(super) async fn in_doubt(&self) {
        let mut events = self.client.session_events();
        let mut state = self.client.state();
        while state == SessionState::Connected {
            match events.next().await {
                Some(next) => state = next,
                None => return,
            }
        }
    }

    /// Waits until somebody asks one to give way, or the place is lost.
    pub(super) async fn asked_to_give_way(&self) -> Result<()> {
        let path = self.path();
        loop {
            let (node, watch) = self.client.get_and_watch(&path).await?;
            if node.data == GIVE_WAY {
                return Ok(());
            }
            if let Err(end) = watch.await {
                look_again(end, &path)?;
            }
        }
    }

    /// Gives the place up, and returns when it is free.
    pub(super) async fn leave(mut self) -> Result<()> {
        delete(&self.client, &self.path()).await?;
        self.forget();
        Ok(())
    }

    /// Nothing is to be given up any more.
    pub(super) fn forget(&mut self) {
        self.is_ours = false;
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.is_ours {
            return;
        }
        if self.made.is_some() {
            self.client.delete_detached(&self.path());
            return;
        }
        let (client, directory) = (self.client.clone(), self.directory.clone());
        let prefix = self.prefix.clone();
        self.client.background(async move {
            while let Ok(Some(made)) = outcome::find(&client, &directory, &prefix).await {
                if delete(&client, &child(&directory, &made.name))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        });
    }
}

/// Who among `names` is to be waited for by the one called `own`.
fn ahead(names: &[String], own: &str, rule: Rule) -> Ahead {
    let Some(mine) = standing(own).filter(|_| names.iter().any(|name| name == own)) else {
        return Ahead::SelfGone;
    };
    let blocks = |kind: Kind| rule == Rule::Everybody || kind == Kind::Exclusive;
    let before = names.iter().filter_map(|name| {
        let other = standing(name).filter(|other| blocks(other.kind))?;
        let distance = other.sequence.wrapping_sub(mine.sequence);
        (distance < 0).then_some((distance, name))
    });
    before
        .max()
        .map_or(Ahead::Nobody, |(_, name)| Ahead::Somebody(name.clone()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look(names: &[&str], own: &str, rule: Rule) -> Ahead {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        ahead(&names, own, rule)
    }

    const LINE: &[&str] = &[
        "c-__WRIT__0000000003",
        "a-__READ__0000000001",
        "b-__READ__0000000002",
        "d-__READ__0000000004",
        "notes",
    ];

    #[test]
    fn a_writer_waits_for_the_one_before_it() {
        let found = look(LINE, "c-__WRIT__0000000003", Rule::Everybody);
        assert_eq!(found, Ahead::Somebody("b-__READ__0000000002".into()));
    }

    #[test]
    fn a_reader_waits_for_writers_only() {
        let found = look(LINE, "d-__READ__0000000004", Rule::Exclusive);
        assert_eq!(found, Ahead::Somebody("c-__WRIT__0000000003".into()));
        let found = look(LINE, "b-__READ__0000000002", Rule::Exclusive);
        assert_eq!(found, Ahead::Nobody);
    }

    #[test]
    fn a_node_that_is_not_listed_is_gone() {
        let found = look(LINE, "z-__READ__0000000009", Rule::Exclusive);
        assert_eq!(found, Ahead::SelfGone);
    }

    #[test]
    fn numbers_that_wrap_around_keep_their_order() {
        let names = ["a-lock-2147483647", "b-lock--2147483648"];
        let found = look(&names, names[1], Rule::Everybody);
        assert_eq!(found, Ahead::Somebody(names[0].into()));
        assert_eq!(look(&names, names[0], Rule::Everybody), Ahead::Nobody);
    }
}
