//! What a mirror tells: a line for each file that was changed or that differs, or a JSON object
//! for each comparison.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde_json::json;

use super::Common;
use super::plan::{Difference, Files, Plan};
use crate::connect::{Exit, Failure};

/// See the module.
#[derive(Debug)]
pub(super) struct Report {
    is_json: bool,
    is_dry: bool,
    /// What was told last, so that it is not told again and again.
    told: Option<(BTreeMap<String, Difference>, Vec<String>)>,
}

/// What is left out by its nature, a line each, and where node versions are known from.
#[derive(Debug)]
pub(super) struct Context<'a> {
    pub source: &'a Files,
    pub left_out: Vec<String>,
    pub versions: &'a BTreeMap<String, i32>,
}

impl Report {
    pub(super) fn new(common: &Common) -> Self {
        Self {
            is_json: common.json,
            is_dry: common.dry_run,
            told: None,
        }
    }

    /// Tells what was done, or with a conflict or a dry run would be.
    pub(super) fn step(
        &mut self,
        plan: &Plan,
        is_done: bool,
        context: Context<'_>,
    ) -> Result<(), Failure> {
        let told = (plan.differences.clone(), context.left_out.clone());
        let is_news = self.told.as_ref() != Some(&told);
        let has_done = !plan.actions.is_empty() && (is_done || self.is_dry);
        if !is_news && !has_done {
            return Ok(());
        }
        self.told = Some(told);
        if self.is_json {
            return line(&self.object(plan, is_done, &context).to_string());
        }
        if has_done {
            for (path, action) in &plan.actions {
                let data = context.source.get(path);
                let bytes = data.map(|data| format!("  {} bytes", data.len()));
                line(&format!(
                    "{}  {path}{}",
                    action.word(),
                    bytes.unwrap_or_default()
                ))?;
            }
        }
        if is_news {
            for (path, why) in &plan.differences {
                let word = if why.is_conflict() {
                    "conflict"
                } else {
                    "differs"
                };
                let version = context.versions.get(path);
                let version = version.map(|version| format!(" (version {version} there)"));
                let version = version.unwrap_or_default();
                line(&format!("{word}  {path}  {}{version}", explain(*why)))?;
            }
            for text in &context.left_out {
                line(&format!("note  {text}"))?;
            }
        }
        if self.is_dry {
            return line("dry run: nothing was done");
        }
        if plan.differences.is_empty() {
            return line(&format!("equal  {}", count(context.source.len())));
        }
        Ok(())
    }

    fn object(&self, plan: &Plan, is_done: bool, context: &Context<'_>) -> serde_json::Value {
        let changes = plan.actions.iter().map(|(path, action)| {
            let bytes = context.source.get(path).map(Vec::len);
            json!({ "action": action.word(), "path": path, "bytes": bytes })
        });
        let differences = plan.differences.iter().map(|(path, why)| {
            json!({
                "path": path,
                "why": explain(*why),
                "conflict": why.is_conflict(),
                "version": context.versions.get(path),
            })
        });
        json!({
            "changes": changes.collect::<Vec<_>>(),
            "done": is_done && !self.is_dry,
            "differences": differences.collect::<Vec<_>>(),
            "notes": context.left_out,
            "files": context.source.len(),
            "equal": plan.differences.is_empty() && is_done,
        })
    }
}

/// Why a file is left alone.
const fn explain(why: Difference) -> &'static str {
    match why {
        Difference::Both => "both sides have another content than when they were equal",
        Difference::DeletedAndChanged => "deleted in the source, changed in the target",
        Difference::ChangedAndDeleted => "changed in the source, deleted in the target",
        Difference::Shape => "a file on one side, a directory on the other",
        Difference::TargetOnly => "changed only in the target",
        Difference::Unknown => "only in the target, and never was equal",
    }
}

/// What to do about what differs, in one line.
pub(super) fn advice(plan: &Plan, is_done: bool) -> String {
    let number = count(plan.differences.len());
    if is_done {
        return format!(
            "{number} left alone, changed only in the target: mirror them the other way, or \
             overwrite them with --force"
        );
    }
    format!(
        "nothing was done, {number} in conflict: make them equal by hand, or let the source win \
         with --force (and --delete for what is a directory on one side)"
    )
}

fn count(files: usize) -> String {
    match files {
        1 => "1 file".to_owned(),
        files => format!("{files} files"),
    }
}

/// Prints a line at once: who follows reads it from a pipe.
fn line(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    let done = writeln!(out, "{text}").and_then(|()| out.flush());
    done.map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::new(Exit::Enough, ""),
        _ => Failure::failed(format!("cannot print: {error}")),
    })
}
