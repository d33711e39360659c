//! The links between the servers of a model.

use roo_zab::message::LinkId;
use roo_zab::{Event, Message};

use super::{Channel, Job, Link, LinkKey, Model, Packet, id};

impl Model {
    /// The links of a server break: both ends hear of it, and nothing more.
    pub(super) fn lose_links(&mut self, server: usize) {
        let mine: Vec<LinkKey> = self
            .links
            .iter()
            .filter(|(_, link)| link.ends.iter().flatten().any(|end| end.0 == server))
            .map(|(key, _)| *key)
            .collect();
        for key in mine {
            let Some(link) = self.remove(key) else {
                continue;
            };
            for (at, id) in link.ends.into_iter().flatten() {
                if self.nodes[at].zab.is_some() {
                    self.end_link(at, id);
                }
            }
        }
    }

    /// A link is gone, with everything on it.
    fn remove(&mut self, key: LinkKey) -> Option<Link> {
        self.turns.forget(|channel| {
            matches!(channel, Channel::Dial(gone) | Channel::Packet(gone, _) if *gone == key)
        });
        self.links.remove(&key)
    }

    pub(super) fn end_link(&mut self, server: usize, link: LinkId) {
        let node = self.node(server);
        node.contents.remove(&link);
        if node.wanted.remove(&link).is_some() {
            self.own(server, Event::SnapshotFailed { link });
        }
        self.own(server, Event::LinkClosed { link });
    }

    pub(super) fn find(&self, server: usize, link: LinkId) -> Option<(LinkKey, usize)> {
        self.links.iter().find_map(|(key, found)| {
            let is_here = |end: &Option<LinkKey>| *end == Some((server, link));
            let side = found.ends.iter().position(is_here)?;
            Some((*key, side))
        })
    }

    pub(super) fn send(&mut self, server: usize, link: LinkId, packet: Packet) {
        if let Some((key, side)) = self.find(server, link) {
            self.push(key, 1 - side, packet);
        }
    }

    pub(super) fn push(&mut self, key: LinkKey, side: usize, packet: Packet) {
        if let Some(link) = self.links.get_mut(&key) {
            link.queues[side].push_back(packet);
            self.turns.push(Channel::Packet(key, side));
        }
    }

    pub(super) fn hang_up(&mut self, server: usize, link: LinkId) {
        let Some((key, side)) = self.find(server, link) else {
            return;
        };
        self.push(key, 1 - side, Packet::Closed);
        if let Some(found) = self.links.get_mut(&key) {
            found.ends[side] = None;
            if found.ends == [None, None] {
                self.remove(key);
            }
        }
        let node = self.node(server);
        node.contents.remove(&link);
        if node.wanted.remove(&link).is_some() {
            self.own(server, Event::SnapshotFailed { link });
        }
    }

    pub(super) fn on_dial(&mut self, key: LinkKey) {
        let Some(link) = self.links.get(&key) else {
            return;
        };
        let target = link.target;
        let Some((dialler, dialled)) = link.ends[0] else {
            self.remove(key);
            return;
        };
        let is_cut = self.cut_off.contains_key(&dialler) || self.cut_off.contains_key(&target);
        if self.nodes[target].zab.is_none() || is_cut {
            self.remove(key);
            self.give(dialler, Event::LinkClosed { link: dialled });
            return;
        }
        let node = self.node(target);
        let accepted = LinkId(node.next_accepted);
        node.next_accepted += 2;
        if let Some(link) = self.links.get_mut(&key) {
            link.ends[1] = Some((target, accepted));
        }
        self.push(key, 0, Packet::Opened);
        let peer = id(dialler);
        let link = accepted;
        self.give(target, Event::LinkAccepted { link, peer });
    }

    pub(super) fn on_packet(&mut self, key: LinkKey, side: usize) {
        let Some(link) = self.links.get_mut(&key) else {
            return;
        };
        let (Some((server, id)), Some(packet)) = (link.ends[side], link.queues[side].pop_front())
        else {
            return;
        };
        match packet {
            Packet::Opened => self.give(server, Event::LinkOpened { link: id }),
            Packet::Closed => {
                self.remove(key);
                self.end_link(server, id);
            }
            Packet::Zab(message) => {
                if matches!(message, Message::Snap { .. }) {
                    self.node(server).contents.insert(id, None);
                }
                self.give(server, Event::Received { link: id, message });
            }
            Packet::Content(content) => {
                if let Some(place) = self.node(server).contents.get_mut(&id) {
                    *place = Some(content);
                    self.install(server, id);
                }
            }
        }
    }

    /// A snapshot that has come, and is wanted, goes to the disk.
    pub(super) fn install(&mut self, server: usize, link: LinkId) {
        let node = self.node(server);
        let (Some(Some(content)), Some(zxid)) =
            (node.contents.get(&link), node.wanted.get(&link).copied())
        else {
            return;
        };
        let content = content.clone();
        node.contents.remove(&link);
        node.wanted.remove(&link);
        self.job(server, Job::Install(link, zxid, content));
    }
}
