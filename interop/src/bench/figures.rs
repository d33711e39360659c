//! Every figure that was measured, one per round, by row, server and name.

use std::collections::BTreeMap;

use roo_chart::Line;
use serde_json::{Value, json};

use super::goals::{Base, Goal};
use super::servers::Kind;

/// Smallest, middle and largest of some figures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Spread {
    pub(super) min: f64,
    pub(super) median: f64,
    pub(super) max: f64,
}

impl Spread {
    /// `None` if there are no figures.
    pub(super) fn of(figures: &[f64]) -> Option<Self> {
        let mut sorted = figures.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let last = sorted.len() - 1;
        let median = f64::midpoint(sorted[last / 2], sorted[last.div_ceil(2)]);
        Some(Self { min, median, max })
    }
}

/// What was measured so far.
#[derive(Clone, Debug, Default)]
pub(super) struct Figures {
    rounds: BTreeMap<(&'static str, Kind, &'static str), Vec<f64>>,
    /// Latency over time, of the last round.
    lines: Vec<Line>,
    notes: Vec<String>,
}

impl Figures {
    /// Adds a round's figure.
    pub(super) fn add(&mut self, row: &'static str, kind: Kind, name: &'static str, value: f64) {
        self.rounds
            .entry((row, kind, name))
            .or_default()
            .push(value);
    }

    /// Keeps a line for a picture, in place of that of an earlier round.
    pub(super) fn keep_line(&mut self, name: String, points: Vec<(f64, f64)>) {
        self.lines.retain(|line| line.name != name);
        self.lines.push(Line { name, points });
    }

    /// The lines that were kept.
    pub(super) fn lines(&self) -> &[Line] {
        &self.lines
    }

    /// Keeps a sentence that has to stand below the table.
    pub(super) fn note(&mut self, text: String) {
        if !self.notes.contains(&text) {
            self.notes.push(text);
        }
    }

    /// The sentences that were kept.
    pub(super) fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The figures of a server, one per round.
    pub(super) fn of(&self, row: &'static str, kind: Kind, name: &'static str) -> &[f64] {
        self.rounds
            .get(&(row, kind, name))
            .map_or(&[], |figures| figures)
    }

    /// What a goal is judged by: ratios of the same round, or the figures themselves.
    pub(super) fn judged(&self, goal: &Goal) -> Vec<f64> {
        let ours = self.of(goal.row, Kind::Roo, goal.figure);
        let base = match goal.base {
            Base::Itself => return ours.to_vec(),
            Base::Apache => Kind::Apache,
            Base::Null => Kind::Null,
        };
        let theirs = self.of(goal.row, base, goal.figure);
        ours.iter()
            .zip(theirs)
            .filter(|(_, theirs)| **theirs > 0.0)
            .map(|(ours, theirs)| ours / theirs)
            .collect()
    }

    /// All of them, for programs.
    pub(super) fn as_json(&self) -> Value {
        self.rounds
            .iter()
            .map(|((row, kind, name), rounds)| {
                json!({"row": row, "server": kind.name(), "figure": name, "rounds": rounds})
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::goals::{Bound, RATE};
    use super::*;

    #[test]
    fn the_median_of_an_even_count_lies_between() {
        let expected = Spread {
            min: 1.0,
            median: 2.5,
            max: 4.0,
        };
        assert_eq!(Spread::of(&[4.0, 1.0, 3.0, 2.0]), Some(expected));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn a_ratio_is_that_of_one_round() {
        let mut figures = Figures::default();
        for (apache, roo) in [(10.0, 30.0), (20.0, 40.0), (0.0, 5.0)] {
            figures.add("x", Kind::Apache, RATE, apache);
            figures.add("x", Kind::Roo, RATE, roo);
        }
        let mut goal = Goal {
            row: "x",
            work: "",
            figure: RATE,
            base: Base::Apache,
            bound: Bound::AtLeast(1.0),
        };
        assert_eq!(figures.judged(&goal), [3.0, 2.0]);
        goal.base = Base::Itself;
        assert_eq!(figures.judged(&goal), [30.0, 40.0, 5.0]);
    }
}
