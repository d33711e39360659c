//! Where commands write, and how stats, data and lists look: to people as zkCli prints them, to
//! programs as JSON.

use std::fmt::Display;
use std::io::{self, ErrorKind, IsTerminal, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use roo_client::{Acl, Stat};
use roo_proto::acl::{PERM_ADMIN, PERM_CREATE, PERM_DELETE, PERM_READ, PERM_WRITE};
use serde_json::{Map, Value, json};

use crate::connect::{Exit, Failure};

/// The two streams of a command, and what may be sent there.
pub(super) struct Output {
    out: Box<dyn Write>,
    err: Box<dyn Write>,
    /// Whether people read the output: colours, and no control characters.
    pub terminal: bool,
    /// Whether colours are wanted.
    pub colours: bool,
    /// Whether progress is shown.
    pub progress: bool,
    /// Whether results are JSON.
    pub json: bool,
}

impl Output {
    /// The process's own streams.
    pub(super) fn standard() -> Self {
        let terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            out: Box::new(io::BufWriter::new(io::stdout())),
            err: Box::new(io::stderr()),
            terminal,
            colours: terminal && !no_color && !dumb,
            progress: io::stderr().is_terminal(),
            json: false,
        }
    }

    /// Writes a line of the result.
    pub(super) fn line(&mut self, text: impl Display) -> Result<(), Failure> {
        writeln!(self.out, "{text}").map_err(|error| unwritten(&error))
    }

    /// Writes text of the result without ending the line.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Failure> {
        self.bytes(text.as_bytes())
    }

    /// Writes bytes as they are.
    pub(super) fn bytes(&mut self, bytes: &[u8]) -> Result<(), Failure> {
        self.out.write_all(bytes).map_err(|error| unwritten(&error))
    }

    /// Writes a line of JSON.
    pub(super) fn json(&mut self, value: &Value) -> Result<(), Failure> {
        self.line(value)
    }

    /// Writes a line to standard error, behind what was written so far.
    pub(super) fn note(&mut self, text: impl Display) {
        // Nothing can be told if that fails.
        let _ = self.out.flush();
        let _ = writeln!(self.err, "{text}");
    }

    /// Sends on what was written.
    pub(super) fn flush(&mut self) -> Result<(), Failure> {
        self.out.flush().map_err(|error| unwritten(&error))
    }

    /// A node's data and the end of the line. To a terminal go no control characters: they could
    /// do anything there. Elsewhere the bytes go as they are.
    pub(super) fn data(&mut self, data: &[u8]) -> Result<(), Failure> {
        if self.terminal {
            let text = String::from_utf8_lossy(data);
            let shown: String = text.chars().map(harmless).collect();
            return self.line(shown);
        }
        self.bytes(data)?;
        self.bytes(b"\n")
    }

    /// A stat in zkCli's eleven lines.
    pub(super) fn stat(&mut self, stat: &Stat) -> Result<(), Failure> {
        self.text(&stat_lines(stat, &TimeZone::system()))
    }

    /// Text in a colour, if colours are wanted.
    pub(super) fn paint(&self, colour: Colour, text: &str) -> String {
        if !self.colours || text.is_empty() {
            return text.to_owned();
        }
        format!("\x1b[{}m{text}\x1b[0m", colour as u8)
    }
}

/// Codes of colours.
#[derive(Clone, Copy)]
pub(super) enum Colour {
    /// Ephemeral nodes.
    Yellow = 33,
    /// Nodes with children.
    Blue = 34,
    /// What goes with other things.
    Grey = 90,
}

fn harmless(letter: char) -> char {
    match letter {
        '\n' | '\t' => letter,
        letter if letter.is_control() => '\u{FFFD}',
        letter => letter,
    }
}

fn unwritten(error: &io::Error) -> Failure {
    if error.kind() == ErrorKind::BrokenPipe {
        // Whoever reads has seen enough: `| head`.
        return Failure::new(Exit::Enough, "");
    }
    Failure::failed(format!("cannot write the output: {error}"))
}

