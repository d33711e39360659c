//! How the servers are drawn: on a terminal over and over at the same place, else as a table.

use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::Row;

const HEADS: [&str; 13] = [
    "SERVER", "ROLE", "ZXID", "LAG", "SESSIONS", "CONNS", "QUEUED", "IN/S", "OUT/S", "AVG", "MAX",
    "NODES", "ADDRESS",
];

/// Columns of words; the others are of numbers.
const WORDS: [usize; 3] = [0, 1, 12];

/// The terminal's other screen, without a cursor; what was on the first one comes back.
#[derive(Debug)]
pub(super) struct Screen;

impl Screen {
    pub(super) fn open() -> Self {
        let mut out = io::stdout().lock();
        // A terminal that is gone is noticed when the table is printed.
        let _ = write!(out, "\x1b[?1049h\x1b[?25l\x1b[2J").and_then(|()| out.flush());
        Self
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let mut out = io::stdout().lock();
        // As above.
        let _ = write!(out, "\x1b[?25h\x1b[?1049l").and_then(|()| out.flush());
    }
}

/// One look on a terminal: from the top, each line cleared to its end, the rest below.
pub(super) fn screen(rows: &[Row], note: Option<&str>) -> String {
    let (width, height) = size();
    let mut out = String::from("\x1b[H");
    let text = table(rows, note);
    for (number, line) in text.lines().take(height.saturating_sub(1)).enumerate() {
        let line: String = line.chars().take(width).collect();
        let colour = match number {
            0 => "1",
            1 => "7",
            number => match rows.get(number - 2) {
                Some(row) => colour(row),
                None => "33",
            },
        };
        out.push_str(&format!("\x1b[{colour}m{line}\x1b[0m\x1b[K\n"));
    }
    out.push_str("\x1b[J");
    out
}

fn colour(row: &Row) -> &'static str {
    match &row.answer {
        Err(_) => "31",
        Ok(facts) if facts.role == "looking" => "33",
        Ok(facts) if facts.leads() => "32",
        Ok(_) => "0",
    }
}

/// Columns and lines of the terminal.
fn size() -> (usize, usize) {
    let size = rustix::termios::tcgetwinsize(io::stdout()).ok();
    let size = size.filter(|size| size.ws_col > 0 && size.ws_row > 0);
    size.map_or((80, 24), |size| (size.ws_col.into(), size.ws_row.into()))
}

/// One look: a line for the ensemble, the table, and what is wrong.
pub(super) fn table(rows: &[Row], note: Option<&str>) -> String {
    let mut lines: Vec<[String; 13]> = vec![HEADS.map(str::to_owned)];
    let newest = newest(rows);
    lines.extend(rows.iter().map(|row| cells(row, newest)));
    let mut widths = [0; 13];
    for line in &lines {
        for (width, cell) in widths.iter_mut().zip(line) {
            *width = cell.len().max(*width);
        }
    }
    let mut out = summary(rows);
    for line in &lines {
        let cells = line.iter().zip(widths).enumerate();
        let cells: Vec<String> = cells
            .map(|(at, (cell, width))| {
                if WORDS.contains(&at) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            })
            .collect();
        out.push_str(cells.join("  ").trim_end());
        out.push('\n');
    }
    let wrong = rows
        .iter()
        .filter_map(|row| Some((row, row.answer.as_ref().err()?)));
    for (row, why) in wrong {
        out.push_str(&format!("! {}: {why}\n", row.place.name));
    }
    if let Some(note) = note {
        out.push_str(&format!("! {note}\n"));
    }
    out
}

fn summary(rows: &[Row]) -> String {
    let heard = || {
        rows.iter()
            .filter_map(|row| Some((row, row.answer.as_ref().ok()?)))
    };
    let leaders: Vec<&str> = heard()
        .filter(|(_, facts)| facts.leads())
        .map(|(row, _)| row.place.name.as_str())
        .collect();
    let leaders = match leaders.as_slice() {
        [] => "none leads".to_owned(),
        [one] if rows.len() == 1 => format!("{one} serves"),
        [one] => format!("{one} leads"),
        several => format!("{} lead", several.join(" and ")),
    };
    let time = Timestamp::now().to_zoned_datetime(TimeZone::system());
    let time = time.strftime("%H:%M:%S");
    format!(
        "{time}  {} of {} servers answer, {leaders}\n",
        heard().count(),
        rows.len()
    )
}

fn newest(rows: &[Row]) -> Option<u64> {
    let zxids = rows.iter().filter_map(|row| row.answer.as_ref().ok()?.zxid);
    zxids.max()
}

