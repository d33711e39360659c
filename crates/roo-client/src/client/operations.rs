//! The operations on one node.

use std::borrow::Cow;

use bytes::Bytes;
use roo_proto::acl::{self, Acl, Id};
use roo_proto::jute::{self, Reader};
use roo_proto::reply::decode;
use roo_proto::request::Request;
use roo_proto::stat::Stat;

use super::{Client, Extras, What};
use crate::error::{Error, ErrorKind, Result};
use crate::hub::{Command, Then, Waiting};
use crate::multi;
use crate::session::{OnLoss, Reply, Secret};
use crate::types::{Children, CreateOptions, Created, Node, Version};

/// Data of a reply below this is copied out of it.
const COPIED_MAX: usize = 4096;

/// What `get` and its like read.
pub(super) fn node(reply: &Reply) -> jute::Result<Node> {
    let mut r = Reader::new(&reply.body);
    let found = r.buffer()?;
    let data = found.unwrap_or_default();
    Ok(Node {
        no_data: found.is_none(),
        data: kept(&reply.body, data),
        stat: Stat::decode(&mut r)?,
    })
}

/// Data of a reply for the caller to keep: copied if it is small, so that it does not keep all that
/// was read with it.
pub(super) fn kept(body: &Bytes, data: &[u8]) -> Bytes {
    if data.len() < COPIED_MAX {
        Bytes::copy_from_slice(data)
    } else {
        body.slice_ref(data)
    }
}

pub(super) fn stat(reply: &Reply) -> jute::Result<Stat> {
    Stat::decode(&mut Reader::new(&reply.body))
}

pub(super) fn children(reply: &Reply) -> jute::Result<Children> {
    let mut r = Reader::new(&reply.body);
    Ok(Children {
        names: decode::strings(&mut r)?,
        stat: Stat::decode(&mut r)?,
    })
}