/// A stat as zkCli prints it, in a zone of the clock.
fn stat_lines(stat: &Stat, zone: &TimeZone) -> String {
    format!(
        "cZxid = {:#x}\nctime = {}\nmZxid = {:#x}\nmtime = {}\npZxid = {:#x}\ncversion = {}\n\
         dataVersion = {}\naclVersion = {}\nephemeralOwner = {:#x}\ndataLength = {}\n\
         numChildren = {}\n",
        stat.czxid,
        date(stat.ctime, zone),
        stat.mzxid,
        date(stat.mtime, zone),
        stat.pzxid,
        stat.cversion,
        stat.version,
        stat.aversion,
        stat.ephemeral_owner,
        stat.data_length,
        stat.num_children,
    )
}

/// A time as Java's `Date` writes it; a time that no calendar has as its milliseconds.
fn date(ms: i64, zone: &TimeZone) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => {
            let zoned = time.to_zoned_datetime(zone.clone());
            zoned.strftime("%a %b %d %H:%M:%S %Z %Y").to_string()
        }
        Err(_) => ms.to_string(),
    }
}

/// A time in the form of ISO 8601.
pub(super) fn iso(ms: i64) -> String {
    match Timestamp::from_millisecond(ms) {
        Ok(time) => time.to_string(),
        Err(_) => ms.to_string(),
    }
}

/// What kind of node has this owner: `persistent`, `ephemeral`, `container` or `ttl`.
pub(super) fn kind(owner: i64) -> &'static str {
    match owner {
        0 => "persistent",
        i64::MIN => "container",
        _ if ttl_ms(owner).is_some() => "ttl",
        _ => "ephemeral",
    }
}

/// The time to live that an owner stands for, if it stands for one: the eight highest bits are
/// set, the next sixteen are not. A session's id has its server's number there, at most 254.
pub(super) const fn ttl_ms(owner: i64) -> Option<i64> {
    const MARK: i64 = 0xFF << 56;
    const RESERVED: i64 = 0xFFFF << 40;
    if owner & MARK == MARK && owner & RESERVED == 0 && owner != i64::MIN {
        Some(owner & ((1 << 40) - 1))
    } else {
        None
    }
}

/// A stat for programs: zxids and sessions in hex, as text, for JSON's numbers end at 2^53.
pub(super) fn stat_json(stat: &Stat) -> Value {
    json!({
        "czxid": format!("{:#x}", stat.czxid),
        "mzxid": format!("{:#x}", stat.mzxid),
        "pzxid": format!("{:#x}", stat.pzxid),
        "ctime": iso(stat.ctime),
        "mtime": iso(stat.mtime),
        "version": stat.version,
        "cversion": stat.cversion,
        "aversion": stat.aversion,
        "kind": kind(stat.ephemeral_owner),
        "ephemeral_owner": format!("{:#x}", stat.ephemeral_owner),
        "data_length": stat.data_length,
        "num_children": stat.num_children,
    })
}

/// Puts data into an object so that every byte comes back: as `text` if it is UTF-8, else as
/// `base64`; nothing at all for a node without data.
pub(super) fn put_data(object: &mut Map<String, Value>, data: Option<&[u8]>) {
    match data.map(|data| (data, std::str::from_utf8(data))) {
        None => {}
        Some((_, Ok(text))) => {
            object.insert("text".to_owned(), text.into());
        }
        Some((data, Err(_))) => {
            object.insert("base64".to_owned(), BASE64.encode(data).into());
        }
    }
}

/// The letters of permissions, in zkCli's order.
pub(super) fn permissions(perms: i32) -> String {
    let letters = [
        (PERM_CREATE, 'c'),
        (PERM_DELETE, 'd'),
        (PERM_READ, 'r'),
        (PERM_WRITE, 'w'),
        (PERM_ADMIN, 'a'),
    ];
    let given = letters.iter().filter(|(bit, _)| perms & bit != 0);
    given.map(|(_, letter)| letter).collect()
}

/// An ACL as `scheme:id:perms` for each entry.
pub(super) fn acl_texts(acl: &[Acl]) -> Vec<String> {
    let text = |entry: &Acl| {
        let Acl { perms, id } = entry;
        format!("{}:{}:{}", id.scheme, id.id, permissions(*perms))
    };
    acl.iter().map(text).collect()
}

