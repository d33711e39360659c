//! One comparison of both sides, and what follows from it.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::{Command, Stdio};

use roo_client::{Client, Error};

use super::local::{self, Plain, Scan};
use super::plan::{Action, Base, Files, Plan, Rules, compare, digest};
use super::remote::{Changes, Subtree, Tree};
use super::report::{Context, Report, advice};
use super::state::{Lock, State};
use super::{Direction, Task, sets};
use crate::connect::Failure;

/// Somebody else is faster so often.
const RACES_MAX: usize = 20;

/// What came of it.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Both sides are equal, as far as they are to be.
    Equal,
    /// There is no subtree to pull.
    NoSource,
    /// What differs, in a line.
    Differs(String),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Step<'a> {
    task: &'a Task,
    client: &'a Client,
    subtree: String,
    /// Whether the command of `--exec` is still to be run for an earlier change.
    is_first: bool,
}

/// Both sides as they are.
struct Sides {
    tree: Tree,
    source: Files,
    target: Files,
    notes: Vec<String>,
}

impl<'a> Step<'a> {
    pub(super) fn new(task: &'a Task, client: &'a Client) -> Self {
        let subtree = match (client.chroot(), task.path.as_str()) {
            ("" | "/", path) => path.to_owned(),
            (chroot, "/") => chroot.to_owned(),
            (chroot, path) => format!("{chroot}{path}"),
        };
        Self {
            task,
            client,
            subtree,
            is_first: true,
        }
    }

