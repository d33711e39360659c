//! What goes between the servers of a world: election messages, links, and the parts of snapshots.

use roo_proto::ids::ServerId;
use roo_replica::event::Event as ReplicaEvent;
use roo_replica::peer_message::PeerMessage;
use roo_zab::message::LinkId;
use roo_zab::{Event, Message};

use crate::network::{End, Packet};
use crate::process::Receiving;
use crate::storage::{self, Job};

use super::{Happening, World};

impl World {
    /// A server notices that the way to another is open or closed.
    pub fn way(&mut self, at: usize, peer: usize, open: bool) {
        let life = self.servers[at].life;
        let us = self.delay();
        let way = Happening::Way {
            at,
            life,
            peer,
            open,
        };
        self.after(us, way);
        if open {
            self.flush_election(at, peer);
        }
    }

    /// Sends the newest election message, if there is a way.
    pub fn flush_election(&mut self, from: usize, to: usize) {
        let open = !self.network.is_blocked(from, to) && !self.network.is_blocked(to, from);
        if !open || !self.servers[to].is_up() {
            return;
        }
        let Some(notification) = self.network.channel(from, to).pending.take() else {
            return;
        };
        let ready = self.now + self.delay();
        let channel = self.network.channel(from, to);
        channel.last = channel.last.max(ready);
        let at = channel.last;
        channel.queue.push_back((at, notification));
        self.after(at - self.now, Happening::Election { from, to });
    }

    pub(super) fn on_election(&mut self, from: usize, to: usize) {
        let blocked = self.network.is_blocked(from, to);
        let from_id = self.servers[from].id;
        let is_up = self.servers[to].is_up();
        let channel = self.network.channel(from, to);
        let Some((_, notification)) = channel.queue.pop_front() else {
            return;
        };
        if blocked {
            channel.pending.get_or_insert(notification);
        } else if is_up {
            let event = Event::Notified {
                from: from_id,
                notification,
            };
            self.give(to, event);
        }
    }

    pub(super) fn dial(&mut self, server: usize, link: LinkId, to: ServerId) {
        let Some(target) = self.position(to) else {
            self.own(server, Event::LinkClosed { link });
            return;
        };
        let life = self.servers[server].life;
        let end = End {
            server,
            life,
            id: link,
        };
        let number = self.network.dial(end, target);
        let us = self.delay();
        self.after(us, Happening::Dialled { link: number });
    }

    pub(super) fn on_dialled(&mut self, number: usize) {
        let Some(link) = self.network.links.get(&number) else {
            return;
        };
        let target = link.target;
        let Some(dialler) = link.ends[0] else {
            return;
        };
        if link.deaf[0] {
            self.network.links.remove(&number);
            return;
        }
        let blocked = self.network.is_blocked(dialler.server, target)
            || self.network.is_blocked(target, dialler.server);
        if !self.servers[target].is_up() || blocked {
            let us = if blocked {
                self.options.tick_ms * 1000
            } else {
                self.delay()
            };
            let lost = Happening::LinkLost {
                link: number,
                side: 0,
            };
            self.after(us, lost);
            return;
        }
        let process = &mut self.servers[target];
        let id = LinkId(process.next_accepted);
        process.next_accepted += 2;
        let end = End {
            server: target,
            life: process.life,
            id,
        };
        self.network.accept(number, end);
        self.push(number, 0, Packet::Opened);
        let peer = self.servers[dialler.server].id;
        self.give(target, Event::LinkAccepted { link: id, peer });
    }

    pub(super) fn send(&mut self, server: usize, id: LinkId, message: PeerMessage) {
        if let Some((number, side)) = self.network.find(server, id) {
            self.push(number, 1 - side, Packet::Data(message));
        }
    }

    /// Puts a packet on its way to an end.
    pub(super) fn push(&mut self, number: usize, side: usize, packet: Packet) {
        let ready = self.now + self.delay();
        let Some(link) = self.network.links.get_mut(&number) else {
            return;
        };
        let is_lost = link.lossy[side] && !matches!(packet, Packet::Closed);
        if link.deaf[side] || is_lost {
            return;
        }
        let at = ready.max(link.last[side]);
        link.last[side] = at;
        link.queues[side].push_back((at, packet));
        let us = at - self.now;
        self.after(us, Happening::Packet { link: number, side });
    }

