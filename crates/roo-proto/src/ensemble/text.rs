//! The text of an ensemble, as it travels between servers and lies in `/zookeeper/config` and in
//! dynamic configuration files. Java: `QuorumMaj`, `QuorumHierarchical`, `QuorumPeerConfig`.

use alloc::borrow::ToOwned;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::{Ensemble, EnsembleError, Fault, Member, MemberRole, Voting, member};
use crate::ids::ServerId;
use crate::properties;

/// A version as it stands in texts and file names: hexadecimal, unsigned, without `0x`.
/// Java: `Long.toHexString`.
#[must_use]
pub fn text_version(version: i64) -> String {
    format!("{version:x}")
}

/// The version of such a text; nothing if it is none.
#[must_use]
pub fn parse_text_version(text: &str) -> Option<i64> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(text, 16).ok().map(u64::cast_signed)
}

impl Ensemble {
    /// Reads a text of lines `server.N=...`, `group.G=1:2`, `weight.S=1` and `version=HEX`, in the
    /// syntax of properties. Without a version line the version is 0.
    ///
    /// # Errors
    /// The first key with what was expected, also when the servers make no ensemble.
    pub fn parse(text: &str) -> Result<Self, EnsembleError> {
        let found = properties::parse(text).map_err(|(line, expected)| EnsembleError {
            fault: Fault::Value,
            key: format!("line {line}"),
            value: None,
            expected: expected.to_owned(),
        })?;
        Self::from_pairs(found.iter().map(|p| (p.key.as_str(), p.value.as_str())))
    }

    /// The same from keys with their values.
    ///
    /// # Errors
    /// As [`Ensemble::parse`].
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, EnsembleError> {
        let mut draft = Draft::default();
        for (key, value) in pairs {
            draft.take(key.trim(), value.trim())?;
        }
        draft.finish()
    }

    /// The text as Apache's servers write it, to the byte: servers, groups, weights in the order
    /// of Java's `HashMap`, then the version without a line end.
    /// Java: `QuorumVerifier.toString`.
    #[must_use]
    pub fn to_text(&self) -> String {
        let mut text = self.lines().join("\n");
        if !text.is_empty() {
            text.push('\n');
        }
        text.push_str("version=");
        text.push_str(&text_version(self.version));
        text
    }

    /// The content of a dynamic configuration file: sorted lines; the version stands in the file's
    /// name. Java: `QuorumPeerConfig.writeDynamicConfig`.
    #[must_use]
    pub fn dynamic_file_text(&self) -> String {
        let mut lines = self.lines();
        lines.sort();
        lines.join("\n")
    }

    /// The content of the file of a proposed configuration, `.dynamic.next`: the same with the
    /// version among the lines.
    #[must_use]
    pub fn next_file_text(&self) -> String {
        let mut lines = self.lines();
        lines.push(format!("version={}", text_version(self.version)));
        lines.sort();
        lines.join("\n")
    }

    fn lines(&self) -> Vec<String> {
        let mut lines: Vec<String> = hash_order(self.members.keys().map(|id| id.0))
            .into_iter()
            .filter_map(|id| Some((id, self.members.get(&ServerId(id))?)))
            .map(|(id, member)| format!("server.{id}={member}"))
            .collect();
        let Voting::Hierarchical { groups, .. } = &self.voting else {
            return lines;
        };
        let grouped = hash_order(groups.values().flatten().map(|id| id.0));
        for group in hash_order(groups.keys().copied()) {
            let Some(members) = groups.get(&group) else {
                continue;
            };
            let ids = grouped
                .iter()
                .filter(|id| members.contains(&ServerId(**id)));
            let ids: Vec<String> = ids.map(|id| format!("{id}")).collect();
            lines.push(format!("group.{group}={}", ids.join(":")));
        }
        let weights = self.all_weights();
        for id in hash_order(weights.keys().map(|id| id.0)) {
            let weight = weights.get(&ServerId(id)).copied().unwrap_or(1);
            lines.push(format!("weight.{id}={weight}"));
        }
        lines
    }
}

/// The order in which a `HashMap<Long, _>` of Java gives its keys, if it grew one by one and no
/// two of its keys share a bucket (those stand in the order of insertion, here in their own).
fn hash_order(keys: impl Iterator<Item = i64>) -> Vec<i64> {
    let mut keys: Vec<i64> = keys.collect();
    let mut buckets = 16_usize;
    while keys.len() > buckets / 4 * 3 {
        buckets *= 2;
    }
    let mask = u64::try_from(buckets - 1).unwrap_or(u64::MAX);
    keys.sort_by_key(|key| {
        let bits = key.cast_unsigned();
        let hash = (bits ^ (bits >> 32)) & 0xFFFF_FFFF;
        ((hash ^ (hash >> 16)) & mask, *key)
    });
    keys
}

/// What has been read so far.
// Compat: C-42 - nothing may stand twice.
#[derive(Default)]
struct Draft {
    version: Option<i64>,
    members: BTreeMap<ServerId, Member>,
    hierarchical: bool,
    groups: BTreeMap<i64, BTreeSet<ServerId>>,
    group_of: BTreeMap<ServerId, i64>,
    weights: BTreeMap<ServerId, u64>,
}

