//! What makes two states of the model the same: whatever anything that happens later can tell.
//! Moments count by their distance from now, deadlines that are over are over, links by their order
//! and not by their numbers, and rounds of pings not at all, since nobody asks for them here.

use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};

use roo_zab::message::LinkId;

use super::turns::Channel;
use super::{LinkKey, Model, Node};

/// What is the same for all states that are the same, of one node.
#[derive(Clone, Debug)]
pub(super) struct NodePrint {
    hash: u64,
    /// Its links, in order.
    links: Vec<u64>,
}

impl NodePrint {
    /// The place of a link among those that the node knows, or its number.
    fn place(&self, link: LinkId) -> Result<usize, u64> {
        self.links.binary_search(&link.0).map_err(|_| link.0)
    }
}

/// Numbers behind these words do not count.
const IGNORED: [&str; 7] = [
    "now: Time(",
    "last_link: ",
    "next_accepted: ",
    "ping_round: ",
    "pong: ",
    "Ping { round: ",
    "Pong { round: ",
];

fn digits(text: &str) -> usize {
    text.bytes().take_while(u8::is_ascii_digit).count()
}

/// The numbers of the links that a text names, sorted.
fn links_in(text: &str) -> Vec<u64> {
    let named = text.match_indices("LinkId(").filter_map(|(at, word)| {
        let rest = &text[at + word.len()..];
        rest[..digits(rest)].parse().ok()
    });
    let mut links: Vec<u64> = named.collect();
    links.sort_unstable();
    links.dedup();
    links
}

/// Hashes a text, with what stands for a moment or a link made independent of when and which.
fn hash_text(text: &str, now: u64, links: &[u64], hasher: &mut DefaultHasher) {
    let mut rest = text;
    let mut begin = 0;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let count = digits(&rest[at..]);
        let (before, number) = (&text[..begin + at], &rest[at..at + count]);
        hasher.write(&rest.as_bytes()[..at]);
        hash_number(before, number, now, links, hasher);
        rest = &rest[at + count..];
        begin += at + count;
    }
    hasher.write(rest.as_bytes());
}

fn hash_number(before: &str, number: &str, now: u64, links: &[u64], hasher: &mut DefaultHasher) {
    let is_word = before.ends_with(['(', ' ']);
    if is_word && IGNORED.iter().any(|word| before.ends_with(word)) {
        return;
    }
    let value = number.parse::<u64>().ok();
    match value {
        Some(value) if is_word && before.ends_with("LinkId(") => {
            links.partition_point(|known| *known < value).hash(hasher);
        }
        Some(value) if is_word && value != u64::MAX && before.ends_with("Time(") => {
            let is_over = value <= now && before.ends_with("deadline: Time(");
            let away = value.cast_signed() - now.cast_signed();
            (!is_over).then_some(away).hash(hasher);
        }
        _ => hasher.write(number.as_bytes()),
    }
}

fn print_of(node: &Node, now: u64) -> NodePrint {
    let mut text = String::with_capacity(4096);
    let _ = write!(text, "{node:?}");
    let links = links_in(&text);
    let mut hasher = DefaultHasher::new();
    hash_text(&text, now, &links, &mut hasher);
    NodePrint {
        hash: hasher.finish(),
        links,
    }
}

impl Model {
    /// Equal for states that are the same.
    pub(in super::super) fn fingerprint(&mut self) -> u64 {
        for server in 0..self.nodes.len() {
            if self.prints[server].is_none() {
                self.prints[server] = Some(print_of(&self.nodes[server], self.now));
            }
        }
        let mut hasher = DefaultHasher::new();
        for print in self.prints.iter().flatten() {
            print.hash.hash(&mut hasher);
        }
        let mut text = String::with_capacity(1024);
        for (key, link) in &self.links {
            self.name(*key).hash(&mut hasher);
            for (at, id) in link.ends.into_iter().flatten() {
                self.name((at, id)).hash(&mut hasher);
            }
            let _ = write!(text, "{:?};", link.queues);
        }
        let _ = write!(text, "{:?};", self.elections);
        for (server, until) in &self.cut_off {
            let _ = write!(text, "{server} until Time({until});");
        }
        let led = &self.invariants.primary_uniqueness;
        let _ = write!(text, "{led:?};");
        hash_text(&text, self.now, &[], &mut hasher);
        for round in self.turns.rounds() {
            for (channel, count) in round {
                self.hash_channel(*channel, &mut hasher);
                count.hash(&mut hasher);
            }
            "behind this round".hash(&mut hasher);
        }
        self.proposed.hash(&mut hasher);
        let committed = self.invariants.commit_consistency.committed();
        committed.hash(&mut hasher);
        hasher.finish()
    }

    /// A link by its place among those of one of its servers.
    fn name(&self, (server, link): LinkKey) -> (usize, Result<usize, u64>) {
        let print = self.prints.get(server).and_then(Option::as_ref);
        (server, print.map_or(Err(link.0), |print| print.place(link)))
    }

    fn hash_channel(&self, channel: Channel, hasher: &mut DefaultHasher) {
        match channel {
            Channel::Dial(link) => (1, self.name(link)).hash(hasher),
            Channel::Packet(link, side) => (2, self.name(link), side).hash(hasher),
            Channel::Own(_) | Channel::Disk(_) | Channel::Propose(_) | Channel::Election(..) => {
                (3, channel).hash(hasher);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(text: &str, now: u64) -> u64 {
        let mut hasher = DefaultHasher::new();
        hash_text(text, now, &links_in(text), &mut hasher);
        hasher.finish()
    }

    #[test]
    fn states_are_the_same_at_other_times_and_with_other_links() {
        let state = "at: Time(90), link: LinkId(4), other: LinkId(6), ping_round: 7";
        let later = "at: Time(190), link: LinkId(10), other: LinkId(12), ping_round: 9";
        assert_eq!(hash(state, 100), hash(later, 200));
        assert_ne!(hash(state, 100), hash(later, 201));
        let crossed = "at: Time(90), link: LinkId(6), other: LinkId(4), ping_round: 7";
        assert_ne!(hash(state, 100), hash(crossed, 100));
        assert_ne!(hash("round: 7", 0), hash("round: 8", 0));
        let over = |at| hash(&format!("deadline: Time({at})"), 100);
        assert_eq!(over(90), over(95));
        assert_ne!(over(101), over(102));
    }
}
