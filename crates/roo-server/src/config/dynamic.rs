//! The files in which an ensemble is kept beside its `zoo.cfg`: `zoo.cfg.dynamic.VERSION` the one
//! in force, to which `zoo.cfg` points, and `zoo.cfg.dynamic.next` one that is proposed.
//! Java: `QuorumPeerConfig.writeDynamicConfig`, `editStaticConfig`.
//!
//! Every file is written beside its place, synced, and renamed: a crash leaves the old or the new.

use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use roo_proto::ensemble::{Ensemble, text_version};
use roo_proto::ids::ServerId;
use thiserror::Error;

use super::properties;

/// The files around one `zoo.cfg`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigFiles {
    /// The `zoo.cfg`.
    pub static_file: PathBuf,
}

/// A file that could not be written or removed. The server can go on, as Apache's does; at its
/// next start it knows the older ensemble and learns the newer one from the others.
#[derive(Debug, Error)]
#[error("cannot {what} {}: {source}; make its directory writable for the server", path.display())]
pub struct WriteError {
    /// The file.
    pub path: PathBuf,
    /// What was attempted, as a verb.
    pub what: &'static str,
    /// The operating system's answer.
    pub source: io::Error,
}

impl ConfigFiles {
    /// The file of an ensemble in force.
    #[must_use]
    pub fn dynamic(&self, version: i64) -> PathBuf {
        self.with_suffix(&format!(".dynamic.{}", text_version(version)))
    }

    /// The file of a proposed ensemble.
    #[must_use]
    pub fn next(&self) -> PathBuf {
        self.with_suffix(".dynamic.next")
    }

    /// The copy of the `zoo.cfg` that named the servers itself.
    #[must_use]
    pub fn backup(&self) -> PathBuf {
        self.with_suffix(".bak")
    }

    fn with_suffix(&self, suffix: &str) -> PathBuf {
        let mut name = OsString::from(&self.static_file);
        name.push(suffix);
        name.into()
    }

    /// Keeps an ensemble that is proposed.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn persist_next(&self, ensemble: &Ensemble) -> Result<(), WriteError> {
        let path = self.next();
        write_whole(&path, ensemble.next_file_text().as_bytes()).map_err(failed(&path, "write"))
    }

    /// Keeps an ensemble that is in force: writes its file, makes `zoo.cfg` point to it (after a
    /// copy of one that named servers itself) and removes the proposed one.
    ///
    /// # Errors
    /// When a file cannot be read, written or removed. What was done before stays done, and the
    /// order makes every part of it harmless.
    pub fn activate(&self, ensemble: &Ensemble, me: ServerId) -> Result<(), WriteError> {
        let dynamic = self.dynamic(ensemble.version);
        let text = ensemble.dynamic_file_text();
        write_whole(&dynamic, text.as_bytes()).map_err(failed(&dynamic, "write"))?;
        let path = &self.static_file;
        let old = fs::read(path).map_err(failed(path, "read"))?;
        let canonical = fs::canonicalize(&dynamic).map_err(failed(&dynamic, "resolve"))?;
        let mine = ensemble.members.get(&me);
        let client = match mine.and_then(|member| member.client.as_ref()) {
            Some(_) => ClientPort::InServerLine,
            None => ClientPort::InStaticFile,
        };
        let new = rewritten(&old, &canonical, client);
        if new != old {
            if !names(&old, "dynamicConfigFile") {
                let backup = self.backup();
                write_whole(&backup, &old).map_err(failed(&backup, "write"))?;
            }
            write_whole(path, &new).map_err(failed(path, "write"))?;
        }
        self.forget_next()
    }

    /// Keeps no ensemble that is proposed.
    ///
    /// # Errors
    /// When the file is there and cannot be removed.
    pub fn forget_next(&self) -> Result<(), WriteError> {
        let next = self.next();
        match fs::remove_file(&next) {
            Ok(()) => sync_dir_of(&next).map_err(failed(&next, "remove")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(failed(&next, "remove")(error)),
        }
    }
}

fn failed<'a>(path: &'a Path, what: &'static str) -> impl FnOnce(io::Error) -> WriteError + 'a {
    move |source| WriteError {
        path: path.to_owned(),
        what,
        source,
    }
}

