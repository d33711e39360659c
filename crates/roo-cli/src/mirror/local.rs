//! The directory: reading its files, and replacing them one by one so that nobody sees half of one.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use super::plan::{Action, Files, Plan, is_ignored, parents};
use super::state::PREFIX;
use crate::connect::Failure;

/// Deeper directories are not believed: links may lead in circles.
const DEPTH_MAX: usize = 64;

/// A file that changes all the time is read so often.
const READS_MAX: usize = 20;

/// What a node holds at most: the packet in which it is read has 1 MiB.
pub(super) const NODE_BYTES_MAX: u64 = 0xF_FFFF - 2048;

/// The files of a directory.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub files: Files,
    /// What was left out, and why, a line each.
    pub left_out: Vec<String>,
}

/// How a directory is read.
#[derive(Debug)]
pub(super) struct Scan<'a> {
    /// Where its files are: it, or the set that it shows.
    pub root: &'a Path,
    pub ignore: &'a [String],
}

impl Scan<'_> {
    /// Reads all files.
    ///
    /// # Errors
    /// If a file cannot be read, cannot be a node, or is too big for one; it is named.
    pub(super) fn read(&self) -> Result<Found, Failure> {
        let root = fs::canonicalize(self.root);
        let root = root.map_err(|error| failed("cannot read", self.root, &error))?;
        let mut found = Found::default();
        let mut pending = vec![String::new()];
        while let Some(dir) = pending.pop() {
            if parents(&dir).count() >= DEPTH_MAX {
                return Err(Failure::failed(format!(
                    "{dir}: more than {DEPTH_MAX} directories deep: does a link lead in a circle?"
                )));
            }
            let at = root.join(&dir);
            let entries = fs::read_dir(&at).map_err(|error| failed("cannot read", &at, &error))?;
            for entry in entries {
                let entry = entry.map_err(|error| failed("cannot read", &at, &error))?;
                let Ok(name) = entry.file_name().into_string() else {
                    return Err(unfit(&entry.path(), "it is not UTF-8"));
                };
                if is_ignored(&name, self.ignore) {
                    continue;
                }
                if !roo_proto::path::is_valid(&format!("/{name}")) {
                    return Err(unfit(&entry.path(), "it holds control characters"));
                }
                let below = match dir.as_str() {
                    "" => name,
                    dir => format!("{dir}/{name}"),
                };
                if self.entry(&root, &below, &mut found)? {
                    pending.push(below);
                }
            }
        }
        Ok(found)
    }

    /// Takes in a file; whether it is a directory instead.
    fn entry(&self, root: &Path, below: &str, found: &mut Found) -> Result<bool, Failure> {
        let path = root.join(below);
        // A link out of the directory would publish what nobody meant to.
        match fs::canonicalize(&path) {
            Ok(real) if !real.starts_with(root) => {
                let line = format!("{below}: left out, it is a link out of the directory");
                found.left_out.push(line);
                return Ok(false);
            }
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("cannot read", &path, &error)),
        }
        let facts = match fs::metadata(&path) {
            Ok(facts) => facts,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            Err(error) => return Err(failed("cannot read", &path, &error)),
        };
        if facts.is_dir() {
            return Ok(true);
        }
        if !facts.is_file() {
            let line = format!("{below}: left out, it is neither a file nor a directory");
            found.left_out.push(line);
            return Ok(false);
        }
        if facts.len() > NODE_BYTES_MAX {
            return Err(Failure::failed(format!(
                "{}: {} bytes are too many, a node holds at most {NODE_BYTES_MAX}: split it, or \
                 leave it out with --ignore",
                path.display(),
                facts.len()
            )));
        }
        if let Some(data) = read_whole(&path)? {
            found.files.insert(below.to_owned(), data);
        }
        Ok(false)
    }
}

fn unfit(path: &Path, why: &str) -> Failure {
    Failure::failed(format!(
        "{:?} cannot be a node's name, {why}: rename it, or leave it out with --ignore",
        path.display().to_string()
    ))
}

