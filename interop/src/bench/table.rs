//! The table of goals, for a terminal and for a page.

use std::io::{self, Write};

use super::Run;
use super::figures::{Figures, Spread};
use super::goals::{Base, Bound, GOALS, Goal};
use super::servers::Kind;

const HEAD: [&str; 7] = [
    "work",
    "figure",
    "Apache 3.9.5",
    "RooKeeper",
    "ratio (min - median - max)",
    "goal",
    "reached",
];

/// For a terminal: columns as wide as they must be.
pub(super) fn write_text(out: &mut impl Write, run: &Run<'_>, figures: &Figures) -> io::Result<()> {
    let mut lines = vec![HEAD.map(str::to_owned)];
    lines.extend(cells(run, figures));
    let widths: [usize; HEAD.len()] = std::array::from_fn(|column| {
        let widths = lines.iter().map(|line| line[column].chars().count());
        widths.max().unwrap_or(0)
    });
    for line in &lines {
        for (cell, width) in line.iter().zip(widths) {
            write!(out, "{cell:<width$}  ")?;
        }
        writeln!(out)?;
    }
    for note in figures.notes() {
        writeln!(out, "{note}")?;
    }
    Ok(())
}

/// For a page.
pub(super) fn as_markdown(run: &Run<'_>, figures: &Figures) -> String {
    let mut text = format!("| {} |\n{}|\n", HEAD.join(" | "), "|---".repeat(HEAD.len()));
    for line in cells(run, figures) {
        text += &format!("| {} |\n", line.join(" | "));
    }
    for note in figures.notes() {
        text += &format!("\n{note}\n");
    }
    text
}

fn cells(run: &Run<'_>, figures: &Figures) -> Vec<[String; HEAD.len()]> {
    let wanted = GOALS.iter().filter(|goal| run.wants(goal.row));
    wanted.map(|goal| line(goal, figures)).collect()
}

fn line(goal: &Goal, figures: &Figures) -> [String; HEAD.len()] {
    let median = |kind| {
        let spread = Spread::of(figures.of(goal.row, kind, goal.figure));
        spread.map_or_else(|| "-".to_owned(), |spread| number(spread.median))
    };
    let base = match goal.base {
        Base::Apache | Base::Itself => median(Kind::Apache),
        Base::Null => format!("null: {}", median(Kind::Null)),
    };
    let judged = Spread::of(&figures.judged(goal));
    let times = if goal.base == Base::Itself { "" } else { "x" };
    let (ratio, reached) = match judged {
        None => ("-".to_owned(), "not measured"),
        Some(Spread { min, median, max }) => (
            [min, median, max]
                .map(|part| number(part) + times)
                .join(" - "),
            if goal.bound.is_reached(median) {
                "yes"
            } else {
                "**no**"
            },
        ),
    };
    let bound = match goal.bound {
        Bound::AtLeast(bound) => format!(">= {bound}{times}"),
        Bound::AtMost(bound) => format!("<= {bound}{times}"),
    };
    [
        goal.work.to_owned(),
        goal.figure.to_owned(),
        base,
        median(Kind::Roo),
        ratio,
        bound,
        reached.to_owned(),
    ]
}

/// As many digits as say something, and thousands apart.
pub(super) fn number(value: f64) -> String {
    let decimals = match value.abs() {
        size if size >= 100.0 => 0,
        size if size >= 10.0 => 1,
        _ => 2,
    };
    let text = format!("{value:.decimals$}");
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let mut out = String::new();
    for (index, digit) in whole.chars().enumerate() {
        let behind = whole.len() - index;
        if index > 0 && behind.is_multiple_of(3) && out != "-" {
            out.push(',');
        }
        out.push(digit);
    }
    if fraction.is_empty() {
        return out;
    }
    format!("{out}.{fraction}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal(row: &str) -> &'static Goal {
        GOALS.iter().find(|goal| goal.row == row).unwrap()
    }

    #[test]
    fn a_line_says_what_was_reached() {
        let goal = goal("get-50x10");
        let mut figures = Figures::default();
        for (apache, roo) in [(100.0, 700.0), (100.0, 900.0), (100.0, 950.0)] {
            figures.add(goal.row, Kind::Apache, goal.figure, apache);
            figures.add(goal.row, Kind::Roo, goal.figure, roo);
        }
        let line = line(goal, &figures);
        let expected = ["100", "900", "7.00x - 9.00x - 9.50x", ">= 8x", "yes"];
        assert_eq!(line[2..], expected.map(str::to_owned));
    }

    #[test]
    fn what_was_not_measured_is_not_reached() {
        assert_eq!(
            line(goal("failover"), &Figures::default())[6],
            "not measured"
        );
    }

    #[test]
    fn numbers_have_as_many_digits_as_say_something() {
        let texts = [1_234_567.0, 999.6, 12.34, 0.456, -12_345.0].map(number);
        assert_eq!(texts, ["1,234,567", "1,000", "12.3", "0.46", "-12,345"]);
    }
}
