//! Reads that leave a watch, and watches that stay.

use roo_proto::error_code::ErrorCode;
use roo_proto::request::Request;
use roo_proto::stat::Stat;

use super::operations::{children, node, stat};
use super::{Client, Extras, What};
use crate::error::{Error, ErrorKind, Result};
use crate::session::watches::{Unwatching, WatchedBy};
use crate::session::{NewWatch, OnLoss, Reply};
use crate::types::{Children, Node};
use crate::watch::{OneWatch, WatchKind, WatchMode, WatchStream, Watcher};

impl Client {
    fn one_watch(&self, by: WatchedBy, real: &str) -> (OneWatch, Extras) {
        let (watch, watcher) = OneWatch::new(self.new_watcher(), self.0.weak.clone());
        let new = NewWatch {
            watcher: watch.id(),
            by,
            path: real.to_owned(),
        };
        (watch, extras(new, watcher))
    }

    /// As [`Client::get`], with a watch on the node's data: it fires when the data is set or the
    /// node deleted. No watch is left when the call fails.
    ///
    /// # Errors
    /// As [`Client::get`].
    pub async fn get_and_watch(&self, path: &str) -> Result<(Node, OneWatch)> {
        let (what, real) = self.at("get", path)?;
        let (watch, extras) = self.one_watch(WatchedBy::GetData, &real);
        let request = Request::GetData {
            path: real,
            watch: true,
        };
        let reply = self.call_and_watch(what, &request, extras).await?;
        let node = node(&reply).map_err(|error| self.unreadable(what, error))?;
        Ok((node, watch))
    }

    /// As [`Client::exists`], with a watch: on a node that is there it fires when its data is set
    /// or it is deleted, on an absent one when it is created.
    ///
    /// # Errors
    /// As [`Client::exists`].
    pub async fn exists_and_watch(&self, path: &str) -> Result<(Option<Stat>, OneWatch)> {
        let (what, real) = self.at("exists", path)?;
        let (watch, extras) = self.one_watch(WatchedBy::Exists, &real);
        let request = Request::Exists {
            path: real,
            watch: true,
        };
        match self.call_and_watch(what, &request, extras).await {
            Ok(reply) => {
                let stat = stat(&reply).map_err(|error| self.unreadable(what, error))?;
                Ok((Some(stat), watch))
            }
            Err(error) if *error.kind() == ErrorKind::NoNode => Ok((None, watch)),
            Err(error) => Err(error),
        }
    }

    /// As [`Client::children`], with a watch: it fires when a child is created or deleted, and
    /// when the node is deleted.
    ///
    /// # Errors
    /// As [`Client::children`].
    pub async fn children_and_watch(&self, path: &str) -> Result<(Children, OneWatch)> {
        let (what, real) = self.at("children", path)?;
        let (watch, extras) = self.one_watch(WatchedBy::GetChildren, &real);
        let request = Request::GetChildren {
            path: real,
            watch: true,
            with_stat: true,
        };
        let reply = self.call_and_watch(what, &request, extras).await?;
        let children = children(&reply).map_err(|error| self.unreadable(what, error))?;
        Ok((children, watch))
    }

    /// Watches a node, which need not exist, or a whole subtree until the stream is dropped.
    /// Servers since 3.6; before 3.9 a session has one kind of watch on a path, so that such a
    /// watch takes the place of one that fires once or is of the other mode.
    ///
    /// # Errors
    /// `Unimplemented` from older servers.
    pub async fn watch(&self, path: &str, mode: WatchMode) -> Result<WatchStream> {
        let (what, real) = self.at("watch", path)?;
        let (by, number) = match mode {
            WatchMode::Persistent => (WatchedBy::Persistent, 0),
            WatchMode::PersistentRecursive => (WatchedBy::PersistentRecursive, 1),
        };
        let weak = self.0.weak.clone();
        let (stream, watcher) = WatchStream::new(self.new_watcher(), self.0.watch_buffer_max, weak);
        let new = NewWatch {
            watcher: stream.id(),
            by,
            path: real.clone().into_owned(),
        };
        let request = Request::AddWatch {
            path: Some(real),
            mode: number,
        };
        self.call_and_watch(what, &request, extras(new, watcher))
            .await?;
        Ok(stream)
    }

    /// Ends this session's watches of a kind on a path; they tell
    /// [`crate::WatchEnd::Removed`].
    ///
    /// # Errors
    /// `NoWatcher` when there is none; `Unimplemented` from servers before 3.9 for the kinds of
    /// streams, which they take back by [`WatchKind::Any`] or when the stream is dropped.
    pub async fn remove_watches(&self, path: &str, which: WatchKind) -> Result<()> {
        let (what, real) = self.at("remove_watches", path)?;
        let is_stream = matches!(
            which,
            WatchKind::Persistent | WatchKind::PersistentRecursive
        );
        let which = match which {
            WatchKind::Children => Unwatching::Children,
            WatchKind::Data => Unwatching::Data,
            WatchKind::Any => Unwatching::Any,
            WatchKind::Persistent => Unwatching::Persistent,
            WatchKind::PersistentRecursive => Unwatching::PersistentRecursive,
        };
        let request = Request::RemoveWatches {
            path: Some(real.clone()),
            kind: which as i32,
        };
        let removed = self
            .remove(what, &request, (which, real.into_owned()))
            .await;
        removed.map(drop).map_err(|error| match error.kind() {
            // What older servers make of a number they do not know.
            ErrorKind::Server(ErrorCode::MARSHALLING_ERROR) if is_stream => {
                Error::new(ErrorKind::Unimplemented, what.operation).at(path)
            }
            _ => error,
        })
    }

    async fn remove(
        &self,
        what: What<'_>,
        request: &Request<'_>,
        unwatch: (Unwatching, String),
    ) -> Result<Reply> {
        let extras = Extras {
            watch: None,
            unwatch: Some(unwatch),
        };
        self.call_with(what, OnLoss::Repeat, request, extras).await
    }
}

const fn extras(new: NewWatch, watcher: Watcher) -> Extras {
    Extras {
        watch: Some((new, watcher)),
        unwatch: None,
    }
}
