//! The ensemble itself: its configuration, and changing it.

use roo_proto::path::CONFIG;
use roo_proto::request::{self, Request};

use super::operations::node;
use super::{Client, What};
use crate::error::Result;
use crate::session::OnLoss;
use crate::types::{Node, Reconfig};

impl Client {
    /// The ensemble's configuration: the data of `/zookeeper/config`, whatever the chroot. Its
    /// last line, `version=`, is a hexadecimal number for `from_config` of [`Client::reconfig`].
    /// Empty on a server that stands alone.
    ///
    /// # Errors
    /// `NoAuth` where the node's list was changed.
    pub async fn config(&self) -> Result<Node> {
        let what = What {
            operation: "config",
            path: Some(CONFIG),
        };
        self.get_real(what, CONFIG).await
    }

    /// Changes the ensemble, only from the configuration of version `from_config` if it is given,
    /// and gives the new configuration.
    ///
    /// # Errors
    /// `ReconfigDisabled`; `NoAuth` without permission to write `/zookeeper/config`; `BadVersion`
    /// when the configuration is another; `BadArguments`; `ReconfigInProgress`;
    /// `NewConfigNoQuorum`; `Unimplemented` from a server that stands alone.
    pub async fn reconfig(&self, change: Reconfig, from_config: Option<i64>) -> Result<Node> {
        let what = What {
            operation: "reconfig",
            path: None,
        };
        let (joining, leaving, members) = match &change {
            Reconfig::Incremental { joining, leaving } => (some(joining), some(leaving), None),
            Reconfig::Members(members) => (None, None, Some(members.as_str())),
        };
        let request = Request::Reconfig(request::Reconfig {
            joining_servers: joining.map(Into::into),
            leaving_servers: leaving.map(Into::into),
            new_members: members.map(Into::into),
            config_id: from_config.unwrap_or(-1),
        });
        let reply = self.call(what, OnLoss::Fail, &request).await?;
        node(&reply).map_err(|error| self.unreadable(what, error))
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}
