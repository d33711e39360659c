//! How a queue's items are called and what their nodes hold.

use bytes::{Buf as _, Bytes};

use crate::Result;

use super::super::outcome::bad_data;

/// Whose nodes a queue uses.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum QueueLayout {
    /// Curator's `SimpleDistributedQueue`: `qn-<sequence>` below the path, its data the item. That
    /// class removes items without a lock, as [`super::Queue::pop`].
    #[default]
    CuratorSimple,
    /// Curator's `DistributedQueue`: `queue-<sequence>` below the path, its data one or more items
    /// in Curator's framing. It locks items if it has a `lockPath`; see
    /// [`super::Queue::with_locks_at`].
    Curator,
    /// kazoo's `Queue`: `entry-<priority>-<sequence>` below the path. That class removes items
    /// without a lock.
    Kazoo,
    /// kazoo's `LockingQueue`: `entries/entry-<priority>-<sequence>` below the path, and locks in
    /// `taken/`.
    KazooLocking,
}

/// Curator: `ItemSerializer`.
const VERSION: u32 = 0x0001_0001;
const ITEM: u8 = 1;
const END: u8 = 2;

impl QueueLayout {
    pub(super) fn items(self, path: &str) -> String {
        match self {
            Self::KazooLocking => format!("{path}/entries"),
            _ => path.to_owned(),
        }
    }

    pub(super) fn locks(self, path: &str) -> String {
        match self {
            Self::KazooLocking => format!("{path}/taken"),
            _ => format!("{path}-locks"),
        }
    }

    /// The name of an item up to its sequence number.
    pub(super) fn prefix(self, priority: u16) -> String {
        match self {
            Self::CuratorSimple => "qn-".to_owned(),
            Self::Curator => "queue-".to_owned(),
            Self::Kazoo | Self::KazooLocking => format!("entry-{priority:03}-"),
        }
    }

    pub(super) fn is_item(self, name: &str) -> bool {
        name.starts_with(match self {
            Self::CuratorSimple => "qn-",
            Self::Curator => "queue-",
            Self::Kazoo | Self::KazooLocking => "entry-",
        })
    }

    pub(super) fn encode(self, item: &[u8]) -> Vec<u8> {
        if self != Self::Curator {
            return item.to_vec();
        }
        let mut out = VERSION.to_be_bytes().to_vec();
        out.push(ITEM);
        // A node holds less than 2^31 bytes.
        let length = u32::try_from(item.len()).unwrap_or(u32::MAX);
        out.extend_from_slice(&length.to_be_bytes());
        out.extend_from_slice(item);
        out.push(END);
        out
    }

    pub(super) fn decode(self, path: &str, data: &Bytes) -> Result<Vec<Bytes>> {
        if self != Self::Curator {
            return Ok(vec![data.clone()]);
        }
        items(data.clone()).ok_or_else(|| bad_data(path, "no item of Curator's DistributedQueue"))
    }
}

fn items(mut data: Bytes) -> Option<Vec<Bytes>> {
    if data.try_get_u32().ok()? != VERSION {
        return None;
    }
    let mut found = Vec::new();
    loop {
        match data.try_get_u8().ok()? {
            END => return Some(found),
            ITEM => {
                let length = usize::try_from(data.try_get_i32().ok()?).ok()?;
                if length > data.len() {
                    return None;
                }
                found.push(data.split_to(length));
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_framed_as_curator_does() {
        let framed = QueueLayout::Curator.encode(b"ab");
        assert_eq!(framed, [0, 1, 0, 1, 1, 0, 0, 0, 2, b'a', b'b', 2]);
        let back = QueueLayout::Curator.decode("/q", &framed.into());
        assert_eq!(back.expect("framed"), [Bytes::from_static(b"ab")]);
    }

    #[test]
    fn a_node_may_hold_several_items_or_none() {
        let two = Bytes::from_static(&[0, 1, 0, 1, 1, 0, 0, 0, 1, b'a', 1, 0, 0, 0, 0, 2]);
        assert_eq!(
            items(two),
            Some(vec![Bytes::from_static(b"a"), Bytes::new()])
        );
        assert_eq!(
            items(Bytes::from_static(&[0, 1, 0, 1, 2])),
            Some(Vec::new())
        );
    }

    #[test]
    fn other_bytes_are_no_items() {
        for data in [
            &[][..],
            b"text",
            &[0, 1, 0, 1],
            &[0, 1, 0, 1, 1, 0, 0, 0, 9, 1, 2],
        ] {
            assert_eq!(items(Bytes::copy_from_slice(data)), None);
        }
        assert_eq!(
            items(Bytes::from_static(&[0, 1, 0, 1, 1, 255, 255, 255, 255, 2])),
            None
        );
        assert_eq!(items(Bytes::from_static(&[0, 1, 0, 1, 3])), None);
    }
}
