//! What the documents promise each other: links lead somewhere, the book has all of its pages, and
//! the Chinese README keeps step with the English one. Checked by `cargo xtask tidy`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};

use crate::root;

/// Where the pages of the book are.
const BOOK: &str = "docs/book/src";

/// Checks all documents among these files.
pub(crate) fn check(files: &[String], errors: &mut Vec<String>) -> Result<()> {
    let read = |name: &str| fs::read_to_string(root().join(name)).context(name.to_owned());
    for name in files.iter().filter(|name| name.ends_with(".md")) {
        let text = read(name)?;
        check_links(name, &text, errors);
        if name.starts_with(BOOK) {
            check_names(name, &text, errors);
        }
    }
    let pages: Vec<&str> = files
        .iter()
        .filter_map(|name| name.strip_prefix(BOOK)?.strip_prefix('/'))
        .filter(|name| name.ends_with(".md") && *name != "SUMMARY.md")
        .collect();
    check_summary(&read(&format!("{BOOK}/SUMMARY.md"))?, &pages, errors);
    check_step(&read("README.md")?, &read("README.zh-CN.md")?, errors);
    Ok(())
}

/// A page with what it includes, as mdBook shows it.
fn with_includes(name: &str, text: &str) -> String {
    let dir = Path::new(name).parent().unwrap_or(Path::new(""));
    text.lines().fold(String::new(), |out, line| {
        let included = line
            .strip_prefix("{{#include ")
            .and_then(|rest| rest.strip_suffix("}}"))
            .and_then(|file| fs::read_to_string(root().join(dir).join(file.trim())).ok());
        out + included.as_deref().unwrap_or(line) + "\n"
    })
}

/// Every link inside the repository leads to a file, and to a heading of it.
fn check_links(name: &str, text: &str, errors: &mut Vec<String>) {
    let dir = Path::new(name).parent().unwrap_or(Path::new(""));
    for (line, link) in links(&with_includes(name, text)) {
        if link.contains("://") || link.starts_with("mailto:") {
            continue;
        }
        let (file, anchor) = link.split_once('#').unwrap_or((&link, ""));
        let target = if file.is_empty() {
            PathBuf::from(name)
        } else {
            normal(&dir.join(file))
        };
        let shown = target.display();
        if name.starts_with(BOOK) && !target.starts_with(BOOK) {
            errors.push(format!(
                "{name}:{line}: {link} leads out of the book: name the file in words"
            ));
        } else if !root().join(&target).exists() {
            errors.push(format!("{name}:{line}: there is no {shown}"));
        } else if !anchor.is_empty() {
            let page = fs::read_to_string(root().join(&target)).unwrap_or_default();
            let page = with_includes(&shown.to_string(), &page);
            if !anchors(&page).contains(anchor) {
                errors.push(format!(
                    "{name}:{line}: {shown} has no heading for #{anchor}"
                ));
            }
        }
    }
}

/// Files of the repository that the book names are there, and so are the functions behind `::`.
fn check_names(name: &str, text: &str, errors: &mut Vec<String>) {
    for (line, text) in prose(text) {
        for word in text.split('`').skip(1).step_by(2) {
            let (file, function) = word.split_once("::").unwrap_or((word, ""));
            let ours = [
                "crates/",
                "docs/",
                "conf/",
                "examples/",
                "interop/",
                "xtask/",
            ];
            if word.contains(' ') || !ours.iter().any(|dir| file.starts_with(dir)) {
                continue;
            }
            let path = root().join(file);
            let source = fs::read_to_string(&path).unwrap_or_default();
            if !path.exists() {
                errors.push(format!("{name}:{line}: there is no {file}"));
            } else if !function.is_empty()
                && !source.contains(&format!("fn {function}("))
                && !source.contains(&format!("fn {function}<"))
            {
                errors.push(format!("{name}:{line}: {file} has no function {function}"));
            }
        }
    }
}

/// A path without `..` in it.
fn normal(path: &Path) -> PathBuf {
    let mut out = PathBuf::new();
    for component in path.components() {
        match component {
            Component::ParentDir => {
                out.pop();
            }
            Component::CurDir => {}
            other => out.push(other),
        }
    }
    out
}

/// The lines outside of blocks of code, with their numbers.
fn prose(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(at, line)| {
        let is_fence = line.trim_start().starts_with("```");
        fenced ^= is_fence;
        (!fenced && !is_fence).then_some((at + 1, line))
    })
}

/// Every `[text](target)`, but what stands in backticks.
fn links(text: &str) -> Vec<(usize, String)> {
    let mut out = Vec::new();
    for (number, line) in prose(text) {
        let plain: String = line.split('`').step_by(2).collect::<Vec<_>>().join("``");
        for piece in plain.split("](").skip(1) {
            let target = piece.split([')', ' ']).next().unwrap_or_default();
            out.push((number, target.to_owned()));
        }
    }
    out
}

