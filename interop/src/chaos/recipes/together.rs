//! What the members of double barriers were told, and what of it contradicts the rest.
//!
//! Notes may be late, but each is made on the right side of what it tells: that somebody is about
//! to come, or to leave, before it asks for it; that it is in, gone, or the last to leave, behind
//! the answer. So whoever was there together has notes that overlap, and whoever was in between two
//! of its notes is known to have been.

use std::collections::BTreeMap;

use anyhow::{Result, ensure};

/// Members that begin together.
pub(super) const MEMBERS: usize = 2;

/// Somebody who is about to come, or has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt(u64);

/// Somebody who is in, and since which moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stay {
    round: u64,
    since: u64,
}

/// Somebody who is about to leave.
#[derive(Clone, Copy, Debug)]
pub(super) struct Departure {
    round: u64,
    began: u64,
}

/// One use of one barrier.
#[derive(Debug, Default)]
struct Round {
    present: usize,
    /// How many may have been there at once.
    most: usize,
    /// Of those who were told that all have left: when they began to leave, and when they knew.
    departures: Vec<(u64, u64)>,
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Together {
    round: u64,
    rounds: BTreeMap<u64, Round>,
    /// Counts notes.
    moment: u64,
    left: u64,
}

impl Together {
    /// How often somebody was told that all have left.
    pub(super) const fn count(&self) -> u64 {
        self.left
    }

    /// The barrier that is in use.
    pub(super) const fn round(&self) -> u64 {
        self.round
    }

    /// The present moment; to be asked for before a member makes sure that it is in.
    pub(super) const fn moment(&mut self) -> u64 {
        self.moment += 1;
        self.moment
    }

    /// Somebody is about to come.
    pub(super) fn about_to_come(&mut self, round: u64) -> Attempt {
        let here = self.rounds.entry(round).or_default();
        here.present += 1;
        here.most = here.most.max(here.present);
        Attempt(round)
    }

    /// It has given up, and is not there any more.
    pub(super) fn is_gone(&mut self, attempt: Attempt) {
        self.rounds.entry(attempt.0).or_default().present -= 1;
    }

    /// It was let in.
    pub(super) fn entered(&mut self, attempt: Attempt) -> Result<Stay> {
        let round = attempt.0;
        let most = self.rounds.get(&round).map_or(0, |here| here.most);
        ensure!(
            most >= MEMBERS,
            "let in when at most {most} had been there together"
        );
        let since = self.moment();
        Ok(Stay { round, since })
    }

    /// It is in at `moment` for sure.
    pub(super) fn stayed(&self, stay: Stay, moment: u64) -> Result<()> {
        let departures = self.rounds.get(&stay.round).map(|here| &here.departures);
        let early = departures
            .into_iter()
            .flatten()
            .find(|(began, ended)| stay.since < *began && *ended < moment);
        ensure!(
            early.is_none(),
            "somebody who began to leave behind one's coming was told that all have left, and one \
             is in: {stay:?}, {early:?}, {moment}"
        );
        Ok(())
    }

    /// It is about to leave.
    pub(super) fn about_to_leave(&mut self, stay: Stay) -> Departure {
        Departure {
            round: stay.round,
            began: self.moment(),
        }
    }

    /// It was told that all have left.
    pub(super) fn left(&mut self, departure: Departure) {
        let ended = self.moment();
        let here = self.rounds.entry(departure.round).or_default();
        here.departures.push((departure.began, ended));
        self.left += 1;
        self.round = self.round.max(departure.round + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chaos::recipes::ledger::says;

    #[test]
    fn nobody_is_let_in_alone() {
        let mut together = Together::default();
        let first = together.about_to_come(0);
        says(together.entered(first), "at most 1");
        together.is_gone(first);
        let second = together.about_to_come(0);
        says(together.entered(second), "at most 1");
        let third = together.about_to_come(0);
        together.entered(third).unwrap();
        // The work has begun.
        together.is_gone(second);
        together.entered(third).unwrap();
    }

    fn two() -> (Together, Stay, Stay) {
        let mut together = Together::default();
        let attempts = [0, 0].map(|round| together.about_to_come(round));
        let [a, b] = attempts.map(|attempt| together.entered(attempt).unwrap());
        (together, a, b)
    }

    #[test]
    fn nobody_has_left_before_one_who_is_in() {
        let (mut together, a, b) = two();
        let departure = together.about_to_leave(a);
        let before = together.moment();
        together.left(departure);
        together.stayed(b, before).unwrap();
        let behind = together.moment();
        says(together.stayed(b, behind), "told that all have left");
        assert_eq!((together.count(), together.round()), (1, 1));
    }

    #[test]
    fn who_comes_behind_a_departure_is_not_waited_for() {
        let (mut together, a, _) = two();
        let departure = together.about_to_leave(a);
        let late = together.about_to_come(0);
        let late = together.entered(late).unwrap();
        together.left(departure);
        let behind = together.moment();
        together.stayed(late, behind).unwrap();
    }
}
