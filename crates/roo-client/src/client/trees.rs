//! Whole subtrees: making the way to a node, and deleting everything below one.

use futures_util::stream::{self, StreamExt as _};
use roo_proto::jute::Reader;
use roo_proto::path::{self, ZOOKEEPER};
use roo_proto::reply::decode;
use roo_proto::request::{MultiOp, Request};

use super::{Client, What};
use crate::error::{ErrorKind, Result};
use crate::multi;
use crate::session::OnLoss;
use crate::types::{CreateOptions, NodeKind};

/// Requests that a walk has under way.
const WALK_WIDTH: usize = 64;
/// Deletions in one multi.
const BATCH_OPS: usize = 1000;
/// Bytes that a deletion takes besides its path.
const DELETE_BYTES: usize = 9 + 4 + 4;
/// How often nodes may appear below one that is being deleted.
const ROUNDS_MAX: usize = 16;

impl Client {
    /// Creates the ancestors of a path that do not exist, the chroot's included: persistent,
    /// empty, open to everybody. The node itself is not created.
    ///
    /// # Errors
    /// Those of [`Client::create`], but for `NodeExists`.
    pub async fn create_parents(&self, path: &str) -> Result<()> {
        let (what, real) = self.at("create_parents", path)?;
        let mut missing = Vec::new();
        let mut at = &*real;
        while let Some((parent, _)) = path::split(at)
            && parent != "/"
        {
            missing.push(parent);
            at = parent;
        }
        // Most often the parent is there; else the way begins at the first that takes a child.
        let mut begun = missing.len();
        for (depth, ancestor) in missing.iter().enumerate() {
            match self.create_open(what, ancestor).await {
                Ok(()) => {
                    begun = depth;
                    break;
                }
                Err(error) if *error.kind() == ErrorKind::NoNode => {}
                Err(error) => return Err(error),
            }
        }
        for ancestor in missing.iter().take(begun).rev() {
            self.create_open(what, ancestor).await?;
        }
        Ok(())
    }

    async fn create_open(&self, what: What<'_>, real: &str) -> Result<()> {
        let options = CreateOptions::from(NodeKind::Persistent);
        let create = multi::create(real.into(), b"", &options);
        let create = create.map_err(|kind| self.fail(what, kind))?;
        match self
            .call(what, OnLoss::Repeat, &Request::Create(create))
            .await
        {
            Ok(_) => Ok(()),
            Err(error) if *error.kind() == ErrorKind::NodeExists => Ok(()),
            Err(error) => Err(error),
        }
    }

    /// Deletes a node and everything below it, in multis as large as a packet allows, and says how
    /// many nodes that were. Each multi is atomic, the whole is not. What others create meanwhile
    /// is deleted too. The root itself and `/zookeeper` stay.
    ///
    /// # Errors
    /// `NoNode` when the node does not exist; `NotEmpty` when others create nodes faster; those of
    /// [`Client::delete`]. Some nodes may be deleted then.
    pub async fn delete_all(&self, path: &str) -> Result<u64> {
        let (what, real) = self.at("delete_all", path)?;
        let mut deleted = 0;
        for round in 0..ROUNDS_MAX {
            let nodes = self.subtree(what, &real).await?;
            if nodes.is_empty() {
                return if round == 0 && real != "/" {
                    Err(self.fail(what, ErrorKind::NoNode))
                } else {
                    Ok(deleted)
                };
            }
            deleted += self.delete_nodes(what, &nodes).await?;
        }
        Err(self.fail(what, ErrorKind::NotEmpty))
    }

    /// A node and all below it, parents first; empty if there is none.
    async fn subtree(&self, what: What<'_>, real: &str) -> Result<Vec<String>> {
        let mut nodes = Vec::new();
        let request = Request::Exists {
            path: real.into(),
            watch: false,
        };
        match self.call(what, OnLoss::Repeat, &request).await {
            Ok(_) => nodes.push(real.to_owned()),
            Err(error) if *error.kind() == ErrorKind::NoNode => return Ok(nodes),
            Err(error) => return Err(error),
        }
        let mut level = 0..1;
        while !level.is_empty() {
            let parents = nodes.get(level.clone()).unwrap_or_default().to_vec();
            let lists = parents.iter().map(|parent| self.names_at(what, parent));
            let mut lists = stream::iter(lists).buffered(WALK_WIDTH);
            for parent in &parents {
                let Some(names) = lists.next().await else {
                    break;
                };
                let parent = if parent == "/" { "" } else { parent };
                let children = names?.into_iter().map(|name| format!("{parent}/{name}"));
                nodes.extend(children.filter(|child| child != ZOOKEEPER));
            }
            level = level.end..nodes.len();
        }
        if real == "/" {
            nodes.remove(0);
        }
        Ok(nodes)
    }

    /// The names of a node's children by the server's path; none if it does not exist.
    pub(super) async fn names_at(&self, what: What<'_>, real: &str) -> Result<Vec<String>> {
        let request = Request::GetChildren {
            path: real.into(),
            watch: false,
            with_stat: false,
        };
        match self.call(what, OnLoss::Repeat, &request).await {
            Ok(reply) => decode::strings(&mut Reader::new(&reply.body))
                .map_err(|error| self.unreadable(what, error)),
            Err(error) if *error.kind() == ErrorKind::NoNode => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    /// Deletes nodes given parents first; those that others delete or fill meanwhile are skipped.
    async fn delete_nodes(&self, what: What<'_>, nodes: &[String]) -> Result<u64> {
        let mut deleted = 0;
        let mut batch: Vec<&str> = Vec::new();
        let mut bytes = 0;
        let limit = self.0.packet_bytes_max.saturating_sub(64);
        for node in nodes.iter().rev() {
            let size = node.len() + DELETE_BYTES;
            if batch.len() == BATCH_OPS || (bytes + size > limit && !batch.is_empty()) {
                deleted += self.delete_batch(what, &batch).await?;
                batch.clear();
                bytes = 0;
            }
            batch.push(node);
            bytes += size;
        }
        deleted += self.delete_batch(what, &batch).await?;
        Ok(deleted)
    }

    async fn delete_batch(&self, what: What<'_>, batch: &[&str]) -> Result<u64> {
        let ops = batch.iter().map(|node| MultiOp::Delete {
            path: (*node).into(),
            version: -1,
        });
        let request = Request::Multi(ops.collect());
        let reply = self.call(what, OnLoss::Fail, &request).await?;
        let results = decode::multi(&reply.body);
        let results = results.map_err(|error| self.unreadable(what, error))?;
        let is_failed =
            |result: &decode::MultiResult<'_>| matches!(result, decode::MultiResult::Failed(_));
        if !results.iter().any(is_failed) {
            return Ok(batch.len() as u64);
        }
        self.delete_singly(what, batch).await
    }

    async fn delete_singly(&self, what: What<'_>, batch: &[&str]) -> Result<u64> {
        let mut deleted = 0;
        for node in batch {
            let request = Request::Delete {
                path: Some((*node).into()),
                version: -1,
            };
            match self.call(what, OnLoss::Fail, &request).await {
                Ok(_) => deleted += 1,
                Err(error) if matches!(error.kind(), ErrorKind::NoNode | ErrorKind::NotEmpty) => {}
                Err(error) => return Err(error.at(&self.below(node))),
            }
        }
        Ok(deleted)
    }
}
