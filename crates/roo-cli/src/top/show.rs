//! How the servers are drawn: on a terminal over and over at the same place, else as a table.

use std::collections::BTreeMap;
use std::io::{self, Write};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::{Row, Sort, View};

const COLUMNS: usize = 15;

const HEADS: [&str; COLUMNS] = [
    "SERVER", "ROLE", "ZXID", "LAG", "SESSIONS", "CONNS", "QUEUED", "IN/S", "OUT/S", "AVG", "MAX",
    "R99", "W99", "NODES", "ADDRESS",
];

/// Columns of words; the others are of numbers.
const WORDS: [usize; 3] = [0, 1, 14];

/// Top-level nodes that are named because they are written most. Limit: pieces.
const HOTTEST: usize = 5;

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
pub(super) fn screen(rows: &[Row], note: Option<&str>, view: View) -> String {
    let (width, height) = size();
    let mut out = String::from("\x1b[H");
    let rows = sorted(rows, view.sort);
    let text = table(&rows, note) + &footer(view);
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

/// What the keys have changed, and what they are.
fn footer(view: View) -> String {
    let mut lines = String::new();
    let order = match view.sort {
        Sort::Server => None,
        Sort::Lag => Some("by lag"),
        Sort::Packets => Some("by packets"),
        Sort::Latency => Some("by latency"),
    };
    let pause = view.is_paused.then_some("stopped, p goes on");
    let shown: Vec<&str> = order.into_iter().chain(pause).collect();
    if !shown.is_empty() {
        lines.push_str(&format!("({})\n", shown.join(", ")));
    }
    if view.has_help {
        lines.push_str("q ends, s sorts, p stops and goes on, h hides this\n");
    }
    lines
}

/// Servers that are down stand last in every order but that of the list.
fn sorted(rows: &[Row], sort: Sort) -> Vec<Row> {
    let mut rows = rows.to_vec();
    let facts = |row: &Row| row.answer.clone().unwrap_or_default();
    let latency = |row: &Row| facts(row).latency_avg_ms.unwrap_or(-1.0);
    let packets = |row: &Row| row.rates.as_ref().map_or(-1.0, |rates| rates.received);
    match sort {
        Sort::Server => {}
        Sort::Lag => rows.sort_by_key(|row| facts(row).zxid.unwrap_or(u64::MAX)),
        Sort::Packets => rows.sort_by(|a, b| packets(b).total_cmp(&packets(a))),
        Sort::Latency => rows.sort_by(|a, b| latency(b).total_cmp(&latency(a))),
    }
    rows
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
    let mut lines: Vec<[String; COLUMNS]> = vec![HEADS.map(str::to_owned)];
    let newest = newest(rows);
    lines.extend(rows.iter().map(|row| cells(row, newest)));
    let mut widths = [0; COLUMNS];
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
    if let Some(line) = hottest(rows) {
        out.push_str(&line);
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

/// The top-level nodes that are written most. Each server counts all that it applies, so the one
/// that has seen most of a node tells.
fn hottest(rows: &[Row]) -> Option<String> {
    let mut rates: BTreeMap<&str, f64> = BTreeMap::new();
    for (name, rate) in rows
        .iter()
        .filter_map(|row| row.rates.as_ref())
        .flat_map(|r| &r.writes)
    {
        let most = rates.entry(name).or_default();
        *most = most.max(*rate);
    }
    let mut rates: Vec<(&str, f64)> = rates.into_iter().collect();
    rates.sort_by(|a, b| b.1.total_cmp(&a.1));
    let named = rates.iter().take(HOTTEST);
    let named: Vec<String> = named
        .map(|(name, rate)| format!("/{name} {rate:.0}/s"))
        .collect();
    (!named.is_empty()).then(|| format!("most written: {}\n", named.join(", ")))
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

fn cells(row: &Row, newest: Option<u64>) -> [String; COLUMNS] {
    let dash = || "-".to_owned();
    let (name, address) = (row.place.name.clone(), row.place.address.clone());
    let Ok(facts) = &row.answer else {
        let mut cells = std::array::from_fn(|_| dash());
        cells[0] = name;
        cells[1] = "down".to_owned();
        cells[COLUMNS - 1] = address;
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
        rate(row.rates.as_ref().map(|rates| rates.received)),
        rate(row.rates.as_ref().map(|rates| rates.sent)),
        ms(facts.latency_avg_ms),
        ms(facts.latency_max_ms),
        ms(facts.read_ms[1]),
        ms(facts.write_ms[1]),
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
                    "received_per_second": row.rates.as_ref().map(|rates| rates.received),
                    "sent_per_second": row.rates.as_ref().map(|rates| rates.sent),
                    "writes_per_second": row.rates.as_ref().map(|rates| &rates.writes),
                    "latency_avg_ms": facts.latency_avg_ms,
                    "latency_max_ms": facts.latency_max_ms,
                    "read_p50_ms": facts.read_ms[0],
                    "read_p99_ms": facts.read_ms[1],
                    "write_p50_ms": facts.write_ms[0],
                    "write_p99_ms": facts.write_ms[1],
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
            writes: BTreeMap::from([("app".to_owned(), 3.0), ("b".to_owned(), 40.4)]),
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
        assert_eq!(
            lines[2],
            "1 leader 0x200000005 0 - - - 12 10 - - - - - h1:2181"
        );
        assert_eq!(
            lines[3],
            "2 follower 0x200000003 2 - - - - - - - - - - h2:2181"
        );
        assert!(
            lines[4].starts_with("3 looking 0x100000003 an epoch"),
            "{text}"
        );
        assert!(lines[5].starts_with("4 down - -"), "{text}");
        assert_eq!(lines[6], "most written: /b 40/s, /app 3/s");
        assert_eq!(lines[7..], ["! 4: no answer within 2 s", "! a note"]);
    }

    #[test]
    fn programs_get_numbers() {
        let object = object(&rows());
        assert_eq!(object["servers"][1]["lag"], 2);
        assert_eq!(object["servers"][2]["epochs_behind"], 1);
        assert_eq!(object["servers"][3]["role"], "down");
    }

    #[test]
    fn servers_are_sorted_and_those_that_are_down_come_last() {
        let order = |sort| -> Vec<String> {
            let rows = sorted(&rows(), sort);
            rows.into_iter().map(|row| row.place.name).collect()
        };
        assert_eq!(order(Sort::Server), ["1", "2", "3", "4"]);
        assert_eq!(order(Sort::Lag), ["3", "2", "1", "4"]);
        assert_eq!(order(Sort::Packets)[0], "1");
        assert_eq!(Sort::Server.next().next().next().next(), Sort::Server);
    }

    #[test]
    fn the_keys_are_told_and_what_they_have_done() {
        assert_eq!(footer(View::default()), "");
        let view = View {
            sort: Sort::Lag,
            is_paused: true,
            has_help: true,
        };
        let text = footer(view);
        assert!(
            text.starts_with("(by lag, stopped, p goes on)\nq ends"),
            "{text}"
        );
    }

    #[test]
    fn the_screen_is_drawn_in_place() {
        let text = screen(&rows(), None, View::default());
        assert!(text.starts_with("\x1b[H") && text.ends_with("\x1b[J"));
        assert!(text.contains("\x1b[31m4"), "{text:?}");
    }
}