impl Draft {
    fn take(&mut self, key: &str, value: &str) -> Result<(), EnsembleError> {
        let fail = |fault, expected: &str| Err(error(fault, key, Some(value), expected));
        if let Some(id) = key.strip_prefix("server.") {
            let id = ServerId(number(key, id, value)?);
            let member = member::parse_keyed(key, value)?;
            if self.members.insert(id, member).is_some() {
                return fail(Fault::Form, "each server once");
            }
        } else if let Some(group) = key.strip_prefix("group.") {
            self.hierarchical = true;
            let group = number(key, group, value)?;
            self.group(key, group, value)?;
        } else if let Some(id) = key.strip_prefix("weight.") {
            self.hierarchical = true;
            let id = ServerId(number(key, id, value)?);
            let weight = value.parse::<u64>().ok();
            let Some(weight) = weight.filter(|weight| i64::try_from(*weight).is_ok()) else {
                return fail(Fault::Value, "a whole number from 0 on");
            };
            if self.weights.insert(id, weight).is_some() {
                return fail(Fault::Form, "each weight once");
            }
        } else if key == "version" {
            let Some(version) = parse_text_version(value) else {
                return fail(Fault::Value, "a hexadecimal number without 0x");
            };
            if self.version.replace(version).is_some() {
                return fail(Fault::Form, "one version");
            }
        } else {
            return fail(
                Fault::Form,
                "server.N, group.G, weight.N or version as the key",
            );
        }
        Ok(())
    }

    fn group(&mut self, key: &str, group: i64, value: &str) -> Result<(), EnsembleError> {
        let fail = |fault, expected: &str| Err(error(fault, key, Some(value), expected));
        let mut ids = BTreeSet::new();
        for id in value.split(':') {
            let Ok(id) = id.trim().parse().map(ServerId) else {
                return fail(Fault::Value, "ids of servers with colons between them");
            };
            if let Some(other) = self.group_of.insert(id, group) {
                let expected = format!(
                    "each server in one group: {} is in group.{other} already",
                    id.0
                );
                return fail(Fault::Form, &expected);
            }
            ids.insert(id);
        }
        if self.groups.insert(group, ids).is_some() {
            return fail(Fault::Form, "each group once");
        }
        Ok(())
    }

    fn finish(self) -> Result<Ensemble, EnsembleError> {
        let mut ensemble = Ensemble {
            version: self.version.unwrap_or(0),
            members: self.members,
            voting: Voting::Majority,
        };
        if ensemble.voters().next().is_none() {
            let fault = if ensemble.members.is_empty() {
                Fault::Form
            } else {
                Fault::Value
            };
            return Err(error(fault, "server.N", None, "at least one participant"));
        }
        if self.hierarchical {
            ensemble.voting = Voting::Hierarchical {
                groups: self.groups,
                weights: self.weights,
            };
            let weights = ensemble.all_weights();
            check_groups(&ensemble, &self.group_of, &weights)?;
            if let Voting::Hierarchical { weights: named, .. } = &mut ensemble.voting {
                *named = weights;
            }
        }
        Ok(ensemble)
    }
}

/// Every participant stands in a group, nobody else does, and some group weighs something.
// Compat: C-43
fn check_groups(
    ensemble: &Ensemble,
    group_of: &BTreeMap<ServerId, i64>,
    weights: &BTreeMap<ServerId, u64>,
) -> Result<(), EnsembleError> {
    for id in ensemble.voters() {
        if !group_of.contains_key(&id) {
            let key = format!("server.{}", id.0);
            return Err(error(Fault::Form, &key, None, "a group.G that names it"));
        }
    }
    for (id, group) in group_of {
        let role = ensemble.members.get(id).map(|member| member.role);
        if role != Some(MemberRole::Voter) {
            let key = format!("group.{group}");
            let expected = format!("participants only: server.{} is none", id.0);
            return Err(error(Fault::Value, &key, None, &expected));
        }
    }
    let mut total = 0_u64;
    for id in group_of.keys() {
        let weight = weights.get(id).copied().unwrap_or(1);
        total = total.saturating_add(weight);
    }
    if total == 0 {
        return Err(error(
            Fault::Value,
            "weight.N",
            None,
            "a participant that weighs more than 0",
        ));
    }
    if i64::try_from(total).is_err() {
        let expected = "weights that add up to less than 2^63";
        return Err(error(Fault::Value, "weight.N", None, expected));
    }
    Ok(())
}

fn number(key: &str, text: &str, value: &str) -> Result<i64, EnsembleError> {
    let expected = "a whole number behind the dot of the key";
    text.parse()
        .map_err(|_| error(Fault::Value, key, Some(value), expected))
}

fn error(fault: Fault, key: &str, value: Option<&str>, expected: &str) -> EnsembleError {
    EnsembleError {
        fault,
        key: key.to_owned(),
        value: value.map(ToOwned::to_owned),
        expected: expected.to_owned(),
    }
}
