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
    /// Of the last one this many bytes are there, counted from the first that changes anything; the
    /// earlier ones are whole.
    Torn(usize),
}

#[derive(Clone, Debug, Default)]
struct Inode {
    /// As programs see it.
    content: Vec<u8>,
    /// As it is after a crash that loses everything.
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

    fn change(&mut self, change: Change) {
        Self::apply(&mut self.content, &change, usize::MAX);
        self.pending.push(change);
    }

    /// So many bytes of the last change were there already.
    fn known(&self) -> usize {
        let Some((Change::Write(offset, bytes), earlier)) = self.pending.split_last() else {
            return 0;
        };
        let mut content = self.durable.clone();
        for change in earlier {
            Self::apply(&mut content, change, usize::MAX);
        }
        let offset = usize::try_from(*offset).unwrap_or(usize::MAX);
        let before = content.get(offset..).unwrap_or_default();
        before.iter().zip(bytes).take_while(|(a, b)| a == b).count()
    }

    /// After a crash: the first `whole` of the changes, and `torn` bytes of the next one.
    fn crash(&mut self, whole: usize, torn: usize) {
        for (at, change) in std::mem::take(&mut self.pending).iter().enumerate() {
            match change {
                _ if at < whole => Self::apply(&mut self.durable, change, usize::MAX),
                Change::Write(..) if at == whole => Self::apply(&mut self.durable, change, torn),
                Change::Write(..) | Change::Len(_) => {}
            }
        }
        self.content.clone_from(&self.durable);
    }

    fn sync(&mut self) {
        for change in std::mem::take(&mut self.pending) {
            Self::apply(&mut self.durable, &change, usize::MAX);
        }
    }
}

/// What happened to names since their directory was synced.
#[derive(Clone, Debug)]
struct NameChange {
    gone: Option<PathBuf>,
    new: Option<(PathBuf, usize)>,
}

impl NameChange {
    fn apply(&self, names: &mut BTreeMap<PathBuf, usize>) {
        if let Some(path) = &self.gone {
            names.remove(path);
        }
        if let Some((path, inode)) = &self.new {
            names.insert(path.clone(), *inode);
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let path = self.gone.as_ref().or(self.new.as_ref().map(|new| &new.0));
        path.is_some_and(|path| path.parent() == Some(dir))
    }
}

#[derive(Clone, Debug, Default)]
struct World {
    inodes: Vec<Inode>,
    /// Names as programs see them.
    names: BTreeMap<PathBuf, usize>,
    /// Names as they are after a crash that loses everything.
    durable_names: BTreeMap<PathBuf, usize>,
    /// From those to these, in order.
    name_changes: Vec<NameChange>,
    dirs: Vec<PathBuf>,
    steps: u64,
    fail_at: Option<(u64, io::ErrorKind)>,
    /// Writes past the page cache are refused.
    has_large_blocks: bool,
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

    /// An empty disk whose blocks are larger than those that are written past the page cache.
    #[must_use]
    pub fn with_large_blocks() -> Self {
        let disk = Self::default();
        disk.world().has_large_blocks = true;
        disk
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
            name_changes: world.name_changes.clone(),
            dirs: world.dirs.clone(),
            ..World::default()
        };
        Self(Arc::new(Mutex::new(fresh)))
    }

    /// The disk as it is found after a crash now.
    #[must_use]
    pub fn after_crash(&self, crash: Crash) -> Self {
        let mut world = self.world().clone();
        world.crash(&mut |inode: &Inode| match (crash, inode.pending.len()) {
            (Crash::Lost, _) => (0, 0),
            (Crash::Kept, changes) => (changes, 0),
            (Crash::Torn(bytes), changes) => (changes.saturating_sub(1), inode.known() + bytes),
        });
        if crash == Crash::Lost {
            world.keep_names(0);
        } else {
            world.keep_names(usize::MAX);
        }
        Self(Arc::new(Mutex::new(world)))
    }

    /// A crash in place. Of each file a first part of what was not synced is there, the last of
    /// it perhaps torn, and so for names: each independent of the others. `below` chooses a
    /// number below its argument. What fails no longer fails.
    pub fn crash(&self, below: &mut dyn FnMut(usize) -> usize) {
        let mut world = self.world();
        world.crash(&mut |inode: &Inode| {
            let changes = &inode.pending;
            let whole = below(changes.len() + 1);
            let torn = match changes.get(whole) {
                Some(Change::Write(_, bytes)) => below(bytes.len() + 1),
                Some(Change::Len(_)) | None => 0,
            };
            (whole, torn)
        });
        let kept = below(world.name_changes.len() + 1);
        world.keep_names(kept);
    }

