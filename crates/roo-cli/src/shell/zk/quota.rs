//! Quotas: nodes below /zookeeper/quota, with zkCli's checks and warnings.

use std::collections::BTreeMap;

use roo_client::{Client, ErrorKind, NodeKind, Version};
use roo_proto::path::{QUOTA, QUOTA_LIMITS, QUOTA_STATS, ZOOKEEPER};
use serde_json::json;

use super::super::Shell;
use super::super::errors::{check_path, refused};
use super::super::options::Given;
use super::super::table::Spec;
use super::super::walk::{Walk, join};
use crate::connect::Failure;

/// Limits or counts, as they are kept in a node's data. Java: `StatsTrack`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Track(BTreeMap<String, i64>);

impl Track {
    fn read(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data);
        let pairs = text.split([',', ';']).filter_map(|pair| {
            let mut parts = pair.split('=');
            let (key, value) = (parts.next()?, parts.next()?);
            Some((key.to_owned(), value.parse().unwrap_or(-1)))
        });
        Self(pairs.filter(|(key, _)| !key.is_empty()).collect())
    }

    fn unlimited() -> Self {
        let keys = ["count", "bytes", "countHardLimit", "byteHardLimit"];
        Self(keys.iter().map(|&key| (key.to_owned(), -1)).collect())
    }

    fn value(&self, key: &str) -> i64 {
        self.0.get(key).copied().unwrap_or(-1)
    }

    fn put(&mut self, key: &str, value: i64) {
        self.0.insert(key.to_owned(), value);
    }

    /// The form that servers of all versions read: count and bytes first, then a `=` that makes
    /// old ones stop, then the rest.
    fn text(&self) -> String {
        let mut text = format!(
            "count={},bytes={}",
            self.value("count"),
            self.value("bytes")
        );
        let rest = self
            .0
            .iter()
            .filter(|(key, _)| *key != "count" && *key != "bytes");
        for (at, (key, value)) in rest.enumerate() {
            let mark = if at == 0 { "=;" } else { ";" };
            text.push_str(&format!("{mark}{key}={value}"));
        }
        text
    }
}

fn limits_of(path: &str) -> String {
    format!("{QUOTA}{path}/{QUOTA_LIMITS}")
}

fn stats_of(path: &str) -> String {
    format!("{QUOTA}{path}/{QUOTA_STATS}")
}

/// Below a chroot the nodes would be made where no server looks for them.
fn without_chroot(client: &Client) -> Result<(), Failure> {
    if client.chroot().is_empty() {
        return Ok(());
    }
    Err(Failure::failed(
        "quotas are kept above the chroot: connect without one",
    ))
}

/// `setquota`.
pub(super) async fn set(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    if path.starts_with(QUOTA) {
        return Err(Failure::failed(format!(
            "cannot set a quota under the path: {QUOTA}"
        )));
    }
    let (key, limit) = wanted(&given)?;
    check_path(path)?;
    let client = shell.client()?;
    without_chroot(&client)?;
    let found = client.exists(path).await;
    if found.map_err(|error| refused(&error, path))?.is_none() {
        return Err(Failure::failed(format!("{path} does not exist.")));
    }
    // zkCli's words for what becomes of the root.
    check_path(&format!("{QUOTA}{path}"))?;
    refuse_below(&client, path).await?;
    refuse_above(&client, path).await?;
    make(&client, path).await?;
    let (limits_path, stats_path) = (limits_of(path), stats_of(path));
    let (limits, stats) = match read(&client, &limits_path).await? {
        None => {
            let mut limits = Track::unlimited();
            limits.put(key, limit);
            create(&client, &limits_path, &limits.text()).await?;
            create(&client, &stats_path, "count=0,bytes=0").await?;
            let stats = read(&client, &stats_path).await?.unwrap_or_default();
            (limits, stats)
        }
        Some(mut limits) => {
            limits.put(key, limit);
            let stats = read(&client, &stats_path).await?.unwrap_or_default();
            let done = client.set(&limits_path, limits.text(), Version::Any).await;
            done.map_err(|error| refused(&error, &limits_path))?;
            (limits, stats)
        }
    };
    if shell.out.json {
        let object = json!({ "path": path, "limits": limits.0, "counts": stats.0 });
        return shell.out.json(&object);
    }
    warn(shell, &limits, &stats)
}

