//! What a page says that a command prints, compared with what it prints.

/// Any number of lines, or anything inside of one.
const ANYTHING: &str = "...";

/// Whether the lines are those of the pattern.
pub(super) fn fits(pattern: &[String], lines: &[&str]) -> bool {
    match pattern.split_first() {
        None => lines.is_empty(),
        Some((first, rest)) if first.trim() == ANYTHING => {
            (0..=lines.len()).any(|skip| fits(rest, lines.get(skip..).unwrap_or_default()))
        }
        Some((first, rest)) => lines
            .split_first()
            .is_some_and(|(line, others)| line_fits(first, line) && fits(rest, others)),
    }
}

/// Whether the lines begin as the pattern does.
pub(super) fn begins(pattern: &[String], lines: &[&str]) -> bool {
    (0..=lines.len()).any(|end| fits(pattern, lines.get(..end).unwrap_or_default()))
}

fn line_fits(pattern: &str, line: &str) -> bool {
    let line = line.trim_end();
    let mut pieces = pattern.split(ANYTHING);
    let Some(mut rest) = line.strip_prefix(pieces.next().unwrap_or_default()) else {
        return false;
    };
    let mut pieces: Vec<&str> = pieces.collect();
    let Some(last) = pieces.pop() else {
        return rest.is_empty();
    };
    for piece in pieces {
        let Some((_, behind)) = rest.split_once(piece) else {
            return false;
        };
        rest = behind;
    }
    rest.ends_with(last)
}

/// Whether the block stands in the source, whatever the depth of its indentation there.
pub(super) fn is_quoted(block: &str, source: &str) -> bool {
    let wanted: Vec<&str> = block.trim_end().lines().collect();
    let lines: Vec<&str> = source.lines().collect();
    lines.windows(wanted.len().max(1)).any(|window| {
        let first = window.first().copied().unwrap_or_default();
        let indent = first.len() - first.trim_start().len();
        wanted.iter().zip(window).all(|(wanted, line)| {
            let cut = indent.min(line.len() - line.trim_start().len());
            line.get(cut..).unwrap_or_default().trim_end() == wanted.trim_end()
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<String> {
        text.lines().map(str::to_owned).collect()
    }

    #[test]
    fn three_dots_stand_for_anything() {
        assert!(fits(&lines("a\n...\nb"), &["a", "b"]));
        assert!(fits(&lines("a\n...\nb"), &["a", "x", "y", "b"]));
        assert!(!fits(&lines("a\n...\nb"), &["a", "b", "c"]));
        assert!(fits(
            &lines("zxid 0x... of ... and more"),
            &["zxid 0x17 of 3 and more"]
        ));
        assert!(!fits(&lines("zxid 0x..."), &["zxid 17"]));
        assert!(!fits(&lines("a"), &[]));
        assert!(begins(&lines("a\nb"), &["a", "b", "c"]));
        assert!(!begins(&lines("a\nb"), &["a"]));
    }

    #[test]
    fn a_quotation_may_be_less_indented() {
        let source = "fn main() {\n    if a {\n        b();\n    }\n}\n";
        assert!(is_quoted("if a {\n    b();\n}\n", source));
        assert!(!is_quoted("if a {\n    c();\n}\n", source));
    }
}