    /// Every file and its content, as programs see it.
    #[must_use]
    pub fn files(&self) -> Vec<(PathBuf, Vec<u8>)> {
        let world = self.world();
        let content = |inode: usize| world.inodes.get(inode).map(|i| i.content.clone());
        let files = world.names.iter();
        files
            .map(|(path, inode)| (path.clone(), content(*inode).unwrap_or_default()))
            .collect()
    }

    /// Damages a byte of a file, as worn disks do.
    pub fn flip(&self, path: &Path, offset: usize, mask: u8) {
        let mut world = self.world();
        let Some(inode) = world.names.get(path).copied() else {
            return;
        };
        if let Some(inode) = world.inodes.get_mut(inode) {
            for content in [&mut inode.content, &mut inode.durable] {
                if let Some(byte) = content.get_mut(offset) {
                    *byte ^= mask;
                }
            }
        }
    }
}

impl World {
    /// `survivors` says how many changes of a file are whole, and how much of the next one.
    fn crash(&mut self, survivors: &mut dyn FnMut(&Inode) -> (usize, usize)) {
        for inode in &mut self.inodes {
            if !inode.pending.is_empty() {
                let (whole, torn) = survivors(inode);
                inode.crash(whole, torn);
            }
        }
        self.steps = 0;
        self.fail_at = None;
    }

    fn keep_names(&mut self, count: usize) {
        for change in std::mem::take(&mut self.name_changes).iter().take(count) {
            change.apply(&mut self.durable_names);
        }
        self.names = self.durable_names.clone();
    }

    fn rename(&mut self, gone: Option<PathBuf>, new: Option<(PathBuf, usize)>) {
        let change = NameChange { gone, new };
        change.apply(&mut self.names);
        self.name_changes.push(change);
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
            let len = world.inodes.get(*inode)?.content.len() as u64;
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
            (_, OpenMode::Create | OpenMode::CreateDirect) => {
                world.step()?;
                world.inodes.push(Inode::default());
                let inode = world.inodes.len() - 1;
                world.rename(None, Some((path.to_path_buf(), inode)));
                inode
            }
        };
        Ok(Box::new(SimFile {
            disk: self.clone(),
            inode,
            block: (mode == OpenMode::CreateDirect).then_some(BLOCK),
        }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let inode = *world.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        world.rename(Some(from.to_path_buf()), Some((to.to_path_buf(), inode)));
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        if !world.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        world.rename(Some(path.to_path_buf()), None);
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        world.step()?;
        let (here, elsewhere) = std::mem::take(&mut world.name_changes)
            .into_iter()
            .partition(|change: &NameChange| change.is_in(dir));
        world.name_changes = elsewhere;
        let here: Vec<NameChange> = here;
        for change in &here {
            change.apply(&mut world.durable_names);
        }
        Ok(())
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        let mut world = self.world();
        if !world.dirs.iter().any(|known| known == dir) {
            world.dirs.push(dir.to_path_buf());
        }
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

/// Smaller than a real one, so that small tests have several.
const BLOCK: usize = 512;

struct SimFile {
    disk: SimDisk,
    inode: usize,
    block: Option<usize>,
}

impl SimFile {
    fn change(&self, change: Change) -> io::Result<()> {
        let mut world = self.disk.world();
        let failed = world.step();
        if let Some(inode) = world.inodes.get_mut(self.inode) {
            match (failed, change) {
                (Ok(()), change) => inode.change(change),
                // A write that fails may have left a part of itself.
                (Err(error), Change::Write(offset, bytes)) => {
                    let half = bytes.get(..bytes.len() / 2).unwrap_or_default().to_vec();
                    inode.change(Change::Write(offset, half));
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
            .map_or(0, |inode| inode.content.len() as u64))
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        let world = self.disk.world();
        let content = match world.inodes.get(self.inode) {
            Some(inode) => inode.content.as_slice(),
            None => &[],
        };
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

    fn block(&self) -> Option<usize> {
        self.block
    }

    fn write_at(&mut self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        if let Some(block) = self.block {
            let is_whole = |at: usize| at.is_multiple_of(block);
            let begin = usize::try_from(offset).unwrap_or(1);
            if self.disk.world().has_large_blocks
                || !is_whole(begin)
                || !is_whole(bytes.len())
                || !is_whole(bytes.as_ptr().addr())
            {
                return Err(io::ErrorKind::InvalidInput.into());
            }
        }
        self.change(Change::Write(offset, bytes.to_vec()))
    }

    fn set_len(&mut self, len: u64) -> io::Result<()> {
        self.change(Change::Len(len))
    }

    fn sync_data(&mut self) -> io::Result<()> {
        let mut world = self.disk.world();
        world.step()?;
        if let Some(inode) = world.inodes.get_mut(self.inode) {
            inode.sync();
        }
        Ok(())
    }
}
