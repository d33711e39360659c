//! A directory that shows one set of files at a time, as Kubernetes lays out mounted ConfigMaps:
//! the files lie in a hidden directory, the link `..data` leads to it, and each name in the
//! directory is a link through `..data`. A new set is written beside the old one, and shown by
//! renaming one link.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::local::{self, failed};
use super::plan::Files;
use super::state::PREFIX;
use crate::connect::Failure;

/// The link.
const DATA: &str = "..data";

/// How the directories of sets are named: this and a number.
const SET: &str = "..set-";

/// Whether a directory shows sets.
pub(super) fn is_shown(dir: &Path) -> bool {
    fs::symlink_metadata(dir.join(DATA)).is_ok_and(|facts| facts.is_symlink())
}

/// The files that a directory shows: the set, or itself.
pub(super) fn shown(dir: &Path) -> PathBuf {
    match fs::canonicalize(dir.join(DATA)) {
        Ok(set) if is_shown(dir) => set,
        _ => dir.to_owned(),
    }
}

/// Refuses a directory with names that are no links of ours: they would be replaced.
///
/// # Errors
/// With the first such name.
pub(super) fn check(dir: &Path) -> Result<(), Failure> {
    for name in names(dir)? {
        if name.starts_with('.') {
            continue;
        }
        if fs::read_link(dir.join(&name)).ok() != Some(through(&name)) {
            return Err(Failure::failed(format!(
                "{}: was not put there by this command, which shows whole sets through links: use \
                 an empty directory, or --plain to write file by file",
                dir.join(&name).display()
            )));
        }
    }
    Ok(())
}

fn through(name: &str) -> PathBuf {
    Path::new(DATA).join(name)
}

fn names(dir: &Path) -> Result<BTreeSet<String>, Failure> {
    let read = || -> io::Result<BTreeSet<String>> {
        let mut names = BTreeSet::new();
        for entry in fs::read_dir(dir)? {
            names.insert(entry?.file_name().to_string_lossy().into_owned());
        }
        Ok(names)
    };
    read().map_err(|error| failed("cannot read", dir, &error))
}

/// The number of a set.
fn number(name: &str) -> Option<u64> {
    name.strip_prefix(SET)?.parse().ok()
}

/// The set that is shown, by its name in the directory.
fn set_of(dir: &Path) -> Option<String> {
    let link = fs::read_link(dir.join(DATA)).ok()?;
    link.to_str().map(str::to_owned)
}

/// Shows a new set.
///
/// # Errors
/// If it cannot be written; the old set is shown then.
pub(super) fn show(dir: &Path, files: &Files, mode: Option<u32>) -> Result<(), Failure> {
    check(dir)?;
    // What a mirror that was killed has left would take the room of the new set.
    tidy(dir)?;
    let last = set_of(dir).as_deref().and_then(number).unwrap_or(0);
    let set = format!("{SET}{}", last.saturating_add(1));
    let written = write_set(&dir.join(&set), files, mode);
    if written.is_err() {
        // Nobody has seen it, and it may be what the disk is full of.
        let _ = fs::remove_dir_all(dir.join(&set));
    }
    written?;
    let put = || -> io::Result<()> {
        local::sync_dir(dir)?;
        link(dir, Path::new(&set), DATA)
    };
    put().map_err(|error| failed("cannot write", &dir.join(DATA), &error))?;
    tidy(dir)
}

fn write_set(set: &Path, files: &Files, mode: Option<u32>) -> Result<(), Failure> {
    let make =
        |dir: &Path| fs::create_dir_all(dir).map_err(|error| failed("cannot make", dir, &error));
    make(set)?;
    for (below, data) in files {
        let path = set.join(below);
        let parent = path.parent().unwrap_or(set);
        make(parent)?;
        local::write(parent, &path, data, mode)?;
    }
    Ok(())
}

/// Puts a link in its place, whatever was there.
fn link(dir: &Path, to: &Path, name: &str) -> io::Result<()> {
    let beside = dir.join(local::temporary(name));
    local::remove(&beside)?;
    symlink(to, &beside)?;
    fs::rename(&beside, dir.join(name))?;
    local::sync_dir(dir)
}

/// Makes the names that are shown those of the set, and removes all sets but that one and the last
/// before it: whoever reads in the last one comes to an end in peace. All is so already unless a
/// mirror was cut off.
///
/// # Errors
/// With what cannot be written or deleted.
pub(super) fn tidy(dir: &Path) -> Result<(), Failure> {
    let set = set_of(dir);
    let tops = match &set {
        Some(set) => names(&dir.join(set))?,
        None => BTreeSet::new(),
    };
    let put = || -> io::Result<()> {
        for name in &tops {
            if fs::read_link(dir.join(name)).ok() != Some(through(name)) {
                link(dir, &through(name), name)?;
            }
        }
        Ok(())
    };
    put().map_err(|error| failed("cannot write the links in", dir, &error))?;
    let all = names(dir)?;
    let shown = set.as_deref().and_then(number);
    let numbers = all.iter().filter_map(|name| number(name));
    let last = numbers.filter(|number| Some(*number) < shown).max();
    for name in &all {
        let path = dir.join(name);
        let is_set = number(name);
        let done = if is_set.is_some() && is_set != shown && is_set != last {
            fs::remove_dir_all(&path)
        } else if !name.starts_with('.') && !tops.contains(name) {
            fs::remove_file(&path)
        } else if name.starts_with(PREFIX)
            && fs::symlink_metadata(&path).is_ok_and(|f| f.is_symlink())
        {
            // A link that was about to be put in its place.
            fs::remove_file(&path)
        } else {
            Ok(())
        };
        done.map_err(|error| failed("cannot delete", &path, &error))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(pairs: &[(&str, &str)]) -> Files {
        let pairs = pairs.iter();
        pairs
            .map(|(path, data)| ((*path).to_owned(), data.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn a_set_is_shown_whole_and_the_last_one_stays_readable() {
        let dir = tempfile::tempdir().unwrap();
        let dir = dir.path();
        show(
            dir,
            &files(&[("a", "1"), ("d/b", "1"), ("gone", "1")]),
            None,
        )
        .unwrap();
        assert_eq!(fs::read_to_string(dir.join("d/b")).unwrap(), "1");
        let held = shown(dir);
        show(dir, &files(&[("a", "2"), ("d/b", "2"), ("new", "2")]), None).unwrap();
        for name in ["a", "d/b", "new"] {
            assert_eq!(fs::read_to_string(dir.join(name)).unwrap(), "2");
        }
        assert!(fs::symlink_metadata(dir.join("gone")).is_err());
        assert_eq!(fs::read_to_string(held.join("a")).unwrap(), "1");
        show(dir, &files(&[("a", "3")]), None).unwrap();
        assert!(!held.exists());
        assert_eq!(fs::read_to_string(dir.join("a")).unwrap(), "3");
    }

    #[test]
    fn files_of_others_are_not_replaced() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("mine"), "1").unwrap();
        let said = show(dir.path(), &files(&[("a", "1")]), None)
            .unwrap_err()
            .text;
        assert!(said.contains("mine: was not put there"), "{said}");
        assert!(!is_shown(dir.path()));
    }
}
