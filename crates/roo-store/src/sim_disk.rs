//! A file system in memory that forgets what was not synced, tears writes, and fails on demand.
//! For tests and the simulator.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{DirEntry, Disk, DiskFile, DiskLock, OpenMode};

/// What a crash does to writes that were not synced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Crash {
    /// They are gone.
    Lost,
    /// They are all there.
    Kept,
    /// Of the last one this many bytes are there, the earlier ones are whole.
    Torn(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    durable: Vec<u8>,
    /// Since the last sync: offset and bytes, or a new length.
    pending: Vec<Change>,
}

#[derive(Clone, Debug)]
enum Change {
    Write(u64, Vec<u8>),
    Len(u64),
}

impl Inode {
    fn apply(content: &mut Vec<u8>, change: &Change, limit: usize) {
        match change {
            Change::Write(offset, bytes) => {
                let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
                let bytes = bytes.get(..limit.min(bytes.len())).unwrap_or_default();
                if content.len() < offset + bytes.len() {
                    content.resize(offset + bytes.len(), 0);
                }
                if let Some(place) = content.get_mut(offset..offset + bytes.len()) {
                    place.copy_from_slice(bytes);
                }
            }
            Change::Len(len) => content.resize(usize::try_from(*len).unwrap_or(0), 0),
        }
    }

    fn current(&self) -> Vec<u8> {
        let mut content = self.durable.clone();
        for change in &self.pending {
            Self::apply(&mut content, change, usize::MAX);
        }
        content
    }
}

#[derive(Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    /// Names as programs see them.
    names: BTreeMap<PathBuf, usize>,
    /// Names as they are after a crash.
    durable_names: BTreeMap<PathBuf, usize>,
    dirs: Vec<PathBuf>,
    steps: u64,
    fail_at: Option<(u64, io::ErrorKind)>,
}

/// See the module. Clones share the same disk.
#[derive(Clone, Debug, Default)]
pub struct SimDisk(Arc<Mutex<World>>);

impl SimDisk {
    /// An empty disk.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn world(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Writes, syncs, renames and removals so far.
    #[must_use]
    pub fn steps(&self) -> u64 {
        self.world().steps
    }

    /// Every step from this one on fails.
    pub fn fail_from(&self, step: u64, kind: io::ErrorKind) {
        self.world().fail_at = Some((step, kind));
    }

    /// The disk as another process finds it when this one is killed now: what was not synced is
    /// there to be read, and as far from being safe as before. Nothing fails any more.
    #[must_use]
    pub fn after_kill(&self) -> Self {
        let world = self.world();
        let fresh = World {
            inodes: world.inodes.clone(),
            names: world.names.clone(),
            durable_names: world.durable_names.clone(),
            dirs: world.dirs.clone(),
            ..World::default()
        };
        Self(Arc::new(Mutex::new(fresh)))
    }

    /// The disk as it is found after a crash now.
    #[must_use]
    pub fn after_crash(&self, crash: Crash) -> Self {
        let world = self.world();
        let mut inodes = world.inodes.clone();
        for inode in &mut inodes {
            let pending = std::mem::take(&mut inode.pending);
            let last = pending.len().saturating_sub(1);
            for (at, change) in pending.iter().enumerate() {
                match crash {
                    Crash::Lost => {}
                    Crash::Kept => Inode::apply(&mut inode.durable, change, usize::MAX),
                    Crash::Torn(bytes) => {
                        let limit = if at == last { bytes } else { usize::MAX };
                        Inode::apply(&mut inode.durable, change, limit);
                    }
                }
            }
        }
        let names = match crash {
            Crash::Lost => world.durable_names.clone(),
            Crash::Kept | Crash::Torn(_) => world.names.clone(),
        };
        let fresh = World {
            inodes,
            durable_names: names.clone(),
            names,
            dirs: world.dirs.clone(),
            ..World::default()
        };
        Self(Arc::new(Mutex::new(fresh)))
    }
}

