//! What a mirror has to do: a comparison of two sets of files with what both held when they were
//! last equal. It neither reads nor changes anything.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;

use sha2::{Digest, Sha256};

/// Files by their path below the directory, with `/` between the names.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// The digest of each file when both sides were last equal.
pub(super) type Base = BTreeMap<String, String>;

/// What is done to a file of the target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// It is new there.
    Create,
    /// It gets the source's content.
    Change,
    /// It goes.
    Delete,
}

impl Action {
    /// As it is printed.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Delete => "delete",
        }
    }
}

/// Why a file is not touched although it differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Difference {
    /// Both sides changed it since they were equal, or never were equal.
    Both,
    /// The source deleted what the target changed.
    DeletedAndChanged,
    /// The source changed what the target deleted.
    ChangedAndDeleted,
    /// A file on one side is a directory on the other.
    Shape,
    /// Only the target changed or deleted it: the other direction is wanted.
    TargetOnly,
    /// It is in the target only, and was never equal: whether it is new there or was deleted in
    /// the source cannot be known.
    Unknown,
}

impl Difference {
    /// Whether nothing at all may be done before somebody decides.
    pub(super) const fn is_conflict(self) -> bool {
        !matches!(self, Self::TargetOnly | Self::Unknown)
    }
}

/// What may be done.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Rules {
    /// What the source has no more goes in the target too.
    pub delete: bool,
    /// The source is right wherever the two differ.
    pub force: bool,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// By path.
    pub actions: BTreeMap<String, Action>,
    /// What is left alone, and why.
    pub differences: BTreeMap<String, Difference>,
    /// What both hold: the base of the next comparison, together with the actions.
    pub equal: BTreeSet<String>,
}

impl Plan {
    /// Whether anything stands against doing it.
    pub(super) fn has_conflict(&self) -> bool {
        self.differences.values().any(|why| why.is_conflict())
    }
}

/// Compares.
pub(super) fn compare(source: &Files, target: &Files, base: &Base, rules: Rules) -> Plan {
    let mut plan = Plan::default();
    let paths: BTreeSet<&String> = source.keys().chain(target.keys()).collect();
    for path in paths {
        let (from, to) = (source.get(path), target.get(path));
        if from == to {
            plan.equal.insert(path.clone());
            continue;
        }
        match decide(from, to, base.get(path), rules) {
            Some(Ok(action)) => {
                plan.actions.insert(path.clone(), action);
            }
            Some(Err(difference)) => {
                plan.differences.insert(path.clone(), difference);
            }
            None => {}
        }
    }
    find_clashes(&mut plan, target);
    plan
}

fn decide(
    from: Option<&Vec<u8>>,
    to: Option<&Vec<u8>>,
    base: Option<&String>,
    rules: Rules,
) -> Option<Result<Action, Difference>> {
    let is_base = |data: &[u8]| base.is_some_and(|base| *base == digest(data));
    let otherwise = |action, difference| {
        Some(if rules.force {
            Ok(action)
        } else {
            Err(difference)
        })
    };
    match (from, to) {
        (Some(_), None) if base.is_none() => Some(Ok(Action::Create)),
        (Some(from), None) if is_base(from) => otherwise(Action::Create, Difference::TargetOnly),
        (Some(_), None) => otherwise(Action::Create, Difference::ChangedAndDeleted),
        (Some(_), Some(to)) if is_base(to) => Some(Ok(Action::Change)),
        (Some(from), Some(_)) if is_base(from) => otherwise(Action::Change, Difference::TargetOnly),
        (Some(_), Some(_)) => otherwise(Action::Change, Difference::Both),
        (None, Some(_)) if !rules.delete => None,
        (None, Some(to)) if is_base(to) => Some(Ok(Action::Delete)),
        (None, Some(_)) if base.is_none() => otherwise(Action::Delete, Difference::Unknown),
        (None, Some(_)) => otherwise(Action::Delete, Difference::DeletedAndChanged),
        (None, None) => None,
    }
}

/// Finds files that would have to be directories too.
fn find_clashes(plan: &mut Plan, target: &Files) {
    let mut after: BTreeSet<&String> = target.keys().collect();
    for (path, action) in &plan.actions {
        match action {
            Action::Delete => after.remove(path),
            Action::Create | Action::Change => after.insert(path),
        };
    }
    let clashes: Vec<String> = after
        .iter()
        .flat_map(|path| parents(path).map(str::to_owned))
        .filter(|parent| after.contains(parent))
        .collect();
    for path in clashes {
        plan.differences.insert(path, Difference::Shape);
    }
}

/// The directories that a path lies in, the nearest first.
pub(super) fn parents(path: &str) -> impl Iterator<Item = &str> {
    let slashes = path.rmatch_indices('/');
    slashes.filter_map(move |(at, _)| path.get(..at))
}

