//! Cuts a line of the shell into words, as zkCli does: `'` and `"` group, nothing escapes.

/// The words of a line. A quote in the middle of a word is a character like any other; a quote
/// that is never closed is dropped.
pub(super) fn words(line: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut rest = line.trim_start();
    while let Some(first) = rest.chars().next() {
        let body = &rest[first.len_utf8()..];
        let (word, after) = if matches!(first, '"' | '\'') {
            match body.split_once(first) {
                Some((word, after)) => (word, after),
                None => {
                    rest = body.trim_start();
                    continue;
                }
            }
        } else {
            rest.split_at(rest.find(char::is_whitespace).unwrap_or(rest.len()))
        };
        words.push(word.to_owned());
        rest = after.trim_start();
    }
    words
}

/// A word as it must be typed to come out of [`words`] again, if it can be.
pub(super) fn quoted(word: &str) -> String {
    let plain =
        !word.is_empty() && !word.contains(char::is_whitespace) && !word.starts_with(['"', '\'']);
    if plain {
        word.to_owned()
    } else if word.contains('"') {
        format!("'{word}'")
    } else {
        format!("\"{word}\"")
    }
}

/// What is typed of the last word of an unfinished line, with the place where it begins, and how
/// many words stand before it.
pub(super) fn last_word(line: &str) -> (usize, String, usize) {
    let mut rest = line.trim_start();
    let mut count = 0;
    loop {
        let start = line.len() - rest.len();
        let Some(first) = rest.chars().next() else {
            return (start, String::new(), count);
        };
        let body = &rest[first.len_utf8()..];
        let after = if matches!(first, '"' | '\'') {
            match body.split_once(first) {
                Some((_, after)) => after,
                None => return (start, body.to_owned(), count),
            }
        } else {
            match rest.find(char::is_whitespace) {
                Some(end) => &rest[end..],
                None => return (start, rest.to_owned(), count),
            }
        };
        count += 1;
        if after.is_empty() {
            // A closed quotation at the very end is a finished word.
            return (line.len(), String::new(), count);
        }
        rest = after.trim_start();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_as_zkcli_cuts_them() {
        let cases: &[(&str, &[&str])] = &[
            ("ls /", &["ls", "/"]),
            ("  ls\t /a  ", &["ls", "/a"]),
            ("create \"/a b\" 'it\"s'", &["create", "/a b", "it\"s"]),
            ("set /a \"\"", &["set", "/a", ""]),
            ("create \"/a b\"c d", &["create", "/a b", "c", "d"]),
            ("set /a b\"c d\"", &["set", "/a", "b\"c", "d\""]),
            ("set /a \"never closed", &["set", "/a", "never", "closed"]),
            ("", &[]),
        ];
        for (line, expected) in cases {
            assert_eq!(words(line), *expected, "{line}");
        }
    }

    #[test]
    fn a_quoted_word_is_read_back() {
        for word in ["/a", "/a b", "it's here", "say \"x\"", "", "'quoted'"] {
            assert_eq!(words(&quoted(word)), [word]);
        }
    }

    #[test]
    fn the_last_word_is_what_is_being_typed() {
        assert_eq!(last_word("ls /ab"), (3, "/ab".to_owned(), 1));
        assert_eq!(last_word("ls "), (3, String::new(), 1));
        assert_eq!(last_word("get \"/a b"), (4, "/a b".to_owned(), 1));
        assert_eq!(last_word("g"), (0, "g".to_owned(), 0));
        assert_eq!(last_word(""), (0, String::new(), 0));
    }
}