impl World {
    fn step(&mut self) -> io::Result<()> {
        self.steps += 1;
        match self.fail_at {
            Some((at, kind)) if self.steps > at => Err(kind.into()),
            _ => Ok(()),
        }
    }
}

impl Disk for SimDisk {
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        let world = self.world();
        if !world.dirs.iter().any(|known| known == dir) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let entry = |(path, inode): (&PathBuf, &usize)| {
            let name = path.file_name()?.to_str()?.to_owned();
            let len = world.inodes.get(*inode)?.current().len() as u64;
            Some(DirEntry {
                name,
                len,
                is_dir: false,
            })
        };
        let here = world
            .names
            .iter()
            .filter(|(path, _)| path.parent() == Some(dir));
        Ok(here.filter_map(entry).collect())
    }

    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Box<dyn DiskFile>> {
        let mut world = self.world();
        let known = world.names.get(path).copied();
        let inode = match (known, mode) {
            (Some(inode), OpenMode::Read | OpenMode::Modify) => inode,
            (None, OpenMode::Read | OpenMode::Modify) => return Err(io::ErrorKind::NotFound.into()),
            (_, OpenMode::Create) => {
                world.step()?;
                world.inodes.push(Inode::default());
                let inode = world.inodes.len() - 1;
                world.names.insert(path.to_path_buf(), inode);
                inode
            }
        };
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let inode = world.names.remove(from).ok_or(io::ErrorKind::NotFound)?;
        world.names.insert(to.to_path_buf(), inode);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        world
            .names
            .remove(path)
            .map(|_| ())
            .ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let here = |path: &PathBuf| path.parent() == Some(dir);
        let now: Vec<_> = world.names.iter().map(|(p, i)| (p.clone(), *i)).collect();
        world.durable_names.retain(|path, _| !here(path));
        world
            .durable_names
            .extend(now.into_iter().filter(|(path, _)| here(path)));
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.world().dirs.push(dir.to_path_buf());
        Ok(())
    }

    fn canonical(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(path.to_path_buf())
    }

    fn lock(&self, _path: &Path) -> io::Result<Option<Box<dyn DiskLock>>> {
        Ok(Some(Box::new(SimLock)))
    }
}

#[derive(Debug)]
struct SimLock;

impl DiskLock for SimLock {}

struct SimFile {
    disk: SimDisk,
    inode: usize,
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut world = self.disk.world();
        let failed = world.step();
        if let Some(inode) = world.inodes.get_mut(self.inode) {
            match (failed, change) {
                (Ok(()), change) => inode.pending.push(change),
                // A write that fails may have left a part of itself.
                (Err(error), Change::Write(offset, bytes)) => {
                    let half = bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec();
                    inode.pending.push(Change::Write(offset, half));
                    return Err(error);
                }
                (Err(error), Change::Len(_)) => return Err(error),
            }
        }
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn size(&self) -> io::Result<u64> {
        let world = self.disk.world();
        Ok(world
            .inodes
            .get(self.inode)
            .map_or(0, |inode| inode.current().len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let world = self.disk.world();
        let content = world
            .inodes
            .get(self.inode)
            .map(Inode::current)
            .unwrap_or_default();
        let from = usize::try_from(offset)
            .unwrap_or(usize::MAX)
            .min(content.len());
        let rest = content.get(from..).unwrap_or_default();
        let n = rest.len().min(buffer.len());
        if let (Some(place), Some(bytes)) = (buffer.get_mut(..n), rest.get(..n)) {
            place.copy_from_slice(bytes);
        }
        Ok(n)
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.change(Change::Write(offset, bytes.to_vec()))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.change(Change::Len(len))
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step()?;
        if let Some(inode) = world.inodes.get_mut(self.inode) {
            inode.durable = inode.current();
            inode.pending.clear();
        }
        Ok(())
    }
}