/// Which limit, and its value.
fn wanted(given: &Given) -> Result<(&'static str, i64), Failure> {
    let no_number =
        || Failure::failed("NumberFormatException happens when parsing the option value");
    let options = [
        ("n", "count"),
        ("b", "bytes"),
        ("N", "countHardLimit"),
        ("B", "byteHardLimit"),
    ];
    for (option, key) in options {
        let Some(text) = given.value(option) else {
            continue;
        };
        if key.starts_with("count") {
            let value: i32 = text.parse().map_err(|_| no_number())?;
            if value <= 0 {
                return Err(Failure::failed("the num quota must be greater than zero"));
            }
            return Ok((key, i64::from(value)));
        }
        let value: i64 = text.parse().map_err(|_| no_number())?;
        if value < 0 {
            return Err(Failure::failed(
                "the bytes quota must be greater than or equal to zero",
            ));
        }
        return Ok((key, value));
    }
    Err(no_number())
}

fn warn(shell: &mut Shell, limits: &Track, stats: &Track) -> Result<(), Failure> {
    let checks = [
        ("count", "countHardLimit", "count"),
        ("bytes", "byteHardLimit", "bytes"),
    ];
    for (soft, hard, what) in checks {
        let there = stats.value(what);
        let over = |key| limits.value(key) > -1 && limits.value(key) < there;
        if over(soft) || over(hard) {
            shell.out.line(format!(
                "[Warning]: the {what} quota you create is less than the existing {what}:{there}"
            ))?;
        }
    }
    Ok(())
}

async fn refuse_below(client: &Client, path: &str) -> Result<(), Failure> {
    let own = format!("{QUOTA}{path}");
    let tree = Walk::new(client, &own).children().await;
    let Ok(paths) = tree.paths() else {
        // Nothing there has a quota.
        return Ok(());
    };
    for place in paths {
        let has_quota = tree.names(place)?.iter().any(|name| name == QUOTA_LIMITS);
        if place != own && has_quota {
            let child = place.strip_prefix(QUOTA).unwrap_or(place);
            return Err(Failure::failed(format!(
                "{path} has a child {child} which has a quota"
            )));
        }
    }
    Ok(())
}

async fn refuse_above(client: &Client, path: &str) -> Result<(), Failure> {
    let mut ancestors: Vec<&str> = path
        .match_indices('/')
        .filter_map(|(at, _)| path.get(..at))
        .collect();
    ancestors.retain(|ancestor| !ancestor.is_empty());
    for ancestor in ancestors {
        let place = format!("{QUOTA}{ancestor}");
        match client.children(&place).await {
            Ok(children) if children.names.iter().any(|name| name == QUOTA_LIMITS) => {
                return Err(Failure::failed(format!(
                    "{path} has a parent {ancestor} which has a quota"
                )));
            }
            Ok(_) => {}
            Err(error) if *error.kind() == ErrorKind::NoNode => return Ok(()),
            Err(error) => return Err(refused(&error, &place)),
        }
    }
    Ok(())
}

/// The nodes above the limits.
async fn make(client: &Client, path: &str) -> Result<(), Failure> {
    let mut place = QUOTA.to_owned();
    make_one(client, ZOOKEEPER).await?;
    make_one(client, QUOTA).await?;
    for name in path.split('/').filter(|name| !name.is_empty()) {
        place = join(&place, name);
        make_one(client, &place).await?;
    }
    Ok(())
}

