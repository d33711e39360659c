//! What a mirrored directory remembers, in a hidden file of its own: what both sides held when
//! they were last equal, and what is under way. One mirror works in a directory at a time; each
//! step holds a lock.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::local;
use super::plan::Base;
use crate::connect::{Failure, in_one_line};

/// How all names of ours begin.
pub(super) const PREFIX: &str = ".roo-mirror";
const STATE: &str = ".roo-mirror.json";
const LOCK: &str = ".roo-mirror.lock";

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct State {
    /// The subtree, with the chroot.
    pub subtree: String,
    /// The digests of what both sides held.
    pub base: Base,
    /// Digests of what is being written to the other side, `None` for what is being deleted: if the
    /// outcome is not known, whoever finds these there knows that it did it itself.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub intent: BTreeMap<String, Option<String>>,
    /// A change was made after which `--exec` has not ended well yet.
    #[serde(default)]
    pub exec_due: bool,
}

impl State {
    /// Reads it; an empty one if there is none.
    ///
    /// # Errors
    /// If it is damaged, or the directory belongs to another subtree and not `force`.
    pub(super) fn load(dir: &Path, subtree: &str, force: bool) -> Result<Self, Failure> {
        let path = dir.join(STATE);
        let fresh = Self {
            subtree: subtree.to_owned(),
            ..Self::default()
        };
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(fresh),
            Err(error) => return Err(local::failed("cannot read", &path, &error)),
        };
        let state: Self = serde_json::from_slice(&text).map_err(|error| {
            let why = in_one_line(&error.to_string());
            Failure::failed(format!(
                "{} is damaged ({why}): remove it, what differs is then named as a conflict",
                path.display()
            ))
        })?;
        if state.subtree == subtree {
            return Ok(state);
        }
        if force {
            return Ok(fresh);
        }
        Err(Failure::failed(format!(
            "{} is a mirror of {}, not of {subtree}: use another directory, or --force",
            dir.display(),
            state.subtree
        )))
    }

    /// Writes it, so that it is there whole after a power failure too.
    pub(super) fn save(&self, dir: &Path) -> Result<(), Failure> {
        let text = serde_json::to_string_pretty(self);
        let mut text = text.map_err(|error| Failure::failed(error.to_string()))?;
        text.push('\n');
        local::write(dir, &dir.join(STATE), text.as_bytes(), Some(0o600))
    }

    /// What both sides held, given what the other side holds now.
    pub(super) fn base_given(&self, found: impl Fn(&str) -> Option<String>) -> Base {
        let mut base = self.base.clone();
        for (path, digest) in &self.intent {
            if found(path) != *digest {
                continue;
            }
            match digest {
                Some(digest) => base.insert(path.clone(), digest.clone()),
                None => base.remove(path),
            };
        }
        base
    }
}

/// Held while a step is under way.
#[derive(Debug)]
pub(super) struct Lock(#[allow(dead_code)] File);

impl Lock {
    /// Waits for the other mirror of this directory, if there is one.
    pub(super) async fn take(dir: &Path) -> Result<Self, Failure> {
        let path: PathBuf = dir.join(LOCK);
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(|error| local::failed("cannot write", &path, &error))?;
        let locked = tokio::task::spawn_blocking(move || file.lock().map(|()| file));
        let locked = locked
            .await
            .map_err(|error| Failure::failed(error.to_string()))?;
        locked
            .map(Self)
            .map_err(|error| local::failed("cannot lock", &path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_done_without_an_answer_counts_as_ours() {
        let state = State {
            subtree: "/a".into(),
            base: Base::from([("x".into(), "1".into()), ("y".into(), "1".into())]),
            intent: BTreeMap::from([("x".into(), Some("2".into())), ("y".into(), None)]),
            exec_due: false,
        };
        let done = state.base_given(|path| (path == "x").then(|| "2".to_owned()));
        assert_eq!(done, Base::from([("x".into(), "2".into())]));
        let not_done = state.base_given(|_| Some("1".to_owned()));
        assert_eq!(not_done, state.base);
    }

    #[test]
    fn a_state_is_found_again_and_a_wrong_one_refused() {
        let dir = tempfile::tempdir().unwrap();
        let none = State::load(dir.path(), "/a", false).unwrap();
        assert!(none.base.is_empty());
        let state = State {
            base: Base::from([("x".into(), "1".into())]),
            ..none
        };
        state.save(dir.path()).unwrap();
        assert_eq!(State::load(dir.path(), "/a", false).unwrap(), state);
        let other = State::load(dir.path(), "/b", false).unwrap_err();
        assert!(other.text.contains("is a mirror of /a"), "{other}");
        assert!(State::load(dir.path(), "/b", true).unwrap().base.is_empty());
        fs::write(dir.path().join(STATE), "{").unwrap();
        let damaged = State::load(dir.path(), "/a", false).unwrap_err();
        assert!(damaged.text.contains("is damaged"), "{damaged}");
    }
}
