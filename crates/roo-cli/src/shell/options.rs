//! Reads the options of one command as zkCli does, which is as Apache Commons CLI does: options
//! stand anywhere, short ones may be written together, `-v=3` and `-v 3` are the same, `-members`
//! is one option and not seven. Long names are ours.

use super::table::{Choice, Spec};

/// What was given to a command.
#[derive(Debug, Default)]
pub(super) struct Given {
    options: Vec<(&'static str, Option<String>)>,
    /// The words that are no options, without the command's name.
    pub words: Vec<String>,
}

impl Given {
    /// Whether an option was given.
    pub(super) fn has(&self, name: &str) -> bool {
        self.options.iter().any(|(given, _)| *given == name)
    }

    /// The value of an option, the first one if there are several.
    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let found = self.options.iter().find(|(given, _)| *given == name);
        found.and_then(|(_, value)| value.as_deref())
    }

    /// Counts the option in as if it had been given.
    pub(super) fn add(&mut self, name: &'static str) {
        self.options.push((name, None));
    }

    /// A word by its place behind the command's name.
    pub(super) fn word(&self, at: usize) -> Option<&str> {
        self.words.get(at).map(String::as_str)
    }
}

/// Reads the words behind a command's name; an error is told as zkCli tells it.
pub(super) fn read(spec: &'static Spec, words: &[String]) -> Result<Given, String> {
    let mut reader = Reader {
        spec,
        given: Given::default(),
        waiting: None,
    };
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        if word == "--" {
            reader.given.words.extend(rest.cloned());
            break;
        }
        reader.word(word)?;
    }
    reader.nothing_waits()?;
    reader.required()?;
    Ok(reader.given)
}

struct Reader {
    spec: &'static Spec,
    given: Given,
    /// An option whose value comes next.
    waiting: Option<&'static str>,
}

impl Reader {
    fn word(&mut self, word: &str) -> Result<(), String> {
        if let Some(name) = self.waiting
            && !self.is_option(word)
        {
            self.waiting = None;
            self.fill(name, word);
            return Ok(());
        }
        if let Some(long) = word.strip_prefix("--") {
            return self.long(word, long);
        }
        match word.strip_prefix('-') {
            Some(short) if !short.is_empty() => self.short(word, short),
            _ => {
                self.given.words.push(word.to_owned());
                Ok(())
            }
        }
    }

    /// A number with a minus sign is a value, not an option.
    fn is_option(&self, word: &str) -> bool {
        let Some(name) = word.strip_prefix('-').filter(|name| !name.is_empty()) else {
            return false;
        };
        if word.parse::<f64>().is_ok() {
            return false;
        }
        if let Some(long) = name.strip_prefix('-') {
            return self
                .spec
                .by_long(long.split('=').next().unwrap_or(long))
                .is_some();
        }
        let name = name.split('=').next().unwrap_or(name);
        let first = name.chars().next().map(String::from).unwrap_or_default();
        self.spec.by_name(name).is_some() || self.spec.by_name(&first).is_some()
    }

