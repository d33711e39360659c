//! Rules of the house that no lint knows. Every broken one is reported, with what to do.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::{documents, root};

/// Which of our crates each may use.
const ARROWS: &[(&str, &[&str])] = &[
    ("roo-chart", &[]),
    ("roo-proto", &[]),
    ("roo-state", &["roo-proto"]),
    ("roo-zab", &["roo-proto"]),
    ("roo-replica", &["roo-proto", "roo-state", "roo-zab"]),
    ("roo-store", &["roo-proto"]),
    ("roo-peer", &["roo-proto", "roo-zab", "roo-replica"]),
    ("roo-client", &["roo-proto"]),
    (
        "roo-server",
        &[
            "roo-proto",
            "roo-state",
            "roo-zab",
            "roo-replica",
            "roo-store",
            "roo-peer",
        ],
    ),
    (
        "roo-sim",
        &[
            "roo-proto",
            "roo-state",
            "roo-zab",
            "roo-replica",
            "roo-store",
            "roo-client",
        ],
    ),
    ("roo-examples", &["roo-client"]),
    (
        "roo-cli",
        &[
            "roo-chart",
            "roo-proto",
            "roo-state",
            "roo-store",
            "roo-server",
            "roo-client",
        ],
    ),
];

/// Which more their tests may use.
const TEST_ARROWS: &[(&str, &[&str])] = &[("roo-client", &["roo-server"])];

/// Crates that cannot name the world.
const PURE: &[&str] = &["roo-proto", "roo-state", "roo-zab", "roo-replica"];

/// What a pure crate must not say outside its tests.
const IMPURE: &[&str] = &[
    "std::",
    "Mutex",
    "RwLock",
    "Atomic",
    "Instant",
    "SystemTime",
    "thread::",
];

/// Files that are pure in a crate that is not: the client's session machine.
const PURE_FILES: &[&str] = &["crates/roo-client/src/session"];

/// What they must not say outside their tests, besides: a socket's address is a number.
const IMPURE_FILES: &[&str] = &[
    "tokio",
    "std::io",
    "std::fs",
    "std::env",
    "TcpStream",
    "UdpSocket",
    "RandomState",
    "HashMap",
    "async fn",
    ".await",
];

/// Files over 800 lines, and why each is one thing.
const LONG_FILES: &[(&str, &str)] = &[(
    "crates/roo-peer/src/grpc/generated.rs",
    "made from one .proto file, and read there",
)];

const MAX_LINES: usize = 800;
const MAX_BLOB: u64 = 100 * 1024;

/// Checks every rule.
pub(crate) fn run() -> Result<()> {
    let errors = errors()?;
    for error in &errors {
        eprintln!("tidy: {error}");
    }
    if !errors.is_empty() {
        bail!("{} rules broken", errors.len());
    }
    println!("tidy: every rule holds");
    Ok(())
}

fn errors() -> Result<Vec<String>> {
    let metadata = metadata()?;
    let files = tracked_files()?;
    let mut errors = Vec::new();
    check_arrows(&metadata, &mut errors);
    check_licences(&metadata, &mut errors)?;
    for file in &files {
        check_file(file, &mut errors);
    }
    check_documents(&mut errors)?;
    documents::check(&files, &mut errors)?;
    let read = |name: &str| fs::read_to_string(root().join(name));
    let limits = read("crates/roo-server/src/limits.rs")?;
    check_limits(
        &limits,
        &read("crates/roo-server/src/stats.rs")?,
        &mut errors,
    );
    errors.extend(crate::gen_code::stale()?);
    Ok(errors)
}

fn metadata() -> Result<Value> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--all-features"])
        .current_dir(root())
        .output()
        .context("cargo metadata")?;
    if !output.status.success() {
        bail!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(serde_json::from_slice(&output.stdout)?)
}

fn tracked_files() -> Result<Vec<String>> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .current_dir(root())
        .output()
        .context("git ls-files")?;
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok(names
        .lines()
        .map(str::to_owned)
        .filter(|name| root().join(name).is_file())
        .collect())
}

fn text<'v>(value: &'v Value, key: &str) -> &'v str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn packages(metadata: &Value) -> impl Iterator<Item = &Value> {
    metadata
        .get("packages")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
}

