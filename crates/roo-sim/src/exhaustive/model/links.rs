//! The links between the servers of a model.

use roo_zab::message::LinkId;
use roo_zab::{Event, Message};

use super::{Job, Model, Packet, Turn, id};

impl Model {
    /// The links of a server break: both ends hear of it, and nothing more.
    pub(super) fn lose_links(&mut self, server: usize) {
        let mine: Vec<usize> = self
            .links
            .iter()
            .filter(|(_, link)| link.ends.iter().flatten().any(|end| end.0 == server))
            .map(|(number, _)| *number)
            .collect();
        for number in mine {
            let Some(link) = self.links.remove(&number) else {
                continue;
            };
            for (at, life, id) in link.ends.into_iter().flatten() {
                if self.nodes[at].life == life {
                    self.end_link(at, id);
                }
            }
        }
    }

    pub(super) fn end_link(&mut self, server: usize, link: LinkId) {
        let node = &mut self.nodes[server];
        node.contents.remove(&link);
        if node.wanted.remove(&link).is_some() {
            self.own(server, Event::SnapshotFailed { link });
        }
        self.own(server, Event::LinkClosed { link });
    }

    pub(super) fn find(&self, server: usize, link: LinkId) -> Option<(usize, usize)> {
        let life = self.nodes[server].life;
        self.links.iter().find_map(|(number, found)| {
            let side = found
                .ends
                .iter()
                .position(|end| *end == Some((server, life, link)))?;
            Some((*number, side))
        })
    }

    pub(super) fn send(&mut self, server: usize, link: LinkId, packet: Packet) {
        if let Some((number, side)) = self.find(server, link) {
            self.push(number, 1 - side, packet);
        }
    }

    pub(super) fn push(&mut self, number: usize, side: usize, packet: Packet) {
        if let Some(link) = self.links.get_mut(&number) {
            link.queues[side].push_back(packet);
            self.turns.push_back(Turn::Packet(number, side));
        }
    }

    pub(super) fn hang_up(&mut self, server: usize, link: LinkId) {
        let Some((number, side)) = self.find(server, link) else {
            return;
        };
        self.push(number, 1 - side, Packet::Closed);
        if let Some(found) = self.links.get_mut(&number) {
            found.ends[side] = None;
            if found.ends == [None, None] {
                self.links.remove(&number);
            }
        }
        let node = &mut self.nodes[server];
        node.contents.remove(&link);
        if node.wanted.remove(&link).is_some() {
            self.own(server, Event::SnapshotFailed { link });
        }
    }

    pub(super) fn on_dial(&mut self, number: usize) {
        let Some(link) = self.links.get(&number) else {
            return;
        };
        let target = link.target;
        let Some((dialler, _, dialled)) = link.ends[0] else {
            self.links.remove(&number);
            return;
        };
        let is_cut = self.cut_off.contains_key(&dialler) || self.cut_off.contains_key(&target);
        if self.nodes[target].zab.is_none() || is_cut {
            self.links.remove(&number);
            self.give(dialler, Event::LinkClosed { link: dialled });
            return;
        }
        let node = &mut self.nodes[target];
        let accepted = LinkId(node.next_accepted);
        node.next_accepted += 2;
        let end = Some((target, node.life, accepted));
        if let Some(link) = self.links.get_mut(&number) {
            link.ends[1] = end;
        }
        self.push(number, 0, Packet::Opened);
        let peer = id(dialler);
        let link = accepted;
        self.give(target, Event::LinkAccepted { link, peer });
    }

    pub(super) fn on_packet(&mut self, number: usize, side: usize) {
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        let (Some((server, _, id)), Some(packet)) =
            (link.ends[side], link.queues[side].pop_front())
        else {
            return;
        };
        match packet {
            Packet::Opened => self.give(server, Event::LinkOpened { link: id }),
            Packet::Closed => {
                self.links.remove(&number);
                self.end_link(server, id);
            }
            Packet::Zab(message) => {
                if matches!(message, Message::Snap { .. }) {
                    self.nodes[server].contents.insert(id, None);
                }
                self.give(server, Event::Received { link: id, message });
            }
            Packet::Content(content) => {
                if let Some(place) = self.nodes[server].contents.get_mut(&id) {
                    *place = Some(content);
                    self.install(server, id);
                }
            }
        }
    }

    /// A snapshot that has come, and is wanted, goes to the disk.
    pub(super) fn install(&mut self, server: usize, link: LinkId) {
        let node = &mut self.nodes[server];
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
