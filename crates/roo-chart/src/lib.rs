//! Line charts as the text of an SVG file: what `roo bench --svg` and `cargo xtask bench` draw.
//!
//! Lines, two axes (linear or logarithmic), a legend, and nothing else: no fonts, no styles of the
//! viewer's, no dependencies. The same figures give the same bytes, so that a committed picture
//! changes only with what it shows.

use std::fmt::Write as _;

/// How an axis places its values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Even steps, from zero.
    Linear,
    /// Even factors; values that are not above zero are left out.
    Log,
}

/// One axis.
#[derive(Clone, Debug)]
pub struct Axis {
    /// What it shows, with the unit.
    pub label: String,
    /// How it places its values.
    pub scale: Scale,
}

/// One line with its name in the legend.
#[derive(Clone, Debug)]
pub struct Line {
    /// Its name in the legend.
    pub name: String,
    /// In the order of x.
    pub points: Vec<(f64, f64)>,
}

/// A chart of lines over common axes.
#[derive(Clone, Debug)]
pub struct Chart {
    /// What stands above it.
    pub title: String,
    /// The horizontal axis.
    pub x: Axis,
    /// The vertical axis.
    pub y: Axis,
    /// What it shows.
    pub lines: Vec<Line>,
}

const WIDTH: f64 = 760.0;
const HEIGHT: f64 = 340.0;
const LEFT: f64 = 80.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 34.0;
const BOTTOM: f64 = 48.0;

/// Told apart by most people who see colours differently, too (Okabe and Ito).
const COLOURS: [&str; 7] = [
    "#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000",
];

/// The charts below each other in one SVG document.
#[must_use]
pub fn svg(charts: &[Chart]) -> String {
    let mut height = 0.0;
    let mut body = String::new();
    for chart in charts {
        chart.draw(&mut body, height);
        height += HEIGHT;
    }
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" \
         viewBox=\"0 0 {WIDTH} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n{body}</svg>\n"
    )
}

impl Chart {
    fn draw(&self, out: &mut String, above: f64) {
        let across = Place::of(&self.x, self.values(|point| point.0), LEFT, WIDTH - RIGHT);
        let floor = above + HEIGHT - BOTTOM;
        let up = Place::of(&self.y, self.values(|point| point.1), floor, above + TOP);
        text(out, (LEFT, above + 20.0), "start", &self.title);
        self.draw_axes(out, above, &across, &up);
        for (index, line) in self.lines.iter().enumerate() {
            let colour = COLOURS[index % COLOURS.len()];
            let points: String = line
                .points
                .iter()
                .filter_map(|&(x, y)| Some((across.at(x)?, up.at(y)?)))
                .fold(String::new(), |mut points, (x, y)| {
                    // Writing to a string cannot fail, here and below.
                    let _ = write!(points, "{x:.1},{y:.1} ");
                    points
                });
            let _ = writeln!(
                out,
                "<polyline fill=\"none\" stroke=\"{colour}\" stroke-width=\"1.6\" points=\"{}\"/>",
                points.trim_end()
            );
            let y = above + TOP + 10.0 + 18.0 * index_as_f64(index);
            let x = WIDTH - RIGHT + 12.0;
            let _ = writeln!(
                out,
                "<rect x=\"{x}\" y=\"{}\" width=\"14\" height=\"4\" fill=\"{colour}\"/>",
                y - 6.0
            );
            text(out, (x + 20.0, y), "start", &line.name);
        }
    }

    fn draw_axes(&self, out: &mut String, above: f64, across: &Place, up: &Place) {
        let (right, floor) = (WIDTH - RIGHT, above + HEIGHT - BOTTOM);
        for (value, x) in across.ticks() {
            rule(out, (x, above + TOP), (x, floor));
            text(out, (x, floor + 16.0), "middle", &short(value));
        }
        for (value, y) in up.ticks() {
            rule(out, (LEFT, y), (right, y));
            text(out, (LEFT - 6.0, y + 4.0), "end", &short(value));
        }
        let middle = f64::midpoint(LEFT, right);
        text(out, (middle, floor + 36.0), "middle", &self.x.label);
        let (x, y) = (16.0, f64::midpoint(above + TOP, floor));
        let _ = writeln!(
            out,
            "<text x=\"{x}\" y=\"{y}\" text-anchor=\"middle\" \
             transform=\"rotate(-90 {x} {y})\">{}</text>",
            escaped(&self.y.label)
        );
    }

    fn values(&self, part: fn(&(f64, f64)) -> f64) -> Vec<f64> {
        let points = self.lines.iter().flat_map(|line| &line.points);
        points.map(part).collect()
    }
}

/// Where the values of an axis come to lie.
struct Place {
    scale: Scale,
    low: f64,
    high: f64,
    from: f64,
    to: f64,
}

