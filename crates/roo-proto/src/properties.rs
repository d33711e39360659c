//! The syntax of Java's properties files: `zoo.cfg`, dynamic configuration files, the text of an
//! ensemble, the members a reconfiguration names. Java: `Properties.load`. Keys that stand twice
//! are all returned; the caller decides which counts.

use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::{IntoIter, Vec};
use core::iter::Peekable;

/// One key and its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// Line of the text on which it begins, from 1.
    pub line: usize,
    /// The key.
    pub key: String,
    /// The value, trimmed.
    pub value: String,
}

/// Reads a text.
///
/// # Errors
/// A bad `\u` escape: its line and what is expected.
pub fn parse(text: &str) -> Result<Vec<Property>, (usize, &'static str)> {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    let mut properties = Vec::new();
    let mut lines = text.split('\n').enumerate();
    while let Some((at, first)) = lines.next() {
        let mut line = first.trim_start_matches([' ', '\t', '\u{c}']).to_owned();
        if line.is_empty() || line.starts_with(['#', '!']) {
            continue;
        }
        while continues(&line) {
            line.pop();
            let Some((_, next)) = lines.next() else { break };
            line.push_str(next.trim_start_matches([' ', '\t', '\u{c}']));
        }
        properties.push(split(at + 1, &line)?);
    }
    Ok(properties)
}

/// An odd number of backslashes at the end joins the next line.
fn continues(line: &str) -> bool {
    line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1
}

fn split(line: usize, text: &str) -> Result<Property, (usize, &'static str)> {
    let mut chars = text.chars().collect::<Vec<_>>().into_iter().peekable();
    let mut key = String::new();
    while let Some(c) = chars.peek().copied() {
        if matches!(c, '=' | ':' | ' ' | '\t' | '\u{c}') {
            break;
        }
        chars.next();
        push(&mut key, c, &mut chars).map_err(|what| (line, what))?;
    }
    let mut separated = false;
    while let Some(c) = chars.peek().copied() {
        match c {
            ' ' | '\t' | '\u{c}' => {}
            '=' | ':' if !separated => separated = true,
            _ => break,
        }
        chars.next();
    }
    let mut value = String::new();
    while let Some(c) = chars.next() {
        push(&mut value, c, &mut chars).map_err(|what| (line, what))?;
    }
    Ok(Property {
        line,
        key,
        value: value.trim().to_owned(),
    })
}

fn push(
    out: &mut String,
    c: char,
    rest: &mut Peekable<IntoIter<char>>,
) -> Result<(), &'static str> {
    if c != '\\' {
        out.push(c);
        return Ok(());
    }
    match rest.next() {
        None => {}
        Some('t') => out.push('\t'),
        Some('n') => out.push('\n'),
        Some('r') => out.push('\r'),
        Some('f') => out.push('\u{c}'),
        Some('u') => {
            let digits: String = rest.by_ref().take(4).collect();
            let code = u32::from_str_radix(&digits, 16)
                .ok()
                .filter(|_| digits.len() == 4);
            let code = code.ok_or("four hexadecimal digits behind \\u")?;
            out.push(char::from_u32(code).unwrap_or('\u{FFFD}'));
        }
        Some(other) => out.push(other),
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_of_a_line_is_understood() {
        let text = "# comment\n! too\na=1\n b : 2\nc 3\nd=x\\\n   y\ne=\\u0041\\t\nf\ng==h\n";
        let found: Vec<(usize, String, String)> = parse(text)
            .unwrap()
            .into_iter()
            .map(|p| (p.line, p.key, p.value))
            .collect();
        let expected = [
            (3, "a", "1"),
            (4, "b", "2"),
            (5, "c", "3"),
            (6, "d", "xy"),
            (8, "e", "A"),
            (9, "f", ""),
            (10, "g", "=h"),
        ];
        let expected = expected.map(|(l, k, v)| (l, k.to_owned(), v.to_owned()));
        assert_eq!(found, expected);
        assert!(parse("a=\\u00g0").is_err());
    }

    proptest! {
        #[test]
        fn reading_never_panics(text: String) {
            let _ = parse(&text);
        }
    }
}