/// The headings as links name them.
fn anchors(text: &str) -> BTreeSet<String> {
    prose(text)
        .filter_map(|(_, line)| heading(line))
        .map(|(_, title)| {
            let kept = title
                .chars()
                .filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
            kept.map(|c| if c == ' ' { '-' } else { c })
                .collect::<String>()
                .to_lowercase()
        })
        .collect()
}

/// The depth and the text of a heading.
fn heading(line: &str) -> Option<(usize, &str)> {
    let title = line.trim_start_matches('#');
    let depth = line.len() - title.len();
    let title = title.strip_prefix(' ')?;
    (1..=6).contains(&depth).then_some((depth, title.trim()))
}

/// Each page of the book stands in its summary once, and nothing else does.
fn check_summary(summary: &str, pages: &[&str], errors: &mut Vec<String>) {
    let listed: Vec<String> = links(summary).into_iter().map(|(_, link)| link).collect();
    for page in pages {
        let times = listed.iter().filter(|link| *link == page).count();
        if times != 1 {
            errors.push(format!(
                "{BOOK}/SUMMARY.md lists {page} {times} times, expected once"
            ));
        }
    }
}

/// Headings of the same depths and the same blocks of code, in the same order.
fn check_step(english: &str, chinese: &str, errors: &mut Vec<String>) {
    let depths = |text: &str| -> Vec<usize> {
        prose(text)
            .filter_map(|(_, line)| heading(line))
            .map(|(depth, _)| depth)
            .collect()
    };
    if depths(english) != depths(chinese) {
        errors.push("README.zh-CN.md has other headings than README.md".into());
    }
    let (english, chinese) = (code(english), code(chinese));
    let differs = english.iter().zip(&chinese).find(|(en, zh)| en != zh);
    if let Some((en, _)) = differs {
        errors.push(format!(
            "README.zh-CN.md has another block of code than README.md in place of {:?}",
            en.lines().nth(1).unwrap_or_default()
        ));
    } else if english.len() != chinese.len() {
        errors.push(format!(
            "README.zh-CN.md has {} blocks of code, README.md {}",
            chinese.len(),
            english.len()
        ));
    }
}

/// Blocks of code with their first lines; the comments of a shell may be in another language.
fn code(text: &str) -> Vec<String> {
    let mut blocks: Vec<String> = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        let is_fence = line.trim_start().starts_with("```");
        if is_fence && !fenced {
            blocks.push(String::new());
        }
        if let Some(block) = blocks.last_mut().filter(|_| fenced || is_fence) {
            let code = line.split(" #").next().unwrap_or_default();
            block.push_str(code.trim_end());
            block.push('\n');
        }
        fenced ^= is_fence;
    }
    blocks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_in_code_are_none() {
        let text = "[a](b.md) and `[x](y)` and [c](d.md#e)\n```\n[f](g)\n```\n";
        let found: Vec<String> = links(text).into_iter().map(|(_, link)| link).collect();
        assert_eq!(found, ["b.md", "d.md#e"]);
    }

    #[test]
    fn headings_become_anchors() {
        let found = anchors("# One server\n## What `roo` is, and why\n```\n# none\n```\n");
        let found: Vec<&str> = found.iter().map(String::as_str).collect();
        assert_eq!(found, ["one-server", "what-roo-is-and-why"]);
    }

    #[test]
    fn a_translation_has_the_same_headings_and_code() {
        let english = "# A\n\n```\nroo ls /   # all\n```\n\n## B\n";
        let mut errors = Vec::new();
        check_step(
            english,
            "# \u{7532}\n```\nroo ls / # \u{4e59}\n```\n## C\n",
            &mut errors,
        );
        assert_eq!(errors, Vec::<String>::new());
        check_step(english, "# A\n```\nroo ls /x\n```\n## B\n", &mut errors);
        check_step(english, "# A\n```\nroo ls /\n```\n# B\n", &mut errors);
        check_step(english, "# A\n## B\n", &mut errors);
        assert_eq!(errors.len(), 3, "{errors:?}");
    }

    #[test]
    fn a_page_that_nobody_lists_is_found() {
        let mut errors = Vec::new();
        check_summary("- [A](a.md)\n- [B](b.md)\n", &["a.md", "c.md"], &mut errors);
        assert_eq!(errors.len(), 1, "{errors:?}");
    }

    #[test]
    fn files_and_functions_that_are_gone_are_found() {
        let mut errors = Vec::new();
        let text = "`xtask/src/documents.rs::check_names`, `xtask/src/none.rs`, \
                    `xtask/src/documents.rs::none`, `xtask ci`\n";
        check_names("X.md", text, &mut errors);
        assert_eq!(errors.len(), 2, "{errors:?}");
    }

    #[test]
    fn links_that_lead_nowhere_are_found() {
        let mut errors = Vec::new();
        let text =
            "[a](README.md) [b](README.md#license-is-not-a-heading) [c](NONE.md) [d](http://x)\n";
        check_links("X.md", text, &mut errors);
        assert_eq!(errors.len(), 2, "{errors:?}");
    }
}
