//! The form in which subtrees lie in files. A file is one JSON object whose `nodes` stand a line
//! each; a directory has a folder for each node, with the same object in its `node.json`.

use std::borrow::Cow;
use std::fs;
use std::path::Path;
use std::time::Duration;

use roo_client::{Acl, NodeKind};
use serde::{Deserialize, Serialize};

use crate::connect::{Failure, in_one_line};
use crate::shell::output::{self, from_base64, permissions};
use crate::shell::walk::Whole;
use roo_proto::acl::PERM_ALL;

/// What marks a file as ours, with the version of its form.
pub(super) const FORMAT: u32 = 1;
/// The file of a node in its folder.
pub(super) const NODE_FILE: &str = "node.json";

/// A node, as it lies in a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    /// Its path below the exported one; empty for that one itself. Not in a `node.json`, where the
    /// folder tells it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    /// `persistent`, `ephemeral`, `container` or `ttl`.
    pub kind: String,
    /// The time to live of a `ttl` node.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_ms: Option<i64>,
    /// Its data, if that is UTF-8. Without `text` and `base64` it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Its data, if that is not UTF-8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base64: Option<String>,
    /// Its ACL, as `scheme:id:cdrwa`, or with a number where the letters do not tell all.
    pub acl: Vec<String>,
}

/// A file with a subtree.
#[derive(Debug, Deserialize)]
pub(super) struct File {
    /// See [`FORMAT`].
    pub roo_export: u32,
    /// Every node, parents first.
    pub nodes: Vec<Entry>,
}

impl Entry {
    /// A node that was read, with its path below the exported one.
    pub(super) fn new(whole: &Whole, path: Option<String>) -> Self {
        let owner = whole.node.stat.ephemeral_owner;
        let (mut text, mut base64) = (None, None);
        if let Some(data) = whole.node.value() {
            match std::str::from_utf8(data) {
                Ok(data) => text = Some(data.to_owned()),
                Err(_) => base64 = Some(output::base64(data)),
            }
        }
        Self {
            path,
            kind: output::kind(owner).to_owned(),
            ttl_ms: output::ttl_ms(owner),
            text,
            base64,
            acl: whole.acl.iter().map(acl_text).collect(),
        }
    }

    /// The data; nothing for a node that has none.
    pub(super) fn data(&self) -> Result<Option<Cow<'_, [u8]>>, String> {
        match (&self.text, &self.base64) {
            (None, None) => Ok(None),
            (Some(text), None) => Ok(Some(Cow::Borrowed(text.as_bytes()))),
            (None, Some(text)) => match from_base64(text) {
                Ok(data) => Ok(Some(Cow::Owned(data))),
                Err(error) => Err(format!("its base64 cannot be read: {error}")),
            },
            (Some(_), Some(_)) => Err("it has both text and base64".to_owned()),
        }
    }

    /// What kind of node to make; nothing for an ephemeral one, which belongs to its session.
    pub(super) fn node_kind(&self) -> Result<Option<NodeKind>, String> {
        match (self.kind.as_str(), self.ttl_ms) {
            ("persistent", None) => Ok(Some(NodeKind::Persistent)),
            ("container", None) => Ok(Some(NodeKind::Container)),
            ("ephemeral", None) => Ok(None),
            ("ttl", Some(ms)) if ms > 0 => {
                let ttl = Duration::from_millis(ms.unsigned_abs());
                Ok(Some(NodeKind::PersistentTtl(ttl)))
            }
            (kind, ttl_ms) => Err(format!("kind {kind:?} with ttl_ms {ttl_ms:?} is none")),
        }
    }

    /// The ACL.
    pub(super) fn acl(&self) -> Result<Vec<Acl>, String> {
        if self.acl.is_empty() {
            return Err("its ACL is empty".to_owned());
        }
        self.acl.iter().map(|text| read_acl(text)).collect()
    }
}

/// Whether somebody who may not read an ACL was shown this instead of a digest.
pub(super) fn is_hidden(acl: &[Acl]) -> bool {
    let hidden = |entry: &Acl| entry.id.scheme == "digest" && entry.id.id.ends_with(":x");
    acl.iter().any(hidden)
}

fn acl_text(acl: &Acl) -> String {
    let Acl { perms, id } = acl;
    if perms & !PERM_ALL != 0 {
        return format!("{}:{}:{perms}", id.scheme, id.id);
    }
    format!("{}:{}:{}", id.scheme, id.id, permissions(*perms))
}

fn read_acl(text: &str) -> Result<Acl, String> {
    let wrong = || format!("{text:?} is no ACL: expected scheme:id:cdrwa");
    let (scheme, rest) = text.split_once(':').ok_or_else(wrong)?;
    let (id, letters) = rest.rsplit_once(':').ok_or_else(wrong)?;
    if let Ok(perms) = letters.parse() {
        return Ok(Acl::new(perms, scheme, id));
    }
    let mut perms = 0;
    for letter in letters.chars() {
        let bit = (0..5).map(|bit| 1 << bit);
        let bit = bit
            .into_iter()
            .find(|bit| permissions(*bit).starts_with(letter));
        perms |= bit.ok_or_else(wrong)?;
    }
    Ok(Acl::new(perms, scheme, id))
}

