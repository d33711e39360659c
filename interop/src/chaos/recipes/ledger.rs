//! What users of the recipes did and were told, and what of it contradicts the rest.
//!
//! Users note things under one lock, in an order that fits real time, but a process may stand still
//! between what it was told and its note. So nothing here depends on how soon a note is made:
//! - *Holding* is judged by what a holder was told at both ends: it has acquired, and it asked later
//!   whether it still holds, and the answer was yes. Between these two notes it held for sure.
//! - *Order* is judged by versions and zxids.
//! - *Removal* is judged against calls that began after it was acknowledged.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use anyhow::{Context, Result, ensure};

/// How many may hold one thing at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sharing {
    One,
    ReadersOrOneWriter,
    AtMost(usize),
}

/// In which way somebody holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Holding {
    Alone,
    Shared,
}

#[derive(Debug)]
struct Hold {
    holding: Holding,
    token: i64,
    /// It held for sure until so many had been noted.
    sure_until: usize,
}

/// Everybody who acquired one thing, in the order of their notes.
#[derive(Debug)]
pub(super) struct Line {
    sharing: Sharing,
    holds: Vec<Hold>,
    tokens: HashSet<i64>,
    /// The highest token that the resource outside has seen.
    outside: i64,
    pub(super) refused: u64,
}

/// A hold in its line.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place(usize);

/// Holds so far back have ended: every hold lasts some seconds.
const HOLDS_AT_ONCE: usize = 2_000;

impl Line {
    pub(super) fn new(sharing: Sharing) -> Self {
        Self {
            sharing,
            holds: Vec::new(),
            tokens: HashSet::new(),
            outside: 0,
            refused: 0,
        }
    }

    pub(super) fn count(&self) -> usize {
        self.holds.len()
    }

    /// Somebody was told that it holds.
    pub(super) fn acquired(&mut self, holding: Holding, token: i64) -> Result<Place> {
        ensure!(
            self.tokens.insert(token),
            "token {token:x} was given to two holders"
        );
        let place = self.holds.len();
        self.holds.push(Hold {
            holding,
            token,
            sure_until: place,
        });
        Ok(Place(place))
    }

    /// The present moment; to be asked for before a holder asks whether it still holds.
    pub(super) fn moment(&self) -> usize {
        self.holds.len()
    }

    /// A holder was told that it held at `moment`, or later.
    pub(super) fn held(&mut self, place: Place, moment: usize) -> Result<()> {
        let mine = &mut self.holds[place.0];
        mine.sure_until = moment;
        let (holding, token) = (mine.holding, mine.token);
        for other in &self.holds[place.0 + 1..moment] {
            let excludes = match self.sharing {
                Sharing::One => true,
                Sharing::ReadersOrOneWriter => {
                    holding == Holding::Alone || other.holding == Holding::Alone
                }
                Sharing::AtMost(_) => false,
            };
            // A lower token is that of one who lost it before and did not know.
            ensure!(
                !excludes || other.token < token,
                "token {:x} was given while the holder with {token:x} held",
                other.token
            );
        }
        if let Sharing::AtMost(most) = self.sharing {
            self.count_shares(place.0..moment, most)?;
        }
        Ok(())
    }

    fn count_shares(&self, moments: std::ops::Range<usize>, most: usize) -> Result<()> {
        for moment in moments {
            let first = moment.saturating_sub(HOLDS_AT_ONCE);
            let so_far = &self.holds[first..=moment];
            let sure = so_far.iter().filter(|hold| hold.sure_until > moment);
            let sure = sure.count();
            ensure!(sure <= most, "{sure} hold one of {most} shares each");
        }
        Ok(())
    }

    /// A holder writes to a resource outside, which takes no token lower than one it has seen:
    /// whether it took this one.
    pub(super) fn write_outside(&mut self, token: i64) -> bool {
        let takes = token >= self.outside;
        self.outside = self.outside.max(token);
        self.refused += u64::from(!takes);
        takes
    }
}

/// A node that holders of one thing set, each time to `token count`, where the count is one more
/// than the one they read. Its versions tell the order of the writes.
#[derive(Debug, Default)]
pub(super) struct Fenced {
    versions: BTreeMap<i32, (i64, i32)>,
}