async fn make_one(client: &Client, path: &str) -> Result<(), Failure> {
    let found = client.exists(path).await;
    if found.map_err(|error| refused(&error, path))?.is_some() {
        return Ok(());
    }
    match client.create(path, "", NodeKind::Persistent).await {
        Ok(_) => Ok(()),
        Err(error) if *error.kind() == ErrorKind::NodeExists => Ok(()),
        Err(error) => Err(refused(&error, path)),
    }
}

async fn create(client: &Client, path: &str, data: &str) -> Result<(), Failure> {
    let done = client.create(path, data, NodeKind::Persistent).await;
    done.map(|_| ()).map_err(|error| refused(&error, path))
}

async fn read(client: &Client, path: &str) -> Result<Option<Track>, Failure> {
    match client.get(path).await {
        Ok(node) => Ok(Some(Track::read(&node.data))),
        Err(error) if *error.kind() == ErrorKind::NoNode => Ok(None),
        Err(error) => Err(refused(&error, path)),
    }
}

/// `listquota`.
pub(super) async fn list(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    let client = shell.client()?;
    without_chroot(&client)?;
    let limits_path = limits_of(path);
    if !shell.out.json {
        shell.out.note(format!("absolute path is {limits_path}"));
    }
    check_path(&limits_path)?;
    let limits = read(&client, &limits_path).await?;
    let stats = read(&client, &stats_of(path)).await?;
    let (Some(limits), Some(stats)) = (limits, stats) else {
        shell.out.note(format!("quota for {path} does not exist."));
        return Ok(());
    };
    if shell.out.json {
        let object = json!({ "path": path, "limits": limits.0, "counts": stats.0 });
        return shell.out.json(&object);
    }
    shell
        .out
        .line(format!("Output quota for {path} {}", limits.text()))?;
    shell
        .out
        .line(format!("Output stat for {path} {}", stats.text()))
}

/// `delquota`.
pub(super) async fn delete(shell: &mut Shell, spec: &Spec, given: Given) -> Result<(), Failure> {
    let path = super::path(spec, &given)?;
    let limits_path = limits_of(path);
    check_path(&limits_path)?;
    let client = shell.client()?;
    without_chroot(&client)?;
    let Some(mut limits) = read(&client, &limits_path).await? else {
        return shell.out.line(format!("Quota does not exist for {path}"));
    };
    let options = [
        ("n", "count"),
        ("b", "bytes"),
        ("N", "countHardLimit"),
        ("B", "byteHardLimit"),
    ];
    if let Some((_, key)) = options.iter().find(|(option, _)| given.has(option)) {
        limits.put(key, -1);
        let done = client.set(&limits_path, limits.text(), Version::Any).await;
        done.map_err(|error| refused(&error, &limits_path))?;
    } else {
        trim(&client, &format!("{QUOTA}{path}")).await?;
    }
    if shell.out.json {
        return shell.out.json(&json!({ "path": path }));
    }
    Ok(())
}

/// Deletes a quota's nodes, then the nodes above that hold nothing any more.
async fn trim(client: &Client, place: &str) -> Result<(), Failure> {
    for name in names(client, place).await? {
        let child = join(place, &name);
        let done = client.delete(&child, Version::Any).await;
        done.map_err(|error| refused(&error, &child))?;
    }
    let mut place = place;
    while place != QUOTA && names(client, place).await?.is_empty() {
        let done = client.delete(place, Version::Any).await;
        done.map_err(|error| refused(&error, place))?;
        place = place.rsplit_once('/').map_or(QUOTA, |(above, _)| above);
    }
    Ok(())
}

async fn names(client: &Client, path: &str) -> Result<Vec<String>, Failure> {
    let read = client.children(path).await;
    read.map(|children| children.names)
        .map_err(|error| refused(&error, path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_for_servers_of_all_versions() {
        let mut track = Track::unlimited();
        track.put("count", 5);
        let text = "count=5,bytes=-1=;byteHardLimit=-1;countHardLimit=-1";
        assert_eq!(track.text(), text);
        assert_eq!(Track::read(text.as_bytes()), track);
        assert_eq!(Track::read(b"count=4,bytes=3").text(), "count=4,bytes=3");
    }
}