impl Place {
    fn of(axis: &Axis, values: Vec<f64>, from: f64, to: f64) -> Self {
        let fits = |value: &f64| value.is_finite() && (axis.scale == Scale::Linear || *value > 0.0);
        let (low, high) = values
            .into_iter()
            .filter(fits)
            .fold((f64::INFINITY, 0.0_f64), |(low, high), value| {
                (low.min(value), high.max(value))
            });
        let (low, high) = match axis.scale {
            Scale::Linear => (0.0, if high > 0.0 { high } else { 1.0 }),
            Scale::Log if high <= 0.0 => (1.0, 10.0),
            Scale::Log if low < high => (low, high),
            Scale::Log => (low / 2.0, high * 2.0),
        };
        Self {
            scale: axis.scale,
            low,
            high,
            from,
            to,
        }
    }

    fn at(&self, value: f64) -> Option<f64> {
        let part = match self.scale {
            Scale::Linear => (value - self.low) / (self.high - self.low),
            Scale::Log => (value / self.low).ln() / (self.high / self.low).ln(),
        };
        part.is_finite()
            .then_some(self.from + part * (self.to - self.from))
    }

    /// Round values within the axis and where they lie.
    fn ticks(&self) -> Vec<(f64, f64)> {
        let values: Vec<f64> = match self.scale {
            Scale::Linear => {
                let step = round_step(self.high / 6.0);
                (0..8).map(|i| step * index_as_f64(i)).collect()
            }
            Scale::Log => {
                let decades = (self.high / self.low).log10();
                let factors: &[f64] = if decades > 3.0 {
                    &[1.0]
                } else {
                    &[1.0, 2.0, 5.0]
                };
                (-9..=12)
                    .flat_map(|power| factors.iter().map(move |by| by * 10_f64.powi(power)))
                    .collect()
            }
        };
        // What is computed may differ from a bound in its last bit.
        let (low, high) = (self.low * 0.999_999, self.high * 1.000_001);
        values
            .into_iter()
            .filter(|value| (low..=high).contains(value))
            .filter_map(|value| Some((value, self.at(value)?)))
            .collect()
    }
}

/// 1, 2 or 5 of some power of ten, at least `least`.
fn round_step(least: f64) -> f64 {
    let power = 10_f64.powf(least.log10().floor());
    let step = [1.0, 2.0, 5.0].map(|by| by * power);
    step.into_iter()
        .find(|step| *step >= least)
        .unwrap_or(10.0 * power)
}

/// A tick's value as people write it.
fn short(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e3 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let digits = format!("{scaled:.3}");
    let digits = digits.trim_end_matches('0').trim_end_matches('.');
    format!("{digits}{unit}")
}

fn rule(out: &mut String, from: (f64, f64), to: (f64, f64)) {
    let _ = writeln!(
        out,
        "<line x1=\"{:.1}\" y1=\"{:.1}\" x2=\"{:.1}\" y2=\"{:.1}\" stroke=\"#dddddd\"/>",
        from.0, from.1, to.0, to.1
    );
}

fn text(out: &mut String, at: (f64, f64), anchor: &str, content: &str) {
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"{anchor}\">{}</text>",
        at.0,
        at.1,
        escaped(content)
    );
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

/// Indices here are below a hundred.
fn index_as_f64(index: usize) -> f64 {
    f64::from(u32::try_from(index).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn axis(scale: Scale) -> Axis {
        Axis {
            label: "x".into(),
            scale,
        }
    }

    fn chart(y: Scale, points: &[(f64, f64)]) -> Chart {
        Chart {
            title: "a < b".into(),
            x: axis(Scale::Linear),
            y: axis(y),
            lines: vec![Line {
                name: "one".into(),
                points: points.to_vec(),
            }],
        }
    }

    #[test]
    fn a_line_runs_from_corner_to_corner() {
        let text = svg(&[chart(Scale::Linear, &[(0.0, 0.0), (10.0, 5.0)])]);
        assert!(text.contains("points=\"80.0,292.0 610.0,34.0\""), "{text}");
        assert!(text.contains("a &lt; b"), "{text}");
    }

    #[test]
    fn a_logarithm_leaves_out_what_has_none() {
        let text = svg(&[chart(Scale::Log, &[(0.0, 0.0), (5.0, 1.0), (10.0, 100.0)])]);
        assert!(text.contains("points=\"345.0,292.0 610.0,34.0\""), "{text}");
        assert!(text.contains(">10<") && text.contains(">100<"), "{text}");
    }

    #[test]
    fn nothing_to_show_is_no_error() {
        for scale in [Scale::Linear, Scale::Log] {
            let text = svg(&[chart(scale, &[]), chart(scale, &[(0.0, 0.0)])]);
            assert!(!text.contains("NaN") && !text.contains("inf"), "{text}");
        }
    }

    #[test]
    fn ticks_are_round() {
        let place = Place::of(&axis(Scale::Linear), vec![7.3e5], 0.0, 1.0);
        let ticks: Vec<String> = place.ticks().iter().map(|tick| short(tick.0)).collect();
        assert_eq!(ticks, ["0", "200k", "400k", "600k"]);
    }
}