impl Fenced {
    /// What a holder writes behind what it has read.
    pub(super) fn next(token: i64, read: &str) -> Result<String> {
        let count = if read.is_empty() { 0 } else { parse(read)?.1 };
        Ok(format!("{token} {}", count + 1))
    }

    /// The node was read, or written, with this version.
    pub(super) fn observe(&mut self, version: i32, data: &str) -> Result<()> {
        if version == 0 {
            return Ok(());
        }
        let found = parse(data)?;
        ensure!(
            found.1 == version,
            "write {version} counts {}: a holder has not seen the write before its own",
            found.1
        );
        let known = self.versions.entry(version).or_insert(found);
        ensure!(
            *known == found,
            "write {version} is {known:?} and {found:?}"
        );
        let before = self.versions.range(..version).next_back();
        let after = self.versions.range(version + 1..).next();
        ensure!(
            before.is_none_or(|(_, (token, _))| *token <= found.0)
                && after.is_none_or(|(_, (token, _))| found.0 <= *token),
            "write {version} with token {:x} is between {before:x?} and {after:x?}",
            found.0
        );
        Ok(())
    }
}

fn parse(data: &str) -> Result<(i64, i32)> {
    let found = data
        .split_once(' ')
        .and_then(|(token, count)| Some((token.parse().ok()?, count.parse().ok()?)));
    found.with_context(|| format!("no holder has written {data:?}"))
}

/// Additions of one to a number.
#[derive(Debug, Default)]
pub(super) struct Additions {
    sums: BTreeSet<i64>,
    /// Under way, or ended without an answer.
    unsure: i64,
}

impl Additions {
    pub(super) fn count(&self) -> usize {
        self.sums.len()
    }

    pub(super) fn begin(&mut self) {
        self.unsure += 1;
    }

    /// It has not been made and never will be.
    pub(super) fn failed(&mut self) {
        self.unsure -= 1;
    }

    /// It has given this sum.
    pub(super) fn done(&mut self, sum: i64) -> Result<()> {
        self.unsure -= 1;
        ensure!(self.sums.insert(sum), "two additions have given {sum}");
        Ok(())
    }

    /// The number when nobody adds any more.
    pub(super) fn judge(&self, last: i64) -> Result<()> {
        let sure = i64::try_from(self.sums.len())?;
        ensure!(
            (sure..=sure + self.unsure).contains(&last),
            "the number is {last} after {sure} additions and {} of unknown outcome",
            self.unsure
        );
        let largest = self.sums.last().copied().unwrap_or(0);
        ensure!(
            largest <= last,
            "an addition has given {largest}, but the number is {last}"
        );
        Ok(())
    }
}

/// Items of a queue.
#[derive(Debug, Default)]
pub(super) struct Items {
    put: HashSet<String>,
    may_be_put: HashSet<String>,
    /// With the count of removals before it.
    removed: HashMap<String, usize>,
    may_be_removed: HashSet<String>,
    /// Under way, or ended without an answer: each may have taken an item along.
    unsure_pops: usize,
}

impl Items {
    pub(super) fn count(&self) -> usize {
        self.put.len()
    }

    pub(super) fn about_to_put(&mut self, item: &str) {
        self.may_be_put.insert(item.into());
    }

    pub(super) fn was_put(&mut self, item: &str) {
        self.put.insert(item.into());
    }

    /// The present moment; to be asked for before an item is.
    pub(super) fn moment(&self) -> usize {
        self.removed.len()
    }

    /// An item came out, to one who asked at `moment`.
    pub(super) fn was_taken(&self, item: &str, moment: usize) -> Result<()> {
        ensure!(self.may_be_put.contains(item), "nobody has put {item:?}");
        ensure!(
            self.removed
                .get(item)
                .is_none_or(|removal| *removal >= moment),
            "{item} came out although it had been removed"
        );
        Ok(())
    }

    pub(super) fn about_to_remove(&mut self, item: &str) {
        self.may_be_removed.insert(item.into());
    }