fn check_arrows(metadata: &Value, errors: &mut Vec<String>) {
    for package in packages(metadata) {
        let name = text(package, "name");
        let Some((_, allowed)) = ARROWS.iter().find(|(known, _)| *known == name) else {
            continue;
        };
        for dependency in package
            .get("dependencies")
            .and_then(Value::as_array)
            .into_iter()
            .flatten()
        {
            let used = text(dependency, "name");
            let tests = TEST_ARROWS.iter().find(|(known, _)| *known == name);
            let is_for_tests = text(dependency, "kind") == "dev"
                && tests.is_some_and(|(_, allowed)| allowed.contains(&used));
            if used.starts_with("roo-") && !allowed.contains(&used) && !is_for_tests {
                errors.push(format!(
                    "{name} must not depend on {used}: see ARCHITECTURE.md"
                ));
            }
            let is_runtime = matches!(used, "tokio" | "hyper" | "tonic" | "mio" | "parking_lot");
            if PURE.contains(&name) && is_runtime {
                errors.push(format!("{name} is pure and must not depend on {used}"));
            }
        }
    }
}

/// The licences and bans of deny.toml, where cargo-deny cannot be had.
fn check_licences(metadata: &Value, errors: &mut Vec<String>) -> Result<()> {
    let deny = fs::read_to_string(root().join("deny.toml"))?;
    let quoted = |section: &str| -> BTreeSet<String> {
        let start = deny.find(section).unwrap_or(deny.len());
        let list = deny.get(start..).unwrap_or_default();
        let list = list.split(']').next().unwrap_or_default();
        list.split('"')
            .skip(1)
            .step_by(2)
            .map(str::to_owned)
            .collect()
    };
    let (allowed, banned) = (quoted("allow = ["), quoted("\ndeny = ["));
    for package in packages(metadata) {
        let (name, licence) = (text(package, "name"), text(package, "license"));
        if banned.contains(name) {
            errors.push(format!("{name} is banned by deny.toml"));
        }
        // One of the alternatives of an OR must be allowed, and all parts of an AND.
        let fits = |part: &str| allowed.contains(part.trim_matches(['(', ')', ' ']));
        let licence = licence.replace('/', " OR ");
        let ok = licence
            .split(" OR ")
            .any(|one| one.split(" AND ").all(fits))
            || licence
                .split(" AND ")
                .all(|all| all.split(" OR ").any(fits));
        if !ok {
            errors.push(format!(
                "{name} has licence {licence:?}, which deny.toml does not allow"
            ));
        }
    }
    Ok(())
}

fn check_file(name: &str, errors: &mut Vec<String>) {
    let path = root().join(name);
    let Ok(bytes) = fs::read(&path) else {
        return;
    };
    let is_testdata = name.contains("testdata/") || name.contains("corpus/");
    if bytes.len() as u64 > MAX_BLOB && !is_testdata && name != "Cargo.lock" {
        errors.push(format!(
            "{name} is larger than 100 kB: keep such files out, or in testdata"
        ));
    }
    let Ok(content) = String::from_utf8(bytes) else {
        return;
    };
    if Path::new(name).extension().is_some_and(|ext| ext == "md") && !name.starts_with("LICENSE") {
        let mut fenced = false;
        let titles = content
            .lines()
            .filter(|line| {
                fenced ^= line.starts_with("```");
                !fenced && line.starts_with("# ")
            })
            .count();
        // The summary of the book is a table of parts, and some of its pages stand elsewhere.
        let is_other = name.ends_with("SUMMARY.md") || content.starts_with("{{#include ");
        if titles != 1 && !is_other {
            errors.push(format!(
                "{name} has {titles} first-level headings, expected one"
            ));
        }
    }
    if Path::new(name).extension().is_some_and(|ext| ext == "rs") {
        check_source(name, &content, errors);
    }
}