    fn long(&mut self, word: &str, long: &str) -> Result<(), String> {
        let (name, value) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value)),
            None => (long, None),
        };
        let option = self.spec.by_long(name).ok_or_else(|| unrecognised(word))?;
        self.take(option.name, option.value.is_some())?;
        match value {
            Some(value) if option.value.is_some() => {
                self.waiting = None;
                self.fill(option.name, value);
                Ok(())
            }
            Some(_) => Err(unrecognised(word)),
            None => Ok(()),
        }
    }

    fn short(&mut self, word: &str, short: &str) -> Result<(), String> {
        if let Some(option) = self.spec.by_name(short) {
            return self.take(option.name, option.value.is_some());
        }
        if let Some((name, value)) = short.split_once('=') {
            let option = self.spec.by_name(name);
            let option =
                option.filter(|option| name.chars().count() == 1 && option.value.is_some());
            let option = option.ok_or_else(|| unrecognised(word))?;
            self.take(option.name, true)?;
            self.waiting = None;
            self.fill(option.name, value);
            return Ok(());
        }
        for (at, letter) in short.char_indices() {
            let name = letter.to_string();
            let option = self.spec.by_name(&name).ok_or_else(|| unrecognised(word))?;
            self.take(option.name, option.value.is_some())?;
            let rest = short.get(at + letter.len_utf8()..).unwrap_or_default();
            if option.value.is_some() && !rest.is_empty() {
                self.waiting = None;
                self.fill(option.name, rest);
                break;
            }
        }
        Ok(())
    }

    fn take(&mut self, name: &'static str, wants_value: bool) -> Result<(), String> {
        self.nothing_waits()?;
        if self.spec.choice != Choice::Free
            && let Some((earlier, _)) = self.given.options.iter().find(|(other, _)| {
                *other != name && self.spec.by_name(other).is_some_and(|other| other.chosen)
            })
            && self.spec.by_name(name).is_some_and(|option| option.chosen)
        {
            return Err(format!(
                "org.apache.commons.cli.AlreadySelectedException: The option '{name}' was \
                 specified but an option from this group has already been selected: '{earlier}'"
            ));
        }
        self.given.options.push((name, None));
        if wants_value {
            self.waiting = Some(name);
        }
        Ok(())
    }

    fn fill(&mut self, name: &'static str, value: &str) {
        if let Some((_, slot)) = self
            .given
            .options
            .iter_mut()
            .rev()
            .find(|(given, _)| *given == name)
        {
            *slot = Some(value.to_owned());
        }
    }

    fn nothing_waits(&self) -> Result<(), String> {
        match self.waiting {
            None => Ok(()),
            Some(name) => Err(format!(
                "org.apache.commons.cli.MissingArgumentException: Missing argument for option: {name}"
            )),
        }
    }

    fn required(&self) -> Result<(), String> {
        let chosen = |name: &str| self.spec.by_name(name).is_some_and(|option| option.chosen);
        if self.spec.choice != Choice::ExactlyOne
            || self.given.options.iter().any(|(name, _)| chosen(name))
        {
            return Ok(());
        }
        let options = self.spec.options.iter().filter(|option| option.chosen);
        let options: Vec<String> = options
            .map(|option| format!("-{} {}", option.name, option.zkcli))
            .collect();
        Err(format!(
            "org.apache.commons.cli.MissingOptionException: Missing required option: [{}]",
            options.join(", ")
        ))
    }
}

fn unrecognised(word: &str) -> String {
    format!("org.apache.commons.cli.UnrecognizedOptionException: Unrecognized option: {word}")
}

#[cfg(test)]
mod tests {
    use super::super::table;
    use super::*;

    fn read_line(line: &str) -> Result<Given, String> {
        let words = super::super::line::words(line);
        let (name, rest) = words.split_first().unwrap();
        read(table::find(name).unwrap(), rest)
    }

    #[test]
    fn options_stand_anywhere_and_together() {
        let given = read_line("set /e -sv 1 y").unwrap();
        assert_eq!(given.words, ["/e", "y"]);
        assert!(given.has("s"));
        assert_eq!(given.value("v"), Some("1"));
        assert_eq!(read_line("set -v=0 /e x").unwrap().value("v"), Some("0"));
        assert_eq!(read_line("set -v3 /e x").unwrap().value("v"), Some("3"));
        let given = read_line("ls --recursive --stat /a").unwrap();
        assert!(given.has("R") && given.has("s"));
    }

    #[test]
    fn names_of_several_letters_are_one_option() {
        let given = read_line("reconfig -remove 3 -add server.4=a:1:2;3").unwrap();
        assert_eq!(given.value("remove"), Some("3"));
        assert_eq!(given.value("add"), Some("server.4=a:1:2;3"));
    }

    #[test]
    fn a_negative_number_is_a_value() {
        assert_eq!(read_line("create -t -5 /x").unwrap().value("t"), Some("-5"));
        let given = read_line("delete -- -x").unwrap();
        assert_eq!(given.words, ["-x"]);
    }

    #[test]
    fn errors_are_worded_as_by_zkcli() {
        let cases = [
            (
                "get -q /z",
                "UnrecognizedOptionException: Unrecognized option: -q",
            ),
            (
                "get -sq /z",
                "UnrecognizedOptionException: Unrecognized option: -sq",
            ),
            (
                "get --nope /e",
                "UnrecognizedOptionException: Unrecognized option: --nope",
            ),
            (
                "set /z d -v",
                "MissingArgumentException: Missing argument for option: v",
            ),
            (
                "setquota -n 5 -b 5 /z",
                "AlreadySelectedException: The option 'b' was specified but an option from this \
                 group has already been selected: 'n'",
            ),
            (
                "setquota /z",
                "MissingOptionException: Missing required option: [-n num soft quota, \
                 -b bytes soft quota, -N num hard quota, -B bytes hard quota]",
            ),
        ];
        for (line, expected) in cases {
            let error = read_line(line).unwrap_err();
            assert_eq!(
                error,
                format!("org.apache.commons.cli.{expected}"),
                "{line}"
            );
        }
    }
}