/// The name of a node's folder. Names that mean something to a file system or to us are written
/// with %XX.
pub(super) fn folder_name(name: &str) -> String {
    let mut folder = name.replace('%', "%25");
    if folder.starts_with('.') {
        folder.replace_range(..1, "%2E");
    }
    if folder == NODE_FILE {
        folder.replace_range(..1, "%6E");
    }
    folder
}

/// The name of the node of a folder.
pub(super) fn node_name(folder: &str) -> Result<String, String> {
    let wrong = || format!("{folder:?} is no folder's name of an export");
    let mut name = String::new();
    let mut rest = folder;
    while let Some((before, after)) = rest.split_once('%') {
        name.push_str(before);
        let code = after.get(..2).ok_or_else(wrong)?;
        let code = u8::from_str_radix(code, 16).ok().filter(u8::is_ascii);
        name.push(char::from(code.ok_or_else(wrong)?));
        rest = after.get(2..).unwrap_or_default();
    }
    name.push_str(rest);
    Ok(name)
}

/// Reads a file's text.
pub(super) fn read(text: &str, name: &str) -> Result<Vec<Entry>, Failure> {
    let unread =
        |why: String| Failure::failed(in_one_line(&format!("{name} cannot be imported: {why}")));
    let file: File = serde_json::from_str(text).map_err(|error| unread(error.to_string()))?;
    if file.roo_export != FORMAT {
        let version = file.roo_export;
        return Err(unread(format!(
            "its form is {version}, this program reads {FORMAT}"
        )));
    }
    Ok(file.nodes)
}

/// Reads a directory, parents first, names sorted.
pub(super) fn read_folder(folder: &Path) -> Result<Vec<Entry>, Failure> {
    let mut entries = Vec::new();
    let mut pending = vec![(folder.to_owned(), String::new())];
    while let Some((folder, path)) = pending.pop() {
        let file = folder.join(NODE_FILE);
        let unread = |why: String| {
            let text = format!("{} cannot be imported: {why}", file.display());
            Failure::failed(in_one_line(&text))
        };
        let text = fs::read_to_string(&file).map_err(|error| unread(error.to_string()))?;
        let entry: Entry =
            serde_json::from_str(&text).map_err(|error| unread(error.to_string()))?;
        let mut folders = Vec::new();
        for found in fs::read_dir(&folder).map_err(|error| unread(error.to_string()))? {
            let found = found.map_err(|error| unread(error.to_string()))?;
            let name = found.file_name();
            let name = name
                .to_str()
                .ok_or_else(|| unread("a name is not UTF-8".to_owned()))?;
            // Whatever else lies there, such as .git, is not ours.
            if found.path().is_dir() && !name.starts_with('.') {
                folders.push((found.path(), node_name(name).map_err(unread)?));
            }
        }
        folders.sort_by(|(_, a), (_, b)| b.cmp(a));
        for (folder, name) in folders {
            let path = if path.is_empty() {
                name
            } else {
                format!("{path}/{name}")
            };
            pending.push((folder, path));
        }
        entries.push(Entry {
            path: Some(path),
            ..entry
        });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_is_read_as_it_is_written() {
        for acl in [
            Acl::open(),
            Acl::new(5, "digest", "u:aGFzaA=="),
            Acl::new(0, "ip", "::1"),
            Acl::new(37, "world", "anyone"),
        ] {
            assert_eq!(read_acl(&acl_text(&acl)), Ok(acl));
        }
        assert!(read_acl("world:anyone").is_err());
        assert!(read_acl("world:anyone:z").is_err());
    }

    #[test]
    fn every_name_of_a_node_makes_a_folder_and_comes_back() {
        for name in ["a", "node.json", ".git", "100%", "%41", "...", "caf\u{e9}"] {
            let folder = folder_name(name);
            assert!(!folder.starts_with('.') && folder != NODE_FILE, "{folder}");
            assert_eq!(node_name(&folder).unwrap(), name);
        }
        assert!(node_name("%").is_err() && node_name("%zz").is_err());
    }

    #[test]
    fn what_is_no_export_is_refused() {
        for text in [
            "",
            "[]",
            "{\"nodes\": []}",
            "{\"roo_export\": 2, \"nodes\": []}",
            "{\"roo_export\": 1, \"nodes\": [{\"kind\": \"persistent\"}]}",
        ] {
            assert!(read(text, "file").is_err(), "{text}");
        }
        let entry = Entry {
            kind: "ttl".to_owned(),
            ..Entry::default()
        };
        assert!(entry.node_kind().is_err() && entry.acl().is_err());
    }
}