/// Transactions behind, which can be counted only within an epoch.
fn lag(newest: Option<u64>, zxid: Option<u64>) -> Option<Lag> {
    let (newest, zxid) = (newest?, zxid?);
    Some(match (newest >> 32) - (zxid >> 32) {
        0 => Lag::Transactions(newest - zxid),
        epochs => Lag::Epochs(epochs),
    })
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lag {
    Transactions(u64),
    Epochs(u64),
}

fn cells(row: &Row, newest: Option<u64>) -> [String; 13] {
    let dash = || "-".to_owned();
    let (name, address) = (row.place.name.clone(), row.place.address.clone());
    let Ok(facts) = &row.answer else {
        let mut cells = std::array::from_fn(|_| dash());
        cells[0] = name;
        cells[1] = "down".to_owned();
        cells[12] = address;
        return cells;
    };
    let number = |value: Option<u64>| value.map_or_else(dash, |value| value.to_string());
    let rate = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.0}"));
    let ms = |value: Option<f64>| value.map_or_else(dash, |value| format!("{value:.1}"));
    let lag = match lag(newest, facts.zxid) {
        None => dash(),
        Some(Lag::Transactions(count)) => count.to_string(),
        Some(Lag::Epochs(1)) => "an epoch".to_owned(),
        Some(Lag::Epochs(count)) => format!("{count} epochs"),
    };
    [
        name,
        facts.role.clone(),
        facts.zxid.map_or_else(dash, |zxid| format!("{zxid:#x}")),
        lag,
        number(facts.sessions),
        number(facts.connections),
        number(facts.queued),
        rate(row.rates.map(|rates| rates.received)),
        rate(row.rates.map(|rates| rates.sent)),
        ms(facts.latency_avg_ms),
        ms(facts.latency_max_ms),
        number(facts.nodes),
        address,
    ]
}

/// One look for programs.
pub(super) fn object(rows: &[Row]) -> Value {
    let newest = newest(rows);
    let servers: Vec<Value> = rows
        .iter()
        .map(|row| match &row.answer {
            Err(why) => json!({
                "server": row.place.name,
                "address": row.place.address,
                "role": "down",
                "error": why,
            }),
            Ok(facts) => {
                let (behind, epochs_behind) = match lag(newest, facts.zxid) {
                    Some(Lag::Transactions(count)) => (Some(count), Some(0)),
                    Some(Lag::Epochs(count)) => (None, Some(count)),
                    None => (None, None),
                };
                json!({
                    "server": row.place.name,
                    "address": row.place.address,
                    "role": facts.role,
                    "version": facts.version,
                    "zxid": facts.zxid.map(|zxid| format!("{zxid:#x}")),
                    "lag": behind,
                    "epochs_behind": epochs_behind,
                    "sessions": facts.sessions,
                    "connections": facts.connections,
                    "queued": facts.queued,
                    "received": facts.received,
                    "sent": facts.sent,
                    "received_per_second": row.rates.map(|rates| rates.received),
                    "sent_per_second": row.rates.map(|rates| rates.sent),
                    "latency_avg_ms": facts.latency_avg_ms,
                    "latency_max_ms": facts.latency_max_ms,
                    "nodes": facts.nodes,
                    "watches": facts.watches,
                })
            }
        })
        .collect();
    json!({ "time": Timestamp::now().to_string(), "servers": servers })
}

#[cfg(test)]
mod tests {
    use super::super::ask::Place;
    use super::super::facts::{Facts, Rates};
    use super::*;

    fn row(name: &str, answer: Result<Facts, String>) -> Row {
        Row {
            place: Place {
                name: name.to_owned(),
                address: format!("h{name}:2181"),
            },
            answer,
            rates: None,
        }
    }

    fn facts(role: &str, zxid: u64) -> Facts {
        Facts {
            role: role.to_owned(),
            zxid: Some(zxid),
            ..Facts::default()
        }
    }

    fn rows() -> Vec<Row> {
        let mut leader = row("1", Ok(facts("leader", 0x2_0000_0005)));
        leader.rates = Some(Rates {
            received: 12.4,
            sent: 9.6,
        });
        vec![
            leader,
            row("2", Ok(facts("follower", 0x2_0000_0003))),
            row("3", Ok(facts("looking", 0x1_0000_0003))),
            row("4", Err("no answer within 2 s".to_owned())),
        ]
    }

    #[test]
    fn the_table_shows_roles_lag_and_who_is_down() {
        let text = table(&rows(), Some("a note"));
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert!(
            lines[0].ends_with("3 of 4 servers answer, 1 leads"),
            "{text}"
        );
        assert_eq!(lines[2], "1 leader 0x200000005 0 - - - 12 10 - - - h1:2181");
        assert_eq!(lines[3], "2 follower 0x200000003 2 - - - - - - - - h2:2181");
        assert!(
            lines[4].starts_with("3 looking 0x100000003 an epoch"),
            "{text}"
        );
        assert!(lines[5].starts_with("4 down - -"), "{text}");
        assert_eq!(lines[6..], ["! 4: no answer within 2 s", "! a note"]);
    }

    #[test]
    fn programs_get_numbers() {
        let object = object(&rows());
        assert_eq!(object["servers"][1]["lag"], 2);
        assert_eq!(object["servers"][2]["epochs_behind"], 1);
        assert_eq!(object["servers"][3]["role"], "down");
    }

    #[test]
    fn the_screen_is_drawn_in_place() {
        let text = screen(&rows(), None);
        assert!(text.starts_with("\x1b[H") && text.ends_with("\x1b[J"));
        assert!(text.contains("\x1b[31m4"), "{text:?}");
    }
}