    pub(super) fn on_packet(&mut self, number: usize, side: usize) {
        let Some(link) = self.network.links.get(&number) else {
            return;
        };
        let Some(end) = link.ends[side] else {
            return;
        };
        let other = link.ends[1 - side].map_or(link.target, |end| end.server);
        // What stands still now is looked at again when the way is open and the process goes on.
        if self.network.is_blocked(other, end.server) || self.servers[end.server].paused {
            return;
        }
        let Some(link) = self.network.links.get_mut(&number) else {
            return;
        };
        match link.queues[side].front() {
            Some((at, _)) if *at <= self.now => {}
            _ => return,
        }
        let Some((_, packet)) = link.queues[side].pop_front() else {
            return;
        };
        if self.servers[end.server].life != end.life {
            return;
        }
        let (server, link) = (end.server, end.id);
        match packet {
            Packet::Opened => self.give(server, Event::LinkOpened { link }),
            Packet::Closed => self.lose_link(number, side),
            Packet::Data(PeerMessage::Zab(message)) => {
                if let Message::Snap { zxid } = message {
                    let receiving = Receiving {
                        zxid,
                        body: Vec::new(),
                        is_whole: false,
                        is_wanted: false,
                    };
                    self.servers[server].receiving.insert(link, receiving);
                }
                self.give(server, Event::Received { link, message });
            }
            Packet::Data(PeerMessage::Slice { bytes }) => {
                if let Some(receiving) = self.servers[server].receiving.get_mut(&link) {
                    receiving.body.extend_from_slice(&bytes);
                }
            }
            Packet::Data(PeerMessage::SliceEnd { length, .. }) => {
                if let Some(receiving) = self.servers[server].receiving.get_mut(&link) {
                    receiving.is_whole = receiving.body.len() as u64 == length;
                    self.install(server, link);
                    self.start_disk(server);
                }
            }
            Packet::Data(message) => {
                self.give_replica(server, ReplicaEvent::Received { link, message });
            }
        }
    }

    /// The ways between two servers are open again: what stood still goes on.
    pub fn resume_links(&mut self) {
        let numbers: Vec<usize> = self.network.links.keys().copied().collect();
        for number in numbers {
            for side in 0..2 {
                let Some(link) = self.network.links.get(&number) else {
                    continue;
                };
                let waiting = link.queues[side].len();
                let last = link.last[side].max(self.now);
                for _ in 0..waiting {
                    self.after(last - self.now, Happening::Packet { link: number, side });
                }
            }
        }
    }

    /// An end learns that its link is gone.
    pub(super) fn lose_link(&mut self, number: usize, side: usize) {
        let Some(link) = self.network.links.get(&number) else {
            return;
        };
        let Some(end) = link.ends[side] else {
            return;
        };
        if link.deaf[side] {
            return;
        }
        self.network.forget(end.server, end.id);
        if side == 0
            && self
                .network
                .links
                .get(&number)
                .is_some_and(|l| l.ends[1].is_none())
        {
            self.network.links.remove(&number);
        }
        if self.servers[end.server].life != end.life {
            return;
        }
        self.servers[end.server].sending.remove(&end.id);
        self.fail_snapshot(end.server, end.id);
        self.give(end.server, Event::LinkClosed { link: end.id });
    }

    /// A snapshot that has not come whole will not.
    pub(super) fn fail_snapshot(&mut self, server: usize, link: LinkId) {
        let receiving = self.servers[server].receiving.remove(&link);
        if receiving.is_some_and(|receiving| receiving.is_wanted) {
            self.own(server, Event::SnapshotFailed { link });
        }
    }

    /// A snapshot that is whole, and wanted, goes to the disk.
    pub(super) fn install(&mut self, server: usize, link: LinkId) {
        let process = &mut self.servers[server];
        let ready = |receiving: &mut Receiving| receiving.is_whole && receiving.is_wanted;
        if !process.receiving.get_mut(&link).is_some_and(ready) {
            return;
        }
        if let Some(Receiving { zxid, body, .. }) = process.receiving.remove(&link) {
            process.old_log.get_or_insert_with(|| process.log.clone());
            process.log = storage::entries_of(&body);
            process.storage.lanes[0].push_back(Job::Install(link, zxid, body));
        }
    }

    /// Something that a server tells itself, behind what it is doing now.
    pub(super) fn own(&mut self, server: usize, event: Event) {
        let life = self.servers[server].life;
        let own = Happening::Own {
            server,
            life,
            event,
        };
        self.after(0, own);
    }

    /// A server closes a link: the peer hears of it behind what was sent before.
    pub(super) fn hang_up(&mut self, server: usize, id: LinkId) {
        let Some((number, side)) = self.network.find(server, id) else {
            return;
        };
        self.servers[server].sending.remove(&id);
        self.push(number, 1 - side, Packet::Closed);
        self.network.forget(server, id);
        self.fail_snapshot(server, id);
    }

    /// One end dies: of what it sent last, some is lost, and then the peer hears of it.
    pub(super) fn break_link(&mut self, number: usize, side: usize) {
        self.lose_tail(number, 1 - side);
        self.push(number, 1 - side, Packet::Closed);
        if let Some(end) = self.network.links.get(&number).and_then(|l| l.ends[side]) {
            self.network.forget(end.server, end.id);
        }
    }

    /// A reset: both ends hear of it, each behind a part of what was on its way.
    pub fn reset_link(&mut self, number: usize) {
        for side in 0..2 {
            self.lose_tail(number, side);
            let us = self.delay();
            self.after(us, Happening::LinkLost { link: number, side });
        }
    }

    pub(super) fn lose_tail(&mut self, number: usize, side: usize) {
        if let Some(link) = self.network.links.get_mut(&number) {
            let kept = self.rng.index(link.queues[side].len() + 1);
            link.queues[side].truncate(kept);
            link.lossy[side] = true;
        }
    }
}
