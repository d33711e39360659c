//! A page of markdown as what is to be done with it.

use anyhow::{Result, bail, ensure};

/// How commands are run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct How {
    pub(super) background: bool,
    pub(super) eventually: bool,
    pub(super) fails: bool,
}

/// What a block is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Server,
    File(String),
    Quote(String),
    Commands(How),
    Skip,
}

/// A block that somebody acts on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Block {
    /// Where it begins, from 1.
    pub(super) line: usize,
    pub(super) part: Part,
    pub(super) text: String,
}

/// What a page wants done, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) blocks: Vec<Block>,
}

/// Languages that nobody shows without a way to try them.
const RUNNABLE: &[&str] = &[
    "sh",
    "bash",
    "shell",
    "python",
    "java",
    "c",
    "go",
    "javascript",
    "js",
    "rust",
];

impl Page {
    /// Reads a page.
    ///
    /// # Errors
    /// When it says something that is not understood, or shows commands that nobody would run.
    pub(super) fn parse(text: &str) -> Result<Self> {
        let mut page = Self::default();
        let mut directives: Vec<&str> = Vec::new();
        let mut lines = text.lines().enumerate();
        while let Some((at, line)) = lines.next() {
            let line_number = at + 1;
            let trimmed = line.trim_start();
            if trimmed == "<!-- book: hidden" {
                let hidden = lines.by_ref().map(|(_, line)| line);
                let text = joined(hidden.take_while(|line| line.trim() != "-->"), 0);
                page.add(line_number, Part::Commands(How::default()), text);
            } else if let Some(directive) = trimmed.strip_prefix("<!-- book: ") {
                let Some(directive) = directive.strip_suffix("-->") else {
                    bail!("line {line_number}: a comment that does not end in its line");
                };
                match directive.trim() {
                    "server" => page.add(line_number, Part::Server, String::new()),
                    other => directives.push(other),
                }
            } else if let Some(language) = trimmed.strip_prefix("```") {
                let indent = line.len() - trimmed.len();
                let body = lines.by_ref().map(|(_, line)| line);
                let text = joined(
                    body.take_while(|line| !line.trim_start().starts_with("```")),
                    indent,
                );
                let part = part(language, &directives)
                    .map_err(|error| error.context(format!("line {line_number}")))?;
                directives.clear();
                if let Some(part) = part {
                    page.add(line_number, part, text);
                }
            } else if !trimmed.is_empty() {
                ensure!(
                    directives.is_empty(),
                    "line {line_number}: expected a block behind {directives:?}"
                );
            }
        }
        Ok(page)
    }

    fn add(&mut self, line: usize, part: Part, text: String) {
        self.blocks.push(Block { line, part, text });
    }
}

fn joined<'a>(lines: impl Iterator<Item = &'a str>, indent: usize) -> String {
    lines.fold(String::new(), |text, line| {
        let cut = line.len() - line.trim_start().len();
        text + line.get(cut.min(indent)..).unwrap_or_default() + "\n"
    })
}

/// What to do with a block of this language behind these comments; nothing, if it is only text.
fn part(language: &str, directives: &[&str]) -> Result<Option<Part>> {
    let language = language.split([',', ' ']).next().unwrap_or_default();
    let mut how = How::default();
    for directive in directives {
        let (word, rest) = directive.split_once(' ').unwrap_or((directive, ""));
        match word {
            "skip" => {
                ensure!(!rest.is_empty(), "skip: expected a reason");
                return Ok(Some(Part::Skip));
            }
            "file" => return Ok(Some(Part::File(rest.to_owned()))),
            "quote" => return Ok(Some(Part::Quote(rest.to_owned()))),
            "background" => how.background = true,
            "eventually" => how.eventually = true,
            "fails" => how.fails = true,
            other => bail!("{other:?} is not known"),
        }
    }
    if language == "console" {
        return Ok(Some(Part::Commands(how)));
    }
    ensure!(
        how == How::default(),
        "{directives:?} is for a block of console, not of {language:?}"
    );
    ensure!(
        !RUNNABLE.contains(&language),
        "a block of {language} that is no file, no quotation, and not skipped"
    );
    Ok(None)
}

/// A command and what it prints.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Exchange {
    pub(super) command: String,
    pub(super) answer: Vec<String>,
}

/// The commands of a block of console.
///
/// # Errors
/// When the block does not begin with one.
pub(super) fn dialogue(text: &str) -> Result<Vec<Exchange>> {
    let mut exchanges: Vec<Exchange> = Vec::new();
    let mut goes_on = false;
    for line in text.lines() {
        if let Some(command) = line.strip_prefix("$ ").filter(|_| !goes_on) {
            exchanges.push(Exchange {
                command: command.to_owned(),
                answer: Vec::new(),
            });
            goes_on = command.ends_with('\\');
            continue;
        }
        let Some(exchange) = exchanges.last_mut() else {
            bail!("expected a line that begins with \"$ \", not {line:?}");
        };
        let more = line
            .strip_prefix("> ")
            .filter(|_| exchange.answer.is_empty());
        if goes_on || more.is_some() {
            let more = more.unwrap_or(line);
            exchange.command.push('\n');
            exchange.command.push_str(more);
            goes_on = more.ends_with('\\');
        } else {
            exchange.answer.push(line.trim_end().to_owned());
        }
    }
    for exchange in &mut exchanges {
        while exchange.answer.last().is_some_and(String::is_empty) {
            exchange.answer.pop();
        }
    }
    Ok(exchanges)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_is_its_blocks_in_order() {
        let text = "# T\n<!-- book: server -->\n\n<!-- book: file a.py -->\n```python\nx\n```\n\n   \
                    ```console\n   $ ls\n   a.py\n   ```\n```text\nfree\n```\n\
                    <!-- book: hidden\n$ true\n-->\n";
        let page = Page::parse(text).unwrap();
        let parts: Vec<&Part> = page.blocks.iter().map(|block| &block.part).collect();
        let run = Part::Commands(How::default());
        assert_eq!(
            parts,
            [&Part::Server, &Part::File("a.py".into()), &run, &run]
        );
        assert_eq!(page.blocks[2].text, "$ ls\na.py\n");
        assert_eq!(page.blocks[3].text, "$ true\n");
    }

    #[test]
    fn nothing_is_shown_untried() {
        assert!(Page::parse("```python\nx\n```\n").is_err());
        assert!(Page::parse("```sh\nx\n```\n").is_err());
        assert!(Page::parse("<!-- book: skip -->\n```sh\nx\n```\n").is_err());
        assert!(Page::parse("<!-- book: skip it takes a day -->\n```sh\nx\n```\n").is_ok());
        assert!(Page::parse("<!-- book: typo -->\n```console\n$ x\n```\n").is_err());
        assert!(Page::parse("<!-- book: fails -->\nText.\n").is_err());
    }

    #[test]
    fn a_command_may_have_several_lines() {
        let exchanges = dialogue("$ a \\\n  b\none\n\n$ cat <<E\n> x\n> E\nx\n").unwrap();
        assert_eq!(exchanges[0].command, "a \\\n  b");
        assert_eq!(exchanges[0].answer, ["one"]);
        assert_eq!(exchanges[1].command, "cat <<E\nx\nE");
        assert_eq!(exchanges[1].answer, ["x"]);
        assert!(dialogue("answer\n").is_err());
    }
}
