//! docs/performance.md and the pictures beside it: what a run writes with `--write`, between marks
//! that the page has, so that the words around them stay.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use roo_chart::{Axis, Chart, Line, Scale};

use super::figures::{Figures, Spread};
use super::table::number;
use super::{BenchArgs, Run, machine, table};
use crate::servers::root;

const PAGE: &str = "docs/performance.md";
const PICTURES: &str = "docs/performance";
const END: &str = "<!-- bench: end -->";

/// How a run was made, a sentence a line.
pub(super) fn circumstances(args: &BenchArgs, fsync: Spread) -> Result<Vec<String>> {
    let command: Vec<String> = std::env::args().skip(1).collect();
    let mut lines = vec![
        format!(
            "Measured on {} with `cargo xtask {}`, on {}, shared by servers and load generator.",
            machine::day()?,
            command.join(" "),
            machine::size()?
        ),
        format!(
            "{} rounds of {} s a load; one fsync of a 1 KB append took {} us (min - median - max); \
             load average at the end {:.1}.",
            args.rounds(),
            args.seconds,
            [fsync.min, fsync.median, fsync.max].map(number).join(" - "),
            machine::load_average()
        ),
    ];
    #[expect(
        clippy::float_cmp,
        reason = "it is the default, or something else was said"
    )]
    if args.scale != 1.0 {
        lines.push(format!(
            "This is a try: every great number was multiplied by {}.",
            args.scale
        ));
    }
    Ok(lines)
}

/// The table of goals, and latency over time.
pub(super) fn write_goals(run: &Run<'_>, figures: &Figures, fsync: Spread) -> Result<()> {
    let mut text = circumstances(run.args, fsync)?.join("\n");
    text += "\n\n";
    text += &table::as_markdown(run, figures);
    let lines = figures.lines();
    if !lines.is_empty() {
        let chart = Chart {
            title: "set, 50 connections x depth 10: latency over time, last round".to_owned(),
            x: axis("seconds", Scale::Linear),
            y: axis("us", Scale::Log),
            lines: lines.to_vec(),
        };
        let picture = draw("set-50x10", &[chart])?;
        text += &format!("\n![Latency of sets over time]({picture})\n");
    }
    put("goals", &text)
}

/// One axis.
pub(super) fn axis(label: &str, scale: Scale) -> Axis {
    Axis {
        label: label.to_owned(),
        scale,
    }
}

/// One line.
pub(super) fn line(name: String, points: Vec<(f64, f64)>) -> Line {
    Line { name, points }
}

/// Writes a picture; how the page names it.
pub(super) fn draw(name: &str, charts: &[Chart]) -> Result<String> {
    let dir = root().join(PICTURES);
    fs::create_dir_all(&dir).with_context(|| dir.display().to_string())?;
    let path: PathBuf = dir.join(format!("{name}.svg"));
    fs::write(&path, roo_chart::svg(charts)).with_context(|| path.display().to_string())?;
    Ok(format!("performance/{name}.svg"))
}

/// Replaces what stands between a mark and the next end.
pub(super) fn put(mark: &str, text: &str) -> Result<()> {
    let path = root().join(PAGE);
    let page = fs::read_to_string(&path).context(PAGE)?;
    fs::write(&path, replaced(&page, mark, text)?).context(PAGE)
}

fn replaced(page: &str, mark: &str, text: &str) -> Result<String> {
    let begin = format!("<!-- bench: {mark} -->");
    let missing = || format!("{PAGE} has no lines {begin} and {END}");
    let (before, rest) = page.split_once(&begin).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!(
        "{before}{begin}\n\n{}\n\n{END}{after}",
        text.trim()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_around_the_marks_stays() {
        let page = "# A\n<!-- bench: x -->\nold\n<!-- bench: end -->\nB\n";
        let expected = "# A\n<!-- bench: x -->\n\nnew\n\n<!-- bench: end -->\nB\n";
        assert_eq!(replaced(page, "x", "new\n").unwrap(), expected);
        assert!(replaced(page, "y", "new").is_err());
    }
}