/// Reads a file that nobody wrote to meanwhile; nothing if it is gone.
fn read_whole(path: &Path) -> Result<Option<Vec<u8>>, Failure> {
    let read = || -> io::Result<Option<Vec<u8>>> {
        for _ in 0..READS_MAX {
            let before = fs::metadata(path)?;
            let data = fs::read(path)?;
            if same(&before, &fs::metadata(path)?) && before.len() == data.len() as u64 {
                return Ok(Some(data));
            }
        }
        Err(io::Error::other("it is being written all the time"))
    };
    match read() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        read => read.map_err(|error| failed("cannot read", path, &error)),
    }
}

fn same(a: &Metadata, b: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt;
    (a.ino(), a.len(), a.modified().ok()) == (b.ino(), b.len(), b.modified().ok())
}

/// Replaces files one by one.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    pub dir: &'a Path,
    pub mode: Option<u32>,
}

impl Plain<'_> {
    /// Does what is planned; deletions first, so that a file can become a directory.
    ///
    /// # Errors
    /// With the file at fault; those before it are done, and doing it again goes on.
    pub(super) fn apply(&self, plan: &Plan, source: &Files, seen: &Files) -> Result<(), Failure> {
        for (below, action) in &plan.actions {
            if *action == Action::Delete {
                self.untouched(below, seen)?;
                self.delete(below)?;
            }
        }
        for (below, action) in &plan.actions {
            let Some(data) = source.get(below).filter(|_| *action != Action::Delete) else {
                continue;
            };
            self.untouched(below, seen)?;
            let path = self.dir.join(below);
            let parent = path.parent().unwrap_or(self.dir);
            fs::create_dir_all(parent).map_err(|error| failed("cannot make", parent, &error))?;
            self.stays_inside(parent)?;
            write(parent, &path, data, self.mode)?;
        }
        Ok(())
    }

    /// A link must not lead what is written out of the directory.
    fn stays_inside(&self, parent: &Path) -> Result<(), Failure> {
        let real = |path: &Path| {
            fs::canonicalize(path).map_err(|error| failed("cannot read", path, &error))
        };
        if real(parent)?.starts_with(real(self.dir)?) {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "{}: lies outside of {} through a link: nothing is written there",
            parent.display(),
            self.dir.display()
        )))
    }

    /// Nobody wrote a file since it was compared.
    fn untouched(&self, below: &str, seen: &Files) -> Result<(), Failure> {
        let path = self.dir.join(below);
        let now = match fs::metadata(&path) {
            Ok(facts) if facts.is_file() => read_whole(&path)?,
            _ => None,
        };
        if now.as_ref() == seen.get(below) {
            return Ok(());
        }
        Err(Failure::failed(format!(
            "{}: changed just now, nothing was written to it: do it again",
            path.display()
        )))
    }

    fn delete(&self, below: &str) -> Result<(), Failure> {
        let path = self.dir.join(below);
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(failed("cannot delete", &path, &error));
            }
            _ => {}
        }
        for parent in parents(below) {
            // Only what is empty goes.
            if fs::remove_dir(self.dir.join(parent)).is_err() {
                break;
            }
        }
        Ok(())
    }
}

/// Writes a file beside its place, makes it last, and puts it there.
pub(super) fn write(
    dir: &Path,
    path: &Path,
    data: &[u8],
    mode: Option<u32>,
) -> Result<(), Failure> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    // The lock on the directory makes the name ours.
    let beside = dir.join(temporary(&name));
    let kept = fs::metadata(path)
        .ok()
        .map(|facts| facts.permissions().mode() & 0o7777);
    let put = || -> io::Result<()> {
        remove(&beside)?;
        let mut options = File::options();
        options.write(true).create_new(true);
        options.mode(mode.or(kept).unwrap_or(0o666) & 0o777);
        let mut file = options.open(&beside)?;
        file.write_all(data)?;
        if let Some(mode) = mode.or(kept) {
            file.set_permissions(fs::Permissions::from_mode(mode))?;
        }
        file.sync_all()?;
        fs::rename(&beside, path)?;
        sync_dir(dir)
    };
    put().map_err(|error| {
        // What is left of it would only be in the way.
        let _ = fs::remove_file(&beside);
        failed("cannot write", path, &error)
    })
}

/// The name of what is going to be `name`; a digest, as names may be as long as there can be.
pub(super) fn temporary(name: &str) -> PathBuf {
    let digest = super::plan::digest(name.as_bytes());
    PathBuf::from(format!("{PREFIX}.{}", digest.get(..16).unwrap_or_default()))
}

