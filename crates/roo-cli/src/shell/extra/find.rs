//! `find`: nodes by what is known of them.

use clap::Args;
use jiff::Timestamp;
use roo_client::Stat;
use serde_json::json;
use std::time::Duration;

use super::parse_size;
use crate::connect::{Failure, parse_duration};
use crate::shell::Shell;
use crate::shell::errors::check_path;
use crate::shell::output;
use crate::shell::walk::Walk;

/// Arguments of `roo find`.
#[derive(Args, Debug)]
pub(crate) struct FindArguments {
    /// Where to look: this node and all below it.
    path: String,
    /// Its name: * is any text, ? any character.
    #[arg(long, value_name = "PATTERN")]
    name: Option<String>,
    /// Its data is unchanged for longer than this, as 10s, 5m, 2h or 7d.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    older: Option<Duration>,
    /// Its data was changed within this time.
    #[arg(long, value_name = "TIME", value_parser = parse_duration)]
    newer: Option<Duration>,
    /// Its data has more bytes, as 512, 10K or 1M.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    larger: Option<u64>,
    /// Its data has fewer bytes.
    #[arg(long, value_name = "SIZE", value_parser = parse_size)]
    smaller: Option<u64>,
    /// It is ephemeral.
    #[arg(long)]
    ephemeral: bool,
    /// It belongs to this session, in hex.
    #[arg(long, value_name = "SESSION", value_parser = parse_session)]
    owner: Option<i64>,
    /// It has no children.
    #[arg(long)]
    childless: bool,
    /// Prints kind, bytes, version and time of the last change before the path.
    #[arg(long, short = 'l')]
    long: bool,
}

fn parse_session(text: &str) -> Result<i64, String> {
    let digits = text.strip_prefix("0x").unwrap_or(text);
    u64::from_str_radix(digits, 16)
        .map(u64::cast_signed)
        .map_err(|_| format!("{text:?} is no session: write it in hex, as 0x1000012345"))
}

/// Finds them.
pub(super) async fn run(shell: &mut Shell, arguments: &FindArguments) -> Result<(), Failure> {
    check_path(&arguments.path)?;
    let client = shell.client()?;
    let mut tree = Walk::new(&client, &arguments.path).children().await;
    let unreadable = tree.readable()?;
    let now_ms = Timestamp::now().as_millisecond();
    for path in tree.paths()? {
        let Some(stat) = tree.stat(path) else {
            continue;
        };
        if !arguments.fits(path, stat, now_ms) {
            continue;
        }
        if shell.out.json {
            let object = json!({ "path": path, "stat": output::stat_json(stat) });
            shell.out.json(&object)?;
        } else if arguments.long {
            shell.out.line(format!(
                "{:<10} {:>9} {:>5} {} {path}",
                output::kind(stat.ephemeral_owner),
                stat.data_length,
                stat.version,
                output::iso(stat.mtime),
            ))?;
        } else {
            shell.out.line(path)?;
        }
    }
    unreadable.told()
}

impl FindArguments {
    fn fits(&self, path: &str, stat: &Stat, now_ms: i64) -> bool {
        let name = path.rsplit('/').next().unwrap_or_default();
        let kind = output::kind(stat.ephemeral_owner);
        let age = Duration::from_millis(u64::try_from(now_ms - stat.mtime).unwrap_or_default());
        let bytes = u64::try_from(stat.data_length).unwrap_or_default();
        self.name
            .as_deref()
            .is_none_or(|pattern| matches(pattern, name))
            && self.older.is_none_or(|least| age > least)
            && self.newer.is_none_or(|most| age <= most)
            && self.larger.is_none_or(|least| bytes > least)
            && self.smaller.is_none_or(|most| bytes < most)
            && (!self.ephemeral || kind == "ephemeral")
            && self.owner.is_none_or(|owner| stat.ephemeral_owner == owner)
            && (!self.childless || stat.num_children == 0)
    }
}

/// Whether a pattern fits a whole name.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    let (mut at, mut place) = (0, 0);
    // Where to go on after the last star, with one character more in it.
    let mut star: Option<(usize, usize)> = None;
    while place < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at + 1, place));
                at += 1;
            }
            Some(wanted) if *wanted == '?' || name.get(place) == Some(wanted) => {
                at += 1;
                place += 1;
            }
            _ => {
                let Some((after, from)) = star else {
                    return false;
                };
                star = Some((after, from + 1));
                (at, place) = (after, from + 1);
            }
        }
    }
    pattern.iter().skip(at).all(|rest| *rest == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_fit_whole_names() {
        for (pattern, name) in [
            ("job-*", "job-0000000001"),
            ("*", ""),
            ("*.tmp", "a.b.tmp"),
            ("a?c", "abc"),
            ("*a*b", "xaxab"),
            ("", ""),
        ] {
            assert!(matches(pattern, name), "{pattern} {name}");
        }
        for (pattern, name) in [("job", "job-1"), ("a?c", "ac"), ("*.tmp", "tmp"), ("", "a")] {
            assert!(!matches(pattern, name), "{pattern} {name}");
        }
    }

    #[test]
    fn sessions_are_hex() {
        assert_eq!(parse_session("0x10"), Ok(16));
        assert_eq!(parse_session("ffffffffffffffff"), Ok(-1));
        assert!(parse_session("me").is_err());
    }
}
