//! Quotas: two nodes below `/zookeeper/quota`, as zkCli keeps them. Paths below the chroot are
//! meant, the quota nodes themselves lie outside.

use roo_proto::path::{QUOTA, QUOTA_LIMITS, QUOTA_STATS};
use roo_proto::request::Request;

use super::{Client, What};
use crate::error::{Error, ErrorKind, Result};
use crate::multi;
use crate::session::OnLoss;
use crate::types::{CreateOptions, NodeKind, Quota, QuotaStatus};

impl Client {
    /// Sets the quota of a subtree, in place of an earlier one. Needs permission to write below
    /// `/zookeeper/quota`.
    ///
    /// # Errors
    /// `NoNode`; `BadArguments` for the root, and where a node above or below has a quota: servers
    /// heed only one on a way, and zkCli refuses them too.
    pub async fn set_quota(&self, path: &str, quota: Quota) -> Result<()> {
        let (what, real) = self.at("set_quota", path)?;
        if real == "/" {
            let kind = ErrorKind::BadArguments("the root cannot have a quota".into());
            return Err(self.fail(what, kind));
        }
        if self.exists(path).await?.is_none() {
            return Err(self.fail(what, ErrorKind::NoNode));
        }
        self.no_other_quota(what, &real).await?;
        let mut at = String::from(QUOTA);
        for name in real.split('/').skip(1) {
            at = format!("{at}/{name}");
            self.create_real(what, &at, b"").await?;
        }
        let limits = text(&quota);
        if !self
            .create_real(what, &join(&at, QUOTA_LIMITS), limits.as_bytes())
            .await?
        {
            let request = Request::SetData {
                path: Some(join(&at, QUOTA_LIMITS).into()),
                data: Some(limits.as_bytes()),
                version: -1,
            };
            self.call(what, OnLoss::Repeat, &request).await?;
        }
        let none = text(&Quota {
            nodes: Some(0),
            bytes: Some(0),
            ..Quota::default()
        });
        self.create_real(what, &join(&at, QUOTA_STATS), none.as_bytes())
            .await?;
        Ok(())
    }

    /// The quota of a subtree and what it holds; `None` if it has none of its own.
    ///
    /// # Errors
    /// `NoAuth` without permission to read below `/zookeeper/quota`.
    pub async fn quota(&self, path: &str) -> Result<Option<QuotaStatus>> {
        let (what, real) = self.at("quota", path)?;
        let at = quota_node(&real);
        let Some(limits) = self.text_at(what, &join(&at, QUOTA_LIMITS)).await? else {
            return Ok(None);
        };
        let stats = self.text_at(what, &join(&at, QUOTA_STATS)).await?;
        let stats = stats.map(|text| parse(&text)).unwrap_or_default();
        Ok(Some(QuotaStatus {
            limits: parse(&limits),
            nodes: stats.nodes.unwrap_or(0),
            bytes: stats.bytes.unwrap_or(0),
        }))
    }

    /// Takes the quota of a subtree away.
    ///
    /// # Errors
    /// `NoNode` if it has none.
    pub async fn delete_quota(&self, path: &str) -> Result<()> {
        let (what, real) = self.at("delete_quota", path)?;
        let at = quota_node(&real);
        self.delete_real(what, &join(&at, QUOTA_LIMITS)).await?;
        let mut next = join(&at, QUOTA_STATS);
        while next.len() > QUOTA.len() {
            match self.delete_real(what, &next).await {
                Err(error) if *error.kind() == ErrorKind::NotEmpty => break,
                Err(error) if *error.kind() != ErrorKind::NoNode => return Err(error),
                _ => {}
            }
            next.truncate(next.rfind('/').unwrap_or(0));
        }
        Ok(())
    }