/// SHA-256 in hex.
pub(super) fn digest(data: &[u8]) -> String {
    let mut text = String::with_capacity(64);
    for byte in Sha256::digest(data) {
        // Writing to a string does not fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

/// Whether a name is left out on both sides: hidden files and what editors leave while they work.
pub(super) fn is_ignored(name: &str, patterns: &[String]) -> bool {
    name.starts_with('.')
        || name.ends_with('~')
        || (name.len() > 1 && name.starts_with('#') && name.ends_with('#'))
        || [".tmp", ".swp", ".swx"]
            .iter()
            .any(|end| name.ends_with(end))
        || patterns.iter().any(|pattern| matches(pattern, name))
}

/// Whether a name fits a pattern of `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    let (pattern, name): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), name.chars().collect());
    let (mut at, mut of) = (0, 0);
    let mut star = None;
    while of < name.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, of));
                at += 1;
            }
            Some(letter) if *letter == '?' || name.get(of) == Some(letter) => {
                at += 1;
                of += 1;
            }
            _ => {
                let Some((back, from)) = star else {
                    return false;
                };
                at = back + 1;
                of = from + 1;
                star = Some((back, of));
            }
        }
    }
    pattern.iter().skip(at).all(|letter| *letter == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    const DELETE: Rules = Rules {
        delete: true,
        force: false,
    };
    const FORCE: Rules = Rules {
        delete: true,
        force: true,
    };

    fn files(text: &str) -> Files {
        let pairs = text
            .split_whitespace()
            .filter_map(|pair| pair.split_once('='));
        pairs
            .map(|(path, data)| (path.to_owned(), data.as_bytes().to_vec()))
            .collect()
    }

    fn base(text: &str) -> Base {
        let files = files(text).into_iter();
        files.map(|(path, data)| (path, digest(&data))).collect()
    }

    fn shown(source: &str, target: &str, old: &str, rules: Rules) -> String {
        let plan = compare(&files(source), &files(target), &base(old), rules);
        let done = plan
            .actions
            .iter()
            .map(|(p, a)| format!("{} {p}", a.word()));
        let left = plan.differences.iter().map(|(p, d)| format!("{d:?} {p}"));
        done.chain(left).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn what_one_side_changed_goes_to_the_other() {
        assert_eq!(shown("a=1", "", "", DELETE), "create a");
        assert_eq!(shown("a=2", "a=1", "a=1", DELETE), "change a");
        assert_eq!(shown("", "a=1", "a=1", DELETE), "delete a");
        assert_eq!(shown("", "a=1", "a=1", Rules::default()), "");
        assert_eq!(shown("a=1 b=2", "a=1 b=2", "", DELETE), "");
    }

    #[test]
    fn what_both_sides_changed_is_not_overwritten() {
        let cases = [
            ("a=2", "a=3", "a=1", "Both a", "change a"),
            ("a=2", "a=3", "", "Both a", "change a"),
            ("a=2", "", "a=1", "ChangedAndDeleted a", "create a"),
            ("", "a=2", "a=1", "DeletedAndChanged a", "delete a"),
            ("a=1", "a=2", "a=1", "TargetOnly a", "change a"),
            ("a=1", "", "a=1", "TargetOnly a", "create a"),
            ("", "a=1", "", "Unknown a", "delete a"),
        ];
        for (source, target, old, left, forced) in cases {
            assert_eq!(shown(source, target, old, DELETE), left);
            assert_eq!(shown(source, target, old, FORCE), forced);
        }
    }

    #[test]
    fn a_file_becomes_a_directory_only_if_it_may_go() {
        let gone = shown("a/x=1", "a=1", "a=1", DELETE);
        assert_eq!(gone, "delete a, create a/x");
        let kept = shown("a/x=1", "a=1", "a=1", Rules::default());
        assert_eq!(kept, "create a/x, Shape a");
        assert_eq!(
            shown("a=1", "a/b/x=1", "", Rules::default()),
            "create a, Shape a"
        );
    }

    #[test]
    fn files_of_editors_are_left_out() {
        for name in [".git", "..data", "a~", "#a#", "a.tmp", ".a.swp", "x.bak"] {
            assert!(is_ignored(name, &["*.bak".to_owned()]), "{name}");
        }
        for name in ["a", "a.conf", "#", "tmp", "a.bakery"] {
            assert!(!is_ignored(name, &["*.bak".to_owned()]), "{name}");
        }
        assert!(matches("a?c*", "abcd") && !matches("a?c", "abcd") && matches("*b*", "abab"));
    }

    #[test]
    fn parents_come_nearest_first() {
        assert_eq!(parents("a/b/c").collect::<Vec<_>>(), ["a/b", "a"]);
        assert_eq!(parents("a").count(), 0);
    }
}