impl Client {
    /// What a call is, and the server's name of its path.
    pub(super) fn at<'a>(
        &self,
        operation: &'static str,
        path: &'a str,
    ) -> Result<(What<'a>, Cow<'a, str>)> {
        let what = What {
            operation,
            path: Some(path),
        };
        let real = self.real(path).map_err(|kind| self.fail(what, kind))?;
        Ok((what, real))
    }

    pub(super) fn unreadable(&self, what: What<'_>, error: jute::DecodeError) -> Error {
        let kind = ErrorKind::Protocol(error.to_string());
        self.fail(what, kind).sent(true)
    }

    /// Creates a node. A sequential one's path gets digits appended, see [`Created::path`].
    ///
    /// # Errors
    /// `NodeExists`; `NoNode` when the parent does not exist; `NoAuth` without permission to
    /// create at the parent; `NoChildrenForEphemerals`; `InvalidAcl`; `QuotaExceeded`;
    /// `Unimplemented` for a time to live where servers have it switched off.
    pub async fn create(
        &self,
        path: &str,
        data: impl AsRef<[u8]>,
        options: impl Into<CreateOptions>,
    ) -> Result<Created> {
        let options = options.into();
        self.create_node(path, data.as_ref(), &options).await
    }

    async fn create_node(
        &self,
        path: &str,
        data: &[u8],
        options: &CreateOptions,
    ) -> Result<Created> {
        let what = What {
            operation: "create",
            path: Some(path),
        };
        let real = self
            .real_or_prefix(path, options.kind.is_sequential())
            .map_err(|kind| self.fail(what, kind))?;
        let create = multi::create(real, data, options);
        let create = create.map_err(|kind| self.fail(what, kind))?;
        let request = Request::Create(create);
        let reply = self.call(what, OnLoss::Fail, &request).await?;
        let read = || {
            let mut r = Reader::new(&reply.body);
            let path = self.below(&r.required_string()?);
            let stat = Stat::decode(&mut r)?;
            Ok(Created {
                path,
                stat,
                zxid: reply.zxid,
            })
        };
        read().map_err(|error| self.unreadable(what, error))
    }

    /// Deletes a node without children.
    ///
    /// # Errors
    /// `NoNode`; `BadVersion`; `NotEmpty`; `NoAuth` without permission to delete at the parent.
    pub async fn delete(&self, path: &str, version: impl Into<Version>) -> Result<()> {
        let (what, real) = self.at("delete", path)?;
        let request = Request::Delete {
            path: Some(real),
            version: version.into().wire(),
        };
        self.call(what, OnLoss::Fail, &request).await?;
        Ok(())
    }

    /// A node's facts, or `None` if there is no such node.
    ///
    /// # Errors
    /// `NoAuth` without permission to read, from servers since 3.8.4 and 3.9.2.
    pub async fn exists(&self, path: &str) -> Result<Option<Stat>> {
        let (what, real) = self.at("exists", path)?;
        let request = Request::Exists {
            path: real,
            watch: false,
        };
        match self.call(what, OnLoss::Repeat, &request).await {
            Ok(reply) => {
                let stat = stat(&reply).map_err(|error| self.unreadable(what, error))?;
                Ok(Some(stat))
            }
            Err(error) if *error.kind() == ErrorKind::NoNode => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A node's data and facts.
    ///
    /// # Errors
    /// `NoNode`; `NoAuth` without permission to read.
    pub async fn get(&self, path: &str) -> Result<Node> {
        let (what, real) = self.at("get", path)?;
        self.get_real(what, &real).await
    }

    pub(super) async fn get_real(&self, what: What<'_>, real: &str) -> Result<Node> {
        let request = Request::GetData {
            path: real.into(),
            watch: false,
        };
        let reply = self.call(what, OnLoss::Repeat, &request).await?;
        node(&reply).map_err(|error| self.unreadable(what, error))
    }

    /// Replaces a node's data.
    ///
    /// # Errors
    /// `NoNode`; `BadVersion`; `NoAuth` without permission to write; `QuotaExceeded`.
    pub async fn set(
        &self,
        path: &str,
        data: impl AsRef<[u8]>,
        version: impl Into<Version>,
    ) -> Result<Stat> {
        let version = version.into();
        self.set_node(path, data.as_ref(), version).await
    }

    async fn set_node(&self, path: &str, data: &[u8], version: Version) -> Result<Stat> {
        let (what, real) = self.at("set", path)?;
        let request = Request::SetData {
            path: Some(real),
            data: Some(data),
            version: version.wire(),
        };
        let reply = self.call(what, OnLoss::Fail, &request).await?;
        stat(&reply).map_err(|error| self.unreadable(what, error))
    }

    /// The names of a node's children, and the node's facts. A node with very many children may
    /// have a reply larger than `Options::max_reply_bytes`.
    ///
    /// # Errors
    /// `NoNode`; `NoAuth` without permission to read.
    pub async fn children(&self, path: &str) -> Result<Children> {
        let (what, real) = self.at("children", path)?;
        let request = Request::GetChildren {
            path: real,
            watch: false,
            with_stat: true,
        };
        let reply = self.call(what, OnLoss::Repeat, &request).await?;
        children(&reply).map_err(|error| self.unreadable(what, error))
    }

    /// How many nodes there are below a node, at any depth. Servers since 3.6.
    ///
    /// # Errors
    /// `NoNode`; `NoAuth` without permission to read.
    pub async fn descendants_count(&self, path: &str) -> Result<u32> {
        let (what, real) = self.at("descendants_count", path)?;
        let request = Request::GetAllChildrenNumber { path: real };
        let reply = self.call(what, OnLoss::Repeat, &request).await?;
        let count = Reader::new(&reply.body).i32();
        let count = count.map_err(|error| self.unreadable(what, error))?;
        Ok(u32::try_from(count).unwrap_or(0))
    }

    /// The ephemeral nodes of this session whose paths begin with `prefix`; `/` is all of them.
    /// Servers since 3.6.
    ///
    /// # Errors
    /// `BadArguments` for a prefix without a slash at its front.
    pub async fn ephemerals(&self, prefix: &str) -> Result<Vec<String>> {
        let what = What {
            operation: "ephemerals",
            path: Some(prefix),
        };
        if !prefix.starts_with('/') {
            let kind = ErrorKind::BadArguments("a prefix begins with /".into());
            return Err(self.fail(what, kind));
        }
        let real = format!("{}{prefix}", self.chroot());
        let request = Request::GetEphemerals {
            prefix: Some(real.into()),
        };
        let reply = self.call(what, OnLoss::Repeat, &request).await?;
        let paths = decode::strings(&mut Reader::new(&reply.body));
        let paths = paths.map_err(|error| self.unreadable(what, error))?;
        Ok(paths.iter().map(|real| self.below(real)).collect())
    }

    /// A node's access control list and facts. Without permission to administer the node the
    /// hashes of `digest` ids are hidden.
    ///
    /// # Errors
    /// `NoNode`; `NoAuth` without permission to read or administer.
    pub async fn acl(&self, path: &str) -> Result<(Vec<Acl>, Stat)> {
        let (what, real) = self.at("acl", path)?;
        let request = Request::GetAcl { path: real };
        let reply = self.call(what, OnLoss::Repeat, &request).await?;
        let read = || {
            let mut r = Reader::new(&reply.body);
            Ok((acl::decode_list(&mut r)?, Stat::decode(&mut r)?))
        };
        read().map_err(|error| self.unreadable(what, error))
    }

    /// Replaces a node's access control list. `version` is `Stat::aversion`.
    ///
    /// # Errors
    /// `NoNode`; `BadVersion`; `InvalidAcl`; `NoAuth` without permission to administer.
    pub async fn set_acl(
        &self,
        path: &str,
        acl: &[Acl],
        version: impl Into<Version>,
    ) -> Result<Stat> {
        let (what, real) = self.at("set_acl", path)?;
        let request = Request::SetAcl {
            path: Some(real),
            acl: Some(multi::acl(acl)),
            version: version.into().wire(),
        };
        let reply = self.call(what, OnLoss::Fail, &request).await?;
        stat(&reply).map_err(|error| self.unreadable(what, error))
    }

    /// Waits until the connected server has seen every write that was committed before: later
    /// reads of this session show them.
    ///
    /// # Errors
    /// `NotReadOnly` from a server without a quorum.
    pub async fn sync(&self, path: &str) -> Result<()> {
        let (what, real) = self.at("sync", path)?;
        let request = Request::Sync { path: Some(real) };
        self.call(what, OnLoss::Repeat, &request).await?;
        Ok(())
    }

    /// Proves an identity to the servers, on this connection and each later one: for scheme
    /// `digest`, `user:password`.
    ///
    /// # Errors
    /// `AuthFailed` when the scheme is unknown or the proof refused; the session is over then, as
    /// with every ZooKeeper client.
    pub async fn add_auth(&self, scheme: &str, data: impl AsRef<[u8]>) -> Result<()> {
        let what = What {
            operation: "add_auth",
            path: None,
        };
        let request = Request::Auth {
            scheme: Some(scheme.into()),
            data: Some(data.as_ref()),
        };
        self.frame(what, &request)?;
        let (sender, receiver) = tokio::sync::oneshot::channel();
        let command = Command::Authenticate {
            call: self.new_call(),
            scheme: scheme.to_owned(),
            data: Secret(data.as_ref().to_vec()),
            waiting: Waiting {
                sender: Some(sender),
                ..Waiting::default()
            },
        };
        if !self.send(command) {
            return Err(self.gone(what));
        }
        match receiver.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(failure)) => Err(self.error(what, failure)),
            Err(_) => Err(self.gone(what)),
        }
    }

    /// The identities that the connected server knows this connection by, without their secrets.
    /// Servers since 3.7.
    ///
    /// # Errors
    /// None of its own.
    pub async fn who_am_i(&self) -> Result<Vec<Id>> {
        let what = What {
            operation: "who_am_i",
            path: None,
        };
        let reply = self.call(what, OnLoss::Repeat, &Request::WhoAmI).await?;
        decode::identities(&reply.body).map_err(|error| self.unreadable(what, error))
    }

    /// Deletes a node without waiting: for destructors. It is sent behind the calls made before,
    /// and again after each loss of the connection until the session ends; what comes of it is not
    /// told. Since it may be done twice, use it for a path that nobody creates again, such as a
    /// sequential one.
    pub fn delete_detached(&self, path: &str) {
        if let Ok(real) = self.real(path) {
            let request = Request::Delete {
                path: Some(real),
                version: -1,
            };
            self.detach(&request, Waiting::default());
        }
    }

    /// Deletes, without waiting, the children of `parent` whose names contain `token`: for
    /// destructors of what was about to create a sequential node with `token` in its name, and
    /// does not know whether it was created. As [`Client::delete_detached`] otherwise. An empty
    /// token does nothing.
    pub fn delete_children_detached(&self, parent: &str, token: &str) {
        let (Ok(real), false) = (self.real(parent), token.is_empty()) else {
            return;
        };
        let request = Request::GetChildren {
            path: real.clone(),
            watch: false,
            with_stat: false,
        };
        let waiting = Waiting {
            then: Some(Box::new(Then::DeleteChildren {
                parent: real.into_owned(),
                token: token.to_owned(),
            })),
            ..Waiting::default()
        };
        self.detach(&request, waiting);
    }

    pub(super) async fn call_and_watch(
        &self,
        what: What<'_>,
        request: &Request<'_>,
        extras: Extras,
    ) -> Result<Reply> {
        self.call_with(what, OnLoss::Repeat, request, extras).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn small_data_is_copied_out_of_what_was_read_and_large_data_shared() {
        let read = Bytes::from(vec![7; 3 * COPIED_MAX]);
        let is_shared = |kept: &Bytes| read.as_ptr_range().contains(&kept.as_ptr());
        let small = kept(&read, &read[10..20]);
        let large = kept(&read, &read[..COPIED_MAX]);
        assert_eq!((small.len(), is_shared(&small)), (10, false));
        assert_eq!((large.len(), is_shared(&large)), (COPIED_MAX, true));
    }
}