    /// Whether the node was created; it may have been there.
    async fn create_real(&self, what: What<'_>, real: &str, data: &[u8]) -> Result<bool> {
        let options = CreateOptions::from(NodeKind::Persistent);
        let create = multi::create(real.into(), data, &options);
        let create = create.map_err(|kind| self.fail(what, kind))?;
        let request = Request::Create(create);
        match self.call(what, OnLoss::Repeat, &request).await {
            Ok(_) => Ok(true),
            Err(error) if *error.kind() == ErrorKind::NodeExists => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn delete_real(&self, what: What<'_>, real: &str) -> Result<()> {
        let request = Request::Delete {
            path: Some(real.into()),
            version: -1,
        };
        self.call(what, OnLoss::Fail, &request).await?;
        Ok(())
    }

    async fn text_at(&self, what: What<'_>, real: &str) -> Result<Option<String>> {
        match self.get_real(what, real).await {
            Ok(node) => Ok(Some(String::from_utf8_lossy(&node.data).into_owned())),
            Err(error) if *error.kind() == ErrorKind::NoNode => Ok(None),
            Err(error) => Err(error),
        }
    }

    async fn no_other_quota(&self, what: What<'_>, real: &str) -> Result<()> {
        let own = quota_node(real);
        let refuse = |at: &str| -> Error {
            let at = at.strip_prefix(QUOTA).unwrap_or(at);
            let why = format!("{at} has a quota already: delete it first");
            self.fail(what, ErrorKind::BadArguments(why))
        };
        let mut above = own.as_str();
        while let Some((parent, _)) = above.rsplit_once('/')
            && parent.len() > QUOTA.len()
        {
            if self
                .text_at(what, &join(parent, QUOTA_LIMITS))
                .await?
                .is_some()
            {
                return Err(refuse(parent));
            }
            above = parent;
        }
        let mut below = vec![own.clone()];
        while let Some(at) = below.pop() {
            for name in self.names_at(what, &at).await? {
                if name == QUOTA_LIMITS && at != own {
                    return Err(refuse(&at));
                }
                below.push(join(&at, &name));
            }
        }
        Ok(())
    }
}

fn quota_node(real: &str) -> String {
    format!("{QUOTA}{real}")
}

fn join(parent: &str, name: &str) -> String {
    format!("{parent}/{name}")
}

/// Java: `StatsTrack.toString`.
fn text(quota: &Quota) -> String {
    let mut text = format!(
        "count={},bytes={}",
        quota.nodes.unwrap_or(-1),
        quota.bytes.unwrap_or(-1)
    );
    let hard = [
        ("byteHardLimit", quota.hard_bytes),
        ("countHardLimit", quota.hard_nodes),
    ];
    if hard.iter().any(|(_, limit)| limit.is_some()) {
        text.push('=');
    }
    for (name, limit) in hard {
        if let Some(limit) = limit {
            text.push_str(&format!(";{name}={limit}"));
        }
    }
    text
}

/// Java: `StatsTrack`; what cannot be read is no limit.
fn parse(text: &str) -> Quota {
    let mut quota = Quota::default();
    for pair in text.split([',', ';']) {
        let mut parts = pair.split('=');
        let (Some(key), Some(value)) = (parts.next(), parts.next()) else {
            continue;
        };
        let value = value.parse().ok().filter(|limit: &i64| *limit >= 0);
        match key {
            "count" => quota.nodes = value,
            "bytes" => quota.bytes = value,
            "countHardLimit" => quota.hard_nodes = value,
            "byteHardLimit" => quota.hard_bytes = value,
            _ => {}
        }
    }
    quota
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quotas_text_is_the_genuine_one_and_is_read_again() {
        let soft = Quota {
            nodes: Some(5),
            ..Quota::default()
        };
        assert_eq!(text(&soft), "count=5,bytes=-1");
        let both = Quota {
            hard_nodes: Some(0),
            hard_bytes: Some(7),
            ..soft
        };
        assert_eq!(
            text(&both),
            "count=5,bytes=-1=;byteHardLimit=7;countHardLimit=0"
        );
        for quota in [soft, both, Quota::default()] {
            assert_eq!(parse(&text(&quota)), quota);
        }
        assert_eq!(parse("hello,count=x,,=;"), Quota::default());
    }
}
