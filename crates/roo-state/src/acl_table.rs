//! Interned ACL lists: most nodes share a few. Java: `ReferenceCountedACLCache`.

use alloc::sync::Arc;
use alloc::vec;
use alloc::vec::Vec;

use hashbrown::HashMap;
use roo_proto::acl::Acl;

/// An interned list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AclId(u32);

impl AclId {
    /// The list that files know as key -1: everything to everybody. Only nodes that Apache itself
    /// makes have it; the same list given by a client is an ordinary one.
    pub const OPEN: Self = Self(0);
}

/// The key that files give to [`AclId::OPEN`].
pub const OPEN_KEY: i64 = -1;

#[derive(Debug)]
struct Entry {
    list: Arc<[Acl]>,
    /// The key in snapshots.
    key: i64,
    references: u32,
    /// What the list gives to everybody.
    world_perms: i32,
}

/// See the module.
#[derive(Debug)]
pub struct AclTable {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_list: HashMap<Arc<[Acl]>, AclId>,
    open: Arc<[Acl]>,
    /// Without references, but resolvable until [`AclTable::sweep`].
    dead: Vec<AclId>,
    next_key: i64,
}

impl Default for AclTable {
    fn default() -> Self {
        let open: Arc<[Acl]> = [Acl::open()].into();
        Self {
            entries: vec![Some(Entry::new(Arc::clone(&open), OPEN_KEY))],
            open,
            free: Vec::new(),
            by_list: HashMap::new(),
            dead: Vec::new(),
            next_key: 1,
        }
    }
}

impl Entry {
    fn new(list: Arc<[Acl]>, key: i64) -> Self {
        let anyone = |acl: &&Acl| acl.id.scheme == "world" && acl.id.id == "anyone";
        // An empty list permits everything.
        let world_perms = if list.is_empty() {
            -1
        } else {
            list.iter()
                .filter(anyone)
                .fold(0, |perms, acl| perms | acl.perms)
        };
        Self {
            list,
            key,
            references: 0,
            world_perms,
        }
    }
}

impl AclTable {
    fn entry(&self, id: AclId) -> Option<&Entry> {
        self.entries.get(id.0 as usize)?.as_ref()
    }

    /// The list that gives everything to everybody.
    #[must_use]
    pub const fn open_list(&self) -> &Arc<[Acl]> {
        &self.open
    }

    /// The list itself.
    #[must_use]
    pub fn list(&self, id: AclId) -> &[Acl] {
        self.entry(id).map_or(&[], |entry| &entry.list)
    }

    /// The permissions that the list gives to `world:anyone`.
    #[must_use]
    pub fn world_perms(&self, id: AclId) -> i32 {
        self.entry(id).map_or(0, |entry| entry.world_perms)
    }

    /// The key of the list in snapshots.
    #[must_use]
    pub fn key(&self, id: AclId) -> i64 {
        self.entry(id).map_or(OPEN_KEY, |entry| entry.key)
    }

    /// Interned lists, without the open one.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len() - self.free.len() - 1
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Every list with its key, without the open one.
    pub fn iter(&self) -> impl Iterator<Item = (i64, &[Acl])> {
        self.entries
            .iter()
            .skip(1)
            .flatten()
            .map(|entry| (entry.key, &*entry.list))
    }

    /// Interns a list and counts a reference to it.
    pub fn acquire(&mut self, list: &[Acl]) -> AclId {
        if let Some(id) = self.by_list.get(list) {
            let id = *id;
            self.retain(id);
            return id;
        }
        let key = self.next_key;
        let id = self.insert(list.into(), key);
        self.retain(id);
        id
    }

    /// Counts one more reference.
    pub fn retain(&mut self, id: AclId) {
        if let Some(Some(entry)) = self.entries.get_mut(id.0 as usize) {
            entry.references += 1;
        }
    }

    /// Enters a list read from a file under its key, without a reference.
    pub fn insert(&mut self, list: Arc<[Acl]>, key: i64) -> AclId {
        self.next_key = self.next_key.max(key.saturating_add(1));
        let entry = Entry::new(Arc::clone(&list), key);
        let id = match self.free.pop() {
            Some(slot) => AclId(slot),
            None => {
                self.entries.push(None);
                AclId(u32::try_from(self.entries.len() - 1).unwrap_or(u32::MAX))
            }
        };
        if let Some(slot) = self.entries.get_mut(id.0 as usize) {
            *slot = Some(entry);
        }
        self.by_list.insert(list, id);
        id
    }

    /// Counts one reference less. The list stays resolvable until [`AclTable::sweep`].
    pub fn release(&mut self, id: AclId) {
        if id == AclId::OPEN {
            return;
        }
        if let Some(Some(entry)) = self.entries.get_mut(id.0 as usize) {
            entry.references = entry.references.saturating_sub(1);
            if entry.references == 0 {
                self.dead.push(id);
            }
        }
    }

    /// Forgets the lists that lost their last reference.
    pub fn sweep(&mut self) {
        while let Some(id) = self.dead.pop() {
            self.drop_if_unused(id);
        }
    }

    /// Forgets every list without a reference, after a load.
    pub fn sweep_all(&mut self) {
        for slot in 1..self.entries.len() {
            self.drop_if_unused(AclId(u32::try_from(slot).unwrap_or(u32::MAX)));
        }
    }

    fn drop_if_unused(&mut self, id: AclId) {
        let Some(slot) = self.entries.get_mut(id.0 as usize) else {
            return;
        };
        if slot.as_ref().is_some_and(|entry| entry.references == 0) {
            if let Some(entry) = slot.take()
                && self.by_list.get(&entry.list) == Some(&id)
            {
                self.by_list.remove(&entry.list);
            }
            self.free.push(id.0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_shared_and_forgotten_with_the_last_reference() {
        let mut table = AclTable::default();
        let list = [Acl::new(1, "ip", "1.2.3.4")];
        let first = table.acquire(&list);
        assert_eq!(table.acquire(&list), first);
        assert_eq!(table.key(first), 1);
        table.release(first);
        table.sweep();
        assert_eq!(table.len(), 1);
        table.release(first);
        assert_eq!(table.list(first), list);
        table.sweep();
        assert!(table.is_empty());
        let again = table.acquire(&[Acl::open()]);
        assert_ne!(again, AclId::OPEN);
        assert_eq!((table.key(again), table.world_perms(again)), (2, 31));
    }

    #[test]
    fn keys_of_files_are_kept_and_not_given_again() {
        let mut table = AclTable::default();
        let id = table.insert([Acl::new(4, "world", "anyone")].into(), 40);
        table.retain(id);
        let next = table.acquire(&[Acl::new(8, "world", "anyone")]);
        assert_eq!((table.key(id), table.key(next)), (40, 41));
    }
}
