//! Changes that take effect exactly once, although their replies may be lost.
//!
//! A writer has a node of its own, its receipt, and changes it in the same multi as what it is
//! about. The receipt's version counts its changes: every attempt names the version it expects, so
//! of all attempts of one change at most one can take effect, whenever and in whatever order they
//! arrive. The receipt's data says which change was the last and what came of it; so an attempt
//! that was never answered is found there.

use crate::Acl;
use crate::{Client, CreateOptions, Error, ErrorKind, Multi, NodeKind, Result};

use super::names::{child, uuid};
use super::outcome::{directory, is, is_cut_off, settle};

/// Where a writer keeps its receipt.
#[derive(Clone, Debug)]
enum Keeping {
    /// With the session, under a name of its own.
    Session,
    /// For good, under the writer's name.
    Named(String),
}

/// A writer's receipts. One change at a time: callers keep it behind a lock.
#[derive(Debug)]
pub(super) struct Receipts {
    client: Client,
    directory: String,
    keeping: Keeping,
    acl: Vec<Acl>,
    /// The node and its version, once it is there.
    node: Option<(String, i32)>,
    writer: u128,
    changes: u64,
}

/// What became of a change.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It took effect.
    Done,
    /// It took effect in an attempt that was not answered; this was noted for it.
    Noted(String),
    /// It did not take effect and will not, for one of its operations failed.
    Refused(Error),
}

impl Receipts {
    /// Receipts that go with the session.
    pub(super) fn of_session(client: &Client, directory: String, acl: Vec<Acl>) -> Self {
        Self::build(client, directory, Keeping::Session, acl)
    }

    /// Receipts that outlive the session, for a writer with a name of its own.
    pub(super) fn of_writer(
        client: &Client,
        directory: String,
        writer: &str,
        acl: Vec<Acl>,
    ) -> Self {
        Self::build(client, directory, Keeping::Named(writer.to_owned()), acl)
    }

    fn build(client: &Client, directory: String, keeping: Keeping, acl: Vec<Acl>) -> Self {
        Self {
            client: client.clone(),
            directory,
            keeping,
            acl,
            node: None,
            writer: client.unique(),
            changes: 0,
        }
    }

    /// A name for the next change that no other has.
    pub(super) fn next_change(&mut self) -> String {
        self.changes += 1;
        format!("{}/{}", uuid(self.writer), self.changes)
    }

    /// What was noted for `change`, if it was the last to take effect.
    pub(super) async fn noted(&mut self, change: &str) -> Result<Option<String>> {
        let (path, _) = self.node().await?;
        settle(&self.client, &path).await?;
        self.read(&path, change).await
    }

    /// Makes `multi` and notes `note` for `change`. Connections may break as often as they will.
    ///
    /// # Errors
    /// When the session is lost, or a call takes too long: whether it took effect is not known then
    /// if the error says so.
    pub(super) async fn make(
        &mut self,
        change: &str,
        multi: &Multi,
        note: &str,
    ) -> Result<Outcome> {
        let mut is_unsure = false;
        let outcome = self.attempt(change, multi, note, &mut is_unsure).await;
        // The last call may have failed without having been sent; an earlier one was.
        outcome.map_err(|error| if is_unsure { error.sent(true) } else { error })
    }

    async fn attempt(
        &mut self,
        change: &str,
        multi: &Multi,
        note: &str,
        is_unsure: &mut bool,
    ) -> Result<Outcome> {
        let ours = multi.len();
        loop {
            let (path, version) = self.node().await?;
            let attempt = multi
                .clone()
                .set(&path, format!("{change} {note}"), version);
            let Err(error) = self.client.multi(attempt).await else {
                self.node = Some((path, version.wrapping_add(1)));
                return Ok(Outcome::Done);
            };
            if is_cut_off(&error) {
                *is_unsure = true;
                continue;
            }
            let Some(failed) = error.failed_op() else {
                return Err(error);
            };
            let is_receipt = failed == ours;
            if is_receipt && is(&error, &ErrorKind::NoNode) {
                self.node = None;
                if *is_unsure {
                    return Err(lost_receipt(&path));
                }
                continue;
            }
            let is_behind = is_receipt && is(&error, &ErrorKind::BadVersion);
            if is_receipt && !is_behind {
                return Err(error);
            }
            if *is_unsure || is_behind {
                settle(&self.client, &path).await?;
                if let Some(note) = self.read(&path, change).await? {
                    return Ok(Outcome::Noted(note));
                }
                *is_unsure = false;
            }
            if !is_receipt {
                return Ok(Outcome::Refused(error));
            }
        }
    }

    /// What the receipt at `path` notes for `change`; its version is taken over.
    async fn read(&mut self, path: &str, change: &str) -> Result<Option<String>> {
        let node = match self.client.get(path).await {
            Ok(node) => node,
            Err(error) if is(&error, &ErrorKind::NoNode) => {
                self.node = None;
                return Err(lost_receipt(path));
            }
            Err(error) => return Err(error),
        };
        self.node = Some((path.to_owned(), node.stat.version));
        let text = String::from_utf8_lossy(&node.data);
        let note = text.split_once(' ').filter(|(last, _)| *last == change);
        Ok(note.map(|(_, note)| note.to_owned()))
    }

    /// The receipt and its version, made if need be.
    async fn node(&mut self) -> Result<(String, i32)> {
        if let Some((path, version)) = &self.node {
            return Ok((path.clone(), *version));
        }
        let (name, kind) = match &self.keeping {
            Keeping::Session => (
                format!("_c_{}-receipt", uuid(self.client.unique())),
                NodeKind::Ephemeral,
            ),
            Keeping::Named(name) => (name.clone(), NodeKind::Persistent),
        };
        let path = child(&self.directory, &name);
        loop {
            let options = CreateOptions {
                kind,
                acl: self.acl.clone(),
                no_data: false,
            };
            match self.client.create(&path, b"", options).await {
                Ok(created) => {
                    let node = (path, created.stat.version);
                    self.node = Some(node.clone());
                    return Ok(node);
                }
                Err(error) if is(&error, &ErrorKind::NodeExists) => {
                    settle(&self.client, &path).await?;
                    let Some(stat) = self.client.exists(&path).await? else {
                        continue;
                    };
                    let node = (path, stat.version);
                    self.node = Some(node.clone());
                    return Ok(node);
                }
                Err(error) if is(&error, &ErrorKind::NoNode) => {
                    directory(&self.client, &self.directory, &self.acl).await?;
                }
                Err(error) if is_cut_off(&error) => {}
                Err(error) => return Err(error),
            }
        }
    }
}

impl Drop for Receipts {
    fn drop(&mut self) {
        if let (Keeping::Session, Some((path, _))) = (&self.keeping, &self.node) {
            self.client.delete_detached(path);
        }
    }
}

/// Somebody deleted the one thing that would have told what became of a change.
fn lost_receipt(path: &str) -> Error {
    let error = Error::new(ErrorKind::ConnectionLoss, "read receipt");
    error.at(path).sent(true)
}