    /// Watches the subtree.
    pub(super) async fn watch(&self) -> Result<Subtree<'a>, Failure> {
        Subtree::watch(self.client, &self.task.path, &self.task.common.ignore).await
    }

    /// Does it once.
    pub(super) async fn once(mut self, report: &mut Report) -> Result<Outcome, Failure> {
        let mut subtree = self.watch().await?;
        self.run(&mut subtree, report).await
    }

    /// Compares, and makes the target equal.
    pub(super) async fn run(
        &mut self,
        subtree: &mut Subtree<'_>,
        report: &mut Report,
    ) -> Result<Outcome, Failure> {
        let (task, dir) = (self.task, self.task.dir.as_path());
        let common = &task.common;
        if !common.dry_run {
            self.check_layout()?;
        }
        let _lock = match common.dry_run {
            true => None,
            false => Some(Lock::take(dir).await?),
        };
        let mut said = String::new();
        for _ in 0..RACES_MAX {
            let mut state = State::load(dir, &self.subtree, common.force)?;
            let before = state.clone();
            let sides = self.sides(subtree).await?;
            if !sides.tree.exists && matches!(task.direction, Direction::Pull { .. }) {
                return Ok(Outcome::NoSource);
            }
            let base = state.base_given(|path| sides.target.get(path).map(|data| digest(data)));
            let rules = Rules {
                delete: common.delete,
                force: common.force,
            };
            let plan = compare(&sides.source, &sides.target, &base, rules);
            let is_refused = self.is_refused(&plan);
            if is_refused || common.dry_run {
                report.step(&plan, false, sides.context())?;
                return Ok(if plan.differences.is_empty() {
                    Outcome::Equal
                } else {
                    Outcome::Differs(advice(&plan, !is_refused))
                });
            }
            if plan.actions.is_empty() {
                self.mend()?;
            } else {
                state.base.clone_from(&base);
                state.intent = intent(&plan, &sides.source);
                state.exec_due = common.exec.is_some();
                state.save(dir)?;
                if let Some(refusal) = self.apply(subtree, &plan, &sides).await? {
                    said = refusal.to_string();
                    continue;
                }
            }
            state.base = next_base(&base, &plan, &sides);
            state.intent = BTreeMap::new();
            if state != before {
                state.save(dir)?;
            }
            report.step(&plan, true, sides.context())?;
            self.exec(&mut state, &plan).await?;
            return Ok(if plan.differences.is_empty() {
                Outcome::Equal
            } else {
                Outcome::Differs(advice(&plan, true))
            });
        }
        Err(Failure::failed(format!(
            "gave up after {RACES_MAX} attempts, nothing was done: {said}"
        )))
    }

    /// A directory is either of one kind or the other.
    fn check_layout(&self) -> Result<(), Failure> {
        let dir = self.task.dir.as_path();
        match self.task.direction {
            Direction::Pull { is_plain: true, .. } if sets::is_shown(dir) => {
                Err(Failure::failed(format!(
                    "{} shows whole sets through links: pull without --plain, or into another \
                     directory",
                    dir.display()
                )))
            }
            Direction::Pull {
                is_plain: false, ..
            } => sets::check(dir),
            _ => Ok(()),
        }
    }

    /// A set that is shown may lack what comes after that, if the mirror was cut off there.
    fn mend(&self) -> Result<(), Failure> {
        let dir = self.task.dir.as_path();
        match self.task.direction {
            Direction::Pull {
                is_plain: false, ..
            } if sets::is_shown(dir) => sets::tidy(dir),
            _ => Ok(()),
        }
    }

    async fn sides(&self, subtree: &mut Subtree<'_>) -> Result<Sides, Failure> {
        let (dir, common) = (self.task.dir.as_path(), &self.task.common);
        let found = if dir.is_dir() {
            let root = sets::shown(dir);
            let scan = Scan {
                root: &root,
                ignore: &common.ignore,
            };
            scan.read()?
        } else {
            local::Found::default()
        };
        let mut tree = subtree.read().await?;
        let nodes = std::mem::take(&mut tree.files);
        let mut notes = found.left_out;
        Ok(match self.task.direction {
            Direction::Push { .. } => Sides {
                tree,
                source: found.files,
                target: nodes,
                notes,
            },
            Direction::Pull { .. } => {
                let lost = tree.with_data.iter();
                notes.extend(
                    lost.map(|path| {
                        format!("{path}: its data is left out, a directory holds none")
                    }),
                );
                Sides {
                    tree,
                    source: nodes,
                    target: found.files,
                    notes,
                }
            }
        })
    }

    /// A set is shown whole or not at all: there, what was changed here only stands against it too.
    fn is_refused(&self, plan: &Plan) -> bool {
        let shows_sets = matches!(
            self.task.direction,
            Direction::Pull {
                is_plain: false,
                ..
            }
        );
        plan.has_conflict() || (shows_sets && !plan.differences.is_empty())
    }

    async fn apply(
        &self,
        subtree: &Subtree<'_>,
        plan: &Plan,
        sides: &Sides,
    ) -> Result<Option<Error>, Failure> {
        let dir = self.task.dir.as_path();
        match &self.task.direction {
            Direction::Push { in_parts, acl } => {
                let changes = Changes {
                    plan,
                    source: &sides.source,
                    acl,
                };
                return subtree.apply(&changes, &sides.tree, *in_parts).await;
            }
            Direction::Pull {
                is_plain: true,
                mode,
            } => {
                let plain = Plain { dir, mode: *mode };
                plain.apply(plan, &sides.source, &sides.target)?;
            }
            Direction::Pull { mode, .. } => {
                let mut set = sides.target.clone();
                for (path, action) in &plan.actions {
                    match sides.source.get(path) {
                        Some(data) if *action != Action::Delete => {
                            set.insert(path.clone(), data.clone());
                        }
                        _ => {
                            set.remove(path);
                        }
                    }
                }
                sets::show(dir, &set, *mode)?;
            }
        }
        Ok(None)
    }

    /// Runs the command, if something was changed, or a change before the start was not followed
    /// by one that ended well.
    async fn exec(&mut self, state: &mut State, plan: &Plan) -> Result<(), Failure> {
        let is_first = std::mem::replace(&mut self.is_first, false);
        let Some(command) = &self.task.common.exec else {
            return Ok(());
        };
        if plan.actions.is_empty() && !(is_first && state.exec_due) {
            return Ok(());
        }
        let changed: Vec<&str> = plan.actions.keys().map(String::as_str).collect();
        let mut shell = Command::new("sh");
        shell.arg("-c").arg(command).stdin(Stdio::null());
        shell.env("ROO_MIRROR_CHANGED", changed.join("\n"));
        shell.env("ROO_MIRROR_DIR", &self.task.dir);
        shell.env("ROO_MIRROR_PATH", &self.task.path);
        // The session goes on meanwhile.
        let ended = tokio::task::spawn_blocking(move || shell.status()).await;
        let ended = ended.map_err(|error| Failure::failed(error.to_string()))?;
        let ended = ended.map_err(|error| Failure::failed(format!("cannot run sh: {error}")))?;
        if !ended.success() {
            return Err(Failure::failed(format!(
                "the files are in place, but the command of --exec ended with {ended}: it is run \
                 again after the next change, or when mirror is started again"
            )));
        }
        state.exec_due = false;
        state.save(Path::new(&self.task.dir))
    }
}

impl Sides {
    fn context(&self) -> Context<'_> {
        Context {
            source: &self.source,
            left_out: self.notes.clone(),
            versions: &self.tree.versions,
        }
    }
}

fn intent(plan: &Plan, source: &Files) -> BTreeMap<String, Option<String>> {
    let digest = |path: &String| source.get(path).map(|data| digest(data));
    let actions = plan.actions.keys();
    actions.map(|path| (path.clone(), digest(path))).collect()
}

/// What both sides hold now; of what differs, what they held when it did not.
fn next_base(before: &Base, plan: &Plan, sides: &Sides) -> Base {
    let exists = |path: &String| sides.source.contains_key(path) || sides.target.contains_key(path);
    let mut base: Base = before
        .iter()
        .filter(|(path, _)| exists(path))
        .map(|(path, digest)| (path.clone(), digest.clone()))
        .collect();
    for path in plan.equal.iter().chain(plan.actions.keys()) {
        match sides.source.get(path) {
            Some(data) => base.insert(path.clone(), digest(data)),
            None => base.remove(path),
        };
    }
    base
}