    pub(super) fn was_removed(&mut self, item: &str) -> Result<()> {
        let before = self.removed.insert(item.into(), self.removed.len());
        ensure!(before.is_none(), "{item} was removed twice");
        Ok(())
    }

    pub(super) fn about_to_pop(&mut self) {
        self.unsure_pops += 1;
    }

    /// A pop, begun at `moment`, has given an item.
    pub(super) fn was_popped(&mut self, item: &str, moment: usize) -> Result<()> {
        self.unsure_pops -= 1;
        self.was_taken(item, moment)?;
        self.was_removed(item)
    }

    /// When the queue is empty: nothing that was put is missing.
    pub(super) fn judge(&self) -> Result<()> {
        let is_lost = |item: &&String| {
            !self.removed.contains_key(*item) && !self.may_be_removed.contains(*item)
        };
        let lost: Vec<&String> = self.put.iter().filter(is_lost).collect();
        ensure!(
            lost.len() <= self.unsure_pops,
            "{lost:?} were put and never came out, with {} pops of unknown outcome",
            self.unsure_pops
        );
        Ok(())
    }
}

/// Numbers that nobody gets twice.
#[derive(Debug, Default)]
pub(super) struct Drawn(HashSet<i64>);

impl Drawn {
    pub(super) fn count(&self) -> usize {
        self.0.len()
    }

    pub(super) fn drew(&mut self, id: i64) -> Result<()> {
        ensure!(self.0.insert(id), "the number {id} was drawn twice");
        Ok(())
    }
}

/// A gate that one user keeps and the others pass.
#[derive(Debug, Default)]
pub(super) struct Gate {
    closings: u64,
    is_closed: bool,
    passages: u64,
}

/// Someone who waits at the gate: which closing it must see, if any.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting(Option<u64>);

impl Gate {
    pub(super) fn count(&self) -> u64 {
        self.passages
    }

    /// The keeper was told that it is closed, and nobody else is about to open it.
    pub(super) fn was_closed(&mut self) {
        self.closings += 1;
        self.is_closed = true;
    }

    pub(super) fn about_to_open(&mut self) {
        self.is_closed = false;
    }

    pub(super) fn come(&self) -> Waiting {
        Waiting(self.is_closed.then_some(self.closings))
    }

    pub(super) fn passed(&mut self, waiting: Waiting) -> Result<()> {
        self.passages += 1;
        let is_shut = self.is_closed && waiting.0 == Some(self.closings);
        ensure!(!is_shut, "passed a gate that was closed all the time");
        Ok(())
    }
}