/// Removes a file that may be there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        done => done,
    }
}

/// Makes the names of a directory last.
pub(super) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// A failure of the file system, in one line.
pub(super) fn failed(what: &str, path: &Path, error: &io::Error) -> Failure {
    Failure::failed(format!("{what} {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::mirror::plan::{Base, Rules, compare};

    fn scan(root: &Path) -> Result<Found, Failure> {
        Scan { root, ignore: &[] }.read()
    }

    fn files(pairs: &[(&str, &str)]) -> Files {
        let pairs = pairs.iter();
        pairs
            .map(|(path, data)| ((*path).to_owned(), data.as_bytes().to_vec()))
            .collect()
    }

    #[test]
    fn files_are_found_and_links_outside_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        fs::create_dir_all(root.join("sub/empty")).unwrap();
        fs::write(dir.path().join("secret"), "s").unwrap();
        for (name, data) in [("a", "1"), ("sub/b", "2"), (".hidden", "3"), ("a~", "4")] {
            fs::write(root.join(name), data).unwrap();
        }
        symlink("a", root.join("link")).unwrap();
        symlink("../secret", root.join("out")).unwrap();
        symlink("nowhere", root.join("broken")).unwrap();
        let found = scan(&root).unwrap();
        assert_eq!(
            found.files,
            files(&[("a", "1"), ("link", "1"), ("sub/b", "2")])
        );
        assert_eq!(found.left_out.len(), 1, "{:?}", found.left_out);
        symlink(".", root.join("circle")).unwrap();
        assert!(scan(&root).unwrap_err().text.contains("circle"));
    }

    #[test]
    fn a_file_that_can_be_no_node_is_named() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bad\u{1}name"), "").unwrap();
        let said = scan(dir.path()).unwrap_err().text;
        assert!(
            said.contains("control characters") && said.is_ascii(),
            "{said}"
        );
        fs::remove_file(dir.path().join("bad\u{1}name")).unwrap();
        fs::write(dir.path().join("big"), vec![0; 2 << 20]).unwrap();
        let said = scan(dir.path()).unwrap_err().text;
        assert!(said.contains("big: 2097152 bytes are too many"), "{said}");
    }

    #[test]
    fn nothing_is_written_through_a_link_outside() {
        let dir = tempfile::tempdir().unwrap();
        let (root, other) = (dir.path().join("root"), dir.path().join("other"));
        fs::create_dir(&root).unwrap();
        fs::create_dir(&other).unwrap();
        symlink("../other", root.join("sub")).unwrap();
        let source = files(&[("sub/x", "1")]);
        let plan = compare(&source, &Files::new(), &Base::new(), Rules::default());
        let plain = Plain {
            dir: &root,
            mode: None,
        };
        let said = plain.apply(&plan, &source, &Files::new()).unwrap_err().text;
        assert!(said.contains("lies outside of"), "{said}");
        assert!(!other.join("x").exists());
    }

    #[test]
    fn files_are_replaced_and_keep_their_mode() {
        let dir = tempfile::tempdir().unwrap();
        let plain = Plain {
            dir: dir.path(),
            mode: None,
        };
        fs::create_dir(dir.path().join("d")).unwrap();
        fs::write(dir.path().join("d/x"), "1").unwrap();
        fs::write(dir.path().join("a"), "1").unwrap();
        fs::set_permissions(dir.path().join("a"), fs::Permissions::from_mode(0o600)).unwrap();
        let (source, seen) = (
            files(&[("a", "2"), ("n/m", "3")]),
            files(&[("a", "1"), ("d/x", "1")]),
        );
        let rules = Rules {
            delete: true,
            force: true,
        };
        let plan = compare(&source, &seen, &Base::new(), rules);
        plain.apply(&plan, &source, &seen).unwrap();
        assert_eq!(scan(dir.path()).unwrap().files, source);
        assert!(!dir.path().join("d").exists());
        let mode = fs::metadata(dir.path().join("a"))
            .unwrap()
            .permissions()
            .mode();
        assert_eq!(mode & 0o777, 0o600);
        let said = plain.apply(&plan, &source, &seen).unwrap_err().text;
        assert!(said.contains("changed just now"), "{said}");
    }
}