/// Writes a file so that a crash leaves the old content or the new one. The permissions stay.
fn write_whole(path: &Path, content: &[u8]) -> io::Result<()> {
    // A link keeps pointing where it does.
    let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let mut name = path.clone().into_os_string();
    name.push(".tmp");
    let temporary = PathBuf::from(name);
    let mut file = File::create(&temporary)?;
    if let Ok(old) = fs::metadata(&path) {
        file.set_permissions(old.permissions())?;
    }
    file.write_all(content)?;
    file.sync_all()?;
    fs::rename(&temporary, &path)?;
    sync_dir_of(&path)
}

/// What was made, renamed or removed next to `path` stays so after a crash.
fn sync_dir_of(path: &Path) -> io::Result<()> {
    let dir = path.parent().filter(|dir| !dir.as_os_str().is_empty());
    File::open(dir.unwrap_or(Path::new(".")))?.sync_all()
}

/// Where the client port stands once the ensemble has a file of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientPort {
    /// Only in `zoo.cfg`.
    InStaticFile,
    /// In this server's line, so that `zoo.cfg` must not contradict it.
    InServerLine,
}

/// A `zoo.cfg` without the lines that say who belongs to the ensemble, and with one at the end
/// that names the dynamic file.
// Compat: C-44 - the other lines stay as they are, comments included.
#[must_use]
pub fn rewritten(content: &[u8], dynamic: &Path, client: ClientPort) -> Vec<u8> {
    let mut kept = Vec::new();
    for (key, lines) in entries(content) {
        if key.is_some_and(|key| is_of_the_ensemble(&key, client)) {
            continue;
        }
        kept.extend_from_slice(&lines);
        kept.push(b'\n');
    }
    let path = dynamic.to_string_lossy().replace('\\', "\\\\");
    kept.extend_from_slice(format!("dynamicConfigFile={path}\n").as_bytes());
    kept
}

fn is_of_the_ensemble(key: &str, client: ClientPort) -> bool {
    let key = key.strip_prefix("zookeeper.").unwrap_or(key);
    match key {
        "clientPort" | "clientPortAddress" => client == ClientPort::InServerLine,
        "dynamicConfigFile" | "peerType" => true,
        _ => ["server.", "group.", "weight."]
            .iter()
            .any(|prefix| key.starts_with(prefix)),
    }
}

/// Whether there is such a key.
fn names(content: &[u8], name: &str) -> bool {
    entries(content).any(|(key, _)| key.as_deref() == Some(name))
}

/// The entries of a properties file, each with all its lines, comments and empty lines without a
/// key.
fn entries(content: &[u8]) -> impl Iterator<Item = (Option<String>, Vec<u8>)> {
    let mut lines = lines(content).into_iter();
    std::iter::from_fn(move || {
        let mut entry = lines.next()?;
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | 0xc);
        let start = entry.iter().find(|byte| !blank(byte)).copied();
        if matches!(start, None | Some(b'#' | b'!')) {
            return Some((None, entry));
        }
        while entry
            .iter()
            .rev()
            .take_while(|byte| **byte == b'\\')
            .count()
            % 2
            == 1
        {
            let Some(next) = lines.next() else {
                // At the end it joins nothing; it must not join what is appended.
                entry.pop();
                break;
            };
            entry.push(b'\n');
            entry.extend(next);
        }
        let key = properties::parse(&entry).ok();
        let key = key.and_then(|found| Some(found.into_iter().next()?.key));
        Some((key, entry))
    })
}

/// The lines without their ends, of which Java knows three kinds; an end at the end is none.
fn lines(content: &[u8]) -> Vec<Vec<u8>> {
    let mut lines = vec![Vec::new()];
    let mut after_return = false;
    for byte in content {
        match byte {
            b'\n' if after_return => {}
            b'\n' | b'\r' => lines.push(Vec::new()),
            other => {
                if let Some(line) = lines.last_mut() {
                    line.push(*other);
                }
            }
        }
        after_return = *byte == b'\r';
    }
    if lines.last().is_some_and(Vec::is_empty) {
        lines.pop();
    }
    lines
}

#[cfg(test)]
mod tests;