/// That something was found wrong, in these words.
#[cfg(test)]
pub(super) fn says<T: std::fmt::Debug>(outcome: Result<T>, what: &str) {
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains(what), "{error}");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn acquire(line: &mut Line, holding: Holding, token: i64) -> Place {
        line.acquired(holding, token).unwrap()
    }

    #[test]
    fn who_holds_for_sure_is_not_overtaken() {
        let mut line = Line::new(Sharing::One);
        let first = acquire(&mut line, Holding::Alone, 10);
        line.held(first, line.moment()).unwrap();
        let second = acquire(&mut line, Holding::Alone, 20);
        // It lost the lock long ago and does not know.
        acquire(&mut line, Holding::Alone, 15);
        line.held(second, line.moment()).unwrap();
        says(line.held(first, line.moment()), "token 14 was given while");
    }

    #[test]
    fn a_token_is_given_once() {
        let mut line = Line::new(Sharing::One);
        acquire(&mut line, Holding::Alone, 10);
        says(line.acquired(Holding::Alone, 10), "to two holders");
    }

    #[test]
    fn readers_share_and_writers_do_not() {
        let mut line = Line::new(Sharing::ReadersOrOneWriter);
        let reader = acquire(&mut line, Holding::Shared, 10);
        acquire(&mut line, Holding::Shared, 11);
        line.held(reader, line.moment()).unwrap();
        acquire(&mut line, Holding::Alone, 12);
        says(line.held(reader, line.moment()), "token c was given while");

        let mut line = Line::new(Sharing::ReadersOrOneWriter);
        let writer = acquire(&mut line, Holding::Alone, 10);
        acquire(&mut line, Holding::Shared, 11);
        says(line.held(writer, line.moment()), "token b was given while");
    }

    #[test]
    fn no_more_hold_for_sure_than_there_are_shares() {
        let mut line = Line::new(Sharing::AtMost(2));
        let places = [10, 11, 12].map(|token| acquire(&mut line, Holding::Shared, token));
        let moment = line.moment();
        line.held(places[0], moment).unwrap();
        line.held(places[2], moment).unwrap();
        says(line.held(places[1], moment), "3 hold one of 2 shares");
    }

    #[test]
    fn a_resource_outside_takes_no_token_behind_a_higher_one() {
        let mut line = Line::new(Sharing::One);
        assert!(line.write_outside(10));
        assert!(line.write_outside(20));
        assert!(!line.write_outside(10));
        assert!(line.write_outside(20));
        assert_eq!(line.refused, 1);
    }

    #[test]
    fn holders_write_in_the_order_of_their_tokens_and_see_each_other() {
        let mut node = Fenced::default();
        let write = Fenced::next(10, "").unwrap();
        node.observe(1, &write).unwrap();
        node.observe(3, &Fenced::next(12, "10 2").unwrap()).unwrap();
        says(node.observe(2, "13 2"), "write 2 with token d is between");
        says(node.observe(4, "14 3"), "has not seen the write before");
        says(node.observe(1, "9 1"), "write 1 is (10, 1) and (9, 1)");
        says(node.observe(5, "by hand"), "no holder has written");
    }

    #[test]
    fn tokens_do_not_take_turns() {
        let mut node = Fenced::default();
        node.observe(1, "10 1").unwrap();
        node.observe(2, "20 2").unwrap();
        says(node.observe(3, "10 3"), "write 3 with token a is between");
    }

    #[test]
    fn a_number_is_the_sum_of_its_additions() {
        let mut sums = Additions::default();
        for _ in 0..4 {
            sums.begin();
        }
        sums.done(1).unwrap();
        sums.failed();
        says(sums.done(1), "two additions have given 1");
        sums.judge(1).unwrap();
        sums.judge(2).unwrap();
        says(sums.judge(3), "3 after 1 additions and 1 of unknown");
        says(sums.judge(0), "0 after 1 additions");

        let mut sums = Additions::default();
        sums.begin();
        sums.done(7).unwrap();
        says(sums.judge(1), "an addition has given 7");
    }

    fn items(put: &[&str]) -> Items {
        let mut items = Items::default();
        for item in put {
            items.about_to_put(item);
            items.was_put(item);
        }
        items
    }

    #[test]
    fn items_that_are_lost_are_missed() {
        let mut queue = items(&["a", "b"]);
        queue.about_to_remove("a");
        says(queue.judge(), "[\"b\"] were put and never came out");
        queue.about_to_pop();
        queue.judge().unwrap();
    }

    #[test]
    fn items_come_out_once_and_only_those_that_were_put() {
        let mut queue = items(&["a", "b"]);
        let before = queue.moment();
        queue.was_taken("a", before).unwrap();
        queue.was_removed("a").unwrap();
        // Another's session had ended while it had the item.
        queue.was_taken("a", before).unwrap();
        says(queue.was_taken("a", queue.moment()), "had been removed");
        says(queue.was_removed("a"), "removed twice");
        says(queue.was_taken("x", before), "nobody has put");
        queue.about_to_pop();
        says(queue.was_popped("a", before), "removed twice");
    }

    #[test]
    fn numbers_are_drawn_once() {
        let mut drawn = Drawn::default();
        drawn.drew(1).unwrap();
        says(drawn.drew(1), "drawn twice");
    }

    #[test]
    fn nobody_passes_a_gate_that_stays_closed() {
        let mut gate = Gate::default();
        let early = gate.come();
        gate.was_closed();
        let late = gate.come();
        gate.passed(early).unwrap();
        says(gate.passed(late), "closed all the time");
        gate.about_to_open();
        gate.passed(late).unwrap();
        gate.was_closed();
        gate.passed(late).unwrap();
    }
}