/// Bytes in base64.
pub(super) fn base64(data: &[u8]) -> String {
    BASE64.encode(data)
}

/// The bytes of base64.
pub(super) fn from_base64(text: &str) -> Result<Vec<u8>, String> {
    BASE64.decode(text).map_err(|error| error.to_string())
}

const RULER: &str = "+--------+-------------------------------------------------+----------------+";

/// A dump in rows of sixteen bytes, as zkCli draws it; of no bytes, nothing.
pub(super) fn hex_dump(data: &[u8]) -> String {
    if data.is_empty() {
        return String::new();
    }
    let mut text = format!(
        "         +-------------------------------------------------+\n         \
         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |\n{RULER}"
    );
    for (row, bytes) in data.chunks(16).enumerate() {
        let hex: String = bytes.iter().map(|byte| format!(" {byte:02x}")).collect();
        let plain = |byte: &u8| match byte {
            0x20..0x7F => char::from(*byte),
            _ => '.',
        };
        let letters: String = bytes.iter().map(plain).collect();
        text.push_str(&format!("\n|{:08x}|{hex:<48} |{letters:<16}|", row * 16));
    }
    text.push('\n');
    text.push_str(RULER);
    text
}

/// A size for people.
pub(super) fn size(bytes: u64) -> String {
    let units = ["KiB", "MiB", "GiB", "TiB"];
    let mut value = bytes;
    let mut rest = 0;
    let mut unit = None;
    for name in units {
        if value < 1024 {
            break;
        }
        rest = value % 1024;
        value /= 1024;
        unit = Some(name);
    }
    match unit {
        None => format!("{bytes} B"),
        Some(unit) => format!("{value}.{} {unit}", rest * 10 / 1024),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stat_looks_as_in_zkcli() {
        let stat = Stat {
            czxid: 2,
            mzxid: 0x1_0000_001C,
            ctime: 1_795_628_960_123,
            mtime: 0,
            ephemeral_owner: i64::MIN,
            aversion: -1,
            ..Stat::default()
        };
        assert_eq!(
            stat_lines(&stat, &TimeZone::UTC),
            "cZxid = 0x2\nctime = Wed Nov 25 17:49:20 UTC 2026\nmZxid = 0x10000001c\n\
             mtime = Thu Jan 01 00:00:00 UTC 1970\npZxid = 0x0\ncversion = 0\ndataVersion = 0\n\
             aclVersion = -1\nephemeralOwner = 0x8000000000000000\ndataLength = 0\n\
             numChildren = 0\n"
        );
    }

    #[test]
    fn the_hex_dump_is_netty_s() {
        let expected = "         +-------------------------------------------------+
         |  0  1  2  3  4  5  6  7  8  9  a  b  c  d  e  f |
+--------+-------------------------------------------------+----------------+
|00000000| 6f 6e 65                                        |one             |
+--------+-------------------------------------------------+----------------+";
        assert_eq!(hex_dump(b"one"), expected);
        assert_eq!(hex_dump(b""), "");
        assert!(hex_dump(&[0; 17]).contains("\n|00000010| 00  "));
    }

    #[test]
    fn an_owner_tells_the_kind_of_its_node() {
        assert_eq!(kind(0), "persistent");
        assert_eq!(kind(i64::MIN), "container");
        assert_eq!(kind(0x0100_0012_3456_789A), "ephemeral");
        let hour = (0xFF_i64 << 56) | 3_600_000;
        assert_eq!(kind(hour), "ttl");
        assert_eq!(ttl_ms(hour), Some(3_600_000));
    }

    #[test]
    fn sizes_are_rounded_down() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size(3 << 30), "3.0 GiB");
    }

    #[test]
    fn data_survives_as_text_or_base64() {
        let mut object = Map::new();
        put_data(&mut object, Some(b"caf\xC3\xA9"));
        assert_eq!(object.get("text"), Some(&"caf\u{e9}".into()));
        let mut object = Map::new();
        put_data(&mut object, Some(&[0xFF, 0]));
        assert_eq!(object.get("base64"), Some(&"/wA=".into()));
        let mut object = Map::new();
        put_data(&mut object, None);
        assert!(object.is_empty());
    }
}