fn check_source(name: &str, content: &str, errors: &mut Vec<String>) {
    if !content.is_ascii() {
        errors.push(format!("{name} is not ASCII: write \\u{{...}}"));
    }
    let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
    let lines = content
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default()
        .lines()
        .count();
    if lines > MAX_LINES && !is_test && !LONG_FILES.iter().any(|(file, _)| *file == name) {
        errors.push(format!(
            "{name} has {lines} lines: split it, or say in tidy.rs why it is one"
        ));
    }
    let this_file = name == "xtask/src/tidy.rs";
    for (at, line) in content.lines().enumerate() {
        let at = at + 1;
        for word in ["FIXME", "TODO", "todo!(", "unimplemented!(", "#[ignore"] {
            if line.contains(word) && !this_file {
                errors.push(format!("{name}:{at}: {word} never lands"));
            }
        }
    }
    let pure = PURE
        .iter()
        .any(|pure| name.starts_with(&format!("crates/{pure}/src")));
    if pure && name.ends_with("src/lib.rs") {
        for attribute in ["#![no_std]", "#![forbid(unsafe_code)]"] {
            if !content.contains(attribute) {
                errors.push(format!("{name} must say {attribute}: the crate is pure"));
            }
        }
    }
    let pure_file = PURE_FILES.iter().any(|pure| name.starts_with(pure));
    if is_test || !(pure || pure_file) {
        return;
    }
    let product = content
        .split("#[cfg(test)]\nmod tests {")
        .next()
        .unwrap_or_default();
    for (at, line) in product.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        let mut words = IMPURE.iter().filter(|word| pure || **word != "std::");
        let more = IMPURE_FILES.iter().filter(|_| pure_file);
        let word = words.find(|word| code.contains(**word));
        let word = word.or_else(|| more.into_iter().find(|word| code.contains(**word)));
        if let Some(word) = word {
            errors.push(format!(
                "{name}:{}: a pure crate or file must not say {word}",
                at + 1
            ));
        }
    }
}

/// What is refused at a limit is counted under the limit's name.
fn check_limits(limits: &str, stats: &str, errors: &mut Vec<String>) {
    let mut doc = String::new();
    for line in limits.lines() {
        if let Some(text) = line.strip_prefix("///") {
            doc.push_str(text);
            continue;
        }
        let name = line.strip_prefix("pub const ");
        let only_pieces = doc.contains("Limit: pieces");
        doc.clear();
        let Some((name, _)) = name.and_then(|rest| rest.split_once(':')) else {
            continue;
        };
        let counter = name.to_ascii_lowercase();
        let counter = counter.trim_end_matches("_bytes").trim_end_matches("_ms");
        let counted = stats.contains(&format!("Limit `{counter}`"))
            && stats.contains(&format!("\n    {counter},\n"));
        if !only_pieces && !counted {
            errors.push(format!(
                "limit {name} has no counter: stats.rs must have {counter} with a comment that \
                 begins Limit `{counter}`, or the limit must say \"Limit: pieces\""
            ));
        }
    }
}

fn check_documents(errors: &mut Vec<String>) -> Result<()> {
    let read = |name: &str| fs::read_to_string(root().join(name)).unwrap_or_default();
    let (readme, architecture, compat) = (
        read("README.md"),
        read("ARCHITECTURE.md"),
        read("docs/compat.md"),
    );
    for entry in fs::read_dir(root().join("crates"))? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !architecture.contains(&name) {
            errors.push(format!("ARCHITECTURE.md does not mention {name}"));
        }
    }
    if !readme.contains("cargo xtask ci") || !readme.contains("cargo run --release") {
        errors.push("README.md must name the two commands".into());
    }
    if architecture.lines().count() > 300 {
        errors.push("ARCHITECTURE.md is longer than 300 lines".into());
    }
    for name in tracked_files()?.iter().filter(|name| name.ends_with(".rs")) {
        for (at, line) in read(name).lines().enumerate() {
            let Some((_, rest)) = line
                .split_once("// Compat:")
                .or_else(|| line.split_once("/// Compat:"))
            else {
                continue;
            };
            let id = rest.split_whitespace().next().unwrap_or_default();
            if name != "xtask/src/tidy.rs" && !compat.contains(&format!("| {id} |")) {
                let at = at + 1;
                errors.push(format!(
                    "{name}:{at}: {id:?} is not a row of docs/compat.md"
                ));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #[test]
    fn a_limit_without_a_counter_is_found() {
        let limits = "/// A.\npub const QUEUE_BYTES: usize = 1;\n\n/// B. Limit: pieces.\npub const STEP: usize = 1;\n";
        let check = |stats: &str| {
            let mut errors = Vec::new();
            super::check_limits(limits, stats, &mut errors);
            errors.len()
        };
        assert_eq!(check("    /// Limit `queue`: refused.\n    queue,\n"), 0);
        assert_eq!(check("    /// Limit `other`: refused.\n    other,\n"), 1);
    }

    #[test]
    fn every_rule_of_the_house_holds() {
        let errors = super::errors().unwrap();
        assert!(errors.is_empty(), "{}", errors.join("\n"));
    }
}
