//! Links, election messages, and which servers can reach each other. Decides nothing about time:
//! the world asks when something is ready and says when that moment has come.

use std::collections::{BTreeMap, VecDeque};

use roo_replica::peer_message::PeerMessage;
use roo_zab::Notification;
use roo_zab::message::LinkId;

/// One direction of a link carries these, in order.
#[derive(Clone, Debug)]
pub enum Packet {
    /// The other side has accepted.
    Opened,
    /// A message.
    Data(PeerMessage),
    /// The other side is gone.
    Closed,
}

/// One end of a link.
#[derive(Clone, Copy, Debug)]
pub struct End {
    /// Which server, counted from 0.
    pub server: usize,
    /// Which of its lives.
    pub life: u64,
    /// What it calls the link.
    pub id: LinkId,
}

/// A link, dialled by its end 0.
#[derive(Clone, Debug)]
pub struct Link {
    /// The second one exists once it has accepted.
    pub ends: [Option<End>; 2],
    /// Who was dialled.
    pub target: usize,
    /// What is on the way to each end, and when it is there.
    pub queues: [VecDeque<(u64, Packet)>; 2],
    /// When the last packet to each end is there.
    pub last: [u64; 2],
    /// Whether an end will hear nothing more.
    pub deaf: [bool; 2],
    /// Whether what is sent to an end is lost, because what was sent before is.
    pub lossy: [bool; 2],
}

/// Election messages from one server to another.
#[derive(Clone, Debug, Default)]
pub struct Channel {
    /// On the way, and when they are there.
    pub queue: VecDeque<(u64, Notification)>,
    /// The newest one that could not be sent.
    pub pending: Option<Notification>,
    /// When the last one is there.
    pub last: u64,
}

/// See the module.
#[derive(Clone, Debug)]
pub struct Network {
    servers: usize,
    /// Links by number.
    pub links: BTreeMap<usize, Link>,
    next_link: usize,
    by_end: BTreeMap<(usize, LinkId), (usize, usize)>,
    channels: Vec<Channel>,
    /// How many partitions stand between one server and another.
    blocks: Vec<u32>,
}

impl Network {
    /// A network between so many servers.
    #[must_use]
    pub fn new(servers: usize) -> Self {
        Self {
            servers,
            links: BTreeMap::new(),
            next_link: 0,
            by_end: BTreeMap::new(),
            channels: vec![Channel::default(); servers * servers],
            blocks: vec![0; servers * servers],
        }
    }

    /// Whether packets do not get from one server to another.
    #[must_use]
    pub fn is_blocked(&self, from: usize, to: usize) -> bool {
        self.blocks[from * self.servers + to] > 0
    }

    /// Puts a partition between two servers, one way.
    pub fn block(&mut self, from: usize, to: usize) {
        self.blocks[from * self.servers + to] += 1;
    }

    /// Takes it away again.
    pub fn unblock(&mut self, from: usize, to: usize) {
        let blocks = &mut self.blocks[from * self.servers + to];
        *blocks = blocks.saturating_sub(1);
    }

    /// Takes all of them away.
    pub fn unblock_all(&mut self) {
        self.blocks.fill(0);
    }

    /// The election messages from one to another.
    pub fn channel(&mut self, from: usize, to: usize) -> &mut Channel {
        &mut self.channels[from * self.servers + to]
    }

    /// A new link, not yet accepted.
    pub fn dial(&mut self, end: End, target: usize) -> usize {
        let number = self.next_link;
        self.next_link += 1;
        self.by_end.insert((end.server, end.id), (number, 0));
        self.links.insert(
            number,
            Link {
                ends: [Some(end), None],
                target,
                queues: [VecDeque::new(), VecDeque::new()],
                last: [0, 0],
                deaf: [false, false],
                lossy: [false, false],
            },
        );
        number
    }

    /// The target accepts.
    pub fn accept(&mut self, number: usize, end: End) {
        if let Some(link) = self.links.get_mut(&number) {
            link.ends[1] = Some(end);
            self.by_end.insert((end.server, end.id), (number, 1));
        }
    }

    /// Number and side of a server's link.
    #[must_use]
    pub fn find(&self, server: usize, id: LinkId) -> Option<(usize, usize)> {
        self.by_end.get(&(server, id)).copied()
    }

    /// An end is gone: it hears nothing more.
    pub fn forget(&mut self, server: usize, id: LinkId) {
        let Some((number, side)) = self.by_end.remove(&(server, id)) else {
            return;
        };
        let Some(link) = self.links.get_mut(&number) else {
            return;
        };
        link.deaf[side] = true;
        link.queues[side].clear();
        if link.deaf == [true, true] {
            self.links.remove(&number);
        }
    }

    /// The links of a server, with its side of each.
    #[must_use]
    pub fn links_of(&self, server: usize) -> Vec<(usize, usize, LinkId)> {
        let mine = self
            .by_end
            .range((server, LinkId(0))..(server + 1, LinkId(0)));
        mine.map(|((_, id), (number, side))| (*number, *side, *id))
            .collect()
    }
}
